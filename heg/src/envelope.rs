//! How much the home may draw from the grid now and next: the utility's limits, and what holds when it is not heard. PURE.
//!
//! The rules are those of EEBUS "limitation of power consumption" (LPC), as docs/protocol.md, "Limits of the utility", tells them:
//!
//! | state | what holds | left for |
//! |---|---|---|
//! | autonomous | nothing: no limit was ever stated to this home, or the home takes none | start, by the first statement |
//! | start | the failsafe limit (or a stored one, if lower) | controlled, by a statement; failsafe, when nothing is heard in time |
//! | controlled | the limit in force, if there is one; one without an end never ends by itself | failsafe, when nothing is heard in time |
//! | failsafe | the failsafe limit (or a stored one, if lower) | controlled, by word of the utility *and then* a statement; autonomous, if it is heard, states nothing in time, and the least duration is over |
//!
//! A *heartbeat* is any answer of the utility. A *statement* is its word on limits in an answer: which there are, or that there are none.
//! Stored limits alone never end the failsafe. A home that was never limited is never put under the failsafe limit: who only takes prices
//! loses nothing when the line fails.
#![forbid(unsafe_code)]

use std::time::Duration;

use energy_model::Watts;
use upnp::time::{BootTime, earliest};
use utility_wire::{EventId, LimitSet, UnixTime};

use crate::limits::{HEARTBEAT_TTL, STATEMENT_WITHIN};

/// What the home has agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whether the utility may limit this home at all.
    pub accepted: bool,
    /// What holds at start and while the utility is not heard.
    pub failsafe: Watts,
    /// The failsafe limit is not given up for want of a statement before this time is over.
    pub failsafe_min: Duration,
    /// No limit goes below this (4200 W in section 14a of Germany's energy industry act). A lower one is obeyed as this.
    pub floor: Watts,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            accepted: true,
            failsafe: Watts::new(4200),
            failsafe_min: Duration::from_secs(2 * 3600),
            floor: Watts::new(4200),
        }
    }
}

/// Where the home stands with its utility.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody limits.
    Autonomous,
    /// Since the daemon's start nothing has been stated.
    Start {
        /// Since when.
        since: BootTime,
    },
    /// The utility is heard, and what it has stated holds.
    Controlled,
    /// The utility is not heard, or has not stated anything since it is heard again.
    Failsafe {
        /// Since when.
        since: BootTime,
        /// When it was first heard again.
        heard_again: Option<BootTime>,
    },
}

/// Why a cap holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A limit of the utility's.
    Limit(EventId),
    /// The daemon has started and nothing has been stated yet.
    Start,
    /// The utility is not heard.
    Failsafe,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Limit(id) => write!(f, "limit {id}"),
            Self::Start => f.write_str("failsafe at the start"),
            Self::Failsafe => f.write_str("failsafe: the utility is not heard"),
        }
    }
}

/// The most that the home may draw, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// The most.
    pub watts: Watts,
    /// Which rule.
    pub cause: Cause,
}

/// The state machine. Time comes in; what is stored is [`LimitSet`] and [`Envelope::is_engaged`].
#[derive(Clone, Debug)]
pub struct Envelope {
    home: String,
    terms: Terms,
    state: State,
    /// Whether a limit was ever stated.
    engaged: bool,
    limits: LimitSet,
    heard: BootTime,
    ttl: Duration,
}

impl Envelope {
    /// At the daemon's start. `home` is the gateway's UUID, `limits` and `engaged` are from the store.
    pub fn new(home: String, terms: Terms, limits: Option<LimitSet>, engaged: bool, now: BootTime) -> Self {
        let limits = limits.unwrap_or_else(nothing);
        let state = if engaged && terms.accepted { State::Start { since: now } } else { State::Autonomous };
        Self { home, terms, state, engaged, limits, heard: now, ttl: HEARTBEAT_TTL }
    }

    /// Where the home stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether a limit was ever stated to this home; to be stored.
    pub fn is_engaged(&self) -> bool {
        self.engaged
    }

    /// The limits as last stated.
    pub fn limits(&self) -> &LimitSet {
        &self.limits
    }

    /// Other terms from now on.
    pub fn set_terms(&mut self, terms: Terms, now: BootTime) {
        self.terms = terms;
        match (terms.accepted && self.engaged, self.state) {
            (false, _) => self.state = State::Autonomous,
            (true, State::Autonomous) => self.state = State::Start { since: now },
            (true, _) => {}
        }
    }

