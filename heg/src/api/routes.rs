//! The control API's routes: from method, path, query and body to what is wanted, or an error that says what is wrong.

use daemon_kit::control::ControlRequest;
use energy_model::{DailyWindow, RegId};
use http::{Method, StatusCode};
use jiff::Timestamp;
use upnp::ids::Udn;

use super::ScheduleBody;
use super::access::Act;
use super::utility::{ConsentBody, EnrolBody};
use crate::commands::Verb;
use crate::firewall::Ask;
use crate::gateway::{AskError, Gateway, Wanted};
use crate::limits::JOURNAL_ANSWER_MAX;
use crate::planner::Change;
use crate::registrations::{RegistrationError, Wish};
use crate::registry::ResolveError;
use crate::rules::RuleIdError;
use crate::rules::book::BookError;
use crate::rules::form::RuleForm;
use crate::store::JournalQuery;
use crate::utility_client::EnrolError;

/// What a request is for.
#[derive(Debug)]
pub enum Route {
    /// `GET /v1/status`
    Status,
    /// `GET /v1/appliances`
    Appliances,
    /// `GET /v1/appliances/ID`
    Appliance(Udn),
    /// `GET /v1/registrations`, or `GET /v1/appliances/ID/schedule`
    Registrations(Option<Udn>),
    /// Everything that changes something.
    Ask(Wanted),
    /// `GET /v1/journal?since=TIME&limit=N&appliance=ID`
    Journal(JournalQuery),
    /// `GET /v1/prices`
    Prices,
    /// `GET /v1/rules?appliance=ID`
    Rules(Option<Udn>),
    /// `POST /v1/rules`, `DELETE /v1/rules/RULE`
    Change(Change),
    /// `GET /v1/plan`
    Plan,
    /// `GET /v1/savings`
    Savings,
    /// `GET /v1/appliances/ID/why`
    Why(Udn),
    /// `GET /v1/watch`
    Watch,
    /// `/v1/firewall` and what is below it, and `GET /metrics`
    Firewall(Ask),
    /// `GET /v1/utility`
    Utility,
    /// `POST /v1/utility/enrol`
    Enrol(EnrolBody),
    /// `POST /v1/utility/consent`: of an appliance, or of all; whether it may.
    Consent(Option<Udn>, bool),
}

impl Route {
    /// What it asks for, for [`access`](super::access).
    pub fn act(&self) -> Act {
        match self {
            Self::Firewall(Ask::Metrics) => Act::Metrics,
            Self::Firewall(Ask::Status | Ask::Plan)
            | Self::Status
            | Self::Appliances
            | Self::Appliance(_)
            | Self::Registrations(_)
            | Self::Journal(_)
            | Self::Prices
            | Self::Rules(_)
            | Self::Plan
            | Self::Savings
            | Self::Why(_)
            | Self::Watch
            | Self::Utility => Act::Read,
            Self::Firewall(Ask::Apply { .. } | Ask::Confirm | Ask::Off { .. })
            | Self::Ask(_)
            | Self::Change(_)
            | Self::Enrol(_)
            | Self::Consent(..) => Act::Change,
        }
    }
}

/// An error answer: status, word for programs, text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteError {
    /// HTTP status.
    pub status: StatusCode,
    /// Word for programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl RouteError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// Somebody who may not.
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "not-authorized", "this is not for whoever asks")
    }

    fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", message)
    }
}

impl From<ResolveError> for RouteError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, "unknown-appliance", error.to_string()),
            ResolveError::Ambiguous(..) => Self::new(StatusCode::CONFLICT, "ambiguous-appliance", error.to_string()),
        }
    }
}

