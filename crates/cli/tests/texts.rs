//! The help text of each command, and the messages of usage errors, as they were reviewed.
//!
//! `snapshots/*.snap` has the texts. `INSTA_UPDATE=always` accepts a difference
//! (.config/insta.yaml).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::ffi::OsString;

use epollshim_cli::args::{self, Asked};
use epollshim_cli::try_main;

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

fn words(line: &[&str]) -> Vec<OsString> {
    ["epollshim"].iter().chain(line).map(OsString::from).collect()
}

/// What `epollshim LINE... --help` prints.
fn help(line: &[&str]) -> String {
    match args::parse(words(&[line, &["--help"]].concat())) {
        Ok(Asked::Text(text)) => text,
        _ => panic!("{line:?} --help is not help"),
    }
}

#[test]
fn the_help_of_each_command_is_as_it_was_accepted() {
    snapshot("help", &help(&[]));
    let command = args::command();
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    let wanted = ["run", "report", "diff", "top", "check", "inspect", "explain", "ctl", "sweep"];
    assert!(wanted.iter().all(|name| names.contains(name)), "{names:?}");
    for name in wanted {
        snapshot(&format!("help-{name}"), &help(&[name]));
    }
    for order in ["status", "inject", "limit", "off", "snapshot"] {
        snapshot(&format!("help-ctl-{order}"), &help(&["ctl", "1", order]));
    }
}

