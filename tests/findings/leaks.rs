//! Leaks of descriptors that are still in an interest list: their peer is gone, the instance that
//! watches them is itself leaked, or the program no longer needs them. And instances that leaked
//! before they were used.

use super::killed::{is_found_after_a_kill, report_after_a_kill};
use super::{examine_with, is_found_with, line_marked, line_of, serious};
use serde_json::Value;
use std::path::Path;

const CENSUS: &[(&str, &str)] = &[("EPOLLSHIM_CENSUS", "1")];

/// Returns the only finding of that id, which must have this severity and the marked line.
fn found<'a>(report: &'a Value, binary: &Path, id: &str, severity: &str, at: (&str, &str)) -> &'a Value {
    let findings = report["findings"].as_array().unwrap();
    let of_id: Vec<&Value> = findings.iter().filter(|one| one["id"] == id && one["severity"] != "info").collect();
    let [finding] = of_id[..] else { panic!("{at:?}: {id}: {report:#}") };
    assert_eq!(finding["severity"], severity, "{at:?}: {finding:#}");
    assert_eq!(line_of(binary, finding["site"].as_str().unwrap()), line_marked(at.0, at.1), "{finding:#}");
    finding
}

fn has_nothing(program: &str, flags: &[&str]) {
    let (_, report, _) = examine_with(program, flags, CENSUS);
    let serious = serious(&report);
    assert!(serious.is_empty(), "{program} {flags:?}: {serious:#?}");
}

/// Asserts that the program has this one defect, with its descriptor and place, and that its fixed
/// twin has none.
fn leaks(program: &str, flags: &[&str], severity: &str, mark: &str) -> Value {
    let (binary, report, printed) = examine_with(program, flags, CENSUS);
    let finding = found(&report, &binary, "fd-leak", severity, (program, mark));
    assert_eq!(finding["fd"], printed.1, "{flags:?}: {finding:#}");
    assert_eq!(serious(&report).len(), 1, "{flags:?}: {report:#}");
    has_nothing(program, &[flags, &["-DFIXED"]].concat());
    finding.clone()
}

fn message(finding: &Value) -> &str {
    finding["message"].as_str().unwrap()
}

#[test]
fn squeak_684_sockets_in_close_wait_that_are_watched() {
    let finding = is_found_with("cases/squeak_684", "fd-leak", "error", CENSUS);
    assert!(
        message(&finding).starts_with("200 of 200 sockets made here are open, and 200 were closed by their peer"),
        "{finding:#}"
    );
    super::is_fixed_with("cases/squeak_684", CENSUS);
    leaks("cases/squeak_684", &["-DTHREADS"], "error", "HERE");
    is_found_after_a_kill("cases/squeak_684", CENSUS, &[]);
    is_found_after_a_kill("cases/squeak_684", CENSUS, &["-DFIXED"]);
}

#[test]
fn unix_sockets_and_pipes_whose_other_end_is_gone() {
    for (flag, mark) in [("-DUNIX", "PAIR"), ("-DREADERS", "PIPE"), ("-DWRITERS", "PIPE")] {
        let finding = leaks("lingering", &[flag], "warning", mark);
        // Each call created two descriptors, and the program closed the second one.
        assert!(message(&finding).starts_with("150 of 300 "), "{finding:#}");
    }
    is_found_after_a_kill("lingering", CENSUS, &["-DUNIX"]);
}

#[test]
fn one_in_twelve_beside_many_that_live() {
    let finding = leaks("lingering", &["-DQUIET"], "warning", "PAIR");
    assert!(message(&finding).starts_with("350 of 8,800 sockets"), "{finding:#}");
    let (binary, dead) = report_after_a_kill("lingering", &["-DQUIET"]);
    let finding = found(&dead, &binary, "fd-leak", "warning", ("lingering", "PAIR"));
    assert!(message(finding).starts_with("350 of 8,800 sockets"), "{finding:#}");
}

#[test]
fn one_in_a_hundred_among_some_unwatched() {
    let finding = leaks("fd_leak_quiet", &[], "warning", "HERE");
    assert!(message(&finding).starts_with("140 of 12,020 sockets"), "{finding:#}");
    let (binary, dead) = report_after_a_kill("fd_leak_quiet", &[]);
    found(&dead, &binary, "fd-leak", "warning", ("fd_leak_quiet", "HERE"));
    let (_, dead) = report_after_a_kill("fd_leak_quiet", &["-DFIXED"]);
    assert!(serious(&dead).is_empty(), "{dead:#}");
}

