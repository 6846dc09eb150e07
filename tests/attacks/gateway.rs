//! An honest home: the gateway's own membership, and the receiver's steps with what comes back.

use std::time::Duration;

use daemon_kit::clock;
use getrandom::SysRng;
use rand_core::UnwrapErr;
use secure_http::code_points::CONTENT_TYPE_SIGN1;
use secure_http::limits::REPORT_BYTES_MAX;
use secure_http::{
    Ack, Awaited, Clock, EnrolmentToken, Envelope, Kind, Nonce, Opened, PartyId, Reason, Receiver, Role, Sealed,
    SealedError, Sender, Situation, Statement, Stopped, UnixTime, Window, answer_challenge,
};
use secure_link::{LinkError, Membership, News};
use utility_wire::{Command, Message as _, Poll, Report, ReportAnswer};

use crate::wire::{Message, ask};

/// Random bytes.
pub(crate) fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// The time.
pub(crate) fn now() -> UnixTime {
    UnixTime(clock::wall().as_second().try_into().expect("a time after 1970"))
}

/// What came of asking the utility.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A sealed answer, taken.
    Taken(Box<Opened>),
    /// A sealed refusal, taken.
    Error(SealedError),
    /// A refusal in clear.
    Refused(u16),
    /// An answer that was not taken.
    Stopped(Reason),
    /// None.
    Nothing,
}

impl Answer {
    /// What is in an acknowledgement.
    pub(crate) fn stored(&self) -> Option<ReportAnswer> {
        let Self::Taken(opened) = self else { return None };
        ReportAnswer::decode(&Ack::decode(&opened.body).ok()?.body).ok()
    }

    /// What is in a command.
    pub(crate) fn command(&self) -> Option<Command> {
        match self {
            Self::Taken(opened) => Command::decode(&opened.body).ok(),
            _ => None,
        }
    }
}

/// The home.
pub(crate) struct Gateway {
    /// Its standing with the KMC.
    pub(crate) member: Membership,
    awaited: Awaited,
    window: Window,
    receiver: Receiver,
    cookie: Option<secure_http::Cookie>,
}

impl Gateway {
    /// One that is going to enrol.
    pub(crate) fn new(token: &EnrolmentToken, id: PartyId) -> Self {
        let clock = Clock::from_wall(now(), clock::boottime());
        Self::of(Membership::candidate(token, id, Role::Gateway, clock, &mut rng()))
    }

    fn of(member: Membership) -> Self {
        let (awaited, window, receiver) = (Awaited::new(), Window::new(), Receiver::new());
        Self { member, awaited, window, receiver, cookie: None }
    }

    /// As it comes up again from what is on its disk.
    pub(crate) fn restart(self) -> Self {
        Self { window: Window::from_bytes(self.window.to_bytes()), ..self.copied() }
    }

    /// The next job with the KMC; none while nothing is due.
    pub(crate) async fn job(&mut self) -> Option<Result<News, LinkError>> {
        let job = self.member.begin(clock::boottime(), &mut rng())?;
        let done = job.run(clock::boottime, rng()).await;
        Some(self.member.finish(done, clock::boottime(), &mut rng()))
    }

    /// Asks the KMC for its own statement.
    pub(crate) async fn asks_for_its_own(&mut self) -> Result<News, LinkError> {
        let known = self.member.statement().cloned();
        let job = self.member.fetch(self.member.id(), known.as_ref()).expect("a member");
        let done = job.run(clock::boottime, rng()).await;
        self.member.finish(done, clock::boottime(), &mut rng())
    }

    /// All that is due.
    pub(crate) async fn settle(&mut self) {
        while let Some(result) = self.job().await {
            result.expect("an honest KMC");
        }
    }

    /// A message to the utility as it goes out, and the identifier that its answer has to name.
    pub(crate) fn seal(&mut self, kind: Kind, answers: Option<Nonce>, body: &[u8]) -> Sealed {
        let boot = clock::boottime();
        let to = self.utility().clone();
        let sealed = self.member.seal(&to, (kind, answers), body, boot, &mut rng()).expect("a short body");
        self.awaited.sent(sealed.cti, to.subject(), boot);
        sealed
    }

    /// Its utility's statement.
    pub(crate) fn utility(&self) -> &Statement {
        &self.member.peer().expect("a home that knows its utility").statement
    }

