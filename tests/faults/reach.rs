//! Faults reach every function that creates, duplicates or closes a descriptor: as under strace,
//! and also those that strace has no name for.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use epollshim_format::function::TABLE;
use epollshim_format::functions::Role;

use super::differential::{each_of, strace};
use super::program;

/// What `creators` prints, with a rule or without: the name and the errno of each call.
fn under_shim(rule: &str) -> (String, u64) {
    let directory = testkit::scratch("creators");
    let path = directory.join("report.json");
    let mut command = Command::new(program("creators"));
    let command = testkit::under_shim(command.arg(&directory), &path).env("EPOLLSHIM_INJECT", rule);
    let output = command.env("EPOLLSHIM_INJECT_IMPOSSIBLE", "1").output().unwrap();
    assert!(output.status.success(), "{rule}: {}", testkit::show(&output));
    let matched = testkit::report(&path)["faults"][0]["matched"].as_u64().unwrap();
    (String::from_utf8(output.stdout).unwrap(), matched)
}

fn under_strace(strace: &Path, rule: &str) -> String {
    let directory = testkit::scratch("creators");
    let mut command = Command::new(strace);
    command.args(["-f", "-o", "/dev/null", "-e", &format!("inject={rule}")]).arg(program("creators")).arg(&directory);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{rule}: {}", testkit::show(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// How many calls of each system call strace sees.
fn seen_by_strace(strace: &Path) -> BTreeMap<String, u64> {
    let directory = testkit::scratch("creators");
    let trace = directory.join("trace");
    let mut command = Command::new(strace);
    command.args(["-f", "-o"]).arg(&trace).arg(program("creators")).arg(&directory);
    assert!(command.output().unwrap().status.success());
    let mut calls = BTreeMap::new();
    for line in std::fs::read_to_string(trace).unwrap().lines() {
        let call = line.split_whitespace().nth(1).unwrap_or_default().split('(').next().unwrap_or_default();
        *calls.entry(call.to_owned()).or_default() += 1;
    }
    calls
}

#[test]
fn each_system_call_that_makes_descriptors_fails_where_strace_makes_it_fail() {
    let Some(strace) = strace() else { return };
    let seen = seen_by_strace(&strace);
    let mut compared = Vec::new();
    let makes = |role| matches!(role, Role::Create | Role::Instance | Role::Duplicate);
    let mut calls: Vec<&str> = TABLE.iter().filter(|row| makes(row.role)).map(|row| row.system_call()).collect();
    calls.dedup();
    for call in calls {
        let Some(total) = seen.get(call).copied() else { continue };
        // The calls of the loader come first, and the library does not see them.
        let before = total - under_shim(&format!("{call}:error=EMFILE:when=1000000")).1;
        compared.extend(FORMS.iter().map(|form| (call, before, form)));
    }
    let wrong = each_of(&compared, |(call, before, (names, action, when))| {
        let rule = |by: u64| {
            let ordinals: Vec<String> = when
                .split("..")
                .map(|ordinal| {
                    let (number, step) = ordinal.split_at(ordinal.find('+').unwrap_or(ordinal.len()));
                    format!("{}{step}", number.parse::<u64>().unwrap() + by)
                })
                .collect();
            format!("{}:{action}:when={}", names.replace("CALL", call), ordinals.join(".."))
        };
        let timed = |work: &dyn Fn() -> String| {
            let began = std::time::Instant::now();
            (work(), began.elapsed().as_millis())
        };
        let (here, time_here) = timed(&|| under_shim(&rule(0)).0);
        let (there, time_there) = timed(&|| under_strace(&strace, &rule(*before)));
        if here != there {
            return Some(format!("{}\n  strace: {there:?}\n  here:   {here:?}", rule(0)));
        }
        let is_short = action.contains("=40ms") && time_here.min(time_there) < 40;
        is_short.then(|| format!("{}: took {time_there} ms under strace, {time_here} ms here", rule(0)))
    });
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), compared.len(), wrong.join("\n"));
    assert!(compared.len() >= 20 * FORMS.len(), "{}", compared.len());
}

