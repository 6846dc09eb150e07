//! The key under which the membership stands in the database: AES-256-GCM, a random number for each writing, the row's version bound in.

use std::path::{Path, PathBuf};

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use daemon_kit::state_dir::{self, StateError};
use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const BOUND: &[u8] = b"heg-utility/membership/1";

/// Why the membership can't be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The key file can't be read or made.
    #[error(transparent)]
    File(#[from] StateError),
    /// It does not hold a key.
    #[error("{} holds no key: expected 64 hexadecimal digits", .0.display())]
    Form(PathBuf),
    /// No random numbers.
    #[error("there are no random numbers: {0}")]
    Random(getrandom::Error),
    /// Another key, or a damaged row.
    #[error("the membership in the database does not open with this key: is it the key file of another installation?")]
    OtherKey,
}

/// The key. Overwritten in memory when dropped.
pub struct Vault(Zeroizing<[u8; KEY_BYTES]>);

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

impl Vault {
    /// From a file of 64 hexadecimal digits; where it is not there it is made, for its owner only.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn open(path: &Path) -> Result<Self, VaultError> {
        if let Some(text) = state_dir::read_bounded(path, 4 * KEY_BYTES as u64)? {
            let text = Zeroizing::new(text);
            return Self::parse(text.trim_ascii()).ok_or_else(|| VaultError::Form(path.to_owned()));
        }
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut key[..]).map_err(VaultError::Random)?;
        let text: Zeroizing<String> = Zeroizing::new(key.iter().map(|b| format!("{b:02x}")).collect());
        state_dir::write_atomically(path, format!("{}\n", text.as_str()).as_bytes())?;
        Ok(Self(key))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        if text.len() != 2 * KEY_BYTES {
            return None;
        }
        for (byte, pair) in key.iter_mut().zip(text.as_chunks::<2>().0) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(key))
    }

    /// A record as it stands in the database.
    pub(super) fn lock(&self, record: &[u8], version: u64) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(VaultError::Random)?;
        let mut out = [&nonce, record].concat();
        let sealed = (&mut out[NONCE_BYTES..]).into();
        let tag = self.cipher().encrypt_inout_detached(&nonce.into(), &bound(version), sealed);
        out.extend_from_slice(&tag.map_err(|_| VaultError::OtherKey)?);
        Ok(out)
    }

    /// The record of a row.
    pub(super) fn unlock(&self, row: &[u8], version: u64) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (nonce, sealed) = row.split_first_chunk::<NONCE_BYTES>().ok_or(VaultError::OtherKey)?;
        let (sealed, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(VaultError::OtherKey)?;
        let mut record = Zeroizing::new(sealed.to_vec());
        let (content, tag) = (record.as_mut_slice().into(), (*tag).into());
        let opened = self.cipher().decrypt_inout_detached(&(*nonce).into(), &bound(version), content, &tag);
        opened.map_err(|_| VaultError::OtherKey)?;
        Ok(record)
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new((&*self.0).into())
    }
}

fn bound(version: u64) -> Vec<u8> {
    [BOUND, &version.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_opens_with_its_key_and_version_and_with_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let vault = Vault::open(&path).unwrap();
        let row = vault.lock(b"the record", 7).unwrap();
        assert_ne!(row, vault.lock(b"the record", 7).unwrap(), "no number comes twice");
        let again = Vault::open(&path).unwrap();
        assert_eq!(&again.unlock(&row, 7).unwrap()[..], b"the record");
        let other = Vault::open(&dir.path().join("other")).unwrap();
        let mut changed = row.clone();
        changed[20] ^= 1;
        for wrong in [other.unlock(&row, 7), again.unlock(&row, 8), again.unlock(&changed, 7), again.unlock(b"", 7)] {
            assert!(matches!(wrong, Err(VaultError::OtherKey)));
        }
    }

    #[test]
    fn a_key_file_is_its_owners_and_one_that_holds_no_key_is_named() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        Vault::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "a key\n").unwrap();
        assert!(Vault::open(&path).unwrap_err().to_string().contains("expected 64 hexadecimal digits"));
    }
}
