//! Multiples of one point, computed once, so that multiplying it again needs no doublings but five.
//!
//! A scalar is written with 52 digits of -16..=16 to the base 32. The table has one row per pair of digits: the multiples 1 to 16 of
//! 1024^row times the point, in affine coordinates. The sum over the odd digits is multiplied by 32 (five doublings), then the sum
//! over the even digits is added: 52 additions in place of some 65 additions and 256 doublings. On a 32-bit processor an addition costs
//! as much as reading two hundred table entries, so wider digits would be faster still; the tables would double in size with each bit.

use std::sync::LazyLock;

use p256::elliptic_curve::BatchNormalize;
use p256::elliptic_curve::group::Group;
use p256::elliptic_curve::subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use p256::{AffinePoint, ProjectivePoint, Scalar};
use zeroize::Zeroizing;

/// Bits of a digit.
const BITS: usize = 5;
/// Multiples in a row.
const ROW: usize = 1 << (BITS - 1);
/// Digits of a scalar: 260 bits, so that the last has room for the carry.
const DIGITS: usize = 52;
/// Rows: one per two digits.
const ROWS: usize = DIGITS / 2;

/// The generator's table.
static GENERATOR: LazyLock<PointTable> = LazyLock::new(|| PointTable::new(&AffinePoint::GENERATOR));

/// The table of one point: about 28 KiB.
pub(super) struct PointTable {
    rows: Box<[[AffinePoint; ROW]; ROWS]>,
}

impl PointTable {
    /// That of the curve's generator, made when it is first used.
    pub(super) fn generator() -> &'static Self {
        &GENERATOR
    }

    /// Costs about as much as three multiplications without a table. The point must not be the neutral element.
    pub(super) fn new(point: &AffinePoint) -> Self {
        let mut rows = Box::new([[AffinePoint::IDENTITY; ROW]; ROWS]);
        let mut first = ProjectivePoint::from(*point);
        for row in rows.iter_mut() {
            let mut multiples = [first; ROW];
            for i in 1..ROW {
                multiples[i] = multiples[i - 1] + first;
            }
            *row = ProjectivePoint::batch_normalize(&multiples);
            // The next row begins 1024 times further: the last multiple is 16 times the first.
            first = doubled(multiples[ROW - 1], BITS + 1);
        }
        Self { rows }
    }

    /// `k` times the point, in constant time.
    pub(super) fn mul(&self, k: &Scalar) -> ProjectivePoint {
        let digits = Zeroizing::new(digits(k));
        let mut sum = ProjectivePoint::IDENTITY;
        for (row, pair) in self.rows.iter().zip(digits.chunks_exact(2)) {
            sum += select(row, pair[1]);
        }
        sum = doubled(sum, BITS);
        for (row, pair) in self.rows.iter().zip(digits.chunks_exact(2)) {
            sum += select(row, pair[0]);
        }
        sum
    }
}

/// The sum of each table's point times the scalar beside it, in a time that depends on the scalars: for public values only.
pub(super) fn sum_vartime(terms: &[(&PointTable, Scalar)]) -> ProjectivePoint {
    let mut sum = ProjectivePoint::IDENTITY;
    for odd in [true, false] {
        for (table, k) in terms {
            for (row, pair) in table.rows.iter().zip(digits(k).chunks_exact(2)) {
                match pair[usize::from(odd)] {
                    0 => {}
                    digit @ 1.. => sum += row[digit as usize - 1],
                    digit => sum -= row[digit.unsigned_abs() as usize - 1],
                }
            }
        }
        if odd {
            sum = doubled(sum, BITS);
        }
    }
    sum
}

fn doubled(mut point: ProjectivePoint, times: usize) -> ProjectivePoint {
    for _ in 0..times {
        point = point.double();
    }
    point
}

/// The digits of `k` to the base 32, each -16..=16, lowest first.
fn digits(k: &Scalar) -> [i8; DIGITS] {
    let mut bytes = Zeroizing::new([0u8; 34]);
    for (byte, from) in bytes.iter_mut().zip(k.to_bytes().iter().rev()) {
        *byte = *from;
    }
    let mut digits = [0i8; DIGITS];
    let mut carry = 0;
    for (i, digit) in digits.iter_mut().enumerate() {
        let (at, shift) = (i * BITS / 8, i * BITS % 8);
        let pair = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let sum = (pair >> shift & 31) as i8 + carry;
        carry = (sum + 16) >> 5;
        *digit = sum - (carry << 5);
    }
    digits
}

/// `digit` times the row's point: reads the whole row whatever the digit.
fn select(row: &[AffinePoint; ROW], digit: i8) -> AffinePoint {
    let sign = digit >> 7;
    let magnitude = ((digit ^ sign) - sign) as u8;
    let mut found = AffinePoint::IDENTITY;
    for (multiple, point) in (1u8..).zip(row) {
        found.conditional_assign(point, magnitude.ct_eq(&multiple));
    }
    let negated = -found;
    found.conditional_assign(&negated, Choice::from((sign & 1) as u8));
    found
}

#[cfg(test)]
mod tests {
    use p256::elliptic_curve::ff::PrimeField;

    use super::*;
    use crate::crypto::sha256;

    /// Scalars at the edges of the digits, and some that are spread over all of them.
    fn scalars() -> Vec<Scalar> {
        let mut scalars = vec![Scalar::ZERO, Scalar::ONE, -Scalar::ONE, Scalar::from(16u64), Scalar::from(17u64)];
        // Every digit 16, and every digit 15 with a carry into it.
        for pattern in
            [[0b1000_0100, 0b0010_0001, 0b0000_1000, 0b0100_0010, 0b0001_0000], [0x7b, 0xde, 0xf7, 0xbd, 0xef]]
        {
            let mut bytes: [u8; 32] = core::array::from_fn(|i| pattern[i % 5]);
            bytes[0] &= 0x7f;
            scalars.push(Scalar::from_repr(bytes.into()).unwrap());
        }
        scalars.extend((0u8..40).filter_map(|i| Scalar::from_repr(sha256(&[&[i]]).into()).into_option()));
        scalars
    }

    #[test]
    fn a_table_gives_the_same_multiples_as_doubling_and_adding() {
        let points = [Scalar::ONE, Scalar::from(7u64), -Scalar::from(3u64)].map(|k| ProjectivePoint::GENERATOR * k);
        for point in points {
            let table = PointTable::new(&point.to_affine());
            for k in scalars() {
                assert_eq!(table.mul(&k), point * k, "{k:?}");
                let with_generator = sum_vartime(&[(PointTable::generator(), -k), (&table, k)]);
                assert_eq!(with_generator, point * k - ProjectivePoint::GENERATOR * k, "{k:?}");
            }
        }
    }

    #[test]
    fn digits_are_small_and_make_up_the_scalar() {
        for k in scalars() {
            let mut value = Scalar::ZERO;
            for digit in digits(&k).into_iter().rev() {
                assert!((-16..=16).contains(&digit));
                let magnitude = Scalar::from(u64::from(digit.unsigned_abs()));
                value = value * Scalar::from(32u64) + if digit < 0 { -magnitude } else { magnitude };
            }
            assert_eq!(value, k);
        }
    }
}
