//! Instances that several processes have: passed on by exec, or used by parent and child.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

use epollshim_format::findings::{Id, Severity, no_cloexec};

use super::{Note, put, withdraw};
use crate::ledger::Core;
use crate::ledger::fork_shared::{self, Entry};
use crate::ledger::records::Instance;
use crate::{ledger, sys};

pub fn evaluate() {
    withdraw(Id::NoCloexec);
    withdraw(Id::ForkShared);
    let ledger = ledger::view();
    of_entries(ledger);
    for (index, instance) in ledger.live_instances() {
        match instance.inherited.load(Ordering::Relaxed) {
            0 if fork_shared::has_forked_with(instance) => could_be_handed_on(ledger, index, instance),
            Instance::FROM_EXEC => came_by_exec(ledger, index, instance),
            _ => {}
        }
    }
}

/// Reports what the shared entries show so far, which stays true. Skipped if there are very many
/// instances, because each of them is examined.
pub fn shared_by_now() {
    const MANY: u64 = 4096;
    let ledger = ledger::view();
    if ledger.totals.instances.get() <= MANY {
        of_entries(ledger);
    }
}

#[inline(never)]
fn of_entries(ledger: &Core) {
    if fork_shared::has_entries() {
        for (_, instance) in ledger.live_instances() {
            fork_shared::compare(instance.id.get(), instance.maker.get(), instance.waits());
        }
    }
    for entry in fork_shared::entries() {
        handed_on(entry);
        shared(ledger, entry);
    }
}

fn number(word: &AtomicU32) -> u64 {
    u64::from(word.load(Ordering::Relaxed))
}

fn place(word: &AtomicU64) -> usize {
    word.load(Ordering::Relaxed) as usize
}

/// Reports an instance of this process that an exec has passed on.
fn handed_on(entry: &Entry) {
    if entry.has(fork_shared::EXECUTED) && entry.maker() == fork_shared::number() {
        let note = Note {
            variant: no_cloexec::HANDED_ON,
            epfd: number(&entry.epfd) as i32,
            site: place(&entry.made_at),
            other: place(&entry.executed_at),
            detail: [number(&entry.executor_pid), 0, 0, 0],
            ..Note::of(Id::NoCloexec, Severity::Warning)
        };
        put(&note, 1);
    }
}

/// Reports an instance that children have, of whose execs no hook knows.
fn could_be_handed_on(ledger: &Core, index: u32, instance: &Instance) {
    let is_reported = fork_shared::entries().any(|entry| entry.is_of(instance) && entry.has(fork_shared::EXECUTED));
    let passing = |fd: &i32| ledger.descriptors.get(*fd).instance() == index && sys::passes_exec(*fd);
    if !is_reported && let Some(epfd) = (0..=ledger.descriptors.highest()).find(passing) {
        let note = Note {
            variant: no_cloexec::COULD_BE,
            epfd,
            site: instance.site.load(Ordering::Relaxed),
            ..Note::of(Id::NoCloexec, Severity::Info)
        };
        put(&note, 1);
    }
}

/// Reports an instance that was open when this program began. If the program waits on it, it was
/// passed on purpose.
fn came_by_exec(ledger: &Core, index: u32, instance: &Instance) {
    if instance.waits() == 0 {
        let note = Note {
            variant: no_cloexec::CAME,
            epfd: ledger.descriptor_of(index),
            ..Note::of(Id::NoCloexec, Severity::Warning)
        };
        put(&note, 1);
    }
}

/// Reports an instance that parent and child, or siblings, use.
fn shared(ledger: &Core, entry: &Entry) {
    let is_used_here = ledger
        .live_instances()
        .any(|(_, instance)| entry.is_of(instance) && instance.forked.load(Ordering::Relaxed) == Instance::USED_SINCE);
    if entry.has(fork_shared::SHARED) && fork_shared::concerns_this_process(entry, is_used_here) {
        let note = Note {
            epfd: number(&entry.epfd) as i32,
            site: place(&entry.used_at),
            other: place(&entry.made_at),
            detail: [number(&entry.first_user_pid), number(&entry.forker_pid), 0, 0],
            ..Note::of(Id::ForkShared, Severity::Error)
        };
        put(&note, 1);
    }
}
