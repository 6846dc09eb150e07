//! Finding each other, and what happens when one of them goes away.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use house_tests::house::{AGENT, House};
use house_tests::machine::Power;
use testkit::lab::{sandbox, wait_until};

use crate::homes::{GATEWAY, SOON, ask, nas, tv, wait_subscribed, washer, with_one};

/// Two missed rounds of the shortest poll, with the waits for an answer.
const LOST_WITHIN: Duration = Duration::from_secs(70);

#[test]
fn gateway_and_appliances_find_each_other_in_either_order_of_starting() {
    sandbox::test(|| {
        House::run(GATEWAY, |house| {
            house.add(tv())?;
            house.add(washer())?;
            house.wait_state("tv", "OFF", SOON)?;
            house.wait_state("washer", "OFF", SOON)?;
            house.gateway_mut().stop(SOON)?;
            house.add(nas())?;
            house.gateway_mut().start()?;
            house.wait_state("nas", "ON", SOON)?;
            for name in ["tv", "washer", "nas"] {
                wait_subscribed(house, name)?;
                // The agent has found the gateway: it can ask it for something.
                ask(house, name, &["no-standby-period", "03:00:00", "03:00:01"])?;
            }
            Ok(())
        })
    });
}

#[test]
fn a_killed_agent_comes_back_as_the_same_appliance() {
    sandbox::test(|| {
        with_one(tv(), "OFF", |house| {
            let before = house.wait_state("tv", "OFF", SOON)?;
            house.gateway().hegctl_ok(&["on", "tv"])?;
            house.wait_state("tv", "ON", SOON)?;
            let mark = house.lab().watcher().mark();
            house.appliance("tv")?.kill_program(AGENT)?;
            house.appliance("tv")?.start_program(AGENT)?;
            house.wait_said("gateway", "SUBSCRIBE /", mark, SOON)?;
            wait_subscribed(house, "tv")?;
            let after = house.wait_state("tv", "ON", SOON)?;
            assert_eq!(before.udn, after.udn);
            house.gateway().hegctl_ok(&["off", "tv"])?;
            house.wait_state("tv", "OFF", SOON).map(drop)
        })
    });
}

#[test]
fn a_killed_gateway_keeps_its_registry_and_gives_no_regid_twice() {
    sandbox::test(|| {
        with_one(tv(), "OFF", |house| {
            let mut ids = BTreeSet::new();
            let mut register = |house: &House, start: &str, stop: &str| -> Result<()> {
                let id = ask(house, "tv", &["no-standby-period", start, stop])?;
                ensure!(ids.insert(id.clone()), "RegID {id} was given twice");
                Ok(())
            };
            register(house, "01:00:00", "01:10:00")?;
            register(house, "02:00:00", "02:10:00")?;
            house.gateway_mut().kill()?;
            house.gateway_mut().start()?;
            house.wait_state("tv", "OFF", SOON)?;
            wait_subscribed(house, "tv")?;
            register(house, "03:00:00", "03:10:00")?;
            let kept = house.gateway().json(&["show", "tv"])?.to_string();
            ensure!(kept.contains("01:00:00") && kept.contains("02:00:00") && kept.contains("03:00:00"), "{kept}");
            Ok(())
        })
    });
}

#[test]
fn an_agent_registers_its_configured_times_again_with_a_gateway_that_lost_everything() {
    sandbox::test(|| {
        let mut config = tv();
        config.agent.push_str("[schedule]\nwake-up-time = ['04:30:00']\n");
        with_one(config, "OFF", |house| {
            let registered = |house: &House| {
                wait_until("the configured time at the gateway", SOON, || {
                    let shown = house.gateway().json(&["show", "tv"]).ok()?;
                    shown.to_string().contains("04:30:00").then_some(())
                })
            };
            registered(house)?;
            house.gateway_mut().kill()?;
            let state = house.gateway().host().dir().join("lib/heg");
            std::fs::remove_dir_all(&state).context("losing the gateway's state")?;
            house.gateway_mut().start()?;
            house.wait_state("tv", "OFF", SOON)?;
            registered(house)
        })
    });
}

