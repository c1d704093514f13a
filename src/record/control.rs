//! The control pages: a request from outside (`epollshim ctl`) is taken as a recorded call returns, by the thread that made
//! it, and carried out aside. No thread waits for requests, no signal tells of them, no descriptor is held.
//!
//! Who may write there may steer: the file is this user's alone (0600), and the pages were mapped by the descriptor that
//! made it. What is found there is copied before it is looked at, and trusted for nothing: a request counts if its checksum ties it to
//! this process and to a number above all that were taken.
//!
//! What a process has taken is in the memory that the kernel wipes at fork, and so is each thread's way to the bell:
//! the child of a fork begins with pages of its own.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use epollshim_format::control::{self, Order, status};
use libc::c_int;

use super::file::{State, word};
use super::modules;
use crate::policy::{limits, rules};
use crate::steer::{self, Refusal};
use crate::thread::Block;
use crate::{aside, ledger, process};

/// What was taken. All-zero is a process that has taken nothing.
#[repr(C)]
pub struct Steered {
    /// A thread has a request in hand.
    busy: AtomicU32,
    /// The number of the last one taken.
    last: AtomicU64,
    requests: AtomicU64,
    damaged: AtomicU64,
}

/// The word that a thread looks at; null: there is no recording.
pub fn bell() -> *mut AtomicU64 {
    let pages = process::recording().and_then(State::control_pages);
    pages.map_or(core::ptr::null_mut(), |pages| pages.wrapping_add(control::BELL).cast())
}

/// Whether a request stands. Relaxed: who takes it looks again.
#[inline(always)]
pub fn is_asked(block: &Block) -> bool {
    let bell: &AtomicPtr<AtomicU64> = &block.bell;
    // SAFETY: null, or a word of the mapping that the recording lies in, which lasts as long as the process.
    unsafe { bell.load(Ordering::Relaxed).as_ref() }.is_some_and(|bell| bell.load(Ordering::Relaxed) != 0)
}

/// Requests taken, and those of them that were ignored as damaged; None: there were none.
pub fn told() -> Option<(u64, u64)> {
    let of = &process::recording()?.control;
    let requests = of.requests.load(Ordering::Relaxed);
    (requests != 0).then(|| (requests, of.damaged.load(Ordering::Relaxed)))
}

/// Takes the request that stands, and answers it. Left for a later call: where another thread has one in hand, where this is a handler
/// that has interrupted the ledger, and where the memory is a parent's.
#[cold]
#[inline(never)]
pub fn answer() {
    let Some(state) = process::recording() else { return };
    if state.control.busy.load(Ordering::Relaxed) != 0 || ledger::is_interrupted() {
        return;
    }
    aside::undisturbed(|| {
        if process::is_own()
            && let Some(start) = state.control_pages()
            // Acquire and Release: one request is answered before the next is taken. No signal comes between the two.
            && state.control.busy.swap(1, Ordering::Acquire) == 0
        {
            take(&Pages(start), &state.control);
            state.control.busy.store(0, Ordering::Release);
        }
    });
}

fn take(pages: &Pages, steered: &Steered) {
    // Acquire: behind the number stands what the command wrote before it.
    let number = pages.word(control::BELL).swap(0, Ordering::AcqRel);
    if number == 0 {
        return;
    }
    steered.requests.fetch_add(1, Ordering::Relaxed);
    let mut space = [0u8; control::REQUEST_BYTES];
    let mut answer = Answer { bytes: [0; control::ANSWER_BYTES], length: 0 };
    let last = steered.last.load(Ordering::Relaxed);
    let came = match pages.request(number, &mut space).filter(|_| number > last) {
        Some(text) => {
            steered.last.store(number, Ordering::Relaxed);
            pages.set(control::TAKEN, number);
            carry_out(text, &mut answer)
        }
        None => None,
    };
    if came.is_none() {
        steered.damaged.fetch_add(1, Ordering::Relaxed);
        let _ = answer.write_str("the control page is damaged; the request was ignored");
    }
    // Written anew each time: these too may have been damaged.
    pages.set(control::TAKEN, steered.last.load(Ordering::Relaxed));
    pages.set(control::REQUESTS, steered.requests.load(Ordering::Relaxed));
    pages.set(control::DAMAGED, steered.damaged.load(Ordering::Relaxed));
    let (came, done) = came.unwrap_or((status::DAMAGED, 0));
    pages.answer(number, came, done, answer.as_bytes());
}

