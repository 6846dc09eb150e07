//! The daemon's side of the control socket.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Either, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::ErrorBody;
use super::stream::{ControlStream, LineBody};
use crate::limits::{
    CONTROL_ANSWER_TIMEOUT, CONTROL_BODY_BYTES_MAX, CONTROL_BODY_TIMEOUT, CONTROL_BUFFER_BYTES,
    CONTROL_CONNECTIONS_MAX, CONTROL_HEAD_TIMEOUT, CONTROL_QUEUE_MAX, CONTROL_STREAMS_MAX,
};

/// Why the control socket was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Another process listens there.
    #[error("control socket {path} is in use: is the daemon running already?", path = .0.display())]
    InUse(PathBuf),
    /// Something that is no socket lies at the path; it is left alone.
    #[error("{path} is there and is no socket", path = .0.display())]
    NotASocket(PathBuf),
    /// What the kernel said.
    #[error("cannot open control socket {path}", path = path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Who is at the other end, told by the kernel (SO_PEERCRED).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// User id at the time of connecting.
    pub uid: u32,
    /// Process id, where the kernel tells one.
    pub pid: Option<i32>,
}

/// The listening socket and its connections. Dropping it cuts them and removes the socket.
#[derive(Debug)]
pub struct ControlServer {
    requests: mpsc::Receiver<ControlRequest>,
    accepting: JoinHandle<()>,
    path: PathBuf,
    /// Device and inode of our socket, so that a successor's is never removed.
    inode: Option<(u64, u64)>,
}

