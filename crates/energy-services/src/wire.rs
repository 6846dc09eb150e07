//! How values look as UPnP arguments and event properties: data type, allowed values, text.

use energy_model::{
    CallerAddress, CallerId, Flexibility, Importance, MacAddress, PowerState, RegId, TimeOfDay, WakeMethod, WattHours,
    Watts, caller::CallerError, daytime::TimeError,
};
use upnp::service::{Allowed, DataType};

use crate::limits::TEXT_BYTES_MAX;

/// A Rust type that a state variable can have.
pub trait Wire: Sized {
    /// UPnP's data type.
    const DATA_TYPE: DataType;
    /// The values allowed.
    const ALLOWED: Allowed = Allowed::Any;

    /// The text on the wire.
    fn to_wire(&self) -> String;
    /// From the text on the wire, spaces around it already gone.
    fn from_wire(text: &str) -> Result<Self, WireError>;
}

/// What is wrong with a text from the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Not of its type's form.
    #[error("{0}")]
    Malformed(String),
    /// Well formed and not among the values allowed.
    #[error("{0}")]
    OutOfRange(String),
    /// A text over its bound.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
}

fn malformed(error: impl core::fmt::Display) -> WireError {
    WireError::Malformed(error.to_string())
}

fn out_of_range(error: impl core::fmt::Display) -> WireError {
    WireError::OutOfRange(error.to_string())
}

impl Wire for String {
    const DATA_TYPE: DataType = DataType::String;

    fn to_wire(&self) -> String {
        self.clone()
    }

    fn from_wire(text: &str) -> Result<Self, WireError> {
        if text.len() > TEXT_BYTES_MAX { Err(WireError::TooLong(TEXT_BYTES_MAX)) } else { Ok(text.to_owned()) }
    }
}

impl Wire for bool {
    const DATA_TYPE: DataType = DataType::Boolean;

    fn to_wire(&self) -> String {
        u8::from(*self).to_string()
    }

    fn from_wire(text: &str) -> Result<Self, WireError> {
        // Some devices write `False` (async_upnp_client); ours have been through the stricter check of their own declaration.
        match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" => Ok(true),
            "0" | "false" | "no" => Ok(false),
            _ => Err(malformed("expected 0 or 1")),
        }
    }
}

/// Types whose `Display` and `FromStr` are the wire's text.
macro_rules! by_text {
    ($($type:ty: $data:ident, $allowed:expr, $error:expr;)*) => {$(
        impl Wire for $type {
            const DATA_TYPE: DataType = DataType::$data;
            const ALLOWED: Allowed = $allowed;

            fn to_wire(&self) -> String {
                self.to_string()
            }

            fn from_wire(text: &str) -> Result<Self, WireError> {
                text.parse().map_err($error)
            }
        }
    )*};
}

by_text! {
    u32: Ui4, Allowed::Any, malformed;
    Watts: Ui4, Allowed::Any, malformed;
    WattHours: Ui4, Allowed::Any, malformed;
    RegId: Ui4, Allowed::Range(1, u32::MAX as i64, 1), out_of_range;
    TimeOfDay: Time, Allowed::Any, time_error;
    CallerId: String, Allowed::Any, caller_error;
    CallerAddress: String, Allowed::Any, caller_error;
    PowerState: String, Allowed::List(PowerState::WORDS), out_of_range;
    WakeMethod: String, Allowed::List(WakeMethod::WORDS), out_of_range;
    Importance: String, Allowed::List(Importance::WORDS), out_of_range;
    Flexibility: String, Allowed::List(Flexibility::WORDS), out_of_range;
}

fn time_error(error: TimeError) -> WireError {
    match error {
        TimeError::Range => out_of_range(error),
        _ => malformed(error),
    }
}

fn caller_error(error: CallerError) -> WireError {
    match error {
        CallerError::TooLong(bytes_max) => WireError::TooLong(bytes_max),
        _ => malformed(error),
    }
}

/// An appliance that knows no hardware address of its own says the empty text.
impl Wire for Option<MacAddress> {
    const DATA_TYPE: DataType = DataType::String;

    fn to_wire(&self) -> String {
        self.map(|mac| mac.to_string()).unwrap_or_default()
    }

    fn from_wire(text: &str) -> Result<Self, WireError> {
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_allowed_is_a_value_and_back() {
        for word in PowerState::WORDS {
            assert_eq!(PowerState::from_wire(word).unwrap().to_wire(), *word);
        }
        for word in WakeMethod::WORDS {
            assert_eq!(WakeMethod::from_wire(word).unwrap().to_wire(), *word);
        }
        assert!(matches!(PowerState::from_wire("on"), Err(WireError::OutOfRange(_))));
    }

    #[test]
    fn a_wrong_value_is_told_apart_from_a_value_out_of_range() {
        assert!(matches!(TimeOfDay::from_wire("7"), Err(WireError::Malformed(_))));
        assert!(matches!(TimeOfDay::from_wire("24:00:00"), Err(WireError::OutOfRange(_))));
        assert!(matches!(RegId::from_wire("0"), Err(WireError::OutOfRange(_))));
        assert!(matches!(Watts::from_wire("-1"), Err(WireError::Malformed(_))));
        assert_eq!(String::from_wire(&"x".repeat(2000)), Err(WireError::TooLong(TEXT_BYTES_MAX)));
        assert_eq!(CallerId::from_wire(&"x".repeat(200)), Err(WireError::TooLong(128)));
        assert_eq!((bool::from_wire("yes"), bool::from_wire("False")), (Ok(true), Ok(false)));
        assert!(bool::from_wire("2").is_err());
        assert_eq!(Option::<MacAddress>::from_wire(""), Ok(None));
    }
}
