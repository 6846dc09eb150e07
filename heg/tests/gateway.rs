//! The gateway in virtual time: facts in, orders out, nothing else.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use energy_model::{DailyWindow, MacAddress, PowerState, RegId, TimeOfDay, WakeMethod};
use heg::commands::{CallFailure, Outcome, Patience, Verb};
use heg::gateway::{
    Answer, AskError, AskId, CallTag, Effect, Gateway, Input, Order, Reply, Request, Restored, Settings, Wanted,
};
use heg::journal::{Cause, Ending, Entry};
use heg::now::Now;
use heg::registrations::{Key, Registrant, Registration, RegistrationError, Wish};
use heg::registry::{Found, Offers, Profile};
use jiff::tz::TimeZone;
use upnp::ids::Udn;
use upnp::time::BootTime;

use PowerState::{Off, On, Standby};

// Discovery and state.

#[test]
fn a_found_appliance_is_asked_who_it_is_and_in_which_state() {
    let mut home = Home::new();
    home.find("tv");
    assert_eq!(home.orders(), [Order::GetPowerState, Order::WakeUpMethod]);
    assert_eq!(home.state("tv"), None);
    home.answer(Order::GetPowerState, Ok(Answer::PowerState(On)));
    home.answer(Order::WakeUpMethod, Ok(Answer::WakeMethod(WakeMethod::Wol)));
    assert_eq!(home.state("tv"), Some(On));
    assert!(home.is_reachable("tv"));
    assert_eq!(home.gateway.status_line(), "1 appliance: 1 ON");
}

#[test]
fn an_appliance_that_said_standby_and_falls_silent_stays_in_standby() {
    let mut home = Home::with_tv(On);
    home.tell("tv", Standby);
    assert!(!home.is_reachable("tv"));
    home.feed(Input::Gone { udn: udn("tv"), why: "its announcements ran out" });
    assert_eq!((home.state("tv"), home.is_reachable("tv")), (Some(Standby), false));
    home.sleep(Duration::from_secs(24 * 3600));
    assert!(home.orders().is_empty(), "a sleeper is not asked");
    assert_eq!(home.state("tv"), Some(Standby));
}

#[test]
fn an_appliance_that_was_on_and_says_goodbye_is_unknown_with_its_last_known_state() {
    let mut home = Home::with_tv(On);
    home.feed(Input::Gone { udn: udn("tv"), why: "it said goodbye" });
    let tv = home.gateway.registry().get(&udn("tv")).unwrap();
    assert_eq!((tv.state(), tv.profile().last_known, tv.profile().since), (None, Some(On), home.now.wall));
    let entry = home.journal.last().unwrap();
    assert_eq!((&*entry.action, entry.cause, entry.ending), ("PowerState Unknown", Cause::Gateway, Ending::Observed));
    assert_eq!(&*entry.reason, "it said goodbye");
}

#[test]
fn one_unanswered_poll_is_not_a_loss_of_contact_but_three_are() {
    let mut home = Home::with_tv(On);
    home.sleep(POLL);
    for _ in 0..2 {
        home.answer(Order::GetPowerState, Err(no_answer()));
        assert_eq!((home.state("tv"), home.orders().len()), (Some(On), 0));
        home.sleep(Duration::from_secs(60));
    }
    home.searches = 0;
    home.answer(Order::GetPowerState, Err(no_answer()));
    assert_eq!((home.state("tv"), home.is_reachable("tv"), home.searches), (None, false, 1));
    // It is asked again later, and one answer puts all right.
    home.sleep(POLL);
    home.answer(Order::GetPowerState, Ok(Answer::PowerState(Off)));
    assert_eq!((home.state("tv"), home.is_reachable("tv")), (Some(Off), true));
}

#[test]
fn an_event_keeps_the_watchdog_from_asking() {
    let mut home = Home::with_tv(On);
    home.sleep(POLL - Duration::from_secs(1));
    home.tell("tv", On);
    home.sleep(POLL - Duration::from_secs(1));
    assert!(home.orders().is_empty());
    home.sleep(Duration::from_secs(2));
    assert_eq!(home.orders(), [Order::GetPowerState]);
}

