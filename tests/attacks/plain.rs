//! The same without security: a utility and a home that say the same bodies in plain HTTP, believe what they are told, and do it. It is there
//! so that each row can show that its attack is a real one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use energy_model::PowerState;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use utility_wire::{BatchState, Command, Control, Message as _, Poll, Report, ReportAnswer};

use crate::wire::{Message, ask};

const CBOR: &str = "application/cbor";

/// What the utility has been told.
#[derive(Default)]
pub(crate) struct Told {
    /// The last report of each home.
    pub(crate) homes: BTreeMap<String, Report>,
    /// Tokens handed out and not used.
    pub(crate) tokens: Vec<String>,
    /// What homes are to do.
    pub(crate) command: Option<Command>,
    /// The rules that all follow.
    pub(crate) policy: String,
}

impl Told {
    /// The state of an appliance by the last report of its home.
    pub(crate) fn state(&self, home: &str, appliance: &str) -> Option<PowerState> {
        let report = self.homes.get(home)?;
        report.appliances.iter().find(|a| a.id.as_str() == appliance)?.state
    }
}

/// The utility.
pub(crate) struct PlainUtility {
    /// Where it listens.
    pub(crate) address: String,
    told: Arc<Mutex<Told>>,
    accepting: JoinHandle<()>,
}

impl PlainUtility {
    /// A new one.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port").to_string();
        let told = Arc::new(Mutex::new(Told::default()));
        let shared = told.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move {
                    while let Some(request) = Message::read(&mut stream).await {
                        let answer = answered(&mut locked(&shared), &request);
                        stream.write_all(&answer.bytes_on_open_connection()).await.ok()?;
                    }
                    Some(())
                });
            }
        });
        Self { address, told, accepting }
    }

    /// What it has been told.
    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        locked(&self.told)
    }
}

impl Drop for PlainUtility {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn locked(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answered(told: &mut Told, request: &Message) -> Message {
    let (path, query) = request.path().split_once('?').unwrap_or((request.path(), ""));
    let home = query.to_owned();
    let refused = || Message { first: "HTTP/1.1 400 Bad Request".to_owned(), headers: Vec::new(), body: Vec::new() };
    match path {
        "/report" => {
            let Ok(report) = Report::decode(&request.body) else { return refused() };
            let batch = report.batch;
            told.homes.insert(home, report);
            let answer = ReportAnswer { batch, state: BatchState::Stored, report_after_s: 900 };
            Message::answer(CBOR, answer.encode())
        }
        "/poll" => match (&told.command, Poll::decode(&request.body)) {
            (Some(command), Ok(_)) => Message::answer(CBOR, command.encode()),
            _ => refused(),
        },
        // Whoever has a token says its name, and is told where to send reports.
        "/enrol" => {
            let token = String::from_utf8_lossy(&request.body).into_owned();
            match told.tokens.iter().position(|known| *known == token) {
                Some(at) => {
                    told.tokens.remove(at);
                    Message::answer("text/plain", b"enrolled".to_vec())
                }
                None => refused(),
            }
        }
        "/policy" => Message::answer("text/plain", told.policy.clone().into_bytes()),
        _ => refused(),
    }
}

/// A home.
pub(crate) struct PlainHome {
    /// Its name.
    pub(crate) id: String,
    /// What it did because it was told to.
    pub(crate) obeyed: Vec<Control>,
    /// The rules that it follows.
    pub(crate) policy: String,
}

impl PlainHome {
    /// A new one.
    pub(crate) fn new(id: &str) -> Self {
        Self { id: id.to_owned(), obeyed: Vec::new(), policy: String::new() }
    }

    /// The request that tells a report.
    pub(crate) fn report(&self, report: &Report) -> Message {
        Message::post(&format!("/report?{}", self.id), CBOR, report.encode())
    }

    /// Tells it. Whether it was taken.
    pub(crate) async fn tell(&self, address: &str, report: &Report) -> bool {
        ask(address, &self.report(report)).await.is_some_and(|answer| answer.status() == 200)
    }

    /// Asks what to do, and does it.
    pub(crate) async fn poll(&mut self, address: &str, poll: &Poll) {
        let request = Message::post(&format!("/poll?{}", self.id), CBOR, poll.encode());
        if let Some(answer) = ask(address, &request).await {
            self.obey(&answer.body);
        }
    }

    /// Does what a command says.
    pub(crate) fn obey(&mut self, command: &[u8]) {
        if let Ok(command) = Command::decode(command) {
            self.obeyed.extend(command.controls.iter().cloned());
        }
    }

    /// Shows a token.
    pub(crate) async fn enrol(&self, address: &str, token: &str) -> bool {
        let request = Message::post(&format!("/enrol?{}", self.id), "text/plain", token.as_bytes().to_vec());
        ask(address, &request).await.is_some_and(|answer| answer.status() == 200)
    }

    /// Asks for the rules.
    pub(crate) async fn fetch_policy(&mut self, address: &str) {
        if let Some(answer) = ask(address, &Message::post("/policy", "text/plain", Vec::new())).await {
            self.policy = String::from_utf8_lossy(&answer.body).into_owned();
        }
    }
}
