//! Where at a KMC what is asked for: paths of its HTTP server. All but the three signed objects are sealed messages.

/// `GET`: KMC, issuing and root statement, as a [`KeyAnswer`](crate::KeyAnswer).
pub const ROOT: &str = "/kmc/v1/root";
/// `GET`: the policy, as signed.
pub const POLICY: &str = "/kmc/v1/policy";
/// `GET`: the revocation list, as signed.
pub const REVOCATIONS: &str = "/kmc/v1/revocations";
/// `POST`: an enrolment request; answered with a challenge (kind 9).
pub const ENROL: &str = "/kmc/v1/enrol";
/// `POST`: the challenge's answer (kind 9); answered with the statement (kind 6).
pub const ENROL_CONFIRM: &str = "/kmc/v1/enrol/confirm";
/// `POST`: asks for a party's statement (kind 5), or says where one is reached and brings the succession (kind 6).
pub const KEY: &str = "/kmc/v1/key";
/// `POST`: new keys (kind 10).
pub const ROLLOVER: &str = "/kmc/v1/rollover";
/// `POST`: asks for the time (kind 11).
pub const TIME: &str = "/kmc/v1/time";
/// `POST`: a utility's order (kind 14); answered with what came of it (kind 4).
pub const ORDER: &str = "/kmc/v1/order";

/// Media types without regard to case and to the space before the parameter, with or without quotes around its value.
pub fn same_media_type(has: &str, wanted: &str) -> bool {
    let plain = |text: &str| -> String {
        text.chars().filter(|c| !matches!(c, ' ' | '\t' | '"')).map(|c| c.to_ascii_lowercase()).collect()
    };
    has.len() <= 2 * wanted.len() && plain(has) == plain(wanted)
}
