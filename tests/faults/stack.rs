//! Conditions on the call stack.

use std::path::Path;
use std::process::Command;

use super::{program, run};

/// What `fault_stack` prints when `eventfd` fails under this condition. It has no report, because
/// it never uses epoll.
fn under(binary: &Path, condition: &str) -> String {
    under_with(&mut Command::new(binary), condition)
}

fn under_with(command: &mut Command, condition: &str) -> String {
    let rule = format!("eventfd:error=EMFILE:{condition}");
    let run = run(command.env("LD_PRELOAD", testkit::shim()).env("EPOLLSHIM_INJECT", &rule));
    assert!(run.status.success() && run.stderr.is_empty(), "{rule}: {}\n{}", run.status, run.stderr);
    run.stdout
}

#[test]
fn a_function_on_the_call_stack_is_known_by_its_name() {
    for (condition, printed) in [
        // Functions that are only in the symbol table of the file, and one that is found in memory.
        ("stack~hidden", "main 1 hidden 0 shown 0 deep 1 handler 1 thread 0\n"),
        ("stack~shown", "main 1 hidden 1 shown 0 deep 1 handler 1 thread 1\n"),
        // The last of 500 frames.
        ("stack~main", "main 0 hidden 0 shown 0 deep 0 handler 0 thread 1\n"),
        ("stack~deep", "main 1 hidden 1 shown 1 deep 0 handler 1 thread 1\n"),
        // On the small stack of a handler, and on the stack below it.
        ("stack~handler", "main 1 hidden 1 shown 1 deep 1 handler 0 thread 1\n"),
        ("stack~raise", "main 1 hidden 1 shown 1 deep 1 handler 0 thread 1\n"),
        ("stack~in_thread", "main 1 hidden 1 shown 1 deep 1 handler 1 thread 0\n"),
        // A complete name, or a pattern.
        ("stack~hid", "main 1 hidden 1 shown 1 deep 1 handler 1 thread 1\n"),
        ("stack~/^(hid|dee)", "main 1 hidden 0 shown 0 deep 0 handler 1 thread 0\n"),
        // Calls from other places are not counted.
        ("stack~hidden:when=2", "main 1 hidden 1 shown 0 deep 1 handler 1 thread 1\n"),
    ] {
        assert_eq!(under(&program("fault_stack"), condition), printed, "{condition}");
    }
}

#[test]
fn of_a_stripped_program_the_functions_are_known_that_it_exports() {
    let stripped = testkit::scratch("strip").join("fault_stack");
    assert!(Command::new("strip").arg("-o").arg(&stripped).arg(program("fault_stack")).status().unwrap().success());
    assert_eq!(under(&stripped, "stack~shown"), "main 1 hidden 1 shown 0 deep 1 handler 1 thread 1\n");
    assert_eq!(under(&stripped, "stack~hidden"), "main 1 hidden 1 shown 1 deep 1 handler 1 thread 1\n");
}

#[test]
fn of_a_library_that_is_loaded_later_the_functions_are_known_that_it_exports() {
    let library = testkit::c_program_with("fault_stack_library", &["-shared", "-fPIC"]);
    let plugin = |condition: &str| {
        let mut command = Command::new(program("fault_stack"));
        under_with(command.arg(&library), condition).trim().rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(plugin("stack~plugin_call"), "0");
    assert_eq!(plugin("stack~/^plugin_call"), "1");
    assert_eq!(plugin("stack~plugin_inner"), "1");
}

/// The lines of the log for `eventfd` in `fault_stack`, without process ids.
fn logged(environment: &[(&str, &str)]) -> Vec<String> {
    let mut command = Command::new(program("fault_stack"));
    command.env("LD_PRELOAD", testkit::shim()).env("EPOLLSHIM_REPORT", "none").env("EPOLLSHIM_LOG", "stderr");
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

/// The points of `eventfd` in `fault_stack` in the log of faults: hash and depth, and frames.
fn points(binary: &Path, environment: &[(&str, &str)]) -> Vec<(String, Vec<String>)> {
    let log = testkit::scratch("points").join("log");
    let mut command = Command::new(binary);
    command.env("LD_PRELOAD", testkit::shim()).env("EPOLLSHIM_INJECT", "eventfd:delay_enter=0");
    let run = run(command.env("EPOLLSHIM_INJECT_LOG", &log).envs(environment.iter().copied()));
    assert!(run.status.success() && run.stderr.is_empty(), "{}", run.stderr);
    let value =
        |line: &str, key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)).unwrap_or_default().to_owned();
    let text = std::fs::read_to_string(log).unwrap();
    let point = |line: &str| (value(line, "stack="), value(line, "frames=").split(',').map(str::to_owned).collect());
    text.lines().skip(1).map(point).collect()
}

/// The function at an address of the program, by `addr2line`.
pub fn function_at(binary: &Path, frame: &str) -> String {
    let (object, offset) = frame.rsplit_once('+').unwrap();
    assert_eq!(object, binary.file_name().unwrap().to_str().unwrap());
    let address = u64::from_str_radix(offset.strip_prefix("0x").unwrap(), 16).unwrap() - 1;
    let mut command = Command::new("addr2line");
    let output = command.args(["-f", "-e"]).arg(binary).arg(format!("{address:#x}")).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().next().unwrap().to_owned()
}

