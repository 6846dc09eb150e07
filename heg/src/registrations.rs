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
