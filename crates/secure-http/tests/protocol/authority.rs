//! Who is believed: statements, their succession, policies, revocation, enrolment, roll-over.

use crate::common::{DAY_S, Kmc, NOW, World, for_days, known, party};
use proptest::prelude::*;
use secure_http::crypto::{self, CryptoError, DIGEST_BYTES, KemKey};
use secure_http::limits::{KEY_BITS_MIN, REVOKED_MAX};
use secure_http::{
    Ack, Authority, Broadcast, BroadcastError, Cookie, CookieSecrets, EnrolChallenge, EnrolConfirm, EnrolmentError,
    EnrolmentRequest, EnrolmentToken, Fingerprint, KeyAnswer, KeyRequest, Kind, Malformed, Order, Ordered, OwnKeys,
    Policy, PolicyError, PolicyState, Reason, RevocationError, RevocationList, Role, Rollover, Rules, SealedError,
    Serial, Standing, Statement, StatementDraft, StatementError, TimeAnswer, TokenSecret, UnixTime, Window,
    confirm_succession, request_enrolment,
};

fn draft<'a>(kmc: &Kmc, role: Role, keys: &'a OwnKeys) -> StatementDraft<'a> {
    StatementDraft {
        kmc: kmc.id,
        subject: party(9),
        role,
        serial: Serial(900),
        validity: for_days(20),
        sig: keys.sig().public(),
        kem: (!matches!(role, Role::Root | Role::Issuing)).then(|| keys.kem().public()),
        previous: None,
        link: [0; DIGEST_BYTES],
    }
}

#[test]
fn a_statement_is_believed_along_the_chain_from_the_printed_fingerprint() {
    let world = World::new();
    let statement = world.kmc.authority.statement(world.home.statement.raw(), Some(NOW)).unwrap();
    assert_eq!((statement.subject(), statement.role(), statement.serial()), (world.home.id, Role::Gateway, Serial(4)));
    assert_eq!(statement.sig(), world.home.keys.sig().public());
    assert_eq!(Statement::from_store(statement.raw()), Ok(statement.clone()));
    // The next statement of the same key names this one's hash.
    assert_eq!(world.other.statement.link(), &statement.digest());
    assert!((350..450).contains(&statement.raw().len()), "{}", statement.raw().len());
}

#[test]
fn another_root_and_keys_that_may_not_state_are_not_believed() {
    let mut world = World::new();
    let kmc = &world.kmc;
    let (root, issuing) = (kmc.authority.root().raw(), kmc.authority.issuing().raw());
    let other = Fingerprint::of(world.home.keys.sig().public());
    let establish = |fingerprint, root, issuing, now| Authority::establish(fingerprint, root, issuing, now).map(|_| ());
    assert_eq!(establish(other, root, issuing, Some(NOW)), Err(StatementError::OtherRoot));
    let fingerprint = Fingerprint::of(kmc.root.public());
    assert_eq!(establish(fingerprint, root, root, Some(NOW)), Err(StatementError::NotEntitled));
    assert_eq!(establish(fingerprint, root, issuing, Some(NOW.plus(400 * DAY_S))), Err(StatementError::NotValid));
    assert_eq!(establish(fingerprint, root, issuing, None), Ok(()), "while the time is not known");
    assert!(!kmc.authority.holds(NOW.plus(400 * DAY_S)) && kmc.authority.holds(NOW));

    let keys = OwnKeys::generate(&mut world.rng);
    // A party's key states another party; the root key states a party; the issuing key an issuing key.
    let by_party = draft(kmc, Role::Gateway, &keys).issue(world.home.keys.sig()).unwrap();
    let wrong = Err(StatementError::Crypto(CryptoError::Signature));
    assert_eq!(kmc.authority.statement(by_party.raw(), Some(NOW)).map(|_| ()), wrong);
    let by_root = draft(kmc, Role::Gateway, &keys).issue(&kmc.root).unwrap();
    assert_eq!(kmc.authority.statement(by_root.raw(), Some(NOW)).map(|_| ()), wrong);
    let issuing = draft(kmc, Role::Issuing, &keys).issue(&kmc.issuing).unwrap();
    let not_entitled = Err(StatementError::NotEntitled);
    assert_eq!(kmc.authority.statement(issuing.raw(), Some(NOW)).map(|_| ()), not_entitled);
    assert_eq!(kmc.authority.reissue(issuing.raw(), Some(NOW)).map(|_| ()), wrong);
    let foreign = StatementDraft { kmc: party(8), ..draft(kmc, Role::Gateway, &keys) }.issue(&kmc.issuing).unwrap();
    assert_eq!(kmc.authority.statement(foreign.raw(), Some(NOW)).map(|_| ()), not_entitled);
    let later = draft(kmc, Role::Gateway, &keys).issue(&kmc.issuing).unwrap();
    let after = Some(NOW.plus(20 * DAY_S));
    assert_eq!(kmc.authority.statement(later.raw(), after).map(|_| ()), Err(StatementError::NotValid));
}

