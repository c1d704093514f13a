//! Descriptors that are closed while an event for them is left in the batch that is handled.

use super::unusable::{examine, of};
use super::{line_marked, line_of, serious};

const PROGRAM: &str = "cases/httpzig_208";

#[test]
fn httpzig_208_the_handler_of_one_event_closes_the_descriptor_of_the_next() {
    for (mode, site, says) in [
        ("bad", "HERE", "takes it for the other file's"),
        // The program skips such events, which the library cannot see.
        ("ok", "HERE", "takes it for the other file's"),
        ("sockets", "HERE", "takes it for the other file's"),
        ("thread", "HERE", "takes it for the other file's"),
        ("close", "CLOSE", "takes it for the other file's"),
        ("unused", "HERE", "uses a closed number"),
    ] {
        let (binary, report, (epfd, fd)) = examine(PROGRAM, mode, &[]);
        assert!(serious(&report).is_empty(), "{mode}: {report:#}");
        let [finding] = of(&report, "stale-data")[..] else { panic!("{mode}: {report:#}") };
        assert_eq!(finding["severity"], "info", "{mode}: {finding:#}");
        assert_eq!((&finding["epfd"], &finding["fd"]), (&epfd.into(), &fd.into()), "{mode}: {finding:#}");
        assert!(finding["message"].as_str().unwrap().contains(says), "{mode}: {finding:#}");
        let line = |key: &str| line_of(&binary, finding[key].as_str().unwrap());
        assert_eq!(line("site"), line_marked(PROGRAM, site), "{mode}: {finding:#}");
        assert_eq!(line("other_site"), line_marked(PROGRAM, "WAIT"), "{mode}: {finding:#}");
    }
}

#[test]
fn an_interest_removed_for_a_while_or_read_is_no_finding() {
    for mode in ["pause", "read"] {
        let (_, report, _) = examine(PROGRAM, mode, &[]);
        assert!(of(&report, "stale-data").is_empty() && serious(&report).is_empty(), "{mode}: {report:#}");
    }
}
