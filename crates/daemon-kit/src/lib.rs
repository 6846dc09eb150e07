//! What every daemon shares: logging, configuration, clock, signals, sd_notify, control socket, exit codes, text in HTML.
//!
//! IO at the edge and nothing else: it knows neither UPnP nor energy, and decides nothing. One module per outside thing.

pub mod boot_counter;
pub mod clock;
pub mod config;
pub mod control;
pub mod exit;
pub mod host_names;
pub mod html;
pub mod identity;
mod journal_layer;
pub mod limits;
pub mod logging;
pub mod memory;
pub mod self_test;
pub mod signals;
pub mod state_dir;
pub mod systemd;
mod timerfd;
