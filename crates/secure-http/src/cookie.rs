//! Cookies against floods: a tag that costs a hash to check lets a server under load turn strangers away before it checks signatures.
//!
//! A sender gets a cookie key inside a sealed answer; nobody else has it. `HEG-Cookie: <epoch>.<tag>` then shows that the sender of a
//! body is one that was answered before. A server under load that sees no valid tag answers 429 with `HEG-Cookie-Challenge:
//! <epoch>.<key>`, a key bound to the asker's address; `HEG-Cookie: <epoch>.<tag>.a` made with it gets into a queue of its own, because it
//! shows no more than that the asker can receive at its address.

use core::fmt;
use core::net::IpAddr;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::cbor::{Malformed, Reader, Writer};
use crate::crypto::{equal, hmac_sha256};
use crate::limits::{COOKIE_BYTES, COOKIE_EPOCH_S, COOKIE_HEADER_BYTES_MAX};
use crate::names::{PartyId, UnixTime};

/// Request header with a tag.
pub const COOKIE_HEADER: &str = "heg-cookie";
/// Response header with a challenge.
pub const CHALLENGE_HEADER: &str = "heg-cookie-challenge";

/// Characters of 16 bytes in base64url without padding.
const TAG_CHARS: usize = 22;
/// Ends the value of a tag that was made with a challenge.
const ADDRESS_MARK: &str = ".a";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What a tag showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The sender was answered before, under this name.
    Known,
    /// The sender receives at its address.
    Address,
    /// Nothing.
    None,
}

/// The server's side: secrets of this epoch and the one before, in memory only. After a restart all cookies are void, which costs their
/// owners one challenge.
pub struct CookieSecrets {
    epoch: u64,
    current: Zeroizing<[u8; 32]>,
    previous: Zeroizing<[u8; 32]>,
}

impl CookieSecrets {
    /// With new secrets.
    pub fn new<R: CryptoRng + ?Sized>(now: UnixTime, rng: &mut R) -> Self {
        Self { epoch: epoch(now), current: secret(rng), previous: secret(rng) }
    }

    /// To be called before use: goes over to a new secret when the epoch has changed.
    pub fn turn<R: CryptoRng + ?Sized>(&mut self, now: UnixTime, rng: &mut R) {
        let epoch = epoch(now);
        if epoch == self.epoch {
            return;
        }
        let last = core::mem::replace(&mut self.current, secret(rng));
        self.previous = if epoch == self.epoch.wrapping_add(1) { last } else { secret(rng) };
        self.epoch = epoch;
    }

    /// A cookie for that party, to be given inside a sealed answer.
    pub fn issue(&self, party: &PartyId) -> Cookie {
        Cookie { epoch: self.epoch, key: party_key(&self.current, party, self.epoch) }
    }

    /// The value of a challenge for that address.
    pub fn challenge(&self, address: IpAddr) -> String {
        format!("{}.{}", self.epoch, address_key(&self.current, address, self.epoch).as_str())
    }

    /// What the value of a `HEG-Cookie` header shows of a body that says it is from `party` and came from `address`. Costs two or three
    /// hashes over the body's length.
    pub fn check(&self, header: &str, party: Option<&PartyId>, address: IpAddr, body: &[u8]) -> Admission {
        let Some((epoch, tag, by_address)) = parse(header) else { return Admission::None };
        let secret = if epoch == self.epoch {
            &self.current
        } else if epoch.checked_add(1) == Some(self.epoch) {
            &self.previous
        } else {
            return Admission::None;
        };
        let (expected, admission) = match (by_address, party) {
            (true, _) => (tag_of(address_key(secret, address, epoch).as_bytes(), body), Admission::Address),
            (false, Some(party)) => (tag_of(party_key(secret, party, epoch).as_ref(), body), Admission::Known),
            (false, None) => return Admission::None,
        };
        if equal(expected.as_bytes(), tag.as_bytes()) { admission } else { Admission::None }
    }
}

impl fmt::Debug for CookieSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieSecrets").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// The sender's side: the newest key it was given. In memory only.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie {
    epoch: u64,
    key: Zeroizing<[u8; COOKIE_BYTES]>,
}

