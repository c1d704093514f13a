//! Finds real programs, and starts them bare, under the shim, or under the shim and strace. Only
//! processes that the test started are ended, by their process ids.

pub mod load;
pub mod strace;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use testkit::installed;

pub use testkit::{HUNG, free_port};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    Bare,
    Shim,
    /// Under the shim and strace at the same time: strace shows the kernel's view of the same run.
    Traced,
}

/// The interpreter itself: a pyenv `python3` is a shell script that looks for one.
pub fn python() -> Option<PathBuf> {
    let [launcher] = installed(["python3"])?;
    let output = Command::new(launcher).args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()))
}

/// A directory with the files that nginx needs to serve on a port, and its arguments.
pub fn nginx_directory(port: u16) -> (PathBuf, [String; 6]) {
    // SAFETY: geteuid cannot fail and has no arguments.
    let user = if unsafe { libc::geteuid() } == 0 { "user root;" } else { "" };
    nginx_directory_at(testkit::scratch("nginx"), port, user)
}

/// The same in an existing directory, with workers of another user (`user NAME GROUP;`).
pub fn nginx_directory_at(dir: PathBuf, port: u16, user: &str) -> (PathBuf, [String; 6]) {
    std::fs::create_dir(dir.join("www")).unwrap();
    std::fs::write(dir.join("www/page"), "a page\n".repeat(1000)).unwrap();
    let text = std::fs::read_to_string(testkit::root().join("tests/programs/nginx.conf")).unwrap();
    let text: String = text.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect();
    let text = text.replace("USER", user).replace("PORT", &port.to_string()).replace("DIR", dir.to_str().unwrap());
    std::fs::write(dir.join("nginx.conf"), text).unwrap();
    let (prefix, error_log) = (dir.display().to_string(), dir.join("error.log").display().to_string());
    let words = ["-p", &prefix, "-c", "nginx.conf", "-e", &error_log].map(str::to_owned);
    (dir, words)
}

/// A running program, and its directory with output and reports. When dropped, it is killed with
/// all its descendants (they are a process group of their own).
pub struct Running {
    child: Child,
    mode: Mode,
    dir: PathBuf,
}

/// How a program ended, its output and its reports. The files are kept if a test fails.
pub struct Ended {
    dir: PathBuf,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    /// Its `error.log`, if it writes one.
    pub log: String,
    /// The shim's reports, by process id.
    pub reports: BTreeMap<i64, Value>,
    /// The calls that strace saw, by process id.
    pub traced: BTreeMap<i64, strace::Account>,
}

impl Running {
    pub fn start(mode: Mode, dir: PathBuf, program: &Path, arguments: &[&str]) -> Running {
        let shim = testkit::shim();
        let report = dir.join("report-%p.json");
        let mut command;
        if mode == Mode::Traced {
            // -E sets the variables for the program only: strace itself must not run under the
            // shim.
            command = Command::new("strace");
            command.args(["--seccomp-bpf", "-f", "-qq", "-e", "signal=none", "-e"]).arg(strace::FILTER);
            command.arg("-o").arg(dir.join("strace"));
            for (name, value) in [
                ("LD_PRELOAD", shim.as_os_str()),
                ("EPOLLSHIM_REPORT", report.as_os_str()),
                ("EPOLLSHIM_REPORT_FORMAT", "json".as_ref()),
            ] {
                let mut assignment = std::ffi::OsString::from(name);
                assignment.push("=");
                assignment.push(value);
                command.arg("-E").arg(assignment);
            }
            command.arg(program);
        } else {
            command = Command::new(program);
            if mode == Mode::Shim {
                testkit::under_shim(&mut command, &report);
            }
        }
        command.args(arguments);
        Running::of(command, mode, dir)
    }

