//! Registrations: wake-up times and no-standby windows kept here, standby periods kept by the appliances.
//!
//! PURE. RegIDs of the gateway are unique for good and never used twice, also over a restart: the last one given is stored
//! with each registration. A time of day means that local time every day until withdrawn. On the day clocks go forward a
//! time that is skipped is taken at the jump (02:30 is 03:00); on the day they go back a time that comes twice counts
//! once, the first time.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use daemon_kit::clock::next_occurrence;
use energy_model::{DailyWindow, RegId, RegIdCounter, TimeOfDay};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use upnp::ids::Udn;
use upnp::time::{BootTime, earliest};

use crate::limits::{DUE_AHEAD_MAX, REGISTRATIONS_MAX, REGISTRATIONS_PER_APPLIANCE_MAX, WAKE_LATE_MAX};
use crate::now::Now;

/// Who registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Registrant {
    /// The appliance it is about (Table II).
    Appliance,
    /// A person at the control socket, by user id.
    Person(u32),
}

/// What was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// WakeUpTime: wake the appliance every day at this local time.
    WakeUp(TimeOfDay),
    /// NoStandbyPeriod: never send it to standby in this daily window.
    NoStandby(DailyWindow),
    /// StandbyPeriod: the appliance itself sleeps in this daily window; the RegID is the appliance's.
    Standby(DailyWindow),
}

impl fmt::Display for Wish {
    /// The action with its values: `NoStandbyPeriod 22:00:00 06:00:00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WakeUp(at) => write!(f, "WakeUpTime {at}"),
            Self::NoStandby(w) => write!(f, "NoStandbyPeriod {} {}", w.start(), w.end()),
            Self::Standby(w) => write!(f, "StandbyPeriod {} {}", w.start(), w.end()),
        }
    }
}

/// A registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its number: ours, or for a [`Wish::Standby`] the appliance's own.
    pub reg: RegId,
    /// The appliance it is about.
    pub udn: Udn,
    /// Who made it.
    pub by: Registrant,
    /// What it says.
    pub wish: Wish,
    /// When it was made, UTC.
    pub made: Timestamp,
    /// For a wake-up: when it is next due, UTC.
    pub due: Option<Timestamp>,
}

/// Where a registration is kept, and so who numbers it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// By the gateway.
    Here(RegId),
    /// By the appliance.
    There(Udn, RegId),
}

impl Registration {
    /// Where it is kept.
    pub fn key(&self) -> Key {
        match self.wish {
            Wish::Standby(_) => Key::There(self.udn.clone(), self.reg),
            Wish::WakeUp(_) | Wish::NoStandby(_) => Key::Here(self.reg),
        }
    }
}

/// Why a registration was not taken or not found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// No registration has that number.
    #[error("no registration has RegID {0}")]
    Unknown(RegId),
    /// It belongs to another appliance.
    #[error("RegID {0} belongs to another appliance")]
    Foreign(RegId),
    /// The number is used by several appliances; their UDNs.
    #[error("RegID {0} is used by several: {list}", list = .1.join(", "))]
    Ambiguous(RegId, Vec<String>),
    /// The appliance holds as many as it may, or all together do.
    #[error("there is no room for another registration; withdraw one first")]
    Full,
}

/// A wake-up whose time has come, or has passed unseen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueWake {
    /// The registration.
    pub reg: RegId,
    /// Whom to wake.
    pub udn: Udn,
    /// When it was due, UTC.
    pub due: Timestamp,
    /// Too late to carry out: the gateway was down or the clock was wrong.
    pub missed: bool,
}

/// All registrations.
#[derive(Debug)]
pub struct Registrations {
    all: BTreeMap<Key, Registration>,
    /// Wake-ups being carried out: their due time moves on when they are done.
    waking: std::collections::BTreeSet<RegId>,
    counter: RegIdCounter,
    zone: TimeZone,
}

