//! Programs that a test starts, and their output.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::scratch;

/// A program that takes longer than this has hung: none takes a second on an idle machine.
pub const HUNG: Duration = Duration::from_secs(300);
/// The same for programs of c-tests, which end themselves somewhat earlier (c-tests/check.h).
const PROGRAM_HUNG: Duration = Duration::from_secs(330);

/// How a program ended, and its output.
pub struct Run {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a program until it ends; panics if it hangs. Its output goes to files, because a descendant
/// that lives longer would keep a pipe open.
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
    let Some(status) = ended(&mut child, PROGRAM_HUNG) else {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("{command:?} hangs; so far it printed:\n{}", text(&out));
    };
    Run { status, stdout: text(&out), stderr: text(&err) }
}

/// Runs a program until it ends, with its output through pipes: this also waits for descendants
/// that hold the pipes open. The program is killed if it hangs.
pub fn output(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, err) = (reader(child.stdout.take().unwrap()), reader(child.stderr.take().unwrap()));
    let status = ended(&mut child, HUNG).unwrap_or_else(|| {
        child.kill().unwrap();
        child.wait().unwrap()
    });
    Output { status, stdout: out.join().unwrap(), stderr: err.join().unwrap() }
}

/// Waits until a child has ended, without looking again and again: a file descriptor of a process
/// is readable once the process has ended (pidfd_open(2)). None: it still runs after `most`.
fn ended(child: &mut Child, most: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    // SAFETY: the call takes no pointers. The child was not yet waited for, so its pid is not
    // reused.
    let number = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
    // SAFETY: the kernel has just given out this number, and nothing else owns it.
    let pidfd = (number >= 0).then(|| unsafe { OwnedFd::from_raw_fd(number as i32) });
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        let left = most.checked_sub(start.elapsed())?;
        // Before Linux 5.3 there is no such descriptor: poll ignores -1 and waits for the time.
        let fd = pidfd.as_ref().map_or(-1, OwnedFd::as_raw_fd);
        let time = if pidfd.is_some() { left.as_millis() as i32 } else { 10 };
        let mut polled = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: `polled` is valid, and there is one of it.
        if unsafe { libc::poll(&raw mut polled, 1, time) } == 1 {
            // A tracer, such as strace, may have to wait for it first.
            let status = child.try_wait().unwrap();
            if status.is_some() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Reads a pipe to end of file, on a thread.
fn reader(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Status and output, for the message of a failed assertion.
pub fn show(output: &Output) -> String {
    format!("{}\n--- stdout ---\n{}--- stderr ---\n{}", output.status, stdout(output), stderr(output))
}

/// Waits until `ready` returns something. Panics after [`HUNG`].
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

/// Copies a file that will be executed, in another process. If this process opened the file for
/// writing, children that other tests start meanwhile would inherit the descriptor, and a file that
/// is open for writing cannot be executed (ETXTBSY, execve(2)).
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let status = Command::new("cp").arg("--").arg(from.as_ref()).arg(to.as_ref()).status().unwrap();
    assert!(status.success(), "cp: {status}");
}
