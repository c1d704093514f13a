//! No program sees a descriptor of the shim: not in a child, however and whenever it is forked; not
//! as a number that is missing; and not as one that a sweep closes. What a program cannot see does
//! not depend on how many numbers it leaves free, or on what other users have put in the place of a
//! log, a recording, a report or a session.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use testkit::layout::{Recording, files};
use testkit::modes::{MODES, Mode};
use testkit::skipped;
use testkit::{c_program, report, run, scratch, shim, show};

fn looks() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| c_program("hosts/unseen_descriptors"))
}

fn taken() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| c_program("hosts/every_number_taken"))
}

/// What the threads of the program make the shim do, and the options for it.
#[derive(Clone, Copy, Debug)]
enum Work {
    Log,
    Recording,
    Report,
    Session,
}

const WORKS: [Work; 4] = [Work::Log, Work::Recording, Work::Report, Work::Session];

/// Runs the program with this work and this look, in one mode. Returns the directory of its log,
/// recordings and report.
#[track_caller]
fn unseen(work: Work, look: &str, times: usize, mode: Mode) -> PathBuf {
    let directory = scratch("unseen");
    let mut command = Command::new(looks());
    mode.preload(&mut command, &directory).env_remove("EPOLLSHIM_SESSION");
    let kind = match work {
        Work::Log => {
            command.env("EPOLLSHIM_LOG", directory.join("log.%p"));
            "calls"
        }
        Work::Recording => {
            command.env("EPOLLSHIM_RECORD", directory.join("recordings")).env("EPOLLSHIM_RECORD_RING", "full");
            "calls"
        }
        Work::Report => "report",
        Work::Session => {
            command.env("EPOLLSHIM_LIMIT", "user-instances=1").env("EPOLLSHIM_SESSION", directory.join("session"));
            "refused"
        }
    };
    let ended = run(command.args([kind, look, &times.to_string()]));
    assert!(ended.status.success(), "{work:?} {look} {mode:?}: {}\n{}{}", ended.status, ended.stdout, ended.stderr);
    directory
}

#[test]
fn a_forked_child_has_no_descriptor_of_the_shims() {
    for mode in MODES {
        for work in WORKS {
            unseen(work, "fork", 60, mode);
        }
    }
}

#[test]
fn a_child_by_a_raw_system_call_has_no_descriptor_of_the_shims() {
    for mode in MODES {
        for work in WORKS {
            unseen(work, "raw", 30, mode);
            unseen(work, "clone", 30, mode);
        }
    }
}

#[test]
fn a_vforked_or_spawned_child_has_no_descriptor_of_the_shims() {
    for work in WORKS {
        unseen(work, "vfork", 40, Mode::Default);
        unseen(work, "spawn", 15, Mode::Default);
    }
    unseen(Work::Log, "vfork", 40, Mode::Everything);
    unseen(Work::Report, "spawn", 10, Mode::Everything);
}

#[test]
fn a_new_descriptor_always_has_the_lowest_free_number() {
    for mode in MODES {
        for work in WORKS {
            unseen(work, "dup", 20_000, mode);
        }
    }
}

/// Each of the two processes has one thread, and shares the other's descriptors.
#[test]
fn a_process_that_shares_its_table_sees_no_descriptor_of_the_other_s_log() {
    for mode in MODES {
        let directory = scratch("shared");
        let mut command = Command::new(looks());
        mode.preload(&mut command, &directory).env("EPOLLSHIM_LOG", directory.join("log.%p"));
        let ended = run(command.args(["none", "shared", "3000"]));
        assert!(ended.status.success(), "{mode:?}: {}\n{}{}", ended.status, ended.stdout, ended.stderr);
    }
}

/// If a sweep closed a descriptor of the shim, a line, a record or a report would be missing.
#[test]
fn a_sweep_of_all_unused_numbers_costs_no_line_and_no_record() {
    for mode in MODES {
        let log = unseen(Work::Log, "sweep", 20_000, mode);
        let counts = &report(&log.join("report.json"))["log"];
        assert!(counts["written"].as_u64().unwrap() > 100 && counts["dropped"] == 0, "{counts}");
        let recorded = unseen(Work::Recording, "sweep", 20_000, mode);
        let [file] = &files(&recorded.join("recordings"))[..] else { panic!("one recording") };
        let recording = Recording::read(file);
        assert_eq!(recording.seen_and_dropped(), (recording.all_calls(), 0));
        unseen(Work::Report, "sweep", 20_000, mode);
    }
}

