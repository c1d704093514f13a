//! Each call has one line, also with threads, signal handlers and forks.

use super::{Logged, bare, generations, known_counts, lines, one_line_per_call, read, same_as_bare, tally, troubles};
use testkit::{c_program, scratch, show};

#[test]
fn each_call_is_a_whole_line_in_a_file_with_threads_and_handlers() {
    for arguments in [&["1", "100"][..], &["16", "40"], &["1", "100", "signal"], &["16", "40", "signal"]] {
        let log = scratch("count").join("log");
        let (output, reports) = Logged::new(known_counts(), arguments, &log).run();
        assert!(output.status.success(), "{}", show(&output));
        one_line_per_call(&read(&log), &reports);
    }
}

#[test]
fn each_call_is_a_whole_line_in_a_pipe_with_threads_and_handlers() {
    for arguments in [&["1", "100"][..], &["16", "40"], &["16", "40", "signal"]] {
        let (output, reports) = Logged::new(known_counts(), arguments, "stderr").run();
        assert!(output.status.success());
        let log = String::from_utf8(output.stderr).unwrap();
        // A reader that is slow for a moment may cost lines, but each lost line must be counted.
        let (written, dropped, calls) = tally(&reports[0]);
        assert_eq!((lines(&log).len() as u64, written + dropped), (written, calls), "{}", reports[0]);
    }
}

#[test]
fn lines_of_related_processes_do_not_mix() {
    let log = scratch("family").join("log");
    let (output, reports) = Logged::new(troubles(), &["forks=12", "calls=20"], &log).run();
    assert_eq!(output.status.code(), Some(7), "{}", show(&output));
    assert_eq!(reports.len(), 13);
    one_line_per_call(&read(&log), &reports);
}

#[test]
fn sixty_generations_of_forks_amid_busy_threads_drop_no_line() {
    let log = scratch("generations").join("log");
    let (output, reports) = Logged::new(generations(), &[], &log).run();
    assert!(output.status.success(), "{}", show(&output));
    assert_eq!(reports.len(), 61);
    one_line_per_call(&read(&log), &reports);
}

#[test]
fn a_handler_on_a_tiny_stack_is_logged() {
    let program = c_program("signal_handlers");
    let log = scratch("tiny").join("%e.log");
    let plain = bare(&program, &[]).output().unwrap();
    let (output, reports) = Logged::new(&program, &[], &log).run();
    same_as_bare(&plain, &output);
    one_line_per_call(&read(&log.with_file_name("signal_handlers.log")), &reports);
}