#[test]
fn statements_hold_no_longer_than_their_role_allows() {
    let world = World::new();
    let keys = &world.home.keys;
    for (role, days) in [(Role::Gateway, 30), (Role::Issuing, 366), (Role::Root, 10_957)] {
        let long = StatementDraft { validity: for_days(days), ..draft(&world.kmc, role, keys) };
        assert_eq!(long.issue(&world.kmc.issuing).map(|_| ()), Err(StatementError::TooLong), "{role:?}");
        let fits = StatementDraft { validity: for_days(days - 1), ..draft(&world.kmc, role, keys) };
        assert!(fits.issue(&world.kmc.issuing).is_ok(), "{role:?}");
    }
}

#[test]
fn new_keys_of_a_known_peer_need_the_old_key_or_the_root() {
    let mut world = World::new();
    let keys = OwnKeys::generate(&mut world.rng);
    let known = world.utility.statement.clone();
    let next = world.kmc.state(world.utility.id, Role::Utility, &keys, Some(known.serial()));
    let authority = &world.kmc.authority;
    let refused = Err(StatementError::NoSuccession);
    assert_eq!(authority.succession(&known, &next, None, &[]), refused);
    for (signer, expected) in [
        (world.utility.keys.sig(), Ok(())),
        (&world.kmc.root, Ok(())),
        (&world.kmc.issuing, refused),
        (keys.sig(), refused),
    ] {
        let proof = confirm_succession(&next, signer).unwrap();
        assert_eq!(authority.succession(&known, &next, Some(&proof), &[]), expected);
    }
    let of_another = confirm_succession(&known, world.utility.keys.sig()).unwrap();
    assert_eq!(authority.succession(&known, &next, Some(&of_another), &[]), refused);
    assert_eq!(authority.succession(&known, &world.home.statement, None, &[]), Err(StatementError::NotEntitled));

    let renewed = world.kmc.state(world.utility.id, Role::Utility, &world.utility.keys, Some(known.serial()));
    let authority = &world.kmc.authority;
    assert_eq!(authority.succession(&known, &renewed, None, &[]), Ok(()), "the same keys for longer");
    assert_eq!(authority.succession(&renewed, &known, None, &[]), refused, "never back");
}

