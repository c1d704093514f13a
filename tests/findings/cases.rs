//! Defects of well-known programs, reproduced by the calls that these made
//! (`c-tests/findings/cases/NAME.c` describe what happened): each is diagnosed by its id.

use super::c_program_with;
use serde_json::Value;
use std::process::Command;
use testkit::{reports, run, scratch, under_shim};

/// A process of the program reports the defect, with a severity above `info`.
fn is_diagnosed(program: &str, id: &str) {
    let binary = c_program_with(&format!("findings/cases/{program}"), &[]);
    let path = scratch(program).join("report");
    let run = run(under_shim(&mut Command::new(&binary), &path));
    assert!(run.status.success(), "{program}: {}\n{}", run.status, run.stderr);
    let reports = reports(&path);
    let findings: Vec<&Value> = reports.iter().flat_map(super::serious).collect();
    assert!(findings.iter().any(|finding| finding["id"] == id), "{program}: no {id} among {findings:#?}");
}

#[test]
fn libuv_1468_a_duplicate_was_closed_and_the_loop_ran_hot() {
    is_diagnosed("libuv_1468", "ghost");
}

#[test]
fn h2o_1427_events_of_freed_sockets_while_a_child_has_copies() {
    is_diagnosed("h2o_1427", "ghost");
}

#[test]
fn tokio_core_172_a_dropped_descriptor_is_still_registered() {
    is_diagnosed("tokio_core_172", "ghost");
}

#[test]
fn moonbit_async_571_the_old_pipes_event_wakes_the_new_ones_waiter() {
    is_diagnosed("moonbit_async_571", "stale-data");
}

#[test]
fn cups_4605_a_client_that_hangs_up_while_nothing_is_asked_of_it() {
    is_diagnosed("cups_4605", "spin");
}

#[test]
fn netty_16240_a_socket_that_is_registered_before_it_is_bound() {
    is_diagnosed("netty_16240", "spin");
}

#[test]
fn haproxy_411_writability_that_is_not_used() {
    is_diagnosed("haproxy_411", "spin");
}

#[test]
fn flux_67_more_busy_connections_than_a_batch_takes() {
    is_diagnosed("flux_67", "full-batch");
}

#[test]
fn gevent_1536_workers_that_all_wake_for_one_connection() {
    is_diagnosed("gevent_1536", "herd");
}

#[test]
fn tokio_3809_a_duplicate_of_the_instance_reaches_child_processes() {
    is_diagnosed("tokio_3809", "no-cloexec");
}

#[test]
fn eventlet_68_master_and_worker_share_the_hub() {
    is_diagnosed("eventlet_68", "fork-shared");
}

#[test]
fn gunicorn_654_the_second_worker_finds_the_first_ones_interest() {
    is_diagnosed("gunicorn_654", "fork-shared");
}

#[test]
fn clustershell_56_a_plain_file_as_standard_input() {
    is_diagnosed("clustershell_56", "ctl-error");
}
