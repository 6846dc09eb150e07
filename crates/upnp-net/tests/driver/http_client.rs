//! The HTTP client against servers that say exactly what a test wants.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use upnp::net::{HttpAnswer, HttpError};
use upnp_net::{ClientLimits, Net, NetConfig};

use crate::dialogue::*;

const SHORT: Duration = Duration::from_millis(80);

/// A server that answers every request on every connection with `answer`, closes after `requests_max` of them without saying
/// so, and reports what it was asked as `connection request`.
struct Server {
    address: std::net::SocketAddr,
    asked: tokio::sync::mpsc::UnboundedReceiver<(usize, String)>,
}

impl Server {
    async fn start(answer: &'static str, requests_max: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            for connection in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let tell = tell.clone();
                tokio::spawn(async move {
                    for _ in 0..requests_max {
                        let Some(request) = read_request(&mut stream).await else { return };
                        let _ = tell.send((connection, request));
                        let _ = stream.write_all(answer.as_bytes()).await;
                    }
                });
            }
        });
        Self { address, asked }
    }

    async fn asked(&mut self) -> (usize, String) {
        within("a request at the server", self.asked.recv()).await.unwrap()
    }
}

/// A request with the body its Content-Length announces; `None` when the client closed.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|l| l.strip_prefix("Content-Length: "));
            if body.len() >= length.map_or(0, |l| l.parse().unwrap()) {
                return Some(text);
            }
        }
        let mut bytes = [0; 512];
        match stream.read(&mut bytes).await {
            Ok(n) if n > 0 => text.push_str(std::str::from_utf8(&bytes[..n]).unwrap()),
            _ => return None,
        }
    }
}

async fn net() -> Net {
    Net::bind(loopback()).await.unwrap()
}

async fn net_with(client: ClientLimits) -> Net {
    Net::bind(NetConfig { client, ..loopback() }).await.unwrap()
}

/// What comes of a GET answered with `answer` by a server that then closes.
async fn answer_to_get(answer: &'static str) -> Result<http::Response<Bytes>, HttpError> {
    let (mut net, server) = (net().await, Server::start(answer, 1).await);
    net.apply(request(1, server.address, get("/d.xml")));
    next_answer(&mut net).await.result
}

#[tokio::test]
async fn a_request_goes_out_as_it_is_and_its_answer_comes_back_whatever_the_status() {
    let answer = "HTTP/1.1 500 Internal Server Error\r\nEXT:\r\nContent-Length: 5\r\n\r\nfault";
    let (mut net, mut server) = (net().await, Server::start(answer, 9).await);
    let notify = Request::builder()
        .method("NOTIFY")
        .uri("/callback/1?x=2")
        .header("Host", "192.0.2.9:8080")
        .header("SEQ", "0")
        .body("<e/>");
    net.apply(request(7, server.address, notify.unwrap()));

    let (_, asked) = server.asked().await;
    let HttpAnswer { id, result } = next_answer(&mut net).await;
    let answer = result.unwrap();

    assert!(asked.starts_with("NOTIFY /callback/1?x=2 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("\r\nHost: 192.0.2.9:8080\r\n") && asked.contains("\r\nSeq: 0\r\n"), "{asked}");
    assert!(asked.ends_with("\r\nContent-Length: 4\r\n\r\n<e/>"), "{asked}");
    assert_eq!((id.number, answer.status().as_u16()), (7, 500));
    assert_eq!((&answer.body()[..], answer.headers().contains_key("ext")), (&b"fault"[..], true));
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let (mut net, mut server) = (net().await, Server::start("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 9).await);
    for number in 0..5 {
        net.apply(request(number, server.address, get("/")));
        assert!(next_answer(&mut net).await.result.is_ok());
        assert_eq!(server.asked().await.0, 0, "all on the first connection");
    }
}

#[tokio::test]
async fn a_connection_the_server_said_it_closes_is_not_kept() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let (mut net, mut server) = (net().await, Server::start(answer, 9).await);
        for number in 0..2 {
            net.apply(request(number, server.address, get("/")));
            assert!(next_answer(&mut net).await.result.is_ok());
            assert_eq!(server.asked().await.0, number as usize);
        }
    }
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer_without_saying_so_loses_no_request() {
    let (mut net, mut server) = (net().await, Server::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 1).await);
    for number in 0..50 {
        net.apply(request(number, server.address, get("/")));
        let answer = next_answer(&mut net).await;
        assert_eq!(answer.result.unwrap().body(), "ok");
        assert_eq!(server.asked().await.0, number as usize);
    }
}

#[tokio::test]
async fn a_kept_connection_that_breaks_before_the_answer_is_tried_once_more_on_a_fresh_one() {
    // Takes the second request on the kept connection and closes instead of answering.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        let one = read_request(&mut first).await.unwrap();
        first.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1").await.unwrap();
        let two = read_request(&mut first).await.unwrap();
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        let again = read_request(&mut second).await.unwrap();
        second.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2").await.unwrap();
        assert_eq!(two, again);
        assert_ne!(one, two);
    });
    let mut net = net().await;
    for (number, path, body) in [(1, "/one", "1"), (2, "/two", "2")] {
        let post = Request::post(path).header("host", "h").body("<same/>").unwrap();
        net.apply(request(number, address, post));
        assert_eq!(next_answer(&mut net).await.result.unwrap().body(), body);
    }
    within("the server's end", server).await.unwrap();
}

