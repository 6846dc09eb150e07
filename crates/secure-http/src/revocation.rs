//! The list of statements that hold no longer although their time is not over, signed by the issuing key.
//!
//! ```cddl
//! revocations = signed<typ "heg-revocations", [ kmc: uuid, version: uint, issued: uint, [* uint] ]>   ; serials, ascending
//! ```

use crate::cbor::{Malformed, Reader, Writer};
use crate::crypto::{CryptoError, SigningKey};
use crate::limits::REVOKED_MAX;
use crate::names::{PartyId, Serial, UnixTime};
use crate::signed::{self, Signed, Typ};
use crate::statement::Authority;

const REVOCATIONS: Typ = Typ("heg-revocations");

/// Why a list is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// Not a list, or one over the bound ([`REVOKED_MAX`]).
    #[error("the revocation list {0}")]
    Malformed(#[from] Malformed),
    /// The signature is not the issuing key's.
    #[error("the revocation list: {0}")]
    Crypto(#[from] CryptoError),
    /// From another KMC.
    #[error("the revocation list is of another KMC")]
    OtherKmc,
    /// Older than the one known.
    #[error("a newer revocation list is known")]
    NotNewer,
}

/// A list whose signature has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    raw: Vec<u8>,
    version: u64,
    issued: UnixTime,
    serials: Vec<Serial>,
}

impl RevocationList {
    /// Checks signature and KMC.
    pub fn verify(raw: &[u8], authority: &Authority) -> Result<Self, RevocationError> {
        let payload = Signed::parse(raw, REVOCATIONS)?.verify(authority.issuing().sig())?;
        let (kmc, list) = Self::read(raw, payload)?;
        if kmc == authority.kmc() { Ok(list) } else { Err(RevocationError::OtherKmc) }
    }

    /// A list that this machine checked before and kept in its own store. The signature is not checked again.
    pub fn from_store(raw: &[u8]) -> Result<Self, RevocationError> {
        Self::read(raw, Signed::parse(raw, REVOCATIONS)?.unverified_payload()).map(|(_, list)| list)
    }

    fn read(raw: &[u8], mut r: Reader<'_>) -> Result<(PartyId, Self), RevocationError> {
        r.array(4)?;
        let kmc = PartyId::read(&mut r)?;
        let version = r.uint()?;
        let issued = UnixTime(r.uint()?);
        let count = r.array_up_to(REVOKED_MAX)?;
        let serials = (0..count).map(|_| r.uint().map(Serial)).collect::<Result<Vec<_>, _>>()?;
        r.end()?;
        if !serials.is_sorted_by(|a, b| a < b) {
            return Err(Malformed::Unexpected.into());
        }
        Ok((kmc, Self { raw: raw.to_vec(), version, issued, serials }))
    }

    /// Signs a list with the issuing key. Serials in any order, each once; [`Malformed::TooLong`] for too many.
    pub fn issue(
        kmc: PartyId,
        version: u64,
        issued: UnixTime,
        mut serials: Vec<Serial>,
        key: &SigningKey,
    ) -> Result<Self, RevocationError> {
        serials.sort_unstable();
        serials.dedup();
        let mut w = Writer::new();
        w.array(4).text(kmc.as_str()).uint(version).uint(issued.0).array(serials.len());
        for serial in &serials {
            w.uint(serial.0);
        }
        Self::from_store(&signed::sign(REVOCATIONS, &w.finish(), key)?)
    }

    /// The list to go on with when `newer` comes in: versions only go up.
    pub fn succeeded_by(&self, newer: Self) -> Result<Self, RevocationError> {
        if newer.version > self.version || newer.raw == self.raw { Ok(newer) } else { Err(RevocationError::NotNewer) }
    }

    /// The bytes, for storing and passing on.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// When it was signed.
    pub fn issued(&self) -> UnixTime {
        self.issued
    }

    /// Whether the statement of this number is on it.
    pub fn contains(&self, serial: Serial) -> bool {
        self.serials.binary_search(&serial).is_ok()
    }
}
