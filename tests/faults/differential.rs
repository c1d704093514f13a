//! strace and the shim do the same to one program, given the same expression.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use super::{program, run};
use testkit::installed;

/// Expressions in the syntax of strace's manual. Of several rules, no two name the same call:
/// strace would apply only the last.
const SAME: &[&str] = &[
    // error=
    "epoll_create:error=EMFILE",
    "epoll_create1:error=ENFILE",
    "epoll_create1:error=24:when=2",
    "epoll_create,epoll_create1:error=enomem",
    "epoll_ctl:error=ENOSPC:when=2",
    "epoll_ctl:error=EPERM:when=3+",
    "epoll_wait:error=EINTR",
    "epoll_wait:error=EINTR:when=2",
    "epoll_wait:error=4:when=1+2",
    "epoll_wait:error=4095",
    "?epoll_wait,epoll_pwait:error=EBADF",
    // Sets: each system call is counted separately.
    "dup,dup2:error=EMFILE:when=2",
    "epoll_create,epoll_create1,epoll_wait:error=EPERM:when=2",
    "/^epoll_(wait|pwait)$:error=EBADF:when=2+2",
    "epoll_pwait:error=EINTR:when=3",
    "close:error=EIO",
    "close:error=EINTR:when=2",
    "dup:error=EMFILE:when=1..2",
    "dup2:error=EBUSY",
    "dup3:error=EMFILE:when=2",
    "dup,dup2,dup3:error=EMFILE",
    "fcntl:error=EMFILE:when=4..5",
    "fcntl:error=EINVAL",
    // retval=
    "epoll_create:retval=77",
    "epoll_create1:retval=0:when=1",
    "epoll_ctl:retval=0",
    "epoll_ctl:retval=0:when=2",
    "epoll_wait:retval=0",
    "epoll_wait:retval=2:when=4",
    "epoll_pwait:retval=0x3:when=2+3",
    "close:retval=0",
    "close:retval=0:when=3",
    "dup:retval=010",
    "dup2:retval=30:when=1",
    "dup3:retval=5",
    "fcntl:retval=1:when=2",
    // Errors that the kernel has returned.
    "epoll_ctl:retval=-22:when=1+2",
    "epoll_wait:retval=-4",
    "dup:retval=-1",
    "close:retval=-4095:when=2",
    "dup2:retval=-4096",
    // Larger than an int: a function of glibc truncates it, and syscall() does not.
    "dup:retval=4294967301",
    // signal=: with a handler, with a handler that restarts, ignored by the program, ignored by
    // default, and fatal.
    "epoll_wait:signal=USR1",
    "epoll_wait:signal=SIGHUP",
    "epoll_wait:signal=USR2",
    "epoll_wait:signal=SIGCHLD:when=4+",
    "epoll_wait:signal=10:when=2+",
    "epoll_wait:signal=36:when=1+3",
    "epoll_wait:signal=sigrt_4",
    "epoll_pwait:signal=SIGUSR1",
    "epoll_pwait:signal=SIGUSR2",
    "epoll_pwait:signal=TERM:when=3",
    "epoll_create:signal=USR1",
    "epoll_create1:signal=HUP:when=2",
    "epoll_ctl:signal=USR1:when=2..9+3",
    "close:signal=USR1:when=2",
    "dup:signal=usr1",
    "dup:signal=KILL:when=2",
    "dup2:signal=SIGTERM:when=2",
    "dup2,dup3:signal=USR1",
    "fcntl:signal=USR1:when=2",
    // Combinations.
    "epoll_wait:error=EINTR:signal=USR1:when=2",
    "epoll_wait:retval=0:signal=USR1",
    "epoll_pwait:error=EINTR:signal=SIGUSR1:when=3+",
    "epoll_ctl:error=ENOMEM:signal=USR2:when=4",
    "close:error=EINTR:signal=USR1:when=1+2",
    "dup:retval=9:signal=USR1:when=1..3+2",
    // Every form of when=.
    "epoll_wait:error=ENOMEM:when=3",
    "epoll_wait:error=ENOMEM:when=3..5",
    "epoll_wait:error=ENOMEM:when=3+",
    "epoll_wait:error=ENOMEM:when=3+2",
    "epoll_wait:error=ENOMEM:when=3..5+",
    "epoll_wait:error=ENOMEM:when=3..8+3",
    "epoll_wait:error=ENOMEM:when=1..1",
    "epoll_wait:error=ENOMEM:when=65534",
    "epoll_wait:error=ENOMEM:when=2:when=4",
    "epoll_wait::error=ENOMEM:",
    // Several rules.
    "dup:error=EMFILE:when=2;dup2:error=EBUSY:when=1",
    "epoll_create:error=ENFILE;epoll_wait:signal=USR1:when=2;close:error=EIO:when=2",
    "epoll_ctl:error=ENOENT:when=3;epoll_pwait:error=EINTR:signal=USR1:when=1+2;fcntl:retval=3",
];

