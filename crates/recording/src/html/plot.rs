//! Plots as SVG: a line over time, bars of a distribution. Colours come from the page's style.

use std::fmt::Write as _;

use epollshim_format::histogram;

use crate::Set;
use crate::model::{Histogram, Moment, Thread};
use crate::scale::{grouped, time};
use crate::series::{Live, Series};

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 24.0;
/// Points that a line is drawn with, at most: more than there are pixels would show nothing.
const COLUMNS: usize = 300;
const BINS: usize = 60;

/// A point: nanoseconds since the first, and a value.
type Point = (u64, f64);

pub struct Lives {
    pub watches: Vec<Point>,
    pub instances: Vec<Point>,
    pub vague: bool,
}

/// Live objects of all processes over time.
pub fn lives(set: &Set) -> Lives {
    let mut changes: Vec<(u64, usize, Live)> = Vec::new();
    let mut vague = false;
    let mut late: Option<u64> = None;
    for (index, process) in set.processes.iter().enumerate() {
        let series = Series::of(process);
        vague |= series.vague;
        let begins = series.points.first().map(|(at, _)| *at);
        late = late.max(begins.filter(|at| *at > process.header.began));
        changes.extend(series.points.iter().map(|(at, live)| (*at, index, *live)));
        // What ended has nothing alive any more.
        if let Some((at, _)) = series.points.last()
            && !process.runs
            && set.processes.len() > 1
        {
            changes.push((*at, index, Live::default()));
        }
    }
    changes.sort_by_key(|(at, index, _)| (*at, *index));
    // Of all together nothing is known before each one's own is.
    let first = late.or(changes.first().map(|(at, ..)| *at)).unwrap_or(0);
    let mut now = vec![Live::default(); set.processes.len()];
    let (mut watches, mut instances) = (0u64, 0u64);
    let mut lives = Lives { watches: Vec::new(), instances: Vec::new(), vague };
    for (at, index, live) in changes {
        let Some(own) = now.get_mut(index) else { continue };
        watches = (watches + live.watches).saturating_sub(own.watches);
        instances = (instances + live.instances).saturating_sub(own.instances);
        *own = live;
        if at < first {
            // Only what it comes to by then.
            lives = Lives { watches: vec![(0, watches as f64)], instances: vec![(0, instances as f64)], vague };
            continue;
        }
        lives.watches.push((at - first, watches as f64));
        lives.instances.push((at - first, instances as f64));
    }
    lives.watches = thinned(lives.watches);
    lives.instances = thinned(lives.instances);
    lives
}

/// The highest and the last of each column.
fn thinned(points: Vec<Point>) -> Vec<Point> {
    let Some((last, _)) = points.last().copied() else { return points };
    if points.len() <= 2 * COLUMNS {
        return points;
    }
    let column = |at: u64| (u128::from(at) * COLUMNS as u128 / (u128::from(last) + 1)) as usize;
    let mut thin: Vec<Point> = Vec::new();
    let mut highest: Option<Point> = None;
    for (index, point) in points.iter().enumerate() {
        if highest.is_none_or(|(_, most)| point.1 > most) {
            highest = Some(*point);
        }
        let next = points.get(index + 1);
        if next.is_none_or(|(at, _)| column(*at) != column(point.0)) {
            thin.extend(highest.filter(|highest| highest.0 != point.0));
            thin.push(*point);
            highest = None;
        }
    }
    thin
}

/// Calls a second, by the coarse series of each process: of the whole run.
fn rate_of_series(set: &Set) -> Vec<Point> {
    let rows = || set.processes.iter().flat_map(|process| process.series.windows(2));
    let bounds = |at: fn(&[Moment]) -> Option<&Moment>| rows().filter_map(at).map(|moment| moment.at);
    let (Some(first), Some(last)) = (bounds(|pair| pair.first()).min(), bounds(|pair| pair.last()).max()) else {
        return Vec::new();
    };
    let width = (last.saturating_sub(first) / BINS as u64).max(1).saturating_add(1);
    let mut bins = vec![0.0; BINS];
    for pair in rows() {
        let [before, after] = pair else { continue };
        let calls = after.calls.saturating_sub(before.calls) as f64;
        let lasted = after.at.saturating_sub(before.at).max(1) as f64;
        for (index, bin) in bins.iter_mut().enumerate() {
            let begins = first.saturating_add(width.saturating_mul(index as u64));
            let (from, to) = (before.at.max(begins), after.at.min(begins.saturating_add(width)));
            *bin += calls * to.saturating_sub(from) as f64 / lasted;
        }
    }
    let rate = |count: f64| count * 1e9 / width as f64;
    bins.iter().enumerate().map(|(bin, count)| (width.saturating_mul(bin as u64) + width / 2, rate(*count))).collect()
}

