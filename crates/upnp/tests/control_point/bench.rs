//! A control point on a bench: the test plays its driver and every device around it.
#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use upnp::Effect;
use upnp::control_point::{ControlPoint, ControlPointConfig, ControlPointEvent};
use upnp::gena::propertyset;
use upnp::ids::{TypeUrn, Udn};
use upnp::net::{
    Channel, Datagram, HttpAnswer, HttpError, HttpRequest, IncomingRequest, Interface, InterfaceAddress, InterfaceId,
    Transmit,
};
use upnp::ssdp::Target;
use upnp::time::BootTime;
use upnp::url::HttpUrl;

pub(crate) const CALLBACK_PORT: u16 = 50_000;
pub(crate) const SWITCH: &str = "urn:schemas-upnp-org:service:SwitchPower:1";
pub(crate) const DIMMING: &str = "urn:schemas-upnp-org:service:Dimming:1";

pub(crate) fn urn(s: &str) -> TypeUrn {
    TypeUrn::parse(s).unwrap()
}

pub(crate) fn udn(n: u32) -> Udn {
    Udn::parse(&format!("uuid:light-{n}")).unwrap()
}

pub(crate) fn config() -> ControlPointConfig {
    ControlPointConfig {
        targets: vec![Target::RootDevice],
        subscribe: vec![urn(SWITCH)],
        user_agent: "Linux/6.1 UPnP/1.1 test/1".into(),
        callback_port: CALLBACK_PORT,
        mx: 2,
        search_every: Duration::from_secs(900),
        static_devices: Vec::new(),
        seed: 7,
    }
}

/// The bench at 10.88.0.254/16; light N is at 10.88.(N / 200).(N % 200 + 1).
pub(crate) struct Bench {
    pub(crate) cp: ControlPoint,
    pub(crate) now: BootTime,
    pub(crate) events: Vec<ControlPointEvent>,
    /// Not answered yet, oldest first.
    pub(crate) requests: Vec<HttpRequest>,
    pub(crate) searches: Vec<Transmit>,
}

pub(crate) fn ip(n: u32) -> [u8; 4] {
    [10, 88, (n / 200) as u8, (n % 200 + 1) as u8]
}

pub(crate) fn address(n: u32) -> SocketAddr {
    (ip(n), 8080).into()
}

pub(crate) fn eth0(own: [u8; 4]) -> Interface {
    let addresses = vec![InterfaceAddress { address: own.into(), prefix_len: 16 }];
    Interface { id: InterfaceId(2), name: "eth0".into(), addresses }
}

/// An announcement as a decent device sends it, with headers to replace (`BOOTID.UPNP.ORG: 5`) or drop (`BOOTID.UPNP.ORG`).
pub(crate) fn alive(n: u32, changes: &[&str]) -> String {
    let mut lines: Vec<String> = vec![
        "HOST: 239.255.255.250:1900".into(),
        "CACHE-CONTROL: max-age=1800".into(),
        format!("LOCATION: http://{}/desc.xml", address(n)),
        "NT: upnp:rootdevice".into(),
        "NTS: ssdp:alive".into(),
        "SERVER: Linux/6.1 UPnP/1.1 light/1".into(),
        format!("USN: {}::upnp:rootdevice", udn(n)),
        "BOOTID.UPNP.ORG: 1".into(),
        "CONFIGID.UPNP.ORG: 1".into(),
    ];
    for change in changes {
        let name = change.split(':').next().unwrap();
        lines.retain(|line| line.split(':').next() != Some(name));
        if change.contains(':') {
            lines.push((*change).to_owned());
        }
    }
    format!("NOTIFY * HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"))
}

pub(crate) fn byebye(n: u32) -> String {
    format!(
        "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: upnp:rootdevice\r\nNTS: ssdp:byebye\r\nUSN: {}::upnp:rootdevice\r\n\r\n",
        udn(n)
    )
}

/// A description with SwitchPower and Dimming.
pub(crate) fn description(n: u32) -> String {
    description_of(&udn(n), "")
}

