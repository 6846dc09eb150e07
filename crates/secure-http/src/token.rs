//! The enrolment token that the utility prints, as text in a QR code: `HEG1:<kmc host>:<token>:<root fingerprint>`.
//!
//! Token and fingerprint are 128 bits each, written with 26 characters of base32 (RFC 4648, 6; the last two bits are 0). All of it may be
//! in upper case, which makes the QR code smaller.

use core::fmt;
use core::str::FromStr;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::crypto::sha256;
use crate::limits::{HOST_BYTES_MAX, TOKEN_TEXT_BYTES_MAX};
use crate::names::TokenId;
use crate::statement::Fingerprint;

const PREFIX: &str = "HEG1:";
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Characters of 128 bits.
const CHARS: usize = 26;

/// Why a text is not an enrolment token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not four parts of which the first is HEG1.
    #[error("expected HEG1:<host>:<token>:<fingerprint>")]
    Form,
    /// The host is empty, too long, or holds other characters than a host name, an address and a port have.
    #[error("the host in the token is none")]
    Host,
    /// Token or fingerprint are not 26 characters of base32: a letter was misread.
    #[error("a part of the token is misread: expected 26 of the characters A-Z and 2-7")]
    Base32,
}

/// A host name or address, `[...]` around an IPv6 one, with `:port` or without, in lower case; none for a text with other characters, an
/// empty one, or one of more than [`HOST_BYTES_MAX`]. Whether it leads anywhere shows when it is asked.
pub fn canonical_host(text: &str) -> Option<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b);
    let sound = (1..=HOST_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed);
    sound.then(|| text.to_ascii_lowercase())
}

/// The secret of a token: 128 bits, good for one enrolment. Overwritten when dropped; never printed but by [`EnrolmentToken`].
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret(Zeroizing<[u8; 16]>);

impl TokenSecret {
    /// A new one.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut bytes = Zeroizing::new([0; 16]);
        rng.fill_bytes(bytes.as_mut());
        Self(bytes)
    }

    /// From the store.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes: the pre-shared key of the enrolment request.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Its name, which says nothing about it.
    pub fn id(&self) -> TokenId {
        let digest = sha256(&[b"heg-token-id/1", self.as_bytes()]);
        TokenId(core::array::from_fn(|i| digest[i]))
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenSecret").field(&self.id()).finish()
    }
}

/// What the printed text holds. `Display` writes what `FromStr` reads, secret and all.
/// ```
/// use secure_http::EnrolmentToken;
/// let text = "HEG1:kmc.example:GAYTEMZUGU3DOOBZMFRGGZDFMY:77777777777777777777777774";
/// let token: EnrolmentToken = text.parse()?;
/// assert_eq!(token.host(), "kmc.example");
/// # Ok::<(), secure_http::TokenError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentToken {
    host: String,
    secret: TokenSecret,
    fingerprint: Fingerprint,
}

impl EnrolmentToken {
    /// For a KMC at `host`: a host name or address, `[...]` around an IPv6 one, with `:port` or without; [`TokenError::Host`].
    pub fn new(host: &str, secret: TokenSecret, fingerprint: Fingerprint) -> Result<Self, TokenError> {
        let host = canonical_host(host).ok_or(TokenError::Host)?;
        Ok(Self { host, secret, fingerprint })
    }

    /// Where the KMC is, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The secret.
    pub fn secret(&self) -> &TokenSecret {
        &self.secret
    }

    /// What the KMC's root key has to be.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl FromStr for EnrolmentToken {
    type Err = TokenError;
    fn from_str(s: &str) -> Result<Self, TokenError> {
        let s = s.trim();
        if s.len() > TOKEN_TEXT_BYTES_MAX || !s.is_ascii() {
            return Err(TokenError::Form);
        }
        let prefixed = s.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
        if !prefixed {
            return Err(TokenError::Form);
        }
        let mut parts = s[PREFIX.len()..].rsplitn(3, ':');
        let (Some(fingerprint), Some(secret), Some(host)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(TokenError::Form);
        };
        let secret = Zeroizing::new(from_base32(secret)?);
        Self::new(host, TokenSecret(secret), Fingerprint(from_base32(fingerprint)?))
    }
}

