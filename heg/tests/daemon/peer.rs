//! A key management centre and a utility in one small server, built on the same primitives as the real ones, which can also misbehave.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use daemon_kit::clock;
use getrandom::SysRng;
use rand_core::UnwrapErr;
use secure_http::crypto::SigningKey;
use secure_http::*;
use utility_wire::{BatchState, ReportAnswer, Versions};
use utility_wire::{Command, Control, EventId, LimitSet, List, Message as _, Outcome, OutcomeKind, Report};

use crate::house::{DEADLINE, wait};

const KMC: &str = "2fac1234-31f8-41b4-a222-0800000000aa";
const UTILITY: &str = "2fac1234-31f8-41b4-a222-0800000000bb";
const POLICY: u32 = 4;

/// What the utility does, and what it saw. Tests look and change it at any time.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) controls: Vec<Control>,
    pub(crate) limits: Option<LimitSet>,
    /// Published series, as they would be signed: path and payload.
    pub(crate) objects: Vec<(String, Vec<u8>)>,
    pub(crate) prices: u64,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) reports: Vec<Report>,
    /// Bytes of reports as they came, opened.
    pub(crate) polls: u64,
    /// Taken, and not answered: so many times.
    pub(crate) lose_answers: u32,
    /// Answers are signed by somebody else: so many times.
    pub(crate) forge: u32,
    /// 429 with this Retry-After, so many times.
    pub(crate) busy: VecDeque<u64>,
    /// The error that the next message gets.
    pub(crate) error: Option<SealedError>,
    /// Whether the last message answered that error.
    pub(crate) answered_error: bool,
    error_sent: Option<Nonce>,
    pub(crate) calls: Vec<String>,
}

struct Party {
    id: PartyId,
    keys: OwnKeys,
    statement: Statement,
}

pub(crate) struct World {
    root_key: SigningKey,
    issuing_key: SigningKey,
    issuing: Statement,
    root: Statement,
    kmc: Party,
    utility: Party,
    stranger: OwnKeys,
    /// The root key's word for the utility's keys, where they are others than they were.
    word: Option<Vec<u8>>,
    policy: PolicyState,
    list: RevocationList,
    token: Option<TokenSecret>,
    gateway: Option<Statement>,
    seq: u64,
    serial: u64,
    script: Arc<Mutex<Script>>,
}

pub(crate) struct Peer {
    pub(crate) address: String,
    token: String,
    script: Arc<Mutex<Script>>,
    stop: Arc<Mutex<bool>>,
    thread: Option<thread::JoinHandle<World>>,
}

fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

pub(crate) fn now() -> UnixTime {
    UnixTime(u64::try_from(clock::wall().as_second()).unwrap())
}

/// From an hour ago on.
fn for_days(days: u64) -> Validity {
    let from = UnixTime(now().0 - 3600);
    Validity::new(from, from.plus(days * 86_400)).unwrap()
}

fn draft<'a>(
    (subject, role): (PartyId, Role),
    serial: u64,
    days: u64,
    sig: &'a crypto::VerifyingKey,
    kem: Option<&'a crypto::KemPublicKey>,
) -> StatementDraft<'a> {
    StatementDraft {
        kmc: KMC.parse().unwrap(),
        subject,
        role,
        serial: Serial(serial),
        validity: for_days(days),
        sig,
        kem,
        previous: None,
        link: [0; 32],
    }
}

