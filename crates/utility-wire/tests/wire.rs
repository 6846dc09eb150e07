//! The bytes themselves: golden files that no later version may change, every value back from its bytes, and nothing else taken.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use energy_model::{Flexibility, Importance, PowerState, WattHours, Watts};
use proptest::prelude::*;
use utility_wire::*;

const FREEZER: &str = "2fac1234-31f8-41b4-a222-08002b34c003";

/// The bytes are those of the golden file `name`, in hexadecimal behind its `#` lines, and read back as the value.
fn is_golden<M: Message + PartialEq + Debug>(name: &str, value: &M) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let golden: String = text.lines().filter(|l| !l.starts_with('#')).flat_map(str::split_whitespace).collect();
    let bytes = value.encode();
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, golden, "{name}");
    assert_eq!(M::decode(&bytes).as_ref(), Ok(value), "{name}");
}

fn id(number: u64) -> EventId {
    EventId::new(number).unwrap()
}

fn at(seconds: u64) -> UnixTime {
    UnixTime::new(1_790_000_000 + seconds)
}

fn report() -> Report {
    let freezer = ApplianceReport {
        id: FREEZER.parse().unwrap(),
        name: "Freezer".parse().unwrap(),
        state: Some(PowerState::On),
        since: at(0),
        power: Some(Watts::new(90)),
        rated: Some(Watts::new(120)),
        importance: Some(Importance::Critical),
        flexibility: Some(Flexibility::Interruptible),
        consents: true,
    };
    let tv = ApplianceReport {
        id: "tv".parse().unwrap(),
        name: "Fernseher im Wohnzimmer".parse().unwrap(),
        state: None,
        power: None,
        rated: None,
        importance: None,
        flexibility: None,
        consents: false,
        ..freezer.clone()
    };
    let quarter = IntervalLength::new(900).unwrap();
    let energy = |wh: &[u32]| List::fill(wh.iter().copied().map(WattHours::new));
    Report {
        batch: 4711,
        made: at(60),
        complete: true,
        appliances: List::fill([freezer, tv]),
        consumption: List::fill([
            Consumption { of: None, start: at(0), interval: quarter, energy: energy(&[250, 0, 70_000]) },
            Consumption { of: Some(FREEZER.parse().unwrap()), start: at(0), interval: quarter, energy: energy(&[22]) },
        ]),
        gaps: List::fill([Gap { of: None, start: at(2700), end: at(9900), reason: GapReason::Off }]),
        decisions: List::fill([DecisionReport {
            at: at(30),
            of: FREEZER.parse().unwrap(),
            action: "plan off".parse().unwrap(),
            cause: "price".parse().unwrap(),
            outcome: "decided".parse().unwrap(),
            reason: "0.42 EUR/kWh now".parse().unwrap(),
        }]),
    }
}

fn limit() -> Limit {
    Limit {
        id: id(7),
        supersedes: Some(id(5)),
        start: at(600),
        duration_s: Some(1800),
        watts: Watts::new(4200),
        priority: 5,
        randomise_s: 600,
        cancelled: false,
    }
}

fn limits() -> LimitSet {
    let without_end = Limit { id: id(8), supersedes: None, duration_s: None, cancelled: true, ..limit() };
    LimitSet {
        target: Some("north/feeder-7".parse().unwrap()),
        version: 12,
        limits: List::fill([limit(), without_end]),
    }
}

fn command() -> Command {
    Command {
        current: Versions { prices: 3, limits: 12, policy: 1 },
        limits: Some(LimitSet { target: None, ..limits() }),
        controls: List::fill([Control {
            id: id(9),
            appliance: FREEZER.parse().unwrap(),
            action: PowerState::Standby,
            expires: at(3600),
        }]),
        poll_after_s: 17,
        zone: "SE3".parse().unwrap(),
    }
}

fn poll() -> Poll {
    let refusal = Refusal { code: RefusalCode::new(802), reason: "a film is on".parse().unwrap() };
    let kinds = [
        OutcomeKind::Received,
        OutcomeKind::Started,
        OutcomeKind::Done,
        OutcomeKind::Refused(refusal),
        OutcomeKind::Expired,
    ];
    Poll {
        wait_s: 55,
        have: Versions { prices: 3, limits: 11, policy: 1 },
        outcomes: List::fill((1..).zip(kinds).map(|(n, kind)| Outcome { id: id(n), at: at(n), kind })),
    }
}

fn prices() -> PriceSeries {
    let money = ("SEK".parse().unwrap(), Per::MegawattHour);
    PriceSeries::new("SE3".parse().unwrap(), 3, money, at(0), 900, vec![556_680, 0, -53_400]).unwrap()
}

