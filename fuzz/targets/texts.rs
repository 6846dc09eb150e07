//! Enrolment tokens as people scan or type them, and the cookie headers.
#![no_main]
use std::net::{IpAddr, Ipv4Addr};

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use libfuzzer_sys::fuzz_target;
use secure_http::{Admission, CookieSecrets, EnrolmentToken, UnixTime, answer_challenge};

fuzz_target!(|text: &str| {
    if let Ok(token) = text.parse::<EnrolmentToken>() {
        assert!(token.to_string().parse::<EnrolmentToken>().is_ok_and(|again| again == token), "{text}");
    }
    let secrets = CookieSecrets::new(UnixTime(1_900_000_000), &mut UnwrapErr(SysRng));
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    assert_eq!(secrets.check(text, None, here, b"body"), Admission::None);
    if let Some(answer) = answer_challenge(text, b"body") {
        assert_eq!(secrets.check(&answer, None, here, b"body"), Admission::None);
    }
});
