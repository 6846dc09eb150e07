//! What homes may ask, without HTTP: reports, polls that wait, outcomes, broadcast objects.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

#[path = "support/keys.rs"]
mod keys;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use energy_model::{PowerState, Watts};
use tokio::time::timeout;
use utility::events::{ControlDraft, LimitDraft};
use utility::metrics::Metrics;
use utility::service::{Periods, Service, ServiceError};
use utility::sites::{Site, SiteId};
use utility::store::{Hint, Store};
use utility_wire::*;

const HOME: &str = "2fac1234-31f8-41b4-a222-08002b34c003";
const NEIGHBOUR: &str = "2fac1234-31f8-41b4-a222-08002b34c004";
const POLICY: u64 = 3;

fn policy() -> tokio::sync::watch::Receiver<u64> {
    tokio::sync::watch::channel(POLICY).1
}

static NOW: AtomicU64 = AtomicU64::new(1_800_000_000);

fn now() -> UnixTime {
    UnixTime::new(NOW.load(Ordering::Relaxed))
}

struct Utility {
    service: Arc<Service>,
    _dir: tempfile::TempDir,
}

async fn utility(poll_s: u32) -> Utility {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::sqlite(&dir.path().join("utility.db")).unwrap();
    for (id, group) in [(HOME, "north/feeder-7"), (NEIGHBOUR, "south")] {
        let site = Site {
            id: id.parse().unwrap(),
            name: String::new(),
            zone: "SE3".parse().unwrap(),
            group: group.parse().unwrap(),
            added: now(),
            last_contact: None,
            last_report: None,
        };
        store.add_site(&site, "operator:anna", now()).await.unwrap();
    }
    let service = Service::new(store, Arc::new(Metrics::default()), Periods { report_s: 300, poll_s }, now);
    Utility { service: Arc::new(service), _dir: dir }
}

fn home() -> SiteId {
    HOME.parse().unwrap()
}

async fn report_in(utility: &Utility, site: &SiteId, report: &Report) -> Result<ReportAnswer, ServiceError> {
    let taking = keys::taking(utility.service.store(), site, now()).await;
    utility.service.handle_report(taking, report).await.map(|taken| taken.effect)
}

async fn outcome_in(utility: &Utility, outcome: &Outcome) {
    let taking = keys::taking(utility.service.store(), &home(), now()).await;
    let poll = Poll { outcomes: List::fill([outcome.clone()]), ..poll(0, nothing()) };
    utility.service.handle_poll(taking, &poll).await.unwrap();
}

fn poll(wait_s: u16, have: Versions) -> Poll {
    Poll { wait_s, have, outcomes: List::empty() }
}

fn nothing() -> Versions {
    Versions { prices: 0, limits: 0, policy: POLICY }
}

fn limit(target: &str) -> LimitDraft {
    LimitDraft {
        target: target.parse().unwrap(),
        supersedes: None,
        start: now(),
        duration_s: Some(1800),
        watts: Watts::new(4200),
        priority: 0,
        randomise_s: 0,
        reason: String::new(),
    }
}

fn report(batch: u64, start: UnixTime) -> Report {
    let freezer = ApplianceReport {
        id: "freezer".parse().unwrap(),
        name: "Freezer".parse().unwrap(),
        state: Some(PowerState::On),
        since: start,
        power: None,
        rated: None,
        importance: None,
        flexibility: None,
        consents: true,
    };
    Report {
        batch,
        made: start,
        complete: true,
        appliances: List::fill([freezer]),
        consumption: List::fill([Consumption {
            of: None,
            start,
            interval: IntervalLength::new(900).unwrap(),
            energy: List::fill([energy_model::WattHours::new(250)]),
        }]),
        gaps: List::empty(),
        decisions: List::empty(),
    }
}

#[tokio::test]
async fn a_report_is_answered_when_it_is_stored_and_told_again_it_is_a_duplicate() {
    let utility = utility(0).await;
    let first = report_in(&utility, &home(), &report(7, now())).await.unwrap();
    assert_eq!((first.batch, first.state), (7, BatchState::Stored));
    assert!((75..375).contains(&first.report_after_s), "{first:?}");
    let again = report_in(&utility, &home(), &report(7, now())).await.unwrap();
    assert_eq!(again.state, BatchState::Duplicate);

    let stranger = "2fac1234-31f8-41b4-a222-080000000000".parse().unwrap();
    let refused = report_in(&utility, &stranger, &report(1, now())).await;
    assert!(matches!(refused, Err(ServiceError::UnknownSite)));
    let future = report_in(&utility, &home(), &report(8, now().plus(90_000))).await;
    assert!(matches!(future, Err(ServiceError::Report(_))));
}

