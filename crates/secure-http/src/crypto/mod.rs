//! Every primitive this crate uses, and the only place that names a cryptographic library: ECDSA with P-256 and SHA-256 (ES256),
//! HPKE (RFC 9180) with P-256, HKDF-SHA256 and AES-128-GCM, SHA-256, HMAC-SHA256.
//!
//! This module is the seam for another implementation: the rest of the crate sees concrete types and bytes. What depends on a
//! secret runs in constant time; what depends on public values only (checking signatures) need not.

mod hpke;
mod point_table;
mod signature;

pub(crate) use hpke::Psk;
pub use hpke::{Encapsulated, KemKey, KemPublicKey};
pub use signature::{SigningKey, VerifyingKey};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Bytes of a SHA-256 digest.
pub const DIGEST_BYTES: usize = 32;
/// Bytes of a private key: a scalar, big endian.
pub const PRIVATE_KEY_BYTES: usize = 32;
/// Bytes of a public key: an uncompressed point (SEC 1, 2.3.3).
pub const PUBLIC_KEY_BYTES: usize = 65;
/// Bytes of a signature: r and s, 32 bytes each, big endian (RFC 9053, 2.1).
pub const SIGNATURE_BYTES: usize = 64;
/// Bytes that AES-GCM adds.
pub const TAG_BYTES: usize = 16;

/// Why a primitive gave nothing. Deliberately without detail: whoever sent the bytes learns nothing from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// Not a point of the curve in uncompressed form, or a private key outside 1..order.
    #[error("not a valid key")]
    Key,
    /// The signature does not belong to these bytes and this key.
    #[error("the signature is wrong")]
    Signature,
    /// The ciphertext was not sealed to this key with these additional data, or was changed.
    #[error("can't be opened")]
    Open,
    /// Our own signature did not verify: this machine computes wrongly, and what it computed must not be sent.
    #[error("our own signature is wrong: hardware fault")]
    Fault,
}

/// SHA-256 of the parts, one after the other.
pub fn sha256(parts: &[&[u8]]) -> [u8; DIGEST_BYTES] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// HMAC-SHA256 (RFC 2104) of the parts, one after the other. Keys of any length.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST_BYTES] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Whether two byte strings are equal, in a time that depends on their lengths only.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}
