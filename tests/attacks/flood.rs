//! Too many messages. The attacker has real addresses, recorded messages, and more of both than the server can check.

use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use daemon_kit::clock;
use energy_model::PowerState;
use secure_http::code_points::CONTENT_TYPE_SIGN1;
use secure_http::{Admission, CookieSecrets, Envelope, Kind, OwnKeys, SealedError, endpoints};
use utility_wire::Message as _;

use crate::cpu;
use crate::daemons::{neighbour, party, until};
use crate::effort::{connect, tries};
use crate::events::report;
use crate::gateway::{Answer, Gateway, now, rng};
use crate::identity::{forged_kid, kmc_statement};
use crate::plain::{PlainHome, PlainUtility};
use crate::table::{Findings, row};
use crate::wire::Message;
use crate::world::World;

/// Forged messages a second: with a signature checked for each, more than one core does.
const FORGED_PER_S: u32 = 2000;
/// Reports by which goodput is measured: all of them fit what one home may send at once.
const COUNTED: u32 = 12;
/// Addresses that the flood comes from.
const FLOODERS: u8 = 4;

/// Sends a request again and again until dropped.
struct Flood {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    async fn start(to: &str, request: &Message) -> Self {
        let (sent, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut threads = Vec::new();
        for number in 1..=FLOODERS {
            let stream = connect(neighbour(number, number), to).await.into_std().expect("a connection");
            stream.set_nonblocking(false).expect("a connection");
            let (bytes, to) = (request.bytes_on_open_connection(), to.to_owned());
            let (sent, stop) = (sent.clone(), stop.clone());
            threads.push(std::thread::spawn(move || flood(stream, &to, &bytes, &sent, &stop)));
        }
        Self { sent, stop, threads }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            assert!(thread.join().is_ok() || std::thread::panicking(), "a flooder failed");
        }
    }
}

/// One of the flooders: at its pace, whatever is answered, on a new connection where the server closed one.
fn flood(mut stream: std::net::TcpStream, to: &str, bytes: &[u8], sent: &AtomicU64, stop: &AtomicBool) {
    let pace = Duration::from_secs(1) * u32::from(FLOODERS) / FORGED_PER_S;
    let mut due = clock::boottime();
    let mut answer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        let whole = stream.write_all(bytes).is_ok() && stream.read(&mut answer).is_ok_and(|n| n > 0);
        if !whole {
            match std::net::TcpStream::connect(to) {
                Ok(again) => stream = again,
                Err(_) => return,
            }
        }
        sent.fetch_add(1, Ordering::Relaxed);
        due += pace;
        std::thread::sleep(due.saturating_sub(clock::boottime()));
    }
}

/// Reports of an honest home that are stored in a second, one after the other.
async fn goodput(home: &mut Gateway, address: &str, batch: &mut u64) -> f64 {
    let began = clock::boottime();
    for _ in 0..COUNTED {
        *batch += 1;
        let report = report(*batch, "heat pump", PowerState::On);
        until("the report is stored", async || match home.report(address, &report).await {
            Answer::Taken(_) => Some(()),
            Answer::Refused(429) | Answer::Error(SealedError::Busy { .. }) => None,
            other => panic!("{other:?}"),
        })
        .await;
    }
    f64::from(COUNTED) / (clock::boottime() - began).as_secs_f64()
}

