//! The attacker stands between home and key management, or between home and utility: he says that he is the other, or changes what goes by.

use energy_model::PowerState;
use secure_http::code_points::CONTENT_TYPE_SIGN1;
use secure_http::{Draft, Kind, Nonce, OwnKeys, PartyId, Reason, Role, StatementError, seal};
use secure_link::{LinkError, Membership};
use utility_wire::Message as _;

use crate::cpu;
use crate::daemons::{KmcDaemon, neighbour, next_second, party, until};
use crate::effort::{FEW, tries};
use crate::events::{poll, report, switch_off};
use crate::gateway::{Answer, Gateway, now, rng};
use crate::plain::{PlainHome, PlainUtility};
use crate::table::{Findings, row};
use crate::wire::{Message, Wire, ask};
use crate::world::{UTILITY, World};

#[test]
fn who_stands_between_a_new_home_and_its_key_management_gets_neither_its_token_nor_its_trust() {
    row("Man in the middle: key management", async || {
        // Unsealed, the token goes by in clear, and the home takes whoever answers for the utility.
        let utility = PlainUtility::start().await;
        utility.told().tokens.push("GAYTEMZUGU3DOOBZ".to_owned());
        let wire = Wire::to(&utility.address).await;
        wire.on_request(|request| {
            (request.path().starts_with("/enrol")).then(|| Message::answer("text/plain", Vec::new()))
        });
        let home = PlainHome::new("home");
        assert!(home.enrol(&wire.address(), "GAYTEMZUGU3DOOBZ").await, "it believes the attacker");
        let stolen = String::from_utf8(wire.seen()[0].request.body.clone()).expect("a token in clear");
        assert!(PlainHome::new("attacker").enrol(&utility.address, &stolen).await, "the token works for the attacker");

        // Sealed, he leads it to a centre of his own, a real one that plays along in everything.
        let (real, his) = (KmcDaemon::start().await, KmcDaemon::start().await);
        let wire = Wire::to(&his.address).await;
        let token = real.token("heg", Some(party(1)), &wire.address());
        let mut home = Gateway::new(&token, party(1));
        let mut refusing_us = 0.0;
        for _ in 0..2 {
            let began = cpu::of_thread();
            let refused = home.job().await.expect("it wants to enrol").expect_err("another root key");
            refusing_us = (cpu::of_thread() - began).as_secs_f64() * 1e6;
            assert!(matches!(refused, LinkError::Statement(StatementError::OtherRoot)), "{refused}");
            home = home.restart();
        }
        assert!(wire.seen().iter().all(|e| e.request.path() == "/kmc/v1/root"), "it asked for statements, and no more");
        assert!(!wire.shows(token.secret().as_bytes()) && !wire.shows(token.to_string().as_bytes()));
        // His statements under the real root, and the real ones with his at the end: neither leads to a key of his.
        let genuine = ask(&real.address, &get("/kmc/v1/root")).await.expect("an answer").body;
        let forged = ask(&his.address, &get("/kmc/v1/root")).await.expect("an answer").body;
        let mixed = swapped(&genuine, &forged);
        wire.on_answer(move |_, answer| answer.body.clone_from(&mixed));
        let refused = home.job().await.expect("it wants to enrol").expect_err("a statement of another KMC's");
        assert!(matches!(refused, LinkError::Statement(_)), "{refused}");
        // Left alone, the same home enrols at the real one: nothing of its token was used up.
        wire.lead_to(&real.address);
        wire.listen_only();
        let mut home = home.restart();
        until("the home enrols", async || home.job().await.and_then(Result::ok)).await;
        assert_eq!(home.member.statement().expect("enrolled").kmc(), home.member.authority().expect("met").kmc());

        let making_us = cpu::micros(4, || drop(secure_http::crypto::SigningKey::generate(&mut rng())));
        Findings {
            plain: "reads the token, is taken for the utility, and enrols with it himself".to_owned(),
            sealed: "a centre of his own is not that of the printed fingerprint; the token never leaves the home"
                .to_owned(),
            cost: format!(
                "attacker a whole centre (each key {making_us:.0} µs), defender {refusing_us:.0} µs a try; \
                 a root key of the same fingerprint takes 2^128 keys"
            ),
        }
    });
}

