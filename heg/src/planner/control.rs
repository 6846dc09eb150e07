//! Whose say over an appliance holds for a while, and ends: a control of the utility's, also over restarts; and what is remembered of a say that
//! has ended, so that whoever asks why is told.
#![forbid(unsafe_code)]

use energy_model::PowerState;
use serde::{Deserialize, Serialize};
use upnp::ids::Udn;
use utility_wire::EventId;

use super::{Planner, Slot, Soon};
use crate::envelope;
use crate::journal::{Cause, Ending};
use crate::limits::{ENDED_TOLD_S, REASON_BYTES_MAX, bounded};
use crate::now::Now;
use crate::rules::{Author, Rule, What};

/// What the utility has ordered of an appliance; it holds for as long as a person's command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Control {
    /// By which order.
    pub(super) id: EventId,
    /// On or off.
    pub(super) on: bool,
    /// Until when, seconds since 1970.
    pub(super) until: i64,
}

/// A control in the database.
#[derive(Debug, Serialize, Deserialize)]
struct KeptControl {
    id: u64,
    on: bool,
    until: i64,
}

impl Control {
    pub(super) fn row(&self) -> Option<String> {
        serde_json::to_string(&KeptControl { id: self.id.number(), on: self.on, until: self.until }).ok()
    }

    pub(super) fn parse(row: &str) -> Option<Self> {
        let KeptControl { id, on, until } = serde_json::from_str(row).ok()?;
        Some(Self { id: EventId::new(id)?, on, until })
    }

    /// `control 7 of the utility (off)`.
    fn words(&self) -> String {
        format!("control {} of the utility ({})", self.id, switched(self.on))
    }
}

/// A say over an appliance that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    /// When, seconds since 1970.
    pub(super) at: i64,
    /// Whose, when and why, for people.
    pub(super) words: Box<str>,
}

