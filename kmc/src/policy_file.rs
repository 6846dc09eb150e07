//! A policy as an operator writes it: TOML, every key with the default of docs/secure-channel.md. PURE.
#![forbid(unsafe_code)]

use std::path::Path;

use daemon_kit::config::{self, ConfigError};
use secure_http::code_points::{ALG_ES256, ALG_HPKE_0};
use secure_http::limits::{KEY_BITS_MIN, POLICY_S_MAX};
use secure_http::{AuthMethod, Rules};
use serde::Deserialize;

use crate::limits::POLICY_DAYS;

const DAY_S: u64 = 86_400;

#[derive(Clone, Copy, Debug, Deserialize)]
enum Signature {
    #[serde(rename = "ES256")]
    Es256,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Suite {
    #[serde(rename = "HPKE-0")]
    Hpke0,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Method {
    Signature,
}

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct File {
    valid_days: u64,
    sig_algorithms: Vec<Signature>,
    kem_suites: Vec<Suite>,
    min_key_bits: u64,
    sig_key_days: u64,
    kem_key_days: u64,
    message_s: u64,
    skew_s: u64,
    auth_method: Method,
    refresh_s: u64,
}

impl Default for File {
    fn default() -> Self {
        let rules = Rules::default();
        Self {
            valid_days: POLICY_DAYS,
            sig_algorithms: vec![Signature::Es256],
            kem_suites: vec![Suite::Hpke0],
            min_key_bits: KEY_BITS_MIN,
            sig_key_days: rules.sig_key_s / DAY_S,
            kem_key_days: rules.kem_key_s / DAY_S,
            message_s: rules.message_s,
            skew_s: rules.skew_s,
            auth_method: Method::Signature,
            refresh_s: rules.refresh_s,
        }
    }
}

/// The rules in a text, and how long they are to hold (seconds). Whether they keep to the floor is asked when they are signed.
///
/// # Errors
/// Anything that is no such file, with line and key.
pub fn parse(text: &str, path: &Path) -> Result<(Rules, u64), ConfigError> {
    let file: File = config::parse(text, path)?;
    if !(1..=POLICY_S_MAX / DAY_S).contains(&file.valid_days) {
        return Err(ConfigError::conflict(path, "valid-days", "expected 1 to 400"));
    }
    if file.sig_algorithms.is_empty() || file.kem_suites.is_empty() {
        return Err(ConfigError::conflict(path, "sig-algorithms", "expected at least one, and one of kem-suites"));
    }
    let rules = Rules {
        sig_algorithms: file.sig_algorithms.iter().map(|Signature::Es256| ALG_ES256).collect(),
        kem_suites: file.kem_suites.iter().map(|Suite::Hpke0| ALG_HPKE_0).collect(),
        key_bits_min: file.min_key_bits,
        sig_key_s: file.sig_key_days.saturating_mul(DAY_S),
        kem_key_s: file.kem_key_days.saturating_mul(DAY_S),
        message_s: file.message_s,
        skew_s: file.skew_s,
        auth_method: match file.auth_method {
            Method::Signature => AuthMethod::Signature,
        },
        refresh_s: file.refresh_s,
    };
    Ok((rules, file.valid_days * DAY_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default_policy() {
        let (rules, seconds) = parse("", Path::new("p")).unwrap();
        assert_eq!((rules, seconds), (Rules::default(), POLICY_DAYS * DAY_S));
    }

    #[test]
    fn what_is_set_is_taken_and_what_is_not_known_refused() {
        let (rules, seconds) = parse("valid-days = 10\nkem-key-days = 3\nskew-s = 60", Path::new("p")).unwrap();
        assert_eq!((seconds, rules.kem_key_s, rules.skew_s), (10 * DAY_S, 3 * DAY_S, 60));
        for text in ["sig-algorithms = ['RS256']", "valid-days = 0", "kem-suites = []", "auth-method = 'none'", "x = 1"]
        {
            assert!(parse(text, Path::new("p")).is_err(), "{text}");
        }
    }
}
