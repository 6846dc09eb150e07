//! What a utility orders of the KMC, and what comes of it: bodies of kind 14 and of the kind 4 that answers it.
//!
//! ```cddl
//! order   = [ 1, uuid / null, premises: tstr, days: uint, operator: tstr ]     ; a token for a gateway of this utility
//!         / [ 2, uuid, reason: tstr, operator: tstr ]                         ; revoke that gateway's statement in force
//!         / [ 3, policy: tstr, operator: tstr ]                               ; the next version of the policy, as TOML
//! ordered = [ 0, tstr ] / [ 1, tstr ]                                         ; done: token, nothing, version / refused: why
//! ```

use crate::cbor::{Malformed, Reader, Writer};
use crate::limits::{OPERATOR_BYTES_MAX, ORDER_POLICY_BYTES_MAX, ORDER_TEXT_BYTES_MAX, ORDERED_BYTES_MAX};
use crate::names::PartyId;

/// Body of kind 14. `operator` is who at the utility wants it, for the KMC's audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// A token that enrols a gateway of this utility. Done: its text.
    Token {
        /// Which gateway; the first request made with the token says so where none is named.
        party: Option<PartyId>,
        /// Where, for people; at most [`ORDER_TEXT_BYTES_MAX`].
        premises: String,
        /// How long it is good (days).
        days: u32,
        /// Who wants it; at most [`OPERATOR_BYTES_MAX`].
        operator: String,
    },
    /// The statement in force of a gateway is to hold no longer. Done: empty.
    Revoke {
        /// Which gateway.
        party: PartyId,
        /// Why; at most [`ORDER_TEXT_BYTES_MAX`].
        reason: String,
        /// Who wants it.
        operator: String,
    },
    /// A policy with these rules, under the next version. Done: the version as decimal number.
    Policy {
        /// The file that `heg-kmc policy set` takes; at most [`ORDER_POLICY_BYTES_MAX`].
        toml: String,
        /// Who wants it.
        operator: String,
    },
}

impl Order {
    /// Who wants it.
    pub fn operator(&self) -> &str {
        match self {
            Self::Token { operator, .. } | Self::Revoke { operator, .. } | Self::Policy { operator, .. } => operator,
        }
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        match self {
            Self::Token { party, premises, days, operator } => {
                w.array(5).uint(1);
                match party {
                    Some(party) => w.text(party.as_str()),
                    None => w.null(),
                };
                w.text(premises).uint(u64::from(*days)).text(operator);
            }
            Self::Revoke { party, reason, operator } => {
                w.array(4).uint(2).text(party.as_str()).text(reason).text(operator);
            }
            Self::Policy { toml, operator } => _ = w.array(3).uint(3).text(toml).text(operator),
        }
        w.finish()
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        let items = r.array_up_to(5)?;
        let order = match (items, r.uint()?) {
            (5, 1) => Self::Token {
                party: r.optional(PartyId::read)?,
                premises: text(&mut r, ORDER_TEXT_BYTES_MAX)?,
                days: r.u32()?,
                operator: text(&mut r, OPERATOR_BYTES_MAX)?,
            },
            (4, 2) => Self::Revoke {
                party: PartyId::read(&mut r)?,
                reason: text(&mut r, ORDER_TEXT_BYTES_MAX)?,
                operator: text(&mut r, OPERATOR_BYTES_MAX)?,
            },
            (3, 3) => Self::Policy {
                toml: text(&mut r, ORDER_POLICY_BYTES_MAX)?,
                operator: text(&mut r, OPERATOR_BYTES_MAX)?,
            },
            _ => return Err(Malformed::Unexpected),
        };
        r.end()?;
        Ok(order)
    }
}

/// What came of an order: the body inside the [`Ack`](crate::Ack) that answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// Done; see [`Order`] for the text.
    Done(String),
    /// Not done, and nothing changed: a reason that a person can read.
    Refused(String),
}

impl Ordered {
    /// As bytes. A text over [`ORDERED_BYTES_MAX`] is cut.
    pub fn encode(&self) -> Vec<u8> {
        let (number, text) = match self {
            Self::Done(text) => (0, text),
            Self::Refused(text) => (1, text),
        };
        let end = (0..=text.len().min(ORDERED_BYTES_MAX)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        let mut w = Writer::new();
        w.array(2).uint(number).text(&text[..end]);
        w.finish()
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        r.array(2)?;
        let number = r.uint()?;
        let text = text(&mut r, ORDERED_BYTES_MAX)?;
        r.end()?;
        match number {
            0 => Ok(Self::Done(text)),
            1 => Ok(Self::Refused(text)),
            _ => Err(Malformed::Unexpected),
        }
    }
}

fn text(r: &mut Reader<'_>, bytes_max: usize) -> Result<String, Malformed> {
    let text = r.text()?;
    if text.len() > bytes_max { Err(Malformed::TooLong) } else { Ok(text.to_owned()) }
}
