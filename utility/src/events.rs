//! Demand limits and direct controls: what may be made, what becomes of it, and what each step means for the record.
//!
//! Nothing is ever deleted: a limit that was wrong is cancelled or superseded, a control ends with an outcome. What time alone decides
//! (a limit begins, a control expires) is not stored but worked out, so that no replica has to write it down in time.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use energy_model::{PowerState, Watts};
use utility_wire::limits::RANDOMISE_S_MAX;
use utility_wire::{ApplianceId, Control, EventId, Limit, OutcomeKind, RefusalCode, UnixTime, ZoneId};

use crate::limits::{CONTROL_GRACE_S, CONTROL_S_MAX, LIMIT_AHEAD_S_MAX, LIMIT_S_MAX};
use crate::sites::{Appliance, Site, SiteId};

/// Whom a limit is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Every home in a group or below it.
    Group(ZoneId),
    /// One home.
    Site(SiteId),
}

/// A text that names no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a group, as north/feeder-7, or a site's UUID")]
pub struct TargetError;

impl Target {
    /// Those that reach a home: its own, and its group with all above it.
    pub fn of(site: &Site) -> Vec<Self> {
        let groups = site.group.and_above().into_iter().map(Self::Group);
        groups.chain([Self::Site(site.id.clone())]).collect()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => group.fmt(f),
            Self::Site(site) => site.fmt(f),
        }
    }
}

/// A UUID is a site; anything else a group.
impl FromStr for Target {
    type Err = TargetError;
    fn from_str(s: &str) -> Result<Self, TargetError> {
        match s.parse() {
            Ok(site) => Ok(Self::Site(site)),
            Err(_) => s.parse().map(Self::Group).map_err(|_| TargetError),
        }
    }
}

/// A limit to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitDraft {
    /// For whom.
    pub target: Target,
    /// The limit it takes the place of.
    pub supersedes: Option<EventId>,
    /// When it begins; past: now.
    pub start: UnixTime,
    /// How long it lasts, seconds; `None`: until it is cancelled or superseded.
    pub duration_s: Option<u32>,
    /// The most a home may draw.
    pub watts: Watts,
    /// Greater goes first.
    pub priority: u8,
    /// Spread of its start, seconds.
    pub randomise_s: u16,
    /// Why, for people.
    pub reason: String,
}

/// A limit as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLimit {
    /// For whom.
    pub target: Target,
    /// What homes are told.
    pub limit: Limit,
    /// When it was made.
    pub made: UnixTime,
    /// By whom.
    pub by: String,
    /// Why, for people.
    pub reason: String,
    /// When it was taken back before its time.
    pub ended: Option<Ended>,
}

/// A limit taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When.
    pub at: UnixTime,
    /// The limit that took its place; `None`: cancelled.
    pub superseded_by: Option<EventId>,
}

/// Where a limit is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitStatus {
    /// Not begun.
    Scheduled,
    /// In force, or about to be where its start is randomised.
    Active,
    /// Over.
    Completed,
    /// Called off.
    Cancelled,
    /// Another took its place.
    Superseded,
}

impl LimitStatus {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Active => "active",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
        }
    }

    /// Whether homes still have to be told of it, or may still be under it.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Scheduled | Self::Active)
    }
}

impl fmt::Display for LimitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a limit or control is not made or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Too far ahead.
    #[error("it may begin at most {} days from now", LIMIT_AHEAD_S_MAX / 86_400)]
    TooFarAhead,
    /// No time, or too long.
    #[error("it may last from 1 s to {} days; without a duration it lasts until it is cancelled", LIMIT_S_MAX / 86_400)]
    Duration,
    /// Spread over too long a time.
    #[error("its start may be spread over at most {RANDOMISE_S_MAX} s")]
    Randomise,
    /// It would be over before it is made.
    #[error("it would be over already")]
    Over,
    /// What is to be superseded or cancelled is no longer live.
    #[error("limit {0} is {1}")]
    NotLive(EventId, LimitStatus),
    /// Superseding goes from a target to the same.
    #[error("limit {0} is for {1}")]
    OtherTarget(EventId, Target),
    /// A control that leaves no time, or too much.
    #[error("a control must be carried out within 1 s to {} h", CONTROL_S_MAX / 3600)]
    Within,
    /// The people at home do not allow it.
    #[error("the people at home do not let the utility control {0}")]
    NoConsent(ApplianceId),
}

