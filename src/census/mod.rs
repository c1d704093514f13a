//! The census: every descriptor of the process, from the call that creates it to the one that
//! closes it (`EPOLLSHIM_CENSUS=1`).
//!
//! ```text
//! table.rs      the state of each number: open or closed, by which call
//! places.rs     the calls that create descriptors, each with what it created
//! evaluation.rs its findings, for each report
//! exhausted.rs  what the descriptors are when none is free
//! lingering.rs  descriptors that stay open though their other end is gone
//! local.rs      what each thread remembers of its last closes
//! reconcile.rs  the comparison with /proc
//! room.rs       how many are open or being opened, for a limit
//! strays.rs     closes that hit what another thread opened
//! mirror.rs     a copy of all this in the recording
//! ```
//!
//! Hooks report what the real calls returned, and only while the census is on. It takes no lock:
//! each number has two words, and each place has a counter. As in the ledger, a close is noted
//! before the real call, and a creation after it. So the close is recorded before another thread's
//! creation that reuses the number.
//!
//! The child of a fork continues with a copy of all this, as it does with the descriptors. A child
//! of vfork runs in its parent's memory, but with its own descriptor table: the descriptors that it
//! closes are not the parent's, and are not noted.

pub mod evaluation;
pub mod exhausted;
mod lingering;
pub mod local;
pub mod mirror;
pub mod places;
mod reconcile;
pub mod room;
mod strays;
mod table;

use crate::sync::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use epollshim_format::census::Kind;
use epollshim_format::findings::{Id, Severity, double_close, use_after_close};

use crate::findings::{self, Note};
use crate::thread::Block;
use crate::{loaded, registers, sys, thread};

use self::room::Room;

pub use evaluation::is_looked_after;
pub use reconcile::{Census, reconcile};
pub use table::{Entry, each_alive, forget_touched, was_touched_by_a_borrower};

/// [`OFF`] or [`ON`]; 0: the constructor has not looked up all real functions yet. The hooks'
/// assembly reads it.
pub static STATE: AtomicU8 = AtomicU8::new(0);
/// There is no census: the hooks jump to the real functions.
pub const OFF: u8 = 1;
pub const ON: u8 = 2;

/// How many forks lie between this process and the one that loaded the library.
static GENERATION: AtomicU8 = AtomicU8::new(0);
/// Open descriptors, and their peak.
static ROOM: Room = Room::new();
static PEAK: AtomicU64 = AtomicU64::new(0);
/// Found open at load.
static AT_START: AtomicU32 = AtomicU32::new(0);
/// How many creations and closes were found only by a comparison with the kernel, or by a later
/// creation.
static CORRECTED: AtomicU64 = AtomicU64::new(0);
/// A limit counts descriptors, so calls reserve room before they create one.
static IS_LIMITED: AtomicBool = AtomicBool::new(false);
/// This process has created or closed a descriptor.
static HAS_SEEN: AtomicBool = AtomicBool::new(false);

#[inline(always)]
pub fn is_on() -> bool {
    STATE.load(Ordering::Relaxed) == ON
}

/// Called when the constructor has looked up all real functions. Without a census, the hooks no
/// longer call the census.
pub fn settle() {
    let _ = STATE.compare_exchange(0, OFF, Ordering::Relaxed, Ordering::Relaxed);
}

/// Begins the census. The descriptors that are open now count as open at load.
#[cold]
pub fn begin() {
    crate::sigsafe::on_own_stack(reconcile::take_stock);
    STATE.store(ON, Ordering::Release);
}

/// Called once in the child of a fork, which has its parent's descriptors, and has created and
/// closed none itself.
pub fn after_fork() {
    exhausted::after_fork();
    if is_on() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
        places::after_fork();
        ROOM.after_fork();
        PEAK.store(ROOM.alive(), Ordering::Relaxed);
        CORRECTED.store(0, Ordering::Relaxed);
        NOT_JUDGED.store(0, Ordering::Relaxed);
        HAS_SEEN.store(false, Ordering::Relaxed);
    }
}

pub fn generation() -> u8 {
    GENERATION.load(Ordering::Relaxed)
}

/// Whether this process has created or closed a descriptor.
pub fn has_seen_something() -> bool {
    is_on() && HAS_SEEN.load(Ordering::Relaxed)
}

/// How a descriptor was created.
#[derive(Clone, Copy)]
pub struct Birth {
    pub kind: Kind,
    /// The return address, or a stack's.
    pub site: usize,
    pub is_cloexec: bool,
    /// The caller chose its number (dup2).
    pub is_placed: bool,
}

/// Notes that a call returned a new descriptor. Ignores a negative number.
#[inline(always)]
pub fn born(fd: i32, birth: Birth) {
    if fd >= 0 && is_on() {
        if local::is_borrowed() {
            return table::touch(fd);
        }
        note_birth(fd, birth);
    }
}

