//! Helpers: virtual time, interfaces, machines run to a point in time with everything they sent.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use upnp::Effect;
use upnp::ids::{TypeUrn, Udn};
use upnp::net::{Channel, Datagram, Interface, InterfaceAddress, InterfaceId, Transmit};
use upnp::ssdp::{Advertiser, AdvertiserConfig, Announced, Target, Tracker, TrackerConfig, TrackerEvent};
use upnp::time::BootTime;

pub(crate) const DEVICE: &str = "uuid:4f2b7c1e-9d35-4a86-b0c7-2e61f8d94a03";
pub(crate) const APPLIANCE: &str = "urn:heg-energy-org:device:ManagedAppliance:1";
pub(crate) const POWER: &str = "urn:heg-energy-org:service:PowerManagement:1";
pub(crate) const SERVER: &str = "Linux/6.1.0-28-amd64 UPnP/1.1 psm-agent/0.1.0";

pub(crate) fn at(ms: u64) -> BootTime {
    BootTime::from_duration(Duration::from_millis(ms))
}

pub(crate) fn ms(time: BootTime) -> u64 {
    time.since_boot().as_millis() as u64
}

pub(crate) fn urn(s: &str) -> TypeUrn {
    TypeUrn::parse(s).unwrap()
}

pub(crate) fn interface(id: u32, addresses: &[&str]) -> Interface {
    let addresses = addresses
        .iter()
        .map(|a| {
            let (address, len) = a.split_once('/').unwrap();
            InterfaceAddress { address: address.parse().unwrap(), prefix_len: len.parse().unwrap() }
        })
        .collect();
    Interface { id: InterfaceId(id), name: format!("eth{id}"), addresses }
}

/// The usual house: IPv4 only, network 10.88.0.0/24, this host .1.
pub(crate) fn lan() -> Vec<Interface> {
    vec![interface(2, &["10.88.0.1/24"])]
}

pub(crate) fn dual_stack() -> Vec<Interface> {
    vec![interface(2, &["10.88.0.1/24", "fe80::1/64", "2001:db8::1/64"])]
}

pub(crate) fn datagram(from: &str, multicast: bool, text: &str) -> Datagram {
    Datagram {
        interface: InterfaceId(2),
        channel: Channel::Ssdp,
        multicast,
        from: from.parse().unwrap(),
        payload: Bytes::from(text.to_owned()),
    }
}

/// A head with proper line ends.
pub(crate) fn head(lines: &[&str]) -> String {
    lines.join("\r\n") + "\r\n\r\n"
}

/// A sent datagram with the time it left.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: BootTime,
    pub(crate) transmit: Transmit,
}

impl Sent {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.transmit.payload).unwrap()
    }

    /// The value of a header; `None` where it is missing.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let value = |line: &'_ str| line.split_once(": ").filter(|(n, _)| *n == name).is_some();
        self.text().split("\r\n").find(|l| value(l)).and_then(|l| l.split_once(": ")).map(|(_, v)| v)
    }

    pub(crate) fn is(&self, nts: &str) -> bool {
        self.header("NTS") == Some(nts)
    }

    pub(crate) fn is_answer(&self) -> bool {
        self.text().starts_with("HTTP/1.1 200 OK\r\n")
    }

    pub(crate) fn to(&self) -> SocketAddr {
        self.transmit.to
    }
}

fn sent(effect: Effect, at: BootTime) -> Sent {
    match effect {
        Effect::Send(transmit) => Sent { at, transmit },
        other => panic!("SSDP only sends datagrams: {other:?}"),
    }
}

pub(crate) fn config() -> AdvertiserConfig {
    AdvertiserConfig {
        root: Announced {
            udn: Udn::parse(DEVICE).unwrap(),
            device_type: urn(APPLIANCE),
            service_types: vec![urn(POWER), urn("urn:heg-energy-org:service:ApplianceInfo:1")],
        },
        embedded: Vec::new(),
        http_port: 49_152,
        description_path: "/description.xml".into(),
        server: SERVER.into(),
        max_age: Duration::from_secs(1800),
        boot_id: 7,
        config_id: 4711,
        seed: 1,
    }
}

