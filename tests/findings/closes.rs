//! Descriptors that are closed twice, inherited, added again, or waited for by several threads:
//! which cases are certain, which are suspicions, and which are not defects
//! (`c-tests/findings/cases/NAME.c`).

use super::{line_marked, line_of, serious};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use testkit::{c_program_with, reports, run, scratch, under_shim};

const CENSUS: &[(&str, &str)] = &[("EPOLLSHIM_CENSUS", "1")];

struct Done {
    name: &'static str,
    what: String,
    binary: PathBuf,
    reports: Vec<Value>,
    epfd: i64,
    fd: i64,
}

/// Runs a case with arguments.
fn examine(name: &'static str, arguments: &[&str], options: &[(&str, &str)]) -> Done {
    let what = format!("{name} {}", arguments.join(" "));
    let binary = c_program_with(&format!("findings/cases/{name}"), &[]);
    let folder = scratch(&what.replace(' ', "_"));
    // Processes that give up root write reports as well.
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let path = folder.join("report");
    let run = run(under_shim(Command::new(&binary).args(arguments).envs(options.iter().copied()), &path));
    assert!(run.status.success(), "{what}: {}\n{}", run.status, run.stderr);
    let printed: Vec<i64> =
        run.stdout.lines().last().unwrap().split(' ').map(|number| number.parse().unwrap()).collect();
    Done { name, what, binary, reports: reports(&path), epfd: printed[0], fd: printed[1] }
}

impl Done {
    fn serious(&self) -> Vec<&Value> {
        self.reports.iter().flat_map(serious).collect()
    }

    fn of(&self, id: &str) -> Vec<&Value> {
        let all = self.reports.iter().flat_map(|report| report["findings"].as_array().unwrap());
        all.filter(|finding| finding["id"] == id).collect()
    }

    /// The only finding of an id and severity.
    fn one(&self, id: &str, severity: &str) -> &Value {
        let of: Vec<&Value> = self.of(id).into_iter().filter(|finding| finding["severity"] == severity).collect();
        let [finding] = of[..] else { panic!("{}: {severity} {id}: {:#?}", self.what, self.reports) };
        finding
    }

    fn has_places(&self, finding: &Value, places: &[(&str, &str)]) {
        for (key, mark) in places {
            let site = finding[key].as_str().unwrap_or_else(|| panic!("{}: no {key}: {finding:#}", self.what));
            let expected = line_marked(&format!("cases/{}", self.name), mark);
            assert_eq!(line_of(&self.binary, site), expected, "{}, {key}: {finding:#}", self.what);
        }
    }

    fn has_nothing_serious(&self) {
        assert!(self.serious().is_empty(), "{}: {:#?}", self.what, self.serious());
    }
}

fn says(finding: &Value, words: &str) {
    assert!(finding["message"].as_str().unwrap().contains(words), "{finding:#}");
}

const STRAY: &[(&str, &str)] = &[("site", "STRAY"), ("other_site", "FIRST"), ("created_site", "CREATED")];

#[test]
fn a_close_that_hits_what_another_thread_opened_is_named_where_its_owner_fails() {
    for mode in ["x", "dup", "fcntl", "add"] {
        let done = examine("fdsan", &[mode], CENSUS);
        let finding = done.one("use-after-close", "error");
        assert_eq!((&finding["fd"], &finding["count"]), (&done.fd.into(), &1.into()), "{mode}: {finding:#}");
        done.has_places(finding, STRAY);
        says(
            finding,
            "a thread closed the number twice, and the second close hit what another thread had opened in between",
        );
        // The owner's own call is not a defect.
        let others: Vec<&Value> = done.serious().into_iter().filter(|other| *other != finding).collect();
        assert!(others.iter().all(|other| other["id"] == "ctl-error" && mode == "add"), "{mode}: {others:#?}");
        if mode == "x" {
            done.has_places(done.one("double-close", "info"), &[("site", "USED"), ("other_site", "STRAY")]);
        }
    }
}

#[test]
fn a_close_of_what_another_thread_opened_is_a_suspicion_as_long_as_its_owner_does_not_fail() {
    let done = examine("fdsan", &["none"], CENSUS);
    let finding = done.one("use-after-close", "info");
    assert_eq!(finding["fd"], done.fd);
    done.has_places(finding, STRAY);
    says(finding, "unless the descriptor was handed over");
    done.has_nothing_serious();
}

#[test]
fn descriptors_that_are_handed_over_and_closed_once_are_no_finding() {
    for mode in ["ok", "handed"] {
        let done = examine("fdsan", &[mode], CENSUS);
        assert!(done.of("use-after-close").is_empty() && done.of("double-close").is_empty(), "{:#?}", done.reports);
    }
}

#[test]
fn a_sweep_closes_nothing_twice_wherever_it_hits() {
    for how in ["first", "middle", "down", "last", "last_down"] {
        let done = examine("sweep", &[how], CENSUS);
        assert!(done.of("double-close").is_empty(), "{how}: {:#?}", done.reports);
    }
}

#[test]
fn closing_again_after_a_sweep_is_no_defect_and_after_a_loop_over_a_list_is_one() {
    for how in ["owner_first", "owner_last"] {
        let done = examine("sweep", &[how], CENSUS);
        says(done.one("double-close", "info"), "a loop of closes had closed the number");
        done.has_nothing_serious();
    }
    let done = examine("sweep", &["list"], CENSUS);
    let finding = done.one("double-close", "warning");
    assert_eq!(finding["fd"], done.fd);
    done.has_places(finding, &[("site", "HERE")]);
}

