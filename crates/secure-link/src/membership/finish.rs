//! What came of a job, and how long to wait after it.

use core::time::Duration;

use rand_core::CryptoRng;
use secure_http::crypto::SigningKey;
use secure_http::{Role, SealedError, Statement, StatementError};

use super::{Membership, News, Peer, Trouble};
use crate::job::{Done, Outcome};
use crate::kmc::{FetchedKey, Kmc, LinkError};
use crate::limits::{CLOCK_EVERY, OVERLAP_S, RETRY_FIRST, RETRY_LAST};

impl Membership {
    /// Takes in what came of a job; then store, if [`take_unstored`](Self::take_unstored) says so. After a failure the same is tried
    /// again later, twice as late each time.
    ///
    /// # Errors
    /// What failed. A failed [`fetch`](Self::fetch) or [`order`](Self::order) delays nothing else.
    pub fn finish<R: CryptoRng + ?Sized>(
        &mut self,
        done: Done,
        boot: Duration,
        rng: &mut R,
    ) -> Result<News, LinkError> {
        let beside = done.beside;
        if !beside {
            self.working = false;
        }
        if let Some(kmc) = done.kmc {
            self.meet(kmc);
        }
        let result = done.outcome.and_then(|outcome| self.apply(outcome, boot, rng));
        match &result {
            Ok(_) if beside => self.not_before = Duration::ZERO,
            Err(error) if beside => self.learn_from(error),
            Ok(_) => {
                self.failures = 0;
                self.not_before = Duration::ZERO;
                self.trouble = None;
            }
            Err(error) => self.failed(error, done.flow, boot, rng),
        }
        result
    }

    fn meet(&mut self, kmc: Kmc) {
        let same = self.kmc.as_ref().is_some_and(|known| known.statements() == kmc.statements());
        self.unstored |= !same;
        self.kmc = Some(kmc);
    }

    fn apply<R: CryptoRng + ?Sized>(
        &mut self,
        outcome: Outcome,
        boot: Duration,
        rng: &mut R,
    ) -> Result<News, LinkError> {
        Ok(match outcome {
            Outcome::Enrolled(statement) => {
                let since = statement.validity().from();
                (self.sig_since, self.kem_since) = (since, since);
                self.statement = Some(statement);
                self.token = None;
                self.unstored = true;
                News::Enrolled
            }
            Outcome::Clock(clock) => {
                self.clock = clock;
                self.due.clock = boot + jittered(CLOCK_EVERY, rng);
                let holds = |now| self.kmc.as_ref().is_some_and(|kmc| kmc.authority().holds(now));
                if !self.now(boot).is_some_and(holds) {
                    // What was believed before the time was known is asked for again.
                    self.due.refresh = Duration::ZERO;
                }
                News::ClockSet
            }
            Outcome::Refreshed { policy, revocations } => {
                let every = Duration::from_secs(self.policy.rules().refresh_s);
                self.due.refresh = boot + jittered(every, rng);
                let news = News::Refreshed { policy: policy.is_some(), revocations: revocations.is_some() };
                self.unstored |= policy.is_some() || revocations.is_some();
                if let Some(policy) = policy {
                    self.policy = policy;
                }
                self.revocations = revocations.or(self.revocations.take());
                news
            }
            Outcome::Own(fetched) => {
                let (keys, statement) = (&self.keys, fetched.statement);
                let ours = statement.sig() == keys.sig().public() && statement.kem() == Some(keys.kem().public());
                if !ours {
                    return Err(LinkError::Other);
                }
                self.restate_now = false;
                // Half over and not stated anew: not before long.
                self.due.restate = boot + jittered(Duration::from_secs(self.policy.rules().refresh_s), rng);
                let other = self.statement.as_ref().is_none_or(|known| known.serial() < statement.serial());
                if other {
                    self.statement = Some(statement);
                    self.unstored = true;
                }
                News::Restated(other)
            }
            Outcome::RolledOver(statement) => {
                self.rolled_over(statement, boot)?;
                News::RolledOver
            }
            Outcome::Announced(host) => {
                self.announced = Some(host);
                self.old_sig = None;
                self.unstored = true;
                News::Announced
            }
            Outcome::Peer(fetched) => News::Peer(self.take_peer(fetched, boot, rng)?),
            Outcome::Fetched(fetched) => News::Fetched(Box::new(fetched)),
            Outcome::Ordered(text) => News::Ordered(text),
        })
    }

