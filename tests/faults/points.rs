//! The log of faults identifies each point, so that the calls of a program can be listed and failed
//! one by one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::stack::function_at;
use super::{program, run};

/// The lines of the log of `fault_points` under these rules, which change nothing.
fn points(rules: &str) -> Vec<BTreeMap<String, String>> {
    let directory = testkit::scratch("points");
    let log = directory.join("log");
    let mut command = Command::new(program("fault_points"));
    command.arg(&directory).env("LD_PRELOAD", testkit::shim()).env("EPOLLSHIM_STACKS", "1");
    let run =
        run(command.env("EPOLLSHIM_REPORT", "none").env("EPOLLSHIM_INJECT", rules).env("EPOLLSHIM_INJECT_LOG", &log));
    assert!(run.status.success() && run.stderr.is_empty(), "{rules}: {}\n{}", run.status, run.stderr);
    let text = std::fs::read_to_string(log).unwrap();
    let words = |line: &str| {
        let words = line.split(' ').filter_map(|word| word.split_once('='));
        words.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    text.lines().filter(|line| line.starts_with("pid=")).map(words).collect()
}

/// The calls, each with the function of the program that made it, and the kind of descriptor.
fn calls_of(rules: &str) -> Vec<String> {
    let binary = program("fault_points");
    let tell = |point: &BTreeMap<String, String>| {
        assert!(point["stack"].ends_with("/8"), "{point:?}");
        let caller = function_at(&binary, point["frames"].split(',').next().unwrap());
        let on = point.get("on").map_or("nothing", String::as_str);
        format!("{} from {caller} on {on}", point["call"])
    };
    points(rules).iter().map(tell).collect()
}

#[test]
fn each_call_that_closes_or_copies_is_a_point_with_its_stack_and_descriptor() {
    let of = |call: &str, caller: &str, on: &str| format!("{call} from of_{caller} on {on}");
    assert_eq!(
        calls_of("close,dup,dup2,dup3,fcntl,close_range:delay_enter=0"),
        [
            of("dup", "dup", "file"),
            of("close", "dup", "file"),
            of("dup2", "dup2", "device"),
            of("close", "dup2", "device"),
            of("dup3", "dup3", "directory"),
            of("close", "dup3", "directory"),
            of("fcntl", "fcntl", "pipe,nonblock"),
            of("dup", "fclose", "file"),
            of("fclose", "fclose", "nothing"),
            of("closedir", "closedir", "nothing"),
            of("pclose", "pclose", "nothing"),
            of("close_range", "close_range", "nothing"),
            of("close", "close", "timerfd"),
            of("close", "close", "epoll"),
            // The descriptor is no longer open.
            of("close", "close", "nothing"),
        ]
    );
}

#[test]
fn a_point_of_epoll_ctl_names_its_target() {
    let of = |caller: &str, on: &str| format!("epoll_ctl from of_{caller} on {on}");
    assert_eq!(
        calls_of("epoll_ctl:delay_enter=0:op=DEL"),
        [of("del", "eventfd,nonblock"), of("del", "socket,nonblock"), of("del", "file")]
    );
    assert_eq!(
        calls_of("epoll_ctl,accept4:delay_enter=0")[..3],
        [of("add", "socket,nonblock"), of("add", "eventfd,nonblock"), of("mod", "eventfd,nonblock")]
    );
    let operations: Vec<String> =
        points("epoll_ctl:delay_enter=0").iter().map(|point| format!("{} {}", point["op"], point["on"])).collect();
    assert_eq!(operations[2..4], ["MOD eventfd,nonblock", "DEL eventfd,nonblock"]);
    assert_eq!(calls_of("accept4:delay_enter=0"), ["accept4 from of_accept4 on socket,nonblock"]);
}

/// The recording of `fault_points`, which was killed from outside under these rules, and its log of
/// faults.
fn killed(rules: &str, stacks: &str) -> (PathBuf, String) {
    let directory = testkit::scratch("killed");
    let (log, recording) = (directory.join("log"), directory.join("rec"));
    let mut command = Command::new(program("fault_points"));
    command.arg(&directory).arg("waits").env("LD_PRELOAD", testkit::shim()).env("EPOLLSHIM_STACKS", stacks);
    command.env("EPOLLSHIM_REPORT", "none").env("EPOLLSHIM_RECORD", &recording);
    command.env("EPOLLSHIM_INJECT", rules).env("EPOLLSHIM_INJECT_LOG", &log).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "done\n");
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    (recording, std::fs::read_to_string(log).unwrap())
}