#[test]
fn a_wait_for_any_child_meets_none_of_the_shims() {
    for mode in MODES {
        for work in WORKS {
            unseen(work, "wait", 20_000, mode);
        }
    }
}

/// The program may unshare its user namespace, which a process with several threads may not.
#[test]
fn a_program_of_one_thread_has_one_thread_after_every_call() {
    for mode in MODES {
        let directory = scratch("single");
        let mut command = Command::new(looks());
        mode.preload(&mut command, &directory).env("EPOLLSHIM_LOG", directory.join("log.%p"));
        let ended = run(command.args(["none", "single", "3000"]));
        assert!(ended.status.success(), "{mode:?}: {}\n{}", ended.status, ended.stdout);
    }
}

/// After unshare(CLONE_NEWPID) the kernel refuses threads. As a last resort, lines and the report
/// are written through the program's own table.
#[test]
fn without_a_helper_nothing_is_lost() {
    if !is_root() {
        return skipped("not root: cannot create a pid namespace", false);
    }
    for mode in MODES {
        let directory = scratch("namespace");
        let mut command = Command::new(looks());
        mode.preload(&mut command, &directory).env("EPOLLSHIM_LOG", directory.join("log"));
        let ended = run(command.args(["none", "newpid", "300"]));
        assert!(ended.status.success(), "{mode:?}: {}\n{}{}", ended.status, ended.stdout, ended.stderr);
        // A creation, an ADD, and the waits.
        let report = report(&directory.join("report.json"));
        assert_eq!((&report["log"]["written"], &report["log"]["dropped"]), (&302.into(), &0.into()), "{mode:?}");
        assert_eq!(report["coverage"]["reconciled"], true, "{mode:?}: {report}");
        assert_eq!(fs::read_to_string(directory.join("log")).unwrap().lines().count(), 302);
    }
}

#[test]
fn a_process_without_a_free_number_logs_records_and_reports_everything() {
    for mode in MODES {
        for alone in [false, true] {
            let directory = scratch("taken");
            let mut command = Command::new(taken());
            mode.preload(&mut command, &directory)
                .env("EPOLLSHIM_LOG", directory.join("log"))
                .env("EPOLLSHIM_RECORD", directory.join("recordings"))
                .env("EPOLLSHIM_RECORD_RING", "full");
            let ended = run(command.arg("2000").args(alone.then_some("alone")));
            assert!(ended.status.success(), "{mode:?}: {}\n{}{}", ended.status, ended.stdout, ended.stderr);
            assert_eq!(ended.stderr, "", "{mode:?}");
            // Two creations, one of which failed, an ADD, and the waits.
            let calls = 4003;
            let report = report(&directory.join("report.json"));
            assert_eq!(report["log"]["written"], calls, "{mode:?}");
            assert_eq!(report["log"]["dropped"], 0, "{mode:?}");
            assert_eq!(report["process"]["exe"], taken().to_str().unwrap());
            assert_eq!(report["coverage"]["reconciled"], true, "{mode:?}: {report}");
            assert_eq!(fs::read_to_string(directory.join("log")).unwrap().lines().count(), calls);
            let recording = Recording::read(&files(&directory.join("recordings"))[0]);
            assert_eq!(recording.all_calls(), calls as u64);
            assert_eq!(recording.seen_and_dropped(), (calls as u64, 0));
        }
    }
}

/// Whether the environment of a process contains this directory in a value.
fn somebody_uses(directory: &Path) -> bool {
    let wanted = directory.to_str().unwrap().as_bytes();
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        environment.windows(wanted.len()).any(|part| part == wanted)
    })
}

#[test]
fn a_kill_while_the_log_is_written_leaves_whole_lines_and_no_process() {
    for delay in 0..20 {
        let directory = scratch("killed");
        let mut command = Command::new(looks());
        Mode::Default.preload(&mut command, &directory).env("EPOLLSHIM_LOG", directory.join("log"));
        let mut child = command.args(["calls", "rest", "10000"]).stdout(Stdio::null()).spawn().unwrap();
        let log = directory.join("log");
        let deadline = Instant::now() + Duration::from_secs(30);
        while fs::metadata(&log).map_or(0, |data| data.len()) < 2000 {
            assert!(Instant::now() < deadline, "no line is written");
            std::thread::sleep(Duration::from_micros(300 + delay * 50));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let length = fs::metadata(&log).unwrap().len();
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.ends_with('\n') && text.lines().all(|line| line.starts_with("[pid ")), "{text}");
        assert!(!somebody_uses(&directory), "a process is left");
        assert_eq!(fs::metadata(&log).unwrap().len(), length);
    }
}

