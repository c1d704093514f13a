//! How long instances live, which processes inherit them, and which limits they are close to.

use super::{c_program_with, is_fixed, is_found, line_marked, line_of};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use testkit::{reports, run, scratch, shim, under_shim};

/// Runs a program under the shim with arguments. Returns the binary and all its processes' reports.
fn reports_of(program: &str, flags: &[&str], arguments: &[&str]) -> (PathBuf, Vec<Value>) {
    let binary = c_program_with(&format!("findings/{program}"), flags);
    let path = scratch(program).join("report");
    let run = run(under_shim(Command::new(&binary).args(arguments), &path));
    assert!(run.status.success(), "{program}: {}\n{}", run.status, run.stderr);
    (binary, reports(&path))
}

/// The findings of an id in some reports.
fn of_id<'a>(reports: &'a [Value], id: &str) -> Vec<&'a Value> {
    let findings = reports.iter().flat_map(|report| report["findings"].as_array().unwrap());
    findings.filter(|finding| finding["id"] == id).collect()
}

fn nothing_serious(program: &str, flags: &[&str], arguments: &[&str]) {
    let (_, reports) = reports_of(program, flags, arguments);
    assert!(!reports.is_empty());
    let serious: Vec<_> = reports.iter().flat_map(super::serious).collect();
    assert!(serious.is_empty(), "{program} {flags:?} {arguments:?}: {serious:#?}");
}

/// The line of a place in the program, by addr2line.
fn line(binary: &std::path::Path, place: &Value) -> usize {
    line_of(binary, place.as_str().unwrap_or_else(|| panic!("no place: {place}")))
}

#[test]
fn one_unclosed_loop_per_job() {
    let finding = is_found("leak", "leak", "error");
    let message = finding["message"].as_str().unwrap();
    assert!(message.starts_with("16 instances are open, of 16 made here, 15 of them idle"), "{message}");
    is_fixed("leak");
}

#[test]
fn loops_that_are_open_at_the_end_but_were_in_use_are_worth_a_note_only() {
    nothing_serious("leak_pool", &[], &[]);
}

#[test]
fn an_instance_without_cloexec_that_an_exec_handed_on() {
    let finding = is_found("no_cloexec", "no-cloexec", "warning");
    assert!(finding["message"].as_str().unwrap().contains("use epoll_create1(EPOLL_CLOEXEC)"), "{finding:#}");
    is_fixed("no_cloexec");
}

#[test]
fn an_exec_after_vfork_or_without_a_fork_hands_it_on_too() {
    for how in ["vfork", "in-place"] {
        let (binary, reports) = reports_of("no_cloexec", &[], &[how]);
        let [finding] = of_id(&reports, "no-cloexec")[..] else { panic!("{how}: {reports:#?}") };
        assert_eq!(finding["severity"], "warning", "{how}");
        assert_eq!(line(&binary, &finding["site"]), line_marked("no_cloexec", "HERE"), "{how}");
        assert_ne!(line(&binary, &finding["other_site"]), 0, "{how}");
    }
}

#[test]
fn an_exec_that_fails_hands_nothing_on() {
    let (_, reports) = reports_of("no_cloexec", &[], &["failing"]);
    let [finding] = of_id(&reports, "no-cloexec")[..] else { panic!("{reports:#?}") };
    // A child was forked nevertheless.
    assert_eq!(finding["severity"], "info");
}

#[test]
fn a_program_that_inherited_an_instance_reports_it() {
    let came = |flags: &[&str], arguments: &[&str]| {
        let binary = c_program_with("findings/came_by_exec", flags);
        let path = scratch("came").join("report");
        let mut command = Command::new(&binary);
        command.args(arguments).env("PRELOAD_LATER", shim());
        let run = run(command.env("EPOLLSHIM_REPORT", &path).env("EPOLLSHIM_REPORT_FORMAT", "json"));
        assert!(run.status.success(), "{}\n{}", run.status, run.stderr);
        reports(&path)
    };
    let reports = came(&[], &[]);
    let [finding] = of_id(&reports, "no-cloexec")[..] else { panic!("{reports:#?}") };
    assert_eq!((&finding["severity"], &finding["epfd"]), (&"warning".into(), &20.into()));
    // The descriptor has close-on-exec, or the child uses it.
    for (flags, arguments) in [(&["-DFIXED"][..], &[][..]), (&[][..], &["parent", "used"][..])] {
        let reports = came(flags, arguments);
        assert!(reports.iter().all(|report| super::serious(report).is_empty()), "{reports:#?}");
    }
}

