//! What can be seen of the dealings with the utility: for the planner, the control socket and the status.
#![forbid(unsafe_code)]

use jiff::Timestamp;
use utility_wire::{Control, EventId, Limit, UnixTime};

use super::events::Step;
use super::{Consent, Known, Utility, moment};
use crate::now::Now;

impl Utility {
    /// The time, once it is known.
    pub fn time(&self, now: Now) -> Option<UnixTime> {
        let (at, time) = self.clock?;
        Some(time.plus(now.boot.since(at).as_secs()))
    }

    /// Limits and prices, also without the utility.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// The limit that holds now; none while the time is not known.
    pub fn limit_in_force(&self, now: Now) -> Option<&Limit> {
        self.known.limit_in_force(&self.home, self.time(now)?)
    }

    /// The home's own name toward the utility, by which starts are drawn.
    pub fn home(&self) -> &str {
        &self.home
    }

    /// Which appliances the utility may control.
    pub fn consent(&self) -> &Consent {
        &self.consent
    }

    /// The utility's UUID.
    pub fn peer(&self) -> Option<&str> {
        self.link.peer.as_deref()
    }

    /// When it was last heard.
    pub fn heard(&self) -> Option<UnixTime> {
        self.heard
    }

    /// Whether it is not heard, though it should be.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Reports that are not acknowledged, and since when the oldest waits.
    pub fn unacknowledged(&self) -> (usize, Option<UnixTime>) {
        (self.reports.len(), self.reports.oldest())
    }

    /// Controls that were being carried out when the gateway ended, of which nobody knows what came.
    pub fn left_unknown(&self) -> impl Iterator<Item = &Control> {
        self.events.left_unknown()
    }

    /// Controls under way.
    pub fn controls(&self) -> impl Iterator<Item = &Control> {
        self.events.iter().filter(|(_, e)| e.step != Step::Over).filter_map(|(_, e)| e.control.as_ref())
    }

    /// The last time that the utility did not answer as it should, and why.
    pub fn last_failure(&self) -> Option<(Timestamp, &str)> {
        self.last_failure.as_ref().map(|(at, why)| (*at, &**why))
    }

    /// The last control that was refused here, and why.
    pub fn last_refusal(&self) -> Option<(EventId, &str)> {
        self.last_refusal.as_ref().map(|(id, why)| (*id, &**why))
    }

    /// What is out of date, each a sentence; empty when all is well.
    pub fn stale(&self, now: Now) -> Vec<String> {
        let mut stale = Vec::new();
        if !self.link.enrolled {
            return stale;
        }
        if let Some(why) = &self.link.hindrance {
            stale.push(why.clone());
        }
        if self.lost {
            let since = self.heard.map_or("the start".into(), moment);
            stale.push(format!("the utility was not heard since {since}: limits and prices are of that time"));
        }
        if let Some(time) = self.time(now)
            && self.known.series().next().is_some()
            && self.known.price_at(time).is_none()
        {
            stale.push("there is no price for now".into());
        }
        stale
    }

    /// For `systemctl status`; nothing for a home without a utility.
    pub fn status(&self, now: Now) -> Option<String> {
        if !self.link.enrolled {
            return None;
        }
        let mut line = match (&self.link.hindrance, self.lost) {
            (Some(why), _) => format!("utility: {why}"),
            (None, true) => format!("utility not heard since {}", self.heard.map_or("the start".into(), moment)),
            (None, false) => "utility connected".into(),
        };
        if let Some(limit) = self.limit_in_force(now) {
            line += &format!(", limit {} W", limit.watts);
        }
        Some(line)
    }
}
