//! Sealed messages against public COSE and HPKE libraries in Python, both ways (sealed.py).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use getrandom::SysRng;
use rand_core::UnwrapErr;
use secure_http::crypto::{DIGEST_BYTES, SigningKey, VerifyingKey};
use secure_http::limits::MESSAGE_BYTES_MAX;
use secure_http::{
    Awaited, Draft, EnrolmentRequest, Kind, OwnKeys, PartyId, Policy, PolicyState, Receiver, Role, Rules, Sender,
    Serial, Situation, StatementDraft, TokenSecret, UnixTime, Validity, Window, request_enrolment, seal,
};
use serde_json::{Value, json};

use crate::peer;

const NOW: UnixTime = UnixTime(1_900_000_000);
const GATEWAY: &str = "2fac1234-31f8-41b4-a222-08002b34c003";
const UTILITY: &str = "7d444840-9dc0-41d1-b245-5ffdce74fad2";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(value: &Value) -> Result<Vec<u8>> {
    let text = value.as_str().context("a string in hexadecimal")?;
    (0..text.len()).step_by(2).map(|i| Ok(u8::from_str_radix(&text[i..i + 2], 16)?)).collect()
}

/// What the script answers to `job`.
fn asked(python: &std::path::Path, job: &Value) -> Result<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/interop/sealed.py");
    let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("a pipe to the script")?.write_all(job.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "sealed.py failed");
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn public_libraries_open_our_messages_and_we_open_theirs() -> Result<()> {
    let Some(python) = peer("SEALED_PYTHON") else { return Ok(()) };
    let mut rng = UnwrapErr(SysRng);
    let (gateway, utility): (PartyId, PartyId) = (GATEWAY.parse()?, UTILITY.parse()?);
    let (keys, receiver_keys) = (OwnKeys::generate(&mut rng), OwnKeys::generate(&mut rng));
    let issuer = SigningKey::generate(&mut rng);
    let statement = |subject, sig: &VerifyingKey, kem, serial| {
        StatementDraft {
            kmc: utility,
            subject,
            role: Role::Gateway,
            serial: Serial(serial),
            validity: Validity::new(NOW, NOW.plus(86_400)).context("a day")?,
            sig,
            kem: Some(kem),
            previous: None,
            link: [0; DIGEST_BYTES],
        }
        .issue(&issuer)
        .context("issue")
    };
    let ours = statement(gateway, keys.sig().public(), keys.kem().public(), 258)?;
    let token = TokenSecret::generate(&mut rng);
    let draft = Draft {
        kind: Kind::Report,
        answers: None,
        seq: 1,
        policy: 1,
        issued: NOW,
        lifetime_s: 60,
        body: b"made in Rust",
    };
    let to = receiver_keys.kem().public();
    let message = seal(&draft, (gateway, keys.sig()), (utility, to), &mut rng)?.bytes;
    let (enrolment, _) = request_enrolment(gateway, keys.sig(), keys.kem().public(), &token, to, &mut rng)?;
    let private = receiver_keys.kem().to_bytes();
    let bytes: BTreeMap<&str, String> = [
        ("message", &message[..]),
        ("sig_public", keys.sig().public().to_bytes()),
        ("kem_private", private.as_ref()),
        ("kem_public", to.to_bytes()),
        ("statement", ours.raw()),
        ("issuer_public", issuer.public().to_bytes()),
        ("enrolment", &enrolment),
        ("token", token.as_bytes()),
    ]
    .map(|(name, bytes)| (name, hex(bytes)))
    .into();
    let answer = asked(&python, &json!({ "bytes": bytes, "iss": GATEWAY, "aud": UTILITY, "now": NOW.0 }))?;

    // What they read.
    for (name, expected) in [
        ("issuer", json!(GATEWAY)),
        ("audience", json!(UTILITY)),
        ("kind", json!(1)),
        ("body", json!(hex(b"made in Rust"))),
        ("subject", json!(GATEWAY)),
        ("serial", json!(258)),
        ("enrolled", json!(GATEWAY)),
    ] {
        ensure!(answer[name] == expected, "{name}: {}", answer[name]);
    }

    // What they made.
    let sig = VerifyingKey::from_bytes(&unhex(&answer["sig_public"])?.try_into().ok().context("a point")?)?;
    let theirs = statement(gateway, &sig, keys.kem().public(), 259)?;
    let raw = unhex(&answer["message"])?;
    let (mut receiver, awaited, window) = (Receiver::new(), Awaited::new(), Window::new());
    let at = Situation {
        me: &utility,
        now: Some(NOW),
        boot: core::time::Duration::ZERO,
        awaited: &awaited,
        window: &window,
        rules: &Rules::default(),
    };
    let policy =
        Policy::issue(utility, 1, Validity::new(NOW, NOW.plus(86_400)).context("a day")?, &Rules::default(), &issuer)?;
    let policy = PolicyState::default().adopt(policy, NOW)?;
    let opened = (|| {
        let parsed = receiver.parse(&raw, MESSAGE_BYTES_MAX)?;
        let fresh = receiver.check(parsed, &at)?;
        let sender = Sender { statement: &theirs, revoked: false };
        let verified = receiver.verify(fresh, Some(sender), Some(NOW), &policy)?;
        let (committed, _) = receiver.commit(verified, &window, &mut Awaited::new())?;
        receiver.open(committed, &receiver_keys)
    })()
    .map_err(|stopped| stopped.reason)?;
    ensure!(opened.head.seq == 70_000 && *opened.body == unhex(&answer["made"])?, "{:?}", opened.head);

    let raw = unhex(&answer["enrolment"])?;
    let enrolment = EnrolmentRequest::parse(&raw)?.open(receiver_keys.kem(), &token)?;
    ensure!(enrolment.party == gateway, "{enrolment:?}");
    Ok(())
}
