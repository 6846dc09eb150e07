//! The gateway's own endpoint, where it is reachable: a few connections, small requests, an answer for each.
//!
//! Its connections are futures of the one loop, so that nothing is served while the loop does something else, and nothing more than
//! [`CALLERS_MAX`] at a time. Who calls is not known here: a request is handed on as it came.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use secure_http::code_points::CONTENT_TYPE_SIGN1;
use secure_http::endpoints::same_media_type;
use secure_http::limits::MESSAGE_BYTES_MAX;
use secure_http::{CHALLENGE_HEADER, COOKIE_HEADER};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use utility_wire::endpoints;

use crate::limits::{CALL_BUFFER_BYTES, CALL_WITHIN, CALLERS_MAX};

/// What is wanted of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// What it has.
    Poll,
    /// That it takes a command.
    Command,
}

/// A request as it came.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) wanted: Wanted,
    pub(super) from: IpAddr,
    /// Value of `HEG-Cookie`.
    pub(super) cookie: Option<String>,
    pub(super) body: Bytes,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// What the caller gets.
#[derive(Debug)]
pub(super) enum Answer {
    /// A sealed message.
    Sealed(Vec<u8>),
    /// Before it was known who calls: a status and nothing else.
    Status(StatusCode),
    /// Too many call: with a challenge.
    Busy(String),
}

type Connection = Pin<Box<dyn Future<Output = ()>>>;

/// The socket and its connections.
pub(super) struct Callers {
    listener: TcpListener,
    connections: Vec<Connection>,
    calls: (mpsc::Sender<Call>, mpsc::Receiver<Call>),
}

impl Callers {
    /// Listens.
    pub(super) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, connections: Vec::new(), calls: mpsc::channel(CALLERS_MAX) })
    }

    /// Where.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next request.
    pub(super) fn poll_call(&mut self, context: &mut Context<'_>) -> Poll<Call> {
        loop {
            // Whoever comes when all places are taken waits in the kernel's queue.
            while self.connections.len() < CALLERS_MAX
                && let Poll::Ready(accepted) = self.listener.poll_accept(context)
            {
                match accepted {
                    Ok((stream, peer)) => {
                        self.connections.push(Box::pin(serve(stream, peer.ip(), self.calls.0.clone())));
                    }
                    Err(error) => tracing::debug!(%error, "a connection that was gone before it was taken"),
                }
            }
            let before = self.connections.len();
            self.connections.retain_mut(|connection| connection.as_mut().poll(context).is_pending());
            if self.connections.len() == before {
                break;
            }
        }
        // Its sender is kept here, so it never ends.
        match ready!(self.calls.1.poll_recv(context)) {
            Some(call) => Poll::Ready(call),
            None => Poll::Pending,
        }
    }
}

/// A connection, from its first byte to its end, at most for [`CALL_WITHIN`].
async fn serve(stream: TcpStream, from: IpAddr, calls: mpsc::Sender<Call>) {
    let service = service_fn(move |request| {
        let calls = calls.clone();
        async move { Ok::<_, Infallible>(answered(request, from, &calls).await) }
    });
    let mut builder = http1::Builder::new();
    builder.max_buf_size(CALL_BUFFER_BYTES).keep_alive(true).half_close(false);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    match timeout(CALL_WITHIN, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%from, %error, "a caller's connection broke"),
        Err(_) => tracing::debug!(%from, "a caller took too long"),
    }
}

async fn answered(request: Request<Incoming>, from: IpAddr, calls: &mpsc::Sender<Call>) -> Response<Full<Bytes>> {
    let answer = match read(request, from).await {
        Ok((call, answer)) => match calls.send(call).await {
            // Dropped: the gateway stops.
            Ok(()) => answer.await.unwrap_or(Answer::Status(StatusCode::SERVICE_UNAVAILABLE)),
            Err(_) => Answer::Status(StatusCode::SERVICE_UNAVAILABLE),
        },
        Err(status) => Answer::Status(status),
    };
    let sealed = HeaderValue::from_static(CONTENT_TYPE_SIGN1);
    let (status, kind, body) = match &answer {
        Answer::Sealed(bytes) => (StatusCode::OK, sealed, Bytes::from(bytes.clone())),
        Answer::Status(status) => problem(*status),
        Answer::Busy(_) => problem(StatusCode::TOO_MANY_REQUESTS),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Answer::Busy(challenge) = &answer {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        if let Ok(challenge) = HeaderValue::from_str(challenge) {
            headers.insert(HeaderName::from_static(CHALLENGE_HEADER), challenge);
        }
    }
    response
}

/// A problem without detail (RFC 9457): the same for everybody.
fn problem(status: StatusCode) -> (StatusCode, HeaderValue, Bytes) {
    let body = format!("{{\"status\":{}}}", status.as_u16());
    (status, HeaderValue::from_static("application/problem+json"), body.into())
}

async fn read(request: Request<Incoming>, from: IpAddr) -> Result<(Call, oneshot::Receiver<Answer>), StatusCode> {
    let (head, body) = request.into_parts();
    let wanted = match head.uri.path() {
        endpoints::CALLED => Wanted::Poll,
        endpoints::COMMANDED => Wanted::Command,
        _ => return Err(StatusCode::NOT_FOUND),
    };
    if head.method != Method::POST {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !kind.is_some_and(|has| same_media_type(has, CONTENT_TYPE_SIGN1)) {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let cookie = |headers: &HeaderMap| headers.get(COOKIE_HEADER)?.to_str().ok().map(str::to_owned);
    let body = Limited::new(body, MESSAGE_BYTES_MAX).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST }
    })?;
    let (answer, answered) = oneshot::channel();
    Ok((Call { wanted, from, cookie: cookie(&head.headers), body: body.to_bytes(), answer }, answered))
}
