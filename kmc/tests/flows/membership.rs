//! A gateway's and a utility's standing with a real centre, from the token on.

use std::time::Duration;

use daemon_kit::clock;
use getrandom::SysRng;
use kmc::api::TokenView;
use rand_core::UnwrapErr;
use secure_http::{Clock, EnrolmentToken, Order, Ordered, Role, Standing, UnixTime};
use secure_link::{LinkError, Membership, News};

use crate::daemon::{Daemon, at, party, rng, until};

/// As a gateway after a start: when this software was built, say.
const FLOOR: UnixTime = UnixTime(1_700_000_000);

fn gateway(token: &EnrolmentToken, number: u8) -> Membership {
    Membership::candidate(token, party(number), Role::Gateway, Clock::unsynced(FLOOR), &mut rng())
}

fn utility(daemon: &Daemon, number: u8) -> Membership {
    let view: TokenView = daemon.json(&["token", "new", "--role", "utility"]);
    let token = view.text.expect("a sound world").parse().expect("a sound world");
    let clock = Clock::from_wall(at().guess, clock::boottime());
    Membership::candidate(&token, party(number), Role::Utility, clock, &mut rng())
}

/// One job, if one is due; what it gave.
async fn turn(member: &mut Membership) -> Option<Result<News, LinkError>> {
    let job = member.begin(clock::boottime(), &mut rng())?;
    let done = job.run(clock::boottime, UnwrapErr(SysRng)).await;
    Some(member.finish(done, clock::boottime(), &mut rng()))
}

/// All that is due now; fails where one of it does.
async fn settle(member: &mut Membership) -> Vec<News> {
    let mut news = Vec::new();
    while let Some(result) = turn(member).await {
        news.push(result.expect("a sound world"));
        assert!(news.len() < 20, "no end: {news:?}");
    }
    news
}

fn again(member: &Membership, wall: bool) -> Membership {
    let wall = wall.then(|| (at().guess, clock::boottime()));
    Membership::from_record(&member.record(), wall).expect("a sound world")
}

#[tokio::test]
async fn with_a_token_everything_else_comes_by_itself_and_is_in_the_record() {
    let daemon = Daemon::new("").await;
    let mut utility = utility(&daemon, 1);
    utility.set_reachable(Some("utility.example:8460".to_owned()));
    settle(&mut utility).await;
    let (_, token) = daemon.token(&[]);
    let mut home = gateway(&token, 2);
    assert_eq!((home.now(clock::boottime()), home.standing(clock::boottime())), (None, Standing::LocalOnly));
    let news = settle(&mut home).await;
    assert!(
        matches!(
            news[..],
            [News::Enrolled, News::ClockSet, News::Refreshed { policy: true, revocations: true }, News::Peer(true)]
        ),
        "{news:?}"
    );
    assert_eq!(home.standing(clock::boottime()), Standing::InForce);
    let peer = home.peer().unwrap();
    assert_eq!((peer.statement.subject(), peer.host.as_deref()), (party(1), Some("utility.example:8460")));
    assert!(home.due(clock::boottime()).unwrap() > clock::boottime() + Duration::from_secs(1000), "nothing soon");
    // After a start it knows all but the time.
    let mut started = again(&home, false);
    assert_eq!(
        (started.statement(), started.peer().map(|p| p.statement.raw())),
        (home.statement(), Some(peer.statement.raw()))
    );
    assert_eq!((started.policy(), started.revocations()), (home.policy(), home.revocations()));
    assert_eq!(started.standing(clock::boottime()), Standing::LocalOnly);
    assert!(matches!(turn(&mut started).await, Some(Ok(News::ClockSet))));
    assert_eq!(started.standing(clock::boottime()), Standing::InForce);
    assert!(!again(&utility, true).clock().is_synced() || utility.clock().is_synced());
}

