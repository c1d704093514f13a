//! Numbers for people, formatted on the stack.

use core::fmt::{self, Display, Write};

/// A number in groups of three.
pub struct Grouped(pub u64);

impl Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0u8; 26];
        let mut at = digits.len();
        let mut rest = self.0;
        let mut place = 0;
        loop {
            if place > 0 && place % 3 == 0 {
                at -= 1;
                if let Some(digit) = digits.get_mut(at) {
                    *digit = b',';
                }
            }
            at -= 1;
            if let Some(digit) = digits.get_mut(at) {
                *digit = b'0' + (rest % 10) as u8;
            }
            rest /= 10;
            place += 1;
            if rest == 0 {
                break;
            }
        }
        f.pad(digits.get(at..).and_then(|digits| core::str::from_utf8(digits).ok()).unwrap_or_default())
    }
}

/// Three digits and a unit, on the stack.
pub struct Scaled {
    text: [u8; 16],
    length: usize,
}

impl Scaled {
    #[must_use]
    pub fn new(value: u64, units: &[(u64, &str)]) -> Scaled {
        let mut scaled = Scaled { text: [0; 16], length: 0 };
        let (size, unit) = units.iter().rev().find(|(size, _)| value >= *size).or(units.first()).unwrap_or(&(1, ""));
        let whole = value.checked_div(*size).unwrap_or(value);
        let part = value.wrapping_sub(whole.wrapping_mul(*size)).wrapping_mul(1000).checked_div(*size).unwrap_or(0);
        let _ = match whole {
            _ if *size == 1 => write!(scaled, "{value} {unit}"),
            0..10 => write!(scaled, "{whole}.{:02} {unit}", part / 10),
            10..100 => write!(scaled, "{whole}.{} {unit}", part / 100),
            _ => write!(scaled, "{whole} {unit}"),
        };
        // Removes the space before a unit without a name.
        while let Some(last) = scaled.length.checked_sub(1)
            && scaled.text.get(last) == Some(&b' ')
        {
            scaled.length = last;
        }
        scaled
    }

    /// A time in nanoseconds.
    #[must_use]
    pub fn time(nanoseconds: u64) -> Scaled {
        Scaled::new(nanoseconds, &[(1, "ns"), (1_000, "us"), (1_000_000, "ms"), (1_000_000_000, "s")])
    }

    #[must_use]
    pub fn bytes(bytes: u64) -> Scaled {
        Scaled::new(bytes, &[(1, "B"), (1 << 10, "KiB"), (1 << 20, "MiB"), (1 << 30, "GiB")])
    }
}

impl Write for Scaled {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            *self.text.get_mut(self.length).ok_or(fmt::Error)? = byte;
            self.length += 1;
        }
        Ok(())
    }
}

impl Display for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text.get(..self.length).and_then(|text| core::str::from_utf8(text).ok()).unwrap_or_default())
    }
}
