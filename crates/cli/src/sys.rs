//! System calls that the standard library lacks. This module has all unsafe code of the command.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::{Error, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, compiler_fence};

pub mod child;
pub mod counted;
mod exec;
pub mod foreign;
mod mask;
pub mod sandbox;
pub mod trace;

fn c_string(text: &OsStr) -> Result<CString, Error> {
    CString::new(text.as_bytes()).map_err(|_| Error::from(ErrorKind::InvalidInput))
}

/// Replaces this process by the program `words[0]`, which is searched for in PATH as a shell does.
/// Returns only on failure.
pub fn execute(words: &[OsString], environment: &[(OsString, OsString)]) -> Error {
    match exec::Ready::new(words, environment) {
        Ok(mut ready) => Error::from_raw_os_error(ready.exec()),
        Err(error) => error,
    }
}

/// Whether this process may execute a file.
pub fn may_execute(path: &Path) -> bool {
    // SAFETY: `path` is a zero-terminated string that outlives the call.
    c_string(path.as_os_str()).is_ok_and(|path| unsafe { libc::access(path.as_ptr(), libc::X_OK) } == 0)
}

/// Whether this process may create files in a directory.
pub fn may_write(directory: &Path) -> Result<(), Error> {
    let directory = c_string(directory.as_os_str())?;
    // SAFETY: `directory` is a zero-terminated string that outlives the call.
    match unsafe { libc::access(directory.as_ptr(), libc::W_OK | libc::X_OK) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

/// 128 random bits from the kernel, which cannot be guessed.
pub fn random() -> Result<u128, Error> {
    let mut bytes = [0u8; 16];
    // SAFETY: the kernel writes at most `bytes.len()` bytes, which is the length of the buffer.
    let length = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if usize::try_from(length) == Ok(bytes.len()) {
        Ok(u128::from_ne_bytes(bytes))
    } else {
        Err(Error::last_os_error())
    }
}

/// The real user and group of this process.
pub fn user() -> (u32, u32) {
    // SAFETY: both calls take no arguments and cannot fail.
    unsafe { (libc::getuid(), libc::getgid()) }
}

/// An extended attribute of a file, of at most 64 bytes. None: the file does not have it, or it
/// cannot be read.
pub fn attribute(path: &Path, name: &CStr) -> Option<Vec<u8>> {
    let path = c_string(path.as_os_str()).ok()?;
    let mut value = vec![0u8; 64];
    // SAFETY: both strings are zero-terminated, and the kernel writes at most `value.len()` bytes,
    // which is the length of the buffer.
    let length = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(usize::try_from(length).ok()?);
    Some(value)
}

/// Whether set-user-ID bits and file capabilities have no effect on the file system of this file.
pub fn is_mounted_nosuid(path: &Path) -> bool {
    let Ok(path) = c_string(path.as_os_str()) else { return false };
    let mut status = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path is zero-terminated. `status` has the size that libc declares, and all zeros
    // are a valid `statvfs`.
    unsafe {
        libc::statvfs(path.as_ptr(), status.as_mut_ptr()) == 0 && status.assume_init().f_flag & libc::ST_NOSUID != 0
    }
}

/// The free bytes and free inodes of a file system for this user. Inodes are `u64::MAX` if the file
/// system does not count them.
pub fn free(path: &Path) -> Result<(u64, u64), Error> {
    let path = c_string(path.as_os_str())?;
    let mut status = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path is zero-terminated. `status` has the size that libc declares, and all zeros
    // are a valid `statvfs`.
    let status = unsafe {
        if libc::statvfs(path.as_ptr(), status.as_mut_ptr()) != 0 {
            return Err(Error::last_os_error());
        }
        status.assume_init()
    };
    let files = if status.f_files == 0 { u64::MAX } else { status.f_favail };
    Ok((status.f_bavail.saturating_mul(status.f_frsize), files))
}

/// Whether two descriptors of a process refer to the same open file description (kcmp(2)). None:
/// unknown.
pub fn are_one(pid: u32, one: i32, other: i32) -> Option<bool> {
    order_of(pid, one, other).ok().map(std::cmp::Ordering::is_eq)
}

/// Compares the open file descriptions of two descriptors of a process in the kernel's order, which
/// is total (kcmp(2)). Fails without the permission to ask, or if one descriptor is closed.
pub fn order_of(pid: u32, one: i32, other: i32) -> Result<std::cmp::Ordering, Error> {
    const KCMP_FILE: libc::c_long = 0;
    let (pid, one, other) = (libc::c_long::from(pid), libc::c_long::from(one), libc::c_long::from(other));
    // SAFETY: kcmp of KCMP_FILE takes only integers.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, pid, pid, KCMP_FILE, one, other) };
    // kcmp(2): 0 is equal, 1 is less, 2 is greater.
    match order {
        0 => Ok(std::cmp::Ordering::Equal),
        1 => Ok(std::cmp::Ordering::Less),
        2 => Ok(std::cmp::Ordering::Greater),
        _ => Err(Error::last_os_error()),
    }
}

/// CLOCK_MONOTONIC in nanoseconds, the clock of recordings.
pub fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes `time`, a local, and every kernel has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

/// The effective user of this process, as whom it opens files and processes.
pub fn effective_user() -> u32 {
    // SAFETY: the call takes no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

/// Tries to take the exclusive lock of a file (flock(2)). It is released when the last descriptor
/// of this open file description is closed. Ok(false): another process has the lock.
pub fn lock(file: &File) -> Result<bool, Error> {
    // SAFETY: `file` keeps the descriptor open during the call.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    let error = Error::last_os_error();
    if error.kind() == ErrorKind::WouldBlock { Ok(false) } else { Err(error) }
}

/// A part of a file as words, mapped and shared with every other process that maps it.
///
/// Access to a page that the file no longer has raises SIGBUS. While a `Shared` exists, a handler
/// of SIGBUS replaces the mapping by private zeros, and the access is repeated. From then on all
/// words read as zero, and [`Shared::is_lost`] returns true.
pub struct Shared {
    start: NonNull<AtomicU64>,
    words: usize,
    /// The action of SIGBUS before this mapping.
    previous: libc::sigaction,
}

/// The mapping that [`on_bus_error`] may replace. At most one [`Shared`] exists at a time.
static GUARDED_START: AtomicUsize = AtomicUsize::new(0);
static GUARDED_BYTES: AtomicUsize = AtomicUsize::new(0);
static IS_LOST: AtomicBool = AtomicBool::new(false);

const BOTH: i32 = libc::PROT_READ | libc::PROT_WRITE;

impl Shared {
    /// `offset` must be a multiple of the page size, and `bytes` a multiple of 8. Fails with
    /// `AlreadyExists` while another `Shared` exists.
    pub fn map(file: &File, offset: u64, bytes: usize) -> Result<Shared, Error> {
        let offset = libc::off_t::try_from(offset).map_err(Error::other)?;
        // Acquire: pairs with the Release store in the drop of the previous `Shared`.
        if GUARDED_BYTES.compare_exchange(0, bytes, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let unguard = |error| {
            GUARDED_BYTES.store(0, Ordering::Release);
            Err(error)
        };
        // SAFETY: the kernel chooses the address, so no existing mapping is replaced.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, BOTH, libc::MAP_SHARED, file.as_raw_fd(), offset) };
        if start == libc::MAP_FAILED {
            return unguard(Error::last_os_error());
        }
        let Some(words) = NonNull::new(start.cast()) else { return unguard(ErrorKind::OutOfMemory.into()) };
        IS_LOST.store(false, Ordering::Relaxed);
        GUARDED_START.store(start as usize, Ordering::Relaxed);
        match handle(libc::SIGBUS, on_bus_error) {
            Ok(previous) => Ok(Shared { start: words, words: bytes / 8, previous }),
            Err(error) => {
                // SAFETY: `start` and `bytes` are the mapping made above, and no reference to it
                // exists.
                unsafe { libc::munmap(start, bytes) };
                unguard(error)
            }
        }
    }

    /// The word at byte offset `place`, a multiple of 8 within the part. Any other offset gives the
    /// last word at most.
    pub fn word(&self, place: usize) -> &AtomicU64 {
        let index = (place / 8).min(self.words.saturating_sub(1));
        // SAFETY: `index` is within the mapping, which only `drop` unmaps. Other processes write it
        // with whole-word atomic accesses.
        unsafe { self.start.add(index).as_ref() }
    }

    /// Whether the file lost a page of this part, or a page could not be read. If so, values that
    /// were read before are worthless.
    pub fn is_lost(&self) -> bool {
        // The fence keeps the load after the accesses that precede it in program order. Relaxed:
        // the handler runs on the thread that made the access.
        compiler_fence(Ordering::SeqCst);
        IS_LOST.load(Ordering::Relaxed)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: this unmaps exactly what `map` mapped, and `&mut self` shows that no word is
        // borrowed. `previous` was written by the kernel.
        unsafe {
            libc::sigaction(libc::SIGBUS, &raw const self.previous, std::ptr::null_mut());
            libc::munmap(self.start.as_ptr().cast(), self.words * 8);
        }
        // Release: pairs with the Acquire compare-exchange in the next `map`.
        GUARDED_BYTES.store(0, Ordering::Release);
    }
}

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// Installs a signal handler, and returns the previous action.
fn handle(signal: i32, handler: Handler) -> Result<libc::sigaction, Error> {
    // SAFETY: all zeros are a valid `sigaction`, and sigemptyset initialises its mask. Both
    // structures live until the call returns.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut previous: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigemptyset(&raw mut action.sa_mask);
        match libc::sigaction(signal, &raw const action, &raw mut previous) {
            0 => Ok(previous),
            _ => Err(Error::last_os_error()),
        }
    }
}

/// Replaces the guarded mapping by zeros if its file has become shorter. Any other SIGBUS ends the
/// process, as the default action does.
extern "C" fn on_bus_error(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let (start, bytes) = (GUARDED_START.load(Ordering::Relaxed), GUARDED_BYTES.load(Ordering::Relaxed));
    // SAFETY: the kernel passes a valid siginfo_t. It has an address if si_code is positive, that
    // is, if a fault raised the signal.
    let address = unsafe { if (*info).si_code > 0 { (*info).si_addr() as usize } else { 0 } };
    if (start..start.saturating_add(bytes)).contains(&address) {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: the range is exactly the mapping of the only `Shared`. Its words stay mapped,
        // readable and writable throughout.
        if unsafe { libc::mmap(start as *mut libc::c_void, bytes, BOTH, flags, -1, 0) } != libc::MAP_FAILED {
            IS_LOST.store(true, Ordering::Relaxed);
            return;
        }
    }
    // SAFETY: both calls take only integers, and are async-signal-safe. The signal is delivered
    // when this handler returns.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// Raises the soft limit of descriptors to the hard limit. On failure the limit stays as it was.
pub fn allow_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes and setrlimit reads `limit`, a local.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Signals that are blocked, and waited for.
pub struct Signals(libc::sigset_t);

impl Signals {
    /// Blocks signals on this thread and on threads that it starts. Signals that were ignored when
    /// this process started are left out.
    pub fn block(numbers: &[i32]) -> Signals {
        let is_taken = |number: &&i32| mask::is_ignored(**number) == Some(false);
        let set = numbers.iter().filter(is_taken).fold(0, |set, number| set | mask::bit(*number));
        mask::change(libc::SIG_BLOCK, set);
        Signals(mask::of_libc(set))
    }

    /// Waits for one of the signals. None: the set is invalid.
    pub fn wait(&self) -> Option<i32> {
        let mut number = 0;
        // SAFETY: the set is initialised, and `number` is a local.
        (unsafe { libc::sigwait(&raw const self.0, &raw mut number) } == 0).then_some(number)
    }
}

/// Performs the default action of a signal on this process: it ends or stops, unless the signal is
/// ignored. Returns if the process was stopped and is continued.
pub fn take(signal: i32) {
    // If this fails, no signal is pending below.
    let _ = mask::raise(signal);
    mask::change(libc::SIG_UNBLOCK, mask::bit(signal));
    // The signal was delivered before this line.
    mask::change(libc::SIG_BLOCK, mask::bit(signal));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Shared;
    use std::fs::{self, OpenOptions};
    use std::sync::atomic::Ordering;

    #[test]
    fn a_mapped_file_that_is_truncated_reads_as_zero_and_is_lost() {
        let path = std::env::temp_dir().join(format!("epollshim-shared-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        file.set_len(3 * 4096).unwrap();
        let shared = Shared::map(&file, 4096, 8192).unwrap();
        assert!(Shared::map(&file, 0, 4096).is_err(), "one at a time");
        shared.word(4096).store(7, Ordering::Relaxed);
        assert!(!shared.is_lost());
        file.set_len(4096 + 4096).unwrap();
        shared.word(0).store(5, Ordering::Relaxed);
        assert_eq!((shared.word(0).load(Ordering::Relaxed), shared.is_lost()), (5, false), "this page is still there");
        assert_eq!(shared.word(4096).compare_exchange(7, 8, Ordering::AcqRel, Ordering::Relaxed), Err(0));
        assert!(shared.is_lost());
        assert_eq!(shared.word(0).load(Ordering::Relaxed), 0);
        drop(shared);
        file.set_len(3 * 4096).unwrap();
        let shared = Shared::map(&file, 4096, 8192).unwrap();
        assert!(!shared.is_lost());
        assert_eq!(shared.word(0).load(Ordering::Relaxed), 5, "the file keeps what was written before");
    }
}
