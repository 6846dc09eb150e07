//! One incoming HTTP connection.
//!
//! Between requests a connection is a bare socket: hyper's state and buffers (about 10 KiB) exist only from the first byte of
//! a request to the last byte of its answer. So 160 appliances with kept connections cost 160 sockets, not 1.6 MiB.

use core::convert::Infallible;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use core::task::{Context, Poll};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use upnp::net::IncomingRequest;

use crate::limits;
use crate::server::{Place, Responder, Server};

/// Serves a connection until it ends.
pub(crate) async fn serve(mut stream: TcpStream, peer: SocketAddr, place: Place) {
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let mut ahead = Bytes::new();
    loop {
        if ahead.is_empty() && !matches!(timeout(place.server.limits.idle, stream.readable()).await, Ok(Ok(()))) {
            return;
        }
        let turn = timeout(limits::TURN_WITHIN, place.server.turns.acquire()).await;
        if ahead.is_empty() {
            ahead = match first_bytes(&stream) {
                Ok(bytes) if !bytes.is_empty() => bytes,
                // Not readable after all; the wait begins anew.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
                _ => return,
            };
        }
        place.set_idle(false);
        let exchange = Exchange { server: Arc::clone(&place.server), peer, local };
        // Boxed, so that the idle task does not carry it.
        let after = Box::pin(exchange.run(stream, ahead)).await;
        drop(turn);
        place.set_idle(true);
        match after {
            After::Kept { stream: kept, ahead: unread } => (stream, ahead) = (kept, unread),
            After::Closing(stream) => return linger(stream).await,
            After::Broken => return,
        }
    }
}

/// The first bytes of a request, at their true size; empty at the end of the stream.
fn first_bytes(stream: &TcpStream) -> io::Result<Bytes> {
    thread_local! {
        static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 4096].into());
    }
    SCRATCH.with_borrow_mut(|s| stream.try_read(s).map(|n| Bytes::copy_from_slice(&s[..n])))
}

/// What is left of a connection after a request.
enum After {
    /// It goes on; `ahead` was read already.
    Kept { stream: TcpStream, ahead: Bytes },
    /// The answer said it ends.
    Closing(TcpStream),
    /// Nothing to be sent any more.
    Broken,
}

/// Serves the request whose first bytes are there.
struct Exchange {
    server: Arc<Server>,
    peer: SocketAddr,
    local: SocketAddr,
}

impl Exchange {
    async fn run(self, stream: TcpStream, ahead: Bytes) -> After {
        let progress = Arc::new(Progress::default());
        let io = Wire { stream, ahead, progress: Arc::clone(&progress) };
        let limits = &self.server.limits;
        let mut deadline = Box::pin(sleep_until(Instant::now() + limits.head_within));
        let service = {
            let (server, progress) = (Arc::clone(&self.server), Arc::clone(&progress));
            let (peer, local) = (self.peer, self.local);
            hyper::service::service_fn(move |request| {
                progress.asked.fetch_add(1, Relaxed);
                progress.closes.fetch_or(ends_connection(&request), Relaxed);
                let (server, progress) = (Arc::clone(&server), Arc::clone(&progress));
                Box::pin(async move {
                    let response = answer(&server, request, peer, local).await.map(Full::new);
                    progress.closes.fetch_or(has_close(response.headers()), Relaxed);
                    progress.answered.fetch_add(1, Relaxed);
                    Ok::<_, Infallible>(response)
                }) as Pin<Box<dyn Future<Output = _> + Send>>
            })
        };
        let mut http = builder().serve_connection(TokioIo::new(io), service);
        let (mut in_head, mut kept) = (true, false);
        let end = poll_fn(|cx| {
            loop {
                if let Poll::Ready(end) = http.poll_without_shutdown(cx) {
                    return Poll::Ready(Some(end));
                }
                if progress.is_over() && !kept {
                    // Waiting for the next request: hyper hands the socket back on being told to stop.
                    kept = true;
                    Pin::new(&mut http).graceful_shutdown();
                    continue;
                }
                if in_head && progress.asked.load(Relaxed) > 0 {
                    in_head = false;
                    deadline.as_mut().reset(Instant::now() + limits.exchange_within);
                }
                return deadline.as_mut().poll(cx).map(|()| None);
            }
        })
        .await;
        let parts = http.into_parts();
        let mut stream = parts.io.into_inner().stream;
        match end {
            // A copy: even an empty rest would hold on to hyper's whole buffer.
            Some(Ok(())) if kept => After::Kept { stream, ahead: Bytes::copy_from_slice(&parts.read_buf) },
            Some(Ok(())) if progress.peer_closed.load(Relaxed) => After::Broken,
            Some(Ok(())) => After::Closing(stream),
            Some(Err(e)) if e.is_parse() => {
                tracing::debug!(peer = %self.peer, %e, "not HTTP");
                After::Closing(stream)
            }
            Some(Err(e)) => {
                tracing::trace!(peer = %self.peer, %e, "connection broke");
                After::Broken
            }
            None if in_head => {
                tracing::debug!(peer = %self.peer, "head not complete in time");
                const TIMEOUT: &[u8] =
                    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
                let _ = stream.try_write(TIMEOUT);
                let _ = timeout(limits::LINGER, stream.shutdown()).await;
                After::Broken
            }
            None => After::Broken,
        }
    }
}

