//! Log events to systemd-journald by its native protocol: the message as one readable line with its fields, and each field
//! on its own, with the prefix `F_`, to search by (`journalctl F_UDN=...`).

use std::fmt::{self, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::limits::JOURNAL_MESSAGE_BYTES_MAX;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Sends every event to the journal.
#[derive(Debug)]
pub(crate) struct JournalLayer {
    socket: UnixDatagram,
    identifier: String,
}

impl JournalLayer {
    /// Connects to the journal of this machine.
    pub(crate) fn new() -> io::Result<Self> {
        Self::to(Path::new(SOCKET))
    }

    fn to(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        let program = std::env::current_exe().unwrap_or_default();
        let identifier = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { socket, identifier })
    }

    fn head(&self, event: &Event<'_>) -> Vec<u8> {
        let meta = event.metadata();
        let mut out = Vec::with_capacity(256);
        put(&mut out, "PRIORITY", priority(*meta.level()));
        put(&mut out, "SYSLOG_IDENTIFIER", &self.identifier);
        put(&mut out, "TARGET", meta.target());
        if let (Some(file), Some(line)) = (meta.file(), meta.line()) {
            put(&mut out, "CODE_FILE", file);
            put(&mut out, "CODE_LINE", &line.to_string());
        }
        out
    }
}

impl<S: Subscriber> Layer<S> for JournalLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let head = self.head(event);
        let message = fields.message + &fields.text;
        let mut whole = head.clone();
        put(&mut whole, "MESSAGE", &message);
        whole.extend_from_slice(&fields.each);
        if self.socket.send(&whole).is_err() {
            // Too large for a datagram: the line alone, cut. Should journald be gone there is nobody left to tell.
            let mut short = head;
            put(&mut short, "MESSAGE", &message[..message.floor_char_boundary(JOURNAL_MESSAGE_BYTES_MAX)]);
            let _ = self.socket.send(&short);
        }
    }
}

/// syslog(3)'s number of a level.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// Adds a field in the form that takes any bytes: name, newline, length as 64 bits little-endian, value, newline.
fn put(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

/// What an event says.
#[derive(Default)]
struct Fields {
    message: String,
    text: String,
    each: Vec<u8>,
}

impl Fields {
    fn add(&mut self, field: &Field, shown: &str, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
            return;
        }
        // Writing to a string does not fail.
        let _ = write!(self.text, " {}={shown}", field.name());
        put(&mut self.each, &name(field.name()), value);
    }
}

/// A name journald takes: capitals, digits and underscores, 64 bytes at most.
fn name(field: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    "F_".chars().chain(field.chars().map(letter)).take(64).collect()
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, &format!("{value:?}"), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        self.add(field, &value, &value);
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// The fields of one datagram.
    fn parse(mut bytes: &[u8]) -> Vec<(String, String)> {
        let mut fields = vec![];
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            let (name, rest) = bytes.split_at(end);
            let (length, rest) = rest[1..].split_at(8);
            let (value, rest) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            fields.push((text(name), text(value)));
            bytes = rest.strip_prefix(b"\n").unwrap();
        }
        fields
    }

    fn logged(log: impl FnOnce()) -> Vec<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let subscriber = tracing_subscriber::registry().with(JournalLayer::to(&path).unwrap());
        tracing::subscriber::with_default(subscriber, log);
        let mut buffer = vec![0; 1024 * 1024];
        let n = journal.recv(&mut buffer).unwrap();
        parse(&buffer[..n])
    }

    #[test]
    fn a_line_in_the_journal_says_everything_and_each_field_can_be_searched_by() {
        let fields = logged(|| tracing::warn!(error = %"no\nbus", reg_id = 7, who = "a b", "not seen"));
        let value = |name: &str| fields.iter().find(|f| f.0 == name).map(|f| f.1.as_str());
        assert_eq!(value("MESSAGE"), Some("not seen error=no\nbus reg_id=7 who=\"a b\""));
        assert_eq!((value("PRIORITY"), value("F_ERROR")), (Some("4"), Some("no\nbus")));
        assert_eq!((value("F_REG_ID"), value("F_WHO")), (Some("7"), Some("a b")));
        assert!(value("CODE_FILE").is_some_and(|f| f.ends_with("journal_layer.rs")), "{fields:?}");
    }

    #[test]
    fn what_does_not_fit_a_datagram_is_cut_and_not_lost() {
        let large = "x".repeat(8 * 1024 * 1024);
        let fields = logged(|| tracing::info!(large, "much"));
        let message = &fields.iter().find(|f| f.0 == "MESSAGE").unwrap().1;
        assert!(message.starts_with("much large=") && message.len() == JOURNAL_MESSAGE_BYTES_MAX);
    }
}
