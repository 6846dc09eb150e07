//! What a utility signs for all its homes: read whole, and nothing is believed that it did not sign.
#![no_main]
use std::sync::LazyLock;

use getrandom::SysRng;
use libfuzzer_sys::fuzz_target;
use secure_http::crypto::{KemKey, SigningKey};
use secure_http::{Broadcast, Role, Serial, Statement, StatementDraft, UnixTime, Validity};

/// A utility that signed nothing.
static UTILITY: LazyLock<Statement> = LazyLock::new(|| {
    let mut rng = rand_core::UnwrapErr(SysRng);
    let (sig, kem) = (SigningKey::generate(&mut rng), KemKey::generate(&mut rng));
    let id = "2fac1234-31f8-41b4-a222-08002b34c003".parse().expect("a UUID");
    let draft = StatementDraft {
        kmc: id,
        subject: id,
        role: Role::Utility,
        serial: Serial(1),
        validity: Validity::new(UnixTime(1), UnixTime(1000)).expect("a time"),
        sig: sig.public(),
        kem: Some(kem.public()),
        previous: None,
        link: [0; 32],
    };
    draft.issue(&sig).expect("a statement")
});

fuzz_target!(|data: &[u8]| {
    assert!(Broadcast::verify(data, &UTILITY).is_err());
});
