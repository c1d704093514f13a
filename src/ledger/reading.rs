//! What the kernel says about the epoll instances of this process: which descriptors are epolls
//! (`/proc/thread-self/fd`), which of them are one instance (kcmp(2)), what each instance watches
//! (`fdinfo`), and whether the numbers that it was added under still refer to it (the inode of a
//! socket, else kcmp).
//!
//! The caller does not hold the lock. A reading takes time, and the program continues in the
//! meantime. A caller that uses a reading must check whether the ledger has changed since.

use core::cmp::Ordering;

use epollshim_ledger::core::{File, Head, Line};
use epollshim_ledger::{Picture, Strangers};

use super::state::CORE;
use crate::buffer::{Buffer, exchange, run_length, sort_by_key};
use crate::{procfs, sys};

/// How a reading went.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Whole,
    /// A descriptor was closed while it was read.
    Overtaken,
    /// No /proc, no free descriptor, or no memory.
    None,
}

/// One reading of the kernel's lists.
pub struct Reading {
    /// In the order of instances. In each group the lowest number comes first.
    pub heads: Buffer<Head>,
    pub lines: Buffer<Line>,
    /// For how many descriptors it is not known whether they refer to the same instance as others.
    pub unknown: u32,
    /// Numbers that the ledger believes to be duplicates, though they are not.
    pub strangers: Buffer<Strangers>,
    /// One number of each instance, in kcmp's order.
    leaders: Buffer<i32>,
    /// The open descriptors, in order.
    open: Buffer<Open>,
    inodes: Buffer<u64>,
    /// How much may still be asked about watched files.
    budget: u32,
}

/// An open descriptor.
#[derive(Clone, Copy)]
struct Open {
    fd: i32,
    /// The inode of a socket, which has only one open file description; else 0.
    inode: u64,
}

/// The most work that one reading gives the kernel to say which files are watched: for each
/// question it walks the list of an instance. After that, files that are not sockets are not asked
/// about (docs/performance.md, "Comparing with the kernel").
const BUDGET: u32 = 1 << 19;
/// The cost of a question without the walk.
const QUESTION: u32 = 32;

impl Reading {
    pub const fn new() -> Self {
        Reading {
            heads: Buffer::new(),
            lines: Buffer::new(),
            unknown: 0,
            strangers: Buffer::new(),
            leaders: Buffer::new(),
            open: Buffer::new(),
            inodes: Buffer::new(),
            budget: 0,
        }
    }

    pub fn end(self) {
        self.heads.end();
        self.lines.end();
        self.strangers.end();
        self.leaders.end();
        self.open.end();
        self.inodes.end();
    }

    /// Whether two readings are equal.
    pub fn is_as(&self, other: &Reading) -> bool {
        self.heads.as_slice() == other.heads.as_slice()
            && self.lines.as_slice() == other.lines.as_slice()
            && self.strangers.as_slice() == other.strangers.as_slice()
    }

