//! Power-off and restart on every way: what is on the wire before, and what the gateway knows.

use anyhow::{Result, ensure};
use testkit::lab::wait_until;

use crate::home::{AGENT, Home, NAS, Setting, test};
use crate::limits::{BOOT_S_MAX, SHUTDOWN_S_MAX, SILENT_S_MAX, SOON, TEST_S_MAX};
use crate::share::{Share, TIMES};

const AGAIN: Setting = Setting { limit: TEST_S_MAX, times: TIMES, agent: AGENT, state: "ON", preparation: "" };

#[test]
fn a_power_off_by_systemd_is_told_before_the_machine_is_off() {
    test(AGAIN, |home| {
        ensure!(goes(home, "systemctl poweroff", "SHUTDOWN")?, "the machine ended and had said nothing");
        home.house.wait_state(NAS, "OFF", SOON).map(drop)
    });
}

#[test]
fn a_power_off_by_the_system_call_is_told_before_the_machine_is_off() {
    at_once("poweroff -ff");
}

#[test]
fn a_power_off_by_sysrq_is_told_before_the_machine_is_off() {
    at_once("echo o >/proc/sysrq-trigger");
}

#[test]
fn a_restart_is_told_as_off_and_then_as_on() {
    test(Setting::default(), |home| {
        // A boot takes longer than all else here.
        for _ in 0..2 {
            ensure!(goes(home, "systemctl reboot", "RESET")?, "the machine ended and had said nothing");
            home.house.wait_state(NAS, "OFF", SOON)?;
            home.house.wait_state(NAS, "ON", BOOT_S_MAX)?;
            home.wait_settled()?;
        }
        Ok(())
    });
}

/// Ends the machine by an `order` that nobody is asked about. Where the event was lost, the gateway may not go on to say ON.
fn at_once(order: &'static str) {
    let share = Share::of(order);
    test(AGAIN, |home| {
        let told = goes(home, order, "SHUTDOWN")?;
        if told {
            home.house.wait_state(NAS, "OFF", SOON)?;
        } else {
            wait_until("a machine that is not ON in the registry", SILENT_S_MAX, || {
                home.house.gateway().appliances().ok()?.iter().all(|seen| seen.state != "ON").then_some(())
            })?;
        }
        share.count(told)
    });
}

/// Ends the machine by `order`; `end` is what the emulator says of it. True if OFF was told before.
fn goes(home: &Home, order: &str, end: &str) -> Result<bool> {
    let (mark, events) = (home.house.lab().watcher().mark(), home.guest.qmp().mark());
    let _cut_off = home.launch(order)?;
    let ended = home.guest.qmp().wait_event(end, events, SHUTDOWN_S_MAX)?;
    Ok(home.told_at("OFF", mark).is_some_and(|at| at < ended.at))
}