#[tokio::test]
async fn keys_roll_over_by_themselves_also_when_the_power_fails_in_between() {
    let daemon = Daemon::new("").await;
    let (_, token) = daemon.token(&[]);
    let mut home = gateway(&token, 1);
    settle_without_utility(&mut home).await;
    let old = home.statement().unwrap().clone();
    home.take_unstored();
    home.want_new_keys();
    let job = home.begin(clock::boottime(), &mut rng()).unwrap();
    assert_eq!(job.name(), "roll-over");
    assert!(home.take_unstored(), "the new keys are to be on the disk before they are stated");
    let mut started = again(&home, false);
    // The KMC has stated them, and the answer was lost with the power.
    drop(job.run(clock::boottime, UnwrapErr(SysRng)).await);
    let mut rolled = false;
    until("the roll-over has come to its end", async || {
        match turn(&mut started).await {
            Some(Ok(News::RolledOver)) => rolled = true,
            Some(Ok(News::Announced)) => return Some(()),
            _ => {}
        }
        None
    })
    .await;
    assert!(rolled);
    let new = started.statement().unwrap();
    assert!(new.sig() != old.sig() && new.kem() != old.kem() && new.kem() == Some(started.keys().kem().public()));
    let (previous, _) = started.keys().previous().unwrap();
    assert_eq!(Some(previous.public()), old.kem(), "what is under way can be opened");
    assert_eq!(daemon.statement(party(1).as_str()).serial, new.serial().0);
}

/// The same party a week later, as far as the age of its sealing key goes.
fn a_week_older(member: &Membership) -> Membership {
    let mut record = member.record().to_vec();
    let since = u32::try_from(member.keys_since().1.0).expect("before 2106").to_be_bytes();
    let twice = [&[0x1a][..], &since, &[0x1a], &since].concat();
    let at = record.windows(twice.len()).position(|w| w == twice).expect("both keys are of one age") + 6;
    let older = u32::from_be_bytes(since) - 7 * 86_400;
    record[at..at + 4].copy_from_slice(&older.to_be_bytes());
    Membership::from_record(&record, None).expect("a sound world")
}

#[tokio::test]
async fn a_lost_answer_to_a_roll_over_of_the_sealing_key_alone_does_not_lock_the_party_out() {
    let daemon = Daemon::new("").await;
    let (_, token) = daemon.token(&[]);
    let mut home = gateway(&token, 1);
    settle_without_utility(&mut home).await;
    let sig = home.statement().unwrap().kid();
    let mut home = a_week_older(&home);
    let job = until("the roll-over", async || {
        let job = home.begin(clock::boottime(), &mut rng())?;
        if job.name() == "roll-over" {
            return Some(job);
        }
        let done = job.run(clock::boottime, UnwrapErr(SysRng)).await;
        _ = home.finish(done, clock::boottime(), &mut rng());
        None
    })
    .await;
    // The power fails; from now on the KMC seals to the new key, also the time that it is asked for first.
    let mut started = again(&home, false);
    drop(job.run(clock::boottime, UnwrapErr(SysRng)).await);
    rolled_over(&mut started).await;
    assert_eq!(started.statement().unwrap().kid(), sig, "only the sealing key is another");
}

#[tokio::test]
async fn a_roll_over_whose_answer_was_lost_is_found_out_also_when_the_old_key_is_heard_no_more() {
    let daemon = Daemon::new("[statements]\noverlap-s = 1\n").await;
    let (_, token) = daemon.token(&[]);
    let mut home = gateway(&token, 1);
    settle_without_utility(&mut home).await;
    home.want_new_keys();
    let job = home.begin(clock::boottime(), &mut rng()).unwrap();
    let mut started = again(&home, false);
    drop(job.run(clock::boottime, UnwrapErr(SysRng)).await);
    let stated = clock::boottime();
    until("the overlap is over", async || (clock::boottime() > stated + Duration::from_secs(2)).then_some(())).await;
    rolled_over(&mut started).await;
}

/// The roll-over comes to its end, and the centre states these keys.
async fn rolled_over(home: &mut Membership) {
    let mut rolled = false;
    until("the roll-over has come to its end", async || {
        match turn(home).await {
            Some(Ok(News::RolledOver)) => rolled = true,
            Some(Ok(News::Announced)) => return Some(()),
            _ => {}
        }
        None
    })
    .await;
    let new = home.statement().expect("a sound world");
    assert!(rolled && new.sig() == home.keys().sig().public() && new.kem() == Some(home.keys().kem().public()));
}

