//! The probes every stack was measured with, over real sockets: a device of ours behind the driver on the loopback interface,
//! and peers that know only TCP. What each is answered with is the project's own choice (docs/protocol.md).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;
use upnp::device::{ActionCall, DeviceConfig, Handled, RootDevice, not_found, presentation_response};
use upnp::ids::{TypeUrn, Udn};
use upnp::net::Owner;
use upnp::service::{ActionDecl, Allowed, ArgumentDecl, DataType, Direction, Eventing, ServiceDecl, VariableDecl};
use upnp::time::BootTime;
use upnp_net::{Net, NetConfig, NetEvent, ServerLimits};

use crate::dialogue::*;
use crate::hosts::{in_own_network, ip};

/// The device, who asks it, and a third one.
const DEVICE: &str = "192.0.2.1";
const PEER: &str = "192.0.2.7";
const OTHER: &str = "192.0.2.8";

/// A deadline that is to pass.
const SHORT: Duration = Duration::from_millis(100);

const TYPE: &str = "urn:schemas-upnp-org:service:SwitchPower:1";
const XML: &str = "Content-Type: text/xml; charset=\"utf-8\"\r\n";
const SET_TARGET: &str = "SOAPACTION: \"urn:schemas-upnp-org:service:SwitchPower:1#SetTarget\"\r\n";

static SWITCH_POWER: ServiceDecl = ServiceDecl {
    service_type: TYPE,
    service_id: "urn:upnp-org:serviceId:SwitchPower",
    variables: &[
        VariableDecl {
            name: "Target",
            data_type: DataType::Boolean,
            eventing: Eventing::No,
            allowed: Allowed::Any,
            max_rate: None,
        },
        VariableDecl {
            name: "Status",
            data_type: DataType::Boolean,
            eventing: Eventing::Unicast,
            allowed: Allowed::Any,
            max_rate: None,
        },
    ],
    actions: &[ActionDecl {
        name: "SetTarget",
        arguments: &[ArgumentDecl { name: "newTargetValue", direction: Direction::In, variable: "Target" }],
    }],
};

/// What a probe is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    Status(u16),
    /// 500 with this UPnPError.
    Fault(u16),
}
use Ours::{Fault, Status};

