//! Findings of the census: descriptors whose number keeps growing, and those that leak into another
//! program. (Double closes are noted when they happen, in census/mod.rs.)

use epollshim_format::census::{Around, Care, Cared, Kind};
use epollshim_format::findings::{Id, Severity, fd_inherited};

use super::{Entry, lingering, places};
use crate::buffer::Buffer;
use crate::census;
use crate::findings::leak;
use crate::findings::{Note, note, put, withdraw_evaluated};
use crate::process::End;
use crate::sync::{AtomicU64, Ordering};
use crate::{clock, ledger, process, sys};

/// The most descriptors that are examined before an exec. Each takes a system call.
const LOOKED_AT: usize = 4096;

/// Called before this process, or a child that runs in its memory, executes another program.
///
/// These descriptors are meant to reach that program: those that the child created itself, those
/// put at a number of the program's choice (dup2), those whose close-on-exec flag was cleared, and
/// those that this process itself received at its start. `no-cloexec` covers epoll instances.
/// `is_named` returns whether a number is in that program's arguments or environment.
#[cold]
#[inline(never)]
pub fn at_exec(caller: usize, is_named: &dyn Fn(i32) -> bool) {
    let errno = sys::errno();
    // A fresh child becomes a generation of its own here, if it has not yet.
    let is_borrower = !process::is_owner();
    let generation = census::generation();
    each_inherited(caller, is_named, &|fd, entry| {
        let by_itself = !is_borrower && entry.generation() == generation;
        let is_childs = by_itself && generation != 0;
        (!(is_childs || is_borrower && census::was_touched_by_a_borrower(fd))).then_some(by_itself)
    });
    sys::set_errno(errno);
}

/// Called before this process starts another program in a child that no hook sees (`posix_spawn`,
/// `system`, `popen`). The child creates no descriptors itself. `replaces` returns whether it
/// closes or replaces a number. `is_named` is as in [`at_exec`].
#[cold]
#[inline(never)]
pub fn at_spawn(caller: usize, by_popen: bool, replaces: &dyn Fn(i32) -> bool, is_named: &dyn Fn(i32) -> bool) {
    // A child of vfork knows only the descriptors that it touched itself.
    if process::is_owner() {
        let errno = sys::errno();
        each_inherited(caller, is_named, &|fd, entry| {
            (!(by_popen && entry.has(Entry::POPENS) || replaces(fd))).then_some(false)
        });
        sys::set_errno(errno);
    }
}

/// Notes each descriptor that leaks into another program. `choose` returns None if a descriptor
/// does not, else whether the process becomes that program itself.
fn each_inherited(caller: usize, is_named: &dyn Fn(i32) -> bool, choose: &dyn Fn(i32, Entry) -> Option<bool>) {
    let meant = Entry::CLOEXEC | Entry::PLACED | Entry::HANDED_ON | Entry::AT_START;
    for (fd, entry) in census::each_alive().filter(|(fd, _)| *fd > 2).take(LOOKED_AT) {
        if !entry.has(meant)
            && entry.kind() != Kind::Epoll
            && let Some(by_itself) = choose(fd, entry)
            && sys::survives_exec(fd)
        {
            inherited(fd, entry, by_itself, is_named(fd), caller);
        }
    }
}

fn inherited(fd: i32, entry: Entry, by_itself: bool, is_named: bool, caller: usize) {
    // A file that stays open costs little. But the other end of a pipe or connection never sees the
    // end.
    let is_file = matches!(entry.kind(), Kind::File | Kind::Directory);
    note(&Note {
        variant: match () {
            () if is_named => fd_inherited::NAMED,
            () if by_itself => fd_inherited::BY_ITSELF,
            () => 0,
        },
        fd,
        site: places::at(entry.place()).site(),
        other: caller,
        detail: [entry.kind() as u64, 0, 0, 0],
        ..Note::of(Id::FdInherited, if is_file || by_itself || is_named { Severity::Info } else { Severity::Warning })
    });
}

/// CLOCK_MONOTONIC when the process began to end; 0: it has not. The time that the library takes
/// then is no standstill of the program.
static ENDING: AtomicU64 = AtomicU64::new(0);

/// Called when the process begins to end.
pub fn ends_now() {
    ENDING.store(clock::monotonic(), Ordering::Relaxed);
}

