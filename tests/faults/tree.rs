//! What the processes of a session share: the counts of `scope=tree`, and `phase=`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use epollshim_format::faults::shared;

use super::{program, run};

fn command(mode: &str, rule: &str, session: Option<&Path>) -> Command {
    let mut command = Command::new(program("fault_tree"));
    command.arg(mode).env("LD_PRELOAD", testkit::shim()).env("EPOLLSHIM_REPORT", "none");
    if !rule.is_empty() {
        command.env("EPOLLSHIM_INJECT", rule);
    }
    if let Some(session) = session {
        command.env("EPOLLSHIM_SESSION", session);
    }
    command
}

fn word(session: &Path, at: usize) -> u64 {
    let mut bytes = [0; 8];
    let file = std::fs::File::open(session.join(shared::NAME)).unwrap();
    file.read_exact_at(&mut bytes, at as u64).unwrap();
    u64::from_ne_bytes(bytes)
}

#[test]
fn a_tree_of_processes_counts_once_and_otherwise_each_process_counts_by_itself() {
    for (rule, failed) in [
        // Eight processes make calls. The parent of one of them makes none.
        ("dup:error=EIO:when=3", 8),
        ("dup:error=EIO:max=5", 40),
        ("dup,dup2:error=EIO:when=3:scope=process", 8),
        ("dup:error=EIO:when=3:scope=tree", 1),
        ("dup:error=EIO:when=1000..1003:scope=tree", 4),
        ("dup:error=EIO:max=5:scope=tree", 5),
        // Each system call of a set is counted separately, as without `scope=tree`.
        ("dup,dup2:error=EIO:when=1600:scope=tree", 1),
        ("dup:error=EIO:when=1601:scope=tree", 0),
    ] {
        let session = testkit::scratch("session").join("new");
        let run = run(&mut command("tree", rule, Some(&session)));
        assert_eq!((run.stdout, run.stderr), (format!("{failed}\n"), String::new()), "{rule}");
        if rule.contains("tree") {
            let tally = |at| word(&session, shared::TALLIES + at);
            assert_eq!((tally(shared::MATCHED), tally(shared::FIRED)), (1600, failed), "{rule}");
        } else {
            assert!(!session.exists(), "{rule}");
        }
    }
}

#[test]
fn counts_and_the_point_that_fired_are_there_though_the_fault_kills_the_process() {
    let session = testkit::scratch("session");
    let log = session.join("log");
    let mut command = command("work", "dup:signal=KILL:when=7:scope=tree", Some(&session));
    let run = run(command.env("EPOLLSHIM_INJECT_LOG", &log).env("EPOLLSHIM_STACKS", "1"));
    assert_eq!(run.status.signal(), Some(9), "{}", run.stderr);
    let tally = |at| word(&session, shared::TALLIES + at);
    assert_eq!((tally(shared::MATCHED), tally(shared::FIRED)), (7, 1));
    let text = std::fs::read_to_string(log).unwrap();
    let line = text.lines().nth(1).unwrap();
    assert!(line.contains(" rule=1 call=dup ordinal=7 stack=") && line.contains("/8 frames=fault_tree+0x"), "{text}");
}

#[test]
fn a_second_run_in_the_same_session_continues_the_count() {
    let session = testkit::scratch("session");
    for expected in ["5\n", "0\n"] {
        assert_eq!(run(&mut command("tree", "dup:error=EIO:max=5:scope=tree", Some(&session))).stdout, expected);
    }
}

#[test]
fn a_rule_for_the_tree_may_be_armed_in_a_handler_where_no_descriptor_is_free() {
    let armed = run(&mut command("armed", "", Some(&testkit::scratch("session"))));
    assert_eq!((armed.stdout.as_str(), armed.stderr.as_str()), ("ok   dup(1) = -1\n1 0\n", ""), "{}", armed.status);
    // Rules that cannot be armed are reported there too.
    let refused = run(&mut command("armed", "", None));
    assert!(refused.stdout.contains("not set; scope=tree and phase= need"), "{}{}", refused.status, refused.stdout);
}

#[test]
fn the_driver_sets_the_phase_while_the_program_runs() {
    let session = testkit::scratch("session");
    // The driver may create the file before the program starts.
    let page = std::fs::OpenOptions::new().write(true).create_new(true).open(session.join(shared::NAME)).unwrap();
    page.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let rules = "dup:error=EIO:phase=serve;dup:error=EPERM:phase=stop:max=1";
    let mut child = command("", rules, Some(&session)).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut to, mut from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut call = || {
        let mut line = String::new();
        to.write_all(b"\n").unwrap();
        from.read_line(&mut line).unwrap();
        line.trim().parse::<u32>().unwrap()
    };
    assert_eq!((call(), call()), (0, 0));
    for (phase, expected) in [
        (shared::Phase::Serve, (1, 1)),
        (shared::Phase::Stop, (1, 0)),
        (shared::Phase::Start, (0, 0)),
        (shared::Phase::Serve, (1, 1)),
    ] {
        page.write_all_at(&(phase as u64).to_ne_bytes(), shared::PHASE as u64).unwrap();
        assert_eq!((call(), call()), expected, "{phase:?}");
    }
    drop(to);
    assert!(child.wait().unwrap().success());
}

#[test]
fn without_a_session_such_rules_are_refused_before_main() {
    for rule in ["dup:error=EIO:scope=tree", "dup:error=EIO:phase=start"] {
        let run = run(&mut command("work", rule, None));
        assert_eq!(run.status.code(), Some(2), "{}", run.stderr);
        assert!(run.stderr.starts_with("epollshim: EPOLLSHIM_SESSION: not set; "), "{}", run.stderr);
    }
    let open = testkit::scratch("session");
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let run = run(&mut command("work", "dup:error=EIO:scope=tree", Some(&open)));
    assert_eq!(run.status.code(), Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("no other user may write in it"), "{}", run.stderr);
}
