//! Tests what `epollshim run -- PROGRAM` prints for common programs: never nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod pty;

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{epollshim, output, scratch, skipped, stderr, tool, until};
use pty::Terminal;
use testkit::free_port;

fn run(directory: &Path) -> Command {
    let mut command = epollshim();
    command.env("TMPDIR", directory).args(["run", "--"]);
    command
}

/// What is printed for a program that ends by itself.
fn said(program: &Path, words: &[&str]) -> String {
    let directory = scratch("program");
    let text = stderr(&output(run(&directory).arg(program).args(words)));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "{text}");
    text
}

/// Expects a report, or that there is nothing to report, and why.
#[track_caller]
fn is_explained(text: &str, name: &str) {
    let no_epoll = "\nEpoll: the library saw no epoll calls of ";
    let is_reported = (text.contains("Calls ") || text.contains(no_epoll)) && text.contains("Coverage: ");
    let is_nothing =
        text.contains(": nothing to report\n") && text.contains("epollshim: no process made an epoll call");
    assert!(text.contains(&format!("{name} (pid ")) && (is_reported || is_nothing), "{text}");
}

#[test]
fn redis_that_is_killed() {
    let Some(redis) = tool("redis-server") else { return };
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let (directory, port) = (scratch("redis"), free_port());
        let mut command = run(&directory);
        command.arg(&redis).args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        let parent = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        until("redis listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", parent.id())).unwrap();
        let pid: i32 = if signal == libc::SIGKILL {
            children.split(' ').next().unwrap().parse().unwrap()
        } else {
            parent.id() as i32
        };
        // SAFETY: takes numbers; neither was waited for.
        unsafe { libc::kill(pid, signal) };
        let text = stderr(&parent.wait_with_output().unwrap());
        is_explained(&text, "redis-server");
        assert!(text.contains("Instances: 1 created"), "{text}");
        assert_eq!(text.contains("was killed by SIGKILL"), signal == libc::SIGKILL, "{text}");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }
}

#[test]
fn nginx_with_two_workers_that_an_interrupt_ends() {
    let Some(nginx) = tool("nginx") else { return };
    let (directory, temporary, port) =
        (fs::canonicalize(scratch("nginx")).unwrap(), for_all_users("nginx"), free_port());
    let at = directory.display();
    let configuration = format!(
        "daemon off;\nworker_processes 2;\npid {at}/pid;\nerror_log {at}/error.log notice;\nevents {{ use epoll; }}\n\
         http {{ access_log off; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi; \
         uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi; server {{ listen 127.0.0.1:{port}; }} }}\n"
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, configuration).unwrap();
    let mut command = run(&temporary);
    command.arg(nginx).arg("-p").arg(&directory).arg("-e").arg(directory.join("error.log")).arg("-c").arg(&file);
    let mut terminal = Terminal::with(command, 80, 24);
    until("nginx listens", || TcpStream::connect(("127.0.0.1", port)).ok());
    terminal.types("\x03");
    assert_eq!(terminal.wait().code(), Some(0), "{}", terminal.text());
    terminal.says("Coverage: ");
    let text = terminal.text();
    assert!(text.contains(" processes together"), "{text}");
    let workers = text.lines().filter(|line| line.trim_start().starts_with("nginx ")).count();
    assert!(workers >= 2, "{text}");
    assert!(!text.contains("MISSING"), "{text}");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "{text}");
    fs::remove_dir(&temporary).unwrap();
}

