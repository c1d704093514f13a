//! Tests with recordings that are truncated, replaced or removed, also while they are read. No
//! reader crashes or hangs, and a missing part is never a success.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use common::{compile, epollshim, output, run, scratch, stderr, stdout, until};
use epollshim_format::control;
use epollshim_format::recording::{DIRECTORY, FIRST_SEGMENT, PAGE, SEGMENTS, entry, kind};
use serde_json::Value;

/// The bytes of a complete recording, of a program that has ended.
fn whole() -> Vec<u8> {
    let recordings = scratch("whole").join("rec");
    let ran = output(
        epollshim().args(["run", "--report=none", "--record"]).arg(&recordings).arg("--").arg(compile("size_lie", &[])),
    );
    assert!(ran.status.success(), "{}", stderr(&ran));
    fs::read(the_recording(&recordings).unwrap()).unwrap()
}

fn the_recording(directory: &Path) -> Option<PathBuf> {
    Some(fs::read_dir(directory).ok()?.next()?.ok()?.path())
}

fn report(path: &Path) -> Output {
    output(epollshim().args(["report", "--format", "json"]).arg(path))
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap_or_else(|error| panic!("{error}: {}", stderr(output)))
}

/// Expects that the command ended by itself, with this exit status and one line on stderr that
/// contains these words.
#[track_caller]
fn ends(output: &Output, status: i32, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{}: {said}", output.status);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
}

// ---- report ----

#[test]
fn a_report_of_a_truncated_recording_is_no_success() {
    let bytes = whole();
    let path = scratch("truncated").join("epollshim.1.1.rec");
    fs::write(&path, &bytes).unwrap();
    let printed = report(&path);
    assert_eq!((printed.status.code(), stderr(&printed)), (Some(0), String::new()));
    let name = path.to_str().unwrap();
    for length in [0, 1, 7, 8, PAGE - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        let printed = report(&path);
        ends(&printed, 2, &[name, "at byte"]);
        assert_eq!(stdout(&printed), "");
    }
    for length in [PAGE, 3 * PAGE + 8, FIRST_SEGMENT, FIRST_SEGMENT + 1, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        let printed = report(&path);
        ends(&printed, 1, &[name, "1 of 1 recording could not be read completely", "the file"]);
        assert_eq!(json(&printed)["processes"][0]["recording"]["partial"], true, "{length}");
    }
}

#[test]
fn a_directory_of_hundreds_of_recordings_is_reported_without_the_damaged_ones() {
    let (bytes, directory) = (whole(), scratch("hundreds"));
    let name = |number: usize| directory.join(format!("epollshim.{number}.1.rec"));
    for number in 0..300 {
        fs::write(name(number), if number % 10 == 0 { &bytes[..number] } else { &bytes[..] }).unwrap();
    }
    // Only regular files are recordings, whatever their names.
    symlink(name(1000), name(1000)).unwrap();
    symlink(name(1002), name(1001)).unwrap();
    symlink("/dev/zero", name(1003)).unwrap();
    fs::create_dir(name(1004)).unwrap();
    assert!(Command::new("mkfifo").arg(name(1005)).status().unwrap().success());
    // SAFETY: it takes nothing and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        // Reading /dev/zero never ends.
        let device = Command::new("mknod").arg(name(1006)).args(["c", "1", "5"]).status().unwrap();
        assert!(device.success() || !name(1006).exists());
    }
    let printed = report(&directory);
    ends(
        &printed,
        1,
        &["30 of 300 recordings could not be read completely", "epollshim.0.1.rec: at byte 0: the file is empty"],
    );
    let json = json(&printed);
    assert_eq!(json["processes"].as_array().unwrap().len(), 270);
    assert_eq!(json["unread"].as_array().unwrap().len(), 30);

    // By name, each is refused without waiting.
    for number in [1000, 1001, 1003, 1004, 1005, 1006] {
        let printed = report(&name(number));
        assert_eq!(printed.status.code(), Some(2), "{number}: {}", stderr(&printed));
    }
    let top = output(epollshim().args(["top", "--once", "--interval", "0.1"]).arg(&directory));
    assert_eq!(top.status.code(), Some(1), "{}", stderr(&top));
    assert!(stderr(&top).contains("the file is empty") && stderr(&top).contains("no program runs"), "{}", stderr(&top));
}

