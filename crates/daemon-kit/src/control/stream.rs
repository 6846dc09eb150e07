//! A long answer of JSON lines (`application/x-ndjson`), for `watch`.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde::Serialize;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};

use crate::limits::CONTROL_STREAM_LINES_MAX;

/// The reader is gone, or was cut off because it did not keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reader of the stream is gone or too slow")]
pub struct StreamClosed;

/// The daemon's end of a stream. Dropping it ends the answer in order.
#[derive(Debug)]
pub struct ControlStream {
    lines: mpsc::Sender<Bytes>,
    cut: Arc<Notify>,
}

impl ControlStream {
    /// A stream, and its body for the HTTP side. `cut` makes the connection's task drop the connection;
    /// `place` is one of those that bound the number of streams.
    pub(super) fn new(cut: Arc<Notify>, place: OwnedSemaphorePermit) -> (Self, LineBody) {
        let (lines, rest) = mpsc::channel(CONTROL_STREAM_LINES_MAX);
        (Self { lines, cut }, LineBody { lines: rest, _place: place })
    }

    /// Sends one line, without waiting. A reader that is [`CONTROL_STREAM_LINES_MAX`] lines behind is cut off: its
    /// answer stays incomplete, so that it notices.
    pub fn send(&mut self, line: &impl Serialize) -> Result<(), StreamClosed> {
        let mut json = match serde_json::to_vec(line) {
            Ok(json) => json,
            Err(error) => {
                tracing::error!(%error, "a value has no JSON form");
                return Err(StreamClosed);
            }
        };
        json.push(b'\n');
        self.lines.try_send(json.into()).map_err(|error| {
            if matches!(error, mpsc::error::TrySendError::Full(_)) {
                tracing::debug!("reader of a control stream too slow, cut off");
                self.cut.notify_one();
            }
            StreamClosed
        })
    }

    /// Whether somebody still reads.
    pub fn is_open(&self) -> bool {
        !self.lines.is_closed()
    }
}

/// The HTTP body that the lines go out by.
#[derive(Debug)]
pub(super) struct LineBody {
    lines: mpsc::Receiver<Bytes>,
    /// Given back when the connection drops the body.
    _place: OwnedSemaphorePermit,
}

impl Body for LineBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.lines.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
