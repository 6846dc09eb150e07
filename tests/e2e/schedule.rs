//! Registrations in both directions: honoured, and withdrawn.

use anyhow::{Context, Result, ensure};
use house_tests::house::{clock_in, refused};
use house_tests::machine::{Event, Machine, Power};
use testkit::lab::host::RTC_ALARM;
use testkit::lab::sandbox;

use crate::homes::{SOON, ask, nas, reg_id, with_one};

#[test]
fn a_wake_up_time_asked_for_by_an_appliance_without_a_clock_is_honoured_by_the_gateway() {
    sandbox::test(|| {
        let mut config = nas();
        config.agent = config.agent.replace("[wake]\n", "[wake]\nrtc = 'none'\n");
        with_one(config, "ON", |house| {
            ask(house, "nas", &["wake-up-time", &clock_in(6)?])?;
            house.gateway().hegctl_ok(&["standby", "nas"])?;
            let nas = house.appliance("nas")?;
            nas.wait_power(Power::Asleep, SOON)?;
            let mark = house.lab().watcher().mark();
            let packet =
                house.lab().watcher().wait_for("a magic packet", mark, SOON, |f| f.magic_packet().is_some())?;
            assert_eq!(&*packet.sender, "gateway");
            nas.wait_power(Power::Running, SOON)?;
            house.wait_state("nas", "ON", SOON).map(drop)
        })
    });
}

#[test]
fn an_appliance_with_a_clock_arms_it_as_a_second_chance_for_its_wake_up_time() {
    sandbox::test(|| {
        with_one(nas(), "ON", |house| {
            ask(house, "nas", &["wake-up-time", &clock_in(30)?])?;
            house.gateway().hegctl_ok(&["standby", "nas"])?;
            let nas = house.appliance("nas")?;
            nas.wait_power(Power::Asleep, SOON)?;
            let seconds = alarm(nas)?;
            ensure!(seconds >= 28, "the alarm, in {seconds} s, is before the time asked for");
            ensure!(seconds <= 120, "the alarm, in {seconds} s, is no help to who waits for the appliance");
            // The clock goes off as if the gateway were gone; that it does is the machine's own test.
            house.gateway().links()[0].pull()?;
            std::fs::write(nas.host().dir().join(RTC_ALARM), "+1")?;
            nas.wait_event("the clock's alarm", 0, SOON, |e| *e == Event::ClockAlarm)?;
            nas.wait_power(Power::Running, SOON)?;
            house.gateway().links()[0].plug()?;
            house.wait_state("nas", "ON", SOON).map(drop)
        })
    });
}

#[test]
fn a_no_standby_period_declines_standby_until_the_appliance_withdraws_it() {
    sandbox::test(|| {
        with_one(nas(), "ON", |house| {
            let id = ask(house, "nas", &["no-standby-period", &clock_in(0)?, &clock_in(3600)?])?;
            let said = refused(house.gateway().hegctl(&["standby", "nas"])?)?;
            ensure!(said.to_lowercase().contains("nostandby") || said.contains("no-standby"), "{said}");
            assert_eq!(house.appliance("nas")?.power(), Power::Running);
            house.agent("nas", &["request", "withdraw", &id])?;
            house.gateway().hegctl_ok(&["standby", "nas"])?;
            house.appliance("nas")?.wait_power(Power::Asleep, SOON)
        })
    });
}

#[test]
fn a_registration_that_does_not_exist_cannot_be_withdrawn() {
    sandbox::test(|| {
        with_one(nas(), "ON", |house| {
            let id = ask(house, "nas", &["wake-up-time", "04:00:00"])?;
            house.agent("nas", &["request", "withdraw", &id])?;
            ensure!(house.agent("nas", &["request", "withdraw", &id]).is_err(), "withdrawn twice");
            refused(house.gateway().hegctl(&["withdraw", "4000000000"])?).map(drop)
        })
    });
}

#[test]
fn a_standby_period_begins_by_itself_and_arms_the_clock_for_its_end() {
    sandbox::test(|| {
        with_one(nas(), "ON", |house| {
            let (start, stop) = (clock_in(4)?, clock_in(604)?);
            house.gateway().hegctl_ok(&["schedule", "nas", "standby", &start, &stop])?;
            assert_eq!(house.appliance("nas")?.power(), Power::Running);
            let nas = house.appliance("nas")?;
            nas.wait_power(Power::Asleep, SOON)?;
            house.wait_state("nas", "Standby", SOON)?;
            let seconds = alarm(nas)?;
            ensure!((560..=601).contains(&seconds), "the alarm is in {seconds} s");
            Ok(())
        })
    });
}

#[test]
fn a_standby_period_is_withdrawn_by_its_number() {
    sandbox::test(|| {
        with_one(nas(), "ON", |house| {
            let (start, stop) = (clock_in(3600)?, clock_in(7200)?);
            let answer = house.gateway().json(&["schedule", "nas", "standby", &start, &stop])?;
            let id = reg_id(&answer)?;
            house.gateway().hegctl_ok(&["withdraw", &id])?;
            refused(house.gateway().hegctl(&["withdraw", &id])?).map(drop)
        })
    });
}

/// Seconds from going to sleep to the clock's alarm, as the agent wrote them.
fn alarm(machine: &Machine) -> Result<u64> {
    let text = std::fs::read_to_string(machine.host().dir().join(RTC_ALARM))?;
    text.trim().trim_start_matches('+').parse().with_context(|| format!("alarm {text:?}"))
}
