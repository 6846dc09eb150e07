//! The built programs, heg-utility and utilityctl, with a centre and homes played by this process.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secure_http::{Broadcast, EnrolmentToken, Kind, Role, SealedError};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use utility_wire::endpoints::REPORT;
use utility_wire::{BatchState, LimitSet, Message as _};

use crate::world::{Between, Heard, Home, Kmc, UTILITY, id, until};
use crate::{large_report, report};

/// heg-utility in a directory of its own, running.
struct Daemon {
    dir: tempfile::TempDir,
    child: Child,
    console: SocketAddr,
    homes: SocketAddr,
}

/// How often another program may take an address first.
const STARTS_MAX: usize = 5;

impl Daemon {
    async fn new() -> Self {
        for _ in 0..STARTS_MAX {
            if let Some(daemon) = Self::at_free_addresses().await {
                return daemon;
            }
        }
        panic!("no address stays free");
    }

    /// `None`: somebody else listens there now.
    async fn at_free_addresses() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let [console, homes] = [(); 2]
            .map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
            .map(|listener| listener.local_addr().unwrap());
        let state = dir.path().join("state");
        let text = format!(
            "state-dir = '{}'\n[console]\nlisten = ['{console}']\n[homes]\nlisten = ['{homes}']\nreachable = '{homes}'\n",
            state.display()
        );
        fs::write(dir.path().join("utility.toml"), text).unwrap();
        let child = Self::spawn(&dir);
        let mut daemon = Self { dir, child, console, homes };
        let ended = until("the server answers, or ends", async || {
            if daemon.ctl(&["status"]).status.success() {
                return Some(None);
            }
            daemon.child.try_wait().unwrap().map(Some)
        })
        .await;
        let Some(ended) = ended else { return Some(daemon) };
        let log = daemon.log();
        assert!(log.contains("Address already in use"), "{ended}: {log}");
        None
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn spawn(dir: &tempfile::TempDir) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heg-utility"));
        command.arg("--config").arg(dir.path().join("utility.toml")).env_remove("STATE_DIRECTORY");
        let log = fs::File::options().create(true).append(true).open(dir.path().join("log")).unwrap();
        command.stderr(log).stdin(Stdio::null()).spawn().unwrap()
    }

    async fn answers(&mut self) {
        until("the server answers", async || self.ctl(&["status"]).status.success().then_some(())).await;
    }

    /// Ends it so that it can do nothing about it, and starts it again.
    async fn crash(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = Self::spawn(&self.dir);
        self.answers().await;
    }

    fn stop(&mut self) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }

    fn ctl(&self, args: &[&str]) -> Output {
        let token: PathBuf = self.dir.path().join("state/admin-token");
        let mut command = Command::new(env!("CARGO_BIN_EXE_utilityctl"));
        command.args(["--server", &format!("http://{}", self.console), "--token-file"]).arg(token).args(args);
        command.output().unwrap()
    }

    /// What a command prints that has to end with that code.
    fn expect(&self, code: i32, args: &[&str]) -> String {
        let out = self.ctl(args);
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert_eq!(out.status.code(), Some(code), "{args:?}: {said}\n{}", self.log());
        said
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.expect(0, &[&["--json"], args].concat())).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Only where a test failed is it still there.
        if self.child.try_wait().unwrap().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// The token in what `site add` and `site token` print.