/// Calls a second: from when every thread's records are there, or, where there were more than are left, of the whole run.
pub fn rate(set: &Set) -> Vec<Point> {
    let has_series = set.processes.iter().all(|process| process.series.len() > 2);
    let is_left = set.processes.iter().flat_map(|process| &process.threads).any(Thread::lacks_the_beginning);
    if has_series && is_left {
        return rate_of_series(set);
    }
    let threads = || set.processes.iter().flat_map(|process| &process.threads);
    let all = || threads().flat_map(|thread| &thread.records).map(|record| record.began);
    let wrapped = threads().filter(|thread| thread.lacks_the_beginning());
    let Some(last) = all().max() else { return Vec::new() };
    let earliest = wrapped.filter_map(|thread| thread.records.first()).map(|record| record.began).max();
    // A thread that did nothing of late must not hide the others: then its hole is seen instead.
    let Some(first) = earliest.filter(|first| *first < last).or(all().min()) else { return Vec::new() };
    let width = ((last - first) / BINS as u64).max(1).saturating_add(1);
    let mut bins = vec![0u64; BINS];
    for began in all().filter(|began| *began >= first) {
        if let Some(bin) = bins.get_mut(((began - first) / width) as usize) {
            *bin += 1;
        }
    }
    let rate = |count: u64| count as f64 * 1e9 / width as f64;
    bins.iter().enumerate().map(|(bin, count)| (width.saturating_mul(bin as u64) + width / 2, rate(*count))).collect()
}

/// A frame with its axes.
struct Frame {
    svg: String,
    top: f64,
}

impl Frame {
    /// `most`: the highest value.
    fn new(title: &str, most: f64, unit: &str) -> Frame {
        let step = step(most);
        let top = (most / step).ceil().max(1.0) * step;
        let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n");
        let mut value = 0.0;
        while value <= top + step / 2.0 {
            let y = Frame::y_of(value, top);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}{unit}</text>",
                WIDTH - RIGHT,
                LEFT - 5.0,
                y + 3.5,
                short(value)
            );
            value += step;
        }
        Frame { svg, top }
    }

    fn y_of(value: f64, top: f64) -> f64 {
        HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)
    }

    fn y(&self, value: f64) -> f64 {
        Frame::y_of(value, self.top)
    }

    /// A label below, at a share of the width.
    fn label(&mut self, share: f64, text: &str) {
        let anchor = if share < 0.06 {
            "start"
        } else if share > 0.94 {
            "end"
        } else {
            "middle"
        };
        let _ = writeln!(
            self.svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{text}</text>",
            x(share),
            HEIGHT - 8.0
        );
    }
}

fn x(share: f64) -> f64 {
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn figure(title: &str, note: &str, svg: &str) -> String {
    format!("<figure><figcaption>{title}<small>{}</small></figcaption>\n{svg}</figure>\n", super::escaped(note))
}

fn nothing(title: &str) -> String {
    let svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">nothing recorded</text></svg>\n",
        WIDTH / 2.0,
        HEIGHT / 2.0
    );
    figure(title, "", &svg)
}

/// A distance of gridlines that is 1, 2 or 5 times a power of ten: two to five of them.
fn step(most: f64) -> f64 {
    let raw = (most / 4.0).max(0.25);
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|step| *step >= raw).unwrap_or(raw);
    step.max(1.0)
}

/// 1200 as 1.2k.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        1e18.. => return format!("{value:.0e}"),
        1e15.. => (value / 1e15, "P"),
        1e12.. => (value / 1e12, "T"),
        1e9.. => (value / 1e9, "G"),
        1e6.. => (value / 1e6, "M"),
        1e3.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    if value.fract() < 0.05 || value >= 100.0 { format!("{value:.0}{unit}") } else { format!("{value:.1}{unit}") }
}

pub struct Line<'a> {
    pub title: &'static str,
    pub note: String,
    pub unit: &'static str,
    /// Values stay until the next.
    pub steps: bool,
    pub points: &'a [Point],
    pub class: &'static str,
}

