//! Unmodified servers under real loads: their answers, logs and exit statuses are the same bare and
//! under the shim, and the shim's reports match what the kernel saw.

// Tests report failures by panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod programs;

use programs::{Ended, Mode, Running, free_port, load, nginx_directory, normal, python, strace};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use testkit::installed;

/// Reports to destinations that cannot be written, and invalid options.
#[path = "programs/reporting.rs"]
mod reporting;

// --- Redis ---------------------------------------------------------------------------------------

/// Runs a Redis server with one conversation and one load. Returns its answers.
fn redis([server, benchmark]: &[PathBuf; 2], mode: Mode, requests: &str) -> (String, Ended) {
    let dir = testkit::scratch("redis");
    let port = free_port();
    let text = port.to_string();
    let data = dir.to_str().unwrap().to_owned();
    let options = ["--port", &text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", &data];
    let mut redis = Running::start(mode, dir, server, &options);
    redis.until_listening(port);
    let answers = load::conversation(
        port,
        "PING\r\nSET key value\r\nGET key\r\nINCR counter\r\nLPUSH list 1 2 3\r\nLRANGE list 0 -1\r\n\
         BLPOP nothing 0.01\r\nSUBSCRIBE news\r\nUNSUBSCRIBE news\r\nNO SUCH COMMAND\r\nFLUSHALL\r\nQUIT\r\n",
    );
    load::tool(benchmark, &["-p", &text, "-c", "50", "-n", requests, "-q", "-t", "set,get,lpush,mset"]);
    (answers, redis.end(libc::SIGTERM))
}

#[test]
fn redis_under_load_is_the_same_under_the_shim() {
    let Some(programs) = installed(["redis-server", "redis-benchmark"]) else { return };
    let (answers, bare) = redis(&programs, Mode::Bare, "20000");
    let (shimmed_answers, shimmed) = redis(&programs, Mode::Shim, "20000");
    assert_eq!(shimmed_answers, answers);
    assert!(answers.starts_with("+PONG\r\n+OK\r\n$5\r\nvalue\r\n:1\r\n:3\r\n"), "{answers}");
    same_end(&bare, &shimmed);

    let report = only_report(&shimmed);
    sound(report);
    assert_eq!(calls(report, "epoll_create"), 1);
    assert!(calls(report, "epoll_wait") > 100, "{report}");
    let instance = &report["instances"]["list"][0];
    assert_eq!(instance["call"], "epoll_create", "{report}");
    assert_eq!(instance["size"], 1024, "{report}");
    // 50 connections for each of four loads, one conversation, and the listening sockets.
    assert!(count(&report["watches"]["added"]) > 200, "{report}");
    assert_eq!(count(&report["instances"]["live"]), 1, "Redis exits without closing its instance: {report}");
}

#[test]
fn redis_is_reported_as_the_kernel_saw_it() {
    let Some(programs) = installed(["redis-server", "redis-benchmark"]) else { return };
    if installed(["strace"]).is_some() {
        judge(&redis(&programs, Mode::Traced, "1000").1, 1);
    }
}

// --- nginx ---------------------------------------------------------------------------------------

/// Runs nginx, a master and two workers, with some requests and one load. Returns its answers.
fn nginx([server, wrk]: &[PathBuf; 2], mode: Mode) -> (Vec<String>, Ended) {
    let port = free_port();
    let (dir, words) = nginx_directory(port);
    let mut nginx = Running::start(mode, dir, server, &words.each_ref().map(String::as_str));
    nginx.until_listening(port);
    let answers = ["GET /hello", "HEAD /page", "GET /page", "GET /moved", "GET /none", "GET /proxied", "BREW /hello"]
        .map(|request| format!("{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
        .iter()
        .map(|request| without_dates(&load::conversation(port, request)).replace(&port.to_string(), "PORT"))
        .collect();
    for path in ["page", "proxied"] {
        let url = format!("http://127.0.0.1:{port}/{path}");
        let said = load::tool(wrk, &["-t", "1", "-c", "20", "-d", "1s", "--timeout", "60s", &url]);
        assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
    }
    (answers, nginx.end(libc::SIGQUIT))
}

fn without_dates(answer: &str) -> String {
    let dated = ["Date:", "Last-Modified:", "ETag:"];
    answer
        .lines()
        .filter(|line| !dated.iter().any(|name| line.starts_with(name)))
        .flat_map(|line| [line, "\n"])
        .collect()
}

#[test]
fn nginx_under_load_is_the_same_under_the_shim() {
    let Some(programs) = installed(["nginx", "wrk"]) else { return };
    let (answers, bare) = nginx(&programs, Mode::Bare);
    let (shimmed_answers, shimmed) = nginx(&programs, Mode::Shim);
    assert_eq!(shimmed_answers, answers);
    same_end(&bare, &shimmed);

    // The master tests epoll_create() and closes the instance, then forks; each worker has an
    // instance of its own.
    assert_eq!(shimmed.reports.len(), 3, "{:?}", shimmed.reports);
    let mut live = 0;
    for report in shimmed.reports.values() {
        sound(report);
        assert_eq!(calls(report, "epoll_create"), 1, "{report}");
        assert_eq!(report["instances"]["created"], 1, "{report}");
        live += count(&report["instances"]["live"]);
        let master = report["instances"]["live"] == 0;
        assert_eq!(calls(report, "epoll_wait") == 0, master, "{report}");
    }
    assert_eq!(live, 2, "a worker exits without closing its instance: {:?}", shimmed.reports);
}

#[test]
fn nginx_is_reported_as_the_kernel_saw_it() {
    let Some(programs) = installed(["nginx", "wrk"]) else { return };
    if installed(["strace"]).is_some() {
        judge(&nginx(&programs, Mode::Traced).1, 3);
    }
}

// --- memcached -----------------------------------------------------------------------------------

fn memcached(server: &Path, mode: Mode) -> (String, Ended) {
    let port = free_port();
    let text = port.to_string();
    // SAFETY: geteuid cannot fail and has no arguments.
    let root = unsafe { libc::geteuid() } == 0;
    let user: &[&str] = if root { &["-u", "root"] } else { &[] };
    let options = [&["-l", "127.0.0.1", "-p", &text, "-U", "0", "-t", "4"], user].concat();
    let mut memcached = Running::start(mode, testkit::scratch("memcached"), server, &options);
    memcached.until_listening(port);
    let mut answers = String::new();
    for round in 0..200 {
        let request = format!(
            "set key{round} 0 0 5\r\nvalue\r\nget key{round} key0\r\nadd n{round} 0 0 1\r\n7\r\nincr n{round} 5\r\n\
             delete n{round}\r\nget n{round}\r\nquit\r\n"
        );
        answers += &load::conversation(port, &request);
    }
    (answers, memcached.end(libc::SIGTERM))
}

#[test]
fn memcached_with_its_threads_is_the_same_under_the_shim() {
    let Some([server]) = installed(["memcached"]) else { return };
    let (answers, bare) = memcached(&server, Mode::Bare);
    let (shimmed_answers, shimmed) = memcached(&server, Mode::Shim);
    assert_eq!(shimmed_answers, answers);
    assert!(answers.contains("VALUE key199 0 5\r\nvalue\r\n"), "{answers}");
    same_end(&bare, &shimmed);

    let report = only_report(&shimmed);
    sound(report);
    // libevent has an instance for the main thread and at least one for each of the four workers.
    assert!(count(&report["instances"]["created"]) >= 5, "{report}");
    assert!(count(&report["watches"]["added"]) >= 200, "{report}");
}

#[test]
fn memcached_is_reported_as_the_kernel_saw_it() {
    let Some([server, _]) = installed(["memcached", "strace"]) else { return };
    judge(&memcached(&server, Mode::Traced).1, 1);
}

// --- Python and Node -----------------------------------------------------------------------------

fn asyncio(python: &Path, mode: Mode) -> Ended {
    let script = testkit::root().join("tests/programs/echo.py");
    let mut server = Running::start(mode, testkit::scratch("asyncio"), python, &[script.to_str().unwrap()]);
    let port = server.printed_port();
    load::echo(port, 8, 60);
    server.end(libc::SIGTERM)
}

#[test]
fn an_asyncio_server_is_the_same_under_the_shim() {
    let Some(python) = python() else { return };
    let bare = asyncio(&python, Mode::Bare);
    let shimmed = asyncio(&python, Mode::Shim);
    assert_eq!(bare.status.code(), Some(7), "{}", bare.stderr);
    assert!(bare.stdout.contains("served 8 connections, 102480 bytes"), "{}", bare.stdout);
    same_end(&bare, &shimmed);

    let report = only_report(&shimmed);
    sound(report);
    assert!(calls(report, "epoll_create1") >= 1, "{report}"); // selectors tries one when it is imported
    assert_eq!(count(&report["instances"]["live"]), 0, "asyncio closes its loop: {report}");
    assert_eq!(count(&report["watches"]["live"]), 0, "{report}");
    // Eight connections, the listening socket, and the loop's own pipe for signals.
    assert!(count(&report["watches"]["added"]) >= 10, "{report}");
}

#[test]
fn an_asyncio_server_is_reported_as_the_kernel_saw_it() {
    let Some(python) = python() else { return };
    if installed(["strace"]).is_some() {
        judge(&asyncio(&python, Mode::Traced), 1);
    }
}

fn node(node: &Path, mode: Mode) -> (Vec<String>, Ended) {
    let script = testkit::root().join("tests/programs/http.js");
    let mut server = Running::start(mode, testkit::scratch("node"), node, &[script.to_str().unwrap()]);
    let port = server.printed_port();
    let answers = (0..100)
        .map(|i| format!("GET /{i} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
        .map(|request| without_dates(&load::conversation(port, &request)))
        .collect();
    (answers, server.end(libc::SIGTERM))
}

#[test]
fn a_node_server_is_the_same_under_the_shim() {
    let Some([program]) = installed(["node"]) else { return };
    let (answers, bare) = node(&program, Mode::Bare);
    let (shimmed_answers, shimmed) = node(&program, Mode::Shim);
    assert_eq!(shimmed_answers, answers);
    assert_eq!(bare.status.code(), Some(5), "{}", bare.stderr);
    assert!(bare.stdout.contains("served 100 requests"), "{}", bare.stdout);
    same_end(&bare, &shimmed);

    let report = only_report(&shimmed);
    sound(report);
    assert!(calls(report, "epoll_create1") >= 1, "{report}");
    assert!(calls(report, "epoll_wait") + calls(report, "epoll_pwait") >= 100, "{report}");
}

#[test]
fn a_node_server_is_reported_as_the_kernel_saw_it() {
    let Some([program, _]) = installed(["node", "strace"]) else { return };
    judge(&node(&program, Mode::Traced).1, 1);
}

// --- What is held against them -------------------------------------------------------------------

/// Asserts that exit status and output are the same except for numbers.
#[track_caller]
fn same_end(bare: &Ended, shimmed: &Ended) {
    assert_eq!(shimmed.status, bare.status, "{}{}", shimmed.stdout, shimmed.stderr);
    assert_eq!(normal(&shimmed.stdout), normal(&bare.stdout));
    assert_eq!(normal(&shimmed.stderr), normal(&bare.stderr));
    // The program does not control which of two processes writes first, and how many signals are
    // merged into one.
    let lines = |log: &str| {
        normal(log).lines().filter(|line| !line.contains("(SIGIO)")).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(lines(&shimmed.log), lines(&bare.log));
    assert!(bare.reports.is_empty());
}

#[track_caller]
fn only_report(ended: &Ended) -> &Value {
    assert_eq!(ended.reports.len(), 1, "{:?}", ended.reports);
    ended.reports.values().next().unwrap()
}

#[track_caller]
fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("a whole number, not {value}"))
}

fn calls(report: &Value, name: &str) -> i64 {
    report["calls"].get(name).map_or(0, |call| count(&call["calls"]))
}

/// Asserts what is true of every report, whatever the program did.
#[track_caller]
fn sound(report: &Value) {
    assert_eq!(report["schema"], "epollshim.report/1", "{report}");
    for (name, call) in report["calls"].as_object().unwrap() {
        let errors: i64 = call["errors"].as_object().unwrap().values().map(count).sum();
        assert!(errors <= count(&call["calls"]), "{name}: {report}");
    }
    let watches = &report["watches"];
    let [added, deleted, vanished, live, peak] =
        ["added", "deleted", "vanished", "live", "peak"].map(|key| count(&watches[key]));
    assert_eq!(added, deleted + vanished + live, "{report}");
    assert!(live <= peak && peak <= added, "{report}");
    let instances = &report["instances"];
    let [created, live, peak] = ["created", "live", "peak"].map(|key| count(&instances[key]));
    assert!(live <= peak && peak <= created, "{report}");
    let coverage = &report["coverage"];
    for key in ["unseen_instances", "unseen_watches", "healed"] {
        assert_eq!(count(&coverage[key]), 0, "{key}: {report}");
    }
}

/// Asserts that the calls, errors and changes to interest lists of each process equal those that
/// strace saw. Only a wait that the end of its thread interrupted may or may not be counted.
#[track_caller]
fn judge(ended: &Ended, processes: usize) {
    assert_eq!(ended.traced.len(), processes, "{:?}", ended.traced);
    assert_eq!(ended.reports.keys().collect::<Vec<_>>(), ended.traced.keys().collect::<Vec<_>>());
    for (pid, kernel) in &ended.traced {
        let report = &ended.reports[pid];
        sound(report);
        let mut seen: BTreeMap<&str, strace::Calls> = BTreeMap::new();
        for (name, call) in report["calls"].as_object().unwrap() {
            let sum = seen.entry(strace::kernel_name(name)).or_default();
            sum.returned += count(&call["calls"]);
            for (errno, times) in call["errors"].as_object().unwrap() {
                *sum.errors.entry(errno.clone()).or_default() += count(times);
            }
        }
        let names: BTreeSet<&str> = seen.keys().copied().chain(kernel.calls.keys().map(String::as_str)).collect();
        for name in names {
            let (seen, kernel) = (seen.remove(name).unwrap_or_default(), kernel.calls.get(name));
            let kernel = kernel.unwrap_or_else(|| panic!("{name}: the kernel saw none: {report}"));
            let range = kernel.returned..=kernel.returned + kernel.unfinished;
            assert!(range.contains(&seen.returned), "{name}: {kernel:?}, but reported is {seen:?}");
            assert_eq!(seen.errors, kernel.errors, "{name}");
        }
        let changes = ["added", "modified", "deleted"].map(|key| count(&report["watches"][key]));
        assert_eq!(changes, [kernel.added, kernel.modified, kernel.deleted], "added, modified, deleted: {report}");
    }
}
