//! From a token to a membership. A new one has its own keys in its own file until the key management centre has stated them: a token
//! that is refused costs nothing.

use daemon_kit::clock;
use daemon_kit::control::ControlRequest;
use http::StatusCode;
use secure_http::{Clock, EnrolmentToken, Role, Window};
use secure_link::{LinkError, Membership};

use super::{CANDIDATE_FILE, Held, Received, UtilityClient, WRITTEN, Which, chain, remove, rng};
use crate::utility::Input;

/// Somebody who waits to be told that this gateway is enrolled.
#[derive(Debug)]
pub(super) struct Asker {
    request: ControlRequest,
    uid: u32,
}

/// Why an enrolment was not begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrolError {
    /// No token.
    #[error("{0}")]
    Token(#[from] secure_http::TokenError),
    /// There is a membership already.
    #[error("this gateway is enrolled at {0}; --replace enrols it anew")]
    Enrolled(String),
    /// Another one is under way.
    #[error("another enrolment is under way")]
    Busy,
}

impl UtilityClient {
    /// Whether an enrolment with that token may begin.
    ///
    /// # Errors
    /// Not a token, or not now.
    pub fn may_enrol(&self, token: &str, replace: bool) -> Result<EnrolmentToken, EnrolError> {
        let token: EnrolmentToken = token.trim().parse()?;
        let enrolled = self.membership.as_ref().filter(|m| m.statement().is_some());
        if let Some(membership) = enrolled.filter(|_| !replace) {
            return Err(EnrolError::Enrolled(membership.kmc_host().to_owned()));
        }
        // One that waits for a KMC that is not there makes way for another token.
        if self.asker.is_some() || self.job.as_ref().is_some_and(|(which, _)| *which == Which::Candidate) {
            return Err(EnrolError::Busy);
        }
        Ok(token)
    }

    /// Begins to enrol; the request is answered when that has worked, or with the first failure.
    pub fn enrol(&mut self, token: &EnrolmentToken, request: ControlRequest) {
        let floor = self.membership.as_ref().map_or(WRITTEN, |m| m.clock().guess(clock::boottime())).max(WRITTEN);
        let (unsynced, mut rng) = (Clock::unsynced(floor), rng());
        self.held.retain(|held| !matches!(held, Held::Job(Which::Candidate, _)));
        self.candidate = Some(Membership::candidate(token, self.me, Role::Gateway, unsynced, &mut rng));
        self.asker = Some(Asker { uid: request.peer.uid, request });
    }

    pub(super) fn enrolled(&mut self) {
        let Some(mut membership) = self.candidate.take() else { return };
        membership.set_reachable(self.reachable.clone());
        let kmc = membership.kmc_host().to_owned();
        tracing::info!(kmc, me = %self.me, "enrolled");
        // Whatever was under way was so under the old keys.
        (self.poll, self.report, self.fetch, self.cookie, self.to_answer) = (None, None, None, None, None);
        self.held.clear();
        self.membership = Some(membership);
        (self.window, self.received, self.fault) = (Window::new(), Received::default(), None);
        let asker = self.asker.take();
        self.inputs.push_back(Input::Enrolled { by: asker.as_ref().map(|asker| asker.uid), kmc: kmc.clone() });
        if let Some(Asker { request, .. }) = asker {
            let said = serde_json::json!({ "outcome": "done", "reason": format!("enrolled at {kmc}") });
            request.respond_json(StatusCode::OK, &said);
        }
    }

    pub(super) fn not_enrolled(&mut self, error: &LinkError) {
        let refused = self.candidate.as_ref().is_some_and(Membership::is_refused);
        let host = self.candidate.as_ref().map(|c| c.kmc_host().to_owned()).unwrap_or_default();
        if refused {
            tracing::warn!(kmc = host, "the token was refused");
            self.candidate = None;
            self.held.retain(|held| !matches!(held, Held::Job(Which::Candidate, _)));
            remove(&self.dir.join(CANDIDATE_FILE));
        }
        if let Some(Asker { request, .. }) = self.asker.take() {
            if refused {
                let why = format!(
                    "{host} refused the token: it is for another home (the utility needs the UDN of `hegctl status`), used, too old, or misread"
                );
                request.respond_error(StatusCode::FORBIDDEN, "token-refused", why);
            } else {
                let why = format!("not enrolled yet: {host}: {}; it is tried again until it works", chain(error));
                request.respond_error(StatusCode::SERVICE_UNAVAILABLE, "not-yet", why);
            }
        }
    }
}
