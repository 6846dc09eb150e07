use proptest::prelude::*;
use utility_wire::Per;

use super::*;
use crate::time_of_use::{Days, Holidays, Months, Period};

const DAY_S: u64 = 86_400;

fn at(text: &str) -> UnixTime {
    unix(text.parse().unwrap())
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect("zone files (Debian's tzdata)")
}

fn stockholm() -> Terms {
    Terms::new(zone("Europe/Stockholm"))
}

fn series(start: UnixTime, slot_s: u32, prices: &[i64]) -> PriceSeries {
    let money = ("SEK".parse().unwrap(), Per::MegawattHour);
    PriceSeries::new("SE3".parse().unwrap(), 0, money, start, slot_s, prices.to_vec()).unwrap()
}

fn counts(prices: &Prices, from: UnixTime, until: UnixTime) -> Vec<(u64, Option<i64>)> {
    let short = |s: &Slot| ((s.until.seconds() - s.from.seconds()) / 60, s.priced.map(|p| p.price.count()));
    prices.slots(from, until).iter().map(short).collect()
}

fn table(price: i64) -> Table {
    Table {
        zone: zone("Europe/Stockholm"),
        otherwise: None,
        periods: vec![Period {
            days: Days::ALL,
            months: Months::ALL,
            window: Some("06:00:00-22:00:00".parse().unwrap()),
            price: Price::micro_per_kwh(price),
        }],
        holidays: Holidays::default(),
    }
}

#[test]
fn the_utility_goes_before_the_file_and_the_file_before_the_table_instant_by_instant() {
    let start = at("2026-11-27T08:00:00Z");
    let mut prices = Prices::new(Terms { table: Some(table(7)), ..stockholm() });
    prices.add(Source::File, series(start, 900, &[1, 2, 3, 4]), start);
    prices.set(Source::Utility, vec![series(start.plus(900), 900, &[20]), series(start, 900, &[10, 11])], start);
    let found = prices.slots(start, start.plus(5400));
    let want = [(Source::Utility, 10), (Source::Utility, 20), (Source::File, 3), (Source::File, 4), (Source::Table, 7)];
    let is = |s: &Slot| s.priced.map(|p| (p.source, p.price.count()));
    assert_eq!(found.iter().map(is).collect::<Vec<_>>(), want.map(Some));
    assert_eq!(prices.at(start.plus(899)), Some(Priced { price: Price::micro_per_kwh(10), source: Source::Utility }));
    assert_eq!(prices.coverage(start), Some((Source::Utility, Some(start.plus(1800)))));
    prices.set(Source::Utility, vec![], start);
    assert_eq!(prices.coverage(start), Some((Source::File, Some(start.plus(3600)))));
    assert_eq!(prices.currency(Source::File), Some("SEK".parse().unwrap()));
}

#[test]
fn days_of_23_and_25_hours_have_92_and_100_quarters_and_the_last_one_is_not_lost() {
    for (from, until, slots) in [
        ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", 92),
        ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 100),
        ("2026-11-26T23:00:00Z", "2026-11-27T23:00:00Z", 96),
    ] {
        let (from, until) = (at(from), at(until));
        let quarters: Vec<i64> = (0..slots).collect();
        let mut prices = Prices::new(stockholm());
        prices.add(Source::Feed, series(from, 900, &quarters), from);
        let found = prices.slots(from, until);
        assert_eq!((found.len() as i64, found[0].from, found[found.len() - 1].until), (slots, from, until));
        let last = UnixTime::new(until.seconds() - 1);
        assert_eq!(prices.at(last).unwrap().price.count(), slots - 1);
        assert_eq!((prices.at(until), prices.gaps(from, until)), (None, vec![]));
        // By the hour, as bills have it: the same days have 23, 25 and 24.
        prices.set_terms(Terms { billing_slot_s: Some(3600), ..stockholm() });
        let hours = counts(&prices, from, until);
        assert_eq!(hours.len() as i64, slots / 4);
        // 0 + 1 + 2 + 3 is 6 quarters: 1.5, a half goes up.
        assert_eq!(hours[0], (60, Some(2)));
        assert_eq!(prices.at(last).unwrap().price.count(), slots - 2);
    }
}

