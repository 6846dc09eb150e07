//! The way to the utility and to the key management centre: keys, seals, signatures, HTTP. IO.
//!
//! It owns the gateway's [`Membership`] and the window of the utility's numbers, and lets nothing through to [`crate::utility`] that was
//! not checked. Exchanges are futures of the one loop: no task, no thread. What has to be on disk before a message goes out is written
//! by the thread of the database, and the message waits for it.
//!
//! ```text
//! utility -> Question -> ask -> sealed -> HTTP -> handle -> checked -> Input -> utility
//! ```

use std::collections::VecDeque;
use std::fs;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use daemon_kit::{clock, state_dir};
use getrandom::SysRng;
use http::StatusCode;
use rand_core::UnwrapErr;
use secure_http::code_points::CONTENT_TYPE_SIGN1;
use secure_http::{
    Ack, Broadcast, Cookie, Kind, Nonce, PartyId, Sealed, SealedError, Standing, UnixTime, Window, answer_challenge,
};
use secure_link::limits::RECORD_BYTES_MAX;
use secure_link::{Answer, Done, HttpClient, Job, Membership, News, RecordError};
use tokio::sync::oneshot;
use utility_wire::limits::WAIT_S_MAX;
use utility_wire::{Command, Message as _, PriceIndex, PriceSeries, ReportAnswer, endpoints};
use zeroize::Zeroizing;

use crate::limits::{KEEP_RETRY, POLL_ANSWER_SLACK};
use crate::now::Now;
use crate::utility::{Failure, Fetched, Input, Link, Object, Question, Rows, Slot, moment};

mod admission;
mod callers;
mod calls;
mod enrolment;
mod receive;

use admission::Gate;
use callers::{Call, Callers};
use calls::Calls;
use enrolment::Asker;
pub use enrolment::EnrolError;
use receive::{Received, Refused};

/// File of the membership, in the state directory. Whoever can read it is this gateway.
pub const FILE: &str = "membership";
/// File of a membership that is not stated yet.
pub const CANDIDATE_FILE: &str = "membership-candidate";
/// A time that has certainly passed: this software was written after it (2026-11-01). The clock starts from here on a new machine.
const WRITTEN: UnixTime = UnixTime(1_793_491_200);

type Exchange<T> = Pin<Box<dyn Future<Output = T>>>;
/// A message that goes out, or is about to.
type Sending = Option<Exchange<Result<Answer, String>>>;

/// What a turn of the loop brought.
#[derive(Debug)]
pub struct Happened(What);

#[derive(Debug)]
enum What {
    Job(Which, Box<Done>),
    Polled(Result<Answer, String>),
    Reported(Result<Answer, String>),
    Fetched(Object, Result<Answer, String>),
    Called(Call),
}

/// Which of the two memberships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Member,
    Candidate,
}

/// Something made, which goes out when all it stands on is on the disk.
enum Held {
    Job(Which, Box<Job>),
    Poll(HttpClient, Vec<u8>, Option<String>),
    Report(HttpClient, Vec<u8>, Option<String>),
    Answer(oneshot::Sender<callers::Answer>, Vec<u8>),
}

/// See the module.
pub struct UtilityClient {
    dir: PathBuf,
    me: PartyId,
    reachable: Option<String>,
    membership: Option<Membership>,
    candidate: Option<Membership>,
    asker: Option<Asker>,
    /// Why there is no membership though there is a file.
    fault: Option<String>,
    window: Window,
    received: Received,
    cookie: Option<Cookie>,
    /// An error of the utility's that our next message has to answer: it has lost count of our numbers.
    to_answer: Option<Nonce>,
    job: Option<(Which, Exchange<Done>)>,
    poll: Option<(Nonce, Sending)>,
    report: Option<(u64, Nonce, Sending)>,
    fetch: Option<(Object, Exchange<Result<Answer, String>>)>,
    calls: Option<Calls>,
    held: Vec<Held>,
    writing: Option<Which>,
    write_again_at: Option<Duration>,
    to_keep: Option<(PathBuf, Zeroizing<Vec<u8>>)>,
    told: Option<Link>,
    clock_is_news: bool,
    inputs: VecDeque<Input>,
}

impl std::fmt::Debug for UtilityClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UtilityClient").field("me", &self.me).finish_non_exhaustive()
    }
}

