//! Findings of the census: descriptors whose number only grows, and those that reach another
//! program. (Double closes are noted when they happen, in census/mod.rs.)

use epollshim_format::census::Kind;
use epollshim_format::findings::{Id, Severity, fd_inherited};

use super::{Entry, exhausted, places};
use crate::buffer::Buffer;
use crate::census;
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

/// Places whose descriptors only grow in number, and who holds them all where none is left.
pub fn evaluate(end: End) {
    exhausted::evaluate();
    if !census::is_on() {
        return;
    }
    let now = match ENDING.load(Ordering::Relaxed) {
        began if began != 0 && !matches!(end, End::Running | End::Exec) => began,
        _ => clock::monotonic(),
    };
    // What was judged when no descriptor was left stays.
    withdraw_evaluated(Id::FdLeak);
    Buffer::lend(|unattended: &mut Buffer<(u16, i32)>| {
        // One walk of the table, and not one for each place.
        for (fd, entry) in census::each_alive() {
            let is_own = entry.generation() == census::generation() && !entry.has(Entry::AT_START);
            if fd > 2 && is_own && !is_looked_after(fd) {
                unattended.push((entry.place(), fd));
            }
        }
        crate::buffer::sort_by_key(unattended.as_mut_slice(), |entry| *entry);
        let mut all = unattended.as_slice().iter().copied().peekable();
        let mut count = 0;
        while let Some((index, fd)) = all.next() {
            count += 1;
            if all.peek().is_none_or(|(next, _)| *next != index) {
                evaluate_place(places::at(index), count, fd, now, end);
                count = 0;
            }
        }
    });
}

fn evaluate_place(place: &places::Place, alive: u64, fd: i32, now: u64, end: End) {
    if let Some(found) = place.row().judge(alive, fd, now, census::has_met_the_limit(), end == End::Running) {
        let note = Note {
            variant: found.variant,
            fd,
            site: place.site(),
            detail: found.detail,
            ..Note::of(Id::FdLeak, found.severity)
        };
        put(&note, 1);
    }
}

/// Whether an epoll instance watches it, and its peer exists: a server's connections.
pub(super) fn is_looked_after(fd: i32) -> bool {
    ledger::is_known(fd) && !sys::is_hung_up(fd)
}
