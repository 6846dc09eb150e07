//! A real centre and a real utility in this process, and homes that are members as gateways are.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use daemon_kit::clock;
use getrandom::SysRng;
use kmc::app::now;
use kmc::centre::{Centre, NewToken, Settings, found};
use kmc::keyring::Keyring;
use kmc::server::Server;
use rand_core::UnwrapErr;
use secure_http::code_points::CONTENT_TYPE_SIGN1;
use secure_http::limits::REPORT_BYTES_MAX;
use secure_http::{
    Ack, Awaited, Clock, Cookie, EnrolmentToken, Kind, Nonce, Opened, PartyId, Policy, Receiver, Role, Sealed,
    SealedError, Sender, Situation, UnixTime, Window, answer_challenge,
};
use secure_link::{Answer, HttpClient, Membership};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use utility::membership::{Member, Vault};
use utility::metrics::Metrics;
use utility::sealed::{Homes, call_homes};
use utility::service::{Periods, Service};
use utility::sites::Site;
use utility::store::Store;
use utility_wire::endpoints::{CALLED, COMMANDED, REPORT};
use utility_wire::{Command, Message as _, Outcome, Poll, Report, ReportAnswer, Versions};

pub(crate) const UTILITY: &str = "2fac1234-31f8-41b4-a222-0000000000aa";
const DAY_S: u64 = 86_400;
/// For what is done within moments on an idle machine.
const WITHIN: Duration = Duration::from_secs(60);

pub(crate) fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

pub(crate) fn id(number: u8) -> PartyId {
    format!("2fac1234-31f8-41b4-a222-08002b34c0{number:02x}").parse().unwrap()
}

pub(crate) fn wall() -> UnixTime {
    now().unix()
}

