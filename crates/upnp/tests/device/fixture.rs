//! A device with three services, and the wire around it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use upnp::Effect;
use upnp::device::{ActionCall, DeviceConfig, Handled, RootDevice};
use upnp::ids::{TypeUrn, Udn};
use upnp::net::{
    Datagram, HttpAnswer, HttpError, HttpRequest, IncomingRequest, Interface, InterfaceAddress, InterfaceId,
};
use upnp::service::{ActionDecl, Allowed, ArgumentDecl, DataType, Direction, Eventing, ServiceDecl, VariableDecl};
use upnp::time::BootTime;

const fn variable(name: &'static str, data_type: DataType, eventing: Eventing, allowed: Allowed) -> VariableDecl {
    VariableDecl { name, data_type, eventing, allowed, max_rate: None }
}

const fn input(name: &'static str, variable: &'static str) -> ArgumentDecl {
    ArgumentDecl { name, direction: Direction::In, variable }
}

const fn output(name: &'static str, variable: &'static str) -> ArgumentDecl {
    ArgumentDecl { name, direction: Direction::Out, variable }
}

/// Evented, moderated and multicast variables, and an argument of every type.
pub(crate) static POWER: ServiceDecl = ServiceDecl {
    service_type: "urn:heg-energy-org:service:PowerManagement:1",
    service_id: "urn:heg-energy-org:serviceId:PowerManagement",
    variables: &[
        variable("PowerState", DataType::String, Eventing::Multicast, Allowed::List(&["OFF", "ON", "Standby"])),
        variable("LastRefusal", DataType::String, Eventing::Unicast, Allowed::Any),
        VariableDecl {
            name: "Power",
            data_type: DataType::Ui4,
            eventing: Eventing::Unicast,
            allowed: Allowed::Any,
            max_rate: Some(Duration::from_secs(5)),
        },
        variable("RegID", DataType::Ui4, Eventing::No, Allowed::Any),
        variable("A_ARG_TYPE_Text", DataType::String, Eventing::No, Allowed::Any),
        variable("A_ARG_TYPE_Time", DataType::Time, Eventing::No, Allowed::Any),
        variable("A_ARG_TYPE_Flag", DataType::Boolean, Eventing::No, Allowed::Any),
        variable("A_ARG_TYPE_Level", DataType::I4, Eventing::No, Allowed::Range(-10, 10, 5)),
    ],
    actions: &[
        ActionDecl {
            name: "GetPowerState",
            arguments: &[
                input("UUID", "A_ARG_TYPE_Text"),
                input("Address", "A_ARG_TYPE_Text"),
                output("PowerState", "PowerState"),
                output("RegID", "RegID"),
            ],
        },
        ActionDecl {
            name: "Everything",
            arguments: &[
                input("Text", "A_ARG_TYPE_Text"),
                input("State", "PowerState"),
                input("Count", "RegID"),
                input("Level", "A_ARG_TYPE_Level"),
                input("Flag", "A_ARG_TYPE_Flag"),
                input("At", "A_ARG_TYPE_Time"),
            ],
        },
        ActionDecl { name: "Nothing", arguments: &[] },
    ],
};

/// Version 2, nothing evented.
pub(crate) static QUIET: ServiceDecl = ServiceDecl {
    service_type: "urn:schemas-upnp-org:service:Quiet:2",
    service_id: "urn:upnp-org:serviceId:Quiet",
    variables: &[variable("A_ARG_TYPE_Text", DataType::String, Eventing::No, Allowed::Any)],
    actions: &[ActionDecl {
        name: "Echo",
        arguments: &[input("In", "A_ARG_TYPE_Text"), output("Out", "A_ARG_TYPE_Text")],
    }],
};

/// One evented variable.
pub(crate) static LAMP: ServiceDecl = ServiceDecl {
    service_type: "urn:schemas-upnp-org:service:SwitchPower:1",
    service_id: "urn:upnp-org:serviceId:SwitchPower",
    variables: &[variable("Status", DataType::Boolean, Eventing::Unicast, Allowed::Any)],
    actions: &[],
};

