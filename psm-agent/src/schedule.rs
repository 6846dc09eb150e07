//! Registrations of control points and the standby periods among them (PURE).
//!
//! In: registrations made and withdrawn, the time, what came of a standby. Out: [`Effect::GoToStandby`] at the start of a
//! StandbyPeriod. A period is of local time and comes every day until it is withdrawn; it may cross midnight. Instants are
//! worked out in the zone given, so that on a day of 23 or 25 hours a period still begins and ends by the clock on the wall:
//! a time the spring change skips counts as the moment of the change, one that the autumn change repeats as the first.
//!
//! A change of the wall clock or zone is a call of [`Schedule::handle_wall`]; everything planned is then worked out anew.
#![forbid(unsafe_code)]

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use daemon_kit::clock::{next_occurrence, seconds_since_midnight};
use energy_model::{CallerAddress, CallerId, DailyWindow, RegId, RegIdCounter, TimeOfDay};
use energy_services::Action as _;
use energy_services::power_management::{
    GetPowerState, GoToStandby, OperationOff, OperationOn, StandbyPeriod, WakeUpMethod,
};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use upnp::time::BootTime;

use crate::limits::{REGISTRATIONS_MAX, STANDBY_RETRY_EVERY, STANDBY_START_LATE_MAX, STANDBY_WORTH};

/// The wall clock as read at one moment.
#[derive(Clone, Debug)]
pub struct Wall {
    /// The instant.
    pub at: Timestamp,
    /// The zone of the home.
    pub zone: TimeZone,
}

impl Wall {
    /// What the clock on the wall shows.
    pub fn time_of_day(&self) -> TimeOfDay {
        let s = seconds_since_midnight(&self.zone, self.at);
        let part = |value: u32| u8::try_from(value).unwrap_or(0);
        TimeOfDay::new(part(s / 3600), part(s / 60 % 60), part(s % 60)).unwrap_or(TimeOfDay::MIDNIGHT)
    }

    /// The first instant at or after `from` at which the clock comes to `time`.
    pub fn next(&self, time: TimeOfDay, from: Timestamp) -> Timestamp {
        next_occurrence(time.seconds_since_midnight(), &self.zone, from - SignedDuration::from_nanos(1))
    }

    /// The occurrence of `window` that `self.at` lies in: first instant, first instant after.
    pub fn occurrence(&self, window: DailyWindow) -> Option<(Timestamp, Timestamp)> {
        let a_day_ago = self.at - SignedDuration::from_hours(26);
        let mut start = self.next(window.start(), a_day_ago);
        while start <= self.at {
            let end = self.next(window.end(), start);
            if self.at < end {
                return Some((start, end));
            }
            start = self.next(window.start(), start + SignedDuration::from_secs(1));
        }
        None
    }
}

/// What a control point registered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// It asked for the power state.
    GetPowerState,
    /// It asked how to wake.
    WakeUpMethod,
    /// It switched the operation on.
    OperationOn,
    /// It switched the operation off.
    OperationOff,
    /// It sent the machine to sleep.
    GoToStandby,
    /// It wants the machine asleep every day in this window.
    StandbyPeriod(DailyWindow),
}

impl Subject {
    /// The action that registers for it.
    pub const fn action(self) -> &'static str {
        match self {
            Self::GetPowerState => GetPowerState::NAME,
            Self::WakeUpMethod => WakeUpMethod::NAME,
            Self::OperationOn => OperationOn::NAME,
            Self::OperationOff => OperationOff::NAME,
            Self::GoToStandby => GoToStandby::NAME,
            Self::StandbyPeriod(_) => StandbyPeriod::NAME,
        }
    }
}

/// A registration: who, what, since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Registration {
    /// Its number.
    pub reg_id: RegId,
    /// Whose it is.
    pub caller: CallerId,
    /// The address the caller gave, for people.
    pub address: CallerAddress,
    /// For what.
    pub subject: Subject,
    /// When it was last asked for, for people and to find the oldest.
    pub at: Timestamp,
}

/// An order to the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A StandbyPeriod is on: send the machine to sleep, if that is safe. What comes of it comes back by
    /// [`Schedule::handle_slept`], [`Schedule::handle_refused`] or [`Schedule::handle_not_slept`].
    GoToStandby {
        /// The period's registration.
        reg_id: RegId,
    },
}

