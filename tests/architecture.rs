//! ARCHITECTURE.md is true: each file that it names exists, and defines the functions that it
//! names.
#![allow(clippy::unwrap_used)]

/// The inline code of a text: everything between backticks.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether a source file defines something of this name.
fn defines(source: &str, name: &str) -> bool {
    let begins = ["fn ", "mod ", "static ", "const ", "macro_rules! "];
    let is_word = |rest: &str| !rest.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_');
    let defined = |at: &str| source.match_indices(at).any(|(place, _)| is_word(&source[place + at.len()..]));
    // Entries in assembly, and the real functions, are made by macros: their lines begin with their
    // names.
    let is_entry = || {
        source.lines().any(|line| {
            line.trim_start()
                .strip_prefix(name)
                .is_some_and(|rest| ["(", " = ", " or "].iter().any(|then| rest.starts_with(then)))
        })
    };
    begins.iter().any(|begin| defined(&format!("{begin}{name}"))) || is_entry()
}

#[test]
fn each_file_and_each_function_of_the_architecture_is_there() {
    let text = std::fs::read_to_string(testkit::root().join("ARCHITECTURE.md")).unwrap();
    let mut wrong = Vec::new();
    let (mut files, mut functions) = (0, 0);
    for word in words(&text)
        .filter(|word| ["src/", "crates/", "tests/", "c-tests/", "docs/"].iter().any(|folder| word.starts_with(folder)))
    {
        let (path, name) = word.split_once("::").map_or((word, None), |(path, name)| (path, Some(name)));
        let path = testkit::root().join(path);
        files += 1;
        if !path.exists() {
            wrong.push(format!("{word}: no such file"));
        } else if let Some(name) = name {
            functions += 1;
            if !defines(&std::fs::read_to_string(&path).unwrap(), name) {
                wrong.push(format!("{word}: not defined there"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(files > 60 && functions > 25, "{files} files, {functions} functions");
}
