//! Keys: the utility's own, those of homes, tokens, revocation, policy, evidence. What the KMC has to do is ordered of it with the
//! operator's name, and stands in both logs.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use secure_http::{EnrolmentToken, Order, PartyId, Policy, key_id};
use serde::Deserialize;
use serde_json::json;
use utility_wire::UnixTime;

use super::Console;
use super::access::{Admin, Changer, Viewer, actor};
use super::extract::{File, Json, Params, Part};
use super::problem::Problem;
use super::routes::{answer, shown, text, time};
use crate::api::*;
use crate::limits::{EVIDENCE_PAGE_MAX, POLICY_BYTES_MAX, TOKEN_DAYS};
use crate::membership::{MemberError, Own, to_its_end};
use crate::sites::SiteId;
use crate::store::StoreError;

/// What the membership says is mapped to the wire here and nowhere else.
impl From<MemberError> for Problem {
    fn from(error: MemberError) -> Self {
        let detail = error.to_string();
        match error {
            MemberError::Candidate => Self::new(StatusCode::CONFLICT, "not-enrolled", detail),
            MemberError::Enrolled(_) => Self::new(StatusCode::CONFLICT, "enrolled", detail),
            MemberError::Refused(_) => Self::refused("refused", detail),
            MemberError::Store(error) => error.into(),
            MemberError::Busy | MemberError::Waiting => {
                Self::later(StatusCode::SERVICE_UNAVAILABLE, "busy", detail, std::time::Duration::from_secs(10))
            }
            MemberError::Link(error) => {
                let cause = std::error::Error::source(&error).map(|c| format!(": {c}")).unwrap_or_default();
                Self::new(StatusCode::BAD_GATEWAY, "kmc", format!("the KMC: {detail}{cause}"))
            }
            MemberError::CutOff => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail),
            MemberError::Vault(_) | MemberError::Record(_) => {
                tracing::error!(error = detail, "the membership can't be read");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "membership", detail)
            }
        }
    }
}

impl Console {
    fn own(&self) -> Result<std::sync::Arc<Own>, Problem> {
        self.0.member.own().ok_or_else(|| MemberError::Candidate.into())
    }

    async fn known(&self, id: &SiteId) -> Result<PartyId, Problem> {
        if self.store().site(id).await?.is_none() {
            return Err(StoreError::UnknownSite(id.to_string()).into());
        }
        id.as_str().parse().map_err(|_| Problem::bad(format!("{id} is no UUID")))
    }
}

pub(super) async fn enrol(
    State(console): State<Console>,
    Admin(operator): Admin,
    Json(body): Json<EnrolBody>,
) -> Result<Response, Problem> {
    let token: EnrolmentToken = body.token.parse().map_err(|e| Problem::bad(format!("token: {e}")))?;
    let id: PartyId = match &body.id {
        Some(id) => id.to_ascii_lowercase().parse().map_err(|e| Problem::bad(format!("id {id:?}: {e}")))?,
        None => new_id()?,
    };
    let done = console.clone();
    to_its_end(async move {
        let id = done.0.member.enrol(&token, id).await?;
        let detail = json!({ "kmc": token.host() });
        let noted = done.store().note(done.now(), &actor(&operator), "keys.enrol", id.as_str(), detail).await;
        noted.map_err(Problem::from)
    })
    .await?;
    answer(StatusCode::CREATED, &keys_of(console.own()?.as_ref()))
}

/// A random UUID (RFC 9562, 5.4).
fn new_id() -> Result<PartyId, Problem> {
    let text = daemon_kit::identity::random_uuid()
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "there are no random numbers"))?;
    text.parse().map_err(|_| Problem::bad("the new UUID is none"))
}

pub(super) async fn keys(State(console): State<Console>, _: Viewer) -> Result<Response, Problem> {
    shown(&keys_of(console.own()?.as_ref()))
}

fn keys_of(own: &Own) -> KeysView {
    let validity = own.statement.validity();
    KeysView {
        id: own.id.to_string(),
        kmc: own.authority.kmc().to_string(),
        serial: own.statement.serial().0,
        from: moment_of(validity.from()),
        until: moment_of(validity.until()),
        signing_key: own.statement.kid().to_string(),
        sealing_key: key_id(own.keys.kem().public().to_bytes()).to_string(),
        previous_until: own.keys.previous().map(|(_, until)| moment_of(until)),
        policy: own.policy.version(),
        revocations: own.revocations_version(),
    }
}

fn moment_of(at: secure_http::UnixTime) -> String {
    moment(UnixTime::new(at.0))
}

pub(super) async fn roll_over(State(console): State<Console>, Admin(operator): Admin) -> Result<Response, Problem> {
    let own = to_its_end(async move {
        console.0.member.roll_over().await?;
        let own = console.own()?;
        let detail = json!({ "serial": own.statement.serial().0 });
        console.store().note(console.now(), &actor(&operator), "keys.roll-over", own.id.as_str(), detail).await?;
        Ok::<_, Problem>(own)
    })
    .await?;
    shown(&keys_of(&own))
}

