//! Coming to life: by the constructor, or by the first hook where another library's constructor came before.
//!
//! Every step may run twice, on two threads at once: each is first-wins. Nothing here allocates; the options
//! are copied out of the environment, which programs overwrite (setproctitle), into a mapping of their own.

use core::ffi::CStr;
use core::fmt::Write;
use core::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use epollshim_format::faults;
use epollshim_format::log_filter::Filter;
use epollshim_format::options::{self, Format, Log, OnBadConfig, Options, Report};
use libc::c_char;
use once_cell::race::OnceRef;

use crate::policy::{self, limits, rules};
use crate::session::{self, Trouble};
use crate::{clock, ledger, process, real, report, sys};

/// What was read at load.
pub struct Config {
    pub format: Format,
    pub report: Destination,
    pub log: LogTo,
    pub log_format: Format,
    pub log_filter: Filter,
    /// Whether faults are allowed that no kernel gives.
    pub impossible: bool,
    /// Where the processes of a user count together.
    pub session: &'static CStr,
    /// What the program is called: by its caller, by its file, by libc.
    names: [&'static CStr; 3],
    /// Device and inode of descriptor 2 at load; None where it was closed.
    pub stderr: Option<(u64, u64)>,
}

/// Where the exit report goes.
pub enum Destination {
    Stderr,
    None,
    /// A pattern, zero-terminated.
    File(&'static CStr),
}

/// Where the log goes.
pub enum LogTo {
    Off,
    Stderr,
    /// A pattern, zero-terminated.
    File(&'static CStr),
}

static CONFIG: OnceRef<'static, Config> = OnceRef::new();

/// Not decided yet, to act, or only to forward. Relaxed: what it guards is published by CONFIG and PAGE themselves.
static STATE: AtomicU8 = AtomicU8::new(UNDECIDED);
const UNDECIDED: u8 = 0;
const ACT: u8 = 1;
const FORWARD_ONLY: u8 = 2;

static EXIT_HANDLERS: AtomicU8 = AtomicU8::new(0);

/// How many arguments the program was called with; 0: not known.
static ARGUMENTS: AtomicI32 = AtomicI32::new(0);

/// The number of the program's arguments, its name included. (What `/proc/PID/cmdline` has beyond them is what a
/// setproctitle left.)
pub fn arguments() -> usize {
    usize::try_from(ARGUMENTS.load(Ordering::Relaxed)).unwrap_or(0)
}

/// Run by the loader with main's arguments, before main.
#[cfg(not(test))]
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn(libc::c_int, *const *const c_char, *const *const c_char) = {
    extern "C" fn construct(count: libc::c_int, _: *const *const c_char, environment: *const *const c_char) {
        let errno = sys::errno();
        ARGUMENTS.store(count, Ordering::Relaxed);
        real::resolve_all();
        decide(environment);
        sys::set_errno(errno);
    }
    construct
};

/// Whether to count in this process. Comes to life where that has not happened yet.
pub fn acts() -> bool {
    if STATE.load(Ordering::Relaxed) == UNDECIDED {
        let errno = sys::errno();
        decide(real::environment());
        sys::set_errno(errno);
    }
    // Undecided still: libc is not ready (preinit). Count; there is nothing else to know yet.
    STATE.load(Ordering::Relaxed) != FORWARD_ONLY && process::prepare()
}

/// The options; None before they were read, and where the shim only forwards.
pub fn config() -> Option<&'static Config> {
    if STATE.load(Ordering::Relaxed) == ACT { CONFIG.get() } else { None }
}

fn decide(environment: *const *const c_char) {
    if STATE.load(Ordering::Relaxed) != UNDECIDED || environment.is_null() {
        return;
    }
    clock::prepare();
    process::note_load();
    // SAFETY: the auxiliary vector is the kernel's.
    let secure = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    let (options, problem) = if secure { (Options::default(), None) } else { options::parse(Environment(environment)) };
    if let Some(problem) = problem {
        return refuse(options.on_bad_config, format_args!("{problem}"));
    }
    let names = Names::read();
    if options.only.is_some_and(|only| !names.are_among(only)) {
        return forward_only();
    }
    let Some(config) = keep(&options, &names, environment) else { return forward_only() };
    if let Err(refusal) = arm(&options, config) {
        return refuse(options.on_bad_config, format_args!("{refusal}"));
    }
    STATE.store(ACT, Ordering::Relaxed);
    policy::arm();
    if EXIT_HANDLERS.swap(1, Ordering::Relaxed) == 0 {
        report::register_exit_handlers();
        report::register_fork_handler();
    }
}

fn forward_only() {
    policy::disarm();
    STATE.store(FORWARD_ONLY, Ordering::Relaxed);
}

/// A bad option: says so, and ends the program before main, or has it run as if the shim were not there.
fn refuse(on_bad_config: OnBadConfig, problem: core::fmt::Arguments) {
    let mut line = report::Line::new();
    let _ = writeln!(line, "epollshim: {problem}");
    let _ = sys::write(2, line.as_bytes());
    match on_bad_config {
        OnBadConfig::Exit => sys::exit_group(2),
        OnBadConfig::Ignore => forward_only(),
    }
}

/// Why an option that is well written cannot be had.
enum Refusal {
    Rules(rules::Refusal),
    Session(Trouble, &'static CStr),
    Limits,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Refusal::Rules(refusal) => write!(f, "EPOLLSHIM_INJECT: {refusal}"),
            Refusal::Limits => f.write_str("EPOLLSHIM_LIMIT: the counts are being changed by another thread"),
            Refusal::Session(trouble, directory) => write!(f, "EPOLLSHIM_SESSION: {}", trouble.of(directory)),
        }
    }
}

/// Arms what the options ask for.
fn arm(options: &Options, config: &'static Config) -> Result<(), Refusal> {
    if !options.inject.is_empty() {
        seed(options.seed);
        rules::arm(faults::parse(options.inject, options.impossible).filter_map(Result::ok)).map_err(Refusal::Rules)?;
    }
    match &options.limit {
        Some(limits) => set_limits(limits, config).map_err(|trouble| match trouble {
            Some(trouble) => Refusal::Session(trouble, config.session),
            None => Refusal::Limits,
        }),
        None => Ok(()),
    }
}

/// Draws a seed, unless one is given or was drawn before: 32 bits, for people to type again.
pub fn seed(given: Option<u64>) {
    if let Some(seed) = given {
        rules::seed(seed);
    } else if rules::the_seed().is_none() {
        let random = sys::random().unwrap_or_else(|| clock::realtime() ^ u64::from(sys::getpid() as u32) << 16);
        rules::seed(random & 0xffff_ffff);
    }
}

/// Sets limits, and opens the session where the user's counts are wanted. Err(None): another thread has the ledger.
pub fn set_limits(limits: &epollshim_format::limits::Limits, config: &'static Config) -> Result<(), Option<Trouble>> {
    if limits.user_instances.is_some() || limits.user_watches.is_some() {
        session::attach(config.session).map_err(Some)?;
    }
    // What came through exec counts, and what went round the shim does not.
    if limits::count_something(limits) && process::prepare() {
        report::undisturbed(ledger::reconcile);
    }
    if limits::set(limits) { Ok(()) } else { Err(None) }
}

/// Copies the options to where they last: they lie in the environment, which programs overwrite.
fn keep(options: &Options, names: &Names, environment: *const *const c_char) -> Option<&'static Config> {
    if let Some(config) = CONFIG.get() {
        return Some(config);
    }
    let report = if let Report::File(path) = options.report { path } else { b"" };
    let log = if let Some(Log::File(path)) = options.log { path } else { b"" };
    let default = session::default_directory(variable(environment, b"XDG_RUNTIME_DIR"));
    let session = options.session.or_else(|| default.as_c().map(CStr::to_bytes)).unwrap_or_default();
    let [called, file, short] = names.all();
    let texts = [report, log, session, called, file, short];
    let start = sys::map(size_of::<Config>() + texts.iter().map(|text| text.len() + 1).sum::<usize>()).ok()?;
    let mut at = start.wrapping_add(size_of::<Config>());
    let [report, log, session, called, file, short] = texts.map(|text| {
        // SAFETY: the mapping has room for a Config and, behind it, every text and its final zero (the kernel's own zero).
        let kept = unsafe {
            at.copy_from_nonoverlapping(text.as_ptr(), text.len());
            CStr::from_ptr(at.cast())
        };
        at = at.wrapping_add(text.len() + 1);
        kept
    });
    let config = Config {
        format: options.format,
        report: match options.report {
            Report::Stderr => Destination::Stderr,
            Report::None => Destination::None,
            Report::File(_) => Destination::File(report),
        },
        log: match options.log {
            None => LogTo::Off,
            Some(Log::Stderr) => LogTo::Stderr,
            Some(Log::File(_)) => LogTo::File(log),
        },
        log_format: options.log_format,
        log_filter: options.log_filter,
        impossible: options.impossible,
        session,
        names: [called, file, short],
        stderr: sys::status(2).ok().map(|status| (status.st_dev, status.st_ino)),
    };
    // SAFETY: page-aligned, and large enough.
    let config = unsafe {
        start.cast::<Config>().write(config);
        &*start.cast::<Config>()
    };
    let _ = CONFIG.set(config);
    CONFIG.get()
}

