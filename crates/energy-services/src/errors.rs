//! From our errors to UPnPError codes and back, in this one place.

use energy_model::{DailyWindow, RefusalKind, TimeOfDay};
use upnp::error::{ErrorCode, UpnpError};

use crate::limits::REASON_BYTES_MAX;
use crate::wire::WireError;

/// An action that was refused, or failed, with a reason a person can read. On the wire a UPnPError of 800-899.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {reason}")]
pub struct Refusal {
    /// Why, for programs.
    pub kind: RefusalKind,
    /// Why, for people: names the window, unit, session or number that is in the way.
    pub reason: String,
}

impl Refusal {
    /// A refusal with its reason; an empty one is replaced by the kind's [`meaning`].
    pub fn new(kind: RefusalKind, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { kind, reason: if reason.trim().is_empty() { meaning(kind).to_owned() } else { reason } }
    }

    /// The `errorCode`.
    pub fn code(&self) -> ErrorCode {
        code(self.kind)
    }

    /// The refusal that a peer's fault is; `None` for a fault outside 800-899. A code that this version does not know
    /// stays as [`RefusalKind::Unlisted`].
    pub fn of(fault: &UpnpError) -> Option<Self> {
        fault.code.is_vendor().then(|| Self::new(kind(fault.code), fault.description.clone()))
    }
}

impl From<Refusal> for UpnpError {
    fn from(refusal: Refusal) -> Self {
        let mut reason = refusal.reason;
        let mut end = REASON_BYTES_MAX.min(reason.len());
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        Self::with(code(refusal.kind), reason)
    }
}

/// The table: code and meaning of each kind.
const fn row(kind: RefusalKind) -> (u16, &'static str) {
    match kind {
        RefusalKind::OperationFailed => (800, "The operation was tried and failed"),
        RefusalKind::BlockInhibitor => (801, "A program holds a block inhibitor lock"),
        RefusalKind::ActiveSession => (802, "A person's session is in use"),
        RefusalKind::MinimumOnTime => (803, "The minimum on time has not passed"),
        RefusalKind::MinimumOffTime => (804, "The minimum off time has not passed"),
        RefusalKind::NoStandbyWindow => (805, "A window without standby is on"),
        RefusalKind::BusyUnit => (806, "A unit that must not be disturbed is running"),
        RefusalKind::OnBattery => (807, "On battery, below the level configured"),
        RefusalKind::NotWakeable => (808, "Nothing could wake it again"),
        RefusalKind::NotSupported => (809, "The appliance has no such state"),
        RefusalKind::Transition => (810, "It is going to sleep or down just now"),
        RefusalKind::UnknownRegId => (820, "No registration by that number"),
        RefusalKind::ForeignRegId => (821, "The registration is another caller's"),
        RefusalKind::TooManyRegistrations => (822, "No room for another registration"),
        RefusalKind::Unlisted(code) => (code, "Refused for a reason this version does not know"),
    }
}

/// The `errorCode` of a kind; 501 for an unlisted one outside 800-899, which no peer can have sent.
pub const fn code(kind: RefusalKind) -> ErrorCode {
    let code = ErrorCode(row(kind).0);
    if code.is_vendor() { code } else { ErrorCode::ACTION_FAILED }
}

/// What a kind means, in a few words.
pub const fn meaning(kind: RefusalKind) -> &'static str {
    row(kind).1
}

/// The kind of an `errorCode` in 800-899.
pub fn kind(code: ErrorCode) -> RefusalKind {
    RefusalKind::ALL.iter().copied().find(|&kind| row(kind).0 == code.0).unwrap_or(RefusalKind::Unlisted(code.0))
}

/// What is wrong with arguments or a property.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not there.
    #[error("argument {name} is missing")]
    Missing {
        /// The argument.
        name: &'static str,
    },
    /// There, with a wrong value.
    #[error("{name}: {error}")]
    Value {
        /// The argument or variable.
        name: &'static str,
        /// What is wrong with its value.
        error: WireError,
    },
}

/// What a device answers to wrong arguments (UDA 1.1, table 3-3).
impl From<DecodeError> for UpnpError {
    fn from(error: DecodeError) -> Self {
        let code = match &error {
            DecodeError::Missing { .. } => ErrorCode::INVALID_ARGS,
            DecodeError::Value { error: WireError::Malformed(_), .. } => ErrorCode::ARGUMENT_VALUE_INVALID,
            DecodeError::Value { error: WireError::OutOfRange(_), .. } => ErrorCode::ARGUMENT_VALUE_OUT_OF_RANGE,
            DecodeError::Value { error: WireError::TooLong(_), .. } => ErrorCode::STRING_ARGUMENT_TOO_LONG,
        };
        Self::with(code, error.to_string())
    }
}

/// The window that `StartTime` and `StopTime` are; 600 where they are equal.
pub(crate) fn window(start: TimeOfDay, stop: TimeOfDay) -> Result<DailyWindow, UpnpError> {
    let wrong = |error| UpnpError::with(ErrorCode::ARGUMENT_VALUE_INVALID, format!("StopTime: {error}"));
    DailyWindow::new(start, stop).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_code_of_its_own_in_the_vendor_range_and_comes_back() {
        let codes: BTreeSet<u16> = RefusalKind::ALL.iter().map(|&kind| code(kind).0).collect();
        assert_eq!(codes.len(), RefusalKind::ALL.len());
        for &kind in RefusalKind::ALL {
            let refusal = Refusal::new(kind, "because");
            assert!(refusal.code().is_vendor());
            assert_eq!(Refusal::of(&refusal.clone().into()), Some(refusal));
        }
    }

    #[test]
    fn a_code_of_a_newer_peer_survives_the_round_trip() {
        let fault = UpnpError::with(ErrorCode(877), "moon is full");
        let refusal = Refusal::of(&fault).unwrap();
        assert_eq!(refusal.kind, RefusalKind::Unlisted(877));
        assert_eq!(UpnpError::from(refusal), fault);
        assert_eq!(Refusal::of(&UpnpError::new(ErrorCode::ACTION_FAILED)), None);
    }

    #[test]
    fn a_reason_is_never_empty_and_never_longer_than_the_standard_asks() {
        assert_eq!(
            UpnpError::from(Refusal::new(RefusalKind::OnBattery, " ")).description,
            meaning(RefusalKind::OnBattery)
        );
        let long = UpnpError::from(Refusal::new(RefusalKind::BusyUnit, "é".repeat(300)));
        assert!(long.description.len() <= REASON_BYTES_MAX && long.description.ends_with('é'));
    }
}
