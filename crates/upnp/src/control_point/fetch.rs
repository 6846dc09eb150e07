//! Reading descriptions: which one next, how many at a time, and when again after a failure.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use super::{ControlPoint, ControlPointEvent, Device, Flight, KnownDevice, Stage, with_causes};
use crate::description::{Description, DescriptionError, DeviceDesc};
use crate::ids::Udn;
use crate::limits::{
    FETCH_BACKOFF_FIRST, FETCH_BACKOFF_MAX, FETCH_HOSTS_MAX, FETCH_WITHIN_AGAIN, FETCH_WITHIN_FIRST,
    FETCHES_IN_FLIGHT_MAX, FETCHES_PER_HOST_MAX, STATIC_FAILURES_MAX, XML_DESCRIPTION_BYTES_MAX,
};
use crate::net::HttpError;
use crate::request::request;
use crate::ssdp::{GoneWhy, Sighting};
use crate::time::BootTime;
use crate::url::HttpUrl;

/// Why a description was not read.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the device answered with status {0}")]
    Status(u16),
    #[error(transparent)]
    Description(#[from] DescriptionError),
    #[error("the description is of another device, {0}")]
    OtherDevice(Udn),
    #[error("no interface leads to it")]
    NoInterface,
}

/// A fetch in flight.
#[derive(Debug)]
pub(super) struct Fetching {
    whose: Whose,
    location: HttpUrl,
}

#[derive(Clone, Debug)]
enum Whose {
    Sighted {
        udn: Udn,
        epoch: u32,
    },
    /// Index into the configured devices.
    Static(usize),
}

/// A device from the configuration.
#[derive(Debug)]
pub(super) struct StaticDevice {
    location: HttpUrl,
    /// As its description said.
    udn: Option<Udn>,
    stage: Stage,
    failures: u8,
}

impl StaticDevice {
    pub(super) fn new(location: HttpUrl, now: BootTime) -> Self {
        Self { location, udn: None, stage: Stage::Wanted { due: now }, failures: 0 }
    }
}

/// Hosts descriptions are fetched from.
#[derive(Debug, Default)]
pub(super) struct Hosts(BTreeMap<IpAddr, Host>);

#[derive(Debug, Default)]
struct Host {
    in_flight: usize,
    timeouts: u8,
    not_before: BootTime,
}

impl Hosts {
    fn in_flight(&self, ip: IpAddr) -> usize {
        self.0.get(&ip).map_or(0, |h| h.in_flight)
    }

    fn not_before(&self, ip: IpAddr) -> BootTime {
        self.0.get(&ip).map_or(BootTime::ZERO, |h| h.not_before)
    }

    fn started(&mut self, ip: IpAddr, now: BootTime) {
        if self.0.len() >= FETCH_HOSTS_MAX {
            self.0.retain(|_, h| h.in_flight > 0 || h.not_before > now);
        }
        self.0.entry(ip).or_default().in_flight += 1;
    }

    fn done(&mut self, ip: IpAddr, timed_out: bool, now: BootTime, rng: &mut fastrand::Rng) {
        let Some(host) = self.0.get_mut(&ip) else {
            return;
        };
        host.in_flight = host.in_flight.saturating_sub(1);
        if timed_out {
            host.not_before = now + backoff(host.timeouts, rng);
            host.timeouts = host.timeouts.saturating_add(1);
        } else {
            host.timeouts = 0;
            host.not_before = BootTime::ZERO;
        }
        if host.in_flight == 0 && host.timeouts == 0 {
            self.0.remove(&ip);
        }
    }

    /// Every host may be asked at once.
    pub(super) fn forgive(&mut self) {
        self.0.retain(|_, h| h.in_flight > 0);
        for host in self.0.values_mut() {
            host.timeouts = 0;
            host.not_before = BootTime::ZERO;
        }
    }
}

impl ControlPoint {
    /// Fetches what is due while there are slots: devices the application knows first, then hosts with nothing in flight, then
    /// who failed least and has waited longest.
    pub(super) fn pump_fetches(&mut self, now: BootTime) {
        while self.slots.fetches < FETCHES_IN_FLIGHT_MAX {
            let only_fresh = self.slots.fetches >= FETCHES_IN_FLIGHT_MAX / 2;
            let next = self
                .fetches_wanted()
                .filter(|w| w.eligible_at(&self.hosts) <= now)
                .filter(|w| !only_fresh || w.failures == 0)
                .map(|w| (self.hosts.in_flight(w.location.address().ip()), w))
                .filter(|(in_flight, _)| *in_flight < FETCHES_PER_HOST_MAX)
                .min_by_key(|(in_flight, w)| (!w.told, *in_flight, w.failures, w.due));
            let Some((_, wanted)) = next else {
                return;
            };
            let location = wanted.location.clone();
            let within = if wanted.failures == 0 { FETCH_WITHIN_FIRST } else { FETCH_WITHIN_AGAIN };
            let whose = wanted.whose();
            self.fetch(whose, location, within, now);
        }
    }