#[test]
fn the_bytes_of_every_message_are_those_of_its_golden_file() {
    is_golden("report.hex", &report());
    is_golden("report-answer.hex", &ReportAnswer { batch: 4711, state: BatchState::Duplicate, report_after_s: 300 });
    is_golden("poll.hex", &poll());
    is_golden("command.hex", &command());
    is_golden("prices.hex", &prices());
    let entry = |version| PriceEntry { version, start: at(0), end: at(2700) };
    let series = List::fill([entry(3), entry(2)]);
    is_golden("price-index.hex", &PriceIndex { zone: "SE3".parse().unwrap(), series });
    is_golden("limits.hex", &limits());
}

#[test]
fn a_newer_version_is_refused_by_its_number_whatever_its_body_is() {
    let mut bytes = prices().encode();
    assert_eq!(bytes[1], 1, "the version is the second byte");
    bytes[1] = 2;
    let refused = Err(WireError::Version { found: 2, known: 1 });
    assert_eq!(PriceSeries::decode(&bytes), refused);
    assert_eq!(PriceSeries::decode(&[0x82, 2, 0xf6]), refused);
    assert_eq!(PriceSeries::decode(&[0x82, 2]), refused);
}

#[test]
fn only_the_one_encoding_of_a_value_is_taken() {
    let answer = ReportAnswer { batch: 4, state: BatchState::Stored, report_after_s: 5 };
    let bytes = answer.encode();
    assert_eq!(bytes, [0x82, 1, 0x83, 4, 1, 5]);
    // A number, an array's length, or an array of indefinite length, in a longer form.
    assert_eq!(ReportAnswer::decode(&[0x82, 1, 0x83, 0x18, 4, 1, 5]), Err(WireError::NotDeterministic));
    assert_eq!(ReportAnswer::decode(&[0x82, 1, 0x98, 3, 4, 1, 5]), Err(WireError::NotDeterministic));
    assert_eq!(ReportAnswer::decode(&[0x82, 1, 0x9f, 4, 1, 5, 0xff]), Err(WireError::Malformed { at: 2 }));
    assert_eq!(ReportAnswer::decode(&[0x82, 1, 0x83, 4, 1, 5, 0]), Err(WireError::Trailing { at: 6 }));
    assert_eq!(ReportAnswer::decode(&[0x82, 1, 0x83, 4, 1]), Err(WireError::Malformed { at: 5 }));
    assert_eq!(ReportAnswer::decode(&[0x82, 1, 0x84, 4, 1, 5, 0]), Err(WireError::Malformed { at: 2 }));
    assert!(matches!(ReportAnswer::decode(&[0x82, 1, 0x83, 4, 9, 5]), Err(WireError::Value { at: 5, .. })));
    // A text of indefinite length where a zone has to stand.
    assert!(PriceSeries::decode(&[0x82, 1, 0x87, 0x7f, 0x61, b'x', 0xff]).is_err());
}

#[test]
fn a_negative_limit_is_no_limit() {
    let bytes = limits().encode();
    // 4200 is 19 10 68; -4200 is 39 10 67.
    let at = bytes.windows(3).position(|w| w == [0x19, 0x10, 0x68]).unwrap();
    let mut negative = bytes.clone();
    negative[at..at + 3].copy_from_slice(&[0x39, 0x10, 0x67]);
    assert_eq!(LimitSet::decode(&negative), Err(WireError::Malformed { at }));
}

#[test]
fn a_list_that_claims_more_than_it_may_hold_is_refused_before_it_is_read() {
    // An array of 2^32 controls, and nothing behind it.
    let claims = [0x82, 1, 0x85, 0x83, 0, 0, 0, 0xf6, 0x9a, 0xff, 0xff, 0xff, 0xff];
    assert!(matches!(Command::decode(&claims), Err(WireError::Value { what: "more items than allowed", .. })));
    assert_eq!(Command::decode(&vec![0; 70_000]), Err(WireError::TooLarge));
}

#[test]
fn a_message_cut_anywhere_or_with_any_bit_flipped_never_reads_as_the_same() {
    for bytes in [report().encode(), poll().encode(), command().encode(), limits().encode(), prices().encode()] {
        for cut in 0..bytes.len() {
            let part = &bytes[..cut];
            assert!(Report::decode(part).is_err() && Poll::decode(part).is_err() && Command::decode(part).is_err());
            assert!(LimitSet::decode(part).is_err() && PriceSeries::decode(part).is_err());
        }
    }
    let bytes = command().encode();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(Command::decode(&changed), Ok(command()));
    }
}

