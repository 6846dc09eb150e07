//! What the tests do with the driver: wait for its events with a deadline, and speak HTTP to it on a raw socket.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use upnp::net::{Datagram, Effect, HttpAnswer, HttpRequest, IncomingRequest, Interface, Owner, RequestId};
use upnp_net::{InterfaceFilter, Net, NetConfig, NetEvent, Responder};

/// Long enough for anything that happens at all, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) async fn within<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, wanted).await {
        Ok(t) => t,
        Err(_) => panic!("did not happen: {what}"),
    }
}

pub(crate) fn loopback() -> NetConfig {
    let interfaces = InterfaceFilter { include: vec!["lo".into()], loopback: true, ..Default::default() };
    NetConfig { interfaces, ipv6: false, ..Default::default() }
}

/// The next event that `pick` takes; others are passed over.
pub(crate) async fn next<T>(net: &mut Net, what: &str, mut pick: impl FnMut(NetEvent) -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(t) = pick(net.next().await) {
                return t;
            }
        }
    })
    .await
}

pub(crate) async fn next_request(net: &mut Net) -> (IncomingRequest, Responder) {
    next(net, "a request", |e| match e {
        NetEvent::Request(request, responder) => Some((request, responder)),
        _ => None,
    })
    .await
}

pub(crate) async fn next_answer(net: &mut Net) -> HttpAnswer {
    next(net, "an answer", |e| match e {
        NetEvent::Answer(answer) => Some(answer),
        _ => None,
    })
    .await
}

pub(crate) async fn next_datagram(net: &mut Net, payload: &[u8]) -> Datagram {
    next(net, "a datagram", |e| match e {
        NetEvent::Datagram(d) if d.payload == payload => Some(d),
        _ => None,
    })
    .await
}

/// The next interface list for which `wanted` holds.
pub(crate) async fn interfaces_where(
    net: &mut Net,
    what: &str,
    wanted: impl Fn(&[Interface]) -> bool,
) -> Vec<Interface> {
    next(net, what, |e| match e {
        NetEvent::Interfaces(interfaces) if wanted(&interfaces) => Some(interfaces),
        _ => None,
    })
    .await
}

/// Answers every request with its method, path and body, until the task is dropped.
pub(crate) async fn echo(net: &mut Net) {
    loop {
        if let NetEvent::Request(request, responder) = net.next().await {
            responder.send(Response::new(echoed(&request)));
        }
    }
}

pub(crate) fn echoed(request: &IncomingRequest) -> Bytes {
    let request = &request.request;
    let mut text = format!("{} {} ", request.method(), request.uri()).into_bytes();
    text.extend_from_slice(request.body());
    text.into()
}

/// Runs `wanted` while `net` echoes.
pub(crate) async fn beside_echo<T>(net: &mut Net, wanted: impl Future<Output = T>) -> T {
    within("the other side", async {
        tokio::select! {
            t = wanted => t,
            () = echo(net) => unreachable!(),
        }
    })
    .await
}

pub(crate) fn local(net: &Net) -> SocketAddr {
    ([127, 0, 0, 1], net.http_port()).into()
}

pub(crate) async fn connect(net: &Net) -> TcpStream {
    TcpStream::connect(local(net)).await.unwrap()
}

pub(crate) async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// One answer as sent: head and the body its Content-Length announces.
pub(crate) async fn read_answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    loop {
        let end = text.windows(4).position(|w| w == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|l| l.strip_prefix("content-length: "));
            if text.len() >= end + 4 + length.map_or(0, |l| l.trim().parse().unwrap()) {
                return String::from_utf8(text).unwrap();
            }
        }
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).await.unwrap(), 1, "closed after {:?}", String::from_utf8_lossy(&text));
        text.push(byte[0]);
    }
}

/// Everything until the other side closes; a reset counts as closing.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8(text).unwrap()
}

/// A request of the control point's.
pub(crate) fn request(number: u64, to: SocketAddr, request: Request<&'static str>) -> Effect {
    request_within(number, to, SOON, request)
}

pub(crate) fn request_within(number: u64, to: SocketAddr, within: Duration, request: Request<&'static str>) -> Effect {
    Effect::Request(HttpRequest {
        id: RequestId { owner: Owner::ControlPoint, number },
        to,
        request: request.map(Bytes::from),
        within,
        response_body_bytes_max: 1024,
    })
}

pub(crate) fn get(path: &str) -> Request<&'static str> {
    Request::get(path).header("host", "192.0.2.1").body("").unwrap()
}

pub(crate) fn on_runtime(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

pub(crate) fn has_address(interfaces: &[Interface], address: &str) -> bool {
    let address: IpAddr = address.parse().unwrap();
    interfaces.iter().any(|i| i.addresses.iter().any(|a| a.address == address))
}
