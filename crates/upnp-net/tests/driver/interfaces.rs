//! Interfaces and addresses that come and go, and the right way out of several: this host in a namespace, with cables to others.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use bytes::Bytes;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use upnp::net::{Channel, Effect, Interface, SSDP_PORT, SSDP_V4, SSDP_V6_LINK, SSDP_V6_SITE, Transmit};
use upnp_net::{InterfaceFilter, Net, NetConfig, NetEvent, route_source};

use crate::dialogue::*;
use crate::hosts::{Host, in_own_network, ip, ip_shows};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const GROUP: &str = "239.255.255.250";

fn v4() -> NetConfig {
    NetConfig { ipv6: false, ..Default::default() }
}

fn named<'a>(interfaces: &'a [Interface], name: &str) -> Option<&'a Interface> {
    interfaces.iter().find(|i| i.name == name)
}

fn multicast(interface: &Interface, payload: &'static [u8]) -> Effect {
    to(interface, (SSDP_V4, SSDP_PORT).into(), payload)
}

fn to(interface: &Interface, to: SocketAddr, payload: &'static [u8]) -> Effect {
    let payload = Bytes::from_static(payload);
    Effect::Send(Transmit { interface: interface.id, channel: Channel::Ssdp, to, payload })
}

fn received(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2000];
    let (n, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..n].to_vec(), from)
}

/// Asks the driver's server from another host while the driver runs; `None` when nobody listens there.
async fn asked_from(host: &Host, net: &mut Net, address: &str) -> Option<String> {
    let address: IpAddr = address.parse().unwrap();
    let answer = host.ask(SocketAddr::new(address, net.http_port()), GET);
    beside_echo(net, answer).await.expect("the other host's answer")
}

#[test]
fn the_first_event_is_the_interfaces_and_loopback_is_not_among_them() {
    in_own_network("interfaces::the_first_event_is_the_interfaces_and_loopback_is_not_among_them", || {
        let other = Host::new();
        other.cable("lan0", "eth0");
        ip("addr add 10.1.0.1/24 dev lan0");
        on_runtime(async {
            let mut net = Net::bind(v4()).await.unwrap();
            let NetEvent::Interfaces(interfaces) = net.next().await else { panic!("another event first") };
            assert_eq!(interfaces, net.interfaces());
            assert_eq!(interfaces.iter().map(|i| i.name.as_str()).collect::<Vec<_>>(), ["lan0"]);
            assert!(has_address(&interfaces, "10.1.0.1"));
        });
    });
}

#[test]
fn an_address_that_comes_while_running_is_served_and_one_that_goes_is_not() {
    in_own_network("interfaces::an_address_that_comes_while_running_is_served_and_one_that_goes_is_not", || {
        let other = Host::new();
        other.cable("lan0", "eth0");
        other.ip("addr add 10.1.0.2/16 dev eth0");
        ip("addr add 10.1.0.1/16 dev lan0");
        on_runtime(async {
            let mut net = Net::bind(v4()).await.unwrap();
            let port = net.http_port();
            assert!(asked_from(&other, &mut net, "10.1.0.1").await.unwrap().starts_with("HTTP/1.1 200 "));

            ip("addr add 10.1.0.7/16 dev lan0");
            interfaces_where(&mut net, "the new address", |i| has_address(i, "10.1.0.7")).await;
            assert!(asked_from(&other, &mut net, "10.1.0.7").await.unwrap().starts_with("HTTP/1.1 200 "));

            ip("addr del 10.1.0.7/16 dev lan0");
            interfaces_where(&mut net, "the address gone", |i| !has_address(i, "10.1.0.7")).await;
            assert!(asked_from(&other, &mut net, "10.1.0.1").await.unwrap().starts_with("HTTP/1.1 200 "));
            assert_eq!(net.http_port(), port);

            // The host takes the address elsewhere: nobody of ours listens on it any more.
            ip("addr add 10.1.0.7/32 dev lo");
            assert_eq!(asked_from(&other, &mut net, "10.1.0.7").await, None);
        });
    });
}