#[test]
fn living_connections_are_no_leak() {
    for flag in ["-DALL_LEAVE", "-DONE_ROUND", "-DTIMERS", "-DCLOSED"] {
        has_nothing("no_lingering", &[flag]);
        is_told_nothing_after_a_kill(flag);
    }
}

fn is_told_nothing_after_a_kill(flag: &str) {
    is_found_after_a_kill("no_lingering", CENSUS, &[flag, "-DFIXED"]);
}

#[test]
fn timers_and_eventfds_that_are_still_watched_and_no_longer_needed() {
    for (flags, mark) in [(&[][..], "TIMER"), (&["-DEVENTFDS"], "EVENTFD")] {
        let finding = leaks("silent", flags, "warning", mark);
        assert!(message(&finding).starts_with("200 of 200 "), "{finding:#}");
    }
}

#[test]
fn pyroscope_126_descriptors_watched_only_by_a_leaked_instance_are_leaked_too() {
    let program = "cases/pyroscope_126";
    for (flags, mark) in [(&[][..], "TIMER"), (&["-DEVENTFDS"], "EVENTFD"), (&["-DTHREADS"], "TIMER")] {
        let (binary, report, printed) = examine_with(program, flags, CENSUS);
        found(&report, &binary, "leak", "error", (program, "INSTANCE"));
        let finding = found(&report, &binary, "fd-leak", "error", (program, mark));
        assert_eq!(finding["fd"], printed.1, "{flags:?}: {finding:#}");
        assert!(message(finding).starts_with("150 of 150 "), "{finding:#}");
        has_nothing(program, &[flags, &["-DFIXED"]].concat());
        let (binary, dead) = report_after_a_kill(program, flags);
        found(&dead, &binary, "leak", "error", (program, "INSTANCE"));
        let finding = found(&dead, &binary, "fd-leak", "error", (program, mark));
        assert!(message(finding).starts_with("150 of 150 "), "{finding:#}");
    }
}

#[test]
fn soa_16_instances_that_were_lost_before_they_were_used() {
    let program = "cases/soa_16";
    for (flags, severity) in [(&[][..], "warning"), (&["-DWAKES"], "warning"), (&["-DSECONDS=11"], "error")] {
        let (binary, report, printed) = examine_with(program, flags, &[]);
        let finding = found(&report, &binary, "leak", severity, (program, "HERE"));
        assert_eq!(finding["epfd"], printed.0, "{flags:?}: {finding:#}");
        assert!(message(finding).contains(" made here, 12 of them never waited on: "), "{finding:#}");
    }
    for flags in [&["-DFIXED"], &["-DAHEAD"]] {
        has_nothing(program, flags);
        let (_, dead) = report_after_a_kill(program, flags);
        assert!(serious(&dead).is_empty(), "{flags:?}: {dead:#}");
    }
    for flags in [&[][..], &["-DWAKES"]] {
        let (binary, dead) = report_after_a_kill(program, flags);
        found(&dead, &binary, "leak", "warning", (program, "HERE"));
    }
}

#[test]
fn the_first_emfile_is_judged_whichever_call_meets_it() {
    for way in ["-DBY_SOCKET", "-DBY_ACCEPT", "-DBY_OPEN", "-DBY_DUP", "-DBY_PIPE", "-DWATCHED"] {
        for more in ["-DHARD", "-DSOFT", "-DIN_CHILD"] {
            let flags = [way, more];
            let binary = testkit::c_program_with("findings/emfile", &flags);
            let path = testkit::scratch(&format!("emfile{way}{more}")).join("report");
            let mut command = std::process::Command::new(&binary);
            let run = testkit::run(testkit::under_shim(command.env("EPOLLSHIM_CENSUS", "1"), &path));
            assert!(run.status.success(), "{flags:?}: {}", run.stderr);
            let reports = testkit::reports(&path);
            let has_met = |report: &&Value| report["findings"].to_string().contains("\"exhausted\"");
            let of: Vec<&Value> = reports.iter().filter(has_met).collect();
            let [report] = of[..] else { panic!("{flags:?}: {reports:#?}") };
            let mark = if way == "-DWATCHED" { "BY_ACCEPT" } else { &way[2..] };
            let exhausted = found(report, &binary, "exhausted", "error", ("emfile", mark));
            // A pipe uses two descriptors.
            let open = if way == "-DBY_PIPE" { 63 } else { 64 };
            let held = format!("of 64 (RLIMIT_NOFILE); {open} were open: ");
            assert!(message(exhausted).contains(&held), "{exhausted:#}");
            found(report, &binary, "fd-leak", "error", ("emfile", mark));
        }
        is_found_after_a_kill("emfile", CENSUS, &[way]);
    }
}
