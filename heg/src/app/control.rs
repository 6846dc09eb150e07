//! The loop's side of the control socket: what each route is answered with.

use daemon_kit::control::{ControlRequest, ControlStream};
use http::StatusCode;

use super::{App, Asker};
use crate::api::access::{self, Caller};
use crate::api::planning::{PlanView, RuleView, SavingsView, WhyView};
use crate::api::prices::PricesView;
use crate::api::routes::{self, Route, RouteError};
use crate::api::utility::{EnrolBody, UtilityView};
use crate::api::{ApplianceView, OutcomeView, RegistrationView, WatchLine};
use crate::device;
use crate::gateway::{AskError, AskId, Input, Reply};
use crate::limits::{ASKS_MAX, CONTROL_WAITING_MAX, WATCHERS_MAX};
use crate::now::Now;
use crate::planner;
use crate::registrations::Key;
use crate::rules::Rule;
use crate::store::JournalQuery;
use crate::utility;

impl App {
    pub(super) fn answer(&mut self, ask: AskId, reply: Reply) {
        match self.askers.remove(&ask) {
            Some(Asker::Soap(call, responder)) => responder.send(device::response(&call, reply)),
            Some(Asker::Control(request)) => respond(request, reply),
            None => {}
        }
    }

    pub(super) fn control_request(&mut self, request: ControlRequest, now: Now) {
        let route = match routes::route(&request, self.home.gateway()) {
            Ok(route) => route,
            Err(error) => return refuse(request, error),
        };
        if !access::may(Caller::Socket(request.peer.uid), route.act(), self.config.metrics.lan) {
            return refuse(request, RouteError::forbidden());
        }
        match route {
            Route::Status => {
                let status = self.status(now);
                request.respond_json(StatusCode::OK, &status);
            }
            Route::Appliances => {
                let views: Vec<_> =
                    self.home.gateway().registry().iter().map(|a| ApplianceView::new(self.home.gateway(), a)).collect();
                request.respond_json(StatusCode::OK, &views);
            }
            Route::Appliance(udn) => match self.home.gateway().registry().get(&udn) {
                Some(appliance) => {
                    request.respond_json(StatusCode::OK, &ApplianceView::new(self.home.gateway(), appliance));
                }
                None => refuse(request, AskError::UnknownAppliance(udn).into()),
            },
            Route::Registrations(udn) => {
                let all = self.home.gateway().registrations().iter();
                let views: Vec<_> =
                    all.filter(|r| udn.as_ref().is_none_or(|u| r.udn == *u)).map(RegistrationView::new).collect();
                request.respond_json(StatusCode::OK, &views);
            }
            Route::Journal(query) => self.journal(query, request, now),
            Route::Prices => request.respond_json(StatusCode::OK, &PricesView::new(self.home.prices(), now)),
            Route::Rules(udn) => {
                let gateway = self.home.gateway();
                let about = |r: &&Rule| udn.as_ref().is_none_or(|udn| r.is_about(udn));
                let rules = self.home.planner().book().iter().filter(about);
                request
                    .respond_json(StatusCode::OK, &rules.map(|r| RuleView::new(gateway, r, now)).collect::<Vec<_>>());
            }
            Route::Plan => {
                let view = PlanView::new(self.home.planner(), self.home.gateway(), now);
                request.respond_json(StatusCode::OK, &view);
            }
            Route::Savings => {
                let view = SavingsView::new(self.home.planner(), self.home.gateway());
                request.respond_json(StatusCode::OK, &view);
            }
            Route::Why(udn) => match WhyView::new(self.home.planner(), self.home.gateway(), &udn, now) {
                Some(view) => request.respond_json(StatusCode::OK, &view),
                None => refuse(request, AskError::Busy.into()),
            },
            Route::Change(_) if self.askers.len() >= CONTROL_WAITING_MAX + ASKS_MAX => {
                refuse(request, AskError::Busy.into());
            }
            Route::Change(change) => {
                let uid = request.peer.uid;
                let ask = self.ask(Asker::Control(request));
                self.home.handle_planner(planner::Input::Asked { ask, uid, change }, now);
            }
            Route::Watch => self.watch(request),
            Route::Firewall(ask) => self.ask_firewall(ask, request, now),
            Route::Utility => {
                let view = UtilityView::new(self.home.utility(), &self.client, self.home.gateway(), now);
                request.respond_json(StatusCode::OK, &view);
            }
            Route::Enrol(EnrolBody { token, replace }) => match self.client.may_enrol(&token, replace) {
                Ok(token) => self.client.enrol(&token, request),
                Err(error) => refuse(request, error.into()),
            },
            Route::Consent(of, yes) => {
                let uid = request.peer.uid;
                let ask = self.ask(Asker::Control(request));
                self.home.handle_utility(utility::Input::Said { ask, uid, of, yes }, now);
            }
            Route::Ask(_) if self.askers.len() >= CONTROL_WAITING_MAX + ASKS_MAX => {
                refuse(request, AskError::Busy.into());
            }
            Route::Ask(wanted) => {
                let uid = request.peer.uid;
                let ask = self.ask(Asker::Control(request));
                self.home.handle(Input::PersonAsks { ask, uid, wanted }, now);
            }
        }
    }

    /// What is not written yet belongs to the journal too, so it is written first.
    pub(super) fn journal(&mut self, query: JournalQuery, request: ControlRequest, now: Now) {
        if let Some(batch) = self.home.write_early() {
            self.worker.write(batch, now.wall);
        }
        self.worker.journal(query, request);
    }

    pub(super) fn watch(&mut self, request: ControlRequest) {
        self.watchers.retain(ControlStream::is_open);
        if self.watchers.len() >= WATCHERS_MAX {
            return refuse(request, AskError::Busy.into());
        }
        let Some(mut stream) = request.stream() else { return };
        let appliances =
            self.home.gateway().registry().iter().map(|a| Box::new(ApplianceView::new(self.home.gateway(), a)));
        let lines = appliances.map(|appliance| WatchLine::Appliance { appliance }).chain([WatchLine::Ready]);
        if lines.into_iter().all(|line| stream.send(&line).is_ok()) {
            self.watchers.push(stream);
        }
    }
}

/// Answers somebody at the control socket.
fn respond(request: ControlRequest, reply: Reply) {
    let done = |reason: String, reg_id, kept_by: Option<&str>| OutcomeView {
        outcome: "done".to_owned(),
        reason,
        code: None,
        reg_id,
        kept_by: kept_by.map(str::to_owned),
    };
    let view = match reply {
        Reply::Outcome(outcome) => outcome.into(),
        Reply::Registered(reg) => done(String::new(), Some(reg.number()), Some("gateway")),
        Reply::Withdrawn(Key::Here(reg)) => done(String::new(), Some(reg.number()), Some("gateway")),
        Reply::Withdrawn(Key::There(_, reg)) => done(String::new(), Some(reg.number()), Some("appliance")),
        Reply::Rule(id, note) if note.is_empty() => done(format!("rule {id}"), None, None),
        Reply::Rule(id, note) => done(format!("rule {id}; {note}"), None, None),
        Reply::Forgotten => done(String::new(), None, None),
        Reply::No(error) => return refuse(request, error.into()),
    };
    request.respond_json(StatusCode::OK, &view);
}

fn refuse(request: ControlRequest, error: RouteError) {
    request.respond_error(error.status, error.code, error.message);
}
