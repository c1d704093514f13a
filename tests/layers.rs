//! The layers of the library (ARCHITECTURE.md): a module uses those of its own layer and of the
//! layers below it.
//!
//! Inside the layers, files that use each other form rings. `LARGEST_RING` bounds them, and may
//! only become smaller. Folders form none.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The lowest layer first. The names are the modules of src/lib.rs.
const LAYERS: [(&str, &[&str]); 8] = [
    ("arch", &["arch"]),
    ("atomics", &["sync", "above"]),
    (
        "os",
        &[
            "sys",
            "clock",
            "environment",
            "procfs",
            "describe",
            "path",
            "buffer",
            "mapped",
            "valgrind",
            "image",
            "elf",
            "at_load",
            "loaded",
            "libc_kind",
            "sigsafe",
            "place",
            "seccomp",
            "filters",
            "system_call",
        ],
    ),
    (
        "runtime",
        &[
            "output",
            "config",
            "frame",
            "real",
            "process",
            "thread",
            "registry",
            "stacks",
            "streams",
            "session",
            "interrupted",
            "counters",
            "ledger",
        ],
    ),
    ("observers", &["findings", "record", "census", "log"]),
    ("policy", &["policy"]),
    ("report", &["report"]),
    ("app", &["hooks", "init", "capi", "steer", "composition"]),
];

/// How many files the largest ring has, all in one folder.
const LARGEST_RING: usize = 6;
/// A ring of at most this many files must be within one folder; a larger one may cross folders
/// until it is broken up.
const IN_ONE_FOLDER: usize = 6;

/// The source without comments and without items that are only compiled for unit tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n");
    let mut parts = text.split("#[cfg(test)]");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |code, part| code + after_item(part))
}

/// The text after its first item, which ends with a semicolon or a closing brace.
fn after_item(text: &str) -> &str {
    let mut depth = 0;
    for (place, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 1 => return &text[place + 1..],
            '}' => depth -= 1,
            ';' if depth == 0 => return &text[place + 1..],
            _ => {}
        }
    }
    ""
}