#[test]
fn an_answer_that_an_event_overtook_is_not_believed() {
    let mut home = Home::with_tv(On);
    home.sleep(POLL);
    home.tell("tv", Standby);
    home.answer(Order::GetPowerState, Ok(Answer::PowerState(On)));
    assert_eq!((home.state("tv"), home.is_reachable("tv")), (Some(Standby), false));
}

#[test]
fn after_a_restart_on_is_unknown_and_sleep_is_believed() {
    let mut home = Home::with_tv(On);
    home.find("nas");
    home.tell("nas", Standby);
    let mut home = home.restart();
    assert_eq!((home.state("tv"), home.state("nas")), (None, Some(Standby)));
    let tv = home.gateway.registry().get(&udn("tv")).unwrap().profile();
    assert_eq!((tv.last_known, &*tv.name, tv.mac), (Some(On), "tv", Some(MAC.parse().unwrap())));
    home.find("tv");
    home.answer(Order::GetPowerState, Ok(Answer::PowerState(On)));
    assert_eq!(home.state("tv"), Some(On));
}

// Commands.

#[test]
fn a_command_is_done_when_the_appliance_says_so_itself() {
    let mut home = Home::with_tv(On);
    let ask = home.person("tv", Verb::Off);
    home.answer(Order::OperationOff, obeyed());
    assert_eq!(home.reply(ask), None, "obeyed is not yet done");
    home.tell("tv", Off);
    assert_eq!(home.outcome(ask), Outcome::new(Ending::Done, ""), "without a RegID: nothing was registered");
    let entry = home.journal.last().unwrap();
    assert_eq!((&*entry.action, entry.cause, entry.ending), ("OperationOff", Cause::Person(1000), Ending::Done));
}

#[test]
fn a_command_without_an_answer_is_sent_again_with_growing_pauses_until_its_deadline() {
    let mut home = Home::with_tv(On);
    let ask = home.person("tv", Verb::Off);
    let started = home.now.boot;
    let mut sent_at = vec![];
    while home.reply(ask).is_none() {
        if !home.calls.is_empty() {
            sent_at.push(home.now.boot.since(started).as_secs());
            home.answer(Order::OperationOff, Err(no_answer()));
        }
        home.step();
    }
    assert_eq!(sent_at, [0, 1, 3, 7, 15]);
    let outcome = home.outcome(ask);
    assert_eq!(outcome.ending, Ending::Unreachable);
    assert_eq!(outcome.reason, "no answer to 5 attempts: connection refused");
    assert_eq!(home.now.boot.since(started), PATIENCE.command);
}

#[test]
fn a_fault_is_an_answer_and_is_never_sent_again() {
    let mut home = Home::with_tv(On);
    for (code, ending) in [(801, Ending::Refused), (501, Ending::Failed), (612, Ending::Failed)] {
        let ask = home.person("tv", Verb::Off);
        home.answer(Order::OperationOff, Err(CallFailure::Fault { code, reason: "a film is on".into() }));
        let outcome = home.outcome(ask);
        assert_eq!((outcome.ending, outcome.code), (ending, Some(code)));
        assert!(outcome.reason.ends_with("a film is on"), "{}", outcome.reason);
        home.sleep(Duration::from_secs(60));
        assert!(home.orders().is_empty(), "{code}");
    }
}

#[test]
fn a_lost_event_is_healed_by_asking_for_the_state() {
    let mut home = Home::with_tv(On);
    let ask = home.person("tv", Verb::Off);
    home.answer(Order::OperationOff, obeyed());
    home.sleep(Duration::from_secs(5));
    home.answer(Order::GetPowerState, Ok(Answer::PowerState(Off)));
    assert_eq!(home.outcome(ask).ending, Ending::Done);
}

