//! `--once`: prints plain text, or a JSON object, for scripts.

use std::fmt::Write;

use epollshim_format::findings::Message;
use epollshim_recording::model::Quantiles;
use serde_json::{Value, json};

use super::row::{Rates, Row};
use crate::text::printable;

const TITLES: [&str; 16] = [
    "PID",
    "CALLS/S",
    "WAITS/S",
    "EVENTS/S",
    "EV/WAIT",
    "EMPTY%",
    "BLOCKED%",
    "P99WAIT_US",
    "ERRORS/S",
    "INJ/S",
    "LIM/S",
    "INST",
    "WATCHES",
    "STATE",
    "FINDINGS",
    "PROGRAM",
];

/// One line per process, with fields separated by blanks. Numbers are not abbreviated, and `-`
/// means none. The name is last, since it may contain blanks.
pub fn text(rows: &[Row]) -> String {
    let lines: Vec<[String; 16]> = rows.iter().map(line).collect();
    let widths: Vec<usize> = (0..TITLES.len())
        .map(|column| {
            let cells = lines.iter().filter_map(|line| line.get(column)).map(String::len);
            cells.chain(TITLES.get(column).map(|title| title.len())).max().unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for line in [TITLES.map(str::to_owned)].iter().chain(&lines) {
        let (last, cells) = line.split_last().map_or(("", &[][..]), |(last, cells)| (last.as_str(), cells));
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(out, "{cell:>width$} ");
        }
        let _ = writeln!(out, "{last}");
    }
    out
}

fn line(row: &Row) -> [String; 16] {
    let rates = row.rates.as_ref();
    let number = |number: Option<f64>| number.map_or_else(|| "-".into(), |number| format!("{number:.1}"));
    let of = |number_of: fn(&Rates) -> f64| number(rates.map(number_of));
    let part = |number_of: fn(&Rates) -> Option<f64>| number(rates.and_then(number_of).map(|share| share * 100.0));
    #[allow(clippy::cast_precision_loss)]
    let p99 = rates.and_then(|rates| rates.wait_time).map(|time| time.p99 as f64 / 1000.0);
    [
        row.pid.to_string(),
        of(|rates| rates.calls),
        of(|rates| rates.waits),
        of(|rates| rates.events),
        number(rates.and_then(|rates| rates.events_per_wait)),
        part(|rates| rates.empty),
        part(|rates| rates.blocked),
        number(p99),
        of(|rates| rates.errors),
        of(|rates| rates.injected),
        of(|rates| rates.limited),
        row.instances.to_string(),
        row.watches.to_string(),
        row.ended.map_or_else(|| "running".into(), |how| how.replace(' ', "-")),
        row.serious().to_string(),
        printable(&row.name),
    ]
}

/// One object, schema `epollshim.top/1`. Rates are per second, shares are fractions of 1, times are
/// in nanoseconds.
pub fn json(rows: &[Row]) -> String {
    let processes: Vec<Value> = rows.iter().map(process).collect();
    format!("{}\n", json!({"schema": "epollshim.top/1", "processes": processes}))
}

fn process(row: &Row) -> Value {
    let rates = row.rates.as_ref().map(|rates| {
        let functions = rates.functions.iter().map(|function| {
            let errors = function.by_errno.iter().map(|(error, times)| (error.clone(), json!(times)));
            let told = json!({
                "calls": function.calls,
                "errors": errors.collect::<serde_json::Map<_, _>>(),
                "injected": function.injected,
                "limited": function.limited,
                "latency_ns": time(function.time),
            });
            (function.name.to_owned(), told)
        });
        json!({
            "interval_ns": rates.length,
            "calls": rates.calls,
            "waits": rates.waits,
            "events": rates.events,
            "errors": rates.errors,
            "injected": rates.injected,
            "limited": rates.limited,
            "events_per_wait": rates.events_per_wait,
            "empty_share": rates.empty,
            "blocked_share": rates.blocked,
            "blocked_ns": time(rates.wait_time),
            "work_ns": time(rates.work),
            "batch": time(rates.batch),
            "functions": functions.collect::<serde_json::Map<_, _>>(),
        })
    });
    let findings = row.findings.iter().map(|finding| {
        json!({
            "id": finding.id.name(),
            "severity": finding.severity.name(),
            "count": finding.count,
            "epfd": finding.epfd,
            "fd": finding.fd,
            "message": Message(finding).to_string(),
        })
    });
    let findings: Vec<Value> = findings.collect();
    json!({
        "pid": row.pid,
        "comm": row.name,
        "arguments": row.arguments,
        "recording": row.key.to_string_lossy(),
        "state": row.ended.unwrap_or("running"),
        "age_ns": row.age,
        "threads": row.threads,
        "instances": row.instances,
        "watches": row.watches,
        "partial": row.is_partial,
        "findings": findings,
        "rates": rates,
    })
}

fn time(time: Option<Quantiles>) -> Value {
    time.map_or(Value::Null, |time| json!({"p50": time.p50, "p90": time.p90, "p99": time.p99, "max": time.max}))
}
