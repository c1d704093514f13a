//! Ghosts: interests whose descriptor was closed while something else keeps the file open. The
//! kernel continues to deliver their events, and no call can name them any more.
//!
//! A close without DEL is no error if it closes the file. The ledger does not know everything that
//! keeps a file open: it knows dups, but not the copies of a forked child or another process. And a
//! ghost that soon disappears does no harm. So a ghost is reported:
//!
//! - when an `epoll_ctl` of its number fails, if a dup is known or the process has one thread, and
//!   the kernel confirms that it is still watched;
//! - when its events wake a loop again and again;
//! - when it has existed for a second or two in a process that is recorded;
//! - when its number is added again, which is `stale-data`;
//! - when a report is made, if the kernel's list has it, and waits continued after the close.

use crate::sync::Ordering;

use epollshim_format::findings::{Id, Severity};
use libc::c_int;

use super::watch::Since;
use super::{Note, add_cost, is_known, note, put, retract};
use crate::buffer::{Buffer, sort_by_key};
use crate::ledger::records::Instance;
use crate::{ledger, process, procfs, sys};
use epollshim_ledger::recent_closes::RecentClose;

/// Called after an `epoll_ctl` has failed, before the ledger records it. True: it failed because of
/// a ghost.
#[inline(always)]
pub fn ctl_failed(epfd: c_int, operation: c_int, fd: c_int, error: c_int) -> bool {
    let may_be = operation != libc::EPOLL_CTL_ADD || ledger::recent_closes().any_left_a_dup();
    may_be && ctl_failed_of_ghost(epfd, operation, fd, error)
}

#[cold]
#[inline(never)]
fn ctl_failed_of_ghost(epfd: c_int, operation: c_int, fd: c_int, error: c_int) -> bool {
    let may_be = match operation {
        // The number refers to its file again (a dup of the dup), and was never deleted.
        libc::EPOLL_CTL_ADD => error == libc::EEXIST,
        _ => error == libc::EBADF || error == libc::ENOENT,
    };
    may_be
        && ledger::records()
            .ghost(epfd, fd)
            .or_else(|| kept_elsewhere(epfd, fd).filter(|_| operation != libc::EPOLL_CTL_ADD))
            .is_some_and(|closing| closing.is_reported || met(&closing, epfd, operation, fd, error))
}

/// The close of a number under which a file is still watched, although no dup is known. A forked
/// child, a passed copy, or a dup that no hook saw keeps the file open.
fn kept_elsewhere(epfd: c_int, fd: c_int) -> Option<RecentClose> {
    /// The kernel walks the list for each question.
    const MOST: u64 = 1024;
    let (_, instance) = own_instance(epfd)?;
    let closing = ledger::recent_closes().last(instance.id.get(), fd)?;
    let is_asked = instance.watches.get() <= MOST
        && is_watched_by_number(epfd, fd)
        // Another thread may be in the middle of the close: the kernel frees the number first.
        && procfs::has_one_thread();
    is_asked.then_some(closing)
}

/// An instance that this process created and other processes do not use under their own numbers.
fn own_instance(epfd: c_int) -> Option<(u32, &'static Instance)> {
    let index = ledger::fd_state(epfd).instance();
    let instance = ledger::records().instance_at(index)?;
    (instance.inherited.load(Ordering::Relaxed) == 0 && process::is_own()).then_some((index, instance))
}

/// Called if a loop is woken again and again, perhaps by a ghost of this number. `since` is what
/// the loop has done for nothing. False: it is no ghost.
#[cold]
#[inline(never)]
pub fn met_in_wait(epfd: c_int, fd: c_int, since: &Since) -> bool {
    let Some((index, instance)) = own_instance(epfd) else { return false };
    if !is_watched_by_number(epfd, fd) || sys::is_open(fd) && !has_another_file(epfd, fd) {
        return false;
    }
    let closing = ledger::recent_closes().last(instance.id.get(), fd);
    let found = match &closing {
        Some(closing) => of_closing(closing, epfd),
        None => {
            let added_at = ledger::view().added_at(index, fd, false) as usize;
            // Another process that has the instance may have added it under a number of its own.
            if added_at == 0 {
                return false;
            }
            Note { epfd, fd, other: added_at, ..Note::of(Id::Ghost, Severity::Error) }
        }
    };
    let is_new = match &closing {
        Some(closing) => ledger::recent_closes().report(closing),
        None => !is_known(&found),
    };
    if is_new {
        note(&found);
    }
    add_cost(&found, since.waits, since.time);
    true
}

