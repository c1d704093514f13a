//! Numbers for people.

/// In groups of three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn scaled(value: u64, units: &[(u64, &str)]) -> String {
    let (size, unit) =
        units.iter().rev().find(|(size, _)| value >= *size).or(units.first()).copied().unwrap_or((1, ""));
    let (whole, part) = (value / size, ((u128::from(value % size) * 1000) / u128::from(size)) as u64);
    match whole {
        _ if size == 1 => format!("{value} {unit}"),
        0..10 => format!("{whole}.{:02} {unit}", part / 10),
        10..100 => format!("{whole}.{} {unit}", part / 100),
        _ => format!("{whole} {unit}"),
    }
}

/// Nanoseconds, three digits and a unit.
pub fn time(nanoseconds: u64) -> String {
    scaled(nanoseconds, &[(1, "ns"), (1_000, "us"), (1_000_000, "ms"), (1_000_000_000, "s")])
}

pub fn bytes(bytes: u64) -> String {
    scaled(bytes, &[(1, "B"), (1 << 10, "KiB"), (1 << 20, "MiB"), (1 << 30, "GiB")])
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
