//! Who may do what, whatever way they come: the one check, before anything asked for is looked at.
//!
//! | who | reads | changes | metrics |
//! |---|---|---|---|
//! | whoever opens the control socket (owner and group, mode 0660) | yes | yes, under their user id | yes |
//! | somebody on the LAN, at the gateway's own HTTP server | no | no | where the configuration says so |
//!
//! A change carries its [`Caller`] on into rules and journal. What appliances ask by UPnP is not this module's: an appliance is known by
//! address and network card ([`gateway`](crate::gateway)).
#![forbid(unsafe_code)]

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A person or program at the control socket, by user id (SO_PEERCRED).
    Socket(u32),
    /// Somebody on the LAN, of whom nothing is known.
    Lan,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// To see something of the home.
    Read,
    /// To change something, or to have an appliance do something.
    Change,
    /// To see the numbers for a monitoring program.
    Metrics,
}

/// Whether `caller` may. `metrics_on_lan` is what the configuration says of that.
pub fn may(caller: Caller, act: Act, metrics_on_lan: bool) -> bool {
    match (caller, act) {
        (Caller::Socket(_), Act::Read | Act::Change | Act::Metrics) => true,
        (Caller::Lan, Act::Metrics) => metrics_on_lan,
        (Caller::Lan, Act::Read | Act::Change) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lan_sees_no_more_than_the_configuration_says_and_changes_nothing() {
        for act in [Act::Read, Act::Change, Act::Metrics] {
            assert!(may(Caller::Socket(1000), act, false));
            assert!(!may(Caller::Lan, act, false));
            assert_eq!(may(Caller::Lan, act, true), act == Act::Metrics);
        }
    }
}
