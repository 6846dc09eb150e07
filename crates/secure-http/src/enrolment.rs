//! How a new gateway becomes known to the KMC: a sealed request made with the printed token, a challenge, an answer.
//!
//! ```cddl
//! enrolment = #6.16([ iprot: bstr .cbor { 1: 35, 4: bstr .size 8, -5: bstr .size 8 }, { -4: bstr .size 65 }, bstr ])
//!                                     ; kid of the KMC's kem key, name of the token; sealed in HPKE's mode psk with the token
//! sealed    = signed<typ "heg-enrol", [ 8, uuid, sig: COSE_Key, kem: COSE_Key, token-id: bstr .size 8, nonce: bstr .size 8,
//!                                       mac: bstr .size 32 ]>     ; signed with the new sig key
//! ```
//! A request made without the token does not open, so nothing is read of it. The `mac` binds the token to the keys also in the signed
//! part, which the KMC archives.

use rand_core::CryptoRng;

use crate::cbor::{Malformed, Reader, Writer};
use crate::code_points::{ALG_HPKE_0, HEADER_ALG, HEADER_EK, HEADER_KID, HEADER_PSK_ID, INFO_ENROLMENT, TAG_ENCRYPT0};
use crate::cose_key::{self, key_id};
use crate::crypto::{
    CryptoError, DIGEST_BYTES, KemKey, KemPublicKey, PUBLIC_KEY_BYTES, Psk, SigningKey, VerifyingKey, equal,
    hmac_sha256,
};
use crate::envelope::encryption_aad;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::names::{KeyId, Kind, Nonce, PartyId, TokenId};
use crate::signed::{self, Signed, Typ};
use crate::token::TokenSecret;

const ENROL: Typ = Typ("heg-enrol");
/// First part of what the `mac` is taken over.
const MAC_LABEL: &[u8] = b"heg-enrol/1";

/// Why an enrolment request is not followed. The asker is told the same for all but `Malformed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolmentError {
    /// Not an enrolment request.
    #[error("the enrolment request {0}")]
    Malformed(#[from] Malformed),
    /// Not made with this token, or for another key, or changed; or its signature is wrong.
    #[error("the enrolment request: {0}")]
    Crypto(#[from] CryptoError),
}

/// An enrolment request that was opened: what the KMC is to state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The new gateway.
    pub party: PartyId,
    /// The key it signs with; it has shown that it holds the private one.
    pub sig: VerifyingKey,
    /// The key that messages for it are sealed to; that it holds the private one, its answer to the challenge shows.
    pub kem: KemPublicKey,
    /// The token that was used.
    pub token: TokenId,
    /// What the answer names.
    pub nonce: Nonce,
    /// The signed part, for the archive.
    pub evidence: Vec<u8>,
}

/// An enrolment request as it came: only its form and the names in clear are known.
#[derive(Clone, Debug)]
pub struct EnrolmentRequest<'a> {
    inner_protected: &'a [u8],
    recipient_kid: KeyId,
    token: TokenId,
    enc: &'a [u8; PUBLIC_KEY_BYTES],
    ciphertext: &'a [u8],
}

impl<'a> EnrolmentRequest<'a> {
    /// Reads the form.
    pub fn parse(raw: &'a [u8]) -> Result<Self, Malformed> {
        if raw.len() > MESSAGE_BYTES_MAX {
            return Err(Malformed::TooLong);
        }
        let mut r = Reader::new(raw);
        r.tag(TAG_ENCRYPT0)?;
        r.array(3)?;
        let inner_protected = r.bytes()?;
        r.map(1)?;
        r.exactly(HEADER_EK)?;
        let enc = r.array_of()?;
        let ciphertext = r.bytes()?;
        r.end()?;
        let mut r = Reader::new(inner_protected);
        r.map(3)?;
        r.exactly(HEADER_ALG)?;
        r.exactly(ALG_HPKE_0)?;
        r.exactly(HEADER_KID)?;
        let recipient_kid = KeyId(*r.array_of()?);
        r.exactly(HEADER_PSK_ID)?;
        let token = TokenId(*r.array_of()?);
        r.end()?;
        Ok(Self { inner_protected, recipient_kid, token, enc, ciphertext })
    }

    /// Which token it says it was made with: to count attempts by, before anything is computed.
    pub fn token(&self) -> TokenId {
        self.token
    }

