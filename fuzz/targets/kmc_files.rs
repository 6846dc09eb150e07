//! The files of a KMC: configuration and policy.
#![no_main]
use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let path = Path::new("fuzz.toml");
    let _ = daemon_kit::config::parse::<kmc::config::Config>(text, path);
    let _ = kmc::policy_file::parse(text, path);
});
