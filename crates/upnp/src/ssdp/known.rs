//! One device a tracker knows: the ways to it, its BOOTID, and what of it is still to be told.

use core::time::Duration;
use std::net::IpAddr;

use super::tracker::{GoneWhy, Sighting, TrackerEvent};
use crate::ids::Udn;
use crate::limits::SSDP_PATHS_MAX;
use crate::net::InterfaceId;
use crate::time::{BootTime, earliest};
use crate::url::HttpUrl;

/// A byebye counts when no alive follows within this: many devices say both when they restart.
const BYEBYE_SETTLES: Duration = Duration::from_secs(1);
/// Least time between two events of one device; what comes sooner is told together. Each event costs a description fetch
/// and subscriptions, and a forger could make them come as fast as he sends.
const EVENT_EVERY: Duration = Duration::from_secs(1);
/// Messages with the BOOTID before the last are late copies for this long, and no reboot.
const LATE_COPIES: Duration = Duration::from_secs(5);
/// After a change of BOOTID the device announces itself on all its addresses; an address not heard of within this is gone.
const OTHER_PATHS_CONFIRM: Duration = Duration::from_secs(5);

/// A way to a device.
#[derive(Clone, Debug)]
pub(super) struct Path {
    pub(super) location: HttpUrl,
    pub(super) interface: InterfaceId,
    /// Our own address toward it.
    pub(super) local: IpAddr,
    pub(super) expires: BootTime,
    /// Whether our interface for it is there.
    pub(super) usable: bool,
}

impl Path {
    fn is_from(&self, interface: InterfaceId, ip: IpAddr) -> bool {
        self.interface == interface && self.location.address().ip() == ip
    }

    /// Whether a device with one interface has one address of this kind there: a second one replaces the first.
    fn is_alike(&self, other: &Self) -> bool {
        let kind = |path: &Self| match path.location.address().ip() {
            IpAddr::V4(_) => 0,
            IpAddr::V6(a) if a.is_unicast_link_local() => 1,
            IpAddr::V6(_) => 2,
        };
        self.interface == other.interface && kind(self) == kind(other)
    }

    fn is_alive(&self, now: BootTime) -> bool {
        self.usable && self.expires > now
    }
}

/// A sign of life of a device.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) path: Path,
    pub(super) boot_id: Option<u32>,
    pub(super) config_id: Option<u32>,
    pub(super) server: Option<String>,
}

/// What a sign of life means for who uses the device; the later one includes the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    Moved,
    Rebooted,
}

/// A device that matters and was heard of within its max-age.
#[derive(Debug)]
pub(super) struct Known {
    /// Never empty; the first is in use.
    paths: Vec<Path>,
    boot_id: Option<u32>,
    /// The BOOTID before this one, and when it ended.
    old_boot_id: Option<(u32, BootTime)>,
    /// Announced by `ssdp:update`: will be no reboot.
    next_boot_id: Option<u32>,
    config_id: Option<u32>,
    server: Option<Box<str>>,
    /// It said byebye; gone at this time unless it is heard of.
    gone_at: Option<BootTime>,
    told_at: BootTime,
    owed: Option<Change>,
}

impl Known {
    pub(super) fn new(heard: Heard, now: BootTime) -> Self {
        Self {
            paths: vec![heard.path],
            boot_id: heard.boot_id,
            old_boot_id: None,
            next_boot_id: None,
            config_id: heard.config_id,
            server: heard.server.map(Into::into),
            gone_at: None,
            told_at: now,
            owed: None,
        }
    }

    pub(super) fn in_use(&self) -> &Path {
        &self.paths[0]
    }

    pub(super) fn paths_mut(&mut self) -> impl Iterator<Item = &mut Path> {
        self.paths.iter_mut()
    }

    pub(super) fn path_from(&self, interface: InterfaceId, ip: IpAddr) -> Option<&Path> {
        self.paths.iter().find(|p| p.is_from(interface, ip))
    }

    pub(super) fn sighting(&self, udn: &Udn) -> Sighting {
        let path = self.in_use();
        Sighting {
            udn: udn.clone(),
            location: path.location.clone(),
            interface: path.interface,
            local: path.local,
            boot_id: self.boot_id,
            config_id: self.config_id,
            server: self.server.as_deref().map(str::to_owned),
        }
    }

    /// Takes a sign of life and says what it changes.
    pub(super) fn hear(&mut self, heard: Heard, now: BootTime) -> Option<Change> {
        let late = |(old, ended): (u32, BootTime)| heard.boot_id == Some(old) && now.since(ended) < LATE_COPIES;
        if self.old_boot_id.is_some_and(late) {
            return None;
        }
        let was_leaving = self.gone_at.take().is_some();
        let new_boot = heard.boot_id.is_some() && self.boot_id.is_some() && heard.boot_id != self.boot_id;
        let expected = heard.boot_id == self.next_boot_id;
        let new_config = heard.config_id.is_some() && self.config_id.is_some() && heard.config_id != self.config_id;
        // A device without BOOTID can tell of a restart in no other way than by leaving and coming back.
        let came_back = was_leaving && heard.boot_id.is_none();
        let rebooted = (new_boot && !expected) || new_config || came_back;
        if new_boot {
            self.old_boot_id = self.boot_id.map(|old| (old, now));
            self.next_boot_id = None;
            for path in &mut self.paths {
                path.expires = path.expires.min(now + OTHER_PATHS_CONFIRM);
            }
        }
        self.boot_id = heard.boot_id.or(self.boot_id);
        self.config_id = heard.config_id.or(self.config_id);
        if let Some(server) = heard.server
            && self.server.as_deref() != Some(server.as_str())
        {
            self.server = Some(server.into());
        }
        let moved = self.hear_path(heard.path, rebooted, now);
        if rebooted { Some(Change::Rebooted) } else { moved }
    }

