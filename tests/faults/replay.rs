//! `EPOLLSHIM_INJECT_LOG` and `EPOLLSHIM_INJECT_REPLAY`.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Run, program, run};

const RULES: &str = "epoll_wait:error=any:prob=0.2:scope=thread;close:error=EIO:prob=0.3:scope=thread:max=100";

fn under(mode: &str, environment: &[(&str, &Path)]) -> Run {
    let mut command = Command::new(program("fault_replay"));
    command.arg(mode).env("LD_PRELOAD", testkit::shim()).env("EPOLLSHIM_REPORT", "none");
    run(command.envs(environment.iter().copied()))
}

fn recorded(mode: &str, rules: &str, pattern: &str) -> (Run, PathBuf) {
    let directory = testkit::scratch("replay");
    let file = directory.join(pattern);
    (under(mode, &[("EPOLLSHIM_INJECT", Path::new(rules)), ("EPOLLSHIM_INJECT_LOG", &file)]), file)
}

/// How many calls failed by a fault, from what the program prints: a wait or, every second time,
/// `close(-1)`.
fn faults_of(printed: &str, name: &str) -> usize {
    let calls = |line: &str| line.split(' ').skip(1).map(str::to_owned).enumerate().collect::<Vec<_>>();
    let failed = |(at, error): &(usize, String)| error != if at % 2 == 0 { "0" } else { "9" };
    printed.lines().filter(|line| line.starts_with(name)).flat_map(calls).filter(failed).count()
}

/// Lines of a log, sorted, without the numbers of processes and threads, and without hashes.
fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let is_kept = |word: &&str| !["pid=", "tid=", "stack="].iter().any(|key| word.starts_with(key));
    let mut lines: Vec<String> =
        text.lines().map(|line| line.split(' ').filter(is_kept).collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    lines
}

#[test]
fn the_same_calls_of_each_thread_fail_again_whatever_the_seed_is() {
    let (first, log) = recorded("threads", RULES, "log");
    assert!(first.status.success(), "{}", first.stderr);
    assert!(faults_of(&first.stdout, "thread") > 50, "{}", first.stdout);
    assert_eq!(lines(&log).len(), faults_of(&first.stdout, "thread") + 1);
    for seed in ["1", "2"] {
        let again = testkit::scratch("replay").join("again");
        let second = under(
            "threads",
            &[("EPOLLSHIM_INJECT_REPLAY", &log), ("EPOLLSHIM_SEED", Path::new(seed)), ("EPOLLSHIM_INJECT_LOG", &again)],
        );
        assert_eq!(second.stdout, first.stdout, "{}", second.stderr);
        assert_eq!(lines(&again)[1..], lines(&log)[1..]);
        assert!(lines(&again)[0].contains(&format!("seed={seed} rules={RULES}")), "{:?}", lines(&again)[0]);
    }
    // Without a replay, another seed causes other faults. A replay takes the seed from its file.
    let other = recorded("threads", RULES, "log").0;
    assert_ne!(other.stdout, first.stdout);
    let same = under("threads", &[("EPOLLSHIM_INJECT_REPLAY", &log), ("EPOLLSHIM_INJECT", Path::new(RULES))]);
    assert_eq!(same.stdout, first.stdout, "{}", same.stderr);
}

#[test]
fn ordinals_of_the_process_and_of_a_rule_are_repeated_where_one_thread_calls() {
    for rules in [
        "epoll_wait,close:error=any:prob=0.2",
        "epoll_wait,close:error=any:prob=0.2:scope=rule",
        "close:error=EIO:prob=0.3:max=7;epoll_wait,close:error=any:prob=0.2",
        "epoll_wait:error=EINTR:after=1ns:when=5+3",
    ] {
        let (first, log) = recorded("", rules, "log");
        assert!(faults_of(&first.stdout, "main") > 5, "{rules}: {}", first.stdout);
        assert_eq!(again(&log), lines(&log)[1..], "{rules}");
        let second = under("", &[("EPOLLSHIM_INJECT_REPLAY", &log), ("EPOLLSHIM_SEED", Path::new("1"))]);
        assert_eq!(second.stdout, first.stdout, "{rules}: {}", second.stderr);
    }
    // The order of events is random too.
    let (_, log) = recorded("", "epoll_wait:shuffle:prob=0.3", "log");
    assert!(lines(&log).iter().filter(|line| line.contains(" shuffle=")).count() > 5, "{:?}", lines(&log));
    assert_eq!(again(&log), lines(&log)[1..]);
}

/// The decisions of a replay with another seed.
fn again(log: &Path) -> Vec<String> {
    let again = testkit::scratch("replay").join("again");
    let seed = Path::new("1");
    under("", &[("EPOLLSHIM_INJECT_REPLAY", log), ("EPOLLSHIM_SEED", seed), ("EPOLLSHIM_INJECT_LOG", &again)]);
    lines(&again).split_off(1)
}

#[test]
fn removing_a_line_removes_one_fault() {
    let (first, log) = recorded("", "close:error=EIO:when=3..5", "log");
    assert_eq!(faults_of(&first.stdout, "main"), 3);
    let text = std::fs::read_to_string(&log).unwrap();
    let kept: String =
        text.lines().filter(|line| !line.contains("ordinal=4")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&log, kept).unwrap();
    let second = under("", &[("EPOLLSHIM_INJECT_REPLAY", &log)]);
    assert_eq!(faults_of(&second.stdout, "main"), 2, "{}", second.stdout);
}

