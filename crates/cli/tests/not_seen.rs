//! Tests that what the library does not see is reported: before the start (`check`, `run`), and at
//! the end (by the library and by `run`). Nothing is reported for programs that it sees.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{compile, epollshim, library, output, scratch, skipped, stderr, stdout, tool, try_compile};
use serde_json::Value;

// ---- programs ----

/// The variable that makes [`rustix_program`] a program.
const AS_A_PROGRAM: &str = "NOT_SEEN_AS_A_PROGRAM";

/// A program with async-io and its default features, whose rustix makes direct system calls: this
/// test file, started again to run only this test.
#[test]
fn rustix_program() {
    if std::env::var_os(AS_A_PROGRAM).is_none() {
        return;
    }
    let here = ([127, 0, 0, 1], 0);
    let (one, other) = (async_io::Async::<UdpSocket>::bind(here), async_io::Async::<UdpSocket>::bind(here));
    let (one, other) = (one.unwrap(), other.unwrap());
    let to = one.get_ref().local_addr().unwrap();
    async_io::block_on(async {
        other.send_to(b"hello", to).await.unwrap();
        one.recv_from(&mut [0; 16]).await.unwrap();
    });
}

/// A command that starts a program.
struct Program {
    name: &'static str,
    path: PathBuf,
    words: &'static [&'static str],
}

impl Program {
    fn new(name: &'static str, path: PathBuf) -> Program {
        Program { name, path, words: &[] }
    }

    fn rustix() -> Program {
        let words = &["--exact", "rustix_program", "--test-threads=1", "--quiet"];
        Program { name: "rustix", path: std::env::current_exe().unwrap(), words }
    }

    /// The program under `epollshim run`.
    fn run(&self, flags: &[&str]) -> Command {
        let mut command = epollshim();
        command.env("TMPDIR", scratch("run")).env(AS_A_PROGRAM, "1");
        command.arg("run").args(flags).arg("--").arg(&self.path).args(self.words);
        command
    }

    /// The program with only the library.
    fn preloaded(&self) -> Command {
        preloaded(&self.path, self.words)
    }
}

fn preloaded(program: &Path, words: &[&str]) -> Command {
    // This command has the options of the caller removed.
    let clean = epollshim();
    let mut command = Command::new(program);
    command.args(words).env("LD_PRELOAD", library()).env(AS_A_PROGRAM, "1").stdin(Stdio::null());
    for (name, _) in clean.get_envs().filter(|(name, _)| *name != "LD_PRELOAD") {
        command.env_remove(name);
    }
    command
}

fn raw(words: &'static [&'static str]) -> Program {
    Program { words, ..Program::new("raw", compile("raw", &["-O1"])) }
}

fn static_programs() -> Vec<Program> {
    let mut all = Vec::new();
    match try_compile("raw", &["-static"]) {
        Ok(path) => all.push(Program::new("static", path)),
        Err(error) => skipped(&format!("cc -static: {error}"), true),
    }
    all.extend(musl(&["-static"]).map(|path| Program::new("static, musl", path)));
    all.extend(go(false).map(|path| Program::new("static, Go", path)));
    all
}

fn musl(flags: &[&str]) -> Option<PathBuf> {
    let program = scratch("musl").join("program");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/watch.c");
    let built = output(Command::new(tool("musl-gcc")?).arg("-o").arg(&program).arg(source).args(flags));
    assert!(built.status.success(), "{}", stderr(&built));
    Some(program)
}

/// A Go program that listens, and connects to itself.
fn go(uses_c: bool) -> Option<PathBuf> {
    let go = tool("go")?;
    let directory = scratch("go");
    let c = if uses_c { "// #include <stdlib.h>\nimport \"C\"\n" } else { "" };
    let text = format!(
        "package main\n{c}import \"net\"\nfunc main() {{\n l, _ := net.Listen(\"tcp\", \"127.0.0.1:0\")\n \
         go func() {{ c, _ := l.Accept(); c.Close() }}()\n c, _ := net.Dial(\"tcp\", l.Addr().String())\n \
         c.Read(make([]byte, 1))\n}}\n"
    );
    fs::write(directory.join("main.go"), text).unwrap();
    let mut build = Command::new(go);
    build.current_dir(&directory).env("CGO_ENABLED", if uses_c { "1" } else { "0" });
    build.env("GOCACHE", testkit::target().join("go-cache")).env("GO111MODULE", "off");
    let built = output(build.args(["build", "-o", "program", "main.go"]));
    assert!(built.status.success(), "{}", stderr(&built));
    Some(directory.join("program"))
}

fn verdict(subject: &Path) -> String {
    let page = stdout(&output(epollshim().arg("check").arg(subject)));
    page.lines().next().unwrap_or_default().to_owned()
}