impl LimitDraft {
    /// Whether it may be made at `now`, as the successor of `old` where it names one.
    ///
    /// # Errors
    /// See [`EventError`].
    pub fn check(&self, old: Option<&StoredLimit>, now: UnixTime) -> Result<(), EventError> {
        if self.start > now.plus(LIMIT_AHEAD_S_MAX) {
            return Err(EventError::TooFarAhead);
        }
        if self.duration_s.is_some_and(|s| !(1..=LIMIT_S_MAX).contains(&s)) {
            return Err(EventError::Duration);
        }
        if self.randomise_s > RANDOMISE_S_MAX {
            return Err(EventError::Randomise);
        }
        if self.duration_s.is_some_and(|s| self.start.plus(s.into()) <= now) {
            return Err(EventError::Over);
        }
        if let Some(old) = old {
            old.check_live(now)?;
            if old.target != self.target {
                return Err(EventError::OtherTarget(old.limit.id, old.target.clone()));
            }
        }
        Ok(())
    }

    /// The limit, under its number.
    pub fn made(self, id: EventId, by: &str, now: UnixTime) -> StoredLimit {
        let Self { target, supersedes, start, duration_s, watts, priority, randomise_s, reason } = self;
        let limit = Limit { id, supersedes, start, duration_s, watts, priority, randomise_s, cancelled: false };
        StoredLimit { target, limit, made: now, by: by.to_owned(), reason, ended: None }
    }
}

impl StoredLimit {
    /// Where it is in its life.
    pub fn status(&self, now: UnixTime) -> LimitStatus {
        match self.ended {
            Some(Ended { superseded_by: Some(_), .. }) => LimitStatus::Superseded,
            Some(Ended { superseded_by: None, .. }) => LimitStatus::Cancelled,
            None if now < self.limit.start => LimitStatus::Scheduled,
            None if self.limit.over().is_some_and(|over| over <= now) => LimitStatus::Completed,
            None => LimitStatus::Active,
        }
    }

    /// Whether it can be superseded or cancelled.
    ///
    /// # Errors
    /// It is over, or was taken back before.
    pub fn check_live(&self, now: UnixTime) -> Result<(), EventError> {
        let status = self.status(now);
        if status.is_live() { Ok(()) } else { Err(EventError::NotLive(self.limit.id, status)) }
    }

    /// What homes are told of it: cancelled ones stay until their time is over, superseded ones need not, since the successor names
    /// them.
    pub fn told(&self, now: UnixTime) -> Option<Limit> {
        let status = self.status(now);
        let told = match status {
            LimitStatus::Scheduled | LimitStatus::Active => true,
            // One without an end is told cancelled for as long as one with the longest end would be.
            LimitStatus::Cancelled => {
                let over = self.limit.over().or(self.ended.map(|e| e.at.plus(LIMIT_S_MAX.into())));
                over.is_some_and(|over| over > now)
            }
            LimitStatus::Completed | LimitStatus::Superseded => false,
        };
        told.then(|| Limit { cancelled: status == LimitStatus::Cancelled, ..self.limit.clone() })
    }
}

/// A control to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlDraft {
    /// Which home.
    pub site: SiteId,
    /// Which appliance of it.
    pub appliance: ApplianceId,
    /// What to do.
    pub action: PowerState,
    /// It must be begun within so many seconds.
    pub within_s: u32,
    /// Why, for people.
    pub reason: String,
}

