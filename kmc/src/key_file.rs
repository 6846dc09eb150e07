//! Key files: private keys on the disk, readable by their owner only, in clear or under a passphrase. IO, one file per key.
//!
//! ```text
//! "HEGKEY1\n", 0, secret                                                                 in clear
//! "HEGKEY1\n", 1, log n, salt: 16, nonce: 12, AES-128-GCM(secret) with 16 bytes of tag    under a passphrase (scrypt, RFC 7914)
//! ```
//! All before the ciphertext is additional data of the encryption. In clear is for a directory that something else protects; with a
//! passphrase from a systemd credential (`LoadCredentialEncrypted=`) a stolen disk or backup gives no key away.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, KeyInit};
use daemon_kit::state_dir::{self, StateError};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::limits::{KEY_FILE_BYTES_MAX, PASSPHRASE_BYTES_MAX, SCRYPT_LOG_N, SCRYPT_LOG_N_MAX};

const MAGIC: &[u8; 8] = b"HEGKEY1\n";
const CLEAR: u8 = 0;
const SCRYPT: u8 = 1;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// Magic, mode, log n, salt, nonce.
const HEAD_BYTES: usize = MAGIC.len() + 2 + SALT_BYTES + NONCE_BYTES;

/// Name of the systemd credential that holds the passphrase of the key files.
pub const CREDENTIAL: &str = "heg-kmc.passphrase";

/// Why a key was not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Not there.
    #[error("there is no key file {}", .0.display())]
    Missing(PathBuf),
    /// Not a key file, or cut off.
    #[error("{} is no key file", .0.display())]
    Form(PathBuf),
    /// It wants a passphrase and none was given.
    #[error("{} is under a passphrase, and none was given", .0.display())]
    Locked(PathBuf),
    /// The passphrase is another, or the file was changed.
    #[error("{} does not open with this passphrase", .0.display())]
    Passphrase(PathBuf),
    /// Something lies where it was to be written.
    #[error("{} is there already and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// No passphrase in its file.
    #[error("the passphrase is empty or longer than {PASSPHRASE_BYTES_MAX} bytes")]
    NoPassphrase,
    /// Standard input could not be read.
    #[error("cannot read the passphrase")]
    Input(#[source] io::Error),
    /// What the file system said.
    #[error(transparent)]
    State(#[from] StateError),
}

/// A secret as it stands in a key file. Overwritten when dropped.
pub type Secret = Zeroizing<Vec<u8>>;

/// What key files are opened with. Overwritten when dropped, never printed.
pub struct Passphrase(Secret);

impl Passphrase {
    /// From a file, or the first line of standard input for `-`. A line break at the end is not part of it.
    ///
    /// # Errors
    /// An unreadable or empty file.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let bytes = if path == Path::new("-") {
            let mut bytes = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES_MAX as usize + 2));
            io::stdin().take(PASSPHRASE_BYTES_MAX + 2).read_to_end(&mut bytes).map_err(KeyFileError::Input)?;
            bytes
        } else {
            let bytes = state_dir::read_bounded(path, PASSPHRASE_BYTES_MAX + 2)?;
            Zeroizing::new(bytes.ok_or_else(|| KeyFileError::Missing(path.to_owned()))?)
        };
        Self::from_bytes(&bytes)
    }

    /// From bytes; what follows the first line break is left out.
    ///
    /// # Errors
    /// [`KeyFileError::NoPassphrase`] where nothing is left.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyFileError> {
        let line = bytes.split(|b| *b == b'\n' || *b == b'\r').next().unwrap_or_default();
        if line.is_empty() || line.len() as u64 > PASSPHRASE_BYTES_MAX {
            return Err(KeyFileError::NoPassphrase);
        }
        Ok(Self(Zeroizing::new(line.to_vec())))
    }

    /// The configured file's, else the service manager's credential, else none.
    ///
    /// # Errors
    /// A configured file or a credential that is there and can't be read.
    pub fn of_service(configured: Option<&Path>) -> Result<Option<Self>, KeyFileError> {
        let credential = std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| Path::new(&dir).join(CREDENTIAL));
        match (configured, credential) {
            (Some(path), _) => Self::read(path).map(Some),
            (None, Some(path)) if path.exists() => Self::read(&path).map(Some),
            _ => Ok(None),
        }
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase")
    }
}