/// A directory that the workers, which run as another user, can reach. The project may be in a
/// directory that they cannot.
fn for_all_users(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("epollshim-{name}-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// A server that gives up root: the parent logs as root, and two children as another user.
#[test]
fn lines_that_another_user_could_not_log_are_missed_at_the_end() {
    let Some(python) = tool("python3") else { return };
    // SAFETY: takes no argument.
    if unsafe { libc::geteuid() } != 0 {
        return skipped("only root may become another user", false);
    }
    let script = "import os, select\nselect.epoll().close()\nfor child in range(2):\n pid = os.fork()\n \
                  if pid == 0:\n  os.setuid(65534)\n  select.epoll().close()\n  os._exit(0)\n os.waitpid(pid, 0)";
    let directory = for_all_users("logs");
    let private = directory.join("private");
    let open = directory.join("open");
    for (path, mode) in [(&private, 0o700), (&open, 0o1777)] {
        fs::create_dir_all(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let missed = |flag: &str, pattern: &Path, more: &[&str]| -> Vec<String> {
        let mut command = epollshim();
        command.env("TMPDIR", &directory).arg("run").arg(flag).arg(pattern).args(more).arg("--").arg(&python);
        let text = stderr(&output(command.args(["-c", script])));
        assert!(text.contains(" processes together"), "{text}");
        text.lines().filter(|line| line.contains("lacks lines")).map(str::to_owned).collect()
    };
    let one = open.join("log");
    let expected = |flag: &str| {
        format!(
            "epollshim: {flag} lacks lines: 2 processes of user nobody could not write to {}, which belongs to root; use one \
             file per process, in a directory where nobody may create files: {flag} DIRECTORY/%p",
            one.display()
        )
    };
    assert_eq!(missed("--log", &one, &[]), [expected("--log")]);
    assert_eq!(missed("--log", &one, &["--log-filter", "epoll"]), [expected("--log")]);
    let rule = "epoll_create1:delay_enter=1";
    assert_eq!(missed("--inject-log", &one, &["--inject", rule]), [expected("--inject-log")]);
    // No rule fires in the children.
    let once = "epoll_create1:delay_enter=1:when=1:scope=tree";
    assert_eq!(missed("--inject-log", &one, &["--inject", once]), [""; 0]);
    let lines = missed("--log", &private.join("%e.%p"), &[]);
    let words = "--log lacks lines: 2 processes of user nobody could not create their files (the first: ";
    assert!(lines.len() == 1 && lines[0].contains(words), "{lines:?}");
    assert!(lines[0].ends_with("); use a directory where nobody may create files"), "{lines:?}");
    // With the remedy, each process has its file.
    assert_eq!(missed("--log", &open.join("log.%p"), &[]), [""; 0]);
    let logs = fs::read_dir(&open).unwrap().filter(|entry| entry.as_ref().unwrap().path() != one).count();
    assert_eq!(logs, 3);
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn python_node_curl_git_and_sleep() {
    let asyncio = "import asyncio\nasyncio.run(asyncio.sleep(0.01))";
    let closed = format!("http://127.0.0.1:{}/", free_port());
    for (name, words, makes_calls) in [
        ("python3", &["-c", asyncio][..], true),
        ("node", &["-e", "setTimeout(() => {}, 10)"], true),
        ("curl", &["-s", &closed], false),
        ("git", &["--version"], false),
        ("sleep", &["1"], false),
    ] {
        let Some(program) = tool(name) else { continue };
        let text = said(&program, words);
        is_explained(&text, name);
        assert!(!makes_calls || text.contains("Instances: "), "{text}");
    }
}

/// squid starts its helpers in this way: the real user is root, the effective user is another.
#[test]
fn a_program_that_the_loader_starts_without_the_library_is_named() {
    let Some(python) = tool("python3") else { return };
    // SAFETY: takes no argument.
    if unsafe { libc::geteuid() } != 0 {
        return skipped("only root may become another user", false);
    }
    let script = "import os, select, subprocess\nselect.epoll().close()\nos.seteuid(65534)\n\
                  pid = os.fork()\nif pid == 0: os.execvp('true', ['true'])\nos.waitpid(pid, 0)\n\
                  subprocess.run(['/bin/true'])\nos.seteuid(0)\nsubprocess.run(['/bin/true'])";
    let text = said(&python, &["-c", script]);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("NOT SEEN: 2 started programs (the first: "), "{text}");
    assert!(
        text.contains("the loader ignores LD_PRELOAD where the effective user or group is not the real one"),
        "{text}"
    );
}

#[test]
fn a_static_go_program() {
    let Some(go) = go() else { return skipped("go is not installed", false) };
    let directory = scratch("go");
    fs::write(directory.join("main.go"), "package main\nfunc main() {}\n").unwrap();
    let mut build = Command::new(go);
    build
        .current_dir(&directory)
        .env("CGO_ENABLED", "0")
        .env("GOCACHE", directory.join("cache"))
        .env("GO111MODULE", "off");
    let built = output(build.args(["build", "-o", "program", "main.go"]));
    assert!(built.status.success(), "{}", stderr(&built));
    let text = said(&directory.join("program"), &[]);
    assert!(text.starts_with("epollshim: warning: ") && text.contains("static program (Go)"), "{text}");
}

fn go() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places =
        std::env::split_paths(&path).chain([PathBuf::from("/usr/local/go/bin"), PathBuf::from("/usr/lib/go/bin")]);
    places.map(|place| place.join("go")).find(|file| file.is_file())
}

#[test]
fn a_program_for_musl() {
    let Some(compiler) = tool("musl-gcc") else { return };
    let program = scratch("musl").join("plain");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/plain.c");
    let built = output(Command::new(compiler).arg("-o").arg(&program).arg(source));
    assert!(built.status.success(), "{}", stderr(&built));
    let text = said(&program, &[]);
    assert!(!text.contains("warning") && text.contains(": nothing to report\n"), "{text}");
}
