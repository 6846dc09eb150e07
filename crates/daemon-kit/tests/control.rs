//! The control socket between a server and clients of this crate, and rude peers.

use std::future::Future;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon_kit::control::client::{self, ClientError};
use daemon_kit::control::{ControlError, ControlRequest, ControlServer, ControlStream};
use daemon_kit::exit::Exit;
use daemon_kit::limits::{
    CONTROL_BODY_BYTES_MAX, CONTROL_CONNECTIONS_MAX, CONTROL_STREAM_LINES_MAX, CONTROL_STREAMS_MAX,
};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

/// Far more than anything here takes, far less than a person waits.
const DEADLINE: Duration = Duration::from_secs(20);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("came within the deadline")
}

fn socket() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("control.sock");
    (dir, path)
}

/// Serves for ever: echo as JSON, text, an error, silence.
async fn serve(mut server: ControlServer) {
    loop {
        let request = server.next().await;
        match request.path.as_str() {
            "/echo" => {
                let body = request.json::<Value>().ok();
                let name = request.query_value("name");
                let answer =
                    json!({ "method": request.method.as_str(), "body": body, "name": name, "uid": request.peer.uid });
                request.respond_json(StatusCode::OK, &answer);
            }
            "/text" => request.respond_text(StatusCode::OK, "plain"),
            "/drop" => drop(request),
            _ => {
                let what = request.segments().join(" ");
                request.respond_error(StatusCode::NOT_FOUND, "not-found", format!("no {what} here"));
            }
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn requests_are_answered_and_errors_told_in_words() {
    let (_dir, path) = socket();
    let server = tokio::spawn(serve(ControlServer::bind(&path, 0o660).await.unwrap()));
    let answer = client::get(&path, "/echo?x=1&name=Kitchen%20fridge").await.unwrap().json::<Value>().unwrap();
    let uid = nix::unistd::getuid().as_raw();
    assert_eq!(answer, json!({ "method": "GET", "body": null, "name": "Kitchen fridge", "uid": uid }));
    let answer = client::post(&path, "/echo", &json!({ "a": [1] })).await.unwrap().json::<Value>().unwrap();
    assert_eq!((answer["method"].as_str(), &answer["body"]["a"][0]), (Some("POST"), &json!(1)));
    assert_eq!(client::delete(&path, "/echo").await.unwrap().json::<Value>().unwrap()["method"], "DELETE");
    assert_eq!(client::get(&path, "/text").await.unwrap().text(), "plain");

    let error = client::get(&path, &format!("/appliances/{}", client::encoded("my fridge/2"))).await.unwrap_err();
    assert_eq!(error.to_string(), "no appliances my fridge/2 here");
    assert!(matches!(&error, ClientError::Refused { status: StatusCode::NOT_FOUND, code, .. } if code == "not-found"));
    assert_eq!(error.exit(), Exit::Usage);
    let error = client::get(&path, "/drop").await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { status: StatusCode::SERVICE_UNAVAILABLE, .. }), "{error}");
    server.abort();
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_without_daemon_says_so() {
    let (_dir, path) = socket();
    let error = client::get(&path, "/").await.unwrap_err();
    assert!(error.to_string().contains("is it running?"), "{error}");
    assert_eq!(error.exit(), Exit::Unavailable);
}

#[tokio::test(flavor = "current_thread")]
async fn a_stale_socket_is_replaced_and_a_live_one_is_an_error() {
    let (_dir, path) = socket();
    // A listener that went without removing its socket, as after a crash.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = ControlServer::bind(&path, 0o600).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let error = ControlServer::bind(&path, 0o600).await.unwrap_err();
    assert!(matches!(error, ControlError::InUse(_)), "{error}");
    drop(server);
    assert!(!path.exists(), "a server that ends removes its socket");
    std::fs::write(&path, "precious").unwrap();
    let error = ControlServer::bind(&path, 0o600).await.unwrap_err();
    assert!(matches!(error, ControlError::NotASocket(_)), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn a_missing_directory_of_the_socket_is_made_but_not_its_parents() {
    let dir = tempfile::tempdir().unwrap();
    let server = ControlServer::bind(&dir.path().join("run/control.sock"), 0o660).await;
    assert!(server.is_ok(), "{:?}", server.err());
    assert!(ControlServer::bind(&dir.path().join("no/such/control.sock"), 0o660).await.is_err());
}

#[tokio::test(flavor = "current_thread")]
async fn a_server_that_ends_leaves_its_successors_socket_alone() {
    let (_dir, path) = socket();
    let old = ControlServer::bind(&path, 0o600).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let new = ControlServer::bind(&path, 0o600).await.unwrap();
    drop(old);
    assert!(path.exists());
    drop(new);
}

#[tokio::test(flavor = "current_thread")]
async fn an_oversized_body_is_refused_and_the_daemon_never_sees_it() {
    let (_dir, path) = socket();
    let server = tokio::spawn(serve(ControlServer::bind(&path, 0o660).await.unwrap()));
    let error = client::post(&path, "/echo", &"x".repeat(CONTROL_BODY_BYTES_MAX)).await.unwrap_err();
    // The refusal can be overtaken by the broken connection, since the server stops reading.
    match error {
        ClientError::Refused { status, .. } => assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE),
        ClientError::Lost(_) => {}
        other => panic!("{other}"),
    }
    assert_eq!(client::get(&path, "/text").await.unwrap().text(), "plain");
    server.abort();
}

#[tokio::test(flavor = "current_thread")]
async fn garbage_is_answered_with_400_and_closed() {
    let (_dir, path) = socket();
    let server = tokio::spawn(serve(ControlServer::bind(&path, 0o660).await.unwrap()));
    let mut peer = UnixStream::connect(&path).await.unwrap();
    peer.write_all(b"\x00\x01 nonsense\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(peer.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    server.abort();
}

/// One request, taken and turned into a stream.
async fn stream_pair(server: &mut ControlServer, path: &Path) -> (ControlStream, client::LineStream) {
    let (stream, reader) =
        tokio::join!(async { server.next().await.stream().expect("a free place") }, client::stream(path, "/watch"));
    (stream, reader.expect("a stream"))
}

#[tokio::test(flavor = "current_thread")]
async fn a_stream_carries_lines_and_ends_in_order() {
    let (_dir, path) = socket();
    let mut server = ControlServer::bind(&path, 0o660).await.unwrap();
    let (mut stream, mut reader) = stream_pair(&mut server, &path).await;
    stream.send(&json!({ "n": 1, "text": "a\nb" })).unwrap();
    stream.send(&json!({ "n": 2 })).unwrap();
    assert_eq!(within(reader.next::<Value>()).await.unwrap().unwrap()["text"], "a\nb");
    assert_eq!(within(reader.next_line()).await.unwrap().unwrap(), r#"{"n":2}"#);
    drop(stream);
    assert_eq!(within(reader.next_line()).await.unwrap(), None);
}

#[tokio::test(flavor = "current_thread")]
async fn a_reader_that_left_is_noticed() {
    let (_dir, path) = socket();
    let mut server = ControlServer::bind(&path, 0o660).await.unwrap();
    let (mut stream, reader) = stream_pair(&mut server, &path).await;
    drop(reader);
    within(async {
        while stream.is_open() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(stream.send(&1).is_err());
}

#[tokio::test(flavor = "current_thread")]
async fn a_slow_reader_is_cut_off_and_notices_while_others_read_on() {
    let (_dir, path) = socket();
    let mut server = ControlServer::bind(&path, 0o660).await.unwrap();
    let (mut slow, mut slow_reader) = stream_pair(&mut server, &path).await;
    let (mut quick, mut quick_reader) = stream_pair(&mut server, &path).await;
    let line = "x".repeat(10_000);
    let mut sent = 0;
    within(async {
        while slow.send(&line).is_ok() {
            sent += 1;
            assert!(sent < 100_000, "a reader that never reads is cut off");
            quick.send(&sent).unwrap();
            assert_eq!(quick_reader.next::<usize>().await.unwrap(), Some(sent));
        }
    })
    .await;
    assert!(sent >= CONTROL_STREAM_LINES_MAX, "only after the lines it may be behind");
    // What was on its way still comes, then the break is told apart from an end.
    let end = within(async {
        loop {
            match slow_reader.next_line().await {
                Ok(Some(_)) => {}
                end => return end,
            }
        }
    })
    .await;
    assert!(matches!(end, Err(ClientError::Lost(_))), "{end:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_reader_learns_that_the_daemon_died() {
    let (_dir, path) = socket();
    let mut server = ControlServer::bind(&path, 0o660).await.unwrap();
    let (_stream, mut reader) = stream_pair(&mut server, &path).await;
    drop(server);
    assert!(matches!(within(reader.next_line()).await, Err(ClientError::Lost(_))));
}

#[tokio::test(flavor = "current_thread")]
async fn streams_are_bounded_and_a_place_comes_back() {
    let (_dir, path) = socket();
    let mut server = ControlServer::bind(&path, 0o660).await.unwrap();
    let mut pairs = Vec::new();
    for _ in 0..CONTROL_STREAMS_MAX {
        pairs.push(stream_pair(&mut server, &path).await);
    }
    let (refused, error) =
        tokio::join!(async { server.next().await.stream().is_none() }, client::stream(&path, "/watch"));
    assert!(refused);
    assert!(matches!(error, Err(ClientError::Refused { status: StatusCode::SERVICE_UNAVAILABLE, .. })));
    let (stream, mut reader) = pairs.pop().unwrap();
    drop(stream);
    assert_eq!(within(reader.next_line()).await.unwrap(), None);
    drop(reader);
    stream_pair(&mut server, &path).await;
}

#[tokio::test(flavor = "current_thread")]
async fn more_connections_than_allowed_wait_for_their_turn() {
    let (_dir, path) = socket();
    let server = tokio::spawn(serve(ControlServer::bind(&path, 0o660).await.unwrap()));
    let mut idle = Vec::new();
    for _ in 0..CONTROL_CONNECTIONS_MAX {
        let mut peer = UnixStream::connect(&path).await.unwrap();
        // Answered once, so it is surely accepted, and then kept open.
        peer.write_all(b"GET /text HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        within(peer.read(&mut [0; 1024])).await.unwrap();
        idle.push(peer);
    }
    let mut waiting = tokio::spawn({
        let path = path.clone();
        async move { client::get(&path, "/text").await.map(|answer| answer.text()) }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    idle.pop();
    assert_eq!(within(&mut waiting).await.unwrap().unwrap(), "plain");
    server.abort();
}

#[tokio::test(flavor = "current_thread")]
async fn a_request_may_be_answered_later_than_another() {
    let (_dir, path) = socket();
    let mut server = ControlServer::bind(&path, 0o660).await.unwrap();
    let daemon = async {
        let mut held: Option<ControlRequest> = None;
        for _ in 0..2 {
            let request = server.next().await;
            match request.path.as_str() {
                "/slow" => held = Some(request),
                _ => {
                    request.respond_text(StatusCode::OK, "quick");
                    held.take().unwrap().respond_text(StatusCode::OK, "slow");
                }
            }
        }
    };
    let slow = client::get(&path, "/slow");
    let (slow, quick, ()) = within(async { tokio::join!(slow, client::get(&path, "/quick"), daemon) }).await;
    assert_eq!((slow.unwrap().text(), quick.unwrap().text()), ("slow".to_owned(), "quick".to_owned()));
}
