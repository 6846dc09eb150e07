//! The real programs on loopback, each in a directory of its own.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use daemon_kit::clock;
use secure_http::{EnrolmentToken, PartyId};
use serde_json::Value;
use testkit::lab::sandbox::programs_dir;

/// For what a daemon does within moments on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// Waits for the next whole second of the time since boot: refusals are counted by it.
pub(crate) async fn next_second() {
    let began = clock::boottime().as_secs();
    until("the next second", async || (clock::boottime().as_secs() > began).then_some(())).await;
}

/// The name of party `number`.
pub(crate) fn party(number: u8) -> PartyId {
    format!("2fac1234-31f8-41b4-a222-08002b34c0{number:02x}").parse().expect("a UUID")
}

fn program(name: &str, config: &Path) -> Command {
    let path = programs_dir().expect("a directory of programs").join(name);
    assert!(path.exists(), "{name} is not built; run `make build`");
    let mut command = Command::new(path);
    for name in ["STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "LOG_LEVEL"] {
        command.env_remove(name);
    }
    command.arg("--config").arg(config).stdin(Stdio::null());
    command
}

/// A program that runs, ended with the value.
struct Running(Option<Child>);

impl Running {
    fn start(mut command: Command, log: &Path) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(log).expect("a log");
        Self(Some(command.stdout(Stdio::null()).stderr(log).spawn().expect("the program starts")))
    }

    fn pid(&self) -> u32 {
        self.0.as_ref().expect("a running program").id()
    }

    /// So that it can do nothing about it.
    fn kill(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().expect("a child of this process");
            child.wait().expect("a child of this process");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `heg-kmc`.
pub(crate) struct KmcDaemon {
    dir: tempfile::TempDir,
    running: Running,
    /// Where homes ask.
    pub(crate) address: String,
    /// Where `/metrics` is.
    pub(crate) local: String,
}

impl KmcDaemon {
    /// A new centre. Whatever the machine, nobody is turned away for asking often: that is not what is looked at here.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let config = format!(
            "state-dir = '{}'\n[http]\nlisten = '127.0.0.1:0'\nlisten-local = '127.0.0.1:0'\n[control]\nsocket = '{}'\n\
             [statements]\noverlap-s = 1\n[flood]\nrequests-per-minute = 1000000\n",
            path("state"),
            path("control.sock")
        );
        std::fs::write(dir.path().join("kmc.toml"), config).expect("a file");
        let mut daemon = Self { dir, running: Running(None), address: String::new(), local: String::new() };
        daemon.command(&["init"]);
        daemon.restart().await;
        daemon
    }

    /// Kills it and starts it again, at another port.
    pub(crate) async fn restart(&mut self) {
        self.running.kill();
        self.running = Running::start(program("heg-kmc", &self.config()), &self.dir.path().join("log"));
        let status = until("heg-kmc answers", async || {
            let out = program("heg-kmc", &self.config()).args(["status", "--json"]).output().expect("a program");
            out.status.success().then(|| serde_json::from_slice::<Value>(&out.stdout).expect("JSON"))
        })
        .await;
        self.address = text(&status, "address");
        self.local = text(&status, "local-address");
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("kmc.toml")
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// What an operator does, as JSON.
    pub(crate) fn command(&self, arguments: &[&str]) -> Value {
        let out = program("heg-kmc", &self.config()).args(arguments).arg("--json").output().expect("a program");
        assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stdout));
        serde_json::from_slice(&out.stdout).expect("JSON")
    }

    /// A new token, that says the centre is at `host`.
    pub(crate) fn token(&self, role: &str, party: Option<PartyId>, host: &str) -> EnrolmentToken {
        let party = party.map(|party| party.to_string());
        let mut arguments = vec!["token", "new", "--role", role];
        if let Some(party) = &party {
            arguments.extend(["--uuid", party]);
        }
        let token: EnrolmentToken = text(&self.command(&arguments), "text").parse().expect("a token");
        EnrolmentToken::new(host, token.secret().clone(), token.fingerprint()).expect("a host")
    }

    /// Makes this the policy.
    pub(crate) fn set_policy(&self, toml: &str) {
        let file = self.dir.path().join("policy.toml");
        std::fs::write(&file, toml).expect("a file");
        self.command(&["policy", "set", &file.display().to_string()]);
    }

    /// Where a party is reached, by its word.
    pub(crate) fn host_of(&self, party: PartyId) -> Option<String> {
        self.command(&["statements", "show", party.as_str()])["host"].as_str().map(str::to_owned)
    }

    /// How many sealed messages got to a step.
    pub(crate) async fn step(&self, step: &str) -> u64 {
        metric(&self.local, &format!("heg_kmc_messages_total{{step=\"{step}\"}}")).await
    }
}

/// `heg-utility`, a member of a KMC.
pub(crate) struct UtilityDaemon {
    dir: tempfile::TempDir,
    running: Running,
    /// Where homes report and poll.
    pub(crate) address: String,
    console: String,
}

