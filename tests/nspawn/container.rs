//! A Debian with its own systemd in a container, on a host of the lab.
//!
//! Its files lie over the system's, in memory, so that nothing of a test is left for the next. Its cgroups lie below one that
//! `tests/nspawn/run` made and removes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use house_tests::house::succeeded;
use serde_json::Value;
use testkit::lab::{Host, Lab, Lan, Process, sandbox, wait_until};

use crate::limits::{BOOT_S_MAX, SCRIPT_S_MAX, SHUTDOWN_S_MAX, SOON, TEST_S_MAX};

/// The systems, made by `tests/nspawn/build`.
const IMAGE: &str = "NSPAWN_IMAGE";
/// Packages in `new` and `old`.
const FILES: &str = "NSPAWN_FILES";

/// Into its cgroup, in each hierarchy that there is, and then the container.
const IN_CGROUP: &str = r#"for h in $NSPAWN_HIERARCHIES; do
    mkdir -p "$h/$NSPAWN_CGROUP/$NAME" && echo $$ >"$h/$NSPAWN_CGROUP/$NAME/cgroup.procs" || exit 1
done
exec systemd-nspawn "$@""#;

/// A Debian release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Debian {
    /// bookworm
    Twelve,
    /// trixie
    Thirteen,
}

impl Debian {
    fn suite(self) -> &'static str {
        match self {
            Self::Twelve => "bookworm",
            Self::Thirteen => "trixie",
        }
    }
}

/// A running container. Dropping it ends all of it.
#[derive(Debug)]
pub(crate) struct Container {
    name: &'static str,
    /// Its first process, seen from here.
    leader: u32,
    /// Its network.
    host: Host,
    /// Its files.
    root: PathBuf,
    nspawn: Process,
}

/// Runs `story`, all of a test, where containers can be had.
pub(crate) fn test(story: impl FnOnce(&mut Lab, &Lan) -> Result<()>) {
    if !sandbox::is_inside() && std::env::var_os(IMAGE).is_none() {
        return sandbox::skip("needs its systems; run `make nspawn`");
    }
    sandbox::test_within(TEST_S_MAX, || {
        // nspawn leaves its locks there, which shall go with the sandbox.
        let mut command = Command::new("mount");
        succeeded(command.args(["-n", "-t", "tmpfs", "run", "/run"]).output().context("starting mount")?)?;
        let mut lab = Lab::new()?;
        let lan = lab.lan()?;
        let told = story(&mut lab, &lan);
        if told.is_err() {
            eprintln!("{}", lab.logs());
        }
        told
    });
}

fn directory(variable: &str) -> Result<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).with_context(|| format!("{variable} is not set; run `make nspawn`"))
}