#[test]
fn a_point_of_the_log_is_the_same_in_each_run_and_hit_by_its_stack_and_by_its_site() {
    for flags in [&["-pie"][..], &["-no-pie", "-fno-pie"]] {
        let binary = testkit::c_program_with("fault_stack", flags);
        let all = points(&binary, &[("EPOLLSHIM_STACKS", "1")]);
        assert_eq!(all.len(), 6, "{all:#?}");
        assert_eq!(points(&binary, &[("EPOLLSHIM_STACKS", "1")]), all);
        assert!(all.iter().all(|(hash, frames)| hash.ends_with("/8") && frames.len() <= 8), "{all:#?}");
        let names: Vec<String> = all[2].1.iter().take(4).map(|frame| function_at(&binary, frame)).collect();
        assert_eq!(names, ["leaf", "hidden", "shown", "main"], "{all:#?}");
        assert_eq!(all[3].1.len(), 8);
        // The stack of a handler does not include what the handler has interrupted.
        let handlers: Vec<&String> = all[4].1.iter().filter(|frame| frame.starts_with("fault_stack+")).collect();
        let handlers: Vec<String> = handlers.into_iter().map(|frame| function_at(&binary, frame)).collect();
        assert_eq!(handlers, ["leaf", "handler"], "{all:#?}");
        for (place, expected) in [
            (2, "main 1 hidden 1 shown 0 deep 1 handler 1 thread 1\n"),
            (3, "main 1 hidden 1 shown 1 deep 0 handler 1 thread 1\n"),
            (4, "main 1 hidden 1 shown 1 deep 1 handler 0 thread 1\n"),
        ] {
            assert_eq!(under(&binary, &format!("stack={}", all[place].0)), expected, "{place}");
        }
        // All of them have the same innermost caller.
        let site = &all[0].1[0];
        assert_eq!(under(&binary, &format!("site={site}")), "main 0 hidden 0 shown 0 deep 0 handler 0 thread 0\n");
        let all_there = "main 1 hidden 1 shown 1 deep 1 handler 1 thread 1\n";
        assert_eq!(under(&binary, &format!("site={}", all[1].1[1])), all_there);
        assert_eq!(under(&binary, &format!("site=other{}", &site[11..])), all_there);
        // If stacks cannot be walked, a line still contains the site.
        let unwalked: Vec<_> = all.iter().map(|(_, frames)| (String::new(), vec![frames[0].clone()])).collect();
        assert_eq!(points(&binary, &[]), unwalked);
    }
}

#[test]
fn a_hash_of_fewer_callers_is_one_for_all_stacks_that_begin_so() {
    let binary = program("fault_stack");
    let frames = points(&binary, &[("EPOLLSHIM_STACKS", "1")]).swap_remove(1).1;
    // FNV-1a over base names and offsets in the object. The base name of the program itself is
    // empty.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for frame in &frames[..2] {
        let offset = u64::from_str_radix(frame.rsplit_once("+0x").unwrap().1, 16).unwrap();
        for byte in offset.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    assert_eq!(under(&binary, &format!("stack={hash:x}/2")), "main 1 hidden 0 shown 0 deep 1 handler 1 thread 0\n");
}

#[test]
fn a_site_in_a_library_is_found_wherever_it_is_loaded() {
    // A name that must be escaped in a rule.
    let odd = testkit::scratch("odd").join("plug in:1.so");
    std::fs::copy(testkit::c_program_with("fault_stack_library", &["-shared", "-fPIC"]), &odd).unwrap();
    let log = odd.with_extension("log");
    let mut command = Command::new(program("fault_stack"));
    command.arg(&odd).env("EPOLLSHIM_INJECT_LOG", &log);
    assert!(under_with(&mut command, "stack~none_of_these").ends_with("plugin 1\n"));
    command.env("EPOLLSHIM_STACKS", "1");
    assert!(under_with(&mut command, "stack~plugin_call").ends_with("plugin 0\n"));
    let text = std::fs::read_to_string(&log).unwrap();
    let frames = text.lines().last().unwrap().split_once("frames=").unwrap().1;
    let site = frames.split(',').next().unwrap();
    assert!(site.starts_with("plug?in?1.so+0x"), "{text}");
    let mut command = Command::new(program("fault_stack"));
    let printed = under_with(command.arg(&odd), &format!("site={site}"));
    assert_eq!(printed, "main 1 hidden 1 shown 1 deep 1 handler 1 thread 1 plugin 0\n");
}

#[test]
fn a_rule_that_is_armed_too_late_to_walk_stacks_is_refused_with_a_fix() {
    let output = Command::new(program("fault_late"))
        .env("LD_PRELOAD", testkit::shim())
        .env("EPOLLSHIM_REPORT", "none")
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.starts_with("-1 "), "{printed}");
    assert!(printed.contains("start the program with EPOLLSHIM_STACKS=1"), "{printed}");
    let output = Command::new(program("fault_late"))
        .env("LD_PRELOAD", testkit::shim())
        .env("EPOLLSHIM_REPORT", "none")
        .env("EPOLLSHIM_STACKS", "1")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "0 \n");
    let output = Command::new(program("fault_stack"))
        .env("LD_PRELOAD", testkit::shim())
        .env("EPOLLSHIM_INJECT", "eventfd:error=EMFILE:stack~/.;dup:error=EIO:stack~/.;close:error=EIO:stack~/.")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said, "epollshim: EPOLLSHIM_INJECT: stack~ names more than 4096 functions; give longer names\n");
}
