//! The control socket: what a running centre is asked and answers, as JSON. Used by both sides.

use jiff::Timestamp;
use secure_http::{Policy, Role, UnixTime};
use serde::{Deserialize, Serialize};

use crate::centre::hex;
use crate::store::{AuditEntry, Contact, Stated, Token};

/// Body of `POST /v1/tokens`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TokenBody {
    /// `heg` or `utility`.
    pub role: String,
    /// Whom.
    pub uuid: Option<String>,
    /// The utility that a gateway is to belong to.
    #[serde(default)]
    pub utility: Option<String>,
    /// Where.
    pub premises: String,
    /// How long, days.
    pub days: u32,
}

/// Body of `POST /v1/revocations`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RevokeBody {
    /// A serial, or the UUID of a party.
    pub which: String,
    /// Why.
    pub reason: String,
}

/// Body of `POST /v1/policy`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PolicyBody {
    /// The file's text.
    pub toml: String,
}

/// A token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TokenView {
    /// Its name.
    pub id: String,
    /// What is printed; only in the answer that makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// `heg` or `utility`.
    pub role: String,
    /// Whom.
    pub uuid: Option<String>,
    /// The utility that a gateway enrolled with it belongs to.
    pub utility: Option<String>,
    /// Where.
    pub premises: String,
    /// `open`, `used`, `revoked` or `expired`.
    pub state: String,
    /// When it was made.
    pub made: String,
    /// From when on it is worth nothing.
    pub until: String,
    /// Attempts in the hour that is counted.
    pub attempts: u32,
}

impl TokenView {
    /// How a token looks.
    pub fn new(token: &Token, text: Option<String>, now: UnixTime) -> Self {
        let expired = token.state == "open" && token.until <= now;
        Self {
            id: token.id.to_string(),
            text,
            role: role_word(token.role).to_owned(),
            uuid: token.uuid.map(|uuid| uuid.to_string()),
            utility: token.utility.map(|uuid| uuid.to_string()),
            premises: token.premises.clone(),
            state: if expired { "expired".to_owned() } else { token.state.clone() },
            made: moment(token.made),
            until: moment(token.until),
            attempts: token.attempts,
        }
    }
}

/// A statement.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatementView {
    /// Its number.
    pub serial: u64,
    /// Whose keys they are.
    pub subject: String,
    /// `root`, `issuing`, `kmc`, `utility` or `heg`.
    pub role: String,
    /// `pending`, `active`, `superseded` or `revoked`.
    pub state: String,
    /// Identifier of the signing key.
    pub kid: String,
    /// When it begins.
    pub from: String,
    /// When it ends.
    pub until: String,
    /// The statement that it takes the place of.
    pub previous: Option<u64>,
    /// The statement as signed, hexadecimal.
    pub cose: String,
    /// The utility that a gateway belongs to, where one is shown in full and its token named one.
    pub utility: Option<String>,
    /// Where the subject says that it is reached, where one is shown in full.
    pub host: Option<String>,
}

impl StatementView {
    /// How a statement looks.
    pub fn new(stated: &Stated) -> Self {
        let s = &stated.statement;
        Self {
            serial: s.serial().0,
            subject: s.subject().to_string(),
            role: role_word(s.role()).to_owned(),
            state: stated.standing.word().to_owned(),
            kid: s.kid().to_string(),
            from: moment(s.validity().from()),
            until: moment(s.validity().until()),
            previous: s.previous().map(|serial| serial.0),
            cose: hex(s.raw()),
            utility: None,
            host: None,
        }
    }

    /// With what is known of the subject beside it.
    #[must_use]
    pub fn with(self, contact: Contact) -> Self {
        Self { utility: contact.utility.map(|uuid| uuid.to_string()), host: contact.host, ..self }
    }
}