/// The functions of epoll, and those that duplicate and close descriptors.
const FUNCTIONS: [&str; 12] = [
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "fcntl",
];

/// Every form of strace's manual, without the name of the function. The number after `when=` counts
/// the calls of the program itself.
const FORMS: [&str; 26] = [
    "error=ENOMEM",
    "error=EIO:when=1",
    "error=eagain:when=2",
    "error=11:when=2+",
    "error=EPERM:when=1+2",
    "error=EPERM:when=2..3",
    "error=EPERM:when=1..3+",
    "error=EPERM:when=1..9+2",
    "error=EPERM:when=1:when=2",
    "retval=0",
    "retval=7:when=2",
    "retval=0x21:when=1+3",
    "retval=-5:when=1..2",
    "signal=USR1",
    "signal=SIGHUP:when=2",
    "signal=10:when=1+2",
    "signal=sigrt_4:when=2..4+2",
    "signal=USR2:when=1..2",
    "error=EINTR:signal=USR1:when=1+2",
    "retval=3:signal=SIGUSR1:when=2+",
    "delay_enter=1000:when=1",
    "delay_enter=1ms:error=EBUSY:when=2",
    "delay_exit=1ms:when=1+2",
    "delay_exit=1000us:retval=5:when=1..2",
    "delay_exit=.001s:signal=USR1:when=2",
    "delay_enter=500000ns:delay_exit=500:error=EINTR:when=1",
];

/// Sets of functions, each with a form.
const SETS: &[&str] = &[
    "dup,dup2,dup3,fcntl:error=EMFILE:when=2",
    "epoll_create,epoll_create1,epoll_ctl,epoll_wait,epoll_pwait:error=ENOMEM:when=1+2",
    "/^epoll_:error=EINVAL:when=2",
    "/^epoll_(create1?|ctl)$:retval=0:when=2..3",
    "/wait:error=EINTR:signal=USR1:when=2+",
    "/^dup[23]?$:error=EBUSY:when=1",
    "/^dup.$,epoll_ctl:error=EBUSY:when=2..3",
    "?no_such_call,dup:error=EIO:when=2",
    "?epoll_pwait2,?dup3:error=EINVAL:when=1",
    // Every name except dup.
    "!/^(.|..|....+|[^d]..|.[^u].|..[^p])$:error=EMFILE:when=2+",
    "inject=dup:error=EMFILE:when=1",
];

/// Expressions that delay calls. The beginning of what the program prints of each delayed call, and
/// how many milliseconds it takes at least.
const DELAYED: &[(&str, &[(&str, u64)])] = &[
    ("epoll_create:delay_enter=60000", &[("epoll_create(1)", 60), ("epoll_create(0)", 60)]),
    ("epoll_wait:delay_enter=50ms:when=2", &[("epoll_wait(second, got, 8, 90)", 50)]),
    ("epoll_wait:delay_exit=0.05s:when=4", &[("epoll_wait(third, got, 8, 10)", 60)]),
    ("epoll_pwait:delay_enter=30000us:delay_exit=30ms:when=1", &[("epoll_pwait(second, got, 8, 0", 60)]),
    ("epoll_ctl:delay_exit=50000000ns:error=ENOMEM:when=2", &[("epoll_ctl(second, EPOLL_CTL_ADD, b", 50)]),
    ("dup:delay_enter=5e4:retval=7:when=1", &[("dup(a)", 50)]),
    ("dup3:delay_exit=50ms:signal=USR1:when=1", &[("dup3(a, 33", 50)]),
    ("fcntl:delay_enter=50ms:when=1;dup2:delay_exit=50ms:when=1", &[("fcntl(a, F_GETFD)", 50), ("dup2(a, 30)", 50)]),
    ("close:delay_enter=40ms:delay_exit=.01s:when=1", &[("close(copy)", 50)]),
];

