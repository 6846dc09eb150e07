//! Somebody on the way between a home and its utility: hears every frame, and sends what it likes. It has no key.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testkit::lab::frame::Payload;
use testkit::lab::{Frame, Host};

/// Longest wait for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// A host of its own on the WAN.
#[derive(Debug)]
pub struct Attacker {
    host: Host,
    utility: SocketAddr,
}

/// An HTTP request as it went over the line.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its path.
    pub path: String,
    /// Its body.
    pub body: Vec<u8>,
}

impl Attacker {
    /// At that host; `utility` is where the utility serves homes.
    pub fn new(host: Host, utility: SocketAddr) -> Self {
        Self { host, utility }
    }

    /// Posts a body as a gateway would; the status of the answer and the answer's body.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn post(&self, path: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        self.host.in_network(|| post(self.utility, path, body))
    }

    /// Posts such bodies one after the other for a while; how many, and how many of them were turned away as too many (429).
    ///
    /// # Errors
    /// When the utility can't be reached at all.
    pub fn flood(&self, path: &str, body: &(dyn Fn(u32) -> Vec<u8> + Sync), how_long: Duration) -> Result<(u32, u32)> {
        self.host.in_network(|| {
            let (begun, mut sent, mut shed) = (Instant::now(), 0, 0);
            while begun.elapsed() < how_long {
                let (status, _) = post(self.utility, path, &body(sent))?;
                sent += 1;
                shed += u32::from(status == 429);
            }
            Ok((sent, shed))
        })
    }
}

fn post(to: SocketAddr, path: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&to, ANSWER_WITHIN).context("connecting")?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).context("a time-out")?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/cose; cose-type=\"cose-sign1\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).context("sending")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).context("reading the answer")?;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").context("no head in the answer")?;
    let status = String::from_utf8_lossy(&answer[..end]).split(' ').nth(1).and_then(|s| s.parse().ok());
    Ok((status.context("no status in the answer")?, answer[end + 4..].to_vec()))
}

/// The requests that `sender` posted to paths under `prefix`, put together from its frames.
pub fn recorded(frames: &[Frame], sender: &str, prefix: &str) -> Vec<Recorded> {
    let start = format!("POST {prefix}");
    let mut found = Vec::new();
    for (at, frame) in frames.iter().enumerate().filter(|(_, f)| &*f.sender == sender) {
        let Payload::Tcp { from, to, data } = frame.payload() else { continue };
        if !data.starts_with(start.as_bytes()) {
            continue;
        }
        let mut stream = data.to_vec();
        for later in frames[at + 1..].iter().filter(|f| &*f.sender == sender) {
            if let Payload::Tcp { from: f, to: t, data } = later.payload()
                && (f, t) == (from, to)
            {
                stream.extend_from_slice(data);
            }
        }
        found.extend(request(&stream));
    }
    found
}

fn request(stream: &[u8]) -> Option<Recorded> {
    let end = stream.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&stream[..end]).to_ascii_lowercase();
    let length: usize = head.lines().find_map(|l| l.strip_prefix("content-length:"))?.trim().parse().ok()?;
    let path = String::from_utf8_lossy(&stream[..end]).split(' ').nth(1)?.to_owned();
    Some(Recorded { path, body: stream.get(end + 4..end + 4 + length)?.to_vec() })
}