/// A policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyView {
    /// Its version.
    pub version: u32,
    /// When it begins.
    pub from: String,
    /// When it ends.
    pub until: String,
    /// Least key size, bits.
    pub min_key_bits: u64,
    /// Lifetime of a signing key, s.
    pub sig_key_s: u64,
    /// Lifetime of a sealing key, s.
    pub kem_key_s: u64,
    /// Longest lifetime of a message, s.
    pub message_s: u64,
    /// Difference of clocks that is forgiven, s.
    pub skew_s: u64,
    /// How often to ask, s.
    pub refresh_s: u64,
}

impl PolicyView {
    /// How a policy looks.
    pub fn new(policy: &Policy) -> Self {
        let rules = policy.rules();
        Self {
            version: policy.version(),
            from: moment(policy.validity().from()),
            until: moment(policy.validity().until()),
            min_key_bits: rules.key_bits_min,
            sig_key_s: rules.sig_key_s,
            kem_key_s: rules.kem_key_s,
            message_s: rules.message_s,
            skew_s: rules.skew_s,
            refresh_s: rules.refresh_s,
        }
    }
}

/// An entry of the audit log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AuditView {
    /// Its number.
    pub seq: u64,
    /// When.
    pub time: String,
    /// Who: `operator:UID`, a party's UUID, for an order with `/` and the name of who gave it there, or `kmc`.
    pub actor: String,
    /// What.
    pub action: String,
    /// To whom or what.
    pub subject: String,
    /// More.
    pub detail: String,
    /// Hash over the entry before and this one, hexadecimal.
    pub hash: String,
}

impl AuditView {
    /// How an entry looks.
    pub fn new(entry: &AuditEntry) -> Self {
        Self {
            seq: entry.seq,
            time: moment(entry.at),
            actor: entry.actor.clone(),
            action: entry.action.clone(),
            subject: entry.subject.clone(),
            detail: entry.detail.clone(),
            hash: hex(&entry.hash),
        }
    }
}

/// Answer of `GET /v1/audit`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AuditAnswer {
    /// The newest entries asked for, oldest first.
    pub entries: Vec<AuditView>,
    /// The first entry of the whole log that does not follow from the one before: somebody edited it.
    pub broken_at: Option<u64>,
}

/// Answer of `GET /v1/status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatusView {
    /// The centre's UUID.
    pub id: String,
    /// Version of the program.
    pub version: String,
    /// Where homes ask.
    pub address: String,
    /// Where `/healthz` and `/metrics` are.
    pub local_address: String,
    /// What stands in tokens.
    pub host: String,
    /// First half of the root key's thumbprint, hexadecimal.
    pub fingerprint: String,
    /// When the root statement ends.
    pub root_until: String,
    /// When the issuing key ends.
    pub issuing_until: String,
    /// Version of the policy.
    pub policy: u32,
    /// Version of the revocation list.
    pub revocations: u64,
    /// Statements on it.
    pub revoked: usize,
    /// Gateways with a statement in force.
    pub gateways: u64,
    /// Utilities with a statement in force.
    pub utilities: u64,
    /// Tokens that could still be used.
    pub open_tokens: u32,
    /// Messages archived.
    pub evidence: u64,
    /// Hash of the newest audit entry: note it down elsewhere, and nobody can cut the log's end off unseen.
    pub audit_head: String,
    /// What goes wrong now.
    pub troubles: Vec<String>,
}

/// A role as people call it.
pub fn role_word(role: Role) -> &'static str {
    match role {
        Role::Root => "root",
        Role::Issuing => "issuing",
        Role::Kmc => "kmc",
        Role::Utility => "utility",
        Role::Gateway => "heg",
        _ => "unknown",
    }
}

/// The role that an operator may name.
pub fn role_of(word: &str) -> Option<Role> {
    [Role::Gateway, Role::Utility].into_iter().find(|role| role_word(*role) == word)
}

/// RFC 3339, UTC.
pub fn moment(at: UnixTime) -> String {
    let at = i64::try_from(at.0).ok().and_then(|s| Timestamp::from_second(s).ok());
    at.unwrap_or(Timestamp::MAX).to_string()
}