fn report(recording: &Path, format: &str) -> String {
    let mut command = Command::new(testkit::shim().with_file_name("epollshim"));
    let output = command.args(["report", "--format", format]).arg(recording).output().unwrap();
    assert!(output.status.success(), "{}", testkit::show(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_last_faults_are_in_the_recording_of_a_process_that_was_killed() {
    let rules = "close:error=EIO:when=3;epoll_ctl:error=ENOENT:op=DEL:when=2+";
    let (recording, log) = killed(rules, "8");
    let all: Value = serde_json::from_str(&report(&recording, "json")).unwrap();
    let faults = &all["processes"][0]["faults"];
    let [close, deletes] = [&faults[0]["firings"], &faults[1]["firings"]].map(|firings| firings.as_array().unwrap());
    assert_eq!((close.len(), deletes.len()), (1, 2), "{faults:#}");
    assert_eq!((faults[0]["fired"].as_u64(), faults[1]["fired"].as_u64()), (Some(1), Some(2)));
    // In the order of the log, whose lines are sorted by time: two DELs come first.
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with("pid=")).collect();
    for (firing, line) in deletes.iter().chain(close).zip(&lines) {
        for (word, key) in [("call", "call"), ("op", "op"), ("stack", "stack_hash")] {
            let logged = line.split(' ').find_map(|found| found.strip_prefix(&format!("{word}=")));
            assert_eq!(logged, firing[key].as_str(), "{line}\n{firing:#}");
        }
        assert!(line.contains(&format!("tid={} ", firing["tid"])), "{line}\n{firing:#}");
        assert!(line.contains(&format!("ordinal={} ", firing["ordinal"])), "{line}\n{firing:#}");
        let site = line.split_once("frames=").unwrap().1.split(',').next().unwrap();
        assert_eq!(firing["site"], site, "{line}\n{firing:#}");
    }
    assert_eq!((&close[0]["function"], &close[0]["op"]), (&Value::from("of_dup3"), &Value::Null));
    assert_eq!(deletes[1]["ordinal"], 3);
    assert!(deletes[0]["stack"].as_array().unwrap().iter().any(|frame| frame.as_str().unwrap().contains("main")));
    let text = report(&recording, "text");
    assert!(text.contains("    last: close, ordinal 3, thread "), "{text}");
    assert!(text.contains("    last: epoll_ctl DEL, ordinal 3, thread "), "{text}");
    assert!(text.contains("      called at ") && text.contains("of_del"), "{text}");
}

#[test]
fn the_last_sixteen_are_kept_and_have_no_stack_if_none_can_be_walked() {
    let (recording, log) = killed("all:delay_enter=0", "0");
    let all: Value = serde_json::from_str(&report(&recording, "json")).unwrap();
    let firings = all["processes"][0]["faults"][0]["firings"].as_array().unwrap().clone();
    let calls: Vec<&str> = log.lines().filter_map(|line| line.split_once(" call=")?.1.split(' ').next()).collect();
    let kept: Vec<&str> = firings.iter().map(|firing| firing["call"].as_str().unwrap()).collect();
    assert!(calls.len() > 16);
    assert_eq!(kept, calls[calls.len() - 16..]);
    assert!(firings.iter().all(|firing| firing["stack_hash"].is_null() && firing["site"].is_string()), "{firings:#?}");
}
