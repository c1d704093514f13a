//! The evidence about a program is complete however the program limits itself: no descriptor is
//! free and RLIMIT_NOFILE is reached, no address space is left, it has given up root's rights, or
//! the report goes to a descriptor of the program's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use epollshim_format::recording::header;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use testkit::layout::only;
use testkit::skipped;
use testkit::{c_program, report, run, scratch, shim, show};

fn program() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| c_program("evidence"))
}

/// A command for the program with a census, a log, and a recording of each call, all below a
/// directory.
fn watched(words: &[&str], directory: &Path) -> Command {
    let mut command = Command::new(program());
    command.args(words).env("LD_PRELOAD", shim()).env("EPOLLSHIM_CENSUS", "1");
    command.env("EPOLLSHIM_REPORT", directory.join("report")).env("EPOLLSHIM_REPORT_FORMAT", "json");
    command.env("EPOLLSHIM_LOG", directory.join("log"));
    command.env("EPOLLSHIM_RECORD", directory.join("rec")).env("EPOLLSHIM_RECORD_RING", "full");
    command
}

/// Asserts that recording, log and report are complete, and that the report has symbol names.
fn has_everything(directory: &Path) {
    let report = report(&directory.join("report"));
    assert_eq!(report["process"]["comm"], "evidence", "{report}");
    assert_eq!(report["process"]["exe"], program().to_str().unwrap(), "{report}");
    assert_eq!(report["coverage"]["reconciled"], true, "{report}");
    let leak = report["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == "leak").unwrap();
    assert!(leak["site"].as_str().unwrap().starts_with("evidence+0x"), "{leak}");
    assert_eq!(report["log"]["dropped"], 0, "{report}");
    records_all(directory);
}

fn records_all(directory: &Path) {
    let recording = only(&directory.join("rec"));
    assert_eq!(recording.word(header::TROUBLE), 0, "errno");
    assert_eq!(recording.word(header::CALLS_DROPPED), 0);
    assert_eq!(recording.word(header::RECORDS_STOPPED), 0);
    let (seen, dropped) = recording.seen_and_dropped();
    assert_eq!((seen, dropped), (recording.all_calls(), 0));
}

#[test]
fn with_all_descriptor_numbers_in_use_the_evidence_is_complete() {
    let directory = scratch("numbers");
    let ended = run(&mut watched(&["numbers", "64"], &directory));
    assert!(ended.status.success() && ended.stderr.is_empty(), "{}{}", ended.stdout, ended.stderr);
    has_everything(&directory);
    // The same as text, to stderr.
    let mut command = watched(&["numbers", "64"], &scratch("numbers-text"));
    let ended = run(command.env("EPOLLSHIM_REPORT", "stderr").env("EPOLLSHIM_REPORT_FORMAT", "text"));
    assert!(ended.stderr.starts_with("epollshim: evidence (pid "), "{}", ended.stderr);
    assert!(ended.stderr.contains("at evidence+0x"), "{}", ended.stderr);
}

/// RLIMIT_NPROC prevents the helper from starting, and no descriptor number is free for the files
/// that the library would open instead.
#[test]
fn with_no_free_number_and_no_helper_lost_evidence_is_reported_as_a_failure() {
    let open = Open::new("alone");
    let mut command = watched(&["alone", "64"], &open.0);
    command.env_remove("EPOLLSHIM_LOG").env("EPOLLSHIM_REPORT", "stderr").env("EPOLLSHIM_REPORT_FORMAT", "text");
    let ended = run(&mut command);
    assert!(ended.status.success(), "{}{}", ended.stdout, ended.stderr);
    for words in [
        "epollshim: evidence (pid ",
        "  info     near-limit ",
        "  info     exhausted ",
        "\nRecording: PARTIAL, the file could not grow (EMFILE)\n",
        "\nCoverage: NOT compared with the kernel's lists",
    ] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
    // The program has no finding `ghost`, so `check` fails only because evidence is missing.
    let epollshim = || Command::new(shim().with_file_name("epollshim"));
    let output = epollshim().args(["report", "--fail-on", "ghost"]).arg(open.0.join("rec")).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", show(&output));
    assert!(show(&output).contains("the file could not grow: EMFILE"), "{}", show(&output));
    let mut command = epollshim();
    command.args(["run", "--record-ring=full", "--fail-on", "ghost", "--"]).arg(program()).args(["alone", "64"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", show(&output));
    assert!(show(&output).contains("PARTIAL"), "{}", show(&output));
    // The same with a report that goes to a file.
    let mut command = watched(&["alone", "64"], &open.0);
    let ended = run(command.env_remove("EPOLLSHIM_LOG").env("EPOLLSHIM_REPORT", open.0.join("text")));
    assert!(ended.stderr.contains("EMFILE; the report of process "), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

/// A directory in which all users can create files, removed at the end. It is not below the build
/// tree, which may be private.
struct Open(PathBuf);

impl Open {
    fn new(name: &str) -> Open {
        let path = std::env::temp_dir().join(format!("epollshim-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).unwrap();
        Open(path)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn with_no_address_space_left_the_evidence_is_complete() {
    let directory = scratch("memory");
    let ended = run(&mut watched(&["memory"], &directory));
    assert!(ended.status.success() && ended.stderr.is_empty(), "{}{}", ended.stdout, ended.stderr);
    has_everything(&directory);
    let report = report(&directory.join("report"));
    assert_eq!(report["watches"]["live"], 40, "{report}");
}

#[test]
fn a_recording_continues_when_root_becomes_another_user() {
    // SAFETY: geteuid cannot fail and has no arguments.
    if unsafe { libc::geteuid() } != 0 {
        return skipped("not root: a program cannot change its user", false);
    }
    for words in [&["user"][..], &["user", "raw"], &["user", "chroot"]] {
        let open = Open::new(&words.join("-"));
        let directory = &open.0;
        let ended = run(watched(words, directory).env("EPOLLSHIM_REPORT", "none").env_remove("EPOLLSHIM_LOG"));
        assert!(ended.status.success() && ended.stderr.is_empty(), "{}{}", ended.stdout, ended.stderr);
        records_all(directory);
        let recording = testkit::layout::files(&directory.join("rec")).remove(0);
        let file = fs::symlink_metadata(recording).unwrap();
        // In another root directory the recording has no path: only the existing mapping is used.
        let owner = if words.last() == Some(&"chroot") { 0 } else { 65534 };
        assert_eq!((file.uid(), file.mode() & 0o777), (owner, 0o600));
    }
}

#[test]
fn a_report_goes_to_a_descriptor_of_the_program() {
    for place in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let mut command = Command::new(program());
        command.env("LD_PRELOAD", shim()).env("EPOLLSHIM_REPORT", place).env("EPOLLSHIM_LOG", "none");
        let output = command.output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(stdout.contains("\nepollshim: evidence (pid "), "{place}: {}", show(&output));
        assert!(output.stderr.is_empty(), "{place}: {}", show(&output));
    }
    // A descriptor that is passed for the report, and a descriptor that refers to another file by
    // the end.
    let script = "exec 7>$PLACE/seven; EPOLLSHIM_REPORT=/dev/fd/7 LD_PRELOAD=$SHIM $PROGRAM";
    let place = scratch("seven");
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("PLACE", &place).env("SHIM", shim()).env("PROGRAM", program());
    let ended = run(&mut command);
    assert!(ended.status.success() && ended.stderr.is_empty(), "{}", ended.stderr);
    assert!(fs::read_to_string(place.join("seven")).unwrap().contains("epoll_create1"));
    let log = "EPOLLSHIM_REPORT=none EPOLLSHIM_LOG=- LD_PRELOAD=$SHIM $PROGRAM";
    let mut command = Command::new("sh");
    let output = command.args(["-c", log]).env("SHIM", shim()).env("PROGRAM", program()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("] epoll_create1("), "{}", show(&output));
}
