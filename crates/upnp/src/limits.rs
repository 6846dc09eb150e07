//! Every bound of this crate, each with its reason. Nothing from outside grows without one of these.

/// A UDN, type or SID. The longest seen in real devices is 70 bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// A URL from the network (LOCATION, CALLBACK, control URLs). The longest seen in real devices is 120 bytes.
pub const URL_BYTES_MAX: usize = 1024;
