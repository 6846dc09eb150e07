//! What was in force once: an old policy, old keys, a home that was locked out.

use energy_model::PowerState;
use secure_http::code_points::CONTENT_TYPE_SIGN1;
use secure_http::{Kind, PolicyError, Reason, SealedError, endpoints};
use secure_link::{LinkError, News};
use utility_wire::Message as _;

use crate::cpu;
use crate::daemons::{KmcDaemon, neighbour, next_second, party, until};
use crate::effort::{FEW, tries};
use crate::events::{poll, report};
use crate::gateway::{Answer, Gateway};
use crate::identity::forged;
use crate::plain::{PlainHome, PlainUtility};
use crate::table::{Findings, row};
use crate::wire::{Message, Wire, ask};
use crate::world::World;

#[test]
fn an_older_or_weaker_policy_is_followed_by_nobody() {
    row("Downgrade of policy", async || {
        let utility = PlainUtility::start().await;
        utility.told().policy = "auth-method = \"signature\"".to_owned();
        let wire = Wire::to(&utility.address).await;
        wire.on_answer(|_, answer| answer.body = b"auth-method = \"none\"".to_vec());
        let mut home = PlainHome::new("home");
        home.fetch_policy(&wire.address()).await;
        assert_eq!(home.policy, "auth-method = \"none\"", "it follows what it is told");

        let world = World::new().await;
        let wire = Wire::to(&world.kmc.address).await;
        let mut home = world.home_over(1, &wire.address()).await;
        let first = wire.last(endpoints::POLICY).answer.expect("a policy").body;
        world.utility.set_policy("message-s = 30\n");
        let version = async |home: &mut Gateway| {
            home.member.told(2, 0);
            home.job().await.and_then(Result::ok);
            (home.member.policy().version() == 2).then_some(())
        };
        until("the home follows the new policy", async || version(&mut home).await).await;
        assert_eq!(world.utility.policy(), 2, "who ordered it follows it at once");

        // The old one as recorded, and one of a KMC of the attacker's; also to a home that has just started.
        let his = KmcDaemon::start().await;
        his.set_policy("skew-s = 300\n");
        his.set_policy("skew-s = 300\n");
        let get = Message { first: format!("GET {} HTTP/1.1", endpoints::POLICY), ..Message::post("", "", Vec::new()) };
        let forged_policy = ask(&his.address, &get).await.expect("a policy").body;
        let mut refusing_us: f64 = 0.0;
        for offered in [first.clone(), forged_policy] {
            wire.on_answer(move |request, answer| {
                if request.path() == endpoints::POLICY {
                    answer.body.clone_from(&offered);
                }
            });
            home = home.restart();
            let began = cpu::of_thread();
            let refused = until("the home refuses it", async || home.job().await.and_then(Result::err)).await;
            refusing_us = refusing_us.max((cpu::of_thread() - began).as_secs_f64() * 1e6);
            assert!(
                matches!(
                    refused,
                    LinkError::Policy(PolicyError::NotNewer | PolicyError::Crypto(_) | PolicyError::OtherKmc)
                ),
                "{refused}"
            );
            assert_eq!(home.member.policy().version(), 2);
        }
        wire.listen_only();
        let mut home = home.restart();
        home.settle().await;

        // A message under the old policy, by the home's own keys: the utility says which one there is, sealed.
        let to = home.utility().clone();
        let body = report(1, "heat pump", PowerState::Off).encode();
        let opened = world.utility.step("opened").await;
        let old = forged(party(1), home.member.keys(), &to, Kind::Report, 5000, &body);
        let answer = home.resend(&world.utility.address, &old).await;
        assert_eq!(home.why(&old, &answer), SealedError::Policy { current: 2 });
        // And messages whose header names other algorithms: -7 (ES256) and 35 (HPKE-0) stand at known places.
        let mut weak = home.seal(Kind::Report, None, &body).bytes;
        assert_eq!(weak[5..7], [0x01, 0x26]);
        weak[6] = 0x27;
        assert_eq!(home.resend(&world.utility.address, &weak).await.status(), 400);
        let mut weak = home.seal(Kind::Report, None, &body).bytes;
        let at = weak.windows(3).position(|w| w == [0x01, 0x18, 35]).expect("HPKE-0 in the inner header");
        weak[at + 2] = 36;
        assert_eq!(home.resend(&world.utility.address, &weak).await.status(), 400);
        assert_eq!((world.utility.step("opened").await, world.utility.state(1, "heat-pump")), (opened, None));
        let answer = home.report(&world.utility.address, &report(1, "heat pump", PowerState::On)).await;
        assert!(answer.stored().is_some(), "{answer:?}");
        Findings {
            plain: "switches authentication off".to_owned(),
            sealed: "versions only go up, also across a restart; nothing goes below the compiled-in floor".to_owned(),
            cost: format!("replaying is free, refusing takes {refusing_us:.0} µs with the question for it"),
        }
    });
}