#[test]
fn who_was_away_while_the_signing_key_changed_follows_step_by_step_and_none_may_be_missing_or_anothers() {
    let mut world = World::new();
    let all: Vec<_> = (0..3).map(|_| OwnKeys::generate(&mut world.rng)).collect();
    let known = world.utility.statement.clone();
    let mut line = vec![known.clone()];
    for keys in &all {
        let previous = Some(line.last().unwrap().serial());
        line.push(world.kmc.state(world.utility.id, Role::Utility, keys, previous));
    }
    let authority = &world.kmc.authority;
    let word = |of: usize, by: &OwnKeys| confirm_succession(&line[of], by.sig()).unwrap();
    let step = |of: usize, by: &OwnKeys| (line[of].raw().to_vec(), word(of, by));
    let way = [step(1, &world.utility.keys), step(2, &all[0])];
    let last = word(3, &all[1]);
    assert_eq!(authority.succession(&known, &line[3], Some(&last), &way), Ok(()));
    assert_eq!(authority.succession(&line[1], &line[3], Some(&last), &way[1..]), Ok(()));
    let whole = [&way[..], &[(line[3].raw().to_vec(), last.clone())]].concat();
    assert_eq!(
        authority.succession(&known, &line[3], None, &whole),
        Ok(()),
        "stated anew, it bears no word of its own"
    );
    let refused = Err(StatementError::NoSuccession);
    for way in [&way[..0], &way[..1], &way[1..], &[way[1].clone(), way[0].clone()]] {
        assert_eq!(authority.succession(&known, &line[3], Some(&last), way), refused, "{}", way.len());
    }
    let forged = [step(1, &world.utility.keys), step(2, &all[2])];
    assert_eq!(authority.succession(&known, &line[3], Some(&last), &forged), refused);
    let through_another = (world.home.statement.raw().to_vec(), way[0].1.clone());
    assert_eq!(authority.succession(&known, &line[3], Some(&last), &[through_another, way[1].clone()]), refused);
}

#[test]
fn policy_versions_only_go_up_also_after_a_restart() {
    let world = World::new();
    let state = PolicyState::default();
    assert_eq!((state.version(), state.standing(Some(NOW))), (0, Standing::LocalOnly));
    let verified = Policy::verify(world.kmc.policy(5).raw(), &world.kmc.authority).unwrap();
    let state = state.adopt(verified.clone(), NOW).unwrap();
    let restarted = PolicyState::new(Some(Policy::from_store(verified.raw()).unwrap()));
    assert_eq!(restarted, state);
    for version in [1, 4] {
        assert_eq!(restarted.adopt(world.kmc.policy(version), NOW), Err(PolicyError::NotNewer), "{version}");
    }
    assert_eq!(restarted.adopt(verified, NOW), Ok(state.clone()), "the same again");
    let other_rules = Rules { message_s: 30, ..Rules::default() };
    let other = Policy::issue(world.kmc.id, 5, for_days(30), &other_rules, &world.kmc.issuing).unwrap();
    assert_eq!(restarted.adopt(other, NOW), Err(PolicyError::NotNewer));
    assert_eq!(restarted.adopt(world.kmc.policy(6), NOW).map(|state| state.version()), Ok(6));

    // An expired policy leaves local control and its version.
    let late = NOW.plus(30 * DAY_S);
    assert_eq!((state.standing(Some(NOW)), state.standing(Some(late))), (Standing::InForce, Standing::LocalOnly));
    assert_eq!((state.standing(None), state.version()), (Standing::LocalOnly, 5));
    assert_eq!(state.adopt(world.kmc.policy(6), late), Err(PolicyError::NotValid));
}

#[test]
fn a_policy_below_the_floor_or_from_others_is_not_followed() {
    let world = World::new();
    let kmc = &world.kmc;
    type Change = fn(&mut Rules);
    let below: &[Change] = &[
        |rules| rules.sig_algorithms = vec![-65_535],
        |rules| rules.kem_suites = vec![],
        |rules| rules.key_bits_min = 128,
        |rules| rules.key_bits_min = KEY_BITS_MIN + 1,
        |rules| rules.message_s = 3600,
        |rules| rules.message_s = 0,
        |rules| rules.skew_s = 3600,
        |rules| rules.sig_key_s = u64::MAX,
        |rules| rules.kem_key_s = 365 * DAY_S,
        |rules| rules.refresh_s = 0,
    ];
    for change in below {
        let mut rules = Rules::default();
        change(&mut rules);
        let issued = Policy::issue(kmc.id, 1, for_days(30), &rules, &kmc.issuing);
        assert_eq!(issued, Err(PolicyError::BelowFloor), "{rules:?}");
    }
    assert_eq!(
        Policy::issue(kmc.id, 0, for_days(30), &Rules::default(), &kmc.issuing),
        Err(PolicyError::BelowFloor),
        "version 0 is none"
    );
    let more = Rules { sig_algorithms: vec![-7, -65_535], ..Rules::default() };
    assert!(Policy::issue(kmc.id, 1, for_days(30), &more, &kmc.issuing).is_ok(), "one more that we do not know");
    let by_root = Policy::issue(kmc.id, 1, for_days(30), &Rules::default(), &kmc.root).unwrap();
    let wrong = Err(PolicyError::Crypto(CryptoError::Signature));
    assert_eq!(Policy::verify(by_root.raw(), &kmc.authority), wrong);
    let foreign = Policy::issue(party(8), 1, for_days(30), &Rules::default(), &kmc.issuing).unwrap();
    assert_eq!(Policy::verify(foreign.raw(), &kmc.authority), Err(PolicyError::OtherKmc));
}

