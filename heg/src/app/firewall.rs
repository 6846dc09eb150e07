//! The loop's side of the firewall: what it is told, and what comes out of it.

use daemon_kit::control::ControlRequest;

use super::{App, net_config};
use crate::config::Config;
use crate::firewall::{Ask, Note};
use crate::journal::{Ending, Entry};
use crate::limits::{REASON_BYTES_MAX, bounded};
use crate::now::Now;

impl App {
    /// Once a turn, before orders are carried out.
    pub(super) fn tend_firewall(&mut self, now: Now) {
        if self.firewall.wants_appliances() {
            let cards = self.home.gateway().registry().iter().filter_map(|a| a.profile().mac).collect();
            self.firewall.set_appliances(cards, now.boot);
        }
        if let Some(callers) = self.client.proved_callers() {
            self.firewall.set_utility(callers, now.boot);
        }
        self.firewall.handle_timeout(now.boot);
        let mut noted = false;
        while let Some(Note { action, cause, reason }) = self.firewall.poll_note() {
            let reason = bounded(&reason, REASON_BYTES_MAX);
            self.home.note(
                Entry { at: now.wall, udn: None, action: action.into(), cause, ending: Ending::Done, reason },
                now,
            );
            noted = true;
        }
        // What a person ordered is on the disk at once, as everywhere.
        if let Some(batch) = noted.then(|| self.home.write_early()).flatten() {
            self.worker.write(batch, now.wall);
        }
        if self.firewall.poll_shown() {
            self.net.set_interfaces(self.firewall.interfaces(net_config(&self.config).interfaces));
        }
    }

    pub(super) fn ask_firewall(&mut self, ask: Ask, request: ControlRequest, now: Now) {
        let configured = match ask {
            Ask::Plan | Ask::Apply { .. } => {
                Config::load(self.named.as_deref()).map(|config| config.firewall).map_err(|error| error.to_string())
            }
            _ => Ok(self.config.firewall.clone()),
        };
        self.firewall.ask(ask, request, configured, now.boot);
    }
}