// ---- before ----

#[test]
fn check_reports_that_such_programs_are_not_seen() {
    let mut all = vec![raw(&[]), Program::rustix()];
    all.extend(static_programs());
    all.extend(go(true).map(|path| Program::new("Go with C", path)));
    for program in all {
        let line = verdict(&program.path);
        println!("{:<14} {line}", program.name);
        assert!(line.starts_with("not seen: "), "{}: {line}", program.name);
    }
}

#[test]
fn check_reports_no_server_that_uses_libc_as_unseen() {
    for name in ["redis-server", "nginx", "haproxy", "memcached", "node", "curl", "sshd", "chronyd", "tor", "java"] {
        let Some(program) = tool(name) else { continue };
        let line = verdict(&program);
        println!("{name:<14} {line}");
        assert!(!line.starts_with("not seen"), "{name}: {line}");
    }
    if Path::new("/usr/bin/python3").exists() {
        assert!(verdict(Path::new("/usr/bin/python3")).starts_with("seen"));
    }
    let line = verdict(&compile("watch", &[]));
    assert!(line.starts_with("seen: all"), "{line}");
}

#[test]
fn run_warns_in_one_line_before_the_start_and_again_instead_of_a_report() {
    let mut all = vec![raw(&[]), Program::rustix()];
    all.extend(static_programs());
    all.extend(go(true).map(|path| Program::new("Go with C", path)));
    for program in all {
        let text = stderr(&output(&mut program.run(&[])));
        let warned = format!("epollshim: warning: {}: not seen: ", program.path.display());
        assert!(text.starts_with(&warned), "{}: {text}", program.name);
        assert_eq!(text.matches("warning").count(), 1, "{}: {text}", program.name);
        let line = text.lines().next().unwrap();
        assert!(line.contains("epollshim inspect PID, or strace -f -e trace=/^epoll"), "{line}");
        assert!(text.contains("\nepollshim: NOT SEEN: "), "{}: {text}", program.name);
        let quiet = stderr(&output(&mut program.run(&["--quiet"])));
        assert!(!quiet.contains("warning"), "{}: {quiet}", program.name);
        // The findings were not checked.
        let failed = output(&mut program.run(&["--quiet", "--fail-on", "leak"]));
        assert_eq!(failed.status.code(), Some(1), "{}: {}", program.name, stderr(&failed));
    }
}

#[test]
fn run_does_not_warn_about_a_program_that_is_seen() {
    let seen = Program::new("watch", compile("size_lie", &[]));
    let text = stderr(&output(&mut seen.run(&[])));
    assert!(!text.contains("warning") && !text.contains("NOT SEEN") && text.contains("Coverage: "), "{text}");
}

#[test]
fn a_program_for_musl_is_seen_and_gets_the_library() {
    let Some(path) = musl(&[]) else { return };
    assert_eq!(verdict(&path), "seen: all of its epoll calls go through libc");
    let page = stdout(&output(epollshim().arg("check").arg(&path)));
    assert!(page.contains("for musl libc: no call stacks"), "{page}");
    let program = scratch("musl").join("environment");
    let source = program.with_extension("c");
    fs::write(&source, "#include <stdio.h>\n#include <stdlib.h>\nint main(void) { puts(getenv(\"LD_PRELOAD\")); }\n")
        .unwrap();
    let compiler = tool("musl-gcc").unwrap();
    assert!(output(Command::new(compiler).arg("-o").arg(&program).arg(source)).status.success());
    let run = output(&mut Program::new("environment", program).run(&[]));
    assert_eq!(stdout(&run).trim_end(), library().to_str().unwrap(), "{}", stderr(&run));
    assert!(!stderr(&run).contains("warning"), "{}", stderr(&run));
}

// ---- after: the library's own report ----

fn in_json(program: &Program) -> Value {
    let report = scratch("report").join("report.json");
    let mut command = program.preloaded();
    command.env("EPOLLSHIM_REPORT", &report).env("EPOLLSHIM_REPORT_FORMAT", "json");
    let ended = output(&mut command);
    let text = fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}: {}", stderr(&ended)));
    assert_eq!(text.lines().count(), 1, "{}: {text}", program.name);
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_report_names_instances_that_no_hook_saw_though_no_hook_was_called() {
    for program in [raw(&[]), raw(&["fork"]), Program::rustix()] {
        let report = in_json(&program);
        assert_eq!(report["coverage"]["unseen_instances"], 1, "{report}");
        let named = report["coverage"]["unseen_epfds"].as_array().unwrap();
        assert_eq!(named, report["instances"]["list"][0]["epfds"].as_array().unwrap(), "{report}");
        assert_eq!((named.len(), &report["coverage"]["go"]), (1, &Value::Bool(false)));
        let text = stderr(&output(&mut program.preloaded()));
        let sentence = format!("NOT SEEN: no call that the library saw created 1 epoll instance (fd {}):", named[0]);
        assert_eq!(text.matches(&sentence).count(), 1, "{}: {text}", program.name);
    }
}

