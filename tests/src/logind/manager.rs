//! `org.freedesktop.login1.Manager`.

use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, OwnedFd, OwnedObjectPath, fdo, interface};

use super::inhibitors::{Lock, Mode};
use super::{Going, Logind, session};

/// Its well-known name.
pub(super) const NAME: &str = "org.freedesktop.login1";
/// Its only object.
pub(super) const PATH: &str = "/org/freedesktop/login1";

/// `SD_LOGIND_ROOT_CHECK_INHIBITORS`: root asks to be held up by block locks as everybody else.
const ROOT_CHECK_INHIBITORS: u64 = 1;

/// The errors with names of logind's own.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.login1")]
pub(super) enum Error {
    /// Everything else.
    #[zbus(error)]
    ZBus(zbus::Error),
    OperationInProgress(String),
    NoSuchSession(String),
}

pub(super) struct Manager(pub(super) Arc<Logind>);

/// One line of `ListInhibitors`: what, who, why, mode, user, process.
type InhibitorLine = (String, String, String, String, u32, u32);
/// One line of `ListSessions`: id, user number, user name, seat, path.
type SessionLine = (String, u32, String, String, OwnedObjectPath);

#[interface(name = "org.freedesktop.login1.Manager")]
impl Manager {
    /// Takes a lock, held while the returned file descriptor or a copy of it is open.
    async fn inhibit(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        what: &str,
        who: &str,
        why: &str,
        mode: &str,
    ) -> fdo::Result<OwnedFd> {
        let (uid, pid) = caller(connection, &header).await?;
        let lock = Lock::parse(what, who, why, mode, uid, pid).map_err(|e| fdo::Error::InvalidArgs(e.to_string()))?;
        let kinds = lock.what();
        if lock.mode == Mode::Delay
            && self.0.state().going.is_some_and(|going| kinds.split(':').any(|k| k == going.kind()))
        {
            return Err(fdo::Error::Failed(
                "The operation inhibition has been requested for is already running".to_owned(),
            ));
        }
        let (ours, theirs) =
            pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(|e| fdo::Error::IOError(format!("pipe: {e}")))?;
        let mut watched = Receiver::from_owned_fd(ours).map_err(|e| fdo::Error::IOError(e.to_string()))?;
        let number = self.0.take(lock).await?;
        let logind = Arc::clone(&self.0);
        tokio::spawn(async move {
            let mut byte = [0];
            // The holder may write; only the end of the stream counts.
            while watched.read(&mut byte).await.is_ok_and(|len| len > 0) {}
            if let Err(error) = logind.release(number).await {
                eprintln!("the release of a lock could not be told: {error}");
            }
        });
        Ok(theirs.into())
    }

    fn list_inhibitors(&self) -> Vec<InhibitorLine> {
        let locks = self.0.locks.borrow();
        locks.iter().map(|l| (l.what(), l.who.clone(), l.why.clone(), l.mode.word().to_owned(), l.uid, l.pid)).collect()
    }

    fn list_sessions(&self) -> Vec<SessionLine> {
        let state = self.0.state();
        let line = |s: &crate::hardware::Session| {
            (s.id.clone(), s.uid, s.user.clone(), session::seat(s), session::path(&s.id))
        };
        state.sessions.values().map(line).collect()
    }

    fn get_session(&self, session_id: &str) -> Result<OwnedObjectPath, Error> {
        if !self.0.state().sessions.contains_key(session_id) {
            return Err(Error::NoSuchSession(format!("No session '{session_id}' known")));
        }
        Ok(session::path(session_id))
    }

    async fn suspend(&self, _interactive: bool) -> Result<(), Error> {
        self.0.begin(Going::Sleep).await
    }

    async fn suspend_with_flags(&self, flags: u64) -> Result<(), Error> {
        self.checked(flags, Going::Sleep)?;
        self.0.begin(Going::Sleep).await
    }

    async fn power_off(&self, _interactive: bool) -> Result<(), Error> {
        self.0.begin(Going::PowerOff).await
    }

    async fn power_off_with_flags(&self, flags: u64) -> Result<(), Error> {
        self.checked(flags, Going::PowerOff)?;
        self.0.begin(Going::PowerOff).await
    }

    async fn reboot(&self, _interactive: bool) -> Result<(), Error> {
        self.0.begin(Going::Reboot).await
    }

    async fn reboot_with_flags(&self, flags: u64) -> Result<(), Error> {
        self.checked(flags, Going::Reboot)?;
        self.0.begin(Going::Reboot).await
    }