    fn fetch(&mut self, whose: Whose, location: HttpUrl, within: Duration, now: BootTime) {
        match &whose {
            Whose::Sighted { udn, .. } => {
                if let Some(device) = self.devices.get_mut(udn) {
                    device.stage = Stage::Fetching;
                }
            }
            Whose::Static(index) => self.statics[*index].stage = Stage::Fetching,
        }
        self.hosts.started(location.address().ip(), now);
        self.slots.fetches += 1;
        let request = request("GET", &location, &[("USER-AGENT", &self.cfg.user_agent)], Bytes::new());
        let flight = Flight::Fetch(Fetching { whose, location: location.clone() });
        self.send(flight, &location, request, within, XML_DESCRIPTION_BYTES_MAX);
    }

    fn fetches_wanted(&self) -> impl Iterator<Item = Wanted<'_>> {
        let sighted = self.devices.iter().filter_map(|(udn, d)| match d.stage {
            Stage::Wanted { due } => Some(Wanted {
                source: Source::Sighted(udn, d.epoch),
                location: &d.sighting.location,
                due,
                failures: d.fetch_failures,
                told: d.known.is_some(),
            }),
            _ => None,
        });
        let configured = self.statics.iter().enumerate().filter_map(|(index, s)| match s.stage {
            Stage::Wanted { due } => Some(Wanted {
                source: Source::Static(index),
                location: &s.location,
                due,
                failures: s.failures,
                told: true,
            }),
            _ => None,
        });
        sighted.chain(configured)
    }

    /// When the next fetch comes due; those that wait for a slot are woken by an answer.
    pub(super) fn fetches_due(&self) -> Option<BootTime> {
        if self.stopping {
            return None;
        }
        let due = self.fetches_wanted().map(|w| w.eligible_at(&self.hosts));
        due.filter(|due| *due > self.pumped_at).min()
    }

    /// A fetch ended.
    pub(super) fn fetched(&mut self, fetching: Fetching, answer: Result<Response<Bytes>, HttpError>, now: BootTime) {
        let Fetching { whose, location } = fetching;
        self.slots.fetches -= 1;
        let timed_out = matches!(answer, Err(HttpError::Timeout));
        self.hosts.done(location.address().ip(), timed_out, now, &mut self.rng);
        if self.stopping {
            return;
        }
        let description = parse(answer, &location);
        match whose {
            Whose::Sighted { udn, epoch } => self.sighted_fetched(&udn, epoch, description, now),
            Whose::Static(index) => self.static_fetched(index, description, now),
        }
    }

    fn sighted_fetched(&mut self, udn: &Udn, epoch: u32, description: Result<Description, FetchError>, now: BootTime) {
        let Some(device) = self.devices.get_mut(udn).filter(|d| d.epoch == epoch) else {
            return; // it is gone, or is being fetched afresh
        };
        let known = description.and_then(|description| {
            let root = &description.root;
            let desc = find(root, udn).ok_or_else(|| FetchError::OtherDevice(root.udn.clone()))?;
            Ok(KnownDevice::new(&device.sighting, desc, &mut self.texts))
        });
        match known {
            Ok(known) => self.described(udn, Arc::new(known), now),
            Err(error) => {
                device.stage = Stage::Wanted { due: now + backoff(device.fetch_failures, &mut self.rng) };
                device.fetch_failures = device.fetch_failures.saturating_add(1);
                if device.fetch_failures == 1 {
                    device.told = true;
                    let error = with_causes(&error);
                    self.events.push_back(ControlPointEvent::DescriptionFailed { udn: udn.clone(), error });
                }
            }
        }
    }

    fn static_fetched(&mut self, index: usize, description: Result<Description, FetchError>, now: BootTime) {
        let read = description.and_then(|description| {
            let sighting = self.static_sighting(index, &description.root).ok_or(FetchError::NoInterface)?;
            let known = KnownDevice::new(&sighting, &description.root, &mut self.texts);
            Ok((sighting, known))
        });
        let configured = &mut self.statics[index];
        match read {
            Ok((sighting, known)) => {
                let udn = sighting.udn.clone();
                configured.stage = Stage::Ready;
                configured.failures = 0;
                configured.udn = Some(udn.clone());
                self.next_epoch = self.next_epoch.wrapping_add(1);
                let epoch = self.next_epoch;
                let device = self.devices.entry(udn.clone()).or_insert_with(|| {
                    let mut device = Device::new(sighting.clone(), epoch, now);
                    device.is_static = true;
                    device
                });
                // What SSDP says of a device is fresher than the configuration.
                if device.is_static {
                    device.sighting = sighting;
                    device.unreachable = false;
                    self.described(&udn, Arc::new(known), now);
                }
            }
            Err(error) => {
                configured.stage = Stage::Wanted { due: now + backoff(configured.failures, &mut self.rng) };
                configured.failures = configured.failures.saturating_add(1);
                if configured.failures == 1 {
                    let location = configured.location.clone();
                    self.events.push_back(ControlPointEvent::StaticFailed { location, error: with_causes(&error) });
                }
                let given_up = configured.udn.clone().filter(|_| configured.failures == STATIC_FAILURES_MAX);
                if let Some(udn) = given_up
                    && self.devices.get(&udn).is_some_and(|d| d.is_static)
                {
                    self.gone(&udn, GoneWhy::Expired, now);
                }
            }
        }
    }

    /// What SSDP would have said of a configured device.
    fn static_sighting(&self, index: usize, root: &DeviceDesc) -> Option<Sighting> {
        let location = &self.statics[index].location;
        let ip = location.address().ip();
        let neighbour = self.interfaces.iter().find(|i| i.is_neighbour(ip));
        // Behind a router: the first interface with an address of that family is the best guess.
        let interface = neighbour.or_else(|| self.interfaces.iter().find(|i| i.address_toward(ip).is_some()))?;
        Some(Sighting {
            udn: root.udn.clone(),
            location: location.clone(),
            interface: interface.id,
            local: interface.address_toward(ip)?,
            boot_id: None,
            config_id: None,
            server: None,
        })
    }

    /// Tries every configured device that is not there, now.
    pub(super) fn retry_statics(&mut self, now: BootTime) {
        for configured in &mut self.statics {
            if let Stage::Wanted { due } = &mut configured.stage {
                *due = now;
            }
        }
    }

    /// A configured device cannot be reached: is its description still there?
    pub(super) fn doubt_static(&mut self, udn: &Udn, now: BootTime) {
        for configured in self.statics.iter_mut().filter(|s| s.udn.as_ref() == Some(udn)) {
            if configured.stage == Stage::Ready {
                configured.stage = Stage::Wanted { due: now };
            }
        }
    }

    /// A device that is configured too was said to be gone.
    pub(super) fn look_for_static_again(&mut self, udn: &Udn, now: BootTime) {
        for configured in self.statics.iter_mut().filter(|s| s.udn.as_ref() == Some(udn)) {
            if configured.stage == Stage::Ready {
                configured.stage = Stage::Wanted { due: now + FETCH_BACKOFF_FIRST };
            }
        }
    }
}

