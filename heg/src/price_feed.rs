//! Looks at the price file, or asks the price feed, from time to time.
//!
//! A file is taken when it has stayed the same for a moment, so that one that is still being written is not; whoever renames a whole
//! file over it is not made to wait longer. A feed is asked over plain HTTP with what is known of its document, so that one that has not
//! changed is not sent again; after a failure it is asked ever less often, at a moment drawn at random.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use daemon_kit::clock::{self, BootTimer};
use daemon_kit::state_dir::read_bounded;
use http::StatusCode;
use jiff::Timestamp;
use secure_link::HttpClient;
use tariff::limits::PRICE_FILE_BYTES_MAX;
use tokio::sync::mpsc;

use crate::config::{FeedUrl, Place, Tariff};
use crate::limits::{FEED_RETRY_FIRST, FEED_RETRY_MAX, FEED_TIMEOUT, PRICE_FILE_SETTLES};
use crate::prices::News;

/// Whoever looks.
#[derive(Debug)]
pub struct PriceFeed {
    place: Place,
    every: Duration,
    /// What the server said of the last document, to be sent with the next question: `ETag` and `Last-Modified`.
    seen: (Option<String>, Option<String>),
    /// The last document, so that the same one again is told as such.
    last: Option<Vec<u8>>,
    /// The file as it was when it was read.
    taken: Option<Mark>,
    /// What went wrong last; the same again is not told again.
    failure: Option<String>,
    failures: u32,
    rng: fastrand::Rng,
    timer: BootTimer,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

/// What a look came to, and how long to wait for the next.
type Look = (Result<Option<News>, String>, Duration);

impl PriceFeed {
    /// Where the section names a file or feed. The first look brings the whole document.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn new(config: &Tariff, seed: u64) -> io::Result<Option<Self>> {
        let Some((place, every)) = config.watch.clone() else { return Ok(None) };
        Ok(Some(Self {
            place,
            every,
            seen: (None, None),
            last: None,
            taken: None,
            failure: None,
            failures: 0,
            rng: fastrand::Rng::with_seed(seed),
            timer: BootTimer::new()?,
        }))
    }

    /// Tells news until nobody listens any more.
    pub async fn run(mut self, news: mpsc::Sender<News>) {
        loop {
            let (found, wait) = tokio::select! {
                look = self.look() => look,
                () = news.closed() => return,
            };
            let told = match found {
                // While a file settles nothing is known of it yet.
                Ok(None) => None,
                Ok(found) => {
                    self.failure = None;
                    found
                }
                Err(why) if self.failure.as_ref() == Some(&why) => None,
                Err(why) => {
                    tracing::info!(of = %self.place, why, "prices cannot be had");
                    self.failure = Some(why.clone());
                    Some(News::Failed(why))
                }
            };
            if let Some(told) = told
                && news.send(told).await.is_err()
            {
                return;
            }
            tokio::select! {
                () = self.timer.until(Some(clock::boottime() + wait)) => {}
                () = news.closed() => return,
            }
        }
    }

    async fn look(&mut self) -> Look {
        match self.place.clone() {
            Place::File(path) => {
                let look = self.file(&path);
                if look.0.is_err() {
                    // What comes back is read again, also the same: that it is back is news.
                    self.taken = None;
                }
                look
            }
            Place::Url(url) => self.ask(&url).await,
        }
    }

