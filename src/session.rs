//! What the processes of one user count together: a file in the session's directory that all of
//! them map.
//!
//! ```text
//! header   magic, layout version
//! sums     for instances and for watches, one word each: the sum, and the last change to it
//! slots    one for each process: who (pid, start, pid namespace), and its share of each sum
//! ```
//!
//! No process waits for another, and a process may be killed at any instruction. A sum is changed
//! by one exchange of its word, which also says whose share must change, by what, and under which
//! number. The next process brings that share up to date before it changes the sum itself. So at
//! any moment at most one share of a kind is behind its sum, and any process can correct it. The
//! share of a dead process is subtracted from the sum in the same way.
//!
//! A process is dead if there is no process of that pid and start time (proc(5), field 22 of stat)
//! in the same pid namespace, or if it is a zombie. Processes in other namespaces count as alive.

mod default;
pub mod faults;

use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use core::ffi::CStr;

use crate::config::Config;
use crate::sigsafe::Files;
use crate::{place, process, procfs, sigsafe, sys};

pub use epollshim_ledger::reservations::Kind;

const MAGIC: u64 = 0x6570_6f6c_6c73_686d;
const VERSION: u64 = 1;
/// How many processes can take part at one time.
const SLOTS: usize = 8192;

#[repr(C)]
struct File {
    magic: AtomicU64,
    version: AtomicU64,
    sums: [AtomicU64; 2],
    reserved: [u64; 4],
    slots: [Slot; SLOTS],
}

#[repr(C)]
struct Slot {
    /// Pid in the lower half; 0: free, and the shares are zero. [`READY`] is set once the rest is
    /// filled in, until it is emptied.
    owner: AtomicU64,
    /// Field 22 of `/proc/PID/stat`: clock ticks after the boot.
    start: AtomicU64,
    /// The inode of the pid namespace.
    namespace: AtomicU64,
    shares: [AtomicU64; 2],
    reserved: [u64; 3],
}

const READY: u64 = 1 << 32;

// A sum: count (28 bits), slot (14), number (20), change (2).
const COUNT: u64 = (1 << 28) - 1;
const SLOT_SHIFT: u32 = 28;
const SLOT_MASK: u64 = (1 << 14) - 1;
const NUMBER_SHIFT: u32 = 42;
const NUMBER_MASK: u64 = (1 << 20) - 1;
const CHANGE_SHIFT: u32 = 62;
// A share: count (28 bits), number of the last change to it (36).

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    None = 0,
    Claim = 1,
    Release = 2,
    /// The whole share is subtracted: its process is dead.
    Reclaim = 3,
}

fn change_of(sum: u64) -> Change {
    match sum >> CHANGE_SHIFT {
        1 => Change::Claim,
        2 => Change::Release,
        3 => Change::Reclaim,
        _ => Change::None,
    }
}

static FILE: AtomicPtr<File> = AtomicPtr::new(core::ptr::null_mut());
/// One more than this process's slot; 0: none yet. In the page that the kernel wipes at fork: a
/// child has its own.
fn own_slot() -> &'static AtomicU32 {
    static NOWHERE: AtomicU32 = AtomicU32::new(0);
    process::session_slot().unwrap_or(&NOWHERE)
}

fn file() -> Option<&'static File> {
    // SAFETY: null, or the mapping that `attach` made, which is never unmapped.
    unsafe { FILE.load(Ordering::Acquire).as_ref() }
}

/// The count of a kind.
fn of_kind(pair: &[AtomicU64; 2], kind: Kind) -> &AtomicU64 {
    let [instances, watches] = pair;
    match kind {
        Kind::Instances => instances,
        Kind::Watches => watches,
    }
}

