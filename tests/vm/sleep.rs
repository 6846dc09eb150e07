//! Suspend on every way, and wake-up: what is on the wire before and after, and what the gateway knows.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use house_tests::machine::now;
use testkit::lab::{Frame, Mark, wait_until};

use crate::home::{Call, Home, NAS, Setting, test};
use crate::limits::{SLEEP_S_MAX, SOON};
use crate::share::{Share, TIMES};

const ALIVE: &str = "ssdp:alive";

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
    test(Setting::default(), |home| {
        for _ in 0..TIMES {
            let before = Before::now(home)?;
            let call = suspend_by_logind(home, &before)?;
            home.guest.wake()?;
            before.ensure_awake(home, call)?;
        }
        Ok(())
    });
}

#[test]
fn the_gateway_wakes_a_suspended_machine_by_a_magic_packet() {
    test(Setting::default(), |home| {
        for _ in 0..TIMES {
            let before = Before::now(home)?;
            let call = suspend_by_logind(home, &before)?;
            home.house.gateway().hegctl_ok(&["wake", NAS])?;
            before.ensure_awake(home, call)?;
        }
        Ok(())
    });
}

#[test]
fn a_suspend_by_writing_mem_is_told_before_the_machine_sleeps() {
    let share = Share::of("echo mem >/sys/power/state");
    test(Setting::default(), |home| {
        for _ in 0..TIMES {
            let before = Before::now(home)?;
            let (call, told) = suspend(home, "echo mem >/sys/power/state", &before)?;
            home.guest.wake()?;
            before.ensure_awake(home, call)?;
            share.count(told)?;
        }
        Ok(())
    });
}

#[test]
fn a_suspend_by_rtcwake_is_told_before_the_machine_sleeps() {
    let share = Share::of("rtcwake -m mem");
    // The emulated clock chip rings at once when it is set again after it has rung.
    test(Setting { times: TIMES, ..Setting::default() }, |home| {
        let before = Before::now(home)?;
        let (call, told) = suspend(home, "rtcwake -m mem -s 6", &before)?;
        before.ensure_awake(home, call)?;
        share.count(told)
    });
}

