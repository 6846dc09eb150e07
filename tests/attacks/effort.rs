//! Tries of an attacker at a daemon, one after the other, and what they cost both.

use std::net::{IpAddr, SocketAddr};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use crate::cpu;
use crate::wire::Message;

/// Tries with which a daemon does not yet see a flood (32 refusals in a second).
pub(crate) const FEW: usize = 24;

/// What became of tries.
pub(crate) struct Tries {
    /// The daemon's answers.
    pub(crate) answers: Vec<Message>,
    /// Processor time of the attacker for sending one (microseconds), with what was said to be making one.
    pub(crate) attacker_us: f64,
    /// Processor time of the daemon for one (microseconds).
    pub(crate) defender_us: f64,
}

impl Tries {
    /// All answers' statuses, each once.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        let mut statuses: Vec<_> = self.answers.iter().map(Message::status).collect();
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }

    /// For the table.
    pub(crate) fn cost(&self) -> String {
        let Self { attacker_us, defender_us, .. } = self;
        format!(
            "attacker {attacker_us:.0} µs, defender {defender_us:.0} µs a try = {:.2} : 1",
            attacker_us / defender_us
        )
    }
}

/// A connection from that address, through which requests go one after the other.
pub(crate) async fn connect(from: IpAddr, to: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(from, 0)).expect("an address of loopback");
    socket.connect(to.parse().expect("an address")).await.expect("the daemon listens")
}

/// Sends these to a daemon from that address. `making_us` is what it took to make one.
pub(crate) async fn tries(pid: u32, from: IpAddr, to: &str, requests: &[Message], making_us: f64) -> Tries {
    let bytes: Vec<_> = requests.iter().map(Message::bytes_on_open_connection).collect();
    let mut stream = connect(from, to).await;
    let (attacker, defender) = (cpu::of_thread(), cpu::of_process(pid));
    let mut answers = Vec::with_capacity(bytes.len());
    for request in &bytes {
        stream.write_all(request).await.expect("the daemon reads");
        answers.push(Message::read(&mut stream).await.expect("the daemon answers each"));
    }
    let each = |spent: std::time::Duration| spent.as_secs_f64() * 1e6 / bytes.len() as f64;
    let (attacker, defender) = (cpu::of_thread() - attacker, cpu::of_process(pid) - defender);
    Tries { answers, attacker_us: making_us + each(attacker), defender_us: each(defender) }
}
