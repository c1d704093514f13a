//! What every black-box test needs: the built library, C programs, a run bare or under the shim, its report.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod cc;
mod inherited;
pub mod modes;
pub mod place;
pub mod recording;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Where another build of the library lies, with the command beside it, that the tests are to run with: `make test-portable`. (No
/// option of the library's: programs that the tests start inherit it.)
const OTHER_LIBRARY: &str = "LIBRARY_UNDER_TEST";

/// The library as users get it: `cargo build --release` makes it, and cargo test does not. Or that of [`OTHER_LIBRARY`].
pub fn shim() -> PathBuf {
    let library = match std::env::var_os(OTHER_LIBRARY) {
        Some(library) => PathBuf::from(library),
        None => {
            let test = std::env::current_exe().expect("this test's own path");
            // target/PROFILE/deps/this_test-HASH
            test.ancestors().nth(3).expect("target").join("release/libepollshim.so")
        }
    };
    assert!(library.exists(), "{} is not there: cargo build --release first", library.display());
    let changed = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).expect("a time");
    let inside = ["src", "crates/format/src", "crates/ledger/src"];
    for source in inside.iter().flat_map(|folder| sources(&root().join(folder))) {
        assert!(
            changed(&source) <= changed(&library),
            "{} is newer than {}: cargo build --release first",
            source.display(),
            library.display()
        );
    }
    library
}

fn sources(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if !path.ends_with("tests.rs") {
                found.push(path);
            }
        }
    }
    found.into_iter()
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A directory of this test run's own, under one of this process, named after `name`. It stays until the next run, so that a
/// failure can be looked at.
pub fn scratch(name: &str) -> PathBuf {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    static SWEPT: Once = Once::new();
    let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
    SWEPT.call_once(|| sweep(all));
    inherited::keep_from_children();
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = all.join(std::process::id().to_string()).join(format!("{name}-{serial}"));
    std::fs::create_dir_all(&path).expect("scratch directory");
    path
}

/// Removes what earlier runs left: recordings take gigabytes.
fn sweep(all: &Path) {
    for entry in std::fs::read_dir(all).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse::<u32>().ok());
        if pid.is_some_and(|pid| pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Compiles `c-tests/NAME.c` with `cc` (once a test process and program) and returns the binary.
pub fn c_program(name: &str) -> PathBuf {
    c_program_with(name, &[])
}

pub fn c_program_with(name: &str, flags: &[&str]) -> PathBuf {
    let source = root().join("c-tests").join(format!("{name}.c"));
    let binary = scratch("cc").join(Path::new(name).file_name().expect("a name"));
    let output = Command::new("cc")
        .args(["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"])
        .args(cc::extra_flags())
        .arg("-I")
        .arg(root().join("include"))
        .arg("-o")
        .arg(&binary)
        .arg(&source)
        .args(flags)
        .args(["-ldl", "-rdynamic"])
        .output()
        .expect("cc");
    assert!(output.status.success(), "cc {}: {}", source.display(), String::from_utf8_lossy(&output.stderr));
    binary
}

/// Whether a tool is there. NO_SKIP=1 makes it a failure if not.
pub fn have(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|directory| directory.join(tool).is_file());
    if !is_there {
        eprintln!("skipped: {tool} is not installed");
        assert!(std::env::var_os("NO_SKIP").is_none(), "NO_SKIP is set, and {tool} is not installed");
    }
    is_there
}

/// Copies a file that will be executed, by a process of its own: a descriptor of this one that writes it would be in the children
/// that other tests start meanwhile, and no file is executed that somebody may write (ETXTBSY).
#[allow(dead_code)]
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let status = Command::new("cp").arg("--").arg(from.as_ref()).arg(to.as_ref()).status().unwrap();
    assert!(status.success(), "cp: {status}");
}

/// `command`, with the shim preloaded and its report in JSON at `report`.
pub fn under_shim<'a>(command: &'a mut Command, report: &Path) -> &'a mut Command {
    command.env("LD_PRELOAD", shim()).env("EPOLLSHIM_REPORT", report).env("EPOLLSHIM_REPORT_FORMAT", "json")
}

/// No program of c-tests/ needs more than a few seconds on an idle machine. More than they give themselves (c-tests/check.h).
const PATIENCE: Duration = Duration::from_secs(330);

/// How a program ended, and what it wrote.
pub struct Run {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Runs to the end, or panics. Output goes through files: a descendant that lives on must not hold a pipe open.
pub fn run(command: &mut Command) -> Run {
    let directory = scratch("run");
    let (out, err) = (directory.join("stdout"), directory.join("stderr"));
    let text = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .expect("the program starts");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} hangs; so far it printed:\n{}", text(&out));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Run { status, stdout: text(&out), stderr: text(&err) }
}

pub fn show(output: &Output) -> String {
    format!(
        "{}\n--- stdout ---\n{}--- stderr ---\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The reports in a file: one JSON document a line, one a process.
pub fn reports(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The only report in a file.
pub fn report(path: &Path) -> serde_json::Value {
    let mut all = reports(path);
    assert_eq!(all.len(), 1, "{}: one report expected", path.display());
    all.remove(0)
}