impl World {
    fn new(host: &str, script: Arc<Mutex<Script>>) -> (Self, String) {
        let mut rng = rng();
        let (root_key, issuing_key) = (SigningKey::generate(&mut rng), SigningKey::generate(&mut rng));
        let kmc_id: PartyId = KMC.parse().unwrap();
        let root = draft((kmc_id, Role::Root), 1, 3000, root_key.public(), None).issue(&root_key).unwrap();
        let issuing = draft((kmc_id, Role::Issuing), 2, 300, issuing_key.public(), None).issue(&root_key).unwrap();
        let party = |id: &str, role, serial, rng: &mut UnwrapErr<SysRng>| {
            let (id, keys): (PartyId, _) = (id.parse().unwrap(), OwnKeys::generate(rng));
            let draft = draft((id, role), serial, 20, keys.sig().public(), Some(keys.kem().public()));
            Party { id, statement: draft.issue(&issuing_key).unwrap(), keys }
        };
        let kmc = party(KMC, Role::Kmc, 3, &mut rng);
        let utility = party(UTILITY, Role::Utility, 4, &mut rng);
        let stranger = OwnKeys::generate(&mut rng);
        let policy = Policy::issue(kmc_id, POLICY, for_days(90), &Rules::default(), &issuing_key).unwrap();
        let list = RevocationList::issue(kmc_id, 1, now(), vec![], &issuing_key).unwrap();
        let secret = TokenSecret::generate(&mut rng);
        let token = EnrolmentToken::new(host, secret.clone(), Fingerprint::of(root_key.public())).unwrap();
        let policy = PolicyState::new(Some(policy));
        let world = Self {
            root_key,
            issuing_key,
            issuing,
            root,
            kmc,
            utility,
            stranger,
            word: None,
            policy,
            list,
            token: Some(secret),
            gateway: None,
            seq: 0,
            serial: 4,
            script,
        };
        (world, token.to_string())
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// Its next messages have greater numbers.
    pub(crate) fn count_on(&mut self) {
        self.seq += 1000;
    }

    /// The utility has lost keys and count, and is stated anew with the root key's word.
    pub(crate) fn recover(&mut self) {
        let keys = OwnKeys::generate(&mut rng());
        self.serial += 1;
        let party = (self.utility.id, Role::Utility);
        let draft = draft(party, self.serial, 20, keys.sig().public(), Some(keys.kem().public()));
        let statement = draft.issue(&self.issuing_key).unwrap();
        self.word = Some(confirm_succession(&statement, &self.root_key).unwrap());
        self.utility = Party { id: self.utility.id, keys, statement };
        self.seq = 0;
    }

    /// Status, `Retry-After`, body; none: the connection is closed without a word.
    fn answer(&mut self, path: &str, body: &[u8], host: &str) -> Option<(u16, Option<u64>, Vec<u8>)> {
        let ok = |body| Some((200, None, body));
        match path {
            endpoints::ROOT => {
                let statements = [&self.kmc.statement, &self.issuing, &self.root].map(|s| s.raw().to_vec()).into();
                ok(KeyAnswer { statements, succession: None, path: vec![], revocations: 1, host: None }.encode())
            }
            endpoints::POLICY => ok(self.policy.policy().unwrap().raw().to_vec()),
            endpoints::REVOCATIONS => ok(self.list.raw().to_vec()),
            endpoints::ENROL => self.enrol(body),
            endpoints::ENROL_CONFIRM | endpoints::TIME | endpoints::KEY => self.kmc_message(body, host),
            utility_wire::endpoints::POLL | utility_wire::endpoints::REPORT => self.utility_message(body),
            _ => {
                let name = path.strip_prefix(utility_wire::endpoints::PRICES)?;
                let found = self.script().objects.iter().find(|(path, _)| path == name).map(|(_, o)| o.clone());
                match found {
                    Some(payload) => ok(Broadcast::sign(&payload, self.utility.keys.sig()).unwrap()),
                    None => Some((404, None, vec![])),
                }
            }
        }
    }

    fn enrol(&mut self, body: &[u8]) -> Option<(u16, Option<u64>, Vec<u8>)> {
        let request = EnrolmentRequest::parse(body).unwrap();
        let Some(secret) = self.token.as_ref().filter(|secret| secret.id() == request.token()) else {
            return Some((401, None, vec![]));
        };
        let enrolment = request.open(self.kmc.keys.kem(), secret).unwrap();
        self.serial += 1;
        let party = (enrolment.party, Role::Gateway);
        let statement = draft(party, self.serial, 20, &enrolment.sig, Some(&enrolment.kem));
        let statement = statement.issue(&self.issuing_key).unwrap();
        let body = EnrolChallenge { statement: statement.raw().to_vec(), challenge: [7; 16] }.encode();
        self.gateway = Some(statement);
        Some((200, None, self.sealed(false, Kind::EnrolConfirm, enrolment.nonce, &body)))
    }

    fn kmc_message(&mut self, raw: &[u8], host: &str) -> Option<(u16, Option<u64>, Vec<u8>)> {
        let Some(opened) = self.opened(false, raw) else { return Some((401, None, vec![])) };
        let gateway = self.gateway.clone().unwrap();
        let word = self.word.clone();
        let stated = |statement: &Statement, host: Option<&str>| {
            let (statements, host) = (vec![statement.raw().to_vec()], host.map(str::to_owned));
            KeyAnswer { statements, succession: word.clone(), path: vec![], revocations: 1, host }.encode()
        };
        let (kind, body) = match opened.head.kind {
            Kind::EnrolConfirm => {
                assert_eq!(EnrolConfirm::decode(&opened.body).unwrap().challenge, [7; 16]);
                self.token = None;
                (Kind::KeyStatement, stated(&gateway, None))
            }
            Kind::Time => (Kind::Time, TimeAnswer { unix_ms: now().0 * 1000 }.encode()),
            Kind::KeyRequest => match KeyRequest::decode(&opened.body).unwrap().party {
                None => (Kind::KeyStatement, stated(&self.utility.statement, Some(host))),
                Some(_) => (Kind::KeyStatement, stated(&gateway, None)),
            },
            Kind::KeyStatement => {
                let host = KeyAnswer::decode(&opened.body).unwrap().host;
                self.script().calls.extend(host);
                (Kind::Ack, self.ack(vec![]))
            }
            other => panic!("{other:?}"),
        };
        Some((200, None, self.sealed(false, kind, opened.head.cti, &body)))
    }

    fn utility_message(&mut self, raw: &[u8]) -> Option<(u16, Option<u64>, Vec<u8>)> {
        if let Some(after_s) = self.script().busy.pop_front() {
            return Some((429, Some(after_s), vec![]));
        }
        let Some(opened) = self.opened(true, raw) else {
            if self.word.is_none() {
                return Some((401, None, vec![]));
            }
            // Sealed to the key that was lost.
            return Some((200, None, self.sealed(true, Kind::Error, cti(raw), &SealedError::KeyExpired.encode())));
        };
        let cti = opened.head.cti;
        let error = {
            let mut script = self.script();
            if let Some(sent) = script.error_sent.take() {
                script.answered_error = opened.head.answers == Some(sent);
            }
            script.error.take()
        };
        if let Some(error) = error {
            let bytes = self.sealed(true, Kind::Error, cti, &error.encode());
            let mut receiver = Receiver::new();
            self.script().error_sent = Some(receiver.parse(&bytes, 65_536).unwrap().head().cti);
            return Some((200, None, bytes));
        }
        let (kind, body) = match opened.head.kind {
            Kind::Poll => {
                let poll = utility_wire::Poll::decode(&opened.body).unwrap();
                self.wait_for_news(&poll);
                (Kind::Command, self.command(&poll).encode())
            }
            Kind::Report => {
                let report = Report::decode(&opened.body).unwrap();
                let batch = report.batch;
                let known = self.script().reports.iter().any(|r| r.batch == batch);
                self.script().reports.push(report);
                let state = if known { BatchState::Duplicate } else { BatchState::Stored };
                (Kind::Ack, self.ack(ReportAnswer { batch, state, report_after_s: 10 }.encode()))
            }
            other => panic!("{other:?}"),
        };
        {
            let mut script = self.script();
            if script.lose_answers > 0 {
                script.lose_answers -= 1;
                return None;
            }
        }
        Some((200, None, self.sealed(true, kind, cti, &body)))
    }

    /// This server does one thing at a time, so its long poll is a short one.
    fn wait_for_news(&self, poll: &utility_wire::Poll) {
        let mut script = self.script();
        script.polls += 1;
        for outcome in poll.outcomes.iter() {
            if !script.outcomes.contains(outcome) {
                script.outcomes.push(outcome.clone());
            }
            if !matches!(outcome.kind, OutcomeKind::Received) {
                script.controls.retain(|c| c.id != outcome.id);
            }
        }
        drop(script);
        thread::sleep(Duration::from_millis(20));
    }

    pub(crate) fn command(&self, poll: &utility_wire::Poll) -> Command {
        let script = self.script();
        let version = script.limits.as_ref().map_or(0, |set| set.version);
        Command {
            current: Versions { prices: script.prices, limits: version, policy: POLICY.into() },
            limits: script.limits.clone().filter(|_| poll.have.limits != version),
            controls: List::fill(script.controls.iter().cloned()),
            poll_after_s: 0,
            zone: "SE3".parse().unwrap(),
        }
    }

    /// Calls the gateway, as a utility that has news does. What it has, and what it answered to `command`.
    pub(crate) fn call(&mut self, address: &str, command: impl FnOnce(&Self) -> Command) -> (utility_wire::Poll, Ack) {
        let question = self.sealed(true, Kind::Poll, None, &[]);
        let asked = self.opened(true, &post(address, utility_wire::endpoints::CALLED, &question, 200)).unwrap();
        assert_eq!((asked.head.kind, asked.head.answers), (Kind::Poll, Some(cti(&question))));
        let poll = utility_wire::Poll::decode(&asked.body).unwrap();
        let command = command(self).encode();
        let command = self.sealed(true, Kind::Command, Some(asked.head.cti), &command);
        let told = self.opened(true, &post(address, utility_wire::endpoints::COMMANDED, &command, 200)).unwrap();
        assert_eq!((told.head.kind, told.head.answers), (Kind::Ack, Some(cti(&command))));
        // The same bytes again are a replay, and nothing is done: told so under seal.
        let again = self.opened(true, &post(address, utility_wire::endpoints::COMMANDED, &command, 200)).unwrap();
        assert_eq!(SealedError::decode(&again.body), Ok(SealedError::Replay));
        (poll, Ack::decode(&told.body).unwrap())
    }

    /// A message that anybody could have made.
    pub(crate) fn forged(&mut self) -> Vec<u8> {
        self.script().forge = 1;
        self.sealed(true, Kind::Poll, None, &[])
    }

    fn ack(&self, body: Vec<u8>) -> Vec<u8> {
        Ack { time: now(), policy: POLICY, revocations: 1, cookie: None, body }.encode()
    }

    fn opened(&self, as_utility: bool, raw: &[u8]) -> Option<Opened> {
        let me = if as_utility { &self.utility } else { &self.kmc };
        let (mut receiver, awaited, window) = (Receiver::new(), Awaited::new(), Window::new());
        let rules = Rules::default();
        let mut awaited_answers = Awaited::new();
        let parsed = receiver.parse(raw, 65_536).unwrap();
        let boot = Duration::from_secs(1);
        if let Some(answers) = parsed.head().answers {
            awaited_answers.sent(answers, parsed.head().issuer, boot);
        }
        let (time, _) = (Some(now()), awaited);
        let at = Situation { me: &me.id, now: time, boot, awaited: &awaited_answers, window: &window, rules: &rules };
        // A gateway that does not know the time yet writes the best it has.
        let at = if parsed.head().issued.0 + 1000 < now().0 {
            Situation { now: Some(parsed.head().issued), ..at }
        } else {
            at
        };
        let fresh = receiver.check(parsed, &at).ok()?;
        let statement = self.gateway.as_ref().unwrap();
        let sender = Some(Sender { statement, revoked: false });
        let verified = receiver.verify(fresh, sender, time, &self.policy).ok()?;
        let (committed, _) = receiver.commit(verified, &window, &mut awaited_answers).unwrap();
        receiver.open(committed, &me.keys).ok()
    }

    fn sealed(&mut self, as_utility: bool, kind: Kind, answers: impl Into<Option<Nonce>>, body: &[u8]) -> Vec<u8> {
        self.seq += 1;
        let me = if as_utility { &self.utility } else { &self.kmc };
        let forge = as_utility && {
            let mut script = self.script.lock().unwrap();
            let forge = script.forge > 0;
            script.forge = script.forge.saturating_sub(1);
            forge
        };
        let key = if forge { self.stranger.sig() } else { me.keys.sig() };
        let gateway = self.gateway.as_ref().unwrap();
        let draft =
            Draft { kind, answers: answers.into(), seq: self.seq, policy: POLICY, issued: now(), lifetime_s: 60, body };
        seal(&draft, (me.id, key), (gateway.subject(), gateway.kem().unwrap()), &mut rng()).unwrap().bytes
    }
}

impl Peer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let script = Arc::<Mutex<Script>>::default();
        let (world, token) = World::new(&address, script.clone());
        let mut peer = Self { address, token, script, stop: Arc::default(), thread: None };
        peer.run(listener, world);
        peer
    }

    fn run(&mut self, listener: TcpListener, mut world: World) {
        let (stop, address) = (self.stop.clone(), self.address.clone());
        self.thread = Some(thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if *stop.lock().unwrap() {
                    break;
                }
                serve(stream, |path, body| world.answer(path, body, &address));
            }
            world
        }));
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn utility() -> &'static str {
        UTILITY
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// With the utility's own keys in hand.
    pub(crate) fn with_world<T>(&mut self, act: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.stop();
        let result = act(&mut world);
        // Somebody else on this machine may have the port for a moment.
        let listener = wait("the port to be free", || TcpListener::bind(&self.address).ok());
        *self.stop.lock().unwrap() = false;
        self.run(listener, world);
        result
    }

    /// Goes off the network for as long as `away` takes.
    pub(crate) fn while_away<T>(&mut self, away: impl FnOnce() -> T) -> T {
        self.with_world(|_| away())
    }

    fn stop(&mut self) -> World {
        *self.stop.lock().unwrap() = true;
        drop(TcpStream::connect(&self.address));
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.thread.is_some() {
            *self.stop.lock().unwrap() = true;
            drop(TcpStream::connect(&self.address));
        }
    }
}

