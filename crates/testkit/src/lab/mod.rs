//! The namespace lab: a home of real hosts on one Linux machine, made of namespaces and gone without a trace.
//!
//! A program first enters the [`sandbox`] (it runs itself again through `unshare`), where it is root over fresh mount,
//! network and process namespaces. There a [`Lab`] puts up [`Lan`]s (bridges) and [`Host`]s (a network, mount and UTS
//! namespace each, with their own `/run` and `/var/lib`), joined by veth pairs. Programs started on a host are the
//! unmodified ones of the machine. A [`Watcher`] in the middle sees every frame that any host sends, with the kernel's
//! time stamp.
//!
//! **Invariant**: nothing is made outside the namespaces, so there is nothing to clean up: when the program that
//! entered the sandbox ends, however it ends, the kernel ends the processes and drops the mounts and interfaces.
//!
//! Needs: `unshare`, `nsenter`, `setpriv`, `mount` (util-linux), `ip` (iproute2), `timeout`, `sleep` (coreutils),
//! `hostname`.

pub mod frame;
pub mod host;
pub mod lan;
pub mod limits;
pub mod process;
pub mod sandbox;
pub mod visit;
pub mod wait;
pub mod watcher;

pub use frame::{Frame, MagicPacket};
pub use host::{Found, Host};
pub use lan::{Lan, Link, Tap};
pub use process::Process;
pub use wait::wait_until;
pub use watcher::{Mark, Watcher};

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};

/// The lab's own ground inside the sandbox: a directory in memory, the built programs, and the packet watcher.
#[derive(Debug)]
pub struct Lab {
    dir: PathBuf,
    watcher: Arc<Watcher>,
    lans: u8,
    hosts: u8,
}

/// Where the lab may mount its directory. Every Debian has these, and nothing the lab needs lives below them; the first
/// that does not hide the running program is taken.
pub(crate) const MOUNT_POINTS: [&str; 3] = ["/mnt", "/media", "/srv"];

impl Lab {
    /// Puts up the lab's ground. Only inside the [`sandbox`].
    ///
    /// # Errors
    /// Outside the sandbox, or when a mount or the packet socket is refused.
    pub fn new() -> Result<Lab> {
        ensure!(sandbox::is_inside(), "the lab only works inside its sandbox");
        let programs = sandbox::programs_dir()?;
        let working = std::env::current_dir().unwrap_or_default();
        let Some(dir) = MOUNT_POINTS
            .iter()
            .map(Path::new)
            .find(|p| p.is_dir() && !programs.starts_with(p) && !working.starts_with(p))
        else {
            bail!("none of {MOUNT_POINTS:?} can be used as the lab's directory");
        };
        run(Command::new("mount").args(["-n", "-t", "tmpfs", "-o", "mode=755", "lab"]).arg(dir))?;
        for sub in ["bin", "hosts", "log"] {
            std::fs::create_dir(dir.join(sub)).with_context(|| format!("creating {sub}"))?;
        }
        // Hosts have their own /run and /var/lib, where the build directory might be.
        run(Command::new("mount").args(["-n", "--bind"]).arg(&programs).arg(dir.join("bin")))?;
        run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
        Ok(Lab { dir: dir.to_owned(), watcher: Arc::new(Watcher::start()?), lans: 0, hosts: 0 })
    }

    /// The lab's directory in memory: `hosts/NAME/{run,lib}` are the hosts' `/run` and `/var/lib`, `log/` the output of
    /// every process.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Path of one of the programs built beside the running one; the same on every host.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// Sees every frame that a host sends.
    pub fn watcher(&self) -> &Arc<Watcher> {
        &self.watcher
    }

    /// A new LAN: a bridge, 10.88.N.0/24 and fd88:0:0:N::/64 for the N-th.
    ///
    /// # Errors
    /// When the kernel refuses the bridge.
    pub fn lan(&mut self) -> Result<Lan> {
        let lan = Lan::new(self.lans)?;
        self.lans += 1;
        Ok(lan)
    }

    /// A new host without a network interface; see [`Lab::attach`].
    ///
    /// # Errors
    /// When a namespace or a mount is refused.
    pub fn host(&mut self, name: &str) -> Result<Host> {
        let host = Host::new(name, self.hosts, &self.dir)?;
        self.hosts += 1;
        Ok(host)
    }

    /// Plugs a new interface `ifname` of `host` into `lan`. `number` is the host part of its addresses, 1 to 254.
    ///
    /// # Errors
    /// When the kernel refuses the veth pair or an address.
    pub fn attach(&self, host: &Host, ifname: &str, lan: &Lan, number: u8) -> Result<Link> {
        let link = lan.attach(host, ifname, number)?;
        self.watcher.name_port(link.port_index(), host.name());
        Ok(link)
    }

    /// A place on `lan` for a virtual machine, host `number` of it; the watcher calls it `name`. The emulator is started in
    /// the lab itself, beside the bridge.
    ///
    /// # Errors
    /// When the kernel refuses the tap.
    pub fn tap(&self, name: &str, lan: &Lan, number: u8) -> Result<Tap> {
        let tap = lan.tap(number)?;
        self.watcher.name_port(tap.port_index(), name);
        Ok(tap)
    }

    /// The last lines of every process' output, for the report of a failure.
    pub fn logs(&self) -> String {
        let mut report = String::new();
        let Ok(entries) = std::fs::read_dir(self.dir.join("log")) else { return report };
        let mut files: Vec<_> = entries.flatten().map(|e| e.path()).collect();
        files.sort();
        for file in files {
            let text = std::fs::read(&file).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(limits::LOG_TAIL_LINES_MAX);
            let name = file.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            report.push_str(&format!("---- {name} (last {} of {} lines)\n", lines.len() - from, lines.len()));
            for line in lines.iter().skip(from) {
                report.push_str(line);
                report.push('\n');
            }
        }
        report
    }
}

/// Runs a short command to its end; its error output becomes the error.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}, {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
