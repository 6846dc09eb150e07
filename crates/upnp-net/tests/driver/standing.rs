//! Connections that are to stay open without a request.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use upnp::net::Effect;
use upnp_net::limits::SOON_CLOSED_MAX;
use upnp_net::{ClientLimits, Net, NetConfig};

use crate::dialogue::*;
use crate::hosts::{Host, in_own_network, ip};

const SHORT: Duration = Duration::from_millis(80);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// A peer that has held a connection at all is one that holds them, and lost ones are opened again soon.
fn quick() -> ClientLimits {
    ClientLimits {
        idle: SHORT,
        holds_after: Duration::ZERO,
        reopen_after: Duration::from_millis(5),
        reopen_after_max: Duration::from_millis(40),
        ..Default::default()
    }
}

async fn net_with(client: ClientLimits) -> Net {
    Net::bind(NetConfig { client, ..loopback() }).await.unwrap()
}

fn keep(peers: &[SocketAddr]) -> Effect {
    Effect::KeepConnected(peers.iter().copied().collect())
}

/// A peer that says what a test wants.
struct Peer {
    listener: TcpListener,
    address: SocketAddr,
}

impl Peer {
    async fn new() -> Self {
        Self::of(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// On another host.
    fn on(host: &Host, address: &'static str) -> Self {
        let listener = host.on(move || std::net::TcpListener::bind(address).unwrap());
        listener.set_nonblocking(true).unwrap();
        Self::of(TcpListener::from_std(listener).unwrap())
    }

    fn of(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// The next connection, while `net` runs.
    async fn accept(&self, net: &mut Net) -> TcpStream {
        beside_echo(net, self.listener.accept()).await.unwrap().0
    }

    /// The next connection, once the driver has seen that it is up.
    async fn opened(&self, net: &mut Net) -> TcpStream {
        let stream = self.accept(net).await;
        // A whole exchange with somebody else takes longer than that.
        Self::new().await.told(net, 1000, CLOSE).await;
        stream
    }

    /// Nobody connects for a while.
    async fn is_left_alone(&self, net: &mut Net) {
        tokio::select! {
            another = self.listener.accept() => panic!("connected to: {another:?}"),
            () = echo(net) => unreachable!(),
            () = tokio::time::sleep(SHORT * 3) => {}
        }
    }

    /// An event to the peer, which answers on a new connection.
    async fn told(&self, net: &mut Net, number: u64, answer: &[u8]) -> TcpStream {
        net.apply(request(number, self.address, get("/")));
        let mut stream = self.accept(net).await;
        answer_one(net, &mut stream, answer).await;
        stream
    }
}

/// Answers the request that comes on `stream`, and waits until the client has the answer.
async fn answer_one(net: &mut Net, stream: &mut TcpStream, answer: &[u8]) {
    let asked = async {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") {
            stream.readable().await.unwrap();
            let mut bytes = [0; 512];
            match stream.try_read(&mut bytes) {
                Ok(0) => panic!("closed instead of asking"),
                Ok(n) => text.push_str(std::str::from_utf8(&bytes[..n]).unwrap()),
                Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
            }
        }
    };
    beside_echo(net, asked).await;
    stream.write_all(answer).await.unwrap();
    assert!(next_answer(net).await.result.is_ok());
}

#[tokio::test]
async fn a_connection_that_is_to_stay_outlives_the_idle_time_and_takes_the_next_request() {
    let (mut net, peer, other) = (net_with(quick()).await, Peer::new().await, Peer::new().await);
    net.apply(keep(&[peer.address]));
    let mut stays = peer.told(&mut net, 1, OK).await;
    for number in 2..5 {
        // The other peer's connection is younger, and closed by the idle rule.
        let mut idle = other.told(&mut net, 100 + number, OK).await;
        assert_eq!(beside_echo(&mut net, read_to_end(&mut idle)).await, "");

        net.apply(request(number, peer.address, get("/")));
        answer_one(&mut net, &mut stays, OK).await;
    }
    net.apply(keep(&[]));
    assert_eq!(beside_echo(&mut net, read_to_end(&mut stays)).await, "", "wanted no more");
    peer.is_left_alone(&mut net).await;
}

#[tokio::test]
async fn a_connection_its_peer_closed_is_opened_again_without_a_request_and_takes_the_next_one() {
    let limits = ClientLimits { idle: Duration::from_secs(60), ..quick() };
    let (mut net, peer) = (net_with(limits).await, Peer::new().await);
    net.apply(keep(&[peer.address]));
    drop(peer.told(&mut net, 1, OK).await);

    let mut again = peer.opened(&mut net).await;
    peer.is_left_alone(&mut net).await;
    net.apply(request(2, peer.address, get("/")));
    answer_one(&mut net, &mut again, OK).await;
}

#[tokio::test]
async fn a_peer_that_was_away_is_connected_once_it_is_back() {
    let (mut net, peer) = (net_with(quick()).await, Peer::new().await);
    let address = peer.address;
    net.apply(keep(&[address]));
    let stream = peer.told(&mut net, 1, OK).await;
    // First the listener, so that nobody is there when the connection is seen closed.
    drop(peer);
    drop(stream);
    let refused = tokio::time::timeout(SHORT, echo(&mut net)).await;
    assert!(refused.is_err());

    let back = tokio::net::TcpSocket::new_v4().unwrap();
    back.set_reuseaddr(true).unwrap();
    back.bind(address).unwrap();
    let mut again = Peer::of(back.listen(8).unwrap()).opened(&mut net).await;
    net.apply(request(2, address, get("/")));
    answer_one(&mut net, &mut again, OK).await;
}

#[tokio::test]
async fn a_peer_that_closes_soon_each_time_is_left_alone_until_its_next_request() {
    let (mut net, peer) = (net_with(quick()).await, Peer::new().await);
    net.apply(keep(&[peer.address]));
    for number in 1..3 {
        drop(peer.told(&mut net, number, OK).await);
        for _ in 1..SOON_CLOSED_MAX {
            drop(peer.accept(&mut net).await);
        }
        peer.is_left_alone(&mut net).await;
    }
}

#[tokio::test]
async fn a_peer_that_closes_after_each_answer_is_never_connected_to_without_a_request() {
    let limits = ClientLimits { holds_after: Duration::from_millis(500), ..quick() };
    let (mut net, peer) = (net_with(limits).await, Peer::new().await);
    net.apply(keep(&[peer.address]));
    for (number, answer) in [(1, OK), (2, CLOSE), (3, OK)] {
        drop(peer.told(&mut net, number, answer).await);
        peer.is_left_alone(&mut net).await;
    }
}

#[tokio::test]
async fn a_connection_with_bytes_nobody_asked_for_is_replaced() {
    let (mut net, peer) = (net_with(quick()).await, Peer::new().await);
    net.apply(keep(&[peer.address]));
    let mut stream = peer.told(&mut net, 1, OK).await;
    stream.write_all(OK).await.unwrap();
    let mut again = peer.opened(&mut net).await;
    net.apply(request(2, peer.address, get("/")));
    answer_one(&mut net, &mut again, OK).await;
}

#[test]
fn after_an_address_change_the_connection_is_opened_again() {
    in_own_network("standing::after_an_address_change_the_connection_is_opened_again", || {
        let other = Host::new();
        other.cable("lan0", "eth0");
        other.ip("addr add 10.1.0.2/24 dev eth0");
        ip("addr add 10.1.0.1/24 dev lan0");
        on_runtime(async {
            // The pause of a connection that was lost would be too long for this test.
            let client = ClientLimits { reopen_after: SOON * 2, reopen_after_max: SOON * 2, ..quick() };
            let mut net = Net::bind(NetConfig { client, ipv6: false, ..Default::default() }).await.unwrap();
            let peer = Peer::on(&other, "10.1.0.2:5000");
            net.apply(keep(&[peer.address]));
            let mut first = peer.told(&mut net, 1, OK).await;

            ip("addr add 10.1.0.7/24 dev lan0");
            let mut again = peer.opened(&mut net).await;
            assert_eq!(beside_echo(&mut net, read_to_end(&mut first)).await, "");
            net.apply(request(2, peer.address, get("/")));
            answer_one(&mut net, &mut again, OK).await;
        });
    });
}

#[test]
fn a_peer_that_has_vanished_is_noticed_by_the_probes_and_connected_once_it_is_back() {
    let name = "standing::a_peer_that_has_vanished_is_noticed_by_the_probes_and_connected_once_it_is_back";
    in_own_network(name, || {
        let other = Host::new();
        other.cable("lan0", "eth0");
        other.ip("addr add 10.1.0.2/24 dev eth0");
        ip("addr add 10.1.0.1/24 dev lan0");
        on_runtime(async {
            let client = ClientLimits { probe_after: Duration::from_secs(1), ..quick() };
            let mut net = Net::bind(NetConfig { client, ipv6: false, ..Default::default() }).await.unwrap();
            let peer = Peer::on(&other, "10.1.0.2:5000");
            net.apply(keep(&[peer.address]));
            let _first = peer.told(&mut net, 1, OK).await;
            assert!(is_established(5000));

            // What comes to an address that is not there is dropped without a word.
            other.ip("addr del 10.1.0.2/24 dev eth0");
            let begun = std::time::Instant::now();
            let noticed = async {
                while is_established(5000) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            beside_echo(&mut net, noticed).await;
            let probed = Duration::from_secs(1) + upnp_net::limits::ACKNOWLEDGED_WITHIN;
            assert!(begun.elapsed() < probed * 2, "{:?}", begun.elapsed());

            other.ip("addr add 10.1.0.2/24 dev eth0");
            let mut again = peer.opened(&mut net).await;
            net.apply(request(2, peer.address, get("/")));
            answer_one(&mut net, &mut again, OK).await;
        });
    });
}

/// Whether a connection of this network to `port` is up.
fn is_established(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    table.lines().any(|l| {
        let mut fields = l.split_whitespace().skip(2);
        let (remote, state) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        remote.ends_with(&format!(":{port:04X}")) && state == "01"
    })
}
