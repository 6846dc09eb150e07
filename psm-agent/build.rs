//! Packs the program's relative relocations (DT_RELR, glibc 2.36 and later): 150 KB that would otherwise be read at each
//! start and stay resident.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let glibc = std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu");
    let linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if linux && glibc {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
