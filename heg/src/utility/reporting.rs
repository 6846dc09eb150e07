//! What the home tells the utility: which batch is due, what goes into it, what came of it.
#![forbid(unsafe_code)]

use std::time::Duration;

use upnp::ids::Udn;
use utility_wire::{ApplianceId, ApplianceReport, DecisionReport, GapReason, ReportAnswer, Text, UnixTime};

use super::{Effect, Failure, Question, Slot, Soon, Utility};
use crate::gateway::Gateway;
use crate::journal::{Cause, Ending, Entry};
use crate::limits::{CATCH_UP_EVERY, METER_INTERVAL_S, REPORT_STRANGER_BYTES_MAX, URGENT_WITHIN, UTILITY_AFTER_MAX};
use crate::now::Now;
use crate::registry::Appliance;

impl Utility {
    /// A report, if one is due: what is new goes into a batch, and the oldest batch goes out.
    pub(super) fn report(&mut self, gateway: &Gateway, now: Now, time: UnixTime) {
        if !self.reporting.is_due(now.boot) {
            return;
        }
        let appliances = self.news(gateway, now, time);
        self.cut(appliances, time);
        if !self.acquainted && self.reports.next_bytes() > REPORT_STRANGER_BYTES_MAX {
            // A long message is taken only from somebody who was answered before.
            if let Some(batch) = self.reports.knock(time) {
                self.save_batch(batch, Soon::Lazily);
            }
        }
        match self.reports.send() {
            Some((batch, body)) => {
                self.reporting.under_way = Some(batch);
                self.effects.push_back(Effect::Ask(Question::Report { batch, body }));
            }
            None => self.reporting.due = Some(now.boot + self.every),
        }
    }

    pub(super) fn reported(&mut self, batch: u64, result: Result<ReportAnswer, Failure>, now: Now) {
        self.reporting.under_way = None;
        match result {
            Ok(answer) if answer.batch == batch => {
                self.is_heard(now);
                self.reporting.pace.succeeded();
                self.acquainted = true;
                self.every = Duration::from_secs(answer.report_after_s.into()).clamp(CATCH_UP_EVERY, UTILITY_AFTER_MAX);
                if self.reports.acknowledged(batch) {
                    self.save(Slot::Batch(batch), None, Soon::Lazily);
                }
                // What gathered in an outage goes out spread, and faster than it came.
                let after = if self.reports.len() > 0 {
                    let every = (self.every / 10).max(CATCH_UP_EVERY);
                    every + self.reporting.pace.within(every / 2)
                } else {
                    self.every
                };
                self.reporting.due = Some(now.boot + after);
            }
            Ok(_) => {
                let failure = Failure::NoAnswer("another report was acknowledged than was sent".into());
                self.reporting.failed(&failure, now.boot);
                self.failed("report", &failure, now);
            }
            Err(failure) => {
                self.reporting.failed(&failure, now.boot);
                if let Failure::NotTaken(why) = &failure {
                    self.is_heard(now);
                    for other in self.reports.refused(batch) {
                        self.save_batch(other, Soon::Lazily);
                    }
                    self.save(Slot::Batch(batch), None, Soon::Lazily);
                    self.complete = true;
                    let action = format!("report {batch}");
                    self.journal(None, &action, Cause::Gateway, Ending::Refused, &why.clone(), now);
                }
                self.failed("report", &failure, now);
            }
        }
    }

    /// The appliances that changed, or all of them: whether these are all, and how they are.
    fn news(&mut self, gateway: &Gateway, now: Now, time: UnixTime) -> (bool, Vec<ApplianceReport>) {
        let complete = std::mem::take(&mut self.complete);
        let changed = std::mem::take(&mut self.changed);
        let told = |a: &&Appliance| complete || changed.contains(a.udn());
        let of = |a: &Appliance| self.appliance_report(a, gateway, now, time);
        (complete, gateway.registry().iter().filter(told).filter_map(of).collect())
    }

    /// Something went into the home's journal. What was decided about an appliance, and came of it, goes to the utility too if the people at home
    /// let it control that one. Who of them decided is not told, nor by which rule; reasons (the home's tariff, until when somebody ordered, what an
    /// appliance answered) are told only of what the utility ordered itself.
    pub fn journalled(&mut self, entry: &Entry, now: Now) {
        let (Some(udn), Some(at)) = (&entry.udn, self.time(now).filter(|_| self.link.peer.is_some())) else { return };
        let Ok(of) = udn.bare().parse::<ApplianceId>() else { return };
        if !is_decision(entry) || !self.consent.allows(udn) {
            return;
        }
        let cause = match entry.cause {
            Cause::Utility(_) => entry.cause.to_string(),
            cause => cause.word().to_owned(),
        };
        let its_own = matches!(entry.cause, Cause::Utility(_)) && entry.ending != Ending::Refused;
        let reason = if its_own { &*entry.reason } else { "" };
        let (action, cause) = (Text::cut(&entry.action), Text::cut(&cause));
        let (outcome, reason) = (Text::cut(entry.ending.as_str()), Text::cut(reason));
        self.reports.decided(DecisionReport { at, of, action, cause, outcome, reason });
    }

