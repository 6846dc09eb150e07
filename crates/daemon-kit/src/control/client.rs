//! The command line's side of the control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::ErrorBody;
use crate::exit::Exit;
use crate::limits::{
    CLIENT_ANSWER_TIMEOUT, CLIENT_BODY_BYTES_MAX, CLIENT_CONNECT_TIMEOUT, CLIENT_LINE_BYTES_MAX, CLIENT_READ_TIMEOUT,
};

/// Why there is no answer, or not the one asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No socket there, or nobody listens on it.
    #[error("no daemon listens at {path}: is it running?", path = .0.display())]
    NotRunning(PathBuf),
    /// The socket's mode does not let this user in.
    #[error("not permitted to use {path}: run as root or as a member of its group", path = .0.display())]
    NotPermitted(PathBuf),
    /// The daemon did not answer in that time.
    #[error("the daemon did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The connection broke, or a stream was cut off.
    #[error("lost the connection to the daemon")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is larger than any there should be, or not of the form expected.
    #[error("cannot read the daemon's answer: {0}")]
    Malformed(String),
    /// The daemon answered with an error.
    #[error("{message}")]
    Refused {
        /// HTTP status, 400 or more.
        status: StatusCode,
        /// Word for programs, may be empty.
        code: String,
        /// For people.
        message: String,
    },
}

impl ClientError {
    /// The exit code for a command that ended so.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotRunning(_) => Exit::Unavailable,
            Self::NotPermitted(_) => Exit::NoPerm,
            Self::Timeout(_) | Self::Lost(_) => Exit::TempFail,
            Self::Malformed(_) => Exit::DataErr,
            Self::Refused { status, .. } => match *status {
                StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Exit::Usage,
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::NoPerm,
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Exit::TempFail,
                StatusCode::INTERNAL_SERVER_ERROR => Exit::Software,
                _ => Exit::Failure,
            },
        }
    }

    fn lost(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Lost(error.into())
    }
}

/// A good answer: its status was under 400.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Whole body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| ClientError::Malformed(error.to_string()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A text as one segment of a path or one value of a query: all but letters, digits and `-._~:` is percent-encoded.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~:".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

/// GET of a path, with its query if any; see [`encoded`].
pub async fn get(socket: &Path, path: &str) -> Result<Answer, ClientError> {
    whole(socket, Method::GET, path, Bytes::new()).await
}

/// DELETE of a path.
pub async fn delete(socket: &Path, path: &str) -> Result<Answer, ClientError> {
    whole(socket, Method::DELETE, path, Bytes::new()).await
}

/// POST of a value as JSON.
pub async fn post(socket: &Path, path: &str, value: &impl Serialize) -> Result<Answer, ClientError> {
    let body = serde_json::to_vec(value).map_err(|error| ClientError::Malformed(error.to_string()))?;
    whole(socket, Method::POST, path, body.into()).await
}

/// GET of a stream of JSON lines.
pub async fn stream(socket: &Path, path: &str) -> Result<LineStream, ClientError> {
    let (status, body, connection) = open(socket, Method::GET, path, Bytes::new()).await?;
    if status.as_u16() >= 400 {
        return Err(refused(status, &collect(body).await?));
    }
    Ok(LineStream { body, pending: BytesMut::new(), searched: 0, connection })
}

async fn whole(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<Answer, ClientError> {
    let most = time_for(&method);
    let answer = async {
        let (status, body, connection) = open(socket, method, path, body).await?;
        let body = collect(body).await?;
        connection.0.abort();
        if status.as_u16() >= 400 { Err(refused(status, &body)) } else { Ok(Answer { status, body }) }
    };
    timeout(most, answer).await.map_err(|_| ClientError::Timeout(most))?
}

/// How long an answer may take: an order's comes when it is carried out.
fn time_for(method: &Method) -> Duration {
    if method == Method::GET { CLIENT_READ_TIMEOUT } else { CLIENT_ANSWER_TIMEOUT }
}

fn refused(status: StatusCode, body: &[u8]) -> ClientError {
    let (code, message) = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => (body.code, body.error),
        Err(_) => (String::new(), format!("the daemon answered {status}")),
    };
    ClientError::Refused { status, code, message }
}

async fn collect(body: Incoming) -> Result<Bytes, ClientError> {
    match Limited::new(body, CLIENT_BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ClientError::Malformed(format!("larger than {CLIENT_BODY_BYTES_MAX} bytes")))
        }
        Err(error) => Err(ClientError::Lost(error)),
    }
}

/// The task that moves bytes; it ends with its owner.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connects and sends; gives the answer's head and the body still to come.
async fn open(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(StatusCode, Incoming, Connection), ClientError> {
    let connected = timeout(CLIENT_CONNECT_TIMEOUT, UnixStream::connect(socket)).await;
    let stream =
        connected.map_err(|_| ClientError::Timeout(CLIENT_CONNECT_TIMEOUT))?.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning(socket.to_owned()),
            io::ErrorKind::PermissionDenied => ClientError::NotPermitted(socket.to_owned()),
            _ => ClientError::lost(error),
        })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(ClientError::lost)?;
    let connection = Connection(tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "control connection ended");
        }
    }));
    let most = time_for(&method);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, HeaderValue::from_static("localhost"))
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .body(Full::new(body))
        .map_err(|error| ClientError::Malformed(error.to_string()))?;
    let response = timeout(most, sender.send_request(request))
        .await
        .map_err(|_| ClientError::Timeout(most))?
        .map_err(ClientError::lost)?;
    Ok((response.status(), response.into_body(), connection))
}

/// The reader's end of a stream of JSON lines.
#[derive(Debug)]
pub struct LineStream {
    body: Incoming,
    pending: BytesMut,
    /// Bytes of `pending` that are known to hold no line break.
    searched: usize,
    #[expect(dead_code, reason = "moves the bytes as long as it is held")]
    connection: Connection,
}

impl LineStream {
    /// The next line, waiting for it; `None` when the daemon ended the stream in order. A stream that broke off or was
    /// cut for slowness is [`ClientError::Lost`]. Cancel safe.
    pub async fn next_line(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            if let Some(at) = self.pending[self.searched..].iter().position(|&b| b == b'\n') {
                let line = self.pending.split_to(self.searched + at + 1);
                self.searched = 0;
                return Ok(Some(String::from_utf8_lossy(&line[..line.len() - 1]).into_owned()));
            }
            self.searched = self.pending.len();
            if self.searched > CLIENT_LINE_BYTES_MAX {
                return Err(ClientError::Malformed(format!("a line of more than {CLIENT_LINE_BYTES_MAX} bytes")));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(ClientError::lost(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.pending.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    /// The next line as JSON.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        match self.next_line().await? {
            None => Ok(None),
            Some(line) => match serde_json::from_str(&line) {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(ClientError::Malformed(error.to_string())),
            },
        }
    }
}
