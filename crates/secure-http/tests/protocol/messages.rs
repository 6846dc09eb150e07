//! Messages between a home and a utility, and what others make of them.

use core::time::Duration;

use crate::common::{BOOT, DAY_S, NOW, World, known};
use proptest::prelude::*;
use secure_http::crypto;
use secure_http::limits::{MESSAGE_BYTES_MAX, REPORT_BYTES_MAX};
use secure_http::{
    Draft, Envelope, Kind, Malformed, OwnKeys, Policy, PolicyState, Reason, Refusal, Role, SealError, SealedError,
    Sender, Situation, UnixTime, Window, peek_issuer, seal,
};

#[test]
fn a_report_arrives_and_its_answer_names_it() {
    let mut world = World::new();
    let sealed = world.report(b"fridge: standby");
    assert_eq!(peek_issuer(&sealed.bytes), Some(world.home.id));
    let sender = known(&world.home.statement);
    let (report, window) = world.utility.receive(&sealed.bytes, Some(NOW), &Window::new(), sender).unwrap();
    assert_eq!((&report.body[..], report.head.kind, report.head.seq), (&b"fridge: standby"[..], Kind::Report, 1));
    assert_eq!(window, Window::new().commit(1).unwrap());

    let answer = world.utility.send(&world.home, Kind::Ack, Some(report.head.cti), b"thanks", &mut world.rng);
    let sender = known(&world.utility.statement);
    // The home does not know the time: the answer is fresh because it names the report.
    let (ack, _) = world.home.receive(&answer.bytes, None, &Window::new(), sender).unwrap();
    assert_eq!((&ack.body[..], ack.head.answers), (&b"thanks"[..], Some(sealed.cti)));
}

#[test]
fn each_kind_of_each_length_reads_back_and_lengths_of_a_kind_look_alike() {
    let mut world = World::new();
    let mut lengths = Vec::new();
    for (i, kind) in Kind::ALL.iter().enumerate() {
        let body = vec![i as u8; i * 4];
        let draft = world.home.draft(*kind, None, &body);
        let to = (world.utility.id, world.utility.statement.kem().unwrap());
        let sealed = seal(&draft, (world.home.id, world.home.keys.sig()), to, &mut world.rng).unwrap();
        let envelope = Envelope::parse(&sealed.bytes).unwrap();
        assert_eq!((envelope.head().kind, envelope.raw()), (*kind, &sealed.bytes[..]));
        lengths.push(sealed.bytes.len());
    }
    // 0 to 44 bytes fit one block of padding beside salt and length.
    assert!(lengths[..12].iter().all(|length| *length == lengths[0]), "{lengths:?}");
}

#[test]
fn a_message_is_as_long_as_counted_from_the_format() {
    let mut world = World::new();
    // Numbers of one byte more, as most messages have.
    world.home.seq = 100;
    let overhead = |sealed: &[u8], plaintext: usize| sealed.len() - plaintext;
    for (body, plaintext, answers, expected) in [(0, 64, false, 347), (1004, 1024, false, 349), (0, 64, true, 355)] {
        let answers = answers.then_some(secure_http::Nonce([1; 8]));
        let sealed = world.home.send(&world.utility, Kind::Report, answers, &vec![0; body], &mut world.rng);
        assert_eq!(overhead(&sealed.bytes, plaintext), expected, "body of {body}");
    }
}

/// Every byte of a message changed in every bit position of a pattern: nothing gets to the decryption.
fn every_flip_is_refused(world: &mut World, raw: &[u8], answering: bool) {
    let (receiving, statement) = if answering {
        (&mut world.home, &world.utility.statement)
    } else {
        (&mut world.utility, &world.home.statement)
    };
    for i in 0..raw.len() {
        for bit in [0x01, 0x80] {
            let mut changed = raw.to_vec();
            changed[i] ^= bit;
            let refused = receiving.receive(&changed, Some(NOW), &Window::new(), known(statement));
            assert!(refused.is_err(), "byte {i} with bit {bit:#x} changed");
        }
    }
    let steps = receiving.receiver.steps();
    assert_eq!((steps.offered, steps.verified, steps.committed, steps.opened), (raw.len() as u64 * 2, 0, 0, 0));
    assert!(steps.parsed < steps.offered && steps.fresh < steps.parsed && steps.known < steps.fresh, "{steps:?}");
}