#[test]
fn a_command_obeyed_but_not_carried_out_is_sent_again_and_at_last_times_out() {
    let mut home = Home::with_tv(On);
    let ask = home.person("tv", Verb::Off);
    let mut sent = 0;
    while home.reply(ask).is_none() {
        match home.calls.first().map(|(_, _, order)| *order) {
            Some(Order::OperationOff) => {
                sent += 1;
                home.answer(Order::OperationOff, obeyed());
            }
            Some(Order::GetPowerState) => home.answer(Order::GetPowerState, Ok(Answer::PowerState(On))),
            _ => home.step(),
        }
    }
    assert!(sent > 1);
    assert_eq!(home.outcome(ask).ending, Ending::TimedOut);
}

#[test]
fn standby_is_done_by_the_event_though_sleep_swallows_the_reply() {
    let mut home = Home::with_tv(On);
    let ask = home.person("tv", Verb::Standby);
    home.tell("tv", Standby);
    assert_eq!(home.outcome(ask).ending, Ending::Done);
    home.answer(Order::GoToStandby, Err(no_answer()));
    home.sleep(Duration::from_secs(60));
    assert!(home.orders().is_empty());
    let again = home.person("tv", Verb::Standby);
    assert_eq!(home.outcome(again).ending, Ending::Already);
}

#[test]
fn two_who_want_the_same_wait_for_one_command_and_a_contrary_order_replaces_it() {
    let mut home = Home::with_tv(On);
    let first = home.person("tv", Verb::Off);
    let second = home.person("tv", Verb::Off);
    assert_eq!(home.orders(), [Order::OperationOff]);
    let third = home.person("tv", Verb::On);
    assert_eq!((home.outcome(first).ending, home.outcome(second).ending), (Ending::Superseded, Ending::Superseded));
    home.answer(Order::OperationOn, obeyed());
    assert_eq!(home.outcome(third).ending, Ending::Done);
}

#[test]
fn a_command_for_a_sleeper_other_than_on_says_to_wake_it_first() {
    let mut home = Home::asleep();
    let ask = home.person("tv", Verb::Off);
    let outcome = home.outcome(ask);
    assert_eq!((outcome.ending, &*outcome.reason), (Ending::Unreachable, "it is asleep (Standby); wake it first"));
}

// Waking.

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

// Table II.

#[test]
fn a_registration_is_acknowledged_only_when_it_is_on_the_disk() {
    let mut home = Home::with_tv(On);
    let ask = home.appliance("tv", Request::WakeUpTime(time("06:30:00")));
    assert_eq!(home.reply(ask), None);
    home.disk(Err("the disk is full"));
    assert_eq!(home.reply(ask), Some(Reply::No(AskError::NotStored("the disk is full".into()))));
    assert_eq!(home.gateway.registrations().iter().count(), 0);
    let entry = home.journal.last().unwrap();
    assert_eq!((&*entry.action, entry.ending), ("WakeUpTime 06:30:00", Ending::Failed));
    assert_eq!(&*entry.reason, "not stored: the disk is full");
    let ask = home.appliance("tv", Request::WakeUpTime(time("06:30:00")));
    home.disk(Ok(()));
    assert!(matches!(home.reply(ask), Some(Reply::Registered(_))));
}

#[test]
fn regids_are_unique_over_withdrawals_and_restarts() {
    let mut home = Home::with_tv(On);
    let mut given = vec![];
    for round in 0..4 {
        for hour in 0..3u8 {
            let at = TimeOfDay::new(hour, round, 0).unwrap();
            given.push(home.register("tv", Request::WakeUpTime(at)));
        }
        let last = *given.last().unwrap();
        home.withdraw("tv", last).unwrap();
        home = home.restart();
        home.find("tv");
    }
    let mut unique = given.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), given.len(), "{given:?}");
}

#[test]
fn registering_the_same_again_gives_the_same_number_also_after_a_restart() {
    let mut home = Home::with_tv(On);
    let window = Request::NoStandbyPeriod(window("08:00:00", "18:00:00"));
    let first = home.register("tv", window);
    assert_eq!(home.register("tv", window), first);
    let mut home = home.restart();
    assert_eq!(home.register("tv", window), first);
    assert_eq!(home.gateway.registrations().iter().count(), 1);
}

