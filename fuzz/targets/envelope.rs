//! A message as it comes from the network; one that has the form of a message says from whom it is at the fixed place.
#![no_main]
use libfuzzer_sys::fuzz_target;
use secure_http::{Envelope, peek_issuer};

fuzz_target!(|data: &[u8]| {
    let peeked = peek_issuer(data);
    if let Ok(envelope) = Envelope::parse(data) {
        assert_eq!(peeked, Some(envelope.head().issuer));
        assert_eq!(envelope.raw(), data);
    }
});
