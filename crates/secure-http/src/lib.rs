//! Sealed messages between homes, utility and key management: what stands in them, who is believed, and in which order a received
//! one is checked. docs/secure-channel.md is the specification.
//!
//! Values only: no socket, file or clock. Time and random bytes come in as parameters; what has to be stored with a message's effect
//! (window, sequence mark, policy, list, floor) goes in and out as a value, so that one transaction can hold both.
//!
//! - To send: [`seal`] a [`Draft`] with [`OwnKeys`] and a number of a [`Sequence`] to a peer's [`Statement`].
//! - To receive: [`Receiver`], step by step.
//! - To be known: [`EnrolmentToken`], [`request_enrolment`], [`Rollover`], [`Authority`].
#![forbid(unsafe_code)]

mod awaited;
mod bodies;
mod broadcast;
mod cbor;
mod clock;
pub mod code_points;
mod cookie;
mod cose_key;
pub mod crypto;
pub mod endpoints;
mod enrolment;
mod envelope;
mod flood;
pub mod limits;
mod names;
mod order;
mod own_keys;
mod policy;
mod receiver;
mod revocation;
mod rollover;
mod self_test;
mod sequence;
mod signed;
mod statement;
#[cfg(test)]
mod testing;
mod token;
mod window;

pub use awaited::Awaited;
pub use bodies::{Ack, EnrolChallenge, EnrolConfirm, KeyAnswer, KeyRequest, SealedError, TimeAnswer, Vouched};
pub use broadcast::{Broadcast, BroadcastError};
pub use cbor::Malformed;
pub use clock::{Clock, ClockError};
pub use cookie::{Admission, CHALLENGE_HEADER, COOKIE_HEADER, Cookie, CookieSecrets, answer_challenge};
pub use cose_key::{key_id, thumbprint};
pub use enrolment::{Enrolment, EnrolmentError, EnrolmentRequest, request_enrolment};
pub use envelope::{Draft, Envelope, Head, SealError, Sealed, peek_issuer, seal};
pub use flood::{Flood, LoadLimits};
pub use names::{KeyId, Kind, Nonce, PartyId, PartyIdError, Role, Serial, TokenId, UnixTime, Validity};
pub use order::{Order, Ordered};
pub use own_keys::OwnKeys;
pub use policy::{AuthMethod, Policy, PolicyError, PolicyState, Rules, Standing};
pub use receiver::{
    Committed, Evidence, Fresh, Opened, Parsed, Reason, Receiver, Refusal, Sender, Situation, Steps, Stopped, Verified,
};
pub use revocation::{RevocationError, RevocationList};
pub use rollover::Rollover;
pub use self_test::{SelfTestError, SelfTested, self_test};
pub use sequence::Sequence;
pub use statement::{Authority, Fingerprint, Statement, StatementDraft, StatementError, confirm_succession};
pub use token::{EnrolmentToken, TokenError, TokenSecret, canonical_host};
pub use window::{Window, WindowError};
