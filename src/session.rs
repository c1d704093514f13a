//! Counts that the processes of one user share, in a file of the session's directory that all of
//! them map.
//!
//! ```text
//! header   magic, layout version
//! sums     for instances and for watches, one word each: the sum, and the last change to it
//! slots    one per process: its identity (pid, start, pid namespace) and its share of each sum
//! ```
//!
//! ```text
//! session/sums.rs     changes the sums and the shares
//! session/slots.rs    which process has which slot, and which processes are dead
//! session/default.rs  the directory of the session if the options name none
//! session/faults.rs   what the processes of a session share about faults
//! ```

mod default;
pub mod faults;
mod slots;
mod sums;

use crate::sync::{AtomicBool, AtomicU64, Ordering};
use core::ffi::CStr;

use crate::config::Config;
use crate::sigsafe::Files;
use crate::{place, sigsafe, sys};

pub use epollshim_ledger::reservations::Kind;
pub use slots::{reclaim, set_former, take_former};

use slots::{own_slot, slot_of_this_process, vacate_the_former};
use sums::{COUNT, Change, FILE, File, apply, file, of_kind};

const MAGIC: u64 = 0x6570_6f6c_6c73_686d;
const VERSION: u64 = 1;

/// Adds one to the counts, unless that would exceed `limit`. Dead processes count until [`reclaim`]
/// removes them. Ok: the sum over all processes of the user; 0 if no session is open.
pub fn claim(kind: Kind, limit: Option<u64>) -> Result<u64, ()> {
    let (Some(file), Some(slot)) = (file(), slot_of_this_process()) else { return Ok(0) };
    apply(file, kind, slot, Change::Claim, limit)
}

/// Subtracts one from the counts.
pub fn release(kind: Kind) {
    let slot = own_slot().load(Ordering::Relaxed);
    if let (Some(file), Some(slot)) = (file(), slot.checked_sub(1)) {
        let _ = apply(file, kind, slot, Change::Release, None);
    }
}

/// The sum over all processes of the user.
pub fn sum(kind: Kind) -> u64 {
    file().map_or(0, |file| of_kind(&file.sums, kind).load(Ordering::Relaxed) & COUNT)
}

/// Why a session could not be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// The directory cannot be used, by an error number.
    Directory(i32),
    /// It belongs to another user, or other users may write in it.
    NotOwned,
    /// A file in it cannot be mapped, by an error number.
    File(i32),
    /// The file belongs to another version, or is no session's file.
    Foreign,
    /// The options name no directory, and counts that the processes of one run share are wanted.
    NotNamed,
}

impl Trouble {
    /// The message about this trouble with a directory.
    pub fn of(self, directory: &CStr) -> impl core::fmt::Display + '_ {
        struct Message<'a>(Trouble, &'a CStr);
        impl core::fmt::Display for Message<'_> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let name = |error: i32| epollshim_format::errno::name(error as u32).unwrap_or("?");
                let directory = self.1.to_bytes().escape_ascii();
                match self.0 {
                    Trouble::Directory(error) => write!(f, "cannot use the directory '{directory}': {}", name(error)),
                    Trouble::NotOwned => {
                        write!(
                            f,
                            "'{directory}' must belong to this user, and no other user may write in it (chmod 700)"
                        )
                    }
                    Trouble::File(error) => write!(f, "cannot map a file in '{directory}': {}", name(error)),
                    Trouble::NotNamed => {
                        f.write_str("not set; scope=tree and phase= need a new directory for each run")
                    }
                    Trouble::Foreign => {
                        write!(f, "'{directory}' holds a file of another epollshim version; remove that file")
                    }
                }
            }
        }
        Message(self, directory)
    }
}

/// Opens the session that the options name, or the default one.
pub fn open(config: &Config) -> Result<(), Trouble> {
    match config.session {
        Some(directory) => attach(directory, true),
        None => default::attach(config),
    }
}

/// Opens the session in a directory. Only the first session that is opened counts.
fn attach(directory: &CStr, makes: bool) -> Result<(), Trouble> {
    if file().is_some() {
        return Ok(());
    }
    let start = map_private(directory, makes, c"limits.1", size_of::<File>())?.cast::<File>();
    static FIRST: AtomicBool = AtomicBool::new(true);
    // This must happen before any thread can claim. Later, a slot that this process takes could be
    // mistaken for the slot that it had before exec.
    if FIRST.swap(false, Ordering::Relaxed) {
        // SAFETY: the mapping was just made, has the size of a `File`, and is never unmapped.
        vacate_the_former(unsafe { &*start });
    }
    let _ = FILE.compare_exchange(core::ptr::null_mut(), start, Ordering::Release, Ordering::Relaxed);
    Ok(())
}

/// Maps a file of a session, and creates it if it does not exist. With `makes`, creates the
/// directory (0700) if its parent exists. Leaves no descriptor open.
fn map_private(directory: &CStr, makes: bool, name: &CStr, bytes: usize) -> Result<*mut u8, Trouble> {
    if makes {
        match sys::make_directory(directory, 0o700) {
            Ok(()) | Err(libc::EEXIST) => {}
            Err(error) => return Err(Trouble::Directory(error)),
        }
    }
    let mapped = sigsafe::unshared(|files| {
        let at = place::open_directory(files, directory).map_err(|error| match error {
            place::FOREIGN => Trouble::NotOwned,
            error => Trouble::Directory(error),
        })?;
        let mapped = map_in(files, at, name, bytes);
        files.close(at);
        mapped
    });
    mapped.unwrap_or(Err(Trouble::Directory(libc::ENOMEM)))
}

fn map_in(files: Files, directory: i32, name: &CStr, bytes: usize) -> Result<*mut u8, Trouble> {
    let status = sys::status(directory).map_err(Trouble::Directory)?;
    if !place::is_private(&status, libc::S_IFDIR) {
        return Err(Trouble::NotOwned);
    }
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_NOFOLLOW;
    let fd = files.open_at(directory, name, flags, 0o600).map_err(Trouble::File)?;
    let mapped = map_file(fd, bytes);
    files.close(fd);
    mapped
}

/// `bytes` is the size of a structure of integers that begins with two words: magic and layout
/// version.
fn map_file(fd: i32, bytes: usize) -> Result<*mut u8, Trouble> {
    let status = sys::status(fd).map_err(Trouble::File)?;
    if !place::is_private(&status, libc::S_IFREG) {
        return Err(Trouble::NotOwned);
    }
    // Makes the file system reserve every block before any is touched: a full disk is then an error
    // here and not a signal later. (New blocks read as zero, which is valid except in the header.)
    sys::allocate(fd, 0, bytes).map_err(Trouble::File)?;
    let start = sys::map_part(fd, 0, bytes, None).map_err(Trouble::File)?;
    // SAFETY: the mapping is longer than two integers, and any value of an integer is valid.
    let [magic, version] = unsafe { &*start.cast::<[AtomicU64; 2]>() };
    for (word, value) in [(magic, MAGIC), (version, VERSION)] {
        // The first process writes the word. Processes that arrive at the same time write the same
        // value.
        if word.compare_exchange(0, value, Ordering::AcqRel, Ordering::Acquire).is_err_and(|found| found != value) {
            return Err(Trouble::Foreign);
        }
    }
    Ok(start)
}
