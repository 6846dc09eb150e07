//! ES256: ECDSA over P-256 with SHA-256 (FIPS 186-5), deterministic by RFC 6979, r and s as two numbers of 32 bytes.

use core::fmt;
use std::sync::Arc;

use p256::elliptic_curve::Curve;
use p256::elliptic_curve::ff::{Field, PrimeField};
use p256::elliptic_curve::ops::{Invert, Reduce};
use p256::elliptic_curve::point::AffineCoordinates;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{AffinePoint, FieldBytes, NistP256, NonZeroScalar, ProjectivePoint, PublicKey, Scalar, U256};
use rand_core::CryptoRng;
use rfc6979::KGenerator;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::point_table::{PointTable, sum_vartime};
use super::{CryptoError, DIGEST_BYTES, PRIVATE_KEY_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, sha256};

/// A private key that signs. Overwritten when dropped; never printed.
pub struct SigningKey {
    scalar: Zeroizing<NonZeroScalar>,
    public: VerifyingKey,
}

impl SigningKey {
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
        // Every signature is checked with it before it leaves.
        let public = VerifyingKey { point, bytes: point_bytes(&point), table: None }.prepared();
        Self { scalar, public }
    }

    /// The scalar, big endian, for the key store.
    pub fn to_bytes(&self) -> Zeroizing<[u8; PRIVATE_KEY_BYTES]> {
        Zeroizing::new(self.scalar.to_bytes().into())
    }

    /// The public half.
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// Signs the parts as one byte string. The same bytes always give the same signature. It is verified before it is given out,
    /// because one wrong signature beside a right one over the same bytes gives the key away: [`CryptoError::Fault`].
    pub fn sign(&self, parts: &[&[u8]]) -> Result<[u8; SIGNATURE_BYTES], CryptoError> {
        let digest = sha256(parts);
        // RFC 6979, 3.2, with the tries of its step h.
        let mut ks = KGenerator::<Sha256, U256>::new(&self.scalar.to_repr(), &digest, &[], &NistP256::ORDER);
        let signature = loop {
            let mut bytes = Zeroizing::new(FieldBytes::default());
            ks.fill_next_k(&mut bytes);
            let k: Option<NonZeroScalar> = NonZeroScalar::from_repr(*bytes).into();
            if let Some(signature) = k.and_then(|k| self.sign_with(&Zeroizing::new(k), &digest)) {
                break signature;
            }
        };
        self.public.verify_digest(&digest, &signature).map_err(|_| CryptoError::Fault)?;
        Ok(signature)
    }

    /// FIPS 186-5, 6.4.1 with this one-time number; none when r or s comes out as 0.
    fn sign_with(&self, k: &NonZeroScalar, digest: &[u8; DIGEST_BYTES]) -> Option<[u8; SIGNATURE_BYTES]> {
        let r = reduced(&PointTable::generator().mul(k).to_affine().x());
        let inverse = Zeroizing::new(k.invert());
        let s = **inverse * (reduced(&(*digest).into()) + r * **self.scalar);
        if bool::from(r.is_zero() | s.is_zero()) {
            return None;
        }
        let mut signature = [0; SIGNATURE_BYTES];
        signature[..32].copy_from_slice(&r.to_bytes());
        signature[32..].copy_from_slice(&s.to_bytes());
        Some(signature)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

/// A public key that signatures are checked with.
#[derive(Clone)]
pub struct VerifyingKey {
    point: AffinePoint,
    bytes: [u8; PUBLIC_KEY_BYTES],
    table: Option<Arc<PointTable>>,
}

impl VerifyingKey {
    /// From an uncompressed point (`04`, x, y); [`CryptoError::Key`] when it is not on the curve.
    pub fn from_bytes(bytes: &[u8; PUBLIC_KEY_BYTES]) -> Result<Self, CryptoError> {
        point_from(bytes).map(|point| Self { point, bytes: *bytes, table: None })
    }

    /// With a table of the key's multiples: 28 KiB that make each check three times cheaper. For the few keys that one
    /// hears from again and again; making it costs as much as three checks without one.
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

    /// Whether the signature is this key's over the parts as one byte string; [`CryptoError::Signature`] when not. Both values of s
    /// are taken, as the RFC 6979 and Wycheproof vectors want.
    pub fn verify(&self, parts: &[&[u8]], signature: &[u8; SIGNATURE_BYTES]) -> Result<(), CryptoError> {
        self.verify_digest(&sha256(parts), signature)
    }

    /// FIPS 186-5, 6.4.2. All of it is public, so nothing here is constant time.
    fn verify_digest(&self, digest: &[u8; DIGEST_BYTES], signature: &[u8; SIGNATURE_BYTES]) -> Result<(), CryptoError> {
        let (r, s) = signature.split_at(32);
        let (r, s) = (signature_number(r)?, signature_number(s)?);
        let inverse = *s.invert_vartime();
        let (u1, u2) = (reduced(&(*digest).into()) * inverse, *r * inverse);
        let sum = match &self.table {
            Some(table) => sum_vartime(&[(PointTable::generator(), u1), (table, u2)]),
            None => sum_vartime(&[(PointTable::generator(), u1)]) + ProjectivePoint::from(self.point).mul_vartime(&u2),
        };
        // The neutral element has no x; `x()` of it is 0, which no r is.
        if reduced(&sum.to_affine().x()) == *r { Ok(()) } else { Err(CryptoError::Signature) }
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for VerifyingKey {}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").field("prepared", &self.table.is_some()).finish_non_exhaustive()
    }
}

/// r or s: a number from 1 to below the group's order.
fn signature_number(bytes: &[u8]) -> Result<NonZeroScalar, CryptoError> {
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| CryptoError::Signature)?;
    Option::from(NonZeroScalar::from_repr(bytes.into())).ok_or(CryptoError::Signature)
}

/// Bytes as a number modulo the group's order.
fn reduced(bytes: &FieldBytes) -> Scalar {
    <Scalar as Reduce<FieldBytes>>::reduce(bytes)
}

/// A scalar that is not 0, from the random source, without bias.
pub(super) fn random_scalar<R: CryptoRng + ?Sized>(rng: &mut R) -> Zeroizing<NonZeroScalar> {
    loop {
        let mut bytes = Zeroizing::new([0; PRIVATE_KEY_BYTES]);
        rng.fill_bytes(bytes.as_mut());
        if let Ok(scalar) = scalar_from(&bytes) {
            return scalar;
        }
    }
}

pub(super) fn scalar_from(bytes: &[u8; PRIVATE_KEY_BYTES]) -> Result<Zeroizing<NonZeroScalar>, CryptoError> {
    let scalar: Option<NonZeroScalar> = NonZeroScalar::from_repr((*bytes).into()).into();
    scalar.map(Zeroizing::new).ok_or(CryptoError::Key)
}

/// A point on the curve from its uncompressed form. The neutral element has none, so it never comes out of here.
pub(super) fn point_from(bytes: &[u8; PUBLIC_KEY_BYTES]) -> Result<AffinePoint, CryptoError> {
    if bytes[0] != 4 {
        return Err(CryptoError::Key);
    }
    PublicKey::from_sec1_bytes(bytes).map(|key| *key.as_affine()).map_err(|_| CryptoError::Key)
}

pub(super) fn point_bytes(point: &AffinePoint) -> [u8; PUBLIC_KEY_BYTES] {
    let encoded = point.to_sec1_point(false);
    let mut bytes = [0; PUBLIC_KEY_BYTES];
    bytes.copy_from_slice(encoded.as_bytes());
    bytes
}
