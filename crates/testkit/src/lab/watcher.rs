//! Sees every frame that a host of the lab sends: an AF_PACKET socket on the switch's side of all cables.
//!
//! A frame is taken once, where it enters the switch, so that counts are what was sent, not what was delivered.

use std::collections::{HashMap, VecDeque};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeSpec, TimeVal, TimeValLike};

use super::frame::Frame;
use super::limits::{FRAME_BYTES_MAX, FRAME_LEN_MAX, FRAMES_MAX, WATCHER_SOCKET_BUFFER_BYTES};

/// `sll_pkttype` of frames on their way out of an interface (linux/if_packet.h).
const PACKET_OUTGOING: u8 = 4;

/// How long one read waits, and so how long the end of the watcher may take.
const READ_MS: i64 = 50;

/// The running capture.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// A place in the stream of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(usize);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Frame>,
    /// How many frames are gone from the front of `frames`.
    dropped: usize,
    bytes: usize,
    ports: HashMap<usize, Arc<str>>,
}

impl Watcher {
    pub(crate) fn start() -> Result<Watcher> {
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
            .context("opening the packet socket")?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).context("asking for time stamps")?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(READ_MS))
            .context("setting a read time-out")?;
        setsockopt(&socket, sockopt::RcvBuf, &WATCHER_SOCKET_BUFFER_BYTES).context("enlarging the buffer")?;
        let shared = Arc::new(Shared::default());
        let reader = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("watcher".into())
            .spawn(move || reader.read(&socket))
            .context("starting the watcher")?;
        Ok(Watcher { shared, thread: Some(thread) })
    }

    /// Frames entering the switch through interface `index` are sent by host `name`.
    pub(crate) fn name_port(&self, index: usize, name: &str) {
        self.shared.lock().ports.insert(index, name.into());
    }

    /// The present end of the stream.
    pub fn mark(&self) -> Mark {
        self.shared.lock().end()
    }

    /// The frames from `mark` up to now. Those beyond the watcher's bounds are gone.
    pub fn since(&self, mark: Mark) -> Vec<Frame> {
        let state = self.shared.lock();
        state.frames.iter().skip(mark.0.saturating_sub(state.dropped)).cloned().collect()
    }

    /// The frames from one place in the stream to another.
    pub fn between(&self, from: Mark, to: Mark) -> Vec<Frame> {
        let mut frames = self.since(from);
        frames.truncate(to.0.saturating_sub(from.0));
        frames
    }

    /// The first frame from `mark` on that `wanted` takes, waiting for it.
    ///
    /// # Errors
    /// When none has come after `deadline`, naming `what` was waited for.
    pub fn wait_for(
        &self,
        what: &str,
        mark: Mark,
        deadline: Duration,
        wanted: impl Fn(&Frame) -> bool,
    ) -> Result<Frame> {
        match self.poll_for(mark, deadline, wanted).1 {
            Some(frame) => Ok(frame),
            None => bail!("{what}: not seen on the wire within {deadline:?}"),
        }
    }

    /// As [`Watcher::wait_for`], for a caller with other things to look at: gives also the place to go on from.
    pub fn poll_for(&self, mark: Mark, deadline: Duration, wanted: impl Fn(&Frame) -> bool) -> (Mark, Option<Frame>) {
        let until = Instant::now() + deadline;
        let mut next = mark;
        let mut state = self.shared.lock();
        loop {
            let from = next.0.saturating_sub(state.dropped);
            if let Some(at) = state.frames.iter().skip(from).position(&wanted) {
                let found = state.dropped + from + at;
                return (Mark(found + 1), state.frames.get(from + at).cloned());
            }
            next = state.end();
            let Some(left) = until.checked_duration_since(Instant::now()) else { return (next, None) };
            state = self.shared.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves whole frames behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, socket: &OwnedFd) {
        let mut buffer = vec![0_u8; FRAME_LEN_MAX];
        let mut control = nix::cmsg_space!(TimeSpec);
        while !self.stop.load(Ordering::Relaxed) {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let received = recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty());
            let (len, port, at) = match received {
                Ok(message) => {
                    let Some(from) = message.address else { continue };
                    if from.pkttype() == PACKET_OUTGOING {
                        continue;
                    }
                    let stamp = message.cmsgs().ok().and_then(|mut all| {
                        all.find_map(|one| match one {
                            ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
                            _ => None,
                        })
                    });
                    (message.bytes, from.ifindex(), stamp.unwrap_or_default())
                }
                Err(Errno::EAGAIN | Errno::EINTR) => continue,
                // A port that goes down is told as ENETDOWN.
                Err(_) => continue,
            };
            let mut state = self.lock();
            let Some(sender) = state.ports.get(&port).cloned() else { continue };
            let bytes = buffer.get(..len).unwrap_or_default();
            state.push(Frame { at, sender, bytes: bytes.into() });
            drop(state);
            self.arrived.notify_all();
        }
    }
}

impl State {
    fn end(&self) -> Mark {
        Mark(self.dropped + self.frames.len())
    }

    fn push(&mut self, frame: Frame) {
        self.bytes += frame.bytes.len();
        self.frames.push_back(frame);
        while self.frames.len() > FRAMES_MAX || self.bytes > FRAME_BYTES_MAX {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
            self.dropped += 1;
        }
    }
}