#[test]
fn a_listening_socket_that_every_program_inherits_is_named_with_both_places() {
    for how in ["fork", "vfork", "system", "popen", "spawn", "spawnp"] {
        let done = examine("retroshare_51", &[how], CENSUS);
        let finding = done.one("fd-inherited", "warning");
        assert_eq!(done.serious().len(), 1, "{how}: {:#?}", done.serious());
        assert_eq!(finding["fd"], done.fd, "{how}");
        done.has_places(finding, &[("site", "CREATED"), ("other_site", how)]);
        examine("retroshare_51", &[how, "ok"], CENSUS).has_nothing_serious();
        if !matches!(how, "system" | "popen") {
            let closes = examine("retroshare_51", &[how, "closes"], CENSUS);
            assert!(closes.of("fd-inherited").is_empty(), "{how}: {:#?}", closes.reports);
        }
    }
}

#[test]
fn a_descriptor_whose_number_is_passed_on_is_meant_for_the_program() {
    const CALLS: [&str; 12] = [
        "execve", "execv", "execvp", "execvpe", "fexecve", "execveat", "execl", "execlp", "execle", "spawn", "system",
        "popen",
    ];
    let more = ["listen", "path", "proc"].map(|place| (place, "execve"));
    let passed = CALLS.into_iter().flat_map(|how| [("environment", how), ("argument", how)]).chain(more);
    // The environment of the process names the number as well.
    let options = [CENSUS[0], ("CAME_WITH", "4")];
    for (place, how) in passed {
        let done = examine("number_passed_on", &[place, how], &options);
        let finding = done.one("fd-inherited", "info");
        assert_eq!((&finding["fd"], done.fd), (&4.into(), 4), "{place} {how}: {finding:#}");
        done.has_places(finding, &[("site", "CREATED"), ("other_site", how)]);
        says(finding, "its number is in the arguments or environment");
        done.has_nothing_serious();
    }
    let other = ["word", "wild"].map(|place| (place, "execve"));
    for (place, how) in CALLS.map(|how| ("nowhere", how)).into_iter().chain(other) {
        let done = examine("number_passed_on", &[place, how], &options);
        let finding = done.one("fd-inherited", "warning");
        assert_eq!((&finding["fd"], done.serious().len()), (&4.into(), 1), "{place} {how}: {finding:#}");
        done.has_places(finding, &[("site", "CREATED"), ("other_site", how)]);
    }
}

#[test]
fn an_add_of_a_registered_descriptor_reports_what_was_not_applied() {
    for (mode, severity, count, message) in [
        ("same", "info", 1200, "with the same events and data: the call is not needed"),
        ("all", "info", 1200, "with the same events and data: the call is not needed"),
        ("events", "warning", 1200, "the new event mask was NOT applied"),
        ("edge", "warning", 1200, "the new event mask was NOT applied"),
        ("disarmed", "warning", 1200, "the new event mask was NOT applied"),
        ("data", "warning", 1200, "the new event data was NOT applied"),
        // The events differ from the fourth ADD on: the library reads the interest again.
        ("later", "warning", 1197, "the new event mask was NOT applied"),
    ] {
        let done = examine("celery_add", &[mode], &[]);
        let finding = done.one("ctl-error", severity);
        assert_eq!((&finding["epfd"], &finding["fd"]), (&done.epfd.into(), &done.fd.into()), "{mode}: {finding:#}");
        assert_eq!(finding["count"], count, "{mode}: {finding:#}");
        done.has_places(finding, &[("site", "HERE")]);
        says(finding, message);
        assert_eq!(done.serious().len(), usize::from(severity == "warning"), "{mode}: {:#?}", done.serious());
    }
}

/// Whether this process may give its children another user.
fn is_root() -> bool {
    // SAFETY: geteuid has no arguments and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !is_root {
        eprintln!("skipped: only root can start processes of other users");
    }
    is_root
}

#[test]
fn workers_of_different_users_that_wait_for_the_connections_of_one_socket_are_a_herd() {
    if !is_root() {
        return;
    }
    for mode in ["fork", "session"] {
        let done = examine("apache_event", &[mode], &[]);
        // The worker that ends first finds the other one alive.
        let found = done.of("herd");
        assert!(!found.is_empty(), "{mode}: {:#?}", done.reports);
        for finding in &found {
            assert_eq!((&finding["severity"], &finding["fd"]), (&"warning".into(), &done.fd.into()), "{finding:#}");
            assert!(finding["epfd"].is_number(), "{mode}: {finding:#}");
            done.has_places(finding, &[("site", "HERE")]);
            says(finding, "watched by 2 related processes, each with its own instance");
        }
        assert_eq!(done.serious().len(), found.len(), "{mode}: {:#?}", done.serious());
    }
    for mode in ["ok", "one"] {
        let done = examine("apache_event", &[mode], &[]);
        assert!(done.of("herd").is_empty(), "{mode}: {:#?}", done.reports);
    }
}

#[test]
fn relatives_that_may_not_be_asked_are_counted() {
    if !is_root() {
        return;
    }
    let done = examine("apache_event", &["raw"], &[]);
    // Their reports go to one file, which the second one may not write.
    let found = done.of("herd");
    assert!(!found.is_empty(), "{:#?}", done.reports);
    for finding in found {
        assert_eq!(finding["severity"], "info", "{finding:#}");
        says(finding, "whether related processes watch it too is unknown");
    }
}
