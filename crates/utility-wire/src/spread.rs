//! Where a home stands in a span of time, so that ten million homes do not all do the same thing in the same second.
//!
//! The place follows from the home's UUID (and the event), not from a random source: a restart does not draw again, and the utility can
//! work out beforehand how a start will spread. It is no secret and needs no cryptography.

use crate::EventId;

/// The place of `event` at `home` within 0..=`within_s` seconds: how long its randomised start is delayed there.
pub fn draw_s(home: &str, event: EventId, within_s: u16) -> u16 {
    (mixed(home, event.number()) % (u64::from(within_s) + 1)) as u16
}

/// The second within a period of `period_s` at which `home` polls and reports; 0 for a period of 0.
pub fn phase_s(home: &str, period_s: u32) -> u32 {
    (mixed(home, 0) % u64::from(period_s.max(1))) as u32
}

/// FNV-1a over the home's name and the number, then the finish of MurmurHash3, so that every bit reaches the low ones.
fn mixed(home: &str, number: u64) -> u64 {
    let bytes = home.bytes().chain(number.to_be_bytes());
    let mut x =
        bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(i: u32) -> String {
        format!("2fac1234-31f8-41b4-a222-{i:012x}")
    }

    #[test]
    fn a_home_keeps_its_place_for_ever() {
        // These very numbers: a later version must not draw others for an event that is already out.
        let event = EventId::new(7).unwrap();
        assert_eq!([draw_s(&home(1), event, 1800), draw_s(&home(2), event, 1800)], [275, 1745]);
        assert_eq!((draw_s(&home(1), event, 0), phase_s(&home(1), 0)), (0, 0));
    }

    #[test]
    fn homes_spread_evenly_and_each_event_anew() {
        const HOMES: u32 = 20_000;
        for event in [1, 2, 3] {
            let mut tenths = [0u32; 10];
            for i in 0..HOMES {
                tenths[usize::from(draw_s(&home(i), EventId::new(event).unwrap(), 999)) / 100] += 1;
            }
            assert!(tenths.iter().all(|n| n.abs_diff(HOMES / 10) < HOMES / 100), "{tenths:?}");
        }
        let moved = (0..1000).filter(|i| {
            let at = |event| draw_s(&home(*i), EventId::new(event).unwrap(), 999);
            at(1).abs_diff(at(2)) > 10
        });
        assert!(moved.count() > 950);
    }
}