    /// Which of the KMC's keys it is sealed to.
    pub fn recipient_kid(&self) -> KeyId {
        self.recipient_kid
    }

    /// Opens it with the KMC's key and the token of that name, and checks everything in it.
    pub fn open(&self, key: &KemKey, secret: &TokenSecret) -> Result<Enrolment, EnrolmentError> {
        let psk = Psk { key: secret.as_bytes(), id: &self.token.0 };
        let aad = encryption_aad(self.inner_protected, INFO_ENROLMENT);
        let evidence = key.open_psk(self.enc, INFO_ENROLMENT, psk, &aad, self.ciphertext)?.to_vec();
        let signed = Signed::parse(&evidence, ENROL)?;
        let (sig, mut r) = self_signed(&signed)?;
        r.array(7)?;
        r.exactly(Kind::Enrol.number() as i64)?;
        let party = PartyId::read(&mut r)?;
        cose_key::read(&mut r)?;
        let kem = KemPublicKey::from_bytes(&cose_key::read(&mut r)?)?;
        let token = TokenId(*r.array_of()?);
        let nonce = Nonce(*r.array_of()?);
        let mac: &[u8; DIGEST_BYTES] = r.array_of()?;
        r.end()?;
        let expected = mac_of(secret, party, sig.to_bytes(), kem.to_bytes(), token, nonce);
        if token != self.token || !equal(mac, &expected) {
            return Err(CryptoError::Open.into());
        }
        Ok(Enrolment { party, sig, kem, token, nonce, evidence })
    }
}

/// The key that a signed object of the form `[ number, uuid, sig, ...]` holds, and the payload, when it is signed with that very key.
pub(crate) fn self_signed<'a>(signed: &Signed<'a>) -> Result<(VerifyingKey, Reader<'a>), EnrolmentError> {
    let mut r = signed.unverified_payload();
    r.array_up_to(7)?;
    r.uint()?;
    r.text()?;
    let sig = VerifyingKey::from_bytes(&cose_key::read(&mut r)?)?;
    if signed.kid != key_id(sig.to_bytes()) {
        return Err(CryptoError::Signature.into());
    }
    let payload = signed.verify(&sig)?;
    Ok((sig, payload))
}

fn mac_of(
    secret: &TokenSecret,
    party: PartyId,
    sig: &[u8; PUBLIC_KEY_BYTES],
    kem: &[u8; PUBLIC_KEY_BYTES],
    token: TokenId,
    nonce: Nonce,
) -> [u8; DIGEST_BYTES] {
    hmac_sha256(secret.as_bytes(), &[MAC_LABEL, party.as_str().as_bytes(), sig, kem, &token.0, &nonce.0])
}

/// The gateway's request to become `party`. Gives the bytes to post and the nonce that the answer will name.
pub fn request_enrolment<R: CryptoRng + ?Sized>(
    party: PartyId,
    sig: &SigningKey,
    kem: &KemPublicKey,
    secret: &TokenSecret,
    kmc: &KemPublicKey,
    rng: &mut R,
) -> Result<(Vec<u8>, Nonce), CryptoError> {
    let (token, nonce) = (secret.id(), Nonce::generate(rng));
    let sig_bytes = sig.public().to_bytes();
    let mut w = Writer::new();
    w.array(7).uint(Kind::Enrol.number()).text(party.as_str());
    cose_key::write(&mut w, sig_bytes);
    cose_key::write(&mut w, kem.to_bytes());
    w.bytes(&token.0).bytes(&nonce.0).bytes(&mac_of(secret, party, sig_bytes, kem.to_bytes(), token, nonce));
    let inside = signed::sign(ENROL, &w.finish(), sig)?;

    let mut inner = Writer::new();
    inner.map(3).int(HEADER_ALG).int(ALG_HPKE_0).int(HEADER_KID).bytes(&key_id(kmc.to_bytes()).0);
    inner.int(HEADER_PSK_ID).bytes(&token.0);
    let inner = inner.finish();
    let psk = Psk { key: secret.as_bytes(), id: &token.0 };
    let sealed = kmc.seal_psk(INFO_ENROLMENT, psk, &encryption_aad(&inner, INFO_ENROLMENT), inside, rng)?;
    let mut w = Writer::new();
    w.tag(TAG_ENCRYPT0).array(3).bytes(&inner).map(1).int(HEADER_EK).bytes(&sealed.enc).bytes(&sealed.ciphertext);
    Ok((w.finish(), nonce))
}
