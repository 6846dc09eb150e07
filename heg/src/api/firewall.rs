//! What the control API says of the firewall.

use serde::{Deserialize, Serialize};

/// Answer to `GET /v1/firewall`, and to what changes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FirewallView {
    /// `in-place`, `off` or `not-in-place`.
    pub state: String,
    /// `router` or `host`.
    pub shape: String,
    /// Why this shape.
    pub why: String,
    /// The last change: `confirmed`, `waiting` or `rolled-back`.
    pub change: String,
    /// A waiting change is taken back after so many seconds.
    pub confirm_within_s: Option<u64>,
    /// Interfaces toward the Internet.
    pub wan: Vec<String>,
    /// Interfaces of the home.
    pub lan: Vec<String>,
    /// Interfaces of this machine's own making.
    pub inner: Vec<String>,
    /// The home's networks.
    pub networks: Vec<String>,
    /// The gateway's TCP port.
    pub http_port: Option<u16>,
    /// Known appliances in the set.
    pub appliances: usize,
    /// Addresses of the utility found beyond the settings.
    pub utility: Vec<String>,
    /// Who may use SSH from the WAN side.
    pub ssh_sources: Vec<String>,
    /// What was dropped, by reason.
    pub dropped: Vec<DropView>,
    /// What is not well.
    pub trouble: Option<String>,
}

/// Packets dropped for one reason, since the rules were first put in place after boot.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DropView {
    /// The counter's name.
    pub name: String,
    /// The reason.
    pub what: String,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Answer to `GET /v1/firewall/plan`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlanView {
    /// Applying it would change something.
    pub changes: bool,
    /// What the rules would do, for people.
    pub lines: Vec<String>,
    /// The transaction for `nft -j`.
    pub rules: serde_json::Value,
}
