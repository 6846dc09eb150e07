//! What a utility orders of a KMC, and what it is answered: what is read is written the same.
#![no_main]
use libfuzzer_sys::fuzz_target;
use secure_http::{Order, Ordered};

fuzz_target!(|data: &[u8]| {
    if let Ok(order) = Order::decode(data) {
        assert_eq!(order.encode(), data);
    }
    if let Ok(ordered) = Ordered::decode(data) {
        assert_eq!(ordered.encode(), data);
    }
});
