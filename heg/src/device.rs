//! The gateway as a UPnP device: HomeEnergyGateway:1 with EnergyGateway:1 (Table II). Calls become requests to the
//! gateway, its replies become SOAP.
#![forbid(unsafe_code)]

use std::time::Duration;

use bytes::Bytes;
use energy_model::{CallerId, DailyWindow, RefusalKind};
use energy_services::energy_gateway::{Call, DECLARATION, NoStandbyPeriodReply, WakeUpTimeReply, WithdrawReply};
use energy_services::{Refusal, Reply as _, home_energy_gateway};
use upnp::device::{ActionCall, DeviceConfig, RootDevice};
use upnp::error::{ErrorCode, UpnpError};
use upnp::ids::Udn;
use upnp::time::BootTime;

use crate::config::Config;
use crate::gateway::{AskError, Reply, Request};
use crate::registrations::RegistrationError;

/// What the device is started with.
#[derive(Debug)]
pub struct Identity {
    /// Its UDN, kept in the state directory.
    pub udn: Udn,
    /// Its name for people.
    pub friendly_name: String,
    /// SERVER header: `OS/version UPnP/1.1 product/version`.
    pub server: String,
    /// Higher at every start.
    pub boot_id: u32,
}

/// The gateway's device, silent until it is told of an interface.
pub fn root_device(config: &Config, identity: Identity, http_port: u16, seed: u64, now: BootTime) -> RootDevice {
    let config = DeviceConfig {
        udn: identity.udn,
        device_type: home_energy_gateway(),
        friendly_name: identity.friendly_name,
        manufacturer: "Home Energy Gateway project".to_owned(),
        manufacturer_url: String::new(),
        model_name: "heg-gateway".to_owned(),
        model_description: "Knows, wakes and commands the appliances of a home".to_owned(),
        model_number: env!("CARGO_PKG_VERSION").to_owned(),
        services: vec![&DECLARATION],
        server: identity.server,
        http_port,
        boot_id: identity.boot_id,
        max_age: Duration::from_secs(config.network.max_age_s.into()),
        host_names: config.network.host_names.clone(),
        seed,
    };
    RootDevice::new(config, now)
}

/// Who calls and what is wanted.
///
/// # Errors
/// 401 and 402 for what the service does not have, 600 and 601 for values that are none.
pub fn request(call: &ActionCall) -> Result<(Udn, Request), UpnpError> {
    Ok(match Call::decode(call.action.name, &call.arguments)? {
        Call::WakeUpTime(r) => (udn(&r.uuid)?, Request::WakeUpTime(r.time)),
        Call::NoStandbyPeriod(r) => {
            let window = DailyWindow::new(r.start_time, r.stop_time)
                .map_err(|e| UpnpError::with(ErrorCode::ARGUMENT_VALUE_INVALID, e.to_string()))?;
            (udn(&r.uuid)?, Request::NoStandbyPeriod(window))
        }
        Call::Withdraw(r) => (udn(&r.uuid)?, Request::Withdraw(r.reg_id)),
    })
}

/// A caller's UUID is the name of its device without prefix.
fn udn(caller: &CallerId) -> Result<Udn, UpnpError> {
    Udn::parse(&format!("uuid:{caller}"))
        .map_err(|e| UpnpError::with(ErrorCode::ARGUMENT_VALUE_INVALID, format!("UUID: {e}")))
}

/// The SOAP answer to a call.
pub fn response(call: &ActionCall, reply: Reply) -> http::Response<Bytes> {
    let arguments = match reply {
        Reply::Registered(reg_id) if call.action.name == "WakeUpTime" => {
            Ok(WakeUpTimeReply { reg_id }.into_arguments())
        }
        Reply::Registered(reg_id) => Ok(NoStandbyPeriodReply { reg_id }.into_arguments()),
        Reply::Withdrawn(_) => Ok(WithdrawReply {}.into_arguments()),
        Reply::No(error) => Err(error.into()),
        // Only people's asks end so.
        Reply::Outcome(_) | Reply::Forgotten | Reply::Rule(..) => Err(UpnpError::new(ErrorCode::ACTION_FAILED)),
    };
    call.respond(arguments)
}

impl From<AskError> for UpnpError {
    fn from(error: AskError) -> Self {
        let text = error.to_string();
        match error {
            AskError::Registration(e) => {
                let kind = match e {
                    RegistrationError::Unknown(_) => RefusalKind::UnknownRegId,
                    RegistrationError::Foreign(_) | RegistrationError::Ambiguous(..) => RefusalKind::ForeignRegId,
                    RegistrationError::Full => RefusalKind::TooManyRegistrations,
                };
                Refusal::new(kind, text).into()
            }
            AskError::NotAuthorized(_) => Self::with(ErrorCode::ACTION_NOT_AUTHORIZED, text),
            AskError::Busy => Self::with(ErrorCode::DEVICE_BUSY, text),
            AskError::NotStored(_) | AskError::UnknownAppliance(_) | AskError::StillThere | AskError::Rule(_) => {
                Self::with(ErrorCode::ACTION_FAILED, text)
            }
        }
    }
}