fn token_in(said: &str) -> EnrolmentToken {
    said.lines().find(|line| line.starts_with("HEG1:")).unwrap_or_else(|| panic!("{said}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_utility_enrols_takes_a_home_up_and_keeps_what_it_acknowledged_across_a_crash() {
    let kmc = Kmc::start().await;
    let mut daemon = Daemon::new().await;
    assert!(daemon.expect(0, &["status"]).contains("utilityctl enrol"));
    let (home, early) = (id(1).to_string(), id(2).to_string());
    let said = daemon.expect(0, &["site", "add", &early, "--zone", "SE3", "--group", "north/feeder-7"]);
    assert!(said.contains("not enrolled at a KMC"), "{said}");
    assert!(daemon.expect(1, &["keys", "show"]).contains("utilityctl enrol"));
    assert!(daemon.expect(64, &["enrol", "HEG1:nonsense"]).contains("token:"));

    let token = kmc.token(Role::Utility).to_string();
    assert!(daemon.expect(0, &["enrol", &token, "--id", UTILITY]).contains(UTILITY));
    assert!(daemon.expect(1, &["enrol", &token]).contains("enrolled already"));
    until("nothing is missing", async || {
        daemon.json(&["status"])["troubles"].as_array().is_some_and(Vec::is_empty).then_some(())
    })
    .await;

    let said =
        daemon.expect(0, &["site", "add", &home, "--zone", "SE3", "--group", "north/feeder-7", "--name", "Anna's"]);
    let mut anna = Home::enrolled_with(&token_in(&said), id(1)).await;
    let sealed = anna.seal(Kind::Report, &report(1).encode());
    let Heard::Ack(_) = anna.post(REPORT, &sealed).await else { panic!() };
    assert!(daemon.expect(0, &["keys", "show", &home]).contains("in-force"));

    // Killed right after the acknowledgement: nothing of it is lost, nothing is taken twice, and no number comes again.
    daemon.crash().await;
    let replayed = anna.post(REPORT, &sealed).await;
    assert!(matches!(replayed, Heard::Error(SealedError::Replay)), "{replayed:?}");
    assert_eq!(anna.report(&report(1)).await.state, BatchState::Duplicate);
    assert_eq!(anna.report(&report(2)).await.state, BatchState::Stored);
    assert_eq!(daemon.json(&["site", "show", &home])["site"]["contact"], "live");
    let exported = daemon.json(&["evidence", "export", &home]);
    assert_eq!(exported["messages"].as_array().unwrap().len(), 2);
    assert_eq!(exported["statements"].as_array().unwrap().len(), 3, "the home's, and the two above it");
    assert_eq!(
        daemon.json(&["evidence", "export", &home, "--since", "2999-01-01T00:00:00Z"])["messages"],
        serde_json::json!([])
    );

    // What all homes get is signed, and signed anew under new keys.
    daemon.expect(0, &["limit", "make", "north", "4200"]);
    let http = secure_link::HttpClient::new(&daemon.homes.to_string());
    let object = http.get("/b/v1/limits/north", None).await.unwrap();
    let peer = anna.member.peer().unwrap().statement.clone();
    let set = LimitSet::decode(&Broadcast::verify(&object.body, &peer).unwrap()).unwrap();
    assert_eq!(set.limits.iter().map(|l| l.watts.count()).collect::<Vec<_>>(), [4200]);
    let unchanged = http.get("/b/v1/limits/north", object.etag.as_deref()).await.unwrap();
    assert_eq!(unchanged.status, 304);
    daemon.expect(0, &["keys", "roll-over"]);
    let object = http.get("/b/v1/limits/north", object.etag.as_deref()).await.unwrap();
    assert_eq!(object.status, 200);
    assert!(Broadcast::verify(&object.body, &peer).is_err());
    anna.member.suspect_peer(daemon_kit::clock::boottime());
    let peer = until("the home goes over", async || {
        anna.settle().await;
        anna.member.peer().map(|p| p.statement.clone()).filter(|s| s.serial() > peer.serial())
    })
    .await;
    assert!(Broadcast::verify(&object.body, &peer).is_ok());
    assert_eq!(anna.report(&report(3)).await.state, BatchState::Stored);

    // Policy and revocation are ordered of the centre, with the operator's name.
    let file = daemon.dir.path().join("policy.toml");
    fs::write(&file, "kem-key-days = 3\n").unwrap();
    let version = daemon.json(&["policy", "set", &file.display().to_string()])["version"].as_u64().unwrap();
    assert_eq!(daemon.json(&["policy", "show"])["kem-key-s"], 3 * 86_400);
    let heard = anna.say(Kind::Report, REPORT, &report(4).encode()).await;
    assert!(
        matches!(heard, Heard::Error(SealedError::Policy { current }) if u64::from(current) == version),
        "{heard:?}"
    );
    fs::write(&file, "kem-key-days = 300\n").unwrap();
    let refused = daemon.expect(65, &["policy", "set", &file.display().to_string()]);
    assert!(refused.contains("below"), "{refused}");
    daemon.expect(0, &["keys", "revoke", &home, "--reason", "stolen"]);
    assert!(daemon.expect(0, &["keys", "show", &home]).contains("revoked"));
    anna.member.told(u32::MAX, 0);
    anna.settle().await;
    let heard = anna.say(Kind::Report, REPORT, &report(5).encode()).await;
    assert!(matches!(heard, Heard::Status(401, _)), "{heard:?}");

    // A new token lets the same home in with new keys.
    let said = daemon.expect(0, &["site", "token", &home, "--days", "3"]);
    let mut anew = Home::enrolled_with(&token_in(&said), id(1)).await;
    assert_eq!(anew.report(&report(6)).await.state, BatchState::Stored);
    assert_eq!(daemon.json(&["keys", "show", &home])["lineage"], 2);

    let log = daemon.json(&["audit"]);
    let actions: Vec<_> = log["changes"].as_array().unwrap().iter().map(|c| c["action"].as_str().unwrap()).collect();
    for action in ["keys.enrol", "site.keys", "site.statement", "keys.roll-over", "policy.set", "site.revoke"] {
        assert!(actions.contains(&action), "{action} in {actions:?}");
    }
    let audit = kmc.centre.lock().unwrap().audit(secure_http::UnixTime(0)).unwrap().0;
    assert!(audit.iter().any(|entry| format!("{entry:?}").contains("admin")), "the centre knows who wanted it");
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_whose_answer_was_lost_is_gone_by_all_the_same() {
    let kmc = Kmc::start().await;
    let token = kmc.token(Role::Utility);
    let between = Between::start(token.host()).await;
    let mut daemon = Daemon::new().await;
    daemon.expect(0, &["enrol", &between.leads_here(&token).to_string(), "--id", UTILITY]);
    let home = id(1).to_string();
    let said = daemon.expect(0, &["site", "add", &home, "--zone", "SE3", "--group", "north/feeder-7"]);
    let mut anna = Home::enrolled_with(&token_in(&said), id(1)).await;
    assert_eq!(anna.report(&report(1)).await.state, BatchState::Stored);
    assert_eq!(
        anna.report(&large_report(5)).await.state,
        BatchState::Stored,
        "a body may be longer than what is read ahead"
    );
    between.lose(secure_http::endpoints::ORDER);
    assert_ne!(daemon.ctl(&["keys", "revoke", &home, "--reason", "stolen"]).status.code(), Some(0));
    assert!(daemon.expect(0, &["keys", "show", &home]).contains("revoked"));
    let heard = anna.say(Kind::Report, REPORT, &report(2).encode()).await;
    assert!(matches!(heard, Heard::Status(401, _)), "{heard:?}");

    // What does not fit an order is not sent.
    let file = daemon.dir.path().join("policy.toml");
    fs::write(&file, "# A comment.\n".repeat(1000)).unwrap();
    let refused = daemon.ctl(&["policy", "set", &file.display().to_string()]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("13000 bytes"), "{refused:?}");
    let long = "a".repeat(65);
    assert!(daemon.expect(64, &["operator", "add", &long, "--role", "viewer"]).contains("at most 64 bytes"));

    // Whatever is asked of the homes' listener counts, and a head has its bound.
    let config = daemon.dir.path().join("utility.toml");
    let text = fs::read_to_string(&config).unwrap() + "requests-per-minute = 3\n";
    fs::write(&config, text).unwrap();
    daemon.crash().await;
    let http = secure_link::HttpClient::new(&daemon.homes.to_string());
    let mut seen = Vec::new();
    for _ in 0..10 {
        seen.push(http.get("/b/v1/limits/nobody", None).await.unwrap().status.as_u16());
    }
    assert_eq!((seen[0], seen.contains(&429)), (404, true), "{seen:?}");
    let mut stream = tokio::net::TcpStream::connect(daemon.homes).await.unwrap();
    let long = format!("GET /healthz HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(24_000));
    let mut answer = [0; 64];
    let asked = stream.write_all(long.as_bytes()).await;
    let read = stream.read(&mut answer).await.unwrap_or(0);
    let said = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(asked.is_err() || read == 0 || said.starts_with("HTTP/1.1 431"), "{said}");
    assert_eq!(daemon.stop(), Some(0));
}
