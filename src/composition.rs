//! Which module has which part of a thread's block and of the page that the kernel wipes at fork,
//! and what the layers below need from those above.
//!
//! The modules define their parts. src/thread.rs and src/process.rs provide the memory and do not
//! know what it holds. This file joins the two. Each `Above` trait is implemented here and nowhere
//! else, by forwarding.
//!
//! Invariant: zero bytes are a valid value of each part. The kernel zeroes both structures at each
//! fork, at any instruction, and the child may continue in the middle of a hook.

use core::mem::offset_of;

use epollshim_format::control::Order;
use epollshim_format::function::Function;
use epollshim_ledger::Events;
use libc::epoll_event;

use crate::above::{Has, Library};
use crate::buffer::Buffer;
use crate::counters::WaitEnd;
use crate::findings::batch::Batch;
use crate::findings::errors::{FailedWaits, Pending};
use crate::findings::stalled::Stalls;
use crate::findings::waiters::Closed;
use crate::findings::watch::Watch;
use crate::frame::Handlers;
use crate::ledger::core::{Registration, Totals};
use crate::ledger::records::{Instance, Interest};
use crate::ledger::{self, Here, Rows, reservations};
use crate::policy::rules::{self, Ordinals};
use crate::sync::{AtomicPtr, AtomicU64};
use crate::thread::{self, Block};
use crate::{census, findings, hooks, init, log, policy, process, record, report, stacks, steer};

/// Implements [`Has`] for a structure and each of the listed fields.
macro_rules! has {
    ($($whole:ident.$field:ident: $part:ty),* $(,)?) => {
        $(impl Has<$part> for $whole {
            #[inline(always)]
            fn part(&self) -> &$part {
                &self.$field
            }
        })*
    };
}

// ---- one thread's ----

/// The parts of a thread's block. They follow the fields of src/thread/block.rs and of the ledger.
#[repr(C)]
pub struct OfThread {
    pending: Pending,
    /// Each wait that returns events reads its first word.
    watch: Watch,
    failed_waits: FailedWaits,
    stalls: Stalls,
    closed_in_wait: Closed,
    batch: Batch,
    room: census::room::OfThread,
    ordinals: Ordinals,
    recorder: record::PerThread,
}

const _: () = assert!(
    offset_of!(OfThread, watch) + size_of::<AtomicU64>() <= thread::PARTS_IN_HEAD,
    "what common calls touch of a block is one cache line"
);

has! {
    OfThread.pending: Pending,
    OfThread.watch: Watch,
    OfThread.failed_waits: FailedWaits,
    OfThread.stalls: Stalls,
    OfThread.closed_in_wait: Closed,
    OfThread.batch: Batch,
    OfThread.room: census::room::OfThread,
    OfThread.ordinals: Ordinals,
    OfThread.recorder: record::PerThread,
}

// SAFETY: `OfThread` consists of atomics, for which zero is a valid value. `has_nothing_open` is
// true only if the word of `Pending` is all ones. Only `begin` and the hooks of a thread whose
// block is in use write that value.
unsafe impl thread::Above for Library {
    type Parts = OfThread;
    const PENDING: usize = offset_of!(OfThread, pending) + Pending::PAIR;

    #[inline(always)]
    unsafe fn has_nothing_open(parts: *const OfThread) -> bool {
        // SAFETY: `pending` lies before `watch`, whose first word is in the first cache line
        // (asserted above). The caller promises that this cache line is mapped.
        let pending = unsafe { &(*parts).pending };
        !pending.is_open()
    }

    fn acts() -> bool {
        init::acts()
    }

    fn is_recorded() -> bool {
        record::is_wanted()
    }

    fn bytes_behind_block() -> usize {
        record::bytes_behind_block()
    }

    fn lay_over_file(block: &'static Block, tid: u32) {
        record::lay_over_file(block, tid);
    }

    fn detach_from_file(block: *mut u8) {
        record::detach(block);
    }

    fn begin(parts: &OfThread) {
        parts.pending.forget();
    }

    fn next_owner(block: &'static Block) {
        block.part::<Pending>().forget();
        block.part::<Ordinals>().next_owner();
        block.part::<record::PerThread>().next_owner();
        block.part::<Watch>().next_owner();
        block.part::<Stalls>().next_owner();
        if !block.pending_release.is_empty() {
            // Its last owner was cancelled during a close.
            ledger::left_closing(block);
        }
    }
}

// ---- one process's ----

/// The parts of the page that the kernel wipes at fork. They follow the fields of src/process.rs.
#[repr(C)]
pub struct OfProcess {
    policy: policy::Tally,
    log: log::Tally,
    recording: record::State,
    findings: findings::Place,
    census: census::mirror::Mirror,
    modules: record::List,
}

