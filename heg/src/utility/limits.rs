//! What came of the utility's limits: that one is in force here, is over, came too late, or is not kept, and why.
//!
//! The planner says how limits are kept ([`Limited`](crate::planner::Limited)), the limits say when they end; what came of each is told with the next poll, the last
//! word once: `received`, `started`, then `done`, `expired` or `refused`.
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
            let late = limit.is_some_and(|l| !l.cancelled) && end.zip(came).is_some_and(|(end, came)| end <= came);
            let holds = self.limited.holds == Some(id);
            let kind = match end {
                _ if !self.limited.accepted => {
                    Some(refused(RefusalCode::NO_CONSENT, "the people at home take no limits"))
                }
                _ if late => Some(OutcomeKind::Expired),
                Some(end) if end <= time => Some(OutcomeKind::Done),
                _ if holds && self.limited.over_w > 0 => {
                    let over = self.limited.over_w;
                    let why = format!("it is exceeded by {over} W, by what is not to be switched off");
                    Some(refused(RefusalCode::FAILED, &why))
                }
                _ => None,
            };
            match kind {
                Some(kind) => self.limit_ended(id, kind, now),
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