impl Registrations {
    /// No registrations yet; `counter` goes on after the last number ever given.
    pub fn new(counter: RegIdCounter, zone: TimeZone) -> Self {
        Self { all: BTreeMap::new(), waking: Default::default(), counter, zone }
    }

    /// Takes a registration from the store.
    pub fn restore(&mut self, registration: Registration) {
        self.all.insert(registration.key(), registration);
    }

    /// A number no RegID given so far is above.
    pub fn last_reg(&self) -> u32 {
        self.counter.mark()
    }

    /// Takes another time zone: every wake-up is due at its local time there.
    pub fn set_zone(&mut self, zone: TimeZone, now: Now) {
        self.zone = zone;
        self.recompute(now, |_| true);
    }

    /// The wall clock was set: due times that make no sense under the new one are computed afresh.
    pub fn clock_changed(&mut self, now: Now) {
        self.recompute(now, |ahead| ahead > DUE_AHEAD_MAX);
    }

    fn recompute(&mut self, now: Now, wrong: impl Fn(Duration) -> bool) {
        for r in self.all.values_mut() {
            if let (Wish::WakeUp(at), Some(due)) = (r.wish, r.due)
                && due > now.wall
                && wrong(due.duration_since(now.wall).unsigned_abs())
            {
                r.due = Some(next_due(at, now.wall, &self.zone));
            }
        }
    }

