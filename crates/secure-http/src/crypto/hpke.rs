//! HPKE (RFC 9180) with DHKEM(P-256, HKDF-SHA256), HKDF-SHA256 and AES-128-GCM, one message per encapsulation, in the modes `base` and
//! `psk`. The sender's key pair is made new for each message, so that no key encrypts two messages.

use core::fmt;
use std::sync::Arc;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, KeyInit};
use hkdf::{Hkdf, HkdfExtract};
use p256::elliptic_curve::BatchNormalize;
use p256::elliptic_curve::point::AffineCoordinates;
use p256::{AffinePoint, NonZeroScalar, ProjectivePoint};
use rand_core::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::point_table::PointTable;
use super::signature::{point_bytes, point_from, random_scalar, scalar_from};
use super::{CryptoError, PRIVATE_KEY_BYTES, PUBLIC_KEY_BYTES, TAG_BYTES};

/// `"KEM"` and the number of DHKEM(P-256, HKDF-SHA256) (RFC 9180, 4.1 and 7.1).
const KEM_SUITE: &[u8] = b"KEM\x00\x10";
/// `"HPKE"` and the numbers of KEM, HKDF-SHA256 and AES-128-GCM (RFC 9180, 5.1 and 7).
const HPKE_SUITE: &[u8] = b"HPKE\x00\x10\x00\x01\x00\x01";
const VERSION: &[u8] = b"HPKE-v1";
const MODE_BASE: u8 = 0;
const MODE_PSK: u8 = 1;
const AES_KEY_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;

type Secret = Zeroizing<[u8; 32]>;

/// A pre-shared key and its name, for the mode `psk` (RFC 9180, 5.1.2).
#[derive(Clone, Copy)]
pub(crate) struct Psk<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) id: &'a [u8],
}

/// What a sealing made: the encapsulated key, and the ciphertext with its tag at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encapsulated {
    /// The sender's one-time public key, uncompressed (RFC 9180's `enc`).
    pub enc: [u8; PUBLIC_KEY_BYTES],
    /// As long as the plaintext, and [`TAG_BYTES`] more.
    pub ciphertext: Vec<u8>,
}

/// A public key that messages are sealed to.
#[derive(Clone)]
pub struct KemPublicKey {
    point: AffinePoint,
    bytes: [u8; PUBLIC_KEY_BYTES],
    table: Option<Arc<PointTable>>,
}

impl KemPublicKey {
    /// From an uncompressed point (`04`, x, y); [`CryptoError::Key`] when it is not on the curve.
    pub fn from_bytes(bytes: &[u8; PUBLIC_KEY_BYTES]) -> Result<Self, CryptoError> {
        point_from(bytes).map(|point| Self { point, bytes: *bytes, table: None })
    }

    /// With a table of the key's multiples: 28 KiB that make each sealing two to three times cheaper. For the few keys that one
    /// sends to again and again; making it costs as much as two or three sealings without one.
    pub fn prepared(mut self) -> Self {
        if self.table.is_none() {
            self.table = Some(Arc::new(PointTable::new(&self.point)));
        }
        self
    }

    /// The uncompressed point: `04`, x, y.
    pub fn to_bytes(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.bytes
    }

    /// Seals to this key: `info` and `aad` must be the same when it is opened. `plaintext` is encrypted where it stands.
    pub fn seal<R: CryptoRng + ?Sized>(
        &self,
        info: &[u8],
        aad: &[u8],
        plaintext: Vec<u8>,
        rng: &mut R,
    ) -> Result<Encapsulated, CryptoError> {
        self.seal_from(&random_scalar(rng), info, None, aad, plaintext)
    }

    /// As [`seal`](Self::seal), in the mode `psk`: only who knows the pre-shared key can have made it.
    pub(crate) fn seal_psk<R: CryptoRng + ?Sized>(
        &self,
        info: &[u8],
        psk: Psk<'_>,
        aad: &[u8],
        plaintext: Vec<u8>,
        rng: &mut R,
    ) -> Result<Encapsulated, CryptoError> {
        self.seal_from(&random_scalar(rng), info, Some(psk), aad, plaintext)
    }