#[test]
fn a_revocation_list_names_serials_and_only_a_newer_one_takes_its_place() {
    let world = World::new();
    let kmc = &world.kmc;
    let issue = |version, serials| RevocationList::issue(kmc.id, version, NOW, serials, &kmc.issuing);
    let list = issue(3, vec![Serial(9), Serial(4), Serial(9)]).unwrap();
    let list = RevocationList::verify(list.raw(), &kmc.authority).unwrap();
    assert!(list.contains(Serial(4)) && list.contains(Serial(9)) && !list.contains(Serial(5)));
    assert_eq!((list.version(), list.issued()), (3, NOW));
    assert_eq!(list.succeeded_by(issue(2, vec![]).unwrap()), Err(RevocationError::NotNewer));
    assert_eq!(list.succeeded_by(issue(3, vec![]).unwrap()), Err(RevocationError::NotNewer));
    assert!(list.succeeded_by(issue(4, vec![]).unwrap()).is_ok());
    let full: Vec<_> = (0..REVOKED_MAX as u64).map(|i| Serial(u64::MAX - i)).collect();
    assert!(issue(5, full.clone()).is_ok());
    let over = full.into_iter().chain([Serial(1)]).collect();
    assert_eq!(issue(5, over).unwrap_err(), RevocationError::Malformed(Malformed::TooLong));
}

/// An enrolment from the printed token to the active statement.
#[test]
fn a_gateway_enrols_with_its_token_and_shows_that_it_holds_both_keys() {
    let mut world = World::new();
    let kmc_keys = OwnKeys::generate(&mut world.rng);
    let kmc_statement = world.kmc.state(world.kmc.id, Role::Kmc, &kmc_keys, None);
    let printed = EnrolmentToken::new(
        "kmc.example",
        TokenSecret::generate(&mut world.rng),
        Fingerprint::of(world.kmc.root.public()),
    )
    .unwrap()
    .to_string();

    // The gateway has the text and what the KMC gives everybody.
    let token: EnrolmentToken = printed.parse().unwrap();
    let (root, issuing) = (world.kmc.authority.root().raw(), world.kmc.authority.issuing().raw());
    let authority = Authority::establish(token.fingerprint(), root, issuing, None).unwrap();
    let kmc = authority.statement(kmc_statement.raw(), None).unwrap();
    let keys = OwnKeys::generate(&mut world.rng);
    let id = party(0x42);
    let (request, nonce) =
        request_enrolment(id, keys.sig(), keys.kem().public(), token.secret(), kmc.kem().unwrap(), &mut world.rng)
            .unwrap();

    // The KMC.
    let parsed = EnrolmentRequest::parse(&request).unwrap();
    assert_eq!(
        (parsed.token(), parsed.recipient_kid()),
        (token.secret().id(), secure_http::key_id(kmc_keys.kem().public().to_bytes()))
    );
    let enrolment = parsed.open(kmc_keys.kem(), token.secret()).unwrap();
    assert_eq!((enrolment.party, &enrolment.sig, &enrolment.kem), (id, keys.sig().public(), keys.kem().public()));
    assert_eq!((enrolment.token, enrolment.nonce), (token.secret().id(), nonce));
    let pending = world.kmc.state(id, Role::Gateway, &keys, None);
    let challenge = EnrolChallenge { statement: pending.raw().to_vec(), challenge: [7; 16] };

    // The challenge travels sealed to the new key; the answer is signed with the new key.
    let mut kmc_party = crate::common::Party::new(&mut world.kmc, 0xfe, Role::Kmc, &mut world.rng);
    let mut gateway = crate::common::Party::new(&mut world.kmc, 0x42, Role::Gateway, &mut world.rng);
    gateway.awaited.sent(nonce, kmc_party.id, crate::common::BOOT);
    let to_gateway =
        kmc_party.send(&gateway, Kind::EnrolConfirm, Some(nonce), &challenge.encode(), &mut world.rng).bytes;
    let (opened, _) = gateway.receive(&to_gateway, None, &Window::new(), known(&kmc_party.statement)).unwrap();
    let challenge = EnrolChallenge::decode(&opened.body).unwrap();
    assert_eq!(authority.statement(&challenge.statement, None).unwrap().subject(), id);
    let confirm = EnrolConfirm { challenge: challenge.challenge }.encode();
    let answers = Some(opened.head.cti);
    let to_kmc = gateway.send(&kmc_party, Kind::EnrolConfirm, answers, &confirm, &mut world.rng).bytes;
    let (opened, _) = kmc_party.receive(&to_kmc, Some(NOW), &Window::new(), known(&gateway.statement)).unwrap();
    assert_eq!(EnrolConfirm::decode(&opened.body).unwrap().challenge, [7; 16]);
}

