//! The fuzz targets' first inputs: one of each sort, as this version writes it, kept in fuzz/corpus.

use std::path::{Path, PathBuf};

use secure_http::{
    Ack, Broadcast, CookieSecrets, EnrolChallenge, EnrolmentRequest, EnrolmentToken, Envelope, Fingerprint, KeyAnswer,
    Order, Ordered, Policy, RevocationList, Rollover, SealedError, Serial, Statement, TokenSecret, request_enrolment,
};

use crate::common::{NOW, Seeded, World};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

/// Each with the folder and the file it belongs in. The same every time, since the world comes from a seed.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut world = World::new();
    let message = world.report(b"a report").bytes;
    let statement = world.home.statement.raw().to_vec();
    let list = RevocationList::issue(world.kmc.id, 1, NOW, vec![Serial(4), Serial(9)], &world.kmc.issuing);
    let secret = TokenSecret::generate(&mut world.rng);
    let (sig, kem) = (world.home.keys.sig(), world.home.keys.kem().public());
    let (request, _) = request_enrolment(world.home.id, sig, kem, &secret, kem, &mut world.rng).expect("sealed");
    let token = EnrolmentToken::new("kmc.example", secret, Fingerprint::of(sig.public())).expect("a host");
    let cookie = CookieSecrets::new(NOW, &mut Seeded::new(3)).issue(&world.home.id);
    let header = cookie.header(&message);
    let ack = Ack { time: NOW, policy: 1, revocations: 2, cookie: Some(cookie), body: b"more".to_vec() };
    let keys = KeyAnswer {
        statements: vec![statement.clone()],
        succession: None,
        revocations: 2,
        host: Some("utility.example:8450".to_owned()),
        path: vec![(statement.clone(), b"word".to_vec())],
    };
    let text = |text: &str| text.to_owned();
    let order = Order::Token { party: Some(world.other.id), premises: text("Mill 3"), days: 30, operator: text("ann") };
    let prices = Broadcast::sign(b"prices", world.utility.keys.sig()).expect("signed");
    vec![
        ("envelope/report", message),
        ("signed_objects/statement", statement.clone()),
        ("signed_objects/policy", world.kmc.policy(1).raw().to_vec()),
        ("signed_objects/list", list.expect("a short list").raw().to_vec()),
        ("enrolment/request", request),
        ("enrolment/rollover", Rollover::body(world.home.id, sig, kem, Serial(4)).expect("signed")),
        ("enrolment/ack", ack.encode()),
        ("enrolment/keys", keys.encode()),
        ("enrolment/challenge", EnrolChallenge { statement, challenge: [7; 16] }.encode()),
        ("order/token", order.encode()),
        ("order/ordered", Ordered::Refused("there is no such gateway".to_owned()).encode()),
        ("broadcast/prices", prices),
        ("enrolment/error", SealedError::Busy { after_s: 30 }.encode()),
        ("texts/token", token.to_string().into_bytes()),
        ("texts/cookie", header.into_bytes()),
    ]
}

#[test]
fn what_earlier_versions_wrote_is_still_written_and_read() {
    for (name, bytes) in seeds() {
        let path = corpus().join(name);
        let kept = std::fs::read(&path).unwrap_or_default();
        assert!(kept == bytes, "{} differs from what this version writes: the format changed", path.display());
        let read = match name.split_once('/') {
            Some(("envelope", _)) => Envelope::parse(&kept).is_ok(),
            Some((_, "statement")) => Statement::from_store(&kept).is_ok(),
            Some((_, "policy")) => Policy::from_store(&kept).is_ok(),
            Some((_, "list")) => RevocationList::from_store(&kept).is_ok(),
            Some((_, "request")) => EnrolmentRequest::parse(&kept).is_ok(),
            _ => true,
        };
        assert!(read, "{name}");
    }
}
