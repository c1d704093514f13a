//! A thread's counters, which lie only in the file: it is mapped over the block's own memory. And a
//! thread's ring of calls.

use crate::sync::{AtomicPtr, AtomicU64, Ordering, compiler_fence, own_increment};
use core::ptr::NonNull;

use epollshim_format::function::Function;
use epollshim_format::recording::{PAGE, area, header, kind, record, thread as layout};
use libc::{c_int, epoll_event};

use super::control::{answer, bell, is_asked};
use super::file::{State, word};
use super::full;
use crate::counters::Counters;
use crate::thread::{self, Block};
use crate::{config, sys};

// The offsets that readers rely on.
const _: () = {
    use crate::counters::{Buckets, CallCounters, Top};
    use core::mem::offset_of;
    assert!(offset_of!(Counters, last_wait_end) == layout::LAST_WAIT_END);
    assert!(offset_of!(Counters, polled) == layout::POLLED);
    assert!(offset_of!(Counters, empty) == layout::EMPTY);
    assert!(offset_of!(Counters, short) == layout::SHORT);
    assert!(offset_of!(Counters, full) == layout::FULL);
    assert!(offset_of!(Counters, kinds) == layout::KINDS);
    assert!(offset_of!(Counters, calls) == layout::CALLS);
    assert!(offset_of!(Counters, tops) == layout::TOPS);
    assert!(size_of::<Top>() == layout::TOP_SIZE);
    assert!(offset_of!(Counters, buckets) == layout::BUCKETS);
    assert!(size_of::<Buckets>() == layout::BUCKETS_SIZE);
    assert!(offset_of!(Counters, of_calls) == layout::OF_CALLS);
    assert!(size_of::<CallCounters>() == layout::CALL_SIZE);
    assert!(offset_of!(CallCounters, injected) == layout::CALL_INJECTED);
    assert!(offset_of!(CallCounters, limited) == layout::CALL_LIMITED);
    assert!(offset_of!(CallCounters, errors) == layout::CALL_ERRORS);
    assert!(offset_of!(CallCounters, made_up) == layout::CALL_MADE_UP);
    assert!(size_of::<Counters>() == layout::COUNTERS_SIZE);
    assert!(size_of::<Block>() - thread::COUNTERS == layout::BEGUN);
};

/// Where the recording has the calls of a thread. It lies in the thread's block. All-zero: nowhere.
#[repr(C)]
pub struct PerThread {
    /// The ring of the last calls. Null: there is none.
    ring: AtomicPtr<u8>,
    /// The word of this process's recording that is not 0 if there is a request ([`is_asked`]).
    /// Null: there is no recording.
    pub bell: AtomicPtr<AtomicU64>,
    /// The length of the ring minus one.
    ring_mask: AtomicU64,
    /// The areas of records, if each call is kept.
    pub records: full::Records,
    /// 1 if the block had an earlier owner: then not all of its counts are of its present owner.
    is_handed_on: AtomicU64,
}

impl PerThread {
    /// The block now belongs to another thread.
    pub fn next_owner(&self) {
        self.records.pass_on();
        self.is_handed_on.store(1, Ordering::Relaxed);
    }
}

/// How many bytes follow a block in addition to the records of a ring.
pub const RING_EXTRA: usize = PAGE;

/// How many records a ring holds: a power of two. 0: there are no rings, and each record is kept.
pub fn ring_length() -> usize {
    config::get().map_or(0, |config| config.ring as usize)
}

/// How many bytes follow a block if a recording is wanted.
pub fn ring_bytes() -> usize {
    RING_EXTRA
        + match ring_length() {
            0 => area::IN_THREAD,
            length => (length * record::SIZE).next_multiple_of(PAGE),
        }
}

/// Maps this process's file over a new block's counters: over the memory from the counters on, with
/// the [`ring_bytes`] that follow the block.
pub fn attach(block: &Block, tid: u32) {
    block.part::<PerThread>().bell.store(bell(), Ordering::Relaxed);
    let Some(state) = State::of_this_process().filter(|state| state.is_on()) else { return };
    let start = core::ptr::from_ref(block).cast_mut().cast::<u8>();
    let counters = start.wrapping_add(thread::COUNTERS);
    let bytes = size_of::<Block>() - thread::COUNTERS + ring_bytes();
    let mut place = 0;
    let note_place = |_| place = state.next_place();
    if state.segment(kind::THREAD, bytes, u64::from(tid), Some(counters), note_place).is_none() {
        return state.add(header::THREADS_DROPPED, 1);
    }
    let ring = start.wrapping_add(size_of::<Block>());
    let own: &PerThread = block.part();
    if ring_length() == 0 {
        own.records.begin(ring.wrapping_add(RING_EXTRA), place);
    } else {
        own.ring_mask.store(ring_length() as u64 - 1, Ordering::Relaxed);
        own.ring.store(ring, Ordering::Relaxed);
    }
}

