//! Homes, what they report, and when it is forgotten.

use energy_model::{Importance, PowerState, WattHours, Watts};
use utility::store::{Added, MeterInterval, SiteQuery, Store, StoreError};
use utility_wire::*;

use super::{appliance, at, report, run, site, site_id, with_sites};
use crate::messages::take_report;

pub(super) async fn a_site_is_taken_up_once_and_found_by_its_group(store: Store) {
    with_sites(&store).await;
    assert_eq!(store.add_site(&site(1, "north/feeder-7"), "operator:bo", at(9)).await.unwrap(), Added::Already);
    assert!(matches!(store.add_site(&site(1, "south"), "operator:bo", at(9)).await, Err(StoreError::Conflict(_))));
    store.change_site(&site(4, "north/feeder-7/t1"), "operator:bo", at(9)).await.unwrap();
    assert!(matches!(store.change_site(&site(9, "x"), "operator:bo", at(9)).await, Err(StoreError::UnknownSite(_))));

    let found = async |group: Option<&str>, after: Option<u32>, limit| {
        let query = SiteQuery { group: group.map(|g| g.parse().unwrap()), after: after.map(site_id), limit };
        store.sites(&query).await.unwrap().into_iter().map(|s| s.id).collect::<Vec<_>>()
    };
    assert_eq!(found(None, None, 100).await, [1, 2, 3, 4].map(site_id));
    assert_eq!(found(None, Some(1), 2).await, [2, 3].map(site_id));
    assert_eq!(found(Some("north/feeder-7"), None, 100).await, [1, 4].map(site_id));
    assert_eq!(found(Some("north"), None, 100).await, [1, 2, 3, 4].map(site_id));
    assert_eq!(store.site(&site_id(1)).await.unwrap().unwrap(), site(1, "north/feeder-7"));
    assert_eq!(store.site(&site_id(9)).await.unwrap(), None);

    store.heard(vec![(site_id(1), at(50)), (site_id(2), at(70)), (site_id(9), at(70))]).await.unwrap();
    store.heard(vec![(site_id(2), at(60))]).await.unwrap();
    assert_eq!(store.site(&site_id(2)).await.unwrap().unwrap().last_contact, Some(at(70)), "never back in time");
    assert_eq!(store.count_sites(at(60)).await.unwrap(), (4, 1));
}

pub(super) async fn a_report_is_stored_once_however_often_it_comes(store: Store) {
    with_sites(&store).await;
    let mut first = report(u64::MAX, 0);
    first.appliances = List::fill([appliance("freezer", Some(PowerState::On), true)]);
    first.consumption = List::fill([run(0, 900, &[250, 0])]);
    assert_eq!(take_report(&store, &site_id(1), &first, at(1)).await.unwrap(), BatchState::Stored);
    let mut again = first.clone();
    again.consumption = List::fill([run(0, 900, &[9999])]);
    assert_eq!(take_report(&store, &site_id(1), &again, at(2)).await.unwrap(), BatchState::Duplicate);
    // The same number of another home is another batch.
    assert_eq!(take_report(&store, &site_id(2), &first, at(3)).await.unwrap(), BatchState::Stored);
    assert!(matches!(take_report(&store, &site_id(9), &first, at(3)).await, Err(StoreError::UnknownSite(_))));

    let used = store.consumption(&site_id(1), None, (at(0), at(9999)), 100).await.unwrap();
    assert_eq!(used.iter().map(|i| i.energy.unwrap().count()).collect::<Vec<_>>(), [250, 0]);
    let there = store.appliances(&site_id(1)).await.unwrap();
    assert_eq!((there.len(), there[0].state, there[0].consents), (1, Some(PowerState::On), true));
    assert_eq!(
        (there[0].power, there[0].rated, there[0].importance),
        (Some(Watts::new(90)), None, Some(Importance::Critical))
    );
    let heard = store.site(&site_id(1)).await.unwrap().unwrap();
    assert_eq!((heard.last_contact, heard.last_report), (Some(at(2)), Some(at(2))));
}

