//! One host of the lab: a network, a mount and a UTS namespace, held open by a process that does nothing else.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};

use super::process::{Process, pid_of};

/// Sets the namespaces up; `$1` is the host's directory, `$2` its name.
///
/// `-n`: the list of mounts under the real `/run` is not written to. The real machine's clocks and power switches stay out of reach, also when the lab runs with root's own rights.
const HOLDER: &str = r#"set -e
mount -n --bind "$1/run" /run
mount -n --bind "$1/lib" /var/lib
mount -n -t sysfs -o ro sysfs /sys 2>/dev/null || true
mount -n --bind "$1/class" /sys/class
mount -n -t tracefs tracefs /sys/kernel/tracing 2>/dev/null || true
[ ! -d /sys/power ] || mount -n -t tmpfs -o ro none /sys/power
for device in /dev/rtc* /dev/gpiochip*; do
    [ ! -c $device ] || mount -n --bind /dev/null $device
done
hostname "$2"
ip link set lo up
echo ready
exec sleep infinity
"#;

/// The alarm of the host's own clock chip, in its directory: `/sys/class/rtc/rtc0/wakealarm` on the host.
pub const RTC_ALARM: &str = "class/rtc/rtc0/wakealarm";

/// File in a host's directory with the process number of its holder.
pub(crate) const HOLDER_FILE: &str = "holder";

/// A host. Its `/run`, `/var/lib` and `/sys/class` are directories of the lab; the rest of the file system is the
/// machine's. `/sys/class` has the host's interfaces, no power supply, and a clock chip with a wake alarm.
#[derive(Debug)]
pub struct Host {
    name: String,
    number: u8,
    dir: PathBuf,
    logs: PathBuf,
    holder: Child,
    network: u64,
}

/// A process found on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its process number inside the sandbox.
    pub pid: u32,
    /// Its arguments, separated by blanks.
    pub command_line: String,
}

impl Host {
    pub(crate) fn new(name: &str, number: u8, lab: &Path) -> Result<Host> {
        let dir = lab.join("hosts").join(name);
        for sub in ["run", "lib", "class", "class/power_supply", "class/rtc", "class/rtc/rtc0"] {
            fs::create_dir_all(dir.join(sub)).with_context(|| format!("creating {sub} of {name}"))?;
        }
        std::os::unix::fs::symlink("../devices/virtual/net", dir.join("class/net")).context("linking net")?;
        fs::write(dir.join(RTC_ALARM), "").context("creating the clock's alarm")?;
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "--uts", "sh", "-c", HOLDER, "holder"])
            .arg(&dir)
            .arg(name)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the holder of a host")?;
        let mut said = String::new();
        if let Some(stdout) = holder.stdout.take() {
            BufReader::new(stdout).read_line(&mut said).context("reading from the holder")?;
        }
        if said.trim() != "ready" {
            let _gone = holder.kill();
            bail!("the namespaces of {name} could not be set up: {:?}", holder.wait());
        }
        fs::write(dir.join(HOLDER_FILE), holder.id().to_string()).context("noting the holder")?;
        let network = network_of(holder.id()).context("reading the network namespace")?;
        Ok(Host { name: name.to_owned(), number, dir, logs: lab.join("log"), holder, network })
    }

    /// Its host name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory: `run`, `lib` and `class` in it are the host's `/run`, `/var/lib` and `/sys/class`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its place in the order of creation, from 0.
    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    /// The process that holds the namespaces; `nsenter --target PID --net --mount --uts` enters the host.
    pub fn holder(&self) -> u32 {
        self.holder.id()
    }

    /// `program`, to be run on this host.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg("--target")
            .arg(self.holder.id().to_string())
            .args(["--net", "--mount", "--uts", "--"])
            .arg(program)
            .env_remove("DBUS_SYSTEM_BUS_ADDRESS")
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM");
        command
    }

    /// Makes `/run/NAME` and `/var/lib/NAME`, as a service manager does for a service that asks for them.
    ///
    /// # Errors
    /// When they can't be made.
    pub fn make_service_directories(&self, name: &str) -> Result<()> {
        for below in ["run", "lib"] {
            fs::create_dir_all(self.dir.join(below).join(name)).with_context(|| format!("creating {below}/{name}"))?;
        }
        Ok(())
    }

    /// Starts a program that stays; its output goes to `HOST-NAME.log` among the lab's logs. Build `command` with
    /// [`Host::command`].
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(&self, name: &str, command: &mut Command) -> Result<Process> {
        Process::start(name, command, &self.logs.join(format!("{}-{name}.log", self.name)))
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// When it can't be started; a non-zero exit is for the caller to judge.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, program: S, arguments: &[&str]) -> Result<Output> {
        self.command(program).args(arguments).stdin(Stdio::null()).output().context("running a program on a host")
    }

    /// Does `work` with this host's network (sockets opened in it belong to the host), on a thread of its own.
    ///
    /// # Errors
    /// When the namespace can't be entered, or `work` fails or panics.
    pub fn in_network<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = format!("/proc/{}/ns/net", self.holder.id());
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                let namespace = File::open(&path).with_context(|| format!("opening {path}"))?;
                setns(namespace, CloneFlags::CLONE_NEWNET).context("entering the network namespace")?;
                work()
            });
            thread.join().unwrap_or_else(|_| bail!("the work in the network of {} panicked", self.name))
        })
    }

    /// Every process of this host, its holder excepted.
    pub fn processes(&self) -> Vec<Found> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let mut found: Vec<Found> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| *pid != self.holder.id() && network_of(*pid) == Some(self.network))
            .map(|pid| {
                let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let text = String::from_utf8_lossy(&raw);
                Found { pid, command_line: text.trim_end_matches('\0').replace('\0', " ") }
            })
            .collect();
        found.sort_by_key(|process| process.pid);
        found
    }

    /// Sends `signal` to every process of this host that `chosen` takes; the count of those reached.
    pub fn signal_all(&self, signal: Signal, chosen: impl Fn(&Found) -> bool) -> usize {
        let chosen = self.processes().into_iter().filter(|process| chosen(process));
        chosen.filter(|process| kill(pid_of(process.pid), signal).is_ok()).count()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.signal_all(Signal::SIGKILL, |_| true);
        let _gone = self.holder.kill();
        let _reaped = self.holder.wait();
    }
}

/// Number of the network namespace a process lives in; none for one that has ended.
fn network_of(pid: u32) -> Option<u64> {
    Some(fs::metadata(format!("/proc/{pid}/ns/net")).ok()?.ino())
}
