//! What is in the kernel: `nft`, one that fails as wanted, and the tables of other programs.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use house_tests::house::{House, succeeded};
use testkit::lab::Host;

/// What other programs keep in the kernel: a firewall of its own, and a container engine.
const FOREIGN: &str = r#"
table inet firewalld {
    set trusted { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 } }
    chain filter_INPUT { type filter hook input priority filter + 10; policy accept; ct state invalid drop; ip saddr @trusted accept; }
}
table ip nat {
    chain DOCKER { tcp dport 9999 dnat to 172.17.0.2:80
    }
    chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; fib daddr type local jump DOCKER; }
    chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; ip saddr 172.17.0.0/16 oifname != "docker0" masquerade
    }
}
table ip filter {
    chain DOCKER-USER { return
    }
    chain FORWARD { type filter hook forward priority filter; policy accept; jump DOCKER-USER; }
}
"#;

pub(super) fn put_foreign_tables(house: &House) -> Result<Vec<String>> {
    let host = house.gateway().host();
    let file = host.dir().join("foreign.nft");
    fs::write(&file, FOREIGN)?;
    nft(host, &["-f", &file.display().to_string()])?;
    foreign_tables(house)
}

/// Every table but ours, with the kernel's own numbers for each rule.
pub(super) fn foreign_tables(house: &House) -> Result<Vec<String>> {
    let host = house.gateway().host();
    [["inet", "firewalld"], ["ip", "nat"], ["ip", "filter"]]
        .iter()
        .map(|[family, name]| nft(host, &["-a", "list", "table", family, name]))
        .collect()
}

pub(super) fn nft(host: &Host, arguments: &[&str]) -> Result<String> {
    succeeded(host.run("nft", arguments)?).with_context(|| format!("nft {arguments:?}"))
}

/// Where `nft` is.
pub(super) fn nft_program() -> Result<std::path::PathBuf> {
    let dirs = ["/usr/sbin", "/sbin", "/usr/bin"].map(std::path::Path::new);
    dirs.iter().map(|dir| dir.join("nft")).find(|path| path.exists()).context("nft is not installed")
}

/// An `nft` that runs `first` before the real one, with what it was given in `$input`; the `PATH` by which it is found.
pub(super) fn wrap_nft(host: &Host, name: &str, first: &str) -> Result<String> {
    const REAL: &str = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    let dir = host.dir().join(name);
    fs::create_dir(&dir)?;
    let script = format!("#!/bin/sh\n{REAL}\ninput=$(cat)\n{first}\nprintf %s \"$input\" | nft \"$@\"\n");
    fs::write(dir.join("nft"), script)?;
    fs::set_permissions(dir.join("nft"), fs::Permissions::from_mode(0o755))?;
    Ok(format!("PATH={}", dir.display()))
}
