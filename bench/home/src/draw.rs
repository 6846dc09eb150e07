//! A small generator: figures must not change with a crate's version.

/// See the module.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// Equal seeds draw equally.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// One of `from..=to`.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        from + (self.0 >> 11) as i64 % (to - from + 1)
    }

    /// One of these, of which there is at least one.
    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.between(0, of.len() as i64 - 1) as usize]
    }

    /// True so often in a thousand.
    pub fn in_thousand(&mut self, times: i64) -> bool {
        self.between(0, 999) < times
    }
}
