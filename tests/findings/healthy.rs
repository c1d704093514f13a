//! Healthy programs, under load and shut down properly: none has a finding of severity `error`, and
//! each warning is true.
//!
//! The test of each program lists the warnings that it allows, with the reason for each.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::programs::{Ended, Mode, Running, free_port, load, nginx_directory, python};
use testkit::{installed, tokio_echo};
use testkit::{report, root, scratch};

/// A warning that is true of a program that works: its id, words of its message, and why it is not
/// a defect there.
type Explained = (&'static str, &'static str, &'static str);

/// Asserts that no process has an error or an unexplained warning, and that at least this many
/// processes reported. Prints all findings.
#[track_caller]
fn is_well(name: &str, ended: &Ended, processes: usize, explained: &[Explained]) {
    are_well(name, &ended.reports.values().cloned().collect::<Vec<_>>(), processes, explained);
}

#[track_caller]
fn are_well(name: &str, reports: &[Value], processes: usize, explained: &[Explained]) {
    assert!(reports.len() >= processes, "{name}: {reports:#?}");
    for report in reports {
        let pid = &report["process"]["pid"];
        let calls: i64 =
            report["calls"].as_object().unwrap().values().map(|call| call["calls"].as_i64().unwrap()).sum();
        println!("{name} (pid {pid}): {calls} calls");
        for finding in report["findings"].as_array().unwrap() {
            println!("  {finding}");
            let is_explained = finding["severity"] == "info"
                || finding["severity"] == "warning"
                    && explained.iter().any(|(id, words, _)| finding["id"] == *id && message(finding).contains(words));
            assert!(is_explained, "{name}: {finding:#}\n{:#}", report["calls"]);
        }
    }
}

fn message(finding: &Value) -> &str {
    finding["message"].as_str().unwrap()
}

#[test]
fn redis() {
    let Some([server, benchmark]) = installed(["redis-server", "redis-benchmark"]) else { return };
    let (dir, port) = (scratch("healthy-redis"), free_port());
    let (text, data) = (port.to_string(), dir.display().to_string());
    let options = ["--port", &text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", &data];
    let mut redis = Running::start(Mode::Shim, dir, &server, &options);
    redis.until_listening(port);
    load::tool(&benchmark, &["-p", &text, "-c", "50", "-n", "20000", "-q", "-t", "set,get,lpush,mset"]);
    load::tool(&benchmark, &["-p", &text, "-c", "20", "-n", "50000", "-P", "16", "-q", "-t", "set,get"]);
    // A forked child inherits the instance and does not use it.
    assert!(load::conversation(port, "BGSAVE\r\nQUIT\r\n").starts_with("+Background saving started"));
    redis.until("the child has saved", |_| {
        load::conversation(port, "INFO persistence\r\nQUIT\r\n").contains("rdb_bgsave_in_progress:0").then_some(())
    });
    load::tool(&benchmark, &["-p", &text, "-c", "50", "-n", "5000", "-q", "-t", "set"]);
    is_well("redis", &redis.end(libc::SIGTERM), 1, &[]);
}

#[test]
fn nginx_with_two_workers() {
    let Some([server, wrk]) = installed(["nginx", "wrk"]) else { return };
    let port = free_port();
    let (dir, words) = nginx_directory(port);
    let place = dir.clone();
    let mut nginx = Running::start(Mode::Shim, dir, &server, &words.each_ref().map(String::as_str));
    nginx.until_listening(port);
    for path in ["page", "proxied", "hello"] {
        requests(&wrk, port, path);
    }
    // nginx starts new workers; the old ones end when they have served their requests.
    // SAFETY: kill accesses no memory. The process is a child of this one that was not yet waited
    // for, so its pid is not reused.
    assert_eq!(unsafe { libc::kill(nginx.pid(), libc::SIGHUP) }, 0);
    nginx.until("the old workers have ended", |_| (files(&place, "report-").len() == 2).then_some(()));
    requests(&wrk, port, "page");
    is_well("nginx", &nginx.end(libc::SIGQUIT), 5, &[]);
}

/// The files of a directory whose names begin with `beginning`.
fn files(directory: &Path, beginning: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(beginning)).collect()
}

/// A second of requests on twenty connections.
fn requests(wrk: &Path, port: u16, path: &str) {
    let url = format!("http://127.0.0.1:{port}/{path}");
    let said = load::tool(wrk, &["-t", "1", "-c", "20", "-d", "1s", "--timeout", "60s", &url]);
    assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
}

#[test]
fn memcached() {
    let Some([server]) = installed(["memcached"]) else { return };
    let port = free_port();
    let text = port.to_string();
    // SAFETY: geteuid cannot fail and has no arguments.
    let user: &[&str] = if unsafe { libc::geteuid() } == 0 { &["-u", "root"] } else { &[] };
    let options = [&["-l", "127.0.0.1", "-p", &text, "-U", "0", "-t", "4"], user].concat();
    let mut memcached = Running::start(Mode::Shim, scratch("healthy-memcached"), &server, &options);
    memcached.until_listening(port);
    std::thread::scope(|scope| {
        for client in 0..8 {
            scope.spawn(move || {
                for round in 0..100 {
                    let key = format!("{client}-{round}");
                    let one = format!("set {key} 0 0 5\r\nvalue\r\nget {key}\r\n");
                    let answer = load::conversation(port, &(one.repeat(20) + "quit\r\n"));
                    assert_eq!(answer.matches("VALUE").count(), 20, "{answer}");
                }
            });
        }
    });
    is_well("memcached", &memcached.end(libc::SIGTERM), 1, &[]);
}

#[test]
fn node() {
    let Some([program, wrk]) = installed(["node", "wrk"]) else { return };
    let script = root().join("tests/programs/http.js");
    let mut server = Running::start(Mode::Shim, scratch("healthy-node"), &program, &[script.to_str().unwrap()]);
    let port = server.printed_port();
    requests(&wrk, port, "page");
    for round in 0..50 {
        load::conversation(port, &format!("GET /{round} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"));
    }
    is_well("node", &server.end(libc::SIGTERM), 1, &[]);
}

#[test]
fn node_with_two_workers_and_children() {
    let Some([program, wrk]) = installed(["node", "wrk"]) else { return };
    let script = root().join("tests/programs/cluster.js");
    let mut server = Running::start(Mode::Shim, scratch("healthy-cluster"), &program, &[script.to_str().unwrap()]);
    let port = server.printed_port();
    requests(&wrk, port, "page");
    for _ in 0..20 {
        let answer = load::conversation(port, "GET /child HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        assert!(answer.ends_with("child\n"), "{answer}");
    }
    let ended = server.end(libc::SIGTERM);
    assert_eq!(ended.status.code(), Some(5), "{}", ended.stderr);
    let explained = [(
        "ctl-error",
        "EPOLL_CTL_DEL) failed with ENOENT",
        "by design: libuv takes each descriptor that it closes out of its instance, watched or not \
         (uv__platform_invalidate_fd)",
    )];
    is_well("node with two workers", &ended, 3, &explained);
}

#[test]
fn asyncio() {
    let Some(python) = python() else { return };
    let script = root().join("tests/programs/echo.py");
    let mut server = Running::start(Mode::Shim, scratch("healthy-asyncio"), &python, &[script.to_str().unwrap()]);
    let port = server.printed_port();
    load::echo(port, 20, 200);
    let ended = server.end(libc::SIGTERM);
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
    is_well("asyncio", &ended, 1, &[]);
}

#[test]
fn asyncio_with_subprocesses() {
    let Some(python) = python() else { return };
    let script = root().join("tests/programs/subprocesses.py");
    let program = Running::start(Mode::Shim, scratch("healthy-subprocesses"), &python, &[script.to_str().unwrap()]);
    let ended = program.ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    is_well("asyncio with subprocesses", &ended, 1, &[]);
}

#[test]
fn haproxy() {
    haproxy_as("-db", 1);
}

#[test]
fn haproxy_with_a_master() {
    haproxy_as("-W", 2);
}

fn haproxy_as(mode: &str, processes: usize) {
    let Some([server, wrk]) = installed(["haproxy", "wrk"]) else { return };
    // haproxy 2.6 sometimes crashes in its soft stop, also without the library: on a busy machine,
    // in one of thirty runs.
    let reports = (0..4).find_map(|_| reports_of_haproxy(&server, &wrk, mode)).expect("a run without a crash");
    let explained = [
        (
            "ctl-error",
            "EPOLL_CTL_DEL) failed with EBADF",
            "true, of a worker with a master: its second thread closes its instance as it ends, and then the first takes its \
             socket to the master out of the instances of all threads (as strace shows)",
        ),
        (
            "herd",
            "this listening socket is watched by 2 instances",
            "true of 2.6: each thread adds the listening sockets to an instance of its own, without EPOLLEXCLUSIVE",
        ),
        (
            "close-in-wait",
            "closed while another thread waits",
            "true: at a soft stop one thread closes them while the other waits; haproxy looks into its own table of \
             descriptors before it believes an event",
        ),
    ];
    are_well(&format!("haproxy {mode}"), &reports, processes, &explained);
}

/// Returns None if haproxy crashed as it stopped.
fn reports_of_haproxy(server: &Path, wrk: &Path, mode: &str) -> Option<Vec<Value>> {
    let (dir, port, other) = (scratch("healthy-haproxy"), free_port(), free_port());
    let text = std::fs::read_to_string(root().join("tests/programs/haproxy.cfg")).unwrap();
    let text = text.replace("127.0.0.1:PORT", &format!("127.0.0.1:{port}"));
    let config = dir.join("haproxy.cfg");
    std::fs::write(&config, text.replace("127.0.0.1:OTHER", &format!("127.0.0.1:{other}"))).unwrap();
    // The master executes itself again, so it has two reports.
    let (place, pattern) = (dir.clone(), dir.join("findings-%p-%t.json"));
    let options = [("EPOLLSHIM_REPORT", pattern.to_str().unwrap())];
    let mut haproxy = Running::start_with(&options, dir, server, &[mode, "-f", config.to_str().unwrap()]);
    haproxy.until_listening(port);
    requests(wrk, port, "hello");
    requests(wrk, port, "proxied");
    // SIGUSR1 makes haproxy end after the last connection.
    haproxy.send(libc::SIGUSR1);
    let ended = haproxy.ended_anyhow();
    // The master exits with the status that a shell would give for the end of its worker.
    let has_crashed = ended.status.signal() == Some(libc::SIGSEGV) || ended.status.code() == Some(128 + libc::SIGSEGV);
    if has_crashed {
        return None;
    }
    assert_eq!(ended.status.signal(), None, "{}", ended.stderr);
    Some(files(&place, "findings-").iter().map(|path| report(path)).collect())
}

#[test]
fn a_tokio_echo_server() {
    let Some(program) = tokio_echo() else { return };
    let mut server = Running::start(Mode::Shim, scratch("healthy-tokio"), &program, &[]);
    let port = server.printed_port();
    load::echo(port, 20, 200);
    let ended = server.end(libc::SIGTERM);
    assert_eq!(ended.status.code(), Some(6), "{}", ended.stderr);
    is_well("tokio", &ended, 1, &[]);
}
