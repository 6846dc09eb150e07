//! What is known, newest stamp first: does the machine sleep, is it going down, each as the kernel and others tell it (PURE).
//!
//! **Asleep** is what the kernel says, or else what logind says. logind announces early and calls off late: seconds pass between
//! the kernel's thaw and `PrepareForSleep(false)`. So the kernel's thaw ends logind's sleep too, if the sleep it ends was
//! logind's (made by systemd-sleep); an announcement that comes only after the sleep it belongs to is over begins none. A sleep
//! that somebody else makes while logind prepares one leaves logind's announcement standing.
#![forbid(unsafe_code)]

use upnp::time::BootTime;

/// A value and the time it is known to hold from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Register<T> {
    pub(super) value: T,
    at: Option<BootTime>,
}

impl<T: Copy + PartialEq> Register<T> {
    /// Takes the value unless a newer one is known. At the same stamp the later arrival wins. True if it was taken.
    pub(super) fn set(&mut self, value: T, at: BootTime) -> bool {
        let newer = self.at.is_none_or(|known| known <= at);
        if newer {
            *self = Self { value, at: Some(at) };
        }
        newer
    }
}

/// Whether the machine sleeps, as kernel and logind tell it.
#[derive(Debug, Default)]
pub(super) struct Sleep {
    pub(super) kernel: Register<bool>,
    /// The kernel's sleep is of logind's making.
    by_logind: bool,
    pub(super) logind: Register<bool>,
    /// The sleep logind announced is over: the kernel said so.
    over: bool,
    /// A sleep of logind's making came before its announcement.
    unannounced: bool,
}

impl Sleep {
    pub(super) fn is_asleep(&self) -> bool {
        self.kernel.value || (self.logind.value && !self.over)
    }

    pub(super) fn kernel_says(&mut self, asleep: bool, by_logind: bool, at: BootTime) {
        let was = self.kernel.value;
        if !self.kernel.set(asleep, at) {
            return;
        }
        match (was, asleep) {
            (false, true) => {
                self.by_logind = by_logind;
                self.unannounced = by_logind && !self.logind.value;
            }
            // Where the beginning was not seen it was logind's, if logind had announced one.
            (_, false) if self.logind.value && (self.by_logind || !was) => self.over = true,
            _ => {}
        }
    }

    pub(super) fn logind_says(&mut self, asleep: bool, at: BootTime) {
        if !self.logind.set(asleep, at) {
            return;
        }
        // logind's own suspend failed before anything was frozen, and so has no thaw.
        if !asleep && self.by_logind && !self.over {
            self.kernel.value = false;
        }
        self.over = asleep && self.unannounced && !self.kernel.value;
        self.unannounced = false;
    }

    /// The stamp stays that of the word taken back: whatever the kernel said after it counts.
    pub(super) fn doubt_kernel(&mut self) {
        self.kernel.value = false;
    }
}

/// Whether the machine is going down, as the kernel and others tell it.
#[derive(Debug, Default)]
pub(super) struct GoingDown {
    kernel: Register<bool>,
    /// Process whose call of reboot(2) it is.
    caller: Option<u32>,
    others: Register<bool>,
}

impl GoingDown {
    pub(super) fn is_going_down(&self) -> bool {
        self.kernel.value || self.others.value
    }

    /// A call that failed takes back only itself.
    pub(super) fn kernel_says(&mut self, down: bool, caller: Option<u32>, at: BootTime) {
        if (down || caller == self.caller) && self.kernel.set(down, at) {
            self.caller = caller;
        }
    }

    pub(super) fn others_say(&mut self, down: bool, at: BootTime) {
        self.others.set(down, at);
    }
}
