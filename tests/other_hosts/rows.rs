//! The tests that run on each host. Each function returns its result for docs/hosts.md; a failure
//! panics.

use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::host::{Host, files};
use super::without::without;
use crate::checks::{self, every_check};
use crate::programs::{Mode, Running, free_port, load};
use testkit::layout::{Recording, files as recordings_in};
use testkit::place::Place;
use testkit::{root, run, scratch};

pub enum Outcome {
    Passed(String),
    /// The reason.
    Skipped(String),
}

use Outcome::{Passed, Skipped};

// ---- the C programs ----

type Check = Box<dyn Fn(&dyn Place) + Send + Sync>;

/// The checks of tests/c_programs.rs, by name.
fn all_checks() -> Vec<(String, Check)> {
    macro_rules! list {
        ($($name:ident: $check:ident($($argument:expr),*);)*) => {
            vec![$((
                stringify!($name).to_owned(),
                Box::new(|place: &dyn Place| checks::$check(place, $($argument),*)) as Check,
            )),*]
        };
    }
    let mut all = every_check!(list);
    for program in checks::WITH_A_CENSUS {
        let check: Check = Box::new(move |place| checks::passes_with_a_census_and_call_stacks(place, program));
        all.push((format!("{program} with a census and call stacks"), check));
    }
    all
}

/// The message with which a check panicked.
fn failure(check: &Check, host: &Host) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| check(host))).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
}

pub fn c_programs(host: &Host) -> Outcome {
    let mut checks = all_checks();
    // To debug a failure: runs only the checks with this text in their names.
    if let Ok(part) = std::env::var("HOSTS_CHECKS") {
        checks.retain(|(name, _)| name.contains(&part));
    }
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let cannot = AtomicUsize::new(0);
    // More threads than processors: most checks wait more than they compute.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((name, check)) = checks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let known = without(host.name, name);
                    match (failure(check, host), known) {
                        (None, None) => {}
                        (None, Some(known)) => {
                            wrong.lock().unwrap().push(format!("{name} passes, though {}", known.why));
                        }
                        // The failure is that of the host, not of the library, only if a compiler
                        // or a native run has it too.
                        (Some(text), Some(known)) if known.is_shown_by(&text) => {
                            cannot.fetch_add(1, Ordering::Relaxed);
                        }
                        (Some(text), _) => wrong.lock().unwrap().push(format!("{name}: {text}")),
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}: {} of {} are wrong:\n{}", host.name, wrong.len(), checks.len(), wrong.join("\n\n"));
    let cannot = cannot.into_inner();
    Passed(format!("{} of {}", checks.len() - cannot, checks.len() - cannot))
}

// ---- limits, faults, a census and a recording ----

/// The output of c-tests/hosts/limited_and_broken: natively, and with the options of [`options`].
const FREE: &str = "the first instance: succeeds\nthe second instance: succeeds\nan interest: succeeds\n\
    an interest: succeeds\nan interest: succeeds\nthe first wait: succeeds\nthe second wait: succeeds\n\
    a socket: succeeds\na socket: succeeds\n";

fn is_limited_and_broken(host: &Host, printed: &str) {
    // The text of an errno in the host's C library.
    let word = |errno: &str| match (errno, host.is_musl()) {
        ("EMFILE", true) => "No file descriptors available",
        ("EMFILE", false) => "Too many open files",
        ("ENOSPC", _) => "No space left on device",
        (_, _) => "Interrupted system call",
    };
    let mut lines: Vec<String> = FREE.lines().map(str::to_owned).collect();
    for (line, errno) in [(1, "EMFILE"), (4, "ENOSPC"), (5, "EINTR")] {
        lines[line] = lines[line].replace("succeeds", word(errno));
    }
    assert_eq!(printed.lines().collect::<Vec<_>>(), lines, "{}", host.name);
}

fn is_reported(host: &Host, report: &Value) {
    let of = |call: &str| (report["calls"][call]["injected"].clone(), report["calls"][call]["limited"].clone());
    assert_eq!(of("epoll_create1"), (json!(0), json!(1)), "{}: {report}", host.name);
    assert_eq!(of("epoll_ctl"), (json!(0), json!(1)), "{}: {report}", host.name);
    assert_eq!(of("epoll_wait"), (json!(1), json!(0)), "{}: {report}", host.name);
    let denied: Vec<_> = report["limits"].as_array().unwrap().iter().map(|limit| limit["denied"].clone()).collect();
    assert_eq!(denied, [1, 1], "{}: {report}", host.name);
    assert_eq!(report["faults"][0]["fired"], 1, "{}: {report}", host.name);
    let kinds = report["census"]["by_kind"].as_array().unwrap();
    let sockets = kinds.iter().find(|kind| kind["kind"] == "socket").expect("sockets in the census");
    assert_eq!(sockets["born"], 2, "{}: {report}", host.name);
    // Each site is a place in the program.
    let site = report["instances"]["list"][0]["site"].as_str().unwrap();
    assert!(site.starts_with("limited_and_broken"), "{}: {report}", host.name);
}