#[tokio::test]
async fn a_fresh_connection_that_breaks_is_not_tried_again() {
    let (mut net, mut server) = (net().await, Server::start("", 1).await);
    net.apply(request(1, server.address, get("/")));
    assert!(matches!(next_answer(&mut net).await.result, Err(HttpError::Broken(_))));
    assert_eq!(server.asked().await.0, 0);
    assert!(server.asked.try_recv().is_err(), "asked twice");
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let client = ClientLimits { idle: SHORT, ..Default::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut net = net_with(client).await;
    net.apply(request(1, listener.local_addr().unwrap(), get("/")));
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        read_to_end(&mut stream).await
    };
    assert_eq!(beside_echo(&mut net, server).await, "");
}

#[tokio::test]
async fn nobody_there_no_answer_in_time_and_nonsense_are_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut net = net().await;

    net.apply(request(1, closed, get("/")));
    assert!(matches!(next_answer(&mut net).await.result, Err(HttpError::Connect(_))));

    net.apply(request_within(2, silent.local_addr().unwrap(), SHORT, get("/")));
    assert_eq!(next_answer(&mut net).await.result.unwrap_err(), HttpError::Timeout);

    assert!(matches!(answer_to_get("what?\r\n\r\n").await, Err(HttpError::Broken(_))));
    let cut = answer_to_get("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort").await;
    assert!(matches!(cut, Err(HttpError::Broken(_))), "{cut:?}");
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_ends_at_the_deadline() {
    let mut net = net().await;
    let server = Server::start("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nslow", 2).await;
    net.apply(request_within(1, server.address, SHORT, get("/")));
    assert_eq!(next_answer(&mut net).await.result.unwrap_err(), HttpError::Timeout);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_cut_off() {
    let announced = format!("HTTP/1.1 200 OK\r\nContent-Length: 1025\r\n\r\n{}", "x".repeat(1025));
    let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}", "3\r\nxxx\r\n".repeat(400));
    let endless = format!("HTTP/1.0 200 OK\r\n\r\n{}", "x".repeat(5000));
    let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(20_000));
    let fields = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "X: y\r\n".repeat(70));
    for text in [announced, chunked, endless, head, fields] {
        let answer = answer_to_get(text.leak()).await;
        assert_eq!(answer.unwrap_err(), HttpError::TooLarge);
    }
}

