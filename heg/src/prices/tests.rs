use std::time::Duration;

use tariff::time_of_use::{Days, Holidays, Months, Period};
use tariff::{Price, Table};
use utility_wire::Per;

use super::*;

const TODAY: &str = "2026-11-27T12:00:00Z";

fn now(text: &str) -> Now {
    let wall: Timestamp = text.parse().unwrap();
    // The machine booted in 1970, so both clocks show the same.
    Now { boot: BootTime::from_duration(Duration::from_secs(wall.as_second() as u64)), wall }
}

/// Stockholm's clock, written out so that the test needs no zone files.
fn settings() -> Settings {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let expected = Expected {
        zone: "home".parse().unwrap(),
        time_zone: zone.clone(),
        currency: None,
        per: None,
        whole_days: true,
    };
    Settings {
        terms: Terms { expected_by: Some("14:00:00".parse().unwrap()), ..Terms::new(zone) },
        currency: Some("SEK".parse().unwrap()),
        watched: Some(Watched { source: Source::File, name: "/p.csv".to_owned(), expected }),
    }
}

/// A day of hours from 23:00 UTC of the day before, so a winter's day in Stockholm.
fn day(date: &str, price: &str) -> News {
    let start: Timestamp = format!("{date}T23:00:00Z").parse().unwrap();
    let hours = (0..24).map(|h| format!("{},{price}\n", start + Duration::from_secs(h * 3600)));
    News::Document { text: format!("start_utc,sek_per_kwh\n{}", hours.collect::<String>()), at: start }
}

#[derive(Default)]
struct Told {
    journal: Vec<String>,
    kept: Option<Vec<u8>>,
}

fn told(home: &mut HomePrices) -> Told {
    let mut told = Told::default();
    while let Some(effect) = home.poll_effect() {
        match effect {
            Effect::Journal(entry) => told.journal.push(format!("{} {}", entry.ending, entry.reason)),
            Effect::Keep(bytes) => told.kept = Some(bytes),
        }
    }
    told
}

#[test]
fn prices_come_are_kept_and_are_there_after_a_restart_without_the_file() {
    let mut home = HomePrices::new(settings(), None, now(TODAY));
    assert_eq!(home.status().as_deref(), Some("no price for now"));
    home.handle(day("2026-11-26", "0.31"), now(TODAY));
    home.handle(day("2026-11-27", "-0.02"), now(TODAY));
    let told_first = told(&mut home);
    assert_eq!(
        told_first.journal,
        [
            "observed /p.csv: 24 prices of 60 min, 2026-11-27 00:00 to 2026-11-28 00:00",
            "observed /p.csv: 24 prices of 60 min, 2026-11-28 00:00 to 2026-11-29 00:00"
        ]
    );
    assert_eq!(home.status().as_deref(), Some("prices until 2026-11-29 00:00 from file"));
    // Before the file is looked at, yesterday's prices of the disk hold and nothing is said to be late.
    let later = now("2026-11-28T14:00:00Z");
    let again = HomePrices::new(settings(), told_first.kept.as_deref(), later);
    let price = again.prices().at(unix(later.wall)).unwrap();
    assert_eq!((price.price.to_string().as_str(), price.source), ("-0.02", Source::File));
    assert!(again.stale().is_empty());
    // What was used the day before is paid for after the restart too.
    let first: Timestamp = "2026-11-26T23:00:00Z".parse().unwrap();
    assert_eq!(again.for_plan(later).first().map(|p| p.span.start), Some(first.as_second()));
    // The same document again is nothing to write down.
    let mut again = HomePrices::new(settings(), told_first.kept.as_deref(), now(TODAY));
    again.handle(day("2026-11-27", "-0.02"), now(TODAY));
    let told_again = told(&mut again);
    assert!(told_again.journal.is_empty() && told_again.kept.is_none());
}

#[test]
fn a_half_written_file_is_refused_with_its_line_and_the_old_prices_stay() {
    let mut home = HomePrices::new(settings(), None, now(TODAY));
    home.handle(day("2026-11-26", "0.31"), now(TODAY));
    told(&mut home);
    let News::Document { text, at } = day("2026-11-27", "0.5") else { panic!() };
    for (bytes, want) in [
        (text.len() - 8, "line 25: "),
        (text.len() - 25, "line 24: wrong time zone: prices end at 2026-11-28 23:00:00 by the zone's clock"),
        (9, "line 1: the head has no column for the price"),
        (0, "line 1: there is no price in the file"),
    ] {
        let text = text[..bytes].to_owned();
        home.handle(News::Document { text, at }, now(TODAY));
        let entry = told(&mut home).journal.join("\n");
        assert!(entry.starts_with("failed /p.csv: line ") && entry.contains(want), "{bytes}: {entry}");
        assert!(home.troubles()[0].contains(want));
        assert_eq!(home.status().as_deref(), Some("prices until 2026-11-28 00:00 from file"));
    }
    // Looked at again it is still wrong: the old prices are not confirmed by it.
    let confirmed = home.prices().confirmed(Source::File);
    home.handle(News::Same { at: now("2026-11-27T12:30:00Z").wall }, now("2026-11-27T12:45:00Z"));
    assert_eq!((home.prices().confirmed(Source::File), home.troubles().len()), (confirmed, 1));
    home.handle(News::Document { text, at }, now(TODAY));
    assert_eq!((home.troubles(), told(&mut home).journal.len()), (vec![], 1));
}

