//! The dealings with the utility in virtual time: facts in, orders out, a disk that may be full, a network that may be gone.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

use std::collections::BTreeMap;
use std::time::Duration;

use energy_model::{DailyWindow, PowerState, WakeMethod, Watts};
use heg::commands::{CallFailure, Patience};
use heg::gateway::{self, Answer, AskId, CallTag, Gateway, Order, Restored};
use heg::journal::{Cause, Ending, Entry};
use heg::limits::{EVENTS_OPEN_MAX, REPORT_QUEUE_BYTES_MAX, UTILITY_RETRY_MAX};
use heg::now::Now;
use heg::planner::Limited;
use heg::registry::{Found, Offers};
use heg::utility::{
    Allowed, Configured, Effect, Failure, Fetched, Input, Link, Object, Question, Settings, Slot, Utility,
};
use jiff::tz::TimeZone;
use upnp::ids::Udn;
use upnp::time::BootTime;
use utility_wire::limits::DECISIONS_MAX;
use utility_wire::{
    BatchState, Command, Control, EventId, Limit, LimitSet, List, Message as _, Outcome, OutcomeKind, Per, Poll,
    PriceEntry, PriceIndex, PriceSeries, RefusalCode, Report, ReportAnswer, UnixTime, Versions,
};

const HOME: &str = "2fac1234-31f8-41b4-a222-08002b34c003";
/// The KMC's time at the start; the wall clock says something else.
const T0: u64 = 1_800_000_000;

// Controls.

#[test]
fn a_control_is_written_down_then_carried_out_and_its_end_is_told_until_a_poll_with_it_was_answered() {
    let mut house = House::with_tv(Allowed::All);
    house.hold_disk = true;
    house.answer_poll(house.command().with_control(7, PowerState::Off, 600));
    assert!(house.calls.is_empty() && house.polls.is_empty(), "nothing before it is on the disk");
    house.disk_answers();
    assert!(house.calls.is_empty(), "nor before the disk says that it is about to be ordered");
    house.disk_answers();
    assert_eq!(house.orders(), [Order::OperationOff]);
    // The next poll says that it is here.
    house.pass(1);
    assert_eq!(kinds(&house.polls[0]), [(7, OutcomeKind::Received)]);
    house.hold_disk = false;
    house.carried_out(Order::OperationOff, PowerState::Off);
    // Nobody waits for the end of a long poll: another takes its place.
    house.pass(2);
    assert_eq!(kinds(house.polls.last().unwrap()), [(7, OutcomeKind::Done)]);
    // The answer is lost: the same is told again, and the same control again changes nothing.
    house.fail_poll(Failure::NoAnswer("connection reset".into()));
    house.until_poll();
    assert_eq!(kinds(house.polls.last().unwrap()), [(7, OutcomeKind::Done)]);
    house.answer_poll(house.command().with_control(7, PowerState::Off, 600));
    house.until_poll();
    assert!(kinds(house.polls.last().unwrap()).is_empty());
    assert!(house.orders().is_empty(), "an order known by its number is not carried out twice");
    let done = house.journal.iter().find(|e| &*e.action == "OperationOff").unwrap();
    assert_eq!((done.cause, done.ending), (Cause::Utility(id(7)), Ending::Done));
}

#[test]
fn an_outcome_right_after_a_poll_has_begun_does_not_wait_for_something_else_to_happen() {
    let mut house = House::with_tv(Allowed::All);
    house.answer_poll(house.command().with_control(7, PowerState::Standby, 600));
    house.until_poll();
    house.answer(Order::GoToStandby, Err(CallFailure::Fault { code: 802, reason: "a film is on".into() }));
    if house.polls.last().is_none_or(|poll| kinds(poll).iter().all(|(_, kind)| *kind == OutcomeKind::Received)) {
        let wait = house.utility.poll_timeout().unwrap().since(house.now.boot);
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
    }
    house.pass(2);
    assert!(matches!(kinds(house.polls.last().unwrap())[..], [(7, OutcomeKind::Refused(_))]));
}