has! {
    OfProcess.policy: policy::Tally,
    OfProcess.log: log::Tally,
    OfProcess.recording: record::State,
    OfProcess.findings: findings::Place,
    OfProcess.census: census::mirror::Mirror,
    OfProcess.modules: record::List,
}

// SAFETY: `OfProcess` consists of atomics, for which zero is a valid value.
unsafe impl process::Above for Library {
    type Parts = OfProcess;

    fn is_used() -> bool {
        thread::any_used() || census::is_on() || reservations::tracks()
    }

    fn after_fork() {
        let is_used = Self::is_used();
        thread::forget_after_fork();
        if is_used {
            ledger::after_fork();
        }
        census::after_fork();
        rules::after_fork();
    }

    fn lends() {
        census::forget_touched();
    }
}

// ---- calls to the layers above ----

impl hooks::armed::Above for Library {
    fn handlers(function: Function, operation: usize) -> Handlers {
        hooks::default_handlers::default_handlers(function, operation)
    }
}

impl ledger::Above for Library {
    fn outgrown(epfd: i32, site: usize, peak: u64, size: u64) {
        findings::sizes::outgrown(epfd, site, peak, size);
    }

    fn instance_closed(waiter: &Block, epfd: i32, at: usize) {
        findings::waiters::instance_closed(waiter, epfd, at);
    }

    fn watched_closed(waiter: &'static Block, instance: u32, fd: i32, at: usize) {
        findings::waiters::watched_closed(waiter, instance, fd, at);
    }

    fn closing_in_batch(block: &Block, fd: i32, at: usize) {
        findings::batch::closing(block, fd, at);
    }

    fn adding_over_ghost(registration: &Registration) {
        findings::errors::adding_over_ghost(registration);
    }

    fn waited_amid_others(instance: &Instance, epfd: i32, first: *const epoll_event) {
        findings::doubles::waited(instance, epfd, first);
    }

    fn waited_first(instance: &Instance) {
        findings::herd::waited_first(instance);
    }

    fn missed(events: u32) {
        findings::missed(events);
    }

    fn instance_noted(index: u32, instance: &Instance, epfd: i32) {
        record::noted_instance(index, instance, epfd);
    }

    fn instance_marked(index: u32, instance: &Instance) {
        record::marked_instance(index, instance);
    }

    fn instance_gone(index: u32) {
        record::gone_instance(index);
    }

    fn interest_noted(index: u32, interest: &Interest, watches: u64) {
        record::noted_interest(index, interest, watches);
    }

    #[inline(always)]
    fn interest_gone(index: u32, instance: u32, watches: u64) {
        record::gone_interest(index, instance, watches);
    }

    fn totals_changed(totals: &Totals, watches: u64, bytes: u64) -> bool {
        record::changed_totals(totals, watches, bytes)
    }

    fn happened(events: &Events) {
        ledger::delivery::happened(events);
    }

    #[inline(always)]
    fn unlocked() {
        ledger::delivery::unlocked();
    }

    fn wants_parts() -> bool {
        record::wants_parts()
    }

    fn grow_tables(made: &mut dyn FnMut(Rows)) -> bool {
        record::grow_tables(made)
    }

    #[inline(always)]
    fn waited(index: u32, end: WaitEnd, is_alone: bool) {
        record::instance_waited(index, end, is_alone);
    }
}

impl findings::Above for Library {
    fn recorded_table(kind: u64, bytes: usize) -> Option<*mut u8> {
        record::table(kind, bytes)
    }

    fn new_site(site: usize) {
        record::new_site(site);
    }
}

impl census::mirror::Above for Library {
    fn begin_recording() -> bool {
        record::begin_for_census()
    }

    fn census_part(kind: u64, bytes: usize, first: u64, place: &AtomicPtr<u8>) -> Result<bool, i32> {
        record::part(kind, bytes, first, place)
    }

    fn look_at_time(now: u64) {
        record::look_at_time(now);
    }

    fn new_site(site: usize) {
        record::new_site(site);
    }
}

impl stacks::Above for Library {
    fn wrote_stack(stack: &[AtomicU64], number: usize) {
        record::wrote_stack(stack, number);
    }
}

impl record::Orders for Library {
    fn obey(here: Here, order: Order, is_done: bool, answer: &mut Buffer<u8>) -> Result<(), u64> {
        steer::obey(here, order, is_done, answer)
    }

    fn write_armed() {
        policy::mirror::write();
    }
}

impl policy::Above for Library {
    fn aborts() {
        report::at_abort();
    }
}