pub(crate) const DEVICE: &str = "192.0.2.1:49200";
pub(crate) const PEER: &str = "192.0.2.7:40000";
pub(crate) const SERVER: &str = "Linux/6.12 UPnP/1.1 psm-agent/0.1.0";
pub(crate) const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";

pub(crate) fn at(seconds: u64) -> BootTime {
    BootTime::ZERO + Duration::from_secs(seconds)
}

pub(crate) fn config() -> DeviceConfig {
    DeviceConfig {
        udn: Udn::parse("uuid:4d696e69-444c-4e80-9d41-b827eb54e939").unwrap(),
        device_type: TypeUrn::parse("urn:heg-energy-org:device:ManagedAppliance:1").unwrap(),
        friendly_name: "Washing <machine> & \"dryer\"".to_owned(),
        manufacturer: "HEG".to_owned(),
        manufacturer_url: String::new(),
        model_name: "psm-agent".to_owned(),
        model_description: "Appliance with power state monitoring".to_owned(),
        model_number: "0.1.0".to_owned(),
        services: vec![&POWER, &QUIET, &LAMP],
        server: SERVER.to_owned(),
        http_port: 49200,
        boot_id: 7,
        max_age: Duration::from_secs(1800),
        host_names: vec!["washer.home.arpa".to_owned()],
        seed: 42,
    }
}

pub(crate) fn eth0() -> Interface {
    let address = |a: &str, prefix_len| InterfaceAddress { address: a.parse().unwrap(), prefix_len };
    Interface {
        id: InterfaceId(2),
        name: "eth0".to_owned(),
        addresses: vec![address("192.0.2.1", 24), address("fe80::1", 64)],
    }
}

/// A device at `DEVICE`, and the time it is there.
pub(crate) struct Wire {
    pub(crate) device: RootDevice,
    pub(crate) now: BootTime,
}

impl Wire {
    pub(crate) fn new() -> Self {
        Self { device: RootDevice::new(config(), BootTime::ZERO), now: BootTime::ZERO }
    }

    /// A request as its bytes, from `PEER`.
    pub(crate) fn send(&mut self, raw: &str) -> Handled {
        self.send_from(PEER, DEVICE, raw)
    }

    pub(crate) fn send_from(&mut self, peer: &str, local: &str, raw: &str) -> Handled {
        let peer = peer.parse().unwrap();
        let incoming = IncomingRequest { peer, local: local.parse().unwrap(), request: parse(raw.as_bytes()) };
        self.device.handle_request(&incoming, self.now)
    }

    /// The response to a request that is answered without the caller's help, an unknown path included.
    pub(crate) fn answer(&mut self, raw: &str) -> Response<Bytes> {
        answered(self.send(raw))
    }

    pub(crate) fn status(&mut self, raw: &str) -> u16 {
        self.answer(raw).status().as_u16()
    }

    /// An action call that is let through.
    pub(crate) fn call(&mut self, raw: &str) -> ActionCall {
        match self.send(raw) {
            Handled::Action(call) => call,
            other => panic!("not let through: {other:?}"),
        }
    }

    /// Subscribes to `/NAME/event` and gives the SID.
    pub(crate) fn subscribe(&mut self, path: &str, peer: &str, callback: &str) -> String {
        let raw = request("SUBSCRIBE", path, &["NT: upnp:event", &format!("CALLBACK: {callback}")], "");
        let response = answered(self.send_from(peer, DEVICE, &raw));
        assert_eq!(response.status(), 200);
        response.headers()["sid"].to_str().unwrap().to_owned()
    }

    /// All NOTIFYs that are to go out now.
    pub(crate) fn notifies(&mut self) -> Vec<HttpRequest> {
        self.effects().into_iter().filter_map(|e| if let Effect::Request(r) = e { Some(r) } else { None }).collect()
    }