#[test]
fn a_message_of_each_kind_with_any_byte_changed_is_refused_before_it_is_decrypted() {
    for kind in Kind::ALL {
        let mut world = World::new();
        // What goes to the home are answers; what goes to the utility are requests.
        let asked = world.home.send(&world.utility, Kind::Poll, None, b"", &mut world.rng).cti;
        let answering = matches!(kind, Kind::Command | Kind::Ack | Kind::KeyStatement | Kind::Policy | Kind::Error);
        let sealed = if answering {
            world.utility.send(&world.home, *kind, Some(asked), b"body", &mut world.rng)
        } else {
            world.home.send(&world.utility, *kind, None, b"body", &mut world.rng)
        };
        every_flip_is_refused(&mut world, &sealed.bytes, answering);
        // And unchanged it is taken, so the test says something.
        let (to, from) = if answering {
            (&mut world.home, &world.utility.statement)
        } else {
            (&mut world.utility, &world.home.statement)
        };
        to.receive(&sealed.bytes, Some(NOW), &Window::new(), known(from)).unwrap();
    }
}

#[test]
fn what_is_cut_off_or_goes_on_is_malformed() {
    let mut world = World::new();
    let raw = world.report(b"body").bytes;
    for end in 0..raw.len() {
        assert!(Envelope::parse(&raw[..end]).is_err(), "cut at {end}");
    }
    let mut longer = raw.clone();
    longer.push(0);
    assert_eq!(Envelope::parse(&longer).unwrap_err(), Malformed::Trailing);
    let result = world.utility.receiver.parse(&raw, raw.len() - 1);
    assert_eq!(result.unwrap_err().refusal(), Refusal::TooLong);
}

/// The message taken apart and signed anew with another key, as a thief of ciphertexts would.
fn signed_by_another(raw: &[u8], world: &World) -> Vec<u8> {
    let find = |needle: &[u8]| raw.windows(needle.len()).position(|w| w == needle).expect("a sound world");
    let mut forged = raw.to_vec();
    let thief = &world.other;
    let id = find(world.home.id.as_str().as_bytes());
    forged[id..id + 36].copy_from_slice(thief.id.as_str().as_bytes());
    let kid = find(&world.home.statement.kid().0);
    forged[kid..kid + 8].copy_from_slice(&thief.statement.kid().0);
    // Sig_structure over the changed header and the stolen payload; both have one-byte and two-byte lengths here.
    let protected = &forged[4..4 + usize::from(forged[3])];
    let payload = &forged[4 + protected.len() + 1..forged.len() - 66];
    let mut to_sign = b"\x84\x6aSignature1\x58".to_vec();
    to_sign.push(forged[3]);
    to_sign.extend_from_slice(protected);
    to_sign.push(0x40);
    to_sign.extend_from_slice(payload);
    let signature = thief.keys.sig().sign(&[&to_sign]).expect("a sound world");
    let end = forged.len() - 64;
    forged[end..].copy_from_slice(&signature);
    forged
}

#[test]
fn a_ciphertext_that_another_party_signs_as_its_own_does_not_open() {
    let mut world = World::new();
    let stolen = world.report(&[7; 200]).bytes;
    let forged = signed_by_another(&stolen, &world);
    let statement = world.other.statement.clone();
    let result = world.utility.receive(&forged, Some(NOW), &Window::new(), known(&statement));
    assert_eq!(result.unwrap_err(), Reason::Sealed);
    let steps = world.utility.receiver.steps();
    assert_eq!((steps.verified, steps.opened), (1, 0), "the signature was right, the opening failed");
}

#[test]
fn a_message_sent_on_to_somebody_else_is_not_for_them() {
    let mut world = World::new();
    let raw = world.report(b"for the utility").bytes;
    let statement = world.home.statement.clone();
    assert_eq!(world.other.receive(&raw, Some(NOW), &Window::new(), known(&statement)).unwrap_err(), Reason::Audience);
}

