//! The operator API's words: JSON bodies and answers, the same for the server and `utilityctl`. Times are RFC 3339 in UTC.

use energy_model::PowerState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utility_wire::{Per, UnixTime};

use crate::events::{StoredControl, StoredLimit};
use crate::service::Periods;
use crate::sites::{Appliance, Contact, Site};
use crate::store::{Change, Decision, MeterInterval, Operator, PublishedPrices, Responses};

/// RFC 3339, UTC, seconds.
pub fn moment(at: UnixTime) -> String {
    let seconds = i64::try_from(at.seconds()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_string()
}

/// Reads a moment; `None`: it is none, or before 1970.
pub fn instant(text: &str) -> Option<UnixTime> {
    let at: Timestamp = text.parse().ok()?;
    u64::try_from(at.as_second()).ok().map(UnixTime::new)
}

macro_rules! views {
    ($($(#[$doc:meta])* pub struct $name:ident { $($(#[$fdoc:meta])* pub $field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        pub struct $name { $($(#[$fdoc])* pub $field: $kind,)* }
    )*};
}

views! {
    /// An answer with a status of 400 or more (RFC 9457).
    pub struct ProblemView {
        /// Kind of problem; always `about:blank`: the status says it.
        pub r#type: String,
        /// The status in words.
        pub title: String,
        /// The status.
        pub status: u16,
        /// What is wrong, for people.
        pub detail: String,
        /// A word for programs.
        pub code: String,
    }

    /// `GET /v1/status`.
    pub struct StatusView {
        /// Version of the server.
        pub version: String,
        /// `sqlite` or `postgres`.
        pub store: String,
        /// Sites known.
        pub sites: u64,
        /// Sites heard within two report periods.
        pub sites_live: u64,
        /// Rules in use.
        pub rules: usize,
        /// Number of the last change.
        pub last_change: u64,
        /// What is not well, each a sentence; empty when all is.
        pub troubles: Vec<String>,
    }

    /// Body of `POST /v1/sites` and, without `id`, of `PUT /v1/sites/ID`.
    pub struct SiteBody {
        /// UUID of the gateway.
        pub id: Option<String>,
        /// Name for people.
        #[serde(default)]
        pub name: String,
        /// Price zone.
        pub zone: String,
        /// Place in the grid.
        pub group: String,
    }

    /// A site.
    pub struct SiteView {
        /// UUID of the gateway.
        pub id: String,
        /// Name for people.
        pub name: String,
        /// Price zone.
        pub zone: String,
        /// Place in the grid.
        pub group: String,
        /// When it was taken up.
        pub added: String,
        /// `live`, `late`, `lost` or `never`.
        pub contact: String,
        /// When it was last heard.
        pub last_contact: Option<String>,
        /// When it last reported.
        pub last_report: Option<String>,
    }

    /// `GET /v1/sites/ID`.
    pub struct SiteDetail {
        /// The site.
        pub site: SiteView,
        /// Its appliances.
        pub appliances: Vec<ApplianceView>,
        /// The latest decisions about those whose people allow direct control, oldest first.
        pub decisions: Vec<DecisionView>,
    }

    /// A decision at home, or what came of it.
    pub struct DecisionView {
        /// When.
        pub at: String,
        /// About which appliance.
        pub appliance: String,
        /// What.
        pub action: String,
        /// By which input: `price`, `window`, `utility:7`, `person`...
        pub cause: String,
        /// How it ended.
        pub outcome: String,
        /// Why.
        pub reason: String,
    }

    /// An appliance.
    pub struct ApplianceView {
        /// Identifier.
        pub id: String,
        /// Name for people.
        pub name: String,
        /// `ON`, `OFF`, `Standby` or `Unknown`.
        pub state: String,
        /// Since when.
        pub since: String,
        /// Power drawn, W.
        pub power_w: Option<u32>,
        /// Rated power, W.
        pub rated_w: Option<u32>,
        /// Importance class.
        pub importance: Option<String>,
        /// Flexibility class.
        pub flexibility: Option<String>,
        /// Whether direct control is allowed.
        pub consents: bool,
    }

    /// An interval of consumption.
    pub struct IntervalView {
        /// Start.
        pub start: String,
        /// Length, seconds.
        pub length_s: u32,
        /// Energy, Wh; null: lost.
        pub energy_wh: Option<u32>,
    }

    /// Answer to a publication.
    pub struct Published {
        /// The zone's version; 0 for a dry run.
        pub version: u64,
        /// The series.
        pub prices: PricesView,
    }

    /// A price series.
    pub struct PricesView {
        /// Zone.
        pub zone: String,
        /// Version.
        pub version: u64,
        /// Currency.
        pub currency: String,
        /// `MWh` or `kWh`.
        pub per: String,
        /// Start of the first slot.
        pub start: String,
        /// End of the last.
        pub end: String,
        /// Length of a slot, seconds.
        pub slot_s: u32,
        /// Prices, thousandths of the currency.
        pub prices_milli: Vec<i64>,
        /// When it was published; null for a dry run.
        pub published: Option<String>,
        /// By whom.
        pub by: Option<String>,
    }

    /// Body of `POST /v1/limits`.
    pub struct LimitBody {
        /// A group, or a site's UUID.
        pub target: String,
        /// The most a home may draw, W.
        pub watts: u32,
        /// When it begins; null: now.
        pub start: Option<String>,
        /// How long it lasts, seconds; null: until it is cancelled.
        pub duration_s: Option<u32>,
        /// Greater goes first.
        #[serde(default)]
        pub priority: u8,
        /// Spread of its start, seconds.
        #[serde(default)]
        pub randomise_s: u16,
        /// The limit it takes the place of.
        pub supersedes: Option<u64>,
        /// Why.
        #[serde(default)]
        pub reason: String,
    }

    /// A limit.
    pub struct LimitView {
        /// Number.
        pub id: u64,
        /// A group, or a site's UUID.
        pub target: String,
        /// `scheduled`, `active`, `completed`, `cancelled` or `superseded`.
        pub status: String,
        /// The most a home may draw, W.
        pub watts: u32,
        /// When it begins.
        pub start: String,
        /// How long it lasts, seconds; null: until it is cancelled.
        pub duration_s: Option<u32>,
        /// Greater goes first.
        pub priority: u8,
        /// Spread of its start, seconds.
        pub randomise_s: u16,
        /// The limit it took the place of.
        pub supersedes: Option<u64>,
        /// When it was made.
        pub made: String,
        /// By whom.
        pub by: String,
        /// Why.
        pub reason: String,
        /// When it was taken back.
        pub ended: Option<String>,
    }

    /// What homes answered to a limit.
    pub struct ResponsesView {
        /// How many said what.
        pub counts: Vec<CountView>,
        /// Who refused.
        pub refused: Vec<RefusalView>,
    }

    /// How many homes said something.
    pub struct CountView {
        /// `received`, `started`, `done`, `refused` or `expired`.
        pub outcome: String,
        /// How many.
        pub homes: u64,
    }

    /// A home that refused.
    pub struct RefusalView {
        /// UUID.
        pub site: String,
        /// A word or an appliance's error number.
        pub code: String,
        /// Why.
        pub reason: String,
    }

    /// Body of `POST /v1/controls`.
    pub struct ControlBody {
        /// UUID of the home.
        pub site: String,
        /// Appliance.
        pub appliance: String,
        /// `ON`, `OFF` or `Standby`.
        pub action: PowerState,
        /// It must be begun within so many seconds.
        pub within_s: u32,
        /// Why.
        #[serde(default)]
        pub reason: String,
    }

    /// A control.
    pub struct ControlView {
        /// Number.
        pub id: u64,
        /// UUID of the home.
        pub site: String,
        /// Appliance.
        pub appliance: String,
        /// What to do.
        pub action: String,
        /// `queued`, `sent`, `received`, `done`, `refused`, `expired` or `cancelled`.
        pub progress: String,
        /// Since when.
        pub progressed: String,
        /// Why it was refused: a word or an appliance's error number.
        pub code: Option<String>,
        /// The same for people.
        pub why: Option<String>,
        /// Until when it must be begun.
        pub expires: String,
        /// When it was made.
        pub made: String,
        /// By whom.
        pub by: String,
        /// Why.
        pub reason: String,
    }

    /// Answer to something made.
    pub struct Made {
        /// Its number.
        pub id: u64,
    }

    /// Body of `POST /v1/enrol`.
    pub struct EnrolBody {
        /// What `heg-kmc token new --role utility` printed.
        pub token: String,
        /// UUID of the utility; null: a new one.
        pub id: Option<String>,
    }

    /// `GET /v1/keys`: the utility's own standing.
    pub struct KeysView {
        /// Its UUID.
        pub id: String,
        /// The KMC's.
        pub kmc: String,
        /// Serial of its statement.
        pub serial: u64,
        /// From when the statement holds.
        pub from: String,
        /// Until when; it is stated anew before.
        pub until: String,
        /// Identifier of its signing key.
        pub signing_key: String,
        /// Identifier of the key that messages for it are sealed to.
        pub sealing_key: String,
        /// Until when messages to the sealing key before are opened; null: there is none.
        pub previous_until: Option<String>,
        /// Version of the policy it follows.
        pub policy: u32,
        /// Version of the revocation list it goes by.
        pub revocations: u64,
    }

    /// `GET /v1/sites/ID/keys`.
    pub struct SiteKeysView {
        /// How often the home's keys began anew, from 1; 0: none are known.
        pub lineage: u64,
        /// Where it is reached, if it says so.
        pub host: Option<String>,
        /// Whether new keys are let in without the old ones' word.
        pub renew: bool,
        /// Its statements, the newest first.
        pub statements: Vec<StatementView>,
    }

    /// A statement of a home's keys.
    pub struct StatementView {
        /// Serial.
        pub serial: u64,
        /// Identifier of the signing key.
        pub signing_key: String,
        /// From when it holds.
        pub from: String,
        /// Until when.
        pub until: String,
        /// `in-force`, `replaced` or `revoked`.
        pub standing: String,
    }

    /// Body of `POST /v1/sites/ID/token`.
    pub struct SiteTokenBody {
        /// How long it is good, days; null: 30.
        pub days: Option<u32>,
    }

    /// Answer to it; the token is shown this once.
    pub struct SiteTokenView {
        /// UUID of the gateway.
        pub id: String,
        /// What the gateway enrols with.
        pub token: String,
    }

    /// Body of `POST /v1/sites/ID/revoke`.
    pub struct RevokeBody {
        /// Why.
        pub reason: String,
    }

    /// `GET /v1/policy`, and the answer to `PUT`.
    pub struct PolicyView {
        /// Version.
        pub version: u32,
        /// Until when it holds; the KMC renews it before.
        pub until: Option<String>,
        /// Life of a signing key, seconds.
        pub sig_key_s: u64,
        /// Life of a sealing key, seconds.
        pub kem_key_s: u64,
        /// Life of a message, seconds.
        pub message_s: u64,
        /// Difference of clocks that is forgiven, seconds.
        pub skew_s: u64,
        /// How often policy and revocation list are asked for, seconds.
        pub refresh_s: u64,
    }

    /// `GET /v1/sites/ID/evidence`: a page of it.
    pub struct EvidenceView {
        /// Statements of the home and those above them, as signed, base64.
        pub statements: Vec<String>,
        /// Messages, oldest first.
        pub messages: Vec<ProofView>,
        /// Whether more follow the last one.
        pub more: bool,
    }

    /// A signed message with what shows its content.
    pub struct ProofView {
        /// When it was taken.
        pub taken: String,
        /// Its number.
        pub seq: u64,
        /// Serial of the statement whose key signed it.
        pub serial: u64,
        /// The message as it came (COSE_Sign1), base64.
        pub message: String,
        /// The 16 bytes before its body, base64.
        pub salt: String,
        /// Its body, base64.
        pub body: String,
    }

    /// A rule.
    pub struct RuleView {
        /// Name.
        pub name: String,
        /// The rule in one line.
        pub words: String,
        /// The limit it made that is not over.
        pub limit: Option<u64>,
        /// What it last did, and why.
        pub why: String,
    }

    /// `GET /v1/changes`.
    pub struct ChangesView {
        /// Number to ask on from.
        pub last: u64,
        /// Changes, oldest first.
        pub changes: Vec<ChangeView>,
    }

    /// A change.
    pub struct ChangeView {
        /// Number.
        pub id: u64,
        /// When.
        pub at: String,
        /// Who.
        pub actor: String,
        /// What.
        pub action: String,
        /// To what.
        pub subject: String,
        /// How.
        pub detail: serde_json::Value,
    }

    /// Body of `POST /v1/operators`.
    pub struct OperatorBody {
        /// Name.
        pub name: String,
        /// `viewer`, `operator` or `admin`.
        pub role: String,
    }

    /// Answer to it; the token is shown this once.
    pub struct TokenView {
        /// Name.
        pub name: String,
        /// Bearer token.
        pub token: String,
    }

    /// An operator.
    pub struct OperatorView {
        /// Name.
        pub name: String,
        /// `viewer`, `operator` or `admin`.
        pub role: String,
        /// When they were made.
        pub made: String,
        /// By whom.
        pub by: String,
    }
}

impl SiteView {
    /// How a site looks.
    pub fn new(site: &Site, periods: Periods, now: UnixTime) -> Self {
        Self {
            id: site.id.to_string(),
            name: site.name.clone(),
            zone: site.zone.to_string(),
            group: site.group.to_string(),
            added: moment(site.added),
            contact: Contact::of(site.last_contact, periods.report_s, now).as_str().to_owned(),
            last_contact: site.last_contact.map(moment),
            last_report: site.last_report.map(moment),
        }
    }
}

impl From<&Appliance> for ApplianceView {
    fn from(a: &Appliance) -> Self {
        Self {
            id: a.id.to_string(),
            name: a.name.clone(),
            state: a.state.map_or("Unknown", PowerState::as_str).to_owned(),
            since: moment(a.since),
            power_w: a.power.map(|w| w.count()),
            rated_w: a.rated.map(|w| w.count()),
            importance: a.importance.map(|i| i.to_string()),
            flexibility: a.flexibility.map(|f| f.to_string()),
            consents: a.consents,
        }
    }
}

impl From<&Decision> for DecisionView {
    fn from(d: &Decision) -> Self {
        Self {
            at: moment(d.at),
            appliance: d.appliance.to_string(),
            action: d.action.clone(),
            cause: d.cause.clone(),
            outcome: d.outcome.clone(),
            reason: d.reason.clone(),
        }
    }
}

impl From<&MeterInterval> for IntervalView {
    fn from(i: &MeterInterval) -> Self {
        Self { start: moment(i.start), length_s: i.length_s, energy_wh: i.energy.map(|e| e.count()) }
    }
}

impl PricesView {
    /// How a series looks, published or not.
    pub fn new(series: &utility_wire::PriceSeries) -> Self {
        Self {
            zone: series.zone().to_string(),
            version: series.version(),
            currency: series.currency().to_string(),
            per: match series.per() {
                Per::MegawattHour => "MWh",
                Per::KilowattHour => "kWh",
            }
            .to_owned(),
            start: moment(series.start()),
            end: moment(series.end()),
            slot_s: series.slot_s(),
            prices_milli: series.prices_milli().to_vec(),
            published: None,
            by: None,
        }
    }
}

impl From<&PublishedPrices> for PricesView {
    fn from(p: &PublishedPrices) -> Self {
        Self { published: Some(moment(p.published)), by: Some(p.by.clone()), ..Self::new(&p.series) }
    }
}

impl LimitView {
    /// How a limit looks.
    pub fn new(l: &StoredLimit, now: UnixTime) -> Self {
        Self {
            id: l.limit.id.number(),
            target: l.target.to_string(),
            status: l.status(now).as_str().to_owned(),
            watts: l.limit.watts.count(),
            start: moment(l.limit.start),
            duration_s: l.limit.duration_s,
            priority: l.limit.priority,
            randomise_s: l.limit.randomise_s,
            supersedes: l.limit.supersedes.map(|id| id.number()),
            made: moment(l.made),
            by: l.by.clone(),
            reason: l.reason.clone(),
            ended: l.ended.map(|e| moment(e.at)),
        }
    }
}

impl From<Responses> for ResponsesView {
    fn from(r: Responses) -> Self {
        let refusal = |(site, code, reason): (crate::sites::SiteId, utility_wire::RefusalCode, String)| RefusalView {
            site: site.to_string(),
            code: code.to_string(),
            reason,
        };
        Self {
            counts: r.counts.into_iter().map(|(outcome, homes)| CountView { outcome, homes }).collect(),
            refused: r.refused.into_iter().map(refusal).collect(),
        }
    }
}

impl ControlView {
    /// How a control looks.
    pub fn new(c: &StoredControl, now: UnixTime) -> Self {
        use crate::events::Progress;
        let progress = c.progress(now);
        let (code, why) = match &progress {
            Progress::Refused(code, why) => (Some(code.to_string()), Some(why.clone())),
            _ => (None, None),
        };
        Self {
            id: c.control.id.number(),
            site: c.site.to_string(),
            appliance: c.control.appliance.to_string(),
            action: c.control.action.to_string(),
            progress: progress.as_str().to_owned(),
            progressed: moment(c.progressed),
            code,
            why,
            expires: moment(c.control.expires),
            made: moment(c.made),
            by: c.by.clone(),
            reason: c.reason.clone(),
        }
    }
}

impl From<&Change> for ChangeView {
    fn from(c: &Change) -> Self {
        Self {
            id: c.id,
            at: moment(c.at),
            actor: c.actor.clone(),
            action: c.action.clone(),
            subject: c.subject.clone(),
            detail: c.detail.clone(),
        }
    }
}

impl From<&Operator> for OperatorView {
    fn from(o: &Operator) -> Self {
        Self { name: o.name.clone(), role: o.role.to_string(), made: moment(o.made), by: o.by.clone() }
    }
}
