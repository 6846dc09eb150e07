//! What the firewall says of itself: status, plan, metrics, and what is not well.

use std::collections::BTreeSet;

use daemon_kit::control::ControlRequest;
use upnp::time::BootTime;

use super::deadman::Phase;
use super::ruleset::{self, Counts, Feature, Plan};
use super::settings::Mode;
use super::shape::{Facts, detect};
use super::{Firewall, describe, ssh, state};
use crate::api::firewall::{DropView, FirewallView, PlanView};

impl Firewall {
    /// What a person should know, for status and service manager.
    pub fn trouble(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.is_off() {
            let waits = matches!(self.dead_man.phase(), Phase::Applying | Phase::Waiting(_));
            let wanted = self.configured.mode != Mode::Off && !waits;
            let how = if wanted { "; `hegctl firewall apply` puts it in place" } else { "" };
            parts.push(format!("firewall off{how}"));
            if let Some(why) = self.failure.as_ref().filter(|_| self.to_be_removed) {
                parts.push(format!("its rules are still in place: {why}"));
            }
        } else if self.in_kernel.is_none() {
            let why = self.failure.as_deref().unwrap_or("not tried yet");
            parts.push(format!("firewall not in place, so only private addresses are used: {why}"));
            if self.unguarded {
                parts.push("what else this machine serves is not guarded toward the Internet until then".to_owned());
            }
        } else if let Some(why) = &self.failure {
            parts.push(format!("firewall not brought up to date: {why}"));
        } else if self.shape.lan.is_empty() {
            let how = "name it in firewall.lan-interfaces";
            parts.push(format!("the firewall sees no interface of a home, so nobody reaches the gateway; {how}"));
        }
        match self.dead_man.phase() {
            Phase::Applying | Phase::Waiting(_) => {
                parts.push("a change of the firewall waits for `hegctl firewall confirm`".to_owned());
            }
            Phase::RolledBack => {
                parts.push(format!("a change of the firewall was taken back: {}", self.rolled_back));
            }
            Phase::Confirmed if self.differs() => {
                parts.push("the firewall's settings were changed, `hegctl firewall apply` takes them over".to_owned());
            }
            Phase::Confirmed => {}
        }
        if self.in_kernel.as_ref().is_some_and(|k| k.plan.keeps_ssh()) {
            parts.extend(self.ssh_trouble.clone());
        }
        parts.extend(self.forwarding_trouble.clone());
        parts.extend(self.lacks().map(|lack| format!("firewall with {lack}, which this kernel lacks")));
        parts.extend(self.not_stored.clone());
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// The rules in a few words, where they are in place.
    pub fn summary(&self) -> Option<String> {
        self.in_kernel.as_ref().map(|_| format!("firewall as {}", self.shape_text()))
    }

    fn lacks(&self) -> impl Iterator<Item = &'static str> + '_ {
        let features =
            self.in_kernel.as_ref().map(|k| (&k.features, k.plan.settings.masquerade && k.plan.shape.router));
        Feature::ALL.into_iter().filter_map(move |feature| {
            let (have, masquerade) = features?;
            let wanted = feature != Feature::Masquerade || masquerade;
            (wanted && !have.contains(&feature)).then(|| feature.lack())
        })
    }

    pub(super) fn view(&self, now: BootTime) -> FirewallView {
        let plan = self.in_kernel.as_ref().map(|k| &k.plan);
        let shape = plan.map_or(&self.shape, |p| &p.shape);
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect();
        let phase = match self.dead_man.phase() {
            Phase::Confirmed => "confirmed",
            Phase::Applying | Phase::Waiting(_) => "waiting",
            Phase::RolledBack => "rolled-back",
        };
        FirewallView {
            state: match (self.is_off(), plan) {
                (true, _) => "off",
                (false, Some(_)) => "in-place",
                (false, None) => "not-in-place",
            }
            .to_owned(),
            shape: if shape.router { "router" } else { "host" }.to_owned(),
            why: shape.why.clone(),
            change: phase.to_owned(),
            confirm_within_s: match self.dead_man.phase() {
                Phase::Waiting(until) => Some(until.since(now).as_secs()),
                Phase::Applying => Some(self.dead_man.confirm_within().as_secs()),
                Phase::Confirmed | Phase::RolledBack => None,
            },
            wan: list(&shape.wan),
            lan: list(&shape.lan),
            inner: shape.inner.iter().filter(|name| self.is_there(name)).cloned().collect(),
            networks: shape.prefixes.iter().map(ToString::to_string).collect(),
            http_port: self.http_port,
            appliances: plan.map_or(0, |p| p.appliances.len()),
            utility: plan.map(|p| p.utility.iter().map(ToString::to_string).collect()).unwrap_or_default(),
            ssh_sources: plan.map(|p| p.ssh.iter().map(ToString::to_string).collect()).unwrap_or_default(),
            dropped: plan.map(|p| self.drops(p)).unwrap_or_default(),
            trouble: self.trouble(),
        }
    }

    /// The rules keep names of the home that may come back; people are told of what there is.
    fn is_there(&self, name: &str) -> bool {
        self.facts.links.iter().any(|link| link.name == name)
    }

    fn drops(&self, plan: &Plan) -> Vec<DropView> {
        let drop = |(name, what): (&str, &str)| {
            let count = self.counts.get(name).copied().unwrap_or_default();
            DropView { name: name.to_owned(), what: what.to_owned(), packets: count.packets, bytes: count.bytes }
        };
        plan.counters().map(drop).collect()
    }

    pub(super) fn plan_view(&self) -> PlanView {
        let facts = self.facts_now();
        let shape = detect(&self.configured, &facts, &self.seen.when_applied(&self.configured, &facts));
        let plan = Plan {
            shape,
            settings: self.configured.clone(),
            http_port: self.http_port,
            sealed_port: self.sealed_port,
            appliances: self.appliances.clone(),
            ssh: self.open_ssh(),
            ssh_ports: ssh::ports(&self.configured.ssh_ports),
            utility: self.utility.clone(),
        };
        let off = self.configured.mode == Mode::Off;
        let same = match &self.in_kernel {
            Some(kernel) => !off && kernel.plan == plan,
            None => off && self.is_off(),
        };
        let rules =
            if off { ruleset::removal() } else { plan.replacement(&Feature::ALL.into(), &Counts::new(), "made") };
        PlanView {
            changes: !same,
            lines: describe::lines(&plan, facts.forwarding),
            rules: serde_json::from_str(&rules).unwrap_or_default(),
        }
    }

    fn facts_now(&self) -> Facts {
        state::facts().unwrap_or_else(|_| self.facts.clone())
    }

    /// Whether the rules are in place.
    pub fn is_in_place(&self) -> bool {
        self.in_kernel.is_some()
    }

    /// What was dropped as last read: reason, packets, bytes.
    pub fn dropped(&self) -> Vec<(&'static str, u64, u64)> {
        let count = |name: &str| self.counts.get(name).copied().unwrap_or_default();
        let plan = self.in_kernel.as_ref().map(|k| &k.plan);
        let counters = plan.into_iter().flat_map(Plan::counters);
        counters.map(|(name, _)| (name, count(name).packets, count(name).bytes)).collect()
    }

    /// The next request for metrics whose counters are fresh.
    pub fn poll_scrape(&mut self) -> Option<ControlRequest> {
        self.scrapes.pop_front()
    }
}
