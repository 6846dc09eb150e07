//! The real program in a directory of its own, on loopback.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use daemon_kit::clock;
use getrandom::SysRng;
use kmc::api::{AuditAnswer, StatementView, StatusView, TokenView};
use rand_core::UnwrapErr;
use secure_http::{EnrolmentToken, Order, Ordered, OwnKeys, PartyId, PolicyState, Statement, UnixTime};
use secure_link::{At, FetchedKey, Kmc, LinkError, Member};
use serde::de::DeserializeOwned;

/// For what the daemon does within moments on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

pub(crate) fn party(number: u8) -> PartyId {
    format!("2fac1234-31f8-41b4-a222-08002b34c0{number:02x}").parse().expect("a sound world")
}

pub(crate) fn at() -> At {
    let now = UnixTime(clock::wall().as_second().try_into().expect("a sound world"));
    At { time: Some(now), guess: now, boot: clock::boottime() }
}

/// Asks again until there is an answer, or fails.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = clock::boottime() + PATIENCE;
    loop {
        if let Some(value) = ask().await {
            return value;
        }
        assert!(clock::boottime() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) struct Daemon {
    dir: tempfile::TempDir,
    child: Option<Child>,
    pub(crate) status: StatusView,
}

impl Daemon {
    /// A new centre with that much more in its configuration, running.
    pub(crate) async fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a sound world");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let text = format!(
            "state-dir = '{}'\n[http]\nlisten = '127.0.0.1:0'\nlisten-local = '127.0.0.1:0'\n[control]\nsocket = '{}'\n{config}",
            path("state"),
            path("control.sock")
        );
        std::fs::write(dir.path().join("kmc.toml"), text).expect("a sound world");
        let out = command(dir.path(), &["init", "--json"]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let mut daemon = Self { dir, child: None, status: empty_status() };
        daemon.start().await;
        // Members know it by its address, which so stays the same when it is started again.
        let file = daemon.dir.path().join("kmc.toml");
        let text = std::fs::read_to_string(&file).expect("a sound world");
        let fixed = text.replacen("'127.0.0.1:0'", &format!("'{}'", daemon.status.address), 1);
        std::fs::write(file, fixed).expect("a sound world");
        daemon
    }

    pub(crate) async fn start(&mut self) {
        let mut command = program(self.dir.path());
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .expect("a sound world");
        self.child = Some(command.stderr(log).stdout(Stdio::null()).spawn().expect("a sound world"));
        self.status = until("the daemon answers", async || {
            let out = self.run(&["status", "--json"]);
            out.status.success().then(|| serde_json::from_slice(&out.stdout).expect("a sound world"))
        })
        .await;
    }

    /// Ends it so that it can do nothing about it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a sound world");
            child.wait().expect("a sound world");
        }
    }

    /// Ends it as the service manager does; says its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("a sound world");
        let pid = nix::unistd::Pid::from_raw(child.id().try_into().expect("a sound world"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("a sound world");
        child.wait().expect("a sound world").code()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        command(self.dir.path(), arguments)
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> T {
        let out = self.run(&[arguments, &["--json"]].concat());
        assert!(out.status.success(), "{arguments:?}: {}{}", String::from_utf8_lossy(&out.stdout), self.log());
        serde_json::from_slice(&out.stdout).expect("a sound world")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).expect("a sound world");
        path.display().to_string()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    pub(crate) fn token(&self, arguments: &[&str]) -> (TokenView, EnrolmentToken) {
        let view: TokenView = self.json(&[&["token", "new", "--role", "heg"], arguments].concat());
        let token = view.text.as_ref().expect("a sound world").parse().expect("a sound world");
        (view, token)
    }

    pub(crate) fn statement(&self, which: &str) -> StatementView {
        self.json(&["statements", "show", which])
    }

    pub(crate) fn audit(&self) -> AuditAnswer {
        self.json(&["audit"])
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The KMC as somebody new meets it.
    pub(crate) async fn meet(&self) -> Kmc {
        let (_, token) = self.token(&[]);
        Kmc::meet(&self.status.address, token.fingerprint(), at()).await.expect("a sound world")
    }

    /// A utility enrolled with a token of its own.
    pub(crate) async fn utility(&self, number: u8) -> Home {
        let view: TokenView = self.json(&["token", "new", "--role", "utility"]);
        let mut utility = Home::new(self, number).await;
        let token = view.text.expect("a new token has its text").parse().expect("a sound world");
        utility.enrol(&token).await.expect("a sound world");
        utility
    }

    /// A gateway enrolled with a token of its own.
    pub(crate) async fn home(&self, number: u8) -> Home {
        let mut home = Home::new(self, number).await;
        let (_, token) = self.token(&[]);
        home.enrol(&token).await.expect("a sound world");
        home
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heg-kmc"));
    for name in ["STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "LOG_LEVEL"] {
        command.env_remove(name);
    }
    command.arg("--config").arg(dir.join("kmc.toml")).stdin(Stdio::null());
    command
}

fn command(dir: &Path, arguments: &[&str]) -> Output {
    program(dir).args(arguments).output().expect("a sound world")
}

fn empty_status() -> StatusView {
    StatusView {
        id: String::new(),
        version: String::new(),
        address: String::new(),
        local_address: String::new(),
        host: String::new(),
        fingerprint: String::new(),
        root_until: String::new(),
        issuing_until: String::new(),
        policy: 0,
        revocations: 0,
        revoked: 0,
        gateways: 0,
        utilities: 0,
        open_tokens: 0,
        evidence: 0,
        audit_head: String::new(),
        troubles: Vec::new(),
    }
}

/// A gateway's side.
pub(crate) struct Home {
    pub(crate) id: PartyId,
    pub(crate) keys: OwnKeys,
    pub(crate) policy: PolicyState,
    pub(crate) statement: Option<Statement>,
    pub(crate) kmc: Kmc,
    pub(crate) seq: u64,
}

impl Home {
    pub(crate) async fn new(daemon: &Daemon, number: u8) -> Self {
        let mut kmc = daemon.meet().await;
        let policy =
            kmc.refresh_policy(&PolicyState::default(), at()).await.expect("a sound world").expect("a sound world");
        let keys = OwnKeys::generate(&mut rng());
        Self { id: party(number), keys, policy, statement: None, kmc, seq: 0 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    pub(crate) async fn enrol(&mut self, token: &EnrolmentToken) -> Result<(), LinkError> {
        let seq = self.next();
        let enrolled = self.kmc.enrol(token.secret(), self.id, &self.keys, seq, at(), &mut rng()).await?;
        self.statement = Some(enrolled.statement);
        Ok(())
    }

    /// Asks for its own statement with the keys it has now.
    pub(crate) async fn ask(&mut self) -> Result<Statement, LinkError> {
        Ok(self.fetch(Some(self.id)).await?.statement)
    }

    pub(crate) async fn fetch(&mut self, party: Option<PartyId>) -> Result<FetchedKey, LinkError> {
        let seq = self.next();
        let member = Member { id: self.id, keys: &self.keys, policy: &self.policy };
        self.kmc.fetch_key(&member, seq, (party, None), at(), &mut rng()).await
    }

    /// Says where it is reached, with the statement and the keys it has now.
    pub(crate) async fn announce(&mut self, old: Option<&OwnKeys>, host: Option<&str>) -> Result<(), LinkError> {
        let seq = self.next();
        let member = Member { id: self.id, keys: &self.keys, policy: &self.policy };
        let statement = self.statement.as_ref().expect("a sound world");
        self.kmc.announce(&member, seq, statement, old.map(OwnKeys::sig), host, at(), &mut rng()).await
    }

    pub(crate) async fn order(&mut self, order: &Order) -> Result<Ordered, LinkError> {
        let seq = self.next();
        let member = Member { id: self.id, keys: &self.keys, policy: &self.policy };
        self.kmc.order(&member, seq, order, at(), &mut rng()).await
    }

    /// New keys in place of those it has; gives the old ones back.
    pub(crate) async fn roll_over(&mut self) -> Result<OwnKeys, LinkError> {
        let new = OwnKeys::generate(&mut rng());
        let seq = self.next();
        let member = Member { id: self.id, keys: &self.keys, policy: &self.policy };
        let old = self.statement.clone().expect("a sound world");
        let (sig, kem) = (new.sig(), new.kem().public());
        let next = self.kmc.roll_over(&member, seq, &old, sig, kem, at(), &mut rng()).await?;
        self.statement = Some(next);
        Ok(std::mem::replace(&mut self.keys, new))
    }
}