#[test]
fn a_message_is_taken_once_also_across_a_restart_of_the_receiver() {
    let mut world = World::new();
    let raw = world.report(b"once").bytes;
    let statement = world.home.statement.clone();
    let (_, window) = world.utility.receive(&raw, Some(NOW), &Window::new(), known(&statement)).unwrap();
    // All that survives is what was stored.
    let stored = Window::from_bytes(window.to_bytes());
    let result = world.utility.receive(&raw, Some(NOW), &stored, known(&statement));
    assert_eq!(result.unwrap_err(), Reason::Replay);
    assert_eq!(world.utility.receiver.steps().known, 1, "no second signature was checked");
    // Two at once: both looked at the window before it moved; storing decides.
    let rules = world.utility.policy.rules();
    let mut committed = Vec::new();
    for window in [&Window::new(), &stored] {
        let (receiver, awaited) = (&mut world.utility.receiver, &mut world.utility.awaited);
        let parsed = receiver.parse(&raw, MESSAGE_BYTES_MAX).unwrap();
        let empty = Window::new();
        let at =
            Situation { me: &world.utility.id, now: Some(NOW), boot: BOOT, awaited, window: &empty, rules: &rules };
        let fresh = receiver.check(parsed, &at).unwrap();
        let verified = receiver.verify(fresh, known(&statement), Some(NOW), &world.utility.policy).unwrap();
        committed.push(receiver.commit(verified, window, awaited).map(|(_, w)| w).map_err(|s| s.reason));
    }
    assert_eq!(committed, [Ok(stored), Err(Reason::Replay)]);
}

#[test]
fn a_forged_message_does_not_move_the_window() {
    let mut world = World::new();
    let mut raw = world.report(b"body").bytes;
    let last = raw.len() - 1;
    raw[last] ^= 1;
    let statement = world.home.statement.clone();
    let result = world.utility.receive(&raw, Some(NOW), &Window::new(), known(&statement));
    assert_eq!(result.unwrap_err(), Reason::Signature);
    assert_eq!(world.utility.receiver.steps().committed, 0);
}

#[test]
fn stale_early_and_too_long_lived_messages_are_refused() {
    let mut world = World::new();
    let raw = world.report(b"body").bytes;
    let statement = world.home.statement.clone();
    let mut at = |now: u64| {
        world.utility.receive(&raw, Some(UnixTime(now)), &Window::new(), known(&statement)).map(|_| ()).err()
    };
    // Good for 60 s, clocks off by up to 120 s.
    assert_eq!(at(NOW.0 + 179), None);
    assert_eq!(at(NOW.0 + 180), Some(Reason::Stale));
    assert_eq!(at(NOW.0 - 120), None);
    assert_eq!(at(NOW.0 - 121), Some(Reason::Future));
    let mut draft = world.home.draft(Kind::Report, None, b"body");
    draft.lifetime_s = 61;
    let to = (world.utility.id, world.utility.statement.kem().unwrap());
    let raw = seal(&draft, (world.home.id, world.home.keys.sig()), to, &mut world.rng).unwrap().bytes;
    let result = world.utility.receive(&raw, Some(NOW), &Window::new(), known(&statement));
    assert_eq!(result.unwrap_err(), Reason::Lifetime);
    // Who follows another policy is told that, and may ask for this one.
    let mut of = |kind, lifetime_s| {
        let mut draft = world.home.draft(kind, None, b"body");
        (draft.lifetime_s, draft.policy) = (lifetime_s, draft.policy + 1);
        let kem = world.utility.statement.kem().unwrap().clone();
        let to = (world.utility.id, &kem);
        let raw = seal(&draft, (world.home.id, world.home.keys.sig()), to, &mut world.rng).unwrap().bytes;
        world.utility.receive(&raw, Some(NOW), &Window::new(), known(&statement)).map(|_| ()).err()
    };
    assert_eq!(of(Kind::Report, 61), Some(Reason::Policy));
    assert_eq!(of(Kind::KeyRequest, 61), None);
    assert_eq!(of(Kind::KeyRequest, 301), Some(Reason::Lifetime), "no policy allows that");
}

