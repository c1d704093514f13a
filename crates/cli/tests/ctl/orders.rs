//! Orders that are carried out, or stay pending.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use epollshim_format::control;
use serde_json::Value;

use super::common::{HUNG, epollshim, scratch, stderr, stdout, tool, until};
use super::{BEGUN, Crowd, ENOSPC, OTHERS, Puppet, RETURNED, Running, ctl, pages, refused, word};
/// How long to wait where no answer may come.
const SILENCE: Duration = Duration::from_secs(2);

/// What a server answers to the PING of a new client within this time.
fn ping(port: u16, patience: Duration) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut bytes = [0; 64];
    // A read with a timeout may fail with EINTR even if no handler ran, for example after the
    // machine was frozen (signal(7)).
    let read = loop {
        match stream.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => break read,
        }
    };
    match read {
        Ok(length) => String::from_utf8_lossy(&bytes[..length]).into_owned(),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionReset) => String::new(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_server_s_clients_see_a_fault_that_is_armed_while_it_runs_and_none_after_off() {
    let Some(redis) = tool("redis-server") else { return };
    let port = testkit::free_port();
    let number = port.to_string();
    let server = Running::start(&redis, &["--port", &number, "--save", "", "--bind", "127.0.0.1"], &[]);
    until("it answers", || TcpStream::connect(("127.0.0.1", port)).ok());
    let mut old = TcpStream::connect(("127.0.0.1", port)).unwrap();
    old.set_read_timeout(Some(HUNG)).unwrap();
    let mut old_is_served = || {
        old.write_all(b"PING\r\n").unwrap();
        let mut bytes = [0; 7];
        old.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"+PONG\r\n");
    };
    old_is_served();
    assert_eq!(ping(port, HUNG), "+PONG\r\n");

    server.order(&["inject", "epoll_ctl:error=ENOSPC:op=ADD"]);
    assert_eq!(ping(port, SILENCE), "");
    old_is_served();
    let status = server.order(&[]);
    assert!(status.contains("armed now") && status.contains("epoll_ctl:error=ENOSPC:op=ADD"), "{status}");
    server.order(&["off"]);
    assert_eq!(ping(port, HUNG), "+PONG\r\n");

    server.order(&["limit", "watches=1"]);
    assert_eq!(ping(port, SILENCE), "");
    let status = server.order(&["status"]);
    let row = status.lines().find(|line| line.trim_start().starts_with("watches")).unwrap_or_default();
    // Limit, peak, refused, let through.
    assert_eq!(row.split_whitespace().nth(1), Some("1"), "{status}");
    assert!(row.split_whitespace().nth(3).is_some_and(|refused| refused != "0"), "{status}");
    server.order(&["off", "limits"]);
    assert_eq!(ping(port, HUNG), "+PONG\r\n");
    assert!(server.order(&["status"]).contains("nothing is armed"));
}

#[test]
fn a_rule_fires_as_often_as_the_program_counts() {
    let crowd = Crowd::start("4");
    crowd.running.ready();
    crowd.goes_on(100);
    crowd.running.order(&["inject", "epoll_ctl:error=ENOSPC:op=ADD:max=50"]);
    crowd.goes_on(2000);
    assert_eq!((crowd.count(ENOSPC), crowd.count(OTHERS)), (50, 0));
    let status = crowd.running.order(&["status"]);
    let row = status.lines().find(|line| line.contains("max=50")).unwrap_or_default();
    assert_eq!(row.split_whitespace().next_back(), Some("50"), "{status}");
    // Replaced, and then appended to.
    crowd.running.order(&["inject", "--replace", "epoll_wait:timeout:max=1"]);
    crowd.running.order(&["inject", "epoll_wait:timeout:max=2", "epoll_wait:timeout:max=3"]);
    let status = crowd.running.order(&["status"]);
    let rules: Vec<_> = status.lines().filter(|line| line.contains("max=")).map(|line| line.trim()).collect();
    assert!(rules.len() == 3 && (0..3).all(|at| rules[at].contains(&format!("max={}", at + 1))), "{status}");
    crowd.running.order(&["off", "faults"]);
    assert!(crowd.ends());
}

