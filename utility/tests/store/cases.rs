//! What a store does, whatever database is behind it.

use std::collections::BTreeSet;
use std::time::Duration;

use energy_model::{Importance, PowerState, WattHours, Watts};
use futures_util::future::{BoxFuture, join_all};
use secure_http::Serial;
use serde_json::json;
use tokio::time::timeout;
use utility::events::{ControlDraft, LimitDraft, LimitStatus, Progress, Target};
use utility::rules::{Memory, Quantity, Reading, Rules};
use utility::sites::{Site, SiteId};
use utility::store::{
    Added, Held, Hint, MembershipRow, MeterInterval, Proof, Role, SiteQuery, Store, StoreError, Taking, Token,
};
use utility_wire::*;

use crate::keys::{adoption, statement, taking};
use crate::messages::{take_outcome, take_report};

type Case = fn(Store) -> BoxFuture<'static, ()>;

macro_rules! cases {
    ($($name:ident)*) => {
        /// Every case with its name.
        pub(crate) const ALL: &[(&str, Case)] = &[$((stringify!($name), |store| Box::pin($name(store)))),*];
    };
}

cases! {
    a_site_is_taken_up_once_and_found_by_its_group
    a_report_is_stored_once_however_often_it_comes
    a_message_is_taken_once_and_its_number_its_effect_and_its_evidence_are_one
    keys_begin_anew_only_when_an_operator_says_so_and_then_the_window_does_too
    the_membership_is_one_replicas_at_a_time_and_written_only_by_that_one
    a_report_that_was_long_on_its_way_does_not_undo_what_a_later_one_said
    consumption_fills_its_gaps_and_merged_intervals_take_the_place_of_small_ones
    the_largest_report_is_taken_whole
    decisions_are_kept_once_in_order_and_forgotten_when_they_are_old
    prices_are_versioned_and_served_as_stored_bytes
    a_limit_is_superseded_and_cancelled_and_homes_learn_of_it_by_version
    homes_answer_a_limit_and_the_latest_word_counts
    an_appliance_is_controlled_with_consent_and_the_outcome_comes_back_once
    the_log_has_every_change_in_order_also_when_many_write_at_once
    work_that_fails_leaves_nothing_and_harms_nobody_beside_it
    a_token_is_known_by_its_secret_only_and_the_last_admin_stays
    a_rules_step_is_taken_once
    who_waits_is_told_after_the_commit_and_not_of_what_failed
    what_is_old_is_forgotten
}

const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> UnixTime {
    UnixTime::new(NOW + seconds)
}

fn site_id(i: u32) -> SiteId {
    format!("2fac1234-31f8-41b4-a222-{i:012x}").parse().unwrap()
}

fn site(i: u32, group: &str) -> Site {
    Site {
        id: site_id(i),
        name: format!("Home {i}"),
        zone: "SE3".parse().unwrap(),
        group: group.parse().unwrap(),
        added: at(0),
        last_contact: None,
        last_report: None,
    }
}

async fn with_sites(store: &Store) {
    for (i, group) in [(1, "north/feeder-7"), (2, "north/feeder-70"), (3, "north"), (4, "south")] {
        assert_eq!(store.add_site(&site(i, group), "operator:anna", at(0)).await.unwrap(), Added::New);
    }
}

fn appliance(id: &str, state: Option<PowerState>, consents: bool) -> ApplianceReport {
    ApplianceReport {
        id: id.parse().unwrap(),
        name: "Freezer".parse().unwrap(),
        state,
        since: at(0),
        power: Some(Watts::new(90)),
        rated: None,
        importance: Some(Importance::Critical),
        flexibility: None,
        consents,
    }
}

fn report(batch: u64, made: u64) -> Report {
    Report {
        batch,
        made: at(made),
        complete: false,
        appliances: List::empty(),
        consumption: List::empty(),
        gaps: List::empty(),
        decisions: List::empty(),
    }
}

fn run(start: u64, length: u32, wh: &[u32]) -> Consumption {
    Consumption {
        of: None,
        start: at(start),
        interval: IntervalLength::new(length).unwrap(),
        energy: List::fill(wh.iter().copied().map(WattHours::new)),
    }
}

