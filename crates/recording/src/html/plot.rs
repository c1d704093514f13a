//! Plots as SVG: a line over time, or the bars of a distribution. Colours come from the page's
//! style.

use std::fmt::Write as _;

use epollshim_format::histogram;

use super::timeline::Point;
use crate::model::Histogram;
use crate::scale::{grouped, time};

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 24.0;

/// The frame of a plot, with its axes.
struct Frame {
    svg: String,
    top: f64,
}

impl Frame {
    /// `most` is the highest value.
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

    /// Adds a label below the plot, at a share of the width.
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

/// The distance of two to five gridlines: 1, 2 or 5 times a power of ten.
fn step(most: f64) -> f64 {
    let raw = (most / 4.0).max(0.25);
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|step| *step >= raw).unwrap_or(raw);
    step.max(1.0)
}

/// A short form of a number: 1200 as `1.2k`.
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
    /// A value holds until the next point.
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
    /// Counts, each with the text that explains it.
    bars: Vec<(u64, String)>,
    /// Labels, each with its share of the width.
    labels: Vec<(f64, String)>,
}

/// The counts of values by their number of bits.
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

/// The first and the last octave that are not empty.
fn span(octaves: &[u64]) -> Option<(usize, usize)> {
    let first = octaves.iter().position(|count| *count != 0)?;
    let last = octaves.iter().rposition(|count| *count != 0)?;
    Some((first, last))
}

/// The smallest and the highest value with this number of bits.
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
        // A label at each power of ten, or of a thousand if there are many bars.
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

    /// Events per batch.
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
                // The label is at the middle of its bar.
                bars.labels.push((((bits - first) as f64 + 0.5) / width, label));
            }
        }
        bars
    }

    fn new(title: &'static str, of: &Histogram, class: &'static str, scale: fn(u64) -> String) -> Bars {
        let summary = of.summary();
        let note = summary.quantiles.map_or(String::new(), |quantiles| {
            format!(
                "{} total; half up to {}, 99 % up to {}, maximum {}",
                grouped(summary.count),
                scale(quantiles.p50),
                scale(quantiles.p99),
                scale(quantiles.max)
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
            // Every bar that is not empty is visible.
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
    use super::{short, step};

    #[test]
    fn gridlines_are_round_and_few() {
        assert_eq!([0.0, 1.0, 3.0, 7.0, 40.0, 1234.0].map(step), [1.0, 1.0, 1.0, 2.0, 10.0, 500.0]);
        assert_eq!([0.0, 5.0, 1200.0, 150_000.0, 2e6].map(short), ["0", "5", "1.2k", "150k", "2M"]);
    }
}
