//! An HTTP/1.1 client of one request: for `utilityctl` and for the power system's feed. No TLS: what is not on this machine is reached
//! through a tunnel or a proxy that speaks it.

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens there.
    #[error("cannot reach {at}")]
    Unreachable {
        /// Host and port.
        at: String,
        /// Why.
        source: std::io::Error,
    },
    /// No answer in that time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The connection broke.
    #[error("lost the connection")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// More than there should be.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// A token or path that cannot stand in a request.
    #[error("cannot be sent as a request")]
    Request(#[source] http::Error),
}

/// `http://HOST[:PORT][/PATH]`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct HttpUrl {
    authority: String,
    port: u16,
    path: String,
}

/// A text that is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a URL as http://127.0.0.1:8580/path; for https put a proxy in between")]
pub struct UrlError;

impl FromStr for HttpUrl {
    type Err = UrlError;
    fn from_str(s: &str) -> Result<Self, UrlError> {
        let uri: http::Uri = s.parse().map_err(|_| UrlError)?;
        let authority =
            uri.authority().filter(|a| !a.host().is_empty() && !a.as_str().contains('@')).ok_or(UrlError)?;
        if uri.scheme_str() != Some("http") {
            return Err(UrlError);
        }
        Ok(Self {
            authority: authority.as_str().to_owned(),
            port: authority.port_u16().unwrap_or(80),
            path: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        })
    }
}

impl TryFrom<String> for HttpUrl {
    type Error = UrlError;
    fn try_from(s: String) -> Result<Self, UrlError> {
        s.parse()
    }
}

impl HttpUrl {
    /// Another path at the same server.
    pub fn at(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }

    /// Host without brackets, and port.
    fn host(&self) -> (&str, u16) {
        let host = match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => &self.authority,
        };
        (host.trim_start_matches('[').trim_end_matches(']'), self.port)
    }
}

impl std::fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// GET, POST and so on.
    pub method: Method,
    /// Where.
    pub url: &'a HttpUrl,
    /// Bearer token.
    pub token: Option<&'a str>,
    /// Body with its content type.
    pub body: Option<(&'static str, Bytes)>,
    /// The answer must be whole within this.
    pub within: Duration,
    /// The answer may have so many bytes.
    pub bytes_max: usize,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Whole body.
    pub body: Bytes,
}

/// Asks, and waits for the whole answer.
///
/// # Errors
/// See [`ClientError`].
pub async fn ask(ask: Ask<'_>) -> Result<Answer, ClientError> {
    let within = ask.within;
    timeout(within, exchange(ask)).await.map_err(|_| ClientError::Timeout(within))?
}

async fn exchange(ask: Ask<'_>) -> Result<Answer, ClientError> {
    let unreachable = |source| ClientError::Unreachable { at: ask.url.authority.clone(), source };
    let stream = TcpStream::connect(ask.url.host()).await.map_err(unreachable)?;
    let lost = |error: hyper::Error| ClientError::Lost(error.into());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    let (kind, body) = ask.body.unwrap_or_default();
    let mut request = Request::builder()
        .method(ask.method)
        .uri(&ask.url.path)
        .header(header::HOST, &ask.url.authority)
        .header(header::CONNECTION, "close");
    if !kind.is_empty() {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    if let Some(token) = ask.token {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|e| ClientError::Request(e.into()))?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    let request = request.body(Full::new(body)).map_err(ClientError::Request)?;
    let answered = async {
        let answer = sender.send_request(request).await.map_err(lost)?;
        let status = answer.status();
        match Limited::new(answer.into_body(), ask.bytes_max).collect().await {
            Ok(body) => Ok(Answer { status, body: body.to_bytes() }),
            Err(error) if error.is::<LengthLimitError>() => Err(ClientError::TooLarge(ask.bytes_max)),
            Err(error) => Err(ClientError::Lost(error)),
        }
    };
    let (mut answered, mut connection) = (std::pin::pin!(answered), std::pin::pin!(connection));
    tokio::select! {
        biased;
        answer = &mut answered => answer,
        // It carries the bytes; when it has ended, what it carried is still to be taken.
        _ = &mut connection => answered.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_http_with_a_host() {
        let url: HttpUrl = "http://127.0.0.1:8580".parse().unwrap();
        assert_eq!((url.host(), url.path.as_str()), (("127.0.0.1", 8580), "/"));
        let url: HttpUrl = "http://[::1]/a?b=c".parse().unwrap();
        assert_eq!(
            (url.host(), url.path.as_str(), url.to_string().as_str()),
            (("::1", 80), "/a?b=c", "http://[::1]/a?b=c")
        );
        for bad in ["", "127.0.0.1:80", "https://x/", "http://", "http:///x", "http://a@b/", "http://a b/"] {
            assert_eq!(bad.parse::<HttpUrl>(), Err(UrlError), "{bad}");
        }
    }
}
