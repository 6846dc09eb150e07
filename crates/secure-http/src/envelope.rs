//! The message: COSE_Sign1 over COSE_Encrypt0 with HPKE. Built here, and parsed strictly; docs/secure-channel.md has the CDDL.
//!
//! The sealed part is bound to the whole signed header (it is additional data of the encryption), and the signature covers the sealed
//! part: what one party sealed can't be signed by another and opened, and what was sealed for one can't be sent on to another.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::cbor::{Malformed, Reader, Writer};
use crate::code_points::{
    ALG_ES256, ALG_HPKE_0, CLAIM_AUD, CLAIM_COMMITMENT, CLAIM_CTI, CLAIM_EXP, CLAIM_IAT, CLAIM_ISS, CLAIM_MESSAGE,
    CONTENT_ENCRYPT0, HEADER_ALG, HEADER_CLAIMS, HEADER_CONTENT_TYPE, HEADER_CRIT, HEADER_EK, HEADER_KID, INFO_MESSAGE,
    MESSAGE_VERSION, TAG_SIGN1,
};
use crate::cose_key::key_id;
use crate::crypto::{
    CryptoError, DIGEST_BYTES, KemKey, KemPublicKey, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SigningKey, VerifyingKey,
    equal, sha256,
};
use crate::limits::{PADDING_BYTES, REPORT_BYTES_MAX, SALT_BYTES};
use crate::names::{KeyId, Kind, Nonce, PartyId, UnixTime};
use crate::signed::signature_frame;

/// Bytes of the body's length in the plaintext.
const LENGTH_BYTES: usize = 4;
/// Bytes around a body, for the first allocation of a message: header, keys, signature.
const OVERHEAD_BYTES: usize = 400;

/// What stands in the signed header of a message. Everybody on the way can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Who signed it.
    pub issuer: PartyId,
    /// Which of its keys it says it signed it with.
    pub kid: KeyId,
    /// Whom it is for.
    pub audience: PartyId,
    /// When it was made.
    pub issued: UnixTime,
    /// From when on it is refused.
    pub expires: UnixTime,
    /// Its own identifier.
    pub cti: Nonce,
    /// What it is.
    pub kind: Kind,
    /// Its number among its sender's messages, upwards from 1.
    pub seq: u64,
    /// Version of the policy that its sender follows; 0 for none yet.
    pub policy: u32,
    /// The message that it answers.
    pub answers: Option<Nonce>,
    /// SHA-256 of the plaintext: AES-GCM alone would let a sender make one ciphertext that opens differently under two keys.
    pub commitment: [u8; DIGEST_BYTES],
}

impl Head {
    /// Whether the message with this header holds that body behind that salt. With the header's signature it is evidence of who said it.
    pub fn commits_to(&self, salt: &[u8; SALT_BYTES], body: &[u8]) -> bool {
        padded(salt, body).is_ok_and(|plaintext| equal(&sha256(&[&plaintext]), &self.commitment))
    }
}

/// A message in the right form, whose signature has not been checked. Nothing of it may be believed.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    raw: &'a [u8],
    protected: &'a [u8],
    head: Head,
    payload: &'a [u8],
    inner_protected: &'a [u8],
    recipient_kid: KeyId,
    enc: &'a [u8; PUBLIC_KEY_BYTES],
    ciphertext: &'a [u8],
    signature: &'a [u8; SIGNATURE_BYTES],
}