impl UtilityClient {
    /// With what the state directory holds. `rows` are those of the database; `me` is the gateway's UUID.
    ///
    /// # Errors
    /// A file that cannot be read. One that can be read and not understood is a fault that is shown: local control goes on.
    pub fn open(
        dir: &Path,
        me: PartyId,
        reachable: Option<String>,
        rows: &Rows,
    ) -> Result<Self, state_dir::StateError> {
        let mut fault = None;
        let mut read = |name: &str| -> Result<Option<Membership>, state_dir::StateError> {
            let path = dir.join(name);
            let Some(bytes) = state_dir::read_bounded(&path, RECORD_BYTES_MAX as u64)?.map(Zeroizing::new) else {
                return Ok(None);
            };
            match Membership::from_record(&bytes, None) {
                Ok(membership) if membership.id() == me => Ok(Some(membership)),
                Ok(other) => {
                    fault = Some(format!("{} is of {}, and this gateway is {me}", path.display(), other.id()));
                    Ok(None)
                }
                Err(error @ (RecordError::Form(_) | RecordError::Damaged(_))) => {
                    fault = Some(format!("{}: {error}; enrol with --replace", path.display()));
                    Ok(None)
                }
                Err(error) => {
                    fault = Some(format!("{}: {error}", path.display()));
                    Ok(None)
                }
            }
        };
        let (mut membership, candidate) = (read(FILE)?, read(CANDIDATE_FILE)?);
        if let Some(fault) = &fault {
            tracing::error!(fault, "no membership");
        }
        if let Some(membership) = &mut membership {
            membership.set_reachable(reachable.clone());
        }
        let stored = rows.iter().find(|(slot, _)| *slot == Slot::Window).map(|(_, value)| &value[..]);
        let window = match stored.and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => Window::from_bytes(bytes),
            // It is known, and what was taken from it is not: nothing more is taken but answers.
            None if membership.as_ref().is_some_and(|m| m.peer().is_some()) => Window::lost(),
            None => Window::new(),
        };
        Ok(Self {
            dir: dir.to_owned(),
            me,
            reachable,
            membership,
            candidate,
            asker: None,
            fault,
            window,
            received: Received::default(),
            cookie: None,
            to_answer: None,
            job: None,
            poll: None,
            report: None,
            fetch: None,
            calls: None,
            held: Vec::new(),
            writing: None,
            write_again_at: None,
            to_keep: None,
            told: None,
            clock_is_news: false,
            inputs: VecDeque::new(),
        })
    }

    /// Listens for the utility's calls.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let callers = Callers::bind(address).await?;
        let bound = callers.address()?;
        self.calls = Some(Calls::new(callers, clock::boottime()));
        Ok(bound)
    }

    /// The membership, if this gateway is enrolled.
    pub fn membership(&self) -> Option<&Membership> {
        self.membership.as_ref()
    }

    /// What is wrong, for the status.
    pub fn trouble(&self) -> Option<String> {
        self.fault.clone()
    }

    /// The key management centre's own trouble, and whether an enrolment is under way there.
    pub fn kmc_trouble(&self) -> Option<String> {
        let of = |m: &Membership| m.trouble().map(|t| format!("{}: {}", m.kmc_host(), t.text));
        self.candidate.as_ref().and_then(of).or_else(|| self.membership.as_ref().and_then(of))
    }

    /// Whether an enrolment is under way.
    pub fn is_enrolling(&self) -> bool {
        self.candidate.is_some()
    }

    /// Begins what is due. To be called after everything else of a turn.
    pub fn turn(&mut self, now: Now) {
        let boot = now.boot.since_boot();
        let waits = self.held.iter().any(|held| matches!(held, Held::Job(..)));
        if self.job.is_none() && !waits {
            // A candidate whose KMC does not answer waits between two tries; the membership that there is goes on meanwhile.
            let both = [(Which::Candidate, &mut self.candidate), (Which::Member, &mut self.membership)];
            let begun = both.into_iter().find_map(|(which, m)| Some((which, m.as_mut()?.begin(boot, &mut rng())?)));
            if let Some((which, job)) = begun {
                self.held.push(Held::Job(which, Box::new(job)));
            }
        }
        self.store(boot);
        if self.writing.is_none() && self.write_again_at.is_none() {
            for held in std::mem::take(&mut self.held) {
                self.start(held);
            }
        }
        self.tell(boot);
    }

    /// Time since boot at which [`Self::turn`] has something to do.
    pub fn due(&self, now: Now) -> Option<Duration> {
        let boot = now.boot.since_boot();
        let free = self.job.is_none() && self.held.is_empty();
        let both = [&self.candidate, &self.membership].into_iter().flatten().filter(|_| free);
        both.filter_map(|m| m.due(boot)).chain(self.write_again_at).min()
    }

    /// What has to be on disk now; [`Self::kept`] must follow.
    pub fn poll_keep(&mut self) -> Option<(PathBuf, Zeroizing<Vec<u8>>)> {
        self.to_keep.take()
    }

    /// Whether it is.
    pub fn kept(&mut self, result: Result<(), String>, now: Now) {
        let Some(which) = self.writing.take() else { return };
        match result {
            Ok(()) => {
                self.write_again_at = None;
                if which == Which::Member && self.candidate.is_none() {
                    remove(&self.dir.join(CANDIDATE_FILE));
                }
            }
            Err(why) => {
                tracing::warn!(why, "keys and numbers cannot be stored; nothing is sent until they can");
                let membership = match which {
                    Which::Candidate => self.candidate.as_mut(),
                    Which::Member => self.membership.as_mut(),
                };
                if let Some(membership) = membership {
                    membership.not_stored();
                }
                self.write_again_at = Some(now.boot.since_boot() + KEEP_RETRY);
            }
        }
    }

    fn store(&mut self, boot: Duration) {
        if self.writing.is_some() || self.write_again_at.is_some_and(|at| boot < at) {
            return;
        }
        self.write_again_at = None;
        let both =
            [(Which::Candidate, &mut self.candidate, CANDIDATE_FILE), (Which::Member, &mut self.membership, FILE)];
        for (which, membership, file) in both {
            if let Some(membership) = membership
                && membership.take_unstored()
            {
                self.to_keep = Some((self.dir.join(file), membership.record()));
                self.writing = Some(which);
                return;
            }
        }
    }

    fn start(&mut self, held: Held) {
        match held {
            Held::Job(which, job) => {
                tracing::debug!(flow = job.name(), "to the key management centre");
                self.job = Some((which, Box::pin(job.run(clock::boottime, rng()))));
            }
            Held::Poll(http, body, cookie) => {
                if let Some((_, exchange)) = &mut self.poll {
                    *exchange = Some(Box::pin(post(http, endpoints::POLL, body, cookie)));
                }
            }
            // Whoever called may be gone.
            Held::Answer(answer, bytes) => _ = answer.send(callers::Answer::Sealed(bytes)),
            Held::Report(http, body, cookie) => {
                if let Some((_, _, exchange)) = &mut self.report {
                    *exchange = Some(Box::pin(post(http, endpoints::REPORT, body, cookie)));
                }
            }
        }
    }

    /// The next fact for [`crate::utility`].
    pub fn poll_input(&mut self) -> Option<Input> {
        self.inputs.pop_front()
    }

    /// The next thing that happens. Cancel safe.
    pub async fn next(&mut self) -> Happened {
        Happened(poll_fn(|context| self.poll_next(context)).await)
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<What> {
        if let Some((which, job)) = &mut self.job
            && let Poll::Ready(done) = job.as_mut().poll(context)
        {
            let which = *which;
            self.job = None;
            return Poll::Ready(What::Job(which, Box::new(done)));
        }
        if let Some((_, Some(exchange))) = &mut self.poll
            && let Poll::Ready(result) = exchange.as_mut().poll(context)
        {
            return Poll::Ready(What::Polled(result));
        }
        if let Some((_, _, Some(exchange))) = &mut self.report
            && let Poll::Ready(result) = exchange.as_mut().poll(context)
        {
            return Poll::Ready(What::Reported(result));
        }
        if let Some((object, exchange)) = &mut self.fetch
            && let Poll::Ready(result) = exchange.as_mut().poll(context)
        {
            let object = object.clone();
            self.fetch = None;
            return Poll::Ready(What::Fetched(object, result));
        }
        match &mut self.calls {
            Some(calls) => calls.poll(context).map(What::Called),
            None => Poll::Pending,
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, happened: Happened, now: Now) {
        let boot = now.boot.since_boot();
        match happened.0 {
            What::Job(which, done) => self.job_done(which, *done, boot),
            What::Polled(result) => {
                let Some((cti, _)) = self.poll.take() else { return };
                let result = self.answered(result, cti, Kind::Command, boot).and_then(|body| {
                    Command::decode(&body).map_err(|e| Failure::NoAnswer(format!("the utility's command {e}")))
                });
                if let (Ok(command), Some(membership)) = (&result, &mut self.membership) {
                    membership.told(u32::try_from(command.current.policy).unwrap_or(0), 0);
                }
                self.inputs.push_back(Input::Polled(result));
            }
            What::Reported(result) => {
                let Some((batch, cti, _)) = self.report.take() else { return };
                let result = self.answered(result, cti, Kind::Ack, boot).and_then(|body| self.acknowledged(&body));
                self.inputs.push_back(Input::Reported { batch, result });
            }
            What::Fetched(object, result) => {
                let result = result.map_err(Failure::NoAnswer).and_then(|answer| self.object(&object, answer, boot));
                self.inputs.push_back(Input::Fetched { object, result });
            }
            What::Called(call) => self.call(call, boot),
        }
    }

    fn job_done(&mut self, which: Which, done: Done, boot: Duration) {
        let membership = match which {
            Which::Candidate => self.candidate.as_mut(),
            Which::Member => self.membership.as_mut(),
        };
        let Some(membership) = membership else { return };
        let signer = |m: &Membership| m.peer().map(|peer| peer.statement.kid());
        let before = signer(membership);
        match membership.finish(done, boot, &mut rng()) {
            Ok(News::Enrolled) => self.enrolled(),
            Ok(News::ClockSet) => self.clock_is_news = true,
            Ok(News::Peer(true)) if before.is_some() && signer(membership) != before => {
                // A utility that lost its keys has lost count too. The old key is worth nothing here any more, so neither are its numbers.
                self.window = Window::lost();
                self.inputs.push_back(Input::Window(self.window.to_bytes()));
            }
            Ok(news) => tracing::debug!(?news, "from the key management centre"),
            Err(error) => {
                tracing::debug!(%error, "the key management centre");
                if which == Which::Candidate {
                    self.not_enrolled(&error);
                }
            }
        }
    }

    /// Carries out a question of [`crate::utility`].
    pub fn ask(&mut self, question: Question, now: Now) {
        let boot = now.boot.since_boot();
        match question {
            Question::Poll(poll) => {
                self.poll = None;
                self.held.retain(|held| !matches!(held, Held::Poll(..)));
                let answers = self.to_answer.take();
                match self
                    .seal((Kind::Poll, answers), &poll.encode(), boot)
                    .and_then(|sealed| Ok((self.http()?, sealed)))
                {
                    Ok((http, Sealed { bytes, cti })) => {
                        let within = Duration::from_secs(WAIT_S_MAX.into()) + POLL_ANSWER_SLACK;
                        let cookie = self.cookie.as_ref().map(|cookie| cookie.header(&bytes));
                        self.poll = Some((cti, None));
                        self.held.push(Held::Poll(http.answering_within(within), bytes, cookie));
                    }
                    Err(why) => self.inputs.push_back(Input::Polled(Err(Failure::NoAnswer(why)))),
                }
            }
            Question::Report { batch, body } => {
                let answers = self.to_answer.take();
                match self.seal((Kind::Report, answers), &body, boot).and_then(|sealed| Ok((self.http()?, sealed))) {
                    Ok((http, Sealed { bytes, cti })) => {
                        let cookie = self.cookie.as_ref().map(|cookie| cookie.header(&bytes));
                        self.report = Some((batch, cti, None));
                        self.held.push(Held::Report(http, bytes, cookie));
                    }
                    Err(why) => self.inputs.push_back(Input::Reported { batch, result: Err(Failure::NoAnswer(why)) }),
                }
            }
            Question::Fetch(object) => match self.host() {
                Some(host) => {
                    let path = match &object {
                        Object::Index(zone) => format!("{}{zone}", endpoints::PRICES),
                        Object::Series(zone, version) => format!("{}{zone}@{version}", endpoints::PRICES),
                    };
                    let http = HttpClient::new(host);
                    let exchange = async move { http.get(&path, None).await.map_err(|error| chain(&error)) };
                    self.fetch = Some((object, Box::pin(exchange)));
                }
                None => {
                    let result = Err(Failure::NoAnswer("the utility's address is not known".into()));
                    self.inputs.push_back(Input::Fetched { object, result });
                }
            },
        }
    }

    fn host(&self) -> Option<&str> {
        self.membership.as_ref()?.peer()?.host.as_deref()
    }

    fn http(&self) -> Result<HttpClient, String> {
        Ok(HttpClient::new(self.host().ok_or("the utility's address is not known")?))
    }

    /// A message to the utility, whose answer is awaited.
    fn seal(&mut self, kind: (Kind, Option<Nonce>), body: &[u8], boot: Duration) -> Result<Sealed, String> {
        let membership = self.membership.as_mut().ok_or("not enrolled")?;
        let peer = membership.peer().ok_or("the utility is not known")?.statement.clone();
        let sealed = membership.seal(&peer, kind, body, boot, &mut rng()).map_err(|e| e.to_string())?;
        // Nothing answers an acknowledgement.
        if kind.0 != Kind::Ack {
            self.received.awaits(sealed.cti, peer.subject(), boot);
        }
        Ok(sealed)
    }

    /// What is in the answer to a message of ours.
    fn answered(
        &mut self,
        result: Result<Answer, String>,
        cti: Nonce,
        wanted: Kind,
        boot: Duration,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let answer = result.map_err(Failure::NoAnswer)?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                return Err(Failure::Busy { after_s: answer.retry_after_s.unwrap_or(60) });
            }
            status => return Err(Failure::NoAnswer(format!("the utility refused with status {}", status.as_u16()))),
        }
        let membership = self.membership.as_mut().ok_or(Failure::NoAnswer("not enrolled".into()))?;
        let opened = match self.received.open(&answer.body, membership, &mut self.window, false, boot) {
            Ok(opened) => opened,
            Err(Refused { reason, suspect, .. }) => {
                if suspect {
                    membership.suspect_peer(boot);
                }
                return Err(Failure::NoAnswer(format!("the utility's answer was not taken: {reason}")));
            }
        };
        self.inputs.push_back(Input::Window(self.window.to_bytes()));
        if opened.head.answers != Some(cti) {
            return Err(Failure::NoAnswer("the utility answered something else".into()));
        }
        match opened.head.kind {
            kind if kind == wanted => Ok(opened.body),
            Kind::Error => {
                let error = SealedError::decode(&opened.body)
                    .map_err(|e| Failure::NoAnswer(format!("the utility's refusal {e}")))?;
                Err(self.refused(error, opened.head.cti, boot))
            }
            _ => Err(Failure::NoAnswer("the utility's answer is of another kind".into())),
        }
    }

    /// The utility says why it does not take a message; what can be mended by itself is begun.
    fn refused(&mut self, error: SealedError, cti: Nonce, boot: Duration) -> Failure {
        let Some(membership) = &mut self.membership else { return Failure::NoAnswer("not enrolled".into()) };
        let said = format!("the utility answered: {error}");
        match error {
            SealedError::Busy { after_s } => return Failure::Busy { after_s },
            SealedError::Unsupported => return Failure::NotTaken(said),
            SealedError::Policy { current } => membership.told(current, 0),
            // One of the two clocks is wrong; the KMC says which.
            SealedError::Stale { .. } => membership.suspect_clock(),
            // It has lost count of our numbers: our next message answers this one.
            SealedError::Replay => self.to_answer = Some(cti),
            SealedError::KeyExpired => {
                membership.suspect_own();
                membership.suspect_peer(boot);
            }
            _ => {}
        }
        Failure::NoAnswer(said)
    }

    fn acknowledged(&mut self, body: &[u8]) -> Result<ReportAnswer, Failure> {
        let ack = Ack::decode(body).map_err(|e| Failure::NoAnswer(format!("the utility's acknowledgement {e}")))?;
        if let Some(membership) = &mut self.membership {
            membership.told(ack.policy, ack.revocations);
        }
        if ack.cookie.is_some() {
            self.cookie = ack.cookie;
        }
        ReportAnswer::decode(&ack.body).map_err(|e| Failure::NoAnswer(format!("the utility's answer to a report {e}")))
    }

    /// A broadcast object, if the utility signed it.
    fn object(&mut self, object: &Object, answer: Answer, boot: Duration) -> Result<Fetched, Failure> {
        if answer.status != StatusCode::OK {
            return Err(match (answer.status, answer.retry_after_s) {
                (_, Some(after_s)) => Failure::Busy { after_s },
                (status, None) => Failure::NoAnswer(format!("status {}", status.as_u16())),
            });
        }
        let no = |why: String| Failure::NoAnswer(why);
        let membership = self.membership.as_mut().ok_or(no("not enrolled".into()))?;
        let statement = membership.peer().map(|peer| peer.statement.clone()).ok_or(no("no utility".into()))?;
        let payload = match Broadcast::verify(&answer.body, &statement) {
            Ok(payload) => payload,
            Err(error) => {
                if matches!(error, secure_http::BroadcastError::OtherKey) {
                    membership.suspect_peer(boot);
                }
                return Err(no(error.to_string()));
            }
        };
        let unreadable = |error: utility_wire::WireError| no(format!("the object {error}"));
        Ok(match object {
            Object::Index(_) => Fetched::Index(PriceIndex::decode(&payload).map_err(unreadable)?),
            Object::Series(..) => Fetched::Series(PriceSeries::decode(&payload).map_err(unreadable)?),
        })
    }

    /// Says how the way stands, where that is news.
    fn tell(&mut self, boot: Duration) {
        let link = self.link(boot);
        let same = self.told.as_ref().is_some_and(|told| Link { time: told.time, ..link.clone() } == *told);
        if same && !self.clock_is_news {
            return;
        }
        self.clock_is_news = false;
        if link.hindrance.is_some() {
            (self.poll, self.report, self.fetch) = (None, None, None);
            self.held.retain(|held| matches!(held, Held::Job(..) | Held::Answer(..)));
        }
        self.inputs.push_back(Input::Link(link.clone()));
        self.told = Some(link);
    }

    fn link(&self, boot: Duration) -> Link {
        let Some(membership) = &self.membership else {
            let hindrance = if self.candidate.is_some() { "the enrolment is under way" } else { "not enrolled" };
            return Link { hindrance: Some(self.fault.clone().unwrap_or(hindrance.into())), ..Link::default() };
        };
        Link {
            enrolled: membership.statement().is_some(),
            peer: membership.peer().map(|peer| peer.statement.subject().to_string()),
            hindrance: hindrance(membership, boot),
            policy: membership.policy().version(),
            time: membership.now(boot).map(wire_time),
        }
    }
}

