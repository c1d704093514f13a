//! The samples of README.md and docs/ are what the programs print. Figures, process ids, addresses,
//! offsets and times are not compared. `make samples` writes the samples again (EPOLLSHIM_BLESS=1).
//!
//! A sample is a block of lines indented by four. `...` stands for lines that are left out, and a
//! line that begins with `$ ` is a command, which the test itself runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "docs_samples/more.rs"]
mod more;
#[path = "docs_samples/pasted.rs"]
mod pasted;
#[path = "docs_samples/readme.rs"]
mod readme;
#[path = "docs_samples/sample.rs"]
mod sample;

use sample::is_real;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use testkit::{
    binary, c_program, compile, copy, free_port, have, root, run, scratch, shim, show, skipped, stderr, stdout, until,
};

/// Debian's Python. One of pyenv is a shell script that starts another program.
const PYTHON: &str = "/usr/bin/python3";

fn epollshim() -> Command {
    let mut command = Command::new(binary());
    command.stdin(Stdio::null());
    command
}

/// The program of examples/guide that a document shows. The document has it word for word.
fn guide(document: &str, name: &str) -> String {
    let program = std::fs::read_to_string(root().join("examples/guide").join(name)).unwrap();
    let indented = |line: &str| if line.is_empty() { String::new() } else { format!("    {line}") };
    let block: Vec<String> = program.lines().map(indented).collect();
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    assert!(text.contains(&block.join("\n")), "{document} does not have examples/guide/{name} word for word");
    program
}

/// A port that nothing listens on, another one for each test. The documents use 7000.
fn connected(port: u16) -> TcpStream {
    until("the server listens", || TcpStream::connect(("127.0.0.1", port)).ok())
}

/// Whether a socket listens on this port of IPv4, by the kernel's list.
fn is_listening(port: u16) -> bool {
    let listed = std::fs::read_to_string("/proc/net/tcp").unwrap();
    listed.contains(&format!(":{port:04X} 00000000:0000 0A"))
}

fn has_python() -> bool {
    let is_there = Path::new(PYTHON).exists();
    if !is_there {
        skipped("/usr/bin/python3 is not installed", true);
    }
    is_there
}

/// `examples/guide/leak.c`, compiled as the documents say.
fn leak() -> PathBuf {
    let folder = scratch("leak").join("guide");
    std::fs::create_dir(&folder).unwrap();
    let program = compile::program("cc", &["-g"], &root().join("examples/guide/leak.c"), &[]).unwrap();
    copy(program, folder.join("leak"));
    folder
}

/// A program of the guide that runs until the test ends.
struct Running(Child);

