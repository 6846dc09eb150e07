//! Commands from the gateway to real work on real hosts: obeyed, or refused with a reason.

use anyhow::{Result, ensure};
use house_tests::hardware::{Note, Session, Wish};
use house_tests::house::{House, refused};
use house_tests::machine::{Event, Power};
use testkit::lab::{sandbox, wait_until};

use crate::homes::{PLAYING, SOON, hold_block, nas, process_with, tv, washer, with_one};

#[test]
fn operation_on_and_off_start_and_stop_a_systemd_unit() {
    sandbox::test(|| {
        with_one(tv(), "OFF", |house| {
            let tv = house.appliance("tv")?;
            house.gateway().hegctl_ok(&["on", "tv"])?;
            let unit = |e: &Event, wanted: &str| matches!(e, Event::Logind(Note::Unit { name, active_state, .. }) if name == PLAYING && active_state == wanted);
            tv.wait_event("the unit active", 0, SOON, |e| unit(e, "active"))?;
            house.wait_state("tv", "ON", SOON)?;
            ensure!(process_with(tv, "sleep infinity").is_some());
            house.gateway().hegctl_ok(&["off", "tv"])?;
            tv.wait_event("the unit inactive", 0, SOON, |e| unit(e, "inactive"))?;
            house.wait_state("tv", "OFF", SOON)?;
            ensure!(process_with(tv, "sleep infinity").is_none());
            Ok(())
        })
    });
}

#[test]
fn operation_on_and_off_run_the_configured_commands() {
    sandbox::test(|| {
        with_one(washer(), "OFF", |house| {
            let washer = house.appliance("washer")?;
            house.gateway().hegctl_ok(&["on", "washer"])?;
            house.wait_state("washer", "ON", SOON)?;
            ensure!(process_with(washer, "sleep 86400").is_some());
            house.gateway().hegctl_ok(&["off", "washer"])?;
            house.wait_state("washer", "OFF", SOON)?;
            ensure!(process_with(washer, "sleep 86400").is_none());
            Ok(())
        })
    });
}

#[test]
fn work_that_ends_by_itself_is_told_as_off() {
    sandbox::test(|| {
        with_one(washer(), "OFF", |house| {
            house.gateway().hegctl_ok(&["on", "washer"])?;
            house.wait_state("washer", "ON", SOON)?;
            let washer = house.appliance("washer")?;
            washer.host().run("sh", &["-c", "kill $(cat /run/drum.pid)"])?;
            house.wait_state("washer", "OFF", SOON).map(drop)
        })
    });
}

#[test]
fn operation_off_of_a_machine_powers_it_off_and_operation_on_boots_it() {
    sandbox::test(|| {
        with_one(nas(), "ON", |house| {
            house.gateway().hegctl_ok(&["off", "nas"])?;
            house.appliance("nas")?.wait_power(Power::Off, SOON)?;
            house.wait_state("nas", "OFF", SOON)?;
            house.gateway().hegctl_ok(&["on", "nas"])?;
            house.appliance("nas")?.wait_power(Power::Running, SOON)?;
            house.wait_state("nas", "ON", SOON).map(drop)
        })
    });
}

#[test]
fn a_block_inhibitor_refuses_standby_with_its_reason_until_it_is_released() {
    sandbox::test(|| {
        with_one(nas(), "ON", |house| {
            let nas = house.appliance("nas")?;
            hold_block(nas, "backup", "nightly backup running")?;
            let said = refused(house.gateway().hegctl(&["standby", "nas"])?)?;
            ensure!(said.contains("backup"), "the reason is missing: {said}");
            assert_eq!(nas.power(), Power::Running);
            shown_everywhere(house, "nas", "nightly backup running")?;
            nas.wish(Wish::LetGo { key: "backup".into() })?;
            house.gateway().hegctl_ok(&["standby", "nas"])?;
            nas.wait_power(Power::Asleep, SOON)
        })
    });
}

