//! The control API's values about the utility: `GET /v1/utility`, and what people tell about it.

use secure_http::Statement;
use serde::{Deserialize, Serialize};
use utility_wire::{Limit, Per, UnixTime};

use super::moment as wall;
use crate::gateway::Gateway;
use crate::now::Now;
use crate::utility::{Utility, moment};
use crate::utility_client::{UtilityClient, wire_time};

/// Body of `POST /v1/utility/enrol`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EnrolBody {
    /// The text of the utility's QR code.
    pub token: String,
    /// Though this gateway is enrolled already.
    #[serde(default)]
    pub replace: bool,
}

/// Body of `POST /v1/utility/consent`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ConsentBody {
    /// Name, UDN or its beginning; none for all appliances.
    #[serde(default)]
    pub appliance: Option<String>,
    /// Whether the utility may control it.
    pub allow: bool,
}

/// Answer of `GET /v1/utility`. Moments are by the KMC's clock.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UtilityView {
    /// Whether the key management centre has stated this gateway's keys.
    pub enrolled: bool,
    /// Whether an enrolment is under way.
    pub enrolling: bool,
    /// This gateway's UUID, its name toward the utility.
    pub home: String,
    /// The key management centre's address.
    pub kmc: Option<String>,
    /// What keeps it from being up to date with the key management centre.
    pub kmc_trouble: Option<String>,
    /// The utility's UUID.
    pub utility: Option<String>,
    /// Where it is reached.
    pub address: Option<String>,
    /// The time; none while it is not known.
    pub time: Option<String>,
    /// When the utility was last heard.
    pub heard: Option<String>,
    /// Whether it is not heard, though it should be.
    pub lost: bool,
    /// Version of the security policy followed; 0 for none.
    pub policy: u32,
    /// Until when it holds.
    pub policy_until: Option<String>,
    /// Version of the revocation list gone by; 0 for none.
    pub revocations: u64,
    /// Until when this gateway's own statement holds.
    pub statement_until: Option<String>,
    /// Since when it signs with its key.
    pub signing_key_since: Option<String>,
    /// Since when messages are sealed to its other key.
    pub sealing_key_since: Option<String>,
    /// The limit in force.
    pub limit: Option<LimitView>,
    /// Limits that are not over.
    pub limits: Vec<LimitView>,
    /// The price zone.
    pub zone: Option<String>,
    /// The price now, `12.345 SEK/kWh`.
    pub price: Option<String>,
    /// Until when prices are known without a gap.
    pub prices_until: Option<String>,
    /// Controls under way.
    pub controls: Vec<ControlView>,
    /// Reports that the utility has not acknowledged.
    pub unacknowledged: usize,
    /// When the oldest of them was made.
    pub unacknowledged_since: Option<String>,
    /// The last time that the utility did not answer as it should, by the gateway's wall clock, and why.
    pub last_failure: Option<String>,
    /// The last control that was refused here, and why.
    pub last_refusal: Option<String>,
    /// What is out of date, each a sentence; empty when all is well.
    pub stale: Vec<String>,
    /// Which appliances the utility may control.
    pub consent: Vec<ConsentView>,
}

/// A limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LimitView {
    /// Its number.
    pub id: u64,
    /// The most that the home may draw, W.
    pub watts: u32,
    /// When it begins here, its random delay included.
    pub start: String,
    /// When it ends here; none: when it is called off.
    pub end: Option<String>,
    /// The greatest goes.
    pub priority: u8,
    /// Called off.
    pub cancelled: bool,
}

/// A control under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ControlView {
    /// Its number.
    pub id: u64,
    /// Which appliance.
    pub appliance: String,
    /// The state asked for.
    pub action: String,
    /// From when on it must not be begun.
    pub expires: String,
}

/// Whether the utility may control an appliance.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ConsentView {
    /// Which.
    pub udn: String,
    /// Its name.
    pub name: String,
    /// Whether it may.
    pub allowed: bool,
}

impl UtilityView {
    /// How things stand.
    pub fn new(utility: &Utility, client: &UtilityClient, gateway: &Gateway, now: Now) -> Self {
        let membership = client.membership();
        let policy = membership.and_then(|m| m.policy().policy());
        let time = utility.time(now);
        let (unacknowledged, oldest) = utility.unacknowledged();
        let until = |statement: &Statement| moment(wire_time(statement.validity().until()));
        let since = |pick: fn((secure_http::UnixTime, secure_http::UnixTime)) -> secure_http::UnixTime| {
            let enrolled = membership.filter(|m| m.statement().is_some())?;
            Some(moment(wire_time(pick(enrolled.keys_since()))))
        };
        let consents = |udn: &upnp::ids::Udn| utility.consent().allows(udn);
        Self {
            enrolled: membership.is_some_and(|m| m.statement().is_some()),
            enrolling: client.is_enrolling(),
            home: utility.home().to_owned(),
            kmc: membership.map(|m| m.kmc_host().to_owned()),
            kmc_trouble: client.kmc_trouble(),
            utility: utility.peer().map(str::to_owned),
            address: membership.and_then(|m| m.peer()).and_then(|peer| peer.host.clone()),
            time: time.map(moment),
            heard: utility.heard().map(moment),
            lost: utility.is_lost(),
            policy: policy.map_or(0, |policy| policy.version()),
            policy_until: policy.map(|policy| moment(wire_time(policy.validity().until()))),
            revocations: membership.and_then(|m| m.revocations()).map_or(0, |list| list.version()),
            statement_until: membership.and_then(|m| m.statement()).map(until),
            signing_key_since: since(|(sig, _)| sig),
            sealing_key_since: since(|(_, kem)| kem),
            limit: utility.limit_in_force(now).map(|limit| LimitView::new(limit, utility.home())),
            limits: utility.known().limits().limits.iter().map(|l| LimitView::new(l, utility.home())).collect(),
            zone: utility.known().zone().map(ToString::to_string),
            price: time.and_then(|time| price(utility, time)),
            prices_until: time.and_then(|time| utility.known().prices_until(time)).map(moment),
            controls: utility
                .controls()
                .map(|c| ControlView {
                    id: c.id.number(),
                    appliance: c.appliance.to_string(),
                    action: c.action.to_string(),
                    expires: moment(c.expires),
                })
                .collect(),
            unacknowledged,
            unacknowledged_since: oldest.map(moment),
            last_failure: utility.last_failure().map(|(at, why)| format!("{} {why}", wall(at))),
            last_refusal: utility.last_refusal().map(|(id, why)| format!("control {id}: {why}")),
            stale: utility.stale(now),
            consent: gateway
                .registry()
                .iter()
                .map(|a| ConsentView {
                    udn: a.udn().to_string(),
                    name: gateway.name_of(a).to_owned(),
                    allowed: consents(a.udn()),
                })
                .collect(),
        }
    }
}

impl LimitView {
    fn new(limit: &Limit, home: &str) -> Self {
        let (start, end) = limit.window(home);
        Self {
            id: limit.id.number(),
            watts: limit.watts.count(),
            start: moment(start),
            end: end.map(moment),
            priority: limit.priority,
            cancelled: limit.cancelled,
        }
    }
}

fn price(utility: &Utility, time: UnixTime) -> Option<String> {
    let (milli, series) = utility.known().price_at(time)?;
    let unit = match series.per() {
        Per::KilowattHour => "kWh",
        Per::MegawattHour => "MWh",
    };
    let (sign, digits) = (if milli < 0 { "-" } else { "" }, milli.unsigned_abs());
    Some(format!("{sign}{}.{:03} {}/{unit}", digits / 1000, digits % 1000, series.currency()))
}
