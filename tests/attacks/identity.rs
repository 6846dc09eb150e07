//! Who says that he is somebody, and who says that he is many.

use energy_model::PowerState;
use secure_http::code_points::{CONTENT_TYPE_ENCRYPT0, CONTENT_TYPE_SIGN1};
use secure_http::{
    Draft, KeyAnswer, KeyId, Kind, OwnKeys, PartyId, Statement, TokenSecret, endpoints, request_enrolment, seal,
};
use secure_link::{At, Kmc, LinkError};
use utility_wire::Message as _;

use crate::cpu;
use crate::daemons::{neighbour, next_second, party};
use crate::effort::{FEW, tries};
use crate::events::report;
use crate::gateway::{now, rng};
use crate::plain::{PlainHome, PlainUtility};
use crate::table::{Findings, row};
use crate::wire::Message;
use crate::world::World;

/// A message by these keys under any name, as new as can be.
pub(crate) fn forged(issuer: PartyId, keys: &OwnKeys, to: &Statement, kind: Kind, seq: u64, body: &[u8]) -> Vec<u8> {
    let draft = Draft { kind, answers: None, seq, policy: 1, issued: now(), lifetime_s: 30, body };
    let to = (to.subject(), to.kem().expect("a party's statement"));
    seal(&draft, (issuer, keys.sig()), to, &mut rng()).expect("a short body").bytes
}

/// The same, and it says that it was signed with another key: whoever looks that key up has to check the signature.
pub(crate) fn forged_kid(
    kid: KeyId,
    issuer: PartyId,
    keys: &OwnKeys,
    to: &Statement,
    seq: u64,
    body: &[u8],
) -> Vec<u8> {
    let mut raw = forged(issuer, keys, to, Kind::Report, seq, body);
    let own = secure_http::key_id(keys.sig().public().to_bytes()).0;
    let at = raw.windows(8).position(|w| w == own).expect("the kid stands in the header");
    raw[at..at + 8].copy_from_slice(&kid.0);
    raw
}

#[test]
fn a_stranger_and_a_neighbour_speak_for_nobody() {
    row("Authentication", async || {
        let utility = PlainUtility::start().await;
        let home = PlainHome::new("home");
        assert!(home.tell(&utility.address, &report(1, "heat pump", PowerState::On)).await);
        assert!(PlainHome::new("home").tell(&utility.address, &report(2, "heat pump", PowerState::Off)).await);
        assert_eq!(utility.told().state("home", "heat-pump"), Some(PowerState::Off), "whoever says it is the home is");

        let world = World::new().await;
        let (mut home, neighbour_home) = (world.home(1).await, world.home(2).await);
        assert!(home.report(&world.utility.address, &report(1, "heat pump", PowerState::On)).await.stored().is_some());
        let to = home.utility().clone();
        let body = report(2, "heat pump", PowerState::Off).encode();
        let keys = OwnKeys::generate(&mut rng());
        let kid = home.member.statement().expect("enrolled").kid();
        let mut attempts = vec![
            forged(party(1), &keys, &to, Kind::Report, 500, &body),
            forged(party(77), &keys, &to, Kind::Report, 500, &body),
            forged(party(1), neighbour_home.member.keys(), &to, Kind::Report, 500, &body),
            forged_kid(kid, party(1), &keys, &to, 500, &body),
            forged_kid(kid, party(1), neighbour_home.member.keys(), &to, 500, &body),
        ];
        let making_us = cpu::micros(8, || drop(forged_kid(kid, party(1), &keys, &to, 500, &body)));
        let requests: Vec<_> =
            attempts.drain(..).map(|raw| Message::post("/u/v1/report", CONTENT_TYPE_SIGN1, raw)).collect();
        let tried = tries(world.utility.pid(), neighbour(1, 1), &world.utility.address, &requests, making_us).await;
        assert_eq!(tried.statuses(), [401], "all alike");
        assert!(tried.answers.iter().all(|a| a.body == tried.answers[0].body));
        assert_eq!(world.utility.state(1, "heat-pump"), Some("ON".to_owned()));
        // At the KMC: somebody else's word where the home is reached, and an order of a home.
        let kmc = kmc_statement(&world).await;
        let elsewhere = KeyAnswer {
            statements: vec![home.member.statement().expect("enrolled").raw().to_vec()],
            succession: None,
            path: Vec::new(),
            revocations: 0,
            host: Some("thief.example".to_owned()),
        };
        let raw = forged(party(1), &keys, &kmc, Kind::KeyStatement, 500, &elsewhere.encode());
        let request = Message::post(endpoints::KEY, CONTENT_TYPE_SIGN1, raw);
        let at_kmc = tries(world.kmc.pid(), neighbour(1, 1), &world.kmc.address, &[request], 0.0).await;
        assert_eq!((at_kmc.statuses(), world.kmc.host_of(party(1))), (vec![401], None));

        // What a try costs that makes the utility check a signature, the dearest that a stranger can send.
        next_second().await;
        let dearest: Vec<_> = (0..FEW as u64)
            .map(|i| forged_kid(kid, party(1), &keys, &to, 600 + i, &body))
            .map(|raw| Message::post("/u/v1/report", CONTENT_TYPE_SIGN1, raw))
            .collect();
        let tried = tries(world.utility.pid(), neighbour(1, 1), &world.utility.address, &dearest, making_us).await;
        assert_eq!(tried.statuses(), [401]);
        Findings {
            plain: "switches the heat pump's state in the home's name".to_owned(),
            sealed: "one 401 for all of them, nothing stored; a home can't speak for its neighbour".to_owned(),
            cost: tried.cost(),
        }
    });
}

