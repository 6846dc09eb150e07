//! SOAP actions per second over a number of connections, each with one request under way; a peer that closes is connected to again.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// One pass; three are run, in turn with the other peers, and the median is taken.
pub(crate) const PASS: Duration = Duration::from_secs(2);

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Answers per second.
pub(crate) fn rate(to: SocketAddr, request: &[u8], connections: usize) -> Result<f64> {
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    let counts = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..connections).map(|_| scope.spawn(|| worker(to, request, &stop, connections == 1))).collect();
        while began.elapsed() < PASS {
            std::thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
        workers
            .into_iter()
            .map(|w| w.join().unwrap_or_else(|_| bail!("a worker panicked")))
            .collect::<Result<Vec<u64>>>()
    })?;
    let total: u64 = counts.iter().sum();
    ensure!(total > 0, "no answer from {to}");
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    Ok(total as f64 / began.elapsed().as_secs_f64())
}

/// A single client spins while it waits: on an idle machine its own way out of sleep would be half of what is measured, for every peer
/// alike. Several clients would take the processor from the device that way, so they sleep.
fn worker(to: SocketAddr, request: &[u8], stop: &AtomicBool, spins: bool) -> Result<u64> {
    let mut done = 0;
    let mut failures = 0;
    let mut kept = None;
    while !stop.load(Ordering::Relaxed) {
        let fresh = kept.is_none();
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => {
                let stream = connect(to)?;
                stream.set_nonblocking(spins)?;
                stream
            }
        };
        match exchange(&mut stream, request) {
            Ok((answer, reusable)) => {
                ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
                done += 1;
                kept = reusable.then_some(stream);
            }
            // A peer may have closed a connection it seemed to keep.
            Err(_) if !fresh => {}
            Err(error) => {
                failures += 1;
                ensure!(failures < 100, "{error:#}");
            }
        }
    }
    Ok(done)
}

pub(crate) fn connect(to: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, Duration::from_secs(5)).context("connecting")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    Ok(stream)
}

/// Sends a request and reads one whole answer; also whether the connection may be used again.
pub(crate) fn exchange(stream: &mut TcpStream, request: &[u8]) -> Result<(Vec<u8>, bool)> {
    stream.write_all(request)?;
    let began = Instant::now();
    let mut answer = Vec::with_capacity(1024);
    let mut buffer = [0; 4096];
    loop {
        let n = match stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && began.elapsed() < ANSWER_WITHIN => {
                std::hint::spin_loop();
                continue;
            }
            read => read?,
        };
        if n == 0 {
            ensure!(!answer.is_empty(), "closed without an answer");
            return Ok((answer, false));
        }
        answer.extend_from_slice(&buffer[..n]);
        if let Some(reusable) = complete(&answer) {
            return Ok((answer, reusable));
        }
    }
}

/// Whether the answer is whole, and then whether the connection stays.
fn complete(answer: &[u8]) -> Option<bool> {
    let head = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let value = |name: &str| text.lines().find_map(|l| l.strip_prefix(name).map(|v| v.trim().to_owned()));
    let body = answer.len() - head - 4;
    let whole = match value("content-length:").and_then(|v| v.parse::<usize>().ok()) {
        Some(length) => body >= length,
        None => value("transfer-encoding:").is_some() && answer.ends_with(b"0\r\n\r\n"),
    };
    whole.then(|| value("connection:").is_none_or(|v| v != "close"))
}