#[test]
fn an_enrolment_without_the_right_token_or_with_any_byte_changed_does_not_open() {
    let mut world = World::new();
    let kmc = KemKey::generate(&mut world.rng);
    let token = TokenSecret::generate(&mut world.rng);
    let keys = OwnKeys::generate(&mut world.rng);
    let (request, _) =
        request_enrolment(party(9), keys.sig(), keys.kem().public(), &token, kmc.public(), &mut world.rng).unwrap();
    let open = |raw: &[u8], key: &KemKey, token| -> Result<(), EnrolmentError> {
        EnrolmentRequest::parse(raw)?.open(key, token).map(|_| ())
    };
    assert_eq!(open(&request, &kmc, &token), Ok(()));
    let refused = Err(EnrolmentError::Crypto(CryptoError::Open));
    let (other_token, other_key) = (TokenSecret::generate(&mut world.rng), KemKey::generate(&mut world.rng));
    assert_eq!(open(&request, &kmc, &other_token), refused);
    assert_eq!(open(&request, &other_key, &token), refused);
    for i in 0..request.len() {
        let mut changed = request.clone();
        changed[i] ^= 1;
        assert!(open(&changed, &kmc, &token).is_err(), "byte {i}");
    }
}

#[test]
fn a_rollover_is_signed_by_the_new_key_and_speaks_of_its_sender_only() {
    let mut world = World::new();
    let new = OwnKeys::generate(&mut world.rng);
    let serial = world.home.statement.serial();
    let body = Rollover::body(world.home.id, new.sig(), new.kem().public(), serial).unwrap();
    let rollover = Rollover::verify(&body, &world.home.id).unwrap();
    assert_eq!((&rollover.sig, &rollover.kem, rollover.previous), (new.sig().public(), new.kem().public(), serial));
    let wrong = Err(EnrolmentError::Crypto(CryptoError::Signature));
    assert_eq!(Rollover::verify(&body, &world.other.id), wrong);
    for i in 0..body.len() {
        let mut changed = body.clone();
        changed[i] ^= 1;
        assert!(Rollover::verify(&changed, &world.home.id).is_err(), "byte {i}");
    }
}

