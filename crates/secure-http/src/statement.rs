//! Key statements: the KMC says whose keys are whose, for a while. A root key states issuing keys, an issuing key states parties.
//!
//! ```cddl
//! statement = signed<typ "heg-key-statement", {
//!   1: uuid, 2: uuid, 4: uint, 5: uint, 7: bstr .size 8,    ; kmc, subject, exp, nbf, serial
//!   -70003: [ role: uint, sig: COSE_Key, kem: COSE_Key / null, previous: bstr .size 8 / null, link: bstr .size 32 ] }>
//! ```
//! `previous` is the serial of the statement that this one takes the place of. `link` is the hash of the statement that the same key
//! issued before this one, whoever it was for: who collects them sees that none was slipped in.

use crate::bodies::Vouched;
use crate::cbor::{Malformed, Reader, Writer};
use crate::code_points::{CLAIM_CTI, CLAIM_EXP, CLAIM_ISS, CLAIM_KEYS, CLAIM_NBF, CLAIM_SUB};
use crate::cose_key::{self, key_id, thumbprint};
use crate::crypto::{CryptoError, DIGEST_BYTES, KemPublicKey, SigningKey, VerifyingKey, equal, sha256};
use crate::limits::{ISSUING_STATEMENT_S_MAX, ROOT_STATEMENT_S_MAX, STATEMENT_S_MAX};
use crate::names::{KeyId, PartyId, Role, Serial, UnixTime, Validity};
use crate::signed::{self, Signed, Typ};

const STATEMENT: Typ = Typ("heg-key-statement");
const SUCCESSION: Typ = Typ("heg-succession");

/// Why a statement, or a chain of them, is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// Not a statement.
    #[error("the statement {0}")]
    Malformed(#[from] Malformed),
    /// A key in it is none, or the signature is wrong.
    #[error("the statement: {0}")]
    Crypto(#[from] CryptoError),
    /// Not the root key whose fingerprint was printed.
    #[error("this is not the root key of the enrolment token")]
    OtherRoot,
    /// Signed by a key that may not state this role, or for another KMC.
    #[error("the statement's signer may not state that")]
    NotEntitled,
    /// It does not hold at this time.
    #[error("the statement does not hold now")]
    NotValid,
    /// It holds for longer than statements of its role may.
    #[error("the statement is to hold for too long")]
    TooLong,
    /// The keys changed, and the holder of the old ones did not agree.
    #[error("the new keys are not confirmed by the old ones")]
    NoSuccession,
}

/// The first half of the root key's thumbprint, as it is printed in the enrolment token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// Of a root key.
    pub fn of(root: &VerifyingKey) -> Self {
        let full = thumbprint(root.to_bytes());
        Self(core::array::from_fn(|i| full[i]))
    }
}

/// A statement whose signature has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    raw: Vec<u8>,
    kmc: PartyId,
    subject: PartyId,
    role: Role,
    serial: Serial,
    validity: Validity,
    sig: VerifyingKey,
    kid: KeyId,
    kem: Option<KemPublicKey>,
    previous: Option<Serial>,
    link: [u8; DIGEST_BYTES],
}

impl Statement {
    /// The bytes, for storing and passing on.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The KMC that states.
    pub fn kmc(&self) -> PartyId {
        self.kmc
    }

    /// Whose keys they are.
    pub fn subject(&self) -> PartyId {
        self.subject
    }

    /// What the subject is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its number.
    pub fn serial(&self) -> Serial {
        self.serial
    }

    /// When it holds.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The key the subject signs with.
    pub fn sig(&self) -> &VerifyingKey {
        &self.sig
    }

    /// The identifier of that key.
    pub fn kid(&self) -> KeyId {
        self.kid
    }

    /// The key that messages for the subject are sealed to; root and issuing keys have none.
    pub fn kem(&self) -> Option<&KemPublicKey> {
        self.kem.as_ref()
    }

    /// The statement that this one takes the place of.
    pub fn previous(&self) -> Option<Serial> {
        self.previous
    }

    /// Hash of the statement that the same key issued before; zeros for its first.
    pub fn link(&self) -> &[u8; DIGEST_BYTES] {
        &self.link
    }

    /// Its own hash: the `link` of the next.
    pub fn digest(&self) -> [u8; DIGEST_BYTES] {
        sha256(&[&self.raw])
    }

    /// With tables for both keys: see [`VerifyingKey::prepared`].
    pub fn prepared(mut self) -> Self {
        self.sig = self.sig.prepared();
        self.kem = self.kem.map(KemPublicKey::prepared);
        self
    }

    /// A statement that this machine checked before and kept in its own store. The signature is not checked again.
    pub fn from_store(raw: &[u8]) -> Result<Self, StatementError> {
        let signed = Signed::parse(raw, STATEMENT)?;
        Self::read(raw, signed.unverified_payload())
    }