#[test]
fn without_consent_nothing_is_sent_and_the_utility_is_told_why() {
    let mut house = House::with_tv(Allowed::None);
    house.answer_poll(house.command().with_control(7, PowerState::Off, 600));
    house.pass(2);
    assert!(house.orders().is_empty());
    let refusal = house.refusal(7);
    assert_eq!(refusal.0, RefusalCode::NO_CONSENT);
    let entry = house.journal.iter().find(|e| &*e.action == "OperationOff").unwrap();
    assert_eq!((entry.cause, entry.ending), (Cause::Utility(id(7)), Ending::Declined));
    assert_eq!(house.declined, [udn("tv")], "for whoever asks why");
    // A person allows it: the next one is carried out, and the utility learns of the consent.
    house.feed(Input::Said { ask: AskId(1), uid: 1000, of: Some(udn("tv")), yes: true });
    house.answer_poll(house.command().with_control(8, PowerState::Off, 600));
    house.pass(2);
    assert_eq!(house.orders(), [Order::OperationOff]);
    assert_eq!(house.disk.get(&Slot::Consent(Some(udn("tv")))).map(Vec::as_slice), Some(&b"yes"[..]));
    assert!(house.restart(10).utility.consent().allows(&udn("tv")), "also after a restart");
}

#[test]
fn an_appliance_that_is_not_there_and_one_that_refuses_are_told_with_their_reasons() {
    let mut house = House::with_tv(Allowed::All);
    let mut command = house.command().with_control(7, PowerState::Standby, 600);
    let stranger = Control { id: id(8), appliance: "kettle".parse().unwrap(), ..command.controls[0].clone() };
    command.controls = List::fill([command.controls[0].clone(), stranger]);
    house.answer_poll(command);
    house.answer(Order::GoToStandby, Err(CallFailure::Fault { code: 802, reason: "a film is on".into() }));
    house.pass(2);
    assert_eq!(house.refusal(7), (RefusalCode::new(802), "a film is on".into()));
    assert_eq!(house.refusal(8).0, RefusalCode::UNKNOWN_APPLIANCE);
    assert_eq!(house.utility.last_refusal().unwrap().1, "802: a film is on");
}

#[test]
fn in_a_window_without_standby_the_utility_gets_the_registration_as_its_reason() {
    let mut house = House::with_tv(Allowed::All);
    let all_day = DailyWindow::new("00:00:00".parse().unwrap(), "23:59:59".parse().unwrap()).unwrap();
    let request = gateway::Request::NoStandbyPeriod(all_day);
    let from = "10.0.0.1".parse().unwrap();
    house.gateway_handles(gateway::Input::ApplianceAsks { ask: AskId(5), from, caller: udn("tv"), request });
    house.gateway_handles(gateway::Input::Saved { ask: AskId(5), result: Ok(()) });
    house.answer_poll(house.command().with_control(7, PowerState::Standby, 600));
    house.pass(2);
    let (code, reason) = house.refusal(7);
    assert_eq!(code, RefusalCode::NO_STANDBY_PERIOD);
    assert!(reason.starts_with("NoStandbyPeriod 00:00:00 23:59:59 (RegID "), "{reason}");
}

#[test]
fn a_control_that_comes_too_late_is_expired_and_without_a_clock_nobody_judges() {
    let mut house = House::with_tv(Allowed::All);
    house.answer_poll(house.command().with_control(7, PowerState::Off, 0));
    house.pass(2);
    assert!(house.orders().is_empty());
    assert_eq!(kinds(house.polls.last().unwrap()), [(7, OutcomeKind::Expired)]);
    house.answer_poll(house.command());

    // Here before a restart, and not begun; the time is not known after it.
    house.hold_disk = true;
    house.answer_poll(house.command().with_control(8, PowerState::Off, 600));
    let mut house = house.restart_without_time(30);
    house.find_tv();
    house.pass(3600);
    assert!(house.orders().is_empty(), "who does not know the time can't say that it is not too late");
    house.link(T0 + 90);
    assert_eq!(house.orders(), [Order::OperationOff]);
}

