//! One run of `nft` at a time: what should be in the kernel, the run that brings it there, and what follows from how it ended. IO.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

use http::StatusCode;
use upnp::time::BootTime;

use super::deadman::Phase;
use super::forwarding::Forwarding;
use super::nft::{self, NftError, Replaced};
use super::ruleset::{Counts, Feature, Plan};
use super::settings::Mode;
use super::{Ask, Firewall};
use crate::journal::Cause;
use crate::limits::{FIREWALL_LOOK_EVERY, FIREWALL_RETRY_FIRST};

/// How a run ended.
#[derive(Debug)]
pub(super) enum Done {
    /// And, when it failed, whether older rules are there.
    Replaced(Box<Plan>, String, Result<Replaced, (NftError, bool)>),
    Changed(Box<Plan>, Result<(), NftError>),
    Looked(Result<Option<Counts>, NftError>),
    Removed(Result<(), NftError>),
}

/// A run under way.
pub(super) type Job = Pin<Box<dyn Future<Output = Done>>>;

/// What our table in the kernel is made of.
#[derive(Debug)]
pub(super) struct InKernel {
    /// What it was made from.
    pub(super) plan: Plan,
    /// What this kernel could take of it.
    pub(super) features: BTreeSet<Feature>,
    /// Name of a counter that only our own table has.
    mark: String,
}

impl Firewall {
    /// The plan that should be in the kernel; none when it is off.
    fn wanted(&self) -> Option<Plan> {
        let settings = self.dead_man.in_force();
        (settings.mode != Mode::Off).then(|| Plan {
            shape: self.shape.clone(),
            settings,
            http_port: self.http_port,
            sealed_port: self.sealed_port,
            appliances: self.appliances.clone(),
            ssh: self.ssh.clone(),
            ssh_ports: self.ssh_ports.clone(),
            utility: self.utility.clone(),
        })
    }

    /// Whether the kernel has what is wanted.
    pub(super) fn is_in_step(&self) -> bool {
        !self.to_be_removed && self.in_kernel.as_ref().map(|kernel| &kernel.plan) == self.wanted().as_ref()
    }

    /// Begins to put the difference between wanted and present in place, unless a run is under way; then it is looked at again
    /// when that has ended.
    pub(super) fn begin_job(&mut self, now: BootTime) {
        if self.job.is_some() {
            return self.touch(now);
        }
        let Some(plan) = self.wanted() else {
            if self.to_be_removed || self.in_kernel.is_some() {
                self.job = Some(Box::pin(async { Done::Removed(nft::remove().await) }));
            }
            return;
        };
        match &self.in_kernel {
            Some(kernel) if kernel.plan == plan => self.in_step(now),
            Some(kernel) => match plan.sets_since(&kernel.plan, &kernel.features) {
                Some(text) => {
                    self.job = Some(Box::pin(async move { Done::Changed(Box::new(plan), nft::apply(&text).await) }));
                }
                None => self.replace(plan),
            },
            None => self.replace(plan),
        }
    }

    /// Begins to read the counters.
    pub(super) fn begin_look(&mut self, now: BootTime) {
        self.look_at = now + FIREWALL_LOOK_EVERY;
        self.job = Some(Box::pin(async { Done::Looked(nft::counts().await) }));
    }

    fn replace(&mut self, plan: Plan) {
        let mut random = [0; 8];
        // Only to know our own table again: where there is no randomness the next look puts it in place once more.
        let _ = getrandom::fill(&mut random);
        let mark = format!("made_{:016x}", u64::from_ne_bytes(random));
        let known = self.counts.clone();
        self.job = Some(Box::pin(async move {
            let result = match nft::replace(&plan, &mark, &known).await {
                Ok(replaced) => Ok(replaced),
                Err(error) => Err((error, nft::is_guarded().await)),
            };
            Done::Replaced(Box::new(plan), mark, result)
        }));
    }

    /// What is in the kernel is what is wanted.
    fn in_step(&mut self, now: BootTime) {
        self.failure = None;
        self.retry = None;
        self.change_in_place(now);
        self.answer_all(|ask| matches!(ask, Ask::Apply { .. }), now);
    }

