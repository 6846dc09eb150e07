//! What the firewall sees around it: network, tables of others, who is connected by SSH; and the shape it makes of that. IO.

use std::collections::BTreeSet;
use std::net::IpAddr;

use upnp_net::{NetworkWatch, TablesWatch};

use super::deadman::Phase;
use super::settings::Ssh;
use super::shape::detect;
use super::{Firewall, ssh, state};
use crate::limits::FIREWALL_SSH_SOURCES_MAX;

impl Firewall {
    /// Sees the network and the tables change, where they are not watched already.
    pub(super) fn watch_all(&mut self) {
        if self.watch.is_none() {
            self.open_watch();
        }
        if self.tables.is_none() {
            self.open_tables_watch();
        }
    }

    /// Watches the network from now on.
    pub(super) fn open_watch(&mut self) {
        self.watch = NetworkWatch::open()
            .inspect_err(|error| tracing::warn!(%error, "the firewall does not see changes of the network"))
            .ok();
    }

    /// Watches the kernel's tables from now on.
    pub(super) fn open_tables_watch(&mut self) {
        self.tables = TablesWatch::open()
            .inspect_err(
                |error| tracing::warn!(%error, "that the firewall's table is gone is seen after a minute only"),
            )
            .ok();
    }

    /// Reads addresses, routes and interfaces as they are now.
    pub(super) fn read_network(&mut self) {
        match state::facts() {
            Ok(facts) => self.facts = facts,
            Err(error) => tracing::warn!(%error, "the network cannot be read; the firewall stays as it is"),
        }
    }

    /// The shape that fits settings and network now.
    pub(super) fn shape_anew(&mut self) {
        let settings = self.dead_man.in_force();
        let shape = detect(&settings, &self.facts, &self.seen);
        self.ssh_ports = ssh::ports(&settings.ssh_ports);
        self.ssh_trouble = ssh::trouble();
        if shape != self.shape {
            tracing::info!(router = shape.router, wan = ?shape.wan, lan = ?shape.lan, why = shape.why, "shape of the firewall");
        }
        let other = (shape.router, &shape.wan) != (self.shape.router, &self.shape.wan);
        self.seen = shape.remember(&self.facts, &self.seen);
        self.shape = shape;
        if other {
            self.keep_ssh_sources();
        }
        if matches!(self.dead_man.phase(), Phase::Confirmed | Phase::RolledBack)
            && self.dead_man.note(self.seen.clone(), self.ssh.clone())
        {
            self.store();
        }
    }

    /// The shape in a few words.
    pub(super) fn shape_text(&self) -> String {
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(" ");
        match self.shape.router {
            true => format!("router, WAN {}, LAN {}", list(&self.shape.wan), list(&self.shape.lan)),
            false => format!("host, LAN {}", list(&self.shape.lan)),
        }
    }

    /// From where somebody is connected by SSH who would not be let in anyway.
    pub(super) fn open_ssh(&self) -> BTreeSet<IpAddr> {
        let settings = self.dead_man.in_force();
        if settings.ssh == Ssh::Lan {
            return BTreeSet::new();
        }
        ssh::sources(&ssh::ports(&settings.ssh_ports), &self.shape.prefixes).unwrap_or_else(|error| {
            tracing::warn!(%error, "open SSH connections cannot be listed");
            BTreeSet::new()
        })
    }

    /// Who is connected now stays allowed beside those who were at the last change.
    pub(super) fn keep_ssh_sources(&mut self) {
        let open = self.open_ssh();
        for source in open {
            if self.ssh.len() < FIREWALL_SSH_SOURCES_MAX {
                self.ssh.insert(source);
            }
        }
    }
}
