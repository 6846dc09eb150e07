//! The service manager: readiness, status line, reload, stop and watchdog (sd_notify(3)). Without systemd all of it does
//! nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// Our side of `Type=notify` or `notify-reload`.
#[derive(Debug)]
pub struct Systemd {
    present: bool,
    status: String,
    watchdog_every: Option<Duration>,
    watchdog_due: Option<Duration>,
}

impl Systemd {
    /// From `NOTIFY_SOCKET` and `WATCHDOG_USEC`. The watchdog is fed at half its time.
    pub fn from_env() -> Self {
        let present = std::env::var_os("NOTIFY_SOCKET").is_some();
        let watchdog_every = if present { sd_notify::watchdog_enabled().map(|limit| limit / 2) } else { None };
        let watchdog_due = watchdog_every.map(|_| Duration::ZERO);
        Self { present, status: String::new(), watchdog_every, watchdog_due }
    }

    /// Start-up, or a reload, is finished; with the line that `systemctl status` shows.
    pub fn ready(&mut self, status: &str) {
        status.clone_into(&mut self.status);
        self.notify(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
    }

    /// A new status line; the same one again is not sent.
    pub fn status(&mut self, status: &str) {
        if self.status != status {
            status.clone_into(&mut self.status);
            self.notify(&[NotifyState::Status(&one_line(status))]);
        }
    }

    /// The configuration is being read again; [`ready`](Self::ready) ends it.
    pub fn reloading(&mut self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.notify(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "no monotonic clock for the reload message"),
        }
    }

    /// The daemon is draining and will end.
    pub fn stopping(&mut self) {
        self.notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// When (time since boot) the watchdog wants its next sign of life; a wake-up time for the loop. `None` without a
    /// watchdog.
    pub fn watchdog_due(&self) -> Option<Duration> {
        self.watchdog_due
    }

    /// Gives the sign of life if it is due. Call it once per turn of the loop: a loop that hangs is then noticed.
    pub fn watchdog(&mut self, now: Duration) {
        if let (Some(every), Some(due)) = (self.watchdog_every, self.watchdog_due)
            && due <= now
        {
            self.watchdog_due = Some(now + every);
            self.notify(&[NotifyState::Watchdog]);
        }
    }

    fn notify(&self, message: &[NotifyState<'_>]) {
        if self.present
            && let Err(error) = sd_notify::notify(message)
        {
            tracing::debug!(%error, "service manager not told");
        }
    }
}

/// Each line of a message is a field of its own, so a status must have no line break.
fn one_line(status: &str) -> String {
    status.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    use super::*;

    /// Set for a test that is run as the child of another.
    const CHILD: &str = "DAEMON_KIT_TEST_CHILD";

    /// Does something only in a process of its own, since the environment is the interface. See the test below.
    #[test]
    fn child_speaks_to_the_service_manager() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        let mut systemd = Systemd::from_env();
        systemd.ready("2 appliances\nREADY=0");
        systemd.status("3 appliances");
        systemd.status("3 appliances");
        systemd.reloading();
        systemd.watchdog(Duration::from_secs(100));
        assert_eq!(systemd.watchdog_due(), Some(Duration::from_secs(105)));
        systemd.watchdog(Duration::from_secs(104));
        systemd.stopping();
    }

    #[test]
    fn the_service_manager_hears_ready_status_reload_watchdog_and_stop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "systemd::tests::child_speaks_to_the_service_manager"])
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "10000000")
            .env_remove("WATCHDOG_PID")
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        let mut messages = Vec::new();
        let mut buffer = [0; 1024];
        while let Ok(n) = socket.recv(&mut buffer) {
            messages.push(String::from_utf8(buffer[..n].to_vec()).unwrap());
        }
        let reload = messages.remove(2);
        assert!(reload.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reload}");
        assert_eq!(
            messages,
            [
                "READY=1\nSTATUS=2 appliances READY=0\n",
                "STATUS=3 appliances\n",
                "WATCHDOG=1\n",
                "STOPPING=1\nSTATUS=stopping\n"
            ]
        );
    }

    #[test]
    fn without_a_service_manager_nothing_is_due() {
        let mut systemd = Systemd::from_env();
        systemd.ready("x");
        assert_eq!(systemd.watchdog_due(), None);
    }
}
