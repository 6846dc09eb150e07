//! A KMC, a utility and two gateways that know each other.

use core::time::Duration;

use secure_http::crypto::{DIGEST_BYTES, SigningKey};
use secure_http::limits::MESSAGE_BYTES_MAX;
use secure_http::{
    Authority, Awaited, Draft, Fingerprint, Kind, Nonce, Opened, OwnKeys, PartyId, Policy, PolicyState, Reason,
    Receiver, Role, Rules, Sealed, Sender, Serial, Situation, Statement, StatementDraft, UnixTime, Validity, Window,
    seal,
};

#[path = "../../src/testing.rs"]
mod testing;
pub(crate) use testing::Seeded;

pub(crate) const NOW: UnixTime = UnixTime(1_900_000_000);
pub(crate) const BOOT: Duration = Duration::from_secs(1000);
pub(crate) const DAY_S: u64 = 86_400;

pub(crate) fn party(number: u8) -> PartyId {
    format!("2fac1234-31f8-41b4-a222-08002b34c0{number:02x}").parse().expect("a sound world")
}

pub(crate) fn for_days(days: u64) -> Validity {
    Validity::new(UnixTime(NOW.0 - DAY_S), NOW.plus(days * DAY_S)).expect("a sound world")
}

/// The KMC's two keys and what it has stated.
pub(crate) struct Kmc {
    pub(crate) id: PartyId,
    pub(crate) root: SigningKey,
    pub(crate) issuing: SigningKey,
    pub(crate) authority: Authority,
    serial: u64,
    link: [u8; DIGEST_BYTES],
}

impl Kmc {
    pub(crate) fn new(rng: &mut Seeded) -> Self {
        let id = party(0xff);
        let (root, issuing) = (SigningKey::generate(rng), SigningKey::generate(rng));
        let draft = |role, serial, key: &SigningKey, validity| {
            StatementDraft {
                kmc: id,
                subject: id,
                role,
                serial: Serial(serial),
                validity,
                sig: key.public(),
                kem: None,
                previous: None,
                link: [0; DIGEST_BYTES],
            }
            .issue(&root)
            .expect("a sound world")
        };
        let root_statement = draft(Role::Root, 1, &root, for_days(3650));
        let issuing_statement = draft(Role::Issuing, 2, &issuing, for_days(300));
        let fingerprint = Fingerprint::of(root.public());
        let authority = Authority::establish(fingerprint, root_statement.raw(), issuing_statement.raw(), Some(NOW))
            .expect("a sound world");
        Self { id, root, issuing, authority, serial: 2, link: [0; DIGEST_BYTES] }
    }

    /// States these keys.
    pub(crate) fn state(
        &mut self,
        subject: PartyId,
        role: Role,
        keys: &OwnKeys,
        previous: Option<Serial>,
    ) -> Statement {
        self.serial += 1;
        let statement = StatementDraft {
            kmc: self.id,
            subject,
            role,
            serial: Serial(self.serial),
            validity: for_days(20),
            sig: keys.sig().public(),
            kem: Some(keys.kem().public()),
            previous,
            link: self.link,
        }
        .issue(&self.issuing)
        .expect("a sound world");
        self.link = statement.digest();
        statement
    }

    pub(crate) fn policy(&self, version: u32) -> Policy {
        Policy::issue(self.id, version, for_days(30), &Rules::default(), &self.issuing).expect("a sound world")
    }
}

/// Somebody with keys, and all that the receiving side keeps.
pub(crate) struct Party {
    pub(crate) id: PartyId,
    pub(crate) keys: OwnKeys,
    pub(crate) statement: Statement,
    pub(crate) policy: PolicyState,
    pub(crate) awaited: Awaited,
    pub(crate) receiver: Receiver,
    pub(crate) seq: u64,
}

impl Party {
    pub(crate) fn new(kmc: &mut Kmc, number: u8, role: Role, rng: &mut Seeded) -> Self {
        let keys = OwnKeys::generate(rng);
        let id = party(number);
        let statement = kmc.state(id, role, &keys, None).prepared();
        let policy = PolicyState::default().adopt(kmc.policy(1), NOW).expect("a sound world");
        Self { id, keys, statement, policy, awaited: Awaited::new(), receiver: Receiver::new(), seq: 0 }
    }

    pub(crate) fn draft<'a>(&mut self, kind: Kind, answers: Option<Nonce>, body: &'a [u8]) -> Draft<'a> {
        self.seq += 1;
        Draft { kind, answers, seq: self.seq, policy: self.policy.version(), issued: NOW, lifetime_s: 60, body }
    }

    /// Seals and signs; the answer is awaited.
    pub(crate) fn send(
        &mut self,
        to: &Party,
        kind: Kind,
        answers: Option<Nonce>,
        body: &[u8],
        rng: &mut Seeded,
    ) -> Sealed {
        let draft = self.draft(kind, answers, body);
        let kem = to.statement.kem().expect("a sound world");
        let sealed = seal(&draft, (self.id, self.keys.sig()), (to.id, kem), rng).expect("a sound world");
        self.awaited.sent(sealed.cti, to.id, BOOT);
        sealed
    }

    /// All steps with a sender that is known by `statement`; gives the window to store.
    pub(crate) fn receive(
        &mut self,
        raw: &[u8],
        now: Option<UnixTime>,
        window: &Window,
        sender: Option<Sender<'_>>,
    ) -> Result<(Opened, Window), Reason> {
        let rules = self.policy.rules();
        let parsed = self.receiver.parse(raw, MESSAGE_BYTES_MAX).map_err(|stopped| stopped.reason)?;
        let at = Situation { me: &self.id, now, boot: BOOT, awaited: &self.awaited, window, rules: &rules };
        let fresh = self.receiver.check(parsed, &at).map_err(|stopped| stopped.reason)?;
        let verified = self.receiver.verify(fresh, sender, now, &self.policy).map_err(|stopped| stopped.reason)?;
        let (committed, window) =
            self.receiver.commit(verified, window, &mut self.awaited).map_err(|stopped| stopped.reason)?;
        let opened = self.receiver.open(committed, &self.keys).map_err(|stopped| stopped.reason)?;
        Ok((opened, window))
    }
}

pub(crate) fn known(statement: &Statement) -> Option<Sender<'_>> {
    Some(Sender { statement, revoked: false })
}

/// A KMC, a utility and two gateways.
pub(crate) struct World {
    pub(crate) kmc: Kmc,
    pub(crate) utility: Party,
    pub(crate) home: Party,
    pub(crate) other: Party,
    pub(crate) rng: Seeded,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut rng = Seeded::new(7);
        let mut kmc = Kmc::new(&mut rng);
        let utility = Party::new(&mut kmc, 1, Role::Utility, &mut rng);
        let home = Party::new(&mut kmc, 2, Role::Gateway, &mut rng);
        let other = Party::new(&mut kmc, 3, Role::Gateway, &mut rng);
        Self { kmc, utility, home, other, rng }
    }

    /// A report of the home to the utility.
    pub(crate) fn report(&mut self, body: &[u8]) -> Sealed {
        self.home.send(&self.utility, Kind::Report, None, body, &mut self.rng)
    }
}