    /// Sends a message to a utility at `address`, and takes the answer.
    pub(crate) async fn exchange(&mut self, address: &str, path: &str, kind: Kind, body: &[u8]) -> Answer {
        let sealed = self.seal(kind, None, body);
        let mut request = Message::post(path, CONTENT_TYPE_SIGN1, sealed.bytes);
        if let Some(cookie) = &self.cookie {
            request.headers.push(format!("heg-cookie: {}", cookie.header(&request.body)));
        }
        let mut answer = ask(address, &request).await;
        // A server under load wants to see that we are at our address.
        let challenge = answer.as_ref().filter(|a| a.status() == 429).and_then(|a| a.header("heg-cookie-challenge"));
        if let Some(cookie) = challenge.and_then(|challenge| answer_challenge(challenge, &request.body)) {
            request.headers.retain(|line| !line.starts_with("heg-cookie:"));
            request.headers.push(format!("heg-cookie: {cookie}"));
            answer = ask(address, &request).await;
        }
        match answer {
            None => Answer::Nothing,
            Some(answer) if answer.status() == 200 => self.answered(&answer.body, sealed.cti),
            Some(answer) => Answer::Refused(answer.status()),
        }
    }

    /// What it makes of an answer to that message of its own.
    pub(crate) fn answered(&mut self, raw: &[u8], cti: Nonce) -> Answer {
        match self.take(raw, clock::boottime()) {
            Err(reason) => Answer::Stopped(reason),
            Ok(opened) if opened.head.answers != Some(cti) => Answer::Stopped(Reason::NotAwaited),
            Ok(opened) if opened.head.kind == Kind::Error => {
                Answer::Error(SealedError::decode(&opened.body).expect("an error of the utility's"))
            }
            Ok(opened) => {
                if let Some(ack) = Ack::decode(&opened.body).ok().filter(|_| opened.head.kind == Kind::Ack) {
                    self.member.told(ack.policy, ack.revocations);
                    self.cookie = ack.cookie.or(self.cookie.take());
                }
                Answer::Taken(Box::new(opened))
            }
        }
    }

    /// The receiver's steps with a message from the utility that comes in at that time.
    pub(crate) fn take(&mut self, raw: &[u8], boot: Duration) -> Result<Opened, Reason> {
        let stopped = |stopped: Stopped<'_>| stopped.reason;
        let (me, now, rules) = (self.member.id(), self.member.now(boot), self.member.policy().rules());
        let parsed = self.receiver.parse(raw, REPORT_BYTES_MAX).map_err(stopped)?;
        let at = Situation { me: &me, now, boot, awaited: &self.awaited, window: &self.window, rules: &rules };
        let fresh = self.receiver.check(parsed, &at).map_err(stopped)?;
        let statement = &self.member.peer().ok_or(Reason::UnknownKey)?.statement;
        let sender = Some(Sender { statement, revoked: self.member.is_revoked(statement) });
        let verified = self.receiver.verify(fresh, sender, now, self.member.policy()).map_err(stopped)?;
        let (committed, window) = self.receiver.commit(verified, &self.window, &mut self.awaited).map_err(stopped)?;
        self.window = window;
        self.receiver.open(committed, self.member.keys()).map_err(stopped)
    }

    /// Sends bytes as they are, as an attacker would who has recorded them.
    pub(crate) async fn resend(&self, address: &str, raw: &[u8]) -> Message {
        self.resend_to(address, "/u/v1/report", raw).await
    }

    /// The same, to another path.
    pub(crate) async fn resend_to(&self, address: &str, path: &str, raw: &[u8]) -> Message {
        ask(address, &Message::post(path, CONTENT_TYPE_SIGN1, raw.to_vec())).await.expect("an answer")
    }

    /// Another machine with a copy of its disk.
    pub(crate) fn copied(&self) -> Self {
        self.ago(0)
    }

    /// As it would have been so many seconds ago: what it makes was made then.
    pub(crate) fn ago(&self, seconds: u64) -> Self {
        let wall = Some((UnixTime(now().0 - seconds), clock::boottime()));
        Self::of(Membership::from_record(&self.member.record(), wall).expect("its own record"))
    }

    /// A thief who saw that message go by waits for its answer.
    pub(crate) fn pretend_to_have_sent(&mut self, cti: Nonce) {
        let utility = self.utility().subject();
        self.awaited.sent(cti, utility, clock::boottime());
    }

    /// Why a message of its own was not taken, as the utility tells it alone.
    ///
    /// # Panics
    /// It does not tell.
    pub(crate) fn why(&mut self, sent: &[u8], answer: &Message) -> SealedError {
        let cti = Envelope::parse(sent).expect("a message").head().cti;
        self.pretend_to_have_sent(cti);
        match self.answered(&answer.body, cti) {
            Answer::Error(error) => error,
            other => panic!("status {}: {other:?}", answer.status()),
        }
    }

    /// Tells a report.
    pub(crate) async fn report(&mut self, address: &str, report: &Report) -> Answer {
        self.exchange(address, "/u/v1/report", Kind::Report, &report.encode()).await
    }

    /// Asks what to do.
    pub(crate) async fn poll(&mut self, address: &str, poll: &Poll) -> Answer {
        self.exchange(address, "/u/v1/poll", Kind::Poll, &poll.encode()).await
    }
}