#[test]
fn a_control_under_way_at_a_restart_is_not_ordered_twice_and_one_not_begun_is_begun() {
    for written in [true, false] {
        let mut house = House::with_tv(Allowed::All);
        house.hold_disk = true;
        house.answer_poll(house.command().with_control(7, PowerState::Off, 600));
        if written {
            house.disk_answers();
            house.disk_answers();
            assert_eq!(house.orders(), [Order::OperationOff]);
            // It is carried out, and the power fails before its end is written.
            let disk = house.disk.clone();
            house.tv_is(PowerState::Off);
            house.disk = disk;
        }
        let mut house = house.restart(60);
        house.hold_disk = false;
        if written {
            assert!(house.orders().is_empty(), "somebody may have switched it on since");
            house.until_poll();
            let (code, reason) = house.refusal(7);
            assert_eq!(code, RefusalCode::TIMED_OUT);
            assert!(reason.contains("restarted while it was carried out"), "{reason}");
            assert!(house.journal.iter().any(|e| e.cause == Cause::Utility(id(7)) && e.ending == Ending::TimedOut));
        } else {
            assert_eq!(house.orders(), [Order::OperationOff]);
            house.carried_out(Order::OperationOff, PowerState::Off);
            house.until_poll();
            assert_eq!(kinds(house.polls.last().unwrap()), [(7, OutcomeKind::Done)]);
        }
        // What was told and not acknowledged is told again by the next process.
        let mut house = house.restart(10);
        house.until_poll();
        assert_eq!(kinds(house.polls.last().unwrap()).len(), 1);
        house.answer_poll(house.command());
        house.until_poll();
        assert!(kinds(house.polls.last().unwrap()).is_empty());
    }
    // Too late to begin.
    let mut house = House::with_tv(Allowed::All);
    house.hold_disk = true;
    house.answer_poll(house.command().with_control(7, PowerState::Off, 600));
    let mut house = house.restart(3600);
    house.until_poll();
    assert!(house.orders().is_empty());
    assert_eq!(house.refusal(7).0, RefusalCode::TIMED_OUT);
}

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
    assert_eq!(house.next_poll(5), [], "the last word is said once");

    let mut house = House::with_tv(Allowed::None);
    house.feed(Input::Limited(Limited { accepted: false, holds: None, over_w: 0 }));
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
fn on_a_full_disk_a_control_is_refused_and_not_carried_out() {
    let mut house = House::with_tv(Allowed::All);
    house.full = true;
    house.answer_poll(house.command().with_control(7, PowerState::Off, 600));
    house.pass(2);
    assert!(house.orders().is_empty());
    assert_eq!(house.refusal(7), (RefusalCode::FAILED, "it cannot be stored now: the disk is full".into()));
}

#[test]
fn a_flood_of_controls_does_not_grow_what_is_kept() {
    let mut house = House::with_tv(Allowed::None);
    house.hold_disk = true;
    for n in 0..20 {
        let mut command = house.command();
        let control = |i: u64| house.command().with_control(1 + n * 32 + i, PowerState::Off, 600).controls[0].clone();
        command.controls = List::fill((0..32).map(control));
        house.feed(Input::Commanded(command));
    }
    assert_eq!(house.utility.controls().count(), EVENTS_OPEN_MAX);
}

// Decisions.

#[test]
fn decisions_leave_the_home_only_about_appliances_whose_people_consent_and_without_saying_who_it_was() {
    let entry = |name: &str, action: &str, cause, ending| Entry {
        at: now().wall,
        udn: Some(udn(name)),
        action: action.into(),
        cause,
        ending,
        reason: "0.42 EUR/kWh now".into(),
    };
    let all = |house: &mut House| {
        for (action, cause, ending) in [
            ("plan off", Cause::Price, Ending::Decided),
            ("OperationOff", Cause::Person(1000), Ending::Refused),
            ("PowerState OFF", Cause::Appliance, Ending::Observed),
            ("rule 3: opt-out all", Cause::Person(1000), Ending::Registered),
            ("WakeUpTime 06:30:00", Cause::Appliance, Ending::Registered),
        ] {
            for name in ["tv", "nas"] {
                let entry = entry(name, action, cause, ending);
                house.utility.journalled(&entry, house.now);
            }
        }
        house
            .utility
            .journalled(&Entry { udn: None, ..entry("tv", "plan off", Cause::Price, Ending::Decided) }, house.now);
        house.pass(600);
    };
    let mut house = House::with_tv(Allowed::None);
    house.find("nas");
    house.until_report();
    house.answer_reports(300);
    all(&mut house);
    assert!(house.answer_reports(300).iter().all(|report| report.decisions.is_empty()), "nobody has said yes");
    house.feed(Input::Said { ask: AskId(1), uid: 1000, of: Some(udn("tv")), yes: true });
    all(&mut house);
    let told: Vec<_> = house.answer_reports(300).into_iter().flat_map(|report| report.decisions.to_vec()).collect();
    let words: Vec<_> = told.iter().map(|d| format!("{} {} by {}: {}", d.of, d.action, d.cause, d.outcome)).collect();
    assert_eq!(words, ["tv plan off by price: decided", "tv OperationOff by person: refused"]);
    assert!(told.iter().all(|d| d.reason.as_str() == "0.42 EUR/kWh now" && d.at.seconds() >= T0));
    // Decided while it was allowed, and not on its way when it no longer was.
    house.utility.journalled(&entry("tv", "plan on", Cause::Price, Ending::Decided), house.now);
    house.feed(Input::Said { ask: AskId(2), uid: 1000, of: Some(udn("tv")), yes: false });
    house.pass(600);
    assert!(house.answer_reports(300).iter().all(|report| report.decisions.is_empty()));
}

