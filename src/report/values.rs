//! Displays an optional value, and a list of values.

use core::fmt::{self, Display, Write};

/// A value, or null.
pub struct OrNull<T>(pub Option<T>);

impl<T: Display> Display for OrNull<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("null"),
        }
    }
}

/// Items separated by commas.
pub struct List<F>(pub F);

impl<F, I> Display for List<F>
where
    F: Fn() -> I,
    I: Iterator,
    I::Item: Display,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in (self.0)().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}
