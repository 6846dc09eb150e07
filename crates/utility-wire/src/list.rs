//! Lists and texts that cannot be longer than they may.

use core::fmt;
use core::ops::Deref;
use core::str::FromStr;

use crate::codec::{NEVER, Reader, Wire, WireError, Writer};

/// More items than the list takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {0} items")]
pub struct ListError(pub usize);

/// Up to `MAX` items.
#[derive(Clone, PartialEq, Eq)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// Nothing in it.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// As many of the items as it takes; the rest is left to the caller.
    pub fn fill(items: impl IntoIterator<Item = T>) -> Self {
        Self(items.into_iter().take(MAX).collect())
    }

    /// The items.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> TryFrom<Vec<T>> for List<T, MAX> {
    type Error = ListError;
    fn try_from(items: Vec<T>) -> Result<Self, ListError> {
        if items.len() > MAX { Err(ListError(MAX)) } else { Ok(Self(items)) }
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: fmt::Debug, const MAX: usize> fmt::Debug for List<T, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<T: Wire, const MAX: usize> Wire for List<T, MAX> {
    fn write(&self, w: &mut Writer) {
        w.array(self.len() as u64).expect(NEVER);
        for item in self.iter() {
            item.write(w);
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let count = r.array_up_to(MAX)?;
        // Nothing is set aside for items that are not there: the count is only a claim.
        (0..count).map(|_| T::read(r)).collect::<Result<Vec<_>, _>>().map(Self)
    }
}

/// A text that is too long, or has control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected at most {0} bytes without control characters")]
pub struct TextError(pub usize);

/// Text for people, up to `MAX` bytes, without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Text<const MAX: usize>(Box<str>);

impl<const MAX: usize> Text<MAX> {
    /// Whatever of it fits: cut at a character, control characters as spaces.
    pub fn cut(text: &str) -> Self {
        let end = text.floor_char_boundary(MAX);
        let clean: String = text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // A control character of two bytes became a space of one: the text only shrinks.
        Self(clean.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> FromStr for Text<MAX> {
    type Err = TextError;
    fn from_str(s: &str) -> Result<Self, TextError> {
        if s.len() > MAX || s.chars().any(char::is_control) { Err(TextError(MAX)) } else { Ok(Self(s.into())) }
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<const MAX: usize> Wire for Text<MAX> {
    fn write(&self, w: &mut Writer) {
        w.str(&self.0).expect(NEVER);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        r.text()?.parse().map_err(|_| r.value("a text that is too long or has control characters"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_a_character_and_keeps_no_control_character() {
        assert_eq!(Text::<5>::cut("aaaaéb").as_str(), "aaaa");
        assert_eq!(Text::<9>::cut("a\nb\u{85}c").as_str(), "a b c");
        assert_eq!("a\u{7}".parse::<Text<9>>(), Err(TextError(9)));
        assert_eq!("abcd".parse::<Text<3>>(), Err(TextError(3)));
    }

    #[test]
    fn a_list_takes_no_more_than_it_may() {
        assert_eq!(List::<u8, 2>::try_from(vec![1, 2, 3]), Err(ListError(2)));
        assert_eq!(&*List::<u8, 2>::fill(1..9), [1, 2]);
    }
}