#[test]
fn without_a_known_time_only_answers_are_taken_and_commands_only_as_answers() {
    let mut world = World::new();
    let statement = world.utility.statement.clone();
    let poll = world.home.send(&world.utility, Kind::Poll, None, b"", &mut world.rng).cti;
    let receive = |world: &mut World, kind, answers, now| {
        let raw = world.utility.send(&world.home, kind, answers, b"off", &mut world.rng).bytes;
        world.home.receive(&raw, now, &Window::new(), known(&statement)).map(|_| ()).err()
    };
    assert_eq!(receive(&mut world, Kind::Time, None, None), Some(Reason::Unsynced));
    assert_eq!(receive(&mut world, Kind::Command, None, Some(NOW)), Some(Reason::NotAwaited));
    let never_sent = Some(secure_http::Nonce([9; 8]));
    assert_eq!(receive(&mut world, Kind::Command, never_sent, Some(NOW)), Some(Reason::NotAwaited));
    // An hour off: a command is fresh by the poll that it answers.
    assert_eq!(receive(&mut world, Kind::Command, Some(poll), Some(NOW.plus(3600))), None);
    assert_eq!(receive(&mut world, Kind::Command, Some(poll), Some(NOW)), Some(Reason::NotAwaited), "one per poll");
}

#[test]
fn a_lost_window_is_set_up_again_by_an_answer_to_a_challenge() {
    let mut world = World::new();
    let statement = world.home.statement.clone();
    world.home.seq = 5000;
    let raw = world.report(b"body").bytes;
    let result = world.utility.receive(&raw, Some(NOW), &Window::lost(), known(&statement));
    assert_eq!(result.unwrap_err(), Reason::WindowLost);
    let challenge = world.utility.send(&world.home, Kind::Error, None, b"", &mut world.rng).cti;
    let again = world.home.send(&world.utility, Kind::Report, Some(challenge), b"body", &mut world.rng).bytes;
    let (_, window) = world.utility.receive(&again, Some(NOW), &Window::lost(), known(&statement)).unwrap();
    let old = world.utility.receive(&raw, Some(NOW), &window, known(&statement));
    assert_eq!(old.unwrap_err(), Reason::Replay, "what was sent before counts as taken");
}

#[test]
fn unknown_revoked_and_wrongly_signed_look_the_same_from_outside() {
    let mut world = World::new();
    let raw = world.report(b"body").bytes;
    let mut forged = raw.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let statement = world.home.statement.clone();
    let revoked = Some(Sender { statement: &statement, revoked: true });
    let other = world.other.statement.clone();
    let cases = [
        (&raw, None, Reason::UnknownKey),
        (&raw, known(&other), Reason::UnknownKey),
        (&raw, revoked, Reason::Revoked),
        (&forged, known(&statement), Reason::Signature),
    ];
    for (raw, sender, reason) in cases {
        let stopped = {
            let rules = world.utility.policy.rules();
            let window = Window::new();
            let receiver = &mut world.utility.receiver;
            let parsed = receiver.parse(raw, MESSAGE_BYTES_MAX).unwrap();
            let at = Situation {
                me: &world.utility.id,
                now: Some(NOW),
                boot: BOOT,
                awaited: &world.utility.awaited,
                window: &window,
                rules: &rules,
            };
            let fresh = receiver.check(parsed, &at).unwrap();
            receiver.verify(fresh, sender, Some(NOW), &world.utility.policy).unwrap_err()
        };
        assert_eq!((stopped.reason, stopped.refusal(), stopped.refusal().status()), (reason, Refusal::Refused, 401));
        // Nor does it help to ask why.
        let told = world.utility.receiver.explain(&stopped, sender, &world.utility.policy, NOW);
        assert_eq!(told, Err(Refusal::Refused));
    }
    assert_eq!(world.utility.receiver.steps().verified, 0);
}

