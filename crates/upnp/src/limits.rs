//! Every bound of this crate, each with its reason. Nothing from outside grows without one of these.

use core::time::Duration;

/// A UDN, type or SID. The longest seen in real devices is 70 bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// A URL from the network (LOCATION, CALLBACK, control URLs). The longest seen in real devices is 120 bytes.
pub const URL_BYTES_MAX: usize = 1024;

// XML, description, SOAP
/// Nesting of elements. A description with devices embedded three deep needs 11, a SOAP body 4.
pub const XML_DEPTH_MAX: usize = 24;
/// Elements in one document. A rich media renderer's SCPD has over a thousand; a tree of this many takes about 0.5 MB.
pub const XML_ELEMENTS_MAX: usize = 4096;
/// Attributes of one element. UPnP documents use at most 3, namespaces included; foreign extensions add a few.
pub const XML_ATTRIBUTES_MAX: usize = 16;
/// A description or SCPD. Real ones have a few to some tens of KB.
pub const XML_DESCRIPTION_BYTES_MAX: usize = 256 * 1024;
/// A SOAP body, both ways. Our largest request has under 1 KB; foreign replies carry XML inside XML.
pub const XML_SOAP_BYTES_MAX: usize = 64 * 1024;
/// A property set. Foreign ones carry lists inside a variable (a few KB).
pub const XML_EVENT_BYTES_MAX: usize = 64 * 1024;
/// Devices in a description, root and embedded ones of all levels. An Internet gateway has 3.
pub const DEVICES_MAX: usize = 16;
/// Services of one device. Plugs and routers have around ten.
pub const SERVICES_MAX: usize = 32;
/// Actions of one SCPD. Media services have some tens.
pub const ACTIONS_MAX: usize = 256;
/// Texts of a description that are kept (friendlyName, modelName and the like), bytes; longer ones are cut. UDA
/// recommends less than 64 characters.
pub const DESCRIPTION_TEXT_BYTES_MAX: usize = 256;
/// Arguments of one action, both ways. Standard actions stay under 20.
pub const ARGUMENTS_MAX: usize = 64;
/// A string argument our device takes; longer ones get error 605. A UUID has 41 bytes, an IPv6 address 45.
pub const STRING_ARGUMENT_BYTES_MAX: usize = 2048;
/// Properties of one event. A service has some tens of variables.
pub const PROPERTIES_MAX: usize = 256;

// GENA publisher
/// Subscriptions of one device. A home has a handful of control points; 160 appliances may each subscribe to a gateway's
/// services. At under 600 bytes each, a flood costs 300 KB.
pub const SUBSCRIPTIONS_MAX: usize = 512;
/// Subscriptions from one address. One host may play the 160 appliances of a test house; half the table stays for others.
pub const SUBSCRIPTIONS_PER_PEER_MAX: usize = 256;
/// Duration granted where none is asked for, seconds (UDA 1.1, 4.1.2).
pub const SUBSCRIPTION_DEFAULT_S: u32 = 1800;
/// Least duration granted, seconds: UDA 1.1, 4.1.2 wants no less, and short ones only cost renewals.
pub const SUBSCRIPTION_MIN_S: u32 = 1800;
/// Longest duration granted, seconds: how long a subscriber that vanished keeps its place.
pub const SUBSCRIPTION_MAX_S: u32 = 7200;
/// URLs in one CALLBACK. A subscriber with IPv4 and IPv6 on two networks lists four.
pub const CALLBACK_URLS_MAX: usize = 4;
/// A CALLBACK header, bytes; what is kept of it bounds the size of a subscription.
pub const CALLBACK_BYTES_MAX: usize = 512;
/// Lowest port a callback may lead to: below are the system's own services, no subscriber's.
pub const CALLBACK_PORT_MIN: u16 = 1024;
/// Time for all attempts to deliver one event, seconds (UDA 1.1, 4.2.1).
pub const NOTIFY_WITHIN_S: u64 = 30;
/// Wait before a NOTIFY that the driver had no room for is tried again, milliseconds.
pub const NOTIFY_BUSY_RETRY_MS: u64 = 20;
/// Body of an answer to a NOTIFY, bytes. It has none by the standard; some servers send a line of HTML.
pub const NOTIFY_ANSWER_BYTES_MAX: usize = 4096;
/// Property set in a multicast event, bytes: with the head (under 500 bytes) it stays in one Ethernet frame.
pub const EVENT_DATAGRAM_BYTES_MAX: usize = 900;
/// Multicast events not yet taken by the driver; beyond it the oldest goes, for the newest says what holds.
pub const EVENT_DATAGRAMS_QUEUED_MAX: usize = 64;

