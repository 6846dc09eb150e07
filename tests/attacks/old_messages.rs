//! Messages that were right when they were made: sent again, sent back, held.

use std::time::Duration;

use energy_model::PowerState;
use secure_http::code_points::CONTENT_TYPE_SIGN1;
use secure_http::{Kind, Reason, SealedError, endpoints};
use utility_wire::Message as _;

use crate::daemons::{neighbour, next_second, party};
use crate::effort::{FEW, tries};
use crate::events::{poll, report, switch_off};
use crate::gateway::Answer;
use crate::plain::{PlainHome, PlainUtility};
use crate::table::{Findings, row};
use crate::wire::{Message, Wire, ask};
use crate::world::World;

#[test]
fn a_message_counts_once_also_after_a_restart_of_either_side_and_never_for_its_sender() {
    row("Replay and reflection", async || {
        let utility = PlainUtility::start().await;
        let wire = Wire::to(&utility.address).await;
        let mut home = PlainHome::new("home");
        assert!(home.tell(&wire.address(), &report(1, "heat pump", PowerState::On)).await);
        assert!(home.tell(&wire.address(), &report(2, "heat pump", PowerState::Off)).await);
        let recorded = wire.seen()[0].request.clone();
        assert_eq!(ask(&utility.address, &recorded).await.expect("an answer").status(), 200);
        assert_eq!(utility.told().state("home", "heat-pump"), Some(PowerState::On), "it is on again");
        utility.told().command = Some(switch_off(1));
        home.poll(&wire.address(), &poll()).await;
        let recorded = wire.last("/poll").answer.expect("an answer").body;
        wire.on_request(move |_| Some(Message::answer("application/cbor", recorded.clone())));
        home.poll(&wire.address(), &poll()).await;
        assert_eq!(home.obeyed.len(), 2, "it does the same order again");

        let mut world = World::new().await;
        let (wire, kmc_wire) = (Wire::to(&world.utility.address).await, Wire::to(&world.kmc.address).await);
        let mut home = world.home_over(1, &kmc_wire.address()).await;
        // What is recorded: a report, a poll with a command, and a word to the KMC where the home is reached.
        assert!(home.report(&wire.address(), &report(1, "heat pump", PowerState::On)).await.stored().is_some());
        let first = wire.last("/u/v1/report");
        world.utility.switch_off(1, "heat-pump");
        assert!(home.poll(&wire.address(), &poll()).await.command().is_some_and(|c| c.controls.len() == 1));
        let commanded = wire.last("/u/v1/poll");
        home.member.set_reachable(Some("old.example:1".to_owned()));
        home.settle().await;
        let announced = kmc_wire.last(endpoints::KEY).request;
        home.member.set_reachable(Some("new.example:1".to_owned()));
        home.settle().await;
        assert!(home.report(&wire.address(), &report(2, "heat pump", PowerState::Off)).await.stored().is_some());

        // Again, at both servers, before and after their restart.
        let (mut opened, mut at_kmc) = (world.utility.step("opened").await, world.kmc.step("opened").await);
        for restarted in [false, true] {
            if restarted {
                world.utility.restart().await;
                world.kmc.restart().await;
                (opened, at_kmc) = (0, 0);
            }
            let answer = ask(&world.utility.address, &first.request).await.expect("an answer");
            assert_eq!(home.why(&first.request.body, &answer), SealedError::Replay);
            // Its own answer sent back to it, and the command.
            for reflected in [&first, &commanded] {
                let raw = reflected.answer.as_ref().expect("an answer").body.clone();
                assert_eq!(home.resend(&world.utility.address, &raw).await.status(), 401, "for somebody else");
            }
            ask(&world.kmc.address, &announced).await.expect("an answer");
            assert_eq!(world.utility.step("opened").await, opened, "nothing is opened");
            assert_eq!(world.kmc.step("opened").await, at_kmc);
            assert_eq!(world.utility.state(1, "heat-pump"), Some("OFF".to_owned()));
            assert_eq!(world.kmc.host_of(party(1)).as_deref(), Some("new.example:1"));
        }
        wire.lead_to(&world.utility.address);
        kmc_wire.lead_to(&world.kmc.address);

        // To the home: the old command in answer to a new poll, and its own poll sent back, before and after its restart.
        let recorded = commanded.answer.expect("an answer").body;
        for restarted in [false, true] {
            if restarted {
                home = home.restart();
            }
            let again = recorded.clone();
            wire.on_request(move |_| Some(Message::answer(CONTENT_TYPE_SIGN1, again.clone())));
            let answer = home.poll(&wire.address(), &poll()).await;
            assert!(matches!(answer, Answer::Stopped(Reason::NotAwaited)), "{answer:?}");
            wire.on_request(|request| Some(Message::answer(CONTENT_TYPE_SIGN1, request.body.clone())));
            let answer = home.poll(&wire.address(), &poll()).await;
            assert!(matches!(answer, Answer::Stopped(Reason::Audience)), "{answer:?}");
        }
        // The honest go on, with both servers and the home started anew.
        wire.listen_only();
        assert!(home.report(&wire.address(), &report(3, "heat pump", PowerState::On)).await.stored().is_some());
        assert_eq!(world.utility.state(1, "heat-pump"), Some("ON".to_owned()));

        next_second().await;
        let requests = vec![first.request; FEW];
        let tried = tries(world.utility.pid(), neighbour(1, 1), &world.utility.address, &requests, 0.0).await;
        Findings {
            plain: "turns the heat pump's state back, and has an order done twice".to_owned(),
            sealed: "taken once, across kill -9 of utility, KMC and home; what is sent back is for somebody else"
                .to_owned(),
            cost: tried.cost(),
        }
    });
}

