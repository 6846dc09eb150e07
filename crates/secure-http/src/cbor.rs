//! The part of CBOR (RFC 8949) that our messages use, read strictly and written deterministically (4.2.1).
//!
//! The reader is told what comes next and takes nothing else: definite lengths, shortest heads, no recursion. There is no generic value,
//! so no message can make it build one.

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Ends too early, or a length points beyond the end.
    #[error("is cut off")]
    Truncated,
    /// Another type, label, length or number of items than the one that has to stand here.
    #[error("holds something else than it must")]
    Unexpected,
    /// A number or length not in its shortest form.
    #[error("is not in its shortest form")]
    NotShortest,
    /// Something follows the end.
    #[error("goes on after its end")]
    Trailing,
    /// Longer, or more of them, than the bound.
    #[error("is over a bound")]
    TooLong,
}

const UINT: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const NULL: u8 = 0xf6;

/// Reads what is expected, one item after the other.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Major type and argument of the next head.
    fn head(&mut self) -> Result<(u8, u64), Malformed> {
        let first = self.take(1)?[0];
        let (width, least) = match first & 0x1f {
            small @ 0..24 => return Ok((first >> 5, u64::from(small))),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            _ => return Err(Malformed::Unexpected),
        };
        let argument = self.take(width)?.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        if argument < least { Err(Malformed::NotShortest) } else { Ok((first >> 5, argument)) }
    }

    fn argument(&mut self, major: u8) -> Result<u64, Malformed> {
        match self.head()? {
            (found, argument) if found == major => Ok(argument),
            _ => Err(Malformed::Unexpected),
        }
    }

    pub(crate) fn uint(&mut self) -> Result<u64, Malformed> {
        self.argument(UINT)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.uint()?).map_err(|_| Malformed::TooLong)
    }

    pub(crate) fn int(&mut self) -> Result<i64, Malformed> {
        let (major, argument) = self.head()?;
        let argument = i64::try_from(argument).map_err(|_| Malformed::TooLong)?;
        match major {
            UINT => Ok(argument),
            NEGATIVE => Ok(-1 - argument),
            _ => Err(Malformed::Unexpected),
        }
    }

    /// That number and no other.
    pub(crate) fn exactly(&mut self, number: i64) -> Result<(), Malformed> {
        if self.int()? == number { Ok(()) } else { Err(Malformed::Unexpected) }
    }

    fn string(&mut self, major: u8) -> Result<&'a [u8], Malformed> {
        let length = self.argument(major)?;
        self.take(usize::try_from(length).map_err(|_| Malformed::Truncated)?)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        self.string(BYTES)
    }

    pub(crate) fn array_of<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        self.bytes()?.try_into().map_err(|_| Malformed::Unexpected)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        str::from_utf8(self.string(TEXT)?).map_err(|_| Malformed::Unexpected)
    }

    /// The head of an array of that many items.
    pub(crate) fn array(&mut self, items: u64) -> Result<(), Malformed> {
        if self.argument(ARRAY)? == items { Ok(()) } else { Err(Malformed::Unexpected) }
    }

    /// The head of an array of up to that many items.
    pub(crate) fn array_up_to(&mut self, items_max: usize) -> Result<usize, Malformed> {
        let items = usize::try_from(self.argument(ARRAY)?).map_err(|_| Malformed::TooLong)?;
        if items > items_max { Err(Malformed::TooLong) } else { Ok(items) }
    }

    /// The head of a map of that many pairs.
    pub(crate) fn map(&mut self, pairs: u64) -> Result<(), Malformed> {
        if self.argument(MAP)? == pairs { Ok(()) } else { Err(Malformed::Unexpected) }
    }

    pub(crate) fn tag(&mut self, tag: u64) -> Result<(), Malformed> {
        if self.argument(TAG)? == tag { Ok(()) } else { Err(Malformed::Unexpected) }
    }

    /// `null`, or what `read` reads.
    pub(crate) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.rest.first() == Some(&NULL) {
            self.rest = &self.rest[1..];
            return Ok(None);
        }
        read(self).map(Some)
    }

    /// Nothing more.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
    }
}