/// A command as the attacker makes it, that answers the poll of a home.
fn answer_of(issuer: PartyId, keys: &OwnKeys, home: &Gateway, answers: Nonce, body: &[u8]) -> Vec<u8> {
    let to = home.member.statement().expect("enrolled");
    let kem = to.kem().expect("a party's statement");
    let draft = Draft {
        kind: Kind::Command,
        answers: Some(answers),
        seq: u64::MAX / 2,
        policy: home.member.policy().version(),
        issued: now(),
        lifetime_s: 60,
        body,
    };
    seal(&draft, (issuer, keys.sig()), (to.subject(), kem), &mut rng()).expect("a short body").bytes
}

#[test]
fn who_stands_between_a_home_and_its_utility_can_only_cut_the_wire() {
    row("Man in the middle: utility", async || {
        let utility = PlainUtility::start().await;
        let wire = Wire::to(&utility.address).await;
        wire.on_request(|request| {
            request.path().starts_with("/poll").then(|| Message::answer("application/cbor", switch_off(1).encode()))
        });
        let mut home = PlainHome::new("home");
        home.poll(&wire.address(), &poll()).await;
        assert_eq!(home.obeyed.len(), 1, "it switches the heat pump off");

        let world = World::new().await;
        let (mut home, insider) = (world.home(1).await, world.home(2).await);
        let body = switch_off(1).encode();
        let his = OwnKeys::generate(&mut rng());
        let utility = home.utility().subject();
        let mut refusing_us: f64 = 0.0;
        for (issuer, keys) in [(utility, &his), (party(2), insider.member.keys()), (utility, insider.member.keys())] {
            let asked = home.seal(Kind::Poll, None, &poll().encode());
            let forged = answer_of(issuer, keys, &home, asked.cti, &body);
            let began = cpu::of_thread();
            let answer = home.answered(&forged, asked.cti);
            refusing_us = refusing_us.max((cpu::of_thread() - began).as_secs_f64() * 1e6);
            assert!(matches!(answer, Answer::Stopped(Reason::NotAwaited | Reason::UnknownKey)), "{answer:?}");
        }
        let cti = Nonce([1; 8]);
        let making_us = cpu::micros(8, || drop(answer_of(utility, &his, &home, cti, &body)));
        // A server's answers that are no answers at all, and the wire cut: nothing is done, and it asks again.
        let wire = Wire::to(&world.utility.address).await;
        wire.on_request(move |_| Some(Message::answer("application/cbor", switch_off(2).encode())));
        assert!(matches!(home.poll(&wire.address(), &poll()).await, Answer::Stopped(Reason::Malformed(_))));
        wire.listen_only();
        assert!(home.poll(&wire.address(), &poll()).await.command().is_some());

        // He has broken into the KMC and has it state keys of his own as the utility's.
        let known = home.utility().clone();
        let token = world.kmc.token("utility", Some(party(UTILITY)), &world.kmc.address);
        let clock = secure_http::Clock::from_wall(now(), daemon_kit::clock::boottime());
        let mut impostor = Membership::candidate(&token, party(UTILITY), Role::Utility, clock, &mut rng());
        let boot = daemon_kit::clock::boottime;
        let job = impostor.begin(boot(), &mut rng()).expect("it enrols");
        impostor.finish(job.run(boot, rng()).await, boot(), &mut rng()).expect("a KMC that is his");
        let mut home = home.restart();
        let refused = until("the home asks for its utility", async || home.job().await.and_then(Result::err)).await;
        assert!(matches!(refused, LinkError::Statement(StatementError::NoSuccession)), "{refused}");
        assert_eq!(*home.utility(), known, "it keeps to the keys that it knows");
        Findings {
            plain: "has the home obey him".to_owned(),
            sealed: "can only cut the wire; even as the KMC he does not get between those who know each other"
                .to_owned(),
            cost: format!(
                "attacker {making_us:.0} µs, defender {refusing_us:.0} µs a try = {:.0} : 1",
                making_us / refusing_us
            ),
        }
    });
}

