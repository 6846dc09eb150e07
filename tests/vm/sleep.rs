//! Suspend on every way, and wake-up: what is on the wire before and after, and what the gateway knows.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use house_tests::machine::now;
use testkit::lab::{Frame, Mark, wait_until};

use crate::home::{Call, Home, NAS, Setting, test};
use crate::limits::{FIRST_TEST_S_MAX, SLEEP_S_MAX, SOON};

const STANDBY: &str = "<PowerState>Standby</PowerState>";
const ON: &str = "<PowerState>ON</PowerState>";
const ALIVE: &str = "ssdp:alive";

/// How often each case is repeated, in the same boot.
const TIMES: usize = 3;

/// A wake alarm that is always less than two seconds ahead, and more than one: with such a one the kernel breaks every suspend off,
/// after it has frozen all processes.
const ALARM_AHEAD: &str = r#"systemd-run -q --unit=alarm python3 -c "
import os, time
alarm = os.timerfd_create(9)  # CLOCK_BOOTTIME_ALARM
while True:
    os.timerfd_settime(alarm, initial=1.9)
    os.close(os.open('/run/alarm', os.O_CREAT))
    time.sleep(0.2)
"
timeout 20 sh -c 'until [ -e /run/alarm ]; do sleep 0.1; done'"#;

#[test]
fn a_suspend_by_logind_is_told_before_the_machine_sleeps() {
    test(Setting { limit: FIRST_TEST_S_MAX, ..Setting::default() }, |home| {
        sleeps(home, "systemctl suspend", Wake::Button)
    });
}

#[test]
fn a_suspend_by_writing_mem_is_told_before_the_machine_sleeps() {
    test(Setting::default(), |home| sleeps(home, "echo mem >/sys/power/state", Wake::Button));
}

#[test]
fn a_suspend_by_rtcwake_is_told_before_the_machine_sleeps() {
    test(Setting::default(), |home| sleeps(home, "rtcwake -m mem -s 8", Wake::Clock));
}

#[test]
fn the_gateway_wakes_a_suspended_machine_by_a_magic_packet() {
    test(Setting::default(), |home| sleeps(home, "systemctl suspend", Wake::Gateway));
}

#[test]
fn a_suspend_to_idle_is_told_before_the_machine_sleeps() {
    test(Setting::default(), |home| {
        for _ in 0..TIMES {
            let before = Before::now(home)?;
            let call = home.launch("echo freeze >/sys/power/state")?;
            wait_silence(home)?;
            // It sleeps now, so what was sent was sent before.
            let told = before.ensure_told(home, now())?;
            home.house.wait_state(NAS, "Standby", SOON)?;
            ensure!(home.said("", told.mark).is_empty(), "frames came from a machine that sleeps");
            home.guest.set_idle(true);
            home.house.gateway().hegctl_ok(&["wake", NAS])?;
            home.guest.set_idle(false);
            before.ensure_awake(home, call)?;
        }
        Ok(())
    });
}

#[test]
fn a_suspend_by_logind_that_is_broken_off_is_told_and_taken_back_once() {
    // By itself systemd-sleep tries s2idle when this has failed.
    let preparation = "mkdir -p /etc/systemd/sleep.conf.d\n\
        printf '[Sleep]\\nSuspendState=mem\\n' >/etc/systemd/sleep.conf.d/lab.conf";
    test(Setting { preparation, ..Setting::default() }, |home| is_broken_off(home, "systemctl suspend"));
}

#[test]
fn a_suspend_by_writing_mem_that_is_broken_off_is_told_and_taken_back_once() {
    test(Setting::default(), |home| is_broken_off(home, "! echo mem >/sys/power/state"));
}

#[test]
fn an_agent_killed_in_its_sleep_comes_back_as_on() {
    // Its processes don't run any more from just before the sleep on, and the last one dies before it could run again.
    let hook = "mkdir -p /usr/lib/systemd/system-sleep\ncat >/usr/lib/systemd/system-sleep/kill <<'HOOK'\n#!/bin/sh\n\
        group=/sys/fs/cgroup/system.slice/psm-agent.service\ncase $1 in\n\
        pre) echo 1 >$group/cgroup.freeze ;;\npost) echo 1 >$group/cgroup.kill ;;\nesac\nHOOK\n\
        chmod 755 /usr/lib/systemd/system-sleep/kill";
    test(Setting { preparation: hook, ..Setting::default() }, |home| {
        for _ in 0..TIMES {
            let (before, pid) = (Before::now(home)?, home.agent_pid()?);
            suspend(home, "systemctl suspend", &before)?;
            home.guest.wake()?;
            home.house.wait_state(NAS, "ON", SOON)?;
            ensure!(home.agent_pid()? != pid, "the agent was not killed");
            home.wait_followed()?;
            before.ensure_new_boot(home)?;
        }
        Ok(())
    });
}

