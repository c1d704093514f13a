//! What the processes of one user count together: a file in the session's directory that all of
//! them map.
//!
//! ```text
//! header   magic, layout version
//! sums     for instances and for watches, one word each: the sum, and the last change to it
//! slots    one for each process: who (pid, start, pid namespace), and its share of each sum
//! ```
//!
//! ```text
//! session/sums.rs     changes the sums and the shares
//! session/slots.rs    which process has which slot, and which of them are dead
//! session/default.rs  the directory of a session that the options do not name
//! session/faults.rs   what the processes of a session share of faults
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

/// Counts one more, unless that would exceed `limit`. Dead processes count until they are
/// [`reclaim`]ed. Ok: the sum of all the user's processes; 0 if no session is open.
pub fn claim(kind: Kind, limit: Option<u64>) -> Result<u64, ()> {
    let (Some(file), Some(slot)) = (file(), slot_of_this_process()) else { return Ok(0) };
    apply(file, kind, slot, Change::Claim, limit)
}

/// Counts one less.
pub fn release(kind: Kind) {
    let slot = own_slot().load(Ordering::Relaxed);
    if let (Some(file), Some(slot)) = (file(), slot.checked_sub(1)) {
        let _ = apply(file, kind, slot, Change::Release, None);
    }
}

/// The sum of all the user's processes.
pub fn sum(kind: Kind) -> u64 {
    file().map_or(0, |file| of_kind(&file.sums, kind).load(Ordering::Relaxed) & COUNT)
}

/// Why a session could not be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// It is not a directory that this user owns and that only this user may write.
    Directory(i32),
    NotOwned,
    File(i32),
    /// The file belongs to another version, or to no session.
    Foreign,
    /// The options name none, and counts for one program alone are wanted.
    NotNamed,
}

impl Trouble {
    /// As a message about a directory.
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

/// Opens a session in a directory, of which it is the first.
fn attach(directory: &CStr, makes: bool) -> Result<(), Trouble> {
    if file().is_some() {
        return Ok(());
    }
    let start = map_private(directory, makes, c"limits.1", size_of::<File>())?.cast::<File>();
    static FIRST: AtomicBool = AtomicBool::new(true);
    // Before any thread can claim: later, a slot of this process could be mistaken for the former
    // image's.
    if FIRST.swap(false, Ordering::Relaxed) {
        // SAFETY: the mapping that was just made.
        vacate_the_former(unsafe { &*start });
    }
    let _ = FILE.compare_exchange(core::ptr::null_mut(), start, Ordering::Release, Ordering::Relaxed);
    Ok(())
}

/// Maps a file of a session, and creates it if it does not exist. The descriptor is closed again.
/// With `makes`, creates the directory (0700) if its parent exists.
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

/// `bytes`: of a structure of integers that begins with two words: magic, layout version.
fn map_file(fd: i32, bytes: usize) -> Result<*mut u8, Trouble> {
    let status = sys::status(fd).map_err(Trouble::File)?;
    if !place::is_private(&status, libc::S_IFREG) {
        return Err(Trouble::NotOwned);
    }
    // The file system reserves every block before it is touched: a full disk is an error here, not
    // a signal later. (New blocks read as zero, which is valid except for the header.)
    sys::allocate(fd, 0, bytes).map_err(Trouble::File)?;
    let start = sys::map_part(fd, 0, bytes, None).map_err(Trouble::File)?;
    // SAFETY: the mapping is longer than two integers, which may have any value.
    let [magic, version] = unsafe { &*start.cast::<[AtomicU64; 2]>() };
    for (word, value) in [(magic, MAGIC), (version, VERSION)] {
        // The first process writes it. All that come at the same time write the same.
        if word.compare_exchange(0, value, Ordering::AcqRel, Ordering::Acquire).is_err_and(|found| found != value) {
            return Err(Trouble::Foreign);
        }
    }
    Ok(start)
}