    /// A run has ended.
    pub(super) fn done(&mut self, done: Done, now: BootTime) {
        match done {
            Done::Replaced(plan, mark, Ok(Replaced { features, counts })) => {
                tracing::debug!(mark, "firewall in place");
                self.counts = counts;
                self.unguarded = false;
                self.in_kernel = Some(InKernel { plan: *plan, features, mark });
                self.look_at = now + FIREWALL_LOOK_EVERY;
                self.release_forwarding();
                self.begin_job(now);
            }
            Done::Changed(plan, Ok(())) => {
                if let Some(kernel) = &mut self.in_kernel {
                    kernel.plan = *plan;
                }
                self.begin_job(now);
            }
            Done::Changed(_, Err(error)) => {
                tracing::debug!(%error, "sets not changed; the table is made anew");
                match self.wanted() {
                    Some(plan) => self.replace(plan),
                    None => self.begin_job(now),
                }
            }
            Done::Replaced(plan, _, Err((error, guarded))) => {
                self.unguarded = !guarded && plan.closes_wan();
                // Again each time: other programs switch forwarding on as they start.
                if plan.shape.router && self.in_kernel.is_none() && !guarded {
                    self.hold_forwarding();
                }
                self.failed(&error, now);
            }
            Done::Looked(Ok(counts)) => self.looked(counts, now),
            Done::Looked(Err(error)) => {
                tracing::debug!(%error, "counters not read");
                self.answer_all(|ask| matches!(ask, Ask::Status | Ask::Metrics), now);
            }
            Done::Removed(Ok(())) => {
                self.in_kernel = None;
                self.to_be_removed = false;
                self.unguarded = false;
                (self.watch, self.tables) = (None, None);
                self.failure = None;
                self.retry = None;
                self.release_forwarding();
                self.change_in_place(now);
                self.answer_all(|_| true, now);
            }
            Done::Removed(Err(error)) => {
                self.release_forwarding();
                self.failed(&error, now);
            }
        }
    }

    fn looked(&mut self, counts: Option<Counts>, now: BootTime) {
        let ours = match (&counts, &self.in_kernel) {
            (Some(counts), Some(kernel)) => counts.contains_key(&kernel.mark),
            _ => false,
        };
        if ours {
            self.counts = counts.unwrap_or_default();
            self.look_at = now + FIREWALL_LOOK_EVERY;
        } else if self.in_kernel.take().is_some() {
            let reason = match counts {
                Some(_) => "somebody else put it in place",
                None => "somebody took it away",
            };
            tracing::warn!(reason, "the firewall's table was not ours any more and is made anew");
            self.note("firewall restore", Cause::Gateway, reason.to_owned());
        }
        // The kernel does not say when it begins to forward.
        if !self.is_off() {
            self.read_network();
            self.shape_anew();
        }
        self.begin_job(now);
        self.answer_all(|ask| matches!(ask, Ask::Status | Ask::Metrics), now);
    }

    fn failed(&mut self, error: &NftError, now: BootTime) {
        let why = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        if self.failure.as_deref() != Some(&why) {
            tracing::error!(why, "firewall not put in place; the kernel keeps the rules it had");
        }
        self.failure = Some(why.clone());
        for (ask, request) in std::mem::take(&mut self.askers) {
            match ask {
                Ask::Status | Ask::Metrics => self.answer(ask, request, now),
                _ => request.respond_error(StatusCode::INTERNAL_SERVER_ERROR, "firewall", why.clone()),
            }
        }
        if self.dead_man.phase() == Phase::Applying && self.dead_man.roll_back() {
            return self.taken_back(&why, now);
        }
        let wait = self.retry.map_or(FIREWALL_RETRY_FIRST, |(_, wait)| (wait * 2).min(FIREWALL_LOOK_EVERY));
        self.retry = Some((now + wait, wait));
    }

    /// Runs what is under way to its end, and what follows from it.
    pub(super) async fn settle(&mut self, now: BootTime) {
        const RUNS_MAX: usize = 3;
        for _ in 0..RUNS_MAX {
            let Some(job) = self.job.take() else { return };
            self.done(job.await, now);
        }
    }

    fn hold_forwarding(&mut self) {
        self.forwarding_trouble = match Forwarding::default().hold() {
            Ok(false) => return,
            Ok(true) => {
                tracing::warn!(
                    "a router without rules lets everybody through: forwarding is switched off until they are in place"
                );
                None
            }
            Err(error) => Some(format!("forwarding was not switched off as it should be: {error}")),
        };
    }

    fn release_forwarding(&mut self) {
        self.forwarding_trouble = match Forwarding::default().release() {
            Ok(false) => None,
            Ok(true) => {
                tracing::info!("forwarding is switched on again");
                None
            }
            Err(error) => Some(format!("forwarding is still switched off: {error}")),
        };
    }
}
