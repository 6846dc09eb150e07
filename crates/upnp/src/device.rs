//! A root device: its documents, its services, its subscribers and its announcements behind one face.

use core::time::Duration;

use crate::ids::{TypeUrn, Udn};
use crate::service::ServiceDecl;

/// Who a device is.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// Unique Device Name, kept for the life of the device.
    pub udn: Udn,
    /// Device type.
    pub device_type: TypeUrn,
    /// Name for people.
    pub friendly_name: String,
    /// Maker's name.
    pub manufacturer: String,
    /// Maker's site; empty for none.
    pub manufacturer_url: String,
    /// Model name.
    pub model_name: String,
    /// What the model is; empty for none.
    pub model_description: String,
    /// Model number; empty for none.
    pub model_number: String,
    /// Services, in the order of the description.
    pub services: Vec<&'static ServiceDecl>,
    /// SERVER header: `OS/version UPnP/1.1 product/version`.
    pub server: String,
    /// TCP port of our HTTP server.
    pub http_port: u16,
    /// BOOTID.UPNP.ORG: 31 bits, higher at every start.
    pub boot_id: u32,
    /// How long an announcement holds; at least 1800 s.
    pub max_age: Duration,
    /// Names besides our addresses that may stand in a Host header.
    pub host_names: Vec<String>,
    /// Seeds everything random: SIDs and times of announcements.
    pub seed: u64,
}