/// Options by environment variables: limits, a fault, a census, a report and a recording. Then call
/// stacks, which some hosts do not support.
pub fn options(host: &Host) -> Outcome {
    let binary = host.c_program("hosts/limited_and_broken", &[]);
    assert_eq!(run(&mut host.command(&binary)).stdout, FREE, "{}", host.name);
    let directory = scratch("options");
    let (path, recordings) = (directory.join("report.json"), directory.join("recordings"));
    let mut command = host.command(&binary);
    host.preload(&mut command, &path)
        .env("EPOLLSHIM_LIMIT", "instances=1,watches=2")
        .env("EPOLLSHIM_INJECT", "epoll_wait:error=EINTR:when=1")
        .env("EPOLLSHIM_CENSUS", "1")
        .env("EPOLLSHIM_RECORD", &recordings);
    let limited = run(&mut command);
    assert_eq!((limited.status.code(), limited.stderr.as_str()), (Some(0), ""), "{}", host.name);
    is_limited_and_broken(host, &limited.stdout);
    is_reported(host, &testkit::report(&path));
    let all = recordings_in(&recordings);
    assert_eq!(all.len(), 1, "{}: {all:?}", host.name);
    assert_eq!(Recording::read(&all[0]).all_calls(), 2 + 3 + 2, "{}", host.name);

    // Call stacks are recorded, or the option is refused with one message before the program
    // starts.
    let path = directory.join("stacks.json");
    let mut command = host.command(&binary);
    let stacks = run(host.preload(&mut command, &path).env("EPOLLSHIM_STACKS", "4"));
    if !host.has_stacks() {
        assert_eq!((stacks.status.code(), stacks.stdout.as_str()), (Some(2), ""), "{}: {}", host.name, stacks.stderr);
        let refusal = stacks.stderr.strip_prefix("epollshim: EPOLLSHIM_STACKS: ").map(str::lines);
        let [why] = refusal.expect("a refusal").collect::<Vec<_>>()[..] else { panic!("{}", stacks.stderr) };
        return Passed(format!("passes; no stacks: {why}"));
    }
    assert_eq!((stacks.status.code(), stacks.stdout.as_str()), (Some(0), FREE), "{}: {}", host.name, stacks.stderr);
    let report = testkit::report(&path);
    let stack = report["instances"]["list"][0]["stack"].as_array().unwrap();
    assert!(!stack.is_empty(), "{}: {report}", host.name);
    Passed("passes".to_owned())
}

// ---- redis-server ----

fn errors(report: &Value) -> Vec<&Value> {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().filter(|finding| finding["severity"] == "error").collect()
}

/// Runs redis-server with a conversation, a load, and SHUTDOWN. Returns its answers and the
/// directory of the run.
fn serve(host: &Host, under: bool) -> (String, PathBuf, crate::programs::Ended) {
    let directory = scratch("redis");
    let port = free_port();
    let text = port.to_string();
    let mut command = host.command(Path::new("/usr/bin/redis-server"));
    command.args(["--port", &text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]).arg(&directory);
    if under {
        let recordings = directory.join("recordings");
        host.preload(&mut command, &directory.join("report-%p.json"));
        command.env("EPOLLSHIM_CENSUS", "1").env("EPOLLSHIM_RECORD", recordings);
    }
    let mode = if under { Mode::Shim } else { Mode::Bare };
    let mut redis = Running::of(command, mode, directory.clone());
    redis.until_listening(port);
    let answers = load::conversation(
        port,
        "PING\r\nSET key value\r\nGET key\r\nINCR counter\r\nLPUSH list 1 2 3\r\nLRANGE list 0 -1\r\n\
         BLPOP nothing 0.01\r\nNO SUCH COMMAND\r\nFLUSHALL\r\nQUIT\r\n",
    );
    let mut benchmark = host.command(Path::new("/usr/bin/redis-benchmark"));
    benchmark.args(["-p", &text, "-c", "50", "-n", "5000", "-q", "-t", "set,get,lpush,mset"]);
    let loaded = run(&mut benchmark);
    assert!(loaded.status.success(), "{}: redis-benchmark: {}{}", host.name, loaded.stdout, loaded.stderr);
    load::conversation(port, "SHUTDOWN NOSAVE\r\n");
    (answers, directory, redis.ended())
}

