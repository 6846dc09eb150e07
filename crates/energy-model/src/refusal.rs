//! Why a command was not obeyed.

use core::fmt;
use core::str::FromStr;

/// Why an appliance or the gateway refused an action. The `errorCode` of each stands in `energy-services::errors`, in
/// one table; the words here are for configuration, journals and JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum RefusalKind {
    /// A program holds a *block* inhibitor lock for sleep or shutdown.
    BlockInhibitor,
    /// A person's session is in use.
    ActiveSession,
    /// It has been on for less than its minimum on time.
    MinimumOnTime,
    /// It has been off for less than its minimum off time.
    MinimumOffTime,
    /// A window is on in which it must not go to standby.
    NoStandbyWindow,
    /// A unit that was named as one not to be disturbed is running.
    BusyUnit,
    /// It runs on battery, below the level configured.
    OnBattery,
    /// It could not be woken again and the rules ask that it can.
    NotWakeable,
    /// It has no such state: its operation driver cannot do it.
    NotSupported,
    /// It is on its way to sleep or going down just now.
    Transition,
    /// It tried and failed.
    OperationFailed,
    /// No registration by that number is live.
    UnknownRegId,
    /// The registration is another caller's.
    ForeignRegId,
    /// The bound on live registrations is reached.
    TooManyRegistrations,
    /// A code in 800-899 that this version does not know, as it came from a newer peer.
    Unlisted(u16),
}

/// A word that names no kind of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of refusal")]
pub struct RefusalKindError;

impl RefusalKind {
    /// The kinds known by name.
    pub const ALL: &'static [Self] = &[
        Self::BlockInhibitor,
        Self::ActiveSession,
        Self::MinimumOnTime,
        Self::MinimumOffTime,
        Self::NoStandbyWindow,
        Self::BusyUnit,
        Self::OnBattery,
        Self::NotWakeable,
        Self::NotSupported,
        Self::Transition,
        Self::OperationFailed,
        Self::UnknownRegId,
        Self::ForeignRegId,
        Self::TooManyRegistrations,
    ];

    /// The kind's word; `None` for an unlisted one.
    pub const fn word(self) -> Option<&'static str> {
        Some(match self {
            Self::BlockInhibitor => "BlockInhibitor",
            Self::ActiveSession => "ActiveSession",
            Self::MinimumOnTime => "MinimumOnTime",
            Self::MinimumOffTime => "MinimumOffTime",
            Self::NoStandbyWindow => "NoStandbyWindow",
            Self::BusyUnit => "BusyUnit",
            Self::OnBattery => "OnBattery",
            Self::NotWakeable => "NotWakeable",
            Self::NotSupported => "NotSupported",
            Self::Transition => "Transition",
            Self::OperationFailed => "OperationFailed",
            Self::UnknownRegId => "UnknownRegId",
            Self::ForeignRegId => "ForeignRegId",
            Self::TooManyRegistrations => "TooManyRegistrations",
            Self::Unlisted(_) => return None,
        })
    }
}

impl fmt::Display for RefusalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.word(), self) {
            (Some(word), _) => f.pad(word),
            (None, Self::Unlisted(code)) => write!(f, "Unlisted({code})"),
            (None, _) => f.write_str("Unlisted"),
        }
    }
}

impl FromStr for RefusalKind {
    type Err = RefusalKindError;
    fn from_str(s: &str) -> Result<Self, RefusalKindError> {
        if let Some(code) = s.strip_prefix("Unlisted(").and_then(|rest| rest.strip_suffix(')')) {
            return code.parse().map(Self::Unlisted).map_err(|_| RefusalKindError);
        }
        Self::ALL.iter().find(|kind| kind.word() == Some(s)).copied().ok_or(RefusalKindError)
    }
}

impl TryFrom<String> for RefusalKind {
    type Error = RefusalKindError;
    fn try_from(s: String) -> Result<Self, RefusalKindError> {
        s.parse()
    }
}

impl From<RefusalKind> for String {
    fn from(kind: RefusalKind) -> Self {
        kind.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_as_written() {
        for kind in RefusalKind::ALL.iter().copied().chain([RefusalKind::Unlisted(899)]) {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("Unlisted(x)".parse::<RefusalKind>().is_err());
    }
}