impl Ended {
    pub(super) fn row(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    pub(super) fn parse(row: &str) -> Option<Self> {
        let Self { at, words } = serde_json::from_str(row).ok()?;
        Some(Self { at, words: bounded(&words, REASON_BYTES_MAX) })
    }
}

/// `on` or `off`.
pub(super) fn switched(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// Who made a rule, for people.
pub(super) fn who(by: Author) -> String {
    match by {
        Author::Person(uid) => format!("user {uid}"),
        Author::Hand => "hand".to_owned(),
        Author::Config => "the configuration".to_owned(),
    }
}

impl Planner {
    /// An order of the utility's was carried out: it holds from now on. On the disk at once, for the utility is told that it is done.
    pub(super) fn control_begins(&mut self, udn: &Udn, control: Control) {
        if let Some(standing) = self.standings.get_mut(udn) {
            standing.control = Some(control);
            // That it is off is looked at next; that it is to go on again has to be written with the control.
            if standing.on == Some(true) && !control.on {
                standing.ours = Some(false);
                self.keep_paused(udn);
            }
            self.save(Slot::Control(udn.clone()), control.row(), Soon::AtOnce);
        }
    }

    /// A control is over, or the home ends it: `how` goes behind the moment.
    pub(super) fn control_ends(&mut self, udn: &Udn, at: i64, how: &str, now: Now) {
        let standing = self.standings.get_mut(udn).and_then(|standing| standing.control.take());
        let left = self.restored.get_mut(udn).and_then(|left| left.control.take());
        let Some(control) = standing.or(left) else { return };
        self.save(Slot::Control(udn.clone()), None, Soon::Soon);
        let words = format!("{} ended at {}{how}", control.words(), self.local(at));
        self.journal(Some(udn), "control over", Cause::Utility(control.id), Ending::Observed, &words, now);
        self.ended(udn, at, &words);
        self.replan(now.wall.as_second());
    }

    /// Controls whose time is over, and those that the home has ended by what was done or said since.
    pub(super) fn look_at_control(&mut self, udn: &Udn, now: Now) {
        let at = now.wall.as_second();
        let Some(standing) = self.standings.get(udn) else { return };
        let Some(control) = standing.control else { return };
        let of_utility = |what: &What| matches!(what, What::OptOut(of) if of.of_utility());
        let opted_out = self.book.weightiest(udn, now.wall, of_utility).map(|rule| (rule.id, rule.by));
        if control.until <= at {
            self.control_ends(udn, control.until, "", now);
        } else if let Some((id, by)) = opted_out {
            self.control_ends(udn, at, &format!(", as {} opted out (rule {id})", who(by)), now);
        } else if standing.on == Some(!control.on) {
            // Whoever goes before the utility has switched it: nobody switches it back.
            self.control_ends(udn, at, &format!(", as it was switched {} since", switched(!control.on)), now);
        }
    }

    /// Appliances over which a control holds.
    pub fn controlled(&self) -> impl Iterator<Item = &Udn> {
        let seen = self.standings.iter().filter(|(_, standing)| standing.control.is_some()).map(|(udn, _)| udn);
        seen.chain(self.restored.iter().filter(|(_, left)| left.control.is_some()).map(|(udn, _)| udn))
    }

    /// The utility's order to an appliance was under way when the gateway ended, and nobody knows what came of it. If the appliance was on and is
    /// found off, it was that order, which holds no more.
    pub fn cut_short(&mut self, udn: &Udn, id: EventId, to: PowerState) {
        let (on, at) = (to == PowerState::On, self.last.wall.as_second());
        self.left(udn).cut_short = !on;
        let control = Control { id, on, until: at };
        self.ended(udn, at, &format!("{} was cut short by a restart at {}", control.words(), self.local(at)));
    }

    /// A rule that had a say has ended, or was removed: `how` goes behind it.
    pub(super) fn rule_ended(&mut self, rule: &Rule, at: i64, how: &str) {
        let what = match rule.what {
            What::Order { on } => format!("the order {}", switched(on)),
            What::OptOut(of) => format!("the opt-out of {of}"),
            _ => return,
        };
        let words = format!("{what} (rule {}, by {}) {how} {}", rule.id, who(rule.by), self.local(at));
        let of = |udn: &&Udn| rule.is_about(udn);
        let udns: Vec<Udn> = self.standings.keys().filter(of).cloned().collect();
        udns.iter().for_each(|udn| self.ended(udn, at, &words));
    }

    /// No limit holds any more: those that it had switched off are told so.
    pub(super) fn limit_ended_for(&mut self, cause: envelope::Cause, at: i64) {
        let words = match cause {
            envelope::Cause::Limit(id) => format!("limit {id} of the utility ended at {}", self.local(at)),
            envelope::Cause::Start | envelope::Cause::Failsafe => {
                format!("the failsafe limit ended at {}", self.local(at))
            }
        };
        let limited = self.standings.iter_mut().filter_map(|(udn, s)| std::mem::take(&mut s.limited).then_some(udn));
        let udns: Vec<Udn> = limited.cloned().collect();
        udns.iter().for_each(|udn| self.ended(udn, at, &words));
    }

    /// An appliance that is off was switched off by a limit before the gateway's start: that still holds, or has ended meanwhile.
    pub(super) fn limited_before(&mut self, udn: &Udn, cause: Cause, since: i64, at: i64) {
        let failsafe = |cap: &envelope::Cap| !matches!(cap.cause, envelope::Cause::Limit(_));
        let (still, words) = match cause {
            Cause::Utility(id) => match self.limit_end(id) {
                Some(end) if end.is_none_or(|end| end > at) => (true, String::new()),
                Some(Some(end)) => (false, format!("limit {id} of the utility ended at {}", self.local(end))),
                _ => (false, format!("limit {id} of the utility ended while the gateway was not running")),
            },
            _ => (self.cap(at).as_ref().is_some_and(failsafe), "the failsafe limit ended with a restart".to_owned()),
        };
        let Some(standing) = self.standings.get_mut(udn) else { return };
        if still {
            standing.limited = true;
        } else if standing.ended.as_ref().is_none_or(|ended| ended.at < since) {
            self.ended(udn, at, &words);
        }
    }

    fn ended(&mut self, udn: &Udn, at: i64, words: &str) {
        let ended = Ended { at, words: bounded(words, REASON_BYTES_MAX) };
        let row = ended.row();
        match (self.standings.get_mut(udn), self.restored.get_mut(udn)) {
            (Some(standing), _) => standing.ended = Some(ended),
            (None, Some(left)) => left.ended = Some(ended),
            (None, None) => return,
        }
        self.save(Slot::Ended(udn.clone()), row, Soon::Lazily);
    }

    /// What ended is told for a day.
    pub(super) fn forget_ended(&mut self, udn: &Udn, at: i64) {
        let Some(standing) = self.standings.get_mut(udn) else { return };
        if standing.ended.take_if(|ended| ended.at + ENDED_TOLD_S <= at).is_some() {
            self.save(Slot::Ended(udn.clone()), None, Soon::Lazily);
        }
    }
}
