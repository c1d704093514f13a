//! The tests that ship with the machine's Python, of modules that use epoll and descriptors: each
//! has the same outcome bare and under the shim. A test that fails bare may fail.

// Tests report failures by panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use testkit::python_with_tests;

/// The outcome of each test by its full name: `passed`, `skipped`, `failed`.
type Outcomes = BTreeMap<String, String>;

#[derive(Clone, Copy, Debug)]
enum Under {
    Nothing,
    /// The shim without a report: for tests that read the standard error of programs that they
    /// start.
    SilentShim,
    /// The shim without options. It reports in processes that use epoll, and in no other.
    Shim,
}

/// These tests compare the whole standard error of a Python child. The child imports `subprocess`
/// and with it `selectors`, which creates an epoll instance to test whether it can. So the child
/// has used epoll, and the shim writes a report.
const HEAR_THE_SHIM: [&str; 2] = ["test_stderr_redirect_with_no_stdout_redirect", "test_encoding_warning"];

/// Runs these `modules` of Python's tests, or only the tests `only` of them.
fn run(python: &Path, under: Under, modules: &[&str], only: &BTreeSet<String>) -> Outcomes {
    let dir = testkit::scratch("python");
    let (xml, matches) = (dir.join("outcomes.xml"), dir.join("only"));
    let mut command = Command::new(python);
    command.args(["-m", "test", "-u", "none", "--junit-xml"]).arg(&xml);
    if !only.is_empty() {
        std::fs::write(&matches, only.iter().map(|name| format!("{name}\n")).collect::<String>()).unwrap();
        command.arg("--matchfile").arg(&matches);
    }
    match under {
        Under::Nothing => {}
        Under::SilentShim => {
            command.env("LD_PRELOAD", testkit::shim()).env("EPOLLSHIM_REPORT", "none");
        }
        Under::Shim => {
            command.env("LD_PRELOAD", testkit::shim());
        }
    }
    // The exit status is ignored: the outcomes contain the same.
    let output = command.args(modules).stdin(Stdio::null()).output().unwrap();
    let text = std::fs::read_to_string(&xml)
        .unwrap_or_else(|error| panic!("{}: {error}\n{}", xml.display(), testkit::show(&output)));
    std::fs::remove_dir_all(&dir).unwrap();
    outcomes(&text)
}

/// From JUnit's XML as regrtest writes it: `<testcase name="NAME" .../>`, or with `<skipped>`,
/// `<failure>` or `<error>` within.
fn outcomes(xml: &str) -> Outcomes {
    xml.split("<testcase name=\"")
        .skip(1)
        .map(|case| {
            let (name, rest) = case.split_once('"').unwrap();
            let outcome = match rest {
                _ if rest.contains("<failure") || rest.contains("<error") => "failed",
                _ if rest.contains("<skipped") || rest.contains("result=\"skipped\"") => "skipped",
                _ => "passed",
            };
            (name.to_owned(), outcome.to_owned())
        })
        .collect()
}

/// Asserts that the modules have the same outcomes bare and under the shim. Both run at the same
/// time, so a test may differ because of the load. It is run again alone, and fails only if it
/// never has its bare outcome.
fn same_outcomes(modules: &[&str], at_least: usize, shims: &[Under]) {
    let Some(python) = python_with_tests() else { return };
    let all = BTreeSet::new();
    std::thread::scope(|scope| {
        let (python, all) = (&python, &all);
        let bare = scope.spawn(|| run(python, Under::Nothing, modules, all));
        let shimmed: Vec<_> =
            shims.iter().map(|&shim| (shim, scope.spawn(move || run(python, shim, modules, all)))).collect();
        let bare = bare.join().unwrap();
        let passed = bare.values().filter(|outcome| *outcome == "passed").count();
        assert!(passed >= at_least, "only {passed} tests passed bare: {bare:?}");
        for (shim, shimmed) in shimmed {
            let mut different = differences(&bare, &shimmed.join().unwrap());
            if matches!(shim, Under::Shim) {
                different.retain(|name| !HEAR_THE_SHIM.iter().any(|test| name.ends_with(test)));
            }
            for _ in 0..3 {
                if different.is_empty() {
                    break;
                }
                let bare = run(python, Under::Nothing, modules, &different);
                let again = differences(&bare, &run(python, shim, modules, &different));
                different.retain(|name| again.contains(name));
            }
            assert!(different.is_empty(), "{shim:?}: not what they come to bare: {different:#?}");
        }
    });
}

fn differences(bare: &Outcomes, shimmed: &Outcomes) -> BTreeSet<String> {
    let names: BTreeSet<&String> = bare.keys().chain(shimmed.keys()).collect();
    names.into_iter().filter(|&name| bare.get(name) != shimmed.get(name)).cloned().collect()
}

#[test]
fn python_s_tests_of_epoll_and_descriptors_have_the_same_outcomes() {
    let modules = ["test_epoll", "test_selectors", "test_subprocess", "test_fcntl", "test_posix", "test_socketserver"];
    same_outcomes(&modules, 300, &[Under::Shim]);
}

#[test]
fn python_s_tests_that_compare_standard_error_have_the_same_outcomes_without_a_report() {
    same_outcomes(&["test_subprocess"], 200, &[Under::SilentShim]);
}

#[test]
fn python_s_tests_of_asyncio_have_the_same_outcomes() {
    same_outcomes(&["test_asyncio"], 1500, &[Under::Shim]);
}

#[test]
fn an_outcome_is_read_from_each_test() {
    let read = outcomes(
        "<testsuite tests=\"3\"><testcase name=\"test.a\" status=\"run\" result=\"completed\" time=\"0.1\" />\
         <testcase name=\"test.b\" status=\"run\" result=\"completed\"><failure type=\"E\">x</failure></testcase>\
         <testcase name=\"test.c\" status=\"run\" result=\"skipped\"><skipped>no</skipped></testcase></testsuite>",
    );
    assert_eq!(read.into_values().collect::<Vec<_>>(), ["passed", "failed", "skipped"]);
}
