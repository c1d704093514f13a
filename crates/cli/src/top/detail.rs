//! Draws one process: its calls by rate, the times of its waits, and its instances.

use epollshim_format::findings::{Finding, Message, Severity};
use epollshim_recording::model::Quantiles;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row as Cells, Table};

use super::app::App;
use super::columns::{age, count, dash, percent, rate, time};
use super::draw::Theme;
use super::row::{FunctionRates, InstanceRow, Rates, Row};

pub fn draw(frame: &mut Frame, body: Rect, app: &App, row: &Row, theme: Theme) {
    let rates = row.rates.clone().unwrap_or_default();
    // A line for each function, and one each for the titles, the work and the batches.
    let calls = u16::try_from(rates.functions.len()).unwrap_or(0) + 3;
    let found = findings(row, theme);
    // A blank line follows if there are any.
    let lines = u16::try_from(found.len()).map_or(0, |lines| if lines == 0 { 0 } else { lines + 1 });
    let [head, bad, calls, _, instances] =
        Layout::vertical([3, lines, calls, 1].map(Constraint::Length).into_iter().chain([Constraint::Min(2)]))
            .areas(body);
    frame.render_widget(Paragraph::new(found), bad);
    frame.render_widget(Paragraph::new(heading(row, &rates, theme)), head);
    frame.render_widget(functions(&rates, calls.width, theme), calls);
    frame.render_widget(instance_table(app, row, instances, theme), instances);
}

fn heading(row: &Row, rates: &Rates, theme: Theme) -> Vec<Line<'static>> {
    let end = row.ended.map_or_else(String::new, |how| format!(" (ended: {how})"));
    let partial = if row.is_partial { " (its recording is incomplete)" } else { "" };
    let arguments = if row.arguments.is_empty() { &row.name } else { &row.arguments };
    let blocked = rates.blocked.map_or_else(dash, percent);
    let empty = rates.empty.map_or_else(dash, percent);
    let per_wait = rates.events_per_wait.map_or_else(dash, rate);
    let kinds = rates.kinds.iter().filter(|(_, events)| *events > 0.0);
    let kinds: Vec<String> = kinds.map(|(name, events)| format!("{name} {}", rate(*events))).collect();
    vec![
        Line::from(format!("{} {arguments}{end}{partial}", row.pid)).style(theme.title()),
        Line::from(format!(
            "{} old, {}, {}, {}; blocked {blocked} of the time",
            age(row.age),
            plural(row.threads, "thread", "threads"),
            plural(row.instances, "instance", "instances"),
            plural(row.watches, "watch", "watches")
        )),
        Line::from(format!(
            "{} calls/s, {} waits/s, {empty} empty; {} events/s, {per_wait} per wait{}{}",
            rate(rates.calls),
            rate(rates.waits),
            rate(rates.events),
            if kinds.is_empty() { "" } else { ": " },
            kinds.join(" ")
        )),
    ]
}

fn plural(number: u64, one: &str, several: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { several })
}

/// At most this many findings are shown.
const FINDINGS: usize = 6;

/// A line for each of the worst findings.
fn findings(row: &Row, theme: Theme) -> Vec<Line<'static>> {
    let line = |finding: &Finding| {
        let number = |name, fd: Option<i32>| fd.map_or_else(String::new, |fd| format!(" {name} {fd}"));
        let of = format!("{}{}", number("epfd", finding.epfd), number("fd", finding.fd));
        let text = format!("{:<8} {}{of}: {}", finding.severity.name(), finding.id.name(), Message(finding));
        let is_serious = finding.severity != Severity::Info;
        Line::from(text).style(if is_serious { theme.bad() } else { ratatui::style::Style::new() })
    };
    let more = row.findings.len().saturating_sub(FINDINGS);
    let more = (more != 0).then(|| Line::from(format!("and {more} more; see epollshim report")));
    row.findings.iter().take(FINDINGS).map(line).chain(more).collect()
}