#[test]
fn without_a_network_it_starts_and_serves_the_first_interface_that_comes() {
    in_own_network("interfaces::without_a_network_it_starts_and_serves_the_first_interface_that_comes", || {
        on_runtime(async {
            let mut net = Net::bind(v4()).await.unwrap();
            let NetEvent::Interfaces(none) = net.next().await else { panic!("another event first") };
            assert!(none.is_empty());

            let other = Host::new();
            other.cable("lan0", "eth0");
            other.ip("addr add 10.1.0.2/24 dev eth0");
            ip("addr add 10.1.0.1/24 dev lan0");
            interfaces_where(&mut net, "the interface", |i| has_address(i, "10.1.0.1")).await;
            assert!(asked_from(&other, &mut net, "10.1.0.1").await.unwrap().starts_with("HTTP/1.1 200 "));
        });
    });
}

#[test]
fn a_cable_pulled_and_put_back_is_noticed_and_searches_are_heard_again() {
    in_own_network("interfaces::a_cable_pulled_and_put_back_is_noticed_and_searches_are_heard_again", || {
        let other = Host::new();
        other.cable("lan0", "eth0");
        other.ip("addr add 10.1.0.2/24 dev eth0");
        ip("addr add 10.1.0.1/24 dev lan0");
        other.ip("route add default dev eth0");
        on_runtime(async {
            let mut net = Net::bind(v4()).await.unwrap();
            let searcher = other.udp("10.1.0.2:0");
            searcher.send_to(b"one", (GROUP, SSDP_PORT)).unwrap();
            next_datagram(&mut net, b"one").await;

            other.ip("link set eth0 down");
            interfaces_where(&mut net, "no carrier", <[_]>::is_empty).await;
            other.ip("link set eth0 up");
            other.ip("route add default dev eth0");
            interfaces_where(&mut net, "carrier", |i| has_address(i, "10.1.0.1")).await;

            searcher.send_to(b"two", (GROUP, SSDP_PORT)).unwrap();
            next_datagram(&mut net, b"two").await;
        });
    });
}

#[test]
fn an_interface_that_vanishes_and_comes_back_under_its_name_is_used_again() {
    in_own_network("interfaces::an_interface_that_vanishes_and_comes_back_under_its_name_is_used_again", || {
        let plug = || {
            let other = Host::new();
            other.cable("lan0", "eth0");
            other.ip("addr add 10.1.0.2/24 dev eth0");
            other.ip("route add default dev eth0");
            ip("addr add 10.1.0.1/24 dev lan0");
            other
        };
        let first = plug();
        on_runtime(async {
            let mut net = Net::bind(v4()).await.unwrap();
            let before = net.interfaces()[0].id;
            first.udp("10.1.0.2:0").send_to(b"one", (GROUP, SSDP_PORT)).unwrap();
            next_datagram(&mut net, b"one").await;

            // Faster than changes are looked at.
            ip("link del lan0");
            let second = plug();
            let after = interfaces_where(&mut net, "the new one", |i| i.iter().any(|i| i.id != before)).await;
            second.udp("10.1.0.2:0").send_to(b"two", (GROUP, SSDP_PORT)).unwrap();
            let heard = next_datagram(&mut net, b"two").await;

            assert_eq!((after.len(), heard.interface), (1, after[0].id));
            assert!(asked_from(&second, &mut net, "10.1.0.1").await.unwrap().starts_with("HTTP/1.1 200 "));
        });
    });
}