    /// Prepares a command for its mode, and starts it.
    pub fn of(mut command: Command, mode: Mode, dir: PathBuf) -> Running {
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(dir.join("stdout")).unwrap())
            .stderr(File::create(dir.join("stderr")).unwrap())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Running { child, mode, dir }
    }

    /// Starts the command under the shim with these options and a report.
    #[allow(dead_code)] // used only by tests/error_paths.rs
    pub fn start_with(options: &[(&str, &str)], dir: PathBuf, program: &Path, arguments: &[&str]) -> Running {
        let mut command = Command::new(program);
        testkit::under_shim(&mut command, &dir.join("report-%p.json")).envs(options.iter().copied());
        command.args(arguments);
        Running::of(command, Mode::Shim, dir)
    }

    /// Waits until `ready` returns a value. Panics if the program ends first, or hangs.
    pub fn until<T>(&mut self, what: &str, mut ready: impl FnMut(&Running) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(value) = ready(self) {
                return value;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{status} before {what}\n{}{}", self.read("stdout"), self.read("stderr"));
            }
            assert!(start.elapsed() < HUNG, "hung before {what}\n{}{}", self.read("stdout"), self.read("stderr"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn until_listening(&mut self, port: u16) {
        self.until("it listens", |_| TcpStream::connect(("127.0.0.1", port)).ok());
    }

    /// The port that a program prints as `port N`.
    pub fn printed_port(&mut self) -> u16 {
        self.until("it printed its port", |running| {
            running.read("stdout").lines().find_map(|line| line.strip_prefix("port ")?.parse().ok())
        })
    }

    #[allow(dead_code)] // used only by tests/recorded_programs.rs
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.join(name)).unwrap_or_default()).into_owned()
    }

    /// The process of the program. Under strace it is not the process that the test started.
    pub fn pid(&self) -> i32 {
        match self.mode {
            Mode::Traced => strace::first_process(&self.read("strace")).expect("strace has seen the program start"),
            _ => self.child.id() as i32,
        }
    }

    /// Sends `signal`, waits for the end, and collects output and reports.
    pub fn end(self, signal: i32) -> Ended {
        self.send(signal);
        self.ended()
    }

    /// The same, also if the program was killed by a signal.
    #[allow(dead_code)] // used only by tests/healthy_servers.rs
    pub fn end_anyhow(self, signal: i32) -> Ended {
        self.send(signal);
        self.ended_anyhow()
    }

    pub fn send(&self, signal: i32) {
        let pid = self.pid();
        // SAFETY: kill accesses no memory. The process was not yet waited for, so its pid is not
        // reused.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "kill {pid}");
    }

    /// Waits for the end, which must not be by a signal, and collects output and reports.
    pub fn ended(self) -> Ended {
        let ended = self.ended_anyhow();
        assert_eq!(ended.status.signal(), None, "{}{}", ended.stdout, ended.stderr);
        ended
    }

    /// Waits for the end, also if it is by a signal, and collects output and reports.
    pub fn ended_anyhow(mut self) -> Ended {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < HUNG, "does not end\n{}{}", self.read("stdout"), self.read("stderr"));
            std::thread::sleep(Duration::from_millis(10));
        };
        self.collect(status)
    }

    /// Kills the program with all its descendants, waits for its end, and collects output and
    /// reports.
    #[allow(dead_code)] // used only by tests/recorded_programs.rs
    pub fn kill(mut self) -> Ended {
        // SAFETY: kill accesses no memory. The process group was created for this child, which was
        // not yet waited for, so the id is not reused.
        assert_eq!(unsafe { libc::kill(-(self.child.id() as i32), libc::SIGKILL) }, 0);
        let status = self.child.wait().unwrap();
        self.collect(status)
    }

    fn collect(&self, status: ExitStatus) -> Ended {
        let reports = std::fs::read_dir(&self.dir)
            .unwrap()
            .filter_map(|entry| {
                let path = entry.unwrap().path();
                let pid = path.file_name()?.to_str()?.strip_prefix("report-")?.strip_suffix(".json")?.parse().ok()?;
                let report = testkit::report(&path);
                assert_eq!(report["process"]["pid"], pid, "{}", path.display());
                Some((pid, report))
            })
            .collect();
        Ended {
            dir: self.dir.clone(),
            status,
            stdout: self.read("stdout"),
            stderr: self.read("stderr"),
            log: self.read("error.log"),
            reports,
            traced: strace::accounts(&self.read("strace")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // SAFETY: kill accesses no memory. The process group was created for this child, which
            // was not yet waited for, so the id is not reused.
            unsafe { libc::kill(-(self.child.id() as i32), libc::SIGKILL) };
            let _ = self.child.wait();
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// A program's log without the parts that differ from run to run: every number becomes `#`.
pub fn normal(log: &str) -> String {
    let mut out = String::with_capacity(log.len());
    for character in log.chars() {
        if !character.is_ascii_digit() {
            out.push(character);
        } else if !out.ends_with('#') {
            out.push('#');
        }
    }
    out
}

/// Runs a command until it ends, and collects the output that it does not redirect. A command that
/// hangs is killed, and the test fails.
#[track_caller]
pub fn outcome(command: &mut Command) -> Output {
    // SAFETY: alarm is async-signal-safe, so it may be called after fork. The timer is kept across
    // exec.
    unsafe {
        command.pre_exec(|| {
            libc::alarm(HUNG.as_secs() as u32);
            Ok(())
        });
    }
    let output = command.output().unwrap();
    assert_ne!(output.status.signal(), Some(libc::SIGALRM), "hung: {command:?} {}", testkit::show(&output));
    output
}
