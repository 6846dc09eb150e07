//! The private keys of a centre as files in its state directory, one file for each purpose, the newest key first. IO.
//!
//! A new key is on the disk, beside the one in use, before anything in the database names it; which one is in use says the database.
//! So neither is ever without the other, whenever the power goes.

use std::path::{Path, PathBuf};

use rand_core::CryptoRng;
use secure_http::crypto::{CryptoError, KemKey, PRIVATE_KEY_BYTES, SigningKey};
use secure_http::{KeyId, key_id};
use zeroize::Zeroizing;

use crate::key_file::{self, KeyFileError, Passphrase};

/// Keys of one purpose that are kept: one that is new, the one in use, the one before.
const KEPT: usize = 3;

/// A private key as bytes. Overwritten when dropped.
pub type KeyBytes = Zeroizing<[u8; PRIVATE_KEY_BYTES]>;

/// What a key is for; each has a file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// States issuing keys. May be taken away.
    Root,
    /// States parties, signs policies and lists.
    Issuing,
    /// Signs the centre's messages.
    Sig,
    /// What messages for the centre are sealed to.
    Kem,
    /// Wraps the secrets of tokens in the database.
    Storage,
}

impl Purpose {
    /// File in the state directory.
    pub fn file(self) -> &'static str {
        match self {
            Self::Root => "root.key",
            Self::Issuing => "issuing.key",
            Self::Sig => "sig.key",
            Self::Kem => "kem.key",
            Self::Storage => "storage.key",
        }
    }
}

/// Why a key is not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// Its file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The file holds something else.
    #[error("{} holds no key", .0.display())]
    Key(PathBuf, #[source] CryptoError),
    /// The key that the database names is not in the file.
    #[error("{path} does not hold the key in use ({kid})", path = path.display())]
    Lost {
        /// The file.
        path: PathBuf,
        /// The key.
        kid: KeyId,
    },
}

/// The directory, and the passphrase of its files.
#[derive(Debug)]
pub struct Keyring {
    dir: PathBuf,
    passphrase: Option<Passphrase>,
}

impl Keyring {
    /// Keys in that directory.
    pub fn new(dir: &Path, passphrase: Option<Passphrase>) -> Self {
        Self { dir: dir.to_owned(), passphrase }
    }

    /// The file of a purpose.
    pub fn path(&self, purpose: Purpose) -> PathBuf {
        self.dir.join(purpose.file())
    }

    /// The keys of a purpose, newest first.
    ///
    /// # Errors
    /// The file's, or one that holds no whole keys.
    pub fn keys(&self, purpose: Purpose) -> Result<Vec<KeyBytes>, KeyringError> {
        let path = self.path(purpose);
        let secret = key_file::read(&path, self.passphrase.as_ref())?;
        keys_of(&secret).ok_or_else(|| KeyFileError::Form(path).into())
    }

    /// Puts a key before the others of its purpose.
    ///
    /// # Errors
    /// The file's.
    pub fn add<R: CryptoRng>(&self, purpose: Purpose, key: &KeyBytes, rng: &mut R) -> Result<(), KeyringError> {
        let path = self.path(purpose);
        let mut keys = if path.exists() { self.keys(purpose)? } else { Vec::new() };
        keys.insert(0, key.clone());
        keys.truncate(KEPT);
        let mut secret = Zeroizing::new(Vec::with_capacity(KEPT * PRIVATE_KEY_BYTES));
        for key in &keys {
            secret.extend_from_slice(key.as_ref());
        }
        Ok(key_file::write(&path, &secret, self.passphrase.as_ref(), rng)?)
    }

    /// The signing key of that identifier.
    ///
    /// # Errors
    /// Not in the file, or the file's.
    pub fn signing(&self, purpose: Purpose, kid: KeyId) -> Result<SigningKey, KeyringError> {
        for bytes in self.keys(purpose)? {
            let key = SigningKey::from_bytes(&bytes).map_err(|error| KeyringError::Key(self.path(purpose), error))?;
            if key_id(key.public().to_bytes()) == kid {
                return Ok(key);
            }
        }
        Err(KeyringError::Lost { path: self.path(purpose), kid })
    }

    /// The sealing key of that identifier.
    ///
    /// # Errors
    /// Not in the file, or the file's.
    pub fn sealing(&self, kid: KeyId) -> Result<KemKey, KeyringError> {
        for bytes in self.keys(Purpose::Kem)? {
            let key = KemKey::from_bytes(&bytes).map_err(|error| KeyringError::Key(self.path(Purpose::Kem), error))?;
            if key_id(key.public().to_bytes()) == kid {
                return Ok(key);
            }
        }
        Err(KeyringError::Lost { path: self.path(Purpose::Kem), kid })
    }
}

/// Whole keys one behind the other; none for anything else.
pub fn keys_of(secret: &[u8]) -> Option<Vec<KeyBytes>> {
    let (keys, rest) = secret.as_chunks::<PRIVATE_KEY_BYTES>();
    if keys.is_empty() || !rest.is_empty() {
        return None;
    }
    Some(keys.iter().map(|key| Zeroizing::new(*key)).collect())
}
