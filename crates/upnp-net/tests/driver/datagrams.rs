//! Datagrams between programs of one host, on a loopback interface of their own.

use bytes::Bytes;
use upnp::net::{Channel, EVENT_PORT, EVENT_V4, Effect, InterfaceId, SSDP_PORT, SSDP_V4, Transmit};
use upnp_net::{Net, NetEvent};

use crate::dialogue::*;
use crate::hosts::in_own_network;

const LO: InterfaceId = InterfaceId(1);

fn transmit(channel: Channel, to: impl Into<std::net::SocketAddr>, payload: &'static [u8]) -> Effect {
    Effect::Send(Transmit { interface: LO, channel, to: to.into(), payload: Bytes::from_static(payload) })
}

#[test]
fn every_program_of_a_host_hears_a_search_and_only_the_searcher_its_answer() {
    in_own_network("datagrams::every_program_of_a_host_hears_a_search_and_only_the_searcher_its_answer", || {
        on_runtime(async {
            let (mut searcher, mut device) =
                (Net::bind(loopback()).await.unwrap(), Net::bind(loopback()).await.unwrap());

            searcher.apply(transmit(Channel::Ssdp, (SSDP_V4, SSDP_PORT), b"search"));
            let own = next_datagram(&mut searcher, b"search").await;
            let heard = next_datagram(&mut device, b"search").await;
            assert_eq!((heard.interface, heard.channel, heard.multicast), (LO, Channel::Ssdp, true));
            assert_eq!((own.from, own.from.ip().to_string().as_str()), (heard.from, "127.0.0.1"));
            assert_ne!(heard.from.port(), SSDP_PORT);

            device.apply(transmit(Channel::Ssdp, heard.from, b"answer"));
            device.apply(transmit(Channel::Ssdp, (SSDP_V4, SSDP_PORT), b"end"));
            let answer = next_datagram(&mut searcher, b"answer").await;
            assert_eq!((answer.channel, answer.multicast), (Channel::Ssdp, false));
            let first = next(&mut device, "a datagram", |e| match e {
                NetEvent::Datagram(d) => Some(d),
                _ => None,
            });
            assert_eq!(first.await.payload, "end", "the answer is for the searcher only");
        });
    });
}

#[test]
fn a_unicast_search_is_answered_from_the_port_it_was_sent_to() {
    in_own_network("datagrams::a_unicast_search_is_answered_from_the_port_it_was_sent_to", || {
        on_runtime(async {
            let mut device = Net::bind(loopback()).await.unwrap();
            let searcher = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();

            searcher.send_to(b"unicast", ("127.0.0.1", SSDP_PORT)).await.unwrap();
            let heard = next_datagram(&mut device, b"unicast").await;
            assert_eq!((heard.multicast, heard.from), (false, searcher.local_addr().unwrap()));

            device.apply(transmit(Channel::Ssdp, heard.from, b"answer"));
            let mut buffer = [0; 99];
            let (n, from) = within("an answer", searcher.recv_from(&mut buffer)).await.unwrap();
            assert_eq!((&buffer[..n], from.port()), (&b"answer"[..], SSDP_PORT));
        });
    });
}

#[test]
fn multicast_events_have_a_channel_of_their_own() {
    in_own_network("datagrams::multicast_events_have_a_channel_of_their_own", || {
        on_runtime(async {
            let (mut device, mut gateway) =
                (Net::bind(loopback()).await.unwrap(), Net::bind(loopback()).await.unwrap());

            device.apply(transmit(Channel::Events, (EVENT_V4, EVENT_PORT), b"event"));

            let heard = next_datagram(&mut gateway, b"event").await;
            assert_eq!((heard.channel, heard.multicast), (Channel::Events, true));
            next_datagram(&mut device, b"event").await;
        });
    });
}

#[test]
fn a_datagram_that_is_too_long_is_dropped_and_the_next_one_is_not() {
    in_own_network("datagrams::a_datagram_that_is_too_long_is_dropped_and_the_next_one_is_not", || {
        on_runtime(async {
            let mut device = Net::bind(loopback()).await.unwrap();
            let peer = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();

            peer.send_to(&vec![b'x'; 9000], ("127.0.0.1", SSDP_PORT)).await.unwrap();
            peer.send_to(b"", ("127.0.0.1", SSDP_PORT)).await.unwrap();
            peer.send_to(b"next", ("127.0.0.1", SSDP_PORT)).await.unwrap();

            let payloads = async {
                let mut payloads = Vec::new();
                while payloads.last().is_none_or(|p| p != "next") {
                    if let NetEvent::Datagram(d) = device.next().await {
                        payloads.push(d.payload);
                    }
                }
                payloads
            };
            assert_eq!(within("three datagrams", payloads).await, ["", "next"]);
        });
    });
}

#[test]
fn a_flood_of_datagrams_does_not_keep_requests_from_being_answered() {
    in_own_network("datagrams::a_flood_of_datagrams_does_not_keep_requests_from_being_answered", || {
        on_runtime(async {
            let mut net = Net::bind(loopback()).await.unwrap();
            let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let flood = {
                let (stop, socket) = (stop.clone(), std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
                std::thread::spawn(move || {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let _ = socket.send_to(&[b'x'; 400], ("127.0.0.1", SSDP_PORT));
                        let _ = socket.send_to(&[b'x'; 400], (SSDP_V4, SSDP_PORT));
                    }
                })
            };
            next_datagram(&mut net, &[b'x'; 400]).await;

            let mut stream = connect(&net).await;
            for _ in 0..200 {
                let answer = beside_echo(&mut net, async {
                    send(&mut stream, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
                    read_answer(&mut stream).await
                });
                assert!(answer.await.starts_with("HTTP/1.1 200 "));
            }

            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            flood.join().unwrap();
        });
    });
}
