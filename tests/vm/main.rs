//! The real agent on a real machine: Debian's kernel, systemd and logind in QEMU, and the real gateway on a host of the lab. The
//! watcher sees on the wire whether the event left before the machine slept.
//!
//! `make vm` brings what this needs and runs it; otherwise each test is skipped with one line. That the machine slept is told by
//! the emulator (SUSPEND) or by its silence (s2idle), never by the machine itself.

mod apparmor;
mod figures;
mod guest;
mod home;
mod limits;
mod qmp;
mod share;
mod shutdown;
mod sleep;