/// A fetch that waits.
struct Wanted<'a> {
    source: Source<'a>,
    location: &'a HttpUrl,
    due: BootTime,
    failures: u8,
    told: bool,
}

enum Source<'a> {
    Sighted(&'a Udn, u32),
    Static(usize),
}

impl Wanted<'_> {
    fn eligible_at(&self, hosts: &Hosts) -> BootTime {
        self.due.max(hosts.not_before(self.location.address().ip()))
    }

    fn whose(&self) -> Whose {
        match self.source {
            Source::Sighted(udn, epoch) => Whose::Sighted { udn: udn.clone(), epoch },
            Source::Static(index) => Whose::Static(index),
        }
    }
}

fn parse(answer: Result<Response<Bytes>, HttpError>, location: &HttpUrl) -> Result<Description, FetchError> {
    let response = answer?;
    if !response.status().is_success() {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    Ok(Description::parse(response.body(), location)?)
}

/// The device of that name in a description, embedded ones included; letter case does not count.
fn find<'a>(desc: &'a DeviceDesc, udn: &Udn) -> Option<&'a DeviceDesc> {
    if desc.udn.as_str().eq_ignore_ascii_case(udn.as_str()) {
        return Some(desc);
    }
    desc.embedded.iter().find_map(|embedded| find(embedded, udn))
}

/// Time to wait after `failures` earlier ones in a row, less up to a quarter at random.
fn backoff(failures: u8, rng: &mut fastrand::Rng) -> Duration {
    let doubled = FETCH_BACKOFF_FIRST.saturating_mul(1 << failures.min(16)).min(FETCH_BACKOFF_MAX);
    let ms = u64::try_from(doubled.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(ms - rng.u64(0..=ms / 4))
}
