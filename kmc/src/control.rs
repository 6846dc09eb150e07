//! The control socket's routes: from a request to the centre's answer.

use std::net::SocketAddr;
use std::path::Path;

use daemon_kit::control::ControlRequest;
use http::{Method, StatusCode};
use secure_http::{Fingerprint, PolicyError, Role, TokenId, UnixTime};
use serde::Serialize;

use crate::api::{
    AuditAnswer, AuditView, PolicyBody, PolicyView, RevokeBody, StatementView, StatusView, TokenBody, TokenView,
    moment, role_of,
};
use crate::centre::{AdminError, Centre, CentreError, NewToken, Now, hex};
use crate::limits::POLICY_FILE_BYTES_MAX;
use crate::policy_file;

/// Where the daemon listens.
#[derive(Clone, Debug)]
pub struct Place {
    /// What stands in tokens.
    pub host: String,
    /// Public listener.
    pub address: SocketAddr,
    /// Local listener.
    pub local_address: SocketAddr,
}

/// An error answer: status, word for programs, text for people.
#[derive(Clone, Debug)]
struct RouteError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl RouteError {
    fn bad(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "bad-request", message: message.into() }
    }
}

impl From<AdminError> for RouteError {
    fn from(error: AdminError) -> Self {
        let (status, code) = match &error {
            AdminError::Unknown(_) => (StatusCode::NOT_FOUND, "unknown"),
            AdminError::Wrong(_) | AdminError::Text(_) | AdminError::Host(_) => (StatusCode::CONFLICT, "refused"),
            AdminError::Full(_) => (StatusCode::CONFLICT, "full"),
            AdminError::Centre(CentreError::Policy(PolicyError::BelowFloor)) => (StatusCode::CONFLICT, "below-floor"),
            AdminError::Centre(_) => (StatusCode::INTERNAL_SERVER_ERROR, "fault"),
        };
        Self { status, code, message: error.to_string() }
    }
}

/// Answers a request of the command line.
pub fn answer(request: ControlRequest, centre: &mut Centre, place: &Place, now: Now) {
    match routed(&request, centre, place, now) {
        Ok(value) => request.respond_json(StatusCode::OK, &value),
        Err(error) => request.respond_error(error.status, error.code, error.message),
    }
}

/// Every answer as JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Value {
    Status(Box<StatusView>),
    Tokens(Vec<TokenView>),
    Token(TokenView),
    Statements(Vec<StatementView>),
    Statement(StatementView),
    Policy(PolicyView),
    Audit(AuditAnswer),
}

