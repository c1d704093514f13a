//! Defects of descriptors and interests: ghosts, stale data, failures, closes under a waiting
//! thread.

use super::{examine, has_nothing_serious, is_fixed, is_found, line_marked, line_of, reports_of};
use std::process::Command;
use testkit::{c_program_with, report, run, scratch, under_shim};

fn is_found_and_fixed(program: &str, id: &str, severity: &str) {
    is_found(program, id, severity);
    is_fixed(program);
}

#[test]
fn a_descriptor_closed_while_a_dup_keeps_its_file_is_a_ghost() {
    let ghost = is_found("ghost", "ghost", "error");
    assert!(ghost["message"].as_str().unwrap().contains("EPOLL_CTL_DEL failed with EBADF"), "{ghost:#}");
    is_fixed("ghost");
}

#[test]
fn a_ghost_without_further_calls_is_found_at_the_end() {
    is_found_and_fixed("ghost_quiet", "ghost", "error");
}

#[test]
fn a_forked_child_and_a_passed_copy_keep_ghosts() {
    is_found_and_fixed("ghost_forked", "ghost", "error");
    is_found_and_fixed("ghost_passed", "ghost", "error");
}

#[test]
fn a_ghost_whose_number_is_its_files_again_cannot_be_added() {
    is_found_and_fixed("ghost_returns", "ghost", "error");
}

#[test]
fn a_ghosts_number_added_for_another_file_is_stale_data() {
    is_found_and_fixed("stale_data", "stale-data", "error");
    is_found_and_fixed("stale_data_forked", "stale-data", "error");
}

#[test]
fn failures_of_epoll_ctl_are_found_with_their_cause() {
    for (program, cause) in [
        ("ctl_error_exists", "EEXIST: already registered"),
        ("ctl_error_not_watched", "ENOENT: not registered"),
        ("ctl_error_closed", "EBADF: the descriptor is not open"),
        ("ctl_error_dead_instance", "EBADF: the epoll descriptor is not open"),
        ("ctl_error_file", "EPERM: a regular file"),
        ("ctl_error_loop", "ELOOP: epoll instances"),
        ("ctl_error_itself", "EINVAL: an epoll instance cannot"),
    ] {
        let found = is_found(program, "ctl-error", "warning");
        assert!(found["message"].as_str().unwrap().contains(cause), "{program}: {found:#}");
        is_fixed(program);
    }
}

#[test]
fn minus_one_for_a_descriptor_is_an_ignored_error() {
    for program in ["ignored_error_ctl", "ignored_error_wait"] {
        is_found_and_fixed(program, "ignored-error", "error");
    }
}

/// The defect is that the program continues, not that an injected fault made the call fail.
#[test]
fn it_is_found_after_an_injected_error_too() {
    for (program, inject) in [
        ("ignored_error_ctl", "epoll_create1:error=EMFILE"),
        ("ignored_error_wait", "epoll_create1:error=ENOMEM;epoll_wait:delay_enter=1;epoll_ctl:error=ENOSPC:fd=999"),
    ] {
        let binary = c_program_with(&format!("findings/{program}"), &[]);
        let path = scratch(program).join("report");
        let mut command = Command::new(&binary);
        command.arg("injected").env("EPOLLSHIM_INJECT", inject);
        let run = run(under_shim(&mut command, &path));
        assert!(run.status.success(), "{program}: {}\n{}", run.status, run.stderr);
        let report = report(&path);
        let serious: Vec<_> = super::serious(&report);
        assert_eq!(serious.len(), 1, "{program}: {serious:#?}");
        assert_eq!(serious[0]["id"], "ignored-error");
        assert_eq!(line_of(&binary, serious[0]["site"].as_str().unwrap()), line_marked(program, "HERE"));
    }
}

#[test]
fn sizes_of_epoll_create_that_are_refused_or_exceeded() {
    is_found_and_fixed("size_zero", "size-lie", "warning");
    is_found_and_fixed("size_lie_closed", "size-lie", "info");
}

#[test]
fn a_close_under_a_waiting_thread_is_found_with_both_places() {
    for (program, severity) in [("close_in_wait", "error"), ("close_watched_in_wait", "warning")] {
        let found = is_found(program, "close-in-wait", severity);
        let (binary, ..) = examine(program, &[]);
        let waited = found["other_site"].as_str().unwrap();
        assert_eq!(line_of(&binary, waited), line_marked(program, "WAIT"), "{program}: {found:#}");
        is_fixed(program);
    }
}

#[test]
fn correct_programs_have_no_finding() {
    for report in reports_of("healthy_ledger") {
        has_nothing_serious(&report);
    }
}

#[test]
fn a_storm_of_dups_forks_and_passed_copies_leaves_no_ghost() {
    for report in reports_of("storm_ledger") {
        has_nothing_serious(&report);
    }
}