#[cold]
#[inline(never)]
fn met(closing: &RecentClose, epfd: c_int, operation: c_int, fd: c_int, error: c_int) -> bool {
    let is_one = process::is_own() && is_watched_by_number(epfd, fd);
    if is_one && ledger::recent_closes().report(closing) {
        note(&Note { detail: [operation as u64, error as u64, 0, 0], ..of_closing(closing, epfd) });
    }
    is_one
}

/// Called when a MOD followed the ADD that failed because of a ghost: the interest is in use again.
pub fn corrected(epfd: c_int, fd: c_int) {
    if let Some(closing) = ledger::records().ghost(epfd, fd)
        && closing.is_reported
    {
        retract(&of_closing(&closing, epfd));
        ledger::recent_closes().retract(&closing);
    }
}

/// Looks for ghosts while the process runs, because it may be killed before a report. Called once a
/// second: a child that executes another program at once keeps nothing for that long. `now` is
/// CLOCK_MONOTONIC.
pub fn look(now: u64) {
    /// The limits for each second: instances, and questions to the kernel. The cost of a question
    /// grows with the length of the list.
    const INSTANCES: usize = 16;
    const ASKED: usize = 32;
    const LISTED: u64 = 1024;
    let closes = ledger::recent_closes();
    if !process::is_own() || !(closes.any_left_a_dup() || sys::has_children()) {
        return;
    }
    let view = ledger::records();
    // Start at another part of the table each time, because there may be more than these.
    let first = (now >> 30) as usize * ASKED;
    let mut left = ASKED;
    for (index, instance) in view.live_instances().take(INSTANCES) {
        if instance.inherited.load(Ordering::Relaxed) != 0 || instance.watches.get() > LISTED {
            continue;
        }
        let (epfd, waits) = (view.descriptor_of(index), instance.waits());
        let is_due = |closing: &RecentClose| closing.instance == instance.id.get() && closing.waits != waits;
        for closing in closes.unreported(first).filter(is_due).take(left) {
            left -= 1;
            let is_ghost = is_watched_by_number(epfd, closing.fd)
                && ledger::site_of(epfd, closing.fd).is_none()
                && (!sys::is_open(closing.fd) || has_another_file(epfd, closing.fd));
            if is_ghost && closes.is_still_watched(&closing) && closes.report(&closing) {
                note(&of_closing(&closing, epfd));
            }
        }
    }
}

fn is_watched_by_number(epfd: i32, fd: i32) -> bool {
    sys::watches_file_of(process::pid_for_kcmp(), epfd, epfd, fd, 0).is_ok()
}

/// Called after an ADD of a ghost's number has succeeded.
pub fn added_over(epfd: c_int, fd: c_int, site: usize) {
    if let Some(closing) = ledger::records().ghost(epfd, fd)
        && !closing.is_reported
        && process::is_own()
        && has_another_file(epfd, fd)
        && ledger::recent_closes().report(&closing)
    {
        note(&stale(&closing, epfd, site));
    }
}

/// Another file was registered under the number of a ghost, at `site`.
fn stale(closing: &RecentClose, epfd: i32, site: usize) -> Note {
    Note {
        epfd,
        fd: closing.fd,
        site,
        other: closing.place(),
        // 1: the other place is where the old file was registered. 0: where it was closed.
        detail: [u64::from(closing.closed_at == 0), 0, 0, 0],
        ..Note::of(Id::StaleData, Severity::Error)
    }
}

fn of_closing(closing: &RecentClose, epfd: i32) -> Note {
    Note {
        epfd,
        fd: closing.fd,
        site: closing.closed_at as usize,
        other: closing.added_at as usize,
        ..Note::of(Id::Ghost, Severity::Error)
    }
}

// ---- when a report is made ----

/// How many more descriptors to examine, and how many more questions to ask whose cost grows with
/// the length of the list.
struct Budget {
    looks: u32,
    questions: u32,
}

impl Budget {
    fn look(&mut self) -> bool {
        self.looks = self.looks.saturating_sub(1);
        self.looks > 0
    }

    fn question(&mut self) -> bool {
        self.questions = self.questions.saturating_sub(1);
        self.questions > 0
    }
}

/// A watched file in the kernel's list.
#[derive(Clone, Copy)]
struct Target {
    fd: i32,
    inode: u64,
}

/// A number under which an instance watches other files than the one that the number refers to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Suspect {
    epfd: i32,
    index: u32,
    fd: i32,
    /// How many files are watched under it.
    files: usize,
}

/// The most ghosts in one report.
const MOST: usize = 512;

