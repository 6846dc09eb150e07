//! What people at the control socket order of the firewall, when it counts as done, and how it is taken back.

use std::collections::{BTreeSet, VecDeque};

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
            self.note_rollback(&format!("it could not be stored: {error}"));
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

    /// The time of a change that waits to be confirmed runs from here.
    pub(super) fn change_in_place(&mut self, now: BootTime) {
        if !self.dead_man.applied(now) {
            return;
        }
        let (action, what) =
            if self.is_off() { ("firewall off", String::new()) } else { ("firewall apply", self.shape_text()) };
        self.note(action, self.by, what);
        let at_once = self.askers.iter().any(|(ask, _)| *ask == Ask::Apply { confirmed: true });
        if at_once && self.dead_man.confirm().is_ok() {
            self.confirmed(self.by);
        }
    }

    /// The settings before are in force again.
    pub(super) fn taken_back(&mut self, why: &str, now: BootTime) {
        self.store();
        self.seen = self.dead_man.record().seen.clone();
        self.ssh = self.dead_man.record().ssh.clone();
        self.note_rollback(why);
        self.retry = None;
        self.to_be_removed = self.is_off();
        if !self.is_off() {
            self.watch_all();
        }
        self.read_network();
        self.shape_anew();
        self.keep_ssh_sources();
        // Appliances were not followed while there were no rules.
        self.registry_changed = true;
        self.begin_job(now);
    }

    /// Tells people that the settings before are in force again, and why.
    pub(super) fn note_rollback(&mut self, why: &str) {
        tracing::warn!(why, "a change of the firewall was taken back");
        self.rolled_back = why.to_owned();
        self.note("firewall rollback", Cause::Gateway, why.to_owned());
    }

    /// Answers those whose question is of that kind.
    pub(super) fn answer_all(&mut self, which: impl Fn(&Ask) -> bool, now: BootTime) {
        let (ready, others) = std::mem::take(&mut self.askers).into_iter().partition(|(ask, _)| which(ask));
        self.askers = others;
        let ready: VecDeque<_> = ready;
        for (ask, request) in ready {
            self.answer(ask, request, now);
        }
    }

    pub(super) fn answer(&mut self, ask: Ask, request: ControlRequest, now: BootTime) {
        match ask {
            Ask::Metrics => self.scrapes.push_back(request),
            _ => request.respond_json(StatusCode::OK, &self.view(now)),
        }
    }
}
