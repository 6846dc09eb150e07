//! A service declared once, as a constant: SCPD, argument checks and event lists come from it.

use core::time::Duration;

/// A service: its names, variables and actions. Always a `static`, made by the `service!` macro of `energy-services`.
#[derive(Debug)]
pub struct ServiceDecl {
    /// `urn:DOMAIN:service:NAME:VERSION`.
    pub service_type: &'static str,
    /// `urn:DOMAIN:serviceId:NAME`.
    pub service_id: &'static str,
    /// State variables, in SCPD order.
    pub variables: &'static [VariableDecl],
    /// Actions, in SCPD order.
    pub actions: &'static [ActionDecl],
}

impl ServiceDecl {
    /// The action of that name.
    pub fn action(&self, name: &str) -> Option<&'static ActionDecl> {
        self.actions.iter().find(|a| a.name == name)
    }

    /// The state variable of that name.
    pub fn variable(&self, name: &str) -> Option<&'static VariableDecl> {
        self.variables.iter().find(|v| v.name == name)
    }

    /// The NAME of `urn:DOMAIN:service:NAME:VERSION`, used in our URLs.
    pub fn short_name(&self) -> &'static str {
        self.service_type.split(':').nth(3).unwrap_or("service")
    }
}

/// A state variable (UDA 1.1, 2.5).
#[derive(Debug)]
pub struct VariableDecl {
    /// Name; `A_ARG_TYPE_...` for one that only types an argument.
    pub name: &'static str,
    /// Type on the wire.
    pub data_type: DataType,
    /// How a change is told.
    pub eventing: Eventing,
    /// Values allowed.
    pub allowed: Allowed,
    /// Least time between two events of this variable (moderation, `maximumRate`); none for an unmoderated one.
    pub max_rate: Option<Duration>,
}

/// UPnP data types in use (UDA 1.1, 2.5, `dataType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// Text.
    String,
    /// Unsigned 32 bits.
    Ui4,
    /// Signed 32 bits.
    I4,
    /// `0` or `1`; `true`, `false`, `yes`, `no` are taken.
    Boolean,
    /// `HH:MM:SS`.
    Time,
}

impl DataType {
    /// The word in an SCPD.
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Ui4 => "ui4",
            Self::I4 => "i4",
            Self::Boolean => "boolean",
            Self::Time => "time",
        }
    }
}

/// How a change of a state variable is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eventing {
    /// Not evented.
    No,
    /// By NOTIFY to subscribers.
    Unicast,
    /// By NOTIFY to subscribers and by one multicast datagram (UDA 1.1, 4.3).
    Multicast,
}

/// Values a state variable may take.
#[derive(Clone, Copy, Debug)]
pub enum Allowed {
    /// All of its type.
    Any,
    /// One of these words.
    List(&'static [&'static str]),
    /// From, to, step.
    Range(i64, i64, i64),
}

/// An action.
#[derive(Debug)]
pub struct ActionDecl {
    /// Name.
    pub name: &'static str,
    /// All IN arguments, then all OUT arguments (UDA 1.1, 2.5).
    pub arguments: &'static [ArgumentDecl],
}

/// An argument of an action.
#[derive(Debug)]
pub struct ArgumentDecl {
    /// Name.
    pub name: &'static str,
    /// To the device or back.
    pub direction: Direction,
    /// The state variable that gives its type.
    pub variable: &'static str,
}

/// To the device or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Sent to the device.
    In,
    /// Returned.
    Out,
}
