//! Makes runs, and ends all of them when the sweep is interrupted.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::folder::Folder;
use super::limits;
use super::observe::Observation;
use super::one_run;
use super::options::Settled;
use super::slots::Slot;
use super::spec::{FAULTS, HOME, RECORDINGS, SESSION, Spec, TMP, Times};
use crate::sys::sandbox;
use crate::text::reason;

/// What differs between the runs of a sweep.
#[derive(Clone, Default)]
pub struct Ask {
    /// The rules. Empty: without the library.
    pub rules: String,
    /// How many callers the recording keeps.
    pub stacks: u32,
    pub times: Times,
    /// See [`Spec::again`].
    pub again: u32,
    pub patience: u64,
    pub at_rest: Option<u64>,
    /// See [`Spec::traces`].
    pub traces: bool,
    pub descriptors: Option<u64>,
    pub processes: Option<u64>,
    /// Whether its tasks are counted apart from those of other runs.
    pub counts_tasks: bool,
}

pub struct Runner {
    pub settled: Settled,
    /// The path of this command.
    pub own: PathBuf,
    top: PathBuf,
    serial: AtomicU64,
    shares_network: bool,
    shares_processes: AtomicBool,
    running: Mutex<BTreeSet<i32>>,
    is_over: AtomicBool,
    signal: AtomicI32,
}

/// Locks a mutex. The data of these mutexes is valid even after a thread panicked while it held the
/// lock.
pub fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Runner {
    pub fn new(settled: Settled, top: &Path, shares_network: bool) -> Runner {
        Runner {
            settled,
            own: "/proc/self/exe".into(),
            top: top.to_path_buf(),
            serial: AtomicU64::new(0),
            shares_network,
            shares_processes: AtomicBool::new(false),
            running: Mutex::new(BTreeSet::new()),
            is_over: AtomicBool::new(false),
            signal: AtomicI32::new(0),
        }
    }

    /// Makes a run. Its folder exists until it is dropped. When the run only waits, its slot is
    /// released early. Fails if the run could not be made, or if the sweep is over.
    pub fn run(&self, ask: &Ask, slot: Slot) -> Result<(Observation, Folder), String> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let name = format!("run{serial}");
        let settled = &self.settled;
        let made = Folder::of_run(&self.top, &name, |folder| self.spec(folder, ask, serial));
        let (folder, spec) = made.map_err(|error| format!("{}: {}", self.top.display(), reason(&error)))?;
        let mut command = Command::new(&self.own);
        command.arg0(one_run::NAME).arg(&folder.0).arg(std::process::id().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.env_remove("LD_PRELOAD");
        let mut child = {
            // The thread that ends the sweep finds each child in this list.
            let mut running = held(&self.running);
            if self.is_over() {
                return Err("interrupted".into());
            }
            let child = command.spawn().map_err(|error| format!("{}: {}", self.own.display(), reason(&error)))?;
            running.insert(child.id() as i32);
            child
        };
        // The child writes a byte when it only waits, and closes the pipe when it ends.
        let _ = child.stdout.take().map(|mut said| said.read(&mut [0]));
        drop(slot);
        let ended = child.wait();
        held(&self.running).remove(&(child.id() as i32));
        if self.is_over() {
            return Err("interrupted".into());
        }
        ended.map_err(|error| reason(&error))?;
        let compares_files = settled.directory.is_none();
        let seen = Observation::of(&folder.0, &settled.masks, spec.server.is_some(), compares_files);
        seen.map(|seen| (seen, folder)).ok_or_else(|| "the process that makes the run has ended".into())
    }

    fn spec(&self, folder: &Path, ask: &Ask, serial: u64) -> Spec {
        let settled = &self.settled;
        let with_tmp = |environment: &[(OsString, OsString)]| -> Vec<(OsString, OsString)> {
            let mut environment = environment.to_vec();
            environment.retain(|(name, _)| name != "TMPDIR" && name != "PWD");
            environment.push(("TMPDIR".into(), folder.join(TMP).into()));
            environment
        };
        let plain = with_tmp(&settled.plain);
        let environment = if ask.rules.is_empty() {
            plain.clone()
        } else {
            let mut environment = with_tmp(&settled.preloaded);
            let mut set = |name: &str, value: &OsStr| environment.push((name.into(), value.to_owned()));
            set("EPOLLSHIM_REPORT", "none".as_ref());
            set("EPOLLSHIM_CENSUS", "1".as_ref());
            set("EPOLLSHIM_RECORD", folder.join(RECORDINGS).as_os_str());
            set("EPOLLSHIM_RECORD_RING", "16".as_ref());
            set("EPOLLSHIM_INJECT", ask.rules.as_ref());
            set("EPOLLSHIM_INJECT_LOG", folder.join(FAULTS).join("faults.%p").as_os_str());
            set("EPOLLSHIM_SESSION", folder.join(SESSION).as_os_str());
            if ask.stacks != 0 {
                set("EPOLLSHIM_STACKS", ask.stacks.to_string().as_ref());
            }
            environment
        };
        Spec {
            command: settled.command.clone(),
            environment,
            plain,
            directory: settled.directory.clone().unwrap_or_else(|| folder.join(HOME)),
            folder: folder.to_path_buf(),
            input: settled.input.clone(),
            server: settled.server.clone(),
            times: ask.times,
            again: ask.again,
            patience: ask.patience.max(1),
            descriptors: ask.descriptors,
            processes: ask.processes,
            counted: ask.counts_tasks.then(|| limits::counted(serial)),
            at_rest: ask.at_rest,
            debug: settled.debug.clone(),
            traces: ask.traces,
            shares_network: self.shares_network,
            shares_processes: self.shares_processes.load(Ordering::Relaxed),
        }
    }

    /// Makes further runs without a process id namespace. Returns false if they already are.
    pub fn share_processes(&self) -> bool {
        !self.shares_processes.swap(true, Ordering::Relaxed)
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// The signal that ended the sweep.
    pub fn ended_by(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
    }

    /// Ends all runs, and prevents new ones.
    pub fn end(&self, signal: i32) {
        let running = held(&self.running);
        self.signal.store(signal, Ordering::Relaxed);
        self.is_over.store(true, Ordering::Relaxed);
        running.iter().for_each(|pid| sandbox::send(*pid, libc::SIGTERM));
    }
}
