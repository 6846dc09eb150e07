//! Waking an appliance, because somebody wants it and at its WakeUpTime.

use std::time::Duration;

use energy_model::PowerState::{Off, On, Standby};
use energy_model::WakeMethod;
use heg::commands::Verb;
use heg::gateway::{Answer, Input, Order, Request};
use heg::journal::{Cause, Ending};

use crate::home::{Home, MAC, address, obeyed, time};

#[test]
fn magic_packets_are_repeated_with_growing_pauses_until_the_appliance_is_awake() {
    let mut home = Home::asleep();
    let ask = home.person("tv", Verb::Wake);
    let started = home.now.boot;
    let mut at = vec![];
    while at.len() < 6 {
        at.extend(home.packets.drain(..).map(|when| when.since(started).as_secs()));
        home.fail_all();
        home.step();
    }
    assert_eq!(at, [0, 1, 3, 7, 15, 25]);
    assert!(home.searches > 0, "its alive may be lost");
    home.find("tv");
    home.answer(Order::GetPowerState, Ok(Answer::PowerState(On)));
    assert_eq!(home.outcome(ask).ending, Ending::Done);
    home.packets.clear();
    home.sleep(Duration::from_secs(60));
    assert!(home.packets.is_empty());
}

#[test]
fn a_wake_without_any_sign_of_life_times_out() {
    let mut home = Home::asleep();
    let ask = home.person("tv", Verb::Wake);
    while home.reply(ask).is_none() {
        home.fail_all();
        home.step();
    }
    let outcome = home.outcome(ask);
    assert_eq!(outcome.ending, Ending::TimedOut);
    assert!(outcome.reason.starts_with("not awake after 1"), "{}", outcome.reason);
    assert_eq!(home.state("tv"), Some(Standby), "silence is no news of a sleeper");
}

#[test]
fn on_wakes_a_sleeper_first_and_then_switches_its_operation_on() {
    let mut home = Home::asleep();
    let ask = home.person("tv", Verb::On);
    assert_eq!(home.packets.len(), 1);
    home.fail_all();
    home.find("tv");
    home.tell("tv", Off);
    home.answer(Order::OperationOn, obeyed());
    assert_eq!(home.reply(ask), None);
    home.tell("tv", On);
    assert_eq!(home.outcome(ask).ending, Ending::Done);
}

#[test]
fn an_appliance_that_cannot_be_woken_is_not_tried() {
    let mut home = Home::asleep();
    home.find("tv");
    home.answer(Order::WakeUpMethod, Ok(Answer::WakeMethod(WakeMethod::None)));
    home.tell("tv", Standby);
    let wake = home.person("tv", Verb::Wake);
    let on = home.person("tv", Verb::On);
    assert_eq!((home.outcome(wake).ending, home.outcome(on).ending), (Ending::Failed, Ending::Unreachable));
    assert!(home.packets.is_empty());
}

#[test]
fn without_applianceinfo_the_mac_address_comes_from_the_neighbour_table() {
    let mut home = Home::new();
    home.find("tv");
    assert_eq!(home.lookups, [address("tv")]);
    home.feed(Input::NeighbourLooked { address: address("tv"), mac: Some(MAC.parse().unwrap()) });
    home.tell("tv", Standby);
    home.person("tv", Verb::Wake);
    assert_eq!(home.packets.len(), 1);
}

#[test]
fn at_its_wake_up_time_the_appliance_is_woken_every_day_until_withdrawn() {
    let mut home = Home::asleep();
    home.at("2026-11-22T05:00:00Z");
    let reg = home.register("tv", Request::WakeUpTime(time("06:30:00")));
    for day in ["2026-11-22T05:30:00Z", "2026-11-23T05:30:00Z"] {
        home.packets.clear();
        while home.packets.is_empty() {
            home.step();
        }
        assert_eq!(home.now.wall, day.parse().unwrap(), "06:30 in Berlin");
        home.find("tv");
        home.answer(Order::GetPowerState, Ok(Answer::PowerState(On)));
        let entry = home.journal.last().unwrap();
        assert_eq!((&*entry.action, entry.cause, entry.ending), ("wake", Cause::Registration(reg), Ending::Done));
        home.tell("tv", Standby);
    }
    home.packets.clear();
    home.withdraw("tv", reg).unwrap();
    home.sleep(Duration::from_secs(3 * 24 * 3600));
    assert!(home.packets.is_empty());
}

#[test]
fn an_appliance_that_is_awake_at_its_wake_up_time_gets_no_packet() {
    let mut home = Home::with_tv(On);
    home.at("2026-11-22T05:00:00Z");
    home.register("tv", Request::WakeUpTime(time("06:30:00")));
    home.tell("tv", On);
    while home.now.wall < "2026-11-22T05:31:00Z".parse().unwrap() {
        home.step_within(Duration::from_secs(30));
        home.answer_all(On);
    }
    assert!(home.packets.is_empty());
    assert_eq!(home.journal.last().unwrap().ending, Ending::Already);
}

#[test]
fn a_wake_up_time_that_the_clock_change_skips_comes_at_the_jump_and_one_that_comes_twice_comes_once() {
    let mut home = Home::asleep();
    home.at("2026-03-28T12:00:00Z");
    home.register("tv", Request::WakeUpTime(time("02:30:00")));
    // On 29 March 2026 clocks in Berlin go from 02:00 to 03:00, at 01:00 UTC; on 25 October from 03:00 to 02:00.
    assert_eq!(home.next_wakes(3), ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"]);
    home.at("2026-10-24T12:00:00Z");
    assert_eq!(home.next_wakes(2), ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
}

#[test]
fn a_wake_up_missed_by_a_short_stop_of_the_gateway_is_made_up_for_and_a_long_one_told() {
    let mut home = Home::asleep();
    home.at("2026-11-22T05:00:00Z");
    let reg = home.register("tv", Request::WakeUpTime(time("06:30:00")));
    let mut home = home.restart_at("2026-11-22T05:35:00Z");
    assert_eq!(home.packets.len(), 1);
    home.find("tv");
    home.answer(Order::GetPowerState, Ok(Answer::PowerState(On)));
    home.tell("tv", Standby);
    let home = home.restart_at("2026-11-23T09:00:00Z");
    assert!(home.packets.is_empty());
    let entry = home.journal.last().unwrap();
    assert_eq!((entry.cause, entry.ending), (Cause::Registration(reg), Ending::Failed));
    let due = home.gateway.registrations().iter().next().unwrap().due;
    assert_eq!(due, Some("2026-11-24T05:30:00Z".parse().unwrap()));
}

#[test]
fn a_restart_in_the_middle_of_waking_goes_on_waking() {
    let mut home = Home::asleep();
    home.at("2026-11-22T05:00:00Z");
    home.register("tv", Request::WakeUpTime(time("06:30:00")));
    while home.packets.is_empty() {
        home.step();
    }
    let home = home.restart();
    assert_eq!(home.packets.len(), 1);
}

#[test]
fn a_clock_set_back_does_not_leave_a_wake_up_days_ahead() {
    let mut home = Home::asleep();
    home.at("2026-11-22T05:00:00Z");
    home.register("tv", Request::WakeUpTime(time("06:30:00")));
    home.at("2026-11-19T05:00:00Z");
    home.feed(Input::ClockChanged);
    assert_eq!(home.next_wakes(1), ["2026-11-19T05:30:00Z"]);
}