/// Asks again until there is an answer, or fails.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = clock::boottime() + WITHIN;
    loop {
        if let Some(value) = ask().await {
            return value;
        }
        assert!(clock::boottime() < deadline, "{what}: not within {WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A key management centre, served on loopback.
pub(crate) struct Kmc {
    pub(crate) centre: Arc<Mutex<Centre>>,
    task: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Kmc {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::new(dir.path(), None);
        found(dir.path(), &keyring, id(0xff), 365, wall()).unwrap();
        let mut server = Server::bind("127.0.0.1:0".parse().unwrap(), 512).await.unwrap();
        let address = server.address();
        let settings = Settings {
            host: address.to_string(),
            statement_s: 30 * DAY_S,
            overlap_s: 300,
            evidence_s: DAY_S,
            evidence_rows: 1000,
            per_minute: 100_000,
            always_cookies: false,
            utilities_may: kmc::config::Utilities::default().may,
        };
        let store = kmc::store::Store::open(dir.path()).unwrap();
        let centre = Arc::new(Mutex::new(Centre::open(store, keyring, settings, now()).unwrap()));
        let serving = centre.clone();
        let task = tokio::spawn(async move {
            loop {
                let asked = server.next().await;
                let response = serving.lock().unwrap().handle(&asked.request, server.waiting(), now());
                asked.answer(response);
            }
        });
        Self { centre, task, _dir: dir }
    }

    pub(crate) fn token(&self, role: Role) -> EnrolmentToken {
        let wanted = NewToken { role, uuid: None, utility: None, premises: String::new(), days: 30 };
        self.centre.lock().unwrap().new_token(&wanted, "operator:0", wall()).unwrap().1
    }

    pub(crate) fn revoke(&self, party: PartyId) {
        self.centre.lock().unwrap().revoke(party.as_str(), "stolen", "operator:0", wall()).unwrap();
    }

    /// The next version of the policy, with that life of a sealing key, or the same rules.
    pub(crate) fn new_policy(&self, kem_key_s: Option<u64>) -> u32 {
        let mut centre = self.centre.lock().unwrap();
        let mut rules = centre.policy().map(Policy::rules).unwrap().clone();
        rules.kem_key_s = kem_key_s.unwrap_or(rules.kem_key_s);
        centre.set_policy(&rules, 90 * DAY_S, "operator:0", wall()).unwrap().version()
    }
}

impl Drop for Kmc {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Stands between a party and its centre: connections can be kept waiting, and the answers to what is asked of one path be lost.
pub(crate) struct Between {
    pub(crate) address: SocketAddr,
    /// Held: nothing gets through.
    pub(crate) gate: Arc<tokio::sync::Mutex<()>>,
    pub(crate) connections: Arc<AtomicUsize>,
    loses: Arc<Mutex<&'static str>>,
    task: JoinHandle<()>,
}

impl Between {
    pub(crate) async fn start(centre: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (gate, connections, loses) = (Arc::default(), Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new("")));
        let (centre, opens) = (centre.to_owned(), Arc::clone(&gate));
        let (count, lost) = (connections.clone(), loses.clone());
        let task = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let far = TcpStream::connect(&centre).await.unwrap();
                let (gate, lost): (Arc<tokio::sync::Mutex<()>>, _) = (Arc::clone(&opens), Arc::clone(&lost));
                tokio::spawn(async move {
                    drop(gate.lock().await);
                    let lost = *lost.lock().unwrap();
                    pass(near, far, lost).await
                });
            }
        });
        Self { address, gate, connections, loses, task }
    }

    /// The same token, with which whoever enrols comes here.
    pub(crate) fn leads_here(&self, token: &EnrolmentToken) -> EnrolmentToken {
        EnrolmentToken::new(&self.address.to_string(), token.secret().clone(), token.fingerprint()).unwrap()
    }

    /// From now on answers to that path are lost; to none if it is empty.
    pub(crate) fn lose(&self, path: &'static str) {
        *self.loses.lock().unwrap() = path;
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection, which is one question. Where the answer is lost, the centre has given it.
async fn pass(mut near: TcpStream, mut far: TcpStream, lost: &str) -> std::io::Result<()> {
    let mut head = vec![0; 16 * 1024];
    let read = near.read(&mut head).await?;
    far.write_all(&head[..read]).await?;
    if !lost.is_empty() && String::from_utf8_lossy(&head[..read]).starts_with(&format!("POST {lost} ")) {
        let mut answer = [0; 1];
        let (mut from_near, mut to_far) = (near, far);
        let (mut answers, mut asks) = to_far.split();
        tokio::select! {
            _ = tokio::io::copy(&mut from_near, &mut asks) => {}
            _ = answers.read(&mut answer) => {}
        }
        return Ok(());
    }
    tokio::io::copy_bidirectional(&mut near, &mut far).await.map(|_| ())
}

/// A utility's sealed side on a database in a directory of its own.
pub(crate) struct Utility {
    pub(crate) service: Arc<Service>,
    pub(crate) member: Arc<Member>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
    calling: JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

impl Utility {
    /// On the database of that directory, at that address or one of its own.
    pub(crate) async fn start(dir: &Path, address: Option<SocketAddr>) -> Self {
        let store = Store::sqlite(&dir.join("utility.db")).unwrap();
        let vault = Vault::open(&dir.join("membership-key")).unwrap();
        let listener = until("the address is free again", async || {
            TcpListener::bind(address.unwrap_or(([127, 0, 0, 1], 0).into())).await.ok()
        })
        .await;
        let address = listener.local_addr().unwrap();
        let member = Arc::new(Member::new(store.clone(), vault, Some(address.to_string())));
        member.look().await.unwrap();
        let metrics = Arc::new(Metrics::default());
        let periods = Periods { report_s: 300, poll_s: 0 };
        let service = Arc::new(Service::new(store, metrics.clone(), periods, utility::app::wall));
        let (stop, stopping) = watch::channel(false);
        let homes = Homes::new(service.clone(), metrics.clone(), member.clone(), (100_000, Vec::new()), stopping);
        let calling = tokio::spawn(call_homes(homes.clone(), service.store().hints()));
        let router = homes.router(axum::Router::new());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { service, member, metrics, address, task, calling, _stop: stop }
    }

    pub(crate) async fn enrolled(dir: &Path, kmc: &Kmc) -> Self {
        let utility = Self::start(dir, None).await;
        utility.member.enrol(&kmc.token(Role::Utility), UTILITY.parse().unwrap()).await.unwrap();
        utility
    }

    pub(crate) async fn add_site(&self, party: PartyId) {
        let site = Site {
            id: party.as_str().parse().unwrap(),
            name: String::new(),
            zone: "SE3".parse().unwrap(),
            group: "north/feeder-7".parse().unwrap(),
            added: utility::app::wall(),
            last_contact: None,
            last_report: None,
        };
        self.service.store().add_site(&site, "operator:anna", utility::app::wall()).await.unwrap();
    }

    /// Ends it and lets its address go.
    pub(crate) async fn stop(self) -> SocketAddr {
        for task in [self.task, self.calling] {
            task.abort();
            let _ = task.await;
        }
        self.address
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) enum Heard {
    Ack(Ack),
    Command(Command),
    Error(SealedError),
    /// Unsealed, with this status.
    Status(u16, Answer),
}

/// A gateway.
pub(crate) struct Home {
    pub(crate) member: Membership,
    pub(crate) cookie: Option<Cookie>,
}

impl Home {
    pub(crate) async fn enrolled(kmc: &Kmc, party: PartyId) -> Self {
        Self::enrolled_with(&kmc.token(Role::Gateway), party).await
    }

    pub(crate) async fn enrolled_with(token: &EnrolmentToken, party: PartyId) -> Self {
        let clock = Clock::from_wall(wall(), clock::boottime());
        let mut home =
            Self { member: Membership::candidate(token, party, Role::Gateway, clock, &mut rng()), cookie: None };
        home.settle().await;
        home
    }

    /// All that is due at the KMC.
    pub(crate) async fn settle(&mut self) {
        for _ in 0..20 {
            let Some(job) = self.member.begin(clock::boottime(), &mut rng()) else { return };
            let done = job.run(clock::boottime, rng()).await;
            self.member.finish(done, clock::boottime(), &mut rng()).unwrap();
        }
        panic!("no end");
    }

    pub(crate) fn seal(&mut self, kind: Kind, body: &[u8]) -> Sealed {
        self.seal_answering(kind, None, body)
    }

    pub(crate) fn seal_answering(&mut self, kind: Kind, answers: Option<Nonce>, body: &[u8]) -> Sealed {
        let to = self.member.peer().unwrap().statement.clone();
        self.member.seal(&to, (kind, answers), body, clock::boottime(), &mut rng()).unwrap()
    }

    pub(crate) async fn post(&self, path: &str, sealed: &Sealed) -> Heard {
        let host = self.member.peer().unwrap().host.clone().unwrap();
        let cookie = self.cookie.as_ref().map(|cookie| cookie.header(&sealed.bytes));
        let answer = post(&host, path, &sealed.bytes, cookie.as_deref()).await;
        self.read(answer, sealed.cti)
    }

    pub(crate) async fn say(&mut self, kind: Kind, path: &str, body: &[u8]) -> Heard {
        let sealed = self.seal(kind, body);
        let heard = self.post(path, &sealed).await;
        if let Heard::Ack(ack) = &heard {
            self.cookie.clone_from(&ack.cookie);
        }
        heard
    }

    pub(crate) async fn report(&mut self, report: &Report) -> ReportAnswer {
        match self.say(Kind::Report, REPORT, &report.encode()).await {
            Heard::Ack(ack) => ReportAnswer::decode(&ack.body).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The receiver's steps with an answer.
    fn read(&self, answer: Answer, cti: Nonce) -> Heard {
        if answer.status != 200 {
            return Heard::Status(answer.status.as_u16(), answer);
        }
        let opened = self.open(&answer.body, Some(cti));
        match opened.head.kind {
            Kind::Ack => Heard::Ack(Ack::decode(&opened.body).unwrap()),
            Kind::Command => Heard::Command(Command::decode(&opened.body).unwrap()),
            Kind::Error => Heard::Error(SealedError::decode(&opened.body).unwrap()),
            kind => panic!("{kind:?}"),
        }
    }

    /// A message of the utility's, as an answer to that or as one by itself.
    pub(crate) fn open(&self, raw: &[u8], cti: Option<Nonce>) -> Opened {
        let peer = &self.member.peer().unwrap().statement;
        let (boot, now) = (clock::boottime(), Some(wall()));
        let (mut awaited, window, rules) = (Awaited::new(), Window::new(), self.member.policy().rules());
        if let Some(cti) = cti {
            awaited.sent(cti, peer.subject(), boot);
        }
        let me = self.member.id();
        let situation = Situation { me: &me, now, boot, awaited: &awaited, window: &window, rules: &rules };
        let sender = Some(Sender { statement: peer, revoked: false });
        let mut receiver = Receiver::new();
        let parsed = receiver.parse(raw, REPORT_BYTES_MAX).unwrap();
        let fresh = receiver.check(parsed, &situation).unwrap();
        let verified = receiver.verify(fresh, sender, now, self.member.policy()).unwrap();
        let (committed, _) = receiver.commit(verified, &window, &mut awaited).unwrap();
        let opened = receiver.open(committed, self.member.keys()).unwrap();
        assert_eq!(opened.head.answers, cti);
        opened
    }
}

pub(crate) async fn post(host: &str, path: &str, body: &[u8], cookie: Option<&str>) -> Answer {
    let http = HttpClient::new(host).answering_within(Duration::from_secs(70));
    http.post(path, CONTENT_TYPE_SIGN1, body.to_vec(), cookie).await.unwrap()
}

/// The same with the answer to the challenge that came.
pub(crate) async fn post_challenged(host: &str, path: &str, body: &[u8], challenge: &str) -> Answer {
    let cookie = answer_challenge(challenge, body).unwrap();
    post(host, path, body, Some(&cookie)).await
}

/// A gateway that is called: it answers with its poll, and does what it is then told.
pub(crate) struct Called {
    pub(crate) home: Home,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) commands: Vec<Command>,
    have: Versions,
    asked: Option<Nonce>,
}

impl Called {
    /// Serves on a port of its own; a home that the centre knows to be there.
    pub(crate) async fn start(kmc: &Kmc, party: PartyId) -> (Arc<Mutex<Self>>, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut home = Home::enrolled(kmc, party).await;
        home.member.set_reachable(Some(listener.local_addr().unwrap().to_string()));
        home.settle().await;
        let have = Versions { prices: 0, limits: 0, policy: u64::from(home.member.policy().version()) };
        let called = Arc::new(Mutex::new(Self { home, outcomes: Vec::new(), commands: Vec::new(), have, asked: None }));
        let (polled, told) = (called.clone(), called.clone());
        let router = axum::Router::new()
            .route(CALLED, axum::routing::post(async move |body: bytes::Bytes| polled.lock().unwrap().polled(&body)))
            .route(COMMANDED, axum::routing::post(async move |body: bytes::Bytes| told.lock().unwrap().told(&body)));
        (called, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
    }

    fn polled(&mut self, raw: &[u8]) -> Vec<u8> {
        let opened = self.home.open(raw, None);
        assert_eq!((opened.head.kind, opened.body.len()), (Kind::Poll, 0));
        let outcomes = utility_wire::List::fill(std::mem::take(&mut self.outcomes));
        let poll = Poll { wait_s: 0, have: self.have.clone(), outcomes };
        let sealed = self.home.seal_answering(Kind::Poll, Some(opened.head.cti), &poll.encode());
        self.asked = Some(sealed.cti);
        sealed.bytes
    }

    fn told(&mut self, raw: &[u8]) -> Vec<u8> {
        let opened = self.home.open(raw, self.asked.take());
        assert_eq!(opened.head.kind, Kind::Command);
        let command = Command::decode(&opened.body).unwrap();
        self.have = command.current.clone();
        self.commands.push(command);
        let ack = Ack { time: wall(), policy: 1, revocations: 0, cookie: None, body: Vec::new() };
        self.home.seal_answering(Kind::Ack, Some(opened.head.cti), &ack.encode()).bytes
    }
}