impl Line<'_> {
    pub fn render(&self) -> String {
        let Some((last, _)) = self.points.last() else { return nothing(self.title) };
        let most = self.points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        let end = (*last).max(1);
        let mut frame = Frame::new(self.title, most, self.unit);
        let mut path = String::new();
        let mut before = None;
        for (at, value) in self.points {
            let (x, y) = (x(*at as f64 / end as f64), frame.y(*value));
            let _ = match before {
                None => write!(path, "M{x:.1} {y:.1}"),
                Some(before) if self.steps => write!(path, "L{x:.1} {before:.1}L{x:.1} {y:.1}"),
                Some(_) => write!(path, "L{x:.1} {y:.1}"),
            };
            before = Some(y);
        }
        let (class, floor) = (self.class, frame.y(0.0));
        let first = self.points.first().map_or(0.0, |(at, _)| x(*at as f64 / end as f64));
        let _ = writeln!(
            frame.svg,
            "<path class=\"{class} area\" d=\"{path}L{:.1} {floor:.1}L{first:.1} {floor:.1}Z\"/>\
             <path class=\"{class}\" d=\"{path}\"><title>{}: at most {}{}</title></path>",
            x(1.0),
            self.title,
            short(most),
            self.unit
        );
        for quarter in [0u64, 1, 2] {
            let share = quarter as f64 / 2.0;
            frame.label(share, &if quarter == 0 { "0".to_owned() } else { time((end as f64 * share) as u64) });
        }
        frame.svg.push_str("</svg>\n");
        figure(self.title, &self.note, &frame.svg)
    }
}

pub struct Bars {
    title: &'static str,
    note: String,
    class: &'static str,
    /// Count, and what it is the count of.
    bars: Vec<(u64, String)>,
    /// Share of the width, and text.
    labels: Vec<(f64, String)>,
}

/// The counts of values by power of two: exponent of the upper end, count.
fn octaves(of: &Histogram) -> Vec<u64> {
    let mut octaves = vec![0u64; 65];
    for (bucket, count) in of.buckets.iter().enumerate() {
        let bits = (u64::BITS - histogram::highest(bucket).leading_zeros()) as usize;
        if let Some(octave) = octaves.get_mut(bits) {
            *octave = octave.saturating_add(*count);
        }
    }
    octaves
}

/// The first and the last octave that hold something.
fn span(octaves: &[u64]) -> Option<(usize, usize)> {
    let first = octaves.iter().position(|count| *count != 0)?;
    let last = octaves.iter().rposition(|count| *count != 0)?;
    Some((first, last))
}

/// Smallest and highest value of so many bits.
fn ends(bits: usize) -> (u64, u64) {
    let high = if bits >= 64 { u64::MAX } else { (1 << bits) - 1 };
    (if bits == 0 { 0 } else { high / 2 + 1 }, high)
}

impl Bars {
    /// Nanoseconds, on a logarithmic scale.
    pub fn times(title: &'static str, of: &Histogram, class: &'static str) -> Bars {
        let mut bars = Bars::new(title, of, class, time);
        let octaves = octaves(of);
        let Some((first, last)) = span(&octaves) else { return bars };
        for bits in first..=last {
            let (low, high) = ends(bits);
            let count = octaves.get(bits).copied().unwrap_or(0);
            bars.bars.push((count, format!("{} to {}: {}", time(low), time(high), grouped(count))));
        }
        // A label at each power of a thousand, or of ten where there is room.
        let (low, width) = (first.max(1) as f64 - 1.0, (last + 1 - first) as f64);
        let apart = if width > 14.0 { 3 } else { 1 };
        for power in (0..20).step_by(apart) {
            let share = ((10f64.powi(power)).log2() - low) / width;
            if (0.0..=1.0).contains(&share) {
                bars.labels
                    .push((share, time(10u64.saturating_pow(power as u32)).replace(".00", "").replace(".0", "")));
            }
        }
        bars
    }

    /// Events in a batch.
    pub fn sizes(title: &'static str, of: &Histogram, class: &'static str) -> Bars {
        let mut bars = Bars::new(title, of, class, grouped);
        let octaves = octaves(of);
        let Some((first, last)) = span(&octaves) else { return bars };
        let width = (last + 1 - first) as f64;
        for bits in first..=last {
            let (low, high) = ends(bits);
            let count = octaves.get(bits).copied().unwrap_or(0);
            let range = if low == high { low.to_string() } else { format!("{low}-{high}") };
            let label = if low == high || last - first < 7 { range.clone() } else { format!("{}+", short(low as f64)) };
            bars.bars.push((count, format!("{range}: {}", grouped(count))));
            if last - first < 10 || (bits - first) % 4 == 0 {
                // Of the bar's middle; kept off the edges.
                bars.labels.push((((bits - first) as f64 + 0.5) / width, label));
            }
        }
        bars
    }