/// The modules of the crate that a source file names: `crate::NAME`, and the names in `use
/// crate::{...}`.
fn named(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (place, at) in code.match_indices("crate::") {
        // `epollshim_format::...` is not a path of this crate; `$crate::` is.
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

fn sources(of: &Path, into: &mut Vec<PathBuf>) {
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
fn no_arrow_points_up() {
    let layer_of: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(layer, (_, modules))| modules.iter().map(move |name| (*name, layer)))
        .collect();
    let source = testkit::root().join("src");
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
    assert!(upward.is_empty(), "these point up, and may not: {upward:?}");
}

// ---- rings of files ----

/// The files of the crate, by the paths of their modules.
struct Modules(BTreeMap<Vec<String>, PathBuf>);

impl Modules {
    fn new(source: &Path) -> Modules {
        let mut files = Vec::new();
        sources(source, &mut files);
        let module = |path: &Path| {
            let path = path.strip_prefix(source).unwrap().with_extension("");
            let mut names: Vec<_> = path.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
            names.pop_if(|last| last == "mod");
            names
        };
        files.retain(|path| path != &source.join("lib.rs"));
        Modules(files.into_iter().map(|path| (module(&path), path)).collect())
    }

    /// The module that a path leads to. None: the path is not of this crate, or leads to its root.
    fn resolve(&self, own: &[String], path: &[String], local: &BTreeMap<String, Vec<String>>) -> Option<Vec<String>> {
        let first = path.first()?.as_str();
        let child: Vec<_> = own.iter().cloned().chain([first.to_owned()]).collect();
        let (mut module, rest) = match first {
            "crate" => (Vec::new(), &path[1..]),
            "self" => (own.to_vec(), &path[1..]),
            "super" => {
                let up = path.iter().take_while(|name| *name == "super").count();
                (own[..own.len().checked_sub(up)?].to_vec(), &path[up..])
            }
            _ if self.0.contains_key(&child) => (child, &path[1..]),
            _ => (local.get(first)?.clone(), &path[1..]),
        };
        for name in rest {
            module.push(name.clone());
            if !self.0.contains_key(&module) {
                module.pop();
                break;
            }
        }
        self.0.contains_key(&module).then_some(module)
    }

    /// The modules that a file uses.
    fn used(&self, own: &[String], code: &str) -> BTreeSet<Vec<String>> {
        let (imports, rest) = split_imports(code);
        let mut used = BTreeSet::new();
        let mut local = BTreeMap::new();
        for import in imports {
            if let Some(module) = self.resolve(own, &import, &BTreeMap::new()) {
                let name = import.iter().rev().find(|name| *name != "self").unwrap().clone();
                // After `use crate::a::b;`, `b::f()` leads into the module b, if b is a module.
                if module.last() == Some(&name) {
                    local.insert(name, module.clone());
                }
                used.insert(module);
            }
        }
        used.extend(paths(&rest).iter().filter_map(|path| self.resolve(own, path, &local)));
        used.remove(own);
        used
    }
}

/// The paths of all `use` declarations, and the code without them.
fn split_imports(code: &str) -> (Vec<Vec<String>>, String) {
    let mut imports = Vec::new();
    let mut rest = String::new();
    let mut pieces = code.split("use ");
    rest.push_str(pieces.next().unwrap());
    for piece in pieces {
        let is_declaration = rest.ends_with(char::is_whitespace) || rest.is_empty();
        match piece.split_once(';').filter(|_| is_declaration) {
            Some((tree, behind)) => {
                expand(tree, &[], &mut imports);
                rest.push_str(behind);
            }
            None => {
                rest.push_str("use ");
                rest.push_str(piece);
            }
        }
    }
    (imports, rest)
}

/// The paths of a tree like `a::{self, b::{c, d as e}}`.
fn expand(tree: &str, prefix: &[String], into: &mut Vec<Vec<String>>) {
    let mut depth = 0;
    let branches = tree.split(|letter| {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0
    });
    for branch in branches.map(str::trim).filter(|branch| !branch.is_empty()) {
        let (head, list) = branch.split_once('{').unwrap_or((branch, ""));
        let names = head.split(" as ").next().unwrap().split("::").map(|name| name.trim().to_owned());
        let path: Vec<_> = prefix.iter().cloned().chain(names.filter(|name| !name.is_empty())).collect();
        match list.rsplit_once('}') {
            Some((list, _)) => expand(list, &path, into),
            None => into.push(path),
        }
    }
}

/// All paths of two names or more.
fn paths(code: &str) -> Vec<Vec<String>> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let words = code.split(|letter| !is_part(letter)).filter(|word| word.contains("::") && !word.starts_with("::"));
    words.map(|word| word.split("::").map(|name| name.trim_matches(':').to_owned()).collect()).collect()
}

/// Everything that can be reached from `from`.
fn reach<T: Ord + Clone>(from: &T, arrows: &BTreeMap<T, BTreeSet<T>>) -> BTreeSet<T> {
    let mut found = BTreeSet::new();
    let mut open = vec![from.clone()];
    while let Some(next) = open.pop() {
        for to in arrows.get(&next).into_iter().flatten() {
            if found.insert(to.clone()) {
                open.push(to.clone());
            }
        }
    }
    found
}

/// The sets of at least two things that all reach each other, the largest first.
fn rings<T: Ord + Clone>(arrows: &BTreeMap<T, BTreeSet<T>>) -> Vec<BTreeSet<T>> {
    let reached: BTreeMap<_, _> = arrows.keys().map(|from| (from, reach(from, arrows))).collect();
    let ring = |from: &T| -> BTreeSet<T> {
        let back = |to: &&T| reached.get(to).is_some_and(|reached| reached.contains(from));
        reached[from].iter().filter(back).cloned().collect()
    };
    let rings: BTreeSet<_> = arrows.keys().map(ring).filter(|ring| ring.len() > 1).collect();
    let mut rings: Vec<_> = rings.into_iter().collect();
    rings.sort_by_key(|ring| core::cmp::Reverse(ring.len()));
    rings
}

/// The modules that each file uses.
fn arrows() -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let modules = Modules::new(&testkit::root().join("src"));
    modules.0.iter().map(|(module, path)| (module.clone(), modules.used(module, &code(path)))).collect()
}

#[test]
fn no_folder_is_in_a_ring_with_another() {
    let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to) in arrows() {
        let others = to.iter().map(|to| &to[0]).filter(|to| **to != from[0]);
        folders.entry(from[0].clone()).or_default().extend(others.cloned());
    }
    let rings = rings(&folders);
    assert!(rings.is_empty(), "these use each other: {rings:?}");
}

