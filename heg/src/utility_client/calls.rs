//! What the utility's calls get: the order of checks of docs/secure-channel.md, then a poll or an acknowledgement, sealed.
//!
//! A call turns the poll round, so that a command still answers a nonce of the gateway: the utility asks what it has (kind 2), the
//! gateway answers with its poll, and the utility's command (kind 3) answers that.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use secure_http::{Ack, Admission, CookieSecrets, Kind, Nonce, Refusal, SealedError, Standing, peek_issuer};
use tokio::sync::oneshot;
use utility_wire::{Command, Message as _};

use super::callers::{Answer, Call, Callers, Wanted};
use super::{Gate, Held, Refused, UtilityClient, rng};
use crate::limits::UTILITY_ADDRESSES_MAX;
use crate::now::Now;
use crate::utility::Input;

/// The endpoint, and who may use it how often.
pub(super) struct Calls {
    callers: Callers,
    gate: Gate,
    cookies: Option<CookieSecrets>,
    /// The utility asks what the gateway has; the next poll is for it.
    pub(super) called: Option<Called>,
    /// From where the utility has called, newest last.
    proved: Vec<IpAddr>,
}

/// A question that waits for the gateway's poll.
pub(super) struct Called {
    cti: Nonce,
    answer: oneshot::Sender<Answer>,
}

impl Calls {
    pub(super) fn new(callers: Callers, boot: Duration) -> Self {
        Self { callers, gate: Gate::new(boot), cookies: None, called: None, proved: Vec::new() }
    }

    /// The next request.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Call> {
        self.callers.poll_call(&self.proved, context)
    }
}

/// Keeps the address as the newest.
fn prove(proved: &mut Vec<IpAddr>, from: IpAddr) {
    let from = from.to_canonical();
    if proved.last() == Some(&from) {
        return;
    }
    proved.retain(|address| *address != from);
    if proved.len() >= UTILITY_ADDRESSES_MAX {
        proved.remove(0);
    }
    proved.push(from);
}

impl UtilityClient {
    /// Whether the utility has called and waits for the gateway's poll: [`Self::answer_call`] must follow.
    pub fn is_called(&self) -> bool {
        self.calls.as_ref().is_some_and(|calls| calls.called.is_some())
    }

    /// From where the utility has called, proved by its signature; none where it cannot call.
    pub fn proved_callers(&self) -> Option<BTreeSet<IpAddr>> {
        self.calls.as_ref().map(|calls| calls.proved.iter().copied().collect())
    }

    /// The poll that the utility's call is answered with.
    pub fn answer_call(&mut self, poll: Option<utility_wire::Poll>, now: Now) {
        let Some(Called { cti, answer }) = self.calls.as_mut().and_then(|calls| calls.called.take()) else { return };
        let body = poll.map(|poll| poll.encode());
        self.answer(answer, body.map(|body| (Kind::Poll, body)), cti, now.boot.since_boot());
    }

    pub(super) fn call(&mut self, call: Call, boot: Duration) {
        let Call { wanted, from, cookie, body, answer } = call;
        let refuse = |answer: oneshot::Sender<Answer>, refusal: Refusal| {
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::UNAUTHORIZED);
            // Whoever called may be gone.
            _ = answer.send(Answer::Status(status));
        };
        let (Some(calls), Some(membership)) = (&mut self.calls, &mut self.membership) else {
            return refuse(answer, Refusal::Refused);
        };
        // Without time or policy only the key management centre is talked to.
        let Some(time) = membership.now(boot).filter(|_| membership.standing(boot) == Standing::InForce) else {
            return refuse(answer, Refusal::Refused);
        };
        let cookies = calls.cookies.get_or_insert_with(|| CookieSecrets::new(time, &mut rng()));
        cookies.turn(time, &mut rng());
        let calm = calls.gate.admits_anybody(boot);
        if !calm {
            let shown = cookie.map(|value| cookies.check(&value, peek_issuer(&body).as_ref(), from, &body));
            let with_cookie = matches!(shown, Some(Admission::Known | Admission::Address));
            if !with_cookie || !calls.gate.admits_cookie(boot) {
                _ = answer.send(Answer::Busy(cookies.challenge(from)));
                return;
            }
        }
        let opened = match self.received.open(&body, membership, &mut self.window, calm, boot) {
            Ok(opened) => opened,
            Err(Refused { reason, suspect, told }) => {
                tracing::debug!(%from, %reason, "a call was refused");
                if suspect {
                    membership.suspect_peer(boot);
                }
                return match told {
                    Ok((error, cti)) => self.answer(answer, Some((Kind::Error, error.encode())), cti, boot),
                    Err(refusal) => refuse(answer, refusal),
                };
            }
        };
        prove(&mut calls.proved, from);
        self.inputs.push_back(Input::Window(self.window.to_bytes()));
        let cti = opened.head.cti;
        let unsupported = (Kind::Error, SealedError::Unsupported.encode());
        match (wanted, opened.head.kind) {
            (Wanted::Poll, Kind::Poll) if opened.body.is_empty() => calls.called = Some(Called { cti, answer }),
            (Wanted::Command, Kind::Command) => match Command::decode(&opened.body) {
                Ok(command) => {
                    membership.told(u32::try_from(command.current.policy).unwrap_or(0), 0);
                    let peer = opened.head.issuer;
                    let ack = Ack {
                        time,
                        policy: membership.policy().version(),
                        revocations: membership.revocations().map_or(0, |list| list.version()),
                        cookie: Some(cookies.issue(&peer)),
                        body: Vec::new(),
                    };
                    self.inputs.push_back(Input::Commanded(command));
                    self.answer(answer, Some((Kind::Ack, ack.encode())), cti, boot);
                }
                Err(error) => {
                    tracing::warn!(%error, "the utility's command is not understood");
                    self.answer(answer, Some(unsupported), cti, boot);
                }
            },
            _ => self.answer(answer, Some(unsupported), cti, boot),
        }
    }

    /// Seals an answer; it goes out when its number is on the disk.
    fn answer(&mut self, answer: oneshot::Sender<Answer>, body: Option<(Kind, Vec<u8>)>, cti: Nonce, boot: Duration) {
        let sealed = body.map(|(kind, body)| self.seal((kind, Some(cti)), &body, boot));
        match sealed {
            Some(Ok(sealed)) => self.held.push(Held::Answer(answer, sealed.bytes)),
            Some(Err(why)) => {
                tracing::debug!(why, "a call could not be answered");
                _ = answer.send(Answer::Status(StatusCode::SERVICE_UNAVAILABLE));
            }
            None => _ = answer.send(Answer::Status(StatusCode::SERVICE_UNAVAILABLE)),
        }
    }
}
