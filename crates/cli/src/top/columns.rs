//! The columns of the list of processes: their contents, formats, and sort orders.

use std::cmp::Ordering;

use epollshim_format::scale::Scaled;

use super::row::{Rates, Row};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Column {
    Pid,
    Calls,
    Waits,
    Events,
    EventsPerWait,
    Empty,
    Blocked,
    Errors,
    TopError,
    Injected,
    Limited,
    WaitTime,
    Work,
    Threads,
    Instances,
    Watches,
    Findings,
    Age,
    Program,
}

/// The layout of a column.
pub struct Facts {
    pub title: &'static str,
    pub width: u16,
    /// If there is little space, columns of a low rank are shown first. 0: always shown.
    pub rank: u8,
    /// Finds a column by its name on the command line.
    pub name: &'static str,
}

impl Column {
    /// In display order. The last one takes the remaining space.
    pub const ALL: [Column; 19] = [
        Column::Pid,
        Column::Calls,
        Column::Waits,
        Column::Events,
        Column::EventsPerWait,
        Column::Empty,
        Column::Blocked,
        Column::WaitTime,
        Column::Work,
        Column::Errors,
        Column::TopError,
        Column::Injected,
        Column::Limited,
        Column::Threads,
        Column::Instances,
        Column::Watches,
        Column::Findings,
        Column::Age,
        Column::Program,
    ];

    pub const fn facts(self) -> Facts {
        let (title, width, rank, name) = match self {
            Column::Pid => ("PID", 7, 0, "pid"),
            Column::Calls => ("CALLS/S", 7, 0, "calls"),
            Column::Waits => ("WAITS/S", 7, 0, "waits"),
            Column::Events => ("EVENTS/S", 8, 0, "events"),
            Column::EventsPerWait => ("EV/W", 5, 0, "events-per-wait"),
            Column::Empty => ("EMPTY", 5, 0, "empty"),
            Column::Blocked => ("BLOCK", 5, 0, "blocked"),
            Column::Errors => ("ERR/S", 5, 0, "errors"),
            Column::TopError => ("MOST", 22, 5, "top-error"),
            Column::Injected => ("INJ/S", 5, 3, "injected"),
            Column::Limited => ("LIM/S", 5, 4, "limited"),
            Column::WaitTime => ("P99 WAIT", 8, 1, "p99-wait"),
            Column::Work => ("P99 WORK", 8, 2, "p99-work"),
            Column::Threads => ("THR", 4, 7, "threads"),
            Column::Instances => ("INST", 4, 0, "instances"),
            Column::Watches => ("WATCH", 5, 0, "watches"),
            Column::Findings => ("BAD", 3, 0, "findings"),
            Column::Age => ("AGE", 7, 6, "age"),
            Column::Program => ("PROGRAM", 8, 0, "program"),
        };
        Facts { title, width, rank, name }
    }

    pub fn named(name: &str) -> Option<Column> {
        Column::SORTS.into_iter().find(|column| column.facts().name == name)
    }

    /// The columns that can be sorted by.
    pub const SORTS: [Column; 16] = [
        Column::Calls,
        Column::Waits,
        Column::Events,
        Column::EventsPerWait,
        Column::Empty,
        Column::Blocked,
        Column::WaitTime,
        Column::Work,
        Column::Errors,
        Column::Instances,
        Column::Watches,
        Column::Findings,
        Column::Threads,
        Column::Age,
        Column::Pid,
        Column::Program,
    ];

    /// Text is aligned left, numbers right.
    pub const fn is_text(self) -> bool {
        matches!(self, Column::Program | Column::TopError)
    }

    /// The text of a cell, at most as wide as the column.
    pub fn short(self, row: &Row) -> String {
        let rates = row.rates.as_ref();
        let of = |number: fn(&Rates) -> f64| rates.map_or_else(dash, |rates| rate(number(rates)));
        let part = |number: fn(&Rates) -> Option<f64>| rates.and_then(number).map_or_else(dash, percent);
        match self {
            Column::Pid => row.pid.to_string(),
            Column::Calls => of(|rates| rates.calls),
            Column::Waits => of(|rates| rates.waits),
            Column::Events => of(|rates| rates.events),
            Column::EventsPerWait => rates.and_then(|rates| rates.events_per_wait).map_or_else(dash, rate),
            Column::Empty => part(|rates| rates.empty),
            Column::Blocked => part(|rates| rates.blocked),
            Column::Errors => of(|rates| rates.errors),
            Column::TopError => rates.and_then(|rates| rates.top_error.as_ref()).map_or_else(dash, error),
            Column::Injected => of(|rates| rates.injected),
            Column::Limited => of(|rates| rates.limited),
            Column::WaitTime => time(rates.and_then(|rates| rates.wait_time).map(|time| time.p99)),
            Column::Work => time(rates.and_then(|rates| rates.work).map(|time| time.p99)),
            Column::Threads => row.threads.to_string(),
            Column::Instances => count(row.instances),
            Column::Watches => count(row.watches),
            Column::Findings => row.serious().min(999).to_string(),
            Column::Age => age(row.age),
            Column::Program => match row.ended {
                Some(how) => format!("{} ({how})", row.name),
                None => row.name.clone(),
            },
        }
    }