#[test]
fn decisions_outlive_a_kill_and_need_no_free_descriptor() {
    for mode in ["killed", "full"] {
        let (first, log) = recorded(mode, "epoll_wait:error=any:prob=0.3;close:error=EIO:prob=0.3", "log");
        assert_eq!(first.status.signal(), (mode == "killed").then_some(libc::SIGKILL), "{}", first.stderr);
        assert_eq!(lines(&log).len(), faults_of(&first.stdout, "main") + 1, "{mode}");
        let second = under(mode, &[("EPOLLSHIM_INJECT_REPLAY", &log)]);
        assert_eq!(second.stdout, first.stdout, "{mode}: {}", second.stderr);
    }
}

#[test]
fn a_forked_child_has_lines_of_its_own_which_are_not_repeated() {
    let rules = "epoll_wait:error=any:prob=0.3;close:error=EIO:prob=0.3";
    for pattern in ["log.%p", "log"] {
        let (first, log) = recorded("fork", rules, pattern);
        assert!(faults_of(&first.stdout, "child") > 10, "{}", first.stdout);
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(log.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort_by_key(|file| !std::fs::read_to_string(file).unwrap().starts_with("epollshim.inject/1 "));
        let of_parent = faults_of(&first.stdout, "main") + faults_of(&first.stdout, "later");
        if pattern == "log" {
            assert_eq!(lines(&files[0]).len(), 1 + of_parent + faults_of(&first.stdout, "child"));
        } else {
            assert_eq!(lines(&files[0]).len(), 1 + of_parent);
            assert_eq!(lines(&files[1]).len(), faults_of(&first.stdout, "child"));
            let said = under("fork", &[("EPOLLSHIM_INJECT_REPLAY", &files[1])]).stderr;
            assert!(said.contains("forked child cannot be repeated"), "{said}");
        }
        let second = under("fork", &[("EPOLLSHIM_INJECT_REPLAY", &files[0])]);
        assert_eq!(faults_of(&second.stdout, "child"), 0, "{}", second.stdout);
        let of_parent = |run: &Run| -> Vec<String> {
            run.stdout.lines().filter(|line| !line.starts_with("child")).map(str::to_owned).collect()
        };
        assert_eq!(of_parent(&second), of_parent(&first), "{pattern}");
    }
}

#[test]
fn two_logs_do_not_mix_however_many_threads_write() {
    let directory = testkit::scratch("replay");
    let (log, inject_log) = (directory.join("calls"), directory.join("faults"));
    let run = under(
        "threads",
        &[
            ("EPOLLSHIM_INJECT", Path::new("epoll_wait:error=EINTR:when=1+2")),
            ("EPOLLSHIM_INJECT_LOG", &inject_log),
            ("EPOLLSHIM_LOG", &log),
        ],
    );
    assert!(run.status.success(), "{}", run.stderr);
    let read = |file: &Path| std::fs::read_to_string(file).unwrap();
    // 4 threads, 100 waits each.
    assert_eq!(read(&log).lines().filter(|line| line.starts_with("[pid ") && line.contains("] epoll_")).count(), 401);
    assert_eq!(read(&log).lines().count(), 401);
    assert_eq!(read(&inject_log).lines().filter(|line| line.starts_with("pid=")).count(), 200);
    assert_eq!(read(&inject_log).lines().count(), 201);
}

#[test]
fn a_file_that_does_not_fit_is_refused_before_main() {
    let (_, log) = recorded("", "close:error=EIO:when=3", "log");
    let text = std::fs::read_to_string(&log).unwrap();
    let with = |text: String| {
        let file = testkit::scratch("replay").join("changed");
        std::fs::write(&file, text).unwrap();
        file
    };
    let missing = testkit::scratch("replay").join("missing");
    for (file, rules, says) in [
        (missing, "", "/missing': cannot be read"),
        (with("hello\n".to_owned()), "", "/changed': line 1 is not one that EPOLLSHIM_INJECT_LOG writes"),
        (with(text.clone() + "pid=1 tid=1 rule=x\n"), "", "line 3 is not one"),
        (with(text.replace("program=fault_replay", "program=other")), "", "it has no decisions of 'fault_replay'"),
        (with(text.clone() + &text), "", "decisions of several processes"),
        (with(text.replace("close:error", "close:eror")), "", "did you mean error"),
        (log.clone(), "close:error=EIO:when=4", "made with other rules"),
    ] {
        let mut environment = vec![("EPOLLSHIM_INJECT_REPLAY", file.as_path())];
        if !rules.is_empty() {
            environment.push(("EPOLLSHIM_INJECT", Path::new(rules)));
        }
        let run = under("", &environment);
        assert_eq!((run.status.code(), run.stdout.as_str()), (Some(2), ""), "{says}: {}", run.stderr);
        assert!(run.stderr.contains(says), "{says}: {}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
    let nowhere = Path::new("/nowhere/log");
    let run = under("", &[("EPOLLSHIM_INJECT_LOG", nowhere)]);
    assert_eq!(run.status.code(), Some(2));
    assert_eq!(run.stderr, "epollshim: EPOLLSHIM_INJECT_LOG: cannot write '/nowhere/log': ENOENT\n");
}
