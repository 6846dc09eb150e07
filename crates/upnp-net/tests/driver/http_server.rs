//! The HTTP server on the loopback interface, seen from a raw socket.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use upnp_net::{Net, NetConfig, NetError, ServerLimits};

use crate::dialogue::*;

const SHORT: Duration = Duration::from_millis(60);

async fn net() -> Net {
    Net::bind(loopback()).await.unwrap()
}

async fn net_with(server: ServerLimits) -> Net {
    Net::bind(NetConfig { server, ..loopback() }).await.unwrap()
}

/// What the server answers to `text` on a connection of its own, until it closes.
async fn exchange(net: &mut Net, text: &str) -> String {
    let mut stream = connect(net).await;
    beside_echo(net, async {
        send(&mut stream, text).await;
        read_to_end(&mut stream).await
    })
    .await
}

#[tokio::test]
async fn a_request_arrives_whole_with_both_addresses_and_is_answered_with_its_length() {
    let mut net = net().await;
    let mut stream = connect(&net).await;
    send(
        &mut stream,
        "POST /a/control?x=1 HTTP/1.1\r\nHost: h\r\nSOAPAction: \"a#b\"\r\nContent-Length: 4\r\n\r\nbody",
    )
    .await;

    let (request, responder) = next_request(&mut net).await;
    let (peer, local) = (request.peer, request.local);
    let request = request.request;
    responder.send(Response::builder().status(500).header("ext", "").body(Bytes::from_static(b"fault")).unwrap());
    let answer = beside_echo(&mut net, read_answer(&mut stream)).await;

    assert_eq!((peer, local), (stream.local_addr().unwrap(), stream.peer_addr().unwrap()));
    assert_eq!((request.method().as_str(), request.uri().to_string().as_str()), ("POST", "/a/control?x=1"));
    assert_eq!(request.headers()["soapaction"], "\"a#b\"");
    assert_eq!(&request.body()[..], b"body");
    assert!(answer.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{answer}");
    assert!(answer.contains("\r\nContent-Length: 5\r\n") && answer.contains("\r\nDate: "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nfault"), "{answer}");
}

#[tokio::test]
async fn a_connection_is_kept_for_many_requests() {
    let mut net = net().await;
    let mut stream = connect(&net).await;
    for i in 0..300 {
        let answer = beside_echo(&mut net, async {
            send(&mut stream, &format!("GET /{i} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
            read_answer(&mut stream).await
        })
        .await;
        assert!(answer.ends_with(&format!("GET /{i} ")), "{answer}");
    }
}

#[tokio::test]
async fn requests_sent_ahead_of_the_answers_are_all_answered_in_order() {
    let mut net = net().await;
    let mut stream = connect(&net).await;
    let text: String = (0..20).map(|i| format!("GET /{i} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
    let (whole, cut) = text.split_at(text.len() - 11);
    beside_echo(&mut net, async {
        send(&mut stream, whole).await;
        for i in 0..19 {
            assert!(read_answer(&mut stream).await.ends_with(&format!("GET /{i} ")));
        }
        send(&mut stream, cut).await;
        assert!(read_answer(&mut stream).await.ends_with("GET /19 "));
    })
    .await;
}

#[tokio::test]
async fn a_request_in_many_small_pieces_is_one_request() {
    let mut net = net().await;
    let mut stream = connect(&net).await;
    stream.set_nodelay(true).unwrap();
    let body = "x".repeat(9000);
    let text = format!("NOTIFY /callback HTTP/1.1\r\nHost: h\r\nContent-Length: 9000\r\n\r\n{body}");
    let answer = beside_echo(&mut net, async {
        for piece in text.as_bytes().chunks(700) {
            send(&mut stream, std::str::from_utf8(piece).unwrap()).await;
            tokio::task::yield_now().await;
        }
        read_answer(&mut stream).await
    })
    .await;
    assert!(answer.ends_with(&format!("NOTIFY /callback {body}")));
}

#[tokio::test]
async fn chunks_are_joined() {
    let mut net = net().await;
    let text = "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                4\r\nchun\r\n3\r\nked\r\n1\r\n!\r\n0\r\n\r\n";
    assert!(exchange(&mut net, text).await.ends_with("\r\n\r\nPOST /c chunked!"));
}

#[tokio::test]
async fn extension_methods_a_missing_host_and_http_1_0_reach_the_application() {
    let mut net = net().await;
    for (text, want) in [
        ("SUBSCRIBE /e HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "SUBSCRIBE /e "),
        ("UNSUBSCRIBE /e HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "UNSUBSCRIBE /e "),
        ("GET /nohost HTTP/1.1\r\nConnection: close\r\n\r\n", "GET /nohost "),
        ("GET /old HTTP/1.0\r\n\r\n", "GET /old "),
    ] {
        let answer = exchange(&mut net, text).await;
        assert!(answer.starts_with("HTTP/1.") && answer.ends_with(want), "{text:?}: {answer}");
    }
}

#[tokio::test]
async fn http_1_0_is_kept_when_it_asks_for_it() {
    let mut net = net().await;
    let mut stream = connect(&net).await;
    for _ in 0..2 {
        let answer = beside_echo(&mut net, async {
            send(&mut stream, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
            read_answer(&mut stream).await
        })
        .await;
        assert!(answer.to_ascii_lowercase().contains("connection: keep-alive"), "{answer}");
    }
}

#[tokio::test]
async fn the_answer_to_head_has_the_length_but_no_body() {
    let mut net = net().await;
    let answer = exchange(&mut net, "HEAD /d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("\r\nContent-Length: 8\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_body_is_asked_for_when_the_client_waits_to_be_asked() {
    let mut net = net().await;
    let mut stream = connect(&net).await;
    beside_echo(&mut net, async {
        send(&mut stream, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await;
        assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 100 "));
        send(&mut stream, "ok").await;
        assert!(read_answer(&mut stream).await.ends_with("POST / ok"));
    })
    .await;
}

#[tokio::test]
async fn what_is_not_http_is_answered_400_and_closed() {
    let mut net = net().await;
    for text in [
        "\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let answer = exchange(&mut net, text).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{text:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let mut net = net().await;
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(65));
    for text in [long, many] {
        let answer = exchange(&mut net, &text).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_the_refusal_arrives() {
    let mut net = net_with(ServerLimits { request_body_bytes_max: 10_000, ..Default::default() }).await;
    let announced = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000));
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        format!("3e8\r\n{}\r\n", "x".repeat(1000)).repeat(100)
    );
    for text in [announced, chunked] {
        let answer = exchange(&mut net, &text).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer:?}");
    }
}

#[tokio::test]
async fn a_length_that_lies_ends_at_the_deadline_with_408() {
    let mut net = net_with(ServerLimits { body_within: SHORT, ..Default::default() }).await;
    let answer = exchange(&mut net, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\nshort").await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\r\nConnection: close\r\n"), "{answer:?}");
}

#[tokio::test]
async fn a_head_that_never_ends_is_closed_at_the_deadline() {
    let mut net = net_with(ServerLimits { head_within: SHORT, ..Default::default() }).await;
    let answer = exchange(&mut net, "GET / HTTP/1.1\r\nHost: h\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let mut net = net_with(ServerLimits { idle: SHORT, ..Default::default() }).await;
    let answer = exchange(&mut net, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("close"), "{answer:?}");
}

#[tokio::test]
async fn without_an_answer_of_the_application_503_goes_out() {
    let mut net = net_with(ServerLimits { response_within: SHORT, ..Default::default() }).await;
    let mut stream = connect(&net).await;
    send(&mut stream, "GET /dropped HTTP/1.1\r\nHost: h\r\n\r\n").await;
    drop(next_request(&mut net).await);
    assert!(beside_echo(&mut net, read_answer(&mut stream)).await.starts_with("HTTP/1.1 503 "));

    send(&mut stream, "GET /late HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let (_, late) = next_request(&mut net).await;
    assert!(beside_echo(&mut net, read_answer(&mut stream)).await.starts_with("HTTP/1.1 503 "));
    late.send(Response::default());

    send(&mut stream, "GET /again HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(beside_echo(&mut net, read_answer(&mut stream)).await.ends_with("GET /again "));
}

#[tokio::test]
async fn a_peer_with_too_many_connections_loses_one_that_never_asked_then_the_one_idle_longest() {
    let mut net = net_with(ServerLimits { connections_per_peer_max: 2, ..Default::default() }).await;
    let mut first = connect(&net).await;
    beside_echo(&mut net, ask(&mut first)).await;
    let mut silent = connect(&net).await;

    let mut second = connect(&net).await;
    beside_echo(&mut net, ask(&mut second)).await;
    assert_eq!(beside_echo(&mut net, read_to_end(&mut silent)).await, "", "never asked");

    let mut third = connect(&net).await;
    beside_echo(&mut net, ask(&mut third)).await;
    assert_eq!(beside_echo(&mut net, read_to_end(&mut first)).await, "", "was idle longest");
    assert!(beside_echo(&mut net, ask(&mut second)).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_peer_whose_connections_are_all_busy_gets_no_more_until_one_is_not() {
    let mut net = net_with(ServerLimits { connections_per_peer_max: 1, ..Default::default() }).await;
    let mut busy = connect(&net).await;
    send(&mut busy, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let (_, responder) = next_request(&mut net).await;
    let mut refused = connect(&net).await;
    assert_eq!(beside_echo(&mut net, read_to_end(&mut refused)).await, "");

    responder.send(Response::default());
    beside_echo(&mut net, read_answer(&mut busy)).await;
    let mut taken = connect(&net).await;
    assert!(beside_echo(&mut net, ask(&mut taken)).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn when_all_places_are_taken_the_peer_that_holds_most_of_them_loses_one() {
    let mut net = net_with(ServerLimits { connections_max: 4, ..Default::default() }).await;
    let to = local(&net);
    let from = |host: u8| async move {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, host], 0).into()).unwrap();
        socket.connect(to).await.unwrap()
    };
    let (mut quiet, mut opened_again) = (from(2).await, from(3).await);
    beside_echo(&mut net, ask(&mut quiet)).await;
    let mut flood = Vec::new();
    for _ in 0..20 {
        let mut stream = from(4).await;
        assert!(beside_echo(&mut net, ask(&mut stream)).await.starts_with("HTTP/1.1 200 "));
        flood.push(stream);
    }
    assert_eq!(beside_echo(&mut net, read_to_end(&mut flood[0])).await, "");
    for kept in [&mut quiet, &mut opened_again] {
        assert!(beside_echo(&mut net, ask(kept)).await.starts_with("HTTP/1.1 200 "), "pushed out by the flood");
    }
}

#[tokio::test]
async fn when_all_places_are_taken_the_connection_idle_longest_gives_way() {
    let mut net = net_with(ServerLimits { connections_max: 2, ..Default::default() }).await;
    let (mut first, mut second) = (connect(&net).await, connect(&net).await);
    for stream in [&mut second, &mut first] {
        beside_echo(&mut net, ask(stream)).await;
    }

    let mut third = connect(&net).await;
    let answer = beside_echo(&mut net, ask(&mut third)).await;

    assert!(answer.starts_with("HTTP/1.1 200 "));
    assert_eq!(beside_echo(&mut net, read_to_end(&mut second)).await, "", "was idle longest");
    assert!(beside_echo(&mut net, ask(&mut first)).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn when_all_connections_are_busy_a_new_one_is_closed() {
    let mut net = net_with(ServerLimits { connections_max: 1, ..Default::default() }).await;
    let mut busy = connect(&net).await;
    send(&mut busy, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let (_, responder) = next_request(&mut net).await;

    let mut other = connect(&net).await;
    assert_eq!(beside_echo(&mut net, read_to_end(&mut other)).await, "");

    responder.send(Response::default());
    assert!(beside_echo(&mut net, read_answer(&mut busy)).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn any_number_of_slow_peers_does_not_keep_a_quick_one_waiting_for_long() {
    let mut net = net().await;
    let mut slow = Vec::new();
    for _ in 0..3 * upnp_net::limits::INCOMING_AT_ONCE_MAX {
        let mut stream = connect(&net).await;
        send(&mut stream, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nslow").await;
        slow.push(stream);
    }
    let mut quick = connect(&net).await;
    let start = std::time::Instant::now();
    assert!(beside_echo(&mut net, ask(&mut quick)).await.starts_with("HTTP/1.1 200 "));
    assert!(start.elapsed() < upnp_net::limits::BODY_WITHIN, "waited for the slow ones' deadline");

    for stream in &mut slow {
        beside_echo(&mut net, async {
            send(stream, " but.").await;
            assert!(read_answer(stream).await.ends_with("POST / slow but."));
        })
        .await;
    }
}

#[tokio::test]
async fn dropping_the_driver_closes_its_listeners_and_connections() {
    let mut net = net().await;
    let address = local(&net);
    let mut stream = connect(&net).await;
    beside_echo(&mut net, ask(&mut stream)).await;

    drop(net);

    assert_eq!(within("the close", stream.read(&mut [0])).await.unwrap_or(0), 0);
    within("the listener's end", async { while TcpStream::connect(address).await.is_ok() {} }).await;
}

#[tokio::test]
async fn a_port_taken_by_another_program_is_an_error_at_start() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let http_port = other.local_addr().unwrap().port();

    let refused = Net::bind(NetConfig { http_port, ..loopback() }).await;

    let Err(NetError::Listen { address, source }) = refused else { panic!("bound a port that is taken") };
    assert_eq!((address, source.kind()), (other.local_addr().unwrap(), std::io::ErrorKind::AddrInUse));
}

async fn ask(stream: &mut TcpStream) -> String {
    send(stream, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    read_answer(stream).await
}
