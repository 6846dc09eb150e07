//! Public keys as COSE_Key (RFC 9052, 7; RFC 9053, 7.1.1) and their thumbprints (RFC 9679).

use crate::cbor::{Malformed, Reader, Writer};
use crate::code_points::{CRV_P256, KEY_CRV, KEY_KTY, KEY_X, KEY_Y, KTY_EC2};
use crate::crypto::{DIGEST_BYTES, PUBLIC_KEY_BYTES, sha256};
use crate::names::KeyId;

/// Bytes of a COSE_Key with these four members.
const COSE_KEY_BYTES: usize = 75;

/// The key as COSE_Key `{1: 2, -1: 1, -2: x, -3: y}`: also the form that its thumbprint is taken of.
pub(crate) fn write(writer: &mut Writer, key: &[u8; PUBLIC_KEY_BYTES]) {
    let (x, y) = key[1..].split_at(32);
    writer.map(4).int(KEY_KTY).uint(KTY_EC2).int(KEY_CRV).uint(CRV_P256);
    writer.int(KEY_X).bytes(x).int(KEY_Y).bytes(y);
}

/// The uncompressed point of a COSE_Key in exactly the form above.
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<[u8; PUBLIC_KEY_BYTES], Malformed> {
    reader.map(4)?;
    reader.exactly(KEY_KTY)?;
    reader.exactly(KTY_EC2 as i64)?;
    reader.exactly(KEY_CRV)?;
    reader.exactly(CRV_P256 as i64)?;
    reader.exactly(KEY_X)?;
    let x: &[u8; 32] = reader.array_of()?;
    reader.exactly(KEY_Y)?;
    let y: &[u8; 32] = reader.array_of()?;
    let mut key = [4; PUBLIC_KEY_BYTES];
    key[1..33].copy_from_slice(x);
    key[33..].copy_from_slice(y);
    Ok(key)
}

/// SHA-256 thumbprint of a public key given as uncompressed point (RFC 9679, 3).
pub fn thumbprint(key: &[u8; PUBLIC_KEY_BYTES]) -> [u8; DIGEST_BYTES] {
    let mut writer = Writer::with_capacity(COSE_KEY_BYTES);
    write(&mut writer, key);
    sha256(&[&writer.finish()])
}

/// The first 8 bytes of the thumbprint.
pub fn key_id(key: &[u8; PUBLIC_KEY_BYTES]) -> KeyId {
    let [a, b, c, d, e, f, g, h, ..] = thumbprint(key);
    KeyId([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        core::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hexadecimal"))
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_9679() {
        // RFC 9679, 5.
        let mut key = [4; PUBLIC_KEY_BYTES];
        key[1..33].copy_from_slice(&hex::<32>("65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d"));
        key[33..].copy_from_slice(&hex::<32>("1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c"));
        let want = hex::<32>("496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec");
        assert_eq!(thumbprint(&key), want);
        assert_eq!(key_id(&key).0, want[..8]);
    }

    #[test]
    fn a_key_reads_back_as_written_and_takes_no_other_form() {
        let key: [u8; PUBLIC_KEY_BYTES] = core::array::from_fn(|i| if i == 0 { 4 } else { i as u8 });
        let mut writer = Writer::new();
        write(&mut writer, &key);
        let bytes = writer.finish();
        assert_eq!(bytes.len(), COSE_KEY_BYTES);
        assert_eq!(read(&mut Reader::new(&bytes)), Ok(key));
        // Type, curve, labels and lengths: each byte that is not of x or y.
        for i in (0..8).chain([40, 41, 42]) {
            let mut changed = bytes.clone();
            changed[i] ^= 1;
            assert!(read(&mut Reader::new(&changed)).is_err(), "byte {i}");
        }
    }
}