#[test]
fn signed_objects_with_any_byte_changed_or_of_another_sort_are_refused() {
    let world = World::new();
    let kmc = &world.kmc;
    let policy = kmc.policy(3);
    let list = RevocationList::issue(kmc.id, 1, NOW, vec![Serial(4)], &kmc.issuing).unwrap();
    let statement = &world.home.statement;
    let as_statement = |raw: &[u8]| kmc.authority.statement(raw, Some(NOW)).is_ok();
    let as_policy = |raw: &[u8]| Policy::verify(raw, &kmc.authority).is_ok();
    let as_list = |raw: &[u8]| RevocationList::verify(raw, &kmc.authority).is_ok();
    type Check<'a> = &'a dyn Fn(&[u8]) -> bool;
    let sorts: [(&[u8], Check<'_>); 3] =
        [(statement.raw(), &as_statement), (policy.raw(), &as_policy), (list.raw(), &as_list)];
    for (i, (raw, _)) in sorts.iter().enumerate() {
        for (j, (_, check)) in sorts.iter().enumerate() {
            assert_eq!(check(raw), i == j, "{i} as {j}");
        }
    }
    for (raw, check) in sorts {
        for i in 0..raw.len() {
            let mut changed = raw.to_vec();
            changed[i] ^= 1;
            // The kid is a hint; all else is signed and checked, and so is the kid.
            assert!(!check(&changed), "byte {i}");
        }
    }
}

#[test]
fn bodies_read_back_as_written() {
    let world = World::new();
    let cookie = CookieSecrets::new(NOW, &mut crate::common::Seeded::new(3)).issue(&world.home.id);
    for cookie in [None::<Cookie>, Some(cookie)] {
        let ack = Ack { time: NOW, policy: 3, revocations: 9, cookie, body: b"more".to_vec() };
        assert_eq!(Ack::decode(&ack.encode()), Ok(ack));
    }
    for party in [None, Some(party(3))] {
        let request = KeyRequest { party, known: party.map(|_| Serial(7)) };
        assert_eq!(KeyRequest::decode(&request.encode()), Ok(request));
    }
    let host = Some("[2001:db8::7]:8450".to_owned());
    let answer = KeyAnswer {
        statements: vec![b"a".to_vec(), b"b".to_vec()],
        succession: None,
        revocations: 2,
        host,
        path: vec![(b"c".to_vec(), b"d".to_vec())],
    };
    assert_eq!(KeyAnswer::decode(&answer.encode()), Ok(answer.clone()));
    for wrong in ["", "Home.example", "a b", "http://home.example/", &"h".repeat(260)] {
        let answer = KeyAnswer { host: Some(wrong.to_owned()), ..answer.clone() };
        assert_eq!(KeyAnswer::decode(&answer.encode()), Err(Malformed::Unexpected), "{wrong}");
    }
    let none = KeyAnswer { statements: vec![], ..answer.clone() };
    assert_eq!(KeyAnswer::decode(&none.encode()), Err(Malformed::Unexpected));
    let long = KeyAnswer { path: vec![(vec![], vec![]); 10], ..answer.clone() };
    assert_eq!(KeyAnswer::decode(&long.encode()), Err(Malformed::TooLong));
    let many = KeyAnswer { statements: vec![vec![]; 5], ..answer };
    assert_eq!(KeyAnswer::decode(&many.encode()), Err(Malformed::TooLong));
    let time = TimeAnswer { unix_ms: 1_900_000_000_123 };
    assert_eq!(TimeAnswer::decode(&time.encode()), Ok(time));
    for error in [
        SealedError::Stale { time: UnixTime(7) },
        SealedError::Replay,
        SealedError::Policy { current: 4 },
        SealedError::KeyExpired,
        SealedError::Unsupported,
        SealedError::Forbidden,
        SealedError::Busy { after_s: 30 },
    ] {
        assert_eq!(SealedError::decode(&error.encode()), Ok(error));
    }
}

#[test]
fn orders_read_back_as_written_and_none_is_longer_than_its_bounds() {
    let (operator, text) = ("ann".to_owned(), |bytes: usize| "x".repeat(bytes));
    let token = |party, bytes| Order::Token { party, premises: text(bytes), days: 366, operator: operator.clone() };
    let revoke = |bytes| Order::Revoke { party: party(3), reason: text(bytes), operator: operator.clone() };
    let policy = |bytes| Order::Policy { toml: text(bytes), operator: operator.clone() };
    for order in [token(None, 256), token(Some(party(3)), 0), revoke(256), policy(8192)] {
        assert_eq!(Order::decode(&order.encode()), Ok(order.clone()));
        assert_eq!(order.operator(), "ann");
    }
    let anonymous = Order::Policy { toml: text(1), operator: text(65) };
    for order in [token(None, 257), revoke(257), policy(8193), anonymous] {
        assert_eq!(Order::decode(&order.encode()), Err(Malformed::TooLong), "{order:?}");
    }
    // A number of another order's length, and one that there is not.
    for other in [2u8, 4] {
        let mut bytes = token(None, 1).encode();
        bytes[1] = other;
        assert_eq!(Order::decode(&bytes), Err(Malformed::Unexpected));
    }
    for ordered in [Ordered::Done("HEG1:...".to_owned()), Ordered::Refused("no".to_owned())] {
        assert_eq!(Ordered::decode(&ordered.encode()), Ok(ordered));
    }
    // A long reason is cut between two characters.
    let long = Ordered::Refused("é".repeat(600));
    assert_eq!(Ordered::decode(&long.encode()), Ok(Ordered::Refused("é".repeat(512))));
}

#[test]
fn a_broadcast_object_is_its_utilitys_word_and_nobody_elses() {
    let World { kmc, utility, home, .. } = &mut World::new();
    let object = Broadcast::sign(b"prices", utility.keys.sig()).unwrap();
    assert_eq!(Broadcast::verify(&object, &utility.statement).as_deref(), Ok(&b"prices"[..]));
    for i in 0..object.len() {
        let mut changed = object.clone();
        changed[i] ^= 1;
        assert!(Broadcast::verify(&changed, &utility.statement).is_err(), "byte {i}");
    }
    // What a gateway signed, what the utility signed with another key, and what is no broadcast.
    let by_home = Broadcast::sign(b"prices", home.keys.sig()).unwrap();
    assert_eq!(Broadcast::verify(&by_home, &home.statement), Err(BroadcastError::NotEntitled));
    assert_eq!(Broadcast::verify(&by_home, &utility.statement), Err(BroadcastError::OtherKey));
    let statement = utility.statement.raw();
    assert_eq!(Broadcast::verify(statement, &utility.statement), Err(BroadcastError::Malformed(Malformed::Unexpected)));
    assert!(Statement::from_store(&object).is_err() && kmc.authority.statement(&object, None).is_err());
    // The longest is as long as an answer may be.
    let too_long = Broadcast::sign(&vec![0; 64 * 1024], utility.keys.sig());
    assert_eq!(too_long, Err(BroadcastError::Malformed(Malformed::TooLong)));
    let longest = Broadcast::sign(&vec![0; 64 * 1024 - 120], utility.keys.sig()).unwrap();
    assert_eq!(Broadcast::verify(&longest, &utility.statement).unwrap().len(), 64 * 1024 - 120);
}

#[test]
fn a_signing_key_in_the_wrong_hands_is_of_no_use_after_revocation() {
    let mut world = World::new();
    let raw = world.report(b"body").bytes;
    let serial = world.home.statement.serial();
    let list = RevocationList::issue(world.kmc.id, 1, NOW, vec![serial], &world.kmc.issuing).unwrap();
    let statement = world.home.statement.clone();
    let sender = secure_http::Sender { statement: &statement, revoked: list.contains(statement.serial()) };
    let result = world.utility.receive(&raw, Some(NOW), &Window::new(), Some(sender));
    assert_eq!(result.unwrap_err(), Reason::Revoked);
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Statement::from_store(&bytes);
        let _ = Policy::from_store(&bytes);
        let _ = RevocationList::from_store(&bytes);
        let _ = EnrolmentRequest::parse(&bytes);
        let _ = Rollover::verify(&bytes, &party(1));
        let _ = Ack::decode(&bytes);
        let _ = KeyAnswer::decode(&bytes);
        let _ = Order::decode(&bytes);
        let _ = Ordered::decode(&bytes);
        let _ = EnrolChallenge::decode(&bytes);
        let _ = SealedError::decode(&bytes);
    }

    #[test]
    fn the_same_key_comes_back_from_its_bytes(bytes in any::<[u8; 32]>()) {
        if let Ok(key) = crypto::SigningKey::from_bytes(&bytes) {
            prop_assert_eq!(&*key.to_bytes(), &bytes);
        }
    }
}
