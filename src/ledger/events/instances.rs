//! Instances: created, waited on, passed on by exec.

use epollshim_ledger::core::Creation;
use epollshim_ledger::records::Instance;

use crate::sync::Ordering;

use super::descriptors::forget_closed;
use crate::above::Library;
use crate::counters::{CountWait, WaitEnd};
use crate::ledger::access::{change, change_by};
use crate::ledger::followers::used;
use crate::ledger::observers::Above;
use crate::ledger::state::CORE;
use crate::ledger::{fork_shared, reservations};
use crate::thread::Block;
use crate::{process, sys};
use epollshim_ledger::Change;

/// An `epoll_create*` returned a descriptor.
#[unsafe(link_section = ".text.hot.epollshim.more")]
pub fn created(block: &Block, fd: i32, creation: Creation) {
    if !process::is_own() {
        return;
    }
    let is_first = fork_shared::prepare();
    if CORE.wants_memory_for(fd) {
        CORE.prepare(&[fd]);
    }
    let prepaid = block.take_prepaid();
    let make = || {
        CORE.changes();
        CORE.charged(prepaid, || CORE.created(fd, creation));
    };
    change_by(make, || Change::Created { fd, creation, prepaid });
    if is_first {
        adopt_inherited(fd);
    }
}

/// This program has created its first instance, `fd`. Finds those that existed before: an exec
/// passed them on, so they do not have the close-on-exec flag. Only low numbers are examined, and
/// only in calls that the program makes itself.
#[cold]
fn adopt_inherited(fd: i32) {
    const LOW: i32 = 128;
    for other in (3..LOW).filter(|other| *other != fd) {
        if sys::passes_exec(other)
            && !CORE.descriptors.get(other).is_known()
            && sys::is_epoll_without(other, fd)
            && !is_being_made(other)
        {
            change(Change::Adopted { fd: other });
            if let Some(instance) = CORE.instance_of(other) {
                instance.inherited.store(Instance::FROM_EXEC, Ordering::Relaxed);
            }
        }
    }
}

/// Whether another thread has just created an instance that the ledger does not know yet. If there
/// are limits, that thread has reserved the instance. If it were adopted too, it would be counted
/// twice, and a third thread might be refused. If there are no limits, other threads get some time.
fn is_being_made(epfd: i32) -> bool {
    /// A bound, because calls may take longer.
    const MOST: u32 = 10_000;
    const TURNS: u32 = 20;
    for turn in 0..MOST {
        // Read first: an instance that another thread notes after this is found in the descriptors
        // below.
        let known = CORE.totals.instances.get();
        let is_one_due = reservations::tracks() && reservations::charged().0 > known;
        if CORE.descriptors.get(epfd).is_known() {
            return true;
        }
        if !is_one_due && (reservations::tracks() || turn >= TURNS) {
            return false;
        }
        sys::yield_now();
    }
    false
}

/// Before an exec, of this process or of a child in its memory. Notes the instances that the exec
/// passes on.
#[cold]
pub fn before_exec(site: usize, is_executable: impl FnOnce() -> bool) {
    if !fork_shared::exists() {
        return;
    }
    let handed_on = || {
        (0..=CORE.descriptors.highest())
            .filter_map(|fd| Some((fd, CORE.instance_of(fd)?)))
            .filter(|(fd, _)| sys::passes_exec(*fd))
    };
    if handed_on().next().is_some() && is_executable() {
        handed_on().for_each(|(fd, instance)| fork_shared::note_exec(instance, fd, site));
    }
}

/// A wait has ended on an instance that only the thread of this block waits on. False: several
/// threads do, or the instance is not known. Nothing was counted then, and the caller must call
/// [`waited`].
#[inline(always)]
pub fn waited_alone(epfd: i32, end: WaitEnd, block: &'static Block) -> bool {
    let Some(instance) = block.last_used.instance_of(epfd) else { return false };
    if !instance.owner.is_only(block.address()) {
        return false;
    }
    instance.alone.count_alone(end);
    true
}

/// A wait of this block's thread has ended. `site` is its return address; it is read for the first
/// wait only.
#[inline(always)]
pub fn waited(epfd: i32, end: WaitEnd, block: &'static Block, site: &usize) {
    let Some(instance) = CORE.instance_of(epfd) else {
        if !matches!(end, WaitEnd::Failed { .. }) {
            waited_on_unknown(epfd, end, block, site);
        }
        return;
    };
    block.last_used.meet(instance, epfd);
    if instance.owner.is_only(block.address()) {
        instance.alone.count_alone(end);
    } else {
        waited_amid_others(instance, epfd, end, block.address(), *site);
    }
}

/// The same for the first wait on an instance, and for an instance that several threads wait on.
#[cold]
#[inline(never)]
fn waited_amid_others(instance: &Instance, epfd: i32, end: WaitEnd, owner: usize, site: usize) {
    if instance.owner.claim(owner) {
        instance.waiter.store(site, Ordering::Relaxed);
        if instance.forked.load(Ordering::Relaxed) == Instance::FROM_BEFORE {
            used(instance, epfd, site);
        }
        instance.alone.count_alone(end);
        return <Library as Above>::waited_first(instance);
    }
    if instance.owner.block() == owner {
        instance.alone.count_alone(end);
    } else {
        if !instance.owner.has_company() {
            // The counters are from an earlier use, or from another instance.
            instance.doubles.clear();
            instance.owner.join();
        }
        instance.shared.count_shared(end);
    }
    if let WaitEnd::Events { first, .. } = end {
        <Library as Above>::waited_amid_others(instance, epfd, first);
    }
}

#[cold]
#[inline(never)]
fn waited_on_unknown(epfd: i32, end: WaitEnd, block: &'static Block, site: &usize) {
    if process::is_own() {
        change(Change::Adopted { fd: epfd });
        if CORE.instance_of(epfd).is_some() {
            waited(epfd, end, block, site);
        }
    }
}

/// A wait failed with EBADF.
#[cold]
pub fn waited_on_bad(epfd: i32) {
    forget_closed(epfd, -1);
}