/// Reports the places whose number of open descriptors keeps growing.
pub fn evaluate(end: End) {
    if !census::is_on() {
        return;
    }
    let now = match ENDING.load(Ordering::Relaxed) {
        began if began != 0 && !matches!(end, End::Running | End::Exec) => began,
        _ => clock::monotonic(),
    };
    // Findings that were noted when no descriptor was free stay.
    withdraw_evaluated(Id::FdLeak);
    let has_met_the_limit = census::has_met_the_limit();
    let mut around = Around { now, has_met_the_limit, is_running: end == End::Running, companions: 0 };
    Buffer::lend(|watchers: &mut Buffer<u64>| {
        read_watchers(watchers, end);
        Buffer::lend(|all: &mut Buffer<u64>| {
            // Walk the table once, not once for each place.
            for (fd, entry) in census::each_alive() {
                let is_own = entry.generation() == census::generation() && !entry.has(Entry::AT_START);
                if fd > 2 && is_own {
                    match care_of(fd, entry, watchers.as_slice()) {
                        Some(care) => _ = all.push(u64::from(entry.place()) << 40 | (care as u64) << 32 | fd as u64),
                        None => around.companions += 1,
                    }
                }
            }
            crate::buffer::sort_by_key(all.as_mut_slice(), |word| *word);
            let mut of_all = all.as_slice().iter().copied().peekable();
            let mut cared = Cared::default();
            while let Some(word) = of_all.next() {
                cared.add(Care::from_number(word >> 32 & 0xff), 1, word as i32);
                if of_all.peek().is_none_or(|next| next >> 40 != word >> 40) {
                    evaluate_place(places::at((word >> 40) as u16), &cared, &around);
                    cared = Cared::default();
                }
            }
        });
    });
}

/// Lists which descriptions are watched, sorted: a word has the description's number, and the
/// [`leak::Standing`] of an instance that watches it in the lowest two bits. Of one description,
/// the instance that is most in use comes first. Empty if no instance is left behind.
fn read_watchers(watchers: &mut Buffer<u64>, end: End) {
    leak::each_standing(end, &mut |instance, standing| {
        for interest in ledger::records().interests_of(instance) {
            watchers.push(u64::from(interest.description()) << 2 | standing as u64);
        }
    });
    crate::buffer::sort_by_key(watchers.as_mut_slice(), |word| *word);
}

/// How a descriptor is looked after; None: by an instance that is in use, or it is an instance.
fn care_of(fd: i32, entry: Entry, watchers: &[u64]) -> Option<Care> {
    let kind = entry.kind();
    if !ledger::is_known(fd) {
        return Some(Care::None);
    }
    if kind == Kind::Epoll {
        return None;
    }
    // When a server ends, the other ends of all its sockets may close at once.
    let has_hung_up = !lingering::concerns(kind) && sys::is_hung_up(fd);
    if has_hung_up || has_lost_its_end(fd, entry) {
        return Some(if has_hung_up { Care::None } else { Care::Gone });
    }
    let description = u64::from(ledger::fd_state(fd).description());
    let first = watchers.partition_point(|word| word >> 2 < description);
    let standing = watchers.get(first).filter(|word| *word >> 2 == description).map_or(0, |word| word & 3);
    match standing {
        1 => Some(Care::Doubtful),
        2 => Some(Care::Left),
        _ => kind.is_silent().then_some(Care::Silent),
    }
}

fn evaluate_place(place: &places::Place, cared: &Cared, around: &Around) {
    if let Some(found) = place.row().judge(cared, around) {
        let note = Note {
            variant: found.variant,
            fd: found.fd.unwrap_or(-1),
            site: place.site(),
            detail: found.detail,
            ..Note::of(Id::FdLeak, found.severity)
        };
        put(&note, 1);
    }
}

/// Whether its other end is gone, and the number of such descriptors at its place grows.
fn has_lost_its_end(fd: i32, entry: Entry) -> bool {
    lingering::concerns(entry.kind())
        && places::at(entry.place()).row().lingers()
        && lingering::is_gone(fd, entry.kind())
}

/// Whether an epoll instance watches it, and its peer exists, as for a server's connection.
pub fn is_looked_after(fd: i32) -> bool {
    ledger::is_known(fd) && !sys::is_hung_up(fd) && !has_lost_its_end(fd, census::entry(fd))
}
