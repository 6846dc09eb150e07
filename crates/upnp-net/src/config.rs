//! What the driver is told at start.

use crate::limits;
use crate::{ClientLimits, ServerLimits};

/// Which interfaces are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceFilter {
    /// Kernel names; empty means every suitable one (up, with carrier, multicast-capable, not point to point). A name listed
    /// here is taken even when it is a point-to-point link.
    pub include: Vec<String>,
    /// Kernel names never used; wins over `include`.
    pub exclude: Vec<String>,
    /// Whether the loopback interface is used too (tests, and several programs on one host without a network).
    pub loopback: bool,
    /// Only addresses that the Internet cannot reach: private (RFC 1918), link-local, unique local (RFC 4193), loopback.
    pub private_only: bool,
}

/// The driver's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConfig {
    /// TCP port of the HTTP listeners on every address; 0 takes any free one, fixed from then on.
    pub http_port: u16,
    /// Which interfaces are used.
    pub interfaces: InterfaceFilter,
    /// Whether IPv6 is used.
    pub ipv6: bool,
    /// IPv4 TTL and IPv6 hop limit of multicast datagrams; link-local IPv6 groups always get 1 (UDA 1.1, annex A).
    pub multicast_ttl: u8,
    /// Bounds of the HTTP server.
    pub server: ServerLimits,
    /// Bounds of the HTTP client.
    pub client: ClientLimits,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            http_port: 0,
            interfaces: InterfaceFilter::default(),
            ipv6: true,
            multicast_ttl: limits::MULTICAST_TTL,
            server: ServerLimits::default(),
            client: ClientLimits::default(),
        }
    }
}
