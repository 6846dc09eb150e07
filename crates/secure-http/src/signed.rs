//! Signed objects: COSE_Sign1 with the payload in clear. Statements, policies, revocation lists and proofs have this form; anybody may
//! keep and pass them on.
//!
//! ```cddl
//! signed = #6.18([ bstr .cbor { 1: -7, 4: bstr .size 8, 16: tstr }, {}, payload: bstr, bstr .size 64 ])
//! ```
//! The `typ` header (RFC 9596) keeps one sort from being taken for another: it is signed, and each reader wants its own.

use crate::cbor::{Malformed, Reader, Writer};
use crate::code_points::{ALG_ES256, HEADER_ALG, HEADER_KID, HEADER_TYP, TAG_SIGN1};
use crate::cose_key::key_id;
use crate::crypto::{CryptoError, SIGNATURE_BYTES, SigningKey, VerifyingKey};
use crate::limits::SIGNED_BYTES_MAX;
use crate::names::KeyId;

/// The sort of a signed object, as its `typ` header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Typ(pub(crate) &'static str);

/// A signed object whose signature has not been checked.
#[derive(Clone, Debug)]
pub(crate) struct Signed<'a> {
    protected: &'a [u8],
    /// Which key it says it was signed with.
    pub(crate) kid: KeyId,
    payload: &'a [u8],
    signature: &'a [u8; SIGNATURE_BYTES],
}

impl<'a> Signed<'a> {
    pub(crate) fn parse(bytes: &'a [u8], typ: Typ) -> Result<Self, Malformed> {
        Self::parse_up_to(SIGNED_BYTES_MAX, bytes, typ)
    }

    /// An object of a sort with a bound of its own.
    pub(crate) fn parse_up_to(bytes_max: usize, bytes: &'a [u8], typ: Typ) -> Result<Self, Malformed> {
        if bytes.len() > bytes_max {
            return Err(Malformed::TooLong);
        }
        let mut reader = Reader::new(bytes);
        reader.tag(TAG_SIGN1)?;
        reader.array(4)?;
        let protected = reader.bytes()?;
        reader.map(0)?;
        let payload = reader.bytes()?;
        let signature = reader.array_of()?;
        reader.end()?;

        let mut header = Reader::new(protected);
        header.map(3)?;
        header.exactly(HEADER_ALG)?;
        header.exactly(ALG_ES256)?;
        header.exactly(HEADER_KID)?;
        let kid = KeyId(*header.array_of()?);
        header.exactly(HEADER_TYP)?;
        if header.text()? != typ.0 {
            return Err(Malformed::Unexpected);
        }
        header.end()?;
        Ok(Self { protected, kid, payload, signature })
    }

    /// What is signed, before it is known that it is: for a payload that holds the very key it is signed with.
    pub(crate) fn unverified_payload(&self) -> Reader<'a> {
        Reader::new(self.payload)
    }

    /// The payload, when the signature is that key's.
    pub(crate) fn verify(&self, key: &VerifyingKey) -> Result<Reader<'a>, CryptoError> {
        let [prefix, middle] = signature_frame(self.protected, self.payload.len());
        key.verify(&[&prefix, self.protected, &middle, self.payload], self.signature)?;
        Ok(Reader::new(self.payload))
    }
}

/// Signs `payload` as an object of that sort.
pub(crate) fn sign(typ: Typ, payload: &[u8], key: &SigningKey) -> Result<Vec<u8>, CryptoError> {
    let mut header = Writer::new();
    header.map(3).int(HEADER_ALG).int(ALG_ES256);
    header.int(HEADER_KID).bytes(&key_id(key.public().to_bytes()).0).int(HEADER_TYP).text(typ.0);
    let header = header.finish();
    let [prefix, middle] = signature_frame(&header, payload.len());
    let signature = key.sign(&[&prefix, &header, &middle, payload])?;
    let mut out = Writer::with_capacity(payload.len() + header.len() + SIGNATURE_BYTES + 12);
    out.tag(TAG_SIGN1).array(4).bytes(&header).map(0).bytes(payload).bytes(&signature);
    Ok(out.finish())
}

/// What stands around protected header and payload in COSE's Sig_structure (RFC 9052, 4.4), so that neither is copied:
/// `["Signature1", protected, h'', payload]`.
pub(crate) fn signature_frame(protected: &[u8], payload_bytes: usize) -> [Vec<u8>; 2] {
    let mut prefix = Writer::with_capacity(16);
    prefix.array(4).text("Signature1").bytes_head(protected.len());
    let mut middle = Writer::with_capacity(8);
    middle.bytes(&[]).bytes_head(payload_bytes);
    [prefix.finish(), middle.finish()]
}
