//! The processes that take part in a session. Each has a slot, which another process frees when its
//! owner is dead.
//!
//! A process is dead if no process with its pid and start time (proc(5), field 22 of stat) exists
//! in the same pid namespace, or if it is a zombie. Processes in other namespaces count as alive.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

use crate::{process, procfs, sigsafe, sys};

use epollshim_ledger::reservations::Kind;

use super::sums::{COUNT, File, READY, SLOTS, Slot, complete, empty, file, of_kind};

/// This process's slot, plus one; 0: none yet. The word lies in the page that the kernel wipes at
/// fork, so a child gets a slot of its own.
pub fn own_slot() -> &'static AtomicU32 {
    static NOWHERE: AtomicU32 = AtomicU32::new(0);
    process::session_slot().unwrap_or(&NOWHERE)
}

/// What `/proc/PID/stat` says about a process.
struct Life {
    /// When the process began, in clock ticks after boot.
    start: u64,
    /// The process is a zombie, which holds no descriptors any more.
    has_ended: bool,
}

/// None: there is no such process, or /proc cannot be read.
fn life_of(pid: i32) -> Option<Life> {
    let path = procfs::Short::of(format_args!("/proc/{pid}/stat"));
    let mut text = [0u8; 1024];
    let length = procfs::read_short(path.as_c()?, &mut text)?;
    let text = text.get(..length)?;
    // The name, in parentheses, may contain anything, so count fields from its end. State is field
    // 3.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = text.get(end + 2..)?.split(|byte| *byte == b' ');
    let state = fields.next()?;
    let mut number = |skipped| core::str::from_utf8(fields.nth(skipped)?).ok()?.parse::<u64>().ok();
    // num_threads is field 20. A first thread that ended before the others is also listed as a
    // zombie.
    let threads = number(20 - 4)?;
    // starttime is field 22.
    let start = number(22 - 21)?;
    Some(Life { start, has_ended: threads <= 1 && matches!(state, b"Z" | b"X") })
}

/// The inode of this process's pid namespace; 0: unknown.
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
        // The slot is being filled in or emptied, or a process was killed while it did that.
        return pid != 0 && !sys::process_exists(pid);
    }
    slot.namespace.load(Ordering::Relaxed) == here
        && (!sys::process_exists(pid)
            || life_of(pid).is_some_and(|life| life.has_ended || start != 0 && life.start != start))
}

/// Subtracts the shares of dead processes from the sums. True: there was a dead process.
pub fn reclaim() -> bool {
    // The current stack may be a signal handler's.
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
            // A successor with the same pid has another `start`.
            found |= vacate(file, index as u32, slot, owner, || slot.start.load(Ordering::Relaxed) == start);
        }
    }
    found
}

/// Frees a slot whose owner will not use it any more. Only one process can do that at a time: while
/// the slot is emptied it belongs to this process, and if this process is killed meanwhile, it
/// again belongs to a dead process.
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

/// Frees the slot that this process had before it called exec, and stores what it had claimed
/// ([`take_former`]). The next comparison with the kernel finds what the process still holds.
pub fn vacate_the_former(file: &File) {
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

/// What this process had claimed of each kind before an exec, and has not claimed again.
static FORMER: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

pub fn set_former(kind: Kind, count: u64) {
    of_kind(&FORMER, kind).store(count, Ordering::Relaxed);
}

/// Subtracts one. False: nothing is left.
pub fn take_former(kind: Kind) -> bool {
    of_kind(&FORMER, kind).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

pub fn slot_of_this_process() -> Option<u32> {
    match own_slot().load(Ordering::Acquire).checked_sub(1) {
        Some(slot) => Some(slot),
        None => take_slot(),
    }
}

/// Takes a slot for this process. If two threads do this at the same time, each takes a slot, and
/// the second one is freed.
#[cold]
#[inline(never)]
fn take_slot() -> Option<u32> {
    // The current stack may be a signal handler's.
    sigsafe::on_own_stack(|| {
        let file = file()?;
        // The pid of the memory's owner: what a child of vfork claims, its parent will release.
        let pid = process::pid();
        let (start, here) = (life_of(pid).map_or(0, |life| life.start), namespace());
        let find = || find_slot(file, pid, start, here, own_slot());
        find().or_else(|| if reclaim_the_dead(file) { find() } else { None })
    })?
}

/// Takes a free slot for a process, and stores its number in `own`.
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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::super::sums::tests::{KIND, new_file, share, sum};
    use super::super::sums::{Change, File, READY, apply};
    use super::{find_slot, vacate};
    use crate::model::{Search, check};
    use crate::sync::{AtomicU32, Ordering};
    use std::sync::Arc;

    #[test]
    fn a_slot_that_two_processes_vacate_belongs_to_its_next_owner() {
        const DEAD: u64 = 77 | READY;
        // The next owner has another pid, or the same pid.
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
}
