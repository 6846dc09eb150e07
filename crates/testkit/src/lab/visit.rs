//! The way from outside into a running lab, for a person who wants to look around on one of its hosts.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::MOUNT_POINTS;
use super::host::HOLDER_FILE;

/// `command` (a shell if empty) as it runs on host `name` of a lab that runs now, with the lab's programs in `PATH`.
///
/// # Errors
/// When no lab of this user has such a host.
pub fn command_on(name: &str, command: &[OsString]) -> Result<Command> {
    let Some((holder, lab)) = find(name) else { bail!("no running lab has a host called {name}") };
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--target", &holder.to_string(), "--net", "--mount", "--uts", "--pid"]);
    let user = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).ok();
    if user("self") != user(&holder.to_string()) {
        nsenter.args(["--user", "--preserve-credentials"]);
    }
    let path = std::env::var("PATH").unwrap_or_default();
    nsenter.args(["--", "env", &format!("PATH={}:{path}", lab.join("bin").display()), &format!("PS1={name}# ")]);
    if command.is_empty() {
        nsenter.arg("sh")
    } else {
        nsenter.args(command)
    };
    Ok(nsenter)
}

/// The holder of a host, by the number it has here, and its lab's directory. The holder sees a file with its own number
/// inside.
fn find(name: &str) -> Option<(u32, PathBuf)> {
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let Some(inside) = status.lines().find_map(|line| line.strip_prefix("NSpid:")?.split_whitespace().last())
        else {
            continue;
        };
        for lab in MOUNT_POINTS.map(Path::new) {
            let root = entry.path().join("root").join(lab.strip_prefix("/").unwrap_or(lab));
            let holder = fs::read_to_string(root.join("hosts").join(name).join(HOLDER_FILE));
            if holder.is_ok_and(|holder| holder.trim() == inside) {
                return Some((pid, lab.to_owned()));
            }
        }
    }
    None
}