#[test]
fn a_flood_costs_the_server_a_tag_for_each_message_and_honest_homes_get_through() {
    row("Denial of service", async || {
        // Unsealed, each forged message is as good as an honest one: it is taken and kept.
        let utility = PlainUtility::start().await;
        for i in 0..500 {
            assert!(
                PlainHome::new(&format!("made-up-{i}"))
                    .tell(&utility.address, &report(1, "fridge", PowerState::On))
                    .await
            );
        }
        assert_eq!(utility.told().homes.len(), 500);

        let world = World::new().await;
        let address = &world.utility.address;
        let (mut home, mut late) = (world.home(1).await, world.home(2).await);
        let mut batch = 0;
        assert!(home.report(address, &report(1, "heat pump", PowerState::On)).await.stored().is_some());
        // The first few fill caches.
        goodput(&mut home, address, &mut batch).await;
        let without = goodput(&mut home, address, &mut batch).await;

        // The dearest message that a stranger can send, it is looked up and its signature would have to be checked; and one of the home's
        // own as recorded, which costs a signature to check and another to say why.
        let keys = OwnKeys::generate(&mut rng());
        let kid = home.member.statement().expect("enrolled").kid();
        let body = report(9000, "heat pump", PowerState::Off).encode();
        let raw = forged_kid(kid, party(1), &keys, home.utility(), 1 << 40, &body);
        let making_us = cpu::micros(8, || drop(forged_kid(kid, party(1), &keys, home.utility(), 1 << 40, &body)));
        let request = Message::post("/u/v1/report", CONTENT_TYPE_SIGN1, raw.clone());
        let recorded = home.seal(Kind::Report, None, &report(2, "heat pump", PowerState::On).encode()).bytes;
        home.resend(address, &recorded).await;
        let recorded = Message::post("/u/v1/report", CONTENT_TYPE_SIGN1, recorded);
        let mut floods = Vec::new();
        for sent in [&recorded, &request] {
            let flood = Flood::start(address, sent).await;
            until("the flood is noticed", async || {
                let tried = tries(world.utility.pid(), neighbour(9, 9), address, std::slice::from_ref(sent), 0.0).await;
                (tried.statuses() == [429]).then_some(())
            })
            .await;
            floods.push(under(&flood, &world, &mut home, &mut batch).await);
        }
        // One that the utility has not seen since it started answers its challenge, and is served too.
        let flood = Flood::start(address, &request).await;
        let first = until("a home without a cookie gets through", async || {
            late.report(address, &report(1, "fridge", PowerState::On)).await.stored()
        })
        .await;
        assert_eq!(first.batch, 1);
        // Under load, what one forged message costs both when it has no cookie.
        let many = vec![request.clone(); 200];
        let with_cookies = until("the flood is noticed again", async || {
            let tried = tries(world.utility.pid(), neighbour(9, 9), address, &many, making_us).await;
            (tried.statuses() == [429]).then_some(tried)
        })
        .await;
        drop(flood);
        for Under { sent, checked, goodput, seconds } in &floods {
            assert!(*sent > 100, "{sent} messages in {seconds:.1} s are no flood");
            // Signatures are checked for the honest home, and each time that it looks as if the flood had ended, not for the flood.
            let looks = 64 * (2 + *seconds as u64 / 5);
            assert!(*checked <= u64::from(COUNTED) + looks, "{checked} checked of {sent} in {seconds:.1} s");
            assert!(*goodput * 20.0 > without, "{goodput:.1} reports/s during the flood, {without:.1} without");
        }
        assert_eq!(world.utility.state(1, "heat-pump"), Some("ON".to_owned()));
        key_management_goes_on(&world, &mut home).await;

        // The two checks by themselves.
        let secrets = CookieSecrets::new(now(), &mut rng());
        let peer = IpAddr::from([192, 0, 2, 1]);
        // A cookie of the right form that another server gave.
        let cookie = CookieSecrets::new(now(), &mut rng()).issue(&party(1)).header(&raw);
        let tag_us = cpu::micros(200, || {
            assert_eq!(secrets.check(&cookie, Some(&party(1)), peer, &raw), Admission::None);
        });
        let statement = home.member.statement().expect("enrolled").clone();
        let envelope = Envelope::parse(&raw).expect("a message");
        let signature_us = cpu::micros(20, || assert!(envelope.verify(statement.sig()).is_err()));
        let Under { sent, checked, seconds, .. } = floods[1];
        let goodput = |under: &Under| under.goodput / without * 100.0;
        Findings {
            plain: "500 made-up homes are taken and kept, as dear as honest ones".to_owned(),
            sealed: format!("{checked} signatures checked for {sent} forged messages and {COUNTED} honest ones"),
            cost: format!(
                "goodput at {:.0} messages/s {:.0} % (forged), {:.0} % (recorded) of that without; {}; \
                 cookie {tag_us:.1} µs to signature {signature_us:.0} µs = 1 : {:.0}",
                sent as f64 / seconds,
                goodput(&floods[1]),
                goodput(&floods[0]),
                with_cookies.cost(),
                signature_us / tag_us
            ),
        }
    });
}

/// What went on while there was a flood.
struct Under {
    sent: u64,
    checked: u64,
    goodput: f64,
    seconds: f64,
}

async fn under(flood: &Flood, world: &World, home: &mut Gateway, batch: &mut u64) -> Under {
    let (checked, sent, began) = (world.utility.step("known").await, flood.sent(), clock::boottime());
    let goodput = goodput(home, &world.utility.address, batch).await;
    until("a second", async || (clock::boottime() > began + Duration::from_secs(1)).then_some(())).await;
    let (checked, sent) = (world.utility.step("known").await - checked, flood.sent() - sent);
    Under { sent, checked, goodput, seconds: (clock::boottime() - began).as_secs_f64() }
}

/// The same flood at the KMC: a home's questions, hours apart, are answered all the same.
async fn key_management_goes_on(world: &World, home: &mut Gateway) {
    let keys = OwnKeys::generate(&mut rng());
    let kid = home.member.statement().expect("enrolled").kid();
    let raw = forged_kid(kid, party(1), &keys, &kmc_statement(world).await, 1 << 40, b"");
    let request = Message::post(endpoints::KEY, CONTENT_TYPE_SIGN1, raw);
    let flood = Flood::start(&world.kmc.address, &request).await;
    until("the flood is noticed", async || {
        let tried =
            tries(world.kmc.pid(), neighbour(9, 9), &world.kmc.address, std::slice::from_ref(&request), 0.0).await;
        (tried.statuses() == [429]).then_some(())
    })
    .await;
    let (checked, sent) = (world.kmc.step("known").await, flood.sent());
    for _ in 0..8 {
        until("the home's question is answered", async || home.asks_for_its_own().await.ok()).await;
    }
    let (checked, sent) = (world.kmc.step("known").await - checked, flood.sent() - sent);
    assert!(checked < 64, "{checked} signatures checked of {sent}");
}
