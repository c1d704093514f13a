//! The layers of the library (ARCHITECTURE.md): a module uses those of its own layer and of the layers below it.
//!
//! `UPWARD` has the arrows that still point up. It may only become shorter: an arrow that is not in it fails the test, and so
//! does one that is in it and is gone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// From below. The names are the modules of src/lib.rs.
const LAYERS: [(&str, &[&str]); 9] = [
    ("arch", &["arch"]),
    ("atomics", &["sync", "model"]),
    ("ledger", &["ledger"]),
    (
        "os",
        &[
            "sys",
            "clock",
            "environment",
            "procfs",
            "path",
            "buffer",
            "valgrind",
            "numbers",
            "image",
            "elf",
            "loaded",
            "libc_kind",
            "sigsafe",
            "place",
            "seccomp",
        ],
    ),
    (
        "runtime",
        &[
            "at_load",
            "output",
            "config",
            "frame",
            "real",
            "process",
            "thread",
            "registry",
            "stacks",
            "session",
            "interrupted",
        ],
    ),
    ("observers", &["findings", "record", "census", "log"]),
    ("policy", &["policy"]),
    ("report", &["report"]),
    ("app", &["hooks", "init", "capi", "steer"]),
];

/// `from to`: what still points up.
const UPWARD: &str = include_str!("layers.txt");

/// Source without comments, and without unit tests, which stand at its end.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The modules of the crate that a source file names: `crate::NAME`, and the names in `use crate::{...}`.
fn named(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (place, at) in code.match_indices("crate::") {
        // `epollshim_format::...` is no path of this crate, and `$crate::` is.
        let rest = &code[place + at.len()..];
        let word = |text: &str| text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        match rest.strip_prefix('{') {
            None => _ = names.insert(word(rest)),
            Some(list) => {
                let mut depth = 0;
                let mut begins = true;
                for (place, letter) in list.char_indices() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => begins = true,
                        letter if begins && !letter.is_whitespace() => {
                            names.insert(word(&list[place..]));
                            begins = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    names
}

fn sources(of: &Path, into: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(of).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn no_arrow_points_up_but_those_that_are_listed() {
    let layer_of: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(layer, (_, modules))| modules.iter().map(move |name| (*name, layer)))
        .collect();
    let source = common::root().join("src");
    let mut files = Vec::new();
    sources(&source, &mut files);
    let mut upward = BTreeSet::new();
    for path in files {
        let module = path.strip_prefix(&source).unwrap().components().next().unwrap().as_os_str().to_str().unwrap();
        let module = module.trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let own =
            *layer_of.get(module).unwrap_or_else(|| panic!("src/{module} has no layer: name it in tests/layers.rs"));
        for name in named(&code(&path)) {
            if layer_of.get(name.as_str()).is_some_and(|layer| *layer > own) {
                upward.insert(format!("{module} {name}"));
            }
        }
    }
    let listed: BTreeSet<String> = UPWARD.lines().map(str::to_owned).collect();
    let new: Vec<_> = upward.difference(&listed).collect();
    assert!(new.is_empty(), "these point up, and may not: {new:?}");
    let gone: Vec<_> = listed.difference(&upward).collect();
    assert!(gone.is_empty(), "these are gone: take them out of tests/layers.txt: {gone:?}");
}

/// The folder of all assembly.
const ASSEMBLY: &str = "arch";

#[test]
fn assembly_lies_in_one_folder_and_has_at_most_five_templates_of_entries() {
    let source = common::root().join("src");
    let mut files = Vec::new();
    sources(&source, &mut files);
    let is_assembly = |code: &str| code.contains("asm!") || code.contains("unsafe(naked)");
    let outside: Vec<_> =
        files.iter().filter(|path| !path.starts_with(source.join(ASSEMBLY)) && is_assembly(&code(path))).collect();
    assert!(outside.is_empty(), "assembly outside src/{ASSEMBLY}: {outside:?}");
    let portable = files.iter().filter(|path| path.starts_with(source.join(ASSEMBLY).join("portable")));
    let portable: Vec<_> = portable.filter(|path| is_assembly(&code(path))).collect();
    assert!(portable.is_empty(), "assembly in what is to have none: {portable:?}");
    let templates = code(&source.join("arch/x86_64/entries.rs"));
    let templates: Vec<_> = templates.split("macro_rules! ").skip(1).collect();
    assert!(templates.iter().all(|template| is_assembly(template)), "a piece among the templates");
    assert!((1..=5).contains(&templates.len()), "{} templates", templates.len());
}
