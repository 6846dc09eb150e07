//! One bounded HTTP/1.1 exchange at a time. No redirects: whoever may send one may not send a client elsewhere.

use core::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use secure_http::{CHALLENGE_HEADER, COOKIE_HEADER};

use crate::limits::{ANSWER_BYTES_MAX, ANSWER_TIMEOUT, BUFFER_BYTES, CONNECT_TIMEOUT, PORT};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The name is not known, or nobody listens there.
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    /// It took too long.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke, or what came is no HTTP.
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    /// The answer is longer than any there should be, or breaks off.
    #[error("the answer is too long or breaks off")]
    Body,
    /// Host or path can't stand in a request.
    #[error("not a request")]
    Request(#[source] http::Error),
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// `ETag`.
    pub etag: Option<String>,
    /// `HEG-Cookie-Challenge`.
    pub challenge: Option<String>,
    /// `Retry-After`, where it is a number of seconds.
    pub retry_after_s: Option<u64>,
    /// Whole body.
    pub body: Vec<u8>,
}

/// A server by name. Each exchange has a connection of its own: they are hours apart.
#[derive(Clone, Debug)]
pub struct HttpClient {
    host: String,
    answer_within: Duration,
}

impl HttpClient {
    /// `host` as it stands in a token: name or address, with `:port` or without.
    pub fn new(host: &str) -> Self {
        Self { host: host.to_owned(), answer_within: ANSWER_TIMEOUT }
    }

    /// The same server, with another time than [`ANSWER_TIMEOUT`] from the request until the whole answer is there: for a poll that is held.
    #[must_use]
    pub fn answering_within(self, answer_within: Duration) -> Self {
        Self { answer_within, ..self }
    }

    /// GET of a path; with the tag of what is there already, the answer may be 304.
    ///
    /// # Errors
    /// No whole answer.
    pub async fn get(&self, path: &str, etag: Option<&str>) -> Result<Answer, HttpError> {
        let mut request = self.request(Method::GET, path, Vec::new())?;
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            request.headers_mut().insert(header::IF_NONE_MATCH, etag);
        }
        self.exchange(request).await
    }

    /// POST of a body, with the value of a `HEG-Cookie` header if there is one.
    ///
    /// # Errors
    /// No whole answer.
    pub async fn post(
        &self,
        path: &str,
        content_type: &'static str,
        body: Vec<u8>,
        cookie: Option<&str>,
    ) -> Result<Answer, HttpError> {
        let mut request = self.request(Method::POST, path, body)?;
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(cookie).ok()) {
            request.headers_mut().insert(HeaderName::from_static(COOKIE_HEADER), cookie);
        }
        self.exchange(request).await
    }

    fn request(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Request<Full<Bytes>>, HttpError> {
        let request = Request::builder().method(method).uri(path).header(header::HOST, &self.host);
        request.body(Full::new(Bytes::from(body))).map_err(HttpError::Request)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, HttpError> {
        let address = with_port(&self.host);
        let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(&address)).await;
        let stream = connected.map_err(|_| HttpError::Timeout)?.map_err(HttpError::Connect)?;
        timeout(self.answer_within, over(stream, request)).await.map_err(|_| HttpError::Timeout)?
    }
}

fn with_port(host: &str) -> String {
    // The colons of an IPv6 address stand before its bracket.
    let name_end = host.rfind(']').map_or(0, |at| at + 1);
    if host[name_end..].contains(':') { host.to_owned() } else { format!("{host}:{PORT}") }
}

async fn over(stream: TcpStream, request: Request<Full<Bytes>>) -> Result<Answer, HttpError> {
    let builder = {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER_BYTES);
        builder
    };
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(HttpError::Broken)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(HttpError::Broken)?;
        let (head, body) = response.into_parts();
        let text = |name: HeaderName| head.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| {
            if !error.is::<LengthLimitError>() {
                tracing::debug!(%error, "answer broke off");
            }
            HttpError::Body
        })?;
        Ok(Answer {
            status: head.status,
            etag: text(header::ETAG),
            challenge: text(HeaderName::from_static(CHALLENGE_HEADER)),
            retry_after_s: text(header::RETRY_AFTER).and_then(|text| text.parse().ok()),
            body: body.to_bytes().into(),
        })
    };
    tokio::pin!(exchange);
    tokio::pin!(connection);
    tokio::select! {
        answer = &mut exchange => answer,
        // The server may close while the answer is still on its way up.
        _ = &mut connection => exchange.await,
    }
}

#[cfg(test)]
mod tests {
    use super::with_port;

    #[test]
    fn a_host_without_a_port_has_that_of_http() {
        assert_eq!(with_port("kmc.example"), "kmc.example:80");
        assert_eq!(with_port("kmc.example:8440"), "kmc.example:8440");
        assert_eq!(with_port("[2001:db8::1]"), "[2001:db8::1]:80");
        assert_eq!(with_port("[2001:db8::1]:81"), "[2001:db8::1]:81");
    }
}