    fn can_suspend(&self) -> &str {
        "yes"
    }

    fn can_power_off(&self) -> &str {
        "yes"
    }

    fn can_reboot(&self) -> &str {
        "yes"
    }

    fn can_hibernate(&self) -> &str {
        "na"
    }

    #[zbus(property)]
    fn delay_inhibited(&self) -> String {
        self.0.locks.borrow().inhibited(Mode::Delay)
    }

    #[zbus(property)]
    fn block_inhibited(&self) -> String {
        self.0.locks.borrow().inhibited(Mode::Block)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn preparing_for_sleep(&self) -> bool {
        self.0.state().going == Some(Going::Sleep)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn preparing_for_shutdown(&self) -> bool {
        self.0.state().going.is_some_and(|going| going != Going::Sleep)
    }

    #[zbus(property(emits_changed_signal = "false"), name = "InhibitDelayMaxUSec")]
    fn inhibit_delay_max_usec(&self) -> u64 {
        u64::try_from(self.0.state().delay_max.as_micros()).unwrap_or(u64::MAX)
    }

    #[zbus(property)]
    fn on_external_power(&self) -> bool {
        self.0.state().on_external_power
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn docked(&self) -> bool {
        false
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn lid_closed(&self) -> bool {
        false
    }

    /// True when every session is idle.
    #[zbus(property)]
    fn idle_hint(&self) -> bool {
        self.0.state().sessions.values().all(|s| s.idle_hint)
    }

    #[zbus(signal)]
    async fn prepare_for_sleep(emitter: &SignalEmitter<'_>, start: bool) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn prepare_for_shutdown(emitter: &SignalEmitter<'_>, start: bool) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn session_new(emitter: &SignalEmitter<'_>, session_id: &str, path: OwnedObjectPath) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn session_removed(emitter: &SignalEmitter<'_>, session_id: &str, path: OwnedObjectPath) -> zbus::Result<()>;
}

impl Manager {
    fn checked(&self, flags: u64, going: Going) -> Result<(), Error> {
        if flags & ROOT_CHECK_INHIBITORS != 0 && self.0.locks.borrow().holds(Mode::Block, going.kind()) {
            let denied = fdo::Error::AccessDenied("Access denied due to active block inhibitor".to_owned());
            return Err(Error::ZBus(denied.into()));
        }
        Ok(())
    }
}

/// Sends `PrepareForSleep` or `PrepareForShutdown`.
pub(super) async fn prepare(connection: &Connection, going: Going, start: bool) -> zbus::Result<()> {
    let emitter = SignalEmitter::new(connection, PATH)?;
    if going == Going::Sleep {
        Manager::prepare_for_sleep(&emitter, start).await
    } else {
        Manager::prepare_for_shutdown(&emitter, start).await
    }
}

/// Tells the new values of `BlockInhibited` and `DelayInhibited`.
pub(super) async fn locks_changed(connection: &Connection) -> zbus::Result<()> {
    let manager = connection.object_server().interface::<_, Manager>(PATH).await?;
    let (object, emitter) = (manager.get().await, manager.signal_emitter());
    object.block_inhibited_changed(emitter).await?;
    object.delay_inhibited_changed(emitter).await
}

/// Tells the new value of `OnExternalPower`.
pub(super) async fn external_power_changed(connection: &Connection) -> zbus::Result<()> {
    let manager = connection.object_server().interface::<_, Manager>(PATH).await?;
    manager.get().await.on_external_power_changed(manager.signal_emitter()).await
}

/// Tells of a session that came or went.
pub(super) async fn session_told(connection: &Connection, id: &str, came: bool) -> zbus::Result<()> {
    let emitter = SignalEmitter::new(connection, PATH)?;
    if came {
        Manager::session_new(&emitter, id, session::path(id)).await
    } else {
        Manager::session_removed(&emitter, id, session::path(id)).await
    }
}

async fn caller(connection: &Connection, header: &Header<'_>) -> fdo::Result<(u32, u32)> {
    let sender = header.sender().ok_or_else(|| fdo::Error::Failed("a call without a sender".to_owned()))?;
    let bus = fdo::DBusProxy::new(connection).await?;
    let name = zbus::names::BusName::from(sender.to_owned());
    let credentials = bus.get_connection_credentials(name).await?;
    Ok((credentials.unix_user_id().unwrap_or_default(), credentials.process_id().unwrap_or_default()))
}
