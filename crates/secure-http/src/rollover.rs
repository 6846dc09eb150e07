//! A party's new keys: the body of a message of kind 10. The message is signed with the old key, the proof in it with the new one.
//!
//! ```cddl
//! rollover = signed<typ "heg-rollover", [ 10, uuid, sig: COSE_Key, kem: COSE_Key, previous: bstr .size 8 ]>
//! ```

use crate::cbor::Writer;
use crate::cose_key;
use crate::crypto::{CryptoError, KemPublicKey, SigningKey, VerifyingKey};
use crate::enrolment::{EnrolmentError, self_signed};
use crate::names::{Kind, PartyId, Serial};
use crate::signed::{self, Signed, Typ};

const ROLLOVER: Typ = Typ("heg-rollover");

/// New keys of a known party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollover {
    /// Whose.
    pub party: PartyId,
    /// The key it is going to sign with, new or as before; it has shown that it holds the private one.
    pub sig: VerifyingKey,
    /// The key that messages for it are to be sealed to, new or as before.
    pub kem: KemPublicKey,
    /// The statement that these keys take the place of.
    pub previous: Serial,
}

impl Rollover {
    /// Makes the body. `sig` is the new key, or the old one when only the sealing key changes.
    pub fn body(
        party: PartyId,
        sig: &SigningKey,
        kem: &KemPublicKey,
        previous: Serial,
    ) -> Result<Vec<u8>, CryptoError> {
        let mut w = Writer::new();
        w.array(5).uint(Kind::Rollover.number()).text(party.as_str());
        cose_key::write(&mut w, sig.public().to_bytes());
        cose_key::write(&mut w, kem.to_bytes());
        w.bytes(&previous.0.to_be_bytes());
        signed::sign(ROLLOVER, &w.finish(), sig)
    }

    /// Reads a body that came in a message from `party`; of anybody else's keys it is [`CryptoError::Signature`].
    pub fn verify(body: &[u8], party: &PartyId) -> Result<Self, EnrolmentError> {
        let signed = Signed::parse(body, ROLLOVER)?;
        let (sig, mut r) = self_signed(&signed)?;
        r.array(5)?;
        r.exactly(Kind::Rollover.number() as i64)?;
        let whose = PartyId::read(&mut r)?;
        cose_key::read(&mut r)?;
        let kem = KemPublicKey::from_bytes(&cose_key::read(&mut r)?)?;
        let previous = Serial(u64::from_be_bytes(*r.array_of()?));
        r.end()?;
        if whose != *party {
            return Err(CryptoError::Signature.into());
        }
        Ok(Self { party: whose, sig, kem, previous })
    }
}