#[tokio::test]
async fn a_poll_is_answered_at_once_when_there_is_something() {
    let utility = utility(0).await;
    utility.service.store().make_limit(&limit("north"), "operator:anna", now()).await.unwrap();
    let command = utility.service.next_commands(&home(), &poll(55, nothing()), policy()).await.unwrap();
    let set = command.limits.unwrap();
    assert_eq!((set.version, set.limits.len(), command.current.limits), (command.current.limits, 1, set.version));
    // A policy of another version is something to say too.
    let have = Versions { policy: POLICY - 1, ..command.current.clone() };
    let newer = utility.service.next_commands(&home(), &poll(55, have), policy()).await.unwrap();
    assert_eq!((newer.limits, newer.current), (None, command.current));
}

#[tokio::test]
async fn a_poll_waits_until_something_happens_to_that_home_and_no_longer() {
    let utility = utility(0).await;
    report_in(&utility, &home(), &report(1, now())).await.unwrap();
    let waiting = {
        let service = utility.service.clone();
        tokio::spawn(async move { service.next_commands(&home(), &poll(55, nothing()), policy()).await })
    };
    let mut hints = utility.service.store().hints();
    // The neighbour's limit is none of its business.
    utility.service.store().make_limit(&limit(NEIGHBOUR), "operator:anna", now()).await.unwrap();
    while hints.recv().await.unwrap() != Hint::Site(NEIGHBOUR.to_owned()) {}
    assert!(!waiting.is_finished());

    let draft = ControlDraft {
        site: home(),
        appliance: "freezer".parse().unwrap(),
        action: PowerState::Standby,
        within_s: 600,
        reason: String::new(),
    };
    let id = utility.service.store().make_control(&draft, "operator:anna", now()).await.unwrap();
    let command = timeout(Duration::from_secs(20), waiting).await.expect("it is told at once").unwrap().unwrap();
    assert_eq!(command.controls.iter().map(|c| c.id).collect::<Vec<_>>(), [id]);
    assert_eq!(command.limits, None);

    // Until its outcome is told it comes again, then no more.
    let again = utility.service.next_commands(&home(), &poll(0, nothing()), policy()).await.unwrap();
    assert_eq!(again.controls.len(), 1);
    for _ in 0..2 {
        let outcome = Outcome { id, at: now(), kind: OutcomeKind::Done };
        outcome_in(&utility, &outcome).await;
    }
    let after = utility.service.next_commands(&home(), &poll(0, nothing()), policy()).await.unwrap();
    assert_eq!((after.controls.len(), after.current), (0, nothing()));
}

#[tokio::test]
async fn an_outcome_of_something_unknown_is_passed_over_so_that_the_home_forgets_it() {
    let utility = utility(0).await;
    let outcome = Outcome { id: EventId::new(99).unwrap(), at: now(), kind: OutcomeKind::Done };
    outcome_in(&utility, &outcome).await;
}

#[tokio::test]
async fn a_poll_without_news_is_answered_after_its_wait_with_when_to_come_again() {
    let utility = utility(60).await;
    let command = utility.service.next_commands(&home(), &poll(0, nothing()), policy()).await.unwrap();
    assert_eq!((command.current, command.limits, command.controls.len()), (nothing(), None, 0));
    assert!((15..75).contains(&command.poll_after_s), "{}", command.poll_after_s);
    // That it was heard is written down together with others, later.
    let contact = async || utility.service.store().site(&home()).await.unwrap().unwrap().last_contact;
    assert_eq!(contact().await, None);
    utility.service.write_contacts().await.unwrap();
    assert_eq!(contact().await, Some(now()));
}

#[tokio::test]
async fn a_broadcast_object_is_read_once_until_something_changes() {
    let utility = utility(0).await;
    let served = async || utility.service.broadcast("limits/north").await.unwrap().map(|o| o.etag);
    assert_eq!(served().await, None);
    utility.service.store().make_limit(&limit("north"), "operator:anna", now()).await.unwrap();
    let first = served().await.expect("what is not there is not remembered");
    utility.service.store().make_limit(&limit("north"), "operator:anna", now()).await.unwrap();
    assert_eq!(served().await.as_ref(), Some(&first), "kept until it is forgotten");
    utility.service.forget_objects();
    assert_ne!(served().await.unwrap(), first);
}
