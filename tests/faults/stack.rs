//! Conditions on the call stack.

use std::path::Path;
use std::process::Command;

use super::{common, program, run};

/// What `fault_stack` prints where `eventfd` fails under this condition. (It has no report: it never uses epoll.)
fn under(binary: &Path, condition: &str) -> String {
    under_with(&mut Command::new(binary), condition)
}

fn under_with(command: &mut Command, condition: &str) -> String {
    let rule = format!("eventfd:error=EMFILE:{condition}");
    let run = run(command.env("LD_PRELOAD", common::shim()).env("EPOLLSHIM_INJECT", &rule));
    assert!(run.status.success() && run.stderr.is_empty(), "{rule}: {}\n{}", run.status, run.stderr);
    run.stdout
}

#[test]
fn a_function_on_the_call_stack_is_known_by_its_name() {
    for (condition, printed) in [
        // Of the file's symbol table alone, and of one in memory.
        ("stack~hidden", "main 1 hidden 0 shown 0 deep 1 handler 1 thread 0\n"),
        ("stack~shown", "main 1 hidden 1 shown 0 deep 1 handler 1 thread 1\n"),
        // At the end of 500 frames.
        ("stack~main", "main 0 hidden 0 shown 0 deep 0 handler 0 thread 1\n"),
        ("stack~deep", "main 1 hidden 1 shown 1 deep 0 handler 1 thread 1\n"),
        // On a handler's small stack, and below it.
        ("stack~handler", "main 1 hidden 1 shown 1 deep 1 handler 0 thread 1\n"),
        ("stack~raise", "main 1 hidden 1 shown 1 deep 1 handler 0 thread 1\n"),
        ("stack~in_thread", "main 1 hidden 1 shown 1 deep 1 handler 1 thread 0\n"),
        // The whole name, or a pattern.
        ("stack~hid", "main 1 hidden 1 shown 1 deep 1 handler 1 thread 1\n"),
        ("stack~/^(hid|dee)", "main 1 hidden 0 shown 0 deep 0 handler 1 thread 0\n"),
        // Calls from elsewhere are not counted.
        ("stack~hidden:when=2", "main 1 hidden 1 shown 0 deep 1 handler 1 thread 1\n"),
    ] {
        assert_eq!(under(&program("fault_stack"), condition), printed, "{condition}");
    }
}

#[test]
fn of_a_stripped_program_the_functions_are_known_that_it_exports() {
    let stripped = common::scratch("strip").join("fault_stack");
    assert!(Command::new("strip").arg("-o").arg(&stripped).arg(program("fault_stack")).status().unwrap().success());
    assert_eq!(under(&stripped, "stack~shown"), "main 1 hidden 1 shown 0 deep 1 handler 1 thread 1\n");
    assert_eq!(under(&stripped, "stack~hidden"), "main 1 hidden 1 shown 1 deep 1 handler 1 thread 1\n");
}

#[test]
fn of_a_library_that_is_loaded_later_the_functions_are_known_that_it_exports() {
    let library = common::c_program_with("fault_stack_library", &["-shared", "-fPIC"]);
    let plugin = |condition: &str| {
        let mut command = Command::new(program("fault_stack"));
        under_with(command.arg(&library), condition).trim().rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(plugin("stack~plugin_call"), "0");
    assert_eq!(plugin("stack~/^plugin_call"), "1");
    assert_eq!(plugin("stack~plugin_inner"), "1");
}

/// The lines of the log of `eventfd` in `fault_stack`, without numbers of processes.
fn logged(environment: &[(&str, &str)]) -> Vec<String> {
    let mut command = Command::new(program("fault_stack"));
    command.env("LD_PRELOAD", common::shim()).env("EPOLLSHIM_REPORT", "none").env("EPOLLSHIM_LOG", "stderr");
    let run = run(command.env("EPOLLSHIM_LOG_FILTER", "eventfd").envs(environment.iter().copied()));
    assert!(run.status.success(), "{}", run.stderr);
    run.stderr.lines().filter_map(|line| Some(line.split_once("] ")?.1.to_owned())).collect()
}

#[test]
fn a_call_stack_has_one_hash_in_every_run_and_a_rule_finds_it() {
    let lines = logged(&[("EPOLLSHIM_STACKS", "1")]);
    assert_eq!(lines.len(), 6, "{lines:#?}");
    assert_eq!(logged(&[("EPOLLSHIM_STACKS", "3")]), lines);
    let hashes: Vec<&str> = lines.iter().map(|line| line.split_once(" stack=").unwrap().1).collect();
    let mut different = hashes.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), 6, "{lines:#?}");
    assert!(logged(&[]).iter().all(|line| !line.contains("stack=")));
    let binary = program("fault_stack");
    let third = under(&binary, &format!("stack={}", hashes[2]));
    assert_eq!(third, "main 1 hidden 1 shown 0 deep 1 handler 1 thread 1\n");
    let handlers = under(&binary, &format!("stack={}", hashes[4].to_uppercase()));
    assert_eq!(handlers, "main 1 hidden 1 shown 1 deep 1 handler 0 thread 1\n");
    assert_eq!(under(&binary, "stack=0123456789abcdef"), "main 1 hidden 1 shown 1 deep 1 handler 1 thread 1\n");
}

#[test]
fn a_rule_that_comes_too_late_to_walk_stacks_is_refused_with_what_to_do() {
    let output = Command::new(program("fault_late"))
        .env("LD_PRELOAD", common::shim())
        .env("EPOLLSHIM_REPORT", "none")
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.starts_with("-1 "), "{printed}");
    assert!(printed.contains("start the program with EPOLLSHIM_STACKS=1"), "{printed}");
    let output = Command::new(program("fault_late"))
        .env("LD_PRELOAD", common::shim())
        .env("EPOLLSHIM_REPORT", "none")
        .env("EPOLLSHIM_STACKS", "1")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "0 \n");
    let output = Command::new(program("fault_stack"))
        .env("LD_PRELOAD", common::shim())
        .env("EPOLLSHIM_INJECT", "eventfd:error=EMFILE:stack~/.;dup:error=EIO:stack~/.;close:error=EIO:stack~/.")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said, "epollshim: EPOLLSHIM_INJECT: stack~ names more than 4096 functions in all; give longer names\n");
}