/// Brings the share that the last change of a sum names up to date.
fn complete(file: &File, kind: Kind, sum: u64) {
    let change = change_of(sum);
    let Some(slot) = file.slots.get((sum >> SLOT_SHIFT & SLOT_MASK) as usize) else { return };
    let share = of_kind(&slot.shares, kind);
    let now = share.load(Ordering::Acquire);
    let number = now >> SLOT_SHIFT;
    if change == Change::None || number.wrapping_add(1) & NUMBER_MASK != sum >> NUMBER_SHIFT & NUMBER_MASK {
        return;
    }
    let count = match change {
        Change::Claim => (now & COUNT) + 1,
        Change::Release => (now & COUNT).saturating_sub(1),
        _ => 0,
    };
    // A thread that comes late finds the share changed, and its exchange fails.
    let _ = share.compare_exchange(
        now,
        count & COUNT | number.wrapping_add(1) << SLOT_SHIFT,
        Ordering::AcqRel,
        Ordering::Relaxed,
    );
}

/// Changes a sum on behalf of a slot. Err: that would exceed `limit`. Ok: the new sum.
fn apply(file: &File, kind: Kind, slot: u32, change: Change, limit: Option<u64>) -> Result<u64, ()> {
    let word = of_kind(&file.sums, kind);
    let Some(own) = file.slots.get(slot as usize) else { return Err(()) };
    let share = of_kind(&own.shares, kind);
    loop {
        let sum = word.load(Ordering::Acquire);
        complete(file, kind, sum);
        // Read after the last change was completed: it is up to date if the exchange below finds
        // the sum unchanged.
        let mine = share.load(Ordering::Acquire);
        let count = match change {
            Change::Claim => (sum & COUNT) + 1,
            Change::Release => (sum & COUNT).saturating_sub(u64::from(mine & COUNT != 0)),
            _ => (sum & COUNT).saturating_sub(mine & COUNT),
        };
        if change == Change::Claim && count > limit.unwrap_or(COUNT).min(COUNT) {
            return Err(());
        }
        let number = (mine >> SLOT_SHIFT).wrapping_add(1) & NUMBER_MASK;
        let next = count | u64::from(slot) << SLOT_SHIFT | number << NUMBER_SHIFT | (change as u64) << CHANGE_SHIFT;
        if word.compare_exchange(sum, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            complete(file, kind, next);
            return Ok(count);
        }
    }
}

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

/// What `/proc/PID/stat` says of a process.
struct Life {
    /// When it began, in clock ticks after the boot.
    start: u64,
    /// It is a zombie: it holds no descriptors any more.
    has_ended: bool,
}

/// None: there is no such process, or /proc cannot be read.
fn life_of(pid: i32) -> Option<Life> {
    let path = procfs::Short::of(format_args!("/proc/{pid}/stat"));
    let mut text = [0u8; 1024];
    let length = procfs::read_short(path.as_c()?, &mut text)?;
    let text = text.get(..length)?;
    // The name, in parentheses, may contain anything: count from its end. State is field 3.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = text.get(end + 2..)?.split(|byte| *byte == b' ');
    let state = fields.next()?;
    let mut number = |skipped| core::str::from_utf8(fields.nth(skipped)?).ok()?.parse::<u64>().ok();
    // num_threads, field 20: a first thread that ended before the others is a zombie as well.
    let threads = number(20 - 4)?;
    // starttime, field 22.
    let start = number(22 - 21)?;
    Some(Life { start, has_ended: threads <= 1 && matches!(state, b"Z" | b"X") })
}

/// The inode of this process's pid namespace; 0: not known.
fn namespace() -> u64 {
    let mut target = [0u8; 64];
    procfs::read_link(c"/proc/self/ns/pid", &mut target)
        .and_then(|text| text.strip_prefix(b"pid:[")?.strip_suffix(b"]"))
        .and_then(|digits| core::str::from_utf8(digits).ok()?.parse().ok())
        .unwrap_or(0)
}

fn is_dead(slot: &Slot, owner: u64, start: u64, here: u64) -> bool {
    let pid = owner as u32 as i32;
    if owner & READY == 0 {
        // Being filled in or emptied, or left so by a process that was killed in the meantime.
        return pid != 0 && !sys::process_exists(pid);
    }
    slot.namespace.load(Ordering::Relaxed) == here
        && (!sys::process_exists(pid)
            || life_of(pid).is_some_and(|life| life.has_ended || start != 0 && life.start != start))
}