#[tokio::test]
async fn a_utility_s_new_keys_are_taken_when_its_old_ones_vouch_for_them_also_after_a_long_absence() {
    let daemon = Daemon::new("").await;
    let mut utility = utility(&daemon, 1);
    settle(&mut utility).await;
    let (_, token) = daemon.token(&[]);
    let mut home = gateway(&token, 2);
    settle(&mut home).await;
    let before = home.peer().unwrap().statement.clone();
    // Away while the utility goes over to other keys twice.
    for _ in 0..2 {
        utility.want_new_keys();
        let news = settle(&mut utility).await;
        assert!(matches!(news[..], [News::RolledOver, News::Announced]), "{news:?}");
    }
    utility.want_new_keys();
    assert!(matches!(turn(&mut utility).await, Some(Ok(News::RolledOver))));
    // Not yet announced: the home keeps to what it knows.
    let refused = asked_for_the_peer(&mut home).await.unwrap_err();
    assert!(matches!(refused, LinkError::Statement(_)), "{refused}");
    assert_eq!(home.peer().unwrap().statement.raw(), before.raw());
    until("announced", async || match turn(&mut utility).await {
        Some(Ok(News::Announced)) => Some(()),
        _ => None,
    })
    .await;
    let now = utility.statement().unwrap().clone();
    asked_for_the_peer(&mut home).await.unwrap();
    assert_eq!(home.peer().unwrap().statement.raw(), now.raw());
}

/// What comes of asking for the utility's statement.
async fn asked_for_the_peer(home: &mut Membership) -> Result<News, LinkError> {
    until("asked for the peer", async || {
        home.suspect_peer(Duration::ZERO);
        turn(home).await
    })
    .await
}

#[tokio::test]
async fn under_a_policy_of_shorter_messages_homes_still_enrol_and_those_that_are_behind_catch_up() {
    let daemon = Daemon::new("").await;
    let mut utility = utility(&daemon, 1);
    settle(&mut utility).await;
    let (_, token) = daemon.token(&[]);
    let mut old = gateway(&token, 2);
    settle(&mut old).await;
    let file = daemon.file("policy.toml", "message-s = 20\n");
    daemon.json::<kmc::api::PolicyView>(&["policy", "set", &file]);
    let (_, token) = daemon.token(&[]);
    let mut new = gateway(&token, 3);
    settle(&mut new).await;
    assert_eq!((new.policy().version(), new.standing(clock::boottime())), (2, Standing::InForce));
    // One that still makes them longer is told nothing of clocks, and has what it asks for.
    assert!(matches!(asked_for_the_peer(&mut old).await, Ok(News::Peer(false))));
}

#[tokio::test]
async fn messages_under_keys_that_are_not_there_make_a_home_ask_less_and_less_often() {
    let daemon = Daemon::new("").await;
    let mut utility = utility(&daemon, 1);
    settle(&mut utility).await;
    let (_, token) = daemon.token(&[]);
    let mut home = gateway(&token, 2);
    settle(&mut home).await;
    let mut waits = Vec::new();
    for _ in 0..8 {
        let now = clock::boottime();
        home.suspect_peer(now);
        waits.push(home.due(now).unwrap() - now);
        assert!(matches!(asked_for_the_peer(&mut home).await, Ok(News::Peer(false))));
    }
    let seconds: Vec<_> = waits.iter().map(Duration::as_secs).collect();
    assert_eq!(seconds, [2, 4, 8, 16, 32, 64, 120, 120]);
    // New keys that are there count for what they are.
    utility.want_new_keys();
    settle(&mut utility).await;
    assert!(matches!(asked_for_the_peer(&mut home).await, Ok(News::Peer(true))));
    let now = clock::boottime();
    home.suspect_peer(now);
    assert_eq!(home.due(now).unwrap() - now, Duration::from_secs(2));
}

#[tokio::test]
async fn a_utility_that_lost_its_keys_is_believed_again_with_the_root_keys_word_and_not_before() {
    let mut daemon = Daemon::new("").await;
    let mut first = utility(&daemon, 1);
    settle(&mut first).await;
    let (_, token) = daemon.token(&[]);
    let mut home = gateway(&token, 2);
    settle(&mut home).await;
    let known = home.peer().unwrap().statement.clone();

    // Its disk is gone. An operator of the centre lets it in anew, with other keys.
    let view: TokenView = daemon.json(&["token", "new", "--role", "utility", "--uuid", party(1).as_str()]);
    let token = view.text.expect("a sound world").parse().expect("a sound world");
    let wall = Clock::from_wall(at().guess, clock::boottime());
    let mut second = Membership::candidate(&token, party(1), Role::Utility, wall, &mut rng());
    settle(&mut second).await;
    let refused = asked_for_the_peer(&mut home).await.unwrap_err();
    assert!(matches!(refused, LinkError::Statement(_)), "{refused}");
    assert_eq!(home.peer().unwrap().statement.raw(), known.raw());

    assert!(!daemon.run(&["root", "recover", party(1).as_str()]).status.success(), "the daemon has the database");
    daemon.stop();
    let out = daemon.run(&["root", "recover", party(9).as_str()]);
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("no gateway or utility"));
    let out = daemon.run(&["root", "recover", party(1).as_str()]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    daemon.start().await;
    assert!(daemon.audit().entries.iter().any(|entry| entry.action == "recovered"));
    // It goes on rolling over meanwhile; who was away follows from the root key's word on.
    second.want_new_keys();
    settle(&mut second).await;
    assert!(matches!(asked_for_the_peer(&mut home).await, Ok(News::Peer(true))));
    assert_eq!(home.peer().unwrap().statement.raw(), second.statement().unwrap().raw());
}