/// The KMC's own statement, which everybody can read.
pub(crate) async fn kmc_statement(world: &World) -> Statement {
    let token = world.kmc.token("heg", None, &world.kmc.address);
    let at = At { time: Some(now()), guess: now(), boot: daemon_kit::clock::boottime() };
    let kmc = Kmc::meet(&world.kmc.address, token.fingerprint(), at).await.expect("the KMC answers");
    kmc.statement().clone()
}

#[test]
fn one_token_makes_one_home_and_made_up_names_make_none() {
    row("Sybil", async || {
        let utility = PlainUtility::start().await;
        for i in 0..100 {
            assert!(
                PlainHome::new(&format!("home-{i}")).tell(&utility.address, &report(1, "fridge", PowerState::On)).await
            );
        }
        assert_eq!(utility.told().homes.len(), 100);

        let world = World::new().await;
        let home = world.home(1).await;
        let to = home.utility().clone();
        // One token, ten names: the first that asks has it.
        let token = world.kmc.token("heg", None, &world.kmc.address);
        let at = || At { time: Some(now()), guess: now(), boot: daemon_kit::clock::boottime() };
        let mut kmc = Kmc::meet(&world.kmc.address, token.fingerprint(), at()).await.expect("the KMC answers");
        let mut enrolled = 0;
        for name in 10..15 {
            let keys = OwnKeys::generate(&mut rng());
            match kmc.enrol(token.secret(), party(name), &keys, 1, at(), &mut rng()).await {
                Ok(_) => enrolled += 1,
                Err(LinkError::Refused(_) | LinkError::Busy { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(enrolled, 1);
        // Another token, and the keys or the name that a home has already.
        let token = world.kmc.token("heg", None, &world.kmc.address);
        let twin = kmc.enrol(token.secret(), party(16), home.member.keys(), 1, at(), &mut rng()).await;
        assert!(matches!(twin, Err(LinkError::Refused(_))), "the same keys under another name");
        let keys = OwnKeys::generate(&mut rng());
        let double = kmc.enrol(token.secret(), party(1), &keys, 1, at(), &mut rng()).await;
        assert!(matches!(double, Err(LinkError::Refused(_))), "other keys under the same name");
        // Names that nobody stated, at the utility.
        let body = report(1, "fridge", PowerState::On).encode();
        let requests: Vec<_> = (100..100 + FEW as u8)
            .map(|name| forged(party(name), &keys, &to, Kind::Report, 1, &body))
            .map(|raw| Message::post("/u/v1/report", CONTENT_TYPE_SIGN1, raw))
            .collect();
        let tried = tries(world.utility.pid(), neighbour(1, 1), &world.utility.address, &requests, 0.0).await;
        assert_eq!(tried.statuses(), [401]);
        assert_eq!(world.kmc.command(&["status"])["gateways"], 2, "the home and the one token's");
        // What a made-up home costs: keys and a request, refused by the name of its token.
        let kem = kmc.statement().kem().expect("a KMC's statement").clone();
        let request = || {
            let keys = OwnKeys::generate(&mut rng());
            let secret = TokenSecret::generate(&mut rng());
            request_enrolment(party(20), keys.sig(), keys.kem().public(), &secret, &kem, &mut rng())
                .expect("a request")
                .0
        };
        let making_us = cpu::micros(4, || drop(request()));
        let requests: Vec<_> =
            (0..FEW).map(|_| Message::post(endpoints::ENROL, CONTENT_TYPE_ENCRYPT0, request())).collect();
        next_second().await;
        let tried = tries(world.kmc.pid(), neighbour(1, 1), &world.kmc.address, &requests, making_us).await;
        assert_eq!(tried.statuses(), [401]);
        Findings {
            plain: "is a hundred homes".to_owned(),
            sealed: "one home a token, one name a key, one key a name".to_owned(),
            cost: tried.cost(),
        }
    });
}
