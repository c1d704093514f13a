//! Numbers, times and probabilities, each from the whole of a word.
//!
//! A value that strace 6.1 accepts is read as strace reads it: [`leading`] is its
//! `string_to_uint_ex` (strtoll in base 10), [`time`] its `parse_ts`, [`wide`] strtoull in base 0.
//! Keys that strace does not have accept only digits.

use crate::problem::Bad;

/// A number of digits only.
pub(crate) fn digits(word: &[u8]) -> Result<u64, Bad> {
    match word {
        [] => Err(Bad::Missing),
        [b'-', rest @ ..] if !rest.is_empty() && rest.iter().all(u8::is_ascii_digit) => Err(Bad::Negative),
        _ => match take(word, 10) {
            Some((number, [])) => number.ok_or(Bad::TooLarge),
            _ => Err(Bad::NotNumber),
        },
    }
}

/// A number of digits only, within bounds.
pub(crate) fn between(word: &[u8], least: u64, most: u64) -> Result<u64, Bad> {
    match digits(word)? {
        number if number < least => Err(Bad::TooSmall),
        number if number > most => Err(Bad::TooLarge),
        number => Ok(number),
    }
}

/// A number of bytes within bounds, with K, M or G for multiples of 1024.
pub(crate) fn bytes(word: &[u8], least: u64, most: u64) -> Result<u64, Bad> {
    let (figures, unit) = match word {
        [figures @ .., b'K'] => (figures, 10),
        [figures @ .., b'M'] => (figures, 20),
        [figures @ .., b'G'] => (figures, 30),
        [figures @ .., last] if last.is_ascii_alphabetic() && digits(figures).is_ok() => return Err(Bad::Unit),
        _ => (word, 0),
    };
    match between(figures, 0, most >> unit)? << unit {
        number if number < least => Err(Bad::TooSmall),
        number => Ok(number),
    }
}

/// The number at the beginning of a text, after white space and a sign, and the rest of the text.
pub(crate) fn leading(text: &[u8]) -> Result<(u64, &[u8]), Bad> {
    let (negative, text) = sign(text.trim_ascii_start());
    match take(text, 10) {
        None if text.is_empty() => Err(Bad::Missing),
        None => Err(Bad::NotNumber),
        Some((Some(0), rest)) => Ok((0, rest)),
        Some(_) if negative => Err(Bad::Negative),
        Some((None, _)) => Err(Bad::TooLarge),
        Some((Some(number), rest)) => Ok((number, rest)),
    }
}

/// A number as C writes it: decimal, hex after `0x`, octal after `0`. A minus sign negates it
/// modulo 2^64.
pub(crate) fn wide(word: &[u8]) -> Result<u64, Bad> {
    let (negative, text) = sign(word.trim_ascii_start());
    let (text, base) = match text {
        [] => return Err(if word.is_empty() { Bad::Missing } else { Bad::NotNumber }),
        [b'0', b'x' | b'X', rest @ ..] => (rest, 16),
        [b'0', ..] => (text, 8),
        _ => (text, 10),
    };
    match take(text, base) {
        Some((number, [])) => {
            number.map(|number| if negative { number.wrapping_neg() } else { number }).ok_or(Bad::TooLarge)
        }
        _ => Err(Bad::NotNumber),
    }
}