/// Sets the flag when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Changes a file repeatedly while `report` reads its directory. If the report succeeds, it
/// contains everything.
fn while_it_is_changed(name: &str, change: impl Fn(&Path, &[u8]) + Sync) {
    let (bytes, directory) = (whole(), scratch(name));
    let paths: Vec<PathBuf> = (0..20).map(|number| directory.join(format!("epollshim.{number}.1.rec"))).collect();
    paths.iter().for_each(|path| fs::write(path, &bytes).unwrap());
    let calls = |printed: &Output| json(printed)["merged"]["calls"].clone();
    let untouched = calls(&report(&directory));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Set even if an assertion fails, since the scope waits for its threads.
        let _over = Over(&is_over);
        let changer = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                paths.iter().step_by(2).for_each(|path| change(path, &bytes));
            }
        });
        for _ in 0..25 {
            let printed = report(&directory);
            match printed.status.code() {
                Some(0) => assert_eq!((calls(&printed), stderr(&printed)), (untouched.clone(), String::new())),
                // Each truncated or missing file is named among others, or was gone before it was
                // seen.
                Some(1) => assert!(stderr(&printed).contains("could not be read completely"), "{}", stderr(&printed)),
                _ => panic!("{}: {}", printed.status, stderr(&printed)),
            }
        }
        is_over.store(true, Ordering::Relaxed);
        changer.join().unwrap();
    });
    let printed = report(&directory);
    assert_eq!((printed.status.code(), calls(&printed)), (Some(0), untouched), "{}", stderr(&printed));
}

#[test]
fn a_recording_may_be_truncated_to_nothing_while_it_is_read() {
    while_it_is_changed("to-nothing", |path, bytes| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(0).unwrap();
        file.write_all_at(bytes, 0).unwrap();
    });
}

#[test]
fn a_recording_may_be_truncated_to_its_half_while_it_is_read() {
    while_it_is_changed("to-half", |path, bytes| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(bytes.len() as u64 / 2).unwrap();
        file.write_all_at(&bytes[bytes.len() / 2..], bytes.len() as u64 / 2).unwrap();
    });
}

#[test]
fn a_recording_may_be_replaced_while_it_is_read() {
    while_it_is_changed("replaced", |path, bytes| {
        let other = path.with_extension("new");
        fs::write(&other, bytes).unwrap();
        fs::rename(&other, path).unwrap();
    });
}

// ---- ctl ----

/// /tests/programs/puppet.c, recorded. It makes calls only on request.
struct Puppet {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    recording: PathBuf,
}

impl Puppet {
    fn start() -> Puppet {
        let recordings = scratch("puppet").join("rec");
        let mut command = epollshim();
        command.args(["run", "--exec", "--report", "none", "--record"]).arg(&recordings);
        command.arg("--").arg(compile("puppet", &[]));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut puppet = Puppet { child, to, from, recording: PathBuf::new() };
        puppet.hear();
        puppet.recording = the_recording(&recordings).unwrap();
        puppet
    }

    fn hear(&mut self) {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        assert_ne!(line, "", "it has ended");
    }

    /// Makes one recorded call.
    fn calls(&mut self) {
        self.to.write_all(b"m 1\n").unwrap();
        self.hear();
    }

    fn file(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.recording).unwrap()
    }

    /// Starts an order, calls `meanwhile` while its request is pending, and waits for its end.
    fn order(&mut self, order: &[&str], meanwhile: impl FnOnce(&mut Puppet)) -> Output {
        let mut command = epollshim();
        command.args(["ctl", "--wait", "50", &self.child.id().to_string()]).args(order);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let file = self.file();
        let bell = control_pages(&file) + control::BELL as u64;
        until("the request stands", || (word(&file, bell) != 0).then_some(()));
        meanwhile(self);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.code().is_some(), "{}", output.status);
        output
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn word(file: &File, at: u64) -> u64 {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, at).unwrap();
    u64::from_le_bytes(bytes)
}

fn control_pages(file: &File) -> u64 {
    let entries = (0..SEGMENTS).map(|index| (DIRECTORY + index * entry::SIZE) as u64);
    let at = entries.into_iter().find(|at| word(file, at + entry::KIND as u64) == kind::CONTROL).unwrap();
    word(file, at + entry::START as u64)
}

