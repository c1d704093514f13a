//! Numbers for people, as in the exit report.

use epollshim_format::scale::{Grouped, Scaled};

/// In groups of three digits.
pub fn grouped(number: u64) -> String {
    Grouped(number).to_string()
}

/// Nanoseconds, three digits and a unit.
pub fn time(nanoseconds: u64) -> String {
    Scaled::time(nanoseconds).to_string()
}

pub fn bytes(bytes: u64) -> String {
    Scaled::bytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::{bytes, grouped, time};

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
