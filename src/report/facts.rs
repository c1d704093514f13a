//! The content of a report, gathered from the threads' counters and the ledger. Both formats and
//! the C interface render it.

use core::fmt::Display;

use crate::sync::Ordering;

use epollshim_format::call::Call;
use epollshim_format::descriptor::{Descriptor, Kept, field};
use epollshim_format::findings::Finding;
use epollshim_format::{errno, histogram, kernel_memory};

use super::sites::Map;
use super::values::List;
use crate::buffer::{Buffer, sort_by_key};
use crate::counters::{Counters, Histogram, KINDS, WaitCounters};
use crate::describe::describe;
use crate::findings::suppressions;
use crate::ledger::Core;
use crate::ledger::records::{Instance, Origin};
use crate::ledger::{self};
use crate::process::End;
use crate::thread::Block;
use crate::{clock, process, procfs, sys, thread};

/// The calls that a thread's block has counted.
pub fn calls(block: &Block) -> u64 {
    Call::ALL.iter().map(|call| block.counters.calls(*call).get()).sum()
}

/// The sums of all threads' counters. They are computed on demand, because reports are rare.
pub struct Sums;

impl Sums {
    fn total(count: impl Fn(&Counters) -> u64) -> u64 {
        thread::all().map(|block| count(&block.counters)).fold(0, u64::wrapping_add)
    }

    pub fn calls(&self, calls: &[Call]) -> u64 {
        calls.iter().map(|call| Self::total(|counters| counters.calls(*call).get())).sum()
    }

    /// Failures with an error number. 0: numbers without a name.
    pub fn errors(&self, calls: &[Call], error: usize) -> u64 {
        calls
            .iter()
            .map(|call| {
                Self::total(|counters| counters.call(*call).errors.get(error).map_or(0, |counter| counter.get()))
            })
            .sum()
    }

    pub fn failures(&self, calls: &[Call]) -> u64 {
        (0..errno::NAMED).map(|error| self.errors(calls, error)).sum()
    }

    /// Calls that succeeded in the kernel.
    pub fn successes(&self, call: Call) -> u64 {
        let made_up = Self::total(|counters| counters.call(call).made_up.get());
        self.calls(&[call]).saturating_sub(self.failures(&[call]) + made_up)
    }

    /// Calls on which a fault fired.
    pub fn injected(&self, calls: &[Call]) -> u64 {
        calls.iter().map(|call| Self::total(|counters| counters.call(*call).injected.get())).sum()
    }

    /// Calls that a limit refused.
    pub fn limited(&self, calls: &[Call]) -> u64 {
        calls.iter().map(|call| Self::total(|counters| counters.call(*call).limited.get())).sum()
    }

    pub fn empty(&self) -> u64 {
        Self::total(Counters::empty_waits)
    }

    pub fn full(&self) -> u64 {
        Self::total(|counters| counters.full.get())
    }

    pub fn interrupted(&self) -> u64 {
        self.errors(&Call::WAITS, libc::EINTR as usize)
    }

    pub fn events(&self) -> u64 {
        Self::total(|counters| counters.batch().sum())
    }

    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, u64)> {
        KINDS.iter().enumerate().map(|(index, (name, _))| {
            (*name, Self::total(|counters| counters.kinds.get(index).map_or(0, |kind| kind.get())))
        })
    }

    pub fn distribution(&self, of: impl Fn(&Counters, usize) -> Option<Histogram<'_>>) -> Distribution {
        let mut counts = [0u64; histogram::BUCKETS];
        let mut distribution = Distribution::default();
        for block in thread::all() {
            for part in 0..Call::WAITS.len() {
                let Some(histogram) = of(&block.counters, part) else { continue };
                for (index, count) in counts.iter_mut().enumerate() {
                    *count += histogram.bucket(index);
                }
                distribution.sum = distribution.sum.wrapping_add(histogram.sum());
                distribution.max = distribution.max.max(histogram.max());
            }
        }
        distribution.count = counts.iter().sum();
        let at = |per_mille| {
            histogram::quantile(counts.iter().copied(), distribution.count, distribution.max, per_mille).unwrap_or(0)
        };
        (distribution.p50, distribution.p90, distribution.p99) = (at(500), at(900), at(990));
        distribution
    }

    /// Nanoseconds in waits that could block, for one call or for all.
    pub fn blocked(&self, call: Option<Call>) -> Distribution {
        self.distribution(|counters, part| {
            let of = Call::WAITS.get(part).filter(|of| call.is_none_or(|call| call == **of))?;
            counters.blocked(*of)
        })
    }

    pub fn work(&self) -> Distribution {
        self.distribution(|counters, part| (part == 0).then(|| counters.work()))
    }

    pub fn batch(&self) -> Distribution {
        self.distribution(|counters, part| (part == 0).then(|| counters.batch()))
    }
}