#[tokio::test]
async fn a_centre_that_is_down_is_asked_less_and_less_often_and_found_when_it_is_back() {
    let mut daemon = Daemon::new("").await;
    let (_, token) = daemon.token(&[]);
    daemon.kill();
    let mut home = gateway(&token, 1);
    let first = turn(&mut home).await.unwrap().unwrap_err();
    assert!(matches!(first, LinkError::Http(_)), "{first}");
    let wait = home.due(clock::boottime()).unwrap() - clock::boottime();
    assert!(wait > Duration::from_secs(1) && turn(&mut home).await.is_none(), "{wait:?}");
    assert!(home.trouble().unwrap().text.starts_with("enrolment: cannot connect"), "{:?}", home.trouble());
    let mut home = again(&home, false);
    daemon.start().await;
    settle_without_utility(&mut home).await;
    assert!(home.statement().is_some() && home.take_unstored());
}

async fn settle_without_utility(home: &mut Membership) {
    until("all but a utility", async || {
        if let Some(Err(e)) = turn(home).await {
            eprintln!("TURN {e:?}");
        }
        (home.policy().version() > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refused_token_is_not_tried_again_and_a_lost_confirmation_costs_no_second_token() {
    let daemon = Daemon::new("").await;
    let (_, token) = daemon.token(&[]);
    let mut home = gateway(&token, 1);
    let job = home.begin(clock::boottime(), &mut rng()).unwrap();
    let mut started = again(&home, false);
    // Enrolled, and the power fails before it is written down.
    drop(job.run(clock::boottime, UnwrapErr(SysRng)).await);
    assert!(matches!(turn(&mut started).await, Some(Ok(News::Enrolled))));
    // Somebody else with the same token.
    let mut other = gateway(&token, 2);
    assert!(matches!(turn(&mut other).await, Some(Err(LinkError::Refused(_)))));
    assert!(other.is_refused() && other.due(clock::boottime()).is_none() && turn(&mut other).await.is_none());
}

#[tokio::test]
async fn a_utility_orders_tokens_that_bind_homes_to_it_and_revocations_that_homes_learn() {
    let daemon = Daemon::new("").await;
    let mut utility = utility(&daemon, 1);
    settle(&mut utility).await;
    let ordered = async |utility: &mut Membership, order| {
        let job = utility.order(order).unwrap();
        let done = job.run(clock::boottime, UnwrapErr(SysRng)).await;
        match utility.finish(done, clock::boottime(), &mut rng()).unwrap() {
            News::Ordered(Ordered::Done(text)) => text,
            other => panic!("{other:?}"),
        }
    };
    let token =
        Order::Token { party: Some(party(2)), premises: "12 Long Lane".into(), days: 3, operator: "ann".into() };
    let token: EnrolmentToken = ordered(&mut utility, token).await.parse().unwrap();
    let mut home = gateway(&token, 2);
    settle(&mut home).await;
    assert_eq!(home.peer().unwrap().statement.subject(), party(1));
    let statement = home.statement().unwrap().clone();
    let revoke = Order::Revoke { party: party(2), reason: "stolen".into(), operator: "ann".into() };
    ordered(&mut utility, revoke).await;
    utility.told(0, u64::MAX);
    settle(&mut utility).await;
    assert!(utility.is_revoked(&statement));
}

#[tokio::test]
async fn no_damaged_record_is_taken_for_another_one() {
    let daemon = Daemon::new("").await;
    let (_, token) = daemon.token(&[]);
    let mut home = gateway(&token, 1);
    settle_without_utility(&mut home).await;
    let record = home.record();
    for end in 0..record.len() {
        assert!(Membership::from_record(&record[..end], None).is_err(), "cut off at {end}");
    }
    let mut later = record.to_vec();
    later[1] = 2;
    assert!(Membership::from_record(&later, None).unwrap_err().to_string().contains("form 2"));
}
