//! From a change of state to its NOTIFY at the subscribers: the change is one SOAP action, sent at time zero.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};

use crate::peers::Peer;
use crate::soap::{connect, exchange};

/// Changes per pass.
const CHANGES: usize = 25;
const SOON: Duration = Duration::from_secs(10);

/// Medians over the changes, milliseconds from the request to the first, the middle and the last subscriber's NOTIFY.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delays {
    pub(crate) first: f64,
    pub(crate) middle: f64,
    pub(crate) last: f64,
}

/// Runs on the control point's host; each subscriber has an address of its own, as in a home.
pub(crate) fn delays(peer: &Peer, device: IpAddr, subscribers: &[IpAddr]) -> Result<Delays> {
    let to = SocketAddr::new(device, peer.port);
    let (sender, arrivals) = channel();
    for (number, address) in subscribers.iter().enumerate() {
        let listener = TcpListener::bind((*address, 0)).with_context(|| format!("listening on {address}"))?;
        let callback = listener.local_addr()?;
        let sender = sender.clone();
        std::thread::spawn(move || serve(&listener, number, &sender));
        subscribe(peer, to, *address, callback).with_context(|| format!("subscriber {number}"))?;
    }
    // The initial events.
    collect(&arrivals, subscribers.len(), Instant::now()).context("initial events")?;
    let (mut first, mut middle, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let value = peer.values[(change + 1) % 2];
        let request = peer.request(to, peer.set.0, &peer.set.1.replace('%', value));
        let mut stream = connect(to)?;
        let zero = Instant::now();
        let (answer, _) = exchange(&mut stream, &request)?;
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        let mut times = collect(&arrivals, subscribers.len(), zero)?;
        times.sort_by(f64::total_cmp);
        first.push(times[0]);
        middle.push(times[times.len() / 2]);
        last.push(times[times.len() - 1]);
    }
    Ok(Delays { first: median(first), middle: median(middle), last: median(last) })
}

/// The middle value.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One arrival of each subscriber, milliseconds after `zero`.
fn collect(arrivals: &Receiver<(usize, Instant)>, count: usize, zero: Instant) -> Result<Vec<f64>> {
    let mut times = vec![None; count];
    let mut left = count;
    while left > 0 {
        let (number, at) = arrivals.recv_timeout(SOON).with_context(|| format!("{left} of {count} events missing"))?;
        if times[number].is_none() {
            times[number] = Some(at.saturating_duration_since(zero).as_secs_f64() * 1e3);
            left -= 1;
        }
    }
    Ok(times.into_iter().flatten().collect())
}

fn subscribe(peer: &Peer, to: SocketAddr, from: IpAddr, callback: SocketAddr) -> Result<()> {
    let request = format!(
        "SUBSCRIBE {} HTTP/1.1\r\nHOST: {to}\r\nCALLBACK: <http://{callback}/n>\r\nNT: upnp:event\r\nTIMEOUT: Second-1800\r\n\r\n",
        peer.event
    );
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), SOON)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON))?;
    let (answer, _) = exchange(&mut stream, request.as_bytes())?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// Takes NOTIFYs until the process ends.
fn serve(listener: &TcpListener, number: usize, sender: &Sender<(usize, Instant)>) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        let sender = sender.clone();
        std::thread::spawn(move || {
            let _closed = stream.set_nodelay(true);
            while let Some(at) = take(&mut stream) {
                if sender.send((number, at)).is_err() {
                    return;
                }
            }
        });
    }
}

/// Reads one NOTIFY, answers it, and tells when its first byte was there.
fn take(stream: &mut TcpStream) -> Option<Instant> {
    let mut message = Vec::new();
    let mut buffer = [0; 4096];
    let mut arrived = None;
    loop {
        let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
        arrived.get_or_insert_with(Instant::now);
        message.extend_from_slice(&buffer[..n]);
        let Some(head) = message.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&message[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        if message.len() >= head + 4 + length.unwrap_or(0) {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()?;
            return arrived;
        }
    }
}
