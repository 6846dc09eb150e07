//! `heg-gateway firewall baseline`, `take-back` and `remove`: the rules without the daemon. IO.
//!
//! The baseline closes the machine before its network is up: the shape that was seen last, our own ports open to the networks that
//! are there now, which at boot are none. The daemon opens them to the home when it comes.

use std::path::Path;

use anyhow::Context as _;
use daemon_kit::exit::Exit;

use super::deadman::DeadMan;
use super::forwarding::Forwarding;
use super::nft::{self, NftError};
use super::ruleset::{Counts, Plan};
use super::settings::Mode;
use super::shape::detect;
use super::{ssh, state};
use crate::config::Config;
use crate::limits::BASELINE_TRIES;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Put the rules in place.
    Baseline,
    /// Put those confirmed last in place, if a change waits that the daemon can no longer take back.
    TakeBack,
    /// Take our table away.
    Remove,
}

/// Does it.
///
/// # Errors
/// A configuration that is wrong (the rules are put in place all the same, by what was confirmed last or the defaults), or rules
/// that could not be put in place.
pub fn run(verb: Verb, named: Option<&Path>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(Exit::OsErr)?;
    runtime.block_on(async {
        match verb {
            Verb::Remove => {
                // Whether rules are left or not: with them it is safe, and without them it is what was asked for.
                let released = Forwarding::default().release();
                nft::remove().await.map_err(failed)?;
                released.map(drop).context("forwarding is still switched off").context(Exit::OsErr)
            }
            Verb::Baseline => baseline(named, false).await,
            Verb::TakeBack => baseline(named, true).await,
        }
    })?;
    Ok(Exit::Ok)
}

async fn baseline(named: Option<&Path>, only_taking_back: bool) -> anyhow::Result<()> {
    let (config, wrong) = match Config::load(named) {
        Ok(config) => (config, None),
        Err(error) => (Config::default(), Some(error)),
    };
    let (record, damage) = state::read(&config.state_dir().join(state::FILE));
    if only_taking_back && record.waiting.is_none() {
        return Ok(());
    }
    // Not written: the daemon takes a waiting change back for good, and says so in its journal.
    let dead_man = DeadMan::restore(record, &config.firewall);
    let settings = dead_man.in_force();
    if settings.mode != Mode::Off {
        let facts = state::facts().context("the network cannot be read").context(Exit::OsErr)?;
        let shape = detect(&settings, &facts, &dead_man.record().seen);
        let mut sources = dead_man.record().ssh.clone();
        let ssh_ports = ssh::ports(&settings.ssh_ports);
        sources.extend(ssh::sources(&ssh_ports, &shape.prefixes).unwrap_or_default());
        let plan = Plan {
            shape,
            http_port: (config.network.http_port != 0).then_some(config.network.http_port),
            ssh: sources,
            ssh_ports,
            settings,
            ..Plan::default()
        };
        let known = Counts::new();
        // A cold card at boot may be slow once; without rules a router has to stop forwarding.
        let mut made = nft::replace(&plan, "made_baseline", &known).await;
        for _ in 1..BASELINE_TRIES {
            if made.is_ok() {
                break;
            }
            made = nft::replace(&plan, "made_baseline", &known).await;
        }
        if let Err(error) = made {
            return Err(closed(&plan, failed(error)).await);
        }
        if Forwarding::default().release().context("forwarding is still switched off").context(Exit::OsErr)? {
            tracing::info!("the rules are in place, and forwarding is switched on again");
        }
    } else if nft::is_guarded().await {
        // Of a change that nobody confirmed, or of a daemon that ended before it had carried out what it was told.
        nft::remove().await.map_err(failed)?;
    }
    if let Some(why) = damage {
        tracing::warn!("{why}");
    }
    wrong.map_or(Ok(()), |error| {
        Err(error).context("the rules are in place by what was confirmed last, or the defaults")
    })
}

/// A router without rules would let the Internet through to the home, so it then forwards nothing. The gateway's daemon keeps to
/// private addresses by itself.
async fn closed(plan: &Plan, error: anyhow::Error) -> anyhow::Error {
    let forwarding = Forwarding::default();
    if !plan.shape.router || nft::is_guarded().await {
        return error;
    }
    match forwarding.hold() {
        Ok(_) => error.context("forwarding is switched off until the rules are in place"),
        Err(why) if !forwarding.is_on() => error.context(format!("forwarding is switched off for good: {why}")),
        Err(why) => error.context(format!("FORWARDING COULD NOT BE SWITCHED OFF: {why}")),
    }
}

fn failed(error: NftError) -> anyhow::Error {
    anyhow::Error::new(error).context("the firewall is not in place").context(Exit::Unavailable)
}