fn routed(request: &ControlRequest, centre: &mut Centre, place: &Place, now: Now) -> Result<Value, RouteError> {
    let segments = request.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let actor = format!("operator:{}", request.peer.uid);
    let time = now.unix();
    match (&request.method, &segments[..]) {
        (&Method::GET, ["v1", "status"]) => Ok(Value::Status(Box::new(status(centre, place, time)?))),
        (&Method::GET, ["v1", "tokens"]) => {
            Ok(Value::Tokens(centre.tokens()?.iter().map(|token| TokenView::new(token, None, time)).collect()))
        }
        (&Method::POST, ["v1", "tokens"]) => {
            let body: TokenBody = request.json().map_err(|e| RouteError::bad(format!("body: {e}")))?;
            let (token, printed) = centre.new_token(&new_token(body)?, &actor, time)?;
            Ok(Value::Token(TokenView::new(&token, Some(printed.to_string()), time)))
        }
        (&Method::DELETE, ["v1", "tokens", id]) => {
            let number = u64::from_str_radix(id, 16).ok().filter(|_| id.len() == 16);
            let id =
                TokenId(number.ok_or_else(|| RouteError::bad(format!("{id:?} is no token's name")))?.to_be_bytes());
            Ok(Value::Token(TokenView::new(&centre.revoke_token(id, &actor, time)?, None, time)))
        }
        (&Method::GET, ["v1", "statements"]) => {
            let subject = request.query_value("subject").unwrap_or_default();
            Ok(Value::Statements(centre.statements(&subject)?.iter().map(StatementView::new).collect()))
        }
        (&Method::GET, ["v1", "statements", which]) => {
            let stated = centre.statement(which)?;
            let contact = centre.contact(&stated.statement.subject())?;
            Ok(Value::Statement(StatementView::new(&stated).with(contact)))
        }
        (&Method::POST, ["v1", "revocations"]) => {
            let body: RevokeBody = request.json().map_err(|e| RouteError::bad(format!("body: {e}")))?;
            let stated = centre.revoke(&body.which, &body.reason, &actor, time)?;
            Ok(Value::Statement(StatementView::new(&centre.statement(&stated.statement.serial().0.to_string())?)))
        }
        (&Method::GET, ["v1", "policy"]) => {
            let policy = centre.policy().ok_or(AdminError::Wrong("no policy"))?;
            Ok(Value::Policy(PolicyView::new(policy)))
        }
        (&Method::POST, ["v1", "policy"]) => {
            let body: PolicyBody = request.json().map_err(|e| RouteError::bad(format!("body: {e}")))?;
            if body.toml.len() > POLICY_FILE_BYTES_MAX {
                return Err(RouteError::bad("the policy file is too long"));
            }
            let parsed = policy_file::parse(&body.toml, Path::new("policy"));
            let (rules, seconds) = parsed.map_err(|e| RouteError::bad(e.to_string()))?;
            Ok(Value::Policy(PolicyView::new(centre.set_policy(&rules, seconds, &actor, time)?)))
        }
        (&Method::GET, ["v1", "audit"]) => {
            let since = request.query_value("since").map_or(Ok(0), |text| text.parse::<u64>());
            let since = since.map_err(|_| RouteError::bad("since: expected seconds since 1970"))?;
            let (entries, broken_at) = centre.audit(UnixTime(since.min(i64::MAX as u64)))?;
            Ok(Value::Audit(AuditAnswer { entries: entries.iter().map(AuditView::new).collect(), broken_at }))
        }
        _ => Err(RouteError {
            status: StatusCode::NOT_FOUND,
            code: "not-found",
            message: format!("no such path: {} {}", request.method, request.path),
        }),
    }
}

fn new_token(body: TokenBody) -> Result<NewToken, RouteError> {
    let role = role_of(&body.role).ok_or_else(|| RouteError::bad("role: expected heg or utility"))?;
    let party = |text: Option<String>| {
        text.map(|text| text.parse().map_err(|e| RouteError::bad(format!("{text:?}: {e}")))).transpose()
    };
    let (uuid, utility) = (party(body.uuid)?, party(body.utility)?);
    Ok(NewToken { role, uuid, utility, premises: body.premises, days: body.days })
}

fn status(centre: &mut Centre, place: &Place, now: UnixTime) -> Result<StatusView, RouteError> {
    let holdings = centre.holdings(now)?;
    let in_force = |role: Role| holdings.active.iter().find(|(r, _)| *r == role.number()).map_or(0, |(_, n)| *n);
    let [root, issuing, _] = centre.own_statements();
    Ok(StatusView {
        id: centre.id().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address: place.address.to_string(),
        local_address: place.local_address.to_string(),
        host: place.host.clone(),
        fingerprint: hex(&Fingerprint::of(root.sig()).0),
        root_until: moment(root.validity().until()),
        issuing_until: moment(issuing.validity().until()),
        policy: centre.policy().map_or(0, secure_http::Policy::version),
        revocations: centre.revocations_version(),
        revoked: holdings.revoked,
        gateways: in_force(Role::Gateway),
        utilities: in_force(Role::Utility),
        open_tokens: holdings.open_tokens,
        evidence: holdings.evidence,
        audit_head: holdings.audit.map(|entry| hex(&entry.hash)).unwrap_or_default(),
        troubles: centre.troubles().to_vec(),
    })
}
