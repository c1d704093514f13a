//! Whether a signal handler on the calling stack interrupted one of our hooks.
//!
//! Between the real call and the change of the ledger that follows it, the two disagree, and nobody is wrong. A handler that
//! runs there and asks for the library's figures must not have the ledger "corrected".
//!
//! Hooks leave no mark of their own: that would cost every call. The kernel leaves one: what it saved of the interrupted
//! code lies on the stack, above the handler's frames (src/arch, signal_frame.rs).

use core::ops::Range;

use crate::arch::signal_frame::{MASK, SKEW, WORDS, parse};
use crate::{real, registers, sys};

const WORD: usize = size_of::<usize>();

/// How far above a frame the signal frame is looked for: what a handler and its callees may have on the stack.
const REACH: usize = 64 * 1024;
/// Words above an interrupted stack pointer that are looked at: the real function's own frame, up to the return into a hook.
const SHALLOW: usize = 64;
/// Words that two pieces have in common: more than a frame's, and even, since frames begin at every second word.
const OVERLAP: usize = WORDS.next_multiple_of(2);
/// Handlers that interrupt each other.
const NESTED: usize = 8;

/// What a signal handler has interrupted.
struct Interrupted {
    instruction: usize,
    stack: usize,
}

/// Whether one of the handlers that run on top of each other, seen from a frame at `stack`, interrupted a hook.
///
/// True also where an older signal frame is left in a part of the stack that a later frame has not written. So the caller may
/// only become more careful by it.
pub fn a_hook(stack: usize) -> bool {
    interrupted_a_hook(stack, &own_code(), NESTED)
}

fn interrupted_a_hook(stack: usize, ours: &Range<usize>, nested: usize) -> bool {
    let first = stack.next_multiple_of(16) + SKEW * WORD;
    let (mut piece, mut above) = (Piece::new(), Piece::new());
    let mut at = first;
    while at < first + REACH {
        let words = piece.read(at, PIECE);
        for found in (0..words.len()).step_by(2).filter_map(|place| frame_at(words.get(place..)?)) {
            if ours.contains(&found.instruction)
                || is_in_real_close(found.instruction)
                || above.read(found.stack, SHALLOW).iter().any(|word| ours.contains(word))
                // The handler has a stack of its own: those that it interrupted are on another.
                || nested > 0
                    && !(first..first + REACH).contains(&found.stack)
                    && interrupted_a_hook(found.stack, ours, nested - 1)
            {
                return true;
            }
        }
        // The next piece begins so early that a frame on the edge is in it as a whole.
        let is_last = words.len() < PIECE;
        if is_last {
            break;
        }
        at += (PIECE - OVERLAP) * WORD;
    }
    false
}

/// Whether the caller runs in a signal handler, and that signal, which is blocked now, was not
/// blocked before it: what is sent meanwhile is delivered when the handler returns.
///
/// True also where an older signal frame is left in a part of the stack that no later frame has
/// written.
#[cold]
pub fn blocks_for_a_handler(signal: i32) -> bool {
    /// A frame, and as many places where it may begin.
    const LENGTH: usize = MASK + 1 + STEP;
    const STEP: usize = 24;
    let first = registers::stack_pointer().next_multiple_of(16) + SKEW * WORD;
    let mut words = [0usize; LENGTH];
    for start in (first..first + REACH).step_by(STEP * WORD) {
        let copied = copy(start, &mut words);
        for place in (0..STEP).step_by(2) {
            let Some(frame) = words.get(place..copied).filter(|frame| frame.len() > MASK) else { return false };
            if parse(frame).is_some() && frame.get(MASK).is_some_and(|mask| mask & 1 << (signal - 1) == 0) {
                return true;
            }
        }
    }
    false
}

/// Copies words of the stack. Returns how many could be read: all, or none.
fn copy(start: usize, into: &mut [usize]) -> usize {
    // SAFETY: words are bytes, and any bytes are words.
    let bytes = unsafe { core::slice::from_raw_parts_mut(into.as_mut_ptr().cast::<u8>(), size_of_val(into)) };
    if sys::copy_readable(start, bytes) == bytes.len() { into.len() } else { 0 }
}

/// The signal frames among the words of a piece of stack, each at its place.
fn frame_at(words: &[usize]) -> Option<Interrupted> {
    parse(words).map(|(instruction, stack)| Interrupted { instruction, stack })
}

/// A copy of a piece of stack. (Not the stack itself: what lies above a thread's stack may go away meanwhile.)
struct Piece {
    words: [usize; PIECE],
    count: usize,
}

const PAGE: usize = 4096;
/// Words of a piece.
const PIECE: usize = PAGE / WORD;

impl Piece {
    const fn new() -> Piece {
        Piece { words: [0; PIECE], count: 0 }
    }

    /// Copies up to so many words from an address on, as far as they can be read.
    fn read(&mut self, start: usize, most: usize) -> &[usize] {
        let room = self.words.get_mut(..most).unwrap_or_default();
        // SAFETY: words are bytes, and any bytes are words.
        let bytes = unsafe { core::slice::from_raw_parts_mut(room.as_mut_ptr().cast::<u8>(), size_of_val(room)) };
        let mut copied = 0;
        while let Some(rest) = bytes.get_mut(copied..).filter(|rest| !rest.is_empty()) {
            // Page by page: what a copy that meets the end of the memory in its middle has copied is not promised.
            let in_page = PAGE - (start + copied) % PAGE;
            let wanted = in_page.min(rest.len());
            let got = rest.get_mut(..wanted).map_or(0, |part| sys::copy_readable(start + copied, part));
            copied += got;
            if got < wanted {
                break;
            }
        }
        self.count = copied / WORD;
        self.words.get(..self.count).unwrap_or_default()
    }
}

/// Whether an instruction is in a real function that a hook ends in a jump to, after it has noted the close: there is no frame
/// of the hook then.
fn is_in_real_close(instruction: usize) -> bool {
    /// More than these functions have up to their system call.
    const LENGTH: usize = 256;
    [&real::function::close, &real::function::__close, &real::function::close_range, &real::CLOSEFROM, &real::SYSCALL]
        .into_iter()
        .any(|function| instruction.wrapping_sub(function.resolved()) < LENGTH)
}

/// Where this library's code lies.
fn own_code() -> Range<usize> {
    #[cfg(not(test))]
    {
        let (start, end) = crate::arch::symbols::own_code();
        start..end
    }
    #[cfg(test)]
    {
        0..0
    }
}
