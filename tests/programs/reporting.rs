use crate::programs::outcome;
use std::ffi::{CString, OsStr};
use std::fs::{File, OpenOptions, read_to_string};
use std::io::pipe;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use testkit::{reports, root, scratch, shim, show};

/// tests/programs/one_wait.c: uses epoll, and exits with the status it is given.
fn one_wait() -> Command {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let binary = BINARY.get_or_init(|| {
        let source = root().join("tests/programs/one_wait.c");
        testkit::compile::program("cc", &["-O1", "-pthread"], &source, &[]).unwrap()
    });
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("EPOLLSHIM_")) {
        command.env_remove(name);
    }
    command.env("LD_PRELOAD", shim()).stdin(Stdio::null());
    command
}

/// Asserts that the exit status is kept, both after a return from main and after `_exit`.
#[track_caller]
fn keeps_its_status(mut command: impl FnMut() -> Command) -> Vec<Output> {
    [("41", "exit"), ("42", "_exit")]
        .map(|(status, how)| {
            let output = outcome(command().args([status, how]));
            assert_eq!(output.status.code(), status.parse().ok(), "{how}: {}", show(&output));
            output
        })
        .into()
}

#[test]
fn the_report_goes_to_stderr_by_default() {
    for output in keeps_its_status(one_wait) {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        for word in ["one_wait", "epoll_create1", "epoll_ctl", "epoll_wait"] {
            assert!(stderr.contains(word), "{word}: {stderr}");
        }
        assert!(output.stdout.is_empty(), "{}", show(&output));
    }
}

#[test]
fn a_closed_stderr_is_ignored_and_a_file_opened_in_its_place_is_not_written() {
    let file = scratch("closed").join("file");
    keeps_its_status(|| {
        let mut command = one_wait();
        command.env("FILE", &file);
        // SAFETY: close is async-signal-safe, and after fork descriptor 2 belongs to the child
        // alone.
        unsafe {
            command.pre_exec(|| {
                libc::close(2);
                Ok(())
            });
        }
        command
    });
    assert_eq!(read_to_string(&file).unwrap(), "mine\n");
}

#[test]
fn a_full_pipe_that_is_never_read_does_not_block_the_program() {
    keeps_its_status(|| {
        let (reader, writer) = pipe().unwrap();
        fill(&writer);
        let mut command = one_wait();
        command.stderr(writer);
        // The reading end stays open, and is not read, until the process of this test ends.
        let _ = reader.into_raw_fd();
        command
    });
}

#[test]
fn a_full_socket_that_is_never_read_does_not_block_the_program() {
    keeps_its_status(|| {
        let (reader, writer) = UnixStream::pair().unwrap();
        fill(&writer);
        let mut command = one_wait();
        command.stderr(OwnedFd::from(writer));
        let _ = reader.into_raw_fd();
        command
    });
}

/// Writes until the next byte would block.
fn fill(writer: &impl AsRawFd) {
    let fd = writer.as_raw_fd();
    // SAFETY: the descriptor is open, and the buffer has the length that is passed.
    unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK);
        for chunk in [4096, 1] {
            while libc::write(fd, [b'.'; 4096].as_ptr().cast(), chunk) > 0 {}
        }
        libc::fcntl(fd, libc::F_SETFL, flags);
    }
}

#[test]
fn a_reader_that_has_gone_does_not_kill_the_program() {
    keeps_its_status(|| {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut command = one_wait();
        command.stderr(writer);
        command
    });
    keeps_its_status(|| {
        let (reader, writer) = UnixStream::pair().unwrap();
        drop(reader);
        let mut command = one_wait();
        command.stderr(OwnedFd::from(writer));
        command
    });
}

#[test]
fn a_full_disk_costs_nothing() {
    keeps_its_status(|| {
        let mut command = one_wait();
        command.stderr(OpenOptions::new().write(true).open("/dev/full").unwrap());
        command
    });
    for output in keeps_its_status(|| with("EPOLLSHIM_REPORT", "/dev/full")) {
        one_line(&output, &["/dev/full"]);
    }
}

#[test]
fn a_program_that_ends_on_a_small_stack_keeps_its_status_and_reports() {
    for how in ["thread", "handler"] {
        let report = scratch("stack").join("report");
        let output = outcome(with("EPOLLSHIM_REPORT", &report).args(["43", how]));
        assert_eq!(output.status.code(), Some(43), "{how}: {}", show(&output));
        assert!(read_to_string(&report).unwrap().contains("epoll_create1"), "{how}");
    }
}