impl ControlDraft {
    /// Whether it may be made: the appliance as the home last reported it.
    ///
    /// # Errors
    /// No consent, or no sensible time.
    pub fn check(&self, appliance: &Appliance) -> Result<(), EventError> {
        if !(1..=CONTROL_S_MAX).contains(&self.within_s) {
            return Err(EventError::Within);
        }
        if !appliance.consents {
            return Err(EventError::NoConsent(appliance.id.clone()));
        }
        Ok(())
    }

    /// The control, under its number.
    pub fn made(self, id: EventId, by: &str, now: UnixTime) -> StoredControl {
        let expires = now.plus(self.within_s.into());
        StoredControl {
            site: self.site,
            control: Control { id, appliance: self.appliance, action: self.action, expires },
            made: now,
            by: by.to_owned(),
            reason: self.reason,
            progress: Progress::Queued,
            progressed: now,
        }
    }
}

/// A control as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredControl {
    /// Which home.
    pub site: SiteId,
    /// What the home is told.
    pub control: Control,
    /// When it was made.
    pub made: UnixTime,
    /// By whom.
    pub by: String,
    /// Why, for people.
    pub reason: String,
    /// How far it is.
    pub progress: Progress,
    /// Since when.
    pub progressed: UnixTime,
}

/// How far a control is, as far as anybody said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Made; the home has not asked yet.
    Queued,
    /// Given to the home as the answer to a poll, which may be lost.
    Sent,
    /// The home has it.
    Received,
    /// Carried out, confirmed by the appliance.
    Done,
    /// Not carried out.
    Refused(RefusalCode, String),
    /// It came too late.
    Expired,
    /// Called off here.
    Cancelled,
}

impl Progress {
    /// Its word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Received => "received",
            Self::Done => "done",
            Self::Refused(..) => "refused",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will come.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Queued | Self::Sent | Self::Received)
    }
}

impl StoredControl {
    /// How far it is at `now`: one that expired without a word counts as expired.
    pub fn progress(&self, now: UnixTime) -> Progress {
        if !self.progress.is_final() && now >= self.control.expires.plus(CONTROL_GRACE_S) {
            return Progress::Expired;
        }
        self.progress.clone()
    }

    /// Whether the home is to be told of it: not yet received, and in time.
    pub fn is_due(&self, now: UnixTime) -> bool {
        matches!(self.progress, Progress::Queued | Progress::Sent) && now < self.control.expires
    }

