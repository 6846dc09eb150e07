//! The configuration files of both daemons.
#![no_main]
use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let path = Path::new("fuzz.toml");
    let _ = daemon_kit::config::parse::<psm_agent::config::Config>(text, path);
    let _ = daemon_kit::config::parse::<heg::config::Config>(text, path);
});
