//! Instances that are never closed, grouped by where they were created.
//!
//! One that is open at the end may well have been in use until then. An instance is idle if it was
//! waited on at least once, and not since all waits were last marked (`Core::mark_waits`: when the
//! number of creations became a power of two), while others were. Two idle instances of one site
//! are abandoned loops.

use crate::sync::Ordering;

use epollshim_format::findings::{Id, Severity, leak};
use epollshim_format::kernel_memory;

use super::{Note, put, withdraw};
use crate::buffer::Buffer;
use crate::ledger::Core;
use crate::ledger::fork_shared;
use crate::ledger::records::Instance;
use crate::process::End;
use crate::{clock, ledger, procfs};

/// The open instances of one site.
#[derive(Clone, Copy, Default)]
struct Group {
    site: usize,
    alive: u64,
    idle: u64,
    watches: u64,
    /// The record of one of them: an idle one, if there is one.
    one: u32,
}

/// The most sites that are distinguished.
const GROUPS: usize = 64;

pub fn evaluate(end: End) {
    withdraw(Id::Leak);
    let ledger = ledger::view();
    Buffer::lend(|groups| {
        gather(ledger, groups);
        for group in groups.as_slice() {
            report(ledger, group, end);
        }
    });
}

fn gather(ledger: &Core, groups: &mut Buffer<Group>) {
    let is_any_used =
        ledger.live_instances().any(|(_, instance)| leak::is_used(instance.waits(), instance.waits_marked.get()));
    let now = clock::monotonic();
    // Asked only if an instance looks idle.
    let mut are_waited_on = None;
    Buffer::lend(|waited| {
        for (index, instance) in ledger.live_instances() {
            let site = instance.site.load(Ordering::Relaxed);
            // An instance that came by fork or exec is not this process's to close.
            if site == 0 || instance.inherited.load(Ordering::Relaxed) != 0 {
                continue;
            }
            let is_idle = is_any_used
                && looks_idle(ledger, instance, now)
                && *are_waited_on.get_or_insert_with(|| read_waited(waited))
                && !waited.as_slice().iter().any(|epfd| ledger.descriptors.get(*epfd).instance() == index);
            let place = groups.as_slice().iter().position(|group| group.site == site);
            let place = match place {
                Some(place) => place,
                None if groups.as_slice().len() < GROUPS && groups.push(Group { site, ..Group::default() }) => {
                    groups.as_slice().len() - 1
                }
                None => continue,
            };
            if let Some(group) = groups.as_mut_slice().get_mut(place) {
                group.alive += 1;
                group.watches += instance.watches.get();
                if group.one == 0 || is_idle && group.idle == 0 {
                    group.one = index;
                }
                group.idle += u64::from(is_idle);
            }
        }
    });
}

/// Which descriptors threads wait on now. False: it cannot be known.
fn read_waited(waited: &mut Buffer<i32>) -> bool {
    let mut complete = true;
    procfs::each_waited_epoll(|epfd| complete &= waited.push(epfd)) && complete
}

/// Whether an instance was not waited on lately, as far as this process's own counts show.
fn looks_idle(ledger: &Core, instance: &Instance, now: u64) -> bool {
    let since_mark = now.saturating_sub(ledger.totals.marked.get());
    // If another instance watches it, or another process uses it, its own waits say nothing.
    leak::looks_idle(instance.waits(), instance.waits_marked.get(), since_mark)
        && !ledger.is_nested(instance)
        && !fork_shared::entries().any(|entry| entry.is_of(instance))
}

fn report(ledger: &Core, group: &Group, end: End) {
    let severity = leak::severity(group.alive, group.idle);
    if severity == Severity::Info && matches!(end, End::Running | End::Exec) {
        // In use, or closed by the exec.
        return;
    }
    let made = ledger::made_at(group.site).map_or(0, |(_, made)| made).max(group.alive);
    let idle = if severity == Severity::Info { 0 } else { group.idle };
    let note = Note {
        epfd: ledger.descriptor_of(group.one),
        site: group.site,
        detail: [made, group.alive, idle, kernel_memory::estimate(group.alive, group.watches)],
        ..Note::of(Id::Leak, severity)
    };
    put(&note, group.alive);
}