#[inline(always)]
fn note_birth(fd: i32, birth: Birth) {
    let (number, place) = places::of(birth.site, birth.kind);
    let mut entry = Entry::alive(number, birth.kind, generation(), registers::token());
    entry.set(Entry::CLOEXEC, birth.is_cloexec);
    entry.set(Entry::PLACED, birth.is_placed);
    let Some(old) = table::put(fd, entry) else { return };
    if !HAS_SEEN.load(Ordering::Relaxed) {
        HAS_SEEN.store(true, Ordering::Relaxed);
    }
    place.count_birth(number);
    if old.is_alive() {
        reused(old, birth.is_placed);
    } else {
        let live = if IS_LIMITED.load(Ordering::Relaxed) { begin_within_limit() } else { ROOM.begin() };
        if live > PEAK.load(Ordering::Relaxed) {
            PEAK.fetch_max(live, Ordering::Relaxed);
        }
    }
    if mirror::is_followed() {
        mirror::changed(fd, number);
    }
}

/// The number was still open: it was replaced in one step (dup2), or no hook saw its close
/// (fclose).
#[cold]
#[inline(never)]
fn reused(old: Entry, is_placed: bool) {
    places::at(old.place()).died();
    if !is_placed {
        CORRECTED.fetch_add(1, Ordering::Relaxed);
        mirror::changed_totals();
    }
    if mirror::is_followed() {
        mirror::changed_place(old.place());
    }
}

#[cold]
#[inline(never)]
fn begin_within_limit() -> u64 {
    match thread::block() {
        Some(block) if room::unnote(block, 1) == 1 => ROOM.begin_within(),
        _ => ROOM.begin(),
    }
}

/// Notes that `new` is a duplicate of `old`, and of the same kind.
#[inline(always)]
pub fn duplicated(old: i32, new: i32, birth: Birth) {
    if new >= 0 && new != old {
        let kind = table::get(old).kind();
        born(new, Birth { kind, ..birth });
    }
}

/// What [`closing`] found, for [`close_failed`].
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Before {
    /// A failure is no finding.
    Nothing = 0,
    WasClosed = 1,
    WasAlive = 2,
}

/// Called before a real close.
#[inline(always)]
pub fn closing(fd: i32, site: usize) -> u64 {
    if fd < 0 || !is_on() {
        return Before::Nothing as u64;
    }
    if local::is_borrowed() {
        table::touch(fd);
        return Before::Nothing as u64;
    }
    local::closes(fd, site);
    let before = end(fd, site, false);
    local::has_closed(fd, before == Before::WasAlive);
    before as u64
}

#[inline(always)]
fn end(fd: i32, site: usize, is_swept: bool) -> Before {
    let ended = table::end(fd, site, is_swept);
    let old = ended.old;
    if old.is_alive() {
        places::at(old.place()).died();
        // If the parent of a fork created it, no other thread of this process did.
        if !ended.by_its_own && !is_swept && old.generation() == generation() {
            strays::closed_by_another(fd, site, ended, places::at(old.place()).site());
        }
        ROOM.end();
        if mirror::is_followed() {
            mirror::changed(fd, old.place());
        }
        if !HAS_SEEN.load(Ordering::Relaxed) {
            HAS_SEEN.store(true, Ordering::Relaxed);
        }
        Before::WasAlive
    } else if old.was_closed() {
        Before::WasClosed
    } else {
        Before::Nothing
    }
}

/// Called after a real close has failed.
#[cold]
#[inline(never)]
pub fn close_failed(fd: i32, site: usize, before: u64, error: i32) {
    if error != libc::EBADF || before == Before::Nothing as u64 || local::is_sweeping() {
        return;
    }
    let was_alive = before == Before::WasAlive as u64;
    let closer = table::last_close(fd);
    // If this thread created it, its close is right, and the other thread's close is the finding.
    let is_victim = !was_alive && strays::confirmed(fd, closer.site);
    // A child has a copy of its parent's memory, and so knows what the parent closed before the
    // fork. That is `Info`.
    let is_own = table::get(fd).generation() == generation();
    let variant = match () {
        () if was_alive => double_close::OUT_OF_SIGHT,
        () if table::get(fd).has(Entry::SWEPT) => double_close::SWEPT,
        () if closer.thread != table::mark(registers::token()) => double_close::BY_ANOTHER_THREAD,
        () => 0,
    };
    let severity = match variant {
        _ if !is_own || is_victim => Severity::Info,
        double_close::SWEPT => Severity::Info,
        double_close::OUT_OF_SIGHT => Severity::Warning,
        0 if !loaded::may_have_threads() => Severity::Warning,
        _ => Severity::Error,
    };
    let note = Note {
        variant,
        fd,
        site,
        other: if was_alive { 0 } else { closer.site },
        detail: [table::get(fd).kind() as u64, places::at(table::get(fd).place()).site() as u64, 0, 0],
        ..Note::of(Id::DoubleClose, severity)
    };
    findings::note(&note);
    local::has_noted(&note);
}