    /// The one NOTIFY that is to go out now.
    pub(crate) fn notify(&mut self) -> HttpRequest {
        let mut all = self.notifies();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.device.poll_effect()).collect()
    }

    /// The subscriber's answer to a NOTIFY.
    pub(crate) fn answered(&mut self, notify: &HttpRequest, status: u16) {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        self.device.handle_answer(HttpAnswer { id: notify.id, result: Ok(response) }, self.now);
    }

    pub(crate) fn failed(&mut self, notify: &HttpRequest, error: HttpError) {
        self.device.handle_answer(HttpAnswer { id: notify.id, result: Err(error) }, self.now);
    }

    pub(crate) fn set(&mut self, service: &'static ServiceDecl, name: &'static str, value: &str) {
        self.device.set_variables(service, &[(name, value.to_owned())], self.now);
    }

    /// Goes to `now` by way of every time the device wants to be woken.
    pub(crate) fn until(&mut self, now: BootTime) {
        while let Some(due) = self.device.poll_timeout().filter(|due| *due <= now) {
            self.now = self.now.max(due);
            self.device.handle_timeout(self.now);
        }
        self.now = now;
    }

    pub(crate) fn datagram(&mut self, datagram: &Datagram) {
        self.device.handle_datagram(datagram, self.now);
    }
}

pub(crate) fn answered(handled: Handled) -> Response<Bytes> {
    match handled {
        Handled::Response(response) => response,
        Handled::NotMine => upnp::device::not_found(),
        Handled::Action(_) => panic!("an action call was let through"),
        Handled::Presentation => panic!("the presentation page was let through"),
    }
}

/// Request line, Host and Content-Length, then `headers`.
pub(crate) fn request(method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let mut raw = format!("{method} {path} HTTP/1.1\r\nHOST: {DEVICE}\r\nCONTENT-LENGTH: {}\r\n", body.len());
    for header in headers {
        raw.push_str(header);
        raw.push_str("\r\n");
    }
    raw + "\r\n" + body
}

/// An envelope around the contents of its Body.
pub(crate) fn envelope(inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"{ENVELOPE}\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>{inner}</s:Body></s:Envelope>"
    )
}

/// A well-formed call of an action of `POWER`; `arguments` as XML.
pub(crate) fn power_call(action: &str, arguments: &str) -> String {
    let body = envelope(&format!("<u:{action} xmlns:u=\"{}\">{arguments}</u:{action}>", POWER.service_type));
    let action = format!("SOAPACTION: \"{}#{action}\"", POWER.service_type);
    request("POST", "/PowerManagement/control", &["CONTENT-TYPE: text/xml; charset=\"utf-8\"", &action], &body)
}

fn parse(raw: &[u8]) -> Request<Bytes> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(raw).unwrap() else { panic!("incomplete head") };
    let mut request = Request::new(Bytes::copy_from_slice(&raw[length..]));
    *request.method_mut() = Method::from_bytes(head.method.unwrap().as_bytes()).unwrap();
    *request.uri_mut() = head.path.unwrap().parse().unwrap();
    *request.version_mut() = if head.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    for header in head.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_bytes(header.value).unwrap());
    }
    request
}

/// A response as an HTTP/1.1 server writes it, header names in capitals, in the order they were set.
pub(crate) fn bytes_of(response: &Response<Bytes>) -> String {
    let status = response.status();
    let mut out = format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
    for (name, value) in response.headers() {
        out += &format!("{}: {}\r\n", name.as_str().to_uppercase(), value.to_str().unwrap());
    }
    out + "\r\n" + std::str::from_utf8(response.body()).unwrap()
}

/// The `errorCode` of a fault, zero for anything else.
pub(crate) fn error_code(response: &Response<Bytes>) -> u16 {
    let root = upnp::xml::parse(response.body(), upnp::xml::Caps::SOAP_STRICT);
    root.ok().and_then(|r| r.find("errorCode")?.text().parse().ok()).unwrap_or(0)
}

/// The variables of a NOTIFY.
pub(crate) fn variables(notify: &HttpRequest) -> Vec<(String, String)> {
    upnp::gena::propertyset::parse(notify.request.body()).unwrap()
}

pub(crate) fn seq(notify: &HttpRequest) -> u32 {
    notify.request.headers()["seq"].to_str().unwrap().parse().unwrap()
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