#[test]
fn a_suspend_to_idle_is_told_before_the_machine_sleeps() {
    let share = Share::of("echo freeze >/sys/power/state");
    test(Setting::default(), |home| {
        for _ in 0..TIMES {
            let before = Before::now(home)?;
            let call = home.launch("echo freeze >/sys/power/state")?;
            wait_silence(home)?;
            // It sleeps now, so what was sent was sent before.
            let (mark, told) = (home.house.lab().watcher().mark(), before.is_told(home, now()));
            if told {
                home.house.wait_state(NAS, "Standby", SOON)?;
            }
            let since = home.house.lab().watcher().since(mark).into_iter().filter(|frame| &*frame.sender == NAS);
            ensure!(since.count() == 0, "frames came from a machine that sleeps");
            home.guest.set_idle();
            if told {
                home.house.gateway().hegctl_ok(&["wake", NAS])?;
            } else {
                home.guest.press_power_button()?;
            }
            before.ensure_awake(home, call)?;
            share.count(told)?;
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
fn network_cards_are_asked_by_a_service_of_their_own_and_one_that_wakes_nothing_is_told_as_such() {
    test(Setting::default(), |home| {
        let learned = "cat /run/psm-agent-wake/links.json";
        wait_until("the cards asked", SOON, || home.run(learned).ok()?.contains(":\"no\"").then_some(()))?;
        ensure!(home.run("systemctl show -P Result psm-agent-wake")?.trim() == "success");
        wait_until("what the card can", SOON, || {
            let status = home.status().ok()?;
            let source = status.get("sources")?.as_array()?.iter().find(|s| s["name"] == "wake-on-lan")?.clone();
            (source["live"] == false && source["detail"] == "no link can").then_some(())
        })?;
        // It was not the agent that may ask them.
        let capabilities =
            home.run("sed -n 's/^CapEff:\t0*//p' /proc/$(systemctl show -P MainPID psm-agent)/status")?;
        ensure!(capabilities.trim().is_empty(), "the agent has {capabilities}");
        Ok(())
    });
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
            suspend_by_logind(home, &before)?;
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
    // With the administrator's rule that psm-agent(8) shows.
    let pump = "cat >/run/systemd/system/pump.service <<'UNIT'\n[Service]\nExecStart=sleep infinity\nExecStop=sleep 4\nUNIT\n\
        mkdir -p /etc/polkit-1/rules.d\n\
        cat >/etc/polkit-1/rules.d/40-pump.rules <<'RULE'\npolkit.addRule(function (action, subject) {\n\
        var verb = action.lookup('verb');\n\
        if (action.id === 'org.freedesktop.systemd1.manage-units' && subject.user === 'psm-agent' &&\n\
        action.lookup('unit') === 'pump.service' && (verb === 'start' || verb === 'stop')) { return polkit.Result.YES; }\n\
        });\nRULE\n\
        systemctl daemon-reload\nsystemctl start pump";
    test(Setting { agent, preparation: pump, ..Setting::default() }, |home| {
        for _ in 0..TIMES {
            let before = Before::now(home)?;
            std::thread::scope(|scope| {
                let command = scope.spawn(|| home.house.gateway().hegctl(&["off", NAS]));
                home.wait_unit("pump", "deactivating")?;
                suspend_by_logind(home, &before)?;
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

/// Tries to suspend by `order` while the kernel can't.
fn is_broken_off(home: &Home, order: &str) -> Result<()> {
    home.run(ALARM_AHEAD)?;
    for _ in 0..TIMES {
        let (known, before) = (home.changes()?.len(), Before::now(home)?);
        home.run(order)?;
        home.wait_told("Standby", before.mark)?;
        wait_until("ON again", SOON, || (home.changes().ok()?.last()? == "ON").then_some(()))?;
        home.house.wait_state(NAS, "ON", SOON)?;
        // A second pair would come now.
        home.wait_settled()?;
        let changes = home.changes()?.split_off(known);
        ensure!(changes == ["Standby", "ON"], "the power state went {changes:?}");
        let slept = home.guest.qmp().since(before.events);
        ensure!(slept.iter().all(|event| event.name != "SUSPEND"), "the machine did sleep: {slept:?}");
    }
    Ok(())
}

/// Suspends as people do: the event left before the machine slept, always.
fn suspend_by_logind(home: &Home, before: &Before) -> Result<Call> {
    let (call, told) = suspend(home, "systemctl suspend", before)?;
    ensure!(told, "the machine slept and had said nothing");
    Ok(call)
}

/// Suspends by `order`. True if the event left before the machine slept; then the gateway knows.
fn suspend(home: &Home, order: &str, before: &Before) -> Result<(Call, bool)> {
    let call = home.launch(order)?;
    let slept = home.wait_suspended(before.events)?;
    let told = before.is_told(home, slept);
    if told {
        home.house.wait_state(NAS, "Standby", SOON)?;
    }
    Ok((call, told))
}

/// The moment before a sleep.
struct Before {
    mark: Mark,
    events: usize,
    boot_id: u32,
}

impl Before {
    fn now(home: &Home) -> Result<Before> {
        home.wait_settled()?;
        let mark = home.house.lab().watcher().mark();
        let boot_id = boot_ids(home, home.began).last().copied().context("the machine has not announced itself")?;
        Ok(Before { mark, events: home.guest.qmp().mark(), boot_id })
    }

    /// The event left before `slept`.
    fn is_told(&self, home: &Home, slept: Duration) -> bool {
        home.told_at("Standby", self.mark).is_some_and(|at| at < slept)
    }

    /// The machine says so itself when it is awake again, and its order has ended well.
    fn ensure_awake(&self, home: &Home, call: Call) -> Result<()> {
        call.finish(SOON)?;
        home.wait_told("ON", self.mark)?;
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