#[test]
fn keys_that_were_rolled_over_are_worth_nothing_to_who_stole_them() {
    row("Stolen old keys", async || {
        // Unsealed there is nothing to steal: the name is enough, whatever the home changes.
        let utility = PlainUtility::start().await;
        assert!(PlainHome::new("home").tell(&utility.address, &report(1, "heat pump", PowerState::On)).await);
        assert!(PlainHome::new("home").tell(&utility.address, &report(2, "heat pump", PowerState::Off)).await);
        assert_eq!(utility.told().state("home", "heat-pump"), Some(PowerState::Off));

        let mut world = World::new().await;
        let wire = Wire::to(&world.utility.address).await;
        let mut home = world.home(1).await;
        assert!(home.report(&wire.address(), &report(1, "heat pump", PowerState::On)).await.stored().is_some());
        // The thief copies the home's whole disk.
        let mut thief = home.copied();
        home.member.want_new_keys();
        home.settle().await;
        assert_ne!(home.member.statement(), thief.member.statement());
        until("the utility knows the new keys", async || {
            home.report(&wire.address(), &report(2, "heat pump", PowerState::On)).await.stored()
        })
        .await;
        // What is under way with the old keys is still taken for 120 s and the skew; then no more.
        let overlap_s = secure_link::limits::OVERLAP_S + home.member.policy().rules().skew_s;
        world.utility.restart_after(overlap_s + 1).await;
        wire.lead_to(&world.utility.address);
        let refused = thief.report(&world.utility.address, &report(4, "heat pump", PowerState::Off)).await;
        assert!(matches!(refused, Answer::Refused(401)), "{refused:?}");
        assert_eq!(world.utility.state(1, "heat-pump"), Some("ON".to_owned()));
        // They roll nothing over, and send nobody elsewhere.
        thief.member.want_new_keys();
        thief.member.set_reachable(Some("thief.example:1".to_owned()));
        for _ in 0..6 {
            match thief.job().await {
                Some(Ok(News::RolledOver | News::Announced)) => panic!("an old key did that"),
                Some(_) => {}
                None => thief = thief.restart(),
            }
        }
        assert_eq!(world.kmc.host_of(party(1)), None);
        // And they open nothing that was sealed since: an answer to the home, taken off the wire.
        assert!(home.poll(&wire.address(), &poll()).await.command().is_some());
        let recorded = wire.last("/u/v1/poll");
        let asked = secure_http::Envelope::parse(&recorded.request.body).expect("a message").head().cti;
        thief.pretend_to_have_sent(asked);
        let answer = recorded.answer.expect("an answer").body;
        let opened = thief.take(&answer, daemon_kit::clock::boottime());
        assert!(matches!(opened, Err(Reason::OtherKey)), "{opened:?}");
        assert!(home.report(&wire.address(), &report(5, "heat pump", PowerState::Off)).await.stored().is_some());

        next_second().await;
        let body = report(6, "heat pump", PowerState::On).encode();
        let making_us = cpu::micros(8, || drop(thief.seal(Kind::Report, None, &body)));
        let requests: Vec<_> = (0..FEW)
            .map(|_| thief.seal(Kind::Report, None, &body).bytes)
            .map(|raw| Message::post("/u/v1/report", CONTENT_TYPE_SIGN1, raw))
            .collect();
        let tried = tries(world.utility.pid(), neighbour(1, 1), &world.utility.address, &requests, making_us).await;
        assert_eq!(tried.statuses(), [401]);
        Findings {
            plain: "needs no key at all".to_owned(),
            sealed:
                "after the overlap 401 everywhere; rolls nothing over, redirects nobody, opens nothing sealed since"
                    .to_owned(),
            cost: tried.cost(),
        }
    });
}

#[test]
fn a_home_that_was_locked_out_stays_out_and_its_successor_gets_in() {
    row("Revoked gateway", async || {
        let utility = PlainUtility::start().await;
        let home = PlainHome::new("home");
        assert!(home.tell(&utility.address, &report(1, "heat pump", PowerState::On)).await);
        utility.told().homes.remove("home");
        assert!(home.tell(&utility.address, &report(2, "heat pump", PowerState::Off)).await, "it is there again");

        let world = World::new().await;
        let mut stolen = world.home(1).await;
        assert!(
            stolen.report(&world.utility.address, &report(1, "heat pump", PowerState::On)).await.stored().is_some()
        );
        world.utility.command(&["keys", "revoke", party(1).as_str(), "--reason", "stolen"]);
        // The KMC at once.
        stolen.member.want_new_keys();
        let refused = stolen.job().await.expect("it has work to do");
        assert!(matches!(refused, Err(LinkError::Refused(_)) | Ok(News::Refreshed { .. })), "{refused:?}");
        // The utility as soon as it has the list.
        let answer =
            until("the utility has the list", async || match stolen.poll(&world.utility.address, &poll()).await {
                Answer::Refused(status) => Some(status),
                _ => None,
            })
            .await;
        assert_eq!(answer, 401);
        let late = stolen.report(&world.utility.address, &report(2, "heat pump", PowerState::Off)).await;
        assert!(matches!(late, Answer::Refused(401)), "{late:?}");
        assert_eq!(world.utility.state(1, "heat-pump"), Some("ON".to_owned()));
        // Another box for the same home.
        let mut successor = world.home(1).await;
        let answer = successor.report(&world.utility.address, &report(1001, "heat pump", PowerState::Off)).await;
        assert!(answer.stored().is_some(), "{answer:?}");
        assert_eq!(world.utility.state(1, "heat-pump"), Some("OFF".to_owned()));

        next_second().await;
        let body = report(3, "heat pump", PowerState::On).encode();
        let making_us = cpu::micros(8, || drop(stolen.seal(Kind::Report, None, &body)));
        let requests: Vec<_> = (0..FEW)
            .map(|_| stolen.seal(Kind::Report, None, &body).bytes)
            .map(|raw| Message::post("/u/v1/report", CONTENT_TYPE_SIGN1, raw))
            .collect();
        let tried = tries(world.utility.pid(), neighbour(1, 1), &world.utility.address, &requests, making_us).await;
        assert_eq!(tried.statuses(), [401]);
        Findings {
            plain: "goes on as before".to_owned(),
            sealed:
                "out at the KMC at once, at the utility with the next list; a new token lets the home's next box in"
                    .to_owned(),
            cost: tried.cost(),
        }
    });
}
