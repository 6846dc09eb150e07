//! Which decisions leave the home.

use heg::gateway::AskId;
use heg::journal::{Cause, Ending, Entry};
use heg::rules::RuleId;
use heg::utility::{Allowed, Input, Slot};
use utility_wire::limits::DECISIONS_MAX;
use utility_wire::{Message as _, Report};

use crate::house::{House, T0, id, now, udn};

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
            ("plan on", Cause::Rule(RuleId::Made(3)), Ending::Decided),
            ("OperationOn", Cause::Utility(id(7)), Ending::Done),
            ("OperationOn", Cause::Utility(id(7)), Ending::Refused),
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
    let expected = [
        "tv plan off by price: decided",
        "tv OperationOff by person: refused",
        "tv plan on by rule: decided",
        "tv OperationOn by utility:7: done",
        "tv OperationOn by utility:7: refused",
    ];
    assert_eq!(words, expected);
    // The home's own tariff, rules and people's orders, and what an appliance says, are not the utility's business.
    let reasons: Vec<_> = told.iter().map(|d| d.reason.as_str()).collect();
    assert_eq!(reasons, ["", "", "", "0.42 EUR/kWh now", ""]);
    assert!(told.iter().all(|d| d.at.seconds() >= T0));
    // Decided while it was allowed, and not on its way when it no longer was.
    house.utility.journalled(&entry("tv", "plan on", Cause::Price, Ending::Decided), house.now);
    house.feed(Input::Said { ask: AskId(2), uid: 1000, of: Some(udn("tv")), yes: false });
    house.pass(600);
    assert!(house.answer_reports(300).iter().all(|report| report.decisions.is_empty()));
}

#[test]
fn a_consent_taken_back_in_an_outage_takes_decisions_out_of_the_batches_that_wait() {
    let mut house = House::with_tv(Allowed::None);
    house.until_report();
    house.answer_reports(300);
    house.feed(Input::Said { ask: AskId(1), uid: 1000, of: Some(udn("tv")), yes: true });
    house.fail_all("no route");
    let (at, udn_tv) = (house.now.wall, Some(udn("tv")));
    let (action, reason) = ("plan off".into(), "".into());
    let entry = Entry { at, udn: udn_tv, action, cause: Cause::Price, ending: Ending::Decided, reason };
    house.utility.journalled(&entry, house.now);
    house.pass(1800);
    let waiting = |house: &House| -> usize {
        let batches = house.disk.iter().filter(|(slot, _)| matches!(slot, Slot::Batch(_)));
        batches.map(|(_, body)| Report::decode(body).unwrap().decisions.len()).sum()
    };
    assert_eq!(waiting(&house), 1);
    house.feed(Input::Said { ask: AskId(2), uid: 1000, of: Some(udn("tv")), yes: false });
    assert_eq!(waiting(&house), 0, "on the disk");
    // What was on its way then did not arrive.
    house.fail_all("no route");
    house.pass(1800);
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