/// Called after a call has failed with EBADF on a number. `call` is a variant of `use-after-close`.
/// True: the number was closed before, and the finding is noted.
#[cold]
#[inline(never)]
pub fn used(fd: i32, call: u8, site: usize) -> bool {
    if fd < 0 || !is_on() || local::is_borrowed() {
        return false;
    }
    let entry = table::get(fd);
    if entry.is_alive() || !entry.was_closed() {
        return false;
    }
    let closer = table::last_close(fd);
    let is_swept = entry.has(Entry::SWEPT) && call != use_after_close::WAIT;
    // Programs make these two calls after a close on purpose.
    let proves_nothing = matches!(call, use_after_close::PROBE | use_after_close::DEL);
    let is_victim = !proves_nothing && strays::confirmed(fd, closer.site);
    let severity = match call {
        _ if is_victim => Severity::Info,
        // Programs probe whether a number is open, and delete interests that a close has removed.
        _ if proves_nothing => Severity::Info,
        _ if is_swept || entry.generation() != generation() => Severity::Info,
        _ if closer.thread != table::mark(registers::token()) => Severity::Error,
        _ => Severity::Warning,
    };
    findings::note(&Note {
        variant: call,
        fd,
        site,
        other: closer.site,
        detail: [entry.kind() as u64, places::at(entry.place()).site() as u64, 0, 0],
        ..Note::of(Id::UseAfterClose, severity)
    });
    true
}

/// Called before a range of numbers is closed, both ends included.
#[cold]
pub fn closing_range(first: u32, last: u32, site: usize) {
    if !is_on() {
        return;
    }
    let is_borrowed = local::is_borrowed();
    let bound = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    for fd in bound(first)..=bound(last).min(table::highest()) {
        if is_borrowed {
            table::touch(fd);
        } else if table::get(fd).is_alive() {
            end(fd, site, true);
        }
    }
}

/// Called after `fcntl(F_SETFD)` has succeeded.
pub fn set_flags(fd: i32, flags: i32) {
    if is_on() && !local::is_borrowed() {
        let is_cloexec = flags & libc::FD_CLOEXEC != 0;
        table::change(fd, |entry| {
            entry.set(Entry::CLOEXEC, is_cloexec);
            // The program clears the flag explicitly, to pass the descriptor to the next program.
            entry.set(Entry::HANDED_ON, !is_cloexec);
        });
        if mirror::is_followed() {
            mirror::changed(fd, table::get(fd).place());
        }
    }
}

/// Notes that `popen` created a descriptor.
pub fn is_popens(fd: i32) {
    if is_on() && !local::is_borrowed() {
        table::change(fd, |entry| entry.set(Entry::POPENS, true));
    }
}

/// How many programs were started with file actions of an unknown kind.
static NOT_JUDGED: AtomicU64 = AtomicU64::new(0);

pub fn could_not_judge() {
    NOT_JUDGED.fetch_add(1, Ordering::Relaxed);
}

pub fn not_judged() -> u64 {
    NOT_JUDGED.load(Ordering::Relaxed)
}

/// A call that creates descriptors has failed with EMFILE or ENFILE.
static HAS_MET_THE_LIMIT: AtomicBool = AtomicBool::new(false);

#[cold]
#[inline(never)]
pub fn failed() {
    if is_on() && matches!(sys::errno(), libc::EMFILE | libc::ENFILE) {
        HAS_MET_THE_LIMIT.store(true, Ordering::Relaxed);
        mirror::changed_totals();
    }
}

pub fn has_met_the_limit() -> bool {
    HAS_MET_THE_LIMIT.load(Ordering::Relaxed)
}

/// Reserves room for descriptors that a call may create, unless more than `most` would then be open
/// or reserved. Ok: how many then are.
#[cold]
#[inline(never)]
pub fn take_room(block: &Block, count: u32, most: u64) -> Result<u64, ()> {
    IS_LIMITED.store(true, Ordering::Relaxed);
    let take = || {
        room::note(block, count);
        ROOM.take(count, most).inspect_err(|()| _ = room::unnote(block, count))
    };
    take().or_else(|()| {
        // No hook may have seen some closes, or a thread may have been cancelled in a call: find
        // these, and try again.
        reconcile::look_for_the_gone();
        ROOM.forget_the_gone();
        take()
    })
}

/// Called after the call: releases the room that it has not used.
pub fn give_back_room(block: &Block, count: u32) {
    ROOM.give_back(room::unnote(block, count));
}

/// The peak of open descriptors.
pub fn peak() -> u64 {
    PEAK.load(Ordering::Relaxed).max(ROOM.alive())
}

/// The state of a number.
pub fn entry(fd: i32) -> Entry {
    table::get(fd)
}

/// Whether a number is known to be open.
pub fn is_alive(fd: i32) -> bool {
    table::get(fd).is_alive()
}