#[tokio::test]
async fn old_and_sloppy_servers_are_understood() {
    for answer in [
        "HTTP/1.0 200 OK\r\n\r\n<root/>",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n<ro\r\n4\r\not/>\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nServer : spaced\r\nContent-Length: 7\r\n\r\n<root/>",
        "HTTP/1.1 200 OK\r\nServer: folded\r\n over lines\r\nContent-Length: 7\r\n\r\n<root/>",
        "HTTP/1.1 200 OK\r\nBad Header Line\r\nContent-Length: 7\r\n\r\n<root/>",
        "HTTP/1.1 200 \r\ncontent-length:7\r\n\r\n<root/>",
        "HTTP/1.1 200\r\nCONTENT-LENGTH: 7\r\n\r\n<root/>",
        "HTTP/1.1 412 No valid callbacks found\r\nContent-Length: 7\r\n\r\n<root/>",
        "HTTP/1.1 200 OK\nContent-Length: 7\n\n<root/>",
    ] {
        let response = answer_to_get(answer).await.unwrap_or_else(|e| panic!("{answer:?}: {e}"));
        assert_eq!(response.body(), "<root/>", "{answer:?}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let answer = answer_to_get("HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(answer.unwrap().status(), 302);
}

#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let mut net = net().await;
    let server = Server::start("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", 2).await;
    let head = Request::head("/").header("host", "h").body("").unwrap();
    net.apply(request(1, server.address, head));
    assert_eq!(next_answer(&mut net).await.result.unwrap().body(), "");
}

#[tokio::test]
async fn a_host_gets_its_share_of_requests_at_once_and_the_rest_in_order_after() {
    let client = ClientLimits { running_per_host_max: 2, ..Default::default() };
    let (mut net, listener) = (net_with(client).await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    for number in 0..4 {
        net.apply(request(number, listener.local_addr().unwrap(), get("/")));
    }
    let taken = |listener: TcpListener| async move {
        let (first, _) = listener.accept().await.unwrap();
        let (second, _) = listener.accept().await.unwrap();
        (listener, first, second)
    };
    let (listener, mut first, second) = beside_echo(&mut net, taken(listener)).await;
    let third = tokio::time::timeout(SHORT, listener.accept());
    tokio::select! {
        third = third => assert!(third.is_err(), "a third at once"),
        // Other events may come: all tests share the loopback interface and its multicast groups.
        done = next_answer(&mut net) => panic!("nothing was answered: {done:?}"),
    }

    let close = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    first.write_all(close.as_bytes()).await.unwrap();
    let done = next_answer(&mut net).await;
    let mut third = beside_echo(&mut net, async { listener.accept().await.unwrap().0 }).await;
    third.write_all(close.as_bytes()).await.unwrap();
    let after = next_answer(&mut net).await;

    assert!(done.id.number < 2 && after.id.number == 2, "{done:?} {after:?}");
    drop(second);
}

#[tokio::test]
async fn beyond_what_may_wait_a_request_is_refused_at_once_and_none_waits_past_its_deadline() {
    let client = ClientLimits { running_max: 1, waiting_max: 1, ..Default::default() };
    let (mut net, silent) = (net_with(client).await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = silent.local_addr().unwrap();
    net.apply(request_within(1, address, SOON, get("/")));
    net.apply(request_within(2, address, SHORT, get("/")));
    net.apply(request_within(3, address, SOON, get("/")));

    let refused = next_answer(&mut net).await;
    let expired = next_answer(&mut net).await;

    assert_eq!((refused.id.number, refused.result.unwrap_err()), (3, HttpError::Busy));
    assert_eq!((expired.id.number, expired.result.unwrap_err()), (2, HttpError::Timeout));
}

#[tokio::test]
async fn any_number_of_silent_servers_does_not_keep_another_waiting_for_long() {
    let client = ClientLimits { running_per_host_max: 1000, ..Default::default() };
    let (mut net, silent) = (net_with(client).await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let running = 2 * upnp_net::limits::OUTGOING_AT_ONCE_MAX as u64;
    for number in 0..running {
        net.apply(request(number, silent.local_addr().unwrap(), get("/")));
    }
    let server = Server::start("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1).await;
    net.apply(request(running, server.address, get("/")));
    let answer = next_answer(&mut net).await;
    assert_eq!((answer.id.number, answer.result.is_ok()), (running, true));
}

#[tokio::test]
async fn two_of_our_programs_speak_to_each_other() {
    let (mut client, mut server) = (net().await, net().await);
    let address = local(&server);
    for number in 0..200 {
        let post = Request::post("/c").header("host", "h").body("<a/>").unwrap();
        client.apply(request(number, address, post));
        let answer = beside_echo(&mut server, next_answer(&mut client)).await;
        assert_eq!((answer.id.number, answer.result.unwrap().body()), (number, &Bytes::from_static(b"POST /c <a/>")));
    }
}