/// Go ends a process by a direct system call, so the library has no later opportunity.
#[test]
fn in_a_go_program_the_library_reports_at_once_that_it_sees_nothing() {
    let Some(path) = go(true) else { return };
    let program = Program::new("Go with C", path);
    let text = stderr(&output(&mut program.preloaded()));
    assert!(text.contains("NOT SEEN: Go's runtime makes its epoll calls itself"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    let report = in_json(&program);
    assert_eq!((&report["coverage"]["go"], &report["process"]["end"]), (&Value::Bool(true), &"running".into()));
    let none = output(program.preloaded().env("EPOLLSHIM_REPORT", "none"));
    assert_eq!(stderr(&none), "");
}

#[test]
fn programs_without_epoll_and_those_that_only_inherit_an_instance_are_silent() {
    for (name, words) in [("true", &[][..]), ("ls", &["/"]), ("sh", &["-c", "true; ls / >/dev/null"])] {
        let Some(program) = tool(name) else { continue };
        assert_eq!(stderr(&output(&mut preloaded(&program, words))), "", "{name}");
    }
    // The exec discards what the program did. The new program is not responsible for it.
    assert_eq!(stderr(&output(&mut raw(&["exec"]).preloaded())), "");
}

// ---- after: the report of run ----

/// A program under `run` that is ready: the command, and the process id of the program.
fn ready(program: &Program, flags: &[&str]) -> (Child, i32) {
    let mut parent = program.run(flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", parent.id())).unwrap();
    let is_it = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program.path);
    let pid = children.split_whitespace().find(|pid| is_it(pid)).unwrap().parse().unwrap();
    (parent, pid)
}

#[test]
fn a_program_that_is_killed_is_known_to_have_had_an_instance() {
    let program = raw(&["stay"]);
    for flags in [&["--quiet"][..], &["--quiet", "--census=0"]] {
        // The command checks 0.1 seconds after the start, a second later, and then less and less
        // often. The test cannot see when, so it allows more time on a loaded machine.
        let is_named = [1, 5, 30, 100].into_iter().any(|seconds| {
            let (parent, pid) = ready(&program, flags);
            std::thread::sleep(std::time::Duration::from_secs(seconds));
            // SAFETY: takes numbers; the process was not waited for.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            let text = stderr(&parent.wait_with_output().unwrap());
            assert!(text.contains("was killed by SIGKILL"), "{text}");
            text.contains(&format!(
                "NOT SEEN: raw (pid {pid}) had 1 epoll descriptor (fd 3), but the library saw none of its epoll calls"
            ))
        });
        assert!(is_named, "{flags:?}");
    }
}

#[test]
fn children_whose_calls_are_not_seen_are_named() {
    let mut script = String::from("import select, subprocess\nselect.epoll().close()\n");
    let children = static_programs();
    let Some(first) = children.first() else { return };
    for child in children.iter().map(|child| child.path.clone()).chain(go(true)) {
        script += &format!("subprocess.run(['{}'])\n", child.display());
    }
    script += "subprocess.run(['/bin/true'])\n";
    let Some(python) = tool("python3") else { return };
    let mut command = Program::new("python", python).run(&[]);
    let text = stderr(&output(command.args(["-c", &script])));
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let count = children.len() + usize::from(tool("go").is_some());
    let said = format!("NOT SEEN: {count} started programs (the first: {}): ", first.path.display());
    assert!(text.contains(&said) && text.contains("a static program has no loader"), "{text}");
    assert_eq!(text.contains("Go's runtime makes its system calls itself"), tool("go").is_some(), "{text}");
}

#[test]
fn the_report_of_run_names_a_process_that_made_its_calls_itself() {
    let text = stderr(&output(&mut raw(&[]).run(&["--quiet"])));
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("had 1 epoll instance (fd 3), but the library saw none of its epoll calls; strace"),
        "{text}"
    );
}

/// The checks of `run` do not mistake a forked child for a process that makes direct system calls.
#[test]
fn a_forked_child_that_has_its_parent_s_instance_is_not_named() {
    let Some(python) = tool("python3") else { return };
    let script = "import os, select, time\nepoll = select.epoll()\nepoll.poll(0)\nif os.fork() == 0:\n  \
                  time.sleep(1.5)\n  os._exit(0)\nos.wait()";
    let text = stderr(&output(Program::new("python", python).run(&[]).args(["-c", script])));
    assert!(!text.contains("NOT SEEN") && text.contains("Instances: 1 created"), "{text}");
}
