//! Power-off and restart on every way: what is on the wire before, and what the gateway knows.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::home::{AGENT, Home, NAS, Setting, test};
use crate::limits::{BOOT_S_MAX, SHUTDOWN_S_MAX, SOON, TEST_S_MAX};

const OFF: &str = "<PowerState>OFF</PowerState>";

/// How often each case is repeated.
const TIMES: usize = 3;

const AGAIN: Setting = Setting { limit: TEST_S_MAX, times: TIMES, agent: AGENT, preparation: "" };

#[test]
fn a_power_off_by_systemd_is_told_before_the_machine_is_off() {
    test(AGAIN, |home| goes(home, "systemctl poweroff", "SHUTDOWN"));
}

#[test]
fn a_power_off_by_the_system_call_is_told_before_the_machine_is_off() {
    test(AGAIN, |home| goes(home, "poweroff -ff", "SHUTDOWN"));
}

#[test]
fn a_power_off_by_sysrq_is_told_before_the_machine_is_off() {
    test(AGAIN, |home| goes(home, "echo o >/proc/sysrq-trigger", "SHUTDOWN"));
}

#[test]
fn a_restart_is_told_as_off_and_then_as_on() {
    test(Setting::default(), |home| {
        for _ in 0..TIMES {
            goes(home, "systemctl reboot", "RESET")?;
            home.house.wait_state(NAS, "ON", BOOT_S_MAX)?;
            home.wait_settled()?;
        }
        Ok(())
    });
}

/// Ends the machine by `order`; `end` is what the emulator says of it.
fn goes(home: &Home, order: &str, end: &str) -> Result<()> {
    let (mark, events) = (home.house.lab().watcher().mark(), home.guest.qmp().mark());
    let _cut_off = home.launch(order)?;
    let ended = home.guest.qmp().wait_event(end, events, SHUTDOWN_S_MAX)?;
    ensure_told(home, mark, ended.at)?;
    home.house.wait_state(NAS, "OFF", SOON).map(drop)
}

fn ensure_told(home: &Home, mark: testkit::lab::Mark, ended: Duration) -> Result<()> {
    let told = home.said(OFF, mark);
    let first = told.first().with_context(|| format!("the machine ended at {ended:?} and had said nothing"))?;
    ensure!(first.at < ended, "it was said at {:?}, after the machine's end at {ended:?}", first.at);
    Ok(())
}