    fn checked(raw: &[u8], key: &VerifyingKey) -> Result<Self, StatementError> {
        let payload = Signed::parse(raw, STATEMENT)?.verify(key)?;
        Self::read(raw, payload)
    }

    fn read(raw: &[u8], mut r: Reader<'_>) -> Result<Self, StatementError> {
        r.map(6)?;
        r.exactly(CLAIM_ISS)?;
        let kmc = PartyId::read(&mut r)?;
        r.exactly(CLAIM_SUB)?;
        let subject = PartyId::read(&mut r)?;
        r.exactly(CLAIM_EXP)?;
        let until = UnixTime(r.uint()?);
        r.exactly(CLAIM_NBF)?;
        let from = UnixTime(r.uint()?);
        r.exactly(CLAIM_CTI)?;
        let serial = Serial(u64::from_be_bytes(*r.array_of()?));
        r.exactly(CLAIM_KEYS)?;
        r.array(5)?;
        let role = Role::from_number(r.uint()?).ok_or(Malformed::Unexpected)?;
        let sig = VerifyingKey::from_bytes(&cose_key::read(&mut r)?)?;
        let kem = r.optional(cose_key::read)?.map(|bytes| KemPublicKey::from_bytes(&bytes)).transpose()?;
        let previous = r.optional(Reader::array_of)?.map(|bytes| Serial(u64::from_be_bytes(*bytes)));
        let link = *r.array_of()?;
        r.end()?;
        let validity = Validity::new(from, until).ok_or(Malformed::Unexpected)?;
        let messages = !matches!(role, Role::Root | Role::Issuing);
        if kem.is_some() != messages {
            return Err(Malformed::Unexpected.into());
        }
        let max = match role {
            Role::Root => ROOT_STATEMENT_S_MAX,
            Role::Issuing => ISSUING_STATEMENT_S_MAX,
            Role::Kmc | Role::Utility | Role::Gateway => STATEMENT_S_MAX,
        };
        if validity.seconds() > max {
            return Err(StatementError::TooLong);
        }
        let kid = key_id(sig.to_bytes());
        Ok(Self { raw: raw.to_vec(), kmc, subject, role, serial, validity, sig, kid, kem, previous, link })
    }
}

/// What a statement is to say. The KMC's side.
#[derive(Clone, Debug)]
pub struct StatementDraft<'a> {
    /// The KMC.
    pub kmc: PartyId,
    /// Whose keys they are.
    pub subject: PartyId,
    /// What the subject is.
    pub role: Role,
    /// The next number.
    pub serial: Serial,
    /// When it is to hold.
    pub validity: Validity,
    /// The key the subject signs with.
    pub sig: &'a VerifyingKey,
    /// The key that messages for it are sealed to.
    pub kem: Option<&'a KemPublicKey>,
    /// The statement that it takes the place of.
    pub previous: Option<Serial>,
    /// [`Statement::digest`] of the last statement of the same issuer; zeros for the first.
    pub link: [u8; DIGEST_BYTES],
}

impl StatementDraft<'_> {
    /// Signs it with the root key (for [`Role::Root`] and [`Role::Issuing`]) or an issuing key (for the others), and reads it back, so that
    /// nothing is issued that nobody would take.
    pub fn issue(&self, key: &SigningKey) -> Result<Statement, StatementError> {
        let mut w = Writer::new();
        w.map(6).int(CLAIM_ISS).text(self.kmc.as_str()).int(CLAIM_SUB).text(self.subject.as_str());
        w.int(CLAIM_EXP).uint(self.validity.until().0).int(CLAIM_NBF).uint(self.validity.from().0);
        w.int(CLAIM_CTI).bytes(&self.serial.0.to_be_bytes());
        w.int(CLAIM_KEYS).array(5).uint(self.role.number());
        cose_key::write(&mut w, self.sig.to_bytes());
        match self.kem {
            Some(kem) => cose_key::write(&mut w, kem.to_bytes()),
            None => _ = w.null(),
        }
        w.optional(self.previous.map(|serial| serial.0.to_be_bytes()).as_ref().map(|bytes| &bytes[..]));
        w.bytes(&self.link);
        Statement::checked(&signed::sign(STATEMENT, &w.finish(), key)?, key.public())
    }
}

/// Whom a gateway or utility believes: a root key known by its fingerprint, and the issuing key that it stated.
#[derive(Clone, Debug)]
pub struct Authority {
    root: Statement,
    issuing: Statement,
}

