//! What goes over the wire: connections, talks, scans, and whether anything comes back.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::lab::frame::Payload;
use testkit::lab::{Frame, Host};

use crate::homes::SOON;

/// Whoever scans.
pub(super) const SCANNER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 66));
pub(super) const SCANNER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x66));
/// Nothing comes back within this: silence. Round trips in the lab take well under a millisecond.
pub(super) const SILENCE: Duration = Duration::from_millis(400);

/// A connection over which something is said all the time.
pub(super) struct Talk {
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<()>>,
}

impl Talk {
    pub(super) fn begin(mut stream: TcpStream) -> Result<Self> {
        let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (Arc::clone(&count), Arc::clone(&stop));
        let thread = std::thread::Builder::new().spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                echo(&mut stream)?;
                counted.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })?;
        Ok(Self { count, stop, thread })
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the talk panicked"))?
    }
}

/// Says something and hears it back.
pub(super) fn echo(stream: &mut TcpStream) -> Result<()> {
    let said = [0x5a; 1024];
    stream.write_all(&said)?;
    let mut heard = [0; 1024];
    stream.read_exact(&mut heard)?;
    ensure!(said == heard, "something else came back");
    Ok(())
}

/// Sends everything back; to a question it says who asked.
pub(super) fn serve_echo(host: &Host, port: u16) -> Result<()> {
    let listener = host.in_network(|| Ok(TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?))?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let peer = stream.peer_addr().map(|a| a.ip().to_canonical().to_string()).unwrap_or_default();
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    let answer =
                        if buffer[..length].starts_with(b"who?") { peer.as_bytes() } else { &buffer[..length] };
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(())
}

pub(super) fn connect(from: Option<IpAddr>, to: SocketAddr, within: Duration) -> Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stream = runtime.block_on(async {
        let socket = if to.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }?;
        if let Some(from) = from {
            socket.bind((from, 0).into())?;
        }
        tokio::time::timeout(within, socket.connect(to)).await.context("no answer")?.context("connecting")
    })?;
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    Ok(stream)
}

/// The ports from which anything came back, a refusal included. All are tried at once, as a fast scanner does.
pub(super) fn scan(targets: &[(IpAddr, &[u16])]) -> Result<Vec<(IpAddr, u16)>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut found = Vec::new();
    // Few enough for the usual limit of open files.
    const AT_ONCE: usize = 900;
    let all: Vec<(IpAddr, u16)> = targets.iter().flat_map(|(a, ports)| ports.iter().map(|p| (*a, *p))).collect();
    for some in all.chunks(AT_ONCE) {
        runtime.block_on(async {
            let mut tries = tokio::task::JoinSet::new();
            for (address, port) in some.iter().copied() {
                tries.spawn(async move {
                    let connecting = async {
                        if address.is_ipv4() && !address.to_string().starts_with("203.") {
                            return tokio::net::TcpStream::connect((address, port)).await.map(drop);
                        }
                        let (socket, from) = match address {
                            IpAddr::V4(_) => (tokio::net::TcpSocket::new_v4()?, SCANNER),
                            IpAddr::V6(_) => (tokio::net::TcpSocket::new_v6()?, SCANNER6),
                        };
                        socket.bind((from, 0).into())?;
                        socket.connect((address, port).into()).await.map(drop)
                    };
                    let answer = tokio::time::timeout(SILENCE, connecting).await;
                    let refused = |e: &std::io::Error| e.kind() == std::io::ErrorKind::ConnectionRefused;
                    match answer {
                        Ok(Ok(())) => Ok(Some((address, port))),
                        Ok(Err(error)) if refused(&error) => Ok(Some((address, port))),
                        Ok(Err(error)) => Err(error),
                        Err(_silence) => Ok(None),
                    }
                });
            }
            while let Some(tried) = tries.join_next().await {
                found.extend(tried?.context("scanning")?);
            }
            anyhow::Ok(())
        })?;
    }
    found.sort();
    Ok(found)
}

/// Whether the gateway or an appliance answered whoever scans; neighbour discovery is no answer.
pub(super) fn speaks_to_scanner(frame: &Frame, open: &[u16]) -> bool {
    let scanner = |ip: IpAddr| ip == SCANNER || ip == SCANNER6;
    match (&*frame.sender, frame.payload()) {
        ("internet", _) => false,
        (_, Payload::Tcp { to, from, .. }) => scanner(to.ip()) && !open.contains(&from.port()),
        (_, Payload::Udp { to, .. }) => scanner(to.ip()),
        (_, Payload::Other { ether_type: 0x0800, data }) => data.get(16..20).is_some_and(|to| [203, 0, 113, 66] == *to),
        // ICMPv6 errors are below 128, an echo's answer is 129 (RFC 4443).
        (_, Payload::Other { ether_type: 0x86dd, data }) => {
            data.get(24..40).is_some_and(|to| matches!(SCANNER6, IpAddr::V6(a) if a.octets() == *to))
                && data.get(40).is_some_and(|kind| *kind < 128 || *kind == 129)
        }
        _ => false,
    }
}