/// Counts the records of a thread that did not fit, if each call is kept. The block must be
/// attached.
pub fn dropped_of(block: &Block) -> &AtomicU64 {
    let start = core::ptr::from_ref(block).cast_mut().cast::<u8>();
    // SAFETY: an aligned word of the page after the block's counters. The page is mapped together
    // with them, for good.
    unsafe { word(start, thread::COUNTERS + layout::DROPPED) }
}

/// Writes how much processor time a thread has used. A reader needs it to judge the thread's polls.
/// The block must be attached.
#[cold]
#[inline(never)]
pub fn note_time(block: &Block) {
    let is_handed_on = block.part::<PerThread>().is_handed_on.load(Ordering::Relaxed) != 0;
    let time = if is_handed_on { sys::processor_time(0) } else { thread::processor_time(block) };
    if let Some(time) = time {
        let start = core::ptr::from_ref(block).cast_mut().cast::<u8>().wrapping_add(thread::COUNTERS);
        // SAFETY: an aligned word of the page after the block's counters. The page is mapped
        // together with them, for good.
        let set = |place, value| unsafe { word(start, place) }.store(value, Ordering::Relaxed);
        set(layout::POLLED_THEN, block.counters.polled.get());
        set(layout::PROCESSOR_TIME, time);
    }
}

/// Detaches a block in the child of a fork, where it still lies in the parent's file.
pub fn detach(start: *mut u8) {
    let counters = start.wrapping_add(thread::COUNTERS);
    // SAFETY: this range is the block's own memory, from its counters to the end of the ring. Its
    // contents are the parent's, and nothing in the child refers to them.
    let _ = unsafe { sys::map_over(counters, size_of::<Block>() - thread::COUNTERS + ring_bytes()) };
}

/// A call, as it is recorded.
#[derive(Clone, Copy)]
pub struct CallRecord {
    pub function: Function,
    pub words: [usize; 6],
    pub began: u64,
    pub ended: u64,
    pub result: isize,
    /// The errno. 0: the call did not fail.
    pub error: c_int,
    /// A real function ran: addresses that the kernel has read are readable.
    pub is_made: bool,
    /// The kernel got the timeout argument of the program. It matters for epoll_pwait2, where the
    /// argument is an address.
    pub is_timeout_given: bool,
    pub is_injected: bool,
    pub is_limited: bool,
    pub caller: usize,
}

/// Keeps a record of a call. Then the thread looks for a request.
#[inline(always)]
pub fn keep(block: &Block, call: &CallRecord) {
    match ring_of(block) {
        Some(ring) if call.function != Function::EpollPwait2 => write(block, ring, call, 0),
        // It gets a copy, so that the words of the other calls stay in registers.
        _ => keep_at_length(block, &{ *call }),
    }
    // At the end of the call: after a long wait, the program decides what to do next, and the
    // request must be in force by then.
    if is_asked(block) {
        answer();
    }
}

/// The slow path: there is no ring, or a timeout must be read.
#[inline(never)]
fn keep_at_length(block: &Block, call: &CallRecord) {
    let time = if call.function == Function::EpollPwait2 { timeout(call) } else { 0 };
    if let Some(ring) = ring_of(block) {
        write(block, ring, call, time);
    } else if block.part::<PerThread>().records.is_on() {
        full::write(block, call, time);
    } else if let Some(state) = State::of_this_process() {
        state.drop_calls(1);
    }
}

/// The ring of a thread. None: it has none.
#[inline(always)]
fn ring_of(block: &Block) -> Option<NonNull<u8>> {
    NonNull::new(block.part::<PerThread>().ring.load(Ordering::Relaxed))
}

/// Keeps a record of a call in the thread's ring.
#[inline(always)]
fn write(block: &Block, ring: NonNull<u8>, call: &CallRecord, time: u64) {
    let mask = block.part::<PerThread>().ring_mask.load(Ordering::Relaxed);
    // SAFETY: the ring of the calling thread's block, which has `mask` + 1 records. Only this
    // thread writes there.
    unsafe { append(ring.as_ptr(), mask, call, time) };
}

