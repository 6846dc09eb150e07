//! What stands inside sealed messages where it is the protocol's own business: acknowledgements, keys, challenges, time, refusals.
//! Reports, polls and commands belong to those who send them.

use crate::cbor::{Malformed, Reader, Writer};
use crate::cookie::Cookie;
use crate::limits::{PATH_MAX, REPORT_BYTES_MAX, SIGNED_BYTES_MAX, STATEMENTS_MAX};
use crate::names::{PartyId, Serial, UnixTime};
use crate::token::canonical_host;

/// Body of kind 4: `[ time, policy, revocations, cookie / null, bstr ]`. Tells a gateway what there is to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The server's time.
    pub time: UnixTime,
    /// Version of its policy.
    pub policy: u32,
    /// Version of its revocation list.
    pub revocations: u64,
    /// For the next requests.
    pub cookie: Option<Cookie>,
    /// What the server has to say beside that; empty for nothing.
    pub body: Vec<u8>,
}

impl Ack {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(5).uint(self.time.0).uint(u64::from(self.policy)).uint(self.revocations);
        match &self.cookie {
            Some(cookie) => cookie.write(&mut w),
            None => _ = w.null(),
        }
        w.bytes(&self.body);
        w.finish()
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        r.array(5)?;
        let (time, policy, revocations) = (UnixTime(r.uint()?), r.u32()?, r.uint()?);
        let cookie = r.optional(Cookie::read)?;
        let body = bounded(r.bytes()?, REPORT_BYTES_MAX)?;
        r.end()?;
        Ok(Self { time, policy, revocations, cookie, body })
    }
}

/// Body of kind 5: `[ uuid / null, serial / null ]`. Asks for a party's statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRequest {
    /// Whose; none asks for the utility that the asking gateway belongs to.
    pub party: Option<PartyId>,
    /// The statement that the asker goes by so far: the answer then has the way from there.
    pub known: Option<Serial>,
}

impl KeyRequest {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(2);
        match &self.party {
            Some(party) => w.text(party.as_str()),
            None => w.null(),
        };
        match self.known {
            Some(known) => w.uint(known.0),
            None => w.null(),
        };
        w.finish()
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        r.array(2)?;
        let party = r.optional(PartyId::read)?;
        let known = r.optional(Reader::uint)?.map(Serial);
        r.end()?;
        Ok(Self { party, known })
    }
}

/// A statement as signed, and the word of the keys before it ([`confirm_succession`](crate::confirm_succession)).
pub type Vouched = (Vec<u8>, Vec<u8>);

/// Body of kind 6: `[ [+ bstr], bstr / null, revocations, tstr / null, [* [bstr, bstr]] ]`. Each statement is to be checked by itself. From the KMC it answers
/// kind 5; a party says with it where it is reached and shows its old key's word for new ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAnswer {
    /// The party's statement, and behind it those above it that the asker may lack (issuing, root). At most [`STATEMENTS_MAX`].
    pub statements: Vec<Vec<u8>>,
    /// The old key's confirmation of new ones.
    pub succession: Option<Vec<u8>>,
    /// Version of the revocation list.
    pub revocations: u64,
    /// Where the party is reached, as [`canonical_host`] writes it: a way, and no word for who is at its end.
    pub host: Option<String>,
    /// The way from the statement that the asker goes by: statements in between, oldest first, each with the word of the keys before it; see
    /// [`Authority::succession`](crate::Authority::succession). At most [`PATH_MAX`].
    pub path: Vec<Vouched>,
}

impl KeyAnswer {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(5).array(self.statements.len());
        for statement in &self.statements {
            w.bytes(statement);
        }
        w.optional(self.succession.as_deref()).uint(self.revocations);
        match &self.host {
            Some(host) => w.text(host),
            None => w.null(),
        };
        w.array(self.path.len());
        for (statement, proof) in &self.path {
            w.array(2).bytes(statement).bytes(proof);
        }
        w.finish()
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        r.array(5)?;
        let count = r.array_up_to(STATEMENTS_MAX)?;
        if count == 0 {
            return Err(Malformed::Unexpected);
        }
        let statements = (0..count).map(|_| bounded(r.bytes()?, SIGNED_BYTES_MAX)).collect::<Result<_, _>>()?;
        let succession = r.optional(|r| bounded(r.bytes()?, SIGNED_BYTES_MAX))?;
        let revocations = r.uint()?;
        let host = r.optional(read_host)?;
        let steps = r.array_up_to(PATH_MAX)?;
        let mut path = Vec::with_capacity(steps);
        for _ in 0..steps {
            r.array(2)?;
            path.push((bounded(r.bytes()?, SIGNED_BYTES_MAX)?, bounded(r.bytes()?, SIGNED_BYTES_MAX)?));
        }
        r.end()?;
        Ok(Self { statements, succession, revocations, host, path })
    }
}

