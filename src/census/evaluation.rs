//! Findings of the census: descriptors whose number only grows, and those that reach another
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

/// How much of the process's table is examined before an exec, with a system call for each
/// descriptor.
const LOOKED_AT: usize = 4096;

/// The process is about to exec another program, or it is a child that is.
///
/// These are meant to reach that program: what the child created itself, what was put at a number
/// of the program's choice (dup2), what close-on-exec was removed from, and what this process
/// itself received at its start. `no-cloexec` covers epoll instances. `is_named`: whether a number
/// stands in that program's arguments or environment.
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

/// The process is about to start another program in a child that no hook sees (`posix_spawn`, `system`, `popen`). The child creates
/// nothing itself. `replaces`: which numbers it closes, or gives another meaning; `is_named`: as of [`at_exec`].
#[cold]
#[inline(never)]
pub fn at_spawn(caller: usize, by_popen: bool, replaces: &dyn Fn(i32) -> bool, is_named: &dyn Fn(i32) -> bool) {
    // A child of vfork knows only what it touched itself.
    if process::is_owner() {
        let errno = sys::errno();
        each_inherited(caller, is_named, &|fd, entry| {
            (!(by_popen && entry.has(Entry::POPENS) || replaces(fd))).then_some(false)
        });
        sys::set_errno(errno);
    }
}

/// Notes each descriptor that reaches another program by accident, unless `choose` says that it does not (None). Some: whether the
/// process becomes that program itself.
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
    // A file that stays open costs little. The other end of a pipe or connection waits for its end
    // in vain.
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

/// CLOCK_MONOTONIC when the process began to end; 0: it has not. What the library does then is no
/// standstill of the program.
static ENDING: AtomicU64 = AtomicU64::new(0);

/// The process ends.
pub fn ends_now() {
    ENDING.store(clock::monotonic(), Ordering::Relaxed);
}

/// Places whose descriptors only grow in number.
pub fn evaluate(end: End) {
    if !census::is_on() {
        return;
    }
    let now = match ENDING.load(Ordering::Relaxed) {
        began if began != 0 && !matches!(end, End::Running | End::Exec) => began,
        _ => clock::monotonic(),
    };
    // What was judged when no descriptor was left stays.
    withdraw_evaluated(Id::FdLeak);
    let has_met_the_limit = census::has_met_the_limit();
    let mut around = Around { now, has_met_the_limit, is_running: end == End::Running, companions: 0 };
    Buffer::lend(|watchers: &mut Buffer<u64>| {
        read_watchers(watchers, end);
        Buffer::lend(|all: &mut Buffer<u64>| {
            // One walk of the table, and not one for each place.
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

/// Who watches a description: its number, and in the lowest two bits a [`leak::Standing`], the one
/// that cares most first. Nothing where no instance is left behind.
fn read_watchers(watchers: &mut Buffer<u64>, end: End) {
    leak::each_standing(end, &mut |instance, standing| {
        for interest in ledger::records().interests_of(instance) {
            watchers.push(u64::from(interest.description()) << 2 | standing as u64);
        }
    });
    crate::buffer::sort_by_key(watchers.as_mut_slice(), |word| *word);
}

/// Who looks after a descriptor; None: an instance that is in use, or it is one.
fn care_of(fd: i32, entry: Entry, watchers: &[u64]) -> Option<Care> {
    let kind = entry.kind();
    if !ledger::is_known(fd) {
        return Some(Care::None);
    }
    if kind == Kind::Epoll {
        return None;
    }
    // At the end, the other ends of all sockets may go at once.
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

/// Whether its other end is gone, and its place has more and more such.
fn has_lost_its_end(fd: i32, entry: Entry) -> bool {
    lingering::concerns(entry.kind())
        && places::at(entry.place()).row().lingers()
        && lingering::is_gone(fd, entry.kind())
}

/// Whether an epoll instance watches it, and its peer exists: a server's connections.
pub(super) fn is_looked_after(fd: i32) -> bool {
    ledger::is_known(fd) && !sys::is_hung_up(fd) && !has_lost_its_end(fd, census::entry(fd))
}