#[test]
fn what_becomes_late_is_journalled_at_that_minute_and_once() {
    let mut home = HomePrices::new(settings(), None, now("2026-11-27T10:00:00Z"));
    home.handle(day("2026-11-26", "0.31"), now("2026-11-27T10:00:00Z"));
    told(&mut home);
    // 14:00 in Stockholm.
    let due = now("2026-11-27T13:00:00Z");
    assert_eq!(home.poll_timeout(), Some(now("2026-11-27T11:00:00Z").boot), "each hour there is one more for the plan");
    home.handle_timeout(now("2026-11-27T12:59:59Z"));
    assert_eq!(home.poll_timeout(), Some(due.boot));
    assert!(home.stale().is_empty());
    home.handle_timeout(due);
    home.handle_timeout(now("2026-11-27T13:00:01Z"));
    let late = "prices should be known until 2026-11-29 00:00, and are until 2026-11-28 00:00";
    assert_eq!(told(&mut home).journal, [format!("observed stale: {late}")]);
    assert_eq!(home.stale(), [late]);
    home.handle(News::Failed("/p.csv is not there".to_owned()), due);
    assert_eq!(home.troubles(), ["prices cannot be had: /p.csv is not there"]);
    home.handle(day("2026-11-27", "0.5"), now("2026-11-27T14:00:00Z"));
    assert!(home.stale().is_empty() && home.troubles().is_empty());
    // Somebody sets the clock back: it is judged by the time it is now.
    told(&mut home);
    home.handle_timeout(now("2026-11-28T13:00:00Z"));
    assert_eq!(home.stale().len(), 1);
    home.handle_timeout(now("2026-11-28T11:00:00Z"));
    assert!(home.stale().is_empty());
}

#[test]
fn a_machine_that_starts_in_1970_takes_the_file_and_knows_its_age_when_the_clock_is_set() {
    let mut dated = settings();
    dated.terms.stale_after_s = Some(36 * 3600);
    let mut home = HomePrices::new(dated, None, now("1970-01-01T00:01:00Z"));
    home.handle(day("2026-11-26", "0.31"), now("1970-01-01T00:02:00Z"));
    told(&mut home);
    home.handle_timeout(now(TODAY));
    assert_eq!((home.stale(), home.status().as_deref()), (vec![], Some("prices until 2026-11-28 00:00 from file")));
    // Written at 23:00 UTC of the 26th.
    home.handle_timeout(now("2026-11-28T11:00:00Z"));
    assert!(home.stale()[0].contains("prices of the file were last confirmed 2026-11-27 00:00"), "{:?}", home.stale());
}

#[test]
fn money_of_another_country_is_refused_from_the_file_and_left_out_from_the_utility() {
    let mut home = HomePrices::new(settings(), None, now(TODAY));
    let News::Document { text, at } = day("2026-11-26", "0.31") else { panic!() };
    home.handle(News::Document { text: text.replace("sek", "eur"), at }, now(TODAY));
    assert_eq!(told(&mut home).journal[0], "failed /p.csv: prices are in EUR, the tariff is in SEK");
    home.handle(News::Document { text, at }, now(TODAY));
    let series = |currency: &str, price| {
        let money = (currency.parse().unwrap(), Per::KilowattHour);
        let start = unix("2026-11-27T12:00:00Z".parse().unwrap());
        PriceSeries::new("SE3".parse().unwrap(), 1, money, start, 3600, vec![price]).unwrap()
    };
    home.told_by_utility(vec![series("EUR", 9), series("SEK", 400)], now(TODAY));
    assert_eq!(home.status().as_deref(), Some("prices until 2026-11-27 14:00 from utility"));
    assert!(home.troubles()[0].starts_with("the utility's prices are in EUR, the tariff is in SEK"));
    home.told_by_utility(vec![], now(TODAY));
    assert_eq!((home.status().as_deref(), home.troubles()), (Some("prices until 2026-11-28 00:00 from file"), vec![]));
}

#[test]
fn another_file_or_other_money_forgets_what_was_read_and_another_table_does_not() {
    let mut home = HomePrices::new(settings(), None, now(TODAY));
    home.handle(day("2026-11-26", "0.31"), now(TODAY));
    let kept = told(&mut home).kept;
    let mut tabled = settings();
    tabled.terms.table = Some(Table {
        zone: tabled.terms.zone.clone(),
        otherwise: Some(Price::micro_per_kwh(7)),
        periods: vec![Period { days: Days::ALL, months: Months::ALL, window: None, price: Price::micro_per_kwh(8) }],
        holidays: Holidays::default(),
    });
    home.configure(tabled.clone(), now(TODAY));
    assert_eq!(home.status().as_deref(), Some("prices until 2026-11-28 00:00 from file"));
    let mut other = tabled;
    let expected = &mut other.watched.as_mut().unwrap().expected;
    (expected.currency, expected.per) = (Some("SEK".parse().unwrap()), Some(Per::MegawattHour));
    home.configure(other.clone(), now(TODAY));
    assert_eq!(home.status().as_deref(), Some("prices from table"));
    let again = HomePrices::new(other, kept.as_deref(), now(TODAY));
    assert_eq!(again.status().as_deref(), Some("prices from table"));
}

#[test]
fn a_damaged_file_of_kept_prices_is_passed_over() {
    let mut home = HomePrices::new(settings(), None, now(TODAY));
    home.handle(day("2026-11-26", "0.31"), now(TODAY));
    let kept = String::from_utf8(told(&mut home).kept.unwrap()).unwrap();
    let start = |kept: &str| HomePrices::new(settings(), Some(kept.as_bytes()), now(TODAY)).status().unwrap();
    assert!(start(&kept).ends_with("from file"));
    for damaged in ["", "{}", &kept[..kept.len() / 2], &kept.replace("SEK", "sek"), &kept.replace("3600", "0")] {
        assert_eq!(start(damaged), "no price for now", "{damaged}");
    }
}
