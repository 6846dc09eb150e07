//! Actions (UDA 1.1, 3): calls wait their turn per device, have a deadline, and their answers are judged.

use bytes::Bytes;
use http::Response;

use super::{ControlPoint, ControlPointEvent, Flight, Stage, with_causes};
use crate::error::UpnpError;
use crate::ids::{TypeUrn, Udn};
use crate::limits::{CALL_WITHIN, CALLS_IN_FLIGHT_MAX, CALLS_MAX, CALLS_PER_DEVICE_MAX, XML_SOAP_BYTES_MAX};
use crate::net::HttpError;
use crate::request::request;
use crate::soap::{self, SoapError};
use crate::time::BootTime;

/// Names a call; never used twice by one control point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No such device, or it went away before the call was sent.
    #[error("the device is not known")]
    UnknownDevice,
    /// The device has no such service.
    #[error("the device has no such service")]
    NoSuchService,
    /// No HTTP answer. Whether the action ran is not known, save for [`HttpError::Connect`] and [`HttpError::Busy`].
    #[error(transparent)]
    Http(#[from] HttpError),
    /// An HTTP status other than success, without a SOAP fault.
    #[error("the device answered with status {0}")]
    Status(u16),
    /// The device refused, whatever the HTTP status.
    #[error(transparent)]
    Fault(#[from] UpnpError),
    /// The answer is no SOAP.
    #[error("the answer is not understood: {0}")]
    Malformed(String),
    /// Too many calls wait already, or the control point is stopping.
    #[error("too many calls wait already")]
    Busy,
}

impl CallError {
    /// Whether the same call may go better a while later. What the device decided or cannot do is final.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Http(HttpError::TooLarge) => false,
            Self::Http(_) | Self::Busy => true,
            Self::Status(status) => matches!(status, 408 | 429 | 502..=504),
            Self::UnknownDevice | Self::NoSuchService | Self::Fault(_) | Self::Malformed(_) => false,
        }
    }
}

/// A call that waits to be sent.
#[derive(Debug)]
pub(super) struct QueuedCall {
    pub(super) id: CallId,
    service_type: TypeUrn,
    action: Box<str>,
    arguments: Vec<(String, String)>,
    deadline: BootTime,
}

impl ControlPoint {
    /// Calls an action; the result comes as [`ControlPointEvent::CallDone`] within [`CALL_WITHIN`]. Calls to one device are sent
    /// one after the other, in this order. Arguments are the IN arguments in the order of the service's SCPD.
    pub fn call(
        &mut self,
        udn: &Udn,
        service_type: &TypeUrn,
        action: &str,
        arguments: Vec<(String, String)>,
        now: BootTime,
    ) -> Result<CallId, CallError> {
        let device = self.devices.get_mut(udn).ok_or(CallError::UnknownDevice)?;
        let known = device.known.as_ref().ok_or(CallError::UnknownDevice)?;
        known.service(service_type).ok_or(CallError::NoSuchService)?;
        if self.stopping || self.queued_calls >= CALLS_MAX || device.calls.len() >= CALLS_PER_DEVICE_MAX {
            return Err(CallError::Busy);
        }
        let id = CallId(self.next_call);
        self.next_call += 1;
        self.queued_calls += 1;
        device.calls.push_back(QueuedCall {
            id,
            service_type: service_type.clone(),
            action: action.into(),
            arguments,
            deadline: now + CALL_WITHIN,
        });
        self.pump(now);
        Ok(id)
    }

    /// Sends calls whose turn it is while there are slots, oldest first; ends those whose time is over.
    pub(super) fn pump_calls(&mut self, now: BootTime) {
        if self.queued_calls == 0 {
            return;
        }
        let mut turns = Vec::new();
        for (udn, device) in &mut self.devices {
            while let Some(call) = device.calls.pop_front_if(|c| c.deadline <= now) {
                self.queued_calls -= 1;
                let result = Err(HttpError::Timeout.into());
                self.events.push_back(ControlPointEvent::CallDone { call: call.id, udn: udn.clone(), result });
            }
            if let Some(call) = device.calls.front().filter(|_| !device.call_in_flight && device.stage == Stage::Ready)
            {
                turns.push((device.unreachable, call.id, udn.clone()));
            }
        }
        turns.sort_unstable();
        for (unreachable, _, udn) in turns {
            let limit = if unreachable { CALLS_IN_FLIGHT_MAX / 2 } else { CALLS_IN_FLIGHT_MAX };
            if self.slots.calls >= limit {
                return;
            }
            self.send_call(udn, now);
        }
    }

    fn send_call(&mut self, udn: Udn, now: BootTime) {
        let Some(device) = self.devices.get_mut(&udn) else {
            return;
        };
        let Some(known) = device.known.clone() else {
            return;
        };
        let Some(call) = device.calls.pop_front() else {
            return;
        };
        self.queued_calls -= 1;
        // The description may be another one since the call was made.
        let Some(service) = known.service(&call.service_type) else {
            let result = Err(CallError::NoSuchService);
            self.events.push_back(ControlPointEvent::CallDone { call: call.id, udn, result });
            return;
        };
        device.call_in_flight = true;
        self.slots.calls += 1;
        // The device's own version of the type: some devices know no other, though UDA says they must.
        let service_type = service.service_type.to_string();
        let body = soap::write_request(&service_type, &call.action, &call.arguments);
        let headers = [
            ("USER-AGENT", self.cfg.user_agent.as_str()),
            ("CONTENT-TYPE", "text/xml; charset=\"utf-8\""),
            ("SOAPACTION", &format!("\"{service_type}#{}\"", call.action)),
        ];
        let request = request("POST", &service.control_url, &headers, body);
        let flight = Flight::Call { udn, epoch: device.epoch, call: call.id, action: call.action };
        let within = call.deadline.since(now);
        self.send(flight, &service.control_url, request, within, XML_SOAP_BYTES_MAX);
    }

    /// When the next waiting call has waited too long.
    pub(super) fn calls_due(&self) -> Option<BootTime> {
        if self.queued_calls == 0 {
            return None;
        }
        self.devices.values().filter_map(|d| d.calls.front()).map(|c| c.deadline).min()
    }

    /// The answer to a call.
    pub(super) fn call_answered(
        &mut self,
        udn: Udn,
        epoch: u32,
        call: CallId,
        action: &str,
        answer: Result<Response<Bytes>, HttpError>,
        now: BootTime,
    ) {
        self.slots.calls -= 1;
        if let Some(device) = self.devices.get_mut(&udn).filter(|d| d.epoch == epoch) {
            device.call_in_flight = false;
        }
        let result = answer.map_err(CallError::from).and_then(|response| judge(&response, action));
        if matches!(result, Err(CallError::Status(404 | 410))) {
            self.doubt_description(&udn, now);
        }
        self.events.push_back(ControlPointEvent::CallDone { call, udn, result });
    }
}

/// The body first, the status after: faults come with status 500, but also with 200 and with 4xx.
fn judge(response: &Response<Bytes>, action: &str) -> Result<Vec<(String, String)>, CallError> {
    soap::parse_response(response.status(), response.body(), action).map_err(|error| match error {
        SoapError::Fault(fault) => CallError::Fault(fault),
        SoapError::Status(status) => CallError::Status(status),
        error => CallError::Malformed(with_causes(&error)),
    })
}
