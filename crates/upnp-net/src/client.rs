//! The HTTP client: bounded in total and per host, a whole-request deadline, kept connections, and those that are to stay
//! open without a request.

use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::coop::unconstrained;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};
use upnp::net::{HttpAnswer, HttpError, HttpRequest, RequestId};

use crate::connection::{CollectError, collect, has_close};
use crate::limits;
use crate::pool::Pool;

/// Bounds of the HTTP client; the defaults are in [`crate::limits`] with their reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Requests in flight in total.
    pub running_max: usize,
    /// Requests in flight to one host.
    pub running_per_host_max: usize,
    /// Requests that wait for a place; beyond it the answer is [`HttpError::Busy`].
    pub waiting_max: usize,
    /// A connection must be up within this.
    pub connect_within: Duration,
    /// An idle connection is kept for this; zero keeps none.
    pub idle: Duration,
    /// A connection that is to stay is probed after this without traffic, whole seconds.
    pub probe_after: Duration,
    /// A peer that keeps a connection open for so long after its answer is one that holds connections.
    pub holds_after: Duration,
    /// A connection that lasted so long was not closed soon.
    pub held_well_after: Duration,
    /// First pause before a connection that is to stay is opened again; then doubling.
    pub reopen_after: Duration,
    /// Longest such pause.
    pub reopen_after_max: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            running_max: limits::REQUESTS_RUNNING_MAX,
            running_per_host_max: limits::REQUESTS_RUNNING_PER_HOST_MAX,
            waiting_max: limits::REQUESTS_WAITING_MAX,
            connect_within: limits::CONNECT_WITHIN,
            idle: limits::CLIENT_IDLE,
            probe_after: limits::PROBE_AFTER,
            holds_after: limits::HOLDS_AFTER,
            held_well_after: limits::HELD_WELL_AFTER,
            reopen_after: limits::REOPEN_AFTER,
            reopen_after_max: limits::REOPEN_AFTER_MAX,
        }
    }
}

/// The requests in flight and those that wait.
#[derive(Debug)]
pub(crate) struct Client {
    limits: ClientLimits,
    shared: Arc<Shared>,
    tasks: JoinSet<Result<Response<Bytes>, HttpError>>,
    running: HashMap<Id, (RequestId, SocketAddr)>,
    per_host: BTreeMap<IpAddr, usize>,
    waiting: VecDeque<Waiting>,
    /// Connections being opened without a request; the pool hears of them.
    opening: JoinSet<()>,
    /// Answers that needed no request: one for each request refused or expired since the loop last looked.
    refused: VecDeque<HttpAnswer>,
}

/// What the requests in flight share.
#[derive(Debug)]
struct Shared {
    pool: Pool,
    /// Held while HTTP state is held.
    turns: Semaphore,
    connect_within: Duration,
}

#[derive(Debug)]
struct Waiting {
    request: HttpRequest,
    from: Option<IpAddr>,
    deadline: Instant,
}

impl Client {
    pub(crate) fn new(bounds: ClientLimits) -> Self {
        Self {
            shared: Arc::new(Shared {
                pool: Pool::new(bounds.clone()),
                turns: Semaphore::new(limits::OUTGOING_AT_ONCE_MAX),
                connect_within: bounds.connect_within,
            }),
            limits: bounds,
            tasks: JoinSet::new(),
            running: HashMap::new(),
            per_host: BTreeMap::new(),
            waiting: VecDeque::new(),
            opening: JoinSet::new(),
            refused: VecDeque::new(),
        }
    }

    /// Starts a request, or has it wait for a place. Its connection starts from the address `from` where one is given.
    pub(crate) fn request(&mut self, request: HttpRequest, from: Option<IpAddr>) {
        if self.waiting.len() >= self.limits.waiting_max && !self.has_place(request.to.ip()) {
            self.refused.push_back(HttpAnswer { id: request.id, result: Err(HttpError::Busy) });
            return;
        }
        let deadline = Instant::now() + request.within;
        let waiting = Waiting { request, from, deadline };
        if self.has_place(waiting.request.to.ip()) {
            self.start(waiting);
        } else {
            self.waiting.push_back(waiting);
        }
    }

    /// The next answer, or none when a kept connection has come or gone, which [`Self::tend`] is to see. Waits for ever while
    /// there is neither to come. Cancel safe.
    pub(crate) async fn answer(&mut self) -> Option<HttpAnswer> {
        if let Some(answer) = self.refused.pop_front() {
            return Some(answer);
        }
        let (task, result) = tokio::select! {
            Some(done) = self.tasks.join_next_with_id() => {
                done.unwrap_or_else(|e| (e.id(), Err(HttpError::Broken(e.to_string()))))
            }
            Some(_) = self.opening.join_next() => return None,
            () = poll_fn(|cx| self.shared.pool.poll_lost(cx)) => return None,
        };
        // Every task is entered when it is started.
        let id = self.finished(task)?;
        self.start_waiting();
        Some(HttpAnswer { id, result })
    }

