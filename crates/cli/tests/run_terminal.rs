//! Tests `epollshim run` on a terminal: Ctrl-C, Ctrl-Z, fg, and a terminal that is closed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod pty;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::{binary, compile, epollshim, scratch, stdout, tool, until};
use pty::Terminal;

const INTERRUPT: &str = "\x03";
const SUSPEND: &str = "\x1a";
const END: &str = "\x04";

/// A terminal whose session leader is `epollshim run -- job`, and the process id of `job` when it
/// is ready.
fn job(directory: &Path) -> (Terminal, u32) {
    let mut command = epollshim();
    command.env("TMPDIR", directory).args(["run", "--"]).arg(compile("job", &[]));
    let terminal = Terminal::with(command, 80, 24);
    let pid = terminal.says("pid ");
    (terminal, pid.split(' ').next().unwrap().parse().unwrap())
}

/// A shell with job control on a terminal. `$run` starts a program under the shim.
fn shell(directory: &Path) -> Option<Terminal> {
    let bash = tool("bash")?;
    let mut command = Command::new(bash);
    command.args(["--norc", "--noprofile", "-i"]).env("TMPDIR", directory).env("PS1", "> ").env("TERM", "dumb");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("EPOLLSHIM_") || name == "LD_PRELOAD") {
            command.env_remove(name);
        }
    }
    command.env("run", format!("{} run --", binary().display())).env("job", compile("job", &[]));
    Some(Terminal::with(command, 80, 24))
}

fn place() -> PathBuf {
    fs::canonicalize(scratch("terminal")).unwrap()
}

fn left(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn an_interrupt_reaches_the_program_once_and_the_report_comes_at_its_end() {
    let directory = place();
    let (mut terminal, _) = job(&directory);
    terminal.types(INTERRUPT);
    assert_eq!(terminal.says("signal 2: "), "1");
    terminal.types("again\n");
    terminal.says("read again");
    assert!(!terminal.text().contains("signal 2: 2"), "{}", terminal.text());
    // A signal from another process goes only to the parent.
    terminal.forget();
    terminal.signal(libc::SIGINT);
    assert_eq!(terminal.says("signal 2: "), "2");
    terminal.types("q\n");
    terminal.says("Instances: 1 created");
    assert_eq!(terminal.wait().code(), Some(0), "the interrupt was the program's: it went on, and so did its parent");
    assert_eq!(left(&directory), 0);
}

#[test]
fn a_program_that_an_interrupt_ends_ends_its_parent_by_it() {
    let directory = place();
    let Some(mut terminal) = shell(&directory) else { return };
    terminal.types("$run sleep 60\n");
    until("it sleeps", || {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", terminal.pid())).unwrap();
        let parent = children.trim().parse::<u32>().ok()?;
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
        let name = fs::read_to_string(format!("/proc/{}/comm", children.split(' ').next()?)).ok()?;
        (name == "sleep\n").then_some(())
    });
    terminal.types(INTERRUPT);
    assert!(terminal.says("sleep (pid ").contains("was killed by SIGINT"), "{}", terminal.text());
    terminal.types("echo status-$?-\n");
    terminal.says("status-130-");
    assert_eq!(left(&directory), 0);
}

#[test]
fn a_program_is_suspended_and_continued_by_its_shell() {
    let directory = place();
    let Some(mut terminal) = shell(&directory) else { return };
    terminal.types("$run $job\n");
    terminal.says("pid ");
    // Also directly after it was continued, when its parent may not have noticed yet.
    for times in ["1", "2", "3", "4", "5", "6"] {
        terminal.forget();
        terminal.types(SUSPEND);
        terminal.says("Stopped");
        // The shell has the terminal.
        terminal.types("echo shell-$((40 + 2))-\n");
        terminal.says("shell-42-");
        terminal.types("fg\n");
        assert_eq!(terminal.says("signal 18: "), times);
        terminal.types("hello\n");
        terminal.says("read hello");
    }
    terminal.types("q\n");
    terminal.says("Instances: 1 created");
    terminal.types("echo status-$?-\n");
    terminal.says("status-0-");
    assert_eq!(left(&directory), 0);
}

#[test]
fn a_program_that_stops_itself_gives_the_terminal_back() {
    let directory = place();
    let Some(mut terminal) = shell(&directory) else { return };
    terminal.types("$run sh -c 'kill -STOP $$; echo went-$((1 + 1))-'\n");
    terminal.says("Stopped");
    terminal.types("fg\n");
    terminal.says("went-2-");
    terminal.says("nothing to report");
    terminal.types("echo status-$?-\n");
    terminal.says("status-0-");
}

#[test]
fn a_program_in_the_background_that_reads_the_terminal_stops() {
    let directory = place();
    let Some(mut terminal) = shell(&directory) else { return };
    terminal.types("$run cat &\n");
    // The first child of the shell's first child.
    let child = |pid: &str| {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.split_whitespace().next().map(str::to_owned)
    };
    let state = |pid: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.split("State:\t").nth(1)?.chars().next()
    };
    let shell = terminal.pid().to_string();
    let (parent, cat) = until("both are stopped", || {
        let parent = child(&shell)?;
        let cat = child(&parent)?;
        (state(&parent)? == 'T' && state(&cat)? == 'T').then_some((parent, cat))
    });
    terminal.types("jobs\n");
    terminal.says("Stopped");
    terminal.types("fg\n");
    until("both go on", || (state(&parent)? == 'S' && state(&cat)? == 'S').then_some(()));
    terminal.forget();
    terminal.types("twice\n");
    terminal.says("twice");
    until("it is copied", || (terminal.text().matches("twice").count() == 2).then_some(()));
    terminal.types(END);
    terminal.says("cat (pid ");
    terminal.types("echo status-$?-\n");
    terminal.says("status-0-");
}

#[test]
fn a_shell_is_a_program_like_any_other() {
    let directory = place();
    let Some(mut terminal) = shell(&directory) else { return };
    terminal.types("$run bash --norc --noprofile -i\n");
    terminal.types("echo inner-$((1 + 1))-$((SHLVL - 1 > 0))-\n");
    terminal.says("inner-2-1-");
    terminal.types("sleep 60\n");
    std::thread::sleep(Duration::from_millis(500));
    terminal.types(SUSPEND);
    terminal.says("Stopped");
    // A shell with a stopped job would not exit at once.
    terminal.types("kill -9 %1; while kill -0 %1 2>/dev/null; do sleep 0.1; done; exit 5\n");
    terminal.says("exited with status 5");
    terminal.types("echo status-$?-\n");
    terminal.says("status-5-");
}

#[test]
fn a_terminal_that_is_closed_ends_the_program_and_the_recordings_are_kept() {
    let directory = place();
    // The session leader is the parent, or a shell.
    let (mut terminal, pid) = job(&directory);
    terminal.hang_up();
    assert_eq!(terminal.wait().code(), Some(8), "the program got SIGHUP");
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    let kept: Vec<PathBuf> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let printed = epollshim().arg("report").arg(&kept[0]).output().unwrap();
    assert!(stdout(&printed).contains("Instances: 1 created"), "{}", stdout(&printed));
    let Some(mut terminal) = shell(&directory) else { return };
    terminal.types("$run $job\n");
    let pid = terminal.says("pid ");
    let pid = pid.split(' ').next().unwrap();
    terminal.hang_up();
    until("the program ends", || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
    until("its recordings are kept", || (left(&directory) == 2).then_some(()));
}
