//! Packets and bytes on the lab's wire, counted by phase of a story and by kind.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use testkit::lab::frame::Payload;
use testkit::lab::{Frame, Lab, Mark, Watcher, wait_until};

use crate::limits::{QUIET, QUIET_S_MAX};

/// What a frame is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Announcements, searches and their answers (UDP 1900).
    Discovery,
    /// Descriptions, actions, subscriptions and events (TCP).
    Http,
    /// Events to a multicast group (UDP 7900).
    MulticastEvent,
    /// Magic packets.
    Wake,
    /// Address resolution, router and group messages: the network's own.
    Network,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Discovery, Kind::Http, Kind::MulticastEvent, Kind::Wake, Kind::Network];

    fn of(frame: &Frame) -> Kind {
        if frame.magic_packet().is_some() {
            return Kind::Wake;
        }
        match frame.payload() {
            Payload::Udp { from, to, .. } if from.port() == 1900 || to.port() == 1900 => Kind::Discovery,
            Payload::Udp { to, .. } if to.port() == 7900 => Kind::MulticastEvent,
            // Answers to a search go from any port to any port.
            Payload::Udp { data, .. } if data.starts_with(b"HTTP/1.1 ") => Kind::Discovery,
            Payload::Tcp { .. } => Kind::Http,
            Payload::Udp { .. } | Payload::Other { .. } => Kind::Network,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Kind::Discovery => "SSDP",
            Kind::Http => "HTTP",
            Kind::MulticastEvent => "multicast event",
            Kind::Wake => "magic packet",
            Kind::Network => "ARP, ICMPv6",
        }
    }
}

/// One phase's counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Phase {
    name: String,
    took: Duration,
    /// Frames and their bytes with Ethernet header, by kind.
    counts: BTreeMap<Kind, (usize, usize)>,
}

impl Phase {
    /// Frames sent by any host.
    pub fn packets(&self) -> usize {
        self.counts.values().map(|(packets, _)| packets).sum()
    }

    /// Their bytes, Ethernet headers included.
    pub fn bytes(&self) -> usize {
        self.counts.values().map(|(_, bytes)| bytes).sum()
    }
}

/// A story's traffic.
#[derive(Debug)]
pub struct Traffic {
    watcher: Arc<Watcher>,
    mark: Mark,
    began: Instant,
    phases: Vec<Phase>,
}

impl Traffic {
    /// Counts from now on.
    pub fn new(lab: &Lab) -> Traffic {
        let watcher = Arc::clone(lab.watcher());
        Traffic { mark: watcher.mark(), watcher, began: Instant::now(), phases: Vec::new() }
    }

    /// Ends a phase, once the wire has been quiet for [`QUIET`], so that announcements which take their time count where
    /// they belong.
    ///
    /// # Errors
    /// When the wire is never quiet that long within [`QUIET_S_MAX`].
    pub fn phase(&mut self, name: &str) -> Result<Phase> {
        let worked = self.began.elapsed();
        let (mut last, mut since) = (self.watcher.mark(), Instant::now());
        wait_until(&format!("a quiet wire after {name}"), QUIET_S_MAX, || {
            let now = self.watcher.mark();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            (since.elapsed() >= QUIET).then_some(())
        })?;
        let end = self.watcher.mark();
        let frames = self.watcher.between(self.mark, end);
        let mut phase = Phase { name: name.to_owned(), took: worked, counts: BTreeMap::new() };
        for frame in &frames {
            let count = phase.counts.entry(Kind::of(frame)).or_default();
            *count = (count.0 + 1, count.1 + frame.bytes.len());
        }
        self.mark = end;
        self.began = Instant::now();
        self.phases.push(phase.clone());
        Ok(phase)
    }

    /// All phases as a table: packets / bytes.
    pub fn table(&self) -> String {
        let mut table = format!("{:<24}{:>8}", "phase", "time");
        for kind in Kind::ALL {
            let _infallible = write!(table, "{:>17}", kind.word());
        }
        let _infallible = writeln!(table, "{:>17}", "all");
        for phase in &self.phases {
            let _infallible = write!(table, "{:<24}{:>6.1} s", phase.name, phase.took.as_secs_f64());
            for kind in Kind::ALL {
                let (packets, bytes) = phase.counts.get(&kind).copied().unwrap_or_default();
                let _infallible = write!(table, "{:>17}", format!("{packets} / {bytes}"));
            }
            let _infallible = writeln!(table, "{:>17}", format!("{} / {}", phase.packets(), phase.bytes()));
        }
        table.push_str("(packets / bytes with Ethernet headers, as sent by all hosts together)");
        table
    }
}
