//! What people at the control socket order of the firewall, and when it counts as done.

use std::collections::BTreeSet;

use daemon_kit::control::ControlRequest;
use http::StatusCode;
use upnp::time::BootTime;

use super::settings::{Mode, Settings};
use super::{Firewall, state};
use crate::journal::Cause;
use crate::limits::FIREWALL_ASKERS_MAX;

/// What somebody at the control socket wants of the firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// How it stands.
    Status,
    /// What applying the configuration file would do.
    Plan,
    /// Put the configuration file's settings in force.
    Apply {
        /// Without waiting for a confirmation.
        confirmed: bool,
    },
    /// The change may stay.
    Confirm,
    /// No rules.
    Off {
        /// Without waiting for a confirmation, and whatever else waits for one.
        confirmed: bool,
    },
    /// Counters for a monitoring program.
    Metrics,
}

impl Firewall {
    /// Answers somebody at the control socket, at once or when `nft` has ended. `configured` is the configuration file as it is
    /// now, or what is wrong with it.
    pub fn ask(&mut self, ask: Ask, request: ControlRequest, configured: Result<Settings, String>, now: BootTime) {
        if self.askers.len() >= FIREWALL_ASKERS_MAX {
            return request.respond_error(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "too many ask for the firewall at once",
            );
        }
        let wrong = |request: ControlRequest, why: String| {
            request.respond_error(StatusCode::CONFLICT, "configuration", format!("the configuration is wrong: {why}"));
        };
        match ask {
            Ask::Status | Ask::Metrics if self.in_kernel.is_none() => self.answer(ask, request, now),
            Ask::Status | Ask::Metrics => {
                self.askers.push_back((ask, request));
                self.handle_timeout(now);
            }
            Ask::Plan => match configured {
                Ok(settings) => {
                    self.configured = settings;
                    let view = self.plan_view();
                    request.respond_json(StatusCode::OK, &view);
                }
                Err(why) => wrong(request, why),
            },
            Ask::Apply { .. } => match configured {
                Ok(settings) => {
                    self.configured = settings.clone();
                    self.propose(ask, settings, request, now);
                }
                Err(why) => wrong(request, why),
            },
            Ask::Confirm => match self.dead_man.confirm() {
                Ok(()) => {
                    self.confirmed(Cause::Person(request.peer.uid));
                    self.answer(ask, request, now);
                }
                Err(error) => request.respond_error(StatusCode::CONFLICT, "nothing-waits", error.to_string()),
            },
            Ask::Off { confirmed: true } => self.switch_off(request, now),
            Ask::Off { confirmed: false } => {
                let off = Settings { mode: Mode::Off, ..self.dead_man.confirmed() };
                self.propose(ask, off, request, now);
            }
        }
    }

    fn propose(&mut self, ask: Ask, settings: Settings, request: ControlRequest, now: BootTime) {
        let cause = Cause::Person(request.peer.uid);
        if let Err(error) = self.dead_man.propose(settings) {
            return request.respond_error(StatusCode::CONFLICT, "change-waits", error.to_string());
        }
        // A change that is not on the disk would outlive a crash unconfirmed.
        if let Err(error) = state::write(&self.state_file, self.dead_man.record()) {
            self.dead_man.roll_back();
            return request.respond_error(StatusCode::INSUFFICIENT_STORAGE, "not-stored", error.to_string());
        }
        self.by = cause;
        self.askers.push_back((ask, request));
        if self.is_off() {
            self.to_be_removed = true;
        } else {
            self.watch_all();
            self.read_network();
            (self.seen, self.ssh) = (self.seen.when_applied(&self.configured, &self.facts), BTreeSet::new());
            self.shape_anew();
            self.keep_ssh_sources();
            self.registry_changed = true;
        }
        self.retry = None;
        self.begin_job(now);
    }

    pub(super) fn confirmed(&mut self, cause: Cause) {
        self.dead_man.note(self.seen.clone(), self.ssh.clone());
        self.store();
        let what = if self.is_off() { "off".to_owned() } else { self.shape_text() };
        self.note("firewall confirm", cause, what);
    }

    fn switch_off(&mut self, request: ControlRequest, now: BootTime) {
        let cause = Cause::Person(request.peer.uid);
        self.dead_man.switch_off();
        self.store();
        self.note("firewall off", cause, String::new());
        self.to_be_removed = true;
        self.askers.push_back((Ask::Off { confirmed: true }, request));
        self.retry = None;
        self.begin_job(now);
    }
}