impl Cookie {
    /// The value of the `HEG-Cookie` header for this body.
    pub fn header(&self, body: &[u8]) -> String {
        format!("{}.{}", self.epoch, tag_of(self.key.as_ref(), body))
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.array(2).uint(self.epoch).bytes(self.key.as_ref());
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.array(2)?;
        let epoch = reader.uint()?;
        Ok(Self { epoch, key: Zeroizing::new(*reader.array_of()?) })
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cookie").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// The value of the `HEG-Cookie` header for this body that answers a challenge; none when that is not a challenge.
pub fn answer_challenge(challenge: &str, body: &[u8]) -> Option<String> {
    let (epoch, key, by_address) = parse(challenge)?;
    (!by_address).then(|| format!("{epoch}.{}{ADDRESS_MARK}", tag_of(key.as_bytes(), body)))
}

/// `<epoch>.<22 characters>` and perhaps the mark.
fn parse(value: &str) -> Option<(u64, &str, bool)> {
    if value.len() > COOKIE_HEADER_BYTES_MAX {
        return None;
    }
    let (bare, by_address) = match value.strip_suffix(ADDRESS_MARK) {
        Some(bare) => (bare, true),
        None => (value, false),
    };
    let (epoch, tag) = bare.split_once('.')?;
    let plain = |text: &str, of: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|b| of(&b));
    let well_formed = plain(epoch, u8::is_ascii_digit)
        && (epoch.len() == 1 || !epoch.starts_with('0'))
        && tag.len() == TAG_CHARS
        && plain(tag, |b| BASE64_URL.contains(b));
    if well_formed { Some((epoch.parse().ok()?, tag, by_address)) } else { None }
}

fn epoch(now: UnixTime) -> u64 {
    now.0 / COOKIE_EPOCH_S
}

fn secret<R: CryptoRng + ?Sized>(rng: &mut R) -> Zeroizing<[u8; 32]> {
    let mut secret = Zeroizing::new([0; 32]);
    rng.fill_bytes(secret.as_mut());
    secret
}

fn party_key(secret: &[u8; 32], party: &PartyId, epoch: u64) -> Zeroizing<[u8; COOKIE_BYTES]> {
    Zeroizing::new(mac(secret, &[b"heg-cookie/1", party.as_str().as_bytes(), &epoch.to_be_bytes()]))
}

/// The key is the text itself, so that the asker has nothing to decode.
fn address_key(secret: &[u8; 32], address: IpAddr, epoch: u64) -> Zeroizing<String> {
    let octets = match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    Zeroizing::new(base64(&mac(secret, &[b"heg-cookie-address/1", &octets, &epoch.to_be_bytes()])))
}

fn tag_of(key: &[u8], body: &[u8]) -> String {
    base64(&mac(key, &[body]))
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; COOKIE_BYTES] {
    let full = hmac_sha256(key, parts);
    core::array::from_fn(|i| full[i])
}

/// RFC 4648, 5, without padding.
fn base64(bytes: &[u8; COOKIE_BYTES]) -> String {
    let bits = u128::from_be_bytes(*bytes);
    // 22 characters hold 132 bits: the last four are 0.
    (0..TAG_CHARS)
        .map(|i| {
            let from_top = 6 * (i + 1);
            let value = if from_top <= 128 { bits >> (128 - from_top) } else { bits << (from_top - 128) };
            char::from(BASE64_URL[(value & 63) as usize])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::Seeded;

    const NOW: UnixTime = UnixTime(1_900_000_200);
    const HERE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 7));
    const ELSEWHERE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 8));

    fn party(last: char) -> PartyId {
        format!("2fac1234-31f8-41b4-a222-08002b34c00{last}").parse().unwrap()
    }

    #[test]
    fn a_cookie_admits_its_owner_with_this_body_and_nobody_else() {
        let secrets = CookieSecrets::new(NOW, &mut Seeded::new(1));
        let header = secrets.issue(&party('1')).header(b"body");
        assert_eq!(secrets.check(&header, Some(&party('1')), ELSEWHERE, b"body"), Admission::Known);
        assert_eq!(secrets.check(&header, Some(&party('2')), HERE, b"body"), Admission::None);
        assert_eq!(secrets.check(&header, Some(&party('1')), HERE, b"bodY"), Admission::None);
        assert_eq!(secrets.check(&header, None, HERE, b"body"), Admission::None);
        assert_eq!(secrets.check(&format!("{header}.a"), Some(&party('1')), HERE, b"body"), Admission::None);
        let restarted = CookieSecrets::new(NOW, &mut Seeded::new(2));
        assert_eq!(restarted.check(&header, Some(&party('1')), HERE, b"body"), Admission::None);
    }

    #[test]
    fn a_cookie_is_good_for_its_epoch_and_the_next() {
        let mut rng = Seeded::new(1);
        let mut secrets = CookieSecrets::new(NOW, &mut rng);
        let header = secrets.issue(&party('1')).header(b"body");
        secrets.turn(NOW.plus(COOKIE_EPOCH_S), &mut rng);
        assert_eq!(secrets.check(&header, Some(&party('1')), HERE, b"body"), Admission::Known);
        secrets.turn(NOW.plus(2 * COOKIE_EPOCH_S), &mut rng);
        assert_eq!(secrets.check(&header, Some(&party('1')), HERE, b"body"), Admission::None);
        // After a long silence no secret of before is left.
        let header = secrets.issue(&party('1')).header(b"body");
        secrets.turn(NOW.plus(9 * COOKIE_EPOCH_S), &mut rng);
        assert_eq!(secrets.check(&header, Some(&party('1')), HERE, b"body"), Admission::None);
    }

    #[test]
    fn a_challenge_admits_from_its_address_only_and_to_the_other_queue() {
        let secrets = CookieSecrets::new(NOW, &mut Seeded::new(1));
        let answer = answer_challenge(&secrets.challenge(HERE), b"body").unwrap();
        assert_eq!(secrets.check(&answer, None, HERE, b"body"), Admission::Address);
        let mapped = "::ffff:192.0.2.7".parse().unwrap();
        assert_eq!(secrets.check(&answer, None, mapped, b"body"), Admission::Address);
        assert_eq!(secrets.check(&answer, None, ELSEWHERE, b"body"), Admission::None);
        assert_eq!(secrets.check(&answer, None, HERE, b"other"), Admission::None);
        let unmarked = answer.strip_suffix(".a").unwrap();
        assert_eq!(secrets.check(unmarked, Some(&party('1')), HERE, b"body"), Admission::None);
        assert_eq!(answer_challenge(&answer, b"body"), None, "an answer is no challenge");
    }

    #[test]
    fn base64_is_that_of_rfc_4648_for_urls() {
        assert_eq!(base64(&[0; 16]), "A".repeat(22));
        assert_eq!(base64(&[0xff; 16]), format!("{}w", "_".repeat(21)));
        assert_eq!(base64(b"0123456789abcdef"), "MDEyMzQ1Njc4OWFiY2RlZg");
    }

    proptest! {
        #[test]
        fn no_header_makes_the_check_panic_or_admit(header in ".{0,70}") {
            let secrets = CookieSecrets::new(NOW, &mut Seeded::new(1));
            prop_assert_eq!(secrets.check(&header, Some(&party('1')), HERE, b"body"), Admission::None);
        }
    }
}