pub fn redis(host: &Host) -> Outcome {
    if host.is_musl() {
        return Skipped("Debian has no redis-server for musl".to_owned());
    }
    if host.name == "no-libgcc" {
        let native = run(host.command(Path::new("/usr/bin/redis-server")).arg("--version"));
        assert!(native.stderr.contains("libgcc_s.so.1"), "{}: {}", host.name, native.stderr);
        return Skipped("redis-server itself needs libgcc_s.so.1".to_owned());
    }
    let version = host.output("redis-server --version");
    assert!(version.contains("malloc=jemalloc"), "{}: {version}", host.name);
    let (native_answers, _, native) = serve(host, false);
    let (answers, directory, shimmed) = serve(host, true);
    assert_eq!((answers.as_str(), shimmed.status), (native_answers.as_str(), native.status), "{}", host.name);
    assert!(answers.starts_with("+PONG\r\n+OK\r\n$5\r\nvalue\r\n:1\r\n:3\r\n"), "{}: {answers}", host.name);
    assert_eq!(shimmed.reports.len(), 1, "{}: {:?}", host.name, shimmed.reports);
    let report = shimmed.reports.values().next().unwrap();
    let instance = &report["instances"]["list"][0];
    assert_eq!(report["instances"]["created"], 1, "{}: {report}", host.name);
    assert_eq!((&instance["call"], &instance["size"]), (&json!("epoll_create"), &json!(1024)), "{}", host.name);
    // 50 connections for each of four loads, two conversations, and the sockets that listen.
    assert!(report["watches"]["added"].as_u64().unwrap() > 200, "{}: {report}", host.name);
    assert!(report["calls"]["epoll_wait"]["calls"].as_u64().unwrap() > 100, "{}: {report}", host.name);
    assert!(report["census"]["born"].as_u64().unwrap() > 200, "{}: {report}", host.name);
    assert!(errors(report).is_empty(), "{}: {:?}", host.name, errors(report));
    let recordings = directory.join("recordings");
    let all = recordings_in(&recordings);
    assert_eq!(all.len(), 1, "{}: {all:?}", host.name);
    // Each call is recorded.
    let recorded = Recording::read(&all[0]);
    let waits = recorded.calls(epollshim_format::call::Call::Wait);
    assert_eq!(report["calls"]["epoll_wait"]["calls"], waits, "{}", host.name);
    if let Some(command) = files().command {
        let read = json_of(host.command(&command).args(["report", "--format", "json"]).arg(&recordings));
        assert_eq!(read["processes"][0]["calls"]["epoll_wait"], report["calls"]["epoll_wait"], "{}", host.name);
    }
    Passed("passes".to_owned())
}

// ---- python3 ----

/// The output of an asyncio program, which must succeed, and its report.
fn loopback(host: &Host, options: &[(&str, &str)]) -> (String, Value) {
    let path = scratch("asyncio").join("report.json");
    let mut command = host.command(Path::new("/usr/bin/python3"));
    let script = root().join("tests/programs/loopback.py");
    let ended = run(host.preload(command.arg(script), &path).envs(options.iter().copied()));
    assert!(ended.status.success(), "{} {options:?}: {}\n{}", host.name, ended.status, ended.stderr);
    // Python prints an error about a loop without an instance; the library must print nothing.
    assert!(!ended.stderr.contains("epollshim"), "{} {options:?}: {}", host.name, ended.stderr);
    (ended.stdout, testkit::report(&path))
}

pub fn asyncio(host: &Host) -> Outcome {
    if host.is_musl() {
        return Skipped("Debian has no python3 for musl".to_owned());
    }
    // 8 clients of 50 messages, of 7, 14... 350 bytes.
    let bytes = 8 * 7 * 50 * 51 / 2;
    let unlimited = format!("echoed {bytes}\none more loop\n");
    let refused = format!("echoed {bytes}\nno other loop: EMFILE\n");
    let native = run(host.command(Path::new("/usr/bin/python3")).arg(root().join("tests/programs/loopback.py")));
    assert_eq!((native.stdout.as_str(), native.stderr.as_str()), (unlimited.as_str(), ""), "{}", host.name);

    let (printed, report) = loopback(host, &[("EPOLLSHIM_CENSUS", "1")]);
    assert_eq!(printed, unlimited, "{}", host.name);
    // One instance is that of the module selectors, which tests whether epoll works.
    assert_eq!(report["instances"]["created"], 3, "{}: {report}", host.name);
    assert_eq!(report["instances"]["live"], 0, "{}: {report}", host.name);
    assert!(errors(&report).is_empty(), "{}: {:?}", host.name, errors(&report));

    let (printed, report) = loopback(host, &[("EPOLLSHIM_LIMIT", "instances=1")]);
    assert_eq!(printed, refused, "{}", host.name);
    assert_eq!(report["limits"][0]["denied"], 1, "{}: {report}", host.name);

    let (printed, report) = loopback(host, &[("EPOLLSHIM_INJECT", "epoll_create1:error=EMFILE:when=3")]);
    assert_eq!(printed, refused, "{}", host.name);
    assert_eq!(report["faults"][0]["fired"], 1, "{}: {report}", host.name);
    Passed("passes".to_owned())
}

