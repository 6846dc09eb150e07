//! Who writes and who waits: operators, the log, many at once, and what is told of it.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::timeout;
use utility::events::LimitDraft;
use utility::store::{Hint, Role, Store, StoreError, Token};
use utility_wire::*;

use super::{at, limit, prices, report, site_id, with_sites};
use crate::keys::taking;
use crate::messages::take_report;

pub(super) async fn the_log_has_every_change_in_order_also_when_many_write_at_once(store: Store) {
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

pub(super) async fn work_that_fails_leaves_nothing_and_harms_nobody_beside_it(store: Store) {
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

pub(super) async fn a_token_is_known_by_its_secret_only_and_the_last_admin_stays(store: Store) {
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

pub(super) async fn who_waits_is_told_after_the_commit_and_not_of_what_failed(store: Store) {
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

async fn next_hint(hints: &mut tokio::sync::broadcast::Receiver<Hint>) -> Hint {
    timeout(Duration::from_secs(20), hints.recv()).await.expect("a hint comes").unwrap()
}
