//! The power system's readings, from a file that somebody writes or from a place where they can be fetched.

use std::path::PathBuf;
use std::time::Duration;

use crate::client::{self, Ask, HttpUrl};
use crate::limits::{FEED_BYTES_MAX, FEED_TIMEOUT};
use crate::readings;
use crate::rules::Reading;
use daemon_kit::state_dir::read_bounded;
use http::Method;

/// Where readings come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file, read whole whenever it is looked at.
    File(PathBuf),
    /// A server.
    Url(HttpUrl),
}

/// Looks for readings from time to time.
#[derive(Debug)]
pub struct Feed {
    source: Source,
    every: Duration,
    started: bool,
    /// What was read last, so that what did not change is not looked through again.
    last: Vec<u8>,
}

impl Feed {
    /// From `source`, looked at every so often.
    pub fn new(source: Source, every: Duration) -> Self {
        Self { source, every, started: false, last: Vec::new() }
    }

    /// Waits until there is something else than before, or a look fails. At once the first time.
    ///
    /// # Errors
    /// Why readings cannot be had, in words; the next call tries again.
    pub async fn next(&mut self) -> Result<Vec<Reading>, String> {
        loop {
            if std::mem::replace(&mut self.started, true) {
                tokio::time::sleep(self.every).await;
            }
            let bytes = self.look().await?;
            if bytes == self.last {
                continue;
            }
            let text = str::from_utf8(&bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
            let readings = readings::read(text).map_err(|e| e.to_string())?;
            self.last = bytes;
            return Ok(readings);
        }
    }

    async fn look(&self) -> Result<Vec<u8>, String> {
        match &self.source {
            Source::File(path) => {
                let bytes = read_bounded(path, FEED_BYTES_MAX as u64).map_err(|e| e.to_string())?;
                bytes.ok_or_else(|| format!("{} is not there", path.display()))
            }
            Source::Url(url) => {
                let (within, bytes_max) = (FEED_TIMEOUT, FEED_BYTES_MAX);
                let ask = Ask { method: Method::GET, url, token: None, body: None, within, bytes_max };
                let answer = client::ask(ask).await.map_err(|e| format!("{url}: {e}"))?;
                if !answer.status.is_success() {
                    return Err(format!("{url}: answered {}", answer.status));
                }
                Ok(answer.body.to_vec())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_told_when_it_changes_and_a_wrong_one_is_an_error_that_passes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("readings.csv");
        let mut feed = Feed::new(Source::File(path.clone()), Duration::from_millis(5));
        assert!(feed.next().await.unwrap_err().contains("is not there"));
        let table = |kw: u32| format!("at,group,load_w\n2027-01-15T08:00:00Z,north,{kw}\n");
        std::fs::write(&path, table(1)).unwrap();
        assert_eq!(feed.next().await.unwrap()[0].value, 1);
        std::fs::write(&path, "nonsense").unwrap();
        assert!(feed.next().await.unwrap_err().starts_with("line 1"));
        std::fs::write(&path, table(2)).unwrap();
        assert_eq!(feed.next().await.unwrap()[0].value, 2);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_an_error() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/readings", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        let mut feed = Feed::new(Source::Url(url), Duration::from_secs(1));
        assert!(feed.next().await.unwrap_err().contains("cannot reach 127.0.0.1"));
    }
}
