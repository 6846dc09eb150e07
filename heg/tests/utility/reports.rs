//! Reports: what they tell, until they are acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use energy_model::PowerState;
use heg::gateway;
use heg::journal::Ending;
use heg::utility::{Allowed, Failure, Input, Slot};
use utility_wire::{BatchState, Message as _, Report, ReportAnswer};

use crate::house::{House, T0, now, udn};

#[test]
fn the_first_report_is_complete_the_next_tells_changes_only_and_a_change_of_state_does_not_wait() {
    let mut house = House::with_tv(Allowed::All);
    house.until_report();
    let first = house.answer_reports(300).remove(0);
    assert!(first.complete);
    let tv = &first.appliances[0];
    assert_eq!((tv.id.as_str(), tv.state, tv.consents), ("tv", Some(PowerState::On), true));
    let begun = house.now.boot;
    house.gateway_handles(gateway::Input::PowerStateTold { udn: udn("tv"), state: PowerState::Off });
    house.until_report();
    assert!(house.now.boot.since(begun) <= Duration::from_secs(5));
    let second = house.answer_reports(300).remove(0);
    assert!(!second.complete && second.batch > first.batch);
    assert_eq!(second.appliances[0].state, Some(PowerState::Off));
    assert_eq!(second.appliances[0].since.seconds(), house.utility.time(house.now).unwrap().seconds() - 3);
    // Power alone waits for its turn.
    let begun = house.now.boot;
    house.power(70);
    house.until_report();
    assert!(house.now.boot.since(begun) > Duration::from_secs(200));
}

#[test]
fn a_report_without_an_answer_is_sent_again_under_its_number_also_by_the_next_process() {
    let mut house = House::with_tv(Allowed::None);
    house.until_report();
    let (batch, body) = house.reports.remove(0);
    house.feed(Input::Reported { batch, result: Err(Failure::NoAnswer("no answer in time".into())) });
    house.power(77);
    house.until_report();
    assert_eq!(house.reports[0], (batch, body.clone()));
    let mut house = house.restart(30);
    house.until_report();
    assert_eq!(house.reports.remove(0), (batch, body));
    // It was there before: that is an acknowledgement too.
    let answer = ReportAnswer { batch, state: BatchState::Duplicate, report_after_s: 300 };
    house.feed(Input::Reported { batch, result: Ok(answer) });
    assert!(!house.disk.contains_key(&Slot::Batch(batch)));
    house.until_report();
    let waited = house.answer_reports(300).remove(0);
    assert!(waited.batch > batch && !waited.complete, "the one that waited behind it");
    house.until_report();
    let next = house.answer_reports(300).remove(0);
    assert!(next.batch > waited.batch && next.complete, "a new process tells everything once");
}

#[test]
fn a_report_that_the_utility_never_takes_is_dropped_and_told_as_a_gap() {
    let mut house = House::with_tv(Allowed::None);
    house.power(400);
    house.pass(1800);
    let (batch, body) = house.reports.remove(0);
    let why = "the utility answered: unsupported";
    house.feed(Input::Reported { batch, result: Err(Failure::NotTaken(why.into())) });
    assert!(!Report::decode(&body).unwrap().appliances.is_empty());
    house.until_report();
    let next = Report::decode(&house.reports[0].1).unwrap();
    assert!(next.batch > batch && next.complete);
    let entry = house.journal.iter().find(|e| e.ending == Ending::Refused).unwrap();
    assert_eq!(&*entry.reason, why);
}

#[test]
fn the_time_while_the_gateway_was_off_is_told_as_a_gap() {
    let mut house = House::with_tv(Allowed::None);
    house.power(400);
    house.pass(2000);
    house.answer_reports(300);
    let mut house = house.restart(2 * 3600);
    house.power(400);
    house.pass(1900);
    let told = house.answer_reports(300);
    let told: Vec<_> = told
        .into_iter()
        .chain({
            house.pass(1200);
            house.answer_reports(300)
        })
        .collect();
    let gap = told.iter().flat_map(|r| r.gaps.iter()).find(|g| g.of.is_none()).unwrap();
    assert_eq!(gap.reason, utility_wire::GapReason::Off);
    assert!(gap.end.seconds() - gap.start.seconds() >= 7200, "{gap:?}");
}

#[test]
fn a_large_home_sends_a_short_report_first_since_strangers_may_not_send_long_ones() {
    let mut house = House::start(BTreeMap::new(), 1, Allowed::None, now());
    for n in 0..250 {
        house.find(&format!("2fac1234-31f8-41b4-a222-{n:012x}"));
    }
    house.link(T0);
    house.until_report();
    let first = house.answer_reports(300).remove(0);
    assert!(first.appliances.is_empty() && !first.complete);
    house.until_report();
    let second = house.answer_reports(300).remove(0);
    assert!(second.complete && second.appliances.len() > 200, "{}", second.appliances.len());
    assert!(second.batch > first.batch);
}

#[test]
fn when_clocks_jump_times_told_stay_true() {
    let mut house = House::with_tv(Allowed::None);
    house.until_report();
    house.answer_reports(300);
    // The wall clock is set back ten years; the KMC's time goes on.
    house.now.wall = "2016-01-01T00:00:00Z".parse().unwrap();
    house.gateway_handles(gateway::Input::ClockChanged);
    house.gateway_handles(gateway::Input::PowerStateTold { udn: udn("tv"), state: PowerState::Off });
    house.until_report();
    let report = house.answer_reports(300).remove(0);
    let time = house.utility.time(house.now).unwrap().seconds();
    assert_eq!((report.made.seconds(), report.appliances[0].since.seconds()), (time, time - 3));
    // The KMC's time itself is set right by some seconds: batches still grow.
    let last = report.batch;
    house.link(time - 30);
    house.gateway_handles(gateway::Input::PowerStateTold { udn: udn("tv"), state: PowerState::On });
    house.until_report();
    assert!(house.answer_reports(300).remove(0).batch > last);
}
