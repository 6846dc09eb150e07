//! A membership as bytes, for the store. Private keys are in it.
//!
//! CBOR, an array in this order: form (1), id, role, KMC's host, fingerprint, token, KMC's statements, signing key, sealing key, previous
//! sealing key and until when it is kept, since when each key, own statement, next keys, old signing key, policy, revocation list,
//! number mark, clock floor, whether the wall clock is relied on, peer's statement and host, announced host. What is not there is null.

use core::time::Duration;

use minicbor::{Decoder, Encoder};
use secure_http::crypto::{KemKey, SigningKey};
use secure_http::{
    Clock, Fingerprint, OwnKeys, Policy, PolicyState, RevocationList, Role, Sequence, Statement, TokenSecret, UnixTime,
};
use zeroize::Zeroizing;

use crate::kmc::{At, Kmc};
use crate::limits::RECORD_BYTES_MAX;
use crate::membership::{Membership, NextKeys, Peer};

const FORM: u64 = 1;
const ITEMS: u64 = 23;
const NO_ERROR: &str = "writing into memory does not fail";

/// Why a record was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Written by a later version.
    #[error("the record has form {0}, and this program knows {FORM}")]
    Form(u64),
    /// Damaged.
    #[error("the record is damaged: {0}")]
    Damaged(&'static str),
}

fn damaged<E>(what: &'static str) -> impl FnOnce(E) -> RecordError {
    move |_| RecordError::Damaged(what)
}

impl Membership {
    /// Everything that has to outlive this process; overwritten in memory when dropped. Whoever can read it is this party.
    #[expect(clippy::missing_panics_doc, reason = "writing into memory does not fail")]
    pub fn record(&self) -> Zeroizing<Vec<u8>> {
        // Of its full size from the start: a vector that grows leaves copies of the keys behind.
        let mut out = Zeroizing::new(Vec::with_capacity(RECORD_BYTES_MAX));
        let mut e = Encoder::new(&mut *out);
        let write = |e: &mut Encoder<&mut Vec<u8>>| -> Result<(), minicbor::encode::Error<core::convert::Infallible>> {
            e.array(ITEMS)?.u64(FORM)?.str(self.id.as_str())?.u64(self.role.number())?.str(&self.host)?;
            e.bytes(&self.fingerprint.0)?;
            opt(e, self.token.as_ref().map(|token| &token.as_bytes()[..]))?;
            opt(e, self.kmc.as_ref().map(Kmc::statements).as_deref())?;
            e.bytes(&self.keys.sig().to_bytes()[..])?.bytes(&self.keys.kem().to_bytes()[..])?;
            match self.keys.previous() {
                Some((key, until)) => e.array(2)?.bytes(&key.to_bytes()[..])?.u64(until.0)?,
                None => e.null()?,
            };
            e.u64(self.sig_since.0)?.u64(self.kem_since.0)?;
            opt(e, self.statement.as_ref().map(Statement::raw))?;
            match &self.next {
                Some(next) => {
                    e.array(2)?;
                    opt(e, next.sig.as_ref().map(SigningKey::to_bytes).as_ref().map(|key| &key[..]))?;
                    e.bytes(&next.kem.to_bytes()[..])?;
                }
                None => _ = e.null()?,
            }
            opt(e, self.old_sig.as_ref().map(SigningKey::to_bytes).as_ref().map(|key| &key[..]))?;
            opt(e, self.policy.policy().map(Policy::raw))?;
            opt(e, self.revocations.as_ref().map(RevocationList::raw))?;
            e.u64(self.sequence.mark())?.u64(self.floor.0)?.bool(self.keeps_time())?;
            match &self.peer {
                Some(peer) => {
                    e.array(2)?.bytes(peer.statement.raw())?;
                    text(e, peer.host.as_deref())?;
                }
                None => _ = e.null()?,
            }
            match &self.announced {
                Some(host) => {
                    e.array(1)?;
                    text(e, host.as_deref())?;
                }
                None => _ = e.null()?,
            }
            Ok(())
        };
        write(&mut e).expect(NO_ERROR);
        out
    }

