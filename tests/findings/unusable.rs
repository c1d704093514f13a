//! Calls on a descriptor that is not open: repeated failing waits, uses after a close. And calls
//! when no descriptor is free.

use super::{line_marked, line_of, serious};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use testkit::{c_program_with, report, run, scratch, under_shim};

/// Runs a program with an argument. Returns the binary, the report, and the descriptors that the
/// program printed.
pub fn examine(program: &str, mode: &str, options: &[(&str, &str)]) -> (PathBuf, Value, (i64, i64)) {
    let binary = c_program_with(&format!("findings/{program}"), &[]);
    let path = scratch(&format!("{program}_{mode}")).join("report");
    let run = run(under_shim(Command::new(&binary).arg(mode).envs(options.iter().copied()), &path));
    assert!(run.status.success(), "{program} {mode}: {}\n{}", run.status, run.stderr);
    let printed: Vec<i64> =
        run.stdout.lines().last().unwrap().split(' ').map(|number| number.parse().unwrap()).collect();
    (binary, report(&path), (printed[0], printed[1]))
}

pub fn of<'report>(report: &'report Value, id: &str) -> Vec<&'report Value> {
    report["findings"].as_array().unwrap().iter().filter(|finding| finding["id"] == id).collect()
}

#[test]
fn waits_that_fail_in_a_row_are_an_ignored_error() {
    for (mode, call, closed, says) in [
        ("closed", "HERE", Some("CLOSED"), "EBADF because the epoll descriptor was closed"),
        // Only with a census is it known which call closed a range.
        ("range", "HERE", None, "EBADF because the epoll descriptor was closed"),
        ("syscall", "RAW", Some("CLOSED"), "EBADF because the epoll descriptor was closed"),
        ("reused", "HERE", Some("CLOSED"), "EINVAL because the epoll descriptor was closed and the number reused"),
        ("zero", "HERE", None, "EINVAL because the number is not an epoll descriptor"),
        ("room", "HERE", None, "EINVAL because maxevents is 0"),
    ] {
        let (binary, report, (epfd, _)) = examine("failed_waits", mode, &[]);
        let [finding] = of(&report, "ignored-error")[..] else { panic!("{mode}: {report:#}") };
        assert_eq!(serious(&report).len(), 1, "{mode}: {report:#}");
        assert_eq!(finding["severity"], "error", "{mode}: {finding:#}");
        assert_eq!(finding["epfd"], epfd, "{mode}: {finding:#}");
        assert_eq!(finding["count"], 100, "{mode}: {finding:#}");
        assert!(finding["message"].as_str().unwrap().contains(says), "{mode}: {finding:#}");
        let line = |key: &str| finding[key].as_str().map(|site| line_of(&binary, site));
        assert_eq!(line("site"), Some(line_marked("failed_waits", call)), "{mode}: {finding:#}");
        let closed = closed.map(|mark| line_marked("failed_waits", mark));
        assert_eq!(line("other_site"), closed, "{mode}: {finding:#}");
    }
}

#[test]
fn waits_that_fail_sometimes_or_by_a_fault_are_no_finding() {
    for mode in ["ok", "few", "now_and_then"] {
        let (_, report, _) = examine("failed_waits", mode, &[]);
        assert!(serious(&report).is_empty(), "{mode}: {report:#}");
    }
    let inject = [("EPOLLSHIM_INJECT", "epoll_wait:error=EBADF:when=2+")];
    let binary = c_program_with("findings/failed_waits", &[]);
    let path = scratch("failed_waits_injected").join("report");
    // The program notices that its waits fail, and prints that.
    run(under_shim(Command::new(&binary).arg("ok").envs(inject), &path));
    assert!(of(&report(&path), "ignored-error").is_empty());
}

const CENSUS: &[(&str, &str)] = &[("EPOLLSHIM_CENSUS", "1")];

#[test]
fn a_call_on_a_closed_number_names_the_close_and_the_creation() {
    for (mode, call, closed, created, severity) in [
        ("wait", "WAIT", "CLOSED_INSTANCE", "INSTANCE", "warning"),
        ("thread", "WAIT", "THREAD", "INSTANCE", "error"),
        ("dup", "DUP", "CLOSED", "CREATED", "warning"),
        ("dup2", "DUP2", "CLOSED", "CREATED", "warning"),
        ("fcntl", "FCNTL", "CLOSED", "CREATED", "warning"),
        ("copy", "COPY", "CLOSED", "CREATED", "warning"),
        ("add", "ADD", "CLOSED", "CREATED", "warning"),
        ("del", "DEL", "CLOSED", "CREATED", "info"),
        ("probe", "PROBE", "CLOSED", "CREATED", "info"),
    ] {
        let (binary, report, (_, fd)) = examine("after_close", mode, CENSUS);
        let [finding] = of(&report, "use-after-close")[..] else { panic!("{mode}: {report:#}") };
        assert_eq!(finding["severity"], severity, "{mode}: {finding:#}");
        assert_eq!(finding["fd"], fd, "{mode}: {finding:#}");
        for (key, mark) in [("site", call), ("other_site", closed), ("created_site", created)] {
            let site = finding[key].as_str().unwrap_or_else(|| panic!("{mode}: no {key}: {finding:#}"));
            assert_eq!(line_of(&binary, site), line_marked("after_close", mark), "{mode}, {key}: {finding:#}");
        }
    }
    let (_, report, _) = examine("after_close", "ok", CENSUS);
    assert!(serious(&report).is_empty() && of(&report, "use-after-close").is_empty(), "{report:#}");
}

