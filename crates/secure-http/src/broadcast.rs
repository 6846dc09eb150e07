//! What a utility says to all its homes in the same words: signed, not sealed, so that any cache may keep it.
//!
//! ```cddl
//! broadcast = signed<typ "heg-broadcast", bstr>     ; signed by the utility; the content is its business
//! ```
//! Nothing in it says when it was signed: whether it is news is for the content to say (prices and limits have versions and times).

use crate::cbor::{Malformed, Writer};
use crate::crypto::{CryptoError, SigningKey};
use crate::limits::BROADCAST_BYTES_MAX;
use crate::names::Role;
use crate::signed::{self, Signed, Typ};
use crate::statement::Statement;

const BROADCAST: Typ = Typ("heg-broadcast");

/// Why a broadcast object was not made, or is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BroadcastError {
    /// Not such an object, or one over the bound ([`BROADCAST_BYTES_MAX`]).
    #[error("the broadcast object {0}")]
    Malformed(#[from] Malformed),
    /// The signature is not that key's.
    #[error("the broadcast object: {0}")]
    Crypto(#[from] CryptoError),
    /// Signed with another key than the one in the statement: the utility may have rolled over.
    #[error("the broadcast object is signed with another key")]
    OtherKey,
    /// The statement is no utility's.
    #[error("only a utility broadcasts")]
    NotEntitled,
}

/// A broadcast object: nothing but its two ways.
#[derive(Clone, Copy, Debug)]
pub struct Broadcast;

impl Broadcast {
    /// Signs `payload` with the utility's signing key.
    ///
    /// # Errors
    /// [`Malformed::TooLong`] when the object would be over [`BROADCAST_BYTES_MAX`], or a fault in signing.
    pub fn sign(payload: &[u8], key: &SigningKey) -> Result<Vec<u8>, BroadcastError> {
        let mut w = Writer::with_capacity(payload.len() + 5);
        w.bytes(payload);
        let object = signed::sign(BROADCAST, &w.finish(), key)?;
        if object.len() > BROADCAST_BYTES_MAX {
            return Err(Malformed::TooLong.into());
        }
        Ok(object)
    }

    /// The payload, when it was signed with the key in the utility's statement. Whether the statement holds now and is not revoked, the
    /// caller has to have asked.
    ///
    /// # Errors
    /// Anything but an object of this sort, signed by that utility.
    pub fn verify(object: &[u8], utility: &Statement) -> Result<Vec<u8>, BroadcastError> {
        if utility.role() != Role::Utility {
            return Err(BroadcastError::NotEntitled);
        }
        let signed = Signed::parse_up_to(BROADCAST_BYTES_MAX, object, BROADCAST)?;
        if signed.kid != utility.kid() {
            return Err(BroadcastError::OtherKey);
        }
        let mut r = signed.verify(utility.sig())?;
        let payload = r.bytes()?.to_vec();
        r.end()?;
        Ok(payload)
    }
}
