//! Homes, a utility and a key management centre over loopback: what is taken, once, and what is not, and why.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

mod daemon;
mod world;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use daemon_kit::clock;
use energy_model::{PowerState, WattHours};
use secure_http::{Kind, Role, SealedError, limits::MESSAGE_BYTES_MAX};
use utility::events::ControlDraft;
use utility::sites::SiteId;
use utility_wire::endpoints::{KEY, POLL, REPORT};
use utility_wire::*;
use world::*;

fn site(number: u8) -> SiteId {
    id(number).as_str().parse().unwrap()
}

fn report(batch: u64) -> Report {
    let made = utility::app::wall();
    let freezer = ApplianceReport {
        id: "freezer".parse().unwrap(),
        name: "Freezer".parse().unwrap(),
        state: Some(PowerState::On),
        since: made,
        power: None,
        rated: None,
        importance: None,
        flexibility: None,
        consents: true,
    };
    let consumption = Consumption {
        of: None,
        start: UnixTime::new(made.seconds() - 3600 + batch * 10),
        interval: IntervalLength::new(10).unwrap(),
        energy: List::fill([WattHours::new(250)]),
    };
    Report {
        batch,
        made,
        complete: true,
        appliances: List::fill([freezer]),
        consumption: List::fill([consumption]),
        gaps: List::empty(),
        decisions: List::empty(),
    }
}

/// Longer than what is taken of a stranger.
fn large_report(batch: u64) -> Report {
    let energy = List::fill((0..limits::INTERVALS_MAX as u32).map(|i| WattHours::new(100_000 + i)));
    let start = UnixTime::new(utility::app::wall().seconds() - 86_400 * 8);
    let consumption = (0..8).map(|i| Consumption {
        of: Some(format!("meter-{i}").parse().unwrap()),
        start,
        interval: IntervalLength::new(900).unwrap(),
        energy: energy.clone(),
    });
    let large = Report { consumption: List::fill(consumption), ..report(batch) };
    assert!(large.encode().len() > MESSAGE_BYTES_MAX);
    large
}

fn have(policy: u64) -> Versions {
    Versions { prices: 0, limits: 0, policy }
}