    /// The reading as the ledger's comparison takes it.
    pub fn picture(&self) -> Picture<'_> {
        Picture { heads: self.heads.as_slice(), lines: self.lines.as_slice(), strangers: self.strangers.as_slice() }
    }

    /// Reads again.
    pub fn read(&mut self) -> Answer {
        self.heads.clear();
        self.lines.clear();
        self.open.clear();
        self.unknown = 0;
        self.budget = BUDGET;
        let mut complete = true;
        let listed = procfs::each_descriptor(|fd, target| {
            complete &= !procfs::is_name_of_epoll(target) || self.heads.push(Head::of(fd));
            complete &= self.open.push(Open { fd, inode: procfs::socket_inode(target).unwrap_or(0) });
        });
        if !listed || !complete {
            return Answer::None;
        }
        sort_by_key(self.open.as_mut_slice(), |open| open.fd);
        if !self.read_lists() {
            return Answer::None;
        }
        // Not the process: its first thread may have ended, and then has no descriptors.
        let thread = sys::gettid();
        match self.group(thread) {
            Answer::Whole => {}
            other => return other,
        }
        self.look_at_files(thread);
        if self.look_at_aliases(thread) { Answer::Whole } else { Answer::None }
    }

    /// Reads the list of each descriptor.
    fn read_lists(&mut self) -> bool {
        for head in self.heads.as_mut_slice() {
            let first = self.lines.as_slice().len();
            let (mut complete, mut count) = (true, 0);
            self.inodes.clear();
            let listed = procfs::each_target(head.fd, |fd, inode| {
                complete &= self.inodes.push(inode);
                complete &= self.lines.push(Line { fd, place: count, file: File::Unknown });
                count += 1;
            });
            if !listed || !complete {
                return false;
            }
            (head.first, head.count) = (first as u32, count);
            let list = self.lines.as_mut_slice().get_mut(first..).unwrap_or_default();
            sort_by_key(list, |line| (line.fd, line.place));
            let mut before = Line { fd: -1, place: 0, file: File::Unknown };
            for line in list {
                let inode = self.inodes.as_slice().get(line.place as usize).copied().unwrap_or(0);
                line.place = if before.fd == line.fd { before.place + 1 } else { 0 };
                line.file = match open(&self.open, line.fd) {
                    None => File::Closed,
                    Some(socket) if socket == 0 || inode == 0 => File::Unknown,
                    Some(socket) if socket == inode => File::Watched,
                    Some(_) => File::Other,
                };
                head.digest = head.digest.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(line.fd as u64 + 1);
                before = *line;
            }
        }
        true
    }

    /// Groups the descriptors by instance. Only descriptors with the same list can refer to one
    /// instance, and for those the kernel is asked.
    fn group(&mut self, thread: i32) -> Answer {
        let list = |head: &Head| (head.count, head.digest);
        let instance = |head: &Head| CORE.descriptors.get(head.fd).instance();
        sort_by_key(self.heads.as_mut_slice(), |head| (list(head), head.fd));
        let mut is_refused = false;
        let mut rest = self.heads.as_mut_slice();
        while let Some((alike, after)) = {
            let length = run_length(rest, |one, other| list(one) == list(other));
            rest.split_at_mut_checked(length)
        } {
            rest = after;
            if alike.len() == 1 {
                continue;
            }
            match if is_refused { Err(libc::EPERM) } else { bisect(thread, alike, &mut self.leaders) } {
                Ok(true) => continue,
                Ok(false) => return Answer::None,
                Err(libc::EBADF) => return Answer::Overtaken,
                Err(_) => is_refused = true,
            }
            // kcmp is missing, or a seccomp filter forbids it (container runtimes install such a
            // filter). The ledger is believed.
            self.unknown = self.unknown.saturating_add(alike.len() as u32);
            sort_by_key(alike, |head| (instance(head), head.fd));
            let mut before: Option<Head> = None;
            for head in alike {
                if let Some(before) =
                    before.filter(|before| instance(before) != 0 && instance(before) == instance(head))
                {
                    head.leader = before.leader;
                }
                before = Some(*head);
            }
        }
        sort_by_key(self.heads.as_mut_slice(), |head| (head.leader, head.fd));
        Answer::Whole
    }

    /// Asks the kernel about the watched files that the inode does not identify.
    fn look_at_files(&mut self, thread: i32) {
        for head in self.heads.as_slice().iter().filter(|head| head.is_leader()) {
            let own = head.first as usize..(head.first + head.count) as usize;
            for line in self.lines.as_mut_slice().get_mut(own).unwrap_or_default() {
                if line.file == File::Unknown && open(&self.open, line.fd) == Some(0) {
                    line.file = ask(&mut self.budget, thread, head, line);
                }
            }
        }
    }

    /// Looks for numbers that are no longer duplicates of watched files. False: no memory.
    fn look_at_aliases(&mut self, thread: i32) -> bool {
        self.strangers.clear();
        for fd in 0..=CORE.descriptors.highest() {
            if let Some(watched) = CORE.watched_alias(fd)
                // Where the kernel does not say, the ledger is believed.
                && (open(&self.open, fd).is_none()
                    || sys::order_of_descriptions(thread, fd, watched).is_ok_and(Ordering::is_ne))
                && !self.strangers.push((fd, watched))
            {
                return false;
            }
        }
        true
    }
}

/// Asks the kernel which of several descriptors are one instance, by bisection in its own order of
/// open file descriptions. Ok(false): no memory. Err: the error of kcmp(2); then each is its own
/// group.
fn bisect(thread: i32, heads: &mut [Head], leaders: &mut Buffer<i32>) -> sys::Result<bool> {
    leaders.clear();
    for at in 0..heads.len() {
        let Some(head) = heads.get_mut(at) else { break };
        let (mut low, mut high) = (0, leaders.as_slice().len());
        while let Some(&leader) = leaders.as_slice().get(low + (high - low) / 2).filter(|_| low < high) {
            let middle = low + (high - low) / 2;
            match sys::order_of_descriptions(thread, head.fd, leader) {
                Ok(Ordering::Less) => high = middle,
                Ok(Ordering::Greater) => low = middle + 1,
                Ok(Ordering::Equal) => {
                    head.leader = leader;
                    break;
                }
                Err(error) => {
                    heads.iter_mut().for_each(|head| head.leader = head.fd);
                    return Err(error);
                }
            }
        }
        if head.is_leader() && !insert(leaders, low, head.fd) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The inode of an open descriptor, if it is a socket; else 0. None: it is not open.
fn open(descriptors: &Buffer<Open>, fd: i32) -> Option<u64> {
    let descriptors = descriptors.as_slice();
    let place = descriptors.partition_point(|open| open.fd < fd);
    descriptors.get(place).filter(|open| open.fd == fd).map(|open| open.inode)
}

/// Asks the kernel what the number of an interest refers to.
fn ask(budget: &mut u32, thread: i32, head: &Head, line: &Line) -> File {
    let Some(left) = budget.checked_sub(QUESTION + head.count / 2) else { return File::Unknown };
    *budget = left;
    match sys::watches_file_of(thread, line.fd, head.fd, line.fd, line.place) {
        Ok(true) => File::Watched,
        Ok(false) => File::Other,
        // It has changed in the meantime, which the next reading shows; or the kernel does not say.
        Err(libc::ENOENT | libc::EBADF) => File::Unknown,
        Err(_) => {
            *budget = 0;
            File::Unknown
        }
    }
}

/// Inserts a number before another. False: no memory.
fn insert(into: &mut Buffer<i32>, place: usize, fd: i32) -> bool {
    let end = into.as_slice().len();
    if !into.push(fd) {
        return false;
    }
    for at in (place..end).rev() {
        exchange(into.as_mut_slice(), at, at + 1);
    }
    true
}
