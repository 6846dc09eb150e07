//! Exit codes that scripts and systemd can tell apart (sysexits.h), and the one way out of `main`.

use std::fmt;
use std::io::{self, Write as _};
use std::process::{ExitCode, Termination};

use crate::config::ConfigError;
use crate::control::ControlError;
use crate::control::client::ClientError;
use crate::logging;
use crate::state_dir::StateError;

/// How a program ended (sysexits.h). As the context of an error it chooses the exit code:
/// `bind(..).context(Exit::Unavailable)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Ok = 0,
    /// A command was refused or came to nothing, though everything worked as it should.
    Failure = 1,
    /// Wrong command line.
    Usage = 64,
    /// Wrong data in a file or message.
    DataErr = 65,
    /// A file that was named is not there or cannot be read.
    NoInput = 66,
    /// Something needed is not there: the daemon, the bus, an address.
    Unavailable = 69,
    /// A fault in this program.
    Software = 70,
    /// The kernel refused something that should work.
    OsErr = 71,
    /// Reading or writing failed.
    IoErr = 74,
    /// Failed for now: try again.
    TempFail = 75,
    /// Not permitted.
    NoPerm = 77,
    /// Wrong configuration.
    Config = 78,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The code an error leads to: the outermost [`Exit`] given as context, else what its causes say, else
    /// [`Exit::Software`].
    pub fn of(error: &anyhow::Error) -> Self {
        if let Some(exit) = error.downcast_ref::<Self>() {
            return *exit;
        }
        for cause in error.chain() {
            if let Some(error) = cause.downcast_ref::<ConfigError>() {
                return error.exit();
            }
            if let Some(error) = cause.downcast_ref::<StateError>() {
                return error.exit();
            }
            if let Some(error) = cause.downcast_ref::<ClientError>() {
                return error.exit();
            }
            if let Some(ControlError::InUse(_)) = cause.downcast_ref() {
                return Self::Unavailable;
            }
            if let Some(error) = cause.downcast_ref::<io::Error>() {
                return match error.kind() {
                    io::ErrorKind::PermissionDenied => Self::NoPerm,
                    io::ErrorKind::AddrInUse | io::ErrorKind::ConnectionRefused => Self::Unavailable,
                    _ => Self::IoErr,
                };
            }
        }
        Self::Software
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "done",
            Self::Failure => "refused",
            Self::Usage => "wrong usage",
            Self::DataErr => "wrong data",
            Self::NoInput => "cannot read input",
            Self::Unavailable => "unavailable",
            Self::Software => "internal fault",
            Self::OsErr => "system error",
            Self::IoErr => "input/output error",
            Self::TempFail => "temporary failure",
            Self::NoPerm => "not permitted",
            Self::Config => "wrong configuration",
        })
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

/// Runs a program's body and turns its error into one line on stderr (`error: what: why: why`) and an exit code. In the
/// journal the line has the priority of an error.
/// ```no_run
/// # use daemon_kit::exit::{self, Exit};
/// fn main() -> Exit {
///     exit::run(|| Ok(Exit::Ok))
/// }
/// ```
pub fn run(body: impl FnOnce() -> anyhow::Result<Exit>) -> Exit {
    match body() {
        Ok(exit) => exit,
        Err(error) => {
            let priority = if logging::stderr_is_journal() { "<3>" } else { "" };
            // Nothing is left to be done when stderr is gone.
            let _ = writeln!(io::stderr(), "{priority}error: {error:#}");
            Exit::of(&error)
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn the_exit_given_as_context_wins() {
        let error = Err::<(), _>(io::Error::from(io::ErrorKind::PermissionDenied)).context(Exit::TempFail).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::TempFail);
        assert_eq!(Exit::of(&error.context("while starting")), Exit::TempFail);
    }

    #[test]
    fn without_one_the_cause_decides() {
        let denied: anyhow::Error = io::Error::from(io::ErrorKind::PermissionDenied).into();
        assert_eq!(Exit::of(&denied.context("socket")), Exit::NoPerm);
        assert_eq!(Exit::of(&anyhow!("what")), Exit::Software);
        assert_eq!(run(|| Err(anyhow!("why").context(Exit::Config))), Exit::Config);
        assert_eq!(run(|| Ok(Exit::Ok)).code(), 0);
    }
}
