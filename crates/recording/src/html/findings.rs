//! The findings, each as a card that fits a phone and paper.

use std::fmt::Write as _;

use epollshim_format::findings::Tally;

use super::{ROWS, escaped};
use crate::described;
use crate::facts::Facts;
use crate::findings::Found;
use crate::scale::{count, grouped};

pub fn section(facts: &Facts, page: &mut String) {
    let tally: Tally = facts.findings.iter().map(|found| &found.finding).collect();
    let counted = if facts.findings.is_empty() { "none".to_owned() } else { tally.to_string() };
    let _ = writeln!(page, "<section>\n<h2>Findings: {counted}</h2>");
    if !facts.findings.is_empty() {
        page.push_str("<p class=\"quiet\">Run <code>epollshim explain ID</code> for how to fix one.</p>\n");
    }
    facts.findings.iter().take(ROWS).for_each(|found| card(found, page));
    let left_out = (facts.findings.len().saturating_sub(ROWS) as u64).saturating_add(facts.findings_dropped);
    if left_out > 0 {
        let more = count(left_out, "more finding is", "more findings are");
        let _ = writeln!(page, "<p class=\"quiet\">{more} not shown.</p>");
    }
    page.push_str("</section>\n");
}

fn card(found: &Found, page: &mut String) {
    let finding = &found.finding;
    let severity = finding.severity.name();
    let mut notes = Vec::new();
    if finding.count > 1 {
        notes.push(format!("{} times", grouped(finding.count)));
    }
    if found.processes > 1 {
        notes.push(format!("in {} processes", grouped(found.processes)));
    }
    for (name, fd) in [("epfd", finding.epfd), ("fd", finding.fd)] {
        notes.extend(fd.map(|fd| format!("{name} {fd}")));
    }
    let _ = writeln!(
        page,
        "<article class=\"{severity}\">\n<h3><span class=\"badge {severity}\">{severity}</span> {} <small>{}</small></h3>\n\
         <p>{}</p>",
        finding.id.name(),
        notes.join(", "),
        escaped(&found.message())
    );
    let mut items = Vec::new();
    items.extend(found.descriptor.as_ref().map(|of| ("descriptor", vec![of.text()])));
    let [_, open, ..] = finding.detail;
    let open = described::lines(&found.descriptors, open);
    if !open.is_empty() {
        items.push(("open", open));
    }
    for (role, site, stack) in found.places() {
        items.push((role, site.frames().chain(stack.iter().skip(1).flat_map(|caller| caller.frames())).collect()));
    }
    if !items.is_empty() {
        page.push_str("<dl>\n");
        for (word, lines) in items {
            let lines: Vec<String> = lines.iter().map(|line| format!("<code>{}</code>", escaped(line))).collect();
            let _ = writeln!(page, "<dt>{word}</dt><dd>{}</dd>", lines.join("<br>"));
        }
        page.push_str("</dl>\n");
    }
    page.push_str("</article>\n");
}