#[test]
fn no_ring_of_files_is_larger_than_it_was_and_small_ones_are_in_one_folder() {
    let arrows = arrows();
    let rings = rings(&arrows);
    let names = |ring: &BTreeSet<Vec<String>>| -> Vec<_> { ring.iter().map(|module| module.join("/")).collect() };
    let largest = rings.first().map_or(0, BTreeSet::len);
    if largest > LARGEST_RING {
        let ring = &rings[0];
        for from in ring {
            eprintln!("{}: uses {:?}", from.join("/"), names(&arrows[from].intersection(ring).cloned().collect()));
        }
    }
    assert!(largest <= LARGEST_RING, "{largest} files use each other in a ring: {:?}", names(&rings[0]));
    assert_eq!(largest, LARGEST_RING, "the largest ring is smaller than it was: write the number into tests/layers.rs");
    for ring in rings.iter().filter(|ring| ring.len() <= IN_ONE_FOLDER) {
        let folders: BTreeSet<_> = ring.iter().map(|module| &module[0]).collect();
        assert_eq!(folders.len(), 1, "a ring crosses folders: {:?}", names(ring));
    }
}

#[test]
fn arrows_are_found_in_imports_and_in_paths_but_not_in_tests() {
    let modules = |names: &[&str]| {
        let path = |name: &&str| (name.split('/').map(str::to_owned).collect(), PathBuf::new());
        Modules(names.iter().map(path).collect())
    };
    let modules = modules(&["a", "a/b", "a/b/c", "d", "e"]);
    let used = |own: &str, code: &str| -> Vec<String> {
        let own: Vec<_> = own.split('/').map(str::to_owned).collect();
        modules.used(&own, code).iter().map(|module| module.join("/")).collect()
    };
    assert_eq!(used("d", "use crate::a::{self, b::{c::X, Y as Z}};"), ["a", "a/b", "a/b/c"]);
    assert_eq!(used("a/b", "use super::X; fn f() { c::g() }"), ["a", "a/b/c"]);
    assert_eq!(used("a/b/c", "use super::super::X; pub use super::*;"), ["a", "a/b"]);
    assert_eq!(used("d", "use crate::a::b; fn f() { b::c::g(); crate::e::h() }"), ["a/b", "a/b/c", "e"]);
    assert_eq!(used("d", "use core::fmt; fn f() { std::a::b(); $crate::e::h() }"), ["e"]);
    assert_eq!(used("a", "mod b; fn f() -> usize { because a::b }"), Vec::<String>::new());
    assert_eq!(after_item("\nfn f() { if true { g() } }\nuse crate::a;"), "\nuse crate::a;");
    assert_eq!(after_item("\nmod model;\nmod path;"), "\nmod path;");
}

#[test]
fn rings_are_found() {
    let arrows: BTreeMap<_, _> =
        [(1, vec![2]), (2, vec![3]), (3, vec![1, 4]), (4, vec![5]), (5, vec![4]), (6, vec![1, 6])]
            .into_iter()
            .map(|(from, to)| (from, to.into_iter().collect::<BTreeSet<_>>()))
            .collect();
    assert_eq!(rings(&arrows), [BTreeSet::from([1, 2, 3]), BTreeSet::from([4, 5])]);
}

/// The folder of all assembly.
const ASSEMBLY: &str = "arch";

#[test]
fn assembly_is_in_one_folder_and_has_at_most_five_templates_of_entries() {
    let source = testkit::root().join("src");
    let mut files = Vec::new();
    sources(&source, &mut files);
    let is_assembly = |code: &str| code.contains("asm!") || code.contains("unsafe(naked)");
    let outside: Vec<_> =
        files.iter().filter(|path| !path.starts_with(source.join(ASSEMBLY)) && is_assembly(&code(path))).collect();
    assert!(outside.is_empty(), "assembly outside src/{ASSEMBLY}: {outside:?}");
    let portable = files.iter().filter(|path| path.starts_with(source.join(ASSEMBLY).join("portable")));
    let portable: Vec<_> = portable.filter(|path| is_assembly(&code(path))).collect();
    assert!(portable.is_empty(), "assembly in what is to have none: {portable:?}");
    let templates =
        ["arch/x86_64/entries.rs", "arch/x86_64/entries/dispatch.rs"].map(|path| code(&source.join(path))).concat();
    let templates: Vec<_> = templates.split("macro_rules! ").skip(1).collect();
    assert!(templates.iter().all(|template| is_assembly(template)), "a piece among the templates");
    assert!((1..=5).contains(&templates.len()), "{} templates", templates.len());
}