/// Subtracts the shares of dead processes from the sums. True: there was one.
pub fn reclaim() -> bool {
    // The present stack may be a signal handler's.
    file().is_some_and(|file| sigsafe::on_own_stack(|| reclaim_the_dead(file)) == Some(true))
}

#[cold]
#[inline(never)]
fn reclaim_the_dead(file: &File) -> bool {
    let here = namespace();
    let mut found = false;
    for (index, slot) in file.slots.iter().enumerate() {
        let owner = slot.owner.load(Ordering::Acquire);
        let start = slot.start.load(Ordering::Relaxed);
        if owner != 0 && is_dead(slot, owner, start, here) {
            // A successor of the same pid has another `start`.
            found |= vacate(file, index as u32, slot, owner, || slot.start.load(Ordering::Relaxed) == start);
        }
    }
    found
}

/// Frees a slot whose owner will not use it any more. One process at a time: while it is emptied it
/// belongs to this process, and if this process is killed in the meantime, it belongs to a dead one
/// again.
fn vacate(file: &File, index: u32, slot: &Slot, owner: u64, is_still_his: impl Fn() -> bool) -> bool {
    let me = sys::getpid() as u64;
    if slot.owner.compare_exchange(owner, me, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        return false;
    }
    if !is_still_his() {
        slot.owner.store(owner, Ordering::Release);
        return false;
    }
    empty(file, index);
    slot.owner.store(0, Ordering::Release);
    true
}

/// Frees the slot that this process had before it called exec. The next comparison finds what it
/// held and did not close. What it had claimed is kept ([`take_former`]).
fn vacate_the_former(file: &File) {
    let pid = sys::getpid();
    let owner = pid as u64 | READY;
    if !file.slots.iter().any(|slot| slot.owner.load(Ordering::Relaxed) == owner) {
        return;
    }
    let (Some(life), here) = (life_of(pid), namespace()) else { return };
    for (index, slot) in file.slots.iter().enumerate() {
        let is_mine =
            || slot.start.load(Ordering::Relaxed) == life.start && slot.namespace.load(Ordering::Relaxed) == here;
        if slot.owner.load(Ordering::Acquire) != owner || !is_mine() {
            continue;
        }
        for (kind, share) in [Kind::Instances, Kind::Watches].into_iter().zip(&slot.shares) {
            complete(file, kind, of_kind(&file.sums, kind).load(Ordering::Acquire));
            set_former(kind, share.load(Ordering::Acquire) & COUNT);
        }
        vacate(file, index as u32, slot, owner, is_mine);
    }
}

/// What this process had claimed before an exec, of each kind, and has not claimed again.
static FORMER: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

pub fn set_former(kind: Kind, count: u64) {
    of_kind(&FORMER, kind).store(count, Ordering::Relaxed);
}