// SSDP
/// A datagram on the SSDP port. Ours have under 500 bytes, foreign ones rarely more; what needs more than one Ethernet
/// frame is no announcement.
pub const SSDP_DATAGRAM_BYTES_MAX: usize = 2048;
/// Headers of one SSDP message. UDA defines 11 for the richest; vendors add a few.
pub const SSDP_HEADERS_MAX: usize = 40;
/// What is kept of a peer's SERVER or USER-AGENT, bytes. They are only shown to people.
pub const SSDP_TEXT_BYTES_MAX: usize = 128;
/// Sources whose rate is remembered. Four times the hosts of a large home; 10 KB.
pub const SSDP_SOURCES_MAX: usize = 256;
/// Least max-age a device may announce, seconds (UDA 1.1, 1.2.2).
pub const SSDP_MAX_AGE_LEAST_S: u64 = 1800;
/// The max-age our devices announce unless told otherwise, seconds. A dual-stack device speaks to three groups; with 7
/// messages in 2 copies to each, a refresh every 40 minutes on average makes 63 bit/s on the wire (a test counts it), one
/// each 13 minutes (max-age 1800) would make 190. Who vanishes without a byebye is noticed earlier by its failing HTTP.
pub const SSDP_MAX_AGE_DEFAULT_S: u64 = 5400;
/// The longest wait a search may ask for, seconds; a larger MX counts as this (UDA 1.1, 1.3.3).
pub const SSDP_MX_MAX_S: u32 = 5;
/// Answers to searches that wait for their random delay. 30 control points that search for everything at once (7 answers
/// each) fit; beyond it a search is dropped, and a searcher repeats it.
pub const SSDP_ANSWERS_PENDING_MAX: usize = 256;
/// Answers one source gets at once: `ssdp:all` in three copies of two control points on one host, several times over.
pub const SSDP_ANSWERS_PER_SOURCE_BURST: u32 = 64;
/// Then one each, milliseconds: about 18 kbit/s at most toward a host whose address is forged.
pub const SSDP_ANSWERS_PER_SOURCE_EVERY_MS: u64 = 200;
/// Answers to all sources at once: a home full of control points that come up together after a power cut.
pub const SSDP_ANSWERS_TOTAL_BURST: u32 = 512;
/// Then one each, milliseconds: about 180 kbit/s at most, a load any Wi-Fi carries.
pub const SSDP_ANSWERS_TOTAL_EVERY_MS: u64 = 20;
/// Devices a tracker knows. Three times the 160 of a large home with a device each on gateway, phones and televisions;
/// at about 400 bytes each a flood costs 200 KB.
pub const SSDP_DEVICES_MAX: usize = 512;
/// Devices a tracker knows from one address. One host may play the 160 appliances of a test house.
pub const SSDP_DEVICES_PER_SOURCE_MAX: usize = 192;
/// Ways (interface and address) to one device that are remembered: IPv4, link-local and wider IPv6, on two networks.
pub const SSDP_PATHS_MAX: usize = 6;
/// New devices taken from one source at once: a host that plays a whole test house.
pub const SSDP_NEW_PER_SOURCE_BURST: u32 = 192;
/// Then one each, milliseconds; each costs a description fetch.
pub const SSDP_NEW_PER_SOURCE_EVERY_MS: u64 = 500;
/// New devices taken from all sources at once: two sources that use their burst up.
pub const SSDP_NEW_TOTAL_BURST: u32 = 384;
/// Then one each, milliseconds: five sources that each use theirs up.
pub const SSDP_NEW_TOTAL_EVERY_MS: u64 = 100;
/// Least max-age believed, seconds: a device that says less would be looked up over and over. libupnp says 100.
pub const SSDP_MAX_AGE_BELIEVED_MIN_S: u64 = 60;
/// Longest max-age believed, seconds: a device that is gone must not fill a place for longer than a day.
pub const SSDP_MAX_AGE_BELIEVED_MAX_S: u64 = 86_400;
/// Hosts outside the directly connected networks that are searched by unicast: those a person has configured.
pub const SSDP_STATIC_HOSTS_MAX: usize = 64;
/// Least time between periodic searches, seconds: each makes every device found answer in every group.
pub const SSDP_SEARCH_EVERY_MIN_S: u64 = 30;
/// Targets one tracker searches for; each is a datagram per group and copy.
pub const SSDP_TARGETS_MAX: usize = 16;