impl From<EnrolError> for RouteError {
    fn from(error: EnrolError) -> Self {
        let (status, code) = match &error {
            EnrolError::Token(_) => (StatusCode::BAD_REQUEST, "bad-request"),
            EnrolError::Enrolled(_) => (StatusCode::CONFLICT, "enrolled"),
            EnrolError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<AskError> for RouteError {
    fn from(error: AskError) -> Self {
        let (status, code) = match &error {
            AskError::Registration(RegistrationError::Unknown(_)) => (StatusCode::NOT_FOUND, "unknown-registration"),
            AskError::Registration(RegistrationError::Foreign(_)) => (StatusCode::FORBIDDEN, "foreign-registration"),
            AskError::Registration(RegistrationError::Ambiguous(..)) => {
                (StatusCode::CONFLICT, "ambiguous-registration")
            }
            AskError::Registration(RegistrationError::Full) => (StatusCode::CONFLICT, "too-many-registrations"),
            AskError::Rule(BookError::Unknown(_)) => (StatusCode::NOT_FOUND, "unknown-rule"),
            AskError::Rule(BookError::Configured(_)) => (StatusCode::CONFLICT, "configured-rule"),
            AskError::Rule(BookError::Full) => (StatusCode::CONFLICT, "too-many-rules"),
            AskError::Rule(BookError::Rule(_) | BookError::Unfit(_)) => (StatusCode::BAD_REQUEST, "bad-request"),
            AskError::NotAuthorized(_) => (StatusCode::FORBIDDEN, "not-authorized"),
            AskError::NotStored(_) => (StatusCode::INSUFFICIENT_STORAGE, "not-stored"),
            AskError::UnknownAppliance(_) => (StatusCode::NOT_FOUND, "unknown-appliance"),
            AskError::StillThere => (StatusCode::CONFLICT, "still-there"),
            AskError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        };
        Self::new(status, code, error.to_string())
    }
}

/// What a request is for.
///
/// # Errors
/// 404 for no such path, appliance or registration; 405 for a wrong method; 400 for a value that is none; 409 for a name
/// that fits several.
pub fn route(request: &ControlRequest, gateway: &Gateway) -> Result<Route, RouteError> {
    let segments = request.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let allow = |method: Method| match request.method == method {
        true => Ok(()),
        false => Err(wrong_method(&request.method, &request.path)),
    };
    if segments == ["metrics"] {
        return allow(Method::GET).map(|()| Route::Firewall(Ask::Metrics));
    }
    let ["v1", rest @ ..] = &segments[..] else { return Err(no_path(&request.path)) };
    let find = |id: &str| -> Result<Udn, RouteError> { Ok(gateway.resolve(id)?.udn().clone()) };
    match rest {
        ["status"] => allow(Method::GET).map(|()| Route::Status),
        ["appliances"] => allow(Method::GET).map(|()| Route::Appliances),
        ["registrations"] => allow(Method::GET).map(|()| Route::Registrations(None)),
        ["prices"] => allow(Method::GET).map(|()| Route::Prices),
        ["plan"] => allow(Method::GET).map(|()| Route::Plan),
        ["savings"] => allow(Method::GET).map(|()| Route::Savings),
        ["rules"] => match request.method {
            Method::GET => Ok(Route::Rules(request.query_value("appliance").map(|id| find(&id)).transpose()?)),
            Method::POST => {
                let form: RuleForm = request.json().map_err(|e| RouteError::bad(format!("body: {e}")))?;
                // People name appliances; rules name them for good.
                let appliance = form.appliance.as_deref().map(find).transpose()?.map(|udn| udn.to_string());
                Ok(Route::Change(Change::Add(RuleForm { appliance, ..form })))
            }
            _ => Err(wrong_method(&request.method, &request.path)),
        },
        ["rules", id] => {
            allow(Method::DELETE)?;
            let id = id.parse().map_err(|e: RuleIdError| RouteError::bad(format!("{id:?}: {e}")))?;
            Ok(Route::Change(Change::Remove(id)))
        }
        ["appliances", id, "why"] => {
            allow(Method::GET)?;
            find(id).map(Route::Why)
        }
        ["watch"] => allow(Method::GET).map(|()| Route::Watch),
        ["firewall", below @ ..] => firewall(request, below).map(Route::Firewall),
        ["utility"] => allow(Method::GET).map(|()| Route::Utility),
        ["utility", "enrol"] => {
            allow(Method::POST)?;
            body(request).map(Route::Enrol)
        }
        ["utility", "consent"] => {
            allow(Method::POST)?;
            let ConsentBody { appliance, allow } = body(request)?;
            Ok(Route::Consent(appliance.map(|id| find(&id)).transpose()?, allow))
        }
        ["journal"] => {
            allow(Method::GET)?;
            journal(request, find).map(Route::Journal)
        }
        ["appliances", id] => match request.method {
            Method::GET => Ok(Route::Appliance(find(id)?)),
            Method::DELETE => Ok(Route::Ask(Wanted::Forget(find(id)?))),
            _ => Err(wrong_method(&request.method, &request.path)),
        },
        ["appliances", id, "schedule"] => match request.method {
            Method::GET => Ok(Route::Registrations(Some(find(id)?))),
            Method::POST => Ok(Route::Ask(schedule(find(id)?, request)?)),
            _ => Err(wrong_method(&request.method, &request.path)),
        },
        ["appliances", id, verb] => {
            let verb = match *verb {
                "on" => Verb::On,
                "off" => Verb::Off,
                "standby" => Verb::Standby,
                "wake" => Verb::Wake,
                _ => return Err(no_path(&request.path)),
            };
            allow(Method::POST)?;
            Ok(Route::Ask(Wanted::Command(find(id)?, verb)))
        }
        ["registrations", reg] => {
            allow(Method::DELETE)?;
            let reg: RegId = reg.parse().map_err(|e| RouteError::bad(format!("{reg:?}: {e}")))?;
            let udn = request.query_value("appliance").map(|id| find(&id)).transpose()?;
            Ok(Route::Ask(Wanted::Withdraw(reg, udn)))
        }
        _ => Err(no_path(&request.path)),
    }
}

fn firewall(request: &ControlRequest, below: &[&str]) -> Result<Ask, RouteError> {
    let confirmed = match request.query_value("confirmed").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(RouteError::bad(format!("confirmed={other}: expected true or false"))),
    };
    let (ask, method) = match below {
        [] => (Ask::Status, Method::GET),
        ["plan"] => (Ask::Plan, Method::GET),
        ["apply"] => (Ask::Apply { confirmed }, Method::POST),
        ["confirm"] => (Ask::Confirm, Method::POST),
        ["off"] => (Ask::Off { confirmed }, Method::POST),
        _ => return Err(no_path(&request.path)),
    };
    if request.method == method { Ok(ask) } else { Err(wrong_method(&request.method, &request.path)) }
}

fn journal(
    request: &ControlRequest,
    find: impl Fn(&str) -> Result<Udn, RouteError>,
) -> Result<JournalQuery, RouteError> {
    let since = request.query_value("since").map(|text| {
        text.parse::<Timestamp>().map_err(|_| RouteError::bad(format!("since={text}: expected an RFC 3339 moment")))
    });
    let limit = request.query_value("limit").map(|text| match text.parse::<u32>() {
        Ok(n) if (1..=JOURNAL_ANSWER_MAX).contains(&n) => Ok(n),
        _ => Err(RouteError::bad(format!("limit={text}: expected 1 to {JOURNAL_ANSWER_MAX}"))),
    });
    Ok(JournalQuery {
        since: since.transpose()?,
        limit: limit.transpose()?.unwrap_or(JOURNAL_ANSWER_MAX),
        udn: request.query_value("appliance").map(|id| find(&id)).transpose()?,
    })
}

fn body<T: serde::de::DeserializeOwned>(request: &ControlRequest) -> Result<T, RouteError> {
    request.json().map_err(|e| RouteError::bad(format!("body: {e}")))
}

fn schedule(udn: Udn, request: &ControlRequest) -> Result<Wanted, RouteError> {
    let body: ScheduleBody = body(request)?;
    let window = |start, stop| DailyWindow::new(start, stop).map_err(|e| RouteError::bad(e.to_string()));
    Ok(match body {
        ScheduleBody::Standby { start, stop } => Wanted::Command(udn, Verb::Period(window(start, stop)?)),
        ScheduleBody::Wake { at } => Wanted::Register(udn, Wish::WakeUp(at)),
        ScheduleBody::NoStandby { start, stop } => Wanted::Register(udn, Wish::NoStandby(window(start, stop)?)),
    })
}

fn no_path(path: &str) -> RouteError {
    RouteError::new(StatusCode::NOT_FOUND, "not-found", format!("no such path: {path}"))
}

fn wrong_method(method: &Method, path: &str) -> RouteError {
    RouteError::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", format!("{path} has no {method}"))
}
