//! Coming to life: by the constructor, or by the first hook where another library's constructor came before.
//!
//! Every step may run twice, on two threads at once: each is first-wins. Nothing here allocates; the options
//! are copied out of the environment, which programs overwrite (setproctitle), into a mapping of their own.

use core::ffi::CStr;
use core::fmt::Write;
use core::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use epollshim_format::options::{self, Format, OnBadConfig, Options, Report};
use libc::c_char;
use once_cell::race::OnceRef;

use crate::{clock, process, real, report, sys};

/// What was read at load.
pub struct Config {
    pub format: Format,
    pub report: Destination,
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
        let mut line = report::Line::new();
        let _ = writeln!(line, "epollshim: {problem}");
        let _ = sys::write(2, line.as_bytes());
        match options.on_bad_config {
            OnBadConfig::Exit => sys::exit_group(2),
            OnBadConfig::Ignore => return STATE.store(FORWARD_ONLY, Ordering::Relaxed),
        }
    }
    if options.only.is_some_and(|names| !is_one_of(names)) || !keep(&options) {
        return STATE.store(FORWARD_ONLY, Ordering::Relaxed);
    }
    STATE.store(ACT, Ordering::Relaxed);
    if EXIT_HANDLERS.swap(1, Ordering::Relaxed) == 0 {
        report::register_exit_handlers();
        report::register_fork_handler();
    }
}

/// Copies the options to where they last.
fn keep(options: &Options) -> bool {
    if CONFIG.get().is_some() {
        return true;
    }
    let path = if let Report::File(path) = options.report { path } else { b"" };
    let Ok(start) = sys::map(size_of::<Config>() + path.len() + 1) else { return false };
    // SAFETY: the mapping has room for a Config and, behind it, the path and its final zero (the kernel's own zero).
    let config = unsafe {
        let text = start.add(size_of::<Config>());
        text.copy_from_nonoverlapping(path.as_ptr(), path.len());
        let config = start.cast::<Config>();
        config.write(Config {
            format: options.format,
            report: match options.report {
                Report::Stderr => Destination::Stderr,
                Report::None => Destination::None,
                Report::File(_) => Destination::File(CStr::from_ptr(text.cast())),
            },
            stderr: sys::status(2).ok().map(|status| (status.st_dev, status.st_ino)),
        });
        &*config
    };
    let _ = CONFIG.set(config);
    true
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

/// Whether this program is one of a comma-separated list: by the name it was called by, or by its file's name.
fn is_one_of(names: &[u8]) -> bool {
    let base = |path: &'static [u8]| path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    // SAFETY: AT_EXECFN is 0 or a zero-terminated string that the kernel laid out.
    let called = unsafe {
        let path = libc::getauxval(libc::AT_EXECFN) as *const c_char;
        if path.is_null() { b"" } else { base(CStr::from_ptr(path).to_bytes()) }
    };
    let mut target = [0u8; 4096];
    let file = crate::procfs::read_link(c"/proc/self/exe", &mut target).unwrap_or_default();
    let file = file.rsplit(|byte| *byte == b'/').next().unwrap_or(file);
    // SAFETY: glibc sets it from argv[0] before any constructor; a zero-terminated string or null.
    let short = unsafe {
        unsafe extern "C" {
            static program_invocation_short_name: *const c_char;
        }
        let name = program_invocation_short_name;
        if name.is_null() { &b""[..] } else { CStr::from_ptr(name).to_bytes() }
    };
    names.split(|byte| *byte == b',').any(|name| name == called || name == file || name == short)
}

/// The value of an environment variable.
pub fn variable(environment: *const *const c_char, name: &[u8]) -> Option<&'static [u8]> {
    if environment.is_null() {
        return None;
    }
    Environment(environment).find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))
}
