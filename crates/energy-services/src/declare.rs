//! The `service!` macro: one declaration of a service gives its SCPD, types, dispatch and client.
//!
//! ```text
//! service! {
//!     service "urn:DOMAIN:service:NAME:1" id "urn:DOMAIN:serviceId:NAME";
//!     // Evented variables: NAME: Rust type, Unicast or Multicast[, max_rate = least time between two events];
//!     events { PowerState: energy_model::PowerState, Multicast; }
//!     // All others. Rust types by their full path: each name becomes an alias in the module `types`.
//!     variables { A_ARG_TYPE_UUID: energy_model::CallerId; }
//!     // REQUEST(IN arguments) -> REPLY(OUT arguments); each argument: Rust field: wire name of its variable.
//!     actions { GetPowerState(uuid: UUID of A_ARG_TYPE_UUID) -> GetPowerStateReply(state: PowerState of PowerState); }
//! }
//! ```

use upnp::error::UpnpError;
use upnp::service::ServiceDecl;

use crate::errors::DecodeError;
use crate::wire::Wire;

/// The request of an action: what its IN arguments are in Rust.
pub trait Action: Sized {
    /// Name of the action.
    const NAME: &'static str;
    /// What its OUT arguments are in Rust.
    type Reply: Reply;

    /// The service it belongs to.
    fn service() -> &'static ServiceDecl;
    /// The IN arguments in declared order, for the wire.
    fn arguments(&self) -> Vec<(String, String)>;
    /// From IN arguments in any order; further ones are overlooked. 402 for a missing one, 600, 601 or 605 for a wrong
    /// value.
    fn decode(arguments: &[(String, String)]) -> Result<Self, UpnpError>;
    /// The reply to this action, from OUT arguments in any order; further ones are overlooked.
    fn decode_reply(arguments: &[(String, String)]) -> Result<Self::Reply, DecodeError> {
        Self::Reply::decode(arguments)
    }
}