/// Whether hyper ends the connection after this request, or may do so (HTTP/1.0).
fn ends_connection<B>(request: &Request<B>) -> bool {
    request.version() != Version::HTTP_11 || has_close(request.headers())
}

/// Whether the sender ends the connection after this message.
pub(crate) fn has_close(headers: &HeaderMap) -> bool {
    let tokens = headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    tokens.into_iter().any(|token| token.trim().eq_ignore_ascii_case("close"))
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(limits::HEAD_BYTES_MAX)
        .max_header_size(limits::HEAD_BYTES_MAX)
        .max_headers(limits::HEADERS_MAX)
        // The whole exchange has deadlines of its own.
        .header_read_timeout(None)
        // Some old peers search for `Content-Length` letter by letter.
        .title_case_headers(true);
    builder
}

/// Reads the body, lets the application answer, and answers itself where that fails.
async fn answer(server: &Server, request: Request<Incoming>, peer: SocketAddr, local: SocketAddr) -> Response<Bytes> {
    let (head, body) = request.into_parts();
    let body = if body.is_end_stream() {
        Bytes::new()
    } else {
        match timeout(server.limits.body_within, collect(body, server.limits.request_body_bytes_max)).await {
            Ok(Ok(body)) => body,
            Ok(Err(CollectError::TooLarge)) => return closing(StatusCode::PAYLOAD_TOO_LARGE),
            Ok(Err(CollectError::Broken(_))) => return closing(StatusCode::BAD_REQUEST),
            Err(_elapsed) => return closing(StatusCode::REQUEST_TIMEOUT),
        }
    };
    let request = IncomingRequest { peer, local, request: Request::from_parts(head, body) };
    let (responder, response) = oneshot::channel();
    if server.requests.try_send((request, Responder::new(responder))).is_err() {
        return closing(StatusCode::SERVICE_UNAVAILABLE);
    }
    match timeout(server.limits.response_within, response).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) | Err(_) => status(StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn status(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

fn closing(code: StatusCode) -> Response<Bytes> {
    let mut response = status(code);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Why a body was not taken.
#[derive(Debug)]
pub(crate) enum CollectError {
    /// Larger than allowed; noticed from Content-Length where there is one.
    TooLarge,
    /// The connection broke, or the chunks are malformed.
    Broken(hyper::Error),
}

/// Reads a whole body of at most `bytes_max`. A body that comes in one piece is not copied.
pub(crate) async fn collect(mut body: Incoming, bytes_max: usize) -> Result<Bytes, CollectError> {
    let announced = body.size_hint().lower();
    if announced > bytes_max as u64 {
        return Err(CollectError::TooLarge);
    }
    let mut first = Bytes::new();
    let mut whole: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(CollectError::Broken)?.into_data() else { continue };
        if first.len() + whole.as_ref().map_or(0, BytesMut::len) + data.len() > bytes_max {
            return Err(CollectError::TooLarge);
        }
        match &mut whole {
            Some(whole) => whole.extend_from_slice(&data),
            None if first.is_empty() => first = data,
            None => {
                let mut joined = BytesMut::with_capacity((announced as usize).max(first.len() + data.len()));
                joined.extend_from_slice(&core::mem::take(&mut first));
                joined.extend_from_slice(&data);
                whole = Some(joined);
            }
        }
    }
    Ok(whole.map_or(first, BytesMut::freeze))
}

/// Ends a connection whose last answer is out: reads what the peer still sends for a while, since closing with unread bytes
/// resets the connection and the peer may never see the answer.
async fn linger(mut stream: TcpStream) {
    let drain = async {
        stream.shutdown().await?;
        let mut dropped = 0;
        while dropped < limits::LINGER_BYTES_MAX {
            stream.readable().await?;
            match first_bytes(&stream) {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => dropped += bytes.len(),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        io::Result::Ok(())
    };
    let _ = timeout(limits::LINGER, drain).await;
}

/// How far hyper is, seen from both sides of it.
#[derive(Debug, Default)]
struct Progress {
    asked: AtomicU32,
    answered: AtomicU32,
    /// Bytes were written since the last flush.
    unflushed: AtomicBool,
    peer_closed: AtomicBool,
    /// A request or an answer said that the connection ends.
    closes: AtomicBool,
}

impl Progress {
    /// Every request read was answered, the answers are out, and the connection goes on.
    fn is_over(&self) -> bool {
        let answered = self.answered.load(Relaxed);
        let (unflushed, closes) = (self.unflushed.load(Relaxed), self.closes.load(Relaxed));
        answered > 0 && answered == self.asked.load(Relaxed) && !unflushed && !closes
    }
}

/// The socket under hyper, beginning with the bytes read ahead.
struct Wire {
    stream: TcpStream,
    ahead: Bytes,
    progress: Arc<Progress>,
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let n = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..n]);
            self.ahead.advance(n);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if matches!(read, Poll::Ready(Ok(()))) && buf.filled().len() == before {
            self.progress.peer_closed.store(true, Relaxed);
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.progress.unflushed.store(true, Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.progress.unflushed.store(true, Relaxed);
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.progress.unflushed.store(false, Relaxed);
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
