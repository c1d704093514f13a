//! Tests `epollshim ctl` as users see it: it controls a running program, and has no other effect on
//! it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod damage;
mod orders;
mod refused;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use common::{compile, epollshim, run, scratch, stderr, stdout, until};
use epollshim_format::control;
use epollshim_format::recording::{DIRECTORY, SEGMENTS, entry, kind};

/// A program that a test starts. It is ended by its process id.
struct Running {
    child: Child,
    recordings: PathBuf,
}

impl Running {
    fn start(program: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
        let recordings = scratch("ctl").join("rec");
        let child = epollshim()
            .args(["run", "--exec", "--report", "none", "--record"])
            .arg(&recordings)
            .arg("--")
            .arg(program)
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Running { child, recordings }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    fn ctl(&self, words: &[&str]) -> Output {
        ctl(&self.pid(), words)
    }

    /// Sends an order that is carried out.
    fn order(&self, words: &[&str]) -> String {
        let output = self.ctl(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", stderr(&output));
        stdout(&output)
    }

    /// Its first recording.
    fn recording(&self) -> PathBuf {
        until("there is a recording", || Some(fs::read_dir(&self.recordings).ok()?.next()?.ok()?.path()))
    }

    fn alive(&self) -> bool {
        fs::read_to_string(format!("/proc/{}/stat", self.pid())).is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// Waits until it can be controlled.
    fn ready(&self) {
        until("it can be steered", || self.ctl(&["status"]).status.success().then_some(()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ctl(pid: &str, words: &[&str]) -> Output {
    run(&[&["ctl", pid], words].concat())
}

/// Expects one line on stderr, and this exit status.
fn refused(output: &Output, status: i32, said: &str) {
    let line = stderr(output);
    assert_eq!((output.status.code(), line.lines().count()), (Some(status), 1), "{line}");
    assert!(line.contains(said) && line.starts_with("epollshim: "), "{said}: {line}");
    assert!(output.stdout.is_empty(), "{}", stdout(output));
}

/// tests/programs/puppet.c
struct Puppet {
    running: Running,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Puppet {
    fn start() -> Puppet {
        Puppet::start_with(&[])
    }

    fn start_with(variables: &[(&str, &str)]) -> Puppet {
        let mut running = Running::start(&compile("puppet", &[]), &[], variables);
        let (to, from) = (running.child.stdin.take().unwrap(), running.child.stdout.take().unwrap());
        let mut puppet = Puppet { running, to, from: BufReader::new(from) };
        assert_eq!(puppet.heard().to_string(), puppet.running.pid());
        puppet
    }

    fn say(&mut self, line: &str) {
        self.to.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn heard(&mut self) -> i64 {
        let line = self.line();
        line.parse().unwrap_or_else(|_| panic!("'{line}'"))
    }

    fn does(&mut self, line: &str) -> i64 {
        self.say(line);
        self.heard()
    }

    /// Sends an order, and makes a call that carries it out.
    fn order(&mut self, words: &[&str]) -> String {
        let pid = self.running.pid();
        self.order_to(&pid, words)
    }

    fn order_to(&mut self, pid: &str, words: &[&str]) -> String {
        let child =
            epollshim().args(["ctl", pid]).args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let directory = self.running.recordings.clone();
        until("the request stands", || {
            let stands = fs::read_dir(&directory).unwrap().flatten().any(|entry| {
                let file = File::open(entry.path()).unwrap();
                entry.file_name().to_string_lossy().contains(&format!(".{pid}."))
                    && word(&file, pages(&file) + control::BELL as u64) != 0
            });
            stands.then_some(())
        });
        self.does("m 1");
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", stderr(&output));
        stdout(&output)
    }
}

fn word(file: &File, at: u64) -> u64 {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, at).unwrap();
    u64::from_le_bytes(bytes)
}

/// The offset of the control pages.
fn pages(file: &File) -> u64 {
    let at = (0..SEGMENTS)
        .map(|index| (DIRECTORY + index * entry::SIZE) as u64)
        .find(|at| word(file, at + entry::KIND as u64) == kind::CONTROL)
        .expect("control pages");
    word(file, at + entry::START as u64)
}

/// tests/programs/crowd.c
struct Crowd {
    running: Running,
    page: PathBuf,
}

const ENOSPC: u64 = 0;
const OTHERS: u64 = 1;
const BEGUN: u64 = 2;
const RETURNED: u64 = 3;

impl Crowd {
    fn start(threads: &str) -> Crowd {
        let page = scratch("crowd").join("page");
        fs::write(&page, [0; 4096]).unwrap();
        let running = Running::start(&compile("crowd", &["-pthread"]), &[page.to_str().unwrap(), threads], &[]);
        Crowd { running, page }
    }

    fn count(&self, index: u64) -> u64 {
        word(&File::open(&self.page).unwrap(), index * 8)
    }

    /// Waits until it has made this many more calls.
    fn goes_on(&self, calls: u64) {
        let before = self.count(RETURNED);
        until("it goes on", || (self.count(RETURNED) >= before + calls).then_some(()));
    }

    fn ends(mut self) -> bool {
        OpenOptions::new().write(true).open(&self.page).unwrap().write_all_at(&1u64.to_le_bytes(), 32).unwrap();
        let mut child = std::mem::replace(&mut self.running.child, Command::new("true").spawn().unwrap());
        child.wait().unwrap().success()
    }
}
