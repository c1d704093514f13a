//! Recordings that somebody truncates, replaces or removes, also while they are read: no reader is killed or hangs, and a
//! part that is missing is never a success.
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

/// The bytes of a whole recording, of a program that has ended.
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

/// It ended by itself, with this exit status and one line on stderr that has these words.
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
    let told = report(&path);
    assert_eq!((told.status.code(), stderr(&told)), (Some(0), String::new()));
    let name = path.to_str().unwrap();
    for length in [0, 1, 7, 8, PAGE - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        let told = report(&path);
        ends(&told, 2, &[name, "at byte"]);
        assert_eq!(stdout(&told), "");
    }
    for length in [PAGE, 3 * PAGE + 8, FIRST_SEGMENT, FIRST_SEGMENT + 1, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        let told = report(&path);
        ends(&told, 1, &[name, "1 of 1 recording could not be read completely", "the file"]);
        assert_eq!(json(&told)["processes"][0]["recording"]["partial"], true, "{length}");
    }
}

#[test]
fn a_directory_of_hundreds_of_recordings_is_reported_without_the_damaged_ones() {
    let (bytes, directory) = (whole(), scratch("hundreds"));
    let name = |number: usize| directory.join(format!("epollshim.{number}.1.rec"));
    for number in 0..300 {
        fs::write(name(number), if number % 10 == 0 { &bytes[..number] } else { &bytes[..] }).unwrap();
    }
    // What is not a plain file is no recording, whatever its name.
    symlink(name(1000), name(1000)).unwrap();
    symlink(name(1002), name(1001)).unwrap();
    symlink("/dev/zero", name(1003)).unwrap();
    fs::create_dir(name(1004)).unwrap();
    assert!(Command::new("mkfifo").arg(name(1005)).status().unwrap().success());
    // SAFETY: it takes nothing and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        // /dev/zero: reading it has no end.
        let device = Command::new("mknod").arg(name(1006)).args(["c", "1", "5"]).status().unwrap();
        assert!(device.success() || !name(1006).exists());
    }
    let told = report(&directory);
    ends(
        &told,
        1,
        &["30 of 300 recordings could not be read completely", "epollshim.0.1.rec: at byte 0: the file is empty"],
    );
    let json = json(&told);
    assert_eq!(json["processes"].as_array().unwrap().len(), 270);
    assert_eq!(json["unread"].as_array().unwrap().len(), 30);

    // Each by its own name: refused, and not waited for.
    for number in [1000, 1001, 1003, 1004, 1005, 1006] {
        let told = report(&name(number));
        assert_eq!(told.status.code(), Some(2), "{number}: {}", stderr(&told));
    }
    let top = output(epollshim().args(["top", "--once", "--interval", "0.1"]).arg(&directory));
    assert_eq!(top.status.code(), Some(1), "{}", stderr(&top));
    assert!(stderr(&top).contains("the file is empty") && stderr(&top).contains("no program runs"), "{}", stderr(&top));
}

/// Says that it is over when it goes.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Changes a file again and again, while `report` reads its directory: a success has everything that the recordings had.
fn while_it_is_changed(name: &str, change: impl Fn(&Path, &[u8]) + Sync) {
    let (bytes, directory) = (whole(), scratch(name));
    let paths: Vec<PathBuf> = (0..20).map(|number| directory.join(format!("epollshim.{number}.1.rec"))).collect();
    paths.iter().for_each(|path| fs::write(path, &bytes).unwrap());
    let calls = |told: &Output| json(told)["merged"]["calls"].clone();
    let untouched = calls(&report(&directory));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also where an assertion fails: the scope waits for its threads.
        let _over = Over(&is_over);
        let changer = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                paths.iter().step_by(2).for_each(|path| change(path, &bytes));
            }
        });
        for _ in 0..25 {
            let told = report(&directory);
            match told.status.code() {
                Some(0) => assert_eq!((calls(&told), stderr(&told)), (untouched.clone(), String::new())),
                // Each file that was cut or missing is named among others, or was gone before it was seen.
                Some(1) => assert!(stderr(&told).contains("could not be read completely"), "{}", stderr(&told)),
                _ => panic!("{}: {}", told.status, stderr(&told)),
            }
        }
        is_over.store(true, Ordering::Relaxed);
        changer.join().unwrap();
    });
    let told = report(&directory);
    assert_eq!((told.status.code(), calls(&told)), (Some(0), untouched), "{}", stderr(&told));
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

