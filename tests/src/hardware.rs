//! What the lab's logind and the machine under it say to each other, as lines of JSON over a Unix socket.
//!
//! On a real machine logind writes to `/sys/power/state` and systemd calls reboot(2); here it sends an [`Order`] to the
//! program that holds the lab, which freezes the host's processes and pulls its cable. In the other direction go
//! [`Wish`]es: what a user, another program or the hardware would do on a real machine.

use serde::{Deserialize, Serialize};

/// From logind to the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromLogind {
    /// logind owns its names on the bus.
    Ready,
    /// The kernel's part of a change of power.
    Order(Order),
    /// The wish of this number has taken effect.
    Applied {
        /// Number of the wish.
        wish: u64,
    },
    /// Something worth knowing happened.
    Noted {
        /// Wall clock in nanoseconds since 1970.
        at_ns: u64,
        /// What.
        note: Note,
    },
}

/// What the machine has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Sleep; answered by [`ToLogind::Awake`].
    Suspend,
    /// End every process and switch off. Not answered: logind ends too.
    PowerOff,
    /// End every process and start again.
    Reboot,
}

/// An event inside logind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Note {
    /// An inhibitor lock was taken.
    LockTaken {
        /// As given: `sleep:shutdown`.
        what: String,
        /// The program's own name.
        who: String,
        /// `delay` or `block`.
        mode: String,
    },
    /// The last copy of a lock's file descriptor was closed.
    LockReleased {
        /// As given: `sleep:shutdown`.
        what: String,
        /// The program's own name.
        who: String,
        /// `delay` or `block`.
        mode: String,
    },
    /// `PrepareForSleep` was sent.
    PrepareForSleep {
        /// True before sleep, false after.
        start: bool,
    },
    /// `PrepareForShutdown` was sent.
    PrepareForShutdown {
        /// True before, false when it was called off.
        start: bool,
    },
    /// Delay locks were still held when `InhibitDelayMaxUSec` had passed.
    DelayExpired,
    /// A unit changed.
    Unit {
        /// `washing.service`.
        name: String,
        /// systemd's `ActiveState`.
        active_state: String,
        /// The unit's process while it runs.
        pid: Option<u32>,
    },
}

/// From the machine to logind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToLogind {
    /// The machine has woken from the sleep it was ordered into.
    Awake,
    /// Do as somebody on the machine would.
    Do {
        /// Counts up; answered by [`FromLogind::Applied`].
        wish: u64,
        /// What.
        what: Wish,
    },
}

/// What people, programs and hardware do to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// A user logs in, or the session changes.
    Session(Session),
    /// A user logs out.
    EndSession {
        /// logind's name of the session.
        id: String,
    },
    /// A program takes an inhibitor lock and keeps it until [`Wish::LetGo`].
    Hold {
        /// Name for letting go.
        key: String,
        /// As in `systemd-inhibit --what`.
        what: String,
        /// The program.
        who: String,
        /// Its reason.
        why: String,
        /// `block` or `delay`.
        mode: String,
    },
    /// It closes the lock.
    LetGo {
        /// Name given when taking it.
        key: String,
    },
    /// The plug is put in or pulled out.
    OnExternalPower {
        /// True: not on battery.
        value: bool,
    },
    /// The administrator sets `InhibitDelayMaxSec=`.
    DelayMax {
        /// In milliseconds.
        ms: u64,
    },
    /// `systemctl suspend`.
    Suspend,
    /// `systemctl poweroff`.
    PowerOff,
    /// `systemctl reboot`.
    Reboot,
}

/// A login session, with the properties of `org.freedesktop.login1.Session` that say whether somebody is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Session {
    /// logind's name: `1`, `c2`.
    pub id: String,
    /// User number.
    pub uid: u32,
    /// User name.
    pub user: String,
    /// `online`, `active` or `closing`.
    pub state: String,
    /// `user`, `greeter`, `lock-screen`, `background` or `manager`.
    pub class: String,
    /// `tty`, `x11`, `wayland` or `unspecified`.
    pub kind: String,
    /// The user has not touched anything for a while.
    pub idle_hint: bool,
    /// Logged in over the network.
    pub remote: bool,
}

impl Session {
    /// Somebody at the machine, not idle.
    pub fn active(id: &str, user: &str) -> Session {
        Session {
            id: id.to_owned(),
            uid: 1000,
            user: user.to_owned(),
            state: "active".to_owned(),
            class: "user".to_owned(),
            kind: "tty".to_owned(),
            idle_hint: false,
            remote: false,
        }
    }

    /// The same, after the idle time.
    #[must_use]
    pub fn idle(mut self) -> Session {
        self.idle_hint = true;
        self
    }
}