    /// All, ours first, in order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Registration> {
        self.all.values()
    }

    /// Those about one appliance.
    pub fn of<'a>(&'a self, udn: &Udn) -> impl Iterator<Item = &'a Registration> {
        self.all.values().filter(move |r| r.udn == *udn)
    }

    /// The registration under that key.
    pub fn get(&self, key: &Key) -> Option<&Registration> {
        self.all.get(key)
    }

    /// A registration as it would be entered by [`Self::enter`] once it is on disk. One that says the same for the same
    /// appliance and registrant is given again, so that an appliance which registers afresh after a restart does not pile them up.
    pub fn draft(
        &mut self,
        udn: &Udn,
        by: Registrant,
        wish: Wish,
        now: Now,
    ) -> Result<Registration, RegistrationError> {
        if let Some(same) = self.of(udn).find(|r| r.by == by && r.wish == wish) {
            return Ok(same.clone());
        }
        self.room_for(udn)?;
        let due = match wish {
            Wish::WakeUp(at) => Some(next_due(at, now.wall, &self.zone)),
            Wish::NoStandby(_) | Wish::Standby(_) => None,
        };
        let live = |reg| self.all.contains_key(&Key::Here(reg));
        let reg = self.counter.next(live).ok_or(RegistrationError::Full)?;
        Ok(Registration { reg, udn: udn.clone(), by, wish, made: now.wall, due })
    }

    /// Whether another one fits.
    pub fn room_for(&self, udn: &Udn) -> Result<(), RegistrationError> {
        if self.all.len() >= REGISTRATIONS_MAX || self.of(udn).count() >= REGISTRATIONS_PER_APPLIANCE_MAX {
            return Err(RegistrationError::Full);
        }
        Ok(())
    }

    /// Enters a registration.
    pub fn enter(&mut self, registration: Registration) {
        self.all.insert(registration.key(), registration);
    }

    /// Takes a registration out.
    pub fn remove(&mut self, key: &Key) -> Option<Registration> {
        if let Key::Here(reg) = key {
            self.waking.remove(reg);
        }
        self.all.remove(key)
    }

    /// The registration an appliance means by `reg`: it must be its own, made by itself.
    pub fn own(&self, udn: &Udn, reg: RegId) -> Result<&Registration, RegistrationError> {
        match self.all.get(&Key::Here(reg)) {
            Some(r) if r.udn == *udn && r.by == Registrant::Appliance => Ok(r),
            Some(_) => Err(RegistrationError::Foreign(reg)),
            None => Err(RegistrationError::Unknown(reg)),
        }
    }

    /// The registration a person means by `reg`, among those of `udn` where one is named.
    pub fn named(&self, reg: RegId, udn: Option<&Udn>) -> Result<&Registration, RegistrationError> {
        let fits: Vec<_> = self.all.values().filter(|r| r.reg == reg && udn.is_none_or(|u| r.udn == *u)).collect();
        match fits[..] {
            [] => Err(RegistrationError::Unknown(reg)),
            [one] => Ok(one),
            _ => Err(RegistrationError::Ambiguous(reg, fits.iter().map(|r| r.udn.to_string()).collect())),
        }
    }

    /// The window that forbids sending this appliance to standby at `wall`.
    pub fn forbids_standby(&self, udn: &Udn, wall: Timestamp) -> Option<&Registration> {
        let local = local_time(wall, &self.zone);
        self.of(udn).find(|r| matches!(r.wish, Wish::NoStandby(w) if w.contains(local)))
    }

    /// The window that overlaps a standby period to be made.
    pub fn forbids_period(&self, udn: &Udn, period: DailyWindow) -> Option<&Registration> {
        self.of(udn).find(|r| matches!(r.wish, Wish::NoStandby(w) if w.overlaps(period)))
    }

    /// The standby periods on the appliance that a new no-standby window overlaps.
    pub fn periods_overlapping(&self, udn: &Udn, window: DailyWindow) -> Vec<RegId> {
        self.of(udn).filter(|r| matches!(r.wish, Wish::Standby(w) if w.overlaps(window))).map(|r| r.reg).collect()
    }

    /// The wake-ups whose time has come. Those to be carried out stay due until [`Self::wakes_closed`]; missed ones move on.
    pub fn take_due(&mut self, now: Now) -> Vec<DueWake> {
        let mut ready = Vec::new();
        for r in self.all.values_mut() {
            let (Wish::WakeUp(at), Some(due)) = (r.wish, r.due) else { continue };
            if due > now.wall || self.waking.contains(&r.reg) {
                continue;
            }
            let missed = now.wall.duration_since(due).unsigned_abs() > WAKE_LATE_MAX;
            if missed {
                r.due = Some(next_due(at, now.wall, &self.zone));
            } else {
                self.waking.insert(r.reg);
            }
            ready.push(DueWake { reg: r.reg, udn: r.udn.clone(), due, missed });
        }
        ready
    }

    /// The wake-ups of an appliance were carried out or given up: they are due again at their next time. Returns those that changed.
    pub fn wakes_closed(&mut self, udn: &Udn, now: Now) -> Vec<Registration> {
        let mut changed = Vec::new();
        for r in self.all.values_mut().filter(|r| r.udn == *udn) {
            if let Wish::WakeUp(at) = r.wish
                && self.waking.remove(&r.reg)
            {
                r.due = Some(next_due(at, now.wall.max(r.due.unwrap_or(now.wall)), &self.zone));
                changed.push(r.clone());
            }
        }
        changed
    }

    /// When the next wake-up is due, as the clocks stand at `last`.
    pub fn poll_timeout(&self, last: Now) -> Option<BootTime> {
        self.all
            .values()
            .filter(|r| !self.waking.contains(&r.reg))
            .filter_map(|r| r.due)
            .fold(None, |at, due| earliest(at, Some(last.boot_at(due))))
    }
}

/// The first moment after `after` at which clocks in `zone` come to `at` (see the module's word on clock changes).
pub fn next_due(at: TimeOfDay, after: Timestamp, zone: &TimeZone) -> Timestamp {
    next_occurrence(at.seconds_since_midnight(), zone, after)
}