/// The secret of a key file.
///
/// # Errors
/// No such file, another form, or a passphrase that is missing or wrong.
pub fn read(path: &Path, passphrase: Option<&Passphrase>) -> Result<Secret, KeyFileError> {
    let bytes = state_dir::read_bounded(path, KEY_FILE_BYTES_MAX)?;
    let bytes = Zeroizing::new(bytes.ok_or_else(|| KeyFileError::Missing(path.to_owned()))?);
    decode(&bytes, path, passphrase)
}

/// Writes a key file (mode 0600) that holds either the old secret or the new one after a crash.
///
/// # Errors
/// The file system's.
pub fn write<R: CryptoRng>(
    path: &Path,
    secret: &[u8],
    passphrase: Option<&Passphrase>,
    rng: &mut R,
) -> Result<(), KeyFileError> {
    Ok(state_dir::write_atomically(path, &encode(secret, passphrase, rng))?)
}

/// As [`write()`], and only where nothing lies yet.
///
/// # Errors
/// [`KeyFileError::Exists`], and those of [`write()`].
pub fn write_new<R: CryptoRng>(
    path: &Path,
    secret: &[u8],
    passphrase: Option<&Passphrase>,
    rng: &mut R,
) -> Result<(), KeyFileError> {
    match path.symlink_metadata() {
        Ok(_) => Err(KeyFileError::Exists(path.to_owned())),
        Err(_) => write(path, secret, passphrase, rng),
    }
}

fn encode<R: CryptoRng>(secret: &[u8], passphrase: Option<&Passphrase>, rng: &mut R) -> Secret {
    let mut out = Zeroizing::new(Vec::with_capacity(HEAD_BYTES + secret.len() + TAG_BYTES));
    out.extend_from_slice(MAGIC);
    let Some(passphrase) = passphrase else {
        out.push(CLEAR);
        out.extend_from_slice(secret);
        return out;
    };
    out.extend_from_slice(&[SCRYPT, SCRYPT_LOG_N]);
    let mut random = [0; SALT_BYTES + NONCE_BYTES];
    rng.fill_bytes(&mut random);
    out.extend_from_slice(&random);
    let cipher = cipher(passphrase, SCRYPT_LOG_N, &random[..SALT_BYTES]).expect("our own parameters are in range");
    let mut sealed = Zeroizing::new(secret.to_vec());
    let nonce: [u8; NONCE_BYTES] = random[SALT_BYTES..].try_into().expect("the random bytes are both");
    let tag = cipher.encrypt_inout_detached(&nonce.into(), &out, sealed.as_mut_slice().into());
    let tag = tag.expect("AES-GCM takes some bytes");
    out.extend_from_slice(&sealed);
    out.extend_from_slice(&tag);
    out
}