/// ^Z: the parent is notified every time that the program has stopped, however many lines are being
/// written.
#[test]
fn a_stop_while_the_log_is_written_notifies_the_parent() {
    let directory = scratch("stopped");
    let mut command = Command::new(looks());
    Mode::Default.preload(&mut command, &directory).env("EPOLLSHIM_LOG", directory.join("log"));
    let mut child = command.args(["calls", "rest", "20000"]).stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id() as i32;
    std::thread::sleep(Duration::from_millis(100));
    let mut stops = 0;
    for _ in 0..200 {
        // SAFETY: takes no pointer. The child has not been waited for, so the pid is still its own.
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut status = 0;
        // SAFETY: the kernel writes one int to `status`, which is a local variable.
        while unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED | libc::WNOHANG) } == 0
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_micros(100));
        }
        stops += i32::from(libc::WIFSTOPPED(status));
        // SAFETY: takes no pointer. The child has not been waited for, so the pid is still its own.
        unsafe { libc::kill(pid, libc::SIGCONT) };
        std::thread::sleep(Duration::from_micros(700));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(stops, 200);
}

// --- other users ----------------------------------------------------------------------------

/// A user other than the one that runs this test.
const SOMEBODY: u32 = 54_321;

fn is_root() -> bool {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// A symbolic link that belongs to another user and leads to `target`, which belongs to this user.
fn link_of_somebody(link: &Path, target: &Path) {
    symlink(target, link).unwrap();
    lchown(link, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
}

/// Runs the program with options that end it before main. One line names the option and says that
/// the file belongs to another user.
#[track_caller]
fn refused(option: &str, value: &Path, also: &[(&str, &str)], word: &str) {
    let mut command = Command::new(taken());
    command.arg("1").env("LD_PRELOAD", shim()).env("EPOLLSHIM_REPORT", "none").env(option, value);
    let ended = run(command.envs(also.iter().copied()));
    assert_eq!(ended.status.code(), Some(2), "{option}: {}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    for part in [option, value.to_str().unwrap(), word] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn a_log_recording_or_session_of_another_user_is_refused() {
    if !is_root() {
        return skipped("not root: cannot give a file to another user", false);
    }
    let directory = scratch("others");
    let (file, link) = (directory.join("file"), directory.join("link"));
    fs::write(&file, "mine").unwrap();
    link_of_somebody(&link, &file);
    refused("EPOLLSHIM_LOG", &link, &[], "belongs to another user");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let theirs = directory.join("theirs");
    fs::write(&theirs, "").unwrap();
    lchown(&theirs, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    refused("EPOLLSHIM_LOG", &theirs, &[], "belongs to another user");
    // A link of this user to it is refused too.
    let own = directory.join("own");
    symlink(&theirs, &own).unwrap();
    refused("EPOLLSHIM_LOG", &own, &[], "belongs to another user");

    let (mine, link) = (scratch("mine"), directory.join("directory"));
    link_of_somebody(&link, &mine);
    refused("EPOLLSHIM_RECORD", &link, &[], "belongs to another user");
    refused("EPOLLSHIM_SESSION", &link, &[("EPOLLSHIM_LIMIT", "user-instances=3")], "must belong to this user");
    assert_eq!(fs::read_dir(&mine).unwrap().count(), 0);
}

#[test]
fn a_report_is_not_written_through_another_users_link() {
    if !is_root() {
        return skipped("not root: cannot give a file to another user", false);
    }
    let directory = scratch("report");
    let (file, link) = (directory.join("file"), directory.join("link"));
    fs::write(&file, "mine").unwrap();
    link_of_somebody(&link, &file);
    refused("EPOLLSHIM_REPORT", &link, &[], "belongs to another user");
    // A child of a program under the shim is not refused, because it may have changed its user. Its
    // report is lost.
    let mut command = Command::new("sh");
    command.args(["-c", "EPOLLSHIM_REPORT=$LINK $CHILD 1; echo $?"]).env("LINK", &link).env("CHILD", taken());
    let ended = run(command.env("LD_PRELOAD", shim()).env("EPOLLSHIM_REPORT", "none"));
    assert!(ended.stdout.ends_with("0\n"), "{}", ended.stdout);
    assert!(
        ended.stderr.contains("EPOLLSHIM_REPORT") && ended.stderr.contains("belongs to another user"),
        "{}",
        ended.stderr
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn a_link_of_ones_own_leads_to_the_log() {
    let directory = scratch("own");
    fs::create_dir(directory.join("below")).unwrap();
    symlink("below/second", directory.join("first")).unwrap();
    symlink("../log", directory.join("below/second")).unwrap();
    for place in [directory.join("first"), PathBuf::from("/dev/stdout"), PathBuf::from("/dev/fd/1")] {
        let mut command = Command::new(taken());
        command.arg("5").env("LD_PRELOAD", shim()).env("EPOLLSHIM_REPORT", "none").env("EPOLLSHIM_LOG", &place);
        // A pipe: writing to a file by another descriptor would overwrite what was appended.
        let ended = command.output().unwrap();
        assert!(ended.status.success(), "{}", show(&ended));
        let stdout = String::from_utf8(ended.stdout).unwrap();
        let log = if place.starts_with("/dev") { stdout } else { fs::read_to_string(directory.join("log")).unwrap() };
        assert_eq!(log.lines().filter(|line| line.starts_with("[pid ")).count(), 13, "{}: {log}", place.display());
    }
}

/// While the program runs: its lines are dropped, and one line says why.
#[test]
fn a_log_or_recording_that_is_exchanged_while_the_program_runs_is_left_alone() {
    if !is_root() {
        return skipped("not root: cannot give a file to another user", false);
    }
    let directory = scratch("exchanged");
    let (file, log) = (directory.join("file"), directory.join("log"));
    fs::write(&file, "mine").unwrap();
    let recordings = directory.join("recordings");
    let mut command = Command::new(looks());
    Mode::Default
        .preload(&mut command, &directory)
        .env("EPOLLSHIM_LOG", &log)
        .env("EPOLLSHIM_RECORD", &recordings)
        .env("EPOLLSHIM_RECORD_RING", "full");
    let stderr = directory.join("stderr");
    command.args(["calls", "rest", "1500"]).stdout(Stdio::null()).stderr(fs::File::create(&stderr).unwrap());
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while fs::metadata(&log).map_or(0, |data| data.len()) < 2000 {
        assert!(Instant::now() < deadline, "no line is written");
        std::thread::sleep(Duration::from_millis(1));
    }
    let recording = files(&recordings).remove(0);
    // Links are created under another name, so that each name always means something.
    let (link, copy) = (directory.join("link"), directory.join("copy"));
    link_of_somebody(&link, &file);
    fs::rename(&link, &log).unwrap();
    fs::write(&copy, "copy").unwrap();
    fs::rename(&copy, &recording).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(fs::read_to_string(&recording).unwrap(), "copy");
    let stderr = fs::read_to_string(&stderr).unwrap();
    assert_eq!(stderr.lines().filter(|line| line.contains("EPOLLSHIM_LOG")).count(), 1, "{stderr}");
    assert!(stderr.contains("belongs to another user"), "{stderr}");
    assert!(report(&directory.join("report.json"))["log"]["dropped"].as_u64().unwrap() > 0);
}

/// Only the owner of a recording can open it: no other user can truncate it, which would end the
/// program by SIGBUS (docs/recording.md).
#[test]
fn a_recording_a_log_and_a_session_are_for_their_user_alone() {
    let directory = scratch("modes");
    let mut command = Command::new(taken());
    Mode::Everything
        .preload(&mut command, &directory)
        .env("EPOLLSHIM_LOG", directory.join("log"))
        .env("EPOLLSHIM_LIMIT", "user-instances=3")
        .env("EPOLLSHIM_SESSION", directory.join("session"));
    // SAFETY: umask may be called in the child of a fork.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut command, || {
            libc::umask(0);
            Ok(())
        });
    }
    assert!(run(command.arg("1")).status.success());
    let recording = files(&directory.join("recordings")).remove(0);
    for file in [recording, directory.join("log"), directory.join("session/limits.1"), directory.join("report.json")] {
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600, "{}", file.display());
    }
}

// --- the source -----------------------------------------------------------------------------

/// Only one function opens files, and only code on a stack and table of its own can call it. The
/// program would see a file that is opened elsewhere.
#[test]
fn the_library_opens_files_in_one_place_alone() {
    let mut open = vec![testkit::root().join("src")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let is_allowed = ["src/sys.rs", "src/sigsafe/files.rs"].iter().any(|file| path.ends_with(file));
        let text = fs::read_to_string(&path).unwrap();
        assert!(is_allowed || !text.contains("sys::open"), "{}: use sigsafe::unshared", path.display());
    }
}
