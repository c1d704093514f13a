//! Instances that are never closed, grouped by where they were created.
//!
//! An instance that is open at the end may well have been in use until then. It is idle if it was
//! waited on at least once, but not since all waits were last marked (`Core::mark_waits`: when the
//! number of creations became a power of two), although others were. Two idle instances of one site
//! are abandoned loops. An instance that was never waited on may have been created in advance,
//! unless nothing was ever added to it, or a younger one of its site was waited on.

use crate::sync::Ordering;

use epollshim_format::findings::{Id, Severity, leak};
use epollshim_format::kernel_memory;

use super::{Note, put, withdraw};
use crate::buffer::Buffer;
use crate::ledger::Core;
use crate::ledger::fork_shared;
use crate::ledger::records::Instance;
use crate::process::End;
use crate::{clock, ledger, procfs, thread};

/// The open instances of one site.
#[derive(Clone, Copy, Default)]
struct Group {
    site: usize,
    of: leak::Group,
    watches: u64,
    /// The record of one of them: an idle or unused one, if there is one.
    one: u32,
    /// The id of the youngest one that was waited on (`Instance::id`).
    youngest_used: u64,
}

/// The most sites that are distinguished.
const GROUPS: usize = 64;

pub fn evaluate(end: End) {
    withdraw(Id::Leak);
    let ledger = ledger::view();
    Buffer::lend(|groups| {
        gather(ledger, groups, &mut |_, _, _| ());
        for group in groups.as_slice() {
            report(ledger, group, end);
        }
    });
}

/// Whether an instance is left behind.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    InUse = 0,
    /// Its site leaks, and it is not known whether it is left behind.
    Doubtful = 1,
    Left = 2,
}

/// Calls `tell` for each instance with its standing. Does nothing if the last [`evaluate`] has
/// found no leak.
pub fn each_standing(end: End, tell: &mut dyn FnMut(&Instance, Standing)) {
    if !super::all().any(|finding| finding.id == Id::Leak && finding.severity > Severity::Info) {
        return;
    }
    let ledger = ledger::view();
    Buffer::lend(|groups| {
        gather(ledger, groups, &mut |_, _, _| ());
        Buffer::lend(|again| {
            gather(ledger, again, &mut |site, instance, is_left| {
                let leaks = |group: &Group| group.site == site && group.of.judge(has_ended(end)).0 > Severity::Info;
                tell(
                    instance,
                    match () {
                        () if !groups.as_slice().iter().any(leaks) => Standing::InUse,
                        () if is_left => Standing::Left,
                        () => Standing::Doubtful,
                    },
                );
            });
        });
    });
}

fn gather(ledger: &Core, groups: &mut Buffer<Group>, tell: &mut dyn FnMut(usize, &Instance, bool)) {
    let used_before = |instance: &Instance| leak::is_used(instance.waits(), instance.waits_marked.get());
    let is_any_used = ledger.live_instances().any(|(_, instance)| used_before(instance));
    let has_waited = thread::all().any(|block| block.counters.waits() != 0);
    for (_, instance) in ledger.live_instances() {
        if let Some(group) = group_of(groups, instance)
            && instance.waits() != 0
        {
            group.youngest_used = group.youngest_used.max(instance.id.get());
        }
    }
    let since_mark = clock::monotonic().saturating_sub(ledger.totals.marked.get());
    // Read only if an instance looks idle.
    let mut are_waited_on = None;
    Buffer::lend(|waited| {
        for (index, instance) in ledger.live_instances() {
            let Some(group) = group_of(groups, instance) else {
                tell(0, instance, false);
                continue;
            };
            let is_new = instance.waits() == 0;
            let looks_idle = leak::looks_idle(instance.waits(), instance.waits_marked.get(), since_mark)
                && if is_new { has_waited } else { is_any_used };
            let looks_unused =
                is_new && has_waited && (instance.peak() == 0 || instance.id.get() < group.youngest_used);
            let is_left = (looks_idle || looks_unused)
                && is_alone(ledger, instance)
                && *are_waited_on.get_or_insert_with(|| read_waited(waited))
                && !waited.as_slice().iter().any(|epfd| ledger.descriptors.get(*epfd).instance() == index);
            if group.one == 0 || is_left && group.of.idle + group.of.unused == 0 {
                group.one = index;
            }
            group.of.alive += 1;
            group.watches += instance.watches.get();
            group.of.idle += u64::from(is_left && looks_idle);
            group.of.unused += u64::from(is_left && looks_unused);
            group.of.old += u64::from(is_left && looks_unused && looks_idle);
            tell(group.site, instance, is_left);
        }
    });
}

/// The group of an instance's site. None: this process did not create it (it came by fork or exec),
/// or there are too many sites.
fn group_of<'groups>(groups: &'groups mut Buffer<Group>, instance: &Instance) -> Option<&'groups mut Group> {
    let site = instance.site.load(Ordering::Relaxed);
    if site == 0 || instance.inherited.load(Ordering::Relaxed) != 0 {
        return None;
    }
    let place = groups.as_slice().iter().position(|group| group.site == site);
    let place = match place {
        Some(place) => place,
        None if groups.as_slice().len() < GROUPS && groups.push(Group { site, ..Group::default() }) => {
            groups.as_slice().len() - 1
        }
        None => return None,
    };
    groups.as_mut_slice().get_mut(place)
}

/// Lists the descriptors that threads wait on now. False: they are not known.
fn read_waited(waited: &mut Buffer<i32>) -> bool {
    let mut complete = true;
    procfs::each_waited_epoll(|epfd| complete &= waited.push(epfd)) && complete
}

/// Whether no other instance watches it and no other process uses it. Otherwise it may be in use
/// without waits of its own.
fn is_alone(ledger: &Core, instance: &Instance) -> bool {
    !ledger.is_nested(instance) && !fork_shared::entries().any(|entry| entry.is_of(instance))
}

fn has_ended(end: End) -> bool {
    !matches!(end, End::Running | End::Exec)
}

fn report(ledger: &Core, group: &Group, end: End) {
    let (severity, variant) = group.of.judge(has_ended(end));
    if severity == Severity::Info && !has_ended(end) {
        // In use, or closed by the exec.
        return;
    }
    let alive = group.of.alive;
    let made = ledger::made_at(group.site).map_or(0, |(_, made)| made).max(alive);
    let left = match variant {
        leak::NEVER_USED => group.of.unused,
        _ if severity == Severity::Info => 0,
        _ => group.of.idle,
    };
    let note = Note {
        variant,
        epfd: ledger.descriptor_of(group.one),
        site: group.site,
        detail: [made, alive, left, kernel_memory::estimate(alive, group.watches)],
        ..Note::of(Id::Leak, severity)
    };
    put(&note, alive);
}
