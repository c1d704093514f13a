//! A table of the points: one row per call site, one column per failure.

use std::collections::BTreeMap;
use std::fmt::Write;

use epollshim_recording::page::escaped;

use super::{CLASSES, class, safe};
use crate::sweep::outcome::Swept;
use crate::sweep::trial::{Failure, Trial, Tried};
use crate::sweep::verdict::Verdict;

/// The text of the first column, and the small text below it.
type Row = (String, String);

pub fn section(swept: &Swept, page: &mut String) {
    let mut rows: BTreeMap<Row, BTreeMap<&str, Vec<&Tried>>> = BTreeMap::new();
    let mut columns: BTreeMap<&str, (Verdict, usize)> = BTreeMap::new();
    for tried in &swept.tried {
        let (row, column) = place(swept, &tried.trial);
        rows.entry(row).or_default().entry(column).or_default().push(tried);
        let (worst, number) = columns.entry(column).or_insert((Verdict::NotReached, 0));
        (*worst, *number) = ((*worst).min(tried.judged.verdict), *number + 1);
    }
    if rows.is_empty() {
        return;
    }
    let mut columns: Vec<(&str, (Verdict, usize))> = columns.into_iter().collect();
    columns.sort_by_key(|(name, (worst, number))| (*worst, std::cmp::Reverse(*number), *name));
    let worst = |cells: &BTreeMap<&str, Vec<&Tried>>| {
        let all = cells.values().flatten().map(|tried| tried.judged.verdict);
        all.min().unwrap_or(Verdict::NotReached)
    };
    let mut rows: Vec<(Row, BTreeMap<&str, Vec<&Tried>>)> = rows.into_iter().collect();
    rows.sort_by_key(|(_, cells)| worst(cells));

    page.push_str(
        "<section>\n<h2>What was tried</h2>\n<p class=\"quiet\">One row per call site, one column per failure, the worst first. \
         A number counts stacks or times with the same outcome.</p>\n\
         <div class=\"wide\"><table class=\"matrix\">\n<thead><tr><th scope=\"col\">call</th>",
    );
    for (column, _) in &columns {
        let _ = write!(page, "<th scope=\"col\">{}</th>", escaped(column));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for ((name, below), cells) in &rows {
        let below = if below.is_empty() { String::new() } else { format!("<small>{}</small>", safe(below)) };
        let _ = write!(page, "<tr><th scope=\"row\">{}{below}</th>", safe(name));
        for (column, _) in &columns {
            cell(swept, cells.get(column).map_or(&[], Vec::as_slice), page);
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n</section>\n");
}

/// The row and the column of a trial.
fn place<'a>(swept: &Swept, trial: &'a Trial) -> (Row, &'a str) {
    match &trial.failure {
        Failure::Call { point, failure } => {
            let phase = swept.workload.as_ref().map(|_| format!(", {}", point.phase.name())).unwrap_or_default();
            ((point.call(), format!("in {}{phase}", swept.place(point))), failure)
        }
        // Padded, so that they sort as numbers.
        Failure::Descriptors(number) => ((format!("{number:>9} descriptors"), String::new()), "outcome"),
        Failure::Processes(number) => ((format!("{number:>9} processes"), String::new()), "outcome"),
    }
}

/// The verdicts of trials, the worst first, with its colour.
fn cell(swept: &Swept, trials: &[&Tried], page: &mut String) {
    let mut words: BTreeMap<(Verdict, bool), usize> = BTreeMap::new();
    for tried in trials {
        *words.entry((tried.judged.verdict, swept.entry(tried).is_some())).or_default() += 1;
    }
    let has = |name: &&&str| trials.iter().any(|tried| class(swept, tried) == **name);
    let worst = CLASSES.iter().find(has).copied().unwrap_or_default();
    let text = |((verdict, is_accepted), number): (&(Verdict, bool), &usize)| {
        let accepted = if *is_accepted { ", accepted" } else { "" };
        let often = if *number > 1 { format!(" ({number})") } else { String::new() };
        format!("<span class=\"verdict\">{}</span>{accepted}{often}", escaped(verdict.title()))
    };
    let words: Vec<String> = words.iter().map(text).collect();
    let _ = write!(page, "<td class=\"{}\">{}</td>", worst, words.join("<br>"));
}
