//! What came of the utility's limits: that one is in force here, is over, came too late, or is not kept, and why.
//!
//! The planner says how limits are kept ([`Limited`](crate::planner::Limited)), the limits say when they end; what came of each is told with the next poll, the last
//! word once: `received`, `started`, then `done`, `expired` or `refused`. One that was refused because it was exceeded, and is kept when it ends, is `done` after all.
#![forbid(unsafe_code)]

use utility_wire::{EventId, OutcomeKind, RefusalCode, UnixTime};

use super::events::refused;
use super::{Soon, Utility};
use crate::journal::{Cause, Ending};
use crate::now::Now;

impl Utility {
    /// Looks at each limit that has not ended.
    pub(super) fn limits_go_on(&mut self, now: Now) {
        let Some(time) = self.time(now) else { return };
        for (id, came) in self.events.limits() {
            let limit = self.known.limits().limits.iter().find(|l| l.id == id);
            let end = match limit {
                Some(limit) if !limit.cancelled => limit.window(&self.home).1,
                // Called off, or no longer told of.
                _ => Some(UnixTime::new(0)),
            };
            let holds = self.limited.holds == Some(id);
            let over = end.is_some_and(|end| end <= time);
            let event = self.events.get(id);
            if let Some(kept) = event.and_then(|e| e.kept_again) {
                match (over, kept) {
                    (true, true) => self.limit_ended(id, OutcomeKind::Done, now),
                    (true, false) => self.events.kept_again(id, None),
                    (false, _) if holds => self.events.kept_again(id, Some(self.limited.over_w == 0)),
                    (false, _) => {}
                }
                continue;
            }
            let listed = limit.filter(|l| !l.cancelled);
            let late = listed.is_some() && end.zip(came).is_some_and(|(end, came)| end <= came);
            let started = event.is_some_and(|e| e.started);
            let kind = match listed {
                _ if !self.limited.accepted => {
                    Some(refused(RefusalCode::NO_CONSENT, "the people at home take no limits"))
                }
                _ if late => Some(OutcomeKind::Expired),
                Some(_) if over && !started => Some(refused(
                    RefusalCode::SUPERSEDED,
                    "it never held here: another limit did, or the gateway was off",
                )),
                _ if over => Some(OutcomeKind::Done),
                Some(limit) if holds && self.limited.held_w > limit.watts.count() => {
                    let floor = self.limited.held_w;
                    Some(refused(RefusalCode::NO_CONSENT, &format!("not below the home's floor of {floor} W")))
                }
                _ if holds && self.limited.over_w > 0 => {
                    let over = self.limited.over_w;
                    let why = format!("it is exceeded by {over} W, by what is not to be switched off");
                    Some(refused(RefusalCode::FAILED, &why))
                }
                _ => None,
            };
            let exceeded = matches!(&kind, Some(OutcomeKind::Refused(refusal)) if refusal.code == RefusalCode::FAILED);
            match kind {
                Some(kind) => {
                    self.limit_ended(id, kind, now);
                    self.events.kept_again(id, exceeded.then_some(false));
                }
                None if holds && self.events.started(id, time) => {
                    self.journal(None, "limit in force", Cause::Utility(id), Ending::Observed, "", now);
                    self.save_limit(id);
                }
                None => {}
            }
        }
    }

    /// When a limit ends next.
    pub(super) fn limit_ends(&self) -> Option<UnixTime> {
        let open = self.events.limits();
        let limits = self.known.limits().limits.iter().filter(|l| open.iter().any(|(id, _)| *id == l.id));
        limits.filter_map(|limit| limit.window(&self.home).1).min()
    }

    fn limit_ended(&mut self, id: EventId, kind: OutcomeKind, now: Now) {
        let (action, ending, reason) = match &kind {
            OutcomeKind::Refused(refusal) => ("limit not kept", Ending::Declined, refusal.reason.to_string()),
            OutcomeKind::Expired => ("limit came too late", Ending::Declined, String::new()),
            _ => ("limit over", Ending::Done, String::new()),
        };
        // That it was called off is there already.
        let listed = self.known.limits().limits.iter().any(|l| l.id == id && !l.cancelled);
        if listed || kind != OutcomeKind::Done {
            self.journal(None, action, Cause::Utility(id), ending, &reason, now);
        }
        self.events.end(id, kind, self.time(now));
        self.save_limit(id);
    }

    fn save_limit(&mut self, id: EventId) {
        let row = self.events.row(id);
        self.save(super::Slot::Event(id), row, Soon::Soon);
    }
}