/// What clocks in `zone` show at `wall`.
pub fn local_time(wall: Timestamp, zone: &TimeZone) -> TimeOfDay {
    let local = zone.to_datetime(wall).time();
    TimeOfDay::new(local.hour() as u8, local.minute() as u8, local.second() as u8).unwrap_or(TimeOfDay::MIDNIGHT)
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use proptest::prelude::*;

    use super::*;

    /// Zones with their changes of 2026, and Apia's move over the date line in 2011, which skipped 30 December.
    const CHANGES: &[(&str, &str)] = &[
        ("Europe/Stockholm", "2026-03-29T01:00:00Z"),
        ("Europe/Stockholm", "2026-10-25T01:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
        ("America/New_York", "2026-03-08T07:00:00Z"),
        ("America/New_York", "2026-11-01T06:00:00Z"),
        // At midnight.
        ("America/Havana", "2026-03-08T05:00:00Z"),
        ("America/Havana", "2026-11-01T05:00:00Z"),
        ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ];

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect("zone files (Debian's tzdata)")
    }

    #[test]
    fn the_changes_of_clocks_are_where_these_tests_look_for_them() {
        for (name, change) in CHANGES {
            let change: Timestamp = change.parse().unwrap();
            let (before, after) = (zone(name).to_offset(change - 1.second()), zone(name).to_offset(change));
            assert_ne!(before, after, "{name} {change}");
        }
    }

    #[test]
    fn a_skipped_time_comes_at_the_end_of_the_gap_and_a_doubled_one_the_first_time() {
        let due = |name: &str, at: &str, after: &str| {
            next_due(at.parse().unwrap(), after.parse().unwrap(), &zone(name)).to_string()
        };
        // Half an hour is skipped, and doubled: 02:15 of 4 October is 02:30, 01:45 of 5 April is the first.
        assert_eq!(due("Australia/Lord_Howe", "02:15:00", "2026-10-03T12:00:00Z"), "2026-10-03T15:30:00Z");
        assert_eq!(due("Australia/Lord_Howe", "01:45:00", "2026-04-04T12:00:00Z"), "2026-04-04T14:45:00Z");
        assert_eq!(due("Australia/Lord_Howe", "01:45:00", "2026-04-04T14:45:00Z"), "2026-04-05T15:15:00Z");
        assert_eq!(due("America/New_York", "02:30:00", "2026-03-08T00:00:00Z"), "2026-03-08T07:00:00Z");
        assert_eq!(due("America/New_York", "01:30:00", "2026-11-01T00:00:00Z"), "2026-11-01T05:30:00Z");
        assert_eq!(due("Europe/Stockholm", "02:30:00", "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z");
        assert_eq!(due("Europe/Stockholm", "02:30:00", "2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z");
    }

    proptest! {
        // Each case asks the clock some thousand times.
        #![proptest_config(ProptestConfig::with_cases(100))]
        /// The reference asks the clock at every minute: a time comes on each day at the first minute of that day that shows it or a later one.
        #[test]
        fn around_every_change_of_clocks_a_wake_up_time_comes_once_a_day(
            (name, change) in prop::sample::select(CHANGES), minute in 0u32..1440, before in -1440i64..2880,
        ) {
            let zone = zone(name);
            let at = TimeOfDay::from_seconds(minute * 60).unwrap();
            let after = change.parse::<Timestamp>().unwrap() - before.minutes();
            let mut days = std::collections::BTreeSet::new();
            let comes = |t: &Timestamp| local_time(*t, &zone) >= at && days.insert(zone.to_datetime(*t).date());
            let mut comings = (-2880..).map(|m: i64| after + m.minutes()).filter(comes);
            // The first of them may be a day that was entered in its middle.
            let want = comings.find(|t| *t > after).unwrap();
            let due = next_due(at, after, &zone);
            if name == "Pacific/Apia" && due != want {
                // The day that was skipped: what it would have had comes at the jump.
                prop_assert_eq!(due.to_string(), change);
            } else {
                prop_assert_eq!(due, want, "{} {} after {}", name, at, after);
            }
        }
    }
}
