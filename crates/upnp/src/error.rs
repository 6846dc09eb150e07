//! UPnPError codes (UDA 1.1, table 3-3) in the one place where they are named.

use core::fmt;

/// A fault as it travels: `errorCode` and `errorDescription`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("UPnPError {code}: {description}")]
pub struct UpnpError {
    /// The code; an unknown one from a peer is kept as it came.
    pub code: ErrorCode,
    /// For people; never empty when we send it.
    pub description: String,
}

impl UpnpError {
    /// A fault with the standard's own words.
    pub fn new(code: ErrorCode) -> Self {
        Self { code, description: code.name().to_owned() }
    }

    /// A fault with words of its own.
    pub fn with(code: ErrorCode, description: impl Into<String>) -> Self {
        Self { code, description: description.into() }
    }
}

/// An `errorCode`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub u16);

macro_rules! codes {
    ($($(#[$doc:meta])* $konst:ident = $code:literal, $name:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $konst: Self = Self($code);)*

            /// The standard's name of the code, or what its range means.
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($code => $name,)*
                    600..=699 => "Common action error",
                    700..=799 => "Standard action error",
                    800..=899 => "Vendor action error",
                    _ => "Unknown error",
                }
            }
        }
    };
}

codes! {
    /// No action by that name at this service.
    INVALID_ACTION = 401, "Invalid Action";
    /// Arguments missing, too many, misnamed or of the wrong type.
    INVALID_ARGS = 402, "Invalid Args";
    /// The service's present state does not allow the action.
    ACTION_FAILED = 501, "Action Failed";
    /// An argument's value is invalid.
    ARGUMENT_VALUE_INVALID = 600, "Argument Value Invalid";
    /// An argument's value is not in its allowed range or list.
    ARGUMENT_VALUE_OUT_OF_RANGE = 601, "Argument Value Out of Range";
    /// The action is optional and not offered here.
    OPTIONAL_ACTION_NOT_IMPLEMENTED = 602, "Optional Action Not Implemented";
    /// No memory for it just now.
    OUT_OF_MEMORY = 603, "Out of Memory";
    /// A person has to do something first.
    HUMAN_INTERVENTION_REQUIRED = 604, "Human Intervention Required";
    /// A string argument is too long.
    STRING_ARGUMENT_TOO_LONG = 605, "String Argument Too Long";
    /// The caller may not do this.
    ACTION_NOT_AUTHORIZED = 606, "Action Not Authorized";
    /// The device is busy.
    DEVICE_BUSY = 612, "Device Busy";
}

impl ErrorCode {
    /// Whether the code is in 800-899, the range a vendor defines per action.
    pub const fn is_vendor(self) -> bool {
        self.0 >= 800 && self.0 <= 899
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.name())
    }
}
