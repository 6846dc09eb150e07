//! The bodies of sealed messages and the broadcast objects: what is taken is written as the same bytes. The first byte chooses.
#![no_main]
use libfuzzer_sys::fuzz_target;
use utility_wire::{Command, LimitSet, Message, Poll, PriceIndex, PriceSeries, Report, ReportAnswer};

fn round_trip<M: Message>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        assert_eq!(message.encode(), bytes);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 7 {
        0 => round_trip::<Report>(bytes),
        1 => round_trip::<ReportAnswer>(bytes),
        2 => round_trip::<Poll>(bytes),
        3 => round_trip::<Command>(bytes),
        4 => round_trip::<PriceSeries>(bytes),
        5 => round_trip::<LimitSet>(bytes),
        _ => round_trip::<PriceIndex>(bytes),
    }
});
