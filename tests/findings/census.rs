//! Defects that the census finds (`EPOLLSHIM_CENSUS=1`).

use super::{is_fixed_with, is_found_with, line_marked, line_of, serious};
use std::process::Command;
use testkit::{c_program_with, reports, run, scratch, under_shim};

const CENSUS: &[(&str, &str)] = &[("EPOLLSHIM_CENSUS", "1")];

#[test]
fn descriptors_that_are_never_closed() {
    let finding = is_found_with("fd_leak", "fd-leak", "error", CENSUS);
    assert!(finding["message"].as_str().unwrap().starts_with("100 of 100 files made here are open"), "{finding:#}");
    is_fixed_with("fd_leak", CENSUS);
}

#[test]
fn a_few_unclosed_descriptors_whose_number_grows() {
    let finding = is_found_with("fd_leak_slowly", "fd-leak", "warning", CENSUS);
    assert!(finding["message"].as_str().unwrap().starts_with("75 of 1,200 sockets made here"), "{finding:#}");
    is_fixed_with("fd_leak_slowly", CENSUS);
}

#[test]
fn a_descriptor_that_is_closed_twice() {
    // No other thread exists that could get the number in between.
    is_found_with("double_close", "double-close", "warning", CENSUS);
    is_fixed_with("double_close", CENSUS);
}

#[test]
fn a_close_that_hits_anothers_descriptor_is_named_where_the_owner_fails() {
    let finding = is_found_with("double_close_reused", "use-after-close", "error", CENSUS);
    let broken = c_program_with("findings/double_close_reused", &[]);
    let other = finding["other_site"].as_str().expect("the first close");
    assert_eq!(line_of(&broken, other), line_marked("double_close_reused", "OTHER"));
    is_fixed_with("double_close_reused", CENSUS);
}

#[test]
fn a_descriptor_that_another_program_inherits() {
    let finding = is_found_with("fd_inherited", "fd-inherited", "warning", CENSUS);
    let broken = c_program_with("findings/fd_inherited", &[]);
    let other = finding["other_site"].as_str().expect("the exec");
    assert_eq!(line_of(&broken, other), line_marked("fd_inherited", "OTHER"));
    is_fixed_with("fd_inherited", CENSUS);
}

#[test]
fn descriptors_that_a_forked_child_passes_on_are_reported_by_the_child() {
    let binary = c_program_with("findings/fd_inherited", &["-Dvfork=fork"]);
    let path = scratch("forked").join("report");
    let run = run(under_shim(Command::new(&binary).env("EPOLLSHIM_CENSUS", "1"), &path));
    assert!(run.status.success(), "{}", run.stderr);
    let reports = reports(&path);
    let of = |end: &str| reports.iter().find(|report| report["process"]["end"] == end).expect(end);
    let child = serious(of("exec"));
    assert_eq!(child.len(), 1, "{child:#?}");
    assert_eq!(child[0]["id"], "fd-inherited");
    assert_eq!(line_of(&binary, child[0]["site"].as_str().unwrap()), line_marked("fd_inherited", "HERE"));
    assert!(serious(of("exit")).is_empty());
}