impl Container {
    /// Boots one as host `number` of `lan`.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn boot(lab: &mut Lab, lan: &Lan, name: &'static str, number: u8, debian: Debian) -> Result<Self> {
        let host = lab.host(name)?;
        lab.attach(&host, "host0", lan, number)?;
        let root = overlay(&directory(IMAGE)?.join(debian.suite()), &lab.dir().join("overlay").join(name))?;
        fs::write(root.join("etc/hostname"), format!("{name}\n")).context("naming the machine")?;
        Self::start(name, host, root)
    }

    fn start(name: &'static str, host: Host, root: PathBuf) -> Result<Self> {
        let mut command = Command::new("sh");
        command
            .args(["-c", IN_CGROUP, name, "--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe"])
            .args(["--machine", name, "--hostname", name, "--directory"])
            .arg(&root)
            .arg(format!("--network-namespace-path=/proc/{}/ns/net", host.holder()))
            .arg(format!("--bind-ro={}:/debs", directory(FILES)?.display()))
            // As on a machine: a container is refused these if nothing is said.
            .args(["--capability=CAP_NET_ADMIN,CAP_BPF,CAP_PERFMON", "--system-call-filter=bpf perf_event_open"])
            .env("NAME", name)
            // Its network is its own, which it is not told by the path: so may be what is set for it (/proc/sys/net).
            .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network")
            .env_remove("NOTIFY_SOCKET");
        let nspawn = host.start("nspawn", &mut command)?;
        let mut container = Self { name, leader: 0, host, root, nspawn };
        let mut last = String::new();
        let booted = wait_until(&format!("{name} to boot"), BOOT_S_MAX, || {
            // Another one before it makes its namespaces, and ends.
            let path = format!("/proc/{0}/task/{0}/children", container.nspawn.pid());
            container.leader = fs::read_to_string(path).ok()?.split_ascii_whitespace().next()?.parse().ok()?;
            last = container.output("systemctl is-system-running").map(|(_, text)| text).unwrap_or_default();
            matches!(last.trim(), "running" | "degraded").then_some(())
        });
        booted.with_context(|| format!("it said {last}{}", container.nspawn.log()))?;
        ensure!(last.trim() == "running", "{name}: {}", container.run("systemctl --failed --no-legend")?);
        Ok(container)
    }

    /// Runs a script in it; what it printed.
    ///
    /// # Errors
    /// When it fails, with all it said, or does not end.
    pub(crate) fn run(&self, script: &str) -> Result<String> {
        let (code, said) = self.output(script)?;
        ensure!(code == Some(0), "{}: `{script}` ended with {code:?}: {said}", self.name);
        Ok(said)
    }

    /// What a script in it prints, as JSON.
    ///
    /// # Errors
    /// When it fails or prints something else.
    pub(crate) fn json(&self, script: &str) -> Result<Value> {
        let text = self.run(script)?;
        serde_json::from_str(&text).with_context(|| format!("reading {text:?}"))
    }

    fn output(&self, script: &str) -> Result<(Option<i32>, String)> {
        let mut command = Command::new("timeout");
        command
            .args(["--foreground", "-k", "1", &SCRIPT_S_MAX.as_secs().to_string(), "nsenter", "--target"])
            .arg(self.leader.to_string())
            .args(["--all", "--", "/bin/sh", "-c"])
            .arg(format!("exec 2>&1\ncd /\nexport PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 SYSTEMD_COLORS=0\n{script}"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let output = command.output().context("starting nsenter")?;
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
    }

    /// A property of a unit.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub(crate) fn property(&self, unit: &str, name: &str) -> Result<String> {
        Ok(self.run(&format!("systemctl show -P {name} {unit}"))?.trim().to_owned())
    }

    /// Waits until a unit's status line has all of `words`; the line.
    ///
    /// # Errors
    /// When it has not in time, with what it says.
    pub(crate) fn wait_status(&self, unit: &str, words: &[&str], deadline: Duration) -> Result<String> {
        let mut last = String::new();
        let found = wait_until(&format!("{unit} to say {words:?}"), deadline, || {
            last = self.property(unit, "StatusText").unwrap_or_default();
            words.iter().all(|word| last.contains(word)).then_some(())
        });
        found.with_context(|| format!("{} says {last:?}\n{}", unit, self.journal(unit)))?;
        Ok(last)
    }

    /// Waits until a unit runs with another main process than `before`; its number.
    ///
    /// # Errors
    /// When it does not in time.
    pub(crate) fn wait_again(&self, unit: &str, before: &str, deadline: Duration) -> Result<String> {
        let again = wait_until(&format!("{unit} to be back"), deadline, || {
            let active = self.property(unit, "ActiveState").ok()? == "active";
            let pid = self.property(unit, "MainPID").ok()?;
            (active && pid != "0" && pid != before).then_some(pid)
        });
        again.with_context(|| self.journal(unit))
    }

    /// The unit is there, runs, and has not been started again by itself.
    ///
    /// # Errors
    /// When not, with its journal.
    pub(crate) fn ensure_active(&self, unit: &str) -> Result<()> {
        let state = self.property(unit, "ActiveState")?;
        ensure!(state == "active", "{unit} is {state}: {}", self.journal(unit));
        let restarts = self.property(unit, "NRestarts")?;
        ensure!(restarts == "0", "{unit} was started again {restarts} times: {}", self.journal(unit));
        Ok(())
    }

    /// What a unit has said.
    pub(crate) fn journal(&self, unit: &str) -> String {
        self.run(&format!("journalctl -b --no-pager -o short-monotonic -n 60 -u {unit}")).unwrap_or_default()
    }

    /// Ends it as its power button would.
    ///
    /// # Errors
    /// When it does not end.
    pub(crate) fn power_off(self) -> Result<()> {
        self.end().map(drop)
    }

    /// Powers it off, and boots it with the files it had.
    ///
    /// # Errors
    /// When it does not end, or does not come up.
    pub(crate) fn boot_again(self) -> Result<Self> {
        let name = self.name;
        let (host, root) = self.end()?;
        // Its network is the one thing that outlives it; a machine's kernel would begin without rules.
        let mut command = Command::new("chroot");
        command.arg(&root).args(["nft", "flush", "ruleset"]);
        succeeded(host.in_network(|| command.output().context("starting nft"))?)?;
        Self::start(name, host, root)
    }

    fn end(mut self) -> Result<(Host, PathBuf)> {
        // Its end may be quicker than its answer.
        let _answer = self.output("systemctl poweroff");
        let status = self.nspawn.wait(SHUTDOWN_S_MAX)?;
        ensure!(status.success(), "the container ended with {status}");
        Ok((self.host, self.root))
    }

    /// Waits until the condition holds, by what a script prints.
    ///
    /// # Errors
    /// When it does not in time, with what was printed last.
    pub(crate) fn wait_for(&self, what: &str, script: &str, holds: impl Fn(&str) -> bool) -> Result<String> {
        self.wait_within(what, script, SOON, holds)
    }

    /// As [`Self::wait_for`], for at most `deadline`.
    ///
    /// # Errors
    /// When it does not in time, with what was printed last.
    pub(crate) fn wait_within(
        &self,
        what: &str,
        script: &str,
        deadline: Duration,
        holds: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let mut last = String::new();
        let held = wait_until(what, deadline, || {
            last = self.output(script).map(|(_, text)| text).unwrap_or_default();
            holds(&last).then_some(())
        });
        held.with_context(|| format!("{}: `{script}` said {last}", self.name))?;
        Ok(last)
    }
}

/// `system` with room for changes over it.
fn overlay(system: &Path, at: &Path) -> Result<PathBuf> {
    for sub in ["up", "work", "root"] {
        fs::create_dir_all(at.join(sub)).with_context(|| format!("creating {sub}"))?;
    }
    let root = at.join("root");
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        system.display(),
        at.join("up").display(),
        at.join("work").display()
    );
    let mut command = Command::new("mount");
    command.args(["-n", "-t", "overlay", "-o", &options, "overlay"]).arg(&root);
    succeeded(command.output().context("starting mount")?)?;
    Ok(root)
}
