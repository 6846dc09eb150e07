//! The appliance as a UPnP device (PURE): its three services, their variables, and what a call asks.
//!
//! In: requests, datagrams, answers to NOTIFYs, new values. Out: [`Incoming`] for what only the agent can answer, and the
//! device's effects. What a command means is decided in `agent.rs`.
#![forbid(unsafe_code)]

use core::time::Duration;

use bytes::Bytes;
use energy_model::{PowerState, Watts};
use energy_services::appliance_info::{self, LastRefusal};
use energy_services::low_power_device::{self, PowerSource};
use energy_services::{managed_appliance, power_management};
use http::Response;
use upnp::device::{ActionCall, DeviceConfig, Handled, RootDevice, presentation_response};
use upnp::error::UpnpError;
use upnp::ids::Udn;
use upnp::net::{Datagram, HttpAnswer, IncomingRequest, Interface};
use upnp::service::ServiceDecl;
use upnp::time::BootTime;

use crate::config::Config;
use crate::safety::Supply;

/// What does not come from the configuration.
#[derive(Clone, Debug)]
pub struct Identity {
    /// UUID, without prefix.
    pub uuid: String,
    /// BOOTID.UPNP.ORG of this start.
    pub boot_id: u32,
    /// Port of the HTTP server.
    pub http_port: u16,
    /// The machine's name, where the configuration has none.
    pub host_name: String,
    /// `OS/version`, for SERVER and USER-AGENT.
    pub system: String,
    /// Seed of everything random.
    pub seed: u64,
}

impl Identity {
    /// SERVER and USER-AGENT: `OS/version UPnP/1.1 product/version` (UDA 1.1, 1.2.2).
    pub fn product(&self) -> String {
        format!("{} UPnP/1.1 psm-agent/{}", self.system, env!("CARGO_PKG_VERSION"))
    }
}

/// A call that passed all checks of form.
#[derive(Debug)]
pub enum Asked {
    /// PowerManagement:1, Table I.
    PowerManagement(power_management::Call),
    /// ApplianceInfo:1.
    ApplianceInfo(appliance_info::Call),
    /// LowPowerDevice:1.
    LowPowerDevice(low_power_device::Call),
}

/// What came in.
#[derive(Debug)]
pub enum Incoming {
    /// Answered.
    Answered(Response<Bytes>),
    /// To be answered by [`ActionCall::respond`].
    Asked(Asked, ActionCall),
    /// The page, to be answered by [`page`].
    Page,
    /// Not for the device.
    NotMine,
}

/// The answer with the page.
pub fn page(html: String) -> Response<Bytes> {
    presentation_response(html)
}

/// The device.
#[derive(Debug)]
pub struct Device {
    config: DeviceConfig,
    root: RootDevice,
    stopped: bool,
}

impl Device {
    /// The device of a configuration, silent until it is told of interfaces.
    pub fn new(config: &Config, identity: &Identity, udn: Udn, now: BootTime) -> Self {
        let d = &config.device;
        let config = DeviceConfig {
            udn,
            device_type: managed_appliance(),
            friendly_name: d.friendly_name.clone().unwrap_or_else(|| identity.host_name.clone()),
            manufacturer: d.manufacturer.clone(),
            manufacturer_url: d.manufacturer_url.clone(),
            model_name: d.model_name.clone(),
            model_description: d.model_description.clone(),
            model_number: d.model_number.clone(),
            services: vec![
                &power_management::DECLARATION,
                &appliance_info::DECLARATION,
                &low_power_device::DECLARATION,
            ],
            server: identity.product(),
            http_port: identity.http_port,
            boot_id: identity.boot_id,
            max_age: Duration::from_secs(config.network.max_age_s.into()),
            host_names: config.network.host_names.clone(),
            seed: identity.seed,
        };
        let root = RootDevice::new(config.clone(), now);
        Self { config, root, stopped: false }
    }

    /// Its name for people.
    pub fn friendly_name(&self) -> &str {
        &self.config.friendly_name
    }

    /// Unique Device Name.
    pub fn udn(&self) -> &Udn {
        &self.config.udn
    }

    /// BOOTID.UPNP.ORG in force; the next start must be above it.
    pub fn boot_id(&self) -> u32 {
        self.root.boot_id()
    }

