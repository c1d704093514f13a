//! The options, as they were read at load (init.rs), and the program's names.

use crate::sync::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use core::ffi::CStr;

use epollshim_format::log_filter::Filter;
use epollshim_format::options::{Format, LogTime, OnBadConfig};
use once_cell::race::OnceRef;

use crate::procfs;

/// The options that were read at load.
pub struct Config {
    pub format: Format,
    pub report: Destination,
    pub log: LogTo,
    pub log_format: Format,
    pub log_time: LogTime,
    pub log_filter: Filter,
    /// Where a line goes for each decision of a rule.
    pub inject_log: LogTo,
    /// Whether faults are allowed that no kernel causes.
    pub impossible: bool,
    /// The directory for recordings.
    pub record: Option<&'static CStr>,
    /// How many calls a thread's ring holds: a power of two. 0: each call is kept.
    pub ring: u32,
    /// How many bytes a file of calls may grow to.
    pub record_max: u64,
    /// A file that lists findings to leave out.
    pub suppressions: Option<&'static CStr>,
    /// The directory in which processes count together, if the options name one.
    pub session: Option<&'static CStr>,
    /// `$XDG_RUNTIME_DIR`; empty if it is not set.
    pub runtime: &'static CStr,
    /// The program's names: the one that its caller used, and libc's.
    pub names: [&'static CStr; 2],
    pub on_bad_config: OnBadConfig,
    /// Device and inode of descriptor 2 at load. None: it was closed.
    pub stderr: Option<(u64, u64)>,
    /// Descriptors that options name ([`Destination::Descriptor`]) for the report, the log, and the
    /// log of faults, each with its device and inode at load. Number 0: none is named.
    pub named: [(i32, Option<(u64, u64)>); 3],
}

impl Config {
    /// Device and inode at load of descriptor 2, or of a descriptor that an option names.
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
    /// Descriptor 2 or another one.
    Descriptor(i32),
    /// A zero-terminated pattern of a path.
    File(&'static CStr),
}

/// Where the log goes.
pub enum LogTo {
    Off,
    /// Descriptor 2 or another one.
    Descriptor(i32),
    /// A zero-terminated pattern of a path.
    File(&'static CStr),
}

pub static CONFIG: OnceRef<'static, Config> = OnceRef::new();

/// Undecided, active, or only forwarding. Relaxed: what it guards is published by CONFIG and by the
/// page of process.rs.
pub static STATE: AtomicU8 = AtomicU8::new(UNDECIDED);
pub const UNDECIDED: u8 = 0;
pub const ACT: u8 = 1;
pub const FORWARD_ONLY: u8 = 2;

/// How many arguments the program was called with; 0: unknown.
pub static ARGUMENTS: AtomicI32 = AtomicI32::new(0);

/// How many arguments the program has, including its name. (What `/proc/PID/cmdline` has after them
/// was left by setproctitle.)
pub fn arguments() -> usize {
    usize::try_from(ARGUMENTS.load(Ordering::Relaxed)).unwrap_or(0)
}

/// The options. None: they were not read yet, or the library only forwards.
pub fn get() -> Option<&'static Config> {
    if STATE.load(Ordering::Relaxed) == ACT { CONFIG.get() } else { None }
}

/// Whether faults are allowed that no kernel causes.
pub fn allows_impossible() -> bool {
    get().is_some_and(|config| config.impossible)
}

/// The name of the program's file, once `learn_file_name` has read it; empty until then.
static FILE_NAME: FileName = FileName { bytes: [const { AtomicU8::new(0) }; 256], length: AtomicUsize::new(0) };

struct FileName {
    bytes: [AtomicU8; 256],
    /// Release when the bytes are written, Acquire by readers.
    length: AtomicUsize,
}

/// Makes `is_named` also know the name of the program's file. Not for hooks: it reads /proc.
pub fn learn_file_name() {
    if FILE_NAME.length.load(Ordering::Acquire) != 0 {
        return;
    }
    let mut space = [0u8; 4096];
    let name = procfs::program_name(&mut space);
    for (place, byte) in FILE_NAME.bytes.iter().zip(name) {
        // Threads that do this at the same time store the same bytes.
        place.store(*byte, Ordering::Relaxed);
    }
    FILE_NAME.length.store(name.len().min(FILE_NAME.bytes.len()), Ordering::Release);
}

/// The name of the program's file; empty until [`learn_file_name`] was called.
pub fn file_name() -> impl Iterator<Item = u8> {
    let length = FILE_NAME.length.load(Ordering::Acquire);
    FILE_NAME.bytes.iter().take(length).map(|byte| byte.load(Ordering::Relaxed))
}

/// Whether `wanted` is true for one of the program's names.
pub fn is_named(wanted: impl Fn(&[u8]) -> bool) -> bool {
    let length = FILE_NAME.length.load(Ordering::Acquire);
    let file: [u8; 256] =
        core::array::from_fn(|at| FILE_NAME.bytes.get(at).map_or(0, |byte| byte.load(Ordering::Relaxed)));
    file.get(..length).is_some_and(&wanted)
        || CONFIG.get().is_some_and(|config| config.names.iter().any(|name| wanted(name.to_bytes())))
}

static SEED: AtomicU64 = AtomicU64::new(0);
static HAS_SEED: AtomicBool = AtomicBool::new(false);

/// Sets the seed of every random choice. An option gives it, or the library draws it when it first
/// needs a random choice.
pub fn set_seed(value: u64) {
    SEED.store(value, Ordering::Relaxed);
    HAS_SEED.store(true, Ordering::Relaxed);
}

/// The seed. None: nothing random was needed yet.
pub fn seed() -> Option<u64> {
    HAS_SEED.load(Ordering::Relaxed).then(|| SEED.load(Ordering::Relaxed))
}