#[test]
fn ctl_reports_a_recording_that_is_truncated_while_it_waits() {
    for pages in [0, 1, 5] {
        let mut puppet = Puppet::start();
        let printed = puppet.order(&["snapshot"], |puppet| {
            let file = puppet.file();
            let length = if pages == 0 { 0 } else { control_pages(&file) + pages * PAGE as u64 };
            file.set_len(length).unwrap();
        });
        ends(&printed, 1, &["its recording", puppet.recording.to_str().unwrap(), "was truncated or overwritten"]);
        let again = run(&["ctl", &puppet.child.id().to_string()]);
        ends(&again, 2, &["cannot be controlled", puppet.recording.to_str().unwrap()]);
    }
}

#[test]
fn ctl_reports_a_recording_that_is_truncated_and_grows_again() {
    let mut puppet = Puppet::start();
    let printed = puppet.order(&["inject", "epoll_ctl:error=ENOSPC"], |puppet| {
        let file = puppet.file();
        let length = file.metadata().unwrap().len();
        file.set_len(0).unwrap();
        file.set_len(length).unwrap();
    });
    ends(&printed, 1, &["was truncated or overwritten"]);
}

#[test]
fn ctl_survives_a_loop_of_truncations() {
    let mut puppet = Puppet::start();
    let file = puppet.file();
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                file.set_len(0).unwrap();
                file.write_all_at(&bytes, 0).unwrap();
            }
        });
        for _ in 0..60 {
            // No call is made, so the order is never carried out.
            let printed = run(&["ctl", "--wait", "0.02", &puppet.child.id().to_string(), "off"]);
            let status = printed.status.code();
            assert!(matches!(status, Some(1..=3)), "{}: {}", printed.status, stderr(&printed));
            assert_eq!(stderr(&printed).lines().count(), 1, "{}", stderr(&printed));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    file.set_len(bytes.len() as u64).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    // The file is complete again, at the same place. The program has made no call, and noticed
    // nothing.
    let printed = puppet.order(&["snapshot"], Puppet::calls);
    assert_eq!(printed.status.code(), Some(0), "{}", stderr(&printed));
}

#[test]
fn a_snapshot_of_a_recording_that_was_replaced_or_removed_is_refused() {
    let replace = |puppet: &mut Puppet| {
        let other = puppet.recording.with_extension("new");
        fs::write(&other, whole()).unwrap();
        fs::rename(other, &puppet.recording).unwrap();
        puppet.calls();
    };
    let remove = |puppet: &mut Puppet| {
        fs::remove_file(&puppet.recording).unwrap();
        puppet.calls();
    };
    let ways: [&dyn Fn(&mut Puppet); 2] = [&replace, &remove];
    for way in ways {
        let printed = Puppet::start().order(&["snapshot"], way);
        ends(&printed, 1, &["was replaced or removed"]);
        assert_eq!(stdout(&printed), "");
        // Orders reach the process, which has the file open.
        let printed = Puppet::start().order(&["off"], way);
        assert_eq!(printed.status.code(), Some(0), "{}", stderr(&printed));
    }
}

// ---- top ----

/// The number on x86-64.
const CLOCK_NANOSLEEP: u32 = 230;

#[test]
fn top_reports_a_recording_that_is_truncated_between_two_readings() {
    for divisor in [0, 2] {
        let puppet = Puppet::start();
        let mut command = epollshim();
        command.args(["top", "--once", "--interval", "3"]).arg(puppet.recording.parent().unwrap());
        let top = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It sleeps between its readings, and nowhere else. (An open file does not show that it was
        // read.)
        let sleeps = || {
            let call = fs::read_to_string(format!("/proc/{}/syscall", top.id())).ok()?;
            call.starts_with(&format!("{CLOCK_NANOSLEEP} ")).then_some(())
        };
        until("top has read it", sleeps);
        let file = puppet.file();
        file.set_len(file.metadata().unwrap().len().checked_div(divisor).unwrap_or(0)).unwrap();
        let printed = top.wait_with_output().unwrap();
        ends(&printed, 1, &[puppet.recording.to_str().unwrap(), if divisor == 0 { "empty" } else { "truncated" }]);
        assert!(stdout(&printed).contains(&puppet.child.id().to_string()), "{}", stdout(&printed));
    }
}
