//! Limits and controls that came, and what the utility has been told of them: each until it knows, also across a restart.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use energy_model::PowerState;
use serde::{Deserialize, Serialize};
use utility_wire::limits::OUTCOMES_MAX;
use utility_wire::{ApplianceId, Control, EventId, List, Outcome, OutcomeKind, Refusal, RefusalCode, Text, UnixTime};

use super::Slot;
use crate::limits::{EVENTS_KEPT_MAX, EVENTS_OPEN_MAX};

/// How far a control has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is being written down; nothing is done before.
    Saving,
    /// It is decided on as soon as the time is known.
    Saved {
        /// It was here before a restart, and perhaps begun then.
        before_restart: bool,
    },
    /// That it is about to be ordered is being written down: after a power cut nobody would know whether it was, so it is not ordered twice.
    Ordering,
    /// It is to be ordered now.
    Ready,
    /// Ordered; its end will be told.
    Ordered,
    /// A limit that is here; it begins and ends by its own times.
    Here,
    /// Nothing more is to be done.
    Over,
}

/// What is known of it at the utility.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    Nothing,
    Received,
    Started,
    End,
}

/// A limit or control.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// None for a limit.
    pub(super) control: Option<Control>,
    pub(super) step: Step,
    /// It has come into force here (limits).
    pub(super) started: bool,
    /// It was refused because it was exceeded, and has not ended: whether it is kept since (limits).
    pub(super) kept_again: Option<bool>,
    end: Option<OutcomeKind>,
    /// Its end is being written down; it is not told before (controls).
    end_unsaved: bool,
    at: Option<UnixTime>,
    told: Told,
}

