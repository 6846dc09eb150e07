//! The HTTP listeners, one per address of ours, and the table of connections that bounds them.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::Response;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use upnp::net::IncomingRequest;

use crate::connection;
use crate::limits;

/// Bounds of the HTTP server; the defaults are in [`crate::limits`] with their reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Largest request body, bytes; a larger one is answered 413.
    pub request_body_bytes_max: usize,
    /// Connections in total; beyond it an idle one gives way, of the peer that has most.
    pub connections_max: usize,
    /// Connections per peer address; beyond it an idle one of its own gives way.
    pub connections_per_peer_max: usize,
    /// A head must be complete this long after its first byte, else the connection is closed.
    pub head_within: Duration,
    /// A body must be complete this long after its head, else 408.
    pub body_within: Duration,
    /// The application must answer within this, else 503.
    pub response_within: Duration,
    /// From a complete head to the last byte of the answer taken by the peer, else the connection is closed.
    pub exchange_within: Duration,
    /// A connection without a request is closed after this.
    pub idle: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            request_body_bytes_max: limits::REQUEST_BODY_BYTES_MAX,
            connections_max: limits::CONNECTIONS_MAX,
            connections_per_peer_max: limits::CONNECTIONS_PER_PEER_MAX,
            head_within: limits::HEAD_WITHIN,
            body_within: limits::BODY_WITHIN,
            response_within: limits::RESPONSE_WITHIN,
            exchange_within: limits::EXCHANGE_WITHIN,
            idle: limits::SERVER_IDLE,
        }
    }
}

/// Sends the answer to one request. Dropping it unused answers 503.
#[derive(Debug)]
pub struct Responder(oneshot::Sender<Response<Bytes>>);

impl Responder {
    pub(crate) fn new(answer: oneshot::Sender<Response<Bytes>>) -> Self {
        Self(answer)
    }

    /// Answers. Content-Length, Connection and Date are added; the body of an answer to HEAD is left out. Does nothing when
    /// the peer has gone or the time for the answer is over.
    pub fn send(self, response: Response<Bytes>) {
        let _ = self.0.send(response);
    }
}

/// What all listeners and connections share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) limits: ServerLimits,
    pub(crate) requests: mpsc::Sender<(IncomingRequest, Responder)>,
    /// Held while HTTP state is held.
    pub(crate) turns: Semaphore,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    connections: BTreeMap<u64, Entry>,
    last: u64,
}

#[derive(Debug)]
struct Entry {
    peer: IpAddr,
    /// It has carried a request.
    asked: bool,
    /// Since when it has waited for a request; `None` while one is served.
    idle_since: Option<Instant>,
    task: Option<AbortHandle>,
}

impl Table {
    /// Closes a connection that waits for a request, among those of which `may_go` holds: of the peer that has most of them,
    /// and of those first one that never asked, then the one idle longest. `None` when all are busy.
    fn make_room(&mut self, may_go: impl Fn(&Entry) -> bool) -> Option<()> {
        let mut of_peers = BTreeMap::<IpAddr, usize>::new();
        for entry in self.connections.values() {
            *of_peers.entry(entry.peer).or_default() += 1;
        }
        let idle = self.connections.iter().filter(|(_, e)| may_go(e));
        let idle = idle.filter_map(|(id, e)| Some((Reverse(of_peers.get(&e.peer)?), e.asked, e.idle_since?, *id)));
        let (.., id) = idle.min()?;
        self.connections.remove(&id)?.task.inspect(AbortHandle::abort);
        Some(())
    }
}

impl Server {
    /// A server without listeners. Requests come out of the returned channel, which has a place for every connection and so
    /// is never full.
    pub(crate) fn new(bounds: ServerLimits) -> (Arc<Self>, mpsc::Receiver<(IncomingRequest, Responder)>) {
        let (requests, received) = mpsc::channel(bounds.connections_max.max(1));
        (
            Arc::new(Self {
                limits: bounds,
                requests,
                turns: Semaphore::new(limits::INCOMING_AT_ONCE_MAX),
                table: Mutex::default(),
            }),
            received,
        )
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change of the table is complete in itself.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a place for a connection of `peer`; `None` when there is none.
    fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let mut table = self.table();
        let of_peer = table.connections.values().filter(|e| e.peer == peer).count();
        if of_peer >= self.limits.connections_per_peer_max {
            table.make_room(|e| e.peer == peer)?;
        } else if table.connections.len() >= self.limits.connections_max {
            table.make_room(|_| true)?;
        }
        table.last += 1;
        let id = table.last;
        table.connections.insert(id, Entry { peer, asked: false, idle_since: Some(Instant::now()), task: None });
        Some(Place { server: Arc::clone(self), id })
    }

    fn serve(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let Some(place) = self.admit(peer.ip()) else {
            tracing::debug!(%peer, "too many connections");
            return;
        };
        let id = place.id;
        let task = tokio::spawn(connection::serve(stream, peer, place)).abort_handle();
        if let Some(entry) = self.table().connections.get_mut(&id) {
            entry.task = Some(task);
        }
    }

    /// Closes every connection.
    pub(crate) fn close(&self) {
        for entry in core::mem::take(&mut self.table().connections).into_values() {
            entry.task.inspect(AbortHandle::abort);
        }
    }
}

/// A connection's place in the table; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) server: Arc<Server>,
    id: u64,
}

impl Place {
    /// Notes that the connection waits for a request (and may be closed in favour of another), or serves one.
    pub(crate) fn set_idle(&self, idle: bool) {
        if let Some(entry) = self.server.table().connections.get_mut(&self.id) {
            entry.asked = true;
            entry.idle_since = idle.then(Instant::now);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.server.table().connections.remove(&self.id);
    }
}

/// A listening socket and the task that accepts on it; closed when dropped. Its connections live on.
#[derive(Debug)]
pub(crate) struct Listener {
    accepting: AbortHandle,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener {
    /// Listens on `address`.
    pub(crate) fn open(address: SocketAddr, server: &Arc<Server>) -> io::Result<Self> {
        let listener = TcpListener::from_std(socket(address)?.into())?;
        let accepting = tokio::spawn(accept(listener, Arc::clone(server))).abort_handle();
        Ok(Self { accepting })
    }
}

/// A port free on `address` now.
pub(crate) fn free_port(address: SocketAddr) -> io::Result<u16> {
    let local = socket(address)?.local_addr()?;
    Ok(local.as_socket().map_or(0, |a| a.port()))
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A restart must not wait for the connections of the run before to fade (TIME_WAIT).
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(limits::BACKLOG)?;
    Ok(socket)
}

async fn accept(listener: TcpListener, server: Arc<Server>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => server.serve(stream, peer),
            Err(e) => {
                tracing::debug!(%e, "cannot accept a connection");
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
}
