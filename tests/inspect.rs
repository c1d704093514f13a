//! `epollshim inspect` finds what is wrong with stuck processes, finds nothing in healthy ones, and
//! changes no process.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A program of c-tests/inspect that has reached the state in which it stays. It is killed when
/// this is dropped.
struct Stuck {
    child: Child,
    pid: u32,
    fd: i64,
}

impl Stuck {
    fn start(name: &str, arguments: &[&str]) -> Stuck {
        Stuck::by(&mut Command::new(testkit::c_program(&format!("inspect/{name}"))), arguments)
    }

    fn by(command: &mut Command, arguments: &[&str]) -> Stuck {
        let mut child =
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[0], "ready", "{line}");
        Stuck { child, pid: words[2].parse().unwrap(), fd: words[4].parse().unwrap() }
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn command() -> Command {
    let command = testkit::shim().with_file_name("epollshim");
    Command::new(command)
}

/// The object of one process.
fn inspect(pid: u32) -> Value {
    let output = command().args(["inspect", "--format", "json"]).arg(pid.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", testkit::show(&output));
    let mut all: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(all["schema"], "epollshim.inspect/1");
    all["processes"][0].take()
}

/// Polls until `inspect` reports a finding of this id that is as wanted.
fn finding(pid: u32, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let process = inspect(pid);
        let found = process["findings"].as_array().unwrap().iter().find(|one| one["id"] == id && wanted(one));
        if let Some(found) = found {
            return found.clone();
        }
        assert!(start.elapsed() < Duration::from_secs(60), "no such {id}: {process:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The descriptors of a process, their flags and offsets, and the interests of its instances.
fn table(pid: u32) -> Vec<(String, String, String)> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let mut table: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            let target = std::fs::read_link(entry.path()).unwrap().to_string_lossy().into_owned();
            let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{name}")).unwrap();
            (name, target, info)
        })
        .collect();
    table.sort();
    table
}

#[test]
fn an_edge_that_is_lost_is_found_in_sockets_of_each_kind_and_in_listeners() {
    for (kind, waits, what) in [
        ("tcp", "72 unread bytes", "ESTABLISHED"),
        ("unix", "72 unread bytes", "unix"),
        ("listen", "2 connections", "LISTEN"),
    ] {
        let program = Stuck::start("edge_lost", &[kind]);
        let found = finding(program.pid, "stalled", |_| true);
        assert_eq!(found["severity"], "warning", "{found:#}");
        assert_eq!(found["fds"], serde_json::json!([program.fd]), "{found:#}");
        assert_eq!(found["tid"], program.pid, "{found:#}");
        assert!(text(&found["message"]).contains(waits) && text(&found["message"]).contains("EAGAIN"), "{found:#}");
        assert!(text(&found["descriptor"]).contains(what), "{found:#}");
    }
}

#[test]
fn a_loop_that_reads_until_eagain_is_not_stalled() {
    let program = Stuck::start("edge_lost", &["whole"]);
    let process = inspect(program.pid);
    assert_eq!(process["findings"], serde_json::json!([]), "{process:#}");
    let program = Stuck::start("oneshot_lost", &["ok"]);
    let process = inspect(program.pid);
    assert_eq!(process["findings"], serde_json::json!([]), "{process:#}");
}

#[test]
fn a_one_shot_interest_that_is_not_armed_again_is_found_though_data_goes_on_to_come() {
    let program = Stuck::start("oneshot_lost", &[]);
    let found = finding(program.pid, "stalled", |_| true);
    assert_eq!(found["fds"], serde_json::json!([program.fd]), "{found:#}");
    assert!(text(&found["message"]).contains("EPOLL_CTL_MOD"), "{found:#}");
    let process = inspect(program.pid);
    let interest = &process["instances"][0]["interests"][0];
    assert_eq!((&interest["disarmed"], &interest["events"]), (&true.into(), &serde_json::json!(["EPOLLONESHOT"])));
}

#[test]
fn a_ghost_is_found_whether_its_number_is_closed_or_reused() {
    for (kind, severity, message) in [
        ("closed", "warning", "the descriptor is closed"),
        ("other", "warning", "another file now, and the old file is still watched"),
        ("eventfd", "warning", "another file now, and the old file is still watched"),
        ("awake", "error", "wake every wait"),
    ] {
        let program = Stuck::start("ghosts", &[kind]);
        let found = finding(program.pid, "ghost", |found| found["severity"] == severity);
        assert_eq!(found["fds"], serde_json::json!([program.fd]), "{kind}: {found:#}");
        assert!(text(&found["message"]).contains(message), "{kind}: {found:#}");
    }
}

#[test]
fn connections_that_only_the_other_end_has_closed_are_a_leak() {
    let program = Stuck::start("close_wait", &[]);
    // The finding requires that each descriptor has been in this state for a second.
    let found = finding(program.pid, "fd-leak", |found| found["severity"] == "warning");
    assert_eq!(found["fds"].as_array().unwrap().len(), 10, "{found:#}");
    assert!(text(&found["message"]).contains("10 of them still watched"), "{found:#}");
    assert!(text(&found["descriptor"]).ends_with("CLOSE_WAIT"), "{found:#}");
}

#[test]
fn few_descriptors_left_is_a_warning_and_none_an_error() {
    for (kind, severity, message) in [("some", "warning", "of the 64"), ("all", "error", "EMFILE")] {
        let program = Stuck::start("near_limit", &[kind]);
        let found = finding(program.pid, "near-limit", |_| true);
        assert_eq!(found["severity"], severity, "{found:#}");
        assert!(text(&found["message"]).contains(message) && text(&found["message"]).contains("eventfds"), "{found:#}");
    }
}

#[test]
fn a_loop_that_spins_is_found_and_one_that_computes_is_not() {
    for (kind, message) in [("end", "close the descriptor"), ("out", "ask for EPOLLOUT only while")] {
        let program = Stuck::start("spins", &[kind]);
        let found = finding(program.pid, "spin", |_| true);
        assert_eq!(found["fds"], serde_json::json!([program.fd]), "{found:#}");
        assert!(text(&found["message"]).contains(message), "{found:#}");
    }
    let program = Stuck::start("spins", &["works"]);
    let process = inspect(program.pid);
    assert_eq!(process["findings"], serde_json::json!([]), "{process:#}");
}

#[test]
fn a_healthy_process_is_shown_with_the_threads_that_wait() {
    let program = Stuck::start("healthy", &[]);
    let start = Instant::now();
    let process = loop {
        let process = inspect(program.pid);
        let waits = process["threads"].as_array().unwrap().iter().filter(|one| !one["waits_on"].is_null()).count();
        assert!(start.elapsed() < Duration::from_secs(60), "{process:#}");
        if waits == 2 {
            break process;
        }
    };
    assert_eq!(process["findings"], serde_json::json!([]), "{process:#}");
    assert_eq!(process["not_looked_at"], serde_json::json!([]), "{process:#}");
    let instances = process["instances"].as_array().unwrap();
    let epfds = instances[0]["epfds"].as_array().unwrap();
    // One instance has two descriptors, and the other has one.
    assert_eq!((instances.len(), epfds.len(), &epfds[1]), (2, 2, &50.into()), "{process:#}");
    assert_eq!(instances[0]["waiters"], serde_json::json!([program.pid]), "{process:#}");
    assert_ne!(instances[1]["waiters"], serde_json::json!([]), "{process:#}");
    let connection =
        instances[0]["interests"].as_array().unwrap().iter().find(|interest| interest["fd"] == program.fd).unwrap();
    assert_eq!(connection["ready"], serde_json::json!(["EPOLLOUT"]), "{connection:#}");
    assert_eq!(connection["descriptor"]["state"], "ESTABLISHED", "{connection:#}");
    assert_eq!(connection["descriptor"]["protocol"], "tcp", "{connection:#}");
    assert_ne!(connection["descriptor"]["peer"], Value::Null, "{connection:#}");
    let times: Vec<_> =
        process["threads"].as_array().unwrap().iter().map(|one| &one["waits_on"]["timeout_ms"]).collect();
    assert!(times.contains(&&Value::from(-1)) && times.contains(&&Value::from(10_000)), "{process:#}");
}

#[test]
fn nothing_is_changed_in_a_process_and_it_is_never_stopped() {
    let program = Stuck::start("healthy", &[]);
    let field = |name: &str| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid)).unwrap();
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
    };
    let start = Instant::now();
    while inspect(program.pid)["threads"][0]["waits_on"].is_null() {
        assert!(start.elapsed() < Duration::from_secs(60));
    }
    let (before, turns) = (table(program.pid), field("voluntary_ctxt_switches:"));
    let mut command = command();
    let mut inspector =
        command.args(["inspect", "--watch=0.1", &program.pid.to_string()]).stdout(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        assert!(!field("State:").starts_with(['T', 't']));
        assert_eq!(field("TracerPid:"), "0");
        for pending in ["SigPnd:", "ShdPnd:"] {
            assert_eq!(field(pending).trim_start_matches('0'), "");
        }
    }
    inspector.kill().unwrap();
    inspector.wait().unwrap();
    // Its first thread sleeps in the same wait as before: neither a stop nor anything else woke it.
    assert_eq!(field("voluntary_ctxt_switches:"), turns);
    assert_eq!(table(program.pid), before);
}

