//! A party's own keys: one to sign with, one that messages are sealed to, and for a while the sealing key before it.

use rand_core::CryptoRng;

use crate::cose_key::key_id;
use crate::crypto::{KemKey, SigningKey};
use crate::names::{KeyId, UnixTime};

/// The private keys of a party, separate for signing and sealing. They are overwritten when they are dropped.
#[derive(Debug)]
pub struct OwnKeys {
    sig: SigningKey,
    kem: KemKey,
    previous: Option<(KemKey, UnixTime)>,
    /// Made, and perhaps stated already: the KMC's answer that says so may have been lost.
    next: Option<KemKey>,
}

impl OwnKeys {
    /// New keys.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self { sig: SigningKey::generate(rng), kem: KemKey::generate(rng), previous: None, next: None }
    }

    /// From the store. `previous` goes until the time beside it.
    pub fn new(sig: SigningKey, kem: KemKey, previous: Option<(KemKey, UnixTime)>) -> Self {
        Self { sig, kem, previous, next: None }
    }

    /// The same, and messages sealed to `next` open too: while the KMC may or may not have stated it.
    #[must_use]
    pub fn expecting(self, next: KemKey) -> Self {
        Self { next: Some(next), ..self }
    }

    /// The key to sign with.
    pub fn sig(&self) -> &SigningKey {
        &self.sig
    }

    /// The key that messages are sealed to.
    pub fn kem(&self) -> &KemKey {
        &self.kem
    }

    /// The sealing key before, and when it goes.
    pub fn previous(&self) -> Option<(&KemKey, UnixTime)> {
        self.previous.as_ref().map(|(key, until)| (key, *until))
    }

    /// Goes over to new keys after the KMC has stated them: what is under way to the old sealing key can be opened until `until`. A new
    /// signing key takes over at once.
    pub fn roll(&mut self, sig: Option<SigningKey>, kem: KemKey, until: UnixTime) {
        if let Some(sig) = sig {
            self.sig = sig;
        }
        let old = core::mem::replace(&mut self.kem, kem);
        self.previous = Some((old, until));
    }

    /// Destroys the previous sealing key when its time is over; says whether it did, since the store has to forget it too.
    pub fn retire(&mut self, now: UnixTime) -> bool {
        self.previous.take_if(|(_, until)| *until <= now).is_some()
    }

    /// The sealing key of that identifier.
    pub(crate) fn kem_of(&self, kid: KeyId) -> Option<&KemKey> {
        let previous = self.previous.as_ref().map(|(key, _)| key);
        [Some(&self.kem), previous, self.next.as_ref()]
            .into_iter()
            .flatten()
            .find(|key| key_id(key.public().to_bytes()) == kid)
    }
}
