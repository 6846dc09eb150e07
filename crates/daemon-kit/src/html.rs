//! Text in an HTML page.
#![forbid(unsafe_code)]

use core::fmt::{self, Write as _};

/// Displays a text with the characters that mean something in HTML written out; right between tags and in quoted
/// attributes.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_of_a_text_can_begin_a_tag_or_end_an_attribute() {
        assert_eq!(Escaped("<a href='\"'>&\u{e9}").to_string(), "&lt;a href=&#39;&quot;&#39;&gt;&amp;\u{e9}");
    }
}
