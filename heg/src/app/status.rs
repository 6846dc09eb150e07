//! How the daemon stands: for `hegctl status`, the service manager and the page.

use upnp::ids::Udn;
use upnp::net::Interface;

use super::App;
use crate::api::{CommandView, EntryView, StatusView};
use crate::now::Now;
use crate::page::Page;

/// In the status line, for those who would have one.
const NO_UTILITY: &str = "no utility, `hegctl enrol TOKEN` joins one";

impl App {
    pub(super) fn status_line(&self, now: Now) -> String {
        let mut line = match self.home.gateway().registry().is_empty() {
            true => "no appliance found yet: install psm-agent on one, `hegctl appliances` shows it".to_owned(),
            false => self.home.gateway().status_line(),
        };
        let names: Vec<_> = self.interfaces.iter().map(|i| i.name.as_str()).collect();
        if !names.is_empty() {
            line += "; on ";
            line += &names.join(" ");
        }
        line += "; ";
        line += &self.home.utility().status(now).unwrap_or_else(|| NO_UTILITY.to_owned());
        if let Some(firewall) = self.firewall.summary() {
            line += "; ";
            line += &firewall;
        }
        if let Some(prices) = self.home.prices().status() {
            line += "; ";
            line += &prices;
        }
        for trouble in self.troubles() {
            line += "; ";
            line += &trouble;
        }
        line
    }

    pub(super) fn troubles(&self) -> Vec<String> {
        let mut troubles: Vec<_> = self.home.trouble().into_iter().collect();
        troubles.extend(self.client.trouble());
        troubles.extend(self.home.planner().troubles());
        let prices = self.home.prices();
        troubles.extend(prices.stale().into_iter().chain(prices.troubles()));
        troubles.extend(self.troubles.iter().cloned());
        if self.interfaces.is_empty() {
            troubles.push("no usable network interface".to_owned());
        }
        troubles.extend(self.firewall.trouble());
        troubles
    }

    pub(super) fn status(&self, now: Now) -> StatusView {
        let count = self.home.gateway().registry().count();
        let name_of = |udn: &Udn| match self.home.gateway().registry().get(udn) {
            Some(appliance) => self.home.gateway().name_of(appliance).to_owned(),
            None => udn.bare().to_owned(),
        };
        let address =
            |i: &Interface| i.addresses.iter().map(|a| format!("{} {}", i.name, a.address)).collect::<Vec<_>>();
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            udn: self.identity.0.to_string(),
            name: self.identity.1.clone(),
            status: self.status_line(now),
            interfaces: self.interfaces.iter().flat_map(address).collect(),
            http_port: self.net.http_port(),
            uptime_s: now.boot.since(self.started).as_secs(),
            time_zone: zone_name(self.home.gateway().zone(), now),
            on: count.on,
            off: count.off,
            standby: count.standby,
            unknown: count.unknown,
            registrations: self.home.gateway().registrations().iter().count(),
            subscribers: self.home.subscribers(),
            commands: self
                .home
                .gateway()
                .commands()
                .iter()
                .map(|c| CommandView {
                    udn: c.udn.to_string(),
                    name: name_of(&c.udn),
                    action: c.verb.action(),
                    cause: c.cause.to_string(),
                })
                .collect(),
            troubles: self.troubles(),
            notes: self.config.notes(),
            recent: self.recent.iter().map(|entry| EntryView::new(self.home.gateway(), entry)).collect(),
        }
    }

    pub(super) fn page(&self, now: Now) -> String {
        let recent: Vec<_> = self.recent.iter().cloned().collect();
        let status = self.status_line(now);
        let (udn, name) = (self.identity.0.as_str(), &self.identity.1);
        Page { name, udn, status: &status, gateway: self.home.gateway(), recent: &recent, now: now.wall }.html()
    }
}

fn zone_name(zone: &jiff::tz::TimeZone, now: Now) -> String {
    match zone.iana_name() {
        Some(name) => name.to_owned(),
        None if zone.to_offset(now.wall).is_zero() => "UTC".to_owned(),
        None => format!("UTC{}", zone.to_offset(now.wall)),
    }
}