/// The number that the digits at the beginning form (None: it exceeds 64 bits), and the rest. None:
/// there is no digit.
fn take(text: &[u8], base: u32) -> Option<(Option<u64>, &[u8])> {
    let digit = |byte: u8| char::from(byte).to_digit(base);
    let count = text.iter().take_while(|byte| digit(**byte).is_some()).count();
    let (figures, rest) = text.split_at_checked(count)?;
    let number = figures
        .iter()
        .filter_map(|byte| digit(*byte))
        .try_fold(0u64, |number, digit| number.checked_mul(u64::from(base))?.checked_add(u64::from(digit)));
    if count == 0 { None } else { Some((number, rest)) }
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

/// What is expected of a descriptor's number.
pub(crate) const DESCRIPTOR: &str = "a number from 0 to 2147483647";

/// The number of a descriptor.
pub(crate) fn descriptor(word: &[u8]) -> Result<i32, Bad> {
    i32::try_from(between(word, 0, i32::MAX as u64)?).map_err(|_| Bad::TooLarge)
}

/// What is expected of a time.
pub(crate) const TIME: &str = "a number of microseconds, or one with s, ms, us or ns";

/// The longest time, about 292 years: the sum of a clock's reading and a time fits into 64 bits.
pub(crate) const LONGEST: u64 = i64::MAX as u64;

/// A time in nanoseconds: a decimal number, which may have a fraction and an exponent, in
/// microseconds or in `s`, `ms`, `us`, `ns`. Fractions of a nanosecond are cut off. A longer time
/// than [`LONGEST`] becomes that.
pub(crate) fn time(word: &[u8]) -> Result<u64, Bad> {
    if word.is_empty() {
        return Err(Bad::Missing);
    }
    let (negative, text) = sign(word.trim_ascii_start());
    let (whole, rest) = figures(text);
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => figures(rest),
        _ => (&b""[..], rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(Bad::NotNumber);
    }
    let (exponent, rest) = exponent(rest).unwrap_or((0, rest));
    let scale = match rest {
        b"" => 3,
        unit if unit.eq_ignore_ascii_case(b"s") => 9,
        unit if unit.eq_ignore_ascii_case(b"ms") => 6,
        unit if unit.eq_ignore_ascii_case(b"us") => 3,
        unit if unit.eq_ignore_ascii_case(b"ns") => 0,
        _ => return Err(Bad::Unit),
    };
    // strtoll, and so strace, accepts no larger number, whatever its unit.
    if shifted(whole, fraction, exponent) > u128::from(LONGEST) {
        return Err(Bad::TooLarge);
    }
    match u64::try_from(shifted(whole, fraction, exponent + scale)) {
        Ok(nanoseconds) if negative && nanoseconds != 0 => Err(Bad::Negative),
        Ok(nanoseconds) => Ok(nanoseconds.min(LONGEST)),
        Err(_) if negative => Err(Bad::Negative),
        Err(_) => Ok(LONGEST),
    }
}

fn figures(text: &[u8]) -> (&[u8], &[u8]) {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split_at_checked(count).unwrap_or((text, b""))
}

/// `e`, a sign, digits: the exponent and the rest. None: there is no digit, so it is not an
/// exponent.
fn exponent(text: &[u8]) -> Option<(i64, &[u8])> {
    // No text is long enough to have digits at a place beyond this.
    const MOST: u64 = 1 << 40;
    let [b'e' | b'E', text @ ..] = text else { return None };
    let (negative, text) = sign(text);
    let (number, rest) = take(text, 10)?;
    let exponent = i64::try_from(number.unwrap_or(MOST).min(MOST)).ok()?;
    Some((if negative { -exponent } else { exponent }, rest))
}

/// The decimal `whole.fraction` times 10^`exponent`, rounded down; u128::MAX if that has more than
/// 19 digits.
fn shifted(whole: &[u8], fraction: &[u8], exponent: i64) -> u128 {
    let first = exponent.saturating_add(i64::try_from(whole.len()).unwrap_or(i64::MAX));
    let mut sum = 0u128;
    for (index, byte) in whole.iter().chain(fraction).enumerate() {
        let place = first.saturating_sub(1).saturating_sub(i64::try_from(index).unwrap_or(i64::MAX));
        match u32::try_from(place) {
            _ if *byte == b'0' => {}
            Err(_) if place < 0 => break,
            Ok(place) if place < 19 => sum += u128::from(byte - b'0') * 10u128.pow(place),
            _ => return u128::MAX,
        }
    }
    sum
}

/// A probability from 0 to 1 as a threshold: an event happens if a uniform number of 64 bits is
/// below it. The threshold is exactly 2^64 times the probability, rounded down. None stands for 1.
pub(crate) fn probability(word: &[u8]) -> Result<Option<u64>, Bad> {
    let (negative, text) = match word {
        [] => return Err(Bad::Missing),
        [b'-', rest @ ..] => (true, rest),
        _ => (false, word),
    };
    let (whole, rest) = figures(text);
    let fraction = match rest {
        [] => &b""[..],
        [b'.', fraction @ ..] if fraction.iter().all(u8::is_ascii_digit) => fraction,
        _ => return Err(Bad::NotNumber),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(Bad::NotNumber);
    }
    // 10^19 is the highest power of ten that 64 bits hold.
    let fraction =
        fraction.get(..fraction.iter().rposition(|byte| *byte != b'0').map_or(0, |last| last + 1)).unwrap_or(fraction);
    let whole =
        digits(whole.get(whole.iter().position(|byte| *byte != b'0').unwrap_or(whole.len())..).unwrap_or(whole));
    match (whole, fraction) {
        (Err(Bad::Missing), []) => Ok(Some(0)),
        _ if negative => Err(Bad::Negative),
        (Ok(1), []) => Ok(None),
        (Err(Bad::Missing), _) if fraction.len() > 19 => Err(Bad::TooFine),
        (Err(Bad::Missing), _) => {
            let parts = u128::from(digits(fraction)?) << 64;
            let whole = 10u128.pow(u32::try_from(fraction.len()).unwrap_or(19));
            Ok(parts.checked_div(whole).and_then(|seed| u64::try_from(seed).ok()))
        }
        _ => Err(Bad::TooLarge),
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, between, digits, leading, probability, time, wide};
    use crate::problem::Bad;

    #[test]
    fn digits_are_all_that_a_plain_number_has() {
        assert_eq!(digits(b"0"), Ok(0));
        assert_eq!(digits(b"007"), Ok(7));
        assert_eq!(digits(b"18446744073709551615"), Ok(u64::MAX));
        assert_eq!(digits(b"18446744073709551616"), Err(Bad::TooLarge));
        assert_eq!(digits(b""), Err(Bad::Missing));
        assert_eq!(digits(b"-3"), Err(Bad::Negative));
        assert_eq!(digits(b"-99999999999999999999999"), Err(Bad::Negative));
        for word in ["-", "+3", " 3", "3 ", "0x3", "3k", "\u{0663}"] {
            assert_eq!(digits(word.as_bytes()), Err(Bad::NotNumber), "{word}");
        }
        assert_eq!(between(b"0", 1, 9), Err(Bad::TooSmall));
        assert_eq!(between(b"9", 1, 9), Ok(9));
        assert_eq!(between(b"10", 1, 9), Err(Bad::TooLarge));
    }

    #[test]
    fn a_leading_number_is_read_as_strtoll_reads_it() {
        assert_eq!(leading(b"12..15"), Ok((12, &b"..15"[..])));
        assert_eq!(leading(b" \t+12x"), Ok((12, &b"x"[..])));
        assert_eq!(leading(b"-0"), Ok((0, &b""[..])));
        assert_eq!(leading(b"-1"), Err(Bad::Negative));
        assert_eq!(leading(b""), Err(Bad::Missing));
        assert_eq!(leading(b"+-1"), Err(Bad::NotNumber));
        assert_eq!(leading(b"99999999999999999999"), Err(Bad::TooLarge));
    }

    #[test]
    fn a_wide_number_is_read_as_strtoull_reads_it() {
        for (word, number) in [
            ("16", 16),
            ("0x10", 16),
            ("0XfF", 255),
            ("020", 16),
            ("0", 0),
            (" +5", 5),
            ("-1", u64::MAX),
            ("-18446744073709551615", 1),
            ("0xffffffffffffffff", u64::MAX),
        ] {
            assert_eq!(wide(word.as_bytes()), Ok(number), "{word}");
        }
        for word in ["0x", "09", "5 ", "-", "+", " ", "1e3", "0b1"] {
            assert_eq!(wide(word.as_bytes()), Err(Bad::NotNumber), "{word}");
        }
        assert_eq!(wide(b""), Err(Bad::Missing));
        assert_eq!(wide(b"18446744073709551616"), Err(Bad::TooLarge));
    }

    #[test]
    fn a_time_is_read_as_strace_reads_it() {
        for (word, nanoseconds) in [
            ("1", 1_000),
            ("1s", 1_000_000_000),
            ("1ms", 1_000_000),
            ("1us", 1_000),
            ("1ns", 1),
            ("1mS", 1_000_000),
            ("1.5MS", 1_500_000),
            (".5s", 500_000_000),
            ("5.", 5_000),
            ("1e3", 1_000_000),
            ("1E2ms", 100_000_000),
            ("1e-3s", 1_000_000),
            ("1e+3ns", 1_000),
            ("1.001s", 1_001_000_000),
            ("0.29ms", 290_000),
            ("1.0009ns", 1),
            ("0.0009ns", 0),
            ("12345.678901234567890123456789s", 12_345_678_901_234),
            ("-0", 0),
            ("+1", 1_000),
            (" 1", 1_000),
            ("0e99999999999999999999", 0),
            ("1e-99999999999999999999", 0),
            ("000000000000000000000000000000000000000001ns", 1),
            ("9223372036.854775807s", LONGEST),
            ("9223372036.854775808s", LONGEST),
            ("9223372036854775807s", LONGEST),
            ("9223372036854775807ns", LONGEST),
            ("10000000000000000s", LONGEST),
        ] {
            assert_eq!(time(word.as_bytes()), Ok(nanoseconds), "{word}");
        }
        for (word, bad) in [
            ("", Bad::Missing),
            (".", Bad::NotNumber),
            ("s", Bad::NotNumber),
            ("ms", Bad::NotNumber),
            ("inf", Bad::NotNumber),
            ("+-1", Bad::NotNumber),
            ("-1", Bad::Negative),
            ("-1e10s", Bad::Negative),
            ("1e", Bad::Unit),
            ("1.5e", Bad::Unit),
            ("1 ms", Bad::Unit),
            ("1m", Bad::Unit),
            ("1sec", Bad::Unit),
            ("0x10", Bad::Unit),
            ("9223372036854775808", Bad::TooLarge),
            ("1e400", Bad::TooLarge),
            ("1e99999999999999999999", Bad::TooLarge),
        ] {
            assert_eq!(time(word.as_bytes()), Err(bad), "{word}");
        }
    }

    #[test]
    fn a_probability_is_exact() {
        for (word, threshold) in [
            ("0", Some(0)),
            ("0.0", Some(0)),
            (".0", Some(0)),
            ("0.", Some(0)),
            ("1", None),
            ("1.0", None),
            ("01.", None),
            ("0.5", Some(1 << 63)),
            (".5", Some(1 << 63)),
            ("0.25000000000000000000000000000", Some(1 << 62)),
            ("0.1", Some(1_844_674_407_370_955_161)),
            ("0.3", Some(5_534_023_222_112_865_484)),
            ("0.0000000000000000001", Some(1)),
            ("0.9999999999999999999", Some(u64::MAX - 1)),
        ] {
            assert_eq!(probability(word.as_bytes()), Ok(threshold), "{word}");
        }
        for (word, bad) in [
            ("", Bad::Missing),
            (".", Bad::NotNumber),
            ("1e-3", Bad::NotNumber),
            ("50%", Bad::NotNumber),
            ("+1", Bad::NotNumber),
            ("0.5.5", Bad::NotNumber),
            ("-0.1", Bad::Negative),
            ("1.1", Bad::TooLarge),
            ("2", Bad::TooLarge),
            ("99999999999999999999", Bad::TooLarge),
            ("0.00000000000000000001", Bad::TooFine),
        ] {
            assert_eq!(probability(word.as_bytes()), Err(bad), "{word}");
        }
    }
}