/// Subtracts one. False: nothing is left.
pub fn take_former(kind: Kind) -> bool {
    of_kind(&FORMER, kind).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

fn empty(file: &File, slot: u32) {
    for kind in [Kind::Instances, Kind::Watches] {
        let _ = apply(file, kind, slot, Change::Reclaim, None);
    }
}

fn slot_of_this_process() -> Option<u32> {
    match own_slot().load(Ordering::Acquire).checked_sub(1) {
        Some(slot) => Some(slot),
        None => take_slot(),
    }
}

/// A slot for this process. Two threads that come here together take two. The second is released.
#[cold]
#[inline(never)]
fn take_slot() -> Option<u32> {
    // The present stack may be a signal handler's.
    sigsafe::on_own_stack(|| {
        let file = file()?;
        // The pid of the memory's owner: a child of vfork claims what its parent will release.
        let pid = process::pid();
        let (start, here) = (life_of(pid).map_or(0, |life| life.start), namespace());
        let find = || find_slot(file, pid, start, here, own_slot());
        find().or_else(|| if reclaim_the_dead(file) { find() } else { None })
    })?
}

/// Takes a free slot for a process, and notes it in `own`.
fn find_slot(file: &File, pid: i32, start: u64, here: u64, own: &AtomicU32) -> Option<u32> {
    let begin = pid as usize % SLOTS;
    for step in 0..SLOTS {
        let index = (begin + step) % SLOTS;
        let Some(slot) = file.slots.get(index) else { continue };
        if slot.owner.compare_exchange(0, pid as u64, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            continue;
        }
        slot.start.store(start, Ordering::Relaxed);
        slot.namespace.store(here, Ordering::Relaxed);
        slot.owner.store(pid as u64 | READY, Ordering::Release);
        return match own.compare_exchange(0, index as u32 + 1, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(index as u32),
            Err(other) => {
                slot.owner.store(0, Ordering::Release);
                other.checked_sub(1)
            }
        };
    }
    None
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
                        write!(f, "'{directory}' must be this user's own, and nobody else may write in it (chmod 700)")
                    }
                    Trouble::File(error) => write!(f, "cannot map a file in '{directory}': {}", name(error)),
                    Trouble::NotNamed => {
                        f.write_str("not set; scope=tree and phase= need a new directory for each run")
                    }
                    Trouble::Foreign => write!(f, "'{directory}' has another version's file; remove it"),
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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{Change, File, Kind, READY, SLOTS, apply, empty, find_slot, of_kind, vacate};
    use crate::model::{Event, Search, any_event_met, check, check_each_step, participate};
    use crate::sync::{AtomicU32, Ordering};
    use std::boxed::Box;
    use std::sync::Arc;

    const KIND: Kind = Kind::Watches;

    fn new_file() -> Arc<File> {
        // SAFETY: integers, for which zero is valid.
        Arc::from(unsafe { Box::<File>::new_zeroed().assume_init() })
    }

    fn sum(file: &File) -> u64 {
        of_kind(&file.sums, KIND).load(Ordering::Relaxed) & super::COUNT
    }

    fn share(file: &File, slot: usize) -> u64 {
        of_kind(&file.slots[slot].shares, KIND).load(Ordering::Relaxed) & super::COUNT
    }

    /// A process that claims twice and releases once. What has returned gives the least and the
    /// most that it has counted.
    fn process(file: &Arc<File>, slot: u32, at: usize, event: Option<Event>) -> shuttle::thread::JoinHandle<bool> {
        let file = file.clone();
        shuttle::thread::spawn(move || {
            participate(at, event, || {
                for change in [Change::Claim, Change::Claim, Change::Release] {
                    assert!(apply(&file, KIND, slot, change, None).is_ok());
                }
            })
        })
    }

    #[test]
    fn a_process_that_is_killed_at_any_step_leaves_the_sum_that_the_living_hold() {
        // Three changes of at most 12 steps each, without retries.
        for at in 0..50 {
            check(Search::Random(60), move || {
                let file = new_file();
                let victim = process(&file, 1, at, Some(Event::Stop));
                let others = [process(&file, 2, 0, None), process(&file, SLOTS as u32 - 1, 0, None)];
                let lived = victim.join().unwrap();
                for other in others {
                    assert!(other.join().unwrap());
                }
                assert_eq!((share(&file, 2), share(&file, SLOTS - 1)), (1, 1));
                // The next process completes the change that the victim has begun.
                empty(&file, 3);
                assert_eq!(sum(&file), 2 + share(&file, 1), "the sum is not that of the shares");
                if lived {
                    assert_eq!(share(&file, 1), 1);
                }
                empty(&file, 1);
                assert_eq!((sum(&file), share(&file, 1)), (2, 0), "the dead process is still counted");
            });
        }
    }

    #[test]
    fn a_thread_that_is_suspended_at_any_step_undoes_nothing_that_others_did() {
        // Of its own process, and of another.
        const OTHERS: [(u32, Change); 5] =
            [(1, Change::Claim), (2, Change::Claim), (1, Change::Claim), (1, Change::Release), (2, Change::Claim)];
        check_each_step(Search::Exhaustive(1), |at| {
            let file = new_file();
            let others = file.clone();
            let work = Box::new(move || {
                for (slot, change) in OTHERS {
                    assert!(apply(&others, KIND, slot, change, None).is_ok());
                }
            });
            participate(at, Some(Event::Handler(work)), || {
                for _ in 0..2 {
                    assert!(apply(&file, KIND, 1, Change::Claim, None).is_ok());
                }
            });
            let (own, other) = if any_event_met() { (3, 2) } else { (2, 0) };
            assert_eq!((share(&file, 1), share(&file, 2), sum(&file)), (own, other, own + other));
        });
    }

    #[test]
    fn who_has_nothing_gives_nothing_back() {
        let file = new_file();
        for change in [Change::Claim, Change::Release, Change::Release] {
            assert!(apply(&file, KIND, 1, change, None).is_ok());
            assert!(apply(&file, KIND, 2, Change::Claim, None).is_ok());
        }
        assert_eq!((sum(&file), share(&file, 1), share(&file, 2)), (3, 0, 3));
    }

    #[test]
    fn a_slot_that_two_vacate_is_its_next_owners_whoever_that_is() {
        const DEAD: u64 = 77 | READY;
        // The next owner has another pid, or the same again.
        for (pid, search) in [(88, Search::Random(1500)), (77, Search::Random(1500)), (77, Search::Suspending(1500))] {
            check(search, move || {
                let file = new_file();
                let slot = |file: &Arc<File>| &raw const file.slots[1];
                // SAFETY: the file lives as long as its threads.
                let of = move |file: &Arc<File>| unsafe { &*slot(file) };
                of(&file).owner.store(DEAD, Ordering::Relaxed);
                of(&file).start.store(5, Ordering::Relaxed);
                for _ in 0..3 {
                    assert!(apply(&file, KIND, 1, Change::Claim, None).is_ok());
                }
                let vacating = [(), ()].map(|()| {
                    let file = file.clone();
                    shuttle::thread::spawn(move || {
                        let is_still_his = || of(&file).start.load(Ordering::Relaxed) == 5;
                        vacate(&file, 1, of(&file), DEAD, is_still_his)
                    })
                });
                let next = {
                    let file = file.clone();
                    shuttle::thread::spawn(move || {
                        let is_taken = (0..40).any(|_| {
                            of(&file).owner.compare_exchange(0, pid, Ordering::AcqRel, Ordering::Relaxed).is_ok()
                        });
                        if is_taken {
                            assert_eq!((sum(&file), share(&file, 1)), (0, 0), "it is not empty");
                            of(&file).start.store(6, Ordering::Relaxed);
                            of(&file).owner.store(pid | READY, Ordering::Release);
                            assert!(apply(&file, KIND, 1, Change::Claim, None).is_ok());
                        }
                        is_taken
                    })
                };
                let vacated = vacating.map(|thread| thread.join().unwrap());
                assert!(vacated[0] != vacated[1], "{vacated:?}");
                let (owner, count) = if next.join().unwrap() { (pid | READY, 1) } else { (0, 0) };
                assert_eq!(of(&file).owner.load(Ordering::Relaxed), owner);
                assert_eq!((sum(&file), share(&file, 1)), (count, count));
            });
        }
    }

    #[test]
    fn two_threads_that_need_a_slot_get_one() {
        check(Search::Random(500), || {
            let (file, own) = (new_file(), Arc::new(AtomicU32::new(0)));
            let find = || {
                let (file, own) = (file.clone(), own.clone());
                shuttle::thread::spawn(move || find_slot(&file, 77, 5, 1, &own))
            };
            let found = [find(), find()].map(|thread| thread.join().unwrap());
            assert!(found[0].is_some() && found[0] == found[1], "{found:?}");
            let owners = [77, 78, 79].map(|slot| file.slots[slot].owner.load(Ordering::Relaxed));
            assert_eq!(owners.map(|owner| owner != 0), [77, 78, 79].map(|slot| found[0] == Some(slot)));
        });
    }

    #[test]
    fn racing_processes_never_exceed_a_limit() {
        check(Search::Random(1500), || {
            let file = new_file();
            let claim = |slot: u32| {
                let file = file.clone();
                shuttle::thread::spawn(move || apply(&file, KIND, slot, Change::Claim, Some(2)).is_ok())
            };
            let claims = [claim(1), claim(2), claim(3)].map(|claim| claim.join().unwrap());
            assert_eq!(claims.iter().filter(|claim| **claim).count(), 2);
            assert_eq!(sum(&file), 2);
        });
    }
}
