//! Text from the program, as it can be printed.

use core::fmt::{self, Display, Write};

/// Text from the program, without anything that a terminal would interpret.
pub(super) struct Plain<'a>(pub(super) &'a [u8]);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                f.write_char(if letter.is_control() { '?' } else { letter })?;
            }
            if !chunk.invalid().is_empty() {
                f.write_char('?')?;
            }
        }
        Ok(())
    }
}
