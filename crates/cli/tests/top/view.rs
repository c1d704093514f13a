//! The view on a terminal.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use super::Running;
use super::common::{self, epollshim, scratch, until};
use super::pty::{self, Terminal};
/// The view of a directory, on a new terminal.
fn view(directory: &Path, more: &[&str]) -> Terminal {
    let mut command = epollshim();
    command.args(["top", "--interval", "0.2"]).args(more).arg(directory).env("TERM", "xterm-256color");
    Terminal::with(command, 80, 24)
}

#[test]
fn the_view_draws_reacts_to_keys_and_gives_the_terminal_back() {
    let directory = scratch("view");
    let program = Running::steady(&directory);
    let mut terminal = view(&directory, &[]);
    terminal.shows(&["CALLS/S", &program.pid().to_string(), "steady", "EEXIST"]);
    assert!(terminal.is_raw(), "keys come one by one");
    // The rates are about 1500 calls per second.
    terminal.press("\r");
    terminal.shows(&["INSTANCE", "epoll_create1(0)", "FAILED/S", "main"]);
    terminal.press("\x1b");
    terminal.press("s");
    terminal.shows(&["waits"]);
    terminal.press("?");
    terminal.shows(&["PgUp"]);
    terminal.press("x");
    terminal.press("p");
    terminal.shows(&["PAUSED"]);
    terminal.press("p");
    terminal.resize(120, 40);
    terminal.shows(&["INJ/S", "WORK"]);
    // Another program is started, and added. One ends, and is shown as ended.
    let mut other = Running::steady(&directory);
    terminal.shows(&[&other.pid().to_string()]);
    other.kill();
    terminal.shows(&["(killed)"]);
    terminal.press("q");
    assert_eq!(terminal.wait().code(), Some(0));
    terminal.is_given_back();
}

#[test]
fn a_signal_ends_the_view_as_it_ends_any_program_and_the_terminal_is_given_back() {
    let directory = scratch("signals");
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        let mut terminal = view(&directory, &[]);
        terminal.shows(&["epollshim", "run"]);
        terminal.signal(signal);
        assert_eq!(terminal.wait().signal(), Some(signal));
        terminal.is_given_back();
    }
    // Ctrl-C is a key, as in top(1).
    let mut terminal = view(&directory, &[]);
    terminal.shows(&["epollshim", "run"]);
    terminal.press("\x03");
    assert_eq!(terminal.wait().code(), Some(0));
    terminal.is_given_back();
}

#[test]
fn a_stopped_view_restores_the_terminal_and_draws_again_when_it_continues() {
    let directory = scratch("stopped");
    // A shell with job control. It continues when its job stops.
    let mut command = Command::new("sh");
    let script = "set -m; \"$@\"; for stop in 1 2; do echo STOPPED; read line; fg >/dev/null; done; echo ENDED $?";
    command.args(["-c", script, "sh"]).arg(common::binary()).args(["top", "-d", "0.2"]).arg(&directory);
    let mut terminal = Terminal::with(command, 80, 24);
    terminal.shows(&["epollshim", "run"]);
    let pid = terminal.grandchild();
    // Ctrl-Z, and then SIGSTOP, after which a shell may change the settings of the terminal.
    for is_sudden in [false, true] {
        if is_sudden {
            terminal.forget();
            pty::signal(pid, libc::SIGSTOP);
        } else {
            terminal.press("\x1a");
        }
        pty::stops(pid);
        until("the shell goes on", || terminal.text().contains("STOPPED").then_some(()));
        if is_sudden {
            terminal.cook();
        } else {
            terminal.is_given_back();
        }
        terminal.press("\n");
        terminal.shows(&["epollshim", "run"]);
        assert!(terminal.is_raw());
    }
    terminal.press("q");
    assert_eq!(terminal.wait().code(), Some(0));
    assert!(terminal.text().contains("ENDED 0"), "{}", terminal.text());
    terminal.is_given_back();
}

#[test]
fn it_does_not_stop_if_no_process_could_continue_it() {
    let directory = scratch("orphan");
    // Like `ssh -t host epollshim top`, or a new terminal window: no shell has it as a job.
    let mut terminal = view(&directory, &[]);
    terminal.shows(&["epollshim", "run"]);
    terminal.press("\x1a");
    terminal.signal(libc::SIGTSTP);
    terminal.shows(&["epollshim", "run"]);
    terminal.press("q");
    assert_eq!(terminal.wait().code(), Some(0));
    terminal.is_given_back();
}

#[test]
fn no_color_is_heeded() {
    let directory = scratch("colour");
    let _program = Running::steady(&directory);
    let colour = "\x1b[38;5;";
    let mut terminal = view(&directory, &[]);
    terminal.shows(&["CALLS/S", colour]);
    let mut command = epollshim();
    command.args(["top"]).arg(&directory).env("TERM", "xterm-256color").env("NO_COLOR", "1");
    terminal = Terminal::with(command, 80, 24);
    terminal.shows(&["CALLS/S", "EEXIST"]);
    assert!(!terminal.text().contains(colour));
}
