//! Demand limits: how much a home may draw, from when, for how long.

use energy_model::Watts;

use crate::limits::{LIMITS_MAX, RANDOMISE_S_MAX};
use crate::{EventId, List, UnixTime, ZoneId, draw_s};

record! {
    /// A limit on the power that a home draws from the grid.
    pub struct Limit {
        /// Its number.
        pub id: EventId,
        /// The limit it takes the place of, from its making on, whether it has begun or not.
        pub supersedes: Option<EventId>,
        /// When it begins, before the randomised delay.
        pub start: UnixTime,
        /// How long it lasts, seconds; `None`: until it is cancelled or superseded. It never ends by itself then.
        pub duration_s: Option<u32>,
        /// The most that the home may draw.
        pub watts: Watts,
        /// Among limits in force the greatest priority goes, among equals the latest made.
        pub priority: u8,
        /// Each home begins, and ends, later by its own draw of 0 to this many seconds; up to [`RANDOMISE_S_MAX`].
        pub randomise_s: u16,
        /// Called off. It stays in the set until its time would have been over, so that everybody learns it.
        pub cancelled: bool,
    }
}

record! {
    /// All limits of one target that are not over: a group, a zone, or one home. A broadcast object for groups and zones.
    pub struct LimitSet {
        /// Whom they are for; `None`: the home that this was sealed for, with those of its groups.
        pub target: Option<ZoneId>,
        /// Grows with each change.
        pub version: u64,
        /// By number.
        pub limits: List<Limit, LIMITS_MAX>,
    }
}

impl Limit {
    /// When it begins at a home, and when it ends there.
    pub fn window(&self, home: &str) -> (UnixTime, Option<UnixTime>) {
        let start = self.start.plus(u64::from(draw_s(home, self.id, self.randomise_s.min(RANDOMISE_S_MAX))));
        (start, self.duration_s.map(|s| start.plus(s.into())))
    }

    /// First instant at which it has ended at every home; `None`: it does not end.
    pub fn over(&self) -> Option<UnixTime> {
        self.duration_s.map(|s| self.start.plus(u64::from(s) + u64::from(self.randomise_s.min(RANDOMISE_S_MAX))))
    }

    fn is_on(&self, home: &str, now: UnixTime) -> bool {
        let (start, end) = self.window(home);
        start <= now && end.is_none_or(|end| now < end)
    }
}

impl LimitSet {
    /// The limit that holds at a home now.
    pub fn in_force(&self, home: &str, now: UnixTime) -> Option<&Limit> {
        let superseded = |id| self.limits.iter().any(|l| l.supersedes == Some(id));
        self.limits
            .iter()
            .filter(|l| !l.cancelled && !superseded(l.id) && l.is_on(home, now))
            .max_by_key(|l| (l.priority, l.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "2fac1234-31f8-41b4-a222-08002b34c003";

    fn limit(id: u64, start: u64, duration_s: Option<u32>) -> Limit {
        Limit {
            id: EventId::new(id).unwrap(),
            supersedes: None,
            start: UnixTime::new(start),
            duration_s,
            watts: Watts::new(4200),
            priority: 0,
            randomise_s: 0,
            cancelled: false,
        }
    }

    fn in_force(limits: Vec<Limit>, now: u64) -> Option<u64> {
        let set = LimitSet { target: None, version: 1, limits: limits.try_into().unwrap() };
        set.in_force(HOME, UnixTime::new(now)).map(|l| l.id.number())
    }

    #[test]
    fn a_limit_holds_from_its_start_to_just_before_its_end() {
        let one = || vec![limit(1, 100, Some(50))];
        let held = [99, 100, 149, 150].map(|now| in_force(one(), now).is_some());
        assert_eq!(held, [false, true, true, false]);
    }

    #[test]
    fn a_limit_without_a_duration_never_ends_by_itself() {
        assert_eq!(in_force(vec![limit(1, 100, None)], 4_000_000_000), Some(1));
        assert_eq!(limit(1, 100, None).over(), None);
    }

    #[test]
    fn the_greatest_priority_holds_and_among_equals_the_latest_made() {
        let high = Limit { priority: 9, ..limit(1, 100, Some(10)) };
        assert_eq!(in_force(vec![high.clone(), limit(2, 100, None), limit(3, 100, None)], 105), Some(1));
        assert_eq!(in_force(vec![high, limit(2, 100, None), limit(3, 100, None)], 110), Some(3));
    }

    #[test]
    fn what_is_cancelled_or_superseded_holds_no_longer_even_before_the_successor_begins() {
        let cancelled = Limit { cancelled: true, ..limit(1, 100, None) };
        assert_eq!(in_force(vec![cancelled], 105), None);
        let later = Limit { supersedes: EventId::new(1), ..limit(2, 500, None) };
        assert_eq!(in_force(vec![limit(1, 100, None), later], 105), None);
    }

    #[test]
    fn a_randomised_limit_begins_and_ends_later_by_the_same_draw() {
        let random = Limit { randomise_s: 1800, ..limit(7, 1000, Some(600)) };
        let delay = u64::from(draw_s(HOME, random.id, 1800));
        assert_eq!(random.window(HOME), (UnixTime::new(1000 + delay), Some(UnixTime::new(1600 + delay))));
        assert_eq!(random.over(), Some(UnixTime::new(1000 + 600 + 1800)));
    }
}