#[test]
fn an_instance_used_on_both_sides_of_a_fork() {
    let (binary, reports) = reports_of("fork_shared", &[], &[]);
    let [finding] = of_id(&reports, "fork-shared")[..] else { panic!("{reports:#?}") };
    assert_eq!(finding["severity"], "error");
    assert_eq!(line(&binary, &finding["site"]), line_marked("fork_shared", "HERE"));
    assert_ne!(finding["other_site"], Value::Null);
    // The parent, whose report has the finding, ends last.
    assert_eq!(finding["epfd"], reports[1]["instances"]["list"][0]["epfds"][0]);
    nothing_serious("fork_shared", &["-DFIXED"], &[]);
}

#[test]
fn an_instance_that_only_one_process_continues_to_use_is_not_shared() {
    for how in ["daemon", "prefork"] {
        let (_, reports) = reports_of("fork_shared", &[], &[how]);
        assert!(of_id(&reports, "fork-shared").is_empty(), "{how}: {reports:#?}");
    }
}

#[test]
fn close_to_the_limit_of_descriptors_and_beyond() {
    let (binary, reports) = reports_of("near_limit", &[], &[]);
    let [met, judged] = of_id(&reports, "near-limit")[..] else { panic!("{reports:#?}") };
    let (met, judged) = if met["site"].is_null() { (judged, met) } else { (met, judged) };
    // The limit that was reached is the finding `exhausted`.
    assert_eq!((&met["severity"], &judged["severity"]), (&"warning".into(), &"info".into()));
    assert_eq!(line(&binary, &met["site"]), line_marked("near_limit", "HERE"));
    assert!(met["message"].as_str().unwrap().starts_with("epoll_create failed with EMFILE"), "{met:#}");
    assert!(
        judged["message"].as_str().unwrap().starts_with("descriptor number 63 was in use, and RLIMIT_NOFILE allows 64"),
        "{judged:#}"
    );
    is_fixed("near_limit");
}

#[test]
fn a_limit_of_the_user_is_reported_if_it_is_close_or_was_reached() {
    for (limit, severity, said) in [
        ("watches=3", "warning", "the limit watches=3: 3 at the peak, and 1 call refused"),
        ("watches=1", "info", "the limit watches=1: 1 at the peak"),
    ] {
        let (program, flags): (_, &[&str]) =
            if severity == "info" { ("no_cloexec", &["-DFIXED"]) } else { ("limited", &[]) };
        let binary = c_program_with(&format!("findings/{program}"), flags);
        let path = scratch(program).join("report");
        let run = run(under_shim(Command::new(&binary).env("EPOLLSHIM_LIMIT", limit), &path));
        assert!(run.status.success(), "{}\n{}", run.status, run.stderr);
        let reports = reports(&path);
        let [finding] = of_id(&reports, "near-limit")[..] else { panic!("{reports:#?}") };
        assert_eq!((&finding["severity"], &finding["message"]), (&severity.into(), &said.into()));
    }
}

#[test]
fn a_failure_that_was_injected_is_no_limit() {
    let binary = c_program_with("findings/limited", &[]);
    let path = scratch("injected").join("report");
    let inject = "epoll_ctl:error=ENOSPC:when=4+";
    let run = run(under_shim(Command::new(&binary).env("EPOLLSHIM_INJECT", inject), &path));
    assert!(run.status.success(), "{}\n{}", run.status, run.stderr);
    assert!(of_id(&reports(&path), "near-limit").is_empty());
}