/// An advertiser with its clock and everything it has sent.
pub(crate) struct Device {
    pub(crate) machine: Advertiser,
    pub(crate) now: BootTime,
    pub(crate) sent: Vec<Sent>,
}

impl Device {
    pub(crate) fn new(config: AdvertiserConfig, interfaces: &[Interface]) -> Self {
        let mut device = Self { machine: Advertiser::new(config, at(0)), now: at(0), sent: Vec::new() };
        device.interfaces(interfaces);
        device
    }

    /// Started and past its first announcements, what it sent forgotten.
    pub(crate) fn settled(config: AdvertiserConfig, interfaces: &[Interface]) -> Self {
        let mut device = Self::new(config, interfaces);
        device.run(5_000);
        device.sent.clear();
        device
    }

    pub(crate) fn interfaces(&mut self, interfaces: &[Interface]) {
        self.machine.handle_interfaces(interfaces, self.now);
        self.collect();
    }

    pub(crate) fn receive(&mut self, datagram: &Datagram) {
        self.machine.handle_datagram(datagram, self.now);
        self.collect();
    }

    pub(crate) fn stop(&mut self) {
        self.machine.stop(self.now);
        self.collect();
    }

    pub(crate) fn resumed(&mut self) {
        self.machine.resumed(self.now);
        self.collect();
    }

    /// Lets `ms` milliseconds pass, wake-up by wake-up.
    pub(crate) fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.machine.handle_timeout(self.now);
            self.collect();
        }
        self.now = end;
    }

    fn collect(&mut self) {
        while let Some(effect) = self.machine.poll_effect() {
            self.sent.push(sent(effect, self.now));
        }
    }

    pub(crate) fn answers(&self) -> Vec<&Sent> {
        self.sent.iter().filter(|s| s.is_answer()).collect()
    }
}

pub(crate) fn tracker_config(targets: &[&str]) -> TrackerConfig {
    TrackerConfig {
        targets: targets.iter().map(|t| Target::parse(t).unwrap()).collect(),
        user_agent: "Linux/6.1 UPnP/1.1 heg/0.1.0".into(),
        mx: 3,
        search_every: Duration::from_secs(900),
        seed: 1,
    }
}

/// A tracker with its clock, the events it gave and everything it has sent.
pub(crate) struct Watcher {
    pub(crate) machine: Tracker,
    pub(crate) now: BootTime,
    pub(crate) events: Vec<TrackerEvent>,
    pub(crate) sent: Vec<Sent>,
}

impl Watcher {
    pub(crate) fn new(targets: &[&str], interfaces: &[Interface]) -> Self {
        Self::with(tracker_config(targets), interfaces)
    }

    pub(crate) fn with(config: TrackerConfig, interfaces: &[Interface]) -> Self {
        let machine = Tracker::new(config, at(0));
        let mut watcher = Self { machine, now: at(0), events: Vec::new(), sent: Vec::new() };
        watcher.interfaces(interfaces);
        watcher
    }

    pub(crate) fn interfaces(&mut self, interfaces: &[Interface]) {
        self.machine.handle_interfaces(interfaces, self.now);
        self.collect();
    }

    pub(crate) fn receive(&mut self, datagram: &Datagram) {
        self.machine.handle_datagram(datagram, self.now);
        self.collect();
    }

    pub(crate) fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.machine.handle_timeout(self.now);
            self.collect();
        }
        self.now = end;
    }

    /// Lets `ms` milliseconds pass in one leap, as a suspended machine sees it.
    pub(crate) fn sleep(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        self.machine.handle_timeout(self.now);
        self.collect();
    }

    /// The events since the last call, as short text: kind, UDN's first letters are left out, LOCATION and our address.
    pub(crate) fn news(&mut self) -> Vec<String> {
        self.events.drain(..).map(|event| short(&event)).collect()
    }

    fn collect(&mut self) {
        while let Some(event) = self.machine.poll_event() {
            self.events.push(event);
        }
        while let Some(effect) = self.machine.poll_effect() {
            self.sent.push(sent(effect, self.now));
        }
    }
}