#[test]
fn fail_on_decides_the_exit_status() {
    let program = Stuck::start("ghosts", &["closed"]);
    let status = |fail_on: &str| {
        let output = command().args(["inspect", "--fail-on", fail_on]).arg(program.pid.to_string()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(status("ghost").0, Some(1));
    assert!(status("warning").1.contains("1 finding that --fail-on names: ghost"));
    assert_eq!(status("stalled,error,ghost:error").0, Some(0));
    assert_eq!(status("leak").0, Some(0));
    let (code, said) = status("ghots");
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn several_processes_are_shown_and_one_that_is_not_there_is_an_error() {
    let (one, other) = (Stuck::start("healthy", &[]), Stuck::start("healthy", &[]));
    let output = command().arg("inspect").args([one.pid, other.pid].map(|pid| pid.to_string())).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(shown.matches("No problems with epoll found").count(), 2, "{shown}");
    let output = command().args(["inspect", "--format", "json", "4194305"]).arg(one.pid.to_string()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", testkit::show(&output));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "epollshim: there is no process 4194305\n");
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (all["errors"][0]["pid"].as_str(), all["processes"][0]["pid"].as_u64()),
        (Some("4194305"), Some(one.pid.into()))
    );
    for wrong in ["x", "-1", ""] {
        assert_eq!(command().args(["inspect", wrong]).output().unwrap().status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn watch_ends_with_the_process() {
    let program = Stuck::start("healthy", &[]);
    let path = testkit::scratch("inspect").join("out");
    let mut inspector = command()
        .args(["inspect", "--watch=0.1", "--format", "json", &program.pid.to_string()])
        .stdout(File::create(&path).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let rounds = || std::fs::read_to_string(&path).unwrap().lines().count();
    let start = Instant::now();
    while rounds() < 3 {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(program);
    let status = inspector.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    // The thread has slept since the first round.
    let asleep: Vec<u64> = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter_map(|round| round["processes"][0]["threads"][0]["asleep_at_least_ns"].as_u64())
        .collect();
    assert!(asleep.len() >= 3 && asleep.windows(2).all(|pair| pair[0] < pair[1]), "{asleep:?}");
}

/// Whether this test may change its user.
fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").unwrap().lines().any(|line| line.starts_with("Uid:\t0\t0"))
}

#[test]
fn a_process_of_another_user_is_refused_with_the_remedy() {
    use std::os::unix::process::CommandExt;
    if !is_root() {
        return;
    }
    let program = Stuck::start("healthy", &[]);
    // The other user may have no access to the build tree.
    let folder = Path::new("/tmp").join(format!("inspect-{}", program.pid));
    std::fs::create_dir(&folder).unwrap();
    testkit::copy(testkit::shim().with_file_name("epollshim"), folder.join("epollshim"));
    let output = Command::new("./epollshim")
        .current_dir(&folder)
        .args(["inspect", &program.pid.to_string()])
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for word in ["cannot be inspected", "same user", "CAP_SYS_PTRACE", "kernel.yama.ptrace_scope"] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn a_process_without_its_first_thread_has_not_ended() {
    let program = Stuck::start("first_thread_ends", &[]);
    let output = command().args(["inspect", &program.pid.to_string()]).output().unwrap();
    let said = format!(
        "epollshim: first_thread_en (pid {}) cannot be inspected: its first thread has ended, and the kernel shows no \
         descriptors then\n",
        program.pid
    );
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(2), said));
}

#[test]
fn a_process_in_its_own_namespaces_is_inspected_there() {
    let program = testkit::c_program("inspect/edge_lost");
    let may = Command::new("unshare").args(["--user", "--map-root-user", "--net", "--pid", "--fork", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount"]);
    command.args(["sh", "-c", "ip link set lo up 2>/dev/null || exit; exec \"$0\" \"$1\""]).arg(program);
    let program = Stuck::by(&mut command, &["unix"]);
    // Its pid in its own namespace is 1; this is its pid in this one.
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", program.child.id())).unwrap();
    let pid = children.split_whitespace().next().unwrap().parse().unwrap();
    assert_eq!(program.pid, 1);
    let found = finding(pid, "stalled", |_| true);
    assert_eq!((found["tid"].as_u64(), &found["fds"][0]), (Some(pid.into()), &program.fd.into()), "{found:#}");
}

#[test]
fn refused_calls_are_named_and_the_rest_is_shown() {
    let refused = |pid: u32| {
        let inspector = testkit::shim().with_file_name("epollshim");
        let mut command = Command::new(testkit::c_program("inspect/refused"));
        let output = command.arg(inspector).args(["inspect", "--format", "json", &pid.to_string()]).output().unwrap();
        assert!(output.status.success(), "{}", testkit::show(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["processes"][0].take()
    };
    let program = Stuck::start("healthy", &[]);
    let process = refused(program.pid);
    let missing: Vec<&str> = process["not_looked_at"].as_array().unwrap().iter().map(text).collect();
    for what in ["pidfd_getfd failed", "kcmp failed"] {
        let line = missing.iter().find(|line| line.contains(what));
        assert!(line.is_some_and(|line| line.contains("CAP_SYS_PTRACE")), "{missing:?}");
    }
    // Without copies, `inspect` lists each descriptor as an instance of its own, and finds sockets
    // in the network tables.
    assert_eq!(process["instances"].as_array().unwrap().len(), 3, "{process:#}");
    let interests = process["instances"][0]["interests"].as_array().unwrap();
    let connection = interests.iter().find(|interest| interest["fd"] == program.fd).unwrap();
    assert_eq!((&connection["ready"], &connection["descriptor"]["state"]), (&Value::Null, &"ESTABLISHED".into()));
    assert_ne!(connection["descriptor"]["peer"], Value::Null, "{connection:#}");
    assert_eq!(process["findings"], serde_json::json!([]), "{process:#}");
    // Findings that need no copies of descriptors are made.
    let program = Stuck::start("close_wait", &[]);
    let process = refused(program.pid);
    assert_eq!(process["findings"][0]["id"], "fd-leak", "{process:#}");
    assert_eq!(process["findings"][0]["fds"].as_array().unwrap().len(), 10, "{process:#}");
    let program = Stuck::start("ghosts", &["other"]);
    let process = refused(program.pid);
    assert_eq!(process["findings"][0]["id"], "ghost", "{process:#}");
}
