//! Price files, CSV and JSON: what is taken is a series that can be sent, without a gap, and a home's prices are those of the file.
//! The same bytes as the gateway's own file of kept prices: taken or passed over.
#![no_main]
use std::time::Duration;

use heg::now::Now;
use heg::prices::{HomePrices, Settings, Watched};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use tariff::price_file::{Expected, read};
use tariff::{Prices, Source, Terms};
use upnp::time::BootTime;
use utility_wire::{Message, Per, PriceSeries};

fuzz_target!(|text: &str| {
    let clock = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a clock");
    for whole_days in [false, true] {
        let expected = Expected {
            zone: "SE3".parse().expect("a zone"),
            time_zone: clock.clone(),
            currency: Some("SEK".parse().expect("a currency")),
            per: Some(Per::MegawattHour),
            whole_days,
        };
        match read(text, &expected) {
            Ok(series) => {
                assert_eq!(PriceSeries::decode(&series.encode()), Ok(series.clone()));
                for billing_slot_s in [None, Some(3600)] {
                    let terms = Terms { billing_slot_s, ..Terms::new(clock.clone()) };
                    let mut prices = Prices::new(terms);
                    prices.add(Source::File, series.clone(), series.start());
                    let slots = prices.slots(series.start(), series.end());
                    assert!(slots.windows(2).all(|w| w[0].from < w[0].until && w[0].until == w[1].from));
                    let gaps = prices.gaps(series.start(), series.end());
                    assert!(billing_slot_s.is_some() || gaps.is_empty(), "{gaps:?}");
                    prices.next_change(series.start());
                }
            }
            Err(error) => assert!(error.line >= 1 && error.line <= text.lines().count().max(1), "{error}"),
        }
        let mut settings = Settings::nothing(clock.clone());
        settings.watched = Some(Watched { source: Source::File, name: "/p".to_owned(), expected });
        let now = Now { boot: BootTime::from_duration(Duration::from_secs(60)), wall: Timestamp::UNIX_EPOCH };
        HomePrices::new(settings, Some(text.as_bytes()), now).status();
    }
});