    /// The peers to stay connected to from now on.
    pub(crate) fn keep(&self, peers: &BTreeSet<SocketAddr>) {
        self.shared.pool.keep(peers);
    }

    /// Refuses what has waited too long, closes connections kept too long and opens those that are missing, from the address
    /// of ours that `source` names; says when to come again. Looks at everything: to be called once per turn, not once per
    /// request.
    pub(crate) fn tend(&mut self, now: Instant, source: impl Fn(SocketAddr) -> Option<IpAddr>) -> Option<Instant> {
        if self.waiting.iter().any(|w| w.deadline <= now) {
            let (expired, waiting) = core::mem::take(&mut self.waiting).into_iter().partition(|w| w.deadline <= now);
            self.waiting = waiting;
            let expired: VecDeque<_> = expired;
            let timeout = |w: Waiting| HttpAnswer { id: w.request.id, result: Err(HttpError::Timeout) };
            self.refused.extend(expired.into_iter().map(timeout));
        }
        let first = self.waiting.iter().map(|w| w.deadline).min();
        let tended = self.shared.pool.tend(|peer| self.running.values().any(|(_, to)| to == peer));
        for peer in tended.open {
            let (shared, from) = (Arc::clone(&self.shared), source(peer));
            self.opening.spawn(async move {
                let opened = shared.connect(peer, from).await;
                tracing::debug!(%peer, opened = ?opened.as_ref().map(drop), "connection to stay");
                shared.pool.opened(peer, opened.ok());
            });
        }
        first.into_iter().chain(tended.again_after.map(|after| now + after)).min()
    }

    /// Closes the kept connections.
    pub(crate) fn forget_connections(&self) {
        self.shared.pool.clear();
    }

    fn has_place(&self, host: IpAddr) -> bool {
        self.running.len() < self.limits.running_max
            && self.per_host.get(&host).copied().unwrap_or_default() < self.limits.running_per_host_max
    }

    fn start_waiting(&mut self) {
        let mut i = 0;
        while i < self.waiting.len() && self.running.len() < self.limits.running_max {
            if self.has_place(self.waiting[i].request.to.ip()) {
                self.waiting.remove(i).into_iter().for_each(|w| self.start(w));
            } else {
                i += 1;
            }
        }
    }

    fn start(&mut self, waiting: Waiting) {
        let (id, to) = (waiting.request.id, waiting.request.to);
        let mut exchange = Box::pin(perform(waiting, Arc::clone(&self.shared)));
        // The first step is taken here and now: on a kept connection the request is on the wire before the next one is
        // looked at, so that the first of a hundred subscribers does not wait for the hundredth. What the loop has used up of
        // its share of this turn (tokio's budget) must not make the last of them wait.
        let first = pin!(unconstrained(exchange.as_mut())).poll(&mut Context::from_waker(Waker::noop()));
        let task = self.tasks.spawn(async move {
            match first {
                Poll::Ready(done) => done,
                Poll::Pending => exchange.await,
            }
        });
        self.running.insert(task.id(), (id, to));
        *self.per_host.entry(to.ip()).or_default() += 1;
    }

    fn finished(&mut self, task: Id) -> Option<RequestId> {
        let (id, to) = self.running.remove(&task)?;
        if let Some(count) = self.per_host.get_mut(&to.ip()) {
            *count -= 1;
            if *count == 0 {
                self.per_host.remove(&to.ip());
            }
        }
        Some(id)
    }
}

/// Sends a request, on a kept connection if there is one, and once more on a fresh one if that turns out to be closed.
async fn perform(waiting: Waiting, shared: Arc<Shared>) -> Result<Response<Bytes>, HttpError> {
    let Waiting { request, from, deadline } = waiting;
    let HttpRequest { to, request, response_body_bytes_max, .. } = request;
    let whole = async {
        if let Some(stream) = shared.pool.take(to) {
            match Box::pin(exchange(stream, request.clone(), response_body_bytes_max, &shared, to)).await {
                // Some servers close after every answer without saying so (libupnp), and any server may just now have
                // closed an idle connection.
                Err(Failure::Unanswered(_)) => tracing::trace!(%to, "kept connection was closed"),
                done => return done.map_err(HttpError::from),
            }
        }
        let stream = shared.connect(to, from).await?;
        Ok(Box::pin(exchange(stream, request, response_body_bytes_max, &shared, to)).await?)
    };
    timeout_at(deadline, whole).await.map_err(|_| HttpError::Timeout)?
}

