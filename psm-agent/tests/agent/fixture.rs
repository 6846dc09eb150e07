//! The agent with a disk, a subscriber and a clock that goes on as it is told.

use std::time::Duration;

use bytes::Bytes;
use energy_model::PowerState;
use energy_services::{low_power_device, power_management};
use http::{Response, StatusCode};
use jiff::tz::TimeZone;
use psm_agent::agent::{Agent, Effect, RequestNumber, Wake};
use psm_agent::commands::{Circumstances, CommandId};
use psm_agent::config::Config;
use psm_agent::device::Identity;
use psm_agent::safety::{Order, Supply};
use psm_agent::schedule::Wall;
use psm_agent::state::{Fact, Observation, Operation, Source};
use psm_agent::store::Saved;
use upnp::net::{HttpAnswer, HttpRequest, IncomingRequest, Interface, InterfaceAddress, InterfaceId};
use upnp::soap::{self, SoapError};
use upnp::time::BootTime;

pub(crate) const GATEWAY: &str = "0d4ee4b2-8d1f-4d9b-9c34-1a2b3c4d5e6f";
pub(crate) const OTHER: &str = "11111111-2222-4333-8444-555555555555";
pub(crate) const NOON: &str = "2026-06-01T12:00:00Z";

pub(crate) struct Fixture {
    pub(crate) agent: Agent,
    pub(crate) now: BootTime,
    next: u64,
    pub(crate) disk_full: bool,
    /// All effects but those to the network, in order.
    pub(crate) seen: Vec<Effect>,
    notifies: Vec<HttpRequest>,
}

pub(crate) fn config(text: &str) -> Config {
    daemon_kit::config::parse(text, std::path::Path::new("test.toml")).unwrap()
}

impl Fixture {
    pub(crate) fn new(text: &str) -> Self {
        Self::with(text, Saved::default(), Operation::Off, NOON)
    }

    pub(crate) fn with(text: &str, saved: Saved, operation: Operation, wall: &str) -> Self {
        let identity = Identity {
            uuid: "9a8b7c6d-0000-4000-8000-000000000001".into(),
            boot_id: 7,
            http_port: 49200,
            host_name: "pump".into(),
            system: "Linux/6.1".into(),
            seed: 1,
        };
        let now = BootTime::from_duration(Duration::from_secs(1000));
        let wall = Wall { at: wall.parse().unwrap(), zone: TimeZone::UTC };
        let agent = Agent::new(&config(text), &identity, saved, operation, wall, now).unwrap();
        let mut f = Self { agent, now, next: 0, disk_full: false, seen: vec![], notifies: vec![] };
        f.agent.handle_wake(Wake { alarm: true, ..Wake::default() });
        let addresses = vec![InterfaceAddress { address: [192, 0, 2, 7].into(), prefix_len: 24 }];
        f.agent.handle_interfaces(&[Interface { id: InterfaceId(2), name: "eth0".into(), addresses }], now);
        f.pump();
        f.seen.clear();
        f
    }

    pub(crate) fn pump(&mut self) {
        while let Some(effect) = self.agent.poll_effect() {
            match effect {
                Effect::Net(upnp::Effect::Request(request)) if request.request.method() == "NOTIFY" => {
                    self.notifies.push(request);
                }
                Effect::Net(_) | Effect::Read | Effect::LookAtLinks | Effect::Look => {}
                Effect::Store => {
                    self.seen.push(Effect::Store);
                    let result = if self.disk_full { Err("no space left on device") } else { Ok(()) };
                    self.agent.handle_stored(result, self.now);
                }
                effect => self.seen.push(effect),
            }
        }
    }

    pub(crate) fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> RequestNumber {
        let mut request = http::Request::builder().method(method).uri(path).header("HOST", "192.0.2.7:49200");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let number = RequestNumber(self.next);
        self.next += 1;
        let request = IncomingRequest {
            peer: "192.0.2.1:40000".parse().unwrap(),
            local: "192.0.2.7:49200".parse().unwrap(),
            request: request.body(body).unwrap(),
        };
        self.agent.handle_request(&request, number, self.now);
        self.pump();
        number
    }

    pub(crate) fn call(&mut self, caller: &str, action: &str, further: &[(&str, &str)]) -> RequestNumber {
        let arguments = [&[("UUID", caller), ("Address", "192.0.2.1")], further].concat();
        self.call_to("/PowerManagement/control", power_management::DECLARATION.service_type, action, &arguments)
    }

