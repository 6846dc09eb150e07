//! Sleep and waking: what is on the wire, and when.

use std::time::Duration;

use anyhow::ensure;
use house_tests::hardware::Wish;
use house_tests::house::AGENT;
use house_tests::machine::{Event, Power};
use testkit::lab::{sandbox, wait_until};

use crate::homes::{SOON, ensure_order, event_at, is_release, nas, process_with, tv, wait_subscribed, with_one};

#[test]
fn the_event_is_delivered_before_the_lock_is_released_and_the_machine_freezes() {
    sandbox::test(|| {
        with_one(nas(), "ON", |house| {
            let nas = house.appliance("nas")?;
            let (mark, skip) = (house.lab().watcher().mark(), nas.events().len());
            // Somebody at the machine closes the lid: the gateway has no hand in it.
            nas.wish(Wish::Suspend)?;
            nas.wait_power(Power::Asleep, SOON)?;
            house.wait_state("nas", "Standby", SOON)?;

            let event = house.wait_said("nas", "<PowerState>Standby</PowerState>", mark, SOON)?;
            let delivered = house.lab().watcher().since(mark).into_iter();
            let delivered = delivered
                .filter(|f| f.at >= event.at && &*f.sender == "gateway" && f.says("HTTP/1.1 200 OK"))
                .map(|f| f.at)
                .next();
            ensure!(delivered.is_some(), "the gateway did not answer the event");
            ensure_order(&[
                ("event", event.at),
                ("the gateway's answer", delivered.unwrap_or_default()),
                ("release of the lock", event_at(nas, skip, is_release)?),
                ("freeze", event_at(nas, skip, |e| *e == Event::Frozen)?),
            ])?;
            let frozen = event_at(nas, skip, |e| *e == Event::Frozen)?;
            let late =
                house.lab().watcher().since(mark).into_iter().filter(|f| &*f.sender == "nas" && f.at > frozen).count();
            assert_eq!(late, 0, "frames left a machine that was frozen");
            Ok(())
        })
    });
}

#[test]
fn a_sleeping_appliance_is_woken_by_magic_packets_of_both_kinds_and_says_so_itself() {
    sandbox::test(|| {
        with_one(nas(), "ON", |house| {
            house.gateway().hegctl_ok(&["standby", "nas"])?;
            let nas = house.appliance("nas")?;
            nas.wait_power(Power::Asleep, SOON)?;
            let mark = house.lab().watcher().mark();
            house.gateway().hegctl_ok(&["wake", "nas"])?;
            let mac = nas.links()[0].mac();
            for raw in [true, false] {
                let kind = if raw { "as a frame" } else { "as a datagram" };
                let found = house.lab().watcher().wait_for(&format!("a magic packet {kind}"), mark, SOON, |f| {
                    &*f.sender == "gateway" && f.magic_packet().is_some_and(|m| m.target == mac && m.raw == raw)
                });
                found?;
            }
            assert_eq!(nas.power(), Power::Running);
            house.wait_said("nas", "ssdp:alive", mark, SOON)?;
            house.wait_state("nas", "ON", SOON)?;
            ensure!(nas.program_runs(AGENT));
            // Its next sleep is told as well: the lock was taken again.
            let skip = nas.events().len();
            house.gateway().hegctl_ok(&["standby", "nas"])?;
            nas.wait_event("the second freeze", skip, SOON, |e| *e == Event::Frozen)?;
            house.wait_state("nas", "Standby", SOON).map(drop)
        })
    });
}

#[test]
fn an_operation_goes_on_after_sleep_where_it_was() {
    sandbox::test(|| {
        with_one(tv(), "OFF", |house| {
            house.gateway().hegctl_ok(&["on", "tv"])?;
            house.wait_state("tv", "ON", SOON)?;
            let tv = house.appliance("tv")?;
            let before = process_with(tv, "sleep infinity");
            house.gateway().hegctl_ok(&["standby", "tv"])?;
            house.wait_state("tv", "Standby", SOON)?;
            house.gateway().hegctl_ok(&["wake", "tv"])?;
            house.wait_state("tv", "ON", SOON)?;
            assert_eq!(process_with(tv, "sleep infinity"), before);
            Ok(())
        })
    });
}

#[test]
fn a_gateway_that_does_not_answer_holds_sleep_up_no_longer_than_logind_allows() {
    sandbox::test(|| {
        with_one(nas(), "ON", |house| {
            let nas = house.appliance("nas")?;
            // The gateway's cable, not its daemon: the event is sent and never answered.
            house.gateway().links()[0].pull()?;
            let skip = nas.events().len();
            nas.wish(Wish::Suspend)?;
            nas.wait_power(Power::Asleep, SOON)?;
            let released = event_at(nas, skip, is_release)?;
            let asked = event_at(nas, skip, |e| {
                matches!(e, Event::Logind(house_tests::hardware::Note::PrepareForSleep { start: true }))
            })?;
            ensure!(released - asked < Duration::from_secs(5), "logind had to force it: {:?}", released - asked);
            Ok(())
        })
    });
}

#[test]
fn a_card_with_a_secure_on_password_is_woken_by_a_gateway_that_knows_it() {
    sandbox::test(|| {
        let mut config = nas();
        config.wake_password = Some(vec![0x11, 0x22, 0x33, 0x44, 0x55, 0x66]);
        with_one(config, "ON", |house| {
            let udn = house.wait_state("nas", "ON", SOON)?.udn;
            let file = house.gateway().host().dir().join("heg-gateway.toml");
            let config = format!(
                "{}\n[[appliance]]\nudn = '{udn}'\nsecure-on = '11:22:33:44:55:66'\n",
                std::fs::read_to_string(&file)?
            );
            std::fs::write(&file, config)?;
            house.gateway_mut().stop(SOON)?;
            house.gateway_mut().start()?;
            house.wait_state("nas", "ON", SOON)?;
            wait_subscribed(house, "nas")?;
            house.gateway().hegctl_ok(&["standby", "nas"])?;
            house.appliance("nas")?.wait_power(Power::Asleep, SOON)?;
            house.gateway().hegctl_ok(&["wake", "nas"])?;
            wait_until("awake", SOON, || (house.appliance("nas").ok()?.power() == Power::Running).then_some(()))
        })
    });
}