/// Keeps a record in the ring that begins at `ring`, of `mask` + 1 records.
///
/// # Safety
/// The ring must exist and belong to the calling thread. It begins with a page whose first word
/// counts the records that were begun. The records follow.
#[inline(always)]
unsafe fn append(ring: *mut u8, mask: u64, call: &CallRecord, time: u64) {
    // SAFETY: by this function's contract, `ring` is a mapped page, and so its first word is
    // aligned.
    let begun = unsafe { word(ring, 0) };
    let number = own_increment(begun);
    let place = RING_EXTRA + (number & mask) as usize * record::SIZE;
    // SAFETY: by this function's contract, the ring has `mask` + 1 records, so this is one of them.
    // It belongs to this thread.
    unsafe { put(ring.wrapping_add(place), number, call, time) };
}

/// Writes a record. `time`: the timeout of an epoll_pwait2 ([`timeout`]).
///
/// # Safety
/// `start` must be the place of a record: mapped, and the calling thread's.
#[inline(always)]
pub unsafe fn put(start: *mut u8, number: u64, call: &CallRecord, time: u64) {
    let [first, second, third, fourth, ..] = call.words;
    let (argument, extra) = match call.function {
        Function::EpollCtl => (third as u32, asked(call)),
        Function::EpollCreate | Function::EpollCreate1 => (0, 0),
        Function::EpollPwait2 => (third as u32, time),
        _ => {
            let timeout = fourth as c_int;
            (third as u32, if timeout < 0 { record::NO_TIMEOUT } else { timeout as u64 * 1_000_000 })
        }
    };
    let flags = if call.is_injected { record::INJECTED } else { 0 } | if call.is_limited { record::LIMITED } else { 0 };
    let operation = if call.function == Function::EpollCtl { second as u16 } else { 0 };
    let what = call.function as u64 | flags << 8 | u64::from(operation) << 16 | (call.error as u32 as u64) << 32;
    // SAFETY: by this function's contract, `start` is the place of a record, and the fields are its
    // aligned words.
    let set = |field, value: u64| unsafe { word(start, field).store(value, Ordering::Relaxed) };
    // A concurrent reader, or one after a kill, must find that the record is incomplete. The
    // processor keeps the order of stores (x86-64), and the fence keeps the compiler from changing
    // it.
    set(record::NUMBER, 0);
    compiler_fence(Ordering::Release);
    set(record::BEGAN, call.began);
    set(record::DURATION, call.ended.saturating_sub(call.began));
    set(record::CALL, what);
    set(record::RESULT, call.result as u64);
    set(record::ARGUMENTS, u64::from(first as u32) | u64::from(argument) << 32);
    set(record::EXTRA, extra);
    set(record::CALLER, call.caller as u64);
    compiler_fence(Ordering::Release);
    set(record::NUMBER, number + 1);
}

/// The events that a successful epoll_ctl asked for.
fn asked(call: &CallRecord) -> u64 {
    let [_, operation, _, address, ..] = call.words;
    if call.result != 0 || !call.is_made || operation as c_int == libc::EPOLL_CTL_DEL {
        return 0;
    }
    // SAFETY: the kernel was called with this address and succeeded, so it has read an event there.
    u64::from(unsafe { (&raw const (*(address as *const epoll_event)).events).read_unaligned() })
}