/// A histogram's summary.
#[derive(Default, Clone, Copy)]
pub struct Distribution {
    pub count: u64,
    pub sum: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub max: u64,
}

/// A live instance's own counts.
pub struct InstanceFacts {
    pub index: u32,
    pub id: u64,
    pub origin: Origin,
    pub argument: i32,
    pub site: usize,
    pub inherited: bool,
    pub watches: u64,
    pub peak: u64,
    pub waits: u64,
    pub events: u64,
    pub empty: u64,
    pub full: u64,
    pub interrupted: u64,
}

impl InstanceFacts {
    #[inline(never)] // for size
    pub fn of(index: u32, instance: &Instance) -> Self {
        let sum = |part: fn(&WaitCounters) -> u64| part(&instance.alone) + part(&instance.shared);
        InstanceFacts {
            index,
            id: instance.id.get(),
            origin: Origin::from_byte(instance.origin.load(Ordering::Relaxed)),
            argument: instance.argument.get(),
            site: instance.site.load(Ordering::Relaxed),
            inherited: instance.inherited.load(Ordering::Relaxed) != 0,
            watches: instance.watches.get(),
            peak: instance.peak(),
            waits: sum(|counters| counters.waits.get()),
            events: sum(|counters| counters.events.get()),
            empty: sum(|counters| counters.empty.get()),
            full: sum(|counters| counters.full.get()),
            interrupted: sum(|counters| counters.interrupted.get()),
        }
    }

    pub fn kernel_bytes(&self) -> u64 {
        kernel_memory::estimate(1, self.watches)
    }

    /// The C function that created it. None: no hook saw the call.
    pub fn call(&self) -> Option<&'static str> {
        match self.origin {
            Origin::Create => Some("epoll_create"),
            Origin::Create1 => Some("epoll_create1"),
            Origin::Unseen => None,
        }
    }

    /// The `size` that was passed to `epoll_create`.
    pub fn size(&self) -> Option<i32> {
        (self.origin == Origin::Create).then_some(self.argument)
    }
}

/// The description of a finding's descriptor at the time of the finding.
pub struct Described {
    pub fd: i32,
    pub kept: Kept,
    /// The description of what has the number now, if that differs.
    pub now: Option<Kept>,
}

impl Described {
    /// None: the finding has no descriptor.
    #[inline(never)]
    pub fn of(finding: &Finding) -> Option<Described> {
        let (fd, kept) = crate::findings::described(finding)?;
        let mut now = Kept::new();
        describe(fd, &mut now);
        let is_other = now != kept && Descriptor(now.as_bytes()).field(field::CLOSED).is_none();
        Some(Described { fd, kept, now: is_other.then_some(now) })
    }
}

/// An epoll descriptor and the index of its instance.
type EpollDescriptor = (i32, u32);

pub struct Facts {
    pub end: End,
    pub reconciled: bool,
    /// The number of epoll descriptors for which the kernel does not tell whether they are one
    /// instance.
    pub uncompared: u32,
    pub sums: Sums,
    pub ledger: &'static Core,
    pub map: Map,
    pub pid: i32,
    pub ppid: i32,
    pub began_unix: u64,
    pub duration: u64,
    pub comm: [u8; 16],
    /// The width of the text in columns.
    pub width: usize,
    exe: Buffer<u8>,
    arguments: Buffer<u8>,
    descriptors: Buffer<EpollDescriptor>,
    unseen: Buffer<i32>,
    findings: Buffer<Finding>,
    suppressed: Buffer<u64>,
}

