//! The control socket's requests: `psm-agent status` and `psm-agent request` (IO at the edge, decided by the agent).
//!
//! | request | answer |
//! |---|---|
//! | GET /status | 200 with a [`Status`](crate::status::Status) |
//! | POST /requests with a [`Wish`] | 200 with a [`RequestAnswer`] |
//! | DELETE /requests/REGID | 200 with a [`RequestAnswer`] |

use std::collections::BTreeMap;

use daemon_kit::control::ControlRequest;
use http::{Method, StatusCode};
use upnp::time::BootTime;

use crate::agent::Agent;
use crate::gateway_link::{RequestAnswer, RequestError, Ticket, Wish};

/// Requests that wait for a gateway.
#[derive(Default)]
pub struct Tickets {
    next: u64,
    waiting: BTreeMap<Ticket, ControlRequest>,
}

impl Tickets {
    fn put(&mut self, request: ControlRequest) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.insert(ticket, request);
        ticket
    }

    /// Answers the request of that ticket.
    pub fn answer(&mut self, ticket: Ticket, answer: &RequestAnswer) {
        if let Some(request) = self.waiting.remove(&ticket) {
            request.respond_json(StatusCode::OK, answer);
        }
    }

    fn refuse(&mut self, ticket: Ticket, error: RequestError) {
        let (status, code) = match error {
            RequestError::Full => (StatusCode::CONFLICT, "full"),
            RequestError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            RequestError::Unknown(_) => (StatusCode::NOT_FOUND, "unknown"),
            RequestError::OfConfiguration(_) => (StatusCode::CONFLICT, "of-configuration"),
        };
        if let Some(request) = self.waiting.remove(&ticket) {
            request.respond_error(status, code, error.to_string());
        }
    }
}

/// Carries out a request.
pub fn handle(request: ControlRequest, agent: &mut Agent, tickets: &mut Tickets, now: BootTime) {
    let segments = request.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (&request.method, segments.as_slice()) {
        (&Method::GET, ["status"]) => request.respond_json(StatusCode::OK, &agent.status_at(now)),
        (&Method::POST, ["requests"]) => match request.json::<Wish>() {
            Ok(wish) => {
                let ticket = tickets.put(request);
                if let Err(error) = agent.handle_wish(wish, ticket, now) {
                    tickets.refuse(ticket, error);
                }
            }
            Err(error) => request.respond_error(StatusCode::BAD_REQUEST, "bad-request", error.to_string()),
        },
        (&Method::DELETE, ["requests", number]) => match number.parse() {
            Ok(number) => {
                let ticket = tickets.put(request);
                if let Err(error) = agent.handle_wish_withdrawn(number, ticket, now) {
                    tickets.refuse(ticket, error);
                }
            }
            Err(_) => request.respond_error(StatusCode::BAD_REQUEST, "bad-request", "expected a RegID"),
        },
        _ => request.respond_error(StatusCode::NOT_FOUND, "not-found", "no such request"),
    }
}
