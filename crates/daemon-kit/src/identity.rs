//! Who this device is: a UUID made at the first start and kept in the state directory ever after.

use std::path::Path;

use crate::limits::SMALL_FILE_BYTES_MAX;
use crate::state_dir::{StateError, read_bounded, write_atomically};

/// File in the state directory.
pub const FILE: &str = "identity";

/// The UUID (version 4, lower case, without prefix) kept in `dir`; makes and stores one where there is none yet. A
/// damaged file is an error and never a new identity: to the rest of the home that would be another device.
pub fn load_or_create(dir: &Path) -> Result<String, StateError> {
    let path = dir.join(FILE);
    if let Some(bytes) = read_bounded(&path, SMALL_FILE_BYTES_MAX)? {
        let text = String::from_utf8(bytes).unwrap_or_default();
        let uuid = text.trim_end();
        if is_uuid(uuid) {
            return Ok(uuid.to_ascii_lowercase());
        }
        let message =
            "it should hold one UUID; restore it from a backup, or delete it to become a new device".to_owned();
        return Err(StateError::Damaged { path, message });
    }
    let uuid =
        random_uuid().map_err(|source| StateError::Io { what: "make an identity for", path: path.clone(), source })?;
    write_atomically(&path, format!("{uuid}\n").as_bytes())?;
    Ok(uuid)
}

/// A random UUID: version 4, variant 1 (RFC 4122, 4.4). Fails where the kernel has no random numbers.
pub fn random_uuid() -> std::io::Result<String> {
    let mut b = [0u8; 16];
    getrandom::fill(&mut b).map_err(std::io::Error::other)?;
    b[6] = b[6] & 0x0f | 0x40;
    b[8] = b[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (i, byte) in b.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    Ok(text)
}

fn is_uuid(s: &str) -> bool {
    s.len() == 36
        && s.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_identity_of_the_first_start_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_create(dir.path()).unwrap();
        assert!(is_uuid(&first) && &first[14..15] == "4" && "89ab".contains(&first[19..20]), "{first}");
        assert_eq!(load_or_create(dir.path()).unwrap(), first);
        assert_ne!(load_or_create(tempfile::tempdir().unwrap().path()).unwrap(), first);
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it_and_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        for damaged in ["", "7", "2fac1234-31f8-11b4-a222-08002b34c00z\n", "\u{0}"] {
            fs::write(&path, damaged).unwrap();
            let error = load_or_create(dir.path()).unwrap_err();
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        }
    }
}