    fn new(title: &'static str, of: &Histogram, class: &'static str, scale: fn(u64) -> String) -> Bars {
        let summary = of.summary();
        let note = summary.quantiles.map_or(String::new(), |told| {
            format!(
                "{} total; half up to {}, 99 % up to {}, maximum {}",
                grouped(summary.count),
                scale(told.p50),
                scale(told.p99),
                scale(told.max)
            )
        });
        Bars { title, note, class, bars: Vec::new(), labels: Vec::new() }
    }

    pub fn render(&self) -> String {
        if self.bars.is_empty() {
            return nothing(self.title);
        }
        let most = self.bars.iter().map(|(count, _)| *count).max().unwrap_or(0);
        let mut frame = Frame::new(self.title, most as f64, "");
        let (count, class, floor) = (self.bars.len() as f64, self.class, frame.y(0.0));
        for (index, (height, what)) in self.bars.iter().enumerate() {
            let width = (x(1.0 / count) - x(0.0) - 2.0).clamp(1.0, 60.0);
            let left = x((index as f64 + 0.5) / count) - width / 2.0;
            // What is there is seen, however little.
            let tall = if *height == 0 { 0.0 } else { (floor - frame.y(*height as f64)).max(1.0) };
            let _ = writeln!(
                frame.svg,
                "<rect class=\"{class}\" x=\"{left:.1}\" width=\"{width:.1}\" y=\"{:.1}\" height=\"{tall:.1}\"><title>{what}</title></rect>",
                floor - tall
            );
        }
        for (share, text) in &self.labels {
            frame.label(*share, text);
        }
        frame.svg.push_str("</svg>\n");
        figure(self.title, &self.note, &frame.svg)
    }
}

#[cfg(test)]
mod tests {
    use super::{lives, short, step, thinned};
    use crate::Set;
    use crate::model::{Counters, Process, Record, Thread};
    use epollshim_format::call::Call;
    use epollshim_format::function::Function;

    #[test]
    fn gridlines_are_round_and_few() {
        assert_eq!([0.0, 1.0, 3.0, 7.0, 40.0, 1234.0].map(step), [1.0, 1.0, 1.0, 2.0, 10.0, 500.0]);
        assert_eq!([0.0, 5.0, 1200.0, 150_000.0, 2e6].map(short), ["0", "5", "1.2k", "150k", "2M"]);
    }

    /// Began at 0, with one instance and one watch made at these times; `overwritten`: and others before, which are lost.
    fn process(times: [u64; 2], overwritten: u64) -> Process {
        let call = |number: u64, function, operation| Record {
            number,
            began: times[number as usize],
            duration: 0,
            function: Some(function),
            flags: 0,
            operation,
            errno: 0,
            result: if operation == 0 { 3 } else { 0 },
            first: 3,
            second: 5,
            extra: 0,
            caller: 0,
        };
        let mut counters = Counters::default();
        counters.calls[Call::CtlAdd as usize].calls = 1 + overwritten;
        counters.calls[Call::Create1 as usize].calls = 1;
        let records = vec![call(0, Function::EpollCreate1, 0), call(1, Function::EpollCtl, 1)];
        let thread = Thread { counters, overwritten, records, ..Thread::default() };
        let mut process = Process { duration: 1000, threads: vec![thread], ..Process::default() };
        (process.totals.instances, process.totals.watches) = (1, 1);
        process
    }

    #[test]
    fn the_lines_of_several_processes_begin_where_all_of_them_are_known() {
        let whole = Set { processes: vec![process([10, 20], 0), process([30, 40], 0)], ..Set::default() };
        let all = lives(&whole).watches;
        assert_eq!((all.first(), all.last()), (Some(&(0, 0.0)), Some(&(1000, 0.0))));
        assert!(all.contains(&(20, 1.0)) && all.contains(&(40, 2.0)), "{all:?}");
        let wrapped = Set { processes: vec![process([10, 20], 0), process([500, 600], 7)], ..Set::default() };
        let late = lives(&wrapped).watches;
        assert_eq!(late.first(), Some(&(0, 1.0)), "at 500, with the first process's watch: {late:?}");
        assert!(late.contains(&(100, 2.0)) && late.last() == Some(&(500, 0.0)), "{late:?}");
    }

    #[test]
    fn a_long_line_keeps_its_peaks() {
        let points: Vec<(u64, f64)> = (0..100_000).map(|at| (at, if at == 777 { 9.0 } else { 1.0 })).collect();
        let thin = thinned(points);
        assert!(thin.len() <= 700 && thin.contains(&(777, 9.0)) && thin.last() == Some(&(99_999, 1.0)));
    }
}
