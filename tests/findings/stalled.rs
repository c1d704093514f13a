//! Data for which no event will arrive: programs after public bug reports, and variants of these.

use std::process::Command;

use serde_json::Value;

use super::killed::dead;
use super::unusable::{examine, of};
use super::{c_program_with, line_marked, line_of, serious};

/// The program has the finding `stalled` with the descriptors that it printed, at its two places,
/// and no other finding.
#[track_caller]
fn has_stalled(program: &str, mode: &str, bytes: &str, why: &str) -> Value {
    let (binary, report, (epfd, fd)) = examine(program, mode, &[]);
    let [finding] = of(&report, "stalled")[..] else { panic!("{mode}: {report:#}") };
    assert_eq!(serious(&report), [finding], "{mode}");
    assert_eq!(finding["severity"], "warning", "{mode}: {finding:#}");
    assert_eq!((&finding["epfd"], &finding["fd"]), (&epfd.into(), &fd.into()), "{mode}: {finding:#}");
    assert_eq!(finding["count"], 1, "{mode}: {finding:#}");
    let message = finding["message"].as_str().unwrap();
    assert!(message.starts_with(bytes) && message.contains(why), "{mode}: {message}");
    let line = |key: &str| line_of(&binary, finding[key].as_str().unwrap());
    assert_eq!(line("site"), line_marked(program, "HERE"), "{mode}: {finding:#}");
    assert_eq!(line("other_site"), line_marked(program, "REGISTERED"), "{mode}: {finding:#}");
    finding.clone()
}

const EDGE: &str = "was not read (or accepted from) until EAGAIN";
const ONE_SHOT: &str = "not re-armed";

#[test]
fn davici_4_one_message_is_read_for_an_event_and_the_rest_stays() {
    for mode in ["bad", "unix", "pipe"] {
        has_stalled("cases/davici_4", mode, "72 unread bytes while the loop slept", EDGE);
    }
    let (_, report, _) = examine("cases/davici_4", "ok", &[]);
    assert!(of(&report, "stalled").is_empty(), "{report:#}");
    assert!(serious(&report).is_empty(), "{report:#}");
}

#[test]
fn one_connection_is_accepted_for_an_event() {
    has_stalled("cases/davici_4", "accept", "2 connections to accept while the loop slept", EDGE);
}

#[test]
fn a_loop_that_ticks_and_one_that_is_woken_by_others_are_looked_at() {
    has_stalled("cases/davici_4", "tick", "72 unread bytes while the loop slept", EDGE);
    has_stalled("cases/davici_4", "woken", "72 unread bytes while the loop slept", EDGE);
}

#[test]
fn an_instance_within_another_is_looked_at() {
    let (binary, report, (epfd, fd)) = examine("cases/davici_4", "nested", &[]);
    let [finding] = of(&report, "stalled")[..] else { panic!("{report:#}") };
    assert_eq!((&finding["epfd"], &finding["fd"]), (&epfd.into(), &fd.into()), "{finding:#}");
    assert_eq!(
        line_of(&binary, finding["site"].as_str().unwrap()),
        line_marked("cases/davici_4", "HERE"),
        "{finding:#}"
    );
}

#[test]
fn a_loop_that_never_came_out_of_its_wait_is_looked_at_by_the_report() {
    has_stalled("cases/davici_4", "exits", "72 unread bytes while the loop slept", EDGE);
    has_stalled("cases/davici_4", "signal", "72 unread bytes while the loop slept", EDGE);
}

#[test]
fn pjsip_3018_a_handler_returns_without_arming_again() {
    for mode in ["bad", "edge", "datagram", "pool"] {
        has_stalled("cases/pjsip_3018", mode, "3 unread bytes while the loop slept", ONE_SHOT);
    }
    let (_, report, _) = examine("cases/pjsip_3018", "ok", &[]);
    assert!(of(&report, "stalled").is_empty(), "{report:#}");
    assert!(serious(&report).is_empty(), "{report:#}");
}

#[test]
fn a_one_shot_interest_that_is_armed_again_late_is_info() {
    let (_, report, _) = examine("cases/pjsip_3018", "slow", &[]);
    let [finding] = of(&report, "stalled")[..] else { panic!("{report:#}") };
    assert_eq!(finding["severity"], "info", "{finding:#}");
    assert!(finding["message"].as_str().unwrap().contains("read later"), "{finding:#}");
}

#[test]
fn readers_that_pause_on_purpose_are_info() {
    for (mode, why) in
        [("relay", "another socket cannot send"), ("rate", "read later"), ("works", "another thread runs")]
    {
        let (_, report, _) = examine("paused", mode, &[]);
        let [finding] = of(&report, "stalled")[..] else { panic!("{mode}: {report:#}") };
        assert!(serious(&report).is_empty(), "{mode}: {report:#}");
        assert!(finding["message"].as_str().unwrap().contains(why), "{mode}: {finding:#}");
    }
}

#[test]
fn data_that_is_read_soon_or_need_not_be_read_is_no_finding() {
    for mode in ["short", "wake", "brief"] {
        let (_, report, _) = examine("paused", mode, &[]);
        assert!(of(&report, "stalled").is_empty() && serious(&report).is_empty(), "{mode}: {report:#}");
    }
}

/// The recording contains the finding after SIGKILL.
#[test]
fn a_killed_process_has_the_finding_in_its_recording() {
    for (program, why) in [("cases/davici_4", EDGE), ("cases/pjsip_3018", ONE_SHOT)] {
        let binary = c_program_with(&format!("findings/{program}"), &[]);
        let report = dead(program, Command::new(&binary).arg("bad"));
        let [finding] = of(&report, "stalled")[..] else { panic!("{report:#}") };
        assert_eq!(finding["severity"], "warning", "{finding:#}");
        assert!(finding["message"].as_str().unwrap().contains(why), "{finding:#}");
        assert!(finding["site"].is_string() && finding["other_site"].is_string(), "{finding:#}");
    }
}