    /// The home belongs to no utility any more, or to another one: what the last one stated is forgotten.
    pub fn forget(&mut self) {
        (self.state, self.engaged, self.limits) = (State::Autonomous, false, nothing());
    }

    /// The utility answered. `next_within` is when the next answer is due at the latest.
    pub fn heard(&mut self, next_within: Duration, now: BootTime) {
        self.handle_timeout(now);
        self.heard = now;
        // A utility that wants to be asked seldom is not lost between two questions.
        self.ttl = HEARTBEAT_TTL.max(next_within * 2);
        if let State::Failsafe { heard_again, .. } = &mut self.state {
            heard_again.get_or_insert(now);
        }
    }

    /// The utility said which limits there are: other ones, or (`None`) those it has stated before. Comes after [`heard`](Self::heard).
    pub fn stated(&mut self, limits: Option<LimitSet>) {
        if let Some(limits) = limits {
            self.limits = limits;
        }
        self.engaged |= !self.limits.limits.is_empty();
        if self.terms.accepted && self.engaged {
            self.state = State::Controlled;
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: BootTime) {
        let lost = now.since(self.heard) >= self.ttl;
        match self.state {
            State::Start { .. } | State::Controlled if lost => {
                self.state = State::Failsafe { since: now, heard_again: None };
            }
            // Heard, and lost again before a word on limits.
            State::Failsafe { since, heard_again: Some(_) } if lost => {
                self.state = State::Failsafe { since, heard_again: None };
            }
            State::Failsafe { since, heard_again: Some(again) }
                if now.since(again) >= STATEMENT_WITHIN && now.since(since) >= self.terms.failsafe_min =>
            {
                self.state = State::Autonomous;
            }
            _ => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        let lost = self.heard + self.ttl;
        match self.state {
            State::Autonomous | State::Failsafe { heard_again: None, .. } => None,
            State::Start { .. } | State::Controlled => Some(lost),
            State::Failsafe { since, heard_again: Some(again) } => {
                earliest(Some(lost), Some((again + STATEMENT_WITHIN).max(since + self.terms.failsafe_min)))
            }
        }
    }

    /// The most that the home may draw; `None`: no limit. `time` is the time, where it is known.
    pub fn cap(&self, time: Option<UnixTime>) -> Option<Cap> {
        let stored = time.and_then(|now| self.limits.in_force(&self.home, now));
        let stored = stored.map(|l| Cap { watts: l.watts.max(self.terms.floor), cause: Cause::Limit(l.id) });
        let safe = |cause| Cap { watts: self.terms.failsafe.max(self.terms.floor), cause };
        let lower = |safe: Cap| match stored {
            Some(stored) if stored.watts < safe.watts => stored,
            _ => safe,
        };
        match self.state {
            State::Autonomous => None,
            State::Start { .. } => Some(lower(safe(Cause::Start))),
            State::Controlled => stored,
            State::Failsafe { .. } => Some(lower(safe(Cause::Failsafe))),
        }
    }

    /// The cap from `from` on until `until`, each with when it begins, as far as is known now: for the plan. Ends and beginnings are this
    /// home's own, with its draw of the randomised delay.
    pub fn ahead(&self, from: UnixTime, until: UnixTime) -> Vec<(UnixTime, Option<Cap>)> {
        let mut edges = vec![from];
        for limit in self.limits.limits.iter() {
            let (start, end) = limit.window(&self.home);
            edges.extend([Some(start), end].into_iter().flatten().filter(|at| from < *at && *at < until));
        }
        edges.sort_unstable();
        edges.dedup();
        let mut ahead: Vec<(UnixTime, Option<Cap>)> = Vec::new();
        for at in edges {
            let cap = self.cap(Some(at));
            if ahead.last().is_none_or(|(_, last)| *last != cap) {
                ahead.push((at, cap));
            }
        }
        ahead
    }
}

fn nothing() -> LimitSet {
    LimitSet { target: None, version: 0, limits: utility_wire::List::empty() }
}

#[cfg(test)]
mod tests {
    use utility_wire::Limit;

    use super::*;

    const HOME: &str = "2fac1234-31f8-41b4-a222-08002b34c003";
    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(seconds))
    }