#[test]
fn an_interface_that_is_back_under_its_very_index_hears_the_group() {
    in_own_network("interfaces::an_interface_that_is_back_under_its_very_index_hears_the_group", || {
        let plug = || {
            let other = Host::new();
            other.cable_with_index("lan0", 77, "eth0");
            other.ip("addr add 10.1.0.2/24 dev eth0");
            other.ip("route add default dev eth0");
            ip("addr add 10.1.0.1/24 dev lan0");
            other
        };
        let _first = plug();
        on_runtime(async {
            let mut net = Net::bind(v4()).await.unwrap();
            assert!(matches!(net.next().await, NetEvent::Interfaces(_)));

            // Faster than changes are looked at: the tables read after it are those read before it.
            ip("link del lan0");
            let second = plug();
            let socket = second.udp("10.1.0.2:0");
            let sending = tokio::spawn(async move {
                loop {
                    let _ = socket.send_to(b"two", (GROUP, SSDP_PORT));
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            });
            let heard = next_datagram(&mut net, b"two").await;
            sending.abort();
            assert_eq!(heard.interface.0, 77);
        });
    });
}

#[test]
fn of_two_interfaces_each_hears_and_sends_its_own_without_any_route() {
    in_own_network("interfaces::of_two_interfaces_each_hears_and_sends_its_own_without_any_route", || {
        let (left, right) = (Host::new(), Host::new());
        left.cable("lan0", "eth0");
        right.cable("lan1", "eth0");
        for (host, ours, device, theirs) in
            [(&left, "10.1.0.1", "lan0", "10.1.0.2"), (&right, "10.2.0.1", "lan1", "10.2.0.2")]
        {
            host.ip(&format!("addr add {theirs}/24 dev eth0"));
            host.ip("route add default dev eth0");
            ip(&format!("addr add {ours}/24 dev {device}"));
        }
        on_runtime(async {
            let mut net = Net::bind(v4()).await.unwrap();
            let interfaces = net.interfaces().to_vec();
            let (lan0, lan1) = (named(&interfaces, "lan0").unwrap(), named(&interfaces, "lan1").unwrap());
            let (at_left, at_right) = (left.udp("10.1.0.2:0"), right.udp("10.2.0.2:0"));

            at_right.send_to(b"from the right", (GROUP, SSDP_PORT)).unwrap();
            let from_right = next_datagram(&mut net, b"from the right").await;
            assert_eq!((from_right.interface, from_right.from), (lan1.id, at_right.local_addr().unwrap()));
            at_left.send_to(b"from the left", (GROUP, SSDP_PORT)).unwrap();
            assert_eq!(next_datagram(&mut net, b"from the left").await.interface, lan0.id);

            net.apply(to(lan1, from_right.from, b"answer"));
            assert_eq!(received(&at_right), (b"answer".to_vec(), "10.2.0.1:1900".parse().unwrap()));

            let (members_left, members_right) =
                (left.member(GROUP, SSDP_PORT, "10.1.0.2"), right.member(GROUP, SSDP_PORT, "10.2.0.2"));
            net.apply(multicast(lan1, b"to the right"));
            net.apply(multicast(lan0, b"to the left"));
            for (member, text, from) in
                [(members_left, &b"to the left"[..], "10.1.0.1"), (members_right, b"to the right", "10.2.0.1")]
            {
                let received = received(&member);
                assert_eq!((&received.0[..], received.1.ip().to_string().as_str()), (text, from));
                assert_ne!(received.1.port(), SSDP_PORT);
            }
        });
    });
}

#[test]
fn two_interfaces_in_the_same_subnet_are_kept_apart() {
    in_own_network("interfaces::two_interfaces_in_the_same_subnet_are_kept_apart", || {
        let (left, right) = (Host::new(), Host::new());
        left.cable("lan0", "eth0");
        right.cable("lan1", "eth0");
        left.ip("addr add 10.1.0.20/24 dev eth0");
        right.ip("addr add 10.1.0.20/24 dev eth0");
        ip("addr add 10.1.0.1/24 dev lan0");
        ip("addr add 10.1.0.2/24 dev lan1");
        on_runtime(async {
            let mut net = Net::bind(v4()).await.unwrap();
            let interfaces = net.interfaces().to_vec();
            let (at_left, at_right) = (left.udp("10.1.0.20:5000"), right.udp("10.1.0.20:5000"));
            for (name, payload) in [("lan1", &b"right"[..]), ("lan0", b"left")] {
                net.apply(to(named(&interfaces, name).unwrap(), "10.1.0.20:5000".parse().unwrap(), payload));
            }
            assert_eq!(received(&at_left), (b"left".to_vec(), "10.1.0.1:1900".parse().unwrap()));
            assert_eq!(received(&at_right), (b"right".to_vec(), "10.1.0.2:1900".parse().unwrap()));
            assert!(matches!(net.next().await, NetEvent::Interfaces(_)));
        });
    });
}

#[test]
fn an_ipv6_address_is_used_once_it_is_known_to_be_unique() {
    in_own_network("interfaces::an_ipv6_address_is_used_once_it_is_known_to_be_unique", || {
        let other = Host::new();
        on_runtime(async {
            let mut net = Net::bind(NetConfig::default()).await.unwrap();
            other.cable("lan0", "eth0");
            ip("addr add fd00:1::1/64 dev lan0");
            other.ip("addr add fd00:1::2/64 dev eth0 nodad");

            let ready = |i: &[Interface]| {
                has_address(i, "fd00:1::1") && i[0].addresses.iter().any(|a| is_link_local(a.address))
            };
            let interfaces = interfaces_where(&mut net, "both addresses", ready).await;
            let lan0 = &interfaces[0];
            ip_shows("-6 addr show dev lan0", |text| !text.contains("tentative"));
            assert!(asked_from(&other, &mut net, "fd00:1::1").await.unwrap().starts_with("HTTP/1.1 200 "));

            // Link-local: group, answer and HTTP, all with the interface as scope.
            other.on(|| {
                ip_shows("-6 addr show dev eth0 scope link", |t| t.contains("fe80") && !t.contains("tentative"))
            });
            let searcher = other.udp("[::]:0");
            let scope = other.on(|| index("eth0"));
            let group = std::net::SocketAddrV6::new(SSDP_V6_LINK, SSDP_PORT, 0, scope);
            searcher.send_to(b"search", group).unwrap();
            let heard = next_datagram(&mut net, b"search").await;
            let SocketAddr::V6(from) = heard.from else { panic!("not IPv6") };
            assert_eq!((heard.interface, heard.multicast, from.scope_id()), (lan0.id, true, lan0.id.0));
            net.apply(to(lan0, heard.from, b"answer"));
            let (text, from) = received(&searcher);
            assert_eq!((&text[..], is_link_local(from.ip())), (&b"answer"[..], true));

            searcher.join_multicast_v6(&SSDP_V6_LINK, scope).unwrap();
            let member = other.udp("[::]:1900");
            member.join_multicast_v6(&SSDP_V6_LINK, scope).unwrap();
            net.apply(to(lan0, (SSDP_V6_LINK, SSDP_PORT).into(), b"alive"));
            let (text, from) = received(&member);
            assert_eq!((&text[..], is_link_local(from.ip())), (&b"alive"[..], true), "{from}");
        });
    });
}

#[test]
fn a_multicast_crosses_as_many_routers_as_configured_and_a_link_local_one_none() {
    in_own_network("interfaces::a_multicast_crosses_as_many_routers_as_configured_and_a_link_local_one_none", || {
        let other = Host::new();
        other.cable("lan0", "eth0");
        for (address, theirs) in [("10.1.0.1/24", "10.1.0.2/24"), ("fd00:1::1/64 nodad", "fd00:1::2/64 nodad")] {
            ip(&format!("addr add {address} dev lan0"));
            other.ip(&format!("addr add {theirs} dev eth0"));
        }
        assert_eq!(NetConfig::default().multicast_ttl, 2);
        for multicast_ttl in [2, 5] {
            on_runtime(async {
                let mut net = Net::bind(NetConfig { multicast_ttl, ..Default::default() }).await.unwrap();
                let ready = |i: &[Interface]| {
                    has_address(i, "10.1.0.1")
                        && has_address(i, "fd00:1::1")
                        && i[0].addresses.iter().any(|a| is_link_local(a.address))
                };
                let interfaces = match net.interfaces() {
                    there if ready(there) => there.to_vec(),
                    _ => interfaces_where(&mut net, "all addresses", ready).await,
                };
                let (lan0, eth0) = (&interfaces[0], other.on(|| index("eth0")));
                let scoped = |group| SocketAddr::from(std::net::SocketAddrV6::new(group, SSDP_PORT, 0, lan0.id.0));
                for (group, hops) in [
                    (SocketAddr::from((SSDP_V4, SSDP_PORT)), multicast_ttl),
                    (scoped(SSDP_V6_LINK), 1),
                    (scoped(SSDP_V6_SITE), multicast_ttl),
                ] {
                    let member = match group.ip() {
                        IpAddr::V4(_) => other.member(&group.ip().to_string(), SSDP_PORT, "10.1.0.2"),
                        IpAddr::V6(ip) => {
                            let socket = other.udp(&format!("[::]:{SSDP_PORT}"));
                            socket.join_multicast_v6(&ip, eth0).unwrap();
                            socket
                        }
                    };
                    match group {
                        SocketAddr::V4(_) => setsockopt(&member, sockopt::Ipv4RecvTtl, &true).unwrap(),
                        SocketAddr::V6(_) => setsockopt(&member, sockopt::Ipv6RecvHopLimit, &true).unwrap(),
                    }
                    net.apply(to(lan0, group, b"announcement"));
                    assert_eq!(hops_of(&member), i32::from(hops), "{group}");
                }
            });
        }
    });
}

/// Hops that the next datagram has left.
fn hops_of(socket: &UdpSocket) -> i32 {
    let mut buffer = [0; 99];
    let mut buffers = [std::io::IoSliceMut::new(&mut buffer)];
    let mut space = nix::cmsg_space!(i32, i32);
    let fd = std::os::fd::AsRawFd::as_raw_fd(socket);
    let message = recvmsg::<()>(fd, &mut buffers, Some(&mut space), MsgFlags::empty()).unwrap();
    let hops = message.cmsgs().unwrap().find_map(|message| match message {
        ControlMessageOwned::Ipv4Ttl(hops) | ControlMessageOwned::Ipv6HopLimit(hops) => Some(hops),
        _ => None,
    });
    hops.unwrap()
}

#[test]
fn a_request_to_a_link_local_peer_leaves_by_its_scope_from_our_link_local_address() {
    in_own_network(
        "interfaces::a_request_to_a_link_local_peer_leaves_by_its_scope_from_our_link_local_address",
        || {
            let other = Host::new();
            other.cable("lan0", "eth0");
            on_runtime(async {
                let mut net = Net::bind(NetConfig::default()).await.unwrap();
                interfaces_where(&mut net, "the link-local address", |i| !i.is_empty()).await;
                let theirs = other.on(|| {
                    ip_shows("-6 addr show dev eth0", |text| text.contains("fe80") && !text.contains("tentative"));
                    link_local("eth0")
                });
                let listener = other.on(move || {
                    let address = std::net::SocketAddrV6::new(theirs, 0, 0, index("eth0"));
                    std::net::TcpListener::bind(address).unwrap()
                });
                let port = listener.local_addr().unwrap().port();
                let server = std::thread::spawn(move || {
                    let (mut stream, from) = listener.accept().unwrap();
                    let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
                    let mut request = [0; 512];
                    std::io::Read::read(&mut stream, &mut request).map(drop).unwrap();
                    std::io::Write::write_all(&mut stream, answer).unwrap();
                    from.ip()
                });

                let to = std::net::SocketAddrV6::new(theirs, port, 0, net.interfaces()[0].id.0);
                net.apply(request(1, to.into(), get("/")));

                assert_eq!(next_answer(&mut net).await.result.unwrap().body(), "ok");
                assert!(is_link_local(server.join().unwrap()));
            });
        },
    );
}

#[test]
fn a_peer_is_asked_from_the_address_it_knows_us_by() {
    in_own_network("interfaces::a_peer_is_asked_from_the_address_it_knows_us_by", || {
        let other = Host::new();
        other.cable("lan0", "eth0");
        other.ip("addr add fd00:1::2/64 dev eth0 nodad");
        ip("addr add fd00:1::1/64 dev lan0 nodad");
        // The kernel's own choice would be this one, as a privacy address is chosen for preference.
        ip("addr add fd00:1::bad/64 dev lan0 nodad");
        ip("-6 route add fd00:1::/64 dev lan0 metric 1 src fd00:1::bad");
        on_runtime(async {
            let mut net = Net::bind(NetConfig::default()).await.unwrap();
            interfaces_where(&mut net, "the addresses", |i| has_address(i, "fd00:1::1")).await;
            let known_as = net.interfaces()[0].address_toward("fd00:1::2".parse().unwrap()).unwrap();
            let listener = other.on(|| std::net::TcpListener::bind("[fd00:1::2]:0").unwrap());
            let to = listener.local_addr().unwrap();
            let server = std::thread::spawn(move || listener.accept().unwrap().1.ip());
            net.apply(request(1, to, get("/")));
            next_answer(&mut net).await.result.unwrap_err();
            assert_eq!(server.join().unwrap(), known_as);
        });
    });
}

#[test]
fn a_port_that_is_taken_is_bound_when_it_becomes_free() {
    in_own_network("interfaces::a_port_that_is_taken_is_bound_when_it_becomes_free", || {
        let other = Host::new();
        other.cable("lan0", "eth0");
        other.ip("addr add 10.1.0.2/24 dev eth0");
        ip("addr add 10.1.0.1/24 dev lan0");
        on_runtime(async {
            let taken = UdpSocket::bind("10.1.0.1:1900").unwrap();
            let mut net = Net::bind(v4()).await.unwrap();
            assert!(asked_from(&other, &mut net, "10.1.0.1").await.unwrap().starts_with("HTTP/1.1 200 "));
            drop(taken);
            let searcher = tokio::net::UdpSocket::from_std({
                let socket = other.udp("10.1.0.2:0");
                socket.set_nonblocking(true).unwrap();
                socket
            });
            let searcher = searcher.unwrap();
            let sending = tokio::spawn(async move {
                loop {
                    // Refused by ICMP until the port is bound.
                    let _ = searcher.send_to(b"search", "10.1.0.1:1900").await;
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            });
            next_datagram(&mut net, b"search").await;
            sending.abort();
        });
    });
}

#[test]
fn an_address_is_not_served_by_way_of_an_interface_that_is_not_used() {
    in_own_network("interfaces::an_address_is_not_served_by_way_of_an_interface_that_is_not_used", || {
        let (lan, wan) = (Host::new(), Host::new());
        lan.cable("lan0", "eth0");
        wan.cable("wan0", "eth0");
        lan.ip("addr add 10.1.0.2/24 dev eth0");
        wan.ip("addr add 203.0.113.2/24 dev eth0");
        wan.ip("route add default via 203.0.113.1");
        ip("addr add 10.1.0.1/24 dev lan0");
        ip("addr add 203.0.113.1/24 dev wan0");
        on_runtime(async {
            let interfaces = InterfaceFilter { exclude: vec!["wan0".into()], ..Default::default() };
            let mut net = Net::bind(NetConfig { interfaces, ..v4() }).await.unwrap();
            assert_eq!(net.interfaces().len(), 1);
            assert_eq!(asked_from(&wan, &mut net, "203.0.113.1").await, None);

            let outside = wan.udp("203.0.113.2:0");
            outside.send_to(b"outside", "10.1.0.1:1900").unwrap();
            outside.send_to(b"outside", (GROUP, SSDP_PORT)).unwrap();
            lan.udp("10.1.0.2:0").send_to(b"inside", "10.1.0.1:1900").unwrap();
            let first = next(&mut net, "a datagram", |e| match e {
                NetEvent::Datagram(d) => Some(d),
                _ => None,
            });
            assert_eq!(first.await.payload, "inside");
        });
    });
}

#[test]
fn our_address_toward_a_peer_is_that_of_the_route() {
    in_own_network("interfaces::our_address_toward_a_peer_is_that_of_the_route", || {
        let other = Host::new();
        other.cable("lan0", "eth0");
        ip("addr add 10.1.0.1/24 dev lan0");
        ip("addr add fd00:1::1/64 dev lan0 nodad");
        on_runtime(async {
            let lan0 = index("lan0");
            for (to, from) in [("10.1.0.9", "10.1.0.1"), ("fd00:1::9", "fd00:1::1")] {
                let (source, interface) = route_source(to.parse().unwrap()).await.unwrap();
                assert_eq!((source, interface.0), (from.parse().unwrap(), lan0));
            }
            let nowhere = route_source("192.0.2.1".parse().unwrap()).await.unwrap_err();
            assert_eq!(nowhere.kind(), std::io::ErrorKind::NetworkUnreachable);
        });
    });
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(a) if a.is_unicast_link_local())
}

/// The index of an interface of this thread's network.
fn index(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).unwrap()
}

/// The link-local address of an interface of this thread's network.
fn link_local(name: &str) -> std::net::Ipv6Addr {
    let addresses = nix::ifaddrs::getifaddrs().unwrap().filter(|a| a.interface_name == name);
    let own = addresses.filter_map(|a| a.address?.as_sockaddr_in6().map(|a| a.ip()));
    own.into_iter().find(std::net::Ipv6Addr::is_unicast_link_local).unwrap()
}