    fn file(&mut self, path: &Path) -> Look {
        let before = match mark(path) {
            Ok(mark) => mark,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return (Err(format!("{} is not there", path.display())), self.every);
            }
            Err(error) => return (Err(format!("{}: {error}", path.display())), self.every),
        };
        if self.taken == Some(before) {
            return (Ok(None), self.every);
        }
        let modified = Timestamp::new(before.modified.0, before.modified.1 as i32).unwrap_or(Timestamp::UNIX_EPOCH);
        if clock::wall().duration_since(modified).unsigned_abs() < PRICE_FILE_SETTLES {
            return (Ok(None), PRICE_FILE_SETTLES);
        }
        let bytes = match read_bounded(path, PRICE_FILE_BYTES_MAX as u64) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return (Ok(None), PRICE_FILE_SETTLES),
            Err(error) => return (Err(with_source(&error)), self.every),
        };
        if mark(path).ok() != Some(before) {
            return (Ok(None), PRICE_FILE_SETTLES);
        }
        self.taken = Some(before);
        (Ok(Some(self.document(bytes, modified))), self.every)
    }

    async fn ask(&mut self, url: &FeedUrl) -> Look {
        let client = HttpClient::new(&url.host).answering_within(FEED_TIMEOUT).taking(PRICE_FILE_BYTES_MAX);
        let (etag, modified) = &self.seen;
        let answer = client.get_newer(&url.path, etag.as_deref(), modified.as_deref()).await;
        let (why, after) = match answer {
            Ok(answer) if answer.status == StatusCode::OK => {
                self.failures = 0;
                self.seen = (answer.etag, answer.modified);
                let told = self.document(answer.body, clock::wall());
                return (Ok(Some(told)), self.soon());
            }
            Ok(answer) if answer.status == StatusCode::NOT_MODIFIED => {
                self.failures = 0;
                return (Ok(Some(News::Same { at: clock::wall() })), self.soon());
            }
            Ok(answer) => (format!("{url} answered {}", answer.status), answer.retry_after_s),
            Err(error) => (format!("{url}: {}", with_source(&error)), None),
        };
        self.failures = self.failures.saturating_add(1);
        (Err(why), self.later(after))
    }

    /// Nothing that is not text is handed on, and the same document is told as such.
    fn document(&mut self, bytes: Vec<u8>, at: Timestamp) -> News {
        if self.last.as_ref() == Some(&bytes) {
            return News::Same { at };
        }
        // Bytes that are no text become characters that no price file has, so it is refused with their line.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.last = Some(bytes);
        News::Document { text, at }
    }

    /// The usual time, a tenth more or less, so that homes started together by a power cut do not ask together.
    fn soon(&mut self) -> Duration {
        self.every.mul_f64(0.9 + 0.2 * self.rng.f64())
    }

    /// After a failure: anywhere up to a bound that doubles with each, but never more often than a second. The server's own word goes before it.
    fn later(&mut self, retry_after_s: Option<u64>) -> Duration {
        let bound = FEED_RETRY_FIRST.saturating_mul(1 << (self.failures - 1).min(16)).min(FEED_RETRY_MAX);
        let drawn = bound.mul_f64(self.rng.f64()).max(Duration::from_secs(1));
        match retry_after_s {
            Some(s) => Duration::from_secs(s).min(FEED_RETRY_MAX) + drawn.min(FEED_RETRY_FIRST),
            None => drawn,
        }
    }
}

fn mark(path: &Path) -> io::Result<Mark> {
    let file = fs::metadata(path)?;
    if !file.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    Ok(Mark { inode: file.ino(), bytes: file.len(), modified: (file.mtime(), file.mtime_nsec()) })
}