/// Every form of strace's manual: how a system call is named, what is done to it, and for which
/// calls.
const FORMS: [(&str, &str, &str); 16] = [
    ("CALL", "error=EMFILE", "2"),
    ("CALL", "error=ENFILE", "1+2"),
    ("CALL", "error=24", "2+"),
    ("?CALL,?no_such_call", "error=enomem", "1..2"),
    ("/^CALL$", "error=EPERM", "1..3+2"),
    ("CALL", "error=EPERM", "2..3+"),
    ("CALL", "retval=77", "1"),
    ("CALL", "retval=-23", "2"),
    ("CALL", "retval=0x20", "2+"),
    ("CALL", "signal=USR1", "1+2"),
    ("CALL", "error=EINTR:signal=SIGUSR1", "2"),
    ("CALL", "retval=40:signal=10", "1..2"),
    ("CALL", "delay_enter=40ms", "2"),
    ("CALL", "delay_exit=40ms:error=EAGAIN", "2"),
    ("CALL", "delay_enter=20000:delay_exit=20000us:error=EIO", "1"),
    ("CALL", "delay_exit=40ms:signal=USR1:retval=50", "2"),
];

/// The names in those lines of `creators` in which a call failed with this errno.
fn failures(printed: &str, error: i32) -> Vec<&str> {
    printed.lines().filter_map(|line| line.strip_suffix(&format!(" {error}"))).collect()
}

#[test]
fn every_function_fails_by_its_own_name_however_it_is_called() {
    let also: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("open", &["open64"][..]),
        ("openat", &["creat", "mkstemp", "mkostemp", "open", "open64", "posix_openpt", "syscall(openat)"]),
        ("pipe2", &["pipe"]),
        ("socket", &["syscall(socket)"]),
        ("fcntl", &["F_GETFL"]),
    ]);
    let (plain, _) = under_shim("none:error=EMFILE");
    for row in TABLE.iter().filter(|row| plain.lines().any(|line| line.starts_with(&format!("{} ", row.name())))) {
        let (printed, _) = under_shim(&format!("{}:error=ELOOP:when=1", row.name()));
        let failed = failures(&printed, libc::ELOOP);
        let expected =
            |name: &&str| *name == row.name() || also.get(row.name()).is_some_and(|others| others.contains(name));
        // `listener` creates the first socket, and the program ends without it.
        assert!(row.name() == "socket" || failed.len() == 1, "{}: {failed:?}", row.name());
        assert!(failed.iter().all(expected), "{}: {failed:?}", row.name());
    }
}

#[test]
fn a_rule_makes_a_program_run_out_of_descriptors_without_a_limit() {
    let (printed, _) = under_shim("%creat:error=EMFILE:when=3+");
    let failed = failures(&printed, libc::EMFILE);
    // Everything that creates a descriptor in the third round fails, and nothing else: not
    // fcntl(F_GETFL), not recvmsg.
    for name in ["open", "socketpair", "accept4", "eventfd", "memfd_create", "dup2", "fcntl", "epoll_create1"] {
        assert!(failed.contains(&name), "{name}: {failed:?}");
    }
    assert!(!failed.contains(&"F_GETFL") && !failed.contains(&"recvmsg"), "{failed:?}");
}

#[test]
fn errors_of_error_any_are_documented_for_the_call_and_repeat_with_the_seed() {
    let (printed, _) = under_shim("%creat:error=any");
    let mut different = std::collections::BTreeSet::new();
    for line in printed.lines() {
        let (name, error) = line.rsplit_once(' ').unwrap();
        let Some(row) = TABLE.iter().find(|row| row.name() == name && row.role == Role::Create) else { continue };
        let error: u8 = error.parse().unwrap();
        assert!(row.errors.all().contains(&error), "{name}: {error}");
        different.insert(error);
    }
    assert!(different.len() > 4, "{different:?}");
    let again = |seed: &str| {
        let directory = testkit::scratch("creators");
        let mut command = Command::new(program("creators"));
        let command = testkit::under_shim(command.arg(&directory), &directory.join("report.json"));
        command.env("EPOLLSHIM_INJECT", "%creat:error=any").env("EPOLLSHIM_SEED", seed).output().unwrap().stdout
    };
    assert_eq!(again("5"), again("5"));
    assert_ne!(again("5"), again("6"));
}
