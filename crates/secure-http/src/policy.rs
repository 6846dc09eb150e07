//! Policies: what the KMC wants of everybody, signed by its issuing key. Versions only go up, and nothing goes below the floor that
//! is compiled in.
//!
//! ```cddl
//! policy = signed<typ "heg-policy", { 1: uuid, 4: uint, 5: uint, -70004: [ version: uint, [+ sig-alg: int], [+ kem-suite: int],
//!   min-key-bits: uint, sig-key-s: uint, kem-key-s: uint, message-s: uint, skew-s: uint, auth-method: uint, refresh-s: uint ] }>
//! ```

use crate::cbor::{Malformed, Reader, Writer};
use crate::code_points::{ALG_ES256, ALG_HPKE_0, CLAIM_EXP, CLAIM_ISS, CLAIM_NBF, CLAIM_POLICY};
use crate::crypto::{CryptoError, SigningKey};
use crate::limits::{
    ALGORITHMS_MAX, KEM_KEY_LIFETIME_S_MAX, KEY_BITS_MIN, MESSAGE_LIFETIME_S_MAX, POLICY_S_MAX, REFRESH_S_MAX,
    SIG_KEY_LIFETIME_S_MAX, SKEW_S_MAX,
};
use crate::names::{PartyId, UnixTime, Validity, numbered};
use crate::signed::{self, Signed, Typ};
use crate::statement::Authority;

const POLICY: Typ = Typ("heg-policy");

numbered! {
    /// How a sender shows who it is.
    pub enum AuthMethod {
        /// By a signature with the key of its statement.
        Signature = 1,
    }
}

/// Why a policy is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Not a policy.
    #[error("the policy {0}")]
    Malformed(#[from] Malformed),
    /// The signature is not the issuing key's.
    #[error("the policy: {0}")]
    Crypto(#[from] CryptoError),
    /// From another KMC.
    #[error("the policy is of another KMC")]
    OtherKmc,
    /// Its time is over, or has not come.
    #[error("the policy does not hold now")]
    NotValid,
    /// A version below the one followed, or the same version with other rules.
    #[error("the policy's version is not above the last")]
    NotNewer,
    /// It allows less than the compiled-in floor, or names nothing this software can do.
    #[error("the policy is below what this software allows")]
    BelowFloor,
}

/// The rules of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// COSE algorithms that signatures may have.
    pub sig_algorithms: Vec<i64>,
    /// COSE algorithms that messages may be sealed with.
    pub kem_suites: Vec<i64>,
    /// Least key size (bits).
    pub key_bits_min: u64,
    /// Lifetime of a signing key (seconds).
    pub sig_key_s: u64,
    /// Lifetime of a sealing key (seconds).
    pub kem_key_s: u64,
    /// Longest lifetime of a message (seconds).
    pub message_s: u64,
    /// Difference of clocks that is forgiven (seconds).
    pub skew_s: u64,
    /// How a sender shows who it is.
    pub auth_method: AuthMethod,
    /// How often to ask for policy and revocation list (seconds).
    pub refresh_s: u64,
}

impl Default for Rules {
    /// What is followed before there is a policy, and what a KMC starts with: keys for 90 and 7 days, messages for 60 s, clocks off by
    /// 120 s, asking every hour.
    fn default() -> Self {
        Self {
            sig_algorithms: vec![ALG_ES256],
            kem_suites: vec![ALG_HPKE_0],
            key_bits_min: KEY_BITS_MIN,
            sig_key_s: 90 * 86_400,
            kem_key_s: 7 * 86_400,
            message_s: 60,
            skew_s: 120,
            auth_method: AuthMethod::Signature,
            refresh_s: 3600,
        }
    }
}

impl Rules {
    /// Whether they name what this software does and are not weaker than its floor.
    fn at_least_the_floor(&self) -> bool {
        let within = |value: u64, max: u64| (1..=max).contains(&value);
        self.sig_algorithms.contains(&ALG_ES256)
            && self.kem_suites.contains(&ALG_HPKE_0)
            // All our keys have exactly this size: more can't be done, less must not be.
            && self.key_bits_min == KEY_BITS_MIN
            && within(self.sig_key_s, SIG_KEY_LIFETIME_S_MAX)
            && within(self.kem_key_s, KEM_KEY_LIFETIME_S_MAX)
            && within(self.message_s, MESSAGE_LIFETIME_S_MAX)
            && self.skew_s <= SKEW_S_MAX
            && within(self.refresh_s, REFRESH_S_MAX)
    }
}

/// A policy whose signature has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    raw: Vec<u8>,
    version: u32,
    validity: Validity,
    rules: Rules,
}

impl Policy {
    /// Checks signature, KMC and floor. Whether it is to be followed says [`PolicyState::adopt`].
    pub fn verify(raw: &[u8], authority: &Authority) -> Result<Self, PolicyError> {
        let payload = Signed::parse(raw, POLICY)?.verify(authority.issuing().sig())?;
        let (kmc, policy) = Self::read(raw, payload)?;
        if kmc != authority.kmc() {
            return Err(PolicyError::OtherKmc);
        }
        Ok(policy)
    }