#[test]
fn a_pulled_cable_makes_the_appliance_unknown_and_plugging_it_in_brings_it_back() {
    sandbox::test(|| {
        with_one(nas(), "ON", |house| {
            let nas = house.appliance("nas")?;
            nas.links()[0].pull()?;
            house.wait_state("nas", "Unknown", LOST_WITHIN)?;
            house.appliance("nas")?.links()[0].plug()?;
            house.wait_state("nas", "ON", SOON)?;
            assert_eq!(house.appliance("nas")?.power(), Power::Running);
            Ok(())
        })
    });
}

#[test]
fn a_new_address_is_announced_with_ssdp_update_and_followed_at_once() {
    sandbox::test(|| {
        with_one(tv(), "OFF", |house| {
            let mark = house.lab().watcher().mark();
            let mut link = house.appliance("tv")?.links()[0].clone();
            link.renumber(77)?;
            house.wait_said("tv", "ssdp:update", mark, SOON)?;
            house.gateway().hegctl_ok(&["on", "tv"])?;
            house.wait_state("tv", "ON", SOON)?;
            let shown = house.gateway().json(&["show", "tv"])?.to_string();
            ensure!(!shown.contains("10.88.0.2\""), "the old address is kept: {shown}");
            Ok(())
        })
    });
}

#[test]
fn a_gateway_with_two_interfaces_serves_and_wakes_the_appliances_on_both() {
    sandbox::test(|| {
        with_one(tv(), "OFF", |house| {
            // A second LAN, plugged in while everything runs.
            let second = house.lab_mut().lan()?;
            let host = house.lab_mut().host("fridge")?;
            let cable = house.lab().attach(&host, "eth0", &second, 2)?;
            let uplink = house.lab().attach(house.gateway().host(), "eth1", &second, 1)?;
            house.gateway_mut().add_link(uplink);
            let mut fridge = tv();
            fridge.name = "fridge".into();
            house.add_on(host, vec![cable], fridge)?;
            house.wait_state("fridge", "OFF", SOON)?;
            wait_subscribed(house, "fridge")?;
            for name in ["tv", "fridge"] {
                house.gateway().hegctl_ok(&["on", name])?;
                house.gateway().hegctl_ok(&["standby", name])?;
                house.appliance(name)?.wait_power(Power::Asleep, SOON)?;
                house.gateway().hegctl_ok(&["wake", name])?;
                house.wait_state(name, "ON", SOON)?;
            }
            Ok(())
        })
    });
}

#[test]
fn an_appliance_on_two_lans_is_one_appliance_and_is_reached_over_the_cable_that_is_left() {
    sandbox::test(|| {
        House::run(GATEWAY, |house| {
            let (first, second) = (house.lan().clone(), house.lab_mut().lan()?);
            let uplink = house.lab().attach(house.gateway().host(), "eth1", &second, 1)?;
            house.gateway_mut().add_link(uplink);
            let host = house.lab_mut().host("tv")?;
            let cables =
                vec![house.lab().attach(&host, "eth0", &first, 2)?, house.lab().attach(&host, "eth1", &second, 2)?];
            house.add_on(host, cables.clone(), tv())?;
            house.wait_state("tv", "OFF", SOON)?;
            wait_subscribed(house, "tv")?;
            assert_eq!(house.gateway().appliances()?.len(), 1);
            for (cable, verb, state) in [(0, "on", "ON"), (1, "off", "OFF")] {
                cables[cable].pull()?;
                house.gateway().hegctl_ok(&[verb, "tv"])?;
                house.wait_state("tv", state, SOON)?;
                cables[cable].plug()?;
            }
            assert_eq!(house.gateway().appliances()?.len(), 1);
            Ok(())
        })
    });
}

#[test]
fn a_stopped_agent_says_goodbye_and_unsubscribes_nobody_else() {
    sandbox::test(|| {
        with_one(tv(), "OFF", |house| {
            house.add(nas())?;
            house.wait_state("nas", "ON", SOON)?;
            let mark = house.lab().watcher().mark();
            let status = house.appliance("tv")?.stop_program(AGENT, SOON)?;
            ensure!(status.success(), "{status}");
            house.wait_said("tv", "ssdp:byebye", mark, SOON)?;
            house.gateway().hegctl_ok(&["show", "nas"])?;
            house.wait_state("nas", "ON", SOON).map(drop)
        })
    });
}