fn any_text<const MAX: usize>() -> impl Strategy<Value = Text<MAX>> {
    ".{0,40}".prop_map(|s| Text::cut(&s))
}

fn any_time() -> impl Strategy<Value = UnixTime> {
    any::<u64>().prop_map(UnixTime::new)
}

fn any_appliance() -> impl Strategy<Value = ApplianceReport> {
    let words = (
        proptest::option::of(proptest::sample::select(PowerState::ALL)),
        proptest::option::of(proptest::sample::select(Importance::ALL)),
        proptest::option::of(proptest::sample::select(Flexibility::ALL)),
    );
    let watts = || proptest::option::of(any::<u32>().prop_map(Watts::new));
    ("[!#-%(-;=?-~]{1,128}", any_text(), any_time(), words, watts(), watts(), any::<bool>()).prop_map(
        |(id, name, since, (state, importance, flexibility), power, rated, consents)| ApplianceReport {
            id: id.parse().unwrap(),
            name,
            state,
            since,
            power,
            rated,
            importance,
            flexibility,
            consents,
        },
    )
}

fn any_report() -> impl Strategy<Value = Report> {
    let consumption =
        (any_time(), 1..=86_400u32, proptest::collection::vec(any::<u32>(), 0..100)).prop_map(|(start, length, wh)| {
            Consumption {
                of: None,
                start,
                interval: IntervalLength::new(length).unwrap(),
                energy: List::fill(wh.into_iter().map(WattHours::new)),
            }
        });
    let gap = (any_time(), any_time(), proptest::sample::select(GapReason::ALL)).prop_map(|(start, end, reason)| Gap {
        of: Some("tv".parse().unwrap()),
        start,
        end,
        reason,
    });
    let decision = (any_time(), any_text(), any_text(), any_text(), any_text()).prop_map(
        |(at, action, cause, outcome, reason)| {
            let of = "tv".parse().unwrap();
            DecisionReport { at, of, action, cause, outcome, reason }
        },
    );
    (
        any::<u64>(),
        any_time(),
        any::<bool>(),
        proptest::collection::vec(any_appliance(), 0..8),
        proptest::collection::vec(consumption, 0..4),
        proptest::collection::vec(gap, 0..4),
        proptest::collection::vec(decision, 0..4),
    )
        .prop_map(|(batch, made, complete, appliances, consumption, gaps, decisions)| Report {
            batch,
            made,
            complete,
            appliances: List::fill(appliances),
            consumption: List::fill(consumption),
            gaps: List::fill(gaps),
            decisions: List::fill(decisions),
        })
}

fn any_limit() -> impl Strategy<Value = Limit> {
    let event = || (1..=u64::MAX).prop_map(|n| EventId::new(n).unwrap());
    (
        event(),
        proptest::option::of(event()),
        any_time(),
        proptest::option::of(any::<u32>()),
        any::<(u32, u8, u16, bool)>(),
    )
        .prop_map(|(id, supersedes, start, duration_s, (watts, priority, randomise_s, cancelled))| Limit {
            id,
            supersedes,
            start,
            duration_s,
            watts: Watts::new(watts),
            priority,
            randomise_s,
            cancelled,
        })
}

proptest! {
    #[test]
    fn every_report_reads_back_from_its_bytes(report in any_report()) {
        prop_assert_eq!(Report::decode(&report.encode()), Ok(report));
    }

    #[test]
    fn every_set_of_limits_reads_back_from_its_bytes(limits in proptest::collection::vec(any_limit(), 0..8), version in any::<u64>()) {
        let set = LimitSet { target: None, version, limits: List::fill(limits) };
        prop_assert_eq!(LimitSet::decode(&set.encode()), Ok(set));
    }

    #[test]
    fn every_price_series_reads_back_from_its_bytes(
        prices in proptest::collection::vec(-1_000_000_000i64..=1_000_000_000, 1..=388),
        slot_s in 60..=86_400u32, start in any_time(), version in any::<u64>(),
    ) {
        let money = ("EUR".parse().unwrap(), Per::KilowattHour);
        let series = PriceSeries::new("DE-LU".parse().unwrap(), version, money, start, slot_s, prices).unwrap();
        prop_assert_eq!(PriceSeries::decode(&series.encode()), Ok(series));
    }

    #[test]
    fn what_is_taken_is_written_as_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let framed = [&[0x82, 1][..], &bytes].concat();
        if let Ok(poll) = Poll::decode(&framed) {
            prop_assert_eq!(poll.encode(), framed);
        }
    }
}