#[test]
fn the_first_call_without_a_descriptor_freezes_who_holds_them() {
    let most = |message: &Value| message.as_str().unwrap().split(": ").nth(2).unwrap_or_default().to_owned();
    for (mode, mark, kind) in [("sockets", "SOCKET", "44 sockets"), ("dups", "DUP", ""), ("instances", "CREATE", "45 ")]
    {
        let (binary, report, _) = examine("exhausted", mode, CENSUS);
        let [finding] = of(&report, "exhausted")[..] else { panic!("{mode}: {report:#}") };
        assert_eq!(finding["severity"], if mode == "instances" { "info" } else { "error" }, "{mode}: {finding:#}");
        assert!(most(&finding["message"]).starts_with(kind), "{mode}: {finding:#}");
        assert!(finding["message"].as_str().unwrap().contains("of 48 (RLIMIT_NOFILE); 48 were open"), "{finding:#}");
        for key in ["site", "other_site"] {
            assert_eq!(line_of(&binary, finding[key].as_str().unwrap()), line_marked("exhausted", mark), "{finding:#}");
        }
        let leaks = of(&report, "fd-leak");
        // All descriptors are closed by the end: the finding was made when the limit was reached.
        assert_eq!(
            leaks.iter().filter(|leak| leak["severity"] == "error").count(),
            usize::from(mode != "instances"),
            "{leaks:#?}"
        );
    }
}

#[test]
fn a_full_server_and_a_fault_are_no_leak() {
    let (_, busy, _) = examine("exhausted", "busy", CENSUS);
    let [finding] = of(&busy, "exhausted")[..] else { panic!("{busy:#}") };
    assert_eq!(finding["severity"], "info", "{finding:#}");
    let (_, busy, _) = examine("exhausted", "ok", CENSUS);
    assert!(of(&busy, "exhausted").is_empty(), "{busy:#}");
    // The kernel had free descriptors: the failures come from a fault, and from a limit of the
    // library.
    let binary = c_program_with("findings/failed_waits", &[]);
    for (number, option) in
        [("EPOLLSHIM_INJECT", "eventfd:error=EMFILE"), ("EPOLLSHIM_LIMIT", "instances=0")].into_iter().enumerate()
    {
        let path = scratch(&format!("exhausted_not_{number}")).join("report");
        run(under_shim(Command::new(&binary).arg("ok").envs([option, CENSUS[0]]), &path));
        assert!(of(&report(&path), "exhausted").is_empty(), "{option:?}");
    }
}

#[test]
fn without_a_census_the_kinds_come_from_the_kernel() {
    let (binary, report, _) = examine("exhausted", "dups", &[]);
    let [finding] = of(&report, "exhausted")[..] else { panic!("{report:#}") };
    assert!(finding["message"].as_str().unwrap().contains("48 were open: "), "{finding:#}");
    assert_eq!(line_of(&binary, finding["site"].as_str().unwrap()), line_marked("exhausted", "DUP"), "{finding:#}");
    assert!(finding["other_site"].is_null(), "{finding:#}");
}

/// A call that fails repeatedly: bun #32705.
#[test]
fn accepting_repeatedly_at_the_limit_is_an_error_and_backing_off_is_not() {
    let (binary, report, (epfd, listener)) = examine("cases/bun_32705", "bad", CENSUS);
    for (id, key) in [("exhausted", "site"), ("exhausted", "other_site"), ("fd-leak", "site")] {
        let found = of(&report, id);
        let finding = found.iter().find(|finding| finding["severity"] == "error");
        let finding = finding.unwrap_or_else(|| panic!("no {id} at error: {found:#?}"));
        let line = line_of(&binary, finding[key].as_str().unwrap());
        assert_eq!(line, line_marked("cases/bun_32705", "HERE"), "{id}, {key}: {finding:#}");
    }
    let [spin] = of(&report, "spin")[..] else { panic!("{report:#}") };
    assert_eq!((&spin["severity"], &spin["epfd"], &spin["fd"]), (&"error".into(), &epfd.into(), &listener.into()));
    let [near] = of(&report, "near-limit")[..] else { panic!("{report:#}") };
    assert_eq!(near["severity"], "info", "{near:#}");
    for (mode, options) in [("ok", CENSUS), ("ok", &[]), ("reserve", CENSUS), ("reserve", &[])] {
        let (_, report, _) = examine("cases/bun_32705", mode, options);
        assert!(serious(&report).is_empty(), "{mode}: {report:#}");
        assert_eq!(of(&report, "exhausted").len(), 1, "{mode}: {report:#}");
    }
}