    /// From the store. `wall` is the wall clock and the time since boot where the wall clock is relied on; elsewhere the time is not known
    /// until the KMC has told it.
    ///
    /// # Errors
    /// A record that is damaged, or of a later version of this program.
    pub fn from_record(bytes: &[u8], wall: Option<(UnixTime, Duration)>) -> Result<Self, RecordError> {
        let mut d = Decoder::new(bytes);
        if d.array().map_err(damaged("no array"))? != Some(ITEMS) {
            return Err(RecordError::Damaged("another number of items"));
        }
        let form = number(&mut d)?;
        if form != FORM {
            return Err(RecordError::Form(form));
        }
        let id = d.str().ok().and_then(|s| s.parse().ok()).ok_or(RecordError::Damaged("id"))?;
        let role = Role::from_number(number(&mut d)?).ok_or(RecordError::Damaged("role"))?;
        let host = d.str().map_err(damaged("host"))?.to_owned();
        let fingerprint = Fingerprint(array(&mut d, "fingerprint")?);
        let token = some(&mut d)?.then(|| array(&mut d, "token")).transpose()?.map(TokenSecret::from_bytes);
        let statements = some(&mut d)?.then(|| d.bytes().map_err(damaged("KMC"))).transpose()?;
        let sig = signing_key(&mut d)?;
        let kem = sealing_key(&mut d)?;
        let previous = if some(&mut d)? {
            pair(&mut d)?;
            let key = sealing_key(&mut d)?;
            Some((key, UnixTime(number(&mut d)?)))
        } else {
            None
        };
        let (sig_since, kem_since) = (UnixTime(number(&mut d)?), UnixTime(number(&mut d)?));
        let statement = some(&mut d)?.then(|| read_statement(&mut d)).transpose()?;
        let next = if some(&mut d)? {
            pair(&mut d)?;
            let sig = some(&mut d)?.then(|| signing_key(&mut d)).transpose()?;
            Some(NextKeys { sig, kem: sealing_key(&mut d)? })
        } else {
            None
        };
        let old_sig = some(&mut d)?.then(|| signing_key(&mut d)).transpose()?;
        let policy = if some(&mut d)? {
            // One that newer software does not follow any more is one it has yet to get.
            Policy::from_store(d.bytes().map_err(damaged("policy"))?).ok()
        } else {
            None
        };
        let revocations = if some(&mut d)? {
            let raw = d.bytes().map_err(damaged("revocations"))?;
            Some(RevocationList::from_store(raw).map_err(damaged("revocations"))?)
        } else {
            None
        };
        let (mark, floor) = (number(&mut d)?, UnixTime(number(&mut d)?));
        let keeps_time = d.bool().map_err(damaged("clock"))?;
        let peer = if some(&mut d)? {
            pair(&mut d)?;
            let statement = read_statement(&mut d)?.prepared();
            Some(Peer { statement, host: optional_text(&mut d)? })
        } else {
            None
        };
        let announced = if some(&mut d)? {
            d.array().map_err(damaged("announced"))?;
            Some(optional_text(&mut d)?)
        } else {
            None
        };
        if d.position() != bytes.len() {
            return Err(RecordError::Damaged("more than there should be"));
        }
        let clock = match wall {
            Some((now, boot)) if keeps_time => Clock::from_wall(now, boot),
            _ => Clock::unsynced(floor),
        };
        let kmc = match statements {
            Some(statements) => {
                let at = At { time: None, guess: floor, boot: Duration::ZERO };
                Some(Kmc::from_store(&host, fingerprint, statements, at).map_err(damaged("KMC"))?)
            }
            None => None,
        };
        let keys = OwnKeys::new(sig, kem, previous);
        let mut read = Self::bare(id, role, host, fingerprint, keys, Sequence::after(mark), clock);
        (read.token, read.kmc) = (token, kmc);
        (read.sig_since, read.kem_since) = (sig_since, kem_since);
        (read.statement, read.next, read.old_sig) = (statement, next, old_sig);
        (read.policy, read.revocations) = (PolicyState::new(policy), revocations);
        (read.floor, read.peer, read.announced) = (floor, peer, announced);
        Ok(read)
    }
}

type Sink<'a> = Encoder<&'a mut Vec<u8>>;
type Written = Result<(), minicbor::encode::Error<core::convert::Infallible>>;

fn opt(e: &mut Sink<'_>, bytes: Option<&[u8]>) -> Written {
    match bytes {
        Some(bytes) => e.bytes(bytes)?,
        None => e.null()?,
    };
    Ok(())
}

fn text(e: &mut Sink<'_>, text: Option<&str>) -> Written {
    match text {
        Some(text) => e.str(text)?,
        None => e.null()?,
    };
    Ok(())
}

/// Whether something is there; a null is passed over.
fn some(d: &mut Decoder<'_>) -> Result<bool, RecordError> {
    let null = d.datatype().map_err(damaged("its end"))? == minicbor::data::Type::Null;
    if null {
        d.null().map_err(damaged("null"))?;
    }
    Ok(!null)
}

fn pair(d: &mut Decoder<'_>) -> Result<(), RecordError> {
    match d.array() {
        Ok(Some(2)) => Ok(()),
        _ => Err(RecordError::Damaged("a pair")),
    }
}

fn number(d: &mut Decoder<'_>) -> Result<u64, RecordError> {
    d.u64().map_err(damaged("a number"))
}

fn array<const N: usize>(d: &mut Decoder<'_>, what: &'static str) -> Result<[u8; N], RecordError> {
    d.bytes().ok().and_then(|bytes| bytes.try_into().ok()).ok_or(RecordError::Damaged(what))
}

fn signing_key(d: &mut Decoder<'_>) -> Result<SigningKey, RecordError> {
    let bytes = Zeroizing::new(array(d, "signing key")?);
    SigningKey::from_bytes(&bytes).map_err(damaged("signing key"))
}

fn sealing_key(d: &mut Decoder<'_>) -> Result<KemKey, RecordError> {
    let bytes = Zeroizing::new(array(d, "sealing key")?);
    KemKey::from_bytes(&bytes).map_err(damaged("sealing key"))
}

fn read_statement(d: &mut Decoder<'_>) -> Result<Statement, RecordError> {
    let raw = d.bytes().map_err(damaged("statement"))?;
    Statement::from_store(raw).map_err(damaged("statement"))
}

fn optional_text(d: &mut Decoder<'_>) -> Result<Option<String>, RecordError> {
    some(d)?.then(|| d.str().map(str::to_owned).map_err(damaged("host"))).transpose()
}
