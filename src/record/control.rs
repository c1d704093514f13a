//! The control pages, into which `epollshim ctl` writes requests. A thread that makes a recorded
//! call takes the request when the call returns, and carries it out on a stack of its own. No
//! thread waits for requests, no signal announces them, and no descriptor is held.
//!
//! A process that can write there may control this one: the file belongs to its user alone (mode
//! 0600), and the pages were mapped through the descriptor that created it. A request is copied
//! before it is examined, and is never trusted: it is accepted only if its checksum matches this
//! process and its number is higher than those of all earlier ones.
//!
//! What a process has taken is in the memory that the kernel wipes at fork, and so is each thread's
//! pointer to the request word. The child of a fork begins with pages of its own.

use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use core::fmt::Write;

use epollshim_format::control::{self, Order, status};

use super::file::{State, word};
use super::threads::PerThread;
use crate::above::Library;
use crate::buffer::Buffer;
use crate::ledger::Here;
use crate::thread::Block;
use crate::{ledger, process, sigsafe};

/// What this module needs of the layers above it.
pub trait Above {
    /// Carries out an order, or only checks its text if `is_done` is false. Writes its output to
    /// the answer. Err: a value of `status`, and the answer contains only the reason.
    fn obey(here: Here, order: Order, is_done: bool, answer: &mut Buffer<u8>) -> Result<(), u64>;
    /// Writes what is armed and what it has counted into the file.
    fn write_armed();
}

/// Which requests were taken. All-zero: none.
#[repr(C)]
pub struct Steered {
    /// 1 while a thread carries out a request.
    busy: AtomicU32,
    /// The number of the last request that was taken.
    last: AtomicU64,
    requests: AtomicU64,
    damaged: AtomicU64,
}

/// The word that a thread reads after each recorded call. Null: there is no recording.
pub fn bell() -> *mut AtomicU64 {
    let pages = State::of_this_process().and_then(State::control_pages);
    pages.map_or(core::ptr::null_mut(), |pages| pages.wrapping_add(control::BELL).cast())
}

/// Whether there is a request. Relaxed: the thread that takes it reads the word again, with
/// Acquire.
#[inline(always)]
pub fn is_asked(block: &Block) -> bool {
    let bell: &AtomicPtr<AtomicU64> = &block.part::<PerThread>().bell;
    // SAFETY: the pointer is null, or a word of the control pages, which stay mapped as long as the
    // process lives.
    unsafe { bell.load(Ordering::Relaxed).as_ref() }.is_some_and(|bell| bell.load(Ordering::Relaxed) != 0)
}

/// How many requests were taken, and how many of them were ignored because they were damaged. None:
/// there were no requests.
pub fn requests() -> Option<(u64, u64)> {
    let of = &State::of_this_process()?.control;
    let requests = of.requests.load(Ordering::Relaxed);
    (requests != 0).then(|| (requests, of.damaged.load(Ordering::Relaxed)))
}

/// Takes the pending request, and answers it. The request is left for a later call if another
/// thread is carrying one out, if this is a handler that has interrupted the ledger, or if the
/// memory is the parent's.
#[cold]
#[inline(never)]
pub fn answer() {
    let Some(state) = State::of_this_process() else { return };
    if state.control.busy.load(Ordering::Relaxed) != 0 || ledger::is_interrupted() {
        return;
    }
    let here = ledger::place();
    sigsafe::on_own_stack(|| {
        if process::is_owner()
            && let Some(start) = state.control_pages()
            // Acquire pairs with the Release below: one request is answered before the next is
            // taken. No signal handler runs between the two.
            && state.control.busy.swap(1, Ordering::Acquire) == 0
        {
            take(&Pages(start), &state.control, here);
            state.control.busy.store(0, Ordering::Release);
        }
    });
}

