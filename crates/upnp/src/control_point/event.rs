//! What the application tells a control point to look for, and what it is told.

use core::time::Duration;
use std::sync::Arc;

use super::{CallError, CallId, KnownDevice};
use crate::ids::{TypeUrn, Udn};
use crate::ssdp::{GoneWhy, Target};
use crate::url::HttpUrl;

/// What a control point looks for.
#[derive(Clone, Debug)]
pub struct ControlPointConfig {
    /// Searched for.
    pub targets: Vec<Target>,
    /// Service types to subscribe to at each device found; a higher version offered will do.
    pub subscribe: Vec<TypeUrn>,
    /// USER-AGENT: `OS/version UPnP/1.1 product/version`.
    pub user_agent: String,
    /// Port of our HTTP server, which takes the NOTIFYs.
    pub callback_port: u16,
    /// MX of searches, seconds.
    pub mx: u8,
    /// Time between searches.
    pub search_every: Duration,
    /// Descriptions of devices that SSDP cannot reach (another network, multicast filtered).
    pub static_devices: Vec<HttpUrl>,
    /// Seed of all randomness.
    pub seed: u64,
}

/// Why a device is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyCause {
    /// Found, or found again after it was gone.
    Appeared,
    /// It restarted; what it was told before may be forgotten.
    Rebooted,
    /// It is at another address or port, or describes itself differently.
    Moved,
}

/// What the application is told.
#[derive(Clone, Debug)]
pub enum ControlPointEvent {
    /// A description was read; the device can be called.
    Ready {
        /// The device.
        udn: Udn,
        /// What is known of it.
        device: Arc<KnownDevice>,
        /// Why now.
        cause: ReadyCause,
    },
    /// A device left or was not heard of for too long; it is forgotten. Only for devices the application has heard of.
    Gone {
        /// The device.
        udn: Udn,
        /// How it is known.
        why: GoneWhy,
    },
    /// Events of this service will come.
    Subscribed {
        /// The device.
        udn: Udn,
        /// The service, in the version the device offers.
        service_type: TypeUrn,
    },
    /// Events of this service may be missed until it is subscribed again, which is tried without end. Said once until then.
    SubscriptionLost {
        /// The device.
        udn: Udn,
        /// The service.
        service_type: TypeUrn,
        /// For people.
        error: String,
    },
    /// Variables of a service changed, or are told for the first time.
    Event {
        /// The device.
        udn: Udn,
        /// The service.
        service_type: TypeUrn,
        /// Names and values as they came, in their order; booleans of foreign devices may be `False` or `yes`.
        variables: Vec<(String, String)>,
        /// It came by multicast, to all. The same change may come by NOTIFY too: UDA counts them apart.
        multicast: bool,
    },
    /// A call is over.
    CallDone {
        /// Which.
        call: CallId,
        /// The device.
        udn: Udn,
        /// OUT arguments in the order they came, or why not.
        result: Result<Vec<(String, String)>, CallError>,
    },
    /// A configured device could not be read; it is tried again without end. Said once until it can be.
    StaticFailed {
        /// As configured.
        location: HttpUrl,
        /// For people.
        error: String,
    },
    /// A description could not be read; it is tried again without end. Said once until it can be.
    DescriptionFailed {
        /// The device.
        udn: Udn,
        /// For people.
        error: String,
    },
}
