//! The samples of docs/findings/: each is what a program of c-tests/findings reports.

use std::process::Command;

use testkit::{c_program, compile, root, run, shim, stderr};

use super::faults::app;
use crate::epollshim;
use crate::sample::is_real;

/// Compares a sample of the page of a finding with what a program reports with these arguments.
fn reports(page: &str, first: &str, program: &str, arguments: &[&str]) {
    let mut command = Command::new(c_program(&format!("findings/{program}")));
    command.args(arguments).env("LD_PRELOAD", shim()).env("EPOLLSHIM_CENSUS", "1").env("EPOLLSHIM_REPORT", "stderr");
    let ended = run(&mut command);
    assert!(ended.status.success(), "{program}: {}{}", ended.stdout, ended.stderr);
    is_real(page, first, &ended.stderr);
}

#[test]
fn instances_that_are_left_or_made_too_often() {
    reports("docs/findings/churn.md", "info     churn", "cases/gunicorn_churn", &[]);
    reports("docs/findings/leak.md", "error    leak", "leak", &[]);
    reports("docs/findings/leak.md", "warning  leak", "cases/soa_16", &[]);
    reports("docs/findings/no-cloexec.md", "warning  no-cloexec", "no_cloexec", &[]);
    reports("docs/findings/fork-shared.md", "error    fork-shared", "fork_shared", &[]);
    reports("docs/findings/size-lie.md", "info     size-lie", "size_lie", &[]);
}

#[test]
fn calls_on_descriptors_that_are_closed_or_watched_already() {
    reports("docs/findings/close-in-wait.md", "error    close-in-wait", "close_in_wait", &[]);
    reports("docs/findings/ctl-error.md", "warning  ctl-error", "ctl_error_exists", &[]);
    reports("docs/findings/double-close.md", "warning  double-close", "double_close", &[]);
    reports("docs/findings/ghost.md", "error    ghost", "ghost", &[]);
    reports("docs/findings/ignored-error.md", "error    ignored-error  fd", "ignored_error_ctl", &[]);
    reports("docs/findings/stale-data.md", "error    stale-data", "stale_data", &[]);
    reports("docs/findings/stale-data.md", "info     stale-data", "cases/httpzig_208", &["bad"]);
    reports("docs/findings/use-after-close.md", "warning  use-after-close", "after_close", &[]);
    reports("docs/findings/use-after-close.md", "error    use-after-close", "double_close_reused", &[]);
}

#[test]
fn waits_that_keep_failing() {
    let program = c_program("findings/failed_waits");
    let ended = epollshim().args(["run", "--"]).arg(program).output().unwrap();
    is_real("docs/findings/ignored-error.md", "error    ignored-error 100 times", &stderr(&ended));
}

#[test]
fn descriptors_that_run_out_or_are_inherited() {
    reports("docs/findings/exhausted.md", "error    exhausted", "exhausted", &[]);
    reports("docs/findings/fd-inherited.md", "warning  fd-inherited", "fd_inherited", &[]);
    reports("docs/findings/fd-leak.md", "warning  fd-leak", "fd_leak_slowly", &[]);
    reports("docs/findings/fd-leak.md", "error    fd-leak", "cases/squeak_684", &[]);
    reports("docs/findings/near-limit.md", "warning  near-limit", "near_limit", &[]);
}

#[test]
fn loops_that_spin_sleep_or_are_late() {
    reports("docs/findings/full-batch.md", "warning  full-batch", "full_batch", &[]);
    reports("docs/findings/late-loop.md", "warning  late-loop", "late_loop", &[]);
    reports("docs/findings/poll-loop.md", "warning  poll-loop", "poll_loop", &[]);
    reports("docs/findings/spin.md", "error    spin", "spin_hup", &[]);
    reports("docs/findings/stalled.md", "warning  stalled", "cases/davici_4", &["bad"]);
}

#[test]
fn events_that_wake_several() {
    reports("docs/findings/herd.md", "warning  herd           epfd", "herd", &[]);
    reports("docs/findings/herd.md", "several threads wait on this instance, and in", "herd_stream", &[]);
}

#[test]
fn findings_are_suppressed_and_a_test_fails_for_others() {
    let shell = app();
    shell.program("test", &shell.folder.join("app"));
    let library = root().join("tests/docs_samples/libfoo.c");
    shell.program("libfoo.so", &compile::program("cc", &["-g", "-shared", "-fPIC"], &library, &[]).unwrap());
    let (source, beside) = (root().join("examples/guide/app.c"), shell.folder.join("libfoo.so"));
    let before = ["-g", "-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN"];
    shell.program("app", &compile::linked("cc", &before, &source, &[], Some(&beside)).unwrap());
    shell.file("known.supp", "# libfoo keeps its loop for the life of the process\nleak:libfoo.so\nspin:^main_loop$\n");
    shell.runs("docs/findings/README.md", "$ cat known.supp");
    shell.runs("docs/findings/README.md", "$ epollshim run --record rec --report none -- ./test");
}

#[test]
fn faults_that_show_what_a_program_does() {
    for (page, first) in [
        ("docs/findings/exhausted.md", "$ epollshim run --inject accept4"),
        ("docs/findings/ignored-error.md", "$ epollshim run --inject epoll_create1"),
    ] {
        app().runs(page, first);
    }
}