#[test]
fn a_sender_is_told_why_only_when_its_signature_is_right() {
    let mut world = World::new();
    let mut raw = world.report(b"body").bytes;
    let statement = world.home.statement.clone();
    let late = NOW.plus(3600);
    let mut told = |raw: &[u8], sender| {
        let rules = world.utility.policy.rules();
        let window = Window::new();
        let receiver = &mut world.utility.receiver;
        let parsed = receiver.parse(raw, MESSAGE_BYTES_MAX).unwrap();
        let at = Situation {
            me: &world.utility.id,
            now: Some(late),
            boot: BOOT,
            awaited: &world.utility.awaited,
            window: &window,
            rules: &rules,
        };
        let stopped = receiver.check(parsed, &at).unwrap_err();
        (stopped.reason, receiver.explain(&stopped, sender, &world.utility.policy, late))
    };
    assert_eq!(told(&raw, known(&statement)), (Reason::Stale, Ok(SealedError::Stale { time: late })));
    assert_eq!(told(&raw, None), (Reason::Stale, Err(Refusal::Refused)));
    let last = raw.len() - 1;
    raw[last] ^= 1;
    assert_eq!(told(&raw, known(&statement)), (Reason::Stale, Err(Refusal::Refused)));
    assert_eq!(world.utility.receiver.steps().committed, 0);
}

#[test]
fn a_sender_under_another_policy_is_refused_but_may_ask_for_the_policy() {
    let mut world = World::new();
    let statement = world.home.statement.clone();
    world.utility.policy = world.utility.policy.adopt(world.kmc.policy(2), NOW).unwrap();
    let receive = |world: &mut World, kind| {
        let raw = world.home.send(&world.utility, kind, None, b"", &mut world.rng).bytes;
        world.utility.receive(&raw, Some(NOW), &Window::new(), known(&statement)).map(|_| ()).err()
    };
    for kind in [Kind::Report, Kind::Poll, Kind::Ack, Kind::Rollover] {
        assert_eq!(receive(&mut world, kind), Some(Reason::Policy), "{kind:?}");
    }
    for kind in [Kind::Policy, Kind::Time, Kind::KeyRequest, Kind::RevocationList] {
        assert_eq!(receive(&mut world, kind), None, "{kind:?}");
    }
    let followed = std::mem::take(&mut world.home.policy);
    assert_eq!(receive(&mut world, Kind::Report), Some(Reason::Policy), "none is not any");
    world.home.policy = followed;
    world.home.policy = world.utility.policy.clone();
    assert_eq!(receive(&mut world, Kind::Report), None);
}

#[test]
fn while_no_policy_holds_only_the_kmc_is_listened_to() {
    let mut world = World::new();
    let mut kmc = crate::common::Party::new(&mut world.kmc, 0xfe, Role::Kmc, &mut world.rng);
    world.home.policy = PolicyState::default();
    let poll = world.home.send(&world.utility, Kind::Poll, None, b"", &mut world.rng).cti;
    let asked = world.home.send(&kmc, Kind::Policy, None, b"", &mut world.rng).cti;
    let command = world.utility.send(&world.home, Kind::Command, Some(poll), b"off", &mut world.rng).bytes;
    let (statement, own) = (world.utility.statement.clone(), kmc.statement.clone());
    let refused = world.home.receive(&command, Some(NOW), &Window::new(), known(&statement));
    assert_eq!(refused.unwrap_err(), Reason::NoPolicy);
    let policy = kmc.send(&world.home, Kind::Policy, Some(asked), world.kmc.policy(1).raw(), &mut world.rng).bytes;
    let (opened, _) = world.home.receive(&policy, Some(NOW), &Window::new(), known(&own)).unwrap();
    let policy = Policy::verify(&opened.body, &world.kmc.authority).unwrap();
    world.home.policy = world.home.policy.adopt(policy, NOW).unwrap();
    assert!(world.home.receive(&command, Some(NOW), &Window::new(), known(&statement)).is_ok());
}

