//! The few system calls that the standard library does not have. The only unsafe code of the command.

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

/// Becomes the program `words[0]`, looked for in PATH as a shell does. Returns only where that failed.
pub fn execute(words: &[OsString], environment: &[(OsString, OsString)]) -> Error {
    match exec::Ready::new(words, environment) {
        Ok(mut ready) => Error::from_raw_os_error(ready.exec()),
        Err(error) => error,
    }
}

/// Whether this process may execute a file.
pub fn may_execute(path: &Path) -> bool {
    // SAFETY: a zero-terminated string.
    c_string(path.as_os_str()).is_ok_and(|path| unsafe { libc::access(path.as_ptr(), libc::X_OK) } == 0)
}

/// Whether this process may make files in a directory.
pub fn may_write(directory: &Path) -> Result<(), Error> {
    let directory = c_string(directory.as_os_str())?;
    // SAFETY: a zero-terminated string.
    match unsafe { libc::access(directory.as_ptr(), libc::W_OK | libc::X_OK) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

/// 128 random bits that nobody can guess.
pub fn random() -> Result<u128, Error> {
    let mut bytes = [0u8; 16];
    // SAFETY: the buffer has the length that is told.
    let length = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if usize::try_from(length) == Ok(bytes.len()) {
        Ok(u128::from_ne_bytes(bytes))
    } else {
        Err(Error::last_os_error())
    }
}

/// The real user and group of this process.
pub fn user() -> (u32, u32) {
    // SAFETY: they take nothing and cannot fail.
    unsafe { (libc::getuid(), libc::getgid()) }
}

/// An extended attribute of a file, of at most 64 bytes; None: it has none, or it cannot be read.
pub fn attribute(path: &Path, name: &CStr) -> Option<Vec<u8>> {
    let path = c_string(path.as_os_str()).ok()?;
    let mut value = vec![0u8; 64];
    // SAFETY: the buffer has the length that is told.
    let length = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(usize::try_from(length).ok()?);
    Some(value)
}

/// Whether set-user-ID bits and capabilities of files have no effect where this file lies.
pub fn is_mounted_nosuid(path: &Path) -> bool {
    let Ok(path) = c_string(path.as_os_str()) else { return false };
    let mut status = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the structure is as large as libc says, and all zeroes are a valid value of it.
    unsafe {
        libc::statvfs(path.as_ptr(), status.as_mut_ptr()) == 0 && status.assume_init().f_flag & libc::ST_NOSUID != 0
    }
}

/// What a file system has free for this user: bytes, and files (`u64::MAX` where it does not count them).
pub fn free(path: &Path) -> Result<(u64, u64), Error> {
    let path = c_string(path.as_os_str())?;
    let mut status = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the structure is as large as libc says, and all zeroes are a valid value of it.
    let status = unsafe {
        if libc::statvfs(path.as_ptr(), status.as_mut_ptr()) != 0 {
            return Err(Error::last_os_error());
        }
        status.assume_init()
    };
    let files = if status.f_files == 0 { u64::MAX } else { status.f_favail };
    Ok((status.f_bavail.saturating_mul(status.f_frsize), files))
}

/// Whether two descriptors of a process refer to one open file description (kcmp(2)). None: it cannot be found out.
pub fn are_one(pid: u32, one: i32, other: i32) -> Option<bool> {
    order_of(pid, one, other).ok().map(std::cmp::Ordering::is_eq)
}

/// How the kernel orders the open file descriptions of two descriptors of a process (kcmp(2)): an order that sorts them. Err: it may
/// not be asked, or one is closed.
pub fn order_of(pid: u32, one: i32, other: i32) -> Result<std::cmp::Ordering, Error> {
    const KCMP_FILE: libc::c_long = 0;
    let (pid, one, other) = (libc::c_long::from(pid), libc::c_long::from(one), libc::c_long::from(other));
    // SAFETY: kcmp takes numbers alone.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, pid, pid, KCMP_FILE, one, other) };
    // kcmp(2): 0 is equal, 1 is less, 2 is greater.
    match order {
        0 => Ok(std::cmp::Ordering::Equal),
        1 => Ok(std::cmp::Ordering::Less),
        2 => Ok(std::cmp::Ordering::Greater),
        _ => Err(Error::last_os_error()),
    }
}

/// CLOCK_MONOTONIC, nanoseconds: the clock of recordings.
pub fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes the one structure that it is given, and knows this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

/// The user that files and processes are opened as.
pub fn effective_user() -> u32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Tries to take the only lock of a file (flock(2)); it ends with the last descriptor of it. Ok(false): another has it.
pub fn lock(file: &File) -> Result<bool, Error> {
    // SAFETY: the descriptor is open as long as the file is.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    let error = Error::last_os_error();
    if error.kind() == ErrorKind::WouldBlock { Ok(false) } else { Err(error) }
}

/// A part of a file, mapped and shared with every other process that maps it, in words.
///
/// An access to a page that the file no longer has raises SIGBUS. While a `Shared` exists, a handler of SIGBUS replaces the
/// mapping by private zeros, and the access is repeated: the words read as zero from then on, and [`Shared::is_lost`] holds.
pub struct Shared {
    start: NonNull<AtomicU64>,
    words: usize,
    /// What SIGBUS did before.
    previous: libc::sigaction,
}

/// The mapping that [`on_bus_error`] may replace: there is one [`Shared`] at a time.
static GUARDED_START: AtomicUsize = AtomicUsize::new(0);
static GUARDED_BYTES: AtomicUsize = AtomicUsize::new(0);
static IS_LOST: AtomicBool = AtomicBool::new(false);

const BOTH: i32 = libc::PROT_READ | libc::PROT_WRITE;

impl Shared {
    /// `offset` must be a multiple of the page's size, `bytes` of 8. Fails with `AlreadyExists` while another `Shared` exists.
    pub fn map(file: &File, offset: u64, bytes: usize) -> Result<Shared, Error> {
        let offset = libc::off_t::try_from(offset).map_err(Error::other)?;
        // Acquire: pairs with the Release of the drop of the `Shared` before this one.
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
                // SAFETY: this mapping was made above, and no word of it was given away.
                unsafe { libc::munmap(start, bytes) };
                unguard(error)
            }
        }
    }

    /// The word at a place in bytes: a multiple of 8 within the part. Anything else is the last word.
    pub fn word(&self, place: usize) -> &AtomicU64 {
        let index = (place / 8).min(self.words.saturating_sub(1));
        // SAFETY: `index` is within the mapping, which `drop` alone unmaps. Other processes change it by whole words.
        unsafe { self.start.add(index).as_ref() }
    }

    /// Whether the file has lost a page of this part, or the page could not be read: what was read since is worth nothing.
    pub fn is_lost(&self) -> bool {
        // The fence keeps this load behind the accesses that came before it in the program. Relaxed: the handler runs in the
        // thread that made the access.
        compiler_fence(Ordering::SeqCst);
        IS_LOST.load(Ordering::Relaxed)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: this unmaps exactly what `map` made; no word of it is borrowed any more. `previous` came from the kernel.
        unsafe {
            libc::sigaction(libc::SIGBUS, &raw const self.previous, std::ptr::null_mut());
            libc::munmap(self.start.as_ptr().cast(), self.words * 8);
        }
        // Release: pairs with the Acquire of the next `map`.
        GUARDED_BYTES.store(0, Ordering::Release);
    }
}

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// Installs a handler; what the signal did before.
fn handle(signal: i32, handler: Handler) -> Result<libc::sigaction, Error> {
    // SAFETY: all zeros are a valid `sigaction`, whose mask sigemptyset initialises; both structures live until the call returns.
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

/// Replaces a guarded mapping whose file has become shorter by zeros. Any other SIGBUS ends the process, as by default.
extern "C" fn on_bus_error(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let (start, bytes) = (GUARDED_START.load(Ordering::Relaxed), GUARDED_BYTES.load(Ordering::Relaxed));
    // SAFETY: the kernel passes a siginfo_t, which has an address where si_code says that it is a fault's.
    let address = unsafe { if (*info).si_code > 0 { (*info).si_addr() as usize } else { 0 } };
    if (start..start.saturating_add(bytes)).contains(&address) {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: the range is the mapping of the one `Shared`, whose words stay readable and writable throughout.
        if unsafe { libc::mmap(start as *mut libc::c_void, bytes, BOTH, flags, -1, 0) } != libc::MAP_FAILED {
            IS_LOST.store(true, Ordering::Relaxed);
            return;
        }
    }
    // SAFETY: both take numbers, and may be called in a handler. The signal is delivered as this handler returns.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// Allows this process as many descriptors as it may allow itself. Without that, as before.
pub fn allow_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the first writes, the second reads the one structure that it is given.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// A set of signals that are waited for, and not delivered otherwise.
pub struct Signals(libc::sigset_t);

impl Signals {
    /// Blocks signals for this thread and those that it starts, but for those that this process was started to ignore.
    pub fn block(numbers: &[i32]) -> Signals {
        let is_taken = |number: &&i32| mask::is_ignored(**number) == Some(false);
        let set = numbers.iter().filter(is_taken).fold(0, |set, number| set | mask::bit(*number));
        mask::change(libc::SIG_BLOCK, set);
        Signals(mask::of_libc(set))
    }

    /// Waits for one. None: there is none to wait for.
    pub fn wait(&self) -> Option<i32> {
        let mut number = 0;
        // SAFETY: an initialised set, and space for a number.
        (unsafe { libc::sigwait(&raw const self.0, &raw mut number) } == 0).then_some(number)
    }
}

/// Has a signal do to this process what it does by default: ends or stops it, unless it is ignored. Returns where it was
/// stopped and goes on.
pub fn take(signal: i32) {
    // Where no signal was sent, there is none to be delivered.
    let _ = mask::raise(signal);
    mask::change(libc::SIG_UNBLOCK, mask::bit(signal));
    // Here it was delivered.
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
