//! Where at a utility, and at a gateway that can be reached, sealed messages and broadcast objects go: paths of their HTTP servers.

/// At the utility, `POST`: a report (kind 1); answered with kind 4.
pub const REPORT: &str = "/u/v1/report";
/// At the utility, `POST`: a poll (kind 2); answered with kind 3, at the latest after the wait it asks for.
pub const POLL: &str = "/u/v1/poll";
/// At the utility, `POST`: a home's own new statement with the word of its old key, or where it is reached (kind 6); answered with kind 4.
pub const KEY: &str = "/u/v1/key";
/// At the utility, `GET`: an index of price series is behind this and the zone, a series behind this, the zone, `@` and its version. Each
/// signed by the utility.
pub const PRICES: &str = "/b/v1/prices/";
/// At a gateway, `POST`: the utility asks what it has (kind 2, empty); answered with the gateway's own poll.
pub const CALLED: &str = "/g/v1/poll";
/// At a gateway, `POST`: the utility's answer to that poll (kind 3); answered with kind 4.
pub const COMMANDED: &str = "/g/v1/command";
