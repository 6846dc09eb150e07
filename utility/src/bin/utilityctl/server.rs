//! The server as `utilityctl` sees it: requests with a token, problems as errors.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use daemon_kit::exit::Exit;
use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utility::api::ProblemView;
use utility::client::{self, Answer, Ask, HttpUrl};
use utility::config::{ADMIN_TOKEN, DEFAULT_LISTEN, DEFAULT_STATE_DIR};
use utility::limits::{CLIENT_BODY_BYTES_MAX, CLIENT_TIMEOUT};

const URL_ENV: &str = "HEG_UTILITY_URL";
const TOKEN_FILE_ENV: &str = "HEG_UTILITY_TOKEN_FILE";
/// An operator's token has 81 bytes, one of a KMC at most 318.
pub(crate) const TOKEN_BYTES_MAX: u64 = 512;

/// The server answered that it cannot.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) code: String,
    pub(crate) detail: String,
}

impl Refused {
    fn new(answer: &Answer) -> Self {
        let status = answer.status;
        match serde_json::from_slice::<ProblemView>(&answer.body) {
            Ok(problem) => Self { status, code: problem.code, detail: problem.detail },
            Err(_) => Self { status, code: String::new(), detail: format!("the server answered {status}") },
        }
    }

    /// The exit code for a command that ended so.
    pub(crate) fn exit(&self) -> Exit {
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::NoPerm,
            StatusCode::NOT_FOUND => Exit::NoInput,
            StatusCode::BAD_REQUEST => Exit::Usage,
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE => Exit::DataErr,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::REQUEST_TIMEOUT => {
                Exit::TempFail
            }
            StatusCode::INTERNAL_SERVER_ERROR => Exit::Software,
            _ => Exit::Failure,
        }
    }
}

pub(crate) struct Server {
    url: HttpUrl,
    token: String,
}

impl Server {
    /// As named, else as the environment says, else the one on this machine.
    pub(crate) fn new(url: Option<HttpUrl>, token_file: Option<PathBuf>) -> anyhow::Result<Self> {
        let url = match (url, std::env::var(URL_ENV)) {
            (Some(url), _) => url,
            (None, Ok(text)) => text.parse().context(URL_ENV).context(Exit::Usage)?,
            (None, Err(_)) => format!("http://{DEFAULT_LISTEN}").parse().context(Exit::Software)?,
        };
        let file = token_file.or_else(|| std::env::var_os(TOKEN_FILE_ENV).map(PathBuf::from));
        let file = file.unwrap_or_else(|| Path::new(DEFAULT_STATE_DIR).join(ADMIN_TOKEN));
        let mut token = String::new();
        let read = File::open(&file).and_then(|f| f.take(TOKEN_BYTES_MAX).read_to_string(&mut token));
        read.map_err(|error| {
            let exit = if error.kind() == std::io::ErrorKind::PermissionDenied { Exit::NoPerm } else { Exit::NoInput };
            anyhow::Error::new(error).context(format!("cannot read the token in {}", file.display())).context(exit)
        })?;
        Ok(Self { url, token: token.trim().to_owned() })
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.ask(Method::GET, path, None, Duration::ZERO).await
    }

    /// An answer that may be held back for so long.
    pub(crate) async fn wait(&self, path: &str, wait: Duration) -> anyhow::Result<Answer> {
        self.ask(Method::GET, path, None, wait).await
    }

    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.ask(Method::DELETE, path, None, Duration::ZERO).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, value: &impl Serialize) -> anyhow::Result<Answer> {
        let body = serde_json::to_vec(value).context(Exit::Software)?;
        self.ask(method, path, Some(("application/json", body.into())), Duration::ZERO).await
    }

    pub(crate) async fn upload(&self, method: Method, path: &str, file: Vec<u8>) -> anyhow::Result<Answer> {
        self.ask(method, path, Some(("text/plain", file.into())), Duration::ZERO).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
        wait: Duration,
    ) -> anyhow::Result<Answer> {
        let (within, bytes_max) = (CLIENT_TIMEOUT + wait, CLIENT_BODY_BYTES_MAX);
        let ask = Ask { method, url: &self.url.at(path), token: Some(&self.token), body, within, bytes_max };
        let answer = client::ask(ask).await.map_err(|error| {
            let exit = match error {
                client::ClientError::Unreachable { .. } => Exit::Unavailable,
                client::ClientError::TooLarge(_) => Exit::DataErr,
                _ => Exit::TempFail,
            };
            anyhow::Error::new(error).context(exit)
        })?;
        if answer.status.is_success() { Ok(answer) } else { Err(Refused::new(&answer).into()) }
    }
}

/// An answer as what it should be.
pub(crate) fn read<T: DeserializeOwned>(answer: &Answer) -> anyhow::Result<T> {
    serde_json::from_slice(&answer.body).context("cannot read the server's answer").context(Exit::DataErr)
}