#[test]
fn a_snapshot_has_exactly_the_calls_that_the_program_has_made() {
    let mut puppet = Puppet::start();
    puppet.does("m 1000");
    puppet.does("l");
    puppet.does("a");
    let json: Value = serde_json::from_str(&puppet.order(&["snapshot", "--format", "json"])).unwrap();
    let report = &json["processes"][0];
    let calls: i64 = report["calls"].as_object().unwrap().values().map(|call| call["calls"].as_i64().unwrap()).sum();
    assert_eq!(calls, puppet.does("m 0"));
    assert_eq!(report["process"]["end"], "running");
    // The recording was compared with the kernel, so it does not contain what fclose closed.
    assert_eq!(report["coverage"]["reconciled"], true, "{report}");
    assert_eq!((&report["watches"]["live"], &report["watches"]["vanished"]), (&1.into(), &1.into()), "{report}");
    assert_eq!(report["control"]["requests"], 1);
    let text = puppet.order(&["snapshot"]);
    assert!(text.contains("Watches: 1 alive") && text.contains("still running"), "{text}");
    assert!(text.contains("compared with the kernel's lists for this report"), "{text}");
    let file = scratch("snapshot").join("now.html");
    puppet.order(&["snapshot", "--format", "html", "-o", file.to_str().unwrap()]);
    assert!(fs::read_to_string(&file).unwrap().starts_with("<!"));
}

#[test]
fn a_snapshot_of_busy_threads_counts_at_least_the_returned_and_at_most_the_begun_calls() {
    let crowd = Crowd::start("8");
    crowd.running.ready();
    for _ in 0..10 {
        crowd.goes_on(500);
        let returned = crowd.count(RETURNED);
        let json: Value = serde_json::from_str(&crowd.running.order(&["snapshot", "--format=json"])).unwrap();
        let begun = crowd.count(BEGUN);
        let calls = json["processes"][0]["calls"].as_object().unwrap();
        let made: u64 = calls.values().map(|call| call["calls"].as_u64().unwrap()).sum();
        // The 8 creates count as well.
        assert!((returned + 8..=begun + 8).contains(&made), "{returned} <= {made} - 8 <= {begun}");
    }
    assert!(crowd.ends());
}