#[test]
fn of_many_decisions_in_an_outage_the_latest_are_told_and_nothing_grows() {
    let mut house = House::with_tv(Allowed::All);
    house.until_report();
    house.answer_reports(300);
    house.fail_all("no route");
    for n in 0..1000 {
        let action = format!("plan start {n}");
        let (udn, action) = (Some(udn("tv")), action.into());
        let (at, cause, ending, reason) = (house.now.wall, Cause::Price, Ending::Decided, "x".repeat(400).into());
        house.utility.journalled(&Entry { at, udn, action, cause, ending, reason }, house.now);
    }
    house.pass(900);
    let told: Vec<_> = house.answer_reports(300).into_iter().flat_map(|report| report.decisions.to_vec()).collect();
    assert_eq!(told.len(), DECISIONS_MAX);
    assert_eq!(told.last().unwrap().action.as_str(), "plan start 999");
}

// Limits and prices.

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

// Polls and their pace.

#[test]
fn homes_that_start_together_do_not_call_together_and_whoever_enrols_does_not_wait() {
    let mut firsts = vec![];
    for seed in 0..200 {
        let mut house = House::start(BTreeMap::new(), seed, Allowed::None, now());
        house.link(T0);
        assert_eq!(house.polls.len(), 1, "a person waits for it");
        let mut house = house.restart_with(seed, 5);
        assert!(house.polls.is_empty() || house.now.boot == BootTime::ZERO);
        let start = house.now.boot;
        house.until_poll();
        firsts.push(house.now.boot.since(start).as_secs());
    }
    firsts.sort_unstable();
    assert!(firsts[20] < 20 && firsts[100] > 40 && firsts[100] < 80 && firsts[199] <= 120, "{firsts:?}");
}

#[test]
fn the_next_poll_comes_when_the_utility_said_and_after_a_refusal_not_before_it_said() {
    let mut house = House::with_tv(Allowed::None);
    let mut command = house.command();
    command.poll_after_s = 300;
    house.answer_poll(command);
    assert_eq!(house.wait_for_poll(), 300);
    house.fail_poll(Failure::Busy { after_s: 90 });
    let waited = house.wait_for_poll();
    assert!((90..=113).contains(&waited), "{waited}");
    // A utility that answers at once and has nothing to say is not asked more than once a second.
    house.polls.clear();
    for _ in 0..10 {
        house.answer_poll(house.command());
        house.pass(1);
    }
    assert!(house.polls.len() <= 11, "{}", house.polls.len());
}

#[test]
fn an_outage_of_days_ends_without_a_burst_and_nothing_measured_is_lost() {
    let mut house = House::with_tv(Allowed::None);
    house.until_report();
    house.answer_reports(300);
    house.power(400);
    house.fail_poll(Failure::NoAnswer("connection refused".into()));
    // Three days, every attempt fails.
    let (mut polls, mut reports) = (0, 0);
    for _ in 0..3 * 24 * 60 {
        house.pass(60);
        polls += house.polls.len();
        reports += house.reports.len();
        house.fail_all("connection refused");
    }
    assert!(polls < 2000 && reports < 2000, "{polls} polls, {reports} reports");
    let (waiting, since) = house.utility.unacknowledged();
    assert!((1..=8).contains(&waiting), "{waiting}");
    assert!(since.unwrap().seconds() < T0 + 1200);
    let bytes: usize = house.disk.iter().filter(|(slot, _)| matches!(slot, Slot::Batch(_))).map(|(_, v)| v.len()).sum();
    assert!(bytes < REPORT_QUEUE_BYTES_MAX);
    assert!(house.utility.is_lost());
    assert_eq!(house.journal.iter().filter(|e| &*e.action == "utility lost").count(), 1);

    // It is back: batch after batch, apart from one another, until all are told.
    let mut told = vec![];
    let mut at = vec![];
    for _ in 0..4000 {
        house.pass(1);
        if let Some(n) = house.polls.pop() {
            drop(n);
            let mut command = house.command();
            command.poll_after_s = 60;
            house.answer_poll(command);
        }
        if !house.reports.is_empty() {
            at.push(house.now.boot);
            told.extend(house.answer_reports(300));
        }
    }
    assert!(at.windows(2).all(|w| w[1].since(w[0]) >= Duration::from_secs(5)), "no burst");
    assert_eq!(house.utility.unacknowledged().0, 0);
    assert_eq!(house.journal.iter().filter(|e| &*e.action == "utility heard again").count(), 1);
    let quarters: usize = told.iter().flat_map(|r| r.consumption.iter()).map(|run| run.energy.len()).sum();
    assert!((3 * 96..=3 * 96 + 5).contains(&quarters), "{quarters}");
    let energies: Vec<_> = told.iter().flat_map(|r| r.consumption.iter()).flat_map(|run| run.energy.iter()).collect();
    assert!(energies.iter().skip(1).all(|e| e.count() == 100), "400 W are 100 Wh in a quarter");
}