/// Compares the numbers in the kernel's lists with what they refer to now.
pub fn evaluate() {
    Buffer::lend(|suspects| {
        collect(suspects);
        if suspects.as_slice().is_empty() {
            return;
        }
        if procfs::has_one_thread() {
            return suspects.as_slice().iter().for_each(report);
        }
        // A close frees the number before it removes the interest, so another thread may be in the
        // middle of one. After several time slices of the scheduler it no longer is.
        const PAUSE: i64 = 60_000_000;
        sys::sleep(PAUSE);
        Buffer::lend(|again| {
            collect(again);
            again.as_slice().iter().filter(|suspect| suspects.as_slice().contains(suspect)).for_each(report);
        });
    });
}

fn collect(suspects: &mut Buffer<Suspect>) {
    let mut budget = Budget { looks: 50_000, questions: 256 };
    let view = ledger::records();
    Buffer::lend(|targets| {
        for epfd in 0..=view.descriptors.highest() {
            let index = ledger::fd_state(epfd).instance();
            // Other processes may use an instance from before a fork, or one whose creation no hook
            // saw, under numbers of their own.
            if let Some(instance) = view.instance_at(index)
                && instance.inherited.load(Ordering::Relaxed) == 0
            {
                targets.clear();
                if procfs::each_target(epfd, |fd, inode| {
                    targets.push(Target { fd, inode });
                }) {
                    sort_by_key(targets.as_mut_slice(), |target: &Target| (target.fd, target.inode));
                    look_through(epfd, (index, instance), targets.as_slice(), &mut budget, suspects);
                }
            }
        }
    });
}

fn look_through(
    epfd: i32,
    (index, instance): (u32, &Instance),
    targets: &[Target],
    budget: &mut Budget,
    suspects: &mut Buffer<Suspect>,
) {
    let mut rest = targets;
    while let Some(first) = rest.first() {
        let files = rest.iter().take_while(|target| target.fd == first.fd).count();
        let Some((same, after)) = rest.split_at_checked(files) else { break };
        rest = after;
        if !budget.look() || suspects.as_slice().len() >= MOST {
            break;
        }
        if is_ghost(epfd, instance, same, budget) {
            suspects.push(Suspect { epfd, index, fd: first.fd, files });
        }
    }
}

/// Whether a file is watched under a number that does not refer to it.
fn is_ghost(epfd: i32, instance: &Instance, same: &[Target], budget: &mut Budget) -> bool {
    let Some(first) = same.first() else { return false };
    match sys::status(first.fd) {
        Err(error) => error == libc::EBADF,
        Ok(_) if same.len() > 1 => true,
        Ok(status) => {
            // Files without an inode of their own (eventfd, timerfd, epoll) share one.
            let is_suspect = first.inode != 0 && first.inode != status.st_ino
                || ledger::recent_closes()
                    .last(instance.id.get(), first.fd)
                    .is_some_and(|closing| !closing.is_reported);
            is_suspect && budget.question() && has_another_file(epfd, first.fd)
        }
    }
}

/// Whether a file is watched under an open number that refers to another file. The other file may
/// be watched too.
fn has_another_file(epfd: i32, fd: i32) -> bool {
    match sys::watches_file_of(process::pid_for_kcmp(), fd, epfd, fd, 0) {
        Ok(false) => true,
        Ok(true) => {
            let mut count = 0;
            procfs::each_interest(epfd, |other| count += u32::from(other == fd));
            count > 1
        }
        Err(_) => false,
    }
}

fn report(suspect: &Suspect) {
    let Suspect { epfd, index, fd, files } = *suspect;
    let view = ledger::records();
    let Some(instance) = view.instance_at(index) else { return };
    match ledger::recent_closes().last(instance.id.get(), fd) {
        Some(closing) if closing.is_reported => {}
        // The program has not waited since. It may be about to end, or to remove the interest.
        Some(closing) if instance.waits() == closing.waits => {}
        Some(closing) => {
            let added_now = view.added_at(index, fd, true) as usize;
            let found =
                if files > 1 && added_now != 0 { stale(&closing, epfd, added_now) } else { of_closing(&closing, epfd) };
            if ledger::recent_closes().report(&closing) {
                note(&found);
            }
        }
        None if sys::is_open(fd) => {}
        None => {
            let added_at = view.added_at(index, fd, false) as usize;
            // No hook saw the close, and its time is unknown. Usually these are standard streams
            // that are closed as the program ends.
            let severity = if fd <= libc::STDERR_FILENO { Severity::Info } else { Severity::Warning };
            if added_at != 0 {
                put(&Note { epfd, fd, other: added_at, ..Note::of(Id::Ghost, severity) }, 1);
            }
        }
    }
}