#[test]
fn a_request_to_a_waiting_program_stays_pending_until_the_wait_ends() {
    let mut puppet = Puppet::start();
    puppet.say("b");
    assert_eq!(puppet.line(), "waiting");
    let began = Instant::now();
    let output = puppet.running.ctl(&["inject", "epoll_ctl:error=ENOSPC:op=ADD:when=1", "--wait", "0.3"]);
    refused(&output, 3, "no epoll call returned within 0.3 s; the request stays pending");
    // It waits for the given time. That it does not wait for the later call is shown by its end.
    assert!(began.elapsed() >= Duration::from_millis(300));
    // A snapshot does not stay pending if no command waits for it. The pending order does, and more
    // are appended to it. A report on what is recorded needs no answer.
    let output = puppet.running.ctl(&["--wait", "0.1", "snapshot"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("the report shows what it recorded, not compared with the kernel"),
        "{}",
        stderr(&output)
    );
    assert!(stdout(&output).contains("still running after"), "{}", stdout(&output));
    // Several processes, one of which does not exist.
    let pid = puppet.running.child.id().to_string();
    let output = epollshim().args(["ctl", "--wait=0.1", &pid, "1999999999", &pid, "snapshot"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(stderr(&output).matches("no epoll call returned within").count(), 2, "{}", stderr(&output));
    assert!(stderr(&output).contains("there is no process 1999999999"), "{}", stderr(&output));
    // The recording contains what is armed, so the process need not answer.
    let status = puppet.running.order(&[]);
    assert!(status.contains("nothing is armed\n") && status.contains("A request is pending"), "{status}");
    let behind = ["inject", "epoll_ctl:error=ENOMEM:op=ADD:when=2", "--wait=0.1"];
    refused(&puppet.running.ctl(&behind), 3, "the request stays pending");
    // The wait ends with this line, and the next calls have the faults.
    puppet.say("a");
    assert_eq!((puppet.heard(), puppet.heard()), (1, i64::from(libc::ENOSPC)));
    assert_eq!((puppet.does("a"), puppet.does("a")), (i64::from(libc::ENOMEM), 0));
    let status = puppet.running.order(&["status"]);
    assert!(status.contains("Control: 1 request from outside"), "{status}");
}

#[test]
fn a_stopped_program_is_reported_as_stopped_and_follows_the_request_when_it_continues() {
    let crowd = Crowd::start("1");
    crowd.running.ready();
    let signal = |signal| {
        // SAFETY: a child that is not waited for yet.
        assert_eq!(unsafe { libc::kill(crowd.running.child.id() as i32, signal) }, 0);
    };
    signal(libc::SIGSTOP);
    until("it is stopped", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", crowd.running.pid())).unwrap();
        stat.contains(") T ").then_some(())
    });
    let rule = ["inject", "epoll_ctl:error=ENOSPC:op=ADD:max=3", "--wait", "0.1"];
    refused(&crowd.running.ctl(&rule), 3, "it is stopped");
    signal(libc::SIGCONT);
    crowd.goes_on(100);
    assert_eq!(crowd.count(ENOSPC), 3);
}

#[test]
fn commands_at_the_same_time_come_one_after_the_other() {
    let crowd = Crowd::start("4");
    crowd.running.ready();
    let commands: Vec<Child> = (1..=12)
        .map(|fd| {
            let rule = format!("epoll_ctl:error=ENOSPC:fd={}", 90_000 + fd);
            let pid = crowd.running.pid();
            epollshim().args(["ctl", &pid, "--wait", "30", "inject", &rule]).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for command in commands {
        let output = command.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let status = crowd.running.order(&["status"]);
    assert!((1..=12).all(|fd| status.contains(&format!("fd={}", 90_000 + fd))), "{status}");
    // The limit is 64 rules. The process refuses more, and keeps those it has.
    let many = vec!["epoll_wait:timeout:epfd=99999"; 60].join(";");
    refused(&crowd.running.ctl(&["inject", &many]), 1, "more than 64 rules");
    assert_eq!(crowd.running.order(&["status"]).matches("fd=900").count(), 12);
    assert!(crowd.ends());
}

#[test]
fn the_child_of_a_fork_and_the_program_after_an_exec_have_their_own_pages() {
    let mut puppet = Puppet::start();
    let parent = puppet.running.pid();
    puppet.order(&["inject", "epoll_ctl:error=ENOSPC:op=ADD"]);
    let child = puppet.does("f").to_string();
    refused(&ctl(&child, &["status"]), 2, "has no recording of its own");
    // A fork copies the faults.
    assert_eq!(puppet.does("a"), i64::from(libc::ENOSPC));
    puppet.order_to(&child, &["off"]);
    assert_eq!(puppet.does("a"), 0);
    // The parent was not notified, since it waits for its child.
    refused(&ctl(&parent, &["--wait=0.1", "limit", "watches=1"]), 3, "stays pending");
    assert_eq!(puppet.does("a"), 0);
    assert_eq!(puppet.does("x").to_string(), child);
    assert_eq!(puppet.does("a"), 0);
    puppet.order_to(&child, &["inject", "epoll_ctl:error=EPERM:op=ADD"]);
    assert_eq!(puppet.does("a"), i64::from(libc::EPERM));
    let recordings = fs::read_dir(&puppet.running.recordings).unwrap().count();
    assert_eq!(recordings, 3);
}

#[test]
fn a_process_that_ends_or_becomes_another_program_has_not_answered() {
    for (line, said) in [("q", "it ended without an answer"), ("x", "it became another program")] {
        let mut puppet = Puppet::start();
        let pid = puppet.running.pid();
        let command = epollshim()
            .args(["ctl", &pid, "--wait", "20", "off"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let file = File::open(puppet.running.recording()).unwrap();
        let pages = pages(&file);
        until("the request stands", || (word(&file, pages + control::BELL as u64) != 0).then_some(()));
        if line == "q" {
            puppet.running.child.kill().unwrap();
        } else {
            puppet.say(line);
        }
        refused(&command.wait_with_output().unwrap(), 1, said);
        if line == "q" {
            // It is not reaped yet.
            refused(&ctl(&pid, &[]), 2, "has ended; its parent has not waited for it yet");
            puppet.running.child.wait().unwrap();
            refused(&ctl(&pid, &[]), 2, &format!("there is no process {pid}"));
        }
    }
}