// Reports.

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

// The utility calls.

#[test]
fn a_utility_that_calls_gets_the_poll_and_its_answer_is_acted_on_like_any() {
    let mut house = House::with_tv(Allowed::All);
    house.fail_poll(Failure::NoAnswer("behind a wall".into()));
    let poll = house.utility.called(house.now).unwrap();
    assert_eq!(poll.have, Versions { prices: 0, limits: 0, policy: 1 });
    let command = house.command().with_control(7, PowerState::Off, 600);
    house.feed(Input::Commanded(command.clone()));
    house.carried_out(Order::OperationOff, PowerState::Off);
    let poll = house.utility.called(house.now).unwrap();
    assert_eq!(kinds(&poll), [(7, OutcomeKind::Done)]);
    house.feed(Input::Commanded(house.command()));
    assert!(kinds(&house.utility.called(house.now).unwrap()).is_empty());
    house.feed(Input::Commanded(command));
    assert!(house.orders().is_empty(), "known by its number");
}

#[test]
fn enrolled_anew_the_gateway_waits_for_the_name_of_its_utility_and_wastes_no_turn() {
    let mut house = House::with_tv(Allowed::All);
    let mut command = house.command();
    command.limits = Some(limits(5, &[(11, 0, None, 4200)]));
    house.answer_poll(command);
    let nameless = Link { peer: None, hindrance: Some("not named yet".into()), ..house.ready(T0 + 10) };
    house.feed(Input::Link(nameless));
    for _ in 0..100 {
        house.step(Duration::from_secs(3600));
    }
    assert!(house.now.boot.since(now().boot) > Duration::from_secs(3600), "it did not spin");
    // The same utility: what it said holds still.
    house.link(T0 + 8000);
    assert!(house.utility.limit_in_force(house.now).is_some());
}

#[test]
fn with_another_utility_nothing_of_the_old_one_holds() {
    let mut house = House::with_tv(Allowed::All);
    let mut command = house.command();
    command.limits = Some(limits(5, &[(11, 0, None, 4200)]));
    house.answer_poll(command);
    assert!(house.utility.limit_in_force(house.now).is_some());
    let other = Link { peer: Some("2fac1234-31f8-41b4-a222-0800deadbeef".into()), ..house.ready(T0 + 10) };
    house.feed(Input::Link(other));
    assert!(house.utility.limit_in_force(house.now).is_none());
    assert!(!house.disk.contains_key(&Slot::Limits) && !house.disk.contains_key(&Slot::Event(id(11))));
    assert!(house.utility.consent().allows(&udn("tv")), "consent is the home's");
}

// The house.

struct House {
    gateway: Gateway,
    utility: Utility,
    now: Now,
    allowed: Allowed,
    disk: BTreeMap<Slot, Vec<u8>>,
    full: bool,
    hold_disk: bool,
    tickets: Vec<u64>,
    polls: Vec<Poll>,
    reports: Vec<(u64, Vec<u8>)>,
    fetches: Vec<Object>,
    calls: Vec<(CallTag, Order)>,
    journal: Vec<Entry>,
    declined: Vec<Udn>,
}

trait CommandExt {
    fn with_control(self, number: u64, action: PowerState, within_s: u64) -> Self;
    fn with_prices(self, version: u64) -> Self;
}

impl CommandExt for Command {
    fn with_control(mut self, number: u64, action: PowerState, within_s: u64) -> Self {
        let expires = UnixTime::new(T0 + within_s);
        self.controls = List::fill([Control { id: id(number), appliance: "tv".parse().unwrap(), action, expires }]);
        self
    }

