//! A PostgreSQL cluster of a test's own, from Debian's package: made in a temporary directory, reached by a Unix socket there and by nothing
//! else, gone with its owner.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};

use crate::lab::wait_until;

/// Where Debian puts the programs of each version.
const INSTALLED: &str = "/usr/lib/postgresql";
/// A cluster is ready within this also on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The cluster's own superuser, whatever the user is called under which it runs.
const SUPERUSER: &str = "postgres";

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    dir: PathBuf,
    server: Child,
    databases: AtomicU32,
}

impl Cluster {
    /// Whether this machine has PostgreSQL; else why not, for [`skip`](crate::lab::sandbox::skip).
    ///
    /// # Errors
    /// The package that is missing.
    pub fn installed() -> Result<(), &'static str> {
        programs().map(|_| ()).ok_or("PostgreSQL is not installed (postgresql)")
    }

    /// Makes a cluster and waits until it answers.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or one of its programs fails.
    pub fn start() -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let programs = programs().context("PostgreSQL is not installed")?;
        let name = format!("house-pg-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&dir).context("directory of the cluster")?;
        // Its programs refuse to run as root.
        let user = if geteuid().is_root() { Some(unprivileged()?) } else { None };
        if let Some(user) = &user {
            chown(&dir, Some(user.uid.as_raw()), Some(user.gid.as_raw())).context("handing the directory over")?;
        }
        let as_user = |program: &str| {
            let program = programs.join(program);
            let mut command = match &user {
                None => Command::new(program),
                Some(user) => {
                    let mut command = Command::new("setpriv");
                    let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
                    command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups", "--"]).arg(program);
                    command
                }
            };
            command.current_dir(&dir).stdin(Stdio::null()).env_remove("PGDATA");
            command
        };
        let data = dir.join("data");
        let made = as_user("initdb")
            .args([
                "--no-sync",
                "--auth",
                "trust",
                "--username",
                SUPERUSER,
                "--encoding",
                "UTF8",
                "--locale",
                "C.UTF-8",
            ])
            .arg("--pgdata")
            .arg(&data)
            .output()
            .context("initdb")?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let log = fs::File::create(dir.join("log")).context("log of the cluster")?;
        let server = as_user("postgres")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&dir)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("postgres")?;
        let cluster = Self { programs, dir, server, databases: AtomicU32::new(0) };
        let ready = wait_until("the cluster to answer", READY_WITHIN, || cluster.psql("postgres", "SELECT 1").ok());
        if let Err(error) = ready {
            let log = fs::read_to_string(cluster.dir.join("log")).unwrap_or_default();
            bail!("{error:#}; its log: {log}");
        }
        Ok(cluster)
    }

    /// A new, empty database, as a connection string.
    ///
    /// # Errors
    /// The cluster refuses.
    pub fn database(&self) -> anyhow::Result<String> {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.connection(&name))
    }

    /// How a database is reached.
    pub fn connection(&self, database: &str) -> String {
        format!("host={} user={SUPERUSER} dbname={database}", self.dir.display())
    }

    /// Runs SQL in a database, by psql, and gives what it prints.
    ///
    /// # Errors
    /// psql's own words.
    pub fn psql(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        let out = Command::new(self.programs.join("psql"))
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d"])
            .arg(self.connection(database))
            .args(["-c", sql])
            .output()
            .context("psql")?;
        ensure!(out.status.success(), "psql: {}", String::from_utf8_lossy(&out.stderr));
        Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SIGINT: connections are cut, data is written. setpriv became postgres, so it is this very process.
        let pid = Pid::from_raw(self.server.id().cast_signed());
        if kill(pid, Signal::SIGINT).is_err() || self.server.wait().is_err() {
            eprintln!("the cluster in {} could not be stopped", self.dir.display());
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("{} stays: {error}", self.dir.display());
        }
    }
}

/// The programs of the newest version installed.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(INSTALLED).ok()?;
    let number = |dir: &Path| dir.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(|dir| number(dir))?;
    Some(newest.join("bin")).filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
}

fn unprivileged() -> anyhow::Result<User> {
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name).context("looking for a user")? {
            return Ok(user);
        }
    }
    bail!("neither postgres nor nobody is a user here")
}
