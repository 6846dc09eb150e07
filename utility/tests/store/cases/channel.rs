//! Messages and keys of homes, and the standing with the key management centre.

use futures_util::future::join_all;
use secure_http::Serial;
use utility::store::{Held, Hint, MembershipRow, Proof, Store, StoreError, Taking};
use utility_wire::*;

use super::{at, report, site_id, with_sites};
use crate::keys::{adoption, statement, taking};

pub(super) async fn a_message_is_taken_once_and_its_number_its_effect_and_its_evidence_are_one(store: Store) {
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

pub(super) async fn keys_begin_anew_only_when_an_operator_says_so_and_then_the_window_does_too(store: Store) {
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

pub(super) async fn the_membership_is_one_replicas_at_a_time_and_written_only_by_that_one(store: Store) {
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