impl ControlServer {
    /// Listens at `path` with the given permission bits (0o660: owner and group). A stale socket, one that nobody
    /// listens on, is replaced; a live one is an error. A missing directory is made, its parents are not. In a tokio runtime.
    pub async fn bind(path: &Path, mode: u32) -> Result<Self, ControlError> {
        let failed = |source| ControlError::Io { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(meta) if !meta.file_type().is_socket() => return Err(ControlError::NotASocket(path.to_owned())),
            Ok(_) => match UnixStream::connect(path).await {
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(failed(error)),
                // Accepted, or its queue is full.
                _ => return Err(ControlError::InUse(path.to_owned())),
            },
        }
        // A service manager makes the directory (RuntimeDirectory=); who starts the program by hand has none yet.
        if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty() && !d.exists()) {
            fs::DirBuilder::new().mode(0o755).create(dir).map_err(failed)?;
        }
        // Bound beside and moved into place: nobody can connect before the mode is set.
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let _ = fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside).map_err(failed)?;
        let placed = fs::set_permissions(&beside, fs::Permissions::from_mode(mode))
            .and_then(|()| fs::rename(&beside, path))
            .and_then(|()| fs::symlink_metadata(path));
        let meta = placed.map_err(|error| {
            let _ = fs::remove_file(&beside);
            failed(error)
        })?;
        let (queue, requests) = mpsc::channel(CONTROL_QUEUE_MAX);
        let accepting = tokio::spawn(accept(listener, queue));
        tracing::debug!(path = %path.display(), "control socket listens");
        Ok(Self { requests, accepting, path: path.to_owned(), inode: Some((meta.dev(), meta.ino())) })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next request, body read. Cancel safe.
    pub async fn next(&mut self) -> ControlRequest {
        match self.requests.recv().await {
            Some(request) => request,
            // The accepting task ends only with this value or with the runtime.
            None => std::future::pending().await,
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.accepting.abort();
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|meta| Some((meta.dev(), meta.ino())) == self.inode);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Accepts up to the bound and serves each connection in a task of its own; all end when this one is dropped.
async fn accept(listener: UnixListener, queue: mpsc::Sender<ControlRequest>) {
    let free = Arc::new(Semaphore::new(CONTROL_CONNECTIONS_MAX));
    let streams = Arc::new(Semaphore::new(CONTROL_STREAMS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = free.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(serve(stream, queue.clone(), streams.clone(), place));
            }
            Err(error) => {
                // No descriptor left, or the peer went already. A pause, so that the former does not spin.
                tracing::debug!(%error, "control connection not accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(
    stream: UnixStream,
    queue: mpsc::Sender<ControlRequest>,
    streams: Arc<Semaphore>,
    _place: OwnedSemaphorePermit,
) {
    let peer = match stream.peer_cred() {
        Ok(cred) => Peer { uid: cred.uid(), pid: cred.pid() },
        Err(error) => {
            tracing::debug!(%error, "control peer has no credentials");
            return;
        }
    };
    let cut = Arc::new(Notify::new());
    let service = service_fn(|request| {
        let (queue, streams, cut) = (queue.clone(), streams.clone(), cut.clone());
        async move { Ok::<_, Infallible>(answer(request, peer, queue, streams, cut).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONTROL_HEAD_TIMEOUT)
        .max_buf_size(CONTROL_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        result = pin!(connection) => {
            if let Err(error) = result {
                tracing::debug!(%error, "control connection ended");
            }
        }
        () = cut.notified() => {}
    }
}

type AnswerBody = Either<Full<Bytes>, LineBody>;

/// One request: its body read, handed to the daemon's loop, and its answer awaited, each with its limit.
async fn answer(
    request: Request<Incoming>,
    peer: Peer,
    queue: mpsc::Sender<ControlRequest>,
    streams: Arc<Semaphore>,
    cut: Arc<Notify>,
) -> Response<AnswerBody> {
    let (head, body) = request.into_parts();
    let body = match timeout(CONTROL_BODY_TIMEOUT, Limited::new(body, CONTROL_BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return error_response(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the request's body is too large");
        }
        Ok(Err(_)) => return error_response(StatusCode::BAD_REQUEST, "bad-request", "the request's body is broken"),
        Err(_) => return error_response(StatusCode::REQUEST_TIMEOUT, "timeout", "the request's body did not come"),
    };
    let (responder, response) = oneshot::channel();
    let request = ControlRequest {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        body,
        peer,
        responder: Responder { response: responder, streams, cut },
    };
    if queue.send(request).await.is_err() {
        return error_response(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the daemon is stopping");
    }
    match timeout(CONTROL_ANSWER_TIMEOUT, response).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => error_response(StatusCode::SERVICE_UNAVAILABLE, "no-answer", "the daemon dropped the request"),
        Err(_) => error_response(StatusCode::GATEWAY_TIMEOUT, "timeout", "the daemon did not answer in time"),
    }
}

#[derive(Debug)]
struct Responder {
    response: oneshot::Sender<Response<AnswerBody>>,
    streams: Arc<Semaphore>,
    cut: Arc<Notify>,
}

/// A request to the daemon. Answer it by one of the `respond_` functions or [`stream`](Self::stream); dropped, it is
/// answered with 503.
#[derive(Debug)]
pub struct ControlRequest {
    /// GET, POST, DELETE and so on.
    pub method: Method,
    /// Path, not decoded: `/appliances/uuid`.
    pub path: String,
    /// What follows `?`, not decoded; see [`query_value`](Self::query_value).
    pub query: String,
    /// The whole body, at most [`CONTROL_BODY_BYTES_MAX`] bytes.
    pub body: Bytes,
    /// Who asks.
    pub peer: Peer,
    responder: Responder,
}

impl ControlRequest {
    /// The parts of the path between slashes, percent-decoded: `["appliances", "uuid"]`.
    pub fn segments(&self) -> Vec<String> {
        self.path.split('/').filter(|s| !s.is_empty()).map(|s| decoded(s, false)).collect()
    }

    /// The first value of that name in the query, percent-decoded.
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key, true) == name).then(|| decoded(value, true))
        })
    }

    /// The body as JSON; the error is for [`respond_error`](Self::respond_error) with 400.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// Answers with JSON.
    pub fn respond_json(self, status: StatusCode, value: &impl Serialize) {
        self.send(json_response(status, value));
    }

    /// Answers with plain text.
    pub fn respond_text(self, status: StatusCode, text: impl Into<String>) {
        self.send(response(status, "text/plain; charset=utf-8", Bytes::from(text.into())));
    }

    /// Answers with an [`ErrorBody`]; `code` is a word for programs.
    pub fn respond_error(self, status: StatusCode, code: &str, message: impl Into<String>) {
        self.send(error_response(status, code, message));
    }

    /// Answers with a stream of JSON lines; `None`, and 503 for the client, when [`CONTROL_STREAMS_MAX`] are open.
    pub fn stream(self) -> Option<ControlStream> {
        let Ok(place) = self.responder.streams.clone().try_acquire_owned() else {
            self.respond_error(StatusCode::SERVICE_UNAVAILABLE, "too-many", "too many streams are open");
            return None;
        };
        let (stream, body) = ControlStream::new(self.responder.cut.clone(), place);
        let mut response = Response::new(Either::Right(body));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        self.send(response);
        Some(stream)
    }

    fn send(self, response: Response<AnswerBody>) {
        if self.responder.response.send(response).is_err() {
            tracing::debug!(path = self.path, "control client did not wait for its answer");
        }
    }
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<AnswerBody> {
    let mut response = Response::new(Either::Left(Full::new(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn json_response(status: StatusCode, value: &impl Serialize) -> Response<AnswerBody> {
    match serde_json::to_vec(value) {
        Ok(json) => response(status, "application/json", json.into()),
        Err(error) => {
            tracing::error!(%error, "a value has no JSON form");
            error_response(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the answer has no JSON form")
        }
    }
}

fn error_response(status: StatusCode, code: &str, message: impl Into<String>) -> Response<AnswerBody> {
    let body = ErrorBody { error: message.into(), code: code.to_owned() };
    // Two strings always have a JSON form.
    response(status, "application/json", serde_json::to_vec(&body).unwrap_or_default().into())
}

/// Percent-decodes; a broken escape stays as it is, bytes that are no UTF-8 become U+FFFD.
fn decoded(text: &str, plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digit = |i: usize| tail.get(i).and_then(|&b| char::from(b).to_digit(16));
        rest = tail;
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            (b'+', ..) if plus_is_space => bytes.push(b' '),
            _ => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn percent_escapes_are_decoded_and_broken_ones_kept() {
        assert_eq!(decoded("uuid%3aa%20b+c", false), "uuid:a b+c");
        assert_eq!(decoded("a+b%2B", true), "a b+");
        assert_eq!(decoded("100%", true), "100%");
        assert_eq!(decoded("%4", true), "%4");
        assert_eq!(decoded("%zz%ff", true), "%zz\u{fffd}");
    }
}