/// Why a registration was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// [`REGISTRATIONS_MAX`] standby periods are registered.
    #[error("{REGISTRATIONS_MAX} standby periods are registered already")]
    Full,
}

/// Why a registration was not withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WithdrawError {
    /// No such number is live.
    #[error("no registration {0} is live")]
    Unknown(u32),
    /// It is another caller's.
    #[error("registration {0} is another caller's")]
    Foreign(RegId),
}

/// How far a standby period's present occurrence got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not begun.
    Waiting,
    /// The order is out.
    Ordered,
    /// The machine slept, or a person said otherwise: nothing more today.
    Done,
    /// Refused; to be tried again.
    RetryAt(Timestamp),
}

/// Progress of one standby period.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// Start of the occurrence the stage belongs to.
    start: Timestamp,
    stage: Stage,
}

/// The registrations and what they make happen.
#[derive(Debug)]
pub struct Schedule {
    counter: RegIdCounter,
    registrations: BTreeMap<RegId, Registration>,
    progress: BTreeMap<RegId, Progress>,
    wall: Wall,
    read_at: BootTime,
    effects: VecDeque<Effect>,
}

impl Schedule {
    /// Goes on with stored registrations. Numbers up to `mark` count as given out.
    pub fn new(mark: u32, stored: Vec<Registration>, wall: Wall, now: BootTime) -> Self {
        let registrations = stored.into_iter().take(REGISTRATIONS_MAX).map(|r| (r.reg_id, r)).collect();
        let mut schedule = Self {
            counter: RegIdCounter::after(mark),
            registrations,
            progress: BTreeMap::new(),
            wall,
            read_at: now,
            effects: VecDeque::new(),
        };
        schedule.handle_timeout(now);
        schedule
    }

    /// Registers, or finds the caller's equal registration. True: it is new, and where it is a standby period, or
    /// [`mark`](Self::mark) moved, it must be on disk before the number is told.
    ///
    /// # Errors
    /// No room; registrations other than standby periods make room by themselves, oldest first.
    pub fn register(
        &mut self,
        caller: &CallerId,
        address: &CallerAddress,
        subject: Subject,
        now: BootTime,
    ) -> Result<(Registration, bool), RegisterError> {
        let at = self.wall_at(now);
        if let Some(r) = self.registrations.values_mut().find(|r| r.caller == *caller && r.subject == subject) {
            r.at = at;
            r.address = address.clone();
            return Ok((r.clone(), false));
        }
        if self.registrations.len() >= REGISTRATIONS_MAX {
            let movable = |r: &&Registration| !matches!(r.subject, Subject::StandbyPeriod(_));
            let oldest = self.registrations.values().filter(movable).min_by_key(|r| r.at).map(|r| r.reg_id);
            self.registrations.remove(&oldest.ok_or(RegisterError::Full)?);
        }
        let live = &self.registrations;
        let reg_id = self.counter.next(|id| live.contains_key(&id)).ok_or(RegisterError::Full)?;
        let r = Registration { reg_id, caller: caller.clone(), address: address.clone(), subject, at };
        self.registrations.insert(reg_id, r.clone());
        self.handle_timeout(now);
        Ok((r, true))
    }

    /// Forgets a registration of `caller`.
    ///
    /// # Errors
    /// Unknown number, or another caller's.
    pub fn withdraw(&mut self, caller: &CallerId, number: u32, now: BootTime) -> Result<Registration, WithdrawError> {
        let unknown = WithdrawError::Unknown(number);
        let reg_id = RegId::new(number).map_err(|_| unknown)?;
        let r = self.registrations.get(&reg_id).ok_or(unknown)?;
        if r.caller != *caller {
            return Err(WithdrawError::Foreign(reg_id));
        }
        self.progress.remove(&reg_id);
        let gone = self.registrations.remove(&reg_id).ok_or(unknown);
        self.handle_timeout(now);
        gone
    }

    /// Forgets a registration just made, which could not be put on disk, with what it ordered. Its number is not used again.
    pub fn take_back(&mut self, reg_id: RegId, now: BootTime) {
        self.registrations.remove(&reg_id);
        self.progress.remove(&reg_id);
        self.effects.retain(|Effect::GoToStandby { reg_id: other }| *other != reg_id);
        self.handle_timeout(now);
    }

