//! Binds the UPnP control point to the gateway: its events become facts, orders become typed calls. What an appliance says is decoded
//! here, by the services' one declaration, and nowhere else.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use energy_model::{CallerAddress, CallerId};
use energy_services::{Action, Reply, appliance_info, managed_appliance, power_management};
use upnp::control_point::{CallError, CallId, ControlPoint, ControlPointConfig, ControlPointEvent, KnownDevice};
use upnp::ids::{TypeUrn, Udn};
use upnp::ssdp::{GoneWhy, Target};
use upnp::time::BootTime;

use crate::commands::CallFailure;
use crate::config::Config;
use crate::gateway::{Answer, CallTag, Input, Order};
use crate::registry::{Facts, Found, Offers};

/// The control point toward the appliances.
#[derive(Debug)]
pub struct Appliances {
    control_point: ControlPoint,
    us: CallerId,
    power_management: TypeUrn,
    appliance_info: TypeUrn,
    calls: BTreeMap<CallId, (CallTag, Order)>,
}

impl Appliances {
    /// A control point that looks for managed appliances, under the gateway's own UUID.
    pub fn new(
        config: &Config,
        us: CallerId,
        user_agent: String,
        callback_port: u16,
        seed: u64,
        now: BootTime,
    ) -> Self {
        let (power_management, appliance_info) = (power_management::service_type(), appliance_info::service_type());
        let config = ControlPointConfig {
            targets: vec![Target::Type(managed_appliance()), Target::Type(power_management.clone())],
            subscribe: vec![power_management.clone(), appliance_info.clone()],
            user_agent,
            callback_port,
            mx: config.discovery.answer_within_s,
            search_every: std::time::Duration::from_secs(config.discovery.search_every_s.into()),
            static_devices: config.discovery.static_devices.clone(),
            seed,
        };
        let control_point = ControlPoint::new(config, now);
        Self { control_point, us, power_management, appliance_info, calls: BTreeMap::new() }
    }

    /// The machine underneath, to be driven.
    pub fn machine(&mut self) -> &mut ControlPoint {
        &mut self.control_point
    }

    /// The machine underneath, to be looked at.
    pub fn machine_ref(&self) -> &ControlPoint {
        &self.control_point
    }

    /// The next fact.
    pub fn poll_input(&mut self) -> Option<Input> {
        loop {
            let event = self.control_point.poll_event()?;
            if let Some(input) = self.input(event) {
                return Some(input);
            }
        }
    }

    fn input(&mut self, event: ControlPointEvent) -> Option<Input> {
        match event {
            ControlPointEvent::Ready { device, cause, .. } => {
                tracing::info!(udn = %device.udn, name = %device.friendly_name, address = %device.address, ?cause, "appliance found");
                Some(Input::Found(self.found(&device)))
            }
            ControlPointEvent::Gone { udn, why } => {
                let why = match why {
                    GoneWhy::ByeBye => "it said goodbye",
                    GoneWhy::Expired => "its announcements ran out",
                };
                tracing::info!(%udn, why, "appliance gone");
                Some(Input::Gone { udn, why })
            }
            ControlPointEvent::Subscribed { udn, service_type } => {
                service_type.serves(&self.power_management).then_some(Input::Subscription { udn, live: true })
            }
            ControlPointEvent::SubscriptionLost { udn, service_type, error } => {
                tracing::info!(%udn, %service_type, error, "subscription lost; it is made again");
                service_type.serves(&self.power_management).then_some(Input::Subscription { udn, live: false })
            }
            ControlPointEvent::Event { udn, service_type, variables, .. } => self.event(udn, &service_type, &variables),
            ControlPointEvent::CallDone { call, udn, result } => {
                let (tag, order) = self.calls.remove(&call)?;
                let result = result.map_err(failure).and_then(|arguments| answer(order, &arguments));
                if let Err(error) = &result {
                    tracing::debug!(%udn, ?order, %error, "call");
                }
                Some(Input::Answered { call: tag, result })
            }
            ControlPointEvent::DescriptionFailed { udn, error } => {
                tracing::info!(%udn, error, "description not readable; it is tried again");
                None
            }
            ControlPointEvent::StaticFailed { location, error } => {
                tracing::warn!(%location, error, "configured device not readable; it is tried again");
                None
            }
        }
    }

    fn found(&self, device: &KnownDevice) -> Found {
        Found {
            udn: device.udn.clone(),
            name: device.friendly_name.to_string(),
            maker: device.manufacturer.to_string(),
            model: device.model_name.to_string(),
            address: device.address,
            offers: Offers {
                power_management: device.service(&self.power_management).is_some(),
                appliance_info: device.service(&self.appliance_info).is_some(),
            },
        }
    }