/// The `NAME=VALUE` strings of an environment.
struct Environment(*const *const c_char);

impl Iterator for Environment {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<&'static [u8]> {
        // SAFETY: environ is an array of zero-terminated strings that ends with a null pointer; nothing changes
        // it while a constructor, or a hook before main, reads it.
        unsafe {
            let entry = *self.0;
            if entry.is_null() {
                return None;
            }
            self.0 = self.0.add(1);
            Some(CStr::from_ptr(entry).to_bytes())
        }
    }
}

/// What this program is called.
struct Names {
    /// By its caller: the last part of what exec was given.
    called: &'static [u8],
    /// By libc: the last part of argv[0].
    short: &'static [u8],
    target: [u8; 4096],
    length: usize,
}

impl Names {
    fn read() -> Names {
        let base = |path: &'static [u8]| path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        // SAFETY: AT_EXECFN is 0 or a zero-terminated string that the kernel laid out.
        let called = unsafe {
            let path = libc::getauxval(libc::AT_EXECFN) as *const c_char;
            if path.is_null() { b"" } else { base(CStr::from_ptr(path).to_bytes()) }
        };
        // SAFETY: glibc sets it from argv[0] before any constructor; a zero-terminated string or null.
        let short = unsafe {
            unsafe extern "C" {
                static program_invocation_short_name: *const c_char;
            }
            let name = program_invocation_short_name;
            if name.is_null() { &b""[..] } else { CStr::from_ptr(name).to_bytes() }
        };
        let mut target = [0u8; 4096];
        let length = crate::procfs::read_link(c"/proc/self/exe", &mut target).map_or(0, <[u8]>::len);
        Names { called, short, target, length }
    }

    fn all(&self) -> [&[u8]; 3] {
        let file = self.target.get(..self.length).unwrap_or_default();
        [self.called, file.rsplit(|byte| *byte == b'/').next().unwrap_or(file), self.short]
    }

    /// Whether one of them is in a comma-separated list.
    fn are_among(&self, list: &[u8]) -> bool {
        list.split(|byte| *byte == b',').any(|name| self.all().contains(&name))
    }
}

/// Whether one of the program's names is as wanted.
pub fn is_named(wanted: impl Fn(&[u8]) -> bool) -> bool {
    CONFIG.get().is_some_and(|config| config.names.iter().any(|name| wanted(name.to_bytes())))
}

/// The value of an environment variable.
pub fn variable(environment: *const *const c_char, name: &[u8]) -> Option<&'static [u8]> {
    if environment.is_null() {
        return None;
    }
    Environment(environment).find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))
}