    /// Takes a registration in again whose withdrawal could not be put on disk.
    pub fn put_back(&mut self, registration: Registration, now: BootTime) {
        self.registrations.insert(registration.reg_id, registration);
        self.handle_timeout(now);
    }

    /// The wall clock or its zone changed, or was read anew.
    pub fn handle_wall(&mut self, wall: Wall, now: BootTime) {
        self.wall = wall;
        self.read_at = now;
        self.handle_timeout(now);
    }

    /// A [`Effect::GoToStandby`] was refused: it is tried again while the period lasts.
    pub fn handle_refused(&mut self, reg_id: RegId, now: BootTime) {
        let retry = self.retry_at(now);
        if let Some(progress) = self.progress.get_mut(&reg_id) {
            progress.stage = Stage::RetryAt(retry);
        }
    }

    /// A suspend that was begun came to nothing, whoever asked for it: periods that wait for it try again.
    pub fn handle_not_slept(&mut self, now: BootTime) {
        let retry = self.retry_at(now);
        for progress in self.progress.values_mut().filter(|progress| progress.stage == Stage::Ordered) {
            progress.stage = Stage::RetryAt(retry);
        }
    }

    fn retry_at(&self, now: BootTime) -> Timestamp {
        self.wall_at(now) + SignedDuration::try_from(STANDBY_RETRY_EVERY).unwrap_or(SignedDuration::ZERO)
    }

    /// The machine fell asleep, whoever asked: who wakes it in the middle of a period keeps it awake.
    pub fn handle_slept(&mut self, now: BootTime) {
        self.handle_timeout(now);
        self.effects.clear();
        for progress in self.progress.values_mut() {
            progress.stage = Stage::Done;
        }
    }

    /// Advances to `now`.
    pub fn handle_timeout(&mut self, now: BootTime) {
        self.wall.at = self.wall_at(now);
        self.read_at = now;
        let wall = &self.wall;
        let late_max = SignedDuration::try_from(STANDBY_START_LATE_MAX).unwrap_or(SignedDuration::ZERO);
        let worth = SignedDuration::try_from(STANDBY_WORTH).unwrap_or(SignedDuration::ZERO);
        for r in self.registrations.values() {
            let Subject::StandbyPeriod(window) = r.subject else { continue };
            let Some((start, end)) = wall.occurrence(window) else {
                self.progress.remove(&r.reg_id);
                continue;
            };
            let known = self.progress.get(&r.reg_id).filter(|p| p.start == start).map(|p| p.stage);
            // A period registered while it is on begins at once: its caller wants the machine asleep now.
            let fresh = start.max(r.at);
            let on_time = wall.at.duration_since(fresh) <= late_max;
            let stage = known.unwrap_or(if on_time { Stage::Waiting } else { Stage::Done });
            let due = match stage {
                Stage::Waiting => true,
                Stage::RetryAt(at) => at <= wall.at,
                Stage::Ordered | Stage::Done => false,
            };
            let stage = if due && end.duration_since(wall.at) < worth {
                Stage::Done
            } else if due {
                self.effects.push_back(Effect::GoToStandby { reg_id: r.reg_id });
                Stage::Ordered
            } else {
                stage
            };
            self.progress.insert(r.reg_id, Progress { start, stage });
        }
    }

