//! The event after which the machine may sleep: what has left when the driver has taken the order, before anything else runs.

use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use upnp::net::{Channel, EVENT_PORT, EVENT_V4, EVENT_V6_LINK, Effect, Interface, Transmit};
use upnp_net::{ClientLimits, Net, NetConfig};

use crate::dialogue::*;
use crate::hosts::{Host, in_own_network, ip};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const BODY: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
    <e:propertyset xmlns:e=\"urn:schemas-upnp-org:event-1-0\"><e:property><PowerState>Standby</PowerState></e:property>\
    </e:propertyset>";

fn notify(number: u64, to: SocketAddr) -> Effect {
    let notify = Request::builder()
        .method("NOTIFY")
        .uri("/callback/1")
        .header("HOST", to.to_string())
        .header("CONTENT-TYPE", "text/xml; charset=\"utf-8\"")
        .header("NT", "upnp:event")
        .header("NTS", "upnp:propchange")
        .header("SID", "uuid:4d696e69-444c-4e80-9d41-b827eb54e939")
        .header("SEQ", number.to_string());
    request(number, to, notify.body(BODY).unwrap())
}

fn multicast(interface: &Interface, group: IpAddr) -> Effect {
    let (interface, to) = (interface.id, SocketAddr::new(group, EVENT_PORT));
    Effect::Send(Transmit { interface, channel: Channel::Events, to, payload: Bytes::from_static(BODY.as_bytes()) })
}

/// A subscriber that has had its first event; its connection as one that blocks.
async fn subscriber(net: &mut Net, listener: TcpListener) -> (SocketAddr, std::net::TcpStream) {
    let to = listener.local_addr().unwrap();
    net.apply(Effect::KeepConnected([to].into()));
    net.apply(notify(0, to));
    let (mut stream, _) = beside_echo(net, listener.accept()).await.unwrap();
    beside_echo(net, read_notify(&mut stream)).await;
    stream.write_all(OK).await.unwrap();
    assert!(next_answer(net).await.result.is_ok());
    let stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    (to, stream)
}

async fn read_notify(stream: &mut TcpStream) {
    let mut text = Vec::new();
    while !text.ends_with(BODY.as_bytes()) {
        stream.readable().await.unwrap();
        let mut bytes = [0; 2048];
        if let Ok(n) = stream.try_read(&mut bytes) {
            assert!(n > 0, "closed");
            text.extend_from_slice(&bytes[..n]);
        }
    }
}

/// The first read of a subscriber, while nothing of the driver can run.
fn first_read(stream: &mut std::net::TcpStream) -> String {
    let mut bytes = [0; 4096];
    let n = stream.read(&mut bytes).unwrap();
    String::from_utf8(bytes[..n].to_vec()).unwrap()
}

fn is_whole(notify: &str) -> bool {
    notify.starts_with("NOTIFY /callback/1 HTTP/1.1\r\n") && notify.ends_with(&format!("\r\n\r\n{BODY}"))
}

#[tokio::test(flavor = "current_thread")]
async fn events_to_many_subscribers_have_left_when_the_last_order_is_taken() {
    const SUBSCRIBERS: u64 = upnp_net::limits::OUTGOING_AT_ONCE_MAX as u64;
    // They are one host here.
    let client = ClientLimits { running_per_host_max: SUBSCRIBERS as usize, ..Default::default() };
    let mut net = Net::bind(NetConfig { client, ..loopback() }).await.unwrap();
    let mut subscribers = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        subscribers.push(subscriber(&mut net, listener).await);
    }
    // A loop that has done much in this turn already: half of what tokio lets a task do.
    for _ in 0..64 {
        tokio::task::coop::consume_budget().await;
    }
    for (number, (to, _)) in (1..).zip(&subscribers) {
        net.apply(notify(number, *to));
    }
    // From here to the end nothing is awaited, so that no task runs.
    for (_, stream) in &mut subscribers {
        let read = first_read(stream);
        assert!(is_whole(&read), "{read}");
    }
}

#[test]
fn an_event_is_one_frame_to_the_groups_and_one_to_a_subscriber_ipv4() {
    let name = "last_event::an_event_is_one_frame_to_the_groups_and_one_to_a_subscriber_ipv4";
    one_frame_each(name, "10.1.0.2:5000");
}

#[test]
fn an_event_is_one_frame_to_the_groups_and_one_to_a_subscriber_ipv6() {
    let name = "last_event::an_event_is_one_frame_to_the_groups_and_one_to_a_subscriber_ipv6";
    one_frame_each(name, "[fd00::2]:5000");
}

/// The frames of one event: those to the groups first, then one with the whole NOTIFY.
fn one_frame_each(test: &str, callback: &'static str) {
    in_own_network(test, || {
        let other = Host::new();
        other.cable("lan0", "eth0");
        ip("addr add 10.1.0.1/24 dev lan0");
        ip("addr add fd00::1/64 dev lan0 nodad");
        other.ip("addr add 10.1.0.2/24 dev eth0");
        other.ip("addr add fd00::2/64 dev eth0 nodad");
        on_runtime(async {
            let mut net = Net::bind(NetConfig::default()).await.unwrap();
            // Link-local addresses are usable a moment later.
            let all = |i: &[Interface]| i.iter().any(|i| i.addresses.len() == 3);
            let interfaces = interfaces_where(&mut net, "all addresses", all).await;
            let listener = other.on(move || std::net::TcpListener::bind(callback).unwrap());
            listener.set_nonblocking(true).unwrap();
            let (to, mut stream) = subscriber(&mut net, TcpListener::from_std(listener).unwrap()).await;
            let mut frames = Frames::open();

            net.apply(multicast(&interfaces[0], EVENT_V4.into()));
            net.apply(multicast(&interfaces[0], EVENT_V6_LINK.into()));
            net.apply(notify(1, to));
            let read = first_read(&mut stream);
            let sent = frames.seen();

            assert!(is_whole(&read), "{read}");
            let carrying: Vec<_> =
                sent.iter().filter(|f| contains(f, b"propertyset") || contains(f, b"NOTIFY")).collect();
            assert_eq!(carrying.len(), 3, "two groups and one subscriber");
            assert!(contains(carrying[0], &EVENT_V4.octets()) && !contains(carrying[0], b"NOTIFY"));
            assert!(contains(carrying[1], &Ipv6Addr::octets(&EVENT_V6_LINK)) && !contains(carrying[1], b"NOTIFY"));
            assert!(carrying[2].ends_with(read.as_bytes()), "the whole NOTIFY in one frame");
        });
    });
}

fn contains(frame: &[u8], bytes: &[u8]) -> bool {
    frame.windows(bytes.len()).any(|w| w == bytes)
}

/// Every frame that leaves or enters this network.
struct Frames(Socket);

impl Frames {
    fn open() -> Self {
        const ETH_P_ALL: u16 = 3;
        let every = Protocol::from(i32::from(ETH_P_ALL.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(every)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Self(socket)
    }

    /// Those that have passed.
    fn seen(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(n) = self.0.read(&mut bytes) {
            frames.push(bytes[..n].to_vec());
        }
        frames
    }
}