    fn with_prices(mut self, version: u64) -> Self {
        self.current.prices = version;
        self
    }
}

fn now() -> Now {
    let boot = BootTime::from_duration(Duration::from_secs(1000));
    Now { boot, wall: "2026-11-22T10:00:00Z".parse().unwrap() }
}

impl House {
    fn start(disk: BTreeMap<Slot, Vec<u8>>, seed: u64, allowed: Allowed, now: Now) -> Self {
        let settings = Settings {
            poll: true,
            spread: Duration::from_secs(120),
            consent: Configured { allowed: allowed.clone(), appliances: BTreeMap::new() },
        };
        let patience = Patience { command: Duration::from_secs(20), wake: Duration::from_secs(90) };
        let (poll_every, overrides) = (Duration::from_secs(300), BTreeMap::new());
        let gateway_settings = gateway::Settings { poll_every, patience, overrides, zone: TimeZone::UTC };
        let rows = disk.iter().map(|(slot, value)| (slot.clone(), value.clone())).collect();
        let gateway = Gateway::new(gateway_settings, Restored::default(), now);
        let utility = Utility::new(HOME, settings, rows, seed, now);
        Self {
            gateway,
            utility,
            now,
            allowed,
            disk,
            full: false,
            hold_disk: false,
            tickets: vec![],
            polls: vec![],
            reports: vec![],
            fetches: vec![],
            calls: vec![],
            journal: vec![],
            declined: vec![],
        }
    }

    /// A home with a television set that is on, enrolled, whose first poll is under way.
    fn with_tv(allowed: Allowed) -> Self {
        let mut house = Self::start(BTreeMap::new(), 1, allowed, now());
        house.find_tv();
        house.link(T0);
        assert_eq!(house.polls.len(), 1);
        house
    }

    fn find_tv(&mut self) {
        self.find("tv");
        self.answer(Order::GetPowerState, Ok(Answer::PowerState(PowerState::On)));
        self.answer(Order::WakeUpMethod, Ok(Answer::WakeMethod(WakeMethod::Wol)));
    }

    fn find(&mut self, name: &str) {
        self.gateway_handles(gateway::Input::Found(Found {
            udn: udn(name),
            name: name.into(),
            maker: "Maker".into(),
            model: "Model".into(),
            address: "10.0.0.1".parse().unwrap(),
            offers: Offers { power_management: true, appliance_info: false },
        }));
    }

    fn tv_is(&mut self, state: PowerState) {
        self.gateway_handles(gateway::Input::PowerStateTold { udn: udn("tv"), state });
    }

    /// How the planner keeps limits.
    fn keeps(&mut self, holds: Option<u64>, over_w: u32) {
        self.feed(Input::Limited(Limited { accepted: true, holds: holds.map(id), over_w }));
    }

    /// The poll under way is answered without news; what the next one tells.
    fn next_poll(&mut self, limits: u64) -> Vec<(u64, OutcomeKind)> {
        self.answer_poll(self.command_of(limits));
        self.until_poll();
        kinds(self.polls.last().unwrap())
    }

    /// A command with no news, from a utility whose limits have that version.
    fn command_of(&self, limits: u64) -> Command {
        let mut command = self.command();
        command.current.limits = limits;
        command
    }

    fn power(&mut self, watts: u32) {
        let power = Some(Watts::new(watts));
        self.gateway_handles(gateway::Input::InfoTold { udn: udn("tv"), power, refusal: None });
    }

    fn ready(&self, time: u64) -> Link {
        let peer = Some("2fac1234-31f8-41b4-a222-0800cafe0001".into());
        Link { enrolled: true, peer, hindrance: None, policy: 1, time: Some(UnixTime::new(time)) }
    }

    fn link(&mut self, time: u64) {
        self.feed(Input::Link(self.ready(time)));
    }

    fn restart(self, away_s: u64) -> Self {
        self.restart_with(2, away_s)
    }

    fn restart_with(self, seed: u64, away_s: u64) -> Self {
        let time = self.utility.time(self.now).unwrap().seconds() + away_s;
        let mut house = self.reborn(seed, away_s);
        house.find_tv();
        house.link(time);
        house
    }

    fn restart_without_time(self, away_s: u64) -> Self {
        self.reborn(2, away_s)
    }

