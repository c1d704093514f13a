//! The samples of docs/faults.md and docs/findings/README.md: rules for `examples/guide/app.c`.

use testkit::{free_port, root};

use super::shell::Shell;
use crate::sample::find;
use crate::{has_python, stacks};

const PAGE: &str = "docs/faults.md";

/// A shell with `./app` and its two files.
pub fn app() -> Shell {
    let shell = Shell::new();
    let source = root().join("examples/guide/app.c");
    shell.program("app", &testkit::compile::program("cc", &["-g"], &source, &[]).unwrap());
    shell.file("app.conf", "greeting = hello\n");
    shell.file("cache.db", "hello\n");
    shell
}

/// The first name of a stack, and the first place in `app`, of the line of a call in these lines.
fn stack_and_place(lines: &str) -> (String, u64) {
    let (_, frames) = lines.split_once("frames=").unwrap_or_else(|| panic!("no stack in {lines}"));
    let (_, place) = frames.split_once("app+0x").unwrap();
    let digits = place.split(|letter: char| !letter.is_ascii_hexdigit()).next().unwrap();
    (stacks(lines)[0].to_owned(), u64::from_str_radix(digits, 16).unwrap())
}

/// Runs a sample that lists calls, and then fails one of them by the stack and the place that the
/// list has. Both differ from compiler to compiler.
fn lists_and_fails(first: &str) {
    let text = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let (begin, end) = find(&text, first).unwrap();
    let lines: Vec<&str> = text.lines().take(end).skip(begin).collect();
    let (shown_stack, shown) = stack_and_place(&lines.join("\n"));
    let (stack, real) = stack_and_place(&app().shell(&[lines[0].trim_start().trim_start_matches("$ ")]));
    let mut shell = app();
    shell.replace(&shown_stack, &stack);
    // The call ends one byte before the place to which it returns.
    for before in [0, 1] {
        shell.replace(&format!("{:#x}", shown - before), &format!("{:#x}", real - before));
    }
    shell.runs(PAGE, first);
}

#[test]
fn rules_for_calls_that_may_fail() {
    for first in [
        "$ epollshim run --report none --inject 'openat,socket,accept4",
        "$ epollshim run --census --inject 'close:error=EIO:made:when=2' -- ./app",
        "$ epollshim run --inject 'openat,socket:error=EMFILE:stack~reload_config' -- ./app",
        "$ EPOLLSHIM_SESSION=$(mktemp -d) epollshim run",
        "$ epollshim run --report none --seed 1 --inject 'epoll_wait:error=any",
    ] {
        app().runs(PAGE, first);
    }
}

#[test]
fn calls_are_listed_and_one_of_them_fails() {
    lists_and_fails("$ epollshim run --report none --stacks 1 --inject malloc,calloc");
    lists_and_fails("$ epollshim run --report none --stacks 1 --inject openat:delay_enter=0");
}

#[test]
fn the_call_of_a_line_of_the_log_fails() {
    let mut shell = app();
    let log =
        "epollshim run --report none --stacks 1 --log calls --log-filter openat -- ./app; grep -m1 cache.db calls";
    let text = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let first = "$ epollshim run --report none --stacks 1 --log calls";
    let (begin, end) = find(&text, first).unwrap();
    let sample: Vec<&str> = text.lines().take(end).skip(begin).collect();
    shell.replace(stacks(&sample.join("\n"))[0], stacks(&app().shell(&[log]))[0]);
    shell.runs(PAGE, first);
}

#[test]
fn a_fault_waits_until_the_server_serves() {
    if !has_python() {
        return;
    }
    let mut shell = Shell::new();
    let port = free_port().to_string();
    shell.replace("7000", &port);
    let script = std::fs::read_to_string(root().join("examples/guide/stuck.py")).unwrap();
    shell.file("stuck.py", &script.replace("7000", &port));
    shell.runs(PAGE, "$ mkdir -m 700 session");
}
