//! Every bound of the driver, each with its reason. Those of [`crate::ServerLimits`] and [`crate::ClientLimits`] are defaults.

use core::time::Duration;

/// TTL of multicast datagrams (UDA 1.1, 1.1.2: default 2, configurable).
pub const MULTICAST_TTL: u8 = 2;

/// Interfaces used at most. A home host has a handful; a host with hundreds of container bridges must name its own.
pub const INTERFACES_MAX: usize = 32;
/// Addresses used per interface. One IPv4, one link-local and a few IPv6 prefixes are usual.
pub const ADDRESSES_PER_INTERFACE_MAX: usize = 8;
/// Netlink messages read in one go: more than the kernel puts in one datagram of a dump.
pub const NETLINK_BYTES_MAX: usize = 32 * 1024;
/// One datagram of nftables' changes: the kernel fills at most a page, and at most 8 KiB of a larger one.
pub const PACKET_FILTER_DATAGRAM_BYTES_MAX: usize = 8 * 1024;
/// Dumps tried again when the tables changed under the dump.
pub const DUMP_TRIES_MAX: usize = 4;
/// Link and address changes come in bursts: the tables are read once nothing has changed for this long,
pub const SETTLE: Duration = Duration::from_millis(75);
/// but no later than this after the first change, however long the burst lasts.
pub const SETTLE_MAX: Duration = Duration::from_millis(500);
/// A socket that cannot be bound is tried again after this, doubling
pub const BIND_RETRY_MIN: Duration = Duration::from_millis(250);
/// up to this: an address that works again is used within half a minute.
pub const BIND_RETRY_MAX: Duration = Duration::from_secs(30);
/// Ports tried for `http_port` 0 until one is free on all addresses.
pub const FREE_PORT_TRIES_MAX: usize = 16;

/// A datagram longer than this is dropped. SSDP messages are about 500 bytes; multicast events fit one Ethernet frame
/// unless they carry long values.
pub const DATAGRAM_BYTES_MAX: usize = 8 * 1024;
/// Datagrams between the socket tasks and the loop. When full the tasks wait and the kernel's socket buffer (about 200
/// datagrams) fills and then drops, which SSDP is made for.
pub const DATAGRAMS_QUEUED_MAX: usize = 64;

/// A request body. The largest legitimate one is a NOTIFY with all variables of a service, below 10 KiB.
pub const REQUEST_BODY_BYTES_MAX: usize = 64 * 1024;
/// Start line and headers of a request or an answer, bytes; the smallest buffer hyper takes is 8 KiB.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header fields of a request or an answer. UPnP messages have about 12, browsers about 20.
pub const HEADERS_MAX: usize = 64;
/// Incoming connections in total: 160 appliances with one or two each. Then one that waits for a request gives way: of the peer
/// that has most of them, first one that never asked, then the one idle longest.
pub const CONNECTIONS_MAX: usize = 400;
/// Incoming connections per peer address. Several programs may run on one peer; one peer must not take all. Then one of its
/// own gives way.
pub const CONNECTIONS_PER_PEER_MAX: usize = 200;
/// Connections the kernel holds until they are accepted: most of a home that calls at once.
pub const BACKLOG: i32 = 128;
/// Pause of a listener when no connection can be accepted (out of file descriptors), instead of spinning.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A head must be complete this long after its first byte.
pub const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// A body must be complete this long after its head; a Content-Length that lies ends here.
pub const BODY_WITHIN: Duration = Duration::from_secs(5);
/// The application must have answered within this (UDA 1.1, 3.2.1: 30 s), else 503 goes out.
pub const RESPONSE_WITHIN: Duration = Duration::from_secs(30);
/// From the first byte of a request to the last byte of its answer taken by the peer: the three above and time to read
/// it. A peer that does not read its answer ends here.
pub const EXCHANGE_WITHIN: Duration = Duration::from_secs(60);
/// A connection without a request is closed after this: the longest subscription. A publisher that has had no event for so
/// long opens its connection again a second later; one whose peer has vanished ends here.
pub const SERVER_IDLE: Duration = Duration::from_secs(upnp::limits::SUBSCRIPTION_MAX_S as u64);
/// After an answer that closes the connection, the peer's remaining bytes are read and dropped for so long,
pub const LINGER: Duration = Duration::from_secs(1);
/// and so many of them: closing with unread bytes would reset the connection and destroy the answer on its way.
pub const LINGER_BYTES_MAX: usize = 256 * 1024;