/// The timeout of an epoll_pwait2, if the kernel got it: a fault may have replaced it, or prevented
/// the call. The kernel reads it before it checks anything else (Linux v5.11 fs/eventpoll.c), so it
/// has read it even if it refuses the call. ENOSYS and EPERM may come from a seccomp filter, which
/// reads nothing.
fn timeout(call: &CallRecord) -> u64 {
    let [_, _, _, address, ..] = call.words;
    if address == 0 {
        return record::NO_TIMEOUT;
    }
    if !call.is_timeout_given || !matches!(call.error, 0 | libc::EINTR | libc::EBADF | libc::EINVAL) {
        return record::UNKNOWN_TIMEOUT;
    }
    // SAFETY: the kernel got this address, and the errno shows that it has read a time there.
    let time = unsafe { (address as *const libc::timespec).read_unaligned() };
    match (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec)) {
        (Ok(seconds), Ok(nanoseconds)) if nanoseconds < 1_000_000_000 => {
            seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds).min(record::UNKNOWN_TIMEOUT - 1)
        }
        _ => record::UNKNOWN_TIMEOUT,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{CallRecord, RING_EXTRA, append, record, word};
    use crate::model::{Event, Search, any_event_met, check, participate};
    use crate::sync::Ordering;
    use epollshim_format::function::Function;
    use std::boxed::Box;
    use std::sync::Arc;

    const RECORDS: usize = 4;
    const MASK: u64 = RECORDS as u64 - 1;
    /// More than there are records: some are overwritten.
    const CALLS: usize = 6;

    /// A ring as it follows a block.
    #[repr(C, align(4096))]
    struct Ring(core::cell::UnsafeCell<[u8; RING_EXTRA + RECORDS * record::SIZE]>);
    // SAFETY: atomics lie in it, and one thread writes.
    unsafe impl Send for Ring {}
    // SAFETY: atomics lie in it, and one thread writes.
    unsafe impl Sync for Ring {}

    impl Ring {
        fn new() -> Arc<Ring> {
            Arc::new(Ring(core::cell::UnsafeCell::new([0; _])))
        }

        /// Appends a call all of whose fields follow from one number.
        fn append(&self, call: usize) {
            let kept = CallRecord {
                function: Function::EpollWait,
                words: [call, 0, call + 1, call + 2, 0, 0],
                began: call as u64,
                ended: 2 * call as u64,
                result: call as isize,
                error: 0,
                is_made: true,
                is_timeout_given: true,
                is_injected: false,
                is_limited: false,
                caller: call,
            };
            // SAFETY: the ring is complete, and its only writers are the participant and the
            // handler that interrupts it.
            unsafe { append(self.0.get().cast(), MASK, &kept, 0) };
        }

        /// How many records were begun.
        fn begun(&self) -> u64 {
            // SAFETY: the first word of the ring's page.
            unsafe { word(self.0.get().cast(), 0) }.load(Ordering::Relaxed)
        }

        /// Reads a record as crates/recording does: it is valid if its number is the same before
        /// and after.
        fn read(&self, place: usize) -> Option<(u64, u64)> {
            let start = self.0.get().cast::<u8>().wrapping_add(RING_EXTRA + place * record::SIZE);
            // SAFETY: a record of this ring.
            let get = |field| unsafe { word(start, field) }.load(Ordering::Acquire);
            let number = get(record::NUMBER);
            let fields =
                [record::BEGAN, record::DURATION, record::RESULT, record::ARGUMENTS, record::EXTRA, record::CALLER]
                    .map(get);
            if number == 0 || get(record::NUMBER) != number {
                return None;
            }
            let [call, duration, result, arguments, extra, caller] = fields;
            assert!(
                [duration, result, caller].iter().all(|field| *field == call)
                    && arguments == call | (call + 1) << 32
                    && extra == (call + 2) * 1_000_000,
                "a record of two calls"
            );
            assert_eq!((number - 1) & MASK, place as u64, "a record in another's place");
            Some((number, call))
        }
    }

    fn writer(ring: &Arc<Ring>, at: usize, event: Event) -> shuttle::thread::JoinHandle<bool> {
        let ring = ring.clone();
        shuttle::thread::spawn(move || {
            let went_on = participate(at, Some(event), || (1..=CALLS).for_each(|call| ring.append(call)));
            // The thread continues after the jump.
            if !went_on {
                ring.append(CALLS + 1);
            }
            went_on
        })
    }

    #[test]
    fn a_reader_gets_whole_records_wherever_the_writer_stops_or_is_interrupted() {
        // One record has 11 steps.
        for at in 0..12 * CALLS {
            for stops in [true, false] {
                check(Search::Random(30), move || {
                    let ring = Ring::new();
                    let in_handler = ring.clone();
                    let handler: Box<dyn FnOnce() + Send> = Box::new(move || in_handler.append(50));
                    let event = if stops { Event::Stop } else { Event::Handler(handler) };
                    let writer = writer(&ring, at, event);
                    for place in [0, 1, 2, 3, 0, 1] {
                        ring.read(place);
                    }
                    let went_on = writer.join().unwrap();
                    let mut found: std::vec::Vec<_> = (0..RECORDS).filter_map(|place| ring.read(place)).collect();
                    found.sort_unstable();
                    found.dedup_by_key(|(number, _)| *number);
                    let handlers = u64::from(any_event_met() && !stops);
                    assert!(stops || ring.begun() == CALLS as u64 + handlers, "two records have one number");
                    // Every call that returned has its record.
                    let of = |call| found.iter().filter(|(_, found)| *found == call).count();
                    // (A handler's record has taken one of the places.)
                    let returned: &[u64] = if went_on { &[4, 5, 6] } else { &[7] };
                    assert!(returned.iter().all(|call| of(*call) == 1), "{found:?}");
                });
            }
        }
    }
}
