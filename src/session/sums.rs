//! The sums that processes count together, and each process's share of them.
//!
//! No process waits for another, and a process may be killed at any instruction. One exchange of a
//! sum's word changes the sum. The same word also says whose share must change, by what, and under
//! which number. The next process updates that share before it changes the sum itself. So at any
//! moment at most one share of a kind is behind its sum, and any process can update it. The share
//! of a dead process is subtracted from the sum in the same way.

use crate::sync::{AtomicPtr, AtomicU64, Ordering};

use epollshim_ledger::reservations::Kind;

/// How many processes can take part at one time.
pub const SLOTS: usize = 8192;

#[repr(C)]
pub struct File {
    magic: AtomicU64,
    version: AtomicU64,
    pub sums: [AtomicU64; 2],
    reserved: [u64; 4],
    pub slots: [Slot; SLOTS],
}

#[repr(C)]
pub struct Slot {
    /// The pid in the lower half; 0: the slot is free, and its shares are zero. [`READY`] is set
    /// from when the other fields are filled in until the slot is emptied.
    pub owner: AtomicU64,
    /// When the process began, in clock ticks after boot: field 22 of `/proc/PID/stat`.
    pub start: AtomicU64,
    /// The inode of the pid namespace.
    pub namespace: AtomicU64,
    pub shares: [AtomicU64; 2],
    reserved: [u64; 3],
}

pub const READY: u64 = 1 << 32;

// A sum: count (28 bits), slot (14), number (20), change (2).
pub const COUNT: u64 = (1 << 28) - 1;
const SLOT_SHIFT: u32 = 28;
const SLOT_MASK: u64 = (1 << 14) - 1;
const NUMBER_SHIFT: u32 = 42;
const NUMBER_MASK: u64 = (1 << 20) - 1;
const CHANGE_SHIFT: u32 = 62;
// A share: count (28 bits), number of the last change to it (36).

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Change {
    None = 0,
    Claim = 1,
    Release = 2,
    /// Subtracts the whole share: its process is dead.
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

pub static FILE: AtomicPtr<File> = AtomicPtr::new(core::ptr::null_mut());

pub fn file() -> Option<&'static File> {
    // SAFETY: null, or the mapping that `attach` (session.rs) made, which is never unmapped.
    unsafe { FILE.load(Ordering::Acquire).as_ref() }
}

/// The word for one kind.
pub fn of_kind(pair: &[AtomicU64; 2], kind: Kind) -> &AtomicU64 {
    let [instances, watches] = pair;
    match kind {
        Kind::Instances => instances,
        Kind::Watches => watches,
    }
}

/// Updates the share that the last change of a sum names.
pub fn complete(file: &File, kind: Kind, sum: u64) {
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
    // If another thread has done the same first, the share has changed and this exchange fails.
    let _ = share.compare_exchange(
        now,
        count & COUNT | number.wrapping_add(1) << SLOT_SHIFT,
        Ordering::AcqRel,
        Ordering::Relaxed,
    );
}

/// Changes a sum on behalf of a slot. Ok: the new sum. Err: the change would exceed `limit`.
pub fn apply(file: &File, kind: Kind, slot: u32, change: Change, limit: Option<u64>) -> Result<u64, ()> {
    let word = of_kind(&file.sums, kind);
    let Some(own) = file.slots.get(slot as usize) else { return Err(()) };
    let share = of_kind(&own.shares, kind);
    loop {
        let sum = word.load(Ordering::Acquire);
        complete(file, kind, sum);
        // Reads the share after the last change was completed. So the share is up to date if the
        // exchange below finds the sum unchanged.
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

pub fn empty(file: &File, slot: u32) {
    for kind in [Kind::Instances, Kind::Watches] {
        let _ = apply(file, kind, slot, Change::Reclaim, None);
    }
}

#[cfg(test)]
pub mod tests {
    extern crate std;
    use super::{Change, File, Kind, SLOTS, apply, empty, of_kind};
    use crate::model::{Event, Search, any_event_met, check, check_each_step, participate};
    use crate::sync::Ordering;
    use std::boxed::Box;
    use std::sync::Arc;

    pub const KIND: Kind = Kind::Watches;

    pub fn new_file() -> Arc<File> {
        // SAFETY: integers, for which zero is valid.
        Arc::from(unsafe { Box::<File>::new_zeroed().assume_init() })
    }

    pub fn sum(file: &File) -> u64 {
        of_kind(&file.sums, KIND).load(Ordering::Relaxed) & super::COUNT
    }

    pub fn share(file: &File, slot: usize) -> u64 {
        of_kind(&file.slots[slot].shares, KIND).load(Ordering::Relaxed) & super::COUNT
    }

    /// A process that claims twice and releases once. Its thread returns whether the process
    /// survived.
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
        // Changes by its own process, and by another one.
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
    fn a_process_without_a_share_releases_nothing() {
        let file = new_file();
        for change in [Change::Claim, Change::Release, Change::Release] {
            assert!(apply(&file, KIND, 1, change, None).is_ok());
            assert!(apply(&file, KIND, 2, Change::Claim, None).is_ok());
        }
        assert_eq!((sum(&file), share(&file, 1), share(&file, 2)), (3, 0, 3));
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