pub(crate) fn description_of(udn: &Udn, more: &str) -> String {
    let service = |urn: &str, name: &str| {
        format!(
            "<service><serviceType>{urn}</serviceType><serviceId>urn:upnp-org:serviceId:{name}</serviceId>\
             <SCPDURL>/{name}/scpd.xml</SCPDURL><controlURL>/{name}/control</controlURL>\
             <eventSubURL>/{name}/event</eventSubURL></service>"
        )
    };
    format!(
        "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\">{more}<device>\
         <deviceType>urn:schemas-upnp-org:device:BinaryLight:1</deviceType><friendlyName>Lamp</friendlyName>\
         <manufacturer>Maker</manufacturer><modelName>Bulb</modelName><UDN>{udn}</UDN><serviceList>{}{}</serviceList>\
         </device></root>",
        service(SWITCH, "switch"),
        service(DIMMING, "dim"),
    )
}

pub(crate) fn ok(body: impl Into<Bytes>) -> Response<Bytes> {
    Response::new(body.into())
}

pub(crate) fn status(status: u16) -> Response<Bytes> {
    Response::builder().status(status).body(Bytes::new()).unwrap()
}

pub(crate) fn granted(sid: &str, timeout: &str) -> Response<Bytes> {
    Response::builder().header("SID", sid).header("TIMEOUT", timeout).body(Bytes::new()).unwrap()
}

pub(crate) fn property(name: &str, value: &str) -> Bytes {
    propertyset::write(&[(name, value)])
}