// GENA subscriber and control point
/// Lease asked for in a SUBSCRIBE (UDA 1.1, 4.1.2: not less than 1800 s).
pub const LEASE_ASKED: Duration = Duration::from_secs(1800);
/// Least lease believed: a device that grants 1 s (libupnp does when asked) must not be renewed every second.
pub const LEASE_MIN: Duration = Duration::from_secs(10);
/// Longest lease believed, also what `infinite` means: the renewal is how a subscription that died unseen (the device slept or
/// restarted) is noticed.
pub const LEASE_MAX: Duration = Duration::from_secs(1800);
/// Lease assumed where the reply names none that can be read; gupnp's default.
pub const LEASE_UNSAID: Duration = Duration::from_secs(300);
/// Events kept that arrive before the reply to their SUBSCRIBE: the initial one and a change right after it.
pub const BACKLOG_EVENTS_MAX: usize = 2;
/// First wait after a failed SUBSCRIBE, for a device that is still starting; then doubling.
pub const SUBSCRIBE_BACKOFF_FIRST: Duration = Duration::from_secs(2);
/// Longest wait between SUBSCRIBEs to a device that fails: nobody should be without events for longer once it is well again.
pub const SUBSCRIBE_BACKOFF_MAX: Duration = Duration::from_secs(300);
/// Time for a SUBSCRIBE or renewal. UDA allows 30 s; no peer seen needs more than one.
pub const SUBSCRIBE_WITHIN: Duration = Duration::from_secs(15);
/// Time for an UNSUBSCRIBE, which is a courtesy and must not hold up a stop.
pub const UNSUBSCRIBE_WITHIN: Duration = Duration::from_secs(3);
/// SUBSCRIBE, renewal and UNSUBSCRIBE requests in flight over all devices (one per device); half of them only for devices whose
/// last one did not fail, so that dead devices never fill them.
pub const SUBSCRIBES_IN_FLIGHT_MAX: usize = 16;
/// Body of a reply to SUBSCRIBE, which should be empty; some stacks send an error page.
pub const SUBSCRIBE_BODY_BYTES_MAX: usize = 8 * 1024;
/// Description fetches in flight: at most this many times [`XML_DESCRIPTION_BYTES_MAX`] is held at once. Half of them only for
/// devices that did not fail yet.
pub const FETCHES_IN_FLIGHT_MAX: usize = 8;
/// Description fetches in flight to one host, which may announce hundreds of devices.
pub const FETCHES_PER_HOST_MAX: usize = 2;
/// Time for the first fetch of a description: short, as most that fail are of hosts that are not there.
pub const FETCH_WITHIN_FIRST: Duration = Duration::from_secs(4);
/// Time for a repeated fetch: a slow microcontroller on a bad radio link gets its chance.
pub const FETCH_WITHIN_AGAIN: Duration = Duration::from_secs(12);
/// First wait after a failed fetch, for a device that is still starting; then doubling.
pub const FETCH_BACKOFF_FIRST: Duration = Duration::from_secs(5);
/// Longest wait between fetches from a device that fails: once well again it is found within minutes.
pub const FETCH_BACKOFF_MAX: Duration = Duration::from_secs(300);
/// Hosts whose fetch time-outs are remembered; beyond it the ones that may be asked again are forgotten.
pub const FETCH_HOSTS_MAX: usize = 1024;
/// A description is read again when the event URL it names is not there, but only if it is at least this old.
pub const DESCRIPTION_DOUBTED_AFTER: Duration = Duration::from_secs(600);
/// Fetches of a configured device that may fail in a row before it counts as gone.
pub const STATIC_FAILURES_MAX: u8 = 3;
/// Time for an action, waiting in our queue included (UDA 1.1, 3.2.2: a device answers within 30 s).
pub const CALL_WITHIN: Duration = Duration::from_secs(30);
/// Calls in flight over all devices (one per device, in the order they were made); half of them only for devices that answered
/// last time.
pub const CALLS_IN_FLIGHT_MAX: usize = 32;
/// Calls waiting for one device; more than a user can press buttons while one is under way.
pub const CALLS_PER_DEVICE_MAX: usize = 16;
/// Calls waiting in all: a command and a question to each of 160 appliances, with room.
pub const CALLS_MAX: usize = 512;
/// Events not yet taken by the application; beyond it a NOTIFY gets status 503 and a multicast event is dropped.
pub const EVENTS_QUEUED_MAX: usize = 1024;
/// Least time between two searches made because a device could not be reached.
pub const SEARCH_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Texts (manufacturers, models, servers) and types that devices share and that are held once.
pub const INTERNED_MAX: usize = 64;