fn right(text: impl Into<String>) -> Cell<'static> {
    Cell::from(Line::from(text.into()).alignment(Alignment::Right))
}

fn times(of: Option<Quantiles>, told: fn(Option<u64>) -> String) -> [Cell<'static>; 3] {
    [of.map(|of| of.p50), of.map(|of| of.p99), of.map(|of| of.max)].map(|value| right(told(value)))
}

/// The table of functions. Times are those of the interval. Calls that do not wait are not timed.
fn functions(rates: &Rates, width: u16, theme: Theme) -> Table<'static> {
    let titles = ["CALL", "/S", "P50", "P99", "MAX", "FAILED/S", "INJ/S", "LIM/S", "ERRORS"];
    let [call, last] = [titles.first(), titles.last()].map(|title| title.copied().unwrap_or_default());
    let middle = titles.iter().skip(1).take(titles.len() - 2).map(|title| right(*title));
    let header = std::iter::once(Cell::from(call)).chain(middle).chain([Cell::from(last)]);
    let function = |function: &FunctionRates| {
        let [p50, p99, max] = times(function.time, time);
        let errors: Vec<String> =
            function.by_errno.iter().map(|(name, times)| format!("{name} {}", rate(*times))).collect();
        let style = if function.errors > 0.0 { theme.bad() } else { ratatui::style::Style::new() };
        Cells::new([
            Cell::from(function.name),
            right(rate(function.calls)),
            p50,
            p99,
            max,
            right(rate(function.errors)),
            right(rate(function.injected)),
            right(rate(function.limited)),
            Cell::from(errors.join(" ")).style(style),
        ])
    };
    let other = |name: &'static str, of: Option<Quantiles>, told: fn(Option<u64>) -> String| {
        let [p50, p99, max] = times(of, told);
        Cells::new([Cell::from(name), right(""), p50, p99, max])
    };
    let mut rows: Vec<Cells> = rates.functions.iter().map(function).collect();
    rows.push(other("work between", rates.work, time));
    rows.push(other("events/batch", rates.batch, |number| number.map_or_else(dash, count)));
    let rest = width.saturating_sub(14 + 5 + 8 * 3 + 8 + 5 + 5 + 8);
    let widths = [14, 5, 8, 8, 8, 8, 5, 5, rest].map(Constraint::Length);
    Table::new(rows, widths).header(Cells::new(header).style(theme.title()))
}

fn instance_table(app: &App, row: &Row, area: Rect, theme: Theme) -> Table<'static> {
    let titles = ["#", "FD", "WATCH", "WAITS/S", "EVENTS/S", "EMPTY"].map(right);
    let all = app.instances.len();
    let place = if app.scroll == 0 { String::new() } else { format!(" (from {} of {all})", app.scroll + 1) };
    let header = titles.into_iter().chain([Cell::from(format!("INSTANCE{place}"))]);
    let of = |number: Option<f64>| right(number.map_or_else(dash, rate));
    let line = |instance: &InstanceRow| {
        let key = (row.key.clone(), instance.site);
        let site = app.names.get(&key).map_or_else(String::new, |name| format!(" at {name}"));
        Cells::new([
            right(instance.id.to_string()),
            right(instance.epfd.to_string()),
            right(count(instance.watches)),
            of(instance.waits),
            of(instance.events),
            right(instance.empty.map_or_else(dash, percent)),
            Cell::from(format!("{}{site}", instance.made_by)),
        ])
    };
    let rows = app.instances.iter().skip(app.scroll).take(usize::from(area.height)).map(line);
    let rest = area.width.saturating_sub(4 + 5 + 6 + 7 + 8 + 5 + 6);
    Table::new(rows.collect::<Vec<_>>(), [4, 5, 6, 7, 8, 5, rest].map(Constraint::Length))
        .header(Cells::new(header).style(theme.title()))
}
