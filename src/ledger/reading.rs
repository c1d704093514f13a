//! What the kernel says about the epoll instances of this process: which descriptors are epolls (`/proc/thread-self/fd`),
//! which of them are one instance (kcmp(2)), and what each instance watches (`fdinfo`).
//!
//! The caller does not hold the lock. A reading takes time, and the program goes on meanwhile: whoever uses one finds
//! out whether the ledger has changed since.

use core::cmp::Ordering;

use super::CORE;
use super::core::{Head, Line};
use crate::buffer::{Buffer, exchange, sort_by_key};
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

pub struct Reading {
    /// By instance; in each group the lowest number comes first.
    pub heads: Buffer<Head>,
    pub lines: Buffer<Line>,
    /// Of how many descriptors it is not known which others are the same instance.
    pub unknown: u32,
    /// One number of each instance, in kcmp's order.
    leaders: Buffer<i32>,
}

impl Reading {
    pub const fn new() -> Self {
        Reading { heads: Buffer::new(), lines: Buffer::new(), unknown: 0, leaders: Buffer::new() }
    }

    pub fn end(self) {
        self.heads.end();
        self.lines.end();
        self.leaders.end();
    }

    /// Whether two readings say the same.
    pub fn is_as(&self, other: &Reading) -> bool {
        self.heads.as_slice() == other.heads.as_slice() && self.lines.as_slice() == other.lines.as_slice()
    }

    /// The lines of an instance's list, as the kernel listed it under one of its numbers.
    pub fn lines_of(&self, head: &Head) -> &[Line] {
        let first = head.first as usize;
        self.lines.as_slice().get(first..first + head.count as usize).unwrap_or_default()
    }

    /// Reads anew.
    pub fn read(&mut self) -> Answer {
        self.heads.clear();
        self.lines.clear();
        self.unknown = 0;
        let mut complete = true;
        let listed = procfs::each_epoll(|fd| complete &= self.heads.push(Head::of(fd)));
        if !listed || !complete {
            return Answer::None;
        }
        sort_by_key(self.heads.as_mut_slice(), |head| head.fd);
        match self.group() {
            Ok(true) => {}
            Ok(false) => return Answer::None,
            Err(libc::EBADF) => return Answer::Overtaken,
            Err(_) => return if self.read_lists() { self.group_by_lists() } else { Answer::None },
        }
        if self.read_lists() { Answer::Whole } else { Answer::None }
    }

    /// Asks the kernel which descriptors are one instance. Ok(false): no memory. Err: what kcmp(2) failed with.
    ///
    /// kcmp orders open file descriptions, so that each is looked for by bisection among those that were met before.
    fn group(&mut self) -> sys::Result<bool> {
        self.leaders.clear();
        if let [_] = self.heads.as_slice() {
            return Ok(true);
        }
        // Not the process: its first thread may have ended, and has no descriptors then.
        let thread = sys::gettid();
        for head in self.heads.as_mut_slice() {
            let (mut low, mut high) = (0, self.leaders.as_slice().len());
            while let Some(&leader) = self.leaders.as_slice().get(low + (high - low) / 2).filter(|_| low < high) {
                let middle = low + (high - low) / 2;
                match sys::order_of_descriptions(thread, head.fd, leader)? {
                    Ordering::Less => high = middle,
                    Ordering::Greater => low = middle + 1,
                    Ordering::Equal => {
                        head.leader = leader;
                        break;
                    }
                }
            }
            if head.is_leader() && !insert(&mut self.leaders, low, head.fd) {
                return Ok(false);
            }
        }
        sort_by_key(self.heads.as_mut_slice(), |head| (head.leader, head.fd));
        Ok(true)
    }

    /// Reads the list of each leader.
    fn read_lists(&mut self) -> bool {
        for head in self.heads.as_mut_slice().iter_mut().filter(|head| head.is_leader()) {
            let first = self.lines.as_slice().len();
            let mut complete = true;
            if !procfs::each_interest(head.fd, |fd| complete &= self.lines.push(Line { fd })) || !complete {
                return false;
            }
            head.first = first as u32;
            head.count = (self.lines.as_slice().len() - first) as u32;
        }
        true
    }

    /// The kernel does not answer kcmp (a seccomp filter, as container runtimes install it; a kernel without it). Two
    /// descriptors with different lists are two instances. Of those with the same list nobody knows, and the ledger is
    /// believed.
    #[cold]
    fn group_by_lists(&mut self) -> Answer {
        let lines = self.lines.as_slice();
        for head in self.heads.as_mut_slice() {
            let own = lines.get(head.first as usize..).unwrap_or_default().iter().take(head.count as usize);
            head.digest = own.map(|line| (line.fd as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)).fold(0, u64::wrapping_add);
        }
        let list = |head: &Head| (head.count, head.digest);
        sort_by_key(self.heads.as_mut_slice(), |head| (list(head), head.fd));
        for run in self.heads.as_slice().chunk_by(|one, other| list(one) == list(other)).filter(|run| run.len() > 1) {
            self.unknown = self.unknown.saturating_add(run.len() as u32);
        }
        let instance = |head: &Head| CORE.descriptors.get(head.fd).instance();
        sort_by_key(self.heads.as_mut_slice(), |head| (instance(head), list(head), head.fd));
        let mut before: Option<Head> = None;
        for head in self.heads.as_mut_slice() {
            if let Some(before) = before
                && instance(head) != 0
                && (instance(head), list(head)) == (instance(&before), list(&before))
            {
                head.leader = before.leader;
            }
            before = Some(*head);
        }
        sort_by_key(self.heads.as_mut_slice(), |head| (head.leader, head.fd));
        Answer::Whole
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
