//! The result of a sweep as one self-contained page, in the style of the reports
//! (`epollshim_recording::page`).
//!
//! Text that the program controls (its name, functions, messages) is escaped by [`escaped`].

mod matrix;

use std::fmt::Write;

use epollshim_recording::page::{self, escaped};

use super::outcome::{Find, Swept};
use super::text::{self, accepted_line};
use super::trial::Tried;
use super::verdict::Verdict;
use crate::text::{count, printable};

const STYLE: &str = include_str!("html/page.css");

pub fn render(swept: &Swept) -> String {
    let mut page = String::new();
    page::begin(&mut page, &safe(&format!("sweep of {}", swept.program())), STYLE);
    head(swept, &mut page);
    tiles(swept, &mut page);
    finds(swept, &mut page);
    accepted(swept, &mut page);
    matrix::section(swept, &mut page);
    page + &page::end("")
}

/// Foreign text, safe for a page.
fn safe(text: &str) -> String {
    escaped(&printable(text))
}

/// The styles of verdicts, the worst first: not survived, accepted, survived, not reached.
const CLASSES: [&str; 4] = ["bad", "taken", "good", "never"];

fn class(swept: &Swept, tried: &Tried) -> &'static str {
    match tried.judged.verdict {
        Verdict::NotReached => "never",
        verdict if !verdict.is_find() => "good",
        _ if swept.entry(tried).is_some() => "taken",
        _ => "bad",
    }
}

fn head(swept: &Swept, page: &mut String) {
    let words: Vec<String> = swept.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let _ = writeln!(
        page,
        "<header>\n<h1>{}</h1>\n<p class=\"quiet\">which failing calls does it not survive?</p>\n<dl>\n\
         <dt>Command</dt><dd><code>{}</code></dd>",
        safe(&swept.program()),
        safe(&words.join(" "))
    );
    if let Some(workload) = &swept.workload {
        let _ = writeln!(page, "<dt>Workload</dt><dd><code>{}</code></dd>", safe(workload));
    }
    for line in text::summary(swept) {
        let _ = writeln!(page, "<dt></dt><dd>{}</dd>", escaped(&line));
    }
    page.push_str("</dl>\n</header>\n");
}

fn tiles(swept: &Swept, page: &mut String) {
    page.push_str("<div class=\"tiles\">\n");
    for (verdict, number) in text::verdicts(swept) {
        let class = match verdict {
            Verdict::NotReached => "never",
            verdict if verdict.is_find() => "bad",
            _ => "good",
        };
        let _ = writeln!(page, "<div><b class=\"{class}\">{number}</b><span>{}</span></div>", escaped(verdict.title()));
    }
    page.push_str("</div>\n");
}

fn finds(swept: &Swept, page: &mut String) {
    let finds = swept.finds();
    let number = if finds.is_empty() { "none".to_owned() } else { finds.len().to_string() };
    let _ = writeln!(page, "<section>\n<h2>Finds: {number}</h2>");
    finds.iter().for_each(|find| card(swept, find, page));
    page.push_str("</section>\n");
}

fn card(swept: &Swept, find: &Find, page: &mut String) {
    let tried = find.first;
    let _ = writeln!(
        page,
        "<article class=\"error\">\n<h3><span class=\"badge error\">{}</span> {} <small>{} of {}</small></h3>\n<dl>",
        escaped(tried.judged.verdict.title()),
        safe(&tried.trial.text()),
        tried.same,
        count(tried.runs as usize, "run")
    );
    let coded = |lines: Vec<String>| -> Vec<String> {
        lines.iter().map(|line| format!("<code>{}</code>", safe(line))).collect()
    };
    let others = find.others.iter().map(|other| swept.line(&other.trial)).collect();
    for (name, lines) in [
        ("at", coded(swept.frames(&tried.trial))),
        ("what", tried.judged.evidence.iter().map(|line| safe(line)).collect()),
        ("repeat", pasted(vec![swept.line(&tried.trial)])),
        ("also", pasted(others)),
    ] {
        if !lines.is_empty() {
            let _ = writeln!(
                page,
                "<dt>{name}</dt><dd>{}</dd>",
                lines.join(if name == "at" || name == "what" { "<br>" } else { "" })
            );
        }
    }
    page.push_str("</dl>\n</article>\n");
}

fn pasted(lines: Vec<String>) -> Vec<String> {
    lines.iter().map(|line| format!("<code class=\"paste\">{}</code>", escaped(line))).collect()
}

fn accepted(swept: &Swept, page: &mut String) {
    let finds = swept.accepted_finds();
    if finds.is_empty() {
        return;
    }
    let _ = writeln!(page, "<section>\n<h2>Accepted: {}</h2>\n<ul>", finds.len());
    for find in finds {
        if let Some(entry) = find.accepted {
            let _ = writeln!(page, "<li>{}</li>", escaped(&accepted_line(swept, find.first, find.others.len(), entry)));
        }
    }
    page.push_str("</ul>\n</section>\n");
}
