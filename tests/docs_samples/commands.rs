//! The samples of docs/command.md and docs/ci.md that run other programs than Python's.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use testkit::{c_program, compile, free_port, have, root, shim, tool};

use super::faults::app;
use super::shell::Shell;
use crate::sample::{find, is_real};
use crate::{Running, connected, has_python, leak};

const COMMAND: &str = "docs/command.md";
const CI: &str = "docs/ci.md";

/// A program of a folder of C sources, compiled without warnings.
fn compiled(source: &str, flags: &[&str]) -> std::path::PathBuf {
    let source = root().join(source);
    compile::program("cc", flags, &source, &[]).unwrap_or_else(|error| panic!("{}: {error}", source.display()))
}

#[test]
fn run_starts_a_server_a_test_and_a_script() {
    if !has_python() {
        return;
    }
    let mut shell = app();
    for name in ["bin/redis-server", "bin/nginx", "test"] {
        shell.program(name, &shell.folder.join("app"));
    }
    shell.file("three.py", &std::fs::read_to_string(root().join("examples/guide/three.py")).unwrap());
    shell.runs(COMMAND, "$ epollshim run -- redis-server");
    // tests/install of the command has the real pkg-config.
    shell.stand_in("pkg-config", &format!("echo {}", shim().display()));
    shell.runs("docs/options.md", "$ LD_PRELOAD=$(pkg-config");
    shell.runs("docs/packages.md", "$ LD_PRELOAD=/usr/lib/epollshim/libepollshim.so redis-server");
    shell.replace("/tmp/report", "report");
    shell.runs("docs/report.md", "$ LD_PRELOAD=/usr/local/lib/libepollshim.so EPOLLSHIM_REPORT=/tmp/report.%p.json");
}

#[test]
fn lines_of_the_log_of_failed_calls() {
    let mut shell = app();
    shell.runs("docs/log.md", "$ epollshim run --report none --log stderr --inject epoll_ctl");
    if have("jq") {
        shell.program("server", &c_program("findings/ctl_error_exists"));
        shell.replace("/tmp/%p.json", "%p.json");
        shell.replace("/tmp/*.json", "*.json");
        shell.runs("docs/log.md", "$ EPOLLSHIM_LOG=/tmp/%p.json");
    }
}

#[test]
fn a_program_that_becomes_a_daemon_continues() {
    let (shell, sample) = (Shell::new(), "$ epollshim run -- sh -c");
    shell.program("job", Path::new("/bin/sleep"));
    let printed = shell.printed(COMMAND, sample);
    let between = |before: &str, after: &str| printed.split(before).nth(1).and_then(|rest| rest.split(after).next());
    let pid = between("still running: job (pid ", ")").unwrap_or_else(|| panic!("{printed}"));
    let folder = between("epollshim report ", ";").unwrap();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    std::fs::remove_dir_all(folder).unwrap();
    // Its name has the process id of the command, and a random number.
    is_real(COMMAND, sample, &printed.replace(folder, "/tmp/epollshim-run.31304.18ecf53914ff00e9"));
}

#[test]
fn a_program_that_makes_its_calls_itself_is_announced() {
    let shell = Shell::new();
    shell.program("smol-server", &compiled("tests/docs_samples/smol-server.c", &["-O1"]));
    shell.runs(COMMAND, "$ epollshim run -- ./smol-server");
    shell.runs("docs/report.md", "$ LD_PRELOAD=/usr/local/lib/libepollshim.so ./smol-server");
}

#[test]
fn node_is_partly_seen() {
    if have("node") {
        Shell::new().runs(COMMAND, "$ epollshim check node");
    }
}

#[test]
fn a_running_process_is_checked_and_inspected_in_json() {
    if !has_python() || !have("jq") {
        return;
    }
    let port = free_port();
    let server = Running::python(&std::fs::read_to_string(root().join("examples/guide/stuck.py")).unwrap(), port);
    let mut client = connected(port);
    client.write_all(&[b'0'; 80]).unwrap();
    server.inspected("stalled");
    let pid = server.0.id().to_string();
    let mut shell = Shell::new();
    for program in ["pidof", "pgrep"] {
        shell.stand_in(program, &format!("echo {pid}"));
    }
    // Otherwise it goes on until the process ends.
    shell.replace("epollshim inspect --watch=5 4711", &format!("timeout 1 epollshim inspect --watch=1 {pid}"));
    shell.replace("7732", &pid);
    shell.replace("4711", &pid);
    shell.runs("docs/inspect.md", "$ epollshim inspect --format json 4711");
    shell.runs(COMMAND, "$ epollshim check --format json 7732");
    shell.runs(COMMAND, "$ epollshim inspect $(pidof app)");
}

#[test]
fn recordings_are_reported_and_compared() {
    let shell = app();
    shell.program("size_zero", &c_program("findings/size_zero"));
    for (folder, program) in [("before", "app"), ("after", "app"), ("rec", "size_zero")] {
        shell.shell(&[&format!("epollshim run --census --record {folder} --report none -- ./{program}")]);
    }
    for first in
        ["$ epollshim report rec", "$ epollshim report rec --fail-on error,size-lie", "$ epollshim diff before"]
    {
        shell.runs(COMMAND, first);
    }
}

#[test]
fn a_suite_of_tests_is_recorded_and_its_known_findings_are_accepted() {
    if tool("make").is_none() {
        return;
    }
    let mut shell = Shell::new();
    shell.program("leak", &leak().join("leak"));
    shell.file("Makefile", "check:\n\t./leak\n");
    shell.runs(CI, "$ epollshim run --census --record rec --report none -- make check");
    shell.file("known.supp", &shown(CI, "$ cat known.supp", "leak:libfoo.so"));
    shell.runs(CI, "$ cat known.supp");
    shell.replace("kept", "rec");
    shell.runs(CI, "$ epollshim diff kept rec --fail-on new");
}

#[test]
fn a_program_is_swept_in_ci() {
    let shell = Shell::new();
    shell.program("app", &leak().join("leak"));
    // The entries of the page accept nothing here: each is named.
    let accepted = "# libuv aborts on purpose where it has no memory";
    shell.file("accepted", &shown("docs/sweep.md", accepted, "crash:metrics_loop"));
    shell.runs(CI, "$ epollshim sweep --accept accepted");
    shell.runs("docs/sweep.md", "$ epollshim sweep -- ./app --check");
}

/// The lines of a sample from `first`, or behind it if it is a command, up to `last`.
fn shown(document: &str, first: &str, last: &str) -> String {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let (begin, end) = find(&text, first).unwrap();
    let lines = text.lines().take(end).skip(begin).map(|line| line.get(4..).unwrap_or_default());
    let mut file = String::new();
    for line in lines.filter(|line| !line.starts_with("$ ")) {
        file += &format!("{line}\n");
        if line == last {
            break;
        }
    }
    file
}
