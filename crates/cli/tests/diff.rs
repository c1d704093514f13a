//! Tests `epollshim diff`: what is new, gone and more between two recordings.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{compile, epollshim, output, run, scratch, stderr, stdout};
use serde_json::Value;

fn record(program: &Path, census: bool) -> PathBuf {
    let recordings = scratch("diff").join("rec");
    let mut command = epollshim();
    command.args(["run", "--report=none", "--record"]).arg(&recordings);
    if census {
        command.arg("--census");
    }
    let ran = output(command.arg("--").arg(program));
    assert!(ran.status.success(), "{}", stderr(&ran));
    recordings
}

fn diff(a: &Path, b: &Path, words: &[&str]) -> Output {
    output(epollshim().arg("diff").args(words).arg(a).arg(b))
}

fn json(a: &Path, b: &Path) -> Value {
    serde_json::from_str(&stdout(&diff(a, b, &["--format=json"]))).unwrap()
}

/// The entry of a list that has these members.
#[track_caller]
fn entry<'a>(list: &'a Value, members: &[(&str, &str)]) -> &'a Value {
    let is_it = |entry: &&Value| members.iter().all(|(key, value)| entry[key] == *value);
    list.as_array().unwrap().iter().find(is_it).unwrap_or_else(|| panic!("{members:?} in {list}"))
}

#[test]
fn what_only_b_has_is_new_and_what_only_a_has_is_gone() {
    let (lie, everything) = (compile("size_lie", &["-g"]), compile("everything", &["-g"]));
    let (a, b) = (record(&lie, true), record(&everything, true));
    let printed = json(&a, &b);
    assert_eq!(printed["schema"], "epollshim.diff/1");
    let new = entry(&printed["findings"], &[("id", "ctl-error")]);
    assert_eq!(
        (&new["state"], &new["a"], &new["b"], &new["severity_a"]),
        (&"new".into(), &0.into(), &1.into(), &Value::Null)
    );
    assert_eq!(new["site"], "main (everything.c)", "a place without its line");
    let gone = entry(&printed["findings"], &[("id", "size-lie"), ("site", "main (size_lie.c)")]);
    assert_eq!((&gone["state"], &gone["severity_b"]), (&"gone".into(), &Value::Null));
    // Two leaks in one function are two findings.
    let leaks = printed["findings"].as_array().unwrap().iter().filter(|one| one["id"] == "leak");
    assert_eq!(leaks.filter(|one| one["state"] == "new").count(), 2, "{printed}");
    assert_eq!(entry(&printed["calls"], &[("call", "epoll_create1")])["state"], "new");
    assert_eq!(entry(&printed["calls"], &[("call", "epoll_wait")])["b"], 3);
    assert_eq!(entry(&printed["failures"], &[("call", "epoll_ctl"), ("errno", "EEXIST")])["state"], "new");
    assert_eq!(entry(&printed["instances"], &[("site", "main (everything.c)")])["b"], 2);
    let files = entry(&printed["descriptors"], &[("site", "leave_files (everything.c)")]);
    assert_eq!((&files["state"], &files["b"]), (&"new".into(), &3.into()));
    let text = stdout(&diff(&a, &b, &[]));
    for line in ["\n  new   warning  ctl-error", "\n  gone  info     size-lie", "epoll_ctl EEXIST\n"] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn two_runs_of_one_program_have_nothing_new_and_without_a_census_descriptors_are_not_known() {
    let program = compile("everything", &["-g"]);
    let (a, b) = (record(&program, false), record(&program, true));
    let printed = json(&a, &b);
    assert_eq!(entry(&printed["findings"], &[("id", "ctl-error")])["state"], "same");
    assert_eq!(printed["descriptors"], Value::Null);
    let text = stdout(&diff(&a, &b, &[]));
    assert!(text.contains("not known (record both with EPOLLSHIM_CENSUS=1)"), "{text}");
    let printed = diff(&a, &record(&program, false), &["--fail-on", "new"]);
    assert_eq!((printed.status.code(), stderr(&printed)), (Some(0), String::new()));
}

#[test]
fn fail_on_new_is_1_for_new_warnings_and_for_what_is_missing() {
    let (lie, everything) = (compile("size_lie", &["-g"]), compile("everything", &["-g"]));
    let (a, b) = (record(&lie, false), record(&everything, false));
    let printed = diff(&a, &b, &["--fail-on=new"]);
    assert_eq!(printed.status.code(), Some(1), "{}", stderr(&printed));
    let line = stderr(&printed);
    assert!(line.contains(" new finding") && line.contains(": ctl-error"), "{line}");
    assert_eq!(diff(&a, &b, &["--fail-on=new:error"]).status.code(), Some(0));
    // A missing part is never a success, whether a part of B is missing or all of it.
    let file = fs::read_dir(&a).unwrap().next().unwrap().unwrap().path();
    let (whole, cut) = (fs::read(&file).unwrap(), scratch("cut").join("epollshim.1.1.rec"));
    fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
    let printed = diff(&a, &cut, &["--fail-on=new"]);
    assert_eq!(printed.status.code(), Some(1), "{}", stderr(&printed));
    assert!(stderr(&printed).contains("could not be read completely"), "{}", stderr(&printed));
    let printed = diff(&a, Path::new("/nowhere"), &["--fail-on=new"]);
    assert_eq!(printed.status.code(), Some(1), "{}", stderr(&printed));
    assert_eq!(diff(&a, Path::new("/nowhere"), &[]).status.code(), Some(2));
    for words in [&["diff", "--fail-on=old", "a", "b"][..], &["diff", "a"]] {
        let printed = run(words);
        assert_eq!(
            (printed.status.code(), stderr(&printed).lines().count()),
            (Some(2), 1),
            "{words:?}: {}",
            stderr(&printed)
        );
    }
}
