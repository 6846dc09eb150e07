//! The way into the lab: the running program runs itself again inside fresh namespaces.
//!
//! The chain is `setpriv --pdeathsig KILL unshare ... --kill-child sh -c 'timeout ... PROGRAM'`. Each link dies with the one
//! before it, by the kernel's own doing, so that SIGKILL of the first ends all. The shell is the new process 1: it
//! reaps orphans. As root no user namespace is made; otherwise one, in which the caller is root.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::Thread;
use std::time::Duration;

use anyhow::{Context, Result};
use thiserror::Error;

use super::limits::TEST_S_MAX;

/// Set for the program inside; also stops a second entry.
const INSIDE: &str = "HOUSE_LAB_INSIDE";

/// File to which a test that can't run on this machine appends its reason.
const SKIPPED_LOG: &str = "SKIPPED_LOG";

const NAMESPACES: [&str; 8] = ["--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"];
const UNPRIVILEGED: [&str; 2] = ["--user", "--map-root-user"];

/// Process 1 inside: waits for the program, and for every orphan.
const INIT: &str = r#"timeout --foreground -k 1 "$@"; exit $?"#;

/// Why this machine can't run the lab.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// A program the lab is made of is missing.
    #[error("{0} is not installed")]
    Missing(&'static str),
    /// The kernel refuses the namespaces.
    #[error("namespaces are refused here: {0}")]
    Refused(String),
}

/// A way into fresh namespaces that was found to work on this machine.
#[derive(Debug)]
pub struct Sandbox {
    as_root: bool,
}

impl Sandbox {
    /// Tries, without leaving anything, whether namespaces can be had: as root first, then through a user namespace.
    ///
    /// # Errors
    /// [`Unavailable`] with the reason of each attempt.
    pub fn find() -> Result<Sandbox, Unavailable> {
        for (program, package) in
            [("unshare", "util-linux"), ("setpriv", "util-linux"), ("ip", "iproute2"), ("dbus-daemon", "dbus-daemon")]
        {
            if Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
                return Err(Unavailable::Missing(package));
            }
        }
        let mut reasons = Vec::new();
        for as_root in [true, false] {
            let sandbox = Sandbox { as_root };
            // A bridge is the first thing that a kernel without the module, or a guard against user namespaces, refuses.
            let attempt = sandbox.unshare().args(["ip", "link", "add", "try", "type", "bridge"]).output();
            match attempt {
                Ok(output) if output.status.success() => return Ok(sandbox),
                Ok(output) => reasons.push(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        Err(Unavailable::Refused(reasons.join("; in a user namespace: ")))
    }

    /// True when the sandbox is made with the caller's own root rights, false through a user namespace.
    pub fn is_as_root(&self) -> bool {
        self.as_root
    }

    /// The running program, to be run again inside with other arguments, for at most `limit`.
    ///
    /// # Errors
    /// When the running program's file can't be named.
    pub fn this_program(&self, limit: Duration) -> Result<Command> {
        let program = running_program()?;
        let mut command = self.unshare();
        command.args(["sh", "-c", INIT, "lab"]).arg(format!("{}s", limit.as_secs())).arg(program).env(INSIDE, "1");
        Ok(command)
    }

    fn unshare(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare"]).args(NAMESPACES);
        if !self.as_root {
            command.args(UNPRIVILEGED);
        }
        command
    }
}

/// True in the program that [`Sandbox::this_program`] started.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some_and(|v| v == OsStr::new("1"))
}

/// Directory of the programs built together with the running one.
///
/// # Errors
/// When the running program's file can't be named.
pub fn programs_dir() -> Result<PathBuf> {
    let program = running_program()?;
    let dir = program.parent().context("the running program has no directory")?;
    // Test programs are one level below.
    Ok(if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir }.to_owned())
}

/// The running program's file. One that was built anew meanwhile is taken as it is now.
fn running_program() -> Result<PathBuf> {
    let program = std::env::current_exe().context("finding the running program")?;
    let replaced = program.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
    Ok(replaced.unwrap_or(program))
}

/// Runs `body`, all of a test, in a sandbox of its own: outside, this starts the test program again for this one test;
/// inside, it runs `body`. Where the machine can't, the test is skipped with one line, and a line in the file named by
/// `SKIPPED_LOG`.
///
/// # Panics
/// When the test fails, as tests do.
pub fn test(body: impl FnOnce() -> Result<()>) {
    test_within(TEST_S_MAX, body);
}

/// As [`test()`], for a test that may take `limit`.
///
/// # Panics
/// When the test fails, as tests do.
pub fn test_within(limit: Duration, body: impl FnOnce() -> Result<()>) {
    if is_inside() {
        if let Err(error) = body() {
            panic!("{error:#}");
        }
        return;
    }
    let sandbox = match Sandbox::find() {
        Ok(sandbox) => sandbox,
        Err(reason) => return skip(&reason.to_string()),
    };
    let thread = std::thread::current();
    let name = test_name(&thread);
    let output = sandbox
        .this_program(limit)
        .and_then(|mut command| {
            let command = command.args([name, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"]);
            command.stdin(Stdio::null()).output().context("starting the sandbox")
        })
        .unwrap_or_else(|error| panic!("{error:#}"));
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} failed in its sandbox: {}", output.status);
    let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(ran, "no test is called {name}: the sandbox ran nothing");
}

/// The test harness names each test's thread after it.
fn test_name(thread: &Thread) -> &str {
    thread.name().unwrap_or("main")
}

/// Says that the running test can't run on this machine, in one line here and one in the file named by `SKIPPED_LOG`.
pub fn skip(reason: &str) {
    let line = format!("{}: {reason}", test_name(&std::thread::current()));
    eprintln!("SKIPPED {line}");
    if let Some(path) = std::env::var_os(SKIPPED_LOG) {
        use std::io::Write;
        let appended = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut file| writeln!(file, "{line}"));
        if let Err(error) = appended {
            eprintln!("the skip could not be noted: {error}");
        }
    }
}