fn with_source(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn feed(place: Place) -> PriceFeed {
        let config = Tariff { watch: Some((place, Duration::from_secs(900))), ..Tariff::default() };
        PriceFeed::new(&config, 7).unwrap().unwrap()
    }

    fn age(path: &Path, seconds: u64) {
        let file = fs::File::options().write(true).open(path).unwrap();
        let at = fs::metadata(path).unwrap().modified().unwrap() - Duration::from_secs(seconds);
        file.set_modified(at).unwrap();
    }

    #[tokio::test]
    async fn a_file_is_taken_once_it_has_settled_and_told_again_only_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prices.csv");
        let mut feed = feed(Place::File(path.clone()));
        let missing = feed.look().await;
        assert_eq!(missing, (Err(format!("{} is not there", path.display())), Duration::from_secs(900)));
        fs::write(&path, "half").unwrap();
        assert_eq!(feed.look().await, (Ok(None), PRICE_FILE_SETTLES), "it was written just now");
        age(&path, 60);
        let (Ok(Some(News::Document { text, .. })), wait) = feed.look().await else { panic!() };
        assert_eq!((text.as_str(), wait.as_secs()), ("half", 900));
        assert_eq!(feed.look().await.0, Ok(None));
        // Written anew with the same content: confirmed, not news.
        age(&path, 30);
        assert!(matches!(feed.look().await.0, Ok(Some(News::Same { .. }))));
        // Another whole file renamed over it, as old as may be.
        let beside = dir.path().join("new");
        fs::write(&beside, "whole").unwrap();
        age(&beside, 3600);
        fs::rename(&beside, &path).unwrap();
        let (Ok(Some(News::Document { text, .. })), _) = feed.look().await else { panic!() };
        assert_eq!(text, "whole");
        fs::write(&path, vec![b'x'; PRICE_FILE_BYTES_MAX + 1]).unwrap();
        age(&path, 60);
        assert!(feed.look().await.0.unwrap_err().contains("larger than 262144 bytes"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(feed.look().await.0.unwrap_err().ends_with("it is no file"));
    }

    #[tokio::test]
    async fn that_a_file_is_back_is_told_though_it_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (path, aside) = (dir.path().join("prices.csv"), dir.path().join("aside"));
        fs::write(&path, "whole").unwrap();
        age(&path, 60);
        let (told, mut news) = mpsc::channel(4);
        let config =
            Tariff { watch: Some((Place::File(path.clone()), Duration::from_millis(20))), ..Tariff::default() };
        let feed = PriceFeed::new(&config, 7).unwrap().unwrap();
        let look = async {
            let mut next = async || tokio::time::timeout(Duration::from_secs(30), news.recv()).await.unwrap().unwrap();
            assert!(matches!(next().await, News::Document { .. }));
            fs::rename(&path, &aside).unwrap();
            fs::create_dir(&path).unwrap();
            loop {
                let News::Failed(why) = next().await else { panic!("no failure") };
                if why.ends_with("it is no file") {
                    break;
                }
            }
            fs::remove_dir(&path).unwrap();
            fs::rename(&aside, &path).unwrap();
            // It may be looked for just when it is not there.
            let back = loop {
                match next().await {
                    News::Failed(why) => assert!(why.ends_with("is not there"), "{why}"),
                    back => break back,
                }
            };
            assert!(matches!(back, News::Same { .. }), "{back:?}");
        };
        tokio::select! {
            () = feed.run(told) => panic!("it ended by itself"),
            () = look => {}
        }
    }

    /// Gives each connection the next of these answers, and the heads of the questions.
    async fn serve(listener: tokio::net::TcpListener, answers: Vec<String>) -> Vec<String> {
        let mut heads = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            heads.push(String::from_utf8(head).unwrap().to_ascii_lowercase());
            // A client that has read enough hangs up.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        heads
    }

    #[tokio::test]
    async fn a_feed_is_asked_for_what_is_newer_and_what_it_answers_is_bounded_and_never_followed_elsewhere() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/day", listener.local_addr().unwrap());
        let answer =
            |head: &str, body: &str| format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let modified = "Thu, 01 Jan 2026 00:00:00 GMT";
        let answers = vec![
            answer(&format!("200 OK\r\nLast-Modified: {modified}"), "one"),
            answer("304 Not Modified", ""),
            answer("200 OK\r\nETag: \"2\"", "one"),
            answer("200 OK", &"x".repeat(PRICE_FILE_BYTES_MAX + 1)),
            answer("301 Moved Permanently\r\nLocation: /elsewhere", ""),
            answer("503 Service Unavailable\r\nRetry-After: 600", ""),
        ];
        let asking = async {
            let mut feed = feed(Place::Url(FeedUrl::try_from(url.clone()).unwrap()));
            let (Ok(Some(News::Document { text, .. })), _) = feed.look().await else { panic!() };
            assert_eq!(text, "one");
            assert!(matches!(feed.look().await.0, Ok(Some(News::Same { .. }))));
            assert!(matches!(feed.look().await.0, Ok(Some(News::Same { .. }))), "the same text under another tag");
            assert!(feed.look().await.0.unwrap_err().ends_with("the answer is too long or breaks off"));
            assert_eq!(feed.look().await.0, Err(format!("{url} answered 301 Moved Permanently")));
            let (busy, wait) = feed.look().await;
            assert_eq!(busy, Err(format!("{url} answered 503 Service Unavailable")));
            assert!((600..=605).contains(&wait.as_secs()), "{wait:?}");
            let nobody = feed.look().await.0.unwrap_err();
            assert!(nobody.starts_with(&format!("{url}: cannot connect: ")), "{nobody}");
        };
        let (heads, ()) = tokio::join!(serve(listener, answers), asking);
        assert!(heads[1].contains(&format!("if-modified-since: {modified}").to_ascii_lowercase()), "{}", heads[1]);
        assert!(heads[3].contains("if-none-match: \"2\"") && !heads[3].contains("if-modified-since"), "{}", heads[3]);
    }

    #[tokio::test]
    async fn after_failures_it_is_asked_ever_less_often_at_random_and_as_the_server_says() {
        let url = FeedUrl::try_from("http://127.0.0.1:1/".to_owned()).unwrap();
        let mut feed = feed(Place::Url(url));
        let mut longest = Duration::ZERO;
        for failures in 1..40 {
            feed.failures = failures;
            let wait = feed.later(None);
            let bound = FEED_RETRY_FIRST.saturating_mul(1 << (failures - 1).min(16)).min(FEED_RETRY_MAX);
            assert!(
                wait >= Duration::from_secs(1) && wait <= bound.max(Duration::from_secs(1)),
                "{failures}: {wait:?}"
            );
            longest = longest.max(wait);
        }
        assert!(longest > FEED_RETRY_MAX / 2, "{longest:?}");
        feed.failures = 1;
        let told = feed.later(Some(120)).as_secs();
        assert!((120..=120 + FEED_RETRY_FIRST.as_secs()).contains(&told), "{told}");
        assert!(feed.later(Some(u64::MAX)) <= FEED_RETRY_MAX + FEED_RETRY_FIRST);
        for _ in 0..100 {
            assert!((810..=990).contains(&feed.soon().as_secs()));
        }
    }
}