#[test]
fn each_of_the_27_probes_gets_our_answer() {
    with_device(
        "each_of_the_27_probes_gets_our_answer",
        ServerLimits { body_within: SHORT, ..Default::default() },
        async |house: House| {
            let good = house.set_target("1");
            let sid = house.subscribe_to(house.callback().await).await;
            let to = |callback: &str| house.subscribe(&[&format!("CALLBACK: <{callback}>"), "NT: upnp:event"]);
            let elsewhere = |text: &str| text.replace(&house.host(), "attacker.example");
            let soap = |headers: &str, body: &str| house.post(headers, body);
            let own = format!("http://{PEER}:40000/");
            let renew =
                |method: &str, sid: &str| house.request(method, "/SwitchPower/event", &format!("SID: {sid}\r\n"), "");
            let unknown = "uuid:11111111-2222-4333-8444-555555555555";
            let body = envelope("1");
            let bomb = (1..9).fold(String::from("<!DOCTYPE b [<!ENTITY a0 \"aaaaaaaaaa\">"), |dtd, i| {
                dtd + &format!("<!ENTITY a{i} \"{}\">", format!("&a{};", i - 1).repeat(10))
            }) + "]>";
            let with_dtd = |dtd: &str| body.replace("?>", &format!("?>{dtd}")).replace(">1<", ">&a8;<");
            let chunks = format!("5\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", &body[..5], body.len() - 5, &body[5..]);
            let probes = [
                ("callback on another network", to("http://198.51.100.9:5000/"), Status(412)),
                ("callback at another host of the network", to(&format!("http://{OTHER}:5000/")), Status(412)),
                (
                    "callback at the device itself",
                    to(&format!("http://{}/SwitchPower/control", house.host())),
                    Status(412),
                ),
                ("callback with a name", to("http://phone.home.arpa:5000/"), Status(412)),
                ("callback ftp:", to(&format!("ftp://{PEER}:5000/")), Status(412)),
                ("callback 127.0.0.1", to("http://127.0.0.1:5000/"), Status(412)),
                ("no NT", house.subscribe(&[&format!("CALLBACK: <{own}>")]), Status(412)),
                ("wrong NT", house.subscribe(&[&format!("CALLBACK: <{own}>"), "NT: upnp:propchange"]), Status(412)),
                ("no CALLBACK", house.subscribe(&["NT: upnp:event"]), Status(412)),
                (
                    "SID together with NT and CALLBACK",
                    house.subscribe(&[&format!("SID: {sid}"), &format!("CALLBACK: <{own}>"), "NT: upnp:event"]),
                    Status(400),
                ),
                ("renewal of an unknown SID", renew("SUBSCRIBE", unknown), Status(412)),
                ("UNSUBSCRIBE of an unknown SID", renew("UNSUBSCRIBE", unknown), Status(412)),
                ("foreign Host, POST", elsewhere(&good), Status(421)),
                ("foreign Host, SUBSCRIBE", elsewhere(&to(&own)), Status(421)),
                ("no Host", good.replace(&format!("Host: {}\r\n", house.host()), ""), Status(400)),
                ("unknown action", good.replace("SetTarget", "BlowUpAll"), Fault(401)),
                (
                    "another service's namespace in the body",
                    soap(&[XML, SET_TARGET].concat(), &body.replace(TYPE, "urn:attacker:service:SwitchPower:1")),
                    Fault(401),
                ),
                ("SOAPACTION without quotes", soap(&[XML, &SET_TARGET.replace('"', "")].concat(), &body), Status(200)),
                ("no SOAPACTION", soap(XML, &body), Status(400)),
                (
                    "SOAPACTION of another action than the body's",
                    soap(&[XML, &SET_TARGET.replace("SetTarget", "GetStatus")].concat(), &body),
                    Fault(401),
                ),
                ("text/plain", soap(&["Content-Type: text/plain\r\n", SET_TARGET].concat(), &body), Status(415)),
                ("a body that is no XML", soap(&[XML, SET_TARGET].concat(), "newTargetValue=1"), Status(400)),
                ("an entity bomb", soap(&[XML, SET_TARGET].concat(), &with_dtd(&bomb)), Status(400)),
                ("any DOCTYPE", soap(&[XML, SET_TARGET].concat(), &body.replace("?>", "?><!DOCTYPE x>")), Status(400)),
                (
                    "a Content-Length much too long",
                    house.with_head(
                        "POST",
                        "/SwitchPower/control",
                        &format!("{XML}{SET_TARGET}Content-Length: 60000\r\n"),
                    ) + &body,
                    Status(408),
                ),
                ("path traversal", house.get("/../../etc/passwd"), Status(404)),
                (
                    "chunks",
                    house.with_head(
                        "POST",
                        "/SwitchPower/control",
                        &format!("{XML}{SET_TARGET}Transfer-Encoding: chunked\r\n"),
                    ) + &chunks,
                    Status(200),
                ),
            ];
            assert_eq!(probes.len(), 27);
            for (what, text, ours) in probes {
                assert_eq!(judged(&house.ask(&text).await), ours, "{what}: {text}");
            }
            assert_eq!(judged(&house.ask(&good).await), Status(200), "and it still works");
            assert_eq!(judged(&house.ask(&renew("UNSUBSCRIBE", &sid)).await), Status(200), "and has lost nobody");
        },
    );
}

