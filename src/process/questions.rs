//! Asks the kernel about the caller. This file makes every system call that finds out whose memory
//! this is.
//!
//! A filter may answer any of them with an error or with 0. Neither counts as the kernel's answer.

use super::verdict::{Fact, Facts, Question, Verdict, decide};
use crate::sys;

/// Asks the kernel until the facts decide.
pub fn verdict(mut facts: Facts) -> (Verdict, Facts) {
    // Bounded, although `decide` asks for no fact twice.
    for _ in 0..=Question::COUNT {
        match decide(&facts) {
            Ok(verdict) => return (verdict, facts),
            Err(question) => ask(question, &mut facts),
        }
    }
    (Verdict::Own, facts)
}

#[cold]
fn ask(question: Question, facts: &mut Facts) {
    let owner = match facts.owner {
        super::verdict::Owner::Pid(pid) => pid,
        _ => 0,
    };
    let caller = if let Fact::Known(pid) = facts.pid { pid } else { 0 };
    match question {
        Question::Pid => facts.pid = pid(),
        Question::IsListed => facts.is_listed = is_listed(),
        Question::IsThreadOfOwner => facts.is_thread_of_owner = is_thread_of(owner),
        Question::SharesMemory => facts.shares_memory = answer(sys::same_memory(caller, owner)),
        Question::OwnerExists => facts.owner_exists = exists(owner, owner),
        Question::SharesTable => facts.shares_table = answer(sys::same_descriptors(caller, owner)),
    }
}

fn answer(result: sys::Result<bool>) -> Fact<bool> {
    result.map_or(Fact::Refused, Fact::Known)
}

pub fn pid() -> Fact<i32> {
    match sys::getpid() {
        pid if pid > 0 => Fact::Known(pid),
        _ => Fact::Refused,
    }
}

/// Whether the calling task has a robust list. glibc registers one in every thread that it starts.
/// A cloned task has none until it registers its own.
pub fn is_listed() -> Fact<bool> {
    sys::robust_list().map_or(Fact::Refused, |head| Fact::Known(head != 0))
}

fn is_thread_of(pid: i32) -> Fact<bool> {
    let tid = sys::gettid();
    if tid <= 0 { Fact::Refused } else { exists(pid, tid) }
}

fn exists(pid: i32, tid: i32) -> Fact<bool> {
    match sys::probe_thread(pid, tid) {
        Ok(()) => Fact::Known(true),
        Err(libc::ESRCH) => Fact::Known(false),
        Err(_) => Fact::Refused,
    }
}

/// The caller's pid if getpid(2) does not return it: the pid of the first thread equals its thread
/// id. None: this is another thread, or the kernel does not answer.
pub fn pid_of_first_thread() -> Option<i32> {
    let tid = sys::gettid();
    (tid > 0 && exists(tid, tid) == Fact::Known(true)).then_some(tid)
}