impl Running {
    fn python(script: &str, port: u16) -> Running {
        let file = scratch("guide").join("script.py");
        std::fs::write(&file, script.replace("7000", &port.to_string())).unwrap();
        Running(Command::new(PYTHON).arg(file).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// What `epollshim inspect` prints once it finds `id`.
    fn inspected(&self, id: &str) -> String {
        until(&format!("inspect finds {id}"), || {
            let printed = epollshim().arg("inspect").arg(self.0.id().to_string()).output().unwrap();
            stdout(&printed).contains(id).then(|| stdout(&printed))
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_leak_is_found() {
    let folder = leak();
    guide("docs/census.md", "leak.c");
    let ended = epollshim().args(["run", "--", "./leak"]).current_dir(&folder).output().unwrap();
    is_real("docs/census.md", "$ cc -g -o leak leak.c", &stderr(&ended));
    let mut command = epollshim();
    command.args(["run", "--fail-on", "error,fd-leak", "-o", "report.txt", "--", "./leak"]);
    let ended = command.current_dir(&folder).output().unwrap();
    let status = ended.status.code().unwrap();
    is_real("docs/ci.md", "$ cc -g -o leak leak.c", &format!("{}{status}\n", stderr(&ended)));
}

#[test]
fn one_recording_in_several_formats() {
    let folder = leak();
    let record = |name: &str, stacks: &str| {
        let mut command = epollshim();
        command.args(["run", "--report", "none", "--census", "--stacks", stacks, "--record", name, "--", "./leak"]);
        assert!(command.current_dir(&folder).status().unwrap().success());
    };
    record("rec", "2");
    let formats = ["folded", "prometheus", "junit"].map(|format| {
        let mut command = epollshim();
        stdout(&command.args(["report", "rec", "--format", format]).current_dir(&folder).output().unwrap())
    });
    is_real("docs/formats.md", "$ epollshim run --report none --census --stacks 2", &formats.concat());
    is_real("docs/formats.md", "$ epollshim report rec --format junit", &formats[2]);
    record("before", "0");
    let text = std::fs::read_to_string(root().join("examples/guide/leak.c")).unwrap();
    let fixed = text.replace("if (read(fd, &byte, 1) != 1)", "if (read(fd, &byte, 1) != 1 && close(fd) == 0)");
    assert_ne!(fixed, text);
    copy(more::changed("guide/leak.c", &fixed), folder.join("leak"));
    record("after", "0");
    let compared = epollshim().args(["diff", "before", "after"]).current_dir(&folder).output().unwrap();
    is_real("docs/formats.md", "$ epollshim diff before after", &stdout(&compared));
}

#[test]
fn a_program_with_the_environment_of_a_service_is_recorded() {
    let folder = leak();
    let mut command = Command::new("./leak");
    command.current_dir(&folder).env("LD_PRELOAD", shim()).env("EPOLLSHIM_RECORD", folder.join("rec"));
    command.env("EPOLLSHIM_REPORT", "none").env("EPOLLSHIM_CENSUS", "1");
    assert!(command.status().unwrap().success());
    let report = epollshim().args(["report", "rec"]).current_dir(&folder).output().unwrap();
    is_real("docs/services.md", "$ export EPOLLSHIM_RECORD", &stdout(&report));
}

#[test]
fn a_server_that_does_not_read_until_eagain_is_stalled() {
    if !has_python() {
        return;
    }
    let port = free_port();
    let server = Running::python(&guide("docs/inspect.md", "stuck.py"), port);
    let mut client = connected(port);
    client.write_all(&[b'0'; 80]).unwrap();
    let printed = server.inspected("stalled").replace(&port.to_string(), "7000");
    is_real("docs/inspect.md", "$ python3 stuck.py &", &printed);
}

#[test]
fn a_loop_that_reads_nothing_spins() {
    if !has_python() {
        return;
    }
    let spinning = Running::python(&guide("docs/inspect.md", "spin.py"), 0);
    is_real("docs/inspect.md", "$ python3 spin.py &", &spinning.inspected("spin  "));
}

#[test]
fn a_killed_program_leaves_its_recording() {
    if !has_python() {
        return;
    }
    let folder = scratch("killed");
    std::fs::copy(root().join("examples/guide/spin.py"), folder.join("spin.py")).unwrap();
    let mut command = Command::new(PYTHON);
    command.arg("spin.py").current_dir(&folder).stdin(Stdio::null());
    // What `epollshim run --report none --record rec` sets.
    command.env("LD_PRELOAD", shim()).env("EPOLLSHIM_RECORD", folder.join("rec"));
    command.env("EPOLLSHIM_REPORT", "none").env("EPOLLSHIM_CENSUS", "1");
    let mut spinning = Running(command.spawn().unwrap());
    let report = || epollshim().args(["report", "rec"]).current_dir(&folder).output().unwrap();
    until("the recording has the finding", || stdout(&report()).contains("spin  ").then_some(()));
    spinning.0.kill().unwrap();
    spinning.0.wait().unwrap();
    is_real("docs/recording.md", "$ epollshim run --report none --census --record rec", &stdout(&report()));
}

#[test]
fn a_limit_refuses_and_the_log_shows_each_call() {
    if !has_python() {
        return;
    }
    guide("docs/limits.md", "three.py");
    let folder = scratch("three");
    std::fs::copy(root().join("examples/guide/three.py"), folder.join("three.py")).unwrap();
    let with = |options: &[&str]| {
        let mut command = epollshim();
        command.args(["run", "--report", "none"]).args(options).args(["--", PYTHON, "three.py"]);
        stderr(&command.current_dir(&folder).output().unwrap())
    };
    is_real("docs/log.md", "$ epollshim run --report none --log stderr", &with(&["--log", "stderr"]));
    let limited = with(&["--limit", "watches=2", "--log", "stderr", "--log-filter", "limited"]);
    is_real("docs/limits.md", "$ epollshim run --report none --limit watches=2", &limited);
}

/// What `epollshim run` prints of redis after some load. None: it is not installed.
fn redis(options: &[&str]) -> Option<String> {
    if !have("redis-server") || !have("redis-benchmark") {
        return None;
    }
    let port = free_port();
    let directory = scratch("redis");
    let mut command = epollshim();
    command.arg("run").args(options).args(["--", "redis-server", "--port"]).arg(port.to_string());
    command.arg("--dir").arg(&directory);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    connected(port);
    let mut load = Command::new("redis-benchmark");
    load.args(["-q", "-t", "get,set", "-n", "2000", "-c", "50", "-p"]).arg(port.to_string());
    let load = load.output().unwrap();
    let stop = Command::new("redis-cli").arg("-p").arg(port.to_string()).args(["shutdown", "nosave"]).output().unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(load.status.success(), "{}", show(&load));
    assert!(stop.status.success(), "{}", show(&stop));
    Some(stderr(&ended).replace(&port.to_string(), "7000"))
}

#[test]
fn the_report_of_redis() {
    let Some(printed) = redis(&[]) else { return };
    is_real("docs/report.md", "$ epollshim run -- redis-server", &printed);
}

#[test]
fn redis_is_interrupted_now_and_then() {
    let rules = "epoll_wait:error=EINTR:prob=0.05;epoll_wait:batch=1";
    let Some(printed) = redis(&["--inject", rules]) else { return };
    is_real("docs/faults.md", "$ epollshim run --inject 'epoll_wait:error=EINTR", &printed);
}

#[test]
fn a_running_process_is_checked_and_controlled() {
    if !has_python() {
        return;
    }
    let script = |name: &str| std::fs::read_to_string(root().join("examples/guide").join(name)).unwrap();
    let print = |arguments: &[&str]| stdout(&epollshim().args(arguments).output().unwrap());
    let port = free_port();
    let server = Running::python(&script("stuck.py"), port);
    // Not by a connection, which would be watched as well.
    until("the server listens", || is_listening(port).then_some(()));
    until("the server waits", || print(&["inspect", &server.0.id().to_string()]).contains("waits in").then_some(()));
    let pid = server.0.id().to_string();
    is_real("docs/command.md", "$ epollshim check 7732", &print(&["check", &pid]).replace(&pid, "7732"));

    let folder = scratch("control");
    let mut command = Command::new(PYTHON);
    command.arg(root().join("examples/guide/spin.py")).stdin(Stdio::null());
    command.env("LD_PRELOAD", shim()).env("EPOLLSHIM_RECORD", &folder).env("EPOLLSHIM_REPORT", "none");
    let recorded = Running(command.spawn().unwrap());
    let pid = recorded.0.id().to_string();
    until("the loop waits", || epollshim().args(["ctl", &pid]).output().unwrap().status.success().then_some(()));
    is_real("docs/command.md", "$ epollshim top --once rec", &print(&["top", "--once", folder.to_str().unwrap()]));
    assert!(print(&["ctl", &pid, "inject", "epoll_wait:delay_exit=10ms"]).is_empty());
    is_real("docs/command.md", "$ epollshim ctl 6653 inject", &print(&["ctl", &pid]).replace(&pid, "6653"));
}

#[test]
fn a_program_that_sleeps_takes_no_request() {
    if !has_python() {
        return;
    }
    let folder = scratch("asleep");
    let mut command = Command::new(PYTHON);
    command.args(["-c", "import select; select.epoll().poll()"]).stdin(Stdio::null());
    command.env("LD_PRELOAD", shim()).env("EPOLLSHIM_RECORD", &folder).env("EPOLLSHIM_REPORT", "none");
    let asleep = Running(command.spawn().unwrap());
    let pid = asleep.0.id().to_string();
    until("the loop waits", || {
        stdout(&epollshim().args(["inspect", &pid]).output().unwrap()).contains("waits in").then_some(())
    });
    let asked = epollshim().args(["ctl", &pid, "inject", "epoll_ctl:error=ENOSPC"]).output().unwrap();
    let printed = format!("{}{}\n", stderr(&asked), asked.status.code().unwrap());
    is_real("docs/command.md", "$ epollshim ctl 7401 inject", &printed.replace(&pid, "7401"));
}

#[test]
fn nothing_to_report() {
    let ended = epollshim().args(["run", "--", "true"]).output().unwrap();
    is_real("docs/command.md", "$ epollshim run -- true", &stderr(&ended));
}

#[test]
fn what_other_commands_print() {
    let refused = epollshim().args(["run", "--limit", "instance=8", "--", "./app"]).output().unwrap();
    let printed = format!("{}{}\n", stderr(&refused), refused.status.code().unwrap());
    is_real("docs/command.md", "$ epollshim run --limit instance=8 -- ./app", &printed);
    let listed = epollshim().arg("explain").output().unwrap();
    is_real("docs/command.md", "$ epollshim explain | head -3", &stdout(&listed));
    if have("redis-server") {
        let checked = epollshim().args(["check", "redis-server"]).output().unwrap();
        is_real("docs/command.md", "$ epollshim check redis-server", &stdout(&checked));
    }
}

#[test]
fn files_that_are_no_recordings() {
    let file = scratch("damage").join("x.rec");
    let short = [b"EPOLLREC".as_slice(), &2u64.to_le_bytes(), &[0; 84]].concat();
    let old = [b"EPOLLREC".as_slice(), &1u64.to_le_bytes(), &[0; 8192]].concat();
    let mut printed = String::new();
    for bytes in [vec![b'x'; 8192], old, short] {
        std::fs::write(&file, bytes).unwrap();
        let refused = epollshim().arg("report").arg(&file).output().unwrap();
        let refused = stderr(&refused).replace(file.parent().unwrap().to_str().unwrap(), "");
        printed.push_str(&refused.replace("epollshim: /x.rec", "x.rec"));
    }
    is_real("docs/recording.md", "x.rec: at byte 0: ", &printed);
}

#[test]
fn under_a_seccomp_filter() {
    let mut command = Command::new(c_program("hosts/seccomp"));
    command.arg("foreign").env("LD_PRELOAD", shim()).env("EPOLLSHIM_REPORT", "stderr");
    let ended = run(&mut command);
    is_real("docs/report.md", "Coverage: NOT compared", &ended.stderr);
}

#[test]
fn what_is_wrong_comes_first() {
    if !has_python() {
        return;
    }
    let script = guide("docs/report.md", "twice.py");
    let mut command = Command::new(PYTHON);
    command.args(["-c", &script]).env("LD_PRELOAD", shim()).env("EPOLLSHIM_REPORT", "stderr");
    is_real(
        "docs/report.md",
        "$ LD_PRELOAD=/usr/local/lib/libepollshim.so python3 twice.py",
        &run(&mut command).stderr,
    );
}

/// The names of stacks, which differ from build to build, in their order.
fn stacks(text: &str) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for (at, key) in text.match_indices("stack=") {
        let name = text.get(at + key.len()..at + key.len() + 16).unwrap_or_default();
        if !found.contains(&name) && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            found.push(name);
        }
    }
    found
}

/// What a sweep printed, with the names of stacks that a document has.
fn named_as_in(document: &str, printed: &str) -> String {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let names = stacks(printed).into_iter().zip(stacks(&text));
    names.fold(printed.to_owned(), |renamed, (here, there)| renamed.replace(here, there))
}

#[test]
fn the_tour_of_the_sweep() {
    let tour = scratch("sweep").join("tour");
    std::fs::create_dir(&tour).unwrap();
    std::fs::write(tour.join("text"), "one\ntwo\n").unwrap();
    copy(compile::program("cc", &["-g"], &root().join("examples/tour/save.c"), &[]).unwrap(), tour.join("save"));
    let swept = epollshim().args(["sweep", "--input", "text", "--", "./save"]).current_dir(&tour).output().unwrap();
    assert_eq!(swept.status.code(), Some(1), "{}", show(&swept));
    for document in ["docs/tour-sweep.md", "docs/sweep.md"] {
        is_real(document, "$ epollshim sweep --input text -- ./save", &named_as_in(document, &stdout(&swept)));
    }
}