#[test]
fn a_decent_subscriber_gets_its_events_in_order_after_the_reply() {
    with_device(
        "a_decent_subscriber_gets_its_events_in_order_after_the_reply",
        ServerLimits::default(),
        async |house: House| {
            let callback = house.callback().await;
            let url = format!("<http://{}/events/1>", callback.local_addr().unwrap());
            let reply = house
                .ask(&house.subscribe(&[&format!("CALLBACK: {url}"), "NT: upnp:event", "TIMEOUT: Second-1800"]))
                .await;
            assert_eq!(judged(&reply), Status(200));
            let sid = header(&reply, "SID");
            assert!(sid.starts_with("uuid:") && header(&reply, "TIMEOUT") == "Second-1800", "{reply}");
            let notify = async |status: &str| {
                let (mut stream, _) = within("a NOTIFY", callback.accept()).await.unwrap();
                let text = within("its end", read_answer(&mut stream)).await;
                send(&mut stream, &format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
                    .await;
                text
            };
            for (seq, value) in [("0", "0"), ("1", "1"), ("2", "0")] {
                let text = notify("200 OK").await;
                assert!(text.starts_with("NOTIFY /events/1 HTTP/1.1\r\n"), "{text}");
                for (name, value) in [("NT", "upnp:event"), ("NTS", "upnp:propchange"), ("SID", &sid), ("SEQ", seq)] {
                    assert_eq!(header(&text, name), value, "{text}");
                }
                assert!(text.contains(&format!("<Status>{value}</Status>")), "{text}");
                let next = if value == "0" { "1" } else { "0" };
                assert_eq!(judged(&house.ask(&house.set_target(next)).await), Status(200));
            }
        },
    );
}

#[test]
fn what_is_not_http_is_refused_and_hurts_nobody_else() {
    with_device("what_is_not_http_is_refused_and_hurts_nobody_else", ServerLimits::default(), async |house: House| {
        let host = format!("Host: {}\r\n", house.host());
        let long = |n: usize| "x".repeat(n);
        for (what, text, status) in [
            ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), 400),
            ("zeros", vec![0; 5000], 400),
            ("high bytes", vec![0xff; 5000], 400),
            ("no version", b"GET /description.xml\r\n\r\n".to_vec(), 400),
            ("HTTP/9", format!("GET / HTTP/9.9\r\n{host}\r\n").into(), 400),
            ("a folded header", format!("GET / HTTP/1.1\r\n{host} folded\r\n\r\n").into(), 400),
            ("a space before the colon", format!("GET / HTTP/1.1\r\n{host}X : y\r\n\r\n").into(), 400),
            (
                "two lengths",
                format!("POST / HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab").into(),
                400,
            ),
            ("a negative length", format!("POST / HTTP/1.1\r\n{host}Content-Length: -1\r\n\r\n").into(), 400),
            (
                "a length beyond 64 bits",
                format!("POST / HTTP/1.1\r\n{host}Content-Length: 99999999999999999999999\r\n\r\n").into(),
                400,
            ),
            ("a bad chunk", format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\nzz\r\n").into(), 400),
            (
                "a chunk of 2^64 bytes",
                format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n").into(),
                400,
            ),
            ("a large header", format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", long(20_000)).into(), 431),
            ("a large path", format!("GET /{} HTTP/1.1\r\n{host}\r\n", long(20_000)).into(), 431),
            ("many headers", format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: y\r\n".repeat(100)).into(), 431),
            ("a header that never ends", format!("GET / HTTP/1.1\r\n{host}X: {}", long(100_000)).into(), 431),
            ("a large body", house.post(&[XML, SET_TARGET].concat(), &long(100_000)).into(), 413),
            ("a body of gigabytes", format!("POST / HTTP/1.1\r\n{host}Content-Length: 5000000000\r\n\r\n").into(), 413),
            (
                "chunks without end",
                format!(
                    "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n{}",
                    format!("3e8\r\n{}\r\n", long(1000)).repeat(100)
                )
                .into(),
                413,
            ),
        ] {
            let mut stream = house.connect(PEER).await;
            // The refusal may come before all is sent.
            let _ = stream.write_all(&text).await;
            let answer = within(what, read_to_end(&mut stream)).await;
            assert_eq!(judged(&answer), Status(status), "{what}: {answer}");
        }
        assert_eq!(house.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "", "HTTP/2 has no status in HTTP/1.1");
        assert_eq!(judged(&house.ask(&house.set_target("1")).await), Status(200));
    });
}

#[test]
fn no_path_leads_out_of_the_device() {
    with_device("no_path_leads_out_of_the_device", ServerLimits::default(), async |house: House| {
        for path in [
            "/../../etc/passwd",
            "/description.xml/../../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/..%2f..%2fetc%2fpasswd",
            "/..%5c..%5cetc",
            "/%00",
            "//etc/passwd",
            "/./description.xml",
            "/SwitchPower/",
            "/SwitchPower/scpd.xml/",
            "/etc/passwd",
        ] {
            assert_eq!(judged(&house.ask(&house.get(path)).await), Status(404), "{path}");
        }
        for (target, status) in [("*", 404), ("http://attacker.example/description.xml", 421)] {
            assert_eq!(judged(&house.ask(&house.get(target)).await), Status(status), "{target}");
        }
    });
}

#[test]
fn head_is_get_without_the_body() {
    with_device("head_is_get_without_the_body", ServerLimits::default(), async |house: House| {
        for path in ["/description.xml", "/SwitchPower/scpd.xml", "/"] {
            let get = house.ask(&house.get(path)).await;
            let head = house.ask(&house.get(path).replacen("GET", "HEAD", 1)).await;
            assert_eq!(judged(&head), Status(200), "{path}");
            assert!(head.ends_with("\r\n\r\n"), "{head}");
            for name in ["Content-Length", "Content-Type", "Server"] {
                assert_eq!(header(&head, name), header(&get, name), "{path} {name}");
            }
        }
    });
}

#[test]
fn http_1_0_is_served_and_closed() {
    with_device("http_1_0_is_served_and_closed", ServerLimits::default(), async |house: House| {
        for text in [
            "GET /description.xml HTTP/1.0\r\n\r\n".to_owned(),
            format!("GET /description.xml HTTP/1.0\r\nHost: {}\r\n\r\n", house.host()),
            house.set_target("1").replace("HTTP/1.1", "HTTP/1.0").replace("Connection: close\r\n", ""),
        ] {
            let answer = house.ask(&text).await;
            assert_eq!(judged(&answer), Status(200), "{text}");
            assert!(!answer.to_ascii_lowercase().contains("transfer-encoding"), "{answer}");
        }
    });
}

#[test]
fn requests_sent_ahead_are_answered_in_order_and_a_bad_one_ends_the_connection() {
    let name = "requests_sent_ahead_are_answered_in_order_and_a_bad_one_ends_the_connection";
    with_device(name, ServerLimits::default(), async |house: House| {
        let kept = |text: String| text.replace("Connection: close\r\n", "");
        let texts = [
            kept(house.get("/description.xml")),
            kept(house.set_target("1")),
            kept(house.subscribe(&["NT: upnp:event"])),
            kept(house.set_target("1").replace("SetTarget", "BlowUpAll")),
            kept(house.get("/nowhere")),
            "GARBAGE\r\n\r\n".to_owned(),
            kept(house.get("/description.xml")),
        ];
        let mut stream = house.connect(PEER).await;
        send(&mut stream, &texts.concat()).await;
        for wanted in [Status(200), Status(200), Status(412), Fault(401), Status(404), Status(400)] {
            assert_eq!(judged(&within("an answer", read_answer(&mut stream)).await), wanted);
        }
        assert_eq!(within("the end", read_to_end(&mut stream)).await, "", "nothing after the bad one");
    });
}

#[test]
fn whoever_is_slow_meets_a_deadline() {
    let limits = ServerLimits { idle: SHORT, head_within: SHORT, body_within: SHORT, ..Default::default() };
    with_device("whoever_is_slow_meets_a_deadline", limits, async |house: House| {
        let mut silent = house.connect(PEER).await;
        assert_eq!(within("the end of one that says nothing", read_to_end(&mut silent)).await, "");

        let get = house.get("/description.xml");
        let post = house.set_target("1");
        let body = post.len() - 20;
        for (what, at_once, in_drops) in [
            ("a head in drops", "", &get[..]),
            ("a head that stops", &get[..get.len() - 2], ""),
            ("a body in drops", &post[..body], &post[body..]),
            ("a body that stops", &post[..body], ""),
        ] {
            let mut stream = house.connect(PEER).await;
            let begun = Instant::now();
            send(&mut stream, at_once).await;
            let (mut reading, mut writing) = stream.split();
            let drops = async {
                // A byte now and then, each too late for all of them to come in time.
                let mut pace = tokio::time::interval(SHORT / 4);
                for byte in in_drops.bytes() {
                    pace.tick().await;
                    if writing.write_all(&[byte]).await.is_err() {
                        return;
                    }
                }
                std::future::pending().await
            };
            let mut answer = Vec::new();
            let end = async {
                tokio::select! {
                    _ = reading.read_to_end(&mut answer) => {}
                    () = drops => {}
                }
            };
            within(what, end).await;
            assert_eq!(judged(&String::from_utf8(answer).unwrap()), Status(408), "{what}");
            assert!(begun.elapsed() >= SHORT, "{what}");
        }
        assert_eq!(judged(&house.ask(&post).await), Status(200));
    });
}

#[test]
fn whoever_does_not_read_its_answer_is_let_go() {
    let limits = ServerLimits { exchange_within: SHORT, ..Default::default() };
    with_device("whoever_does_not_read_its_answer_is_let_go", limits, async |house: House| {
        let mut deaf = house.connect(PEER).await;
        send(&mut deaf, &house.get("/large")).await;
        // Readable only once some of the answer is here; the rest waits for us, and not for ever.
        within("the beginning of the answer", deaf.readable()).await.unwrap();
        let deadline = Instant::now() + SHORT * 3;
        while Instant::now() < deadline {
            assert_eq!(judged(&house.ask(&house.set_target("1")).await), Status(200), "others are served meanwhile");
        }
        let answer = within("the end", read_to_end(&mut deaf)).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.len() < LARGE, "{} bytes came", answer.len());
    });
}

#[test]
fn a_flood_of_connections_from_one_peer_leaves_room_for_the_others() {
    const CAP: usize = 8;
    let limits = ServerLimits { connections_per_peer_max: CAP, connections_max: 2 * CAP, ..Default::default() };
    let name = "a_flood_of_connections_from_one_peer_leaves_room_for_the_others";
    with_device(name, limits, async |house: House| {
        let mut flood = Vec::new();
        for _ in 0..CAP {
            let mut stream = house.connect(PEER).await;
            let kept = house.get("/description.xml").replace("Connection: close\r\n", "");
            send(&mut stream, &kept).await;
            assert_eq!(judged(&within("an answer", read_answer(&mut stream)).await), Status(200));
            flood.push(stream);
        }
        let mut more = Vec::new();
        for _ in 0..100 {
            more.push(house.connect(PEER).await);
        }
        for gone in flood[..1].iter_mut().chain(&mut more[..99]) {
            assert_eq!(within("the end of one too many", read_to_end(gone)).await, "");
        }
        let other = house.ask_from(OTHER, &house.get("/description.xml")).await;
        assert_eq!(judged(&other), Status(200), "another peer is served");
        drop((flood, more));
        within("room for the peer again", async {
            loop {
                let mut stream = house.connect(PEER).await;
                let _ = stream.write_all(house.get("/description.xml").as_bytes()).await;
                if read_to_end(&mut stream).await.starts_with("HTTP/1.1 200 ") {
                    return;
                }
            }
        })
        .await;
    });
}

/// Length of the answer to `GET /large`: more than the kernel holds for a peer that does not read.
const LARGE: usize = 32 << 20;

/// The device as its peers see it.
struct House {
    device: SocketAddr,
}

/// Runs `story` beside a device that a driver serves, in a network of its own with three addresses.
fn with_device(name: &str, limits: ServerLimits, story: impl AsyncFnOnce(House)) {
    in_own_network(&format!("probes::{name}"), || {
        for address in [DEVICE, PEER, OTHER] {
            ip(&format!("addr add {address}/24 dev lo"));
        }
        on_runtime(async {
            let mut net = Net::bind(NetConfig { server: limits, ..loopback() }).await.unwrap();
            let mut device = device(net.http_port());
            let house = House { device: (DEVICE.parse::<IpAddr>().unwrap(), net.http_port()).into() };
            tokio::select! {
                () = story(house) => {}
                () = drive(&mut net, &mut device) => unreachable!(),
            }
        });
    });
}

fn device(http_port: u16) -> RootDevice {
    let config = DeviceConfig {
        udn: Udn::parse("uuid:4d696e69-444c-4e80-9d41-b827eb54e939").unwrap(),
        device_type: TypeUrn::parse("urn:schemas-upnp-org:device:BinaryLight:1").unwrap(),
        friendly_name: "Light".to_owned(),
        manufacturer: "Test".to_owned(),
        manufacturer_url: String::new(),
        model_name: "Light".to_owned(),
        model_description: String::new(),
        model_number: String::new(),
        services: vec![&SWITCH_POWER],
        server: "Linux/6.12 UPnP/1.1 light/1.0".to_owned(),
        http_port,
        boot_id: 1,
        max_age: Duration::from_secs(1800),
        host_names: Vec::new(),
        seed: 1,
    };
    RootDevice::new(config, BootTime::ZERO)
}

/// Serves for ever. The light's Status follows its Target.
async fn drive(net: &mut Net, device: &mut RootDevice) {
    let start = Instant::now();
    let now = || BootTime::from_duration(start.elapsed());
    device.handle_interfaces(net.interfaces(), now());
    loop {
        while let Some(effect) = device.poll_effect() {
            net.apply(effect);
        }
        let wait = device.poll_timeout().map_or(SOON, |at| at.since(now()));
        match tokio::time::timeout(wait, net.next()).await {
            Err(_) => device.handle_timeout(now()),
            Ok(NetEvent::Interfaces(list)) => device.handle_interfaces(&list, now()),
            Ok(NetEvent::Datagram(datagram)) => device.handle_datagram(&datagram, now()),
            Ok(NetEvent::Answer(answer)) if answer.id.owner == Owner::Device => device.handle_answer(answer, now()),
            Ok(NetEvent::Answer(_)) => {}
            Ok(NetEvent::Request(request, responder)) => responder.send(match device.handle_request(&request, now()) {
                Handled::Response(response) => response,
                Handled::Action(call) => switch(device, &call, now()),
                Handled::Presentation => presentation_response("<p>A light.</p>".to_owned()),
                Handled::NotMine if request.request.uri().path() == "/large" => {
                    Response::new(Bytes::from(vec![b'x'; LARGE]))
                }
                Handled::NotMine => not_found(),
            }),
        }
    }
}

fn switch(device: &mut RootDevice, call: &ActionCall, now: BootTime) -> Response<Bytes> {
    device.set_variables(&SWITCH_POWER, &[("Status", call.arguments[0].1.clone())], now);
    call.respond(Ok(Vec::new()))
}

impl House {
    fn host(&self) -> String {
        self.device.to_string()
    }

    fn with_head(&self, method: &str, path: &str, headers: &str) -> String {
        format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n", self.host())
    }

    fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        self.with_head(method, path, &format!("{headers}Content-Length: {}\r\n", body.len())) + body
    }

    fn get(&self, path: &str) -> String {
        self.with_head("GET", path, "")
    }

    fn post(&self, headers: &str, body: &str) -> String {
        self.request("POST", "/SwitchPower/control", headers, body)
    }

    fn subscribe(&self, headers: &[&str]) -> String {
        let headers: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
        self.with_head("SUBSCRIBE", "/SwitchPower/event", &headers)
    }

    fn set_target(&self, value: &str) -> String {
        self.post(&[XML, SET_TARGET].concat(), &envelope(value))
    }

    /// A listener for events at the peer.
    async fn callback(&self) -> TcpListener {
        TcpListener::bind((PEER, 0)).await.unwrap()
    }

    /// Subscribes `callback`, which hears nothing; the SID.
    async fn subscribe_to(&self, callback: TcpListener) -> String {
        let url = format!("CALLBACK: <http://{}/>", callback.local_addr().unwrap());
        let reply = self.ask(&self.subscribe(&[&url, "NT: upnp:event"])).await;
        assert_eq!(judged(&reply), Status(200), "{reply}");
        header(&reply, "SID")
    }

    async fn connect(&self, from: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from.parse::<IpAddr>().unwrap(), 0).into()).unwrap();
        within("a connection", socket.connect(self.device)).await.unwrap()
    }

    /// Everything the device answers until it closes.
    async fn ask(&self, text: &str) -> String {
        self.ask_from(PEER, text).await
    }

    async fn ask_from(&self, from: &str, text: &str) -> String {
        let mut stream = self.connect(from).await;
        send(&mut stream, text).await;
        within("the answer", read_to_end(&mut stream)).await
    }
}

fn envelope(value: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body><u:SetTarget xmlns:u=\"{TYPE}\">\
         <newTargetValue>{value}</newTargetValue></u:SetTarget></s:Body></s:Envelope>"
    )
}

/// The answer's status, or the code of its fault.
fn judged(answer: &str) -> Ours {
    let status = answer.get(9..12).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("no status: {answer:?}"));
    let code = answer.split_once("<errorCode>").and_then(|(_, rest)| rest.split_once('<'));
    match (status, code) {
        (500, Some((code, _))) => Fault(code.parse().unwrap()),
        _ => Status(status),
    }
}

/// The value of a header; empty when it is not there.
fn header(answer: &str, name: &str) -> String {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    let named = head.lines().filter_map(|l| l.split_once(':')).find(|(n, _)| n.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}
