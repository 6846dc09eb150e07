//! Cutting slots.

use heg::plan::Span;
use heg::plan::slots::{Comeback, LimitSpan, Outlook, PriceSpan, SlotsError, cut};
use proptest::prelude::*;

use crate::home::span;

fn outlook(span: Span) -> Outlook<'static> {
    Outlook { span, slot_s: 900, prices: &[], limits: &[], always_w: None, comeback: None, base: &[], edges: &[] }
}

fn hourly(count: i64) -> Vec<PriceSpan> {
    (0..count).map(|h| PriceSpan { span: span(h * 3600, (h + 1) * 3600), price: h * 1000 }).collect()
}

#[test]
fn slots_end_at_every_edge_and_on_the_clock() {
    let base = [(span(0, 2000), 300)];
    let limits = [LimitSpan { span: span(1060, 1560), watts: 4200 }];
    let prices = hourly(1);
    let slots = cut(&Outlook {
        prices: &prices,
        limits: &limits,
        always_w: Some(9000),
        base: &base,
        ..outlook(span(100, 3000))
    })
    .expect("slots");
    let starts: Vec<i64> = slots.iter().map(|s| s.span.start).collect();
    assert_eq!(starts, [100, 900, 1060, 1560, 1800, 2000, 2700]);
    assert_eq!(slots.last().map(|s| s.span.end), Some(3000));
    let caps: Vec<_> = slots.iter().map(|s| s.cap_w.expect("a cap")).collect();
    assert_eq!(caps, [9000, 9000, 4200, 9000, 9000, 9000, 9000]);
    assert_eq!(slots.iter().map(|s| s.base_w).collect::<Vec<_>>(), [300, 300, 300, 300, 300, 0, 0]);
}

#[test]
fn load_comes_back_by_and_by_after_a_limit() {
    let limits = [LimitSpan { span: span(0, 1800), watts: 4200 }];
    let comeback = Some(Comeback { watts_per_minute: 100, for_s: 3600 });
    let slots =
        cut(&Outlook { limits: &limits, comeback, always_w: Some(7000), ..outlook(span(0, 7200)) }).expect("slots");
    let caps: Vec<_> = slots.iter().map(|s| s.cap_w.expect("a cap")).collect();
    assert_eq!(caps, [4200, 4200, 4200, 5700, 7000, 7000, 7000, 7000]);
    let free = cut(&Outlook { limits: &limits, comeback, ..outlook(span(0, 7200)) }).expect("slots");
    assert_eq!(free[5].cap_w, Some(4200 + 4500));
    assert_eq!(free[6].cap_w, None, "an hour after its end nothing is left of it");
}

#[test]
fn a_limit_without_an_end_goes_on() {
    let limits = [LimitSpan { span: span(1800, i64::MAX), watts: 4200 }];
    let slots = cut(&Outlook { limits: &limits, ..outlook(span(0, 90_000)) }).expect("slots");
    assert_eq!((slots[0].cap_w, slots[1].cap_w), (None, None));
    assert!(slots[2..].iter().all(|s| s.cap_w == Some(4200)));
}

#[test]
fn holes_of_seconds_are_closed_and_real_ones_stay_without_a_price() {
    let prices = [
        PriceSpan { span: span(3600, 7199), price: 2 },
        PriceSpan { span: span(0, 3599), price: 1 },
        PriceSpan { span: span(10_800, 14_399), price: 3 },
    ];
    let slots = cut(&Outlook { slot_s: 3600, prices: &prices, ..outlook(span(0, 14_400)) }).expect("slots");
    let found: Vec<_> = slots.iter().map(|s| (s.span.seconds(), s.price)).collect();
    assert_eq!(found, [(3600, Some(1)), (3600, Some(2)), (3600, None), (3600, Some(3))]);
}

#[test]
fn what_overlaps_is_refused() {
    let twice = [PriceSpan { span: span(0, 3600), price: 1 }, PriceSpan { span: span(1800, 7200), price: 2 }];
    assert_eq!(cut(&Outlook { prices: &twice, ..outlook(span(0, 7200)) }), Err(SlotsError::TwoPrices(1800)));
    let base = [(span(0, 100), 1), (span(50, 200), 2)];
    assert_eq!(cut(&Outlook { base: &base, ..outlook(span(0, 7200)) }), Err(SlotsError::TwoBases(50)));
    assert_eq!(cut(&outlook(span(5, 5))), Err(SlotsError::Empty));
    assert_eq!(cut(&outlook(span(0, 90_000_000))), Err(SlotsError::TooMany));
}

#[test]
fn a_day_has_as_many_quarter_hours_as_it_has() {
    for hours in [23, 24, 25] {
        let prices = hourly(hours);
        let slots = cut(&Outlook { prices: &prices, ..outlook(span(0, hours * 3600)) }).expect("slots");
        assert_eq!(slots.len(), hours as usize * 4);
        assert!(slots.iter().all(|s| s.price.is_some()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_said_slots_fill_the_time_without_hole_and_within_their_length(
        start in -10_000i64..10_000,
        length in 1i64..100_000,
        slot_s in 300u32..4000,
        prices in prop::collection::vec((any::<i64>(), any::<i64>(), any::<i64>()), 0..6),
        limits in prop::collection::vec((any::<i64>(), any::<i64>(), any::<u32>()), 0..6),
        comeback in prop::option::of((any::<u32>(), any::<u32>())),
    ) {
        let prices: Vec<_> = prices.into_iter().map(|(a, b, price)| PriceSpan { span: span(a, b), price }).collect();
        let limit = |(a, b, watts)| LimitSpan { span: span(a, b), watts };
        let limits: Vec<_> = limits.into_iter().map(limit).collect();
        let comeback = comeback.map(|(watts_per_minute, for_s)| Comeback { watts_per_minute, for_s });
        let whole = span(start, start + length);
        let asked = Outlook { span: whole, slot_s, prices: &prices, limits: &limits, always_w: None, comeback, base: &[], edges: &[] };
        if let Ok(slots) = cut(&asked) {
            prop_assert_eq!((slots[0].span.start, slots[slots.len() - 1].span.end), (whole.start, whole.end));
            prop_assert!(slots.windows(2).all(|two| two[0].span.end == two[1].span.start));
            prop_assert!(slots.iter().all(|s| (1..=i64::from(slot_s)).contains(&s.span.seconds())));
        }
    }
}
