//! The attacker's place: a proxy that everything goes through, that keeps all it sees, and may hold, change, answer or lead elsewhere what
//! comes by. And the HTTP that it needs for that, as little as there is.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The longest message: a report of 64 KiB and its head.
const MESSAGE_BYTES_MAX: usize = 80 * 1024;
/// For a whole exchange: the long poll's 55 s, and more.
const EXCHANGE: Duration = Duration::from_secs(90);

/// A request or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Request or status line.
    pub(crate) first: String,
    /// Header lines but those about length and connection, which are made anew.
    pub(crate) headers: Vec<String>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// A POST.
    pub(crate) fn post(path: &str, content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec!["host: x".to_owned(), format!("content-type: {content_type}")];
        Self { first: format!("POST {path} HTTP/1.1"), headers, body }
    }

    /// An answer with status 200.
    pub(crate) fn answer(content_type: &str, body: Vec<u8>) -> Self {
        Self { first: "HTTP/1.1 200 OK".to_owned(), headers: vec![format!("content-type: {content_type}")], body }
    }

    /// The path of a request.
    pub(crate) fn path(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    /// The status of an answer.
    pub(crate) fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let is_it = |line: &&String| line.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        self.headers.iter().find(is_it).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }

    /// As it goes over the wire, on a connection that ends with it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.with_connection("close")
    }

    /// As it goes over the wire, on a connection that goes on.
    pub(crate) fn bytes_on_open_connection(&self) -> Vec<u8> {
        self.with_connection("keep-alive")
    }

    fn with_connection(&self, connection: &str) -> Vec<u8> {
        let mut out = format!("{}\r\n", self.first);
        for line in &self.headers {
            out += &format!("{line}\r\n");
        }
        out += &format!("connection: {connection}\r\ncontent-length: {}\r\n\r\n", self.body.len());
        let mut out = out.into_bytes();
        out.extend_from_slice(&self.body);
        out
    }

    /// The next message on a connection; none when it ends before one is whole, or is none.
    pub(crate) async fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        loop {
            if let Some(message) = Self::parse(&bytes) {
                return Some(message);
            }
            if bytes.len() > MESSAGE_BYTES_MAX || stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = head.split("\r\n").map(str::to_owned);
        let first = lines.next()?;
        let (mut length, mut headers) = (0, Vec::new());
        for line in lines {
            let (name, value) = line.split_once(':')?;
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().ok()?,
                "connection" => {}
                _ => headers.push(line),
            }
        }
        let body = bytes.get(end + 4..end + 4 + length)?.to_vec();
        Some(Self { first, headers, body })
    }
}

/// Sends a request, straight or through a wire, and waits for the answer; none where the connection breaks.
pub(crate) async fn ask(address: &str, request: &Message) -> Option<Message> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(&request.bytes()).await.ok()?;
        Message::read(&mut stream).await
    };
    timeout(EXCHANGE, exchange).await.ok()?
}

/// An exchange as it was meant: what was asked, and what the server answered.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// Before the attacker changed it.
    pub(crate) request: Message,
    /// Before the attacker changed it; none where it got none.
    pub(crate) answer: Option<Message>,
}

type OnRequest = Box<dyn FnMut(&mut Message) -> Option<Message> + Send>;
type OnAnswer = Box<dyn FnMut(&Message, &mut Message) + Send>;

struct Attacker {
    upstream: String,
    on_request: OnRequest,
    on_answer: OnAnswer,
    seen: Vec<Exchange>,
}

/// The wire between a home and a server, and the attacker on it.
pub(crate) struct Wire {
    address: SocketAddr,
    attacker: Arc<Mutex<Attacker>>,
    accepting: JoinHandle<()>,
}

impl Wire {
    /// Leads to `upstream`, and so far only listens.
    pub(crate) async fn to(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let attacker = Arc::new(Mutex::new(Attacker {
            upstream: upstream.to_owned(),
            on_request: Box::new(|_| None),
            on_answer: Box::new(|_, _| {}),
            seen: Vec::new(),
        }));
        let shared = attacker.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move { timeout(EXCHANGE, carry(stream, &shared)).await });
            }
        });
        Self { address, attacker, accepting }
    }

    /// Where it begins: what the home takes for the server.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Leads there from now on: the server was started again, or it is another.
    pub(crate) fn lead_to(&self, upstream: &str) {
        locked(&self.attacker).upstream = upstream.to_owned();
    }

    /// Requests go through this from now on; what it returns is the answer, and the server is not asked.
    pub(crate) fn on_request(&self, attack: impl FnMut(&mut Message) -> Option<Message> + Send + 'static) {
        locked(&self.attacker).on_request = Box::new(attack);
    }

    /// Answers go through this from now on.
    pub(crate) fn on_answer(&self, attack: impl FnMut(&Message, &mut Message) + Send + 'static) {
        locked(&self.attacker).on_answer = Box::new(attack);
    }

    /// Only listens again.
    pub(crate) fn listen_only(&self) {
        self.on_request(|_| None);
        self.on_answer(|_, _| {});
    }

    /// What went by so far.
    pub(crate) fn seen(&self) -> Vec<Exchange> {
        locked(&self.attacker).seen.clone()
    }

    /// The last exchange with that path that was answered.
    pub(crate) fn last(&self, path: &str) -> Exchange {
        let seen = self.seen();
        let found = seen.into_iter().rev().find(|e| e.request.path().starts_with(path) && e.answer.is_some());
        found.unwrap_or_else(|| panic!("nothing went to {path}"))
    }

    /// Whether these bytes went by in clear, either way.
    pub(crate) fn shows(&self, needle: &[u8]) -> bool {
        let has = |message: &Message| message.bytes().windows(needle.len()).any(|w| w == needle);
        self.seen().iter().any(|e| has(&e.request) || e.answer.as_ref().is_some_and(has))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut stream: TcpStream, attacker: &Mutex<Attacker>) -> Option<()> {
    let mut request = Message::read(&mut stream).await?;
    let asked = request.clone();
    let (forged, upstream) = {
        let mut attacker = locked(attacker);
        let forged = (attacker.on_request)(&mut request);
        (forged, attacker.upstream.clone())
    };
    let (answer, real) = match forged {
        Some(forged) => (forged, None),
        None => {
            let real = ask(&upstream, &request).await;
            let mut answer = real.clone()?;
            (locked(attacker).on_answer)(&asked, &mut answer);
            (answer, real)
        }
    };
    locked(attacker).seen.push(Exchange { request: asked, answer: real });
    stream.write_all(&answer.bytes()).await.ok()
}

fn locked(attacker: &Mutex<Attacker>) -> std::sync::MutexGuard<'_, Attacker> {
    attacker.lock().unwrap_or_else(PoisonError::into_inner)
}