/// Intended differences, and the reason for each. The test fails if one of them no longer differs.
const DIFFERENT: &[(&str, &str)] = &[
    (
        "dup,dup2:error=EMFILE:when=3:scope=rule",
        "strace counts each system call by itself; scope=rule counts all together",
    ),
    (
        "dup:error=EMFILE:when=1;dup:error=EBUSY:when=2",
        "strace goes by the last rule for a call, here by the first that fires",
    ),
    ("dup:delay_enter=1ms:signal=USR1", "strace 6.1 forgets the signal of a call that it delays at its entry"),
    ("dup:error=EMFILE:when=70000", "strace's ordinals end at 65535"),
];

struct Outcome {
    status: ExitStatus,
    stdout: String,
    /// How many milliseconds each call took, with what the program printed of it.
    took: Vec<(u64, String)>,
}

fn outcome(command: &mut Command) -> Outcome {
    let run = run(command);
    let took = run
        .stderr
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(time, call)| Some((time.parse::<u64>().ok()? / 1_000_000, call.to_owned())))
        .collect();
    Outcome { status: run.status, stdout: run.stdout, took }
}

/// How many calls of close come before `main`. strace counts from the first instruction, and the
/// loader closes files.
fn closes_before_main(strace: &Path) -> u64 {
    let log = testkit::scratch("strace").join("log");
    run(Command::new(strace).arg("-o").arg(&log).args(["-e", "trace=close,write"]).arg(program("fault_sequence")));
    let log = std::fs::read_to_string(log).unwrap();
    log.lines().take_while(|line| !line.starts_with("write(")).filter(|line| line.starts_with("close(")).count() as u64
}

/// A rule for strace, in which the ordinals of `close` begin after the calls of the loader.
fn shifted(rule: &str, by: u64) -> String {
    if !rule.starts_with("close:") {
        return rule.to_owned();
    }
    if let Some((head, when)) = rule.rsplit_once(":when=")
        && head.contains(":when=")
    {
        // If there are several, the last one counts.
        return shifted(&format!("{}:when={when}", head.split(":when=").next().unwrap()), by);
    }
    let Some((head, when)) = rule.split_once(":when=") else { return format!("{rule}:when={}+", by + 1) };
    let number = |text: &str| (text.parse::<u64>().unwrap() + by).to_string();
    let (range, step) = when.split_at(when.find('+').unwrap_or(when.len()));
    let range: Vec<_> = range.split("..").map(number).collect();
    format!("{head}:when={}{step}", range.join(".."))
}

fn by_strace(strace: &Path, rules: &str, closes: u64) -> Outcome {
    let mut command = Command::new(strace);
    command.args(["-f", "-o", "/dev/null"]);
    for rule in rules.split(';') {
        command.arg("-e").arg(format!("inject={}", shifted(rule, closes)));
    }
    outcome(command.arg(program("fault_sequence")))
}

fn by_shim(rules: &str) -> Outcome {
    outcome(
        Command::new(program("fault_sequence"))
            .env("LD_PRELOAD", testkit::shim())
            .env("EPOLLSHIM_REPORT", "none")
            .env("EPOLLSHIM_INJECT", rules)
            .env("EPOLLSHIM_INJECT_IMPOSSIBLE", "1"),
    )
}

