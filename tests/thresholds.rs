//! docs/findings/thresholds.md has each number of crates/format/src/findings/thresholds.rs with its
//! reason, and each finding with its severities. EPOLLSHIM_BLESS=1 (`make samples`) rewrites the
//! numbers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use testkit::root;

const PAGE: &str = "docs/findings/thresholds.md";
/// The text after this line is generated from the source.
const MARK: &str = "## The numbers\n";

/// `5 * MICROSECOND` as people write it: `5 us`.
fn shown(value: &str) -> String {
    let (count, unit) = value.split_once(" * ").unwrap_or(match value {
        "NANOSECOND" | "MICROSECOND" | "MILLISECOND" | "SECOND" => ("1", value),
        _ => (value, ""),
    });
    let unit = match unit {
        "" => "",
        "MICROSECOND" => " us",
        "MILLISECOND" => " ms",
        "SECOND" => " s",
        other => panic!("{other}: no unit"),
    };
    format!("{}{unit}", count.replace('_', ","))
}

/// The tables, one per `// ---- heading ----` of the source.
fn tables() -> String {
    let source = fs::read_to_string(root().join("crates/format/src/findings/thresholds.rs")).unwrap();
    let (mut page, mut reason) = (String::new(), Vec::new());
    for line in source.lines() {
        if let Some(heading) = line.strip_prefix("// ---- ") {
            let heading = heading.trim_end_matches(" ----");
            page += &format!("\n### {heading}\n\n| name | value | why |\n|---|---|---|\n");
        } else if let Some(text) = line.strip_prefix("///") {
            reason.push(text.trim().to_owned());
        } else if let Some(constant) = line.strip_prefix("pub const ") {
            if let Some((name, rest)) = constant.split_once(": ") {
                let value = rest.split_once(" = ").and_then(|(_, value)| value.strip_suffix(';'));
                if let Some(value) = value.filter(|_| !name.contains('(')) {
                    // [`NAME`] is a link of rustdoc's.
                    let reason = reason.join(" ").replace("[`", "`").replace("`]", "`").replace('|', "\\|");
                    page += &format!("| `{name}` | {} | {reason} |\n", shown(value));
                }
            }
            reason.clear();
        } else if line.trim().is_empty() {
            reason.clear();
        }
    }
    page
}

#[test]
fn the_page_has_every_threshold_with_its_value_and_reason() {
    let file = root().join(PAGE);
    let page = fs::read_to_string(&file).unwrap();
    let (above, below) = page.split_once(MARK).unwrap();
    let real = tables();
    if std::env::var_os("EPOLLSHIM_BLESS").is_some() {
        fs::write(&file, format!("{above}{MARK}{real}")).unwrap();
        return;
    }
    assert_eq!(below, real, "{PAGE} is not as the source: make samples");
    assert!(!real.contains("|  |"), "a number has no reason: {real}");
}

#[test]
fn the_page_has_every_finding_with_its_severities() {
    let page = fs::read_to_string(root().join(PAGE)).unwrap();
    let index = fs::read_to_string(root().join("docs/findings/README.md")).unwrap();
    let ids: Vec<&str> =
        index.lines().filter_map(|line| line.strip_prefix("| [")?.split_once("](").map(|(id, _)| id)).collect();
    assert!(ids.len() >= 20, "{ids:?}");
    for id in ids {
        let row = page.lines().find(|line| line.starts_with(&format!("| [{id}]({id}.md) |")));
        let row = row.unwrap_or_else(|| panic!("{PAGE} has no row of {id}"));
        assert_eq!(row.matches(" | ").count(), 3, "{row}");
    }
}
