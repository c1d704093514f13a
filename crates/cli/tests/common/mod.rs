//! Helpers for tests of the command: the built command and library, C programs, scratch
//! directories.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../../../tests/common/cc.rs"]
mod cc;
#[path = "../../../../tests/common/inherited.rs"]
mod inherited;
pub mod sweep;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// On an idle machine nothing here takes a second. What has not happened after this time has hung.
pub const HUNG: Duration = Duration::from_secs(300);

/// The command, without the options of the caller. It finds the library in its directory.
pub fn epollshim() -> Command {
    assert!(library().exists(), "{} is not there: cargo build --release first", library().display());
    inherited::keep_from_children();
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("EPOLLSHIM_") || name == "LD_PRELOAD") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// The path of another build of the command, with the library beside it, for the tests to use:
/// `make test-dist`.
const OTHER_COMMAND: &str = "COMMAND_UNDER_TEST";

/// The command as users get it, with the library beside it, both built by `cargo build --release`;
/// or that of [`OTHER_COMMAND`].
pub fn binary() -> PathBuf {
    if let Some(other) = std::env::var_os(OTHER_COMMAND) {
        return PathBuf::from(other);
    }
    // target/PROFILE/epollshim
    let built = Path::new(env!("CARGO_BIN_EXE_epollshim"));
    let binary = built.ancestors().nth(2).unwrap().join("release/epollshim");
    let changed = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).unwrap();
    assert!(binary.exists(), "{} is not there: cargo build --release first", binary.display());
    assert!(
        sources().iter().all(|source| changed(source) <= changed(&binary)),
        "{} is older than its sources: cargo build --release first",
        binary.display()
    );
    binary
}

fn sources() -> Vec<PathBuf> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut open = ["cli/src", "recording/src", "format/src"].map(|name| crates.join(name)).to_vec();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.push(path);
        }
    }
    found
}

/// Copies a file that will be executed, in a separate process. If this process had it open for
/// writing, children that other tests start meanwhile would inherit the descriptor, and execve(2)
/// would fail with ETXTBSY.
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let status = Command::new("cp").arg("--").arg(from.as_ref()).arg(to.as_ref()).status().unwrap();
    assert!(status.success(), "cp: {status}");
}

pub fn library() -> PathBuf {
    binary().with_file_name("libepollshim.so")
}

/// Runs the command with these arguments until it ends.
pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    output(epollshim().args(arguments))
}

pub fn output(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let (send, ended) = std::sync::mpsc::channel();
    let watcher = std::thread::spawn(move || {
        if ended.recv_timeout(HUNG).is_err() {
            // SAFETY: the call takes only integers. (The process id could be reused only if the
            // child ended and was reaped at the very moment of the timeout.)
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        }
    });
    let output = child.wait_with_output().unwrap();
    let _ = send.send(());
    watcher.join().unwrap();
    output
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn scratch(name: &str) -> PathBuf {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}-{}-{serial}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Compiles `tests/programs/NAME.c`. Fails with the messages of the compiler.
pub fn try_compile(name: &str, flags: &[&str]) -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/programs/{name}.c"));
    let binary = scratch("cc").join(name);
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror"]).args(cc::extra_flags());
    cc.arg("-o").arg(&binary).arg(&source).args(flags);
    let output = cc.output().expect("cc");
    if output.status.success() { Ok(binary) } else { Err(stderr(&output)) }
}

pub fn compile(name: &str, flags: &[&str]) -> PathBuf {
    try_compile(name, flags).unwrap_or_else(|error| panic!("{name}.c: {error}"))
}

/// Prints that a test is skipped, bypassing the test harness, which hides the output of a test that
/// passes. With `NO_SKIP=1` a skip is a failure.
pub fn skipped(why: &str, allowed: bool) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
    assert!(allowed || std::env::var_os("NO_SKIP").is_none(), "NO_SKIP is set, and {why}");
}

pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|program| program.is_file());
    if found.is_none() {
        skipped(&format!("{name} is not installed"), name == "busybox" || name == "musl-gcc");
    }
    found
}

/// Validates JUnit XML with the schema of Jenkins, if xmllint is installed.
pub fn is_valid_for_jenkins(xml: &str) {
    let Some(xmllint) = installed("xmllint") else { return };
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/junit-10.xsd");
    let file = scratch("xmllint").join("junit.xml");
    std::fs::write(&file, xml).unwrap();
    let checked = output(Command::new(&xmllint).args(["--noout", "--nonet", "--schema"]).arg(&schema).arg(&file));
    assert!(checked.status.success(), "{}\n{xml}", stderr(&checked));
}

/// Waits until `ready` returns a value.
pub fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < HUNG, "hung before {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
