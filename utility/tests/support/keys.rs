//! Statements of a centre made on the spot, and messages under them.

use std::sync::atomic::{AtomicU64, Ordering};

use getrandom::SysRng;
use rand_core::UnwrapErr;
use secure_http::crypto::SigningKey;
use secure_http::{OwnKeys, PartyId, Role, Serial, Statement, StatementDraft, Validity};
use utility::sites::SiteId;
use utility::store::{Adoption, Store, StoreError, Taking};
use utility_wire::UnixTime;

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A home's statement for keys of its own, by nobody in particular.
pub(crate) fn statement(site: &SiteId, serial: u64) -> Statement {
    let mut rng = UnwrapErr(SysRng);
    let (keys, issuing) = (OwnKeys::generate(&mut rng), SigningKey::generate(&mut rng));
    let now = secure_http::UnixTime(1_800_000_000);
    let draft = StatementDraft {
        kmc: "2fac1234-31f8-41b4-a222-0000000000ff".parse::<PartyId>().unwrap(),
        subject: site.as_str().parse().unwrap(),
        role: Role::Gateway,
        serial: Serial(serial),
        validity: Validity::new(now, now.plus(86_400)).unwrap(),
        sig: keys.sig().public(),
        kem: Some(keys.kem().public()),
        previous: None,
        link: [0; 32],
    };
    draft.issue(&issuing).unwrap()
}

/// A first statement of a home, or the next of a new lineage.
pub(crate) fn adoption(site: &SiteId, statement: Statement, after: Option<Serial>, anew: bool) -> Adoption {
    let overlap_until = UnixTime::new(1_800_000_240);
    Adoption { site: site.clone(), statement, after, anew, overlap_until, host: None, above: Vec::new() }
}

/// The next message of a home, whose keys are believed from now on if none are.
pub(crate) async fn taking(store: &Store, site: &SiteId, now: UnixTime) -> Taking {
    let known = store.channel(site).await.unwrap().flatten();
    if known.is_none() {
        match store.adopt(adoption(site, statement(site, 1), None, true), now).await {
            Ok(()) | Err(StoreError::Conflict(_) | StoreError::UnknownSite(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let (lineage, seq) = (known.map_or(1, |known| known.lineage), NUMBER.fetch_add(1, Ordering::Relaxed) + 1);
    Taking { site: site.clone(), lineage, seq, answers: false, now, poll: false, evidence: None }
}