    /// A policy that this machine checked before and kept in its own store. The signature is not checked again, the floor is: newer
    /// software may have a higher one.
    pub fn from_store(raw: &[u8]) -> Result<Self, PolicyError> {
        Self::read(raw, Signed::parse(raw, POLICY)?.unverified_payload()).map(|(_, policy)| policy)
    }

    fn read(raw: &[u8], mut r: Reader<'_>) -> Result<(PartyId, Self), PolicyError> {
        r.map(4)?;
        r.exactly(CLAIM_ISS)?;
        let kmc = PartyId::read(&mut r)?;
        r.exactly(CLAIM_EXP)?;
        let until = UnixTime(r.uint()?);
        r.exactly(CLAIM_NBF)?;
        let from = UnixTime(r.uint()?);
        r.exactly(CLAIM_POLICY)?;
        r.array(10)?;
        let version = r.u32()?;
        let sig_algorithms = read_algorithms(&mut r)?;
        let kem_suites = read_algorithms(&mut r)?;
        let [key_bits_min, sig_key_s, kem_key_s, message_s, skew_s] =
            [r.uint()?, r.uint()?, r.uint()?, r.uint()?, r.uint()?];
        // A method that this software does not know is one it can't follow.
        let auth_method = AuthMethod::from_number(r.uint()?).ok_or(PolicyError::BelowFloor)?;
        let refresh_s = r.uint()?;
        r.end()?;
        let validity = Validity::new(from, until).ok_or(Malformed::Unexpected)?;
        let rules = Rules {
            sig_algorithms,
            kem_suites,
            key_bits_min,
            sig_key_s,
            kem_key_s,
            message_s,
            skew_s,
            auth_method,
            refresh_s,
        };
        if version == 0 || validity.seconds() > POLICY_S_MAX || !rules.at_least_the_floor() {
            return Err(PolicyError::BelowFloor);
        }
        Ok((kmc, Self { raw: raw.to_vec(), version, validity, rules }))
    }

    /// Signs a policy with the issuing key, and reads it back, so that nothing is issued that nobody would follow.
    pub fn issue(
        kmc: PartyId,
        version: u32,
        validity: Validity,
        rules: &Rules,
        key: &SigningKey,
    ) -> Result<Self, PolicyError> {
        let mut w = Writer::new();
        w.map(4).int(CLAIM_ISS).text(kmc.as_str());
        w.int(CLAIM_EXP).uint(validity.until().0).int(CLAIM_NBF).uint(validity.from().0);
        w.int(CLAIM_POLICY).array(10).uint(u64::from(version));
        for algorithms in [&rules.sig_algorithms, &rules.kem_suites] {
            w.array(algorithms.len());
            for algorithm in algorithms {
                w.int(*algorithm);
            }
        }
        for number in [rules.key_bits_min, rules.sig_key_s, rules.kem_key_s, rules.message_s, rules.skew_s] {
            w.uint(number);
        }
        w.uint(rules.auth_method.number()).uint(rules.refresh_s);
        Self::from_store(&signed::sign(POLICY, &w.finish(), key)?)
    }

    /// The bytes, for storing and passing on.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Its version, from 1.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// When it holds.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// What it wants.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}

fn read_algorithms(reader: &mut Reader<'_>) -> Result<Vec<i64>, Malformed> {
    let count = reader.array_up_to(ALGORITHMS_MAX)?;
    (0..count).map(|_| reader.int()).collect()
}

/// Whether a machine may act on what others send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The policy holds.
    InForce,
    /// No policy holds, or the time is not known: local control goes on, remote commands are refused, only the KMC is talked to.
    LocalOnly,
}

/// The policy that a machine follows. What is stored is the policy itself; its version never goes down, not even when it expires.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyState {
    policy: Option<Policy>,
}

impl PolicyState {
    /// With the policy from the store, or none before the first.
    pub fn new(policy: Option<Policy>) -> Self {
        Self { policy }
    }

    /// The state with this policy followed: its version has to be above the last one's. The same policy again is no error and changes
    /// nothing. Store [`Policy::raw`] before acting on it.
    pub fn adopt(&self, policy: Policy, now: UnixTime) -> Result<Self, PolicyError> {
        if let Some(last) = &self.policy {
            if policy.raw == last.raw {
                return Ok(self.clone());
            }
            if policy.version <= last.version {
                return Err(PolicyError::NotNewer);
            }
        }
        if !policy.validity.contains(now) {
            return Err(PolicyError::NotValid);
        }
        Ok(Self { policy: Some(policy) })
    }

    /// Version of the policy followed; 0 for none yet.
    pub fn version(&self) -> u32 {
        self.policy.as_ref().map_or(0, Policy::version)
    }

    /// The policy followed.
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    /// The rules followed: the default ones before the first policy. An expired policy's rules stay.
    pub fn rules(&self) -> Rules {
        self.policy.as_ref().map_or_else(Rules::default, |policy| policy.rules.clone())
    }

    /// Whether it holds now.
    pub fn standing(&self, now: Option<UnixTime>) -> Standing {
        match (&self.policy, now) {
            (Some(policy), Some(now)) if policy.validity.contains(now) => Standing::InForce,
            _ => Standing::LocalOnly,
        }
    }
}