impl Shared {
    async fn connect(&self, to: SocketAddr, from: Option<IpAddr>) -> Result<TcpStream, HttpError> {
        let stream = timeout(self.connect_within, connect(to, from)).await;
        stream.map_err(|_| HttpError::Timeout)?.map_err(|e| HttpError::Connect(e.to_string()))
    }
}

async fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(from) = from.filter(|from| from.is_ipv4() == to.is_ipv4()) {
        socket.bind(match (from, to) {
            (IpAddr::V6(from), SocketAddr::V6(to)) => SocketAddrV6::new(from, 0, 0, to.scope_id()).into(),
            _ => SocketAddr::new(from, 0),
        })?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_user_timeout(Some(limits::ACKNOWLEDGED_WITHIN))?;
    Ok(stream)
}

/// Why an exchange failed.
#[derive(Debug)]
enum Failure {
    /// Not one byte of an answer came.
    Unanswered(hyper::Error),
    /// An answer began.
    Broken(hyper::Error),
    TooLarge,
}

impl From<Failure> for HttpError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unanswered(e) | Failure::Broken(e) => Self::Broken(e.to_string()),
            Failure::TooLarge => Self::TooLarge,
        }
    }
}

/// One request and its answer on a connection, which goes to the pool if it can be used again.
async fn exchange(
    stream: TcpStream,
    request: Request<Bytes>,
    body_bytes_max: usize,
    shared: &Shared,
    to: SocketAddr,
) -> Result<Response<Bytes>, Failure> {
    let _turn = timeout(limits::TURN_WITHIN, shared.turns.acquire()).await;
    let answered = Arc::new(AtomicBool::new(false));
    let failure = |e: hyper::Error| match answered.load(Relaxed) {
        _ if e.is_parse_too_large() => Failure::TooLarge,
        false => Failure::Unanswered(e),
        true => Failure::Broken(e),
    };
    let wire = Wire { stream, answered: Arc::clone(&answered) };
    let (mut sender, connection) = builder().handshake(TokioIo::new(wire)).await.map_err(failure)?;
    let mut connection = Driven(Some(connection));
    let head_request = request.method() == http::Method::HEAD;
    let sent = sender.send_request(request.map(Full::new));
    let response = connection.drive(sent).await.map_err(failure)?;
    let keeps = keeps_connection(&response);
    let (head, body) = response.into_parts();
    let body = connection.drive(collect(body, if head_request { usize::MAX } else { body_bytes_max })).await;
    let body = body.map_err(|e| match e {
        CollectError::TooLarge => Failure::TooLarge,
        CollectError::Broken(e) => Failure::Broken(e),
    })?;
    // The answer is there: it does not wait for a server that has yet to read the request to its end.
    if keeps && let Some(Ok(())) = connection.drive(sender.ready()).now_or_never() {
        drop(sender);
        if let Some(stream) = connection.release() {
            shared.pool.put(to, stream);
        }
    }
    Ok(Response::from_parts(head, body))
}

/// Whether the server will take another request. HTTP/1.0 servers are not trusted with it.
fn keeps_connection<B>(response: &Response<B>) -> bool {
    response.version() == Version::HTTP_11 && !has_close(response.headers())
}

/// Takes what sloppy servers send, and writes headers as the oldest of them expect.
fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(limits::HEAD_BYTES_MAX)
        .max_header_size(limits::HEAD_BYTES_MAX)
        .max_headers(limits::HEADERS_MAX)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .title_case_headers(true);
    builder
}

type Connection = http1::Connection<TokioIo<Wire>, Full<Bytes>>;

/// hyper's connection, run by whoever waits for something on it instead of by a task of its own. `None` once it has ended: only
/// dropping it tells those who wait on it.
struct Driven(Option<Connection>);

impl Driven {
    /// Runs the connection until `wanted` is there.
    async fn drive<F: Future>(&mut self, wanted: F) -> F::Output {
        let mut wanted = pin!(wanted);
        poll_fn(|cx| {
            if let Some(connection) = &mut self.0
                && connection.poll_without_shutdown(cx).is_ready()
            {
                self.0 = None;
            }
            wanted.as_mut().poll(cx)
        })
        .await
    }

    /// Takes the socket back once the sender is gone; `None` where the connection has ended or bytes are left over.
    fn release(self) -> Option<TcpStream> {
        let mut connection = self.0?;
        poll_fn(|cx| connection.poll_without_shutdown(cx)).now_or_never()?.ok()?;
        let parts = connection.into_parts();
        parts.read_buf.is_empty().then(|| parts.io.into_inner().stream)
    }
}

/// The socket under hyper; notes when the first byte of an answer has come.
struct Wire {
    stream: TcpStream,
    answered: Arc<AtomicBool>,
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.answered.store(true, Relaxed);
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
