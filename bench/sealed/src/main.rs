//! What sealed messages cost. `sealed-bench time` prints a table of times; `sealed-bench OPERATION COUNT` does one operation that many
//! times and nothing else, for tools that count instructions: run it with two counts and take the difference (bench/sealed/count does).

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::time::Duration;

use getrandom::SysRng;
use nix::time::ClockId;
use rand_core::UnwrapErr;
use secure_http::crypto::{KemKey, KemPublicKey, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SigningKey, VerifyingKey};
use secure_http::{CookieSecrets, Draft, Envelope, Kind, PartyId, UnixTime, peek_issuer, seal};

const NOW: UnixTime = UnixTime(1_900_000_000);
const SENDER: &str = "2fac1234-31f8-41b4-a222-08002b34c003";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Bodies whose cost is shown (bytes).
const BODIES: [usize; 6] = [64, 256, 1024, 4096, 16_384, 64_000];
/// How long one operation is repeated for one of [`BATCHES`]; the least of them is shown, which is what others disturbed least.
const BATCH: Duration = Duration::from_millis(20);
const BATCHES: usize = 15;

/// Both ends of an exchange, and a message between them.
struct Bench {
    id: PartyId,
    sig: SigningKey,
    verifying: VerifyingKey,
    kem: KemKey,
    sealing: KemPublicKey,
    body: Vec<u8>,
    message: Vec<u8>,
    signature: [u8; SIGNATURE_BYTES],
    enc: [u8; PUBLIC_KEY_BYTES],
    ciphertext: Vec<u8>,
    cookies: CookieSecrets,
    cookie: String,
}

type Operation = fn(&Bench);

/// What is measured, with the names of the command line.
const OPERATIONS: &[(&str, Operation)] = &[
    ("sign", |b| {
        black_box(b.sig.sign(&[b"message"])).expect("a sound machine");
    }),
    ("verify", |b| b.verifying.verify(&[b"message"], black_box(&b.signature)).expect("our own signature")),
    ("seal", |b| {
        let mut rng = UnwrapErr(SysRng);
        black_box(b.sealing.seal(b"info", b"aad", b.body.clone(), &mut rng)).expect("a short body");
    }),
    ("open", |b| {
        black_box(b.kem.open(&b.enc, b"info", b"aad", &b.ciphertext)).expect("sealed to this key");
    }),
    ("send", |b| {
        black_box(b.send()).len();
    }),
    ("receive", |b| {
        let envelope = Envelope::parse(black_box(&b.message)).expect("our own message");
        envelope.verify(&b.verifying).expect("our own signature");
        black_box(b.kem.open(&b.enc, b"info", b"aad", &b.ciphertext)).expect("sealed to this key");
    }),
    ("forged", |b| {
        let mut forged = b.message.clone();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert!(Envelope::parse(&forged).expect("only the signature is wrong").verify(&b.verifying).is_err());
    }),
    ("cookie", |b| {
        let issuer = peek_issuer(black_box(&b.message));
        black_box(b.cookies.check(&b.cookie, issuer.as_ref(), HERE, &b.message));
    }),
    ("table", |b| {
        black_box(b.kem.public().clone().prepared()).to_bytes();
    }),
    ("parse", |b| {
        black_box(Envelope::parse(black_box(&b.message))).expect("our own message");
    }),
];

impl Bench {
    /// With tables for the peer's keys, as for a utility that a gateway talks to all day, or without, as for one of many gateways.
    fn new(body_bytes: usize, prepared: bool) -> Self {
        let mut rng = UnwrapErr(SysRng);
        let (sig, kem) = (SigningKey::generate(&mut rng), KemKey::generate(&mut rng));
        let mut verifying = VerifyingKey::from_bytes(sig.public().to_bytes()).expect("a key of ours");
        let mut sealing = kem.public().clone();
        if prepared {
            (verifying, sealing) = (verifying.prepared(), sealing.prepared());
        }
        let body = vec![0x55; body_bytes];
        let sealed = sealing.seal(b"info", b"aad", body.clone(), &mut rng).expect("a short body");
        let id = SENDER.parse().expect("a UUID");
        let mut bench = Self {
            id,
            signature: sig.sign(&[b"message"]).expect("a sound machine"),
            sig,
            verifying,
            kem,
            sealing,
            body,
            message: Vec::new(),
            enc: sealed.enc,
            ciphertext: sealed.ciphertext,
            cookies: CookieSecrets::new(NOW, &mut rng),
            cookie: String::new(),
        };
        bench.message = bench.send();
        bench.cookie = bench.cookies.issue(&id).header(&bench.message);
        bench
    }

    fn send(&self) -> Vec<u8> {
        let draft = Draft {
            kind: Kind::Report,
            answers: None,
            seq: 100,
            policy: 1,
            issued: NOW,
            lifetime_s: 60,
            body: &self.body,
        };
        let mut rng = UnwrapErr(SysRng);
        seal(&draft, (self.id, &self.sig), (self.id, &self.sealing), &mut rng).expect("a body that fits").bytes
    }

    /// Microseconds of one, the least of some batches.
    fn time(&self, operation: Operation) -> f64 {
        let batch = || {
            let began = processor_time();
            let mut count = 0u32;
            while processor_time() - began < BATCH {
                operation(self);
                count += 1;
            }
            (processor_time() - began).as_secs_f64() * 1e6 / f64::from(count)
        };
        (0..BATCHES).map(|_| batch()).fold(f64::INFINITY, f64::min)
    }
}

/// What this thread has used of a processor: other programs are not in it.
fn processor_time() -> Duration {
    let time = ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("Linux has this clock");
    time.into()
}

fn times() {
    for prepared in [true, false] {
        println!("{} tables for the peer's keys, µs of processor time:\n", if prepared { "With" } else { "Without" });
        println!("| body | {} | ECC in receive | cookie : forged |", names(" | "));
        println!("|---|{}---|---|", "---|".repeat(OPERATIONS.len()));
        for bytes in BODIES {
            let bench = Bench::new(bytes, prepared);
            let times: Vec<f64> = OPERATIONS.iter().map(|(_, operation)| bench.time(*operation)).collect();
            let of = |name: &str| OPERATIONS.iter().position(|(n, _)| *n == name).map_or(f64::NAN, |i| times[i]);
            let short = Bench::new(64, prepared);
            let ecc = short.time(OPERATIONS[1].1) + short.time(OPERATIONS[3].1);
            let cells: Vec<String> = times.iter().map(|time| format!("{time:.1}")).collect();
            println!(
                "| {bytes} | {} | {:.0} % | 1 : {:.0} |",
                cells.join(" | "),
                100.0 * ecc / of("receive"),
                of("forged") / of("cookie")
            );
        }
        println!();
    }
}

/// The names of the operations with that between them.
fn names(between: &str) -> String {
    OPERATIONS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(between)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["time"] => times(),
        [name, count, rest @ ..] => {
            let operation = OPERATIONS.iter().find(|(n, _)| n == name);
            let (Some((_, operation)), Ok(count), ["plain"] | []) = (operation, count.parse::<u32>(), rest) else {
                return usage();
            };
            let bench = Bench::new(256, rest.is_empty());
            for _ in 0..count {
                operation(&bench);
            }
        }
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: sealed-bench time | {} COUNT [plain]", names("|"));
    ExitCode::from(64)
}