    /// The largest values come first. Names are sorted alphabetically.
    pub fn order(self, one: &Row, other: &Row) -> Ordering {
        let by = match self {
            Column::Program => one.name.cmp(&other.name),
            Column::Pid => one.pid.cmp(&other.pid),
            _ => self.weight(other).total_cmp(&self.weight(one)),
        };
        by.then_with(|| one.pid.cmp(&other.pid)).then_with(|| one.key.cmp(&other.key))
    }

    #[allow(clippy::cast_precision_loss)]
    fn weight(self, row: &Row) -> f64 {
        let rates = row.rates.as_ref();
        let of = |number: fn(&Rates) -> f64| rates.map_or(-1.0, number);
        let part = |number: fn(&Rates) -> Option<f64>| rates.and_then(number).unwrap_or(-1.0);
        match self {
            Column::Calls => of(|rates| rates.calls),
            Column::Waits => of(|rates| rates.waits),
            Column::Events => of(|rates| rates.events),
            Column::EventsPerWait => part(|rates| rates.events_per_wait),
            Column::Empty => part(|rates| rates.empty),
            Column::Blocked => part(|rates| rates.blocked),
            Column::Errors | Column::TopError => of(|rates| rates.errors),
            Column::Injected => of(|rates| rates.injected),
            Column::Limited => of(|rates| rates.limited),
            Column::WaitTime => part(|rates| rates.wait_time.map(|time| time.p99 as f64)),
            Column::Work => part(|rates| rates.work.map(|time| time.p99 as f64)),
            Column::Threads => row.threads as f64,
            Column::Instances => row.instances as f64,
            Column::Watches => row.watches as f64,
            Column::Findings => row.serious() as f64,
            Column::Age => row.age as f64,
            Column::Pid | Column::Program => 0.0,
        }
    }
}

pub fn sort(rows: &mut [Row], by: Column) {
    rows.sort_by(|one, other| by.order(one, other));
}

pub fn dash() -> String {
    "-".into()
}

/// A rate in at most five characters.
pub fn rate(number: f64) -> String {
    const UNITS: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    if number <= 0.0 {
        return "0".into();
    }
    let (mut number, mut unit) = (number, 0);
    // Four digits are written out: 9999 says more than 10.0k.
    while number >= if unit == 0 { 9999.5 } else { 999.5 } && unit + 1 < UNITS.len() {
        number /= 1000.0;
        unit += 1;
    }
    let unit = UNITS.get(unit).copied().unwrap_or_default();
    match number {
        _ if number < 0.005 => "<0.01".into(),
        _ if number < 9.995 => format!("{number:.2}{unit}"),
        _ if number < 99.95 => format!("{number:.1}{unit}"),
        _ if number < 999.5 || unit.is_empty() => format!("{number:.0}{unit}"),
        _ => "huge".into(),
    }
}

/// A number in at most five characters.
#[allow(clippy::cast_precision_loss)]
pub fn count(number: u64) -> String {
    if number < 100_000 { number.to_string() } else { rate(number as f64) }
}

pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 9.95 { format!("{percent:.1}%") } else { format!("{percent:.0}%") }
}

/// Formats nanoseconds.
pub fn time(nanoseconds: Option<u64>) -> String {
    nanoseconds.map_or_else(dash, |time| Scaled::time(time).to_string())
}

fn error((function, error): &(&str, String)) -> String {
    format!("{function} {error}")
}

/// Formats an age in at most two units.
pub fn age(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match () {
        () if days > 9999 => "long".into(),
        () if days > 99 => format!("{days}d"),
        () if days > 0 => format!("{days}d{:02}h", hours % 24),
        () if hours > 0 => format!("{hours}h{:02}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m{:02}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Column, age, count, percent, rate};

    #[test]
    fn a_rate_has_at_most_five_characters() {
        let told =
            [0.0, 0.001, 0.5, 9.999, 99.96, 1000.4, 9999.4, 9999.6, 99_950.0, 123_456.0, 999_600.0, 1.5e7, 9.9e21]
                .map(rate);
        let wanted =
            ["0", "<0.01", "0.50", "10.0", "100", "1000", "9999", "10.0k", "100k", "123k", "1.00M", "15.0M", "huge"];
        assert_eq!(told, wanted);
        let mut number = 1e-4;
        while number < 1e25 {
            assert!(rate(number).len() <= 5, "{number}: {}", rate(number));
            number *= 1.0007;
        }
        assert!(rate(f64::INFINITY).len() <= 5 && rate(f64::NAN).len() <= 5);
        assert_eq!([7, 99_999, 100_000, u64::MAX].map(count), ["7", "99999", "100k", "18.4E"].map(String::from));
    }

    #[test]
    fn shares_and_ages_are_short() {
        assert_eq!([0.0, 0.001, 0.0996, 0.5, 1.0].map(percent), ["0%", "0.1%", "10%", "50%", "100%"]);
        let told = [0, 59, 60, 3_600, 90_000, 864_000_000].map(|seconds| age(seconds * 1_000_000_000));
        assert_eq!(told, ["0s", "59s", "1m00s", "1h00m", "1d01h", "long"]);
    }

    #[test]
    fn what_is_always_shown_fits_80_columns() {
        let widths =
            Column::ALL.iter().filter(|column| column.facts().rank == 0).map(|column| column.facts().width + 1);
        assert!(widths.sum::<u16>() <= 81);
        for column in Column::ALL {
            assert!(column.facts().title.len() <= usize::from(column.facts().width), "{column:?}");
        }
    }
}