    fn limit(id: u64, watts: u32, start: u64, duration_s: Option<u32>) -> Limit {
        Limit {
            id: EventId::new(id).unwrap(),
            supersedes: None,
            start: UnixTime::new(start),
            duration_s,
            watts: Watts::new(watts),
            priority: 0,
            randomise_s: 0,
            cancelled: false,
        }
    }

    fn set(limits: Vec<Limit>) -> LimitSet {
        LimitSet { target: None, version: 1, limits: limits.try_into().unwrap() }
    }

    fn engaged() -> Envelope {
        Envelope::new(HOME.to_owned(), Terms::default(), None, true, at(0))
    }

    /// Under a limit of 5 kW without an end.
    fn controlled() -> Envelope {
        let mut home = engaged();
        home.heard(MINUTE, at(1));
        home.stated(Some(set(vec![limit(1, 5000, 0, None)])));
        home
    }

    fn cap(home: &Envelope, time: u64) -> Option<(u32, Cause)> {
        home.cap(Some(UnixTime::new(time))).map(|cap| (cap.watts.count(), cap.cause))
    }

    fn limit_1() -> Cause {
        Cause::Limit(EventId::new(1).unwrap())
    }

    #[test]
    fn a_home_that_was_never_limited_stays_without_a_limit_also_when_the_utility_is_lost() {
        let mut home = Envelope::new(HOME.to_owned(), Terms::default(), None, false, at(0));
        home.heard(MINUTE, at(1));
        home.stated(None);
        home.handle_timeout(at(100_000));
        assert_eq!((cap(&home, 1), home.state(), home.poll_timeout()), (None, State::Autonomous, None));
    }

    #[test]
    fn at_start_the_failsafe_limit_holds_until_the_first_statement() {
        let mut home = engaged();
        assert_eq!(cap(&home, 1), Some((4200, Cause::Start)));
        home.heard(MINUTE, at(5));
        assert_eq!(cap(&home, 1), Some((4200, Cause::Start)), "heard is not stated");
        home.stated(Some(set(vec![])));
        assert_eq!((cap(&home, 1), home.state()), (None, State::Controlled));
    }

    #[test]
    fn lpc_906_there_is_no_false_failsafe_soon_after_a_start_and_after_two_minutes_it_goes_on() {
        let mut home = engaged();
        home.handle_timeout(at(10));
        assert_eq!(home.state(), State::Start { since: at(0) });
        home.handle_timeout(at(120));
        assert_eq!(home.state(), State::Failsafe { since: at(120), heard_again: None });
    }

    #[test]
    fn lpc_911_heartbeats_a_minute_apart_keep_it_controlled_and_two_missing_ones_do_not() {
        let mut home = controlled();
        for minute in 1..100 {
            home.heard(MINUTE, at(60 * minute));
            home.handle_timeout(at(60 * minute + 59));
            assert_eq!(home.state(), State::Controlled);
        }
        assert_eq!(home.poll_timeout(), Some(at(60 * 99 + 120)));
        home.handle_timeout(at(60 * 99 + 120));
        assert_eq!(cap(&home, 1), Some((4200, Cause::Failsafe)));
    }

    #[test]
    fn a_utility_that_wants_to_be_asked_seldom_is_not_lost_in_between() {
        let mut home = controlled();
        home.heard(15 * MINUTE, at(10));
        home.handle_timeout(at(10 + 29 * 60));
        assert_eq!(home.state(), State::Controlled);
        home.handle_timeout(at(10 + 30 * 60));
        assert!(matches!(home.state(), State::Failsafe { .. }));
    }

    #[test]
    fn lpc_916_failsafe_is_left_only_by_a_heartbeat_and_a_following_statement() {
        let mut home = controlled();
        home.handle_timeout(at(200));
        home.heard(MINUTE, at(300));
        assert_eq!(cap(&home, 1), Some((4200, Cause::Failsafe)), "a heartbeat alone");
        home.stated(None);
        assert_eq!(cap(&home, 1), Some((5000, limit_1())), "the stated limit, not none");
    }

    #[test]
    fn after_an_outage_of_hours_it_is_still_in_failsafe_and_not_unlimited() {
        let mut home = controlled();
        for hour in 1..72 {
            home.handle_timeout(at(hour * 3600));
            assert_eq!(cap(&home, 1), Some((4200, Cause::Failsafe)), "{hour} h");
        }
    }

