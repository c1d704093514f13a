//! Unmodified servers when epoll calls fail: faults and limits reach their error paths, whose
//! results are asserted here as observed (Redis 7.0, nginx 1.22, Python 3.11). Faults that a kernel
//! may cause at any time do not affect their clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "error_paths/harmless.rs"]
mod harmless;
#[path = "error_paths/no_descriptor.rs"]
mod no_descriptor;
#[allow(dead_code)]
mod programs;

use programs::{Ended, Running, free_port, load, nginx_directory, python};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use testkit::{installed, python_with_tests};

const NO_INSTANCE: &str = "epoll_create,epoll_create1:error=EMFILE";
const NO_ROOM: &str = "epoll_ctl:error=ENOSPC:op=ADD:when=5+";

#[track_caller]
fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a number, not {value}"))
}

/// How often each rule fired in a process.
fn fired(report: &Value) -> Vec<u64> {
    report["faults"].as_array().unwrap().iter().map(|rule| count(&rule["fired"])).collect()
}

/// The counts of a call in a report: calls, failures with this errno, injected, limited.
fn of_call(report: &Value, call: &str, errno: &str) -> (u64, u64, u64, u64) {
    let call = &report["calls"][call];
    let errors = call["errors"][errno].as_u64().unwrap_or(0);
    (count(&call["calls"]), errors, count(&call["injected"]), count(&call["limited"]))
}

/// Asserts that the counts of faults and calls agree: as many rules fired as results were injected.
#[track_caller]
fn agrees(report: &Value) {
    let injected: u64 = report["calls"].as_object().unwrap().values().map(|call| count(&call["injected"])).sum();
    assert_eq!(fired(report).iter().sum::<u64>(), injected, "{report}");
    let limited: u64 = report["calls"].as_object().unwrap().values().map(|call| count(&call["limited"])).sum();
    let denied: u64 = report["limits"].as_array().unwrap().iter().map(|limit| count(&limit["denied"])).sum();
    assert_eq!(denied, limited, "{report}");
}

#[track_caller]
fn only_report(ended: &Ended) -> &Value {
    assert_eq!(ended.reports.len(), 1, "{:?}", ended.reports);
    let report = ended.reports.values().next().unwrap();
    agrees(report);
    report
}

/// What happened to a connection that sent a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Served,
    Closed,
    /// It was accepted, and neither answered nor closed.
    Silence,
}

/// If no connection receives anything for this long, those without an answer count as silent.
const QUIET: Duration = Duration::from_secs(4);

