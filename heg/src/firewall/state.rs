//! The firewall's file in the state directory, and what the kernel says of the network. IO.

use std::io;
use std::path::Path;

use daemon_kit::state_dir::{self, StateError};
use upnp_net::network_links;

use super::deadman::Record;
use super::forwarding::Forwarding;
use super::shape::Facts;
use crate::limits::FIREWALL_STATE_BYTES_MAX;

/// Its name.
pub(super) const FILE: &str = "firewall.json";

/// What is on the disk, and what is wrong with it. A damaged file counts as none: the configuration then decides.
pub(super) fn read(path: &Path) -> (Record, Option<String>) {
    let damaged = |why: String| {
        tracing::warn!(path = %path.display(), why, "the firewall's state is not taken; the configuration decides");
        (Record::default(), Some(format!("{} is not taken: {why}", path.display())))
    };
    match state_dir::read_bounded(path, FIREWALL_STATE_BYTES_MAX) {
        Ok(None) => (Record::default(), None),
        Ok(Some(bytes)) => match serde_json::from_slice(&bytes) {
            Ok(record) => (record, None),
            Err(error) => damaged(error.to_string()),
        },
        Err(error) => damaged(error.to_string()),
    }
}

/// Writes it, whole or not at all.
pub(super) fn write(path: &Path, record: &Record) -> Result<(), StateError> {
    // Maps with text keys and numbers have a text in JSON always.
    let bytes = serde_json::to_vec(record).unwrap_or_default();
    state_dir::write_atomically(path, &bytes)
}

/// The network as it is now.
pub(super) fn facts() -> io::Result<Facts> {
    let forwarding = Forwarding::default();
    // What we have switched off ourselves comes back with the rules.
    Ok(Facts { links: network_links()?, forwarding: forwarding.is_on() || forwarding.is_held() })
}
