//! The table of functions (crates/format/src/functions.rs) and what is said of it: the library's exports, the documents.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;
use std::process::Command;

use epollshim_format::function::TABLE;

fn document(path: &str) -> String {
    std::fs::read_to_string(common::root().join(path)).unwrap()
}

#[test]
fn the_library_exports_each_function_and_each_alias() {
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(common::shim()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let exported: BTreeSet<&str> = text.lines().filter_map(|line| line.split_whitespace().last()).collect();
    for row in &TABLE {
        for name in row.aliases.split_ascii_whitespace().chain([row.name]) {
            assert!(exported.contains(name), "{name} is in the table, and not exported");
        }
    }
}

#[test]
fn the_documents_name_each_function() {
    let faults = document("docs/faults.md");
    let listed =
        faults.split_once("<!-- functions -->").and_then(|(_, rest)| rest.split_once("<!-- end -->")).unwrap().0;
    let listed: Vec<&str> = listed.split('`').map(str::trim).filter(|word| !word.is_empty()).collect();
    let expected: Vec<&str> = TABLE.iter().map(|row| row.name).collect();
    assert_eq!(listed, expected, "docs/faults.md");

    let manual = document("docs/libepollshim.7");
    for row in &TABLE {
        let is_named = manual.lines().any(|line| {
            line.strip_prefix(".BR ").or(line.strip_prefix(".B ")).and_then(|line| line.split(' ').next())
                == Some(row.name)
        });
        assert!(is_named, "docs/libepollshim.7 does not name {}", row.name);
    }
}
