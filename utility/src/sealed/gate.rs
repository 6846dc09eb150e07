//! What is asked of a request before a word of its body is believed: how often its address comes, and under load a cookie.

use std::net::IpAddr;
use std::time::Duration;

use getrandom::SysRng;
use rand_core::UnwrapErr;
use secure_http::{Admission, Cookie, CookieSecrets, Flood, PartyId, UnixTime, peek_issuer};

use crate::limits::HOMES_LOAD;

/// What a cookie showed of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Its sender was answered before.
    Known,
    /// Not asked, or an address that is let through.
    Nothing,
    /// A cookie is wanted; this is what to make one with.
    Wanted(String),
}

/// The counts and secrets behind it, in memory only: after a restart a flood is noticed anew, and cookies are given anew.
pub(super) struct Gate {
    flood: Flood,
    cookies: CookieSecrets,
}

impl Gate {
    pub(super) fn new(peer_per_minute: u32, now: UnixTime) -> Self {
        let cookies = CookieSecrets::new(now, &mut UnwrapErr(SysRng));
        Self { flood: Flood::new(peer_per_minute, HOMES_LOAD), cookies }
    }

    /// Counts a request of that address; an error says when to come again.
    pub(super) fn count(&mut self, peer: IpAddr, boot: Duration) -> Result<(), Duration> {
        self.flood.count(peer, boot.as_secs()).map_err(Duration::from_secs)
    }

    /// A request was refused before its sender was known.
    pub(super) fn refused(&mut self, boot: Duration) {
        self.flood.refused(boot.as_secs());
    }

    /// Whether cookies are wanted, with so many requests waiting for their signature to be checked.
    pub(super) fn is_under_load(&mut self, waiting: usize, boot: Duration) -> bool {
        self.flood.is_under_load(waiting, boot.as_secs())
    }

    /// What the cookie of a request shows; without load nobody needs one, but who has a right one may send more.
    pub(super) fn admit(
        &mut self,
        (peer, cookie, body): (IpAddr, Option<&str>, &[u8]),
        loaded: bool,
        (now, boot): (UnixTime, Duration),
    ) -> Shown {
        self.cookies.turn(now, &mut UnwrapErr(SysRng));
        let admission = match cookie {
            Some(cookie) => self.cookies.check(cookie, peek_issuer(body).as_ref(), peer, body),
            None => Admission::None,
        };
        match admission {
            Admission::Known => Shown::Known,
            _ if !loaded => Shown::Nothing,
            Admission::Address if self.flood.admit_stranger(peer, boot.as_secs()) => Shown::Nothing,
            _ => Shown::Wanted(self.cookies.challenge(peer)),
        }
    }

    /// A cookie for a home, for its next requests.
    pub(super) fn issue(&mut self, party: &PartyId, now: UnixTime) -> Cookie {
        self.cookies.turn(now, &mut UnwrapErr(SysRng));
        self.cookies.issue(party)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const BOOT: Duration = Duration::from_secs(100);

    #[test]
    fn a_flood_of_refusals_makes_cookies_wanted_and_an_answered_challenge_gets_through() {
        let peer: IpAddr = [192, 0, 2, 1].into();
        let mut gate = Gate::new(600, NOW);
        let body = b"a message";
        let loaded = gate.is_under_load(HOMES_LOAD.queue - 1, BOOT);
        assert_eq!(gate.admit((peer, None, body), loaded, (NOW, BOOT)), Shown::Nothing);
        for _ in 0..HOMES_LOAD.refusals_per_s {
            gate.refused(BOOT);
        }
        assert!(gate.is_under_load(0, BOOT));
        let Shown::Wanted(challenge) = gate.admit((peer, None, body), true, (NOW, BOOT)) else { panic!("served") };
        let cookie = secure_http::answer_challenge(&challenge, body).unwrap();
        assert_eq!(gate.admit((peer, Some(&cookie), body), true, (NOW, BOOT)), Shown::Nothing);
        let other = gate.admit((peer, Some(&cookie), b"another"), true, (NOW, BOOT));
        assert!(matches!(other, Shown::Wanted(_)), "a cookie is for one body");
    }
}
