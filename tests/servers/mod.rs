//! Servers as they are usually run: started by root, with a user of their own, on loopback. Their
//! folder is removed at the end.

pub mod clients;
pub mod found;
pub mod start;
pub mod watched;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::programs::{Mode, Running};
use clients::Client;
use testkit::{copy, shim};

/// A folder that each user can access, removed at the end. Its name is short, because addresses of
/// sockets are. It contains copies of the library and the command, because the build tree may be
/// private.
pub struct Place {
    pub dir: PathBuf,
    is_preloaded: bool,
}

impl Place {
    pub fn new(name: &str, is_preloaded: bool) -> Place {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("epollshim-{name}-{}-{serial}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let place = Place { dir, is_preloaded };
        place.folder("", 0o755);
        place.folder("reports", 0o1777);
        copy(shim(), place.path("libepollshim.so"));
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.text(name)
    }

    pub fn folder(&self, name: &str, mode: u32) -> String {
        std::fs::create_dir(self.path(name)).unwrap();
        std::fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
        self.text(name)
    }

    /// The same, owned by a user and the group of the same name or number.
    pub fn folder_of(&self, name: &str, user: &str) -> String {
        let folder = self.folder(name, 0o700);
        run(Path::new("chown"), &[&format!("{user}:"), &folder]);
        folder
    }

    /// Starts a program: bare, or with the library, a census, a recording, and a report per
    /// process.
    pub fn start(&self, program: &Path, arguments: &[&str]) -> Running {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(self.folder(&format!("run-{serial}"), 0o755));
        if !self.is_preloaded {
            return Running::start(Mode::Bare, dir, program, arguments);
        }
        let options = self.options();
        let options: Vec<(&str, &str)> = options.iter().map(|(name, value)| (*name, &value[..])).collect();
        Running::start_with(&options, dir, program, arguments)
    }

    /// The environment variables for the library and its options. Empty if bare.
    pub fn options(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("LD_PRELOAD", self.text("libepollshim.so")),
            ("EPOLLSHIM_REPORT", self.text("reports/%p-%t.json")),
            ("EPOLLSHIM_REPORT_FORMAT", "json".to_owned()),
            ("EPOLLSHIM_RECORD", self.text("rec")),
            ("EPOLLSHIM_CENSUS", "1".to_owned()),
        ];
        all.into_iter().filter(|_| self.is_preloaded).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A server that is ready.
pub struct Serving {
    pub running: Running,
    /// Other servers that it needs, with the signals that end them. They are ended after it.
    pub needs: Vec<(Running, i32)>,
    /// The number of clients at a time.
    pub clients: usize,
    /// Connects the client with this number.
    pub connect: Box<dyn Fn(usize) -> Client + Sync>,
    /// The signal that shuts it down.
    pub stop: i32,
    /// The statuses that it may exit with then. An end by a signal is 128 plus its number, as in a
    /// shell.
    pub status: &'static [i32],
}

/// The number of requests, and the time that they took.
#[derive(Clone, Copy)]
pub struct Rate {
    pub asked: u64,
    pub time: Duration,
}

impl Rate {
    pub fn per_second(self) -> f64 {
        self.asked as f64 / self.time.as_secs_f64()
    }
}

impl Serving {
    /// All clients send requests for this long.
    pub fn load(&self, time: Duration) -> Rate {
        let start = Instant::now();
        let one = |number| {
            let mut client = (self.connect)(number);
            let mut asked = 0;
            while start.elapsed() < time {
                asked += client();
            }
            asked
        };
        let one = &one;
        let asked = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients).map(|number| scope.spawn(move || one(number))).collect();
            clients.into_iter().map(|client| client.join().unwrap()).sum()
        });
        Rate { asked, time: start.elapsed() }
    }

    /// Shuts the server down, and then the servers that it needs.
    pub fn end(self) {
        let ended = self.running.end_anyhow(self.stop);
        let status = ended.status.code().or_else(|| ended.status.signal().map(|signal| 128 + signal));
        let is_right = status.is_some_and(|status| self.status.contains(&status));
        assert!(is_right, "{}: {}{}", ended.status, ended.stdout, ended.stderr);
        for (running, signal) in self.needs {
            running.end(signal);
        }
    }
}

/// Runs a program, which must succeed. Otherwise panics with its output.
pub fn run(program: &Path, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}: {}", program.display(), testkit::show(&output));
}

/// Processes each of which uses up a processor until this is dropped.
pub struct Busy(Vec<Child>);

impl Busy {
    /// Tests that run at the same time share these processes.
    pub fn processes(number: usize) -> Arc<Busy> {
        static SHARED: Mutex<Weak<Busy>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(busy) = shared.upgrade() {
            return busy;
        }
        // The limit, in seconds of processor time, ends the processes of a test that was killed.
        let one = || Command::new("sh").args(["-c", "ulimit -t 900; while :; do :; done"]).spawn().unwrap();
        let busy = Arc::new(Busy((0..number).map(|_| one()).collect()));
        *shared = Arc::downgrade(&busy);
        busy
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