    /// Another process on another boot, with what was on the disk.
    fn reborn(self, seed: u64, away_s: u64) -> Self {
        let wall = self.now.wall.checked_add(Duration::from_secs(away_s)).unwrap();
        let now = Now { boot: BootTime::from_duration(Duration::from_secs(20)), wall };
        Self::start(self.disk, seed, self.allowed, now)
    }

    fn feed(&mut self, input: Input) {
        self.utility.handle(input, &self.gateway, self.now);
        self.drain();
    }

    fn gateway_handles(&mut self, input: gateway::Input) {
        self.gateway.handle(input, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            if let Some(effect) = self.gateway.poll_effect() {
                match effect {
                    gateway::Effect::Call { call, order, .. } => self.calls.push((call, order)),
                    gateway::Effect::ControlEnded { id, outcome } => {
                        self.utility.handle(Input::Ended { id, outcome }, &self.gateway, self.now);
                    }
                    gateway::Effect::Changed(udn) => {
                        self.utility.handle(Input::Appliance(udn), &self.gateway, self.now);
                    }
                    gateway::Effect::Journal(entry) => self.journal.push(entry),
                    _ => {}
                }
            } else if let Some(effect) = self.utility.poll_effect() {
                match effect {
                    Effect::Ask(Question::Poll(poll)) => self.polls.push(poll),
                    Effect::Ask(Question::Report { batch, body }) => self.reports.push((batch, body)),
                    Effect::Ask(Question::Fetch(object)) => self.fetches.push(object),
                    Effect::Order { id, udn, verb } => {
                        self.gateway.handle(gateway::Input::UtilityOrders { id, udn, verb }, self.now);
                    }
                    Effect::Save { slot, value, .. } => match value {
                        Some(value) => _ = self.disk.insert(slot, value),
                        None => _ = self.disk.remove(&slot),
                    },
                    Effect::Flush { ticket } if self.hold_disk => self.tickets.push(ticket),
                    Effect::Flush { ticket } => self.saved(ticket),
                    Effect::Journal(entry) => self.journal.push(entry),
                    Effect::Declined { udn, .. } => self.declined.push(udn),
                    Effect::Answer { .. } => {}
                }
            } else {
                return;
            }
        }
    }

    fn saved(&mut self, ticket: u64) {
        let result = if self.full { Err("the disk is full".into()) } else { Ok(()) };
        self.utility.handle(Input::Saved { ticket, result }, &self.gateway, self.now);
    }

    fn disk_answers(&mut self) {
        for ticket in std::mem::take(&mut self.tickets) {
            self.saved(ticket);
        }
        self.drain();
    }

    fn command(&self) -> Command {
        Command {
            current: Versions { prices: 0, limits: 0, policy: 1 },
            limits: None,
            controls: List::empty(),
            poll_after_s: 0,
            zone: "SE3".parse().unwrap(),
        }
    }

    fn answer_poll(&mut self, command: Command) {
        self.polls.clear();
        self.feed(Input::Polled(Ok(command)));
    }

    fn fail_poll(&mut self, failure: Failure) {
        self.polls.clear();
        self.feed(Input::Polled(Err(failure)));
    }

    fn fail_all(&mut self, why: &str) {
        if !self.polls.is_empty() {
            self.fail_poll(Failure::NoAnswer(why.into()));
        }
        for (batch, _) in std::mem::take(&mut self.reports) {
            self.feed(Input::Reported { batch, result: Err(Failure::NoAnswer(why.into())) });
        }
    }

    fn answer_reports(&mut self, report_after_s: u32) -> Vec<Report> {
        let mut all = vec![];
        for (batch, body) in std::mem::take(&mut self.reports) {
            all.push(Report::decode(&body).unwrap());
            let answer = ReportAnswer { batch, state: BatchState::Stored, report_after_s };
            self.feed(Input::Reported { batch, result: Ok(answer) });
        }
        all
    }

    fn serve_prices(&mut self, version: u64, prices: &[i64]) {
        for _ in 0..4 {
            self.pass(120);
            let Some(object) = self.fetches.pop() else { return };
            let fetched = match &object {
                Object::Index(zone) => {
                    Fetched::Index(PriceIndex { zone: zone.clone(), series: List::fill([entry(version, prices)]) })
                }
                Object::Series(..) => Fetched::Series(series(version, prices)),
            };
            // Prices hold from the time of the test's start.
            self.feed(Input::Fetched { object, result: Ok(fetched) });
        }
    }