/// `appeared http://10.88.0.5:49152/d.xml`, `gone Expired`.
pub(crate) fn short(event: &TrackerEvent) -> String {
    match event {
        TrackerEvent::Appeared(s) => format!("appeared {}", s.location),
        TrackerEvent::Rebooted(s) => format!("rebooted {}", s.location),
        TrackerEvent::Moved(s) => format!("moved {} from {}", s.location, s.local),
        TrackerEvent::Gone { why, .. } => format!("gone {why:?}"),
    }
}

/// What a device at `from` says, with the headers a test wants to vary.
#[derive(Clone)]
pub(crate) struct Says<'a> {
    pub(crate) udn: &'a str,
    pub(crate) nt: &'a str,
    pub(crate) from: &'a str,
    pub(crate) location: Option<&'a str>,
    pub(crate) max_age: Option<u32>,
    pub(crate) boot_id: Option<&'a str>,
    pub(crate) more: &'a [&'a str],
}

impl Default for Says<'_> {
    fn default() -> Self {
        Says {
            udn: DEVICE,
            nt: APPLIANCE,
            from: "10.88.0.5:1900",
            location: Some("http://10.88.0.5:49152/d.xml"),
            max_age: Some(1800),
            boot_id: Some("7"),
            more: &[],
        }
    }
}

impl Says<'_> {
    fn write(&self, start: &str, target: &str, nts: Option<&str>) -> String {
        let mut lines = vec![start.to_owned(), "HOST: 239.255.255.250:1900".to_owned()];
        lines.push(format!("{target}: {}", self.nt));
        lines.extend(nts.map(|nts| format!("NTS: {nts}")));
        lines.push(match self.nt {
            nt if nt.starts_with("uuid:") => format!("USN: {}", self.udn),
            nt => format!("USN: {}::{nt}", self.udn),
        });
        if nts != Some("ssdp:byebye") {
            lines.extend(self.location.map(|l| format!("LOCATION: {l}")));
            lines.extend(self.max_age.map(|a| format!("CACHE-CONTROL: max-age={a}")));
            lines.push("SERVER: Linux/5.10 UPnP/1.1 thing/1.0".to_owned());
        }
        lines.extend(self.boot_id.map(|b| format!("BOOTID.UPNP.ORG: {b}")));
        lines.extend(self.more.iter().map(|m| (*m).to_owned()));
        head(&lines.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub(crate) fn alive(&self) -> Datagram {
        datagram(self.from, true, &self.write("NOTIFY * HTTP/1.1", "NT", Some("ssdp:alive")))
    }

    pub(crate) fn byebye(&self) -> Datagram {
        datagram(self.from, true, &self.write("NOTIFY * HTTP/1.1", "NT", Some("ssdp:byebye")))
    }

    pub(crate) fn update(&self, next: u32) -> Datagram {
        let next = format!("NEXTBOOTID.UPNP.ORG: {next}");
        let says = Says { more: &[&next], ..self.clone() };
        datagram(self.from, true, &says.write("NOTIFY * HTTP/1.1", "NT", Some("ssdp:update")))
    }

    pub(crate) fn answer(&self) -> Datagram {
        datagram(self.from, false, &self.write("HTTP/1.1 200 OK", "ST", None))
    }
}

/// A datagram as a host on the same wire receives it from `source`.
pub(crate) fn carried(sent: &Sent, source: IpAddr) -> Datagram {
    Datagram {
        interface: InterfaceId(2),
        channel: sent.transmit.channel,
        multicast: sent.to().ip().is_multicast(),
        from: SocketAddr::new(source, 1900),
        payload: sent.transmit.payload.clone(),
    }
}

/// A tracker that has just seen one device, long enough ago for events to flow freely.
pub(crate) fn appeared() -> Watcher {
    let mut watcher = Watcher::new(&[APPLIANCE], &lan());
    watcher.receive(&Says::default().alive());
    watcher.run(5_000);
    assert_eq!(watcher.news(), ["appeared http://10.88.0.5:49152/d.xml"]);
    watcher
}