    /// Puts what is new into a batch, or as many as it takes.
    fn cut(&mut self, (complete, appliances): (bool, Vec<ApplianceReport>), time: UnixTime) {
        let changes = self.reports.cut(complete, appliances, time);
        for batch in changes.kept {
            self.save_batch(batch, Soon::Lazily);
        }
        for batch in changes.dropped {
            self.complete = true;
            self.save(Slot::Batch(batch), None, Soon::Lazily);
        }
    }

    /// A consent may have been withdrawn: decisions that only it let out stay at home, also where they wait in batches.
    pub(super) fn withdraw_decisions(&mut self) {
        let consent = &self.consent;
        let allowed = |id: &ApplianceId| Udn::parse(&format!("uuid:{id}")).is_ok_and(|udn| consent.allows(&udn));
        for batch in self.reports.keep_decisions(allowed) {
            self.save_batch(batch, Soon::Soon);
        }
    }

    /// Mostly it is acknowledged before anything is written: then it never goes to the disk. What it tells up to when is written with it.
    fn save_batch(&mut self, batch: u64, soon: Soon) {
        let body = self.reports.body(batch).map(<[u8]>::to_vec);
        self.save(Slot::Batch(batch), body, soon);
    }

    fn appliance_report(&self, a: &Appliance, gateway: &Gateway, now: Now, time: UnixTime) -> Option<ApplianceReport> {
        let profile = a.profile();
        let facts = profile.facts.as_ref();
        // Seen since the start: by the clock that only goes forward. Else by the wall clock, as it stands to the time now.
        let ago = match self.states.get(a.udn()) {
            Some((state, since)) if *state == profile.state && *since > self.started => {
                now.boot.since(*since).as_secs()
            }
            _ => u64::try_from(now.wall.duration_since(profile.since).as_secs()).unwrap_or(0),
        };
        Some(ApplianceReport {
            id: a.udn().bare().parse().ok()?,
            name: Text::cut(gateway.name_of(a)),
            state: profile.state,
            since: UnixTime::new(time.seconds().saturating_sub(ago)),
            power: watts(a).map(energy_model::Watts::new),
            rated: facts.map(|f| f.rated_power),
            importance: facts.map(|f| f.importance),
            flexibility: facts.map(|f| f.flexibility),
            consents: self.consent.allows(a.udn()),
        })
    }

    pub(super) fn appliance(&mut self, udn: Udn, gateway: &Gateway, now: Now) {
        let Some(appliance) = gateway.registry().get(&udn) else { return };
        if let Ok(id) = udn.bare().parse::<ApplianceId>() {
            self.meters.power(&id, watts(appliance), now.boot);
        }
        let state = appliance.state();
        let before = self.states.get(&udn).map(|(state, _)| *state);
        if before != Some(state) {
            self.states.insert(udn.clone(), (state, now.boot));
            self.urgent(now);
        }
        self.changed.insert(udn);
    }

    pub(super) fn forgotten(&mut self, udn: &Udn) {
        self.states.remove(udn);
        self.changed.remove(udn);
        if let Ok(id) = udn.bare().parse::<ApplianceId>() {
            self.meters.forget(&id);
        }
        if let Some(slot) = self.consent.forget(udn) {
            self.save(slot, None, Soon::Soon);
            self.withdraw_decisions();
        }
        // Only a complete report says that something is gone.
        self.complete = true;
    }

    /// Something that the utility should not learn only with the next report that is due anyway.
    pub(super) fn urgent(&mut self, now: Now) {
        let soon = now.boot + URGENT_WITHIN;
        if !self.reporting.pace.failing() && self.acquainted {
            self.reporting.due = self.reporting.due.map(|due| due.min(soon));
        }
    }

    /// Energy of the quarter of an hour that is over.
    pub(super) fn meter(&mut self, now: Now) {
        let Some(time) = self.time(now).filter(|_| self.link.peer.is_some()) else { return };
        let Some(closed) = self.meters.turn(now.boot, time) else { return };
        let (start, end) = (closed.start, closed.start.plus(METER_INTERVAL_S.into()));
        if let Some(covered) = self.covered.filter(|covered| *covered < start) {
            self.reports.gap(None, covered, start, GapReason::Off);
        }
        self.reports.add(closed);
        self.cover(end);
        if self.link.hindrance.is_some() || self.lost {
            // What was used must not be lost. How appliances are is told as it is then.
            self.cut((false, Vec::new()), time);
        }
    }

    pub(super) fn cover(&mut self, until: UnixTime) {
        self.covered = Some(until);
        self.save(Slot::Covered, Some(until.seconds().to_string().into_bytes()), Soon::Lazily);
    }
}

/// Whether it is about what the plan, the utility or somebody ordered, and no observation, rule or registration.
fn is_decision(entry: &Entry) -> bool {
    let word = entry.action.split(' ').next().unwrap_or_default();
    let ordered = ["plan", "control", "OperationOn", "OperationOff", "GoToStandby", "wake"].contains(&word);
    ordered && entry.ending != Ending::Observed
}

/// What an appliance draws, as far as that is known: a sleeping one nothing.
fn watts(appliance: &Appliance) -> Option<u32> {
    if appliance.is_asleep() {
        return Some(0);
    }
    appliance.profile().power.filter(|_| appliance.is_reachable()).map(|watts| watts.count())
}