/// Command lines with one mistake each. None starts a program or looks at a process: `/no/such`
/// does not exist.
const MISTAKES: &[&[&str]] = &[
    &["rum"],
    &["--verbose"],
    &["run"],
    &["run", "--"],
    &["run", "--limt=watches=1", "/no/such"],
    &["run", "--shim=/no/such.so", "/no/such"],
    &["run", "--limit=watches", "/no/such"],
    &["run", "--limit=watchs=1", "/no/such"],
    &["run", "--limit=watches=-1", "/no/such"],
    &["run", "--limit=watches=1,watches=2", "/no/such"],
    &["run", "--limit=memory=1X", "/no/such"],
    &["run", "--limit=user-instances=3", "--session=", "/no/such"],
    &["run", "--inject=epoll_wait", "/no/such"],
    &["run", "--inject=epol_wait:error=EINTR", "/no/such"],
    &["run", "--inject=epoll_wait:error=EINTRR", "/no/such"],
    &["run", "--inject=epoll_ctl:retval=7", "/no/such"],
    &["run", "--inject=epoll_wait:error=EINTR:when=0", "/no/such"],
    &["run", "--inject=epoll_wait:error=EINTR:when=3..2", "/no/such"],
    &["run", "--inject=epoll_wait:error=EINTR:prob=2", "/no/such"],
    &["run", "--inject=epoll_wait:error=EINTR:colour=red", "/no/such"],
    &["run", "--inject=epoll_wait:error=EINTR:op=ADD", "/no/such"],
    &["run", "--inject-impossible=2", "/no/such"],
    &["run", "--inject-replay=/no/such.log", "/no/such"],
    &["run", "--seed=red", "/no/such"],
    &["run", "--report=%q", "/no/such"],
    &["run", "--report-format=yaml", "/no/such"],
    &["run", "--log-format=xml", "/no/such"],
    &["run", "--log-time=noon", "/no/such"],
    &["run", "--log-filter=epol_wait", "/no/such"],
    &["run", "--record-ring=3", "/no/such"],
    &["run", "--record-max=1", "/no/such"],
    &["run", "--suppressions=/no/such.txt", "/no/such"],
    &["run", "--census=yes", "/no/such"],
    &["run", "--stacks=65", "/no/such"],
    &["run", "--only=", "/no/such"],
    &["run", "--on-bad-config=panic", "/no/such"],
    &["run", "--fail-on=gohst", "/no/such"],
    &["run", "--fail-on=ghost:fatal", "/no/such"],
    &["run", "--fail-on=ghost", "--exec", "/no/such"],
    &["run", "--format=html", "--exec", "/no/such"],
    &["report"],
    &["report", "/no/such"],
    &["report", "--format=pdf", "/no/such"],
    &["report", "--fail-on=everything", "/no/such"],
    &["diff", "/no/such"],
    &["diff", "/no/such", "/no/such"],
    &["diff", "--fail-on=old", "/no/such", "/no/such"],
    &["top", "--format=json"],
    &["top", "--once", "--sort=colour"],
    &["top", "--once", "--interval=0"],
    &["top", "--once", "/no/such"],
    &["check"],
    &["check", "/no/such"],
    &["check", "no-such-program"],
    &["check", "4294967295"],
    &["inspect"],
    &["inspect", "redis"],
    &["inspect", "--watch=0", "1"],
    &["inspect", "--fail-on=stale", "1"],
    &["explain", "gohst"],
    &["explain", "something"],
    &["ctl"],
    &["ctl", "redis"],
    &["ctl", "4294967295"],
    &["ctl", "1", "stop"],
    &["ctl", "1", "inject"],
    &["ctl", "4294967295", "inject", "epoll_wait"],
    &["ctl", "4294967295", "limit", "watchs=1"],
    &["ctl", "4294967295", "off", "everything"],
    &["ctl", "--wait=soon", "4294967295"],
    &["ctl", "4294967295", "snapshot", "--format=pdf"],
    &["ctl", "4294967294", "4294967295", "snapshot", "-o", "report.html"],
    &["sweep"],
    &["sweep", "--calls=epol_ctl", "/no/such"],
    &["sweep", "--errors=EMFIL", "/no/such"],
    &["sweep", "--errors=ENOTHING", "/no/such"],
    &["sweep", "--errors=EMFILE", "--all-errors", "/no/such"],
    &["sweep", "--shallow=0", "/no/such"],
    &["sweep", "--seed=1", "/no/such"],
    &["sweep", "--workload=true", "--share-network", "/no/such"],
    &["sweep", "--workload=true", "--ready-when=line (", "/no/such"],
    &["sweep", "--phase=start", "/no/such"],
    &["sweep", "--workload=true", "--phase=middle", "/no/such"],
    &["sweep", "--workload=true", "--ready-when=soon", "/no/such"],
    &["sweep", "--workload=true", "--ready-when=port 70000", "/no/such"],
    &["sweep", "--workload=true", "--stop-with=BANG", "/no/such"],
    &["sweep", "--input=/no/such.txt", "/no/such"],
    &["sweep", "--dir=/no/such", "/no/such"],
    &["sweep", "--mask=(", "/no/such"],
    &["sweep", "--clean-runs=0", "/no/such"],
    &["sweep", "--jobs=0", "/no/such"],
    &["sweep", "--timeout=0", "/no/such"],
    &["sweep", "--accept=/no/such.txt", "/no/such"],
    &["sweep", "--only=epoll_wait", "/no/such"],
    &["sweep", "--format=yaml", "/no/such"],
    &["sweep", "/no/such"],
];

#[test]
fn each_usage_error_is_one_line_as_it_was_accepted() {
    let mut all = String::new();
    for line in MISTAKES {
        let failure = try_main(words(line)).expect_err(&format!("{line:?} is accepted"));
        assert_eq!(failure.text.lines().count(), 1, "{line:?}: {}", failure.text);
        let quoted: Vec<String> = line
            .iter()
            .map(|word| if word.is_empty() || word.contains(['(', ' ']) { format!("'{word}'") } else { (*word).into() })
            .collect();
        let status = if failure.status == 2 { String::new() } else { format!("exit status {}\n", failure.status) };
        all.push_str(&format!("$ epollshim {}\nepollshim: {}\n{status}\n", quoted.join(" "), failure.text));
    }
    snapshot("usage-errors", &all);
}