    fn orders(&self) -> Vec<Order> {
        let commands = [Order::OperationOn, Order::OperationOff, Order::GoToStandby];
        self.calls.iter().map(|(_, order)| *order).filter(|order| commands.contains(order)).collect()
    }

    fn answer(&mut self, order: Order, result: Result<Answer, CallFailure>) {
        let at = self.calls.iter().rposition(|(_, o)| *o == order).unwrap_or_else(|| panic!("{order:?} not called"));
        let (call, _) = self.calls.remove(at);
        self.gateway_handles(gateway::Input::Answered { call, result });
    }

    fn carried_out(&mut self, order: Order, state: PowerState) {
        self.answer(order, Ok(Answer::Obeyed(None)));
        self.gateway_handles(gateway::Input::PowerStateTold { udn: udn("tv"), state });
    }

    fn refusal(&self, number: u64) -> (RefusalCode, String) {
        let told = |o: &&Outcome| o.id == id(number);
        match self.polls.last().unwrap().outcomes.iter().find(told).map(|o| o.kind.clone()) {
            Some(OutcomeKind::Refused(refusal)) => (refusal.code, refusal.reason.to_string()),
            other => panic!("{other:?}"),
        }
    }

    fn step(&mut self, most: Duration) {
        let due = [self.gateway.poll_timeout(), self.utility.poll_timeout()].into_iter().flatten().min();
        let at = due.unwrap_or(self.now.boot + most).min(self.now.boot + most);
        let ahead = at.since(self.now.boot).max(Duration::from_millis(1));
        self.now.boot = self.now.boot + ahead;
        self.now.wall = self.now.wall.checked_add(ahead).unwrap();
        self.gateway.handle_timeout(self.now);
        self.drain();
        self.utility.handle_timeout(&self.gateway, self.now);
        self.drain();
        // The television set answers when it is asked how it is.
        while let Some(at) = self.calls.iter().position(|(_, o)| *o == Order::GetPowerState) {
            let (call, _) = self.calls.remove(at);
            let state = self.gateway.registry().get(&udn("tv")).and_then(|a| a.state()).unwrap_or(PowerState::On);
            self.gateway_handles(gateway::Input::Answered { call, result: Ok(Answer::PowerState(state)) });
        }
    }

    fn pass(&mut self, seconds: u64) {
        let until = self.now.boot + Duration::from_secs(seconds);
        while self.now.boot < until {
            self.step(until.since(self.now.boot));
        }
    }

    fn until(&mut self, what: &str, is: impl Fn(&Self) -> bool) {
        for _ in 0..100_000 {
            if is(self) {
                return;
            }
            self.step(Duration::from_secs(3600));
        }
        panic!("no {what}");
    }

    fn until_poll(&mut self) {
        self.until("poll", |house| !house.polls.is_empty());
    }

    fn wait_for_poll(&mut self) -> u64 {
        let begun = self.now.boot;
        self.until_poll();
        self.now.boot.since(begun).as_secs()
    }

    fn until_report(&mut self) {
        self.until("report", |house| !house.reports.is_empty());
    }

    fn until_fetch(&mut self) {
        self.until("fetch", |house| !house.fetches.is_empty());
    }
}

fn kinds(poll: &Poll) -> Vec<(u64, OutcomeKind)> {
    poll.outcomes.iter().map(|o| (o.id.number(), o.kind.clone())).collect()
}

fn id(number: u64) -> EventId {
    EventId::new(number).unwrap()
}

fn udn(name: &str) -> Udn {
    Udn::parse(&format!("uuid:{name}")).unwrap()
}

fn limits(version: u64, all: &[(u64, u64, Option<u32>, u32)]) -> LimitSet {
    let limit = |(number, start, duration_s, watts): &(u64, u64, Option<u32>, u32)| Limit {
        id: id(*number),
        supersedes: None,
        start: UnixTime::new(T0 + start),
        duration_s: *duration_s,
        watts: Watts::new(*watts),
        priority: 0,
        randomise_s: 0,
        cancelled: false,
    };
    LimitSet { target: None, version, limits: List::fill(all.iter().map(limit)) }
}

fn series(version: u64, prices: &[i64]) -> PriceSeries {
    let money = ("SEK".parse().unwrap(), Per::KilowattHour);
    PriceSeries::new("SE3".parse().unwrap(), version, money, UnixTime::new(T0), 900, prices.to_vec()).unwrap()
}

fn entry(version: u64, prices: &[i64]) -> PriceEntry {
    let series = series(version, prices);
    PriceEntry { version, start: series.start(), end: series.end() }
}
