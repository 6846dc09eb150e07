//! Which appliances there are and in which state: found, watched, fallen silent, known again after a restart, forgotten.

use std::time::Duration;

use energy_model::PowerState::{Off, On, Standby};
use energy_model::WakeMethod;
use heg::gateway::{Answer, AskError, Input, Order, Reply, Request, Wanted};
use heg::journal::{Cause, Ending};

use crate::home::{Home, MAC, POLL, no_answer, time, udn};

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