impl<'a> Envelope<'a> {
    /// Reads a message: exactly the fields of the format, in their order, in their shortest form, to the end.
    pub fn parse(raw: &'a [u8]) -> Result<Self, Malformed> {
        if raw.len() > REPORT_BYTES_MAX {
            return Err(Malformed::TooLong);
        }
        let mut reader = Reader::new(raw);
        reader.tag(TAG_SIGN1)?;
        reader.array(4)?;
        let protected = reader.bytes()?;
        reader.map(0)?;
        let payload = reader.bytes()?;
        let signature = reader.array_of()?;
        reader.end()?;
        let head = read_head(protected)?;

        let mut reader = Reader::new(payload);
        reader.array(3)?;
        let inner_protected = reader.bytes()?;
        reader.map(1)?;
        reader.exactly(HEADER_EK)?;
        let enc = reader.array_of()?;
        let ciphertext = reader.bytes()?;
        reader.end()?;

        let mut inner = Reader::new(inner_protected);
        inner.map(2)?;
        inner.exactly(HEADER_ALG)?;
        inner.exactly(ALG_HPKE_0)?;
        inner.exactly(HEADER_KID)?;
        let recipient_kid = KeyId(*inner.array_of()?);
        inner.end()?;
        Ok(Self { raw, protected, head, payload, inner_protected, recipient_kid, enc, ciphertext, signature })
    }

    /// The header, unchecked.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The bytes as they came: what is archived as evidence.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Which of the recipient's keys it is sealed to.
    pub fn recipient_kid(&self) -> KeyId {
        self.recipient_kid
    }

    /// Whether that key signed it. The bytes that came are checked, never a writing of what was read.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), CryptoError> {
        let [prefix, middle] = signature_frame(self.protected, self.payload.len());
        key.verify(&[&prefix, self.protected, &middle, self.payload], self.signature)
    }

    /// Salt and body, when it was sealed to that key and is what the sender committed to. To be called after [`verify`](Self::verify).
    pub(crate) fn open(&self, key: &KemKey) -> Result<([u8; SALT_BYTES], Zeroizing<Vec<u8>>), CryptoError> {
        let aad = encryption_aad(self.inner_protected, self.protected);
        let plaintext = key.open(self.enc, INFO_MESSAGE, &aad, self.ciphertext)?;
        open_plaintext(plaintext, &self.head.commitment)
    }
}

/// Which party a message says it is from, before it is parsed: the field stands at a fixed place. For the cookie check.
pub fn peek_issuer(raw: &[u8]) -> Option<PartyId> {
    // Tag, array, byte string with one byte of length, map, alg, crit, content type, kid, claims, label of iss, head of the text.
    const BEFORE_KID: [u8; 13] = [0xd2, 0x84, 0x58, 0, 0xa5, 0x01, 0x26, 0x02, 0x81, 0x0f, 0x03, 0x10, 0x04];
    const AFTER_KID: [u8; 5] = [0x0f, 0xa7, 0x01, 0x78, 0x24];
    let (before, rest) = raw.split_at_checked(BEFORE_KID.len())?;
    let (_, rest) = rest.split_at_checked(9)?;
    let (after, rest) = rest.split_at_checked(AFTER_KID.len())?;
    let same_but_length = before.iter().zip(BEFORE_KID).enumerate().all(|(i, (a, b))| i == 3 || *a == b);
    if !same_but_length || after != AFTER_KID {
        return None;
    }
    PartyId::from_bytes(rest.get(..36)?).ok()
}