    /// Number of subscriptions.
    pub fn subscribers(&self) -> usize {
        self.root.subscribers()
    }

    /// Whether some event is not delivered yet.
    pub fn events_pending(&self) -> bool {
        self.root.events_pending()
    }

    /// The power state, told to all.
    pub fn set_power_state(&mut self, state: PowerState, now: BootTime) {
        let change = power_management::Event::PowerState(state).change();
        self.root.set_variables(&power_management::DECLARATION, &[change], now);
    }

    /// The last refusal, told to all; none at start.
    pub fn set_last_refusal(&mut self, refusal: Option<LastRefusal>, now: BootTime) {
        let change = appliance_info::Event::LastRefusal(refusal).change();
        self.root.set_variables(&appliance_info::DECLARATION, &[change], now);
    }

    /// Power drawn, told to all from time to time.
    pub fn set_power(&mut self, power: Watts, now: BootTime) {
        let change = appliance_info::Event::Power(power).change();
        self.root.set_variables(&appliance_info::DECLARATION, &[change], now);
    }

    /// How the machine is fed, told to all.
    pub fn set_supply(&mut self, supply: Supply, battery_low: bool, now: BootTime) {
        let source = if supply.on_battery { PowerSource::Internal } else { PowerSource::Mains };
        let changes = [
            low_power_device::Event::ExternalPowerSupplySource(source).change(),
            low_power_device::Event::BatteryLow(battery_low).change(),
        ];
        self.root.set_variables(&low_power_device::DECLARATION, &changes, now);
    }

    /// The network interfaces as they are now.
    pub fn handle_interfaces(&mut self, interfaces: &[Interface], now: BootTime) {
        self.root.handle_interfaces(interfaces, now);
    }

    /// A datagram.
    pub fn handle_datagram(&mut self, datagram: &Datagram, now: BootTime) {
        self.root.handle_datagram(datagram, now);
    }

    /// The answer to a NOTIFY.
    pub fn handle_answer(&mut self, answer: HttpAnswer, now: BootTime) {
        self.root.handle_answer(answer, now);
    }

    /// A request.
    pub fn handle_request(&mut self, request: &IncomingRequest, now: BootTime) -> Incoming {
        match self.root.handle_request(request, now) {
            Handled::Response(response) => Incoming::Answered(response),
            Handled::Presentation => Incoming::Page,
            Handled::NotMine => Incoming::NotMine,
            Handled::Action(call) => match decode(&call) {
                Ok(asked) => Incoming::Asked(asked, call),
                Err(error) => Incoming::Answered(call.respond(Err(error))),
            },
        }
    }

    /// The machine has slept.
    pub fn resumed(&mut self, now: BootTime) {
        self.root.resumed(now);
    }

    /// Says goodbye.
    pub fn stop(&mut self, now: BootTime) {
        if !self.stopped {
            self.stopped = true;
            self.root.stop(now);
        }
    }

    /// Whether it said goodbye.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Comes back after a goodbye, as after a restart. Variables are to be set anew.
    pub fn restart(&mut self, interfaces: &[Interface], now: BootTime) {
        self.config.boot_id = (self.root.boot_id() + 1) & 0x7fff_ffff;
        self.root = RootDevice::new(self.config.clone(), now);
        self.root.handle_interfaces(interfaces, now);
        self.stopped = false;
    }

    /// The next order to the driver.
    pub fn poll_effect(&mut self) -> Option<upnp::Effect> {
        self.root.poll_effect()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        self.root.poll_timeout()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: BootTime) {
        self.root.handle_timeout(now);
    }
}

/// A call as the type of its service.
fn decode(call: &ActionCall) -> Result<Asked, UpnpError> {
    let (action, arguments) = (call.action.name, call.arguments.as_slice());
    let is = |service: &ServiceDecl| call.service.service_type == service.service_type;
    if is(&appliance_info::DECLARATION) {
        appliance_info::Call::decode(action, arguments).map(Asked::ApplianceInfo)
    } else if is(&low_power_device::DECLARATION) {
        low_power_device::Call::decode(action, arguments).map(Asked::LowPowerDevice)
    } else {
        power_management::Call::decode(action, arguments).map(Asked::PowerManagement)
    }
}
