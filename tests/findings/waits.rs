//! Defects of loops that wait, and of threads that wait for the same events.

use super::{examine, is_fixed, is_found};

fn message(finding: &serde_json::Value) -> &str {
    finding["message"].as_str().unwrap()
}

#[test]
fn a_connection_that_hung_up_and_is_watched_with_a_mask_of_0_spins() {
    let finding = is_found("spin_hup", "spin", "error");
    assert!(message(&finding).contains("EPOLLHUP at once"), "{finding:#}");
    assert!(message(&finding).contains("with a mask of 0"), "{finding:#}");
    is_fixed("spin_hup");
}

#[test]
fn a_listening_socket_without_descriptors_to_accept_with_spins() {
    let finding = is_found("spin_accept", "spin", "error");
    assert!(message(&finding).contains("EMFILE"), "{finding:#}");
    is_fixed("spin_accept");
}

#[test]
fn a_connection_that_has_ended_and_is_never_closed_spins() {
    let finding = is_found("spin_eof", "spin", "error");
    assert!(message(&finding).contains("EPOLLIN|EPOLLRDHUP at once"), "{finding:#}");
    is_fixed("spin_eof");
}

#[test]
fn an_eventfd_that_is_never_read_spins_and_one_that_is_read_and_written_at_once_does_not() {
    is_found("spin_eventfd", "spin", "error");
    is_fixed("spin_eventfd");
}

#[test]
fn an_idle_socket_watched_for_writability_spins_and_a_full_one_does_not() {
    let finding = is_found("spin_out", "spin", "error");
    assert!(message(&finding).contains("only while there is something to write"), "{finding:#}");
    is_fixed("spin_out");
}

#[test]
fn a_loop_that_never_waits_polls() {
    is_found("poll_loop", "poll-loop", "warning");
    is_fixed("poll_loop");
}

/// A program with a timer that is due within a millisecond makes the same calls.
#[test]
fn a_loop_that_waits_a_millisecond_at_a_time_may_have_a_timer() {
    let (_, report, _) = examine("poll_loop_short", &[]);
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().all(|finding| finding["id"] != "poll-loop"), "{findings:#?}");
}

#[test]
fn an_array_that_is_always_full_is_a_full_batch() {
    is_found("full_batch", "full-batch", "warning");
    is_fixed("full_batch");
}

#[test]
fn a_loop_with_long_work_between_its_waits_is_late() {
    let finding = is_found("late_loop", "late-loop", "warning");
    assert!(finding["count"].as_u64().unwrap() >= 5, "{finding:#}");
    is_fixed("late_loop");
}

#[test]
fn processes_that_wait_for_the_connections_of_one_socket_are_a_herd() {
    let finding = is_found("herd", "herd", "warning");
    assert!(message(&finding).contains("2 related processes"), "{finding:#}");
    is_fixed("herd");
}

#[test]
fn threads_that_wait_for_the_connections_of_one_socket_are_a_herd() {
    let finding = is_found("herd_threads", "herd", "warning");
    assert!(message(&finding).contains("2 instances"), "{finding:#}");
    is_fixed("herd_threads");
}

#[test]
fn threads_that_are_woken_for_one_connection_to_accept_are_a_herd() {
    let finding = is_found("herd_one_instance", "herd", "warning");
    assert!(message(&finding).contains("one connection to accept"), "{finding:#}");
    is_fixed("herd_one_instance");
}

#[test]
fn threads_that_read_one_connection_at_once_are_a_herd() {
    let finding = is_found("herd_stream", "herd", "warning");
    assert!(message(&finding).contains("two read one stream"), "{finding:#}");
    is_fixed("herd_stream");
}

#[test]
fn threads_that_share_a_source_with_work_for_each_are_no_herd() {
    is_fixed("pool");
}

#[test]
fn loops_that_answer_the_same_event_at_full_speed_are_healthy() {
    is_fixed("busy");
}
