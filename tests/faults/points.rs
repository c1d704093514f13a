//! What the log of faults says of each point, so that a program's calls can be listed and failed one by one.

use std::collections::BTreeMap;
use std::process::Command;

use super::stack::function_at;
use super::{common, program, run};

/// The lines of the log of `fault_points` under these rules, which change nothing.
fn points(rules: &str) -> Vec<BTreeMap<String, String>> {
    let directory = common::scratch("points");
    let log = directory.join("log");
    let mut command = Command::new(program("fault_points"));
    command.arg(&directory).env("LD_PRELOAD", common::shim()).env("EPOLLSHIM_STACKS", "1");
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

/// The calls, each from which function of the program, and on what.
fn told(rules: &str) -> Vec<String> {
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
fn each_call_that_closes_or_copies_is_a_point_with_its_stack_and_what_it_is_given() {
    let of = |call: &str, caller: &str, on: &str| format!("{call} from of_{caller} on {on}");
    assert_eq!(
        told("close,dup,dup2,dup3,fcntl,close_range:delay_enter=0"),
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
            // It is not open any more.
            of("close", "close", "nothing"),
        ]
    );
}

#[test]
fn of_epoll_ctl_the_target_is_told() {
    let of = |caller: &str, on: &str| format!("epoll_ctl from of_{caller} on {on}");
    assert_eq!(
        told("epoll_ctl:delay_enter=0:op=DEL"),
        [of("del", "eventfd,nonblock"), of("del", "socket,nonblock"), of("del", "file")]
    );
    assert_eq!(
        told("epoll_ctl,accept4:delay_enter=0")[..3],
        [of("add", "socket,nonblock"), of("add", "eventfd,nonblock"), of("mod", "eventfd,nonblock")]
    );
    let operations: Vec<String> =
        points("epoll_ctl:delay_enter=0").iter().map(|point| format!("{} {}", point["op"], point["on"])).collect();
    assert_eq!(operations[2..4], ["MOD eventfd,nonblock", "DEL eventfd,nonblock"]);
    assert_eq!(told("accept4:delay_enter=0"), ["accept4 from of_accept4 on socket,nonblock"]);
}