#[test]
fn a_message_with_a_byte_changed_on_the_way_is_no_message() {
    row("Tampering", async || {
        let utility = PlainUtility::start().await;
        let wire = Wire::to(&utility.address).await;
        wire.on_request(|request| {
            // The appliance draws 90 W: two bytes of CBOR, and another number fits in.
            let at = request.body.windows(2).position(|w| w == [0x18, 90]).expect("90 in a report");
            request.body[at + 1] = 250;
            None
        });
        let home = PlainHome::new("home");
        assert!(home.tell(&wire.address(), &report(1, "heat pump", PowerState::On)).await);
        let power = utility.told().homes["home"].appliances[0].power;
        assert_eq!(power.map(energy_model::Watts::count), Some(250));

        let world = World::new().await;
        let wire = Wire::to(&world.utility.address).await;
        let mut home = world.home(1).await;
        let opened = world.utility.step("opened").await;
        for part in 0..FEW {
            wire.on_request(move |request| {
                let at = part * (request.body.len() - 1) / (FEW - 1);
                request.body[at] ^= 0x04;
                None
            });
            let answer = home.report(&wire.address(), &report(1, "heat pump", PowerState::Off)).await;
            assert!(matches!(answer, Answer::Refused(400 | 401)), "part {part}: {answer:?}");
        }
        assert_eq!((world.utility.step("opened").await, world.utility.state(1, "heat-pump")), (opened, None));
        wire.listen_only();
        next_second().await;
        let stored = home.report(&wire.address(), &report(1, "heat pump", PowerState::On)).await.stored();
        assert_eq!(stored.expect("an answer").state, utility_wire::BatchState::Stored, "the first of that number");
        for part in 0..FEW {
            wire.on_answer(move |_, answer| {
                let at = part * (answer.body.len() - 1) / (FEW - 1);
                answer.body[at] ^= 0x04;
            });
            let answer = home.poll(&wire.address(), &poll()).await;
            assert!(matches!(answer, Answer::Stopped(_)), "part {part}: {answer:?}");
        }
        wire.listen_only();
        assert!(home.poll(&wire.address(), &poll()).await.command().is_some());

        let recorded = home.seal(Kind::Report, None, &report(2, "heat pump", PowerState::Off).encode()).bytes;
        let changed = |part: usize| {
            let mut raw = recorded.clone();
            let at = part * (raw.len() - 1) / (FEW - 1);
            raw[at] ^= 0x04;
            Message::post("/u/v1/report", CONTENT_TYPE_SIGN1, raw)
        };
        let making_us = cpu::micros(64, || drop(changed(7)));
        let requests: Vec<_> = (0..FEW).map(changed).collect();
        next_second().await;
        let tried = tries(world.utility.pid(), neighbour(1, 1), &world.utility.address, &requests, making_us).await;
        assert!(tried.statuses().iter().all(|status| matches!(status, 400 | 401)));
        Findings {
            plain: "has the home draw 250 W in place of 90".to_owned(),
            sealed: "nothing changed is opened, either way; the home tells it again".to_owned(),
            cost: tried.cost(),
        }
    });
}

fn get(path: &str) -> Message {
    Message { first: format!("GET {path} HTTP/1.1"), ..Message::post(path, "", Vec::new()) }
}

/// The genuine statements with the KMC's own, the first, replaced by the attacker's.
fn swapped(genuine: &[u8], forged: &[u8]) -> Vec<u8> {
    let decode = |bytes| secure_http::KeyAnswer::decode(bytes).expect("statements");
    let (mut genuine, forged) = (decode(genuine), decode(forged));
    genuine.statements[0].clone_from(&forged.statements[0]);
    genuine.encode()
}