/// tests/programs/puppet.c, recorded: it makes no call but when it is asked to.
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

    /// One call that is recorded.
    fn calls(&mut self) {
        self.to.write_all(b"m 1\n").unwrap();
        self.hear();
    }

    fn file(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.recording).unwrap()
    }

    /// Starts an order, `meanwhile` does something as its request stands, and it ends.
    fn told(&mut self, order: &[&str], meanwhile: impl FnOnce(&mut Puppet)) -> Output {
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
fn ctl_says_so_when_the_recording_is_truncated_while_it_waits() {
    for pages in [0, 1, 5] {
        let mut puppet = Puppet::start();
        let told = puppet.told(&["snapshot"], |puppet| {
            let file = puppet.file();
            let length = if pages == 0 { 0 } else { control_pages(&file) + pages * PAGE as u64 };
            file.set_len(length).unwrap();
        });
        ends(&told, 1, &["its recording", puppet.recording.to_str().unwrap(), "was truncated or overwritten"]);
        let again = run(&["ctl", &puppet.child.id().to_string()]);
        ends(&again, 2, &["cannot be controlled", puppet.recording.to_str().unwrap()]);
    }
}

#[test]
fn ctl_says_so_when_the_recording_is_truncated_and_grows_again() {
    let mut puppet = Puppet::start();
    let told = puppet.told(&["inject", "epoll_ctl:error=ENOSPC"], |puppet| {
        let file = puppet.file();
        let length = file.metadata().unwrap().len();
        file.set_len(0).unwrap();
        file.set_len(length).unwrap();
    });
    ends(&told, 1, &["was truncated or overwritten"]);
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
            // No call is made: it is never done.
            let told = run(&["ctl", "--wait", "0.02", &puppet.child.id().to_string(), "off"]);
            let status = told.status.code();
            assert!(matches!(status, Some(1..=3)), "{}: {}", told.status, stderr(&told));
            assert_eq!(stderr(&told).lines().count(), 1, "{}", stderr(&told));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    file.set_len(bytes.len() as u64).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    // It is whole again, at the same place: the program has made no call, and noticed nothing.
    let told = puppet.told(&["snapshot"], Puppet::calls);
    assert_eq!(told.status.code(), Some(0), "{}", stderr(&told));
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
        let told = Puppet::start().told(&["snapshot"], way);
        ends(&told, 1, &["was replaced or removed"]);
        assert_eq!(stdout(&told), "");
        // Orders reach the process, which has the file.
        let told = Puppet::start().told(&["off"], way);
        assert_eq!(told.status.code(), Some(0), "{}", stderr(&told));
    }
}

// ---- top ----

/// x86-64's number.
const CLOCK_NANOSLEEP: u32 = 230;

#[test]
fn top_says_so_when_a_recording_is_truncated_between_two_readings() {
    for divisor in [0, 2] {
        let puppet = Puppet::start();
        let mut command = epollshim();
        command.args(["top", "--once", "--interval", "3"]).arg(puppet.recording.parent().unwrap());
        let top = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It sleeps between its readings, and nowhere else. (That it has the file open does not say that it has read it.)
        let sleeps = || {
            let call = fs::read_to_string(format!("/proc/{}/syscall", top.id())).ok()?;
            call.starts_with(&format!("{CLOCK_NANOSLEEP} ")).then_some(())
        };
        until("top has read it", sleeps);
        let file = puppet.file();
        file.set_len(file.metadata().unwrap().len().checked_div(divisor).unwrap_or(0)).unwrap();
        let told = top.wait_with_output().unwrap();
        ends(&told, 1, &[puppet.recording.to_str().unwrap(), if divisor == 0 { "empty" } else { "truncated" }]);
        assert!(stdout(&told).contains(&puppet.child.id().to_string()), "{}", stdout(&told));
    }
}