#[test]
fn withdraw_of_an_unknown_or_foreign_regid_is_an_error() {
    let mut home = Home::with_tv(On);
    home.find("nas");
    let reg = home.register("tv", Request::WakeUpTime(time("06:30:00")));
    let unknown = RegId::new(4711).unwrap();
    assert_eq!(home.withdraw("tv", unknown), Err(AskError::Registration(RegistrationError::Unknown(unknown))));
    assert_eq!(home.withdraw("nas", reg), Err(AskError::Registration(RegistrationError::Foreign(reg))));
    assert_eq!(home.withdraw("tv", reg), Ok(()));
    assert_eq!(home.withdraw("tv", reg), Err(AskError::Registration(RegistrationError::Unknown(reg))));
}

#[test]
fn a_known_appliance_cannot_be_spoken_for_from_another_address() {
    let mut home = Home::with_tv(On);
    home.lookups.clear();
    let ask = home.appliance_at("tv", address("nas"), Request::WakeUpTime(time("06:30:00")));
    assert_eq!((home.reply(ask), &home.lookups[..]), (None, &[address("nas")][..]));
    home.feed(Input::NeighbourLooked { address: address("nas"), mac: Some("00:00:00:00:00:02".parse().unwrap()) });
    assert!(matches!(home.reply(ask), Some(Reply::No(AskError::NotAuthorized(_)))));
    assert_eq!(home.journal.last().unwrap().ending, Ending::Declined);
}

#[test]
fn a_known_appliance_may_call_from_another_address_of_its_own_network_card() {
    let mut home = Home::with_tv(On);
    let other: IpAddr = "fe80::1".parse().unwrap();
    let ask = home.appliance_at("tv", other, Request::WakeUpTime(time("06:30:00")));
    home.feed(Input::NeighbourLooked { address: other, mac: Some(MAC.parse().unwrap()) });
    home.disk(Ok(()));
    assert!(matches!(home.reply(ask), Some(Reply::Registered(_))));
}

#[test]
fn an_appliance_not_found_yet_is_taken_at_its_word_and_bound_to_its_address() {
    let mut home = Home::new();
    home.register("tv", Request::WakeUpTime(time("06:30:00")));
    assert_eq!((home.state("tv"), home.is_reachable("tv")), (None, false));
    let ask = home.appliance_at("tv", address("nas"), Request::WakeUpTime(time("07:30:00")));
    assert!(matches!(home.reply(ask), Some(Reply::No(AskError::NotAuthorized(_)))));
}

