//! Loops that use up a processor, after public bug reports (`c-tests/findings/cases/` describe
//! them), each with variants and a fixed twin. The loops run for a given processor time, so that
//! the findings are the same on a busy machine.

use super::{examine_with, line_marked, line_of, serious};
use serde_json::Value;

const CENSUS: &[(&str, &str)] = &[("EPOLLSHIM_CENSUS", "1")];

/// Returns the only finding above `info` of a program, which must have this id and severity, the
/// program's descriptor, and places at the lines with these marks.
fn has(program: &str, flags: &[&str], (id, severity): (&str, &str), marks: (&str, &str)) -> Value {
    let (binary, report, printed) = examine_with(program, flags, &[]);
    let all = serious(&report);
    let [finding] = all[..] else { panic!("{program} {flags:?}: {all:#?}\n{:#}", report["calls"]) };
    assert_eq!((&finding["id"], &finding["severity"]), (&id.into(), &severity.into()), "{program}: {finding:#}");
    let fd = if printed.1 < 0 { Value::Null } else { printed.1.into() };
    assert_eq!(finding["fd"], fd, "{program}: {finding:#}");
    for (place, mark) in [("site", marks.0), ("other_site", marks.1)].into_iter().filter(|(_, mark)| !mark.is_empty()) {
        let site = finding[place].as_str().unwrap_or_else(|| panic!("{program}: no {place}: {finding:#}"));
        assert_eq!(line_of(&binary, site), line_marked(program, mark), "{program}: {place}: {finding:#}");
    }
    finding.clone()
}

fn spins(program: &str, flags: &[&str], severity: &str) -> Value {
    has(program, flags, ("spin", severity), ("HERE", "ADDED"))
}

fn is_well(program: &str, flags: &[&str]) {
    for options in [&[], CENSUS] {
        let (_, report, _) = examine_with(program, &[&["-DFIXED"], flags].concat(), options);
        let serious = serious(&report);
        assert!(serious.is_empty(), "{program} {flags:?}: {serious:#?}");
    }
}

fn says(finding: &Value, words: &str) {
    assert!(finding["message"].as_str().unwrap().contains(words), "{words}: {finding:#}");
}

#[test]
fn fibers_19_a_pipe_that_hung_up_is_armed_again_in_each_round() {
    let finding = spins("cases/fibers_19", &[], "error");
    says(&finding, "re-armed ");
    says(&finding, " times, and it stays hung up");
    let again = has("cases/fibers_19", &["-DDEL_ADD"], ("spin", "error"), ("HERE", "ADDED AGAIN"));
    says(&again, "it stays hung up");
    says(&spins("cases/fibers_19", &["-DEDGE"], "error"), "re-armed ");
    says(&has("cases/fibers_19", &["-DTCP"], ("spin", "error"), ("HERE", "")), "re-armed ");
    for flags in [&[][..], &["-DDEL_ADD"], &["-DTCP"]] {
        is_well("cases/fibers_19", flags);
    }
}

#[test]
fn loops_that_arm_again_what_they_have_answered_are_healthy() {
    is_well("rearms", &[]);
}

#[test]
fn gaia_723_a_socket_is_watched_for_writability_after_its_own_shutdown() {
    for flags in [&[][..], &["-DTCP"]] {
        says(&spins("cases/gaia_723", flags, "error"), "after a shutdown there is nothing");
        is_well("cases/gaia_723", flags);
    }
}

#[test]
fn a_unix_socket_whose_peer_lives_spins_if_it_is_not_read_or_not_written() {
    for flags in [&[][..], &["-DOUT"]] {
        spins("spin_unix", flags, "warning");
        is_well("spin_unix", flags);
    }
}

/// The programs run one after another: the datagrams of one could hide that another received none.
#[test]
fn a_datagram_socket_whose_error_is_never_read_spins() {
    for flags in [&[][..], &["-DSIX"]] {
        says(&spins("spin_udp", flags, "error"), "clear the pending error");
        is_well("spin_udp", flags);
    }
}

#[test]
fn netty_rebuilds_its_instance_and_the_descriptor_stays_as_it_is() {
    for flags in [&[][..], &["-DUNREAD"]] {
        says(&spins("cases/netty_rebuild", flags, "error"), " new instances changed nothing");
    }
    is_well("cases/netty_rebuild", &[]);
}

#[test]
fn pantavisor_699_a_child_keeps_a_descriptor_that_the_parent_closed_before_its_del() {
    for (flags, words) in [
        (&[][..], "EPOLL_CTL_DEL failed with EBADF"),
        (&["-DNO_DEL"], "the descriptor was closed, and waits continued"),
        (&["-DNO_DEL", "-DSOCKET"], "the descriptor was closed, and waits continued"),
    ] {
        let ghost = has("cases/pantavisor_699", flags, ("ghost", "error"), ("HERE", "ADDED"));
        says(&ghost, words);
        says(&ghost, " waits returned at once for them, in ");
    }
    is_well("cases/pantavisor_699", &[]);
    is_well("cases/pantavisor_699", &["-DSOCKET"]);
}

#[test]
fn smol_109_a_timer_of_less_than_a_millisecond_polls_only_where_it_is_rounded_down() {
    has("cases/smol_109", &[], ("poll-loop", "warning"), ("HERE", ""));
    let (_, report, _) = examine_with("cases/smol_109", &["-DFIXED"], &[]);
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().all(|finding| finding["id"] != "poll-loop"), "{findings:#?}");
}

/// The only finding `churn`, of any severity.
fn churn(flags: &[&str]) -> Option<Value> {
    let (binary, report, _) = examine_with("cases/gunicorn_churn", flags, &[]);
    let finding = report["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == "churn")?.clone();
    let site = finding["site"].as_str().unwrap();
    assert_eq!(line_of(&binary, site), line_marked("cases/gunicorn_churn", "HERE"), "{finding:#}");
    Some(finding)
}

#[test]
fn instances_that_are_made_for_each_wait_are_churn() {
    let one = churn(&[]).unwrap();
    assert_eq!((&one["severity"], &one["count"]), (&"info".into(), &400.into()), "{one:#}");
    assert_eq!(churn(&["-DTHREADS"]).unwrap()["count"], 1600);
    assert_eq!(churn(&["-DCOSTLY"]).unwrap()["severity"], "warning");
    assert_eq!(churn(&["-DFIXED"]), None);
    assert_eq!(churn(&["-DFIXED", "-DTHREADS"]), None);
}