impl Facts {
    pub fn gather(end: End, reconciled: bool, uncompared: u32) -> Facts {
        // Text in narrower columns is unreadable.
        const NARROWEST: u16 = 40;
        let columns = sys::columns(libc::STDERR_FILENO).unwrap_or(0);
        let width = if columns < NARROWEST { 80 } else { usize::from(columns) };
        let ledger = ledger::view();
        let mut exe = Buffer::new();
        let mut link = [0u8; 4096];
        exe.extend(procfs::read_link(c"/proc/self/exe", &mut link).unwrap_or_default());
        let mut arguments = Buffer::new();
        procfs::read_file(c"/proc/self/cmdline", &mut arguments);
        let mut descriptors = Buffer::new();
        for fd in 0..=ledger.descriptors.highest() {
            let instance = ledger.descriptors.get(fd).instance();
            if instance != 0 {
                descriptors.push((fd, instance));
            }
        }
        sort_by_key(descriptors.as_mut_slice(), |(fd, instance)| (*instance, *fd));
        let mut unseen = Buffer::new();
        let mut last = 0;
        for &(fd, index) in descriptors.as_slice() {
            let is_unseen = |instance: &Instance| {
                Origin::from_byte(instance.origin.load(Ordering::Relaxed)) == Origin::Unseen
                    && instance.inherited.load(Ordering::Relaxed) != Instance::FROM_EXEC
            };
            if index != last && ledger.instance_of(fd).is_some_and(is_unseen) {
                unseen.push(fd);
            }
            last = index;
        }
        let map = Map::read();
        let (mut findings, mut suppressed) = (Buffer::new(), Buffer::new());
        super::findings::gather(&map, &mut findings, &mut suppressed);
        let mut comm = [0u8; 16];
        Buffer::lend(|text: &mut Buffer<u8>| {
            // If the file cannot be read because no descriptor is free, the name is made from the
            // executable's name, as the kernel does at exec.
            if !procfs::read_file(c"/proc/self/comm", text) {
                let name = exe.as_slice().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                text.extend(name.get(..15).unwrap_or(name));
            }
            for (place, byte) in comm.iter_mut().zip(text.as_slice().trim_ascii_end()) {
                *place = *byte;
            }
        });
        Facts {
            end,
            reconciled,
            uncompared,
            sums: Sums,
            ledger,
            map,
            pid: process::pid(),
            ppid: sys::getppid(),
            began_unix: process::began_unix(),
            duration: clock::monotonic().saturating_sub(process::began()),
            comm,
            width,
            exe,
            arguments,
            descriptors,
            unseen,
            findings,
            suppressed,
        }
    }

    /// Unmaps its memory.
    pub fn end(self) {
        self.exe.end();
        self.arguments.end();
        self.descriptors.end();
        self.unseen.end();
        self.findings.end();
        self.suppressed.end();
        self.map.end();
    }

    pub fn comm(&self) -> &[u8] {
        self.comm.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    pub fn exe(&self) -> &[u8] {
        self.exe.as_slice()
    }

    /// The program's arguments, its name first.
    pub fn arguments(&self) -> impl Iterator<Item = &[u8]> {
        let text = self.arguments.as_slice();
        let text = text.strip_suffix(b"\0").unwrap_or(text);
        let count = match crate::config::arguments() {
            0 => usize::MAX,
            count => count,
        };
        text.split(|byte| *byte == 0).take(count)
    }

    /// The problems found, the worst first.
    pub fn findings(&self) -> &[Finding] {
        self.findings.as_slice()
    }

    /// Each rule of suppression, as it was written, and how many findings it suppresses.
    pub fn suppressed(&self) -> impl Iterator<Item = (&'static [u8], u64)> {
        suppressions::rules().map(|rule| rule.text).zip(self.suppressed.as_slice().iter().copied())
    }

    /// The descriptors of an instance, in ascending order.
    pub fn descriptors_of(&self, index: u32) -> impl Iterator<Item = i32> {
        let all = self.descriptors.as_slice();
        let first = all.partition_point(|(_, instance)| *instance < index);
        all.get(first..)
            .unwrap_or_default()
            .iter()
            .take_while(move |(_, instance)| *instance == index)
            .map(|(fd, _)| *fd)
    }

    pub fn instances(&self) -> impl Iterator<Item = InstanceFacts> {
        self.ledger.live_instances().map(|(index, instance)| InstanceFacts::of(index, instance))
    }

    /// The number of live instances that were created by no call that the library saw, except those
    /// that are known to come from before an exec.
    pub fn unseen(&self) -> usize {
        self.unseen.as_slice().len()
    }

    /// One descriptor of each of these instances.
    pub fn unseen_epfds(&self) -> impl Display {
        List(|| self.unseen.as_slice().iter())
    }

    pub fn created(&self) -> u64 {
        self.sums.successes(Call::Create) + self.sums.successes(Call::Create1)
    }
}