    fn seal_from(
        &self,
        ephemeral: &NonZeroScalar,
        info: &[u8],
        psk: Option<Psk<'_>>,
        aad: &[u8],
        mut plaintext: Vec<u8>,
    ) -> Result<Encapsulated, CryptoError> {
        let (enc, shared) = self.encapsulate(ephemeral);
        let context = Context::new(&shared, info, psk);
        let tag = context
            .cipher()
            .encrypt_inout_detached(&context.nonce.into(), aad, plaintext.as_mut_slice().into())
            .map_err(|_| CryptoError::Open)?;
        plaintext.extend_from_slice(&tag);
        Ok(Encapsulated { enc, ciphertext: plaintext })
    }

    /// RFC 9180, 4.1 `Encap`. Both points are brought to affine form with one inversion.
    fn encapsulate(&self, ephemeral: &NonZeroScalar) -> ([u8; PUBLIC_KEY_BYTES], Secret) {
        let public = PointTable::generator().mul(ephemeral);
        let shared = match &self.table {
            Some(table) => table.mul(ephemeral),
            None => ProjectivePoint::from(self.point) * **ephemeral,
        };
        let [public, shared] = ProjectivePoint::batch_normalize(&[public, shared]);
        let enc = point_bytes(&public);
        (enc, kem_secret(&shared, &enc, &self.bytes))
    }
}

impl PartialEq for KemPublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for KemPublicKey {}

impl fmt::Debug for KemPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KemPublicKey").field("prepared", &self.table.is_some()).finish_non_exhaustive()
    }
}

/// A private key that opens what was sealed to its public half. Overwritten when dropped; never printed.
pub struct KemKey {
    scalar: Zeroizing<NonZeroScalar>,
    public: KemPublicKey,
}

impl KemKey {
    /// A new key from the random source.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self::new(random_scalar(rng))
    }

    /// From the scalar, big endian; [`CryptoError::Key`] for 0 and for what is not below the group's order.
    pub fn from_bytes(bytes: &[u8; PRIVATE_KEY_BYTES]) -> Result<Self, CryptoError> {
        scalar_from(bytes).map(Self::new)
    }

    fn new(scalar: Zeroizing<NonZeroScalar>) -> Self {
        let point = PointTable::generator().mul(&scalar).to_affine();
        Self { scalar, public: KemPublicKey { point, bytes: point_bytes(&point), table: None } }
    }

    /// The scalar, big endian, for the key store.
    pub fn to_bytes(&self) -> Zeroizing<[u8; PRIVATE_KEY_BYTES]> {
        Zeroizing::new(self.scalar.to_bytes().into())
    }

    /// The public half.
    pub fn public(&self) -> &KemPublicKey {
        &self.public
    }

    /// Opens what was sealed to this key with the same `info` and `aad`; [`CryptoError::Open`] when it was not, or was changed.
    pub fn open(
        &self,
        enc: &[u8; PUBLIC_KEY_BYTES],
        info: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        self.open_with(enc, info, None, aad, ciphertext)
    }

    /// As [`open`](Self::open), in the mode `psk`.
    pub(crate) fn open_psk(
        &self,
        enc: &[u8; PUBLIC_KEY_BYTES],
        info: &[u8],
        psk: Psk<'_>,
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        self.open_with(enc, info, Some(psk), aad, ciphertext)
    }

    fn open_with(
        &self,
        enc: &[u8; PUBLIC_KEY_BYTES],
        info: &[u8],
        psk: Option<Psk<'_>>,
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let (body, tag) = ciphertext.split_last_chunk::<TAG_BYTES>().ok_or(CryptoError::Open)?;
        let shared = self.decapsulate(enc)?;
        let context = Context::new(&shared, info, psk);
        let mut plaintext = Zeroizing::new(body.to_vec());
        context
            .cipher()
            .decrypt_inout_detached(&context.nonce.into(), aad, plaintext.as_mut_slice().into(), &(*tag).into())
            .map_err(|_| CryptoError::Open)?;
        Ok(plaintext)
    }

    /// RFC 9180, 4.1 `Decap`.
    fn decapsulate(&self, enc: &[u8; PUBLIC_KEY_BYTES]) -> Result<Secret, CryptoError> {
        let point = point_from(enc).map_err(|_| CryptoError::Open)?;
        Ok(kem_secret(&self.diffie_hellman(&point), enc, &self.public.bytes))
    }

    /// In constant time. The curve has a prime order, so a point on it times our key is never the neutral element.
    fn diffie_hellman(&self, point: &AffinePoint) -> AffinePoint {
        (ProjectivePoint::from(*point) * **self.scalar).to_affine()
    }
}

