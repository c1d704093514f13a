//! Copies the options to memory that lasts, and reads the program's names.

use core::ffi::CStr;

use epollshim_format::options::{Log, Options, Report};
use libc::c_char;

use crate::config::{CONFIG, Config, Destination, LogTo};
use crate::environment::variable;
use crate::path::Path;
use crate::{procfs, sys};

/// Copies the options to memory that lasts. They lie in the environment, which programs overwrite.
pub fn keep(options: &Options, names: &Names, environment: *const *const c_char) -> Option<&'static Config> {
    if let Some(config) = CONFIG.get() {
        return Some(config);
    }
    let (mut for_report, mut for_log, mut for_inject_log) = (Path::new(), Path::new(), Path::new());
    let mut for_record = Path::new();
    let report = if let Report::File(path) = options.report { from_root(path, true, &mut for_report) } else { b"" };
    let log = if let Some(Log::File(path)) = options.log { from_root(path, true, &mut for_log) } else { b"" };
    let inject_log = match options.inject_log {
        Some(Log::File(path)) => from_root(path, true, &mut for_inject_log),
        _ => b"",
    };
    let record = options.record.map_or(&b""[..], |path| from_root(path, false, &mut for_record));
    let session = options.session.unwrap_or_default();
    let runtime = variable(environment, b"XDG_RUNTIME_DIR").unwrap_or_default();
    let suppressions = options.suppressions.unwrap_or_default();
    let texts = [report, log, inject_log, record, session, runtime, suppressions, names.called, names.short];
    let start = sys::map(size_of::<Config>() + texts.iter().map(|text| text.len() + 1).sum::<usize>()).ok()?;
    let mut at = start.wrapping_add(size_of::<Config>());
    let [report, log, inject_log, record, session, runtime, suppressions, called, short] = texts.map(|text| {
        // SAFETY: the mapping has room for a Config followed by each text and a final zero. The
        // kernel zeroed the mapping, so each text ends with a zero.
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
            Report::Stderr => Destination::Descriptor(2),
            Report::Descriptor(fd) => Destination::Descriptor(fd),
            Report::None => Destination::None,
            Report::File(_) => Destination::File(report),
        },
        log: log_to(options.log, log),
        inject_log: log_to(options.inject_log, inject_log),
        log_format: options.log_format,
        log_time: options.log_time,
        log_filter: options.log_filter,
        impossible: options.impossible,
        record: options.record.map(|_| record),
        ring: options.ring,
        record_max: options.record_max,
        suppressions: options.suppressions.map(|_| suppressions),
        session: options.session.map(|_| session),
        runtime,
        names: [called, short],
        on_bad_config: options.on_bad_config,
        stderr: file_of(2),
        named: [
            if let Report::Descriptor(fd) = options.report { fd } else { 0 },
            if let Some(Log::Descriptor(fd)) = options.log { fd } else { 0 },
            if let Some(Log::Descriptor(fd)) = options.inject_log { fd } else { 0 },
        ]
        .map(|fd| (fd, if fd > 0 { file_of(fd) } else { None })),
    };
    // SAFETY: the mapping is page-aligned and large enough for a Config.
    let config = unsafe {
        start.cast::<Config>().write(config);
        &*start.cast::<Config>()
    };
    let _ = CONFIG.set(config);
    CONFIG.get()
}

/// Device and inode of the file that a descriptor refers to. None: the descriptor is closed.
#[inline(never)] // for size
fn file_of(fd: i32) -> Option<(u64, u64)> {
    sys::status(fd).ok().map(|status| (status.st_dev, status.st_ino))
}

fn log_to(asked: Option<Log>, path: &'static CStr) -> LogTo {
    match asked {
        None => LogTo::Off,
        Some(Log::Stderr) => LogTo::Descriptor(2),
        Some(Log::Descriptor(fd)) => LogTo::Descriptor(fd),
        Some(Log::File(_)) => LogTo::File(path),
    }
}

/// Makes a file's pattern absolute by putting the current directory before it: the program may
/// change its directory later, as daemons do. Returns the pattern unchanged if the directory cannot
/// be read or makes the path too long.
fn from_root<'a>(pattern: &'a [u8], is_pattern: bool, space: &'a mut Path) -> &'a [u8] {
    if pattern.starts_with(b"/") {
        return pattern;
    }
    let mut directory = [0u8; 4096];
    let Ok(directory) = sys::working_directory(&mut directory) else { return pattern };
    for &byte in directory {
        // Escape percent signs in the directory's name, which would otherwise start a placeholder.
        space.push(if byte == b'%' && is_pattern { b"%%" } else { core::slice::from_ref(&byte) });
    }
    space.push(b"/");
    space.push(pattern);
    space.as_c().map_or(pattern, CStr::to_bytes)
}

/// The program's names, except the name of its file, which only /proc knows.
pub struct Names {
    /// The last part of the path that was passed to exec.
    called: &'static [u8],
    /// libc's name for it: the last part of `argv[0]`.
    short: &'static [u8],
}

fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

impl Names {
    pub fn read() -> Names {
        // SAFETY: AT_EXECFN is 0 or the address of a zero-terminated string that the kernel laid
        // out.
        let called = unsafe {
            let path = libc::getauxval(libc::AT_EXECFN) as *const c_char;
            if path.is_null() { b"" } else { base(CStr::from_ptr(path).to_bytes()) }
        };
        // SAFETY: null, or a zero-terminated string: glibc sets it from argv[0] before any
        // constructor runs.
        let short = unsafe {
            unsafe extern "C" {
                static program_invocation_short_name: *const c_char;
            }
            let name = program_invocation_short_name;
            if name.is_null() { &b""[..] } else { CStr::from_ptr(name).to_bytes() }
        };
        Names { called, short }
    }

    /// Whether one of these names, or the name of the program's file, is in a comma-separated list.
    pub fn are_among(&self, list: &[u8]) -> bool {
        let mut space = [0u8; 4096];
        let file = procfs::program_name(&mut space);
        list.split(|byte| *byte == b',').any(|name| name == self.called || name == self.short || name == file)
    }
}