pub(super) async fn site_keys(
    State(console): State<Console>,
    _: Viewer,
    Part(id): Part<SiteId>,
) -> Result<Response, Problem> {
    let channel = console.store().channel(&id).await?.ok_or(StoreError::UnknownSite(id.to_string()))?;
    let own = console.0.member.own();
    let Some(channel) = channel else {
        return shown(&SiteKeysView { lineage: 0, host: None, renew: false, statements: Vec::new() });
    };
    let newest = channel.statements.first().map(|b| b.statement.serial());
    let view = |b: &crate::store::Believed| {
        let revoked = own.as_ref().is_some_and(|own| own.is_revoked(&b.statement));
        let standing = match () {
            () if revoked => "revoked",
            () if Some(b.statement.serial()) == newest => "in-force",
            () => "replaced",
        };
        StatementView {
            serial: b.statement.serial().0,
            signing_key: b.statement.kid().to_string(),
            from: moment_of(b.statement.validity().from()),
            until: moment_of(b.statement.validity().until()),
            standing: standing.to_owned(),
        }
    };
    shown(&SiteKeysView {
        lineage: channel.lineage,
        host: channel.host.clone(),
        renew: console.now() < channel.renew_until,
        statements: channel.statements.iter().map(view).collect(),
    })
}

/// A token with which a home's gateway enrols, for the first time or anew: then its old keys need not vouch for the new ones.
pub(super) async fn site_token(
    State(console): State<Console>,
    Changer(operator): Changer,
    Part(id): Part<SiteId>,
    Json(body): Json<SiteTokenBody>,
) -> Result<Response, Problem> {
    let party = console.known(&id).await?;
    let name = console.store().site(&id).await?.map(|site| site.name).unwrap_or_default();
    let days = body.days.unwrap_or(TOKEN_DAYS);
    let order = Order::Token { party: Some(party), premises: name, days, operator: operator.name.clone() };
    let site = id.clone();
    let token = to_its_end(async move {
        let token = console.0.member.order(order).await?;
        // The token is there: as long as it is good the keys that come with it are let in.
        let (now, by) = (console.now(), actor(&operator));
        let until = UnixTime::new(now.seconds() + u64::from(days) * 86_400);
        console.store().renew_keys(&site, (&by, "token"), until, now).await?;
        Ok::<_, Problem>(token)
    })
    .await?;
    answer(StatusCode::CREATED, &SiteTokenView { id: id.to_string(), token })
}

pub(super) async fn site_revoke(
    State(console): State<Console>,
    Admin(operator): Admin,
    Part(id): Part<SiteId>,
    Json(body): Json<RevokeBody>,
) -> Result<Response, Problem> {
    let party = console.known(&id).await?;
    let reason = text("reason", &body.reason)?;
    let order = Order::Revoke { party, reason: reason.clone(), operator: operator.name.clone() };
    to_its_end(async move {
        // Also where the answer was lost, or it was revoked before: the list that says so is asked for in any case.
        let ordered = console.0.member.order(order).await;
        learn(&console).await;
        ordered?;
        let detail = json!({ "reason": reason });
        console.store().note(console.now(), &actor(&operator), "site.revoke", id.as_str(), detail).await?;
        Ok::<_, Problem>(())
    })
    .await?;
    Ok(axum::response::IntoResponse::into_response(StatusCode::NO_CONTENT))
}

pub(super) async fn policy(State(console): State<Console>, _: Viewer) -> Result<Response, Problem> {
    shown(&policy_of(console.own()?.as_ref()))
}

fn policy_of(own: &Own) -> PolicyView {
    let rules = own.policy.rules();
    PolicyView {
        version: own.policy.version(),
        until: own.policy.policy().map(|policy: &Policy| moment_of(policy.validity().until())),
        sig_key_s: rules.sig_key_s,
        kem_key_s: rules.kem_key_s,
        message_s: rules.message_s,
        skew_s: rules.skew_s,
        refresh_s: rules.refresh_s,
    }
}

pub(super) async fn set_policy(
    State(console): State<Console>,
    Admin(operator): Admin,
    File(toml): File,
) -> Result<Response, Problem> {
    if toml.len() > POLICY_BYTES_MAX {
        let detail = format!("the policy file has {} bytes; at most {POLICY_BYTES_MAX} go into an order", toml.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail));
    }
    let order = Order::Policy { toml, operator: operator.name.clone() };
    let own = to_its_end(async move {
        let ordered = console.0.member.order(order).await;
        learn(&console).await;
        let version = ordered?;
        let detail = json!({ "version": version });
        console.store().note(console.now(), &actor(&operator), "policy.set", &version, detail).await?;
        console.own()
    })
    .await?;
    shown(&policy_of(own.as_ref()))
}

/// Asks for what was just changed; where that fails it is tried again soon.
async fn learn(console: &Console) {
    console.0.member.told(u32::MAX, u64::MAX);
    if let Err(error) = console.0.member.maintain().await {
        tracing::info!(%error, "not yet asked for what an order changed");
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct EvidenceQuery {
    since: Option<String>,
    #[serde(default)]
    after: u64,
}

/// A page of evidence: messages taken from `since` on; behind number `after` of those taken in that very second.
pub(super) async fn evidence(
    State(console): State<Console>,
    _: Viewer,
    Part(id): Part<SiteId>,
    Params(query): Params<EvidenceQuery>,
) -> Result<Response, Problem> {
    console.known(&id).await?;
    let since = query.since.as_deref().map_or(Ok(UnixTime::new(0)), |t| time("since", t))?;
    let found = console.store().evidence(&id, (since, query.after)).await?;
    let more = found.len() >= EVIDENCE_PAGE_MAX as usize;
    let statements = console.store().statements(&id).await?;
    let proof = |e: &crate::store::Evidence| ProofView {
        taken: moment(e.taken),
        seq: e.seq,
        serial: e.proof.serial.0,
        message: base64(&e.proof.message),
        salt: base64(&e.proof.salt),
        body: base64(&e.proof.body),
    };
    shown(&EvidenceView {
        statements: statements.iter().map(|(_, raw)| base64(raw)).collect(),
        messages: found.iter().map(proof).collect(),
        more,
    })
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let value = chunk.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = DIGITS[(value >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }
}
