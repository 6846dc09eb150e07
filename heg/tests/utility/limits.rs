//! Limits and prices, and what came of limits.

use std::time::Duration;

use energy_model::Watts;
use heg::journal::Cause;
use heg::limits::UTILITY_RETRY_MAX;
use heg::planner::Limited;
use heg::utility::{Allowed, Failure, Fetched, Input, Link, Slot};
use utility_wire::{Limit, List, OutcomeKind, PriceIndex, RefusalCode, UnixTime, Versions};

use crate::house::{CommandExt, House, T0, entry, id, kinds, limits};

#[test]
fn the_utility_learns_that_a_limit_began_and_ended_also_over_a_restart() {
    let mut house = House::with_tv(Allowed::None);
    let mut command = house.command();
    command.limits = Some(limits(5, &[(11, 900, Some(1800), 4200), (12, 7200, None, 4200)]));
    command.current.limits = 5;
    house.answer_poll(command);
    house.until_poll();
    assert_eq!(kinds(house.polls.last().unwrap()), [(11, OutcomeKind::Received), (12, OutcomeKind::Received)]);
    assert_eq!(house.next_poll(5), []);
    house.pass(900);
    house.keeps(Some(11), 0);
    assert_eq!(kinds(house.polls.last().unwrap()), [], "a million homes do not begin a poll anew for it");
    assert_eq!(house.next_poll(5), [(11, OutcomeKind::Started)]);
    let mut house = house.restart(60);
    house.until_poll();
    assert_eq!(kinds(house.polls.last().unwrap()), [(11, OutcomeKind::Started)], "it was not acknowledged");
    house.keeps(Some(11), 0);
    assert_eq!(house.next_poll(5), []);
    house.pass(1900);
    house.keeps(None, 0);
    assert_eq!(house.next_poll(5), [(11, OutcomeKind::Done)]);
    // The other is called off before it began: the utility no longer lists it, and still learns that it is over.
    let mut command = house.command();
    command.limits = Some(limits(6, &[]));
    command.current.limits = 6;
    house.answer_poll(command);
    house.until_poll();
    assert_eq!(kinds(house.polls.last().unwrap()), [(12, OutcomeKind::Done)]);
    assert_eq!(house.next_poll(6), []);
    assert!(!house.disk.keys().any(|slot| matches!(slot, Slot::Event(_))), "{:?}", house.disk.keys());
}

#[test]
fn the_utility_learns_why_a_limit_is_not_kept() {
    let mut house = House::with_tv(Allowed::None);
    let mut command = house.command();
    command.limits = Some(limits(5, &[(11, 0, None, 4200)]));
    command.current.limits = 5;
    house.answer_poll(command);
    house.keeps(Some(11), 0);
    house.until_poll();
    assert_eq!(house.next_poll(5), []);
    house.keeps(Some(11), 1100);
    house.next_poll(5);
    let (code, reason) = house.refusal(11);
    assert_eq!(code, RefusalCode::FAILED);
    assert!(reason.starts_with("it is exceeded by 1100 W"), "{reason}");
    house.keeps(Some(11), 0);
    house.keeps(Some(11), 900);
    assert_eq!(house.next_poll(5), [], "it is said once");

    let mut house = House::with_tv(Allowed::None);
    house.feed(Input::Limited(Limited { accepted: false, ..Limited::default() }));
    let mut command = house.command();
    command.limits = Some(limits(5, &[(11, 0, None, 4200)]));
    command.current.limits = 5;
    house.answer_poll(command);
    house.until_poll();
    assert_eq!(house.refusal(11), (RefusalCode::NO_CONSENT, "the people at home take no limits".into()));

    // Sent too late: over before it came.
    let mut house = House::with_tv(Allowed::None);
    house.pass(4000);
    let mut command = house.command();
    command.limits = Some(limits(5, &[(11, 0, Some(60), 4200)]));
    command.current.limits = 5;
    house.answer_poll(command);
    house.until_poll();
    assert_eq!(kinds(house.polls.last().unwrap()), [(11, OutcomeKind::Expired)]);
}

#[test]
fn a_limit_that_was_exceeded_and_is_kept_when_it_ends_is_done_after_all() {
    for kept_at_the_end in [true, false] {
        let mut house = House::with_tv(Allowed::None);
        let mut command = house.command();
        command.limits = Some(limits(5, &[(11, 0, Some(28_800), 4200)]));
        command.current.limits = 5;
        house.answer_poll(command);
        house.keeps(Some(11), 1100);
        house.next_poll(5);
        assert_eq!(house.refusal(11).0, RefusalCode::FAILED);
        house.next_poll(5);
        house.keeps(Some(11), 0);
        let mut house = house.restart(60);
        house.until_poll();
        house.keeps(Some(11), if kept_at_the_end { 0 } else { 300 });
        assert_eq!(house.next_poll(5), [], "not before it ends");
        house.pass(28_900);
        house.keeps(None, 0);
        assert_eq!(house.next_poll(5), if kept_at_the_end { vec![(11, OutcomeKind::Done)] } else { vec![] });
        house.pass(3600);
        assert_eq!(house.next_poll(5), []);
    }
}