    /// GoToSleep of LowPowerDevice:1.
    pub(crate) fn go_to_sleep(&mut self, seconds: &str) -> RequestNumber {
        let arguments = [("RecommendedSleepPeriod", seconds), ("RecommendedPowerState", "4")];
        let service = low_power_device::DECLARATION.service_type;
        self.call_to("/LowPowerDevice/control", service, "GoToSleep", &arguments)
    }

    fn call_to(&mut self, path: &str, service: &str, action: &str, arguments: &[(&str, &str)]) -> RequestNumber {
        let owned = arguments.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let arguments: Vec<_> = owned.collect();
        let soap_action = format!("\"{service}#{action}\"");
        let headers = [("SOAPACTION", soap_action.as_str()), ("CONTENT-TYPE", "text/xml; charset=\"utf-8\"")];
        self.request("POST", path, &headers, soap::write_request(service, action, &arguments))
    }

    pub(crate) fn response(&mut self, number: RequestNumber) -> Option<Response<Bytes>> {
        let place = self.seen.iter().position(|e| matches!(e, Effect::Answer(n, _) if *n == number))?;
        match self.seen.remove(place) {
            Effect::Answer(_, response) => Some(response),
            _ => None,
        }
    }

    /// The answer to a call, if it is there.
    pub(crate) fn answer(
        &mut self,
        number: RequestNumber,
        action: &str,
    ) -> Option<Result<Vec<(String, String)>, SoapError>> {
        self.response(number).map(|r| soap::parse_response(r.status(), r.body(), action))
    }

    pub(crate) fn reg_id(&mut self, number: RequestNumber, action: &str) -> String {
        let out = self.answer(number, action).expect("an answer").expect("a success");
        out.into_iter().find(|(name, _)| name == "RegID").expect("a RegID").1
    }

    pub(crate) fn refusal(&mut self, number: RequestNumber, action: &str) -> (u16, String) {
        match self.answer(number, action) {
            Some(Err(SoapError::Fault(fault))) => (fault.code.0, fault.description),
            other => panic!("expected a refusal: {other:?}"),
        }
    }

    pub(crate) fn gathered(&mut self) -> (CommandId, Order) {
        let place = self.seen.iter().position(|e| matches!(e, Effect::Gather(..))).expect("facts are asked for");
        match self.seen.remove(place) {
            Effect::Gather(id, order) => (id, order),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn circumstances(&mut self, id: CommandId, circumstances: Circumstances) {
        self.agent.handle_circumstances(id, circumstances, self.now);
        self.pump();
    }

    pub(crate) fn fact(&mut self, what: Observation) {
        self.agent.handle_fact(Fact::new(self.now, Source::Logind, what), self.now);
        self.pump();
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.agent.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.agent.handle_timeout(self.now);
            self.pump();
        }
        self.now = end;
    }

    pub(crate) fn has(&self, wanted: impl Fn(&Effect) -> bool) -> bool {
        self.seen.iter().any(wanted)
    }

    pub(crate) fn lets_go(&self) -> bool {
        self.has(|e| matches!(e, Effect::ReleaseDelayLock))
    }

    pub(crate) fn state(&self) -> PowerState {
        self.agent.status().power_state
    }

    /// Subscribes and answers the initial event; from then on NOTIFYs wait in `notifies`.
    pub(crate) fn subscribe(&mut self) {
        self.subscribe_to("/PowerManagement/event");
    }

    pub(crate) fn subscribe_to(&mut self, path: &str) {
        let headers = [("CALLBACK", "<http://192.0.2.1:5000/x>"), ("NT", "upnp:event"), ("TIMEOUT", "Second-1800")];
        let number = self.request("SUBSCRIBE", path, &headers, Bytes::new());
        assert_eq!(self.response(number).map(|r| r.status()), Some(StatusCode::OK));
        self.deliver();
        self.seen.clear();
    }

    /// Answers every NOTIFY that is out; their bodies.
    pub(crate) fn deliver(&mut self) -> Vec<String> {
        let mut bodies = Vec::new();
        while !self.notifies.is_empty() {
            for request in std::mem::take(&mut self.notifies) {
                bodies.push(String::from_utf8(request.request.body().to_vec()).unwrap());
                let result = Ok(Response::new(Bytes::new()));
                self.agent.handle_answer(HttpAnswer { id: request.id, result }, self.now);
            }
            self.pump();
        }
        bodies
    }
}

pub(crate) fn quiet() -> Circumstances {
    Circumstances {
        inhibitors: Ok(vec![]),
        sessions: Ok(vec![]),
        busy: Ok(vec![]),
        possible: Ok("yes".into()),
        supply: Supply::default(),
    }
}