    #[test]
    fn lpc_921_heard_again_without_a_statement_it_is_autonomous_after_two_minutes_but_not_before_the_least_duration() {
        let mut home = controlled();
        home.handle_timeout(at(200));
        let beat = |home: &mut Envelope, from: u64, to: u64| {
            for second in (from..to).step_by(60) {
                home.heard(MINUTE, at(second));
            }
        };
        beat(&mut home, 300, 200 + 7200 - 60);
        assert!(matches!(home.state(), State::Failsafe { heard_again: Some(_), .. }), "the least duration is not over");
        beat(&mut home, 7400, 7600);
        assert_eq!((home.state(), cap(&home, 1)), (State::Autonomous, None));
        // The next statement takes it back under control.
        home.stated(None);
        assert_eq!(cap(&home, 1), Some((5000, limit_1())));
    }

    #[test]
    fn heard_for_a_moment_and_lost_again_is_not_heard() {
        let mut home = controlled();
        home.handle_timeout(at(200));
        home.heard(MINUTE, at(9000));
        home.handle_timeout(at(9120));
        assert_eq!(home.state(), State::Failsafe { since: at(200), heard_again: None });
    }

    #[test]
    fn lpc_914_a_limit_without_an_end_never_ends_by_itself() {
        let mut home = controlled();
        for minute in 1..2000 {
            home.heard(MINUTE, at(60 * minute));
        }
        assert_eq!(cap(&home, 4_000_000_000), Some((5000, limit_1())));
    }

    #[test]
    fn no_limit_goes_below_the_home_s_floor_and_the_failsafe_does_not_either() {
        let mut home = controlled();
        home.stated(Some(set(vec![limit(1, 0, 0, None)])));
        assert_eq!(cap(&home, 1), Some((4200, limit_1())));
        home.set_terms(Terms { floor: Watts::new(6000), ..Terms::default() }, at(2));
        assert_eq!(cap(&home, 1), Some((6000, limit_1())));
        home.handle_timeout(at(500));
        assert_eq!(cap(&home, 1), Some((6000, Cause::Failsafe)));
    }

    #[test]
    fn in_failsafe_a_lower_limit_that_was_stated_before_holds_when_its_time_comes() {
        let mut home = engaged();
        home.set_terms(Terms { failsafe: Watts::new(8000), ..Terms::default() }, at(0));
        home.heard(MINUTE, at(1));
        home.stated(Some(set(vec![limit(1, 5000, 1000, Some(600))])));
        home.handle_timeout(at(500));
        let caps = [999, 1000, 1599, 1600].map(|time| cap(&home, time).unwrap());
        assert_eq!(caps, [(8000, Cause::Failsafe), (5000, limit_1()), (5000, limit_1()), (8000, Cause::Failsafe)]);
        assert_eq!(home.cap(None).unwrap().cause, Cause::Failsafe, "nobody knows the time");
    }

    #[test]
    fn who_does_not_take_limits_is_never_limited() {
        let mut home = controlled();
        home.set_terms(Terms { accepted: false, ..Terms::default() }, at(2));
        home.stated(None);
        home.handle_timeout(at(1000));
        assert_eq!(cap(&home, 1), None);
        home.set_terms(Terms::default(), at(1001));
        assert_eq!(cap(&home, 1), Some((4200, Cause::Start)));
    }

    #[test]
    fn another_utility_s_limits_are_forgotten() {
        let mut home = controlled();
        home.forget();
        assert_eq!((cap(&home, 1), home.is_engaged()), (None, false));
    }

    #[test]
    fn what_comes_is_known_ahead_with_this_home_s_own_draw() {
        let mut home = controlled();
        let drawn = Limit { randomise_s: 600, ..limit(2, 4500, 2000, Some(1000)) };
        let (start, end) = drawn.window(HOME);
        assert!(start.seconds() > 2000, "a home that draws 0 shows nothing");
        home.stated(Some(set(vec![drawn])));
        let id = EventId::new(2).unwrap();
        let ahead = home.ahead(UnixTime::new(100), UnixTime::new(9000));
        let held = Cap { watts: Watts::new(4500), cause: Cause::Limit(id) };
        assert_eq!(ahead, [(UnixTime::new(100), None), (start, Some(held)), (end.unwrap(), None)]);
    }
}