/// Opens `number` connections one after another and keeps them open; each sends a request, and then
/// the answers of all are waited for.
fn ask(port: u16, request: &str, answer: &str, number: usize) -> Vec<Answer> {
    let mut streams = Vec::new();
    for _ in 0..number {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        streams.push(stream);
    }
    let mut answers = vec![None; number];
    let mut last = Instant::now();
    while answers.contains(&None) && last.elapsed() < QUIET {
        for (stream, place) in streams.iter_mut().zip(&mut answers).filter(|(_, place)| place.is_none()) {
            *place = answer_of(stream, answer);
            if place.is_some() {
                last = Instant::now();
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    answers.into_iter().map(|got| got.unwrap_or(Answer::Silence)).collect()
}

/// What has arrived; None: nothing yet.
fn answer_of(stream: &mut TcpStream, answer: &str) -> Option<Answer> {
    let mut got = [0; 4096];
    match stream.read(&mut got) {
        Ok(0) => Some(Answer::Closed),
        Ok(length) if String::from_utf8_lossy(&got[..length]).starts_with(answer) => Some(Answer::Served),
        Ok(length) => panic!("{}", String::from_utf8_lossy(&got[..length])),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(Answer::Closed),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => None,
        Err(error) => panic!("{error}"),
    }
}

fn times(answers: &[Answer], of: Answer) -> usize {
    answers.iter().filter(|answer| **answer == of).count()
}

// --- Redis ---------------------------------------------------------------------------------------

fn redis(server: &Path, options: &[(&str, &str)]) -> (Running, u16) {
    let dir = testkit::scratch("redis");
    let (port, data) = (free_port(), dir.to_str().unwrap().to_owned());
    let text = port.to_string();
    let arguments = ["--port", &text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", &data];
    (Running::start_with(options, dir, server, &arguments), port)
}

fn until_ready(redis: &mut Running) {
    redis.until("it is ready", |running| running.read("stdout").contains("Ready to accept connections").then_some(()));
}

#[test]
fn redis_without_an_instance_logs_an_error_and_ends_with_1() {
    let Some([server]) = installed(["redis-server"]) else { return };
    for (option, limited) in [(("EPOLLSHIM_INJECT", NO_INSTANCE), 0), (("EPOLLSHIM_LIMIT", "instances=0"), 1)] {
        let ended = redis(&server, &[option]).0.ended();
        assert_eq!(ended.status.code(), Some(1), "{}{}", ended.stdout, ended.stderr);
        let said = "# Failed creating the event loop. Error message: 'Too many open files'";
        assert!(ended.stdout.trim_end().ends_with(said), "{}", ended.stdout);
        assert_eq!(of_call(only_report(&ended), "epoll_create", "EMFILE"), (1, 1, 1 - limited, limited));
    }
}

/// Redis 7.0 ignores the result of connSetReadHandler for a new client: it keeps the connection,
/// logs nothing, and never reads from it. It serves the clients that it has, and new ones as soon
/// as there is room.
#[track_caller]
fn redis_leaves_clients_alone(option: (&str, &str), clients: usize, room: usize) -> (Vec<Answer>, Ended) {
    let [server] = installed(["redis-server"]).unwrap();
    let (mut redis, port) = redis(&server, &[option]);
    until_ready(&mut redis);
    let answers = ask(port, "PING\r\n", "+PONG\r\n", clients);
    let served = times(&answers, Answer::Served);
    // Redis also watches its listening sockets and the descriptor that wakes it.
    assert!(served < room && served + 4 >= room, "{served} of {room}: {answers:?}");
    assert!(answers[..served].iter().all(|answer| *answer == Answer::Served), "the first are served: {answers:?}");
    assert_eq!(times(&answers, Answer::Closed), 0, "{answers:?}");
    if option.0 == "EPOLLSHIM_LIMIT" {
        assert_eq!(ask(port, "PING\r\n", "+PONG\r\n", 2), [Answer::Served; 2], "those who left made room");
    }
    let ended = redis.end(libc::SIGTERM);
    assert_eq!(ended.status.code(), Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("Redis is now ready to exit, bye bye..."), "{}", ended.stdout);
    assert!(!ended.stdout.contains("No space left"), "it logs nothing about it: {}", ended.stdout);
    (answers, ended)
}

#[test]
fn redis_takes_clients_that_it_cannot_watch_and_never_answers_them() {
    if installed(["redis-server"]).is_none() {
        return;
    }
    let (answers, ended) = redis_leaves_clients_alone(("EPOLLSHIM_INJECT", NO_ROOM), 8, 4);
    let report = only_report(&ended);
    let silent = times(&answers, Answer::Silence) as u64;
    assert_eq!(fired(report), [silent], "{report}");
    assert_eq!(of_call(report, "epoll_ctl", "ENOSPC").1, silent, "{report}");

    let (answers, ended) = redis_leaves_clients_alone(("EPOLLSHIM_LIMIT", "watches=20"), 50, 20);
    let report = only_report(&ended);
    let silent = times(&answers, Answer::Silence) as u64;
    assert_eq!(of_call(report, "epoll_ctl", "ENOSPC").1, silent, "{report}");
    assert_eq!(count(&report["watches"]["peak"]), 20, "{report}");
    assert_eq!(report["limits"][0]["denied"], silent, "{report}");
    assert_eq!(report["limits"][0]["peak"], 20, "{report}");
}

// --- nginx ---------------------------------------------------------------------------------------

fn nginx(server: &Path, options: &[(&str, &str)]) -> (Running, u16) {
    let port = free_port();
    let (dir, words) = nginx_directory(port);
    let mut nginx = Running::start_with(options, dir, server, &words.each_ref().map(String::as_str));
    nginx.until("it has its workers", |running| {
        (running.read("error.log").matches("start worker process ").count() == 2).then_some(())
    });
    (nginx, port)
}

const HELLO: &str = "GET /hello HTTP/1.1\r\nHost: test\r\n\r\n";

#[test]
fn nginx_workers_without_an_instance_end_with_2_and_are_not_started_again() {
    let Some([server]) = installed(["nginx"]) else { return };
    for (option, limited) in [(("EPOLLSHIM_INJECT", NO_INSTANCE), 0), (("EPOLLSHIM_LIMIT", "instances=0"), 1)] {
        let (mut nginx, port) = nginx(&server, &[option]);
        nginx.until("the master gives up on them", |running| {
            (running.read("error.log").matches("exited with fatal code 2 and cannot be respawned").count() == 2)
                .then_some(())
        });
        // The master lives, so the listening socket stays open.
        assert_eq!(ask(port, HELLO, "HTTP/1.1 200", 3), [Answer::Silence; 3]);
        let ended = nginx.end(libc::SIGQUIT);
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        assert_eq!(ended.log.matches("epoll_create() failed (24: Too many open files)").count(), 2, "{}", ended.log);
        assert_eq!(ended.reports.len(), 3, "{:?}", ended.reports);
        for report in ended.reports.values() {
            agrees(report);
            assert_eq!(of_call(report, "epoll_create", "EMFILE"), (1, 1, 1 - limited, limited), "{report}");
        }
    }
}

#[test]
fn nginx_workers_that_cannot_watch_a_client_close_it_log_an_error_and_continue() {
    let Some([server]) = installed(["nginx"]) else { return };
    let (nginx, port) = nginx(&server, &[("EPOLLSHIM_INJECT", NO_ROOM)]);
    let answers = ask(port, HELLO, "HTTP/1.1 200", 14);
    assert_eq!(times(&answers, Answer::Served), 0, "{answers:?}");
    // Each worker closes the first client that it accepts. Then it cannot watch its listening
    // socket either, and accepts no more.
    assert!((1..=2).contains(&times(&answers, Answer::Closed)), "{answers:?}");
    let ended = nginx.end(libc::SIGQUIT);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let mut all = 0;
    for report in ended.reports.values() {
        agrees(report);
        all += fired(report)[0];
    }
    assert!(all >= 2, "{:?}", ended.reports);
    let alerts: Vec<_> = ended.log.lines().filter(|line| line.contains("[alert]")).collect();
    assert_eq!(alerts.len() as u64, all, "{alerts:?}");
    for alert in &alerts {
        assert!(alert.contains("epoll_ctl(1, ") && alert.contains("failed (28: No space left on device)"), "{alert}");
    }
    assert!(alerts[0].contains("while waiting for request, client: 127.0.0.1"), "{alerts:?}");
    assert_eq!(ended.log.matches("exited with code 0").count(), 2, "{}", ended.log);
}

#[test]
fn nginx_needs_one_instance_per_process() {
    let Some([server]) = installed(["nginx"]) else { return };
    let (nginx, port) = nginx(&server, &[("EPOLLSHIM_LIMIT", "instances=1")]);
    assert_eq!(ask(port, HELLO, "HTTP/1.1 200", 20), [Answer::Served; 20]);
    let ended = nginx.end(libc::SIGQUIT);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(!ended.log.contains("[emerg]") && !ended.log.contains("[alert]"), "{}", ended.log);
    assert_eq!(ended.reports.len(), 3, "{:?}", ended.reports);
    for report in ended.reports.values() {
        let limit = &report["limits"][0];
        assert_eq!((&limit["key"], &limit["peak"], &limit["denied"]), (&"instances".into(), &1.into(), &0.into()));
    }
}

// --- Python --------------------------------------------------------------------------------------

fn asyncio(python: &Path, options: &[(&str, &str)]) -> (Running, u16) {
    let script = testkit::root().join("tests/programs/echo.py");
    let mut server = Running::start_with(options, testkit::scratch("asyncio"), python, &[script.to_str().unwrap()]);
    let port = server.printed_port();
    (server, port)
}

#[test]
fn asyncio_without_an_instance_uses_poll_and_serves_every_client() {
    let Some(python) = python() else { return };
    let (server, port) = asyncio(&python, &[("EPOLLSHIM_INJECT", NO_INSTANCE)]);
    load::echo(port, 8, 20);
    let ended = server.end(libc::SIGTERM);
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
    assert_eq!(ended.stderr, "", "it prints nothing about it");
    assert!(ended.stdout.contains("served 8 connections"), "{}", ended.stdout);
    // The module selectors tries to create one instance when it is imported, and none later.
    let report = only_report(&ended);
    assert_eq!(of_call(report, "epoll_create1", "EMFILE"), (1, 1, 1, 0), "{report}");
    assert_eq!(report["calls"].as_object().unwrap().len(), 1, "{report}");
}

#[test]
fn asyncio_takes_clients_that_it_cannot_watch_and_never_answers_them() {
    let Some(python) = python() else { return };
    let (server, port) = asyncio(&python, &[("EPOLLSHIM_INJECT", NO_ROOM)]);
    let answers = ask(port, "hello", "hello", 6);
    // asyncio also watches the socket that wakes it and the listening socket.
    let [served, silent] = [Answer::Served, Answer::Silence].map(|of| times(&answers, of));
    assert_eq!((served, silent), (2, 4), "{answers:?}");
    let ended = server.end(libc::SIGTERM);
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
    assert!(ended.stdout.contains("served 6 connections, 10 bytes"), "{}", ended.stdout);
    assert_eq!(ended.stderr.matches("OSError: [Errno 28] No space left on device").count(), 4, "{}", ended.stderr);
    assert_eq!(fired(only_report(&ended)), [4]);
}
