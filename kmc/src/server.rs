//! HTTP/1.1 over TCP, bounded in everything: connections, connections of one peer, heads, bodies, time. Each request is read whole, handed
//! to the loop, and its answer written. IO; decides nothing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use secure_http::limits::MESSAGE_BYTES_MAX;
use secure_http::{CHALLENGE_HEADER, COOKIE_HEADER, Refusal};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::exchange::{Refused, Request, Response};
use crate::limits::{
    ANSWER_TIMEOUT, BODY_TIMEOUT, BUFFER_BYTES, CONNECTIONS_PER_PEER_MAX, HEAD_TIMEOUT, HEADERS_MAX, QUEUE_MAX,
};

/// A request read whole. Dropped without an answer it is answered with 500.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    answer: oneshot::Sender<Response>,
}

impl Asked {
    /// Answers it. Who has gone meanwhile misses it.
    pub fn answer(self, response: Response) {
        if self.answer.send(response).is_err() {
            tracing::trace!("nobody waits for the answer any more");
        }
    }
}

/// A listening socket and its connections, cut when dropped.
#[derive(Debug)]
pub struct Server {
    asked: mpsc::Receiver<Asked>,
    accepting: JoinHandle<()>,
    address: SocketAddr,
}

impl Server {
    /// Listens there, with at most so many connections at once. In a tokio runtime.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn bind(address: SocketAddr, connections_max: usize) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (queue, asked) = mpsc::channel(QUEUE_MAX);
        let accepting = tokio::spawn(accept(listener, queue, connections_max));
        Ok(Self { asked, accepting, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that wait to be taken.
    pub fn waiting(&self) -> usize {
        self.asked.len()
    }

    /// The next request. Cancel safe.
    pub async fn next(&mut self) -> Asked {
        match self.asked.recv().await {
            Some(asked) => asked,
            // The accepting task ends only with this value or with the runtime.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Connections by peer. The lock is held for a look-up, never over a wait.
type Peers = Arc<Mutex<BTreeMap<IpAddr, usize>>>;

/// Who counts as one peer: an address, or all that a connection's own IPv6 network has (a /64).
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(ip) => std::net::Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// A connection's place among those of its peer.
struct Place {
    peers: Peers,
    peer: IpAddr,
}

impl Place {
    fn take(peers: &Peers, peer: IpAddr) -> Option<Self> {
        let peer = network(peer);
        let mut table = peers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = table.entry(peer).or_insert(0);
        if *count >= CONNECTIONS_PER_PEER_MAX {
            return None;
        }
        *count += 1;
        Some(Self { peers: peers.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = table.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                table.remove(&self.peer);
            }
        }
    }
}

async fn accept(listener: TcpListener, queue: mpsc::Sender<Asked>, connections_max: usize) {
    let free = Arc::new(Semaphore::new(connections_max));
    let peers = Peers::default();
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = free.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let peer = peer.ip().to_canonical();
                // One peer too many is closed without a word: a word costs more than its connection.
                let Some(place) = Place::take(&peers, peer) else { continue };
                let queue = queue.clone();
                connections.spawn(async move {
                    serve(stream, peer, queue).await;
                    drop((permit, place));
                });
            }
            Err(error) => {
                // No descriptor left, or the peer went already. A pause, so that the former does not spin.
                tracing::debug!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: IpAddr, queue: mpsc::Sender<Asked>) {
    let service = service_fn(|request| {
        let queue = queue.clone();
        async move { Ok::<_, Infallible>(written(answer(request, peer, queue).await)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, %peer, "connection ended");
    }
}

async fn answer(request: http::Request<Incoming>, peer: IpAddr, queue: mpsc::Sender<Asked>) -> Response {
    let (head, body) = request.into_parts();
    let reads = match head.method {
        Method::GET | Method::HEAD => true,
        Method::POST => false,
        _ => return Refused::Method("GET, HEAD, POST").into(),
    };
    if body.size_hint().lower() > MESSAGE_BYTES_MAX as u64 {
        return Refused::from(Refusal::TooLong).into();
    }
    let body = match timeout(BODY_TIMEOUT, Limited::new(body, MESSAGE_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => body.to_bytes().into(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Refused::from(Refusal::TooLong).into(),
        // Broken, or too slow: nobody reads what is said to that.
        _ => return Refused::from(Refusal::Malformed).into(),
    };
    let (answer, answered) = oneshot::channel();
    let request = Request {
        peer,
        reads,
        path: head.uri.path().to_owned(),
        content_type: text_of(&head.headers, header::CONTENT_TYPE),
        cookie: text_of(&head.headers, HeaderName::from_static(COOKIE_HEADER)),
        if_none_match: text_of(&head.headers, header::IF_NONE_MATCH),
        body,
    };
    if queue.send(Asked { request, answer }).await.is_err() {
        return Refused::Fault.into();
    }
    match timeout(ANSWER_TIMEOUT, answered).await {
        Ok(Ok(response)) => response,
        _ => Refused::Fault.into(),
    }
}

/// A header's only value; none where there are several, since different readers would take different ones.
fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(str::to_owned),
        _ => None,
    }
}

fn written(response: Response) -> http::Response<Full<Bytes>> {
    let mut out = http::Response::new(Full::new(Bytes::from(response.body)));
    *out.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut put = |name, value: Option<String>| {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            out.headers_mut().insert(name, value);
        }
    };
    put(header::CONTENT_TYPE, Some(response.content_type.to_owned()).filter(|text| !text.is_empty()));
    put(header::ETAG, response.etag);
    // What is sealed is for one reader and one time.
    let cache = response.max_age_s.map_or_else(|| "no-store".to_owned(), |s| format!("public, max-age={s}"));
    put(header::CACHE_CONTROL, Some(cache));
    put(header::RETRY_AFTER, response.retry_after_s.map(|s| s.to_string()));
    put(HeaderName::from_static(CHALLENGE_HEADER), response.challenge);
    put(header::ALLOW, response.allow.map(str::to_owned));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_of_the_whole_ipv6_network() {
        let peers = Peers::default();
        let from = |host: usize| Place::take(&peers, format!("2001:db8:1:2::{host:x}").parse().unwrap());
        let places: Vec<_> = (0..CONNECTIONS_PER_PEER_MAX).map(|host| from(host).unwrap()).collect();
        assert!(from(0xffff).is_none());
        assert!(Place::take(&peers, "2001:db8:1:3::1".parse().unwrap()).is_some());
        drop(places);
        assert!(from(1).is_some() && peers.lock().unwrap().len() <= 1);
    }
}