impl Authority {
    /// Checks root and issuing statement. `now` is none while the clock is UNSYNCED: then nothing is asked about validity, and
    /// [`holds`](Self::holds) is to be asked as soon as the time is known.
    pub fn establish(
        fingerprint: Fingerprint,
        root: &[u8],
        issuing: &[u8],
        now: Option<UnixTime>,
    ) -> Result<Self, StatementError> {
        let key = Statement::from_store(root)?.sig;
        if !equal(&Fingerprint::of(&key).0, &fingerprint.0) {
            return Err(StatementError::OtherRoot);
        }
        let root = Statement::checked(root, &key)?;
        if root.role != Role::Root || root.kmc != root.subject {
            return Err(StatementError::NotEntitled);
        }
        let issuing = Self::stated_by(&root, issuing, |role| role == Role::Issuing, now)?;
        if now.is_some_and(|now| !root.validity.contains(now)) {
            return Err(StatementError::NotValid);
        }
        Ok(Self { root, issuing })
    }

    /// Goes over to another issuing key of the same root.
    pub fn reissue(&self, issuing: &[u8], now: Option<UnixTime>) -> Result<Self, StatementError> {
        let issuing = Self::stated_by(&self.root, issuing, |role| role == Role::Issuing, now)?;
        Ok(Self { root: self.root.clone(), issuing })
    }

    /// A party's statement, when the issuing key signed it, the issuing key's own time covers its beginning, and it holds.
    pub fn statement(&self, raw: &[u8], now: Option<UnixTime>) -> Result<Statement, StatementError> {
        let party = |role| !matches!(role, Role::Root | Role::Issuing);
        let statement = Self::stated_by(&self.issuing, raw, party, now)?;
        if !self.issuing.validity.contains(statement.validity.from()) {
            return Err(StatementError::NotEntitled);
        }
        Ok(statement)
    }

    fn stated_by(
        signer: &Statement,
        raw: &[u8],
        entitled: impl Fn(Role) -> bool,
        now: Option<UnixTime>,
    ) -> Result<Statement, StatementError> {
        let statement = Statement::checked(raw, &signer.sig)?;
        if !entitled(statement.role) || statement.kmc != signer.kmc {
            return Err(StatementError::NotEntitled);
        }
        if now.is_some_and(|now| !statement.validity.contains(now)) {
            return Err(StatementError::NotValid);
        }
        Ok(statement)
    }

    /// Whether root and issuing key hold then.
    pub fn holds(&self, now: UnixTime) -> bool {
        self.root.validity.contains(now) && self.issuing.validity.contains(now)
    }

    /// The KMC.
    pub fn kmc(&self) -> PartyId {
        self.root.kmc
    }

    /// The root's statement.
    pub fn root(&self) -> &Statement {
        &self.root
    }

    /// The issuing key's statement.
    pub fn issuing(&self) -> &Statement {
        &self.issuing
    }

    /// Whether a peer that is known by `known` may go over to `next`. Where a key changes, the holder of the old signing key has to have
    /// signed for it, or the root key (recovery): a KMC that was broken into can then not put itself between two parties.
    ///
    /// `path` leads from `known` to `next` for who was away while the signing key changed: statements in between, oldest first, each with
    /// the word of the signing key before it. Their word is enough; whether the KMC still stands by them is not asked.
    pub fn succession(
        &self,
        known: &Statement,
        next: &Statement,
        proof: Option<&[u8]>,
        path: &[Vouched],
    ) -> Result<(), StatementError> {
        let same_party = |s: &Statement| s.subject == known.subject && s.role == known.role && s.kmc == known.kmc;
        let mut last = known.clone();
        for (raw, proof) in path {
            let step = Statement::from_store(raw)?;
            if !same_party(&step) || step.serial <= last.serial {
                return Err(StatementError::NoSuccession);
            }
            self.vouched(&last, &step, proof)?;
            last = step;
        }
        if !same_party(next) {
            return Err(StatementError::NotEntitled);
        }
        if next.serial < last.serial {
            return Err(StatementError::NoSuccession);
        }
        if next.sig == last.sig && next.kem == last.kem {
            return Ok(());
        }
        self.vouched(&last, next, proof.ok_or(StatementError::NoSuccession)?)
    }

    fn vouched(&self, before: &Statement, next: &Statement, proof: &[u8]) -> Result<(), StatementError> {
        let signed = Signed::parse(proof, SUCCESSION)?;
        let signer = if signed.kid == before.kid { &before.sig } else { &self.root.sig };
        let mut payload = signed.verify(signer).map_err(|_| StatementError::NoSuccession)?;
        let digest: &[u8; DIGEST_BYTES] = payload.array_of()?;
        payload.end()?;
        if equal(digest, &next.digest()) { Ok(()) } else { Err(StatementError::NoSuccession) }
    }
}

/// Confirms a new statement with the old signing key, or with the root key as recovery.
pub fn confirm_succession(next: &Statement, key: &SigningKey) -> Result<Vec<u8>, CryptoError> {
    let mut w = Writer::new();
    w.bytes(&next.digest());
    signed::sign(SUCCESSION, &w.finish(), key)
}