    /// Keeps the path it was heard by, and decides whether it becomes the one in use.
    fn hear_path(&mut self, path: Path, rebooted: bool, now: BootTime) -> Option<Change> {
        let heard_by = self.paths.iter().position(|p| p.is_from(path.interface, path.location.address().ip()));
        let in_use = self.in_use();
        let replaces = match heard_by {
            Some(0) => false,
            // A second address of the same kind, never heard of: the device has moved. If the old one is heard of again, it
            // has two, and stays where it is.
            None => rebooted || !in_use.is_alive(now) || in_use.is_alike(&path),
            Some(_) => rebooted || !in_use.is_alive(now),
        };
        let before = (in_use.location.clone(), in_use.interface, in_use.local);
        match heard_by {
            Some(at) => self.paths[at] = path,
            None => {
                if self.paths.len() >= SSDP_PATHS_MAX {
                    let oldest = (1..self.paths.len()).min_by_key(|i| self.paths[*i].expires);
                    oldest.map(|i| self.paths.remove(i));
                }
                self.paths.push(path);
            }
        }
        if replaces {
            let at = heard_by.unwrap_or(self.paths.len() - 1);
            self.paths.swap(0, at);
        }
        let in_use = self.in_use();
        let after = (&in_use.location, in_use.interface, in_use.local);
        ((&before.0, before.1, before.2) != after).then_some(Change::Moved)
    }

    /// `ssdp:update`: from `boot_id` to `next`.
    pub(super) fn expect_boot_id(&mut self, boot_id: Option<u32>, next: u32) {
        let ours = boot_id.is_none() || self.boot_id.is_none() || boot_id == self.boot_id;
        if ours && self.boot_id != Some(next) {
            self.next_boot_id = Some(next);
        }
    }

    /// `ssdp:byebye`.
    pub(super) fn leave(&mut self, now: BootTime) {
        self.gone_at.get_or_insert(now + BYEBYE_SETTLES);
    }

    /// Moves to a path that works when the one in use does not.
    pub(super) fn prefer_usable(&mut self, now: BootTime) -> Option<Change> {
        if self.in_use().is_alive(now) {
            return None;
        }
        let other = self.paths.iter().position(|p| p.is_alive(now))?;
        self.paths.swap(0, other);
        Some(Change::Moved)
    }

    /// Lets no path expire before `until`.
    pub(super) fn keep_until(&mut self, until: BootTime) {
        for path in &mut self.paths {
            path.expires = path.expires.max(until);
        }
    }

    /// The event of a change: now, or, when the last one is too fresh, later from [`Self::settle`].
    pub(super) fn tell(&mut self, udn: &Udn, change: Change, now: BootTime) -> Option<TrackerEvent> {
        if now < self.told_at + EVENT_EVERY {
            self.owed = self.owed.max(Some(change));
            return None;
        }
        let change = self.owed.take().map_or(change, |owed| owed.max(change));
        self.told_at = now;
        let sighting = self.sighting(udn);
        Some(match change {
            Change::Moved => TrackerEvent::Moved(sighting),
            Change::Rebooted => TrackerEvent::Rebooted(sighting),
        })
    }

    /// When [`Self::settle`] is due.
    pub(super) fn deadline(&self) -> Option<BootTime> {
        let owed = self.owed.map(|_| self.told_at + EVENT_EVERY);
        earliest(Some(self.in_use().expires), earliest(self.gone_at, owed))
    }

    /// Does what is due: an event that is owed, a move to another path, or the end.
    pub(super) fn settle(&mut self, udn: &Udn, now: BootTime) -> Result<Option<TrackerEvent>, GoneWhy> {
        if self.gone_at.is_some_and(|at| at <= now) {
            return Err(GoneWhy::ByeBye);
        }
        let mut change = None;
        if self.in_use().expires <= now {
            self.paths.retain(|p| p.expires > now);
            if self.paths.is_empty() {
                return Err(GoneWhy::Expired);
            }
            // One that leads somewhere, if there is one.
            let usable = self.paths.iter().position(|p| p.usable).unwrap_or(0);
            self.paths.swap(0, usable);
            change = Some(Change::Moved);
        }
        if now >= self.told_at + EVENT_EVERY {
            change = change.max(self.owed);
        }
        Ok(change.and_then(|change| self.tell(udn, change, now)))
    }
}
