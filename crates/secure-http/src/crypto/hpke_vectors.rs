//! RFC 9180's own vectors, with the one-time key that they prescribe.

use serde_json::Value;

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