#[test]
fn registrations_of_one_appliance_are_bounded() {
    let mut home = Home::with_tv(On);
    for minute in 0..32 {
        home.register("tv", Request::WakeUpTime(TimeOfDay::new(6, minute, 0).unwrap()));
    }
    let ask = home.appliance("tv", Request::WakeUpTime(time("07:00:00")));
    assert_eq!(home.reply(ask), Some(Reply::No(AskError::Registration(RegistrationError::Full))));
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

#[test]
fn in_a_nostandby_period_the_gateway_does_not_send_gotostandby_and_says_why() {
    let mut home = Home::with_tv(On);
    home.at("2026-11-22T12:00:00Z");
    let reg = home.register("tv", Request::NoStandbyPeriod(window("22:00:00", "14:00:00")));
    let ask = home.person("tv", Verb::Standby);
    let outcome = home.outcome(ask);
    assert_eq!(outcome.ending, Ending::Declined);
    assert_eq!(outcome.reason, format!("NoStandbyPeriod 22:00:00 14:00:00 (RegID {reg}) forbids it now"));
    assert!(!home.orders().contains(&Order::GoToStandby));
    assert_eq!(home.journal.last().unwrap().ending, Ending::Declined);
    home.at("2026-11-22T13:00:01Z");
    home.person("tv", Verb::Standby);
    assert!(home.orders().contains(&Order::GoToStandby), "14:00:01 in Berlin is after the window");
}

#[test]
fn a_standby_command_repeated_into_a_nostandby_period_is_given_up() {
    let mut home = Home::with_tv(On);
    home.at("2026-11-22T12:59:58Z");
    home.register("tv", Request::NoStandbyPeriod(window("14:00:00", "15:00:00")));
    let ask = home.person("tv", Verb::Standby);
    while home.reply(ask).is_none() {
        home.fail_all();
        home.step();
    }
    assert_eq!(home.outcome(ask).ending, Ending::Declined);
}

#[test]
fn a_standby_period_over_a_nostandby_period_is_declined_and_a_later_window_withdraws_it() {
    let mut home = Home::with_tv(On);
    let period = Verb::Period(window("01:00:00", "05:00:00"));
    let reg = RegId::new(17).unwrap();
    let ask = home.person("tv", period);
    home.answer(Order::StandbyPeriod(window("01:00:00", "05:00:00")), Ok(Answer::Obeyed(Some(reg))));
    assert_eq!((home.outcome(ask).ending, home.outcome(ask).reg), (Ending::Done, Some(reg)));

    let no_standby = home.register("tv", Request::NoStandbyPeriod(window("04:00:00", "06:00:00")));
    home.answer(Order::Withdraw(reg), obeyed());
    let entry = home.journal.last().unwrap();
    assert_eq!((&*entry.action, entry.cause), ("Withdraw 17", Cause::Registration(no_standby)));

    let ask = home.person("tv", period);
    assert_eq!(home.outcome(ask).ending, Ending::Declined);
}

// What people ask for.

#[test]
fn a_person_withdraws_what_is_kept_here_and_what_the_appliance_keeps() {
    let mut home = Home::with_tv(On);
    let there = RegId::new(900).unwrap();
    home.person("tv", Verb::Period(window("01:00:00", "05:00:00")));
    home.answer(Order::StandbyPeriod(window("01:00:00", "05:00:00")), Ok(Answer::Obeyed(Some(there))));
    let here = home.register("tv", Request::WakeUpTime(time("06:30:00")));

    let ask = home.ask_person(Wanted::Withdraw(here, None));
    home.disk(Ok(()));
    assert_eq!(home.reply(ask), Some(Reply::Withdrawn(Key::Here(here))));

    let ask = home.ask_person(Wanted::Withdraw(there, None));
    home.answer(Order::Withdraw(there), obeyed());
    assert_eq!(home.outcome(ask).ending, Ending::Done);
    assert_eq!(home.gateway.registrations().iter().count(), 0);
    let ask = home.ask_person(Wanted::Withdraw(there, None));
    assert_eq!(home.reply(ask), Some(Reply::No(AskError::Registration(RegistrationError::Unknown(there)))));
}

#[test]
fn a_regid_used_by_gateway_and_appliance_must_be_told_apart() {
    let mut home = Home::with_tv(On);
    home.find("nas");
    let reg = home.register("tv", Request::WakeUpTime(time("06:30:00")));
    home.person("nas", Verb::Period(window("01:00:00", "05:00:00")));
    home.answer(Order::StandbyPeriod(window("01:00:00", "05:00:00")), Ok(Answer::Obeyed(Some(reg))));
    let ask = home.ask_person(Wanted::Withdraw(reg, None));
    let Some(Reply::No(AskError::Registration(RegistrationError::Ambiguous(_, whose)))) = home.reply(ask) else {
        panic!("{:?}", home.reply(ask));
    };
    assert_eq!(whose.len(), 2);
    home.ask_person(Wanted::Withdraw(reg, Some(udn("nas"))));
    assert!(home.orders().contains(&Order::Withdraw(reg)));
}

#[test]
fn only_an_appliance_that_is_gone_can_be_forgotten_and_its_registrations_go_with_it() {
    let mut home = Home::with_tv(On);
    home.register("tv", Request::WakeUpTime(time("06:30:00")));
    let ask = home.ask_person(Wanted::Forget(udn("tv")));
    assert_eq!(home.reply(ask), Some(Reply::No(AskError::StillThere)));
    home.feed(Input::Gone { udn: udn("tv"), why: "it said goodbye" });
    let ask = home.ask_person(Wanted::Forget(udn("tv")));
    assert_eq!(home.reply(ask), Some(Reply::Forgotten));
    let home = home.restart();
    assert!(home.gateway.registry().is_empty());
    assert_eq!(home.gateway.registrations().iter().count(), 0);
}

#[test]
fn ten_thousand_bogus_appliances_do_not_push_out_the_real_ones() {
    let mut home = Home::with_tv(On);
    home.find("nas");
    home.tell("nas", Standby);
    for n in 0..10_000 {
        let name = format!("bogus-{n}");
        home.find(&name);
        home.feed(Input::Gone { udn: udn(&name), why: "it said goodbye" });
        home.calls.clear();
    }
    assert_eq!(home.gateway.registry().len(), heg::limits::APPLIANCES_MAX);
    assert_eq!((home.state("tv"), home.state("nas")), (Some(On), Some(Standby)));
}

// A home in virtual time.

const POLL: Duration = Duration::from_secs(300);
const PATIENCE: Patience = Patience { command: Duration::from_secs(20), wake: Duration::from_secs(90) };
const MAC: &str = "02:00:00:00:00:01";

struct Home {
    gateway: Gateway,
    now: Now,
    calls: Vec<(CallTag, Udn, Order)>,
    packets: Vec<BootTime>,
    lookups: Vec<IpAddr>,
    searches: usize,
    replies: BTreeMap<AskId, Reply>,
    journal: Vec<Entry>,
    to_disk: Vec<(AskId, Key, Option<Registration>)>,
    profiles: BTreeMap<Udn, Profile>,
    registrations: BTreeMap<Key, Registration>,
    last_reg: u32,
    next_ask: u64,
}

fn settings() -> Settings {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    Settings { poll_every: POLL, patience: PATIENCE, overrides: BTreeMap::new(), zone }
}

impl Home {
    fn new() -> Self {
        let now = Now {
            boot: BootTime::from_duration(Duration::from_secs(1000)),
            wall: "2026-11-22T10:00:00Z".parse().unwrap(),
        };
        Self::start(Restored::default(), now)
    }

    fn start(restored: Restored, now: Now) -> Self {
        let profiles = restored.appliances.iter().map(|p| (p.udn.clone(), p.clone())).collect();
        let registrations = restored.registrations.iter().map(|r| (r.key(), r.clone())).collect();
        let last_reg = restored.last_reg;
        let mut home = Self {
            gateway: Gateway::new(settings(), restored, now),
            now,
            calls: vec![],
            packets: vec![],
            lookups: vec![],
            searches: 0,
            replies: BTreeMap::new(),
            journal: vec![],
            to_disk: vec![],
            profiles,
            registrations,
            last_reg,
            next_ask: 1,
        };
        home.drain();
        home
    }

    /// A home with a television set whose network card is known, in that state.
    fn with_tv(state: PowerState) -> Self {
        let mut home = Self::new();
        home.find("tv");
        home.feed(Input::NeighbourLooked { address: address("tv"), mac: Some(MAC.parse::<MacAddress>().unwrap()) });
        home.answer(Order::GetPowerState, Ok(Answer::PowerState(state)));
        home.answer(Order::WakeUpMethod, Ok(Answer::WakeMethod(WakeMethod::Wol)));
        home
    }

    fn asleep() -> Self {
        let mut home = Self::with_tv(On);
        home.tell("tv", Standby);
        home
    }

    fn restart(self) -> Self {
        let wall = self.now.wall;
        self.restart_at(&wall.to_string())
    }

    fn restart_at(self, wall: &str) -> Self {
        let restored = Restored {
            appliances: self.profiles.into_values().collect(),
            registrations: self.registrations.into_values().collect(),
            last_reg: self.last_reg,
            ..Restored::default()
        };
        Self::start(restored, Now { boot: self.now.boot, wall: wall.parse().unwrap() })
    }

    fn feed(&mut self, input: Input) {
        self.gateway.handle(input, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.gateway.poll_effect() {
            match effect {
                Effect::Call { call, udn, order } => self.calls.push((call, udn, order)),
                Effect::SendMagicPacket { .. } => self.packets.push(self.now.boot),
                Effect::LookUpNeighbour(address) => self.lookups.push(address),
                Effect::Search => self.searches += 1,
                Effect::SaveAppliance(udn) => {
                    let profile = self.gateway.registry().get(&udn).unwrap().profile().clone();
                    self.profiles.insert(udn, profile);
                }
                Effect::DropAppliance(udn) => drop(self.profiles.remove(&udn)),
                Effect::SaveRegistration { ask: Some(ask), registration } => {
                    self.to_disk.push((ask, registration.key(), Some(registration)));
                }
                Effect::SaveRegistration { ask: None, registration } => {
                    self.write(registration.key(), Some(registration))
                }
                Effect::DropRegistration { ask: Some(ask), key } => self.to_disk.push((ask, key, None)),
                Effect::DropRegistration { ask: None, key } => self.write(key, None),
                Effect::Journal(entry) => self.journal.push(entry),
                Effect::Answer { ask, reply } => drop(self.replies.insert(ask, reply)),
                Effect::ControlEnded { .. } | Effect::Changed(_) => {}
            }
        }
    }

    fn write(&mut self, key: Key, registration: Option<Registration>) {
        if let Key::Here(reg) = key {
            self.last_reg = self.last_reg.max(reg.number());
        }
        match registration {
            Some(registration) => drop(self.registrations.insert(key, registration)),
            None => drop(self.registrations.remove(&key)),
        }
    }

    fn disk(&mut self, result: Result<(), &str>) {
        for (ask, key, registration) in std::mem::take(&mut self.to_disk) {
            if result.is_ok() {
                self.write(key, registration);
            }
            self.feed(Input::Saved { ask, result: result.map_err(str::to_owned) });
        }
    }

    /// To the next time the gateway wants, at most an hour ahead.
    fn step(&mut self) {
        self.step_within(Duration::from_secs(3600));
    }

    fn step_within(&mut self, most: Duration) {
        let at = self.gateway.poll_timeout().unwrap_or(self.now.boot + most).min(self.now.boot + most);
        let ahead = at.since(self.now.boot).max(Duration::from_millis(1));
        self.now.boot = self.now.boot + ahead;
        self.now.wall = self.now.wall.checked_add(ahead).unwrap();
        self.gateway.handle_timeout(self.now);
        self.drain();
    }

    fn sleep(&mut self, span: Duration) {
        let until = self.now.boot + span;
        while self.now.boot < until {
            self.step_within(until.since(self.now.boot));
        }
    }

    /// Sets the wall clock; nothing is told to the gateway.
    fn at(&mut self, wall: &str) {
        self.now.wall = wall.parse().unwrap();
        self.feed(Input::ClockChanged);
    }

    fn find(&mut self, name: &str) {
        self.feed(Input::Found(Found {
            udn: udn(name),
            name: name.into(),
            maker: "Maker".into(),
            model: "Model".into(),
            address: address(name),
            offers: Offers { power_management: true, appliance_info: false },
        }));
    }

    fn tell(&mut self, name: &str, state: PowerState) {
        self.feed(Input::PowerStateTold { udn: udn(name), state });
    }

    fn state(&self, name: &str) -> Option<PowerState> {
        self.gateway.registry().get(&udn(name)).unwrap().state()
    }

    fn is_reachable(&self, name: &str) -> bool {
        self.gateway.registry().get(&udn(name)).unwrap().is_reachable()
    }

    fn orders(&self) -> Vec<Order> {
        self.calls.iter().map(|(_, _, order)| *order).collect()
    }

    fn answer(&mut self, order: Order, result: Result<Answer, CallFailure>) {
        // The latest: an earlier one may be from before the appliance was found again.
        let i = self.calls.iter().rposition(|(_, _, o)| *o == order).unwrap_or_else(|| panic!("{order:?} not called"));
        let (call, _, _) = self.calls.remove(i);
        self.feed(Input::Answered { call, result });
    }

    fn fail_all(&mut self) {
        for (call, _, _) in std::mem::take(&mut self.calls) {
            self.feed(Input::Answered { call, result: Err(no_answer()) });
        }
    }

    fn answer_all(&mut self, state: PowerState) {
        for (call, _, _) in std::mem::take(&mut self.calls) {
            self.feed(Input::Answered { call, result: Ok(Answer::PowerState(state)) });
        }
    }

    fn ask_person(&mut self, wanted: Wanted) -> AskId {
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        self.feed(Input::PersonAsks { ask, uid: 1000, wanted });
        ask
    }

    fn person(&mut self, name: &str, verb: Verb) -> AskId {
        self.ask_person(Wanted::Command(udn(name), verb))
    }

    fn appliance(&mut self, name: &str, request: Request) -> AskId {
        self.appliance_at(name, address(name), request)
    }

    fn appliance_at(&mut self, name: &str, from: IpAddr, request: Request) -> AskId {
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        self.feed(Input::ApplianceAsks { ask, from, caller: udn(name), request });
        ask
    }

    fn register(&mut self, name: &str, request: Request) -> RegId {
        let ask = self.appliance(name, request);
        self.disk(Ok(()));
        match self.reply(ask) {
            Some(Reply::Registered(reg)) => reg,
            other => panic!("{other:?}"),
        }
    }

    fn withdraw(&mut self, name: &str, reg: RegId) -> Result<(), AskError> {
        let ask = self.appliance(name, Request::Withdraw(reg));
        self.disk(Ok(()));
        match self.reply(ask) {
            Some(Reply::Withdrawn(_)) => Ok(()),
            Some(Reply::No(error)) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    fn reply(&self, ask: AskId) -> Option<Reply> {
        self.replies.get(&ask).cloned()
    }

    fn outcome(&self, ask: AskId) -> Outcome {
        match self.reply(ask) {
            Some(Reply::Outcome(outcome)) => outcome,
            other => panic!("no outcome: {other:?}"),
        }
    }

    /// When the next wake-ups send their first packet; each succeeds at once.
    fn next_wakes(&mut self, n: usize) -> Vec<String> {
        let mut at = vec![];
        while at.len() < n {
            self.packets.clear();
            while self.packets.is_empty() {
                self.step();
            }
            at.push(self.now.wall.to_string());
            self.find("tv");
            self.answer_all(On);
            self.tell("tv", Standby);
            self.calls.clear();
        }
        at
    }
}

fn udn(name: &str) -> Udn {
    Udn::parse(&format!("uuid:{name}")).unwrap()
}

fn address(name: &str) -> IpAddr {
    match name {
        "tv" => "10.0.0.1".parse().unwrap(),
        _ => "10.0.0.2".parse().unwrap(),
    }
}

fn time(text: &str) -> TimeOfDay {
    text.parse().unwrap()
}

fn window(start: &str, end: &str) -> DailyWindow {
    DailyWindow::new(time(start), time(end)).unwrap()
}

fn obeyed() -> Result<Answer, CallFailure> {
    Ok(Answer::Obeyed(None))
}

fn no_answer() -> CallFailure {
    CallFailure::NoAnswer("connection refused".into())
}

#[test]
fn a_registration_by_a_person_is_told_from_the_appliances_own() {
    let mut home = Home::with_tv(On);
    let ask = home.ask_person(Wanted::Register(udn("tv"), Wish::WakeUp(time("06:30:00"))));
    home.disk(Ok(()));
    let Some(Reply::Registered(reg)) = home.reply(ask) else { panic!("{:?}", home.reply(ask)) };
    assert_eq!(home.gateway.registrations().iter().next().unwrap().by, Registrant::Person(1000));
    assert_eq!(home.withdraw("tv", reg), Err(AskError::Registration(RegistrationError::Foreign(reg))));
}
