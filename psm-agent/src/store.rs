//! What survives a restart (IO): one JSON file in the state directory, written as a whole.
//!
//! A damaged file is set aside with a warning and the agent starts afresh. Its RegIDs then go on from the seconds since
//! 1970, above any number counted up before, so that none is given out twice.

use std::path::{Path, PathBuf};

use daemon_kit::state_dir::{self, StateError};
use energy_model::PowerState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::gateway_link::{Registered, Wish};
use crate::limits::STATE_FILE_BYTES_MAX;
use crate::schedule::Registration;

const FILE: &str = "agent.json";
/// The name a damaged file gets; an older one is replaced.
const ASIDE: &str = "agent.json.damaged";
const VERSION: u32 = 1;

/// The last change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LastState {
    /// The state.
    pub state: PowerState,
    /// Since when it worked (ON) or did not (OFF, Standby).
    pub since: Timestamp,
}

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Saved {
    /// Of the file's form; set when it is written.
    pub version: u32,
    /// RegIDs up to this one count as given out.
    pub reg_id_mark: u32,
    /// Registrations of control points.
    pub registrations: Vec<Registration>,
    /// Wishes of the command line.
    pub wishes: Vec<Wish>,
    /// Registrations at gateways.
    pub gateways: Vec<Registered>,
    /// The last change of state.
    pub last_state: Option<LastState>,
    /// Energy counted, watt-milliseconds.
    pub watt_ms: u64,
}

/// The file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    written: Vec<u8>,
}

impl Store {
    /// Reads the file in `dir`. `now` is for RegIDs after a damaged one.
    ///
    /// # Errors
    /// The file is there and cannot be read, or a damaged one cannot be set aside.
    pub fn open(dir: &Path, now: Timestamp) -> Result<(Self, Saved), StateError> {
        let path = dir.join(FILE);
        let read = match state_dir::read_bounded(&path, STATE_FILE_BYTES_MAX) {
            Ok(None) => return Ok((Self { path, written: Vec::new() }, Saved::default())),
            Ok(Some(bytes)) => parse(&bytes).map(|saved| (saved, bytes)),
            Err(error @ StateError::TooLarge { .. }) => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        match read {
            Ok((saved, written)) => Ok((Self { path, written }, saved)),
            Err(why) => {
                let aside = dir.join(ASIDE);
                tracing::warn!(path = %path.display(), why, aside = %aside.display(), "state file damaged, set aside");
                std::fs::rename(&path, &aside).map_err(|source| StateError::Io {
                    what: "set aside",
                    path: path.clone(),
                    source,
                })?;
                let reg_id_mark = u32::try_from(now.as_second()).unwrap_or(0);
                Ok((Self { path, written: Vec::new() }, Saved { reg_id_mark, ..Saved::default() }))
            }
        }
    }

    /// Writes the content, unless it is there already.
    ///
    /// # Errors
    /// The disk is full or refuses; the old content is kept.
    pub fn write(&mut self, saved: &Saved) -> Result<(), StateError> {
        let saved = Saved { version: VERSION, ..saved.clone() };
        let bytes = serde_json::to_vec_pretty(&saved).map_err(|e| StateError::Io {
            what: "write",
            path: self.path.clone(),
            source: e.into(),
        })?;
        if bytes != self.written {
            // After a failure nobody knows which of the two is there.
            self.written.clear();
            state_dir::write_atomically(&self.path, &bytes)?;
            self.written = bytes;
        }
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> Result<Saved, String> {
    let saved: Saved = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    match saved.version {
        VERSION => Ok(saved),
        other => Err(format!("it is of version {other}, this program knows {VERSION}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Subject;

    fn saved() -> Saved {
        Saved {
            version: VERSION,
            reg_id_mark: 64,
            registrations: vec![Registration {
                reg_id: 3.try_into().unwrap(),
                caller: "0d4ee4b2-8d1f-4d9b-9c34-1a2b3c4d5e6f".parse().unwrap(),
                address: "192.0.2.1".parse().unwrap(),
                subject: Subject::StandbyPeriod("22:00:00-06:00:00".parse().unwrap()),
                at: Timestamp::UNIX_EPOCH,
            }],
            wishes: vec![Wish::WakeUpTime("06:30:00".parse().unwrap())],
            gateways: vec![Registered {
                gateway: "uuid:gw".into(),
                wish: Wish::NoStandbyPeriod("18:00:00-20:00:00".parse().unwrap()),
                reg_id: 9.try_into().unwrap(),
            }],
            last_state: Some(LastState { state: PowerState::On, since: Timestamp::UNIX_EPOCH }),
            watt_ms: 7,
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, fresh) = Store::open(dir.path(), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(fresh, Saved::default());
        store.write(&saved()).unwrap();
        assert_eq!(Store::open(dir.path(), Timestamp::UNIX_EPOCH).unwrap().1, saved());
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_numbers_go_on_above_all_before() {
        let whole = serde_json::to_vec(&saved()).unwrap();
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        for damaged in [&whole[..whole.len() / 2], b"\0\0\0\0", b"[]", b"{\"version\":99}", b""] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(FILE), damaged).unwrap();
            let (_, fresh) = Store::open(dir.path(), now).unwrap();
            assert!(fresh.registrations.is_empty());
            assert!(fresh.reg_id_mark > 1_700_000_000);
            assert_eq!(std::fs::read(dir.path().join(ASIDE)).unwrap(), damaged, "kept for a look");
        }
    }

    #[test]
    fn a_file_too_large_to_be_ours_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join(FILE)).unwrap();
        file.set_len(STATE_FILE_BYTES_MAX + 1).unwrap();
        assert_eq!(Store::open(dir.path(), Timestamp::UNIX_EPOCH).unwrap().1.registrations, []);
        assert!(dir.path().join(ASIDE).exists());
    }

    #[test]
    fn a_directory_that_cannot_be_read_is_an_error_and_not_a_fresh_start() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(FILE)).unwrap();
        assert!(Store::open(dir.path(), Timestamp::UNIX_EPOCH).is_err());
    }
}