#[test]
fn a_message_that_is_held_is_worth_nothing_soon_and_undoes_nothing_before() {
    row("Delay", async || {
        let utility = PlainUtility::start().await;
        let home = PlainHome::new("home");
        let held = home.report(&report(1, "heat pump", PowerState::On));
        assert!(home.tell(&utility.address, &report(2, "heat pump", PowerState::Off)).await);
        assert_eq!(ask(&utility.address, &held).await.expect("an answer").status(), 200);
        assert_eq!(utility.told().state("home", "heat-pump"), Some(PowerState::On), "as it was before");

        let world = World::new().await;
        let mut home = world.home(1).await;
        let rules = home.member.policy().rules();
        assert!(home.report(&world.utility.address, &report(9, "fridge", PowerState::On)).await.stored().is_some());
        // Held until just after it is good: made that long ago.
        let good = rules.message_s + rules.skew_s;
        let body = report(1, "heat pump", PowerState::On).encode();
        let mut earlier = home.ago(good + 2);
        let held = earlier.seal(Kind::Report, None, &body).bytes;
        // And one that is held for less, until after a later one.
        let short = home.seal(Kind::Report, None, &body).bytes;
        let later = home.report(&world.utility.address, &report(2, "heat pump", PowerState::Off)).await;
        assert!(later.stored().is_some(), "{later:?}");
        let opened = world.utility.step("opened").await;
        let answer = home.resend(&world.utility.address, &held).await;
        assert!(matches!(home.why(&held, &answer), SealedError::Stale { .. }));
        assert_eq!(world.utility.step("opened").await, opened, "too old to be opened");
        assert_eq!(home.resend(&world.utility.address, &short).await.status(), 200);
        assert_eq!(world.utility.step("opened").await, opened + 1, "late, and still good");
        assert_eq!(world.utility.state(1, "heat-pump"), Some("OFF".to_owned()), "it undoes nothing");

        // An answer that is held: the home waits for it for 90 s.
        let wire = Wire::to(&world.utility.address).await;
        world.utility.switch_off(1, "heat-pump");
        assert!(home.poll(&wire.address(), &poll()).await.command().is_some());
        let asked = home.seal(Kind::Poll, None, &poll().encode());
        let answer = home.resend_to(&world.utility.address, "/u/v1/poll", &asked.bytes).await;
        let boot = daemon_kit::clock::boottime() + Duration::from_secs(secure_http::limits::AWAITED_S + 1);
        assert_eq!(home.take(&answer.body, boot).expect_err("too late"), Reason::NotAwaited);

        next_second().await;
        let requests: Vec<_> = (0..FEW)
            .map(|_| earlier.seal(Kind::Report, None, &body).bytes)
            .map(|raw| Message::post("/u/v1/report", CONTENT_TYPE_SIGN1, raw))
            .collect();
        let tried = tries(world.utility.pid(), neighbour(1, 1), &world.utility.address, &requests, 0.0).await;
        Findings {
            plain: "has an old state take the place of a newer one".to_owned(),
            sealed: format!("a report is good for {good} s, an answer for 90 s, and neither undoes a later one"),
            cost: tried.cost(),
        }
    });
}