#[test]
fn billing_hours_are_hours_by_the_zone_s_clock_and_end_where_it_is_changed() {
    // Adelaide is half an hour off, so its hours are not those of UTC.
    let start = at("2026-06-01T00:30:00Z");
    let mut prices = Prices::new(Terms { billing_slot_s: Some(3600), ..Terms::new(zone("Australia/Adelaide")) });
    prices.add(Source::File, series(start, 1800, &[10, 20, -30, 0]), start);
    assert_eq!(counts(&prices, start, start.plus(7200)), [(60, Some(15)), (60, Some(-15))]);
    // Lord Howe leaves out half an hour at 02:00 on 4 October 2026: what is left of that hour is billed by itself.
    let start = at("2026-10-03T14:30:00Z");
    let mut prices = Prices::new(Terms { billing_slot_s: Some(3600), ..Terms::new(zone("Australia/Lord_Howe")) });
    prices.add(Source::File, series(start, 1800, &[1, 3, 50, 7, 9]), start);
    assert_eq!(counts(&prices, start, start.plus(9000)), [(60, Some(2)), (30, Some(50)), (60, Some(8))]);
}

#[test]
fn gaps_are_named_and_a_billing_slot_known_in_part_is_one() {
    let start = at("2026-11-27T08:00:00Z");
    let mut prices = Prices::new(stockholm());
    let hour = |n: u64| start.plus(n * 3600);
    assert_eq!(prices.gaps(start, hour(1)), [Gap { from: start, until: hour(1), why: Missing::Nothing }]);
    prices.add(Source::File, series(hour(1), 900, &[1, 2, 3, 4, 5, 6]), start);
    prices.add(Source::File, series(hour(4), 3600, &[0]), start);
    let gap = |from: u64, until: u64, why| Gap { from: start.plus(from), until: start.plus(until), why };
    assert_eq!(
        prices.gaps(start, hour(6)),
        [gap(0, 3600, Missing::Passed), gap(9000, 14400, Missing::LeftOut), gap(18000, 21600, Missing::NotYet)]
    );
    assert_eq!(prices.at(hour(4)).unwrap().price.count(), 0, "a price of zero is a price");
    prices.set_terms(Terms { billing_slot_s: Some(3600), ..stockholm() });
    assert_eq!(
        prices.gaps(start, hour(4)),
        [
            gap(0, 3600, Missing::Passed),
            gap(7200, 9000, Missing::PartOfBillingSlot),
            gap(9000, 14400, Missing::LeftOut)
        ]
    );
    prices.set(Source::File, vec![], start);
    prices.set_terms(Terms { table: Some(table(7)), ..stockholm() });
    let night = at("2026-11-27T21:00:00Z");
    assert_eq!(
        prices.gaps(night.plus(0), night.plus(10 * 3600)),
        [Gap { from: night, until: night.plus(8 * 3600), why: Missing::NoPeriod }]
    );
}

#[test]
fn a_day_that_is_not_published_when_it_should_be_is_stale_at_that_minute_also_in_summer() {
    let by = Terms { expected_by: Some("14:00:00".parse().unwrap()), ..stockholm() };
    let mut prices = Prices::new(by);
    let today = at("2026-07-13T22:00:00Z");
    prices.add(Source::Feed, series(today, 3600, &[1; 24]), today);
    // 14:00 in Stockholm is 12:00 UTC in July.
    let (noon, due) = (at("2026-07-14T11:59:59Z"), at("2026-07-14T12:00:00Z"));
    assert_eq!((prices.stale(noon), prices.next_change(noon)), (vec![], Some(due)));
    let end = today.plus(DAY_S);
    assert_eq!(prices.stale(due), [Stale::Late { wanted: today.plus(2 * DAY_S), until: Some(end) }]);
    assert_eq!(prices.next_change(due), Some(end));
    assert_eq!(prices.at(due).unwrap().price.count(), 1, "what is stale still holds");
    prices.add(Source::Feed, series(end, 900, &[2; 96]), due);
    assert_eq!(prices.stale(due), []);
    // Nothing came for the day that has begun.
    let later = at("2026-07-15T22:00:00Z");
    assert_eq!(prices.stale(later), [Stale::Late { wanted: today.plus(3 * DAY_S), until: None }]);
}

#[test]
fn a_source_that_is_not_confirmed_for_long_is_stale_and_one_that_is_is_not() {
    let start = at("2026-11-27T08:00:00Z");
    let mut prices = Prices::new(Terms { stale_after_s: Some(7200), ..stockholm() });
    prices.add(Source::File, series(start, 3600, &[1; 48]), start);
    let later = start.plus(7200);
    assert_eq!((prices.stale(start.plus(7199)), prices.next_change(start)), (vec![], Some(later)));
    assert_eq!(prices.stale(later), [Stale::Old { source: Source::File, confirmed: start }]);
    prices.confirm(Source::File, later);
    assert_eq!(prices.stale(later), []);
}