/// One request of HTTP/1.1 on a connection of its own.
fn serve(mut stream: TcpStream, mut answer: impl FnMut(&str, &[u8]) -> Option<(u16, Option<u64>, Vec<u8>)>) {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut bytes = Vec::new();
    let head_end = loop {
        let mut part = [0; 4096];
        match stream.read(&mut part) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&part[..n]),
            _ => return,
        }
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_lowercase();
    let path = String::from_utf8_lossy(&bytes[..head_end]).split(' ').nth(1).unwrap_or_default().to_owned();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let length: usize = length.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
    while bytes.len() < head_end + length {
        let mut part = [0; 4096];
        match stream.read(&mut part) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&part[..n]),
            _ => return,
        }
    }
    let Some((status, retry_after, body)) = answer(&path, &bytes[head_end..]) else { return };
    let retry = retry_after.map(|s| format!("Retry-After: {s}\r\n")).unwrap_or_default();
    let head = format!("HTTP/1.1 {status} x\r\n{retry}Connection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

fn cti(message: &[u8]) -> Nonce {
    Receiver::new().parse(message, 65_536).unwrap().head().cti
}

/// Posts a sealed message; what comes back with that status.
pub(crate) fn post(address: &str, path: &str, body: &[u8], status: u16) -> Vec<u8> {
    let (got, answer) = exchange(address, path, code_points::CONTENT_TYPE_SIGN1, body);
    assert_eq!(got, status, "{path}");
    answer
}

/// A POST, and status and body of its answer.
pub(crate) fn exchange(address: &str, path: &str, content_type: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {content_type}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    // One that is too long is answered before all of it is there.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, answer[end..].to_vec())
}

pub(crate) fn control(number: u64, appliance: &str, action: energy_model::PowerState) -> Control {
    Control {
        id: EventId::new(number).unwrap(),
        appliance: appliance.parse().unwrap(),
        action,
        expires: utility_wire::UnixTime::new(now().0 + 600),
    }
}
