//! Formats numbers for people, as the exit report does.

use epollshim_format::scale::{Grouped, Scaled};

/// A number in groups of three digits.
pub fn grouped(number: u64) -> String {
    Grouped(number).to_string()
}

/// `1 process`, `2,000 processes`.
pub fn count(number: u64, one: &str, several: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { several })
}

/// Nanoseconds with three digits and a unit.
pub fn time(nanoseconds: u64) -> String {
    Scaled::time(nanoseconds).to_string()
}

/// Nanoseconds since 1970 as a date and a time of day: `2026-11-30 02:33:21 UTC`.
pub fn date(unix: u64) -> String {
    let seconds = unix / 1_000_000_000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Converts a day number to a civil date, with years that begin in March (Howard Hinnant,
    // "chrono-Compatible Low-Level Date Algorithms").
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hours, minutes, seconds) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}:{seconds:02} UTC")
}

pub fn bytes(bytes: u64) -> String {
    Scaled::bytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::{bytes, date, grouped, time};

    #[test]
    fn dates_are_those_of_the_calendar() {
        // As `date -u -d @SECONDS` has them.
        for (seconds, wanted) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_709_164_800, "2024-02-29 00:00:00 UTC"),
            (1_796_005_992, "2026-11-30 02:33:12 UTC"),
        ] {
            assert_eq!(date(seconds * 1_000_000_000), wanted);
        }
    }

    #[test]
    fn numbers_read_as_in_the_exit_report() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 999, 1_500, 45_600_000, 3_000_000_000].map(time),
            ["0 ns", "999 ns", "1.50 us", "45.6 ms", "3.00 s"]
        );
        assert_eq!([704, 2048].map(bytes), ["704 B", "2.00 KiB"]);
        assert_eq!(time(u64::MAX), "18446744073 s");
    }
}