#[test]
fn a_limit_below_the_homes_floor_or_that_never_held_is_not_told_as_kept() {
    let mut house = House::with_tv(Allowed::None);
    let mut command = house.command();
    command.limits = Some(limits(5, &[(11, 0, Some(1800), 2000), (12, 0, Some(1800), 5000)]));
    command.current.limits = 5;
    house.answer_poll(command);
    house.holds(Some(11), 4200, 0);
    house.next_poll(5);
    assert_eq!(house.refusal(11), (RefusalCode::NO_CONSENT, "not below the home's floor of 4200 W".into()));
    house.pass(1900);
    house.keeps(None, 0);
    house.next_poll(5);
    let (code, reason) = house.refusal(12);
    assert_eq!(code, RefusalCode::SUPERSEDED);
    assert!(reason.starts_with("it never held here"), "{reason}");
}

#[test]
fn limits_and_prices_hold_after_a_restart_without_the_utility_and_what_is_stale_is_said() {
    let mut house = House::with_tv(Allowed::None);
    let mut command = house.command().with_prices(3);
    command.limits = Some(limits(5, &[(11, 900, Some(7200), 4200)]));
    command.current.limits = 5;
    house.answer_poll(command);
    house.serve_prices(3, &[100, 200, -50]);
    house.fail_poll(Failure::NoAnswer("reset".into()));
    house.until_poll();
    let poll = house.polls.last().unwrap();
    assert_eq!(poll.have, Versions { prices: 3, limits: 5, policy: 1 });
    assert_eq!(kinds(poll), [(11, OutcomeKind::Received)]);
    assert_eq!(house.utility.limit_in_force(house.now), None, "it has not begun");
    house.pass(900);
    assert_eq!(house.utility.limit_in_force(house.now).unwrap().watts, Watts::new(4200));

    let mut house = house.restart_without_time(600);
    assert_eq!(house.utility.limit_in_force(house.now), None, "the time is not known");
    let kmc_only = Link { hindrance: Some("the security policy held until then".into()), ..house.ready(T0 + 1200) };
    house.feed(Input::Link(kmc_only));
    assert_eq!(house.utility.limit_in_force(house.now).unwrap().watts, Watts::new(4200));
    let time = house.utility.time(house.now).unwrap();
    assert_eq!(house.utility.known().price_at(time).unwrap().0, 200);
    assert_eq!(house.utility.known().prices_until(time), Some(UnixTime::new(T0 + 2700)));
    house.pass(3600);
    assert!(house.polls.is_empty() && house.reports.is_empty(), "no policy, no word with the utility");
    let stale = house.utility.stale(house.now).join("; ");
    for said in ["the security policy held until", "the utility was not heard since 20", "there is no price for now"] {
        assert!(stale.contains(said), "{stale}");
    }
    assert!(house.utility.status(house.now).unwrap().contains("limit 4200 W"), "{:?}", house.utility.status(house.now));
    let lost = house.journal.iter().find(|e| &*e.action == "utility lost").unwrap();
    assert!(lost.reason.contains("the security policy held"), "{}", lost.reason);
}

#[test]
fn a_limit_is_journalled_once_and_its_calling_off_too() {
    let mut house = House::with_tv(Allowed::None);
    let mut command = house.command();
    command.limits = Some(limits(5, &[(11, 0, None, 4200)]));
    for _ in 0..3 {
        house.answer_poll(command.clone());
        house.until_poll();
    }
    let mut off = limits(6, &[(11, 0, None, 4200)]);
    off.limits = List::fill(off.limits.iter().map(|l| Limit { cancelled: true, ..l.clone() }));
    command.limits = Some(off);
    house.answer_poll(command);
    let entries: Vec<_> =
        house.journal.iter().filter(|e| e.cause == Cause::Utility(id(11))).map(|e| e.action.to_string()).collect();
    assert_eq!(entries, ["limit 4200 W", "limit called off"]);
    assert_eq!(house.utility.limit_in_force(house.now), None);
}

#[test]
fn prices_that_cannot_be_fetched_are_asked_for_ever_less_often_and_an_old_copy_is_not_taken() {
    let mut house = House::with_tv(Allowed::None);
    house.answer_poll(house.command().with_prices(3));
    let mut asked = vec![];
    for _ in 0..40 {
        house.until_fetch();
        asked.push(house.now.boot);
        let object = house.fetches.pop().unwrap();
        // A cache's old index.
        let index = PriceIndex { zone: "SE3".parse().unwrap(), series: List::fill([entry(2, &[1])]) };
        house.feed(Input::Fetched { object, result: Ok(Fetched::Index(index)) });
    }
    let spans: Vec<_> = asked.windows(2).map(|w| w[1].since(w[0])).collect();
    assert!(spans.iter().all(|s| *s <= UTILITY_RETRY_MAX + Duration::from_secs(1)));
    let late: Duration = spans[20..].iter().sum();
    assert!(late > Duration::from_secs(1800), "{late:?}");
    assert_eq!(house.utility.known().series().count(), 0);
}