    fn event(&self, udn: Udn, service_type: &TypeUrn, variables: &[(String, String)]) -> Option<Input> {
        if service_type.serves(&self.power_management) {
            for (name, value) in variables {
                match power_management::Event::decode(name, value) {
                    Ok(Some(power_management::Event::PowerState(state))) => {
                        return Some(Input::PowerStateTold { udn, state });
                    }
                    Ok(None) => {}
                    Err(error) => tracing::warn!(%udn, %error, "event not understood"),
                }
            }
            return None;
        }
        if !service_type.serves(&self.appliance_info) {
            return None;
        }
        let (mut power, mut refusal) = (None, None);
        for (name, value) in variables {
            match appliance_info::Event::decode(name, value) {
                Ok(Some(appliance_info::Event::Power(watts))) => power = Some(watts),
                Ok(Some(appliance_info::Event::LastRefusal(told))) => {
                    refusal = Some(told.map(|told| told.to_string()).unwrap_or_default());
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(%udn, %error, "event not understood"),
            }
        }
        if power.is_none() && refusal.is_none() { None } else { Some(Input::InfoTold { udn, power, refusal }) }
    }

    /// Carries out an order. One that cannot be sent at all is answered at once.
    pub fn call(&mut self, tag: CallTag, udn: &Udn, order: Order, now: BootTime) -> Option<Input> {
        let address = self.control_point.local_address_toward(udn).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let (service, action, arguments) = self.request(order, address.into());
        match self.control_point.call(udn, &service, action, arguments, now) {
            Ok(call) => {
                self.calls.insert(call, (tag, order));
                None
            }
            Err(error) => Some(Input::Answered { call: tag, result: Err(failure(error)) }),
        }
    }

    fn request(&self, order: Order, address: CallerAddress) -> (TypeUrn, &'static str, Vec<(String, String)>) {
        use power_management as pm;
        let uuid = self.us.clone();
        let (action, arguments) = match order {
            Order::GetApplianceInfo => {
                let request = appliance_info::GetApplianceInfo {};
                return (self.appliance_info.clone(), appliance_info::GetApplianceInfo::NAME, request.arguments());
            }
            Order::GetPowerState => parts(&pm::GetPowerState { uuid, address }),
            Order::WakeUpMethod => parts(&pm::WakeUpMethod { uuid, address }),
            Order::OperationOn => parts(&pm::OperationOn { uuid, address }),
            Order::OperationOff => parts(&pm::OperationOff { uuid, address }),
            Order::GoToStandby => parts(&pm::GoToStandby { uuid, address }),
            Order::StandbyPeriod(w) => {
                parts(&pm::StandbyPeriod { uuid, address, start_time: w.start(), stop_time: w.end() })
            }
            Order::Withdraw(reg_id) => parts(&pm::Withdraw { uuid, address, reg_id }),
        };
        (self.power_management.clone(), action, arguments)
    }
}

fn parts<A: Action>(request: &A) -> (&'static str, Vec<(String, String)>) {
    (A::NAME, request.arguments())
}

/// What came back of an order, by its service's declaration.
fn answer(order: Order, arguments: &[(String, String)]) -> Result<Answer, CallFailure> {
    use power_management as pm;
    fn decode<R: Reply>(arguments: &[(String, String)]) -> Result<R, CallFailure> {
        R::decode(arguments).map_err(|error| CallFailure::Unusable(format!("its answer is not understood: {error}")))
    }
    Ok(match order {
        Order::GetPowerState => Answer::PowerState(decode::<pm::GetPowerStateReply>(arguments)?.power_state),
        Order::WakeUpMethod => Answer::WakeMethod(decode::<pm::WakeUpMethodReply>(arguments)?.wake_method),
        Order::GetApplianceInfo => {
            let info: appliance_info::GetApplianceInfoReply = decode(arguments)?;
            Answer::Info {
                facts: Facts {
                    rated_power: info.rated_power,
                    importance: info.importance,
                    flexibility: info.flexibility,
                    minimum_on_s: info.minimum_on_time_s,
                    minimum_off_s: info.minimum_off_time_s,
                },
                mac: info.mac_address,
                wake_method: Some(info.wake_method),
            }
        }
        // A RegID that says nothing does not undo the command; only a standby period needs it, to be withdrawn.
        Order::OperationOn => Answer::Obeyed(decode::<pm::OperationOnReply>(arguments).ok().map(|r| r.reg_id)),
        Order::OperationOff => Answer::Obeyed(decode::<pm::OperationOffReply>(arguments).ok().map(|r| r.reg_id)),
        Order::GoToStandby => Answer::Obeyed(decode::<pm::GoToStandbyReply>(arguments).ok().map(|r| r.reg_id)),
        Order::StandbyPeriod(_) => Answer::Obeyed(Some(decode::<pm::StandbyPeriodReply>(arguments)?.reg_id)),
        Order::Withdraw(_) => Answer::Obeyed(None),
    })
}

/// Whether another try may help, and what to tell people.
fn failure(error: CallError) -> CallFailure {
    match error {
        CallError::Fault(fault) => CallFailure::Fault { code: fault.code.0, reason: fault.description },
        // It may be back any moment; whether to go on is for the command's deadline to say.
        CallError::UnknownDevice => CallFailure::NoAnswer("it is not on the network".into()),
        error if error.is_retryable() => CallFailure::NoAnswer(error.to_string()),
        error => CallFailure::Unusable(error.to_string()),
    }
}