#[test]
fn a_command_that_is_slept_through_has_an_outcome_and_the_registry_is_right() {
    let agent = "[wake]\nmethod = 'WOL'\n[operation]\ndriver = 'unit'\nunit = 'pump.service'\n";
    let pump = "cat >/run/systemd/system/pump.service <<'UNIT'\n[Service]\nExecStart=sleep infinity\nExecStop=sleep 4\nUNIT\n\
        systemctl daemon-reload\nsystemctl start pump";
    test(Setting { agent, preparation: pump, ..Setting::default() }, |home| {
        for _ in 0..TIMES {
            let before = Before::now(home)?;
            std::thread::scope(|scope| {
                let command = scope.spawn(|| home.house.gateway().hegctl(&["off", NAS]));
                home.wait_unit("pump", "deactivating")?;
                suspend(home, "systemctl suspend", &before)?;
                home.guest.wake()?;
                let outcome = command.join().ok().context("the command's thread")??;
                ensure!(outcome.status.code().is_some(), "hegctl was killed: {outcome:?}");
                home.wait_unit("pump", "inactive")?;
                home.house.wait_state(NAS, "OFF", SOON)?;
                // The agent may still look whether the unit has stopped, and refuse for that.
                wait_until("on again", SOON, || home.house.gateway().hegctl_ok(&["on", NAS]).ok())?;
                home.house.wait_state(NAS, "ON", SOON)
            })?;
        }
        Ok(())
    });
}

/// What ends the sleep.
#[derive(Debug, Clone, Copy)]
enum Wake {
    /// The power button.
    Button,
    /// The clock's alarm, set by the order itself.
    Clock,
    /// The gateway's magic packet.
    Gateway,
}

/// Tries to suspend by `order` while the kernel can't.
fn is_broken_off(home: &Home, order: &str) -> Result<()> {
    home.run(ALARM_AHEAD)?;
    for _ in 0..TIMES {
        let (known, before) = (home.changes()?.len(), Before::now(home)?);
        home.run(order)?;
        home.wait_said(STANDBY, before.mark)?;
        wait_until("ON again", SOON, || (home.changes().ok()?.last()? == "ON").then_some(()))?;
        home.house.wait_state(NAS, "ON", SOON)?;
        let changes = home.changes()?.split_off(known);
        ensure!(changes == ["Standby", "ON"], "the power state went {changes:?}");
        let slept = home.guest.qmp().since(before.events);
        ensure!(slept.iter().all(|event| event.name != "SUSPEND"), "the machine did sleep: {slept:?}");
    }
    Ok(())
}

/// Suspends by `order`, several times, and wakes.
fn sleeps(home: &Home, order: &str, wake: Wake) -> Result<()> {
    for _ in 0..TIMES {
        let before = Before::now(home)?;
        let call = suspend(home, order, &before)?;
        match wake {
            Wake::Button => home.guest.wake()?,
            Wake::Clock => {}
            Wake::Gateway => drop(home.house.gateway().hegctl_ok(&["wake", NAS])?),
        }
        before.ensure_awake(home, call)?;
    }
    Ok(())
}

/// Suspends by `order`: the event left before the machine slept, and the gateway knows.
fn suspend(home: &Home, order: &str, before: &Before) -> Result<Call> {
    let call = home.launch(order)?;
    let slept = home.guest.qmp().wait_event("SUSPEND", before.events, SLEEP_S_MAX)?;
    before.ensure_told(home, slept.at)?;
    home.house.wait_state(NAS, "Standby", SOON)?;
    Ok(call)
}

/// The moment before a sleep.
struct Before {
    mark: Mark,
    events: usize,
    boot_id: u32,
}

/// The event on the wire.
struct Told {
    /// The stream of frames when the machine slept.
    mark: Mark,
}

impl Before {
    fn now(home: &Home) -> Result<Before> {
        home.wait_settled()?;
        let mark = home.house.lab().watcher().mark();
        let boot_id = boot_ids(home, home.began).last().copied().context("the machine has not announced itself")?;
        Ok(Before { mark, events: home.guest.qmp().mark(), boot_id })
    }

    /// The event left before `slept`.
    fn ensure_told(&self, home: &Home, slept: Duration) -> Result<Told> {
        let mark = home.house.lab().watcher().mark();
        let told = home.said(STANDBY, self.mark);
        let first = told.first().with_context(|| format!("the machine slept at {slept:?} and had said nothing"))?;
        ensure!(first.at < slept, "it was said at {:?}, after the machine slept, at {slept:?}", first.at);
        Ok(Told { mark })
    }

    /// The machine says so itself when it is awake again, and its order has ended well.
    fn ensure_awake(&self, home: &Home, call: Call) -> Result<()> {
        call.finish(SOON)?;
        home.wait_said(ON, self.mark)?;
        home.house.wait_state(NAS, "ON", SOON)?;
        self.ensure_new_boot(home)
    }

    /// It has announced itself with a new BOOTID.
    fn ensure_new_boot(&self, home: &Home) -> Result<()> {
        wait_until("an announcement with a new BOOTID", SOON, || {
            boot_ids(home, self.mark).into_iter().any(|id| id > self.boot_id).then_some(())
        })
    }
}

/// BOOTID.UPNP.ORG of the machine's announcements, in their order.
fn boot_ids(home: &Home, mark: Mark) -> Vec<u32> {
    home.said(ALIVE, mark).iter().filter_map(boot_id).collect()
}

fn boot_id(frame: &Frame) -> Option<u32> {
    let text = String::from_utf8_lossy(frame.data()).into_owned();
    text.lines().find_map(|line| line.strip_prefix("BOOTID.UPNP.ORG:")?.trim().parse().ok())
}

/// Waits until the machine's kernel answers nothing any more.
fn wait_silence(home: &Home) -> Result<()> {
    wait_until("a silent machine", SLEEP_S_MAX, || (!home.answers()).then_some(()))
}