/// The path of the callback URL in a SUBSCRIBE.
pub(crate) fn callback_of(request: &HttpRequest) -> String {
    let callback = request.request.headers()["callback"].to_str().unwrap();
    let url = HttpUrl::parse(callback.trim_matches(['<', '>'])).unwrap();
    assert_eq!(url.address().port(), CALLBACK_PORT);
    url.path().to_owned()
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: ControlPointConfig) -> Self {
        let now = BootTime::from_duration(Duration::from_secs(1000));
        let mut bench = Self {
            cp: ControlPoint::new(config, now),
            now,
            events: Vec::new(),
            requests: Vec::new(),
            searches: Vec::new(),
        };
        bench.cp.handle_interfaces(&[eth0([10, 88, 0, 254])], now);
        bench.drain();
        bench
    }

    /// With light 1 read, subscribed as `uuid:s1` at `callback()`, its first event taken.
    pub(crate) fn with_light() -> (Self, String) {
        let mut bench = Self::new();
        bench.hear(1, &alive(1, &[]));
        bench.serve_description(1);
        let subscribe = bench.take("SUBSCRIBE");
        let callback = callback_of(&subscribe);
        bench.answer(&subscribe, granted("uuid:s1", "Second-1800"));
        assert_eq!(bench.notify(&callback, "uuid:s1", 0, property("Status", "0")), 200);
        bench.events.clear();
        (bench, callback)
    }

    pub(crate) fn drain(&mut self) {
        while let Some(effect) = self.cp.poll_effect() {
            match effect {
                Effect::Send(transmit) => self.searches.push(transmit),
                Effect::Request(request) => self.requests.push(request),
                Effect::KeepConnected(peers) => panic!("a control point publishes nothing: {peers:?}"),
            }
        }
        while let Some(event) = self.cp.poll_event() {
            self.events.push(event);
        }
    }

    /// Lets time pass, waking the control point whenever it wants.
    pub(crate) fn advance(&mut self, time: Duration) {
        let until = self.now + time;
        let mut wakeups = 0;
        while let Some(due) = self.cp.poll_timeout().filter(|due| *due <= until) {
            wakeups = if due > self.now { 0 } else { wakeups + 1 };
            assert!(wakeups < 100, "wake-ups without end");
            self.now = self.now.max(due);
            self.cp.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    pub(crate) fn advance_s(&mut self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    /// A multicast of SSDP from light `n`.
    pub(crate) fn hear(&mut self, n: u32, message: &str) {
        self.datagram(Channel::Ssdp, (ip(n), 1900).into(), message.as_bytes());
    }

    pub(crate) fn datagram(&mut self, channel: Channel, from: SocketAddr, payload: &[u8]) {
        let payload = Bytes::copy_from_slice(payload);
        let datagram = Datagram { interface: InterfaceId(2), channel, multicast: true, from, payload };
        self.cp.handle_datagram(&datagram, self.now);
        self.drain();
    }

    pub(crate) fn asked(&self, method: &str) -> usize {
        self.requests.iter().filter(|r| r.request.method().as_str() == method).count()
    }

    /// Takes the oldest request of this method that is not answered.
    pub(crate) fn take(&mut self, method: &str) -> HttpRequest {
        let wanted = self.requests.iter().position(|r| r.request.method().as_str() == method);
        let open: Vec<_> = self.requests.iter().map(|r| r.request.method().to_string()).collect();
        self.requests.remove(wanted.unwrap_or_else(|| panic!("no {method} among {open:?}")))
    }

    pub(crate) fn answer(&mut self, request: &HttpRequest, response: Response<Bytes>) {
        self.cp.handle_answer(HttpAnswer { id: request.id, result: Ok(response) }, self.now);
        self.drain();
    }

    pub(crate) fn fail(&mut self, request: &HttpRequest, error: HttpError) {
        self.cp.handle_answer(HttpAnswer { id: request.id, result: Err(error) }, self.now);
        self.drain();
    }

    pub(crate) fn fail_to_connect(&mut self, request: &HttpRequest) {
        self.fail(request, HttpError::Connect("refused".into()));
    }

    /// Answers the pending GET to light `n`.
    pub(crate) fn serve_description(&mut self, n: u32) {
        let get = self.take("GET");
        assert_eq!((get.to, get.request.uri().path()), (address(n), "/desc.xml"));
        self.answer(&get, ok(description(n)));
    }

    /// A NOTIFY from light 1; the status it is answered with.
    pub(crate) fn notify(&mut self, path: &str, sid: &str, seq: u32, body: Bytes) -> u16 {
        let request = Request::builder()
            .method("NOTIFY")
            .uri(path)
            .header("HOST", "10.88.0.254:50000")
            .header("CONTENT-TYPE", "text/xml; charset=\"utf-8\"")
            .header("NT", "upnp:event")
            .header("NTS", "upnp:propchange")
            .header("SID", sid)
            .header("SEQ", seq.to_string());
        self.request_from(address(1), request.body(body).unwrap()).expect("ours").as_u16()
    }

    pub(crate) fn request_from(&mut self, peer: SocketAddr, request: Request<Bytes>) -> Option<StatusCode> {
        let local = ([10, 88, 0, 254], CALLBACK_PORT).into();
        let response = self.cp.handle_request(&IncomingRequest { peer, local, request }, self.now);
        self.drain();
        response.map(|r| r.status())
    }

    /// The values delivered, `NAME=VALUE` joined by spaces for each event, and forgets them.
    pub(crate) fn delivered(&mut self) -> Vec<String> {
        let text = |event: ControlPointEvent| match event {
            ControlPointEvent::Event { variables, .. } => {
                let pairs: Vec<_> = variables.iter().map(|(n, v)| format!("{n}={v}")).collect();
                Some(pairs.join(" "))
            }
            _ => None,
        };
        core::mem::take(&mut self.events).into_iter().filter_map(text).collect()
    }

    pub(crate) fn count(&self, wanted: impl Fn(&ControlPointEvent) -> bool) -> usize {
        self.events.iter().filter(|e| wanted(e)).count()
    }
}

pub(crate) fn is_ready(event: &ControlPointEvent) -> bool {
    matches!(event, ControlPointEvent::Ready { .. })
}

pub(crate) fn is_gone(event: &ControlPointEvent) -> bool {
    matches!(event, ControlPointEvent::Gone { .. })
}

pub(crate) fn is_subscribed(event: &ControlPointEvent) -> bool {
    matches!(event, ControlPointEvent::Subscribed { .. })
}

pub(crate) fn is_lost(event: &ControlPointEvent) -> bool {
    matches!(event, ControlPointEvent::SubscriptionLost { .. })
}