fn decode(bytes: &[u8], path: &Path, passphrase: Option<&Passphrase>) -> Result<Secret, KeyFileError> {
    let form = || KeyFileError::Form(path.to_owned());
    let (mode, rest) = bytes.strip_prefix(MAGIC).and_then(<[u8]>::split_first).ok_or_else(form)?;
    match *mode {
        CLEAR => Ok(Zeroizing::new(rest.to_vec())),
        SCRYPT => {
            let passphrase = passphrase.ok_or_else(|| KeyFileError::Locked(path.to_owned()))?;
            let (head, sealed) = bytes.split_at_checked(HEAD_BYTES).ok_or_else(form)?;
            let (ciphertext, tag) =
                sealed.len().checked_sub(TAG_BYTES).map(|at| sealed.split_at(at)).ok_or_else(form)?;
            let log_n = head[MAGIC.len() + 1];
            let salt = &head[MAGIC.len() + 2..][..SALT_BYTES];
            let cipher = cipher(passphrase, log_n, salt).ok_or_else(form)?;
            let nonce: [u8; NONCE_BYTES] = head[HEAD_BYTES - NONCE_BYTES..].try_into().map_err(|_| form())?;
            let tag: [u8; TAG_BYTES] = tag.try_into().map_err(|_| form())?;
            let mut secret = Zeroizing::new(ciphertext.to_vec());
            cipher
                .decrypt_inout_detached(&nonce.into(), head, secret.as_mut_slice().into(), &tag.into())
                .map_err(|_| KeyFileError::Passphrase(path.to_owned()))?;
            Ok(secret)
        }
        _ => Err(form()),
    }
}

/// None for work out of range.
fn cipher(passphrase: &Passphrase, log_n: u8, salt: &[u8]) -> Option<Aes128Gcm> {
    if !(1..=SCRYPT_LOG_N_MAX).contains(&log_n) {
        return None;
    }
    let params = scrypt::Params::new(log_n, 8, 1).ok()?;
    let mut key = Zeroizing::new([0; 16]);
    scrypt::scrypt(&passphrase.0, salt, &params, key.as_mut()).ok()?;
    Aes128Gcm::new_from_slice(key.as_ref()).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use getrandom::SysRng;
    use rand_core::UnwrapErr;

    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::from_bytes(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_key_reads_back_with_its_passphrase_and_with_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        let right = passphrase("correct horse\n");
        write_new(&path, &[7; 32], Some(&right), &mut UnwrapErr(SysRng)).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(*read(&path, Some(&right)).unwrap(), [7; 32]);
        assert!(matches!(read(&path, None), Err(KeyFileError::Locked(_))));
        assert!(matches!(read(&path, Some(&passphrase("battery"))), Err(KeyFileError::Passphrase(_))));
        let again = write_new(&path, &[8; 32], Some(&right), &mut UnwrapErr(SysRng));
        assert!(matches!(again, Err(KeyFileError::Exists(_))));
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(8).any(|w| w == [7; 8]), "the key stands in the file");
    }

    #[test]
    fn each_changed_byte_of_a_locked_file_is_noticed() {
        let right = passphrase("p");
        let path = Path::new("x");
        let bytes = encode(&[7; 8], Some(&right), &mut UnwrapErr(SysRng));
        // The work factor is left out: a larger one takes as long as it says.
        for i in (0..bytes.len()).filter(|i| *i != MAGIC.len() + 1 && (*i < 12 || *i % 8 == 0 || *i + 3 > bytes.len()))
        {
            let mut changed = bytes.clone();
            changed[i] ^= 0x40;
            assert!(decode(&changed, path, Some(&right)).is_err(), "byte {i}");
        }
        let mut greedy = bytes.clone();
        greedy[MAGIC.len() + 1] = 63;
        assert!(matches!(decode(&greedy, path, Some(&right)), Err(KeyFileError::Form(_))), "all memory of the world");
        for end in 0..HEAD_BYTES + TAG_BYTES {
            assert!(matches!(decode(&bytes[..end], path, Some(&right)), Err(KeyFileError::Form(_))), "cut at {end}");
        }
    }

    #[test]
    fn a_file_in_clear_needs_no_passphrase_and_an_empty_one_is_none() {
        let bytes = encode(&[9; 32], None, &mut UnwrapErr(SysRng));
        assert_eq!(*decode(&bytes, Path::new("x"), None).unwrap(), [9; 32]);
        assert!(matches!(Passphrase::from_bytes(b"\nsecond line"), Err(KeyFileError::NoPassphrase)));
    }
}