// ---- the command ----

fn json_of(command: &mut Command) -> Value {
    let ended = run(command);
    assert!(ended.status.success(), "{command:?}: {}\n{}{}", ended.status, ended.stdout, ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{command:?}: {error}: {}", ended.stdout))
}

/// `check`; `run` with limits, a fault and a recording; `report`; and, for a running program,
/// `inspect` and `ctl`.
pub fn command(host: &Host) -> Outcome {
    let files = files();
    let Some(epollshim) = &files.command else {
        return Skipped("the command is not a static file (make dist makes one)".to_owned());
    };
    // The command of a package finds the library beside itself.
    let start = |word: &str| {
        let mut command = host.command(epollshim);
        command.arg(word);
        if word == "run" {
            command.arg("--shim").arg(&files.library);
        }
        command
    };
    assert!(run(&mut start("--version")).stdout.starts_with("epollshim "), "{}", host.name);
    let binary = host.c_program("hosts/limited_and_broken", &[]);

    let checked = run(start("check").arg(&binary));
    assert!(checked.status.success(), "{}: {}{}", host.name, checked.stdout, checked.stderr);

    let directory = scratch("command");
    let (recordings, path) = (directory.join("recordings"), directory.join("report.json"));
    let mut limited = start("run");
    limited.args(["--limit", "instances=1,watches=2", "--inject", "epoll_wait:error=EINTR:when=1", "--record"]);
    limited.arg(&recordings).args(["--format", "json", "--output"]).arg(&path).arg("--");
    let limited = run(limited.arg(&binary));
    assert!(limited.status.success(), "{}: {}", host.name, limited.stderr);
    is_limited_and_broken(host, &limited.stdout);
    let first: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    is_reported(host, &first["processes"][0]);

    let read = json_of(start("report").args(["--format", "json"]).arg(&recordings));
    assert_eq!(read["processes"][0]["process"]["end"], "exit", "{}: {read}", host.name);
    is_reported(host, &read["processes"][0]);
    let text = run(start("report").arg(&recordings));
    assert!(text.stdout.contains("limited_and_broken") && text.status.success(), "{}: {}", host.name, text.stdout);

    looked_at_and_steered(host, &start, epollshim);
    Passed("passes".to_owned())
}

/// Inspects and controls a recorded program that runs with the host's C library.
fn looked_at_and_steered(host: &Host, start: &impl Fn(&str) -> Command, epollshim: &Path) {
    let directory = scratch("steered");
    let recordings = directory.join("recordings");
    let mut command = start("run");
    command.arg("--record").arg(&recordings).args(["--format", "json", "--"]);
    command.arg(host.c_program("hosts/served_for_ever", &[]));
    let mut running = Running::of(command, Mode::Bare, directory);
    let pid = running.until("it printed its pid", |running| {
        running.read("stdout").lines().find_map(|line| line.strip_prefix("pid ")?.parse::<i32>().ok())
    });
    let beside = |word: &str| {
        let mut command = host.command_beside(pid, epollshim);
        command.arg(word);
        command
    };
    let process = pid;
    let pid = pid.to_string();

    let seen = json_of(beside("inspect").args(["--format", "json", &pid]));
    let instances = seen["processes"][0]["instances"].as_array().expect("instances");
    assert_eq!(instances.len(), 1, "{}: {seen}", host.name);

    let status = run(beside("ctl").args([&pid, "status"]));
    assert!(status.status.success(), "{}: {}{}", host.name, status.stdout, status.stderr);
    let armed = run(beside("ctl").args([&pid, "inject", "epoll_ctl:error=ENOSPC:op=ADD:when=1"]));
    assert!(armed.status.success(), "{}: {}{}", host.name, armed.stdout, armed.stderr);
    running.until("the fault fired", |running| running.read("stdout").contains("epoll_ctl: No space").then_some(()));
    let snapshot = run(beside("ctl").args([&pid, "snapshot"]));
    assert!(snapshot.status.success(), "{}: {}{}", host.name, snapshot.stdout, snapshot.stderr);
    assert!(snapshot.stdout.contains("served_for_ever"), "{}: {}", host.name, snapshot.stdout);

    // SAFETY: kill accesses no memory. The process is a child of `running`, which has not waited
    // for it, so its pid is not reused.
    assert_eq!(unsafe { libc::kill(process, libc::SIGKILL) }, 0);
    // Ends like the program, which was killed.
    let ended = running.ended_anyhow();
    assert_eq!(ended.status.signal(), Some(libc::SIGKILL), "{}: {}", host.name, ended.stderr);
    let read = json_of(start("report").args(["--format", "json"]).arg(&recordings));
    assert_eq!(read["processes"][0]["process"]["end"], "signal", "{}: {read}", host.name);
}