/// Carries a request out, order by order, up to the first that is refused; none of them, if one is no order or its text is wrong.
/// None: it is none that can have been sent by the command. Some: what came of it, and how many orders were carried out.
fn carry_out(text: &[u8], answer: &mut Answer) -> Option<(u64, u64)> {
    core::str::from_utf8(text).ok()?;
    if control::orders(text).any(|order| order.is_none()) {
        return None;
    }
    let checked = |order| match order {
        Order::Inject(rules) => steer::check_rules(rules),
        Order::Limit(limits) => steer::parse_limits(limits).map(drop),
        _ => Ok(()),
    };
    if let Some(refusal) = control::orders(text).flatten().find_map(|order| checked(order).err()) {
        let _ = write!(answer, "{refusal}");
        return Some((status::REFUSED, 0));
    }
    let mut done = 0;
    for order in control::orders(text).flatten() {
        if let Err(refusal) = obey(order, answer) {
            answer.length = 0;
            let _ = write!(answer, "{refusal}");
            let is_busy = refusal.errno() == libc::EBUSY as c_int;
            return Some((if is_busy { status::BUSY } else { status::REFUSED }, done));
        }
        done += 1;
    }
    Some((status::DONE, done))
}

fn obey<'a>(order: Order<'a>, answer: &mut Answer) -> Result<(), Refusal<'a>> {
    match order {
        Order::Inject(rules) => steer::inject(rules),
        Order::Limit(limits) => steer::limit(limits),
        Order::OffFaults => steer::clear_rules(),
        Order::OffLimits => steer::limit(b""),
        Order::Snapshot => {
            // What it finds is mirrored as the ledger changes.
            let _ = writeln!(answer, "{}", if ledger::reconcile() { "reconciled" } else { "not reconciled" });
            modules::write();
            Ok(())
        }
        Order::Status => {
            // What does not fit is cut.
            let _ = tell_armed(answer);
            Ok(())
        }
    }
}

/// What is armed, a line each, words parted by tabs.
fn tell_armed(out: &mut Answer) -> fmt::Result {
    for limit in limits::told() {
        write!(out, "limit\t{}\t", limit.key.name())?;
        match (limit.limit, limit.mode) {
            (Some(most), _) => write!(out, "{most}")?,
            (None, mode) => out.write_str(mode.unwrap_or_default())?,
        }
        writeln!(out, "\t{}\t{}\t{}", limit.peak, limit.denied, limit.let_through)?;
    }
    if limits::are_set() {
        writeln!(out, "on-limit\t{}", limits::on_limit())?;
    }
    for rule in rules::told() {
        write!(out, "fault\t{}\t{}\t", rule.matched, rule.fired)?;
        for byte in rule.text() {
            out.write_char(if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '?' })?;
        }
        out.write_char('\n')?;
    }
    match rules::the_seed() {
        Some(seed) => writeln!(out, "seed\t{seed}"),
        None => Ok(()),
    }
}

/// The pages, as they are mapped.
struct Pages(*mut u8);

impl Pages {
    fn word(&self, place: usize) -> &AtomicU64 {
        // SAFETY: places in the pages are aligned, and these are mapped for good.
        unsafe { word(self.0, place) }
    }

    fn set(&self, place: usize, value: u64) {
        self.word(place).store(value, Ordering::Relaxed);
    }

    /// The request of a number, copied: it may change meanwhile. None: its length or its checksum is not what belongs to it.
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
        // Release: who finds the number finds the answer.
        self.word(control::ANSWERED).store(number, Ordering::Release);
    }
}

fn checksum(number: u64, text: &[u8]) -> u64 {
    control::checksum(process::pid() as u64, process::began_unix(), number, text)
}

/// An answer's text; what does not fit is cut.
struct Answer {
    bytes: [u8; control::ANSWER_BYTES],
    length: usize,
}

impl Answer {
    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Write for Answer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let place = self.bytes.get_mut(self.length..self.length + text.len()).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}
