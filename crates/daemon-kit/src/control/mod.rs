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

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::exit::Exit;

/// Body of an answer with a status of 400 or more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong, for people.
    pub error: String,
    /// A word for programs, kebab-case: `not-found`, `bad-request`, `refused` and so on.
    #[serde(default)]
    pub code: String,
}

impl ErrorBody {
    /// What a command line with `--json` prints for an error: its causes in one line, and the daemon's own word where it
    /// answered with one, else `no-answer`, `usage` or `failed`.
    pub fn of(error: &anyhow::Error) -> Self {
        let code = match error.chain().find_map(|cause| cause.downcast_ref::<client::ClientError>()) {
            Some(client::ClientError::Refused { code, .. }) => code.as_str(),
            Some(_) => "no-answer",
            None if Exit::of(error) == Exit::Usage => "usage",
            None => "failed",
        };
        Self { error: format!("{error:#}"), code: code.to_owned() }
    }
}

/// Whether `--json` is among a program's arguments: for errors that come before the arguments are understood.
pub fn wants_json(arguments: impl IntoIterator<Item = OsString>) -> bool {
    arguments.into_iter().take_while(|a| a != "--").any(|a| a == "--json")
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn an_error_has_a_word_for_programs() {
        let refused = client::ClientError::Refused {
            status: http::StatusCode::CONFLICT,
            code: "full".into(),
            message: "no room".into(),
        };
        let exit = refused.exit();
        let refused = anyhow::Error::from(refused).context(exit);
        let usage = Err::<(), _>(anyhow!("what?")).context(Exit::Usage).unwrap_err();
        let lost = client::ClientError::NotRunning("/run/x".into()).into();
        let words = [refused, lost, usage, anyhow!("why")].map(|e| ErrorBody::of(&e).code);
        assert_eq!(words, ["full", "no-answer", "usage", "failed"]);
    }

    #[test]
    fn json_is_wanted_wherever_it_stands_but_not_behind_the_end_of_options() {
        let wants = |line: &str| wants_json(line.split(' ').map(OsString::from));
        assert!(wants("status --json") && wants("--json nonsense"));
        assert!(!wants("status") && !wants("show -- --json"));
    }
}