fn read_head(protected: &[u8]) -> Result<Head, Malformed> {
    let mut reader = Reader::new(protected);
    reader.map(5)?;
    reader.exactly(HEADER_ALG)?;
    reader.exactly(ALG_ES256)?;
    reader.exactly(HEADER_CRIT)?;
    reader.array(1)?;
    reader.exactly(HEADER_CLAIMS)?;
    reader.exactly(HEADER_CONTENT_TYPE)?;
    reader.exactly(CONTENT_ENCRYPT0 as i64)?;
    reader.exactly(HEADER_KID)?;
    let kid = KeyId(*reader.array_of()?);
    reader.exactly(HEADER_CLAIMS)?;
    reader.map(7)?;
    reader.exactly(CLAIM_ISS)?;
    let issuer = PartyId::read(&mut reader)?;
    reader.exactly(CLAIM_AUD)?;
    let audience = PartyId::read(&mut reader)?;
    reader.exactly(CLAIM_EXP)?;
    let expires = UnixTime(reader.uint()?);
    reader.exactly(CLAIM_IAT)?;
    let issued = UnixTime(reader.uint()?);
    reader.exactly(CLAIM_CTI)?;
    let cti = Nonce(*reader.array_of()?);
    reader.exactly(CLAIM_MESSAGE)?;
    reader.array(5)?;
    reader.exactly(MESSAGE_VERSION as i64)?;
    let kind = Kind::from_number(reader.uint()?).ok_or(Malformed::Unexpected)?;
    let seq = reader.uint()?;
    let policy = reader.u32()?;
    let answers = reader.optional(Reader::array_of)?.map(|bytes| Nonce(*bytes));
    reader.exactly(CLAIM_COMMITMENT)?;
    let commitment = *reader.array_of()?;
    reader.end()?;
    // A message that no sender of ours makes, and that no window could place.
    if issued >= expires || seq == 0 || seq == u64::MAX {
        return Err(Malformed::Unexpected);
    }
    Ok(Head { issuer, kid, audience, issued, expires, cti, kind, seq, policy, answers, commitment })
}

fn write_head(head: &Head) -> Vec<u8> {
    let mut w = Writer::with_capacity(OVERHEAD_BYTES);
    w.map(5).int(HEADER_ALG).int(ALG_ES256);
    w.int(HEADER_CRIT).array(1).int(HEADER_CLAIMS);
    w.int(HEADER_CONTENT_TYPE).uint(CONTENT_ENCRYPT0);
    w.int(HEADER_KID).bytes(&head.kid.0);
    w.int(HEADER_CLAIMS).map(7);
    w.int(CLAIM_ISS).text(head.issuer.as_str());
    w.int(CLAIM_AUD).text(head.audience.as_str());
    w.int(CLAIM_EXP).uint(head.expires.0);
    w.int(CLAIM_IAT).uint(head.issued.0);
    w.int(CLAIM_CTI).bytes(&head.cti.0);
    w.int(CLAIM_MESSAGE).array(5).uint(MESSAGE_VERSION).uint(head.kind.number()).uint(head.seq);
    w.uint(u64::from(head.policy)).optional(head.answers.as_ref().map(|nonce| &nonce.0[..]));
    w.int(CLAIM_COMMITMENT).bytes(&head.commitment);
    w.finish()
}

/// COSE's Enc_structure (RFC 9052, 5.3): `["Encrypt0", inner header, outer header]`.
pub(crate) fn encryption_aad(inner_protected: &[u8], external: &[u8]) -> Vec<u8> {
    let mut w = Writer::with_capacity(inner_protected.len() + external.len() + 16);
    w.array(3).text("Encrypt0").bytes(inner_protected).bytes(external);
    w.finish()
}

/// Salt, length of the body, body, zeros up to a multiple of [`PADDING_BYTES`]. Has room for the tag.
fn padded(salt: &[u8; SALT_BYTES], body: &[u8]) -> Result<Vec<u8>, SealError> {
    let length = u32::try_from(body.len()).map_err(|_| SealError::TooLong)?;
    let bytes = (SALT_BYTES + LENGTH_BYTES + body.len()).next_multiple_of(PADDING_BYTES);
    if bytes + OVERHEAD_BYTES > REPORT_BYTES_MAX {
        return Err(SealError::TooLong);
    }
    let mut plaintext = Vec::with_capacity(bytes + crate::crypto::TAG_BYTES);
    plaintext.extend_from_slice(salt);
    plaintext.extend_from_slice(&length.to_be_bytes());
    plaintext.extend_from_slice(body);
    plaintext.resize(bytes, 0);
    Ok(plaintext)
}

