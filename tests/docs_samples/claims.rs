//! Every sample of README.md and docs/ is run by a test, or has a reason here why it is not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use testkit::root;

use crate::sample::{all, find};

/// Samples that no test of this file runs: the document, how the sample begins, and the reason.
const NOT_RUN: [(&str, &str, &str); 22] = [
    ("README.md", "sudo apt install ./epollshim", "it installs into the system: tests/hosts_packages.rs"),
    ("README.md", "sudo apt install -y build-essential", "it installs into the system: tests/install of the command"),
    ("docs/command.md", "$ epollshim sweep -- ./app", "the sweep of redis takes a minute: make sweeps"),
    (
        "docs/command.md",
        "$ epollshim run --record rec -- redis-server",
        "it needs a terminal: tests/top of the command",
    ),
    ("docs/faults.md", "CALLS:ACTION", "a grammar"),
    ("docs/findings/herd.md", "info     herd", "it needs processes of two users"),
    ("docs/formats.md", "epollshim report DIR|FILE...", "a grammar"),
    ("docs/inspect.md", "No problems with epoll found", "several programs in one: tests/inspect_text of the command"),
    ("docs/log.md", "epollshim: --log lacks lines", "it needs root: tests/run_programs of the command"),
    ("docs/packages.md", "bash scripts/need", "it takes minutes: make test-dist"),
    ("docs/packages.md", "podman build", "it needs podman and the network: tests/examples.rs"),
    ("docs/packages.md", "sudo apt install", "it installs into the system: tests/hosts_packages.rs"),
    ("docs/packages.md", "sha256sum -c", "it needs packages: tests/dist.rs"),
    ("docs/packages.md", "git checkout COMMIT", "it takes minutes: make test-dist"),
    ("docs/packages.md", "tar -C /usr/lib/debug", "it installs into the system: tests/dist.rs"),
    ("docs/recording.md", "calls counted = ", "a formula: tests/recording.rs"),
    ("docs/recording.md", "begun = seen + overwritten + unfinished", "a formula: tests/recording.rs"),
    ("docs/recording.md", "begun = taken + dropped", "a formula: tests/recording_full.rs"),
    ("docs/services.md", "$ sudo mkdir -p /etc/systemd", "it needs systemd as process 1: tests/examples.rs"),
    ("docs/services.md", "$ make dist", "it needs podman and the network: tests/examples.rs"),
    ("docs/services.md", "$ kubectl apply", "it needs a cluster: tests/examples.rs"),
    ("docs/sweep.md", "$ epollshim sweep --workload 'redis-cli", "it takes a minute: make sweeps"),
];

/// Pages whose samples a program writes.
const GENERATED: [(&str, &str); 1] = [("docs/sweeps.md", "`make sweeps` writes it")];

/// README.md and the pages of docs/, relative to the root.
fn documents() -> Vec<String> {
    let mut documents = vec!["README.md".to_owned()];
    for folder in ["docs", "docs/findings"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                documents.push(format!("{folder}/{name}"));
            }
        }
    }
    documents.sort_unstable();
    documents
}

/// The sources of this test.
fn sources() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(root().join("tests/docs_samples")).unwrap();
    let mut sources: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    sources.retain(|path| path.file_name().unwrap() != "claims.rs");
    sources.push(root().join("tests/docs_samples.rs"));
    sources
}

/// The string literals of a piece of Rust.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut letters = source.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '/' if letters.peek() == Some(&'/') => while letters.next().is_some_and(|letter| letter != '\n') {},
            // The character '"'.
            '\'' if letters.peek() == Some(&'"') => drop(letters.next()),
            '"' => {
                let mut text = String::new();
                while let Some(letter) = letters.next() {
                    match letter {
                        '"' => break,
                        '\\' => text.extend(letters.next()),
                        _ => text.push(letter),
                    }
                }
                found.push(text);
            }
            _ => {}
        }
    }
    found
}

/// The tests of a source, each with what stands before the first, such as constants.
fn tests(path: &Path) -> Vec<String> {
    let source = std::fs::read_to_string(path).unwrap();
    let mut parts = source.split("#[test]");
    let head = parts.next().unwrap();
    parts.map(|test| format!("{head}{test}")).collect()
}

/// The samples that a test names: it has the document and the beginning of the sample as literals.
fn named_by_tests() -> BTreeSet<(String, usize)> {
    let documents = documents();
    let mut named = BTreeSet::new();
    for test in sources().iter().flat_map(|path| tests(path)) {
        let literals = literals(&test);
        for document in documents.iter().filter(|document| literals.contains(document)) {
            let text = std::fs::read_to_string(root().join(document)).unwrap();
            for literal in literals.iter().filter(|literal| literal.len() >= 5) {
                named.extend(find(&text, literal).map(|(_, end)| (document.clone(), end)));
            }
        }
    }
    named
}

/// Whether these lines are a program of examples/guide, word for word.
fn is_listing(lines: &[&str]) -> bool {
    let shown: Vec<&str> = lines.iter().map(|line| line.get(4..).unwrap_or_default()).collect();
    let guide = std::fs::read_dir(root().join("examples/guide")).unwrap();
    let mut programs = guide.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    programs.any(|program| program.lines().eq(shown.iter().copied()))
}

#[test]
fn each_sample_is_run_by_a_test_or_has_a_reason() {
    let named = named_by_tests();
    let mut excused = BTreeSet::new();
    let mut missing = String::new();
    for document in documents() {
        if GENERATED.iter().any(|(page, _)| *page == document) {
            continue;
        }
        let text = std::fs::read_to_string(root().join(&document)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (begin, end) in all(&text) {
            let first = lines[begin].trim_start();
            let excuse = NOT_RUN.iter().position(|(page, sample, _)| *page == document && first.starts_with(sample));
            let is_run = named.contains(&(document.clone(), end)) || is_listing(&lines[begin..end]);
            assert!(!(is_run && excuse.is_some()), "{document}: a test runs it; remove it from NOT_RUN: {first}");
            match excuse {
                Some(excuse) => drop(excused.insert(excuse)),
                None if !is_run => missing += &format!("{document}:{}: {first}\n", begin + 1),
                None => {}
            }
        }
    }
    assert!(missing.is_empty(), "no test runs these samples, and NOT_RUN has no reason for them:\n{missing}");
    let stale: Vec<_> = NOT_RUN.iter().enumerate().filter(|(index, _)| !excused.contains(index)).collect();
    assert!(stale.is_empty(), "no document has these samples any more: {stale:?}");
}