/// The reply to an action.
pub trait Reply: Sized {
    /// The OUT arguments in declared order, for the wire.
    fn into_arguments(self) -> Vec<(&'static str, String)>;
    /// From OUT arguments in any order; further ones are overlooked.
    fn decode(arguments: &[(String, String)]) -> Result<Self, DecodeError>;
}

/// The value of the argument of that name.
pub(crate) fn argument<T: Wire>(arguments: &[(String, String)], name: &'static str) -> Result<T, DecodeError> {
    let (_, value) = arguments.iter().find(|(n, _)| n == name).ok_or(DecodeError::Missing { name })?;
    T::from_wire(value).map_err(|error| DecodeError::Value { name, error })
}

/// Declares a service. See the module's head for the form.
macro_rules! service {
    (
        service $service_type:literal id $service_id:literal;
        events {
            $($(#[$edoc:meta])* $event:ident: $ety:ty, $eventing:ident $(, max_rate = $rate:expr)?;)*
        }
        $(#[$vattr:meta])*
        variables {
            $($(#[$vdoc:meta])* $variable:ident: $vty:ty;)*
        }
        actions {
            $(
                $(#[$adoc:meta])*
                $action:ident($($in_field:ident: $in_name:ident of $in_var:ident),* $(,)?)
                    -> $reply:ident($($out_field:ident: $out_name:ident of $out_var:ident),* $(,)?);
            )*
        }
    ) => {
        /// The service as UPnP describes it.
        pub static DECLARATION: upnp::service::ServiceDecl = upnp::service::ServiceDecl {
            service_type: $service_type,
            service_id: $service_id,
            variables: &[
                $(upnp::service::VariableDecl {
                    name: stringify!($event),
                    data_type: <$ety as $crate::Wire>::DATA_TYPE,
                    eventing: upnp::service::Eventing::$eventing,
                    allowed: <$ety as $crate::Wire>::ALLOWED,
                    max_rate: service!(@rate $($rate)?),
                },)*
                $(upnp::service::VariableDecl {
                    name: stringify!($variable),
                    data_type: <$vty as $crate::Wire>::DATA_TYPE,
                    eventing: upnp::service::Eventing::No,
                    allowed: <$vty as $crate::Wire>::ALLOWED,
                    max_rate: None,
                },)*
            ],
            actions: &[
                $(upnp::service::ActionDecl {
                    name: stringify!($action),
                    arguments: &[
                        $(service!(@argument $in_name In $in_var),)*
                        $(service!(@argument $out_name Out $out_var),)*
                    ],
                },)*
            ],
        };

        /// The service's type.
        pub fn service_type() -> upnp::ids::TypeUrn {
            upnp::ids::TypeUrn::parse(DECLARATION.service_type).expect("declared in the form of a service type")
        }

        /// The Rust type of each state variable, under the variable's own name.
        $(#[$vattr])*
        pub mod types {
            $($(#[$edoc])* pub type $event = $ety;)*
            $($(#[$vdoc])* pub type $variable = $vty;)*
        }

        /// An evented variable with its value.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Event {
            $($(#[$edoc])* $event(types::$event),)*
        }

        impl Event {
            /// Name and value as the publisher takes them and the wire carries them.
            pub fn change(&self) -> (&'static str, String) {
                match *self {
                    $(Self::$event(ref value) => (stringify!($event), $crate::Wire::to_wire(value)),)*
                }
            }

            /// From a property of a NOTIFY; `None` for a variable this version does not know.
            pub fn decode(name: &str, value: &str) -> Result<Option<Self>, $crate::DecodeError> {
                // Read by no arm of a service without events.
                let _ = value;
                match name {
                    $(stringify!($event) => match $crate::Wire::from_wire(value) {
                        Ok(value) => Ok(Some(Self::$event(value))),
                        Err(error) => Err($crate::DecodeError::Value { name: stringify!($event), error }),
                    },)*
                    _ => Ok(None),
                }
            }
        }

        $(
            $(#[$adoc])*
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $action {
                $(
                    #[doc = concat!("IN `", stringify!($in_name), "`.")]
                    pub $in_field: types::$in_var,
                )*
            }

            #[doc = concat!("Reply to [`", stringify!($action), "`].")]
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $reply {
                $(
                    #[doc = concat!("OUT `", stringify!($out_name), "`.")]
                    pub $out_field: types::$out_var,
                )*
            }

            impl $crate::Action for $action {
                const NAME: &'static str = stringify!($action);
                type Reply = $reply;

                fn service() -> &'static upnp::service::ServiceDecl {
                    &DECLARATION
                }

                fn arguments(&self) -> Vec<(String, String)> {
                    vec![$((stringify!($in_name).to_owned(), $crate::Wire::to_wire(&self.$in_field)),)*]
                }

                fn decode(_arguments: &[(String, String)]) -> Result<Self, upnp::error::UpnpError> {
                    Ok(Self { $($in_field: $crate::declare::argument(_arguments, stringify!($in_name))?,)* })
                }
            }

            impl $crate::Reply for $reply {
                fn into_arguments(self) -> Vec<(&'static str, String)> {
                    vec![$((stringify!($out_name), $crate::Wire::to_wire(&self.$out_field)),)*]
                }

                fn decode(_arguments: &[(String, String)]) -> Result<Self, $crate::DecodeError> {
                    Ok(Self { $($out_field: $crate::declare::argument(_arguments, stringify!($out_name))?,)* })
                }
            }
        )*

        /// Any request to this service. A device matches on it, so one that forgets an action does not compile.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Call {
            $($(#[$adoc])* $action($action),)*
        }

        impl Call {
            /// From an action's name and its IN arguments: 401 for an unknown action, else as [`Action::decode`].
            ///
            /// [`Action::decode`]: crate::Action::decode
            pub fn decode(action: &str, arguments: &[(String, String)]) -> Result<Self, upnp::error::UpnpError> {
                match action {
                    $(stringify!($action) => <$action as $crate::Action>::decode(arguments).map(Self::$action),)*
                    _ => Err(upnp::error::UpnpError::new(upnp::error::ErrorCode::INVALID_ACTION)),
                }
            }

            /// The action's name.
            pub const fn action(&self) -> &'static str {
                match self {
                    $(Self::$action(_) => stringify!($action),)*
                }
            }
        }
    };
    (@rate) => { None };
    (@rate $rate:expr) => { Some($rate) };
    (@argument $name:ident $direction:ident $variable:ident) => {
        upnp::service::ArgumentDecl {
            name: stringify!($name),
            direction: upnp::service::Direction::$direction,
            variable: stringify!($variable),
        }
    };
}