/// Salt and body of a plaintext that is the committed one and has the form above, with zeros and nothing else behind the body.
fn open_plaintext(
    mut plaintext: Zeroizing<Vec<u8>>,
    commitment: &[u8; DIGEST_BYTES],
) -> Result<([u8; SALT_BYTES], Zeroizing<Vec<u8>>), CryptoError> {
    if !equal(&sha256(&[&plaintext]), commitment) {
        return Err(CryptoError::Open);
    }
    let before = SALT_BYTES + LENGTH_BYTES;
    let length = plaintext.get(SALT_BYTES..before).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    let end = before.saturating_add(length.ok_or(CryptoError::Open)? as usize);
    let padding = plaintext.get(end..).ok_or(CryptoError::Open)?;
    if plaintext.len() != end.next_multiple_of(PADDING_BYTES) || padding.iter().any(|byte| *byte != 0) {
        return Err(CryptoError::Open);
    }
    let salt = plaintext.first_chunk().copied().ok_or(CryptoError::Open)?;
    plaintext.truncate(end);
    plaintext.drain(..before);
    Ok((salt, plaintext))
}

/// Why a message was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The body does not fit a message ([`REPORT_BYTES_MAX`]).
    #[error("the body is too long for a message")]
    TooLong,
    /// See [`CryptoError::Fault`].
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// What a message is to say.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// What it is.
    pub kind: Kind,
    /// The message it answers.
    pub answers: Option<Nonce>,
    /// The next of the sender's numbers.
    pub seq: u64,
    /// Version of the policy that the sender follows; 0 for none yet.
    pub policy: u32,
    /// When it is made: whatever the sender's clock says, since an answer and its freshness hang on `answers`, not on the time.
    pub issued: UnixTime,
    /// How long it is good (seconds, at least 1).
    pub lifetime_s: u64,
    /// What is sealed.
    pub body: &'a [u8],
}

/// A message ready to be sent, and the identifier that its answer will name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The bytes to post.
    pub bytes: Vec<u8>,
    /// Its identifier.
    pub cti: Nonce,
}

/// Seals and signs a message from `from` to `to`. The random source gives the salt, the message's identifier and the one-time key.
pub fn seal<R: CryptoRng + ?Sized>(
    draft: &Draft<'_>,
    from: (PartyId, &SigningKey),
    to: (PartyId, &KemPublicKey),
    rng: &mut R,
) -> Result<Sealed, SealError> {
    let mut salt = [0; SALT_BYTES];
    rng.fill_bytes(&mut salt);
    let plaintext = padded(&salt, draft.body)?;
    let head = Head {
        issuer: from.0,
        kid: key_id(from.1.public().to_bytes()),
        audience: to.0,
        issued: draft.issued,
        expires: draft.issued.plus(draft.lifetime_s.max(1)),
        cti: Nonce::generate(rng),
        kind: draft.kind,
        seq: draft.seq,
        policy: draft.policy,
        answers: draft.answers,
        commitment: sha256(&[&plaintext]),
    };
    let protected = write_head(&head);
    let mut inner = Writer::with_capacity(16);
    inner.map(2).int(HEADER_ALG).int(ALG_HPKE_0).int(HEADER_KID).bytes(&key_id(to.1.to_bytes()).0);
    let inner = inner.finish();
    let sealed = to.1.seal(INFO_MESSAGE, &encryption_aad(&inner, &protected), plaintext, rng)?;

    let mut payload = Writer::with_capacity(sealed.ciphertext.len() + PUBLIC_KEY_BYTES + inner.len() + 12);
    payload.array(3).bytes(&inner).map(1).int(HEADER_EK).bytes(&sealed.enc).bytes(&sealed.ciphertext);
    let payload = payload.finish();
    let [prefix, middle] = signature_frame(&protected, payload.len());
    let signature = from.1.sign(&[&prefix, &protected, &middle, &payload])?;
    let mut out = Writer::with_capacity(payload.len() + protected.len() + SIGNATURE_BYTES + 12);
    out.tag(TAG_SIGN1).array(4).bytes(&protected).map(0).bytes(&payload).bytes(&signature);
    Ok(Sealed { bytes: out.finish(), cti: head.cti })
}