/// Incoming exchanges that hold HTTP state at once: about 14 KiB each, and all appliances speaking at once must not leave
/// megabytes behind. Most are done within a millisecond, so the others hardly notice.
pub const INCOMING_AT_ONCE_MAX: usize = 16;
/// Outgoing exchanges that hold HTTP state at once; more, because each waits for its peer.
pub const OUTGOING_AT_ONCE_MAX: usize = 32;
/// An exchange waits this long for its turn and then goes ahead without, so that slow ones delay the others but never stop them.
pub const TURN_WITHIN: Duration = Duration::from_millis(100);

/// Outgoing requests in flight. Most wait for a dead host's time-out; a live one is done in milliseconds.
pub const REQUESTS_RUNNING_MAX: usize = 128;
/// Outgoing requests in flight to one host, so that a dead one cannot take all places.
pub const REQUESTS_RUNNING_PER_HOST_MAX: usize = 16;
/// Outgoing requests that wait for a place; beyond it the answer is at once [`upnp::net::HttpError::Busy`].
pub const REQUESTS_WAITING_MAX: usize = 512;
/// A connection must be up within this: in a LAN it takes milliseconds, or the address resolution fails after 3 s.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(4);
/// Sent bytes must be acknowledged within this, so that a kept connection to a peer that vanished fails early enough for
/// a second try. So must probes.
pub const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(4);
/// Idle outgoing connections kept in total; an idle one is a bare socket of about 1 KiB. The oldest gives way. More than the
/// appliances of the largest home (160): a pool that is smaller than the round of its users is never hit.
pub const POOL_MAX: usize = 192;
/// Idle outgoing connections kept per peer address and port.
pub const POOL_PER_HOST_MAX: usize = 2;
/// An idle outgoing connection is closed after this, unless it is to stay.
pub const CLIENT_IDLE: Duration = Duration::from_secs(60);

/// Peers that a connection is to stay open to: an appliance has a handful of subscribers. More than these are served like any
/// other peer; they are far below [`POOL_MAX`], so that there is always one that may give way.
pub const STANDING_MAX: usize = 64;
/// Such peers per host: gateway, home automation and a tool on one machine. One host's made-up subscribers must not take the
/// places of all.
pub const STANDING_PER_HOST_MAX: usize = 8;
/// A connection that is to stay is probed (TCP keep-alive) after this without traffic: a peer that lost its power is noticed in
/// half a minute instead of by the last event. A probe and its answer are 132 bytes on the wire, 35 bit/s. No other one is
/// probed: nothing is sent to a machine that was told to sleep.
pub const PROBE_AFTER: Duration = Duration::from_secs(30);
/// A peer that has not closed a connection so long after its answer is one that holds connections. Those that do not
/// (libupnp) close within milliseconds; they are spared connections without a request, which cost them a thread each.
pub const HOLDS_AFTER: Duration = Duration::from_millis(500);
/// A connection that lasted so long was not closed soon: at worst it is opened again once a minute.
pub const HELD_WELL_AFTER: Duration = Duration::from_secs(60);
/// Connections in a row that a peer may close sooner; then none is opened without a request, until it has held one again.
pub const SOON_CLOSED_MAX: u32 = 3;
/// A connection that is to stay and was lost is opened again after this (a daemon that restarts is back by then), then after
/// pauses that double
pub const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// up to this: a peer that was away for long is connected a minute after it is back, or by its own new subscription.
pub const REOPEN_AFTER_MAX: Duration = Duration::from_secs(60);