/// Body of kind 9 from the KMC: `[ 1, statement: bstr, challenge: bstr .size 16 ]`. The statement is pending until the challenge is back:
/// the KMC gives it to nobody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolChallenge {
    /// The new gateway's own statement.
    pub statement: Vec<u8>,
    /// 16 random bytes, which only the holder of the new sealing key can read.
    pub challenge: [u8; 16],
}

impl EnrolChallenge {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(3).uint(1).bytes(&self.statement).bytes(&self.challenge);
        w.finish()
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        r.array(3)?;
        r.exactly(1)?;
        let statement = bounded(r.bytes()?, SIGNED_BYTES_MAX)?;
        let challenge = *r.array_of()?;
        r.end()?;
        Ok(Self { statement, challenge })
    }
}

/// Body of kind 9 from the gateway: `[ 2, challenge: bstr .size 16 ]`, in a message signed with its new key. The statement is active then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnrolConfirm {
    /// What the KMC's challenge held.
    pub challenge: [u8; 16],
}

impl EnrolConfirm {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(2).uint(2).bytes(&self.challenge);
        w.finish()
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        r.array(2)?;
        r.exactly(2)?;
        let challenge = *r.array_of()?;
        r.end()?;
        Ok(Self { challenge })
    }
}

/// Body of kind 11 as an answer: `[ milliseconds ]`. The request's body is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeAnswer {
    /// Milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
}

impl TimeAnswer {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(1).uint(self.unix_ms);
        w.finish()
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        r.array(1)?;
        let unix_ms = r.uint()?;
        r.end()?;
        Ok(Self { unix_ms })
    }
}

/// Body of kind 12: `[ code, number / null ]`. Only ever sent to a sender whose signature was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealedError {
    /// 1: made too long ago, or in the future, by the server's clock.
    #[error("stale: the server's time is {}", time.0)]
    Stale {
        /// The server's time.
        time: UnixTime,
    },
    /// 2: a message of this number was taken, or the server lost count: then the next message has to answer this one.
    #[error("replay")]
    Replay,
    /// 3: made under another policy than the server's.
    #[error("policy: the server's has version {current}")]
    Policy {
        /// Version of the server's policy.
        current: u32,
    },
    /// 4: a key that the message was signed or sealed with holds no longer.
    #[error("key expired")]
    KeyExpired,
    /// 5: a kind of message, or a content, that the server does not know.
    #[error("unsupported")]
    Unsupported,
    /// 6: understood, and not allowed to this sender.
    #[error("forbidden")]
    Forbidden,
    /// 7: later.
    #[error("busy for {after_s} s")]
    Busy {
        /// When to come again (seconds).
        after_s: u64,
    },
}

impl SealedError {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (code, number) = match *self {
            Self::Stale { time } => (1, Some(time.0)),
            Self::Replay => (2, None),
            Self::Policy { current } => (3, Some(u64::from(current))),
            Self::KeyExpired => (4, None),
            Self::Unsupported => (5, None),
            Self::Forbidden => (6, None),
            Self::Busy { after_s } => (7, Some(after_s)),
        };
        let mut w = Writer::new();
        w.array(2).uint(code);
        match number {
            Some(number) => w.uint(number),
            None => w.null(),
        };
        w.finish()
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        r.array(2)?;
        let code = r.uint()?;
        let number = r.optional(Reader::uint)?;
        r.end()?;
        Ok(match (code, number) {
            (1, Some(time)) => Self::Stale { time: UnixTime(time) },
            (2, None) => Self::Replay,
            (3, Some(version)) => Self::Policy { current: u32::try_from(version).map_err(|_| Malformed::TooLong)? },
            (4, None) => Self::KeyExpired,
            (5, None) => Self::Unsupported,
            (6, None) => Self::Forbidden,
            (7, Some(after_s)) => Self::Busy { after_s },
            _ => return Err(Malformed::Unexpected),
        })
    }
}

fn read_host(r: &mut Reader<'_>) -> Result<String, Malformed> {
    let text = r.text()?;
    canonical_host(text).filter(|host| host == text).ok_or(Malformed::Unexpected)
}

fn bounded(bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, Malformed> {
    if bytes.len() > bytes_max { Err(Malformed::TooLong) } else { Ok(bytes.to_vec()) }
}