/// Why the utility can't be talked to now.
fn hindrance(membership: &Membership, boot: Duration) -> Option<String> {
    let Some(now) = membership.now(boot) else { return Some("the time is not known yet".into()) };
    let until = |at: UnixTime| moment(wire_time(at));
    if let Some(statement) = membership.statement()
        && !statement.validity().contains(now)
    {
        return Some(format!("the gateway's own key statement held until {}", until(statement.validity().until())));
    }
    if membership.standing(boot) == Standing::LocalOnly {
        return Some(match membership.policy().policy() {
            Some(policy) => format!("the security policy held until {}", until(policy.validity().until())),
            None => "there is no security policy yet".into(),
        });
    }
    let Some(peer) = membership.peer() else { return Some("the utility has not been named yet".into()) };
    if !peer.statement.validity().contains(now) {
        return Some(format!("the utility's key statement held until {}", until(peer.statement.validity().until())));
    }
    if membership.is_revoked(&peer.statement) {
        return Some("the utility's key is revoked".into());
    }
    peer.host.is_none().then(|| "the utility has not said where it is reached".into())
}

/// The same instant, as the utility's messages have it.
pub fn wire_time(at: UnixTime) -> utility_wire::UnixTime {
    utility_wire::UnixTime::new(at.0)
}

/// Posts, and once more with a cookie where one is wanted.
async fn post(http: HttpClient, path: &str, body: Vec<u8>, cookie: Option<String>) -> Result<Answer, String> {
    let send = async |body: Vec<u8>, cookie: Option<&str>| {
        http.post(path, CONTENT_TYPE_SIGN1, body, cookie).await.map_err(|error| chain(&error))
    };
    let answer = send(body.clone(), cookie.as_deref()).await?;
    match answer.challenge.as_deref().and_then(|challenge| answer_challenge(challenge, &body)) {
        Some(cookie) if answer.status == StatusCode::TOO_MANY_REQUESTS => send(body, Some(&cookie)).await,
        _ => Ok(answer),
    }
}

fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "not removed");
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
