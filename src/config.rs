//! The options, as they were read at load (init.rs), and what the program is called.

use crate::sync::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use core::ffi::CStr;

use epollshim_format::log_filter::Filter;
use epollshim_format::options::{Format, LogTime, OnBadConfig};
use once_cell::race::OnceRef;

use crate::procfs;

/// What was read at load.
pub struct Config {
    pub format: Format,
    pub report: Destination,
    pub log: LogTo,
    pub log_format: Format,
    pub log_time: LogTime,
    pub log_filter: Filter,
    /// Where a line for each decision of a rule goes.
    pub inject_log: LogTo,
    /// Whether faults are allowed that no kernel gives.
    pub impossible: bool,
    /// The directory of recordings.
    pub record: Option<&'static CStr>,
    /// Calls that a thread's ring holds: a power of two; 0: each call is kept.
    pub ring: u32,
    /// Bytes up to which a file grows for them.
    pub record_max: u64,
    /// A file of findings that are not told.
    pub suppressions: Option<&'static CStr>,
    /// Where the processes of a user count together, if the options say.
    pub session: Option<&'static CStr>,
    /// `$XDG_RUNTIME_DIR`; empty: not set.
    pub runtime: &'static CStr,
    /// What the program is called: by its caller, by libc.
    pub names: [&'static CStr; 2],
    pub on_bad_config: OnBadConfig,
    /// Device and inode of descriptor 2 at load; None where it was closed.
    pub stderr: Option<(u64, u64)>,
    /// The same of the descriptors that options name ([`Destination::Descriptor`]), each beside its number: of the report, of
    /// the log, of the log of faults. Number 0: none is named.
    pub named: [(i32, Option<(u64, u64)>); 3],
}

impl Config {
    /// Device and inode at load of descriptor 2, or of one that an option names.
    pub fn at_load(&self, fd: i32) -> Option<(u64, u64)> {
        if fd == 2 {
            self.stderr
        } else {
            self.named.iter().find(|(number, _)| *number == fd).and_then(|(_, file)| *file)
        }
    }
}

/// Where the exit report goes.
pub enum Destination {
    None,
    /// 2, or another one.
    Descriptor(i32),
    /// A pattern, zero-terminated.
    File(&'static CStr),
}

/// Where the log goes.
pub enum LogTo {
    Off,
    /// 2, or another one.
    Descriptor(i32),
    /// A pattern, zero-terminated.
    File(&'static CStr),
}

pub static CONFIG: OnceRef<'static, Config> = OnceRef::new();

/// Not decided yet, to act, or only to forward. Relaxed: what it guards is published by CONFIG and PAGE themselves.
pub static STATE: AtomicU8 = AtomicU8::new(UNDECIDED);
pub const UNDECIDED: u8 = 0;
pub const ACT: u8 = 1;
pub const FORWARD_ONLY: u8 = 2;

/// How many arguments the program was called with; 0: not known.
pub static ARGUMENTS: AtomicI32 = AtomicI32::new(0);

/// The number of the program's arguments, its name included. (What `/proc/PID/cmdline` has beyond them is what a
/// setproctitle left.)
pub fn arguments() -> usize {
    usize::try_from(ARGUMENTS.load(Ordering::Relaxed)).unwrap_or(0)
}

/// The options; None before they were read, and where the shim only forwards.
pub fn get() -> Option<&'static Config> {
    if STATE.load(Ordering::Relaxed) == ACT { CONFIG.get() } else { None }
}

/// Whether faults are allowed that no kernel gives.
pub fn allows_impossible() -> bool {
    get().is_some_and(|config| config.impossible)
}

/// The name of the program's file, once `learn_file_name` has asked for it; empty till then. Written under its flag.
static FILE_NAME: FileName = FileName { bytes: [const { AtomicU8::new(0) }; 256], length: AtomicUsize::new(0) };

struct FileName {
    bytes: [AtomicU8; 256],
    /// Release once the bytes are there, Acquire by readers.
    length: AtomicUsize,
}

/// Has `is_named` know the name of the program's file too. Not in a call: it reads /proc.
pub fn learn_file_name() {
    if FILE_NAME.length.load(Ordering::Acquire) != 0 {
        return;
    }
    let mut space = [0u8; 4096];
    let name = procfs::program_name(&mut space);
    for (place, byte) in FILE_NAME.bytes.iter().zip(name) {
        // The same bytes by whoever comes here.
        place.store(*byte, Ordering::Relaxed);
    }
    FILE_NAME.length.store(name.len().min(FILE_NAME.bytes.len()), Ordering::Release);
}

/// The name of the program's file; empty until [`learn_file_name`] was called.
pub fn file_name() -> impl Iterator<Item = u8> {
    let length = FILE_NAME.length.load(Ordering::Acquire);
    FILE_NAME.bytes.iter().take(length).map(|byte| byte.load(Ordering::Relaxed))
}

/// Whether one of the program's names is as wanted.
pub fn is_named(wanted: impl Fn(&[u8]) -> bool) -> bool {
    let length = FILE_NAME.length.load(Ordering::Acquire);
    let file: [u8; 256] =
        core::array::from_fn(|at| FILE_NAME.bytes.get(at).map_or(0, |byte| byte.load(Ordering::Relaxed)));
    file.get(..length).is_some_and(&wanted)
        || CONFIG.get().is_some_and(|config| config.names.iter().any(|name| wanted(name.to_bytes())))
}

static SEED: AtomicU64 = AtomicU64::new(0);
static HAS_SEED: AtomicBool = AtomicBool::new(false);

/// Sets the seed of every random choice. It is one of the options, or drawn when something random is first asked for.
pub fn set_seed(value: u64) {
    SEED.store(value, Ordering::Relaxed);
    HAS_SEED.store(true, Ordering::Relaxed);
}

/// The seed; None: nothing random was asked for.
pub fn seed() -> Option<u64> {
    HAS_SEED.load(Ordering::Relaxed).then(|| SEED.load(Ordering::Relaxed))
}