    /// The next order not yet taken.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        let next = |r: &Registration| -> Option<Timestamp> {
            let Subject::StandbyPeriod(window) = r.subject else { return None };
            let start = self.wall.next(window.start(), self.wall.at + SignedDuration::from_nanos(1));
            match self.progress.get(&r.reg_id).map(|p| p.stage) {
                Some(Stage::RetryAt(at)) => Some(start.min(at)),
                _ => Some(start),
            }
        };
        let at = self.registrations.values().filter_map(next).min()?;
        // Up to a millisecond late rather than early: an early wake-up would find nothing to do and spin.
        let ahead = Duration::try_from(at.duration_since(self.wall.at)).unwrap_or(Duration::ZERO);
        Some(self.read_at + ahead + Duration::from_millis(1))
    }

    /// When the machine, if it falls asleep now, is to be awake again: the end of the standby period that is on, with
    /// any that overlaps it. None outside all periods.
    pub fn wake_at(&self, now: BootTime) -> Option<Timestamp> {
        let mut wall = Wall { at: self.wall_at(now), zone: self.wall.zone.clone() };
        let mut until = None;
        // Each step moves to the end of one more period; periods are finite, a full day of them ends the search.
        for _ in 0..=self.registrations.len() {
            let end = self.periods().filter_map(|w| wall.occurrence(w)).map(|(_, end)| end).max();
            match end {
                Some(end) if Some(end) > until => {
                    until = Some(end);
                    wall.at = end;
                }
                _ => break,
            }
        }
        until
    }

    /// All registrations by number.
    pub fn registrations(&self) -> impl Iterator<Item = &Registration> {
        self.registrations.values()
    }

    /// The number up to which all count as given out; to be stored.
    pub fn mark(&self) -> u32 {
        self.counter.mark()
    }

    /// The wall clock now, going on from its last reading.
    pub fn wall_at(&self, now: BootTime) -> Timestamp {
        let ahead = SignedDuration::try_from(now.since(self.read_at)).unwrap_or(SignedDuration::ZERO);
        self.wall.at.checked_add(ahead).unwrap_or(Timestamp::MAX)
    }

    /// What the clock on the wall shows now.
    pub fn time_of_day(&self, now: BootTime) -> TimeOfDay {
        Wall { at: self.wall_at(now), zone: self.wall.zone.clone() }.time_of_day()
    }

    /// The zone in use.
    pub fn zone(&self) -> &TimeZone {
        &self.wall.zone
    }

    fn periods(&self) -> impl Iterator<Item = DailyWindow> {
        self.registrations.values().filter_map(|r| match r.subject {
            Subject::StandbyPeriod(window) => Some(window),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GATEWAY: &str = "0d4ee4b2-8d1f-4d9b-9c34-1a2b3c4d5e6f";

    fn berlin(text: &str) -> Wall {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        Wall { at: text.parse::<jiff::civil::DateTime>().unwrap().to_zoned(zone.clone()).unwrap().timestamp(), zone }
    }

    fn at(text: &str) -> Timestamp {
        berlin(text).at
    }

    fn window(text: &str) -> DailyWindow {
        text.parse().unwrap()
    }

    struct Fixture {
        schedule: Schedule,
        now: BootTime,
    }

    impl Fixture {
        fn at(wall: &str) -> Self {
            Self { schedule: Schedule::new(0, vec![], berlin(wall), BootTime::ZERO), now: BootTime::ZERO }
        }

        fn register(&mut self, subject: Subject) -> RegId {
            let (caller, address) = (GATEWAY.parse().unwrap(), "10.0.0.1".parse().unwrap());
            self.schedule.register(&caller, &address, subject, self.now).unwrap().0.reg_id
        }

        fn period(&mut self, text: &str) -> RegId {
            self.register(Subject::StandbyPeriod(window(text)))
        }

        /// Steps from wake-up to wake-up until `wall`; gives each standby with the time on the wall.
        fn run_until(&mut self, wall: &str) -> Vec<(Timestamp, RegId)> {
            let end = at(wall);
            let mut seen = Vec::new();
            loop {
                while let Some(Effect::GoToStandby { reg_id }) = self.schedule.poll_effect() {
                    seen.push((self.schedule.wall_at(self.now), reg_id));
                }
                let Some(next) = self.schedule.poll_timeout() else { return seen };
                assert!(next > self.now, "would spin");
                if self.schedule.wall_at(next) > end {
                    let left = Duration::try_from(end.duration_since(self.schedule.wall_at(self.now))).unwrap();
                    self.now = self.now + left;
                    return seen;
                }
                self.now = next;
                self.schedule.handle_timeout(next);
            }
        }
    }

    fn seconds_apart(a: Timestamp, b: Timestamp) -> i64 {
        a.duration_since(b).as_secs().abs()
    }

    #[test]
    fn a_period_over_midnight_begins_every_evening_and_wakes_every_morning() {
        let mut f = Fixture::at("2026-06-01T12:00:00");
        f.period("22:00:00-06:00:00");
        let seen = f.run_until("2026-06-01T22:00:30");
        assert_eq!(seen.len(), 1);
        assert!(seconds_apart(seen[0].0, at("2026-06-01T22:00:00")) <= 1);
        assert_eq!(f.schedule.wake_at(f.now), Some(at("2026-06-02T06:00:00")));
        f.schedule.handle_slept(f.now);
        assert_eq!(f.run_until("2026-06-02T21:59:00"), []);
        assert_eq!(f.schedule.wake_at(f.now), None);
        assert_eq!(f.run_until("2026-06-02T22:01:00").len(), 1);
    }

    #[test]
    fn on_the_days_of_23_and_25_hours_a_period_keeps_to_the_clock_on_the_wall() {
        for (day, next, hours) in [("2026-03-28", "2026-03-29", 7), ("2026-10-24", "2026-10-25", 9)] {
            let mut f = Fixture::at(&format!("{day}T12:00:00"));
            f.period("22:00:00-06:00:00");
            let seen = f.run_until(&format!("{day}T22:00:30"));
            assert_eq!(seen.len(), 1, "{day}");
            let wake = f.schedule.wake_at(f.now).unwrap();
            assert_eq!(wake, at(&format!("{next}T06:00:00")));
            assert_eq!(wake.duration_since(at(&format!("{day}T22:00:00"))).as_hours(), hours);
        }
    }

    #[test]
    fn a_start_that_the_spring_change_skips_comes_at_the_change() {
        let mut f = Fixture::at("2026-03-29T01:00:00");
        f.period("02:30:00-05:00:00");
        let seen = f.run_until("2026-03-29T04:00:00");
        assert_eq!(seen.len(), 1);
        assert!(seconds_apart(seen[0].0, at("2026-03-29T03:00:00")) <= 1, "{:?}", seen[0].0);
    }

    #[test]
    fn a_refused_standby_is_tried_again_while_the_period_lasts() {
        let mut f = Fixture::at("2026-06-01T21:59:00");
        let reg_id = f.period("22:00:00-22:12:00");
        let mut tries = 0;
        for wall in ["2026-06-01T22:00:10", "2026-06-01T22:05:30", "2026-06-01T22:11:00", "2026-06-01T22:30:00"] {
            for _ in f.run_until(wall) {
                tries += 1;
                f.schedule.handle_refused(reg_id, f.now);
            }
        }
        assert_eq!(tries, 3, "at 22:00, 22:05 and 22:10");
    }

    #[test]
    fn who_wakes_the_machine_in_the_middle_of_a_period_keeps_it_awake() {
        let mut f = Fixture::at("2026-06-01T21:59:00");
        f.period("22:00:00-06:00:00");
        assert_eq!(f.run_until("2026-06-01T22:00:10").len(), 1);
        f.schedule.handle_slept(f.now);
        assert_eq!(f.run_until("2026-06-02T05:00:00"), []);
    }

    #[test]
    fn a_registration_survives_a_restart_and_a_late_start_does_not_put_it_to_sleep() {
        let mut f = Fixture::at("2026-06-01T12:00:00");
        let reg_id = f.period("22:00:00-06:00:00");
        let stored: Vec<_> = f.schedule.registrations().cloned().collect();
        let text = serde_json::to_string(&stored).unwrap();
        let stored: Vec<Registration> = serde_json::from_str(&text).unwrap();
        let again = |wall: &str| {
            let schedule = Schedule::new(f.schedule.mark(), stored.clone(), berlin(wall), BootTime::ZERO);
            Fixture { schedule, now: BootTime::ZERO }
        };
        assert_eq!(again("2026-06-01T22:01:00").run_until("2026-06-01T22:02:00").len(), 1, "a minute late: bridged");
        assert_eq!(again("2026-06-02T01:00:00").run_until("2026-06-02T21:00:00"), [], "a person switched it on");
        let mut later = again("2026-06-01T13:00:00");
        assert_ne!(later.register(Subject::GetPowerState), reg_id);
    }

    #[test]
    fn a_period_registered_while_it_is_on_begins_at_once() {
        let mut f = Fixture::at("2026-06-02T01:00:00");
        let reg_id = f.period("22:00:00-06:00:00");
        assert_eq!(f.schedule.poll_effect(), Some(Effect::GoToStandby { reg_id }));
    }

    #[test]
    fn a_wall_clock_set_forward_into_a_period_starts_it_when_near_its_start() {
        let mut f = Fixture::at("2026-06-01T12:00:00");
        f.period("22:00:00-06:00:00");
        f.schedule.handle_wall(berlin("2026-06-01T22:00:30"), f.now);
        assert!(f.schedule.poll_effect().is_some());
        let mut g = Fixture::at("2026-06-01T12:00:00");
        g.period("22:00:00-06:00:00");
        g.schedule.handle_wall(berlin("2026-06-01T21:00:00"), g.now);
        assert_eq!(g.schedule.poll_effect(), None);
        assert!(seconds_apart(g.schedule.wall_at(g.schedule.poll_timeout().unwrap()), at("2026-06-01T22:00:00")) <= 1);
    }

    #[test]
    fn periods_that_overlap_make_one_sleep() {
        let mut f = Fixture::at("2026-06-01T22:30:00");
        f.period("22:00:00-06:00:00");
        f.period("23:00:00-07:00:00");
        assert_eq!(f.schedule.wake_at(f.now), Some(at("2026-06-02T07:00:00")));
    }

    #[test]
    fn withdrawing_needs_the_right_caller_and_a_live_number() {
        let mut f = Fixture::at("2026-06-01T12:00:00");
        let reg_id = f.period("22:00:00-06:00:00");
        let (own, other): (CallerId, CallerId) = (GATEWAY.parse().unwrap(), "someone-else".parse().unwrap());
        let number = reg_id.number();
        assert_eq!(f.schedule.withdraw(&other, number, f.now), Err(WithdrawError::Foreign(reg_id)));
        assert_eq!(f.schedule.withdraw(&own, 0, f.now), Err(WithdrawError::Unknown(0)));
        assert!(f.schedule.withdraw(&own, number, f.now).is_ok());
        assert_eq!(f.schedule.withdraw(&own, number, f.now), Err(WithdrawError::Unknown(number)));
        assert_eq!(f.schedule.poll_timeout(), None);
        assert_eq!(f.run_until("2026-06-02T12:00:00"), []);
    }

    #[test]
    fn the_same_request_of_the_same_caller_keeps_its_number() {
        let mut f = Fixture::at("2026-06-01T12:00:00");
        let first = f.register(Subject::GetPowerState);
        assert_eq!(f.register(Subject::GetPowerState), first);
        assert_ne!(f.register(Subject::WakeUpMethod), first);
    }

    #[test]
    fn queries_make_room_for_each_other_and_never_push_a_period_out() {
        let mut f = Fixture::at("2026-06-01T12:00:00");
        let kept = f.period("22:00:00-06:00:00");
        let address: CallerAddress = "10.0.0.1".parse().unwrap();
        for n in 0..REGISTRATIONS_MAX * 2 {
            let caller: CallerId = format!("caller-{n}").parse().unwrap();
            f.schedule.register(&caller, &address, Subject::GetPowerState, f.now).unwrap();
        }
        assert_eq!(f.schedule.registrations().count(), REGISTRATIONS_MAX);
        assert!(f.schedule.registrations().any(|r| r.reg_id == kept));
    }

    proptest! {
        #[test]
        fn an_occurrence_holds_its_instant_and_starts_and_ends_by_the_clock(
            day in 0..730i64, second in 0..86_400i64, start in 0..86_400u32, length in 1..86_400u32,
        ) {
            let time = |s: u32| TimeOfDay::new((s / 3600) as u8, (s / 60 % 60) as u8, (s % 60) as u8).unwrap();
            let w = DailyWindow::new(time(start), time((start + length) % 86_400)).unwrap();
            let mut wall = berlin("2026-01-01T00:00:00");
            wall.at += SignedDuration::from_secs(day * 86_400 + second);
            match wall.occurrence(w) {
                Some((from, to)) => {
                    prop_assert!(from <= wall.at && wall.at < to);
                    prop_assert!(to.duration_since(from) <= SignedDuration::from_hours(25));
                }
                // Around a change of the clock the two may differ by the hour that is skipped or repeated.
                None => prop_assert!(!w.contains(wall.time_of_day()) || near_change(&wall)),
            }
        }
    }

    fn near_change(wall: &Wall) -> bool {
        let day = SignedDuration::from_hours(25);
        wall.zone.to_offset(wall.at - day) != wall.zone.to_offset(wall.at + day)
    }
}