#[test]
fn the_same_again_is_nothing_new_and_what_is_covered_or_over_is_forgotten() {
    let start = at("2026-11-27T08:00:00Z");
    let mut prices = Prices::new(stockholm());
    assert!(prices.add(Source::File, series(start, 900, &[1, 2]), start));
    assert!(!prices.add(Source::File, series(start, 900, &[1, 2]).with_version(9), start.plus(60)));
    assert_eq!(prices.confirmed(Source::File), Some(start.plus(60)));
    // A correction of the second slot goes before it, the first stays.
    assert!(prices.add(Source::File, series(start.plus(900), 900, &[-5]), start));
    assert_eq!(counts(&prices, start, start.plus(1800)), [(15, Some(1)), (15, Some(-5))]);
    assert!(prices.add(Source::File, series(start, 900, &[7, 8, 9]), start));
    assert_eq!(prices.series(Source::File).len(), 1);
    for day in 1..40 {
        prices.add(Source::File, series(start.plus(day * DAY_S), 3600, &[1; 24]), start);
        assert!(prices.series(Source::File).len() <= SERIES_PER_SOURCE_MAX);
    }
    prices.forget_over(Source::File, start.plus(39 * DAY_S));
    assert_eq!(prices.series(Source::File).len(), 1);
    prices.forget_over(Source::File, start.plus(40 * DAY_S));
    assert_eq!((prices.series(Source::File).len(), prices.confirmed(Source::File)), (0, Some(start)));
    assert_eq!(prices.gaps(start, start.plus(60))[0].why, Missing::NotYet);
}

proptest! {
    /// The reference looks at every minute by itself.
    #[test]
    fn slots_cover_the_span_without_a_hole_and_say_what_holds_at_each_minute(
        parts in prop::collection::vec((0u64..300, prop::sample::select(&[300u32, 900, 1800, 3600][..]), prop::collection::vec(-9i64..9, 1..6), any::<bool>()), 0..6),
        with_table in any::<bool>(),
        from in 0u64..400,
        minutes in 1u64..600,
    ) {
        // Around the change to winter time.
        let base = at("2026-10-24T22:00:00Z");
        let table = with_table.then(|| table(100));
        let mut prices = Prices::new(Terms { table: table.clone(), ..stockholm() });
        let mut told: Vec<(Source, PriceSeries)> = Vec::new();
        for (start, slot_s, values, utility) in parts {
            let source = if utility { Source::Utility } else { Source::Feed };
            let one = series(base.plus(start * 60), slot_s, &values);
            prices.add(source, one.clone(), UnixTime::new(0));
            told.insert(0, (source, one));
        }
        told.sort_by_key(|(source, _)| *source);
        let (from, until) = (base.plus(from * 60), base.plus((from + minutes) * 60));
        let slots = prices.slots(from, until);
        prop_assert_eq!((slots[0].from, slots[slots.len() - 1].until), (from, until));
        prop_assert!(slots.windows(2).all(|w| w[0].until == w[1].from && w[0].from < w[0].until));
        let gaps = prices.gaps(from, until);
        for minute in 0..minutes {
            let time = from.plus(minute * 60);
            let published = told.iter().find_map(|(source, s)| Some((s.at(time)?, *source)));
            let tabled = || table.as_ref().and_then(|t| Some((t.at(time)?.count(), Source::Table)));
            let want = published.or_else(tabled);
            let slot = slots.iter().find(|s| s.from <= time && time < s.until).unwrap();
            prop_assert_eq!(slot.priced.map(|p| (p.price.count(), p.source)), want);
            prop_assert_eq!(prices.at(time).map(|p| (p.price.count(), p.source)), want);
            prop_assert_eq!(gaps.iter().any(|g| g.from <= time && time < g.until), want.is_none());
        }
        if let Some((_, until)) = prices.coverage(from) {
            prop_assert!(until.is_none_or(|until| until > from));
        }
    }

    #[test]
    fn a_billing_slot_s_price_lies_between_those_it_is_the_mean_of_and_keeps_the_sum(
        values in prop::collection::vec(-1000i64..1000, 96..=96),
    ) {
        let start = at("2026-11-26T23:00:00Z");
        let mut prices = Prices::new(Terms { billing_slot_s: Some(3600), ..stockholm() });
        prices.add(Source::File, series(start, 900, &values), start);
        let hours = prices.slots(start, start.plus(DAY_S));
        prop_assert_eq!(hours.len(), 24);
        for (hour, quarters) in hours.iter().zip(values.chunks(4)) {
            let mean = hour.priced.unwrap().price.count();
            prop_assert!(quarters.iter().min().unwrap() <= &mean && &mean <= quarters.iter().max().unwrap());
            prop_assert!((mean * 4 - quarters.iter().sum::<i64>()).abs() <= 2);
        }
    }
}