#[test]
fn an_expired_statement_is_refused_and_its_owner_told() {
    let mut world = World::new();
    let statement = world.home.statement.clone();
    let later = NOW.plus(21 * DAY_S);
    let mut draft = world.home.draft(Kind::Report, None, b"body");
    draft.issued = later;
    let to = (world.utility.id, world.utility.statement.kem().unwrap());
    let raw = seal(&draft, (world.home.id, world.home.keys.sig()), to, &mut world.rng).unwrap().bytes;
    let result = world.utility.receive(&raw, Some(later), &Window::new(), known(&statement));
    assert_eq!(result.unwrap_err(), Reason::KeyNotValid);
}

#[test]
fn what_is_under_way_during_a_rollover_opens_until_the_old_key_is_destroyed() {
    let mut world = World::new();
    let statement = world.home.statement.clone();
    let raw = world.report(b"sealed to the old key").bytes;
    let new = OwnKeys::generate(&mut world.rng);
    let kem = crypto::KemKey::from_bytes(&new.kem().to_bytes()).unwrap();
    world.utility.keys.roll(None, kem, NOW.plus(300));
    assert!(!world.utility.keys.retire(NOW.plus(299)));
    assert!(world.utility.receive(&raw, Some(NOW), &Window::new(), known(&statement)).is_ok());
    assert!(world.utility.keys.retire(NOW.plus(300)) && world.utility.keys.previous().is_none());
    let result = world.utility.receive(&raw, Some(NOW), &Window::new(), known(&statement));
    assert_eq!(result.unwrap_err(), Reason::OtherKey);
}

#[test]
fn evidence_shows_a_third_party_who_signed_what() {
    let mut world = World::new();
    let raw = world.report(b"body").bytes;
    let rules = world.utility.policy.rules();
    let window = Window::new();
    let receiver = &mut world.utility.receiver;
    let parsed = receiver.parse(&raw, MESSAGE_BYTES_MAX).unwrap();
    let at = Situation {
        me: &world.utility.id,
        now: Some(NOW),
        boot: Duration::ZERO,
        awaited: &world.utility.awaited,
        window: &window,
        rules: &rules,
    };
    let fresh = receiver.check(parsed, &at).unwrap();
    let verified = receiver.verify(fresh, known(&world.home.statement), Some(NOW), &world.utility.policy).unwrap();
    let evidence = verified.evidence(&world.home.statement);
    // The court has the root's fingerprint and these two byte strings.
    let statement = world.kmc.authority.statement(&evidence.statement, None).unwrap();
    assert_eq!((statement.subject(), statement.role()), (world.home.id, Role::Gateway));
    Envelope::parse(&evidence.message).unwrap().verify(statement.sig()).unwrap();
}

#[test]
fn a_body_that_fits_no_message_is_not_sealed() {
    let mut world = World::new();
    let body = vec![0; REPORT_BYTES_MAX];
    let draft = Draft { body: &body, ..world.home.draft(Kind::Report, None, b"") };
    let to = (world.utility.id, world.utility.statement.kem().unwrap());
    let result = seal(&draft, (world.home.id, world.home.keys.sig()), to, &mut world.rng);
    assert_eq!(result, Err(SealError::TooLong));
    let sealed = world.report(&vec![0; REPORT_BYTES_MAX - 600]);
    assert!(sealed.bytes.len() <= REPORT_BYTES_MAX && Envelope::parse(&sealed.bytes).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Envelope::parse(&bytes);
        let _ = peek_issuer(&bytes);
    }
}

proptest! {
    // Each case makes keys for a whole world.
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn a_message_with_a_few_bytes_changed_is_taken_by_nobody(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..6)
    ) {
        let mut world = World::new();
        let raw = world.report(b"body").bytes;
        let mut changed = raw.clone();
        for (index, xor) in changes {
            changed[index.index(raw.len())] ^= xor;
        }
        prop_assume!(changed != raw);
        let statement = world.home.statement.clone();
        prop_assert!(world.utility.receive(&changed, Some(NOW), &Window::new(), known(&statement)).is_err());
        prop_assert_eq!(world.utility.receiver.steps().committed, 0);
    }
}