    /// What the home's word changes; `None`: nothing. A word heard twice, or one that comes after a final one, changes nothing, whatever
    /// order they arrive in. A control that only seemed expired, or was cancelled too late, takes what the home says it did.
    pub fn told(&self, kind: &OutcomeKind) -> Option<Progress> {
        let next = match kind {
            OutcomeKind::Received | OutcomeKind::Started => Progress::Received,
            OutcomeKind::Done => Progress::Done,
            OutcomeKind::Refused(refusal) => Progress::Refused(refusal.code, refusal.reason.to_string()),
            OutcomeKind::Expired => Progress::Expired,
        };
        let takes = match self.progress {
            Progress::Queued | Progress::Sent => true,
            Progress::Received => next.is_final(),
            Progress::Cancelled => next.is_final() && next != Progress::Expired,
            Progress::Done | Progress::Refused(..) | Progress::Expired => false,
        };
        takes.then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use utility_wire::{LimitSet, List, Refusal};

    use super::*;

    const HOME: &str = "2fac1234-31f8-41b4-a222-08002b34c003";

    fn at(seconds: u64) -> UnixTime {
        UnixTime::new(1_800_000_000 + seconds)
    }

    fn id(number: u64) -> EventId {
        EventId::new(number).unwrap()
    }

    fn draft() -> LimitDraft {
        LimitDraft {
            target: "north/feeder-7".parse().unwrap(),
            supersedes: None,
            start: at(600),
            duration_s: Some(1800),
            watts: Watts::new(4200),
            priority: 0,
            randomise_s: 300,
            reason: String::new(),
        }
    }

    #[test]
    fn a_limit_is_scheduled_then_active_until_the_last_home_is_through_then_completed() {
        let limit = draft().made(id(1), "anna", at(0));
        let status = [599, 600, 2699, 2700].map(|s| limit.status(at(s)).as_str());
        assert_eq!(status, ["scheduled", "active", "active", "completed"]);
        assert!(limit.told(at(2699)).is_some() && limit.told(at(2700)).is_none());
    }

    #[test]
    fn a_limit_that_makes_no_sense_is_not_made() {
        let check = |change: &dyn Fn(&mut LimitDraft)| {
            let mut limit = draft();
            change(&mut limit);
            limit.check(None, at(0)).map_err(|e| e.to_string())
        };
        assert_eq!(check(&|_| ()), Ok(()));
        assert!(check(&|l| l.start = at(32 * 86_400)).unwrap_err().contains("31 days"));
        assert!(check(&|l| l.duration_s = Some(0)).unwrap_err().contains("from 1 s"));
        assert!(check(&|l| l.duration_s = Some(LIMIT_S_MAX + 1)).unwrap_err().contains("7 days"));
        assert!(check(&|l| l.randomise_s = 3601).unwrap_err().contains("3600 s"));
        assert_eq!(check(&|l| l.start = UnixTime::new(0)), Err("it would be over already".to_owned()));
        assert_eq!(check(&|l| (l.start, l.duration_s) = (UnixTime::new(0), None)), Ok(()));
    }

    #[test]
    fn only_a_live_limit_of_the_same_target_is_superseded_or_cancelled() {
        let old = draft().made(id(1), "anna", at(0));
        let new = LimitDraft { supersedes: Some(id(1)), ..draft() };
        assert_eq!(new.check(Some(&old), at(10)), Ok(()));
        let elsewhere = LimitDraft { target: HOME.parse().unwrap(), ..new.clone() };
        assert_eq!(elsewhere.check(Some(&old), at(10)), Err(EventError::OtherTarget(id(1), old.target.clone())));
        let gone = StoredLimit { ended: Some(Ended { at: at(5), superseded_by: Some(id(2)) }), ..old.clone() };
        assert_eq!(new.check(Some(&gone), at(10)).unwrap_err().to_string(), "limit 1 is superseded");
        assert_eq!(old.check_live(at(9000)).unwrap_err().to_string(), "limit 1 is completed");
    }

    #[test]
    fn homes_learn_of_a_cancelled_limit_until_its_time_is_over_and_of_a_successor_at_once() {
        let old = draft().made(id(1), "anna", at(0));
        let cancelled = StoredLimit { ended: Some(Ended { at: at(700), superseded_by: None }), ..old.clone() };
        assert!(cancelled.told(at(700)).unwrap().cancelled && cancelled.told(at(2700)).is_none());
        let endless = LimitDraft { duration_s: None, ..draft() }.made(id(2), "anna", at(0));
        let endless = StoredLimit { ended: Some(Ended { at: at(700), superseded_by: None }), ..endless };
        assert!(endless.told(at(700 + 86_400)).is_some() && endless.told(at(700 + 8 * 86_400)).is_none());

        let new =
            LimitDraft { supersedes: Some(id(1)), watts: Watts::new(9000), ..draft() }.made(id(3), "anna", at(700));
        let superseded = StoredLimit { ended: Some(Ended { at: at(700), superseded_by: Some(id(3)) }), ..old };
        let told = [&superseded, &new].into_iter().filter_map(|l| l.told(at(700)));
        let set = LimitSet { target: None, version: 1, limits: List::fill(told) };
        assert_eq!(set.in_force(HOME, at(2000)).map(|l| l.watts), Some(Watts::new(9000)));
    }

    #[test]
    fn a_limit_reaches_a_home_through_its_group_and_all_above() {
        let site = Site {
            id: HOME.parse().unwrap(),
            name: String::new(),
            zone: "SE3".parse().unwrap(),
            group: "north/feeder-7".parse().unwrap(),
            added: at(0),
            last_contact: None,
            last_report: None,
        };
        let targets: Vec<String> = Target::of(&site).iter().map(ToString::to_string).collect();
        assert_eq!(targets, ["north", "north/feeder-7", HOME]);
        assert!("north/".parse::<Target>().is_err());
    }

    fn control() -> StoredControl {
        let draft = ControlDraft {
            site: HOME.parse().unwrap(),
            appliance: "freezer".parse().unwrap(),
            action: PowerState::Standby,
            within_s: 600,
            reason: "peak".to_owned(),
        };
        draft.made(id(9), "anna", at(0))
    }

    #[test]
    fn an_appliance_is_controlled_only_with_consent_and_in_a_sensible_time() {
        let freezer = |consents| Appliance {
            id: "freezer".parse().unwrap(),
            name: String::new(),
            state: None,
            since: at(0),
            power: None,
            rated: None,
            importance: None,
            flexibility: None,
            consents,
        };
        let draft = |within_s| ControlDraft {
            site: HOME.parse().unwrap(),
            appliance: "freezer".parse().unwrap(),
            action: PowerState::On,
            within_s,
            reason: String::new(),
        };
        assert_eq!(draft(60).check(&freezer(true)), Ok(()));
        assert_eq!(draft(60).check(&freezer(false)), Err(EventError::NoConsent("freezer".parse().unwrap())));
        assert_eq!(draft(0).check(&freezer(true)), Err(EventError::Within));
        assert_eq!(draft(86_401).check(&freezer(true)), Err(EventError::Within));
    }

    #[test]
    fn a_control_is_told_again_until_it_is_received_or_expired() {
        let queued = control();
        let sent = StoredControl { progress: Progress::Sent, ..control() };
        let received = StoredControl { progress: Progress::Received, ..control() };
        assert!(queued.is_due(at(0)) && sent.is_due(at(599)) && !sent.is_due(at(600)) && !received.is_due(at(1)));
        assert_eq!(received.progress(at(719)), Progress::Received);
        assert_eq!(received.progress(at(720)), Progress::Expired, "no word since");
    }

    #[test]
    fn an_outcome_heard_twice_or_out_of_order_changes_nothing_and_the_first_final_one_stays() {
        let refusal = Refusal { code: RefusalCode::new(802), reason: "a film is on".parse().unwrap() };
        let refused = OutcomeKind::Refused(refusal);
        let mut control = control();
        let steps = [
            (OutcomeKind::Received, true),
            (OutcomeKind::Received, false),
            (refused.clone(), true),
            (refused, false),
            (OutcomeKind::Received, false),
            (OutcomeKind::Done, false),
        ];
        for (kind, changes) in steps {
            let next = control.told(&kind);
            assert_eq!(next.is_some(), changes, "{kind:?} after {:?}", control.progress);
            control.progress = next.unwrap_or(control.progress);
        }
        assert_eq!(control.progress, Progress::Refused(RefusalCode::new(802), "a film is on".to_owned()));
    }

    #[test]
    fn what_the_home_did_goes_before_what_was_assumed_or_called_off_here() {
        let cancelled = StoredControl { progress: Progress::Cancelled, ..control() };
        assert_eq!(cancelled.told(&OutcomeKind::Done), Some(Progress::Done));
        assert_eq!(cancelled.told(&OutcomeKind::Received), None);
        // It only seemed expired: nothing of that was stored.
        assert_eq!(control().progress(at(9999)), Progress::Expired);
        assert_eq!(control().told(&OutcomeKind::Done), Some(Progress::Done));
    }
}