impl fmt::Debug for KemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KemKey").finish_non_exhaustive()
    }
}

/// RFC 9180, 4.1 `ExtractAndExpand`: from the shared point's x, bound to both public keys.
fn kem_secret(shared: &AffinePoint, enc: &[u8], recipient: &[u8]) -> Secret {
    let x: Secret = Zeroizing::new(shared.x().into());
    let prk = labeled_extract(KEM_SUITE, &[], b"eae_prk", x.as_ref());
    let mut secret = Zeroizing::new([0; 32]);
    labeled_expand(&prk, KEM_SUITE, b"shared_secret", &[enc, recipient], secret.as_mut());
    secret
}

/// Key and nonce of one message (RFC 9180, 5.1 `KeySchedule`; its sequence number is always 0).
struct Context {
    key: Zeroizing<[u8; AES_KEY_BYTES]>,
    nonce: [u8; NONCE_BYTES],
}

impl Context {
    fn new(shared: &Secret, info: &[u8], psk: Option<Psk<'_>>) -> Self {
        let (mode, psk) = match psk {
            Some(psk) => (MODE_PSK, psk),
            None => (MODE_BASE, Psk { key: &[], id: &[] }),
        };
        let psk_id_hash = extract_bytes(HPKE_SUITE, b"psk_id_hash", psk.id);
        let info_hash = extract_bytes(HPKE_SUITE, b"info_hash", info);
        let schedule: [&[u8]; 3] = [&[mode], psk_id_hash.as_ref(), info_hash.as_ref()];
        let secret = labeled_extract(HPKE_SUITE, shared.as_ref(), b"secret", psk.key);
        let mut context = Self { key: Zeroizing::new([0; AES_KEY_BYTES]), nonce: [0; NONCE_BYTES] };
        labeled_expand(&secret, HPKE_SUITE, b"key", &schedule, context.key.as_mut());
        labeled_expand(&secret, HPKE_SUITE, b"base_nonce", &schedule, &mut context.nonce);
        context
    }

    fn cipher(&self) -> Aes128Gcm {
        Aes128Gcm::new(&(*self.key).into())
    }
}

/// RFC 9180, 4 `LabeledExtract`.
fn labeled_extract(suite: &[u8], salt: &[u8], label: &[u8], ikm: &[u8]) -> Hkdf<Sha256> {
    extract(suite, salt, label, ikm).finalize().1
}

fn extract_bytes(suite: &[u8], label: &[u8], ikm: &[u8]) -> Secret {
    Zeroizing::new(extract(suite, &[], label, ikm).finalize().0.into())
}

fn extract(suite: &[u8], salt: &[u8], label: &[u8], ikm: &[u8]) -> HkdfExtract<Sha256> {
    let mut extract = HkdfExtract::<Sha256>::new(Some(salt));
    for part in [VERSION, suite, label, ikm] {
        extract.input_ikm(part);
    }
    extract
}

/// RFC 9180, 4 `LabeledExpand`; `info` is the parts one after the other, at most three.
fn labeled_expand(prk: &Hkdf<Sha256>, suite: &[u8], label: &[u8], info: &[&[u8]], out: &mut [u8]) {
    let length = u16::try_from(out.len()).expect("keys and nonces are short").to_be_bytes();
    let mut parts: [&[u8]; 7] = [&length, VERSION, suite, label, &[], &[], &[]];
    for (part, given) in parts[4..].iter_mut().zip(info) {
        *part = given;
    }
    prk.expand_multi_info(&parts, out).expect("keys and nonces are far shorter than HKDF's limit");
}

#[cfg(test)]
#[path = "hpke_vectors.rs"]
mod vectors;