fn limit(target: &str) -> LimitDraft {
    LimitDraft {
        target: target.parse().unwrap(),
        supersedes: None,
        start: at(600),
        duration_s: Some(1800),
        watts: Watts::new(4200),
        priority: 1,
        randomise_s: 0,
        reason: "peak".to_owned(),
    }
}

async fn a_site_is_taken_up_once_and_found_by_its_group(store: Store) {
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

async fn a_report_is_stored_once_however_often_it_comes(store: Store) {
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

async fn a_report_that_was_long_on_its_way_does_not_undo_what_a_later_one_said(store: Store) {
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

async fn consumption_fills_its_gaps_and_merged_intervals_take_the_place_of_small_ones(store: Store) {
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

async fn the_largest_report_is_taken_whole(store: Store) {
    with_sites(&store).await;
    let mut all = report(1, 0);
    all.appliances = List::fill((0..256).map(|i| appliance(&format!("appliance-{i:03}"), None, false)));
    all.consumption = List::fill([run(0, 900, &[7; 672])]);
    take_report(&store, &site_id(1), &all, at(9_999_999)).await.unwrap();
    assert_eq!(store.appliances(&site_id(1)).await.unwrap().len(), 256);
    let used = store.consumption(&site_id(1), None, (at(0), at(9_999_999)), 1000).await.unwrap();
    assert_eq!((used.len(), used.last().map(|i| i.start)), (672, Some(at(671 * 900))));
}

fn prices(zone: &str, start: u64, milli: i64) -> PriceSeries {
    let money = ("SEK".parse().unwrap(), Per::MegawattHour);
    PriceSeries::new(zone.parse().unwrap(), 0, money, at(start), 900, vec![milli; 96]).unwrap()
}

async fn decisions_are_kept_once_in_order_and_forgotten_when_they_are_old(store: Store) {
    with_sites(&store).await;
    let decision = |made: u64, action: &str| DecisionReport {
        at: at(made),
        of: "tv".parse().unwrap(),
        action: action.parse().unwrap(),
        cause: "price".parse().unwrap(),
        outcome: "decided".parse().unwrap(),
        reason: "0.42 EUR/kWh now".parse().unwrap(),
    };
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

async fn prices_are_versioned_and_served_as_stored_bytes(store: Store) {
    let zone: ZoneId = "SE3".parse().unwrap();
    assert_eq!(store.price_version(&zone).await.unwrap(), 0);
    assert_eq!(store.publish_prices(&prices("SE3", 0, 1), "operator:anna", at(10)).await.unwrap(), 1);
    assert_eq!(store.publish_prices(&prices("SE4", 0, 2), "operator:anna", at(10)).await.unwrap(), 1);
    let before = store.object("prices/SE3").await.unwrap().unwrap();
    assert_eq!(store.publish_prices(&prices("SE3", 86_400, -3), "operator:anna", at(20)).await.unwrap(), 2);
    assert!(matches!(
        store.publish_prices(&prices("SE3", 0, 1), "operator:anna", at(86_400)).await,
        Err(StoreError::Conflict(_))
    ));

    let index = store.object("prices/SE3").await.unwrap().unwrap();
    assert!(index.etag != before.etag && index.etag.starts_with('"') && index.version == 2);
    let listed = PriceIndex::decode(&index.content).unwrap();
    assert_eq!(listed.series.iter().map(|s| (s.version, s.start)).collect::<Vec<_>>(), [(2, at(86_400)), (1, at(0))]);
    let second = store.object("prices/SE3@2").await.unwrap().unwrap();
    assert_eq!(PriceSeries::decode(&second.content).unwrap(), prices("SE3", 86_400, -3).with_version(2));
    assert_eq!(store.object("prices/SE3@3").await.unwrap(), None);

    let live =
        async |now| store.prices(&zone, at(now)).await.unwrap().iter().map(|p| p.series.version()).collect::<Vec<_>>();
    assert_eq!((live(30).await, live(86_400).await, live(999_999).await), (vec![2, 1], vec![2], vec![]));
}

async fn a_limit_is_superseded_and_cancelled_and_homes_learn_of_it_by_version(store: Store) {
    with_sites(&store).await;
    let home = site(1, "north/feeder-7");
    assert_eq!(store.limits_for(&home, 0, at(0)).await.unwrap(), (0, None));
    let first = store.make_limit(&limit("north"), "operator:anna", at(0)).await.unwrap();
    let own = store.make_limit(&limit(home.id.as_str()), "operator:anna", at(0)).await.unwrap();
    let elsewhere = store.make_limit(&limit("south"), "operator:anna", at(0)).await.unwrap();
    assert_eq!([first, own, elsewhere].map(EventId::number), [1, 2, 3]);

    let told = async |have| {
        let (version, set) = store.limits_for(&home, have, at(700)).await.unwrap();
        (version, set.map(|s| s.limits.iter().map(|l| (l.id.number(), l.cancelled)).collect::<Vec<_>>()))
    };
    let (version, set) = told(0).await;
    assert_eq!(set, Some(vec![(1, false), (2, false)]));
    assert_eq!(told(version).await, (version, None), "nothing new");

    let successor = LimitDraft { supersedes: Some(first), watts: Watts::new(9000), ..limit("north") };
    let successor = store.make_limit(&successor, "operator:bo", at(700)).await.unwrap();
    store.cancel_limit(own, "operator:bo", at(700)).await.unwrap();
    let (newer, set) = told(version).await;
    assert!(newer > version);
    assert_eq!(set, Some(vec![(2, true), (4, false)]));

    // Each only once, and never across targets.
    let again = LimitDraft { supersedes: Some(first), ..limit("north") };
    assert!(matches!(store.make_limit(&again, "operator:bo", at(700)).await, Err(StoreError::Event(_))));
    assert!(matches!(store.cancel_limit(first, "operator:bo", at(700)).await, Err(StoreError::Event(_))));
    let across = LimitDraft { supersedes: Some(successor), ..limit("south") };
    assert!(matches!(store.make_limit(&across, "operator:bo", at(700)).await, Err(StoreError::Event(_))));
    let unknown = EventId::new(99).unwrap();
    assert!(matches!(store.cancel_limit(unknown, "operator:bo", at(700)).await, Err(StoreError::UnknownEvent(_))));
    let nowhere = limit(site_id(9).as_str());
    assert!(matches!(store.make_limit(&nowhere, "operator:bo", at(0)).await, Err(StoreError::UnknownSite(_))));

    let all = store.limits(None, 100).await.unwrap();
    let status: Vec<_> = all.iter().map(|l| (l.limit.id.number(), l.status(at(700)))).collect();
    use LimitStatus::*;
    assert_eq!(status, [(4, Active), (3, Active), (2, Cancelled), (1, Superseded)]);
    let north: Target = "north".parse().unwrap();
    assert_eq!(store.limits(Some(&north), 100).await.unwrap().len(), 2);

    // The group's broadcast object is what its homes would be told.
    let object = store.object("limits/north").await.unwrap().unwrap();
    let set = LimitSet::decode(&object.content).unwrap();
    assert_eq!((set.version, set.limits.len(), set.limits[0].supersedes), (object.version, 1, Some(first)));
    assert_eq!(store.object(&format!("limits/{}", home.id)).await.unwrap(), None, "a home's own are for nobody else");

    for _ in 1..64 {
        store.make_limit(&limit("north"), "operator:anna", at(700)).await.unwrap();
    }
    assert!(matches!(store.make_limit(&limit("north"), "operator:anna", at(700)).await, Err(StoreError::TooMany(_))));
}

async fn homes_answer_a_limit_and_the_latest_word_counts(store: Store) {
    with_sites(&store).await;
    let id = store.make_limit(&limit("north"), "operator:anna", at(0)).await.unwrap();
    let say = async |i, group: &str, at_s, kind| {
        take_outcome(&store, &site(i, group).id, &Outcome { id, at: at(at_s), kind }, at(99)).await
    };
    let refusal = Refusal { code: RefusalCode::OPTED_OUT, reason: "guests".parse().unwrap() };
    say(1, "north/feeder-7", 5, OutcomeKind::Started).await.unwrap();
    say(1, "north/feeder-7", 4, OutcomeKind::Received).await.unwrap();
    say(2, "north/feeder-70", 6, OutcomeKind::Received).await.unwrap();
    say(2, "north/feeder-70", 7, OutcomeKind::Refused(refusal)).await.unwrap();
    say(3, "north", 7, OutcomeKind::Started).await.unwrap();
    assert!(matches!(say(4, "south", 7, OutcomeKind::Started).await, Err(StoreError::UnknownEvent(_))));
    let answered = store.responses(id).await.unwrap();
    assert_eq!(answered.counts, [("refused".to_owned(), 1), ("started".to_owned(), 2)]);
    assert_eq!(answered.refused, [(site_id(2), RefusalCode::OPTED_OUT, "guests".to_owned())]);
    assert!(matches!(store.responses(EventId::new(99).unwrap()).await, Err(StoreError::UnknownEvent(_))));
}

async fn an_appliance_is_controlled_with_consent_and_the_outcome_comes_back_once(store: Store) {
    with_sites(&store).await;
    let mut first = report(1, 0);
    first.appliances = List::fill([appliance("freezer", None, true), appliance("tv", None, false)]);
    take_report(&store, &site_id(1), &first, at(0)).await.unwrap();
    let order = async |site: u32, appliance: &str| {
        let draft = ControlDraft {
            site: site_id(site),
            appliance: appliance.parse().unwrap(),
            action: PowerState::Standby,
            within_s: 600,
            reason: "peak".to_owned(),
        };
        store.make_control(&draft, "operator:anna", at(0)).await
    };
    assert!(matches!(order(1, "tv").await, Err(StoreError::Event(_))));
    assert!(matches!(order(1, "kettle").await, Err(StoreError::UnknownAppliance { .. })));
    assert!(matches!(order(9, "tv").await, Err(StoreError::UnknownSite(_))));
    let id = order(1, "freezer").await.unwrap();
    let called_off = order(1, "freezer").await.unwrap();
    store.cancel_control(called_off, "operator:anna", at(1)).await.unwrap();

    // Told again until the home says that it has it.
    let taken = async |now| {
        store.take_controls(&site_id(1), at(now)).await.unwrap().into_iter().map(|c| c.id).collect::<Vec<_>>()
    };
    assert_eq!((taken(2).await, taken(3).await), (vec![id], vec![id]));
    assert_eq!(store.take_controls(&site_id(2), at(2)).await.unwrap(), []);
    let progress = async || store.controls(Some(&site_id(1)), 9).await.unwrap().pop().unwrap().progress;
    assert_eq!(progress().await, Progress::Sent);

    let home = site(1, "north/feeder-7");
    let say = async |of: &Site, kind| take_outcome(&store, &of.id, &Outcome { id, at: at(5), kind }, at(5)).await;
    say(&home, OutcomeKind::Received).await.unwrap();
    assert_eq!(taken(6).await, []);
    assert!(matches!(say(&site(2, "north"), OutcomeKind::Done).await, Err(StoreError::UnknownEvent(_))));
    let refusal = Refusal { code: RefusalCode::new(802), reason: "a film is on".parse().unwrap() };
    for kind in [OutcomeKind::Refused(refusal.clone()), OutcomeKind::Refused(refusal), OutcomeKind::Done] {
        say(&home, kind).await.unwrap();
    }
    assert_eq!(progress().await, Progress::Refused(RefusalCode::new(802), "a film is on".to_owned()));
    let outcomes: Vec<_> =
        store.changes(0, 100).await.unwrap().into_iter().filter(|c| c.action == "control.outcome").collect();
    assert_eq!(outcomes.len(), 2, "received and refused, each once");
    assert_eq!(outcomes[1].actor, format!("site:{}", site_id(1)));
    assert_eq!((&outcomes[1].detail["code"], &outcomes[1].detail["reason"]), (&json!("802"), &json!("a film is on")));
    assert!(matches!(store.cancel_control(id, "operator:anna", at(6)).await, Err(StoreError::Conflict(_))));

    for _ in 0..64 {
        order(1, "freezer").await.unwrap();
    }
    assert!(matches!(order(1, "freezer").await, Err(StoreError::TooMany(_))));
    assert_eq!(taken(7).await.len(), 32, "more follow with the next poll");
    assert_eq!(taken(600).await, [], "too late");
}

async fn the_log_has_every_change_in_order_also_when_many_write_at_once(store: Store) {
    let made = join_all((0..40).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.make_limit(&limit("north"), "operator:anna", at(0)).await.unwrap().number() })
    }));
    let made: BTreeSet<u64> = made.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(made, (1..=40).collect());
    let log = store.changes(0, 1000).await.unwrap();
    assert_eq!(log.iter().map(|c| c.id).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
    assert_eq!(log.iter().map(|c| c.subject.parse().unwrap()).collect::<Vec<u64>>(), (1..=40).collect::<Vec<_>>());
    assert_eq!((log[0].actor.as_str(), log[0].action.as_str()), ("operator:anna", "limit.make"));
    assert_eq!(log[0].detail["watts"], 4200);

    store.note(at(5), "server", "rules.load", "", json!({ "rules": 3 })).await.unwrap();
    assert_eq!(store.last_change().await.unwrap(), 41);
    let ids = |changes: Vec<utility::store::Change>| changes.iter().map(|c| c.id).collect::<Vec<_>>();
    assert_eq!(ids(store.changes(38, 2).await.unwrap()), [39, 40]);
    assert_eq!(ids(store.latest_changes(2).await.unwrap()), [40, 41]);
}

async fn work_that_fails_leaves_nothing_and_harms_nobody_beside_it(store: Store) {
    with_sites(&store).await;
    taking(&store, &site_id(1), at(0)).await;
    let before = store.last_change().await.unwrap();
    let tasks = (0..60u32).map(|i| {
        let store = store.clone();
        tokio::spawn(async move {
            if i % 3 == 0 {
                let wrong = LimitDraft { supersedes: EventId::new(999), ..limit("north") };
                assert!(store.make_limit(&wrong, "operator:anna", at(0)).await.is_err());
            } else {
                take_report(&store, &site_id(1), &report(u64::from(i), 0), at(0)).await.unwrap();
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    assert_eq!(store.last_change().await.unwrap(), before);
    assert_eq!(store.limits(None, 10).await.unwrap(), []);
    assert_eq!(store.make_limit(&limit("north"), "operator:anna", at(0)).await.unwrap().number(), 1);
    for i in (0..60).filter(|i| i % 3 != 0) {
        assert_eq!(take_report(&store, &site_id(1), &report(i, 0), at(0)).await.unwrap(), BatchState::Duplicate);
    }
}

async fn a_token_is_known_by_its_secret_only_and_the_last_admin_stays(store: Store) {
    let (anna, bo) = (Token::new(&[1; 40]), Token::new(&[2; 40]));
    store.add_operator("anna", Role::Admin, &anna, "server", at(0)).await.unwrap();
    store.add_operator("bo", Role::Viewer, &bo, "operator:anna", at(1)).await.unwrap();
    assert!(matches!(
        store.add_operator("bo", Role::Admin, &Token::new(&[3; 40]), "x", at(1)).await,
        Err(StoreError::Conflict(_))
    ));
    let of = async |token: &Token| store.operator_of(token).await.unwrap().map(|o| (o.name, o.role));
    assert_eq!(of(&anna).await, Some(("anna".to_owned(), Role::Admin)));
    // Another secret behind a known beginning.
    let mut forged = [1; 40];
    forged[39] = 9;
    assert_eq!((of(&Token::new(&forged)).await, of(&Token::new(&[3; 40])).await), (None, None));
    // Found out after the row was deleted: it is there again.
    assert!(matches!(store.remove_operator("anna", "operator:anna", at(2)).await, Err(StoreError::Conflict(_))));
    assert_eq!(of(&anna).await, Some(("anna".to_owned(), Role::Admin)));
    assert!(matches!(store.remove_operator("eve", "operator:anna", at(2)).await, Err(StoreError::UnknownOperator(_))));
    store.remove_operator("bo", "operator:anna", at(2)).await.unwrap();
    assert_eq!(of(&bo).await, None);
    assert_eq!(store.operators().await.unwrap().len(), 1);
    let log =
        serde_json::to_string(&store.changes(0, 9).await.unwrap().iter().map(|c| c.detail.clone()).collect::<Vec<_>>());
    assert!(!log.unwrap().contains("0101"), "no secret in the log");
}

async fn a_rules_step_is_taken_once(store: Store) {
    let rules = Rules::parse(
        "[[rule]]\nname = 'peak'\ngroup = 'north'\nwhen = 'load above 950 kW'\nuntil = 'load below 900 kW'\nlimit = '4200 W for 30 min'\n",
    );
    let rules = rules.unwrap();
    let rule = rules.iter().next().unwrap();
    let reading = |at_s, kw: i64| Reading {
        at: at(at_s),
        group: "north".parse().unwrap(),
        quantity: Quantity::Load,
        value: kw * 1000,
    };
    let fresh = store.rule_memory("peak").await.unwrap();
    assert_eq!((fresh.version, fresh.memory), (0, Memory::default()));
    let step = rule.step(&fresh.memory, &reading(0, 960)).unwrap();
    // Two replicas saw the same reading.
    assert!(store.take_step("peak", 0, &step, at(1)).await.unwrap());
    assert!(!store.take_step("peak", 0, &step, at(1)).await.unwrap());
    let limits = store.limits(None, 9).await.unwrap();
    assert_eq!((limits.len(), limits[0].by.as_str(), limits[0].limit.start), (1, "rule:peak", at(1)));

    let memory = store.rule_memory("peak").await.unwrap();
    assert_eq!((memory.version, memory.memory.limit()), (1, Some(limits[0].limit.id)));
    assert!(rule.step(&memory.memory, &reading(0, 960)).is_none(), "after a restart the same reading is old");
    // Somebody called the limit off by hand; the release finds nothing to cancel and is no error.
    store.cancel_limit(limits[0].limit.id, "operator:anna", at(2)).await.unwrap();
    let step = rule.step(&memory.memory, &reading(60, 800)).unwrap();
    assert!(store.take_step("peak", 1, &step, at(61)).await.unwrap());
    assert_eq!(store.rule_memory("peak").await.unwrap().memory.limit(), None);
    let actions: Vec<_> = store.changes(0, 9).await.unwrap().into_iter().map(|c| c.action).collect();
    assert_eq!(actions, ["limit.make", "limit.cancel", "rule.release"]);
}

async fn next_hint(hints: &mut tokio::sync::broadcast::Receiver<Hint>) -> Hint {
    timeout(Duration::from_secs(20), hints.recv()).await.expect("a hint comes").unwrap()
}

async fn who_waits_is_told_after_the_commit_and_not_of_what_failed(store: Store) {
    with_sites(&store).await;
    let mut hints = store.hints();
    let wrong = LimitDraft { supersedes: EventId::new(999), ..limit("south") };
    store.make_limit(&wrong, "operator:anna", at(0)).await.unwrap_err();
    store.make_limit(&limit("north"), "operator:anna", at(0)).await.unwrap();
    // From before there may still be some on their way through PostgreSQL.
    while next_hint(&mut hints).await != Hint::Group("north".to_owned()) {}
    store.publish_prices(&prices("SE3", 0, 1), "operator:anna", at(0)).await.unwrap();
    while next_hint(&mut hints).await != Hint::Zone("SE3".to_owned()) {}
    store.make_limit(&limit(site_id(1).as_str()), "operator:anna", at(0)).await.unwrap();
    loop {
        match next_hint(&mut hints).await {
            Hint::Site(id) => break assert_eq!(id, site_id(1).to_string()),
            Hint::Group(group) => assert_eq!(group, "north"),
            Hint::Zone(_) | Hint::Keys(_) | Hint::Log | Hint::All => {}
        }
    }
}

async fn what_is_old_is_forgotten(store: Store) {
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

/// Two stores on one database.
pub(crate) async fn replicas(one: Store, other: Store) {
    with_sites(&one).await;
    let mut hints = other.hints();
    // A listener may still be connecting: what it missed it looks for by itself, so here we ask until one is heard.
    let made = async {
        for number in 1.. {
            assert_eq!(one.make_limit(&limit("north"), "operator:anna", at(0)).await.unwrap().number(), number);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let heard = async { while next_hint(&mut hints).await != Hint::Group("north".to_owned()) {} };
    tokio::select! {
        () = made => {}
        () = heard => {}
    }
    let first = other.limits(None, 1).await.unwrap()[0].limit.id.number();
    let stores = [one, other];
    let tasks = (0..30).map(|i| {
        let store = stores[i % 2].clone();
        tokio::spawn(async move { store.make_limit(&limit("south"), "operator:anna", at(0)).await.unwrap().number() })
    });
    let numbers: BTreeSet<u64> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(numbers.len(), 30);
    assert_eq!(numbers.first(), Some(&(first + 1)));
}

async fn a_message_is_taken_once_and_its_number_its_effect_and_its_evidence_are_one(store: Store) {
    with_sites(&store).await;
    let mut first = taking(&store, &site_id(1), at(0)).await;
    let proof = Proof { serial: Serial(1), message: b"signed".to_vec(), salt: [7; 16], body: b"body".to_vec() };
    first.evidence = Some(proof.clone());
    let taken = store.take_report(first.clone(), &report(1, 0)).await.unwrap();
    assert_eq!((taken.effect, taken.number), (BatchState::Stored, 1));
    assert!(taken.window.peek(first.seq).is_err());
    for again in [
        store.take_report(first.clone(), &report(2, 0)).await.map(|_| ()),
        store.take_poll(first.clone(), Vec::new()).await.map(|_| ()),
        store.take_number(first.clone()).await.map(|_| ()),
    ] {
        assert!(matches!(again, Err(StoreError::Replay)), "{again:?}");
    }
    // What was refused took no number of ours; a message under other keys is of the past.
    assert_eq!(store.next_number(&site_id(1)).await.unwrap(), 2);
    let other = Taking { lineage: 2, seq: first.seq + 1, ..first.clone() };
    assert!(matches!(store.take_number(other).await, Err(StoreError::Replay)));
    let evidence = store.evidence(&site_id(1), (at(0), 0)).await.unwrap();
    assert_eq!(evidence.iter().map(|e| &e.proof).collect::<Vec<_>>(), [&proof]);
    assert_eq!(store.evidence(&site_id(1), (at(0), first.seq)).await.unwrap(), []);

    // Twice at once: one of them.
    let seq = first.seq + 10;
    let both = join_all((0..8).map(|i| {
        let (store, taking) = (store.clone(), Taking { seq, ..first.clone() });
        async move { store.take_report(taking, &report(10 + i, 0)).await }
    }));
    let taken = both.await.into_iter().filter(Result::is_ok).count();
    assert_eq!(taken, 1);
    assert_eq!(store.evidence(&site_id(1), (at(0), first.seq)).await.unwrap().len(), 1);
    let lost = Taking { seq: first.seq + 1000, answers: true, ..first };
    assert_eq!(store.take_number(lost).await.unwrap().number, 4);
}

async fn keys_begin_anew_only_when_an_operator_says_so_and_then_the_window_does_too(store: Store) {
    with_sites(&store).await;
    let id = site_id(1);
    assert!(store.channel(&site_id(9)).await.unwrap().is_none());
    assert!(store.channel(&id).await.unwrap().unwrap().is_none());
    let (first, second, third) = (statement(&id, 1), statement(&id, 5), statement(&id, 7));
    store.adopt(adoption(&id, first.clone(), None, true), at(0)).await.unwrap();
    let mut one = taking(&store, &id, at(0)).await;
    one.seq = 900;
    store.take_number(one.clone()).await.unwrap();

    // A roll-over: same lineage, and the old key for a while.
    store.adopt(adoption(&id, second.clone(), Some(first.serial()), false), at(1)).await.unwrap();
    let known = store.channel(&id).await.unwrap().unwrap().unwrap();
    let shown: Vec<_> = known.statements.iter().map(|b| (b.statement.serial(), b.until)).collect();
    assert_eq!(shown, [(second.serial(), None), (first.serial(), Some(at(240)))]);
    assert!(known.window.peek(900).is_err());

    // Decided on something that is no longer so, or not allowed.
    for wrong in [
        adoption(&id, third.clone(), Some(first.serial()), false),
        adoption(&id, third.clone(), Some(second.serial()), true),
    ] {
        assert!(matches!(store.adopt(wrong, at(2)).await, Err(StoreError::Conflict(_))));
    }
    let by = ("operator:anna", "new gateway");
    store.renew_keys(&id, by, at(100), at(3)).await.unwrap();
    let anew = adoption(&id, third.clone(), Some(second.serial()), true);
    let late = store.adopt(anew, at(100)).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))), "it was for a while");
    // What the old keys vouch for ends it too.
    let next = statement(&id, 6);
    store.adopt(adoption(&id, next.clone(), Some(second.serial()), false), at(3)).await.unwrap();
    let anew = adoption(&id, third.clone(), Some(next.serial()), true);
    assert!(matches!(store.adopt(anew, at(3)).await, Err(StoreError::Conflict(_))));
    store.renew_keys(&id, by, at(100), at(3)).await.unwrap();
    assert_eq!(store.channel(&id).await.unwrap().unwrap().unwrap().renew_until, at(100));
    store.adopt(adoption(&id, third.clone(), Some(next.serial()), true), at(4)).await.unwrap();
    let known = store.channel(&id).await.unwrap().unwrap().unwrap();
    assert_eq!((known.lineage, known.renew_until.seconds(), known.statements.len()), (2, 0, 1));
    assert!(known.window.peek(900).is_ok());
    assert!(matches!(store.take_number(Taking { seq: 901, ..one }).await, Err(StoreError::Replay)));
    let kept: Vec<_> = store.statements(&id).await.unwrap().into_iter().map(|(lineage, _)| lineage).collect();
    assert_eq!(kept, [1, 1, 1, 2]);
    let log = store.latest_changes(10).await.unwrap();
    let actions: Vec<_> = log.iter().filter(|c| c.subject == id.as_str()).map(|c| c.action.as_str()).collect();
    assert_eq!(
        actions,
        ["site.add", "site.statement", "site.statement", "site.keys", "site.statement", "site.keys", "site.statement"]
    );

    store.set_host(&id, Some("192.0.2.1:8470")).await.unwrap();
    let reachable = store.reachable(at(0), "").await.unwrap();
    let shown: Vec<_> = reachable.iter().map(|r| (&r.site.id, r.site.group.as_str(), r.host.as_str())).collect();
    assert_eq!(shown, [(&id, "north/feeder-7", "192.0.2.1:8470")]);
    assert_eq!(store.reachable(at(0), id.as_str()).await.unwrap(), []);
    let call = async |now| store.begin_call(&id, 2, at(now)).await.unwrap();
    assert_eq!((call(10).await, call(11).await, call(12).await), (true, false, true), "one replica calls");
    assert!(call(5_000).await && call(13).await, "a clock that was ahead does not keep a home from being called");
    let polled = Taking { lineage: 2, poll: true, now: at(50), ..taking(&store, &id, at(50)).await };
    store.take_poll(polled, Vec::new()).await.unwrap();
    assert_eq!(store.reachable(at(50), "").await.unwrap(), [], "it comes by itself");
}

async fn the_membership_is_one_replicas_at_a_time_and_written_only_by_that_one(store: Store) {
    assert_eq!(store.membership(0).await.unwrap(), None);
    let empty = MembershipRow { version: 0, record: Vec::new() };
    assert_eq!(store.hold_membership("a", 100, 160).await.unwrap(), Held::Mine(empty.clone()));
    assert_eq!(store.hold_membership("b", 110, 170).await.unwrap(), Held::Others);
    assert_eq!(store.hold_membership("a", 120, 180).await.unwrap(), Held::Mine(empty));
    store.put_membership("a", 0, b"one".to_vec()).await.unwrap();
    for (replica, known) in [("b", 1), ("a", 0)] {
        let refused = store.put_membership(replica, known, b"two".to_vec()).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{replica} {known}");
    }
    let mut hints = store.hints();
    store.release_membership("a", Some(1)).await.unwrap();
    assert_eq!(hints.recv().await.unwrap(), Hint::Keys(1));
    let row = MembershipRow { version: 1, record: b"one".to_vec() };
    assert_eq!(store.membership(0).await.unwrap(), Some(row.clone()));
    assert_eq!(store.membership(1).await.unwrap(), None);
    assert_eq!(store.hold_membership("b", 121, 200).await.unwrap(), Held::Mine(row.clone()));
    // One that died while it had it keeps it no longer than it said.
    assert_eq!(store.hold_membership("a", 200, 260).await.unwrap(), Held::Others);
    assert_eq!(store.hold_membership("a", 201, 261).await.unwrap(), Held::Mine(row.clone()));
    // Nor one whose clock was a day ahead.
    assert_eq!(store.hold_membership("a", 90_000, 90_060).await.unwrap(), Held::Mine(row.clone()));
    assert_eq!(store.hold_membership("b", 202, 262).await.unwrap(), Held::Mine(row));
}
