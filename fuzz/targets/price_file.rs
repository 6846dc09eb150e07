//! Price files, CSV and JSON: what is taken is a series that can be sent, without a gap.
#![no_main]
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use tariff::price_file::{Expected, read};
use utility_wire::{Message, Per, PriceSeries};

fuzz_target!(|text: &str| {
    for whole_days in [false, true] {
        let expected = Expected {
            zone: "SE3".parse().expect("a zone"),
            time_zone: TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a clock"),
            money: Some(("SEK".parse().expect("a currency"), Per::MegawattHour)),
            whole_days,
        };
        match read(text, &expected) {
            Ok(series) => assert_eq!(PriceSeries::decode(&series.encode()), Ok(series)),
            Err(error) => assert!(error.line >= 1 && error.line <= text.lines().count().max(1), "{error}"),
        }
    }
});
