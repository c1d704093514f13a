//! A program on a pseudo-terminal: what it prints, what is typed, and how it leaves the terminal.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::{HUNG, until};

pub struct Terminal {
    /// The master side. None: it was closed.
    master: Option<File>,
    is_closed: Arc<AtomicBool>,
    closed: std::sync::mpsc::Receiver<()>,
    child: Child,
    written: Arc<Mutex<Vec<u8>>>,
    /// The settings before the program started.
    before: libc::termios,
}

fn settings(of: &File) -> libc::termios {
    // SAFETY: all zeros are a valid termios, which tcgetattr writes.
    unsafe {
        let mut settings = std::mem::zeroed();
        assert_eq!(libc::tcgetattr(of.as_raw_fd(), &raw mut settings), 0);
        settings
    }
}

/// Sends a signal to a process that is not reaped yet.
pub fn signal(pid: u32, number: i32) {
    // SAFETY: the call takes only integers.
    assert_eq!(unsafe { libc::kill(pid as i32, number) }, 0);
}

/// Waits until a process is stopped.
pub fn stops(pid: u32) {
    until("it stops", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.contains("State:\tT").then_some(())
    });
}

impl Terminal {
    /// Starts a program with a new terminal of this size.
    pub fn with(mut command: Command, width: u16, height: u16) -> Terminal {
        let (mut master, mut slave) = (-1, -1);
        let mut size = libc::winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        let (name, default) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: openpty writes two integers; name and settings may be null.
        let opened = unsafe { libc::openpty(&raw mut master, &raw mut slave, name, default, &raw mut size) };
        assert_eq!(opened, 0);
        // SAFETY: both descriptors are open, and nothing else owns them.
        let (master, slave) = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
        // SAFETY: the call takes only integers. (Programs of other tests must not inherit the
        // descriptor.)
        unsafe { libc::fcntl(master.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
        let master = File::from(master);
        let before = settings(&master);
        for stream in [Command::stdin, Command::stdout, Command::stderr] {
            stream(&mut command, Stdio::from(slave.try_clone().unwrap()));
        }
        // SAFETY: only async-signal-safe calls, between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                // The defaults at a terminal, even if the tests run under nohup or in the
                // background.
                for number in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
                    libc::signal(number, libc::SIG_DFL);
                }
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        drop((command, slave));
        let written = Arc::new(Mutex::new(Vec::new()));
        let (to, mut from) = (written.clone(), master.try_clone().unwrap());
        let is_closed = Arc::new(AtomicBool::new(false));
        let closing = is_closed.clone();
        let (closed, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while !closing.load(Ordering::Relaxed) {
                let mut one = libc::pollfd { fd: from.as_raw_fd(), events: libc::POLLIN, revents: 0 };
                // SAFETY: poll reads and writes `one`, a local.
                if unsafe { libc::poll(&raw mut one, 1, 50) } == 0 {
                    continue;
                }
                // Fails with EIO when the last descriptor of the terminal is closed.
                let Ok(length @ 1..) = from.read(&mut bytes) else { break };
                to.lock().unwrap().extend_from_slice(&bytes[..length]);
            }
            // Both must be closed. In this order there is no reader any more.
            drop(from);
            let _ = closed.send(());
        });
        Terminal { master: Some(master), is_closed, closed: heard, child, written, before }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// Waits until all of these words are on the screen. The screen is redrawn for each check
    /// (Ctrl-L), because otherwise only changes are written, and blanks are skipped in any case.
    pub fn shows(&mut self, words: &[&str]) {
        let start = Instant::now();
        loop {
            self.press("\x0c");
            let text = self.text();
            let missing = words.iter().find(|word| !text.contains(**word));
            let Some(missing) = missing else { return };
            assert!(start.elapsed() < HUNG, "{missing:?} is not in {text:?}");
        }
    }

    /// Discards what was written so far.
    pub fn forget(&self) {
        self.written.lock().unwrap().clear();
    }

    pub fn press(&mut self, keys: &str) {
        self.forget();
        self.master.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
        // The pause also separates an escape from the next key, with which it would form a
        // sequence.
        std::thread::sleep(Duration::from_millis(100));
    }

    /// Types keys, and keeps what was written so far.
    pub fn types(&mut self, keys: &str) {
        self.master.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `words` were written since [`Terminal::forget`]. Returns the rest of the line.
    pub fn says(&self, words: &str) -> String {
        let start = Instant::now();
        loop {
            let text = self.text();
            if let Some((_, rest)) = text.split_once(words)
                && let Some((line, _)) = rest.split_once('\n')
            {
                return line.trim_end().to_owned();
            }
            assert!(start.elapsed() < HUNG, "{words:?} is not in {text:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Closes the terminal, as closing its window does.
    pub fn hang_up(&mut self) {
        self.is_closed.store(true, Ordering::Relaxed);
        let _ = self.closed.recv();
        self.master = None;
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn resize(&self, width: u16, height: u16) {
        self.forget();
        let size = libc::winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the call reads one structure, a local.
        assert_eq!(unsafe { libc::ioctl(self.descriptor(), libc::TIOCSWINSZ, &raw const size) }, 0);
    }

    pub fn signal(&self, number: i32) {
        signal(self.child.id(), number);
    }

    /// The only process that the program has started.
    pub fn grandchild(&self) -> u32 {
        let pid = self.child.id();
        std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap().trim().parse().unwrap()
    }

    fn descriptor(&self) -> i32 {
        self.master.as_ref().unwrap().as_raw_fd()
    }

    pub fn is_raw(&self) -> bool {
        settings(self.master.as_ref().unwrap()).c_lflag & (libc::ICANON | libc::ECHO) == 0
    }

    /// Sets the terminal up as a shell does.
    pub fn cook(&self) {
        // SAFETY: the call reads one structure, a local.
        assert_eq!(unsafe { libc::tcsetattr(self.descriptor(), libc::TCSANOW, &raw const self.before) }, 0);
    }

    pub fn wait(&mut self) -> ExitStatus {
        until("it ends", || self.child.try_wait().unwrap())
    }

    /// Expects the previous settings, a visible cursor, and the previous screen.
    pub fn is_given_back(&self) {
        until("its last words", || {
            let text = self.text();
            let place = |sequence: &str| text.rfind(sequence);
            let is_back = place("\x1b[?1049l") > place("\x1b[?1049h") && place("\x1b[?25h") > place("\x1b[?25l");
            (is_back && place("\x1b[?1049l").is_some()).then_some(())
        });
        let now = settings(self.master.as_ref().unwrap());
        let of = |settings: &libc::termios| [settings.c_iflag, settings.c_oflag, settings.c_cflag, settings.c_lflag];
        assert_eq!(of(&now), of(&self.before));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