/// A centre, a utility that is its member, and a home that both know.
async fn three(dir: &std::path::Path) -> (Kmc, Utility, Home) {
    let kmc = Kmc::start().await;
    let utility = Utility::enrolled(dir, &kmc).await;
    utility.add_site(id(1)).await;
    let home = Home::enrolled(&kmc, id(1)).await;
    (kmc, utility, home)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_taken_once_and_shown_to_a_third_party_and_a_replay_is_refused_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (_kmc, utility, mut home) = three(dir.path()).await;
    let sealed = home.seal(Kind::Report, &report(7).encode());
    let Heard::Ack(ack) = home.post(REPORT, &sealed).await else { panic!() };
    let answer = ReportAnswer::decode(&ack.body).unwrap();
    assert_eq!((answer.batch, answer.state), (7, BatchState::Stored));
    assert_eq!((ack.policy, ack.cookie.is_some()), (home.member.policy().version(), true));
    // The answer was lost, so the home tells it again, under another number.
    assert_eq!(home.report(&report(7)).await.state, BatchState::Duplicate);
    // Somebody else sends the message again.
    let replayed = home.post(REPORT, &sealed).await;
    assert!(matches!(replayed, Heard::Error(SealedError::Replay)), "{replayed:?}");

    let address = utility.stop().await;
    let utility = Utility::start(dir.path(), Some(address)).await;
    let replayed = home.post(REPORT, &sealed).await;
    assert!(matches!(replayed, Heard::Error(SealedError::Replay)), "{replayed:?}");
    assert_eq!(home.report(&report(8)).await.state, BatchState::Stored);

    // The evidence stands by itself: the statement is believed from the root on, the key signed, and the body is what was signed for.
    let store = utility.service.store();
    let evidence = store.evidence(&site(1), (UnixTime::new(0), 0)).await.unwrap();
    assert_eq!(evidence.len(), 2, "a duplicate shows nothing new");
    let statements = store.statements(&site(1)).await.unwrap();
    let raw = &statements.iter().find(|(lineage, _)| *lineage == 1).unwrap().1;
    let authority = home.member.authority().unwrap();
    let statement = authority.statement(raw, None).unwrap();
    for (proof, batch) in evidence.iter().map(|e| &e.proof).zip([7, 8]) {
        let envelope = secure_http::Envelope::parse(&proof.message).unwrap();
        envelope.verify(statement.sig()).unwrap();
        assert!(envelope.head().commits_to(&proof.salt, &proof.body));
        assert_eq!(Report::decode(&proof.body).unwrap().batch, batch);
        assert!(!envelope.head().commits_to(&proof.salt, b"something else"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_poll_is_released_by_a_control_and_its_outcome_comes_with_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (kmc, utility, mut home) = three(dir.path()).await;
    home.report(&report(1)).await;
    let policy = u64::from(home.member.policy().version());
    let poll = Poll { wait_s: 55, have: have(policy), outcomes: List::empty() };
    let sealed = home.seal(Kind::Poll, &poll.encode());
    let held = async {
        let started = clock::boottime();
        let Heard::Command(command) = home.post(POLL, &sealed).await else { panic!() };
        (command, clock::boottime() - started)
    };
    let act = async {
        until("the poll is held", async || (utility.metrics.polls_waiting.value() == 1).then_some(())).await;
        let draft = ControlDraft {
            site: site(1),
            appliance: "freezer".parse().unwrap(),
            action: PowerState::Standby,
            within_s: 600,
            reason: String::new(),
        };
        utility.service.store().make_control(&draft, "operator:anna", utility::app::wall()).await.unwrap()
    };
    let ((command, waited), control) = tokio::join!(held, act);
    assert!(waited < Duration::from_secs(20), "{waited:?}");
    assert_eq!(command.controls.iter().map(|c| c.id).collect::<Vec<_>>(), [control]);

    let outcome = Outcome { id: control, at: utility::app::wall(), kind: OutcomeKind::Done };
    let poll = Poll { wait_s: 0, have: have(policy), outcomes: List::fill([outcome]) };
    let sealed = home.seal(Kind::Poll, &poll.encode());
    let Heard::Command(after) = home.post(POLL, &sealed).await else { panic!() };
    assert!(after.controls.is_empty());
    let done = utility.service.store().controls(Some(&site(1)), 10).await.unwrap();
    assert_eq!(done[0].progress.as_str(), "done");
    let replayed = home.post(POLL, &sealed).await;
    assert!(matches!(replayed, Heard::Error(SealedError::Replay)), "{replayed:?}");
    assert_eq!(utility.service.store().evidence(&site(1), (UnixTime::new(0), 0)).await.unwrap().len(), 2);

    // A new policy releases a poll too, and is told.
    let newer = kmc.new_policy(None);
    let sealed = home.seal(Kind::Poll, &Poll { wait_s: 55, have: have(policy), outcomes: List::empty() }.encode());
    let held = home.post(POLL, &sealed);
    let learn = async {
        until("the poll is held", async || (utility.metrics.polls_waiting.value() == 1).then_some(())).await;
        utility.member.told(newer, 0);
        utility.member.maintain().await.unwrap().unwrap();
    };
    let (heard, ()) = tokio::join!(held, learn);
    let Heard::Command(command) = heard else { panic!("{heard:?}") };
    assert_eq!(command.current.policy, u64::from(newer));
    // Messages under the old one are refused from now on, and it is told why.
    let heard = home.say(Kind::Report, REPORT, &report(9).encode()).await;
    assert!(matches!(heard, Heard::Error(SealedError::Policy { current }) if current == newer), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_one_of_our_homes_or_no_longer_learns_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (kmc, utility, mut home) = three(dir.path()).await;
    home.report(&report(1)).await;
    let host = utility.address.to_string();
    // A member of the same centre that is not a site here.
    let mut stranger = Home::enrolled(&kmc, id(9)).await;
    let asked = utility.metrics.keys_asked.value();
    let heard = stranger.say(Kind::Report, REPORT, &report(1).encode()).await;
    let Heard::Status(401, answer) = heard else { panic!("{heard:?}") };
    assert_eq!((answer.body, utility.metrics.keys_asked.value()), (b"{\"status\":401}".to_vec(), asked));

    // A changed byte, another content type, no message at all, too much of it.
    let mut changed = home.seal(Kind::Report, &report(2).encode());
    let last = changed.bytes.len() - 1;
    changed.bytes[last] ^= 1;
    let status = |heard| if let Heard::Status(status, _) = heard { status } else { 200 };
    assert_eq!(status(home.post(REPORT, &changed).await), 401);
    assert_eq!(post(&host, REPORT, b"nonsense", None).await.status, 400);
    assert_eq!(post(&host, REPORT, &vec![0; MESSAGE_BYTES_MAX + 1], None).await.status, 413);
    let http = secure_link::HttpClient::new(&host);
    assert_eq!(http.post(REPORT, "application/cbor", changed.bytes.clone(), None).await.unwrap().status, 415);
    assert_eq!(http.get(REPORT, None).await.unwrap().status, 405);
    let opened = utility.metrics.step_opened.value();
    assert_eq!(opened, 1, "nothing that was refused was decrypted");

    // What is not understood uses its number up and is told so.
    for (kind, path, body) in
        [(Kind::Report, REPORT, &b"nonsense"[..]), (Kind::Poll, REPORT, &report(3).encode()), (Kind::Time, POLL, b"")]
    {
        let heard = home.say(kind, path, body).await;
        assert!(matches!(heard, Heard::Error(SealedError::Unsupported)), "{heard:?}");
    }

    // Revoked: as soon as the list is there, also under a key before, if the newest has not been heard of here.
    let under_old_key = home.seal(Kind::Report, &report(4).encode());
    home.member.want_new_keys();
    home.settle().await;
    kmc.revoke(id(1));
    utility.member.told(0, u64::MAX);
    utility.member.maintain().await.unwrap().unwrap();
    let heard = home.post(REPORT, &under_old_key).await;
    assert!(matches!(heard, Heard::Status(401, _)), "{heard:?}");
    let heard = home.say(Kind::Report, REPORT, &report(5).encode()).await;
    assert!(matches!(heard, Heard::Status(401, _)), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_either_side_roll_over_while_messages_are_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let (_kmc, utility, mut home) = three(dir.path()).await;
    home.report(&report(1)).await;
    // The utility's: what was sealed to the old key is opened, and the answer is under the new one.
    let under_way = home.seal(Kind::Report, &report(2).encode());
    let before = utility.member.own().unwrap().statement.clone();
    utility.member.roll_over().await.unwrap();
    let after = utility.member.own().unwrap().statement.clone();
    assert_ne!(before.kem(), after.kem());
    home.member.suspect_peer(clock::boottime());
    until("the home goes over", async || {
        home.settle().await;
        (home.member.peer().unwrap().statement.serial() == after.serial()).then_some(())
    })
    .await;
    let heard = home.post(REPORT, &under_way).await;
    assert!(matches!(heard, Heard::Ack(_)), "{heard:?}");
    assert_eq!(home.report(&report(3)).await.state, BatchState::Stored);

    // The home's: it tells the utility of its new sealing key with a message under its signing key.
    home.member.want_new_keys();
    home.settle().await;
    let statement = home.member.statement().unwrap().clone();
    let newer = home.seal(Kind::Report, &report(4).encode());
    let heard = home.post(REPORT, &newer).await;
    assert!(matches!(heard, Heard::Ack(_)), "{heard:?}");
    let known = utility.service.store().channel(&site(1)).await.unwrap().unwrap().unwrap();
    assert_eq!((known.lineage, known.statements[0].statement.serial()), (1, statement.serial()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_begins_anew_is_let_in_by_an_operator_only_and_its_numbers_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (kmc, utility, mut home) = three(dir.path()).await;
    home.report(&report(1)).await;
    let old = home.seal(Kind::Report, &report(2).encode());
    // Its flash is broken; it enrols with another token, and nothing vouches for its new keys.
    kmc.revoke(id(1));
    let mut anew = Home::enrolled(&kmc, id(1)).await;
    let heard = anew.say(Kind::Report, REPORT, &report(3).encode()).await;
    assert!(matches!(heard, Heard::Status(401, _)), "{heard:?}");
    assert_eq!(utility.metrics.keys_refused.value(), 1);
    let now = utility::app::wall();
    utility.service.store().renew_keys(&site(1), ("operator:anna", "new gateway"), now.plus(60), now).await.unwrap();
    let heard = until("it may be asked again", async || {
        let heard = anew.say(Kind::Report, REPORT, &report(3).encode()).await;
        (!matches!(heard, Heard::Status(..))).then_some(heard)
    })
    .await;
    assert!(matches!(heard, Heard::Ack(_)), "{heard:?}");
    let heard = home.post(REPORT, &old).await;
    assert!(matches!(heard, Heard::Status(401, _)), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_makes_cookies_wanted_and_homes_with_one_are_served_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (_kmc, utility, mut home) = three(dir.path()).await;
    home.report(&report(1)).await;
    let host = utility.address.to_string();
    let challenged = until("the flood is noticed", async || {
        let mut forged = home.seal(Kind::Report, &report(2).encode());
        let last = forged.bytes.len() - 1;
        forged.bytes[last] ^= 1;
        let mut flood = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let (host, bytes) = (host.clone(), forged.bytes.clone());
            flood.spawn(async move { post(&host, REPORT, &bytes, None).await });
        }
        flood.join_all().await.into_iter().find(|a| a.challenge.is_some())
    })
    .await;
    assert_eq!(challenged.status, 429);
    assert!(challenged.retry_after_s.is_some());
    // Known by its cookie.
    assert_eq!(home.report(&report(3)).await.state, BatchState::Stored);
    // Without one it answers the challenge and gets one of the places for strangers.
    home.cookie = None;
    let sealed = home.seal(Kind::Report, &report(4).encode());
    let answer = until("the challenge", async || {
        let answer = post(&host, REPORT, b"nonsense", None).await;
        answer.challenge.is_some().then_some(answer)
    })
    .await;
    let answer = post_challenged(&host, REPORT, &sealed.bytes, answer.challenge.as_deref().unwrap()).await;
    assert_eq!(answer.status, 200);
    assert!(utility.metrics.sealed_challenged.value() >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_lets_a_large_report_through() {
    let dir = tempfile::tempdir().unwrap();
    let (_kmc, _utility, mut home) = three(dir.path()).await;
    let large = large_report(5);
    let heard = home.say(Kind::Report, REPORT, &large.encode()).await;
    assert!(matches!(heard, Heard::Status(413, _)), "a stranger so far: {heard:?}");
    home.report(&report(1)).await;
    assert_eq!(home.report(&large).await.state, BatchState::Stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_it_is_enrolled_and_while_the_centre_is_away_homes_are_told_to_come_later() {
    let dir = tempfile::tempdir().unwrap();
    let kmc = Kmc::start().await;
    let utility = Utility::start(dir.path(), None).await;
    utility.add_site(id(1)).await;
    let host = utility.address.to_string();
    let early = post(&host, REPORT, b"anything", None).await;
    assert_eq!((early.status.as_u16(), early.retry_after_s), (503, Some(30)));
    let wrong = kmc.token(Role::Gateway);
    assert!(utility.member.enrol(&wrong, id(0xee)).await.is_err());
    assert!(utility.member.own().is_none());
    utility.member.enrol(&kmc.token(Role::Utility), UTILITY.parse().unwrap()).await.unwrap();
    assert!(utility.member.enrol(&kmc.token(Role::Utility), UTILITY.parse().unwrap()).await.is_err(), "once is enough");

    let mut home = Home::enrolled(&kmc, id(1)).await;
    drop(kmc);
    let heard = home.say(Kind::Report, REPORT, &report(1).encode()).await;
    let Heard::Status(429, answer) = heard else { panic!("{heard:?}") };
    assert!(answer.retry_after_s.is_some());
    // Its key is not known and the centre is not there; nobody is told more than that.
    let heard = home.say(Kind::KeyStatement, KEY, b"").await;
    assert!(matches!(heard, Heard::Status(401 | 429, _)), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_can_be_reached_is_called_when_there_is_news_and_its_outcome_comes_with_the_next_call() {
    let dir = tempfile::tempdir().unwrap();
    let kmc = Kmc::start().await;
    let utility = Utility::enrolled(dir.path(), &kmc).await;
    utility.add_site(id(1)).await;
    let (called, serving) = Called::start(&kmc, id(1)).await;
    // It is known from its report on; where it is reached comes with its keys.
    let sealed = called.lock().unwrap().home.seal(Kind::Report, &report(1).encode());
    let host = utility.address.to_string();
    assert_eq!(post(&host, REPORT, &sealed.bytes, None).await.status, 200);
    let draft = ControlDraft {
        site: site(1),
        appliance: "freezer".parse().unwrap(),
        action: PowerState::Standby,
        within_s: 600,
        reason: String::new(),
    };
    let store = utility.service.store();
    let control = store.make_control(&draft, "operator:anna", utility::app::wall()).await.unwrap();
    until("it is called", async || {
        called.lock().unwrap().commands.iter().flat_map(|c| c.controls.iter()).any(|c| c.id == control).then_some(())
    })
    .await;
    called.lock().unwrap().outcomes.push(Outcome { id: control, at: utility::app::wall(), kind: OutcomeKind::Done });
    let limit = utility::events::LimitDraft {
        target: "north".parse().unwrap(),
        supersedes: None,
        start: utility::app::wall(),
        duration_s: Some(1800),
        watts: energy_model::Watts::new(4200),
        priority: 0,
        randomise_s: 0,
        reason: String::new(),
    };
    store.make_limit(&limit, "operator:anna", utility::app::wall()).await.unwrap();
    until("the limit is told, and the outcome has come", async || {
        let told = called.lock().unwrap().commands.iter().any(|c| c.limits.is_some());
        let done = store.controls(Some(&site(1)), 1).await.unwrap()[0].progress.as_str() == "done";
        (told && done).then_some(())
    })
    .await;
    until("both calls have ended", async || (utility.metrics.calls.value() >= 2).then_some(())).await;
    // One that does not answer is left alone for a while, and nobody else waits for it.
    serving.abort();
    let _ = serving.await;
    store.make_limit(&limit, "operator:anna", utility::app::wall()).await.unwrap();
    until("the call fails", async || (utility.metrics.calls_failed.value() > 0).then_some(())).await;
    utility.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_one_membership_and_never_give_a_number_or_a_key_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (kmc, one, mut home) = three(dir.path()).await;
    home.report(&report(1)).await;
    let vault = || utility::membership::Vault::open(&dir.path().join("membership-key")).unwrap();
    let store = one.service.store().clone();
    let other = Arc::new(utility::membership::Member::new(store.clone(), vault(), Some(one.address.to_string())));
    assert!(other.own().is_none());
    other.look().await.unwrap();
    let before = one.member.own().unwrap();
    assert_eq!(other.own().unwrap().statement, before.statement);
    // Both ask in turn and at once; a number that came twice would be a replay to the centre.
    for _ in 0..3 {
        let (a, b) = tokio::join!(one.member.fetch(id(1), None), other.fetch(id(1), None));
        assert_eq!(a.unwrap().statement.serial(), b.unwrap().statement.serial());
    }
    // New keys of one are the other's, too. That the row is another by then does not take the wish for them away.
    one.member.roll_over().await.unwrap();
    let between = one.member.own().unwrap().statement.clone();
    other.roll_over().await.unwrap();
    one.member.look().await.unwrap();
    assert_ne!(one.member.own().unwrap().statement, between);
    // And what one has done, the other has not to do again because of it.
    let boot = clock::boottime();
    assert!(one.member.due(boot).is_none_or(|due| due > boot));
    let (a, b) = (one.member.own().unwrap(), other.own().unwrap());
    assert_eq!((&a.statement, a.keys.kem().public()), (&b.statement, b.keys.kem().public()));
    assert_ne!(a.statement, before.statement);
    one.member.fetch(id(1), None).await.unwrap();
    assert_eq!(kmc.centre.lock().unwrap().counts().rolled_over, 2);

    // Without the centre there are no new keys, and it is said.
    drop(kmc);
    for _ in 0..2 {
        other.roll_over().await.unwrap_err();
    }
    assert_eq!(other.own().unwrap().statement, b.statement);

    // With another key file nothing is served, and it is said why.
    let elsewhere = utility::membership::Vault::open(&dir.path().join("another-key")).unwrap();
    let stranger = Arc::new(utility::membership::Member::new(store, elsewhere, None));
    // Nor does an enrolment write over what it can't read.
    let token = "HEG1:127.0.0.1:8440:K3ZQBHBDO6N3J5LF2ZBFBWRQWY:ZJBYIEASTUPXNTU25XXGJMEQU4".parse().unwrap();
    for error in [
        stranger.look().await.unwrap_err(),
        stranger.look().await.unwrap_err(),
        stranger.enrol(&token, id(9)).await.unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(error.contains("key file of another installation") && stranger.own().is_none(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_with_a_new_sealing_key_only_is_asked_for_when_the_old_one_is_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let (kmc, utility, mut home) = three(dir.path()).await;
    home.report(&report(1)).await;
    let before = home.member.statement().unwrap().clone();
    let asked = utility.metrics.keys_asked.value();
    home.report(&report(2)).await;
    assert_eq!(utility.metrics.keys_asked.value(), asked, "nobody is asked while all is well");
    // Statements are dated back by a minute, so that a life of half of it is over.
    let version = kmc.new_policy(Some(30));
    home.member.told(version, 0);
    home.settle().await;
    utility.member.told(version, 0);
    utility.member.maintain().await.unwrap().unwrap();
    let after = home.member.statement().unwrap().clone();
    assert_eq!((before.kid(), before.kem() == after.kem()), (after.kid(), false), "nothing in its messages shows it");
    assert_eq!(home.report(&report(3)).await.state, BatchState::Stored);
    let known = utility.service.store().channel(&site(1)).await.unwrap().unwrap().unwrap();
    assert_eq!((known.lineage, known.statements[0].statement.serial()), (1, after.serial()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_says_where_it_is_reached_now_and_nobody_says_it_for_another() {
    let dir = tempfile::tempdir().unwrap();
    let (kmc, utility, mut home) = three(dir.path()).await;
    home.report(&report(1)).await;
    let says = |statement: &secure_http::Statement, host: &str| secure_http::KeyAnswer {
        statements: vec![statement.raw().to_vec()],
        succession: None,
        revocations: 0,
        host: Some(host.to_owned()),
        path: Vec::new(),
    };
    let own = home.member.statement().unwrap().clone();
    let heard = home.say(Kind::KeyStatement, KEY, &says(&own, "192.0.2.1:8470").encode()).await;
    assert!(matches!(heard, Heard::Ack(_)), "{heard:?}");
    let host = async || utility.service.store().channel(&site(1)).await.unwrap().unwrap().unwrap().host;
    assert_eq!(host().await.as_deref(), Some("192.0.2.1:8470"));
    let other = Home::enrolled(&kmc, id(2)).await;
    let others = other.member.statement().unwrap().clone();
    let heard = home.say(Kind::KeyStatement, KEY, &says(&others, "192.0.2.2:8470").encode()).await;
    assert!(matches!(heard, Heard::Error(SealedError::Forbidden)), "{heard:?}");
    assert_eq!(host().await.as_deref(), Some("192.0.2.1:8470"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_heard_first_of_a_newer_policy_makes_the_utility_ask_for_it_and_its_next_message_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (kmc, utility, mut home) = three(dir.path()).await;
    home.report(&report(1)).await;
    assert!(utility.member.maintain().await.unwrap().is_none(), "nothing is due");
    let newer = kmc.new_policy(None);
    home.member.told(newer, 0);
    home.settle().await;
    let heard = home.say(Kind::Report, REPORT, &report(2).encode()).await;
    assert!(matches!(heard, Heard::Error(SealedError::Policy { .. })), "{heard:?}");
    assert!(utility.member.due(clock::boottime()).is_some_and(|due| due <= clock::boottime()));
    utility.member.maintain().await.unwrap().unwrap();
    assert_eq!(utility.member.own().unwrap().policy.version(), newer);
    assert_eq!(home.report(&report(2)).await.state, BatchState::Stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enrolment_whose_last_answer_was_lost_goes_on_with_the_same_keys() {
    let dir = tempfile::tempdir().unwrap();
    let kmc = Kmc::start().await;
    let token = kmc.token(Role::Utility);
    let between = Between::start(token.host()).await;
    let token = between.leads_here(&token);
    let utility = Utility::start(dir.path(), None).await;
    between.lose(secure_http::endpoints::ENROL_CONFIRM);
    utility.member.enrol(&token, UTILITY.parse().unwrap()).await.unwrap_err();
    assert!(utility.member.own().is_none());
    let stated = kmc.centre.lock().unwrap().statement(UTILITY).unwrap().statement;

    // By itself or by an operator's hand, after a restart too.
    let address = utility.stop().await;
    let utility = Utility::start(dir.path(), Some(address)).await;
    assert!(utility.member.due(clock::boottime()).is_some());
    between.lose("");
    let enrolled = utility.member.enrol(&token, id(0xee)).await.unwrap();
    assert_eq!(enrolled.as_str(), UTILITY);
    assert_eq!(utility.member.own().unwrap().statement.kid(), stated.kid());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_whose_asker_goes_comes_to_its_end_and_keeps_the_membership_from_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let kmc = Kmc::start().await;
    let token = kmc.token(Role::Utility);
    let between = Between::start(token.host()).await;
    let utility = Utility::start(dir.path(), None).await;
    utility.member.enrol(&between.leads_here(&token), UTILITY.parse().unwrap()).await.unwrap();
    let _home = Home::enrolled(&kmc, id(1)).await;
    let vault = utility::membership::Vault::open(&dir.path().join("membership-key")).unwrap();
    let store = utility.service.store().clone();
    let other = Arc::new(utility::membership::Member::new(store, vault, Some(utility.address.to_string())));
    other.look().await.unwrap();

    let closed = between.gate.lock().await;
    let before = between.connections.load(Ordering::Relaxed);
    tokio::select! {
        fetched = utility.member.fetch(id(1), None) => panic!("through a closed gate: {fetched:?}"),
        () = until("the centre is asked", async || {
            (between.connections.load(Ordering::Relaxed) > before).then_some(())
        }) => {}
    }
    drop(closed);
    assert_eq!(other.fetch(id(1), None).await.unwrap().statement.subject(), id(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_another_replica_has_learnt_of_is_found_in_the_database_although_its_hint_was_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (_kmc, utility, mut home) = three(dir.path()).await;
    home.report(&report(1)).await;
    let (before, asked) = (home.member.statement().unwrap().serial(), utility.metrics.keys_asked.value());
    home.member.want_new_keys();
    home.settle().await;
    let now = utility::app::wall();
    let adoption = utility::store::Adoption {
        site: site(1),
        statement: home.member.statement().unwrap().clone(),
        after: Some(before),
        anew: false,
        overlap_until: now.plus(300),
        host: None,
        above: Vec::new(),
    };
    // Nobody here passes hints on to the sealed side.
    utility.service.store().adopt(adoption, now).await.unwrap();
    assert_eq!(home.report(&report(2)).await.state, BatchState::Stored);
    assert_eq!(utility.metrics.keys_asked.value(), asked);
}
