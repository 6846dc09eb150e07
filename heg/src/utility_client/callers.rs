//! The gateway's own endpoint, where it is reachable: a few connections, small requests, an answer for each.
//!
//! Its connections are futures of the one loop, so that nothing is served while the loop does something else, and nothing more than
//! [`CALLERS_MAX`] at a time. Who calls is not known here: a request is handed on as it came. Strangers have [`STRANGERS_MAX`] of the
//! places, each network [`CALLERS_PER_SOURCE_MAX`], and lose theirs without a request; the others are for addresses from which the utility
//! has called before.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use secure_http::code_points::CONTENT_TYPE_SIGN1;
use secure_http::endpoints::same_media_type;
use secure_http::limits::MESSAGE_BYTES_MAX;
use secure_http::{CHALLENGE_HEADER, COOKIE_HEADER};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use utility_wire::endpoints;

use crate::limits::{
    ACCEPTS_PER_TURN, CALL_BUFFER_BYTES, CALL_REQUEST_WITHIN, CALL_WITHIN, CALLERS_MAX, CALLERS_PER_SOURCE_MAX,
    STRANGERS_MAX,
};

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

type Serving = Pin<Box<dyn Future<Output = ()>>>;

/// A connection's place.
struct Place {
    network: IpAddr,
    proved: bool,
    serving: Serving,
}

/// The socket and its connections.
pub(super) struct Callers {
    listener: TcpListener,
    places: Vec<Place>,
    calls: (mpsc::Sender<Call>, mpsc::Receiver<Call>),
}

/// Who counts as one source: an address, or all that a connection's own IPv6 network has (a /64).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

impl Callers {
    /// Listens.
    pub(super) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, places: Vec::new(), calls: mpsc::channel(CALLERS_MAX) })
    }

    /// Where.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next request. `proved` are addresses from which the utility has called.
    pub(super) fn poll_call(&mut self, proved: &[IpAddr], context: &mut Context<'_>) -> Poll<Call> {
        let mut accepts = 0;
        loop {
            // First those that are over: their places are free for who comes.
            self.places.retain_mut(|place| place.serving.as_mut().poll(context).is_pending());
            if accepts == ACCEPTS_PER_TURN {
                // The rest of the loop wants its turn too.
                context.waker().wake_by_ref();
                break;
            }
            let Poll::Ready(accepted) = self.listener.poll_accept(context) else { break };
            accepts += 1;
            match accepted {
                Ok((stream, peer)) => self.take(stream, peer.ip(), proved),
                Err(error) => tracing::debug!(%error, "a connection that was gone before it was taken"),
            }
        }
        // Its sender is kept here, so it never ends.
        match ready!(self.calls.1.poll_recv(context)) {
            Some(call) => Poll::Ready(call),
            None => Poll::Pending,
        }
    }
}

impl Callers {
    /// A connection for which there is no place is closed without a word: a word costs more than the place.
    fn take(&mut self, stream: TcpStream, from: IpAddr, proved: &[IpAddr]) {
        let network = network(from);
        let proved = proved.contains(&from.to_canonical());
        let of_it = self.places.iter().filter(|place| place.network == network).count();
        let strangers = self.places.iter().filter(|place| !place.proved).count();
        let full = self.places.len() >= CALLERS_MAX || (!proved && strangers >= STRANGERS_MAX);
        if full || of_it >= CALLERS_PER_SOURCE_MAX {
            tracing::debug!(%from, "no place for a caller");
            return;
        }
        let serving = Box::pin(serve(stream, from, self.calls.0.clone()));
        self.places.push(Place { network, proved, serving });
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
    // From its first byte, and from each answer, to the next whole head.
    builder.timer(TokioTimer::new()).header_read_timeout(CALL_REQUEST_WITHIN);
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
    let body = timeout(CALL_REQUEST_WITHIN, Limited::new(body, MESSAGE_BYTES_MAX).collect());
    let body = body.await.map_err(|_| StatusCode::REQUEST_TIMEOUT)?.map_err(|error| {
        if error.is::<LengthLimitError>() { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST }
    })?;
    let (answer, answered) = oneshot::channel();
    Ok((Call { wanted, from, cookie: cookie(&head.headers), body: body.to_bytes(), answer }, answered))
}

#[cfg(test)]
mod tests {

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const REQUEST: &[u8] =
        b"POST /g/v1/poll HTTP/1.1\r\nhost: home\r\ncontent-type: application/cose; cose-type=\"cose-sign1\"\r\ncontent-length: 2\r\n\r\nhi";

    async fn connect(to: SocketAddr, from: [u8; 4]) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(to).await.unwrap()
    }

    /// Serves until the story is over; each call is answered with its address.
    async fn with_callers(proved: Vec<IpAddr>, story: impl AsyncFnOnce(SocketAddr)) {
        let mut callers = Callers::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = callers.address().unwrap();
        let serving = std::future::poll_fn(|context| {
            while let Poll::Ready(call) = callers.poll_call(&proved, context) {
                _ = call.answer.send(Answer::Sealed(call.from.to_string().into_bytes()));
            }
            Poll::<()>::Pending
        });
        tokio::select! {
            () = serving => {}
            () = story(address) => {}
        }
    }

    async fn is_answered(mut caller: TcpStream) -> bool {
        let mut answer = [0; 15];
        caller.write_all(REQUEST).await.is_ok()
            && caller.read_exact(&mut answer).await.is_ok()
            && answer.starts_with(b"HTTP/1.1 200 OK")
    }

    #[tokio::test]
    async fn a_source_gets_few_places_and_loses_them_without_a_request() {
        with_callers(Vec::new(), async |address| {
            let begun = daemon_kit::clock::boottime();
            let mut idle = Vec::new();
            for _ in 0..2 * CALLERS_MAX {
                idle.push(connect(address, [127, 0, 0, 2]).await);
            }
            // Who comes from elsewhere is served although they all wait.
            assert!(is_answered(connect(address, [127, 0, 0, 3]).await).await);
            assert!(daemon_kit::clock::boottime() - begun < CALL_REQUEST_WITHIN, "it had to wait for the idle ones");
            // A head that never ends is no request.
            _ = idle[0].write_all(b"POST /g/v1/poll HTTP/1.1\r\n").await;
            for mut connection in idle {
                let ended = timeout(2 * CALL_REQUEST_WITHIN, connection.read_to_end(&mut Vec::new())).await;
                assert!(ended.is_ok(), "an idle connection is still there");
            }
            assert!(is_answered(connect(address, [127, 0, 0, 2]).await).await, "its places are free again");
        })
        .await;
    }

    #[tokio::test]
    async fn strangers_from_many_addresses_leave_a_place_for_whence_the_utility_has_called() {
        let utility = [127, 0, 0, 99];
        with_callers(vec![IpAddr::from(utility)], async |address| {
            let mut idle = Vec::new();
            for host in 0..4 * CALLERS_MAX {
                idle.push(connect(address, [127, 0, 1, u8::try_from(host).unwrap()]).await);
            }
            assert!(!is_answered(connect(address, [127, 0, 0, 98]).await).await, "all places of strangers are taken");
            assert!(is_answered(connect(address, utility).await).await);
            drop(idle);
        })
        .await;
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