#[test]
fn a_person_at_the_machine_refuses_standby_until_the_session_is_idle() {
    sandbox::test(|| {
        with_one(nas(), "ON", |house| {
            let nas = house.appliance("nas")?;
            nas.wish(Wish::Session(Session::active("1", "ada")))?;
            let said = refused(house.gateway().hegctl(&["standby", "nas"])?)?;
            ensure!(said.contains("session"), "the reason is missing: {said}");
            assert_eq!(nas.power(), Power::Running);
            nas.wish(Wish::Session(Session::active("1", "ada").idle()))?;
            house.gateway().hegctl_ok(&["standby", "nas"])?;
            nas.wait_power(Power::Asleep, SOON)
        })
    });
}

#[test]
fn a_busy_unit_refuses_standby_while_it_runs() {
    sandbox::test(|| {
        let mut config = nas();
        config.units.push("scrub.service=sleep 2".into());
        config.agent.push_str("[safety]\nbusy-units = ['scrub.service']\n");
        with_one(config, "ON", |house| {
            let nas = house.appliance("nas")?;
            start_unit(nas, "scrub.service")?;
            let said = refused(house.gateway().hegctl(&["standby", "nas"])?)?;
            ensure!(said.contains("scrub.service"), "the reason is missing: {said}");
            let is_over =
                |e: &Event| matches!(e, Event::Logind(Note::Unit { active_state, .. }) if active_state == "inactive");
            nas.wait_event("the end of the unit", 0, SOON, is_over)?;
            house.gateway().hegctl_ok(&["standby", "nas"])?;
            nas.wait_power(Power::Asleep, SOON)
        })
    });
}

#[test]
fn work_just_begun_is_not_stopped_before_its_minimum_time() {
    sandbox::test(|| {
        let mut config = tv();
        config.agent.push_str("[safety]\nminimum-on-time-s = 3600\n");
        with_one(config, "OFF", |house| {
            house.gateway().hegctl_ok(&["on", "tv"])?;
            house.wait_state("tv", "ON", SOON)?;
            let said = refused(house.gateway().hegctl(&["off", "tv"])?)?;
            ensure!(said.contains("minimum"), "the reason is missing: {said}");
            house.wait_state("tv", "ON", SOON).map(drop)
        })
    });
}

#[test]
fn an_operation_that_fails_is_an_error_with_the_units_name() {
    sandbox::test(|| {
        let mut config = tv();
        config.units = vec![format!("{PLAYING}=/nonexistent/player")];
        with_one(config, "OFF", |house| {
            let said = refused(house.gateway().hegctl(&["on", "tv"])?)?;
            ensure!(said.contains(PLAYING), "the unit's name is missing: {said}");
            house.wait_state("tv", "OFF", SOON).map(drop)
        })
    });
}

#[test]
fn work_whose_unit_does_not_exist_is_named_and_the_machine_counts_as_on() {
    sandbox::test(|| {
        let mut config = tv();
        config.units.clear();
        with_one(config, "ON", |house| {
            let missing = format!("unit {PLAYING} does not exist; see [operation] in psm-agent.toml(5)");
            let status = house.agent("tv", &["status"])?;
            ensure!(status.contains(&format!("operation: not in use: {missing}")), "{status}");
            let said = refused(house.gateway().hegctl(&["off", "tv"])?)?;
            ensure!(said.contains(&missing), "the order was not answered with the reason: {said}");
            house.wait_state("tv", "ON", SOON).map(drop)
        })
    });
}

/// The refusal stands in the agent's status, in the registry and in the journal.
fn shown_everywhere(house: &House, name: &str, reason: &str) -> Result<()> {
    wait_until("the refusal everywhere", SOON, || {
        let texts = [
            house.agent(name, &["status"]).ok()?,
            house.gateway().hegctl_ok(&["show", name]).ok()?,
            house.gateway().hegctl_ok(&["journal"]).ok()?,
        ];
        texts.iter().all(|text| text.contains(reason)).then_some(())
    })
}

/// As `systemctl start` does, from a program on the machine.
fn start_unit(machine: &house_tests::machine::Machine, name: &str) -> Result<()> {
    crate::machine::on_bus(machine, async |bus| {
        crate::machine::SystemdProxy::new(&bus).await?.start_unit(name, "replace").await?;
        Ok(())
    })?;
    let is_active = |e: &Event| matches!(e, Event::Logind(Note::Unit { active_state, .. }) if active_state == "active");
    machine.wait_event("the unit active", 0, SOON, is_active).map(drop)
}