#[test]
fn processes_that_share_a_report_s_name_lose_no_report() {
    let path = scratch("family").join("report.json");
    for run in 1..=100 {
        let mut command = with("EPOLLSHIM_REPORT", &path);
        let output = outcome(command.env("EPOLLSHIM_REPORT_FORMAT", "json").args(["44", "family"]));
        assert_eq!(output.status.code(), Some(44), "{}", show(&output));
        let lines = read_to_string(&path).unwrap().lines().count();
        assert_eq!(lines, 9 * run, "run {run}: the reports of eight children and their parent, added to those before");
    }
    assert_eq!(reports(&path).len(), 900);
}

/// Runs a shell script in which `$0` is one_wait, all of it under the shim.
#[track_caller]
fn script(script: &str, report: impl AsRef<OsStr>, prepare: impl FnOnce(&mut Command)) -> Output {
    let mut command = Command::new("sh");
    for (name, value) in with("EPOLLSHIM_REPORT", report).get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.arg("-c").arg(script).arg(one_wait().get_program());
    prepare(&mut command);
    let output = outcome(&mut command);
    assert_eq!(output.status.code(), Some(47), "{}", show(&output));
    output
}

#[test]
fn programs_of_one_script_lose_no_report() {
    let dir = scratch("script");
    // Programs one after another, in sessions of their own, and at the same time.
    let text = "$0 1; $0 2 _exit; setsid $0 3; setsid sh -c \"$0 4\"; $0 5 & $0 6 & $0 7 family & wait; exec $0 47";
    for _ in 0..3 {
        for format in ["json", "text"] {
            let output = script(text, dir.join(format), |command| {
                command.env("EPOLLSHIM_REPORT_FORMAT", format);
            });
            assert!(output.stderr.is_empty(), "{}", show(&output));
        }
    }
    let all = reports(&dir.join("json"));
    for (status, end, times) in
        [("1", "exit", 3), ("2", "_exit", 3), ("3", "exit", 3), ("7", "exit", 27), ("47", "exit", 3)]
    {
        let of_it = all.iter().map(|report| &report["process"]).filter(|process| process["argv"][1] == status);
        let ends: Vec<_> = of_it.map(|process| process["end"].clone()).collect();
        assert_eq!(ends, vec![end; times], "{status}");
    }
    assert_eq!(all.len(), 3 * 16);
    let text = read_to_string(dir.join("text")).unwrap();
    assert!(text.starts_with("epollshim: one_wait (pid "), "{text}");
    assert_eq!(text.matches("\n\nepollshim: one_wait (pid ").count(), 3 * 16 - 1, "{text}");
}

#[test]
fn a_torn_report_does_not_spoil_the_next() {
    let path = scratch("torn").join("report");
    for (format, end) in [("json", "\n"), ("text", "\n\n")] {
        let torn = "{\"schema\":\"epollsh";
        std::fs::write(&path, torn).unwrap();
        outcome(with("EPOLLSHIM_REPORT", &path).env("EPOLLSHIM_REPORT_FORMAT", format).arg("0"));
        let text = read_to_string(&path).unwrap();
        let report = text.strip_prefix(torn).and_then(|rest| rest.strip_prefix(end)).unwrap_or_default();
        assert!(report.starts_with(if format == "json" { "{" } else { "epollshim: one_wait" }), "{text}");
    }
}

#[test]
fn a_relative_name_is_relative_to_the_directory_where_the_program_started() {
    // Names that look like patterns and are not.
    for name in ["plain", "100%", "%p%%e"] {
        let dir = scratch("relative").join(name);
        std::fs::create_dir(&dir).unwrap();
        for report in ["report", "%e", "./%%"] {
            let output = outcome(with("EPOLLSHIM_REPORT", report).current_dir(&dir).args(["45", "elsewhere"]));
            assert!(output.status.code() == Some(45) && output.stderr.is_empty(), "{}", show(&output));
        }
        let mut files: Vec<_> = dir.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["%", "one_wait", "report"], "{}", dir.display());
    }
    let dir = scratch("relative-log");
    outcome(with("EPOLLSHIM_LOG", "log").current_dir(&dir).args(["45", "elsewhere"]));
    assert!(read_to_string(dir.join("log")).unwrap().contains("epoll_create1"));
}