impl fmt::Display for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = Zeroizing::new(to_base32(self.secret.as_bytes()));
        write!(f, "{PREFIX}{}:{}:{}", self.host, secret.as_str(), to_base32(&self.fingerprint.0))
    }
}

impl fmt::Debug for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolmentToken").field("host", &self.host).field("secret", &self.secret).finish_non_exhaustive()
    }
}

fn to_base32(bytes: &[u8; 16]) -> String {
    let bits = u128::from_be_bytes(*bytes);
    (0..CHARS)
        .map(|i| {
            let from_top = 5 * (i + 1);
            let value = if from_top <= 128 { bits >> (128 - from_top) } else { bits << (from_top - 128) };
            char::from(BASE32[(value & 31) as usize])
        })
        .collect()
}

fn from_base32(text: &str) -> Result<[u8; 16], TokenError> {
    if text.len() != CHARS {
        return Err(TokenError::Base32);
    }
    let mut bits = 0u128;
    for (i, character) in text.bytes().enumerate() {
        let character = character.to_ascii_uppercase();
        let value = BASE32.iter().position(|b| *b == character).ok_or(TokenError::Base32)? as u128;
        if i == CHARS - 1 {
            // Three bits of the last character count.
            if value & 3 != 0 {
                return Err(TokenError::Base32);
            }
            bits = bits << 3 | value >> 2;
        } else {
            bits = bits << 5 | value;
        }
    }
    Ok(bits.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(host: &str) -> Result<EnrolmentToken, TokenError> {
        let secret = TokenSecret::from_bytes(*b"0123456789abcdef");
        EnrolmentToken::new(host, secret, Fingerprint([0xff; 16]))
    }

    #[test]
    fn a_token_reads_back_as_printed_also_in_upper_case() {
        for host in ["kmc.example", "kmc.example:8443", "192.0.2.1", "[2001:db8::1]:8443"] {
            let token = token(host).unwrap();
            let text = token.to_string();
            assert_eq!(text.parse(), Ok(token.clone()));
            assert_eq!(format!(" {}\n", text.to_ascii_uppercase()).parse(), Ok(token));
        }
        let text = token("kmc.example").unwrap().to_string();
        assert_eq!(text, "HEG1:kmc.example:GAYTEMZUGU3DOOBZMFRGGZDFMY:77777777777777777777777774");
    }

    #[test]
    fn what_is_misread_is_refused_with_the_part_that_is_wrong() {
        let good = token("kmc.example").unwrap().to_string();
        for (bad, error) in [
            (good.replace("HEG1", "HEG2"), TokenError::Form),
            ("HEG1:kmc.example".to_owned(), TokenError::Form),
            (good.replace("kmc.example", ""), TokenError::Host),
            (good.replace("kmc.example", "kmc/example"), TokenError::Host),
            (good.replace("GAYT", "GAY1"), TokenError::Base32),
            (good.replace("GAYT", "GAY"), TokenError::Base32),
            (good.replace("DFMY", "DFMZ"), TokenError::Base32),
            (format!("{good}é"), TokenError::Form),
        ] {
            assert_eq!(bad.parse::<EnrolmentToken>(), Err(error), "{bad}");
        }
    }

    #[test]
    fn the_secret_is_not_in_what_is_printed_for_debugging() {
        let token = token("kmc.example").unwrap();
        assert!(!format!("{token:?}").contains("GAYT") && !format!("{token:?}").contains("48, 49"));
    }

    proptest! {
        #[test]
        fn every_secret_reads_back_and_no_text_makes_parsing_panic(
            bytes in any::<[u8; 16]>(), text in "(HEG1:)?.{0,80}"
        ) {
            prop_assert_eq!(from_base32(&to_base32(&bytes)), Ok(bytes));
            if let Ok(token) = text.parse::<EnrolmentToken>() {
                prop_assert_eq!(token.to_string().parse(), Ok(token));
            }
        }
    }
}
