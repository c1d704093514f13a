//! Text in JSON.

use core::fmt::{self, Display, Write};

/// Bytes as a JSON string. Invalid UTF-8 becomes U+FFFD.
pub struct Quoted<'a>(pub &'a [u8]);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match letter {
                    '"' => f.write_str("\\\"")?,
                    '\\' => f.write_str("\\\\")?,
                    '\n' => f.write_str("\\n")?,
                    '\t' => f.write_str("\\t")?,
                    letter if letter.is_control() => write!(f, "\\u{:04x}", letter as u32)?,
                    letter => f.write_char(letter)?,
                }
            }
            if !chunk.invalid().is_empty() {
                f.write_char('\u{fffd}')?;
            }
        }
        f.write_char('"')
    }
}
