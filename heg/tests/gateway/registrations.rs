//! What is registered (Table II): kept on the disk first, numbered once, withdrawn only by whom it belongs to; and what a
//! NoStandbyPeriod forbids.

use std::net::IpAddr;

use energy_model::PowerState::On;
use energy_model::{RegId, TimeOfDay};
use heg::commands::Verb;
use heg::gateway::{Answer, AskError, Input, Order, Reply, Request, Wanted};
use heg::journal::{Cause, Ending};
use heg::registrations::{Key, Registrant, RegistrationError, Wish};

use crate::home::{Home, MAC, address, obeyed, time, udn, window};

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
fn a_registration_by_a_person_is_told_from_the_appliances_own() {
    let mut home = Home::with_tv(On);
    let ask = home.ask_person(Wanted::Register(udn("tv"), Wish::WakeUp(time("06:30:00"))));
    home.disk(Ok(()));
    let Some(Reply::Registered(reg)) = home.reply(ask) else { panic!("{:?}", home.reply(ask)) };
    assert_eq!(home.gateway.registrations().iter().next().unwrap().by, Registrant::Person(1000));
    assert_eq!(home.withdraw("tv", reg), Err(AskError::Registration(RegistrationError::Foreign(reg))));
}
