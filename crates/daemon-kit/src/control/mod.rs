//! The control socket: HTTP/1.1 over a Unix socket, by which `status` commands and `hegctl` talk to the daemon.
//!
//! The daemon's loop takes one [`ControlRequest`] at a time from [`ControlServer::next`] and answers it, at once or
//! later, or turns it into a [`ControlStream`] of JSON lines. Who may connect is the socket's mode; who did is
//! [`Peer::uid`], told by the kernel. Errors are JSON: `{"error": "for people", "code": "for-programs"}`.

pub mod client;
mod server;
mod stream;

pub use server::{ControlError, ControlRequest, ControlServer, Peer};
pub use stream::{ControlStream, StreamClosed};

use serde::{Deserialize, Serialize};

/// Body of an answer with a status of 400 or more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong, for people.
    pub error: String,
    /// A word for programs, kebab-case: `not-found`, `bad-request`, `refused` and so on.
    #[serde(default)]
    pub code: String,
}
