//! The table of functions (crates/format/src/functions.rs) and the lists in the documents that follow from it.
#![allow(clippy::unwrap_used, clippy::panic)]

use epollshim_format::function::TABLE;
use epollshim_format::functions::Role;

fn document(path: &str) -> String {
    std::fs::read_to_string(testkit::root().join(path)).unwrap()
}

/// A document with the text between two lines replaced. EPOLLSHIM_BLESS=1 writes it.
fn has(path: &str, [begin, end]: [&str; 2], wanted: &str) {
    let text = document(path);
    let (before, rest) = text.split_once(&format!("{begin}\n")).unwrap_or_else(|| panic!("{path} has no line {begin}"));
    let (_, after) = rest.split_once(&format!("{end}\n")).unwrap_or_else(|| panic!("{path} has no line {end}"));
    let expected = format!("{before}{begin}\n{wanted}{end}\n{after}");
    if std::env::var_os("EPOLLSHIM_BLESS").is_some() {
        std::fs::write(testkit::root().join(path), expected).unwrap();
    } else {
        assert_eq!(text, expected, "{path} is behind the table of functions: make functions");
    }
}

/// Words in lines of at most 118 bytes.
fn filled(words: impl Iterator<Item = String>) -> String {
    let mut lines = vec![String::new()];
    for word in words {
        if lines.last().unwrap().len() + 1 + word.len() > 118 {
            lines.push(String::new());
        }
        let line = lines.last_mut().unwrap();
        let space = if line.is_empty() { "" } else { " " };
        line.push_str(space);
        line.push_str(&word);
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_documents_name_each_function() {
    has(
        "docs/faults.md",
        ["<!-- functions -->", "<!-- end -->"],
        &filled(TABLE.iter().map(|row| format!("`{}`", row.name()))),
    );
    let creators = TABLE.iter().filter(|row| {
        matches!(
            row.role,
            Role::Create
                | Role::Receive
                | Role::Stream
                | Role::Adopt
                | Role::StreamEnd
                | Role::Start
                | Role::Plain
                | Role::Birth
        )
    });
    let lines: String = creators.map(|row| format!(".BR {} ,\n", row.name())).collect();
    has("docs/libepollshim.7", [".\\\" creators", ".\\\" end"], &lines);
}
