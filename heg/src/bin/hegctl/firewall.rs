//! `hegctl firewall`: what it asks, and what people read of the answer.

use std::io;

use clap::Subcommand;
use heg::api::firewall::{FirewallView, PlanView};

use crate::output::{Output, Pairs, line, print, table};

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show the rules in place, what they dropped, and whether a change waits (also without a word)
    Status,
    /// Show what applying the configuration file would do, changing nothing
    Plan,
    /// Put the configuration file's firewall section in force; taken back after a minute unless confirmed
    Apply {
        /// Confirm it at once, as a script that can't be cut off does
        #[arg(long)]
        confirmed: bool,
    },
    /// Let a change stay
    Confirm,
    /// Take all rules of the gateway's away, until they are applied again; back after a minute unless confirmed
    Off {
        /// Confirm it at once, whatever else waits to be confirmed
        #[arg(long)]
        confirmed: bool,
    },
}

impl Verb {
    /// The path that changes something; none for those that show.
    pub(crate) fn order(self) -> Option<&'static str> {
        match self {
            Self::Status | Self::Plan => None,
            Self::Apply { confirmed: false } => Some("/v1/firewall/apply"),
            Self::Apply { confirmed: true } => Some("/v1/firewall/apply?confirmed=true"),
            Self::Confirm => Some("/v1/firewall/confirm"),
            Self::Off { confirmed: false } => Some("/v1/firewall/off"),
            Self::Off { confirmed: true } => Some("/v1/firewall/off?confirmed=true"),
        }
    }
}

pub(crate) fn status(_: &Output, f: &FirewallView) -> io::Result<()> {
    let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(" ") };
    let mut pairs = Pairs::default();
    pairs.add("Firewall", f.state.replace('-', " "));
    if f.state != "off" {
        pairs.add("Shape", format!("{}: {}", f.shape, f.why));
        pairs.add("WAN", list(&f.wan));
        pairs.add("LAN", list(&f.lan));
        if !f.inner.is_empty() {
            pairs.add("Own networks", list(&f.inner));
        }
        pairs.add("Networks", list(&f.networks));
        pairs.maybe("HTTP port", f.http_port);
        pairs.add("Appliances", f.appliances);
        if !f.utility.is_empty() {
            pairs.add("Utility", list(&f.utility));
        }
        if !f.ssh_sources.is_empty() {
            pairs.add("SSH from WAN", list(&f.ssh_sources));
        }
    }
    pairs.add("Last change", f.change.replace('-', " "));
    if let Some(seconds) = f.confirm_within_s {
        pairs.add("CONFIRM", format!("within {seconds} s by `hegctl firewall confirm`, or the change is taken back"));
    }
    if let Some(trouble) = &f.trouble {
        pairs.add("TROUBLE", trouble);
    }
    pairs.print()?;
    if f.dropped.is_empty() {
        return Ok(());
    }
    let mut dropped = table(["DROPPED", "PACKETS", "BYTES"]);
    for d in &f.dropped {
        dropped.add_row([d.what.clone(), d.packets.to_string(), d.bytes.to_string()]);
    }
    line("")?;
    print(&dropped)
}

pub(crate) fn plan(_: &Output, plan: &PlanView) -> io::Result<()> {
    for text in &plan.lines {
        line(text)?;
    }
    line(if plan.changes { "\n`hegctl firewall apply` puts this in force." } else { "\nThis is in force." })
}