fn difference(strace: &Outcome, shim: &Outcome) -> Option<String> {
    if strace.status != shim.status {
        return Some(format!("ends with {} under strace, {} under the shim", strace.status, shim.status));
    }
    let (mut left, mut right) = (strace.stdout.lines(), shim.stdout.lines());
    loop {
        match (left.next(), right.next()) {
            (None, None) => return None,
            (strace, shim) if strace == shim => {}
            (strace, shim) => {
                let end = "(the end)";
                return Some(format!("\n  strace: {}\n  shim:   {}", strace.unwrap_or(end), shim.unwrap_or(end)));
            }
        }
    }
}

pub fn strace() -> Option<PathBuf> {
    installed(["strace"]).map(|[strace]| strace)
}

#[test]
fn an_expression_means_what_it_means_to_strace() {
    let Some(strace) = strace() else { return };
    let closes = closes_before_main(&strace);
    let plain = outcome(&mut Command::new(program("fault_sequence")));
    let mut wrong = Vec::new();
    for rules in SAME {
        let (left, right) = (by_strace(&strace, rules, closes), by_shim(rules));
        assert!(left.stdout.contains("begin"), "strace does not take {rules}");
        if let Some(difference) = difference(&left, &right) {
            wrong.push(format!("{rules}: {difference}"));
        }
        // A rule without any effect would pass as well, so the effect is checked.
        if difference(&left, &plain).is_none() && !rules.contains("65534") {
            wrong.push(format!("{rules}: does nothing under strace"));
        }
    }
    assert!(SAME.len() >= 40);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), SAME.len(), wrong.join("\n"));
}

/// Runs `work` for each of these. The number of threads suits programs that mostly wait.
pub fn each_of<T: Sync>(all: &[T], work: impl Fn(&T) -> Option<String> + Sync) -> Vec<String> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let said = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    said.lock().unwrap().extend(work(one));
                }
            });
        }
    });
    said.into_inner().unwrap()
}

#[test]
fn every_form_means_for_every_function_what_it_means_to_strace() {
    let Some(strace) = strace() else { return };
    let closes = closes_before_main(&strace);
    let plain = outcome(&mut Command::new(program("fault_sequence")));
    let product = FUNCTIONS.iter().flat_map(|function| FORMS.iter().map(move |form| format!("{function}:{form}")));
    let rules: Vec<String> = product.chain(SETS.iter().map(|rule| (*rule).to_owned())).collect();
    let wrong = each_of(&rules, |rule| {
        let (left, right) = (by_strace(&strace, rule.trim_start_matches("inject="), closes), by_shim(rule));
        if !left.stdout.contains("begin") {
            return Some(format!("strace does not take {rule}"));
        }
        if let Some(difference) = difference(&left, &right) {
            return Some(format!("{rule}: {difference}"));
        }
        // A delay changes no result. Neither does an ignored signal, except the result of a wait
        // that sleeps.
        let may_be_same = rule.contains("delay_") && !rule.contains("error=") || rule.contains("USR2");
        (difference(&left, &plain).is_none() && !may_be_same).then(|| format!("{rule}: does nothing under strace"))
    });
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rules.len(), wrong.join("\n"));
}

#[test]
fn a_delay_is_as_long_as_it_is_under_strace() {
    let Some(strace) = strace() else { return };
    let closes = closes_before_main(&strace);
    let mut wrong = Vec::new();
    for (rules, delayed) in DELAYED {
        let (left, right) = (by_strace(&strace, rules, closes), by_shim(rules));
        if let Some(difference) = difference(&left, &right) {
            wrong.push(format!("{rules}: {difference}"));
        }
        for (who, outcome) in [("strace", &left), ("the shim", &right)] {
            for (call, least) in *delayed {
                // strace delays the program by a timer of another clock, which may be up to a tick
                // shorter.
                let took = outcome.took.iter().find(|(_, of)| of.starts_with(call)).map(|(took, _)| *took);
                if took.is_none_or(|took| took + 1 < *least) {
                    wrong.push(format!("{rules}: {call} took {took:?} ms under {who}, at least {least} wanted"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_intended_differences_from_strace_exist() {
    let Some(strace) = strace() else { return };
    for (rules, why) in DIFFERENT {
        let (left, right) = (by_strace(&strace, rules, 0), by_shim(rules));
        assert!(difference(&left, &right).is_some(), "{rules} does not differ: {why}");
    }
}