pub(super) async fn a_report_that_was_long_on_its_way_does_not_undo_what_a_later_one_said(store: Store) {
    with_sites(&store).await;
    let states = async || {
        let all = store.appliances(&site_id(1)).await.unwrap();
        all.into_iter().map(|a| (a.id.to_string(), a.state)).collect::<Vec<_>>()
    };
    let send = async |batch, made, complete, appliances: Vec<ApplianceReport>| {
        let mut report = report(batch, made);
        (report.complete, report.appliances) = (complete, List::fill(appliances));
        assert_eq!(take_report(&store, &site_id(1), &report, at(1000)).await.unwrap(), BatchState::Stored);
    };
    send(2, 200, true, vec![appliance("freezer", Some(PowerState::Off), true), appliance("tv", None, false)]).await;
    // The outage is over: the batch from before it comes last.
    send(1, 100, true, vec![appliance("freezer", Some(PowerState::On), true), appliance("kettle", None, false)]).await;
    let want =
        |rows: &[(&str, Option<PowerState>)]| rows.iter().map(|(id, s)| ((*id).to_owned(), *s)).collect::<Vec<_>>();
    assert_eq!(states().await, want(&[("freezer", Some(PowerState::Off)), ("kettle", None), ("tv", None)]));
    // The next whole report puts right what the old one brought back.
    send(3, 300, true, vec![appliance("freezer", Some(PowerState::Standby), true)]).await;
    assert_eq!(states().await, want(&[("freezer", Some(PowerState::Standby))]));
    // A home too large for one report: its parts have one time, and the last says that they are all.
    send(4, 400, false, vec![appliance("kettle", None, false)]).await;
    send(5, 400, true, vec![appliance("tv", None, false)]).await;
    assert_eq!(states().await, want(&[("kettle", None), ("tv", None)]));
}

pub(super) async fn consumption_fills_its_gaps_and_merged_intervals_take_the_place_of_small_ones(store: Store) {
    with_sites(&store).await;
    let intervals = async || store.consumption(&site_id(1), None, (at(0), at(99_999)), 100).await.unwrap();
    let interval =
        |start, length_s, wh: Option<u32>| MeterInterval { start: at(start), length_s, energy: wh.map(WattHours::new) };
    let gap = |start, end| Gap { of: None, start: at(start), end: at(end), reason: GapReason::Off };

    let mut first = report(1, 0);
    first.consumption = List::fill([run(0, 300, &[1, 2, 3])]);
    first.gaps = List::fill([gap(900, 1800), gap(1800, 3600)]);
    take_report(&store, &site_id(1), &first, at(4000)).await.unwrap();
    let lost = [interval(900, 900, None), interval(1800, 1800, None)];
    assert_eq!(intervals().await[3..], lost);

    // What was thought lost comes after all.
    let mut late = report(2, 0);
    late.consumption = List::fill([run(900, 900, &[40])]);
    take_report(&store, &site_id(1), &late, at(4000)).await.unwrap();
    assert_eq!(intervals().await[3..], [interval(900, 900, Some(40)), interval(1800, 1800, None)]);

    // The gateway merged its five-minute intervals: nothing is counted twice.
    let mut merged = report(3, 0);
    merged.consumption = List::fill([run(0, 900, &[6])]);
    take_report(&store, &site_id(1), &merged, at(4000)).await.unwrap();
    let want = [interval(0, 900, Some(6)), interval(900, 900, Some(40)), interval(1800, 1800, None)];
    assert_eq!(intervals().await, want);
    assert_eq!(store.consumption(&site_id(1), None, (at(1), at(1800)), 100).await.unwrap(), [want[1].clone()]);
    assert_eq!(store.consumption(&site_id(1), Some(&"tv".parse().unwrap()), (at(0), at(9999)), 9).await.unwrap(), []);
}

pub(super) async fn the_largest_report_is_taken_whole(store: Store) {
    with_sites(&store).await;
    let mut all = report(1, 0);
    all.appliances = List::fill((0..256).map(|i| appliance(&format!("appliance-{i:03}"), None, false)));
    all.consumption = List::fill([run(0, 900, &[7; 672])]);
    take_report(&store, &site_id(1), &all, at(9_999_999)).await.unwrap();
    assert_eq!(store.appliances(&site_id(1)).await.unwrap().len(), 256);
    let used = store.consumption(&site_id(1), None, (at(0), at(9_999_999)), 1000).await.unwrap();
    assert_eq!((used.len(), used.last().map(|i| i.start)), (672, Some(at(671 * 900))));
}

