//! Prices, limits and controls, and the rules that make some of them.

use energy_model::{PowerState, Watts};
use serde_json::json;
use utility::events::{ControlDraft, LimitDraft, LimitStatus, Progress, Target};
use utility::rules::{Memory, Quantity, Reading, Rules};
use utility::sites::Site;
use utility::store::{Store, StoreError};
use utility_wire::*;

use super::{appliance, at, limit, prices, report, site, site_id, with_sites};
use crate::messages::{take_outcome, take_report};

pub(super) async fn prices_are_versioned_and_served_as_stored_bytes(store: Store) {
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

pub(super) async fn a_limit_is_superseded_and_cancelled_and_homes_learn_of_it_by_version(store: Store) {
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

pub(super) async fn homes_answer_a_limit_and_the_latest_word_counts(store: Store) {
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

pub(super) async fn an_appliance_is_controlled_with_consent_and_the_outcome_comes_back_once(store: Store) {
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

pub(super) async fn a_rules_step_is_taken_once(store: Store) {
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
