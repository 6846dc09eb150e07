//! The directory that outlives the process, and files in it that are either the old content or the new, never a part.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::exit::Exit;

/// What went wrong with a state file or directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// No room. The old content is still there.
    #[error("no space left to write {path}; its old content is kept", path = path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// ENOSPC or EDQUOT.
        source: io::Error,
    },
    /// Anything else the kernel said. A write that fails leaves the old content.
    #[error("cannot {what} {path}", path = path.display())]
    Io {
        /// What was tried: "read", "write", "create".
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is larger than anything written there.
    #[error("{path} is larger than {bytes_max} bytes", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        bytes_max: u64,
    },
    /// The file does not hold what it should.
    #[error("{path} is damaged: {message}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong and what a person can do.
        message: String,
    },
}

impl StateError {
    fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path: path.to_owned(), source }
            }
            _ => Self::Io { what, path: path.to_owned(), source },
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Exit::NoPerm,
            Self::Damaged { .. } | Self::TooLarge { .. } => Exit::DataErr,
            _ => Exit::IoErr,
        }
    }
}

/// The state directory: what systemd gives (`STATE_DIRECTORY`, from `StateDirectory=`), else the configured one, else
/// the default.
pub fn state(configured: Option<&Path>, default: &Path) -> PathBuf {
    resolve(std::env::var_os("STATE_DIRECTORY").map(PathBuf::from), configured, default)
}

/// The directory of sockets: what systemd gives (`RUNTIME_DIRECTORY`), else the configured one, else the default.
pub fn runtime(configured: Option<&Path>, default: &Path) -> PathBuf {
    resolve(std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from), configured, default)
}

/// systemd joins several directories by `:`; the first is ours.
fn resolve(given: Option<PathBuf>, configured: Option<&Path>, default: &Path) -> PathBuf {
    let given =
        given.as_deref().and_then(Path::to_str).and_then(|list| list.split(':').next()).filter(|s| !s.is_empty());
    given.map(Path::new).or(configured).unwrap_or(default).to_owned()
}

/// Makes the directory, readable by its owner only, with its parents if they are missing.
pub fn ensure(dir: &Path) -> Result<(), StateError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| StateError::io("create directory", dir, source))
}

/// Writes a file (mode 0600) so that after a crash or power cut it holds either the old content or the new: a new file
/// beside it, fsync, rename, fsync of the directory. One writer per file.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let failed = |source| StateError::io("write", path, source);
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed(io::Error::from(io::ErrorKind::InvalidInput)));
    };
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(".new");
    let beside = dir.join(beside);
    let written = write_synced(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if let Err(error) = written {
        // Best effort: it is overwritten by the next write anyway.
        let _ = fs::remove_file(&beside);
        return Err(failed(error));
    }
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The content of a file of at most `bytes_max` bytes; `None` when there is no such file.
pub fn read_bounded(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, StateError> {
    let failed = |source| StateError::io("read", path, source);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(StateError::TooLarge { path: path.to_owned(), bytes_max });
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_write_replaces_the_whole_content_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        write_atomically(&path, b"a long first content").unwrap();
        write_atomically(&path, b"second").unwrap();
        assert_eq!(read_bounded(&path, 100).unwrap().unwrap(), b"second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_full_disk_is_told_and_the_old_content_kept() {
        // The new content goes beside the old by a fixed name; a link from there to /dev/full makes the write itself fail
        // with ENOSPC, as on a full disk.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        write_atomically(&path, b"old").unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join(".state.new")).unwrap();
        let error = write_atomically(&path, b"new").unwrap_err();
        assert!(matches!(error, StateError::DiskFull { .. }), "{error}");
        assert!(error.to_string().ends_with("state; its old content is kept"), "{error}");
        assert_eq!(read_bounded(&path, 100).unwrap().unwrap(), b"old");
        write_atomically(&path, b"new").unwrap();
        assert_eq!(read_bounded(&path, 100).unwrap().unwrap(), b"new");
    }

    #[test]
    fn a_missing_file_is_none_and_a_large_one_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        assert!(read_bounded(&path, 10).unwrap().is_none());
        fs::write(&path, [0; 11]).unwrap();
        assert!(matches!(read_bounded(&path, 10), Err(StateError::TooLarge { .. })));
        assert!(matches!(read_bounded(dir.path(), 10), Err(StateError::Io { .. })));
    }

    #[test]
    fn what_systemd_gives_comes_before_configuration_and_default() {
        let (configured, default) = (Path::new("/conf"), Path::new("/var/lib/x"));
        assert_eq!(resolve(Some("/a:/b".into()), Some(configured), default), Path::new("/a"));
        assert_eq!(resolve(Some("".into()), Some(configured), default), configured);
        assert_eq!(resolve(None, None, default), default);
    }

    #[test]
    fn a_directory_is_made_with_its_parents_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        ensure(&deep).unwrap();
        ensure(&deep).unwrap();
        assert_eq!(fs::metadata(&deep).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