#[test]
fn a_relative_name_without_a_directory_stays_relative() {
    let dir = scratch("gone");
    let output = script("cd dir; rmdir ../dir; $0 47", "report", |command| {
        std::fs::create_dir(dir.join("dir")).unwrap();
        command.current_dir(&dir);
    });
    one_line(&output, &["'report'", "ENOENT"]);
    // The path of this directory is too long: files in it are found by their relative names.
    let report = dir.join("report");
    File::create(&report).unwrap();
    let below = CString::new("d".repeat(200)).unwrap();
    let mut command = with("EPOLLSHIM_REPORT", "report");
    command.current_dir(&dir).arg("46");
    // SAFETY: after fork the closure only makes system calls, with strings that it owns.
    unsafe {
        command.pre_exec(move || {
            for _ in 0..30 {
                libc::mkdir(below.as_ptr(), 0o700);
                if libc::chdir(below.as_ptr()) != 0 || libc::link(c"../report".as_ptr(), c"report".as_ptr()) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    let output = outcome(&mut command);
    assert!(output.status.code() == Some(46) && output.stderr.is_empty(), "{}", show(&output));
    assert!(read_to_string(&report).unwrap().contains("epoll_create1"));
}

#[test]
fn a_stderr_that_is_a_file_gets_the_whole_report() {
    let path = scratch("file").join("stderr");
    keeps_its_status(|| {
        let mut command = one_wait();
        command.stderr(File::create(&path).unwrap());
        command
    });
    assert!(read_to_string(&path).unwrap().contains("epoll_create1"));
}

#[test]
fn a_report_that_cannot_be_written_is_one_line_and_exit_2_before_main() {
    let readable = scratch("unwritable").join("directory");
    std::fs::create_dir(&readable).unwrap();
    let file = readable.with_extension("file");
    for path in ["/nonexistent/report.%p.json".into(), readable.into_os_string()] {
        let output = outcome(with("EPOLLSHIM_REPORT", &path).env("FILE", &file).arg("0"));
        assert_eq!(output.status.code(), Some(2), "{}", show(&output));
        one_line(&output, &["EPOLLSHIM_REPORT", &path.to_string_lossy()]);
        assert!(!file.exists(), "main ran");
        let ignored = || {
            let mut command = with("EPOLLSHIM_REPORT", &path);
            command.env("EPOLLSHIM_ON_BAD_CONFIG", "ignore");
            command
        };
        for output in keeps_its_status(ignored) {
            one_line(&output, &[&path.to_string_lossy()]);
        }
    }
}

#[test]
fn a_wrong_option_is_one_line_and_exit_2_before_main() {
    let file = scratch("wrong").join("file");
    let output = outcome(with("EPOLLSHIM_REPORT_FORMAT", "xml").env("FILE", &file).arg("0"));
    assert_eq!(output.status.code(), Some(2), "{}", show(&output));
    one_line(&output, &["EPOLLSHIM_REPORT_FORMAT", "xml", "text", "json"]);
    assert!(!file.exists(), "main ran");
}

#[test]
fn a_wrong_option_that_may_be_ignored_is_one_line_and_the_program_runs() {
    let command = || {
        let mut command = with("EPOLLSHIM_REPORT_FORMAT", "xml");
        command.env("EPOLLSHIM_ON_BAD_CONFIG", "ignore");
        command
    };
    for output in keeps_its_status(command) {
        one_line(&output, &["EPOLLSHIM_REPORT_FORMAT", "xml", "text", "json"]);
    }
}

#[test]
fn a_program_that_is_not_selected_is_left_alone() {
    let dir = scratch("only");
    let report = dir.join("report");
    for output in keeps_its_status(|| {
        let mut command = with("EPOLLSHIM_ONLY", "other,another");
        command.env("EPOLLSHIM_REPORT", &report);
        command
    }) {
        assert!(output.stderr.is_empty(), "{}", show(&output));
    }
    assert!(!report.exists());
    for output in keeps_its_status(|| with("EPOLLSHIM_ONLY", "other")) {
        assert!(output.stderr.is_empty(), "{}", show(&output));
    }
    for output in keeps_its_status(|| with("EPOLLSHIM_ONLY", "other,one_wait")) {
        assert!(!output.stderr.is_empty(), "{}", show(&output));
    }
}

#[test]
fn with_report_none_nothing_is_written() {
    for output in keeps_its_status(|| with("EPOLLSHIM_REPORT", "none")) {
        assert!(output.stderr.is_empty() && output.stdout.is_empty(), "{}", show(&output));
    }
}

#[test]
fn a_program_without_epoll_has_no_report() {
    let report = scratch("unused").join("report");
    for to in ["stderr".as_ref(), report.as_os_str()] {
        let output = outcome(Command::new("true").env("LD_PRELOAD", shim()).env("EPOLLSHIM_REPORT", to));
        assert!(output.status.success() && output.stderr.is_empty(), "{}", show(&output));
    }
    assert!(!report.exists());
}

fn with(name: &str, value: impl AsRef<OsStr>) -> Command {
    let mut command = one_wait();
    command.env(name, value);
    command
}

#[track_caller]
fn one_line(output: &Output, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr.lines().count(), 1, "{}", show(output));
    assert!(stderr.ends_with('\n'), "{}", show(output));
    for word in words {
        assert!(stderr.contains(word), "{word}: {stderr}");
    }
}
