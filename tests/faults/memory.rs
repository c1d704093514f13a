//! Functions that are hooked only if a rule names them, and functions whose children return on the
//! caller's stack.

use std::path::Path;
use std::process::Command;

use super::{program, run};

fn under(binary: &Path, argument: &str, rules: &str) -> String {
    let mut command = Command::new(binary);
    command.args((!argument.is_empty()).then_some(argument)).env("LD_PRELOAD", testkit::shim());
    let run = run(command.env("EPOLLSHIM_INJECT", rules).env("EPOLLSHIM_REPORT", "none"));
    assert!(run.status.success() && run.stderr.is_empty(), "{rules}: {}\n{}", run.status, run.stderr);
    run.stdout
}

const NAMES: [&str; 6] = ["malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "mmap"];

/// What `fault_memory` prints when the second call of each of these functions fails.
fn second_fails(names: &[&str]) -> String {
    let line = |round: usize, name: &&str| {
        let fails = round == 1 && names.contains(name);
        format!("{name} {}\n", if fails { "ENOMEM" } else { "got" })
    };
    (0..3).flat_map(|round| NAMES.iter().map(move |name| line(round, name))).collect()
}

#[test]
fn each_function_that_takes_memory_fails_where_a_rule_names_it_however_the_program_is_linked() {
    for flags in [
        &["-Wl,-z,lazy"][..],
        &["-Wl,-z,now", "-Wl,-z,relro"],
        &["-fno-plt", "-Wl,-z,now"],
        &["-no-pie", "-fno-pie", "-Wl,-z,lazy"],
    ] {
        let binary = testkit::c_program_with("fault_memory", flags);
        for name in NAMES {
            let printed = under(&binary, "", &format!("{name}:error=ENOMEM:when=2"));
            assert_eq!(printed, second_fails(&[name]), "{name} {flags:?}");
        }
        let printed = under(&binary, "", &format!("{}:error=ENOMEM:when=2", NAMES.join(",")));
        assert_eq!(printed, second_fails(&NAMES), "{flags:?}");
    }
}

#[test]
fn no_set_has_them_and_a_program_with_an_allocator_of_its_own_keeps_it() {
    let binary = program("fault_memory");
    for rules in ["all:error=ENOMEM", "/^(malloc|close)$:error=ENOMEM", "!epoll:error=ENOMEM"] {
        assert_eq!(under(&binary, "", rules), second_fails(&[]), "{rules}");
    }
    let own = testkit::c_program_with("fault_memory", &["-DOWN_MALLOC"]);
    assert_eq!(under(&own, "", "malloc,calloc:error=ENOMEM:when=2"), second_fails(&["calloc"]));
}

#[test]
fn memory_fails_in_threads_handlers_and_children_amid_walks_of_the_stack() {
    let binary = program("fault_memory");
    let rules = "malloc,realloc:error=ENOMEM:prob=0.3;mmap:error=ENOMEM:prob=0.3";
    assert_eq!(under(&binary, "threads", rules), "done\n");
    let log = testkit::scratch("memory").join("log");
    let mut command = Command::new(&binary);
    command
        .arg("threads")
        .env("LD_PRELOAD", testkit::shim())
        .env("EPOLLSHIM_INJECT", "malloc,mmap:error=ENOMEM:prob=0.02");
    command.env("EPOLLSHIM_STACKS", "8").env("EPOLLSHIM_REPORT", "none").env("EPOLLSHIM_INJECT_LOG", &log);
    let run = run(&mut command);
    assert!(run.status.success(), "{}\n{}", run.status, run.stderr);
    let text = std::fs::read_to_string(log).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(" call=malloc ")).collect();
    assert!(lines.len() > 20 && lines.iter().all(|line| line.contains(" frames=fault_memory+0x")), "{text:.2000}");
}

#[test]
fn a_rule_for_them_that_comes_later_is_refused() {
    let refused = "functions that take memory are only hooked at start: start the program with a rule for them";
    let printed = |rules: &str| {
        let mut command = Command::new(program("fault_late"));
        command.args(["malloc:error=ENOMEM:when=1000000"]).env("LD_PRELOAD", testkit::shim());
        let run = run(command.env("EPOLLSHIM_REPORT", "none").env("EPOLLSHIM_INJECT", rules));
        run.stdout
    };
    assert!(printed("close:error=EIO:when=1000000").contains(refused));
    assert_eq!(printed("malloc:error=ENOMEM:when=1000000"), "0 \n");
}

#[test]
fn a_child_in_its_parents_memory_can_be_failed_before_there_is_one() {
    let binary = program("fault_births");
    let printed = |rules: &str| under(&binary, "", rules).replace('\n', " ");
    let all_there = "vfork 7 __vfork 8 clone 9 ";
    assert_eq!(printed("close:error=EIO"), all_there.repeat(3));
    assert_eq!(
        printed("vfork:error=EAGAIN:when=2;clone:error=ENOMEM:when=2"),
        format!("vfork 7 __vfork EAGAIN clone 9 vfork 7 __vfork 8 clone ENOMEM {all_there}")
    );
    // The children continue, and are listed.
    let log = testkit::scratch("births").join("log");
    let mut command = Command::new(&binary);
    command.env("LD_PRELOAD", testkit::shim()).env("EPOLLSHIM_INJECT", "vfork,clone:delay_enter=0");
    command.env("EPOLLSHIM_STACKS", "1").env("EPOLLSHIM_REPORT", "none").env("EPOLLSHIM_INJECT_LOG", &log);
    assert_eq!(run(&mut command).stdout.replace('\n', " "), all_there.repeat(3));
    let text = std::fs::read_to_string(&log).unwrap();
    let calls: Vec<&str> = text.lines().filter_map(|line| line.split_once(" call=")?.1.split(' ').next()).collect();
    assert_eq!(calls, ["vfork", "vfork", "clone"].repeat(3), "{text}");
    assert!(text.lines().skip(1).all(|line| line.contains(" stack=") && line.contains(" frames=fault_births+0x")));
    // Their log contains the calls that failed.
    let mut command = Command::new(&binary);
    command.env("LD_PRELOAD", testkit::shim()).env("EPOLLSHIM_INJECT", "vfork:error=EAGAIN:when=1");
    let run = run(command
        .env("EPOLLSHIM_REPORT", "none")
        .env("EPOLLSHIM_LOG", "stderr")
        .env("EPOLLSHIM_LOG_FILTER", "vfork"));
    assert!(run.stderr.contains("vfork() = -1 EAGAIN"), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
}

#[test]
fn actions_after_the_call_are_refused_for_calls_that_create_processes() {
    for rule in ["vfork:retval=7", "clone:delay_exit=1ms", "vfork,clone:signal=USR1"] {
        let mut command = Command::new(program("fault_births"));
        let output = command.env("LD_PRELOAD", testkit::shim()).env("EPOLLSHIM_INJECT", rule).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{rule}: {}", testkit::show(&output));
    }
}