/// Writes items one after the other, each in its shortest form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    fn head(&mut self, major: u8, argument: u64) -> &mut Self {
        let major = major << 5;
        let bytes = argument.to_be_bytes();
        let width = match argument {
            0..24 => {
                self.out.push(major | bytes[7]);
                return self;
            }
            24..0x100 => 1,
            0x100..0x1_0000 => 2,
            0x1_0000..0x1_0000_0000 => 4,
            _ => 8usize,
        };
        self.out.push(major | (24 + width.trailing_zeros() as u8));
        self.out.extend_from_slice(&bytes[8 - width..]);
        self
    }

    pub(crate) fn uint(&mut self, number: u64) -> &mut Self {
        self.head(UINT, number)
    }

    pub(crate) fn int(&mut self, number: i64) -> &mut Self {
        if number < 0 { self.head(NEGATIVE, !number as u64) } else { self.head(UINT, number as u64) }
    }

    pub(crate) fn bytes_head(&mut self, length: usize) -> &mut Self {
        self.head(BYTES, length as u64)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes_head(bytes.len()).raw(bytes)
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.head(TEXT, text.len() as u64).raw(text.as_bytes())
    }

    pub(crate) fn array(&mut self, items: usize) -> &mut Self {
        self.head(ARRAY, items as u64)
    }

    pub(crate) fn map(&mut self, pairs: usize) -> &mut Self {
        self.head(MAP, pairs as u64)
    }

    pub(crate) fn tag(&mut self, tag: u64) -> &mut Self {
        self.head(TAG, tag)
    }

    pub(crate) fn null(&mut self) -> &mut Self {
        self.raw(&[NULL])
    }

    /// Bytes or nothing.
    pub(crate) fn optional(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => self.null(),
        }
    }

    /// Bytes that are already CBOR.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Writer) -> &mut Writer) -> Vec<u8> {
        let mut writer = Writer::new();
        write(&mut writer);
        writer.finish()
    }

    #[test]
    fn numbers_are_written_as_in_the_examples_of_rfc_8949() {
        // RFC 8949, appendix A.
        for (number, hex) in [
            (0i64, "00"),
            (23, "17"),
            (24, "1818"),
            (100, "1864"),
            (1000, "1903e8"),
            (1_000_000, "1a000f4240"),
            (1_000_000_000_000, "1b000000e8d4a51000"),
            (-1, "20"),
            (-100, "3863"),
            (-1000, "3903e7"),
            (-70001, "3a00011170"),
        ] {
            let bytes = written(|w| w.int(number));
            assert_eq!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>(), hex);
            assert_eq!(Reader::new(&bytes).int(), Ok(number));
        }
    }

    #[test]
    fn a_longer_form_an_open_end_and_a_wrong_type_are_refused() {
        assert_eq!(Reader::new(&[0x18, 23]).uint(), Err(Malformed::NotShortest));
        assert_eq!(Reader::new(&[0x19, 0, 255]).uint(), Err(Malformed::NotShortest));
        assert_eq!(Reader::new(&[0x1a, 0, 0, 255, 255]).uint(), Err(Malformed::NotShortest));
        assert_eq!(Reader::new(&[0x1b, 0, 0, 0, 0, 255, 255, 255, 255]).uint(), Err(Malformed::NotShortest));
        assert_eq!(Reader::new(&[0x58, 1, 0]).bytes(), Err(Malformed::NotShortest));
        for indefinite in [0x5f, 0x7f, 0x9f, 0xbf] {
            let bytes = [indefinite, 0xff];
            assert_eq!(Reader::new(&bytes).bytes(), Err(Malformed::Unexpected));
            assert_eq!(Reader::new(&bytes).array(0), Err(Malformed::Unexpected));
            assert_eq!(Reader::new(&bytes).map(0), Err(Malformed::Unexpected));
        }
        assert_eq!(Reader::new(&[0x41, 0]).uint(), Err(Malformed::Unexpected));
        assert_eq!(Reader::new(&[0x42, 0]).bytes(), Err(Malformed::Truncated));
        assert_eq!(Reader::new(&[0x5b, 255, 255, 255, 255, 255, 255, 255, 255]).bytes(), Err(Malformed::Truncated));
        assert_eq!(Reader::new(&[0x1b, 255, 255, 255, 255, 255, 255, 255, 255]).int(), Err(Malformed::TooLong));
        assert_eq!(Reader::new(&[0x61, 0xff]).text(), Err(Malformed::Unexpected));
        assert_eq!(Reader::new(&[]).uint(), Err(Malformed::Truncated));
        assert_eq!(Reader::new(&[0]).end(), Err(Malformed::Trailing));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number in any::<i64>(), bytes in any::<Vec<u8>>(), text in ".{0,40}") {
            let out = written(|w| w.array(4).int(number).bytes(&bytes).text(&text).null());
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.array(4), Ok(()));
            prop_assert_eq!(reader.int(), Ok(number));
            prop_assert_eq!(reader.bytes(), Ok(&bytes[..]));
            prop_assert_eq!(reader.text(), Ok(&text[..]));
            prop_assert_eq!(reader.optional(Reader::uint), Ok(None));
            prop_assert_eq!(reader.end(), Ok(()));
        }

        #[test]
        fn a_number_that_is_read_has_one_form_only(bytes in prop::collection::vec(any::<u8>(), 0..10)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(number) = reader.int() {
                let used = bytes.len() - reader.rest.len();
                prop_assert_eq!(&written(|w| w.int(number))[..], &bytes[..used]);
            }
        }
    }
}