pub(super) async fn decisions_are_kept_once_in_order_and_forgotten_when_they_are_old(store: Store) {
    with_sites(&store).await;
    let tv = Report { appliances: List::fill([appliance("tv", None, true)]), ..report(9, 10) };
    take_report(&store, &site_id(1), &tv, at(40)).await.unwrap();
    let decision = |made: u64, action: &str| decision("tv", made, action);
    let first = Report { decisions: List::fill([decision(10, "plan off"), decision(10, "plan on")]), ..report(1, 20) };
    let second = Report { decisions: List::fill([decision(5, "plan start")]), ..report(2, 30) };
    for report in [&first, &second, &first] {
        take_report(&store, &site_id(1), report, at(40)).await.unwrap();
    }
    let actions = async |site: u32, limit: u32| {
        let decisions = store.decisions(&site_id(site), limit).await.unwrap();
        decisions.into_iter().map(|d| d.action).collect::<Vec<_>>()
    };
    assert_eq!(actions(1, 9).await, ["plan start", "plan off", "plan on"]);
    assert_eq!(actions(1, 1).await, ["plan on"], "the latest");
    assert!(actions(2, 9).await.is_empty(), "another home's are none of it");
    store.prune(at(10)).await.unwrap();
    assert_eq!(actions(1, 9).await, ["plan off", "plan on"]);
}

pub(super) async fn decisions_are_kept_only_where_people_consent_and_go_with_their_consent(store: Store) {
    with_sites(&store).await;
    let all =
        || List::fill([decision("tv", 1, "plan off"), decision("nas", 1, "plan off"), decision("lamp", 1, "plan off")]);
    let told = |batch, made, tv| Report {
        appliances: List::fill([
            appliance("tv", None, tv),
            appliance("nas", None, true),
            appliance("oven", None, false),
        ]),
        decisions: all(),
        ..report(batch, made)
    };
    let about = async || {
        let decisions = store.decisions(&site_id(1), 9).await.unwrap();
        decisions.into_iter().map(|d| d.appliance.to_string()).collect::<Vec<_>>()
    };
    take_report(&store, &site_id(1), &told(1, 10, true), at(40)).await.unwrap();
    assert_eq!(about().await, ["tv", "nas"], "the lamp is none of the home's");
    take_report(&store, &site_id(1), &told(2, 20, false), at(40)).await.unwrap();
    assert_eq!(about().await, ["nas", "nas"], "taken back");
    // Long on its way, from before.
    take_report(&store, &site_id(1), &told(3, 15, true), at(40)).await.unwrap();
    assert_eq!(about().await, ["nas", "nas", "nas"]);
}

pub(super) async fn what_is_old_is_forgotten(store: Store) {
    with_sites(&store).await;
    for (batch, start) in [(1, 0), (2, 10_000)] {
        let mut report = report(batch, 0);
        report.consumption = List::fill([run(start, 900, &[1, 1])]);
        report.gaps =
            List::fill([Gap { of: None, start: at(start + 1800), end: at(start + 2700), reason: GapReason::Dropped }]);
        take_report(&store, &site_id(1), &report, at(start)).await.unwrap();
    }
    assert_eq!(store.prune(at(5000)).await.unwrap(), 4);
    let left = store.consumption(&site_id(1), None, (at(0), at(99_999)), 99).await.unwrap();
    assert_eq!(left.iter().map(|i| i.start).collect::<Vec<_>>(), [at(10_000), at(10_900), at(11_800)]);
}

fn decision(of: &str, made: u64, action: &str) -> DecisionReport {
    DecisionReport {
        at: at(made),
        of: of.parse().unwrap(),
        action: action.parse().unwrap(),
        cause: "price".parse().unwrap(),
        outcome: "decided".parse().unwrap(),
        reason: "0.42 EUR/kWh now".parse().unwrap(),
    }
}