    fn rolled_over(&mut self, statement: Statement, boot: Duration) -> Result<(), LinkError> {
        let Some(next) = self.next.take() else { return Err(LinkError::Other) };
        let now = self.now(boot).unwrap_or_else(|| self.clock.guess(boot));
        let until = now.plus(OVERLAP_S + self.policy.rules().skew_s);
        self.old_sig = Some(SigningKey::from_bytes(&self.keys.sig().to_bytes())?);
        if next.sig.is_some() {
            self.sig_since = now;
        }
        self.kem_since = now;
        self.replace_keys(|keys| keys.roll(next.sig, next.kem, until));
        self.statement = Some(statement);
        self.due.announce = Duration::ZERO;
        self.unstored = true;
        Ok(())
    }

    /// Whether the utility's statement is another now. Keys that its old ones do not vouch for are not taken.
    fn take_peer<R: CryptoRng + ?Sized>(
        &mut self,
        fetched: FetchedKey,
        boot: Duration,
        rng: &mut R,
    ) -> Result<bool, LinkError> {
        let statement = fetched.statement;
        if statement.role() != Role::Utility {
            return Err(StatementError::NotEntitled.into());
        }
        if let (Some(known), Some(kmc)) = (&self.peer, &self.kmc) {
            let (proof, path) = (fetched.succession.as_deref(), &fetched.path[..]);
            kmc.authority().succession(&known.statement, &statement, proof, path)?;
        }
        let refresh = Duration::from_secs(self.policy.rules().refresh_s);
        self.due.peer = boot + jittered(refresh, rng);
        let known = self.peer.as_ref();
        let other = known.is_none_or(|p| p.statement.raw() != statement.raw());
        let suspected = core::mem::take(&mut self.suspects_peer);
        self.false_alarms = if suspected && !other { self.false_alarms.saturating_add(1) } else { 0 };
        if other || known.is_some_and(|p| p.host != fetched.host) {
            self.peer = Some(Peer { statement: statement.prepared(), host: fetched.host });
            self.unstored = true;
        }
        Ok(other)
    }

    fn learn_from(&mut self, error: &LinkError) {
        match error {
            // Our policy is not the KMC's: first that.
            LinkError::Sealed(SealedError::Policy { .. }) => self.due.refresh = Duration::ZERO,
            LinkError::Sealed(SealedError::Stale { .. }) => self.due.clock = Duration::ZERO,
            _ => {}
        }
    }

    fn failed<R: CryptoRng + ?Sized>(&mut self, error: &LinkError, flow: &'static str, boot: Duration, rng: &mut R) {
        self.failures = self.failures.saturating_add(1);
        let doubled = RETRY_FIRST.saturating_mul(1 << self.failures.min(16).saturating_sub(1)).min(RETRY_LAST);
        let wait = match error {
            LinkError::Busy { after_s } => Duration::from_secs(*after_s).max(doubled),
            _ => doubled,
        };
        let again = boot + jittered(wait, rng);
        self.learn_from(error);
        match error {
            // The centre itself says no to the token; whatever else stands on the way may say other things.
            LinkError::Refused(status) if self.statement.is_none() => {
                self.refused = matches!(status.as_u16(), 400 | 401 | 403);
            }
            LinkError::Sealed(SealedError::Forbidden) if matches!(flow, "roll-over" | "announce") => self.suspect_own(),
            _ => {}
        }
        // One flow that fails must not keep the others waiting; when nobody answers all of them wait.
        match flow {
            _ if matches!(error, LinkError::Http(_) | LinkError::Busy { .. }) => self.not_before = again,
            "peer" => self.due.peer = again,
            "restate" => self.due.restate = again,
            "roll-over" => self.due.roll_over = again,
            "announce" => self.due.announce = again,
            _ => self.not_before = again,
        }
        let since = self.trouble.as_ref().map_or(boot, |trouble| trouble.since);
        self.trouble = Some(Trouble { text: format!("{flow}: {}", chain(error)), since });
    }
}

/// Within a tenth more, so that parties that failed or began together do not come back together.
fn jittered<R: CryptoRng + ?Sized>(wait: Duration, rng: &mut R) -> Duration {
    wait + wait.mul_f64(f64::from(rng.next_u32()) / f64::from(u32::MAX) / 10.0)
}

fn chain(error: &LinkError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