impl Event {
    /// What there is to tell of it.
    fn news(&self) -> Option<(Told, OutcomeKind)> {
        let now = match (&self.end, self.step) {
            (Some(_), _) if self.end_unsaved => return None,
            (Some(end), _) => (Told::End, end.clone()),
            (None, Step::Saving) => return None,
            (None, _) if self.started => (Told::Started, OutcomeKind::Started),
            (None, _) => (Told::Received, OutcomeKind::Received),
        };
        (now.0 > self.told).then_some(now)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Events {
    all: BTreeMap<EventId, Event>,
}

impl Events {
    pub(super) fn get(&self, id: EventId) -> Option<&Event> {
        self.all.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (EventId, &Event)> {
        self.all.iter().map(|(id, event)| (*id, event))
    }

    /// A control that is not known yet, to be written down; `false` where it is known, or there are so many that it has to come again.
    pub(super) fn control(&mut self, control: &Control, at: Option<UnixTime>) -> bool {
        let open = self.all.values().filter(|e| e.control.is_some() && e.step != Step::Over).count();
        if self.all.contains_key(&control.id) || open >= EVENTS_OPEN_MAX {
            return false;
        }
        let control = control.clone();
        self.all.insert(
            control.id,
            Event {
                control: Some(control),
                step: Step::Saving,
                started: false,
                kept_again: None,
                end: None,
                end_unsaved: false,
                at,
                told: Told::Nothing,
            },
        );
        true
    }

    /// A limit that is new: it is told that it was received, once it is written down.
    pub(super) fn limit(&mut self, id: EventId, at: Option<UnixTime>) {
        let (step, told) = (Step::Saving, Told::Nothing);
        self.all.entry(id).or_insert(Event {
            control: None,
            step,
            started: false,
            kept_again: None,
            end: None,
            end_unsaved: false,
            at,
            told,
        });
    }

    /// It is on the disk, or is not.
    pub(super) fn saved(&mut self, id: EventId, result: Result<(), &str>, at: Option<UnixTime>) {
        // On a full disk too: somebody waits for the end.
        let Some(event) = self.all.get_mut(&id) else { return };
        event.end_unsaved = false;
        if !matches!(event.step, Step::Saving | Step::Ordering) {
            return;
        }
        match result {
            // On a full disk too: it is obeyed all the same.
            _ if event.control.is_none() => event.step = Step::Here,
            Ok(()) if event.step == Step::Ordering => event.step = Step::Ready,
            Ok(()) => event.step = Step::Saved { before_restart: false },
            Err(why) => {
                self.end(id, refused(RefusalCode::FAILED, &format!("it cannot be stored now: {why}")), at);
                self.end_is_saved(id);
            }
        }
    }

    fn end_is_saved(&mut self, id: EventId) {
        if let Some(event) = self.all.get_mut(&id) {
            event.end_unsaved = false;
        }
    }

    /// How far it has got.
    pub(super) fn step(&mut self, id: EventId, step: Step) {
        if let Some(event) = self.all.get_mut(&id) {
            event.step = step;
        }
    }

    /// A limit has come into force; `false` where that is no news.
    pub(super) fn started(&mut self, id: EventId, at: UnixTime) -> bool {
        let Some(event) = self.all.get_mut(&id).filter(|e| !e.started && e.end.is_none()) else { return false };
        (event.started, event.at) = (true, Some(at));
        true
    }

    /// A limit that was refused because it was exceeded is kept again, or is not; `None`: it has ended.
    pub(super) fn kept_again(&mut self, id: EventId, kept: Option<bool>) {
        if let Some(event) = self.all.get_mut(&id) {
            event.kept_again = kept;
        }
    }

    /// Limits that have not ended, each with when it came here.
    pub(super) fn limits(&self) -> Vec<(EventId, Option<UnixTime>)> {
        let is_open = |e: &Event| e.end.is_none() || e.kept_again.is_some();
        let open = self.all.iter().filter(|(_, e)| e.control.is_none() && is_open(e));
        open.map(|(id, e)| (*id, e.at.filter(|_| !e.started))).collect()
    }

    /// It came to an end.
    pub(super) fn end(&mut self, id: EventId, end: OutcomeKind, at: Option<UnixTime>) {
        if let Some(event) = self.all.get_mut(&id) {
            if event.control.is_none() {
                // Its second word, where the first was that it was exceeded.
                event.told = event.told.min(Told::Started);
                event.kept_again = None;
            }
            (event.step, event.end, event.at) = (Step::Over, Some(end), at.or(event.at));
            event.end_unsaved = event.control.is_some();
        }
    }

    /// Controls that are to be decided on.
    pub(super) fn undecided(&self) -> Vec<EventId> {
        self.all.iter().filter(|(_, e)| matches!(e.step, Step::Saved { .. } | Step::Ready)).map(|(id, _)| *id).collect()
    }

    /// Whether the end of a control is to be told: somebody waits for that. A limit's waits for the next poll: it ends in a million homes at once.
    pub(super) fn has_end_to_tell(&self) -> bool {
        self.all.values().any(|e| e.control.is_some() && matches!(e.news(), Some((Told::End, _))))
    }

    /// What is to be told, as it goes into a poll, and a note of it for [`Self::told`]. Ends first: somebody waits for them.
    pub(super) fn outcomes(&self, now: UnixTime) -> (List<Outcome, OUTCOMES_MAX>, Vec<(EventId, Told)>) {
        let mut news: Vec<_> = self.all.iter().filter_map(|(id, e)| Some((*id, e.at, e.news()?))).collect();
        news.sort_by_key(|(id, _, (told, _))| (std::cmp::Reverse(*told), *id));
        news.truncate(OUTCOMES_MAX);
        let note = news.iter().map(|(id, _, (told, _))| (*id, *told)).collect();
        let outcome = |(id, at, (_, kind)): (EventId, Option<UnixTime>, _)| Outcome { id, at: at.unwrap_or(now), kind };
        (List::fill(news.into_iter().map(outcome)), note)
    }

    /// The poll with that note was answered. Gives those whose rows changed.
    pub(super) fn told(&mut self, note: &[(EventId, Told)]) -> Vec<EventId> {
        let mut changed = Vec::new();
        for (id, told) in note {
            if let Some(event) = self.all.get_mut(id)
                && *told > event.told
            {
                event.told = *told;
                changed.push(*id);
            }
        }
        changed
    }

    /// Drops what is over and told: limits that the utility no longer lists, and all but the latest controls, whose numbers are kept in
    /// case an old message comes late. Gives those dropped.
    pub(super) fn prune(&mut self, is_listed: impl Fn(EventId) -> bool) -> Vec<EventId> {
        let told = |e: &Event| e.news().is_none();
        let (mut gone, untold): (Vec<EventId>, Vec<EventId>) = self
            .all
            .iter()
            .filter(|(id, e)| e.control.is_none() && e.step != Step::Saving && !is_listed(**id))
            .map(|(id, _)| *id)
            .partition(|id| self.all.get(id).is_some_and(told));
        gone.extend(untold.iter().take(untold.len().saturating_sub(EVENTS_KEPT_MAX)));
        let settled = |e: &Event| e.step == Step::Over && !e.end_unsaved && told(e);
        let controls: Vec<EventId> =
            self.all.iter().filter(|(_, e)| e.control.is_some() && settled(e)).map(|(id, _)| *id).collect();
        gone.extend(controls.iter().take(controls.len().saturating_sub(EVENTS_KEPT_MAX)));
        for id in &gone {
            self.all.remove(id);
        }
        gone
    }

    /// Controls that were ordered when the gateway ended, as long as the utility does not know it.
    pub(super) fn left_unknown(&self) -> impl Iterator<Item = &Control> {
        let is_so = |e: &&Event| {
            let untold = e.told < Told::End;
            untold && matches!(&e.end, Some(OutcomeKind::Refused(refusal)) if refusal.reason.as_str() == CUT_SHORT)
        };
        self.all.values().filter(is_so).filter_map(|event| event.control.as_ref())
    }

    pub(super) fn row(&self, id: EventId) -> Option<Vec<u8>> {
        let event = self.all.get(&id)?;
        let refusal = match &event.end {
            Some(OutcomeKind::Refused(refusal)) => Some(refusal),
            _ => None,
        };
        let row = Row {
            appliance: event.control.as_ref().map(|c| c.appliance.to_string()),
            action: event.control.as_ref().map(|c| c.action),
            expires: event.control.as_ref().map(|c| c.expires.seconds()),
            end: event.end.as_ref().map(word).map(str::to_owned),
            code: refusal.map(|r| r.code.number()),
            reason: refusal.map(|r| r.reason.to_string()),
            at: event.at.map(UnixTime::seconds),
            ordered: matches!(event.step, Step::Ordering | Step::Ready | Step::Ordered),
            started: event.started,
            told: TOLD.iter().position(|told| *told == event.told).and_then(|n| u8::try_from(n).ok()).unwrap_or(0),
        };
        serde_json::to_vec(&row).ok()
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (Slot, Vec<u8>)> {
        self.all.keys().filter_map(|id| Some((Slot::Event(*id), self.row(*id)?)))
    }

    /// Takes a row from the store, and says whether it is of a control that was ordered when the gateway ended, of which nobody knows what
    /// came; `None` when it makes no sense.
    pub(super) fn restore(&mut self, id: EventId, value: &[u8]) -> Option<bool> {
        let row: Row = serde_json::from_slice(value).ok()?;
        let control = match (row.appliance, row.action, row.expires) {
            (Some(appliance), Some(action), Some(expires)) => {
                let appliance: ApplianceId = appliance.parse().ok()?;
                Some(Control { id, appliance, action, expires: UnixTime::new(expires) })
            }
            _ => None,
        };
        let end = match row.end.as_deref() {
            None if row.ordered => Some(refused(RefusalCode::TIMED_OUT, CUT_SHORT)),
            None => None,
            Some("done") => Some(OutcomeKind::Done),
            Some("expired") => Some(OutcomeKind::Expired),
            Some("refused") => Some(refused(RefusalCode::new(row.code?), &row.reason?)),
            Some(_) => return None,
        };
        let step = match (&control, &end) {
            (_, Some(_)) => Step::Over,
            (Some(_), None) => Step::Saved { before_restart: true },
            (None, None) => Step::Here,
        };
        let told = *TOLD.get(usize::from(row.told))?;
        let (started, at) = (row.started, row.at.map(UnixTime::new));
        let exceeded = |end: &OutcomeKind| matches!(end, OutcomeKind::Refused(r) if r.code == RefusalCode::FAILED);
        let kept_again = end.as_ref().filter(|end| control.is_none() && exceeded(end)).map(|_| false);
        self.all.insert(id, Event { control, step, started, kept_again, end, end_unsaved: false, at, told });
        Some(row.ordered)
    }
}

/// What the database says of [`Told`]; the place in this list.
const TOLD: [Told; 4] = [Told::Nothing, Told::Received, Told::End, Told::Started];
/// What is told of a control that was ordered when the gateway ended.
pub(super) const CUT_SHORT: &str =
    "the gateway was restarted while it was carried out, and what came of it is not known";

/// A refusal with its reason.
pub(super) fn refused(code: RefusalCode, reason: &str) -> OutcomeKind {
    OutcomeKind::Refused(Refusal { code, reason: Text::cut(reason) })
}

fn word(kind: &OutcomeKind) -> &'static str {
    match kind {
        OutcomeKind::Received => "received",
        OutcomeKind::Started => "started",
        OutcomeKind::Done => "done",
        OutcomeKind::Refused(_) => "refused",
        OutcomeKind::Expired => "expired",
    }
}

/// An event in the database.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    appliance: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    action: Option<PowerState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ordered: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    started: bool,
    #[serde(default)]
    told: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(id: u64) -> Control {
        let expires = UnixTime::new(1_800_000_000);
        let (appliance, id) = ("tv".parse().unwrap(), EventId::new(id).unwrap());
        Control { id, appliance, action: PowerState::Standby, expires }
    }

    #[test]
    fn what_came_of_a_control_is_kept_over_a_restart_until_it_was_told() {
        let (id, now) = (EventId::new(7).unwrap(), UnixTime::new(1_799_999_000));
        let mut events = Events::default();
        assert!(events.control(&control(7), Some(now)));
        assert!(!events.control(&control(7), Some(now)), "twice is once");
        assert!(events.outcomes(now).0.is_empty(), "not before it is on the disk");
        events.saved(id, Ok(()), Some(now));
        assert_eq!(events.outcomes(now).0[0].kind, OutcomeKind::Received);
        events.end(id, refused(RefusalCode::new(802), "a film is on"), Some(now));
        assert!(!events.has_end_to_tell(), "its end is not on the disk");
        events.saved(id, Ok(()), Some(now));

        let mut again = Events::default();
        for (slot, value) in events.rows() {
            assert_eq!(slot, Slot::Event(id));
            again.restore(id, &value).unwrap();
        }
        let (outcomes, note) = again.outcomes(now);
        assert_eq!(outcomes, events.outcomes(now).0);
        assert_eq!(again.told(&note), [id]);
        assert!(again.outcomes(now).0.is_empty());
        assert!(!again.control(&control(7), Some(now)), "its number is kept");
    }

    #[test]
    fn numbers_of_old_controls_and_limits_do_not_gather() {
        let now = UnixTime::new(1_799_999_000);
        let mut events = Events::default();
        for id in 1..=2000 {
            let event = EventId::new(id).unwrap();
            assert!(events.control(&control(id), Some(now)));
            events.saved(event, Ok(()), Some(now));
            events.end(event, OutcomeKind::Done, Some(now));
            events.saved(event, Ok(()), Some(now));
            let limit = EventId::new(id + 10_000).unwrap();
            events.limit(limit, Some(now));
            events.saved(limit, Ok(()), Some(now));
            let note = events.outcomes(now).1;
            events.told(&note);
            events.prune(|id| id.number() > 11_990);
        }
        assert_eq!(events.all.values().filter(|e| e.control.is_some()).count(), EVENTS_KEPT_MAX);
        assert_eq!(events.all.values().filter(|e| e.control.is_none()).count(), 10);
        let mut flood = Events::default();
        assert_eq!((1..=2000).filter(|id| flood.control(&control(*id), None)).count(), EVENTS_OPEN_MAX);
    }
}