fn take(pages: &Pages, steered: &Steered, here: Here) {
    // Acquire: pairs with the Release of the command, which writes the request before its number.
    let number = pages.word(control::BELL).swap(0, Ordering::AcqRel);
    if number == 0 {
        return;
    }
    steered.requests.fetch_add(1, Ordering::Relaxed);
    let mut space = [0u8; control::REQUEST_BYTES];
    let mut answer = Buffer::<u8>::new();
    let last = steered.last.load(Ordering::Relaxed);
    let came = match pages.request(number, &mut space).filter(|_| number > last) {
        Some(text) => {
            steered.last.store(number, Ordering::Relaxed);
            pages.set(control::TAKEN, number);
            carry_out(here, text, &mut answer)
        }
        None => None,
    };
    if came.is_none() {
        steered.damaged.fetch_add(1, Ordering::Relaxed);
        let _ = answer.write_str("the control page is damaged; the request was ignored");
    }
    // Written each time, because these words may have been damaged too.
    pages.set(control::TAKEN, steered.last.load(Ordering::Relaxed));
    pages.set(control::REQUESTS, steered.requests.load(Ordering::Relaxed));
    pages.set(control::DAMAGED, steered.damaged.load(Ordering::Relaxed));
    let (came, done) = came.unwrap_or((status::DAMAGED, 0));
    // What does not fit is cut off.
    let text = answer.as_slice();
    pages.answer(number, came, done, text.get(..control::ANSWER_BYTES).unwrap_or(text));
}

/// Carries out a request, order by order, up to the first that is refused. If one has an unknown
/// name or a wrong text, it carries out none. None: the command cannot have sent it. Some: the
/// status, and how many orders were carried out.
fn carry_out(here: Here, text: &[u8], answer: &mut Buffer<u8>) -> Option<(u64, u64)> {
    core::str::from_utf8(text).ok()?;
    let mut done = 0;
    for is_done in [false, true] {
        for order in control::orders(text) {
            if let Err(status) = Library::obey(here, order?, is_done, answer) {
                return Some((status, done));
            }
            done += u64::from(is_done);
        }
    }
    Some((status::DONE, done))
}

/// The control pages.
struct Pages(*mut u8);

impl Pages {
    fn word(&self, place: usize) -> &AtomicU64 {
        // SAFETY: callers pass aligned offsets within the control pages, which are never unmapped.
        unsafe { word(self.0, place) }
    }

    fn set(&self, place: usize, value: u64) {
        self.word(place).store(value, Ordering::Relaxed);
    }

    /// Copies the request with this number, because the original may change. None: its length or
    /// its checksum is wrong.
    fn request<'a>(&self, number: u64, into: &'a mut [u8; control::REQUEST_BYTES]) -> Option<&'a [u8]> {
        let length = usize::try_from(self.word(control::LENGTH).load(Ordering::Relaxed)).ok()?;
        let check = self.word(control::CHECK).load(Ordering::Relaxed);
        if length > into.len() {
            return None;
        }
        for (index, bytes) in into.chunks_exact_mut(8).enumerate().take(length.div_ceil(8)) {
            let found = self.word(control::REQUEST + index * 8).load(Ordering::Relaxed);
            bytes.copy_from_slice(&found.to_le_bytes());
        }
        let text = into.get(..length)?;
        (checksum(number, text) == check).then_some(text)
    }

    fn answer(&self, number: u64, came: u64, done: u64, text: &[u8]) {
        for (index, bytes) in text.chunks(8).enumerate() {
            let mut found = [0; 8];
            if let Some(place) = found.get_mut(..bytes.len()) {
                place.copy_from_slice(bytes);
            }
            self.set(control::ANSWER + index * 8, u64::from_le_bytes(found));
        }
        self.set(control::ANSWER_LENGTH, text.len() as u64);
        self.set(control::ANSWER_CHECK, checksum(number, text));
        self.set(control::STATUS, came);
        self.set(control::DONE, done);
        // Release: pairs with the Acquire of the command. A reader that sees the number sees the
        // answer.
        self.word(control::ANSWERED).store(number, Ordering::Release);
    }
}

fn checksum(number: u64, text: &[u8]) -> u64 {
    control::checksum(process::pid() as u64, process::began_unix(), number, text)
}