impl UtilityDaemon {
    /// A new one, enrolled with that token.
    pub(crate) async fn start(token: &EnrolmentToken) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        // Nobody finds it by the name it tells the KMC: homes are led here by the test.
        let config = format!(
            "state-dir = '{}'\n[console]\nlisten = ['127.0.0.1:0']\nrequests-per-s = 1000.0\nburst = 10000\n\
             [homes]\nlisten = ['127.0.0.1:0']\nreachable = 'utility.example:8460'\nrequests-per-minute = 1000000\n",
            dir.path().join("state").display()
        );
        std::fs::write(dir.path().join("utility.toml"), config).expect("a file");
        let mut daemon = Self { dir, running: Running(None), address: String::new(), console: String::new() };
        daemon.listen().await;
        daemon.command(&["enrol", &token.to_string(), "--id", party(crate::world::UTILITY).as_str()]);
        daemon.is_member().await;
        daemon
    }

    /// Kills it and starts it again, at other ports.
    pub(crate) async fn restart(&mut self) {
        self.listen().await;
        self.is_member().await;
    }

    /// As [`restart`](Self::restart), after so long: what was to hold for a while is set back by that in its database.
    pub(crate) async fn restart_after(&mut self, seconds: u64) {
        let seconds = i64::try_from(seconds).expect("a short time");
        self.running.kill();
        let database = rusqlite::Connection::open(self.dir.path().join("state/utility.db")).expect("its database");
        let set = database.execute("UPDATE statement SET until = until - ?1 WHERE until IS NOT NULL", [seconds]);
        assert!(set.expect("a table of statements") > 0, "there is nothing that ends");
        drop(database);
        self.restart().await;
    }

    async fn listen(&mut self) {
        self.running.kill();
        let log = self.dir.path().join("log");
        let before = std::fs::read_to_string(&log).map_or(0, |log| log.len());
        self.running = Running::start(program("heg-utility", &self.dir.path().join("utility.toml")), &log);
        let said = until("heg-utility has started", async || {
            let said = std::fs::read_to_string(&log).ok()?.split_off(before);
            said.contains(" started").then_some(said)
        })
        .await;
        let address = |whom: &str| {
            let line = said.lines().find(|line| line.contains("listening") && line.contains(whom));
            let (_, rest) = line.and_then(|line| line.split_once("address=")).expect("it says where it listens");
            rest.split_whitespace().next().expect("an address").to_owned()
        };
        (self.address, self.console) = (address("homes"), address("operators"));
    }

    async fn is_member(&self) {
        let get = crate::wire::Message {
            first: "GET /healthz HTTP/1.1".to_owned(),
            ..crate::wire::Message::post("", "", Vec::new())
        };
        until("heg-utility is a member", async || {
            (crate::wire::ask(&self.address, &get).await?.status() == 200).then_some(())
        })
        .await;
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// What an operator does, as JSON.
    pub(crate) fn command(&self, arguments: &[&str]) -> Value {
        let mut command = Command::new(programs_dir().expect("a directory of programs").join("utilityctl"));
        command.args(["--json", "--server", &format!("http://{}", self.console), "--token-file"]);
        let out = command.arg(self.dir.path().join("state/admin-token")).args(arguments).output().expect("a program");
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).unwrap_or_default()
    }

    /// Takes up a home, or lets another gateway of one in that it has; the token that its gateway enrols with.
    pub(crate) fn token(&self, number: u8) -> EnrolmentToken {
        let home = party(number);
        if !self.command(&["sites"]).to_string().contains(home.as_str()) {
            self.command(&["site", "add", home.as_str(), "--zone", "SE3", "--group", "north", "--no-token"]);
        }
        text(&self.command(&["site", "token", home.as_str()]), "token").parse().expect("a token")
    }

    /// Has the KMC sign this policy.
    pub(crate) fn set_policy(&self, toml: &str) {
        let file = self.dir.path().join("policy.toml");
        std::fs::write(&file, toml).expect("a file");
        self.command(&["policy", "set", &file.display().to_string()]);
    }

    /// Version of the policy that it follows.
    pub(crate) fn policy(&self) -> u64 {
        self.command(&["policy", "show"])["version"].as_u64().unwrap_or(0)
    }

    /// The state of an appliance of a home, as the last report had it.
    pub(crate) fn state(&self, number: u8, appliance: &str) -> Option<String> {
        let site = self.command(&["site", "show", party(number).as_str()]);
        let found = site["appliances"].as_array()?.iter().find(|a| a["id"] == appliance)?;
        found["state"].as_str().map(str::to_owned)
    }

    /// Orders an appliance of a home off, without waiting for it.
    pub(crate) fn switch_off(&self, number: u8, appliance: &str) {
        self.command(&["control", "off", party(number).as_str(), appliance, "--no-wait"]);
    }

    /// How many sealed messages got to a step.
    pub(crate) async fn step(&self, step: &str) -> u64 {
        metric(&self.console, &format!("heg_utility_sealed_step_{step}_total")).await
    }
}

/// A number of `/metrics`.
pub(crate) async fn metric(address: &str, name: &str) -> u64 {
    let request = crate::wire::Message {
        first: "GET /metrics HTTP/1.1".to_owned(),
        ..crate::wire::Message::post("", "", Vec::new())
    };
    let answer = crate::wire::ask(address, &request).await.expect("metrics");
    let text = String::from_utf8(answer.body).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.trim().parse().expect("a number")
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}")).to_owned()
}

/// An address of loopback in a neighbourhood of its own: what others do does not count for it.
pub(crate) fn neighbour(neighbourhood: u8, host: u8) -> IpAddr {
    IpAddr::from([127, 0, neighbourhood, host])
}
