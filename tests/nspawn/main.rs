//! The packages as they are installed: a real systemd in containers of Debian 12 and 13, apt, the shipped units with all their
//! locks, and a home of three such machines on a bridge.
//!
//! `make nspawn` brings what this needs and runs it; otherwise each test is skipped with one line. A container cannot suspend, and its
//! kernel is this machine's: sleep and the probe are for `make vm`.

mod container;
mod home;
mod limits;
mod packages;
