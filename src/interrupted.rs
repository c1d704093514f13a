//! Whether a signal handler on the calling stack interrupted one of our hooks.
//!
//! Between the real call and the change of the ledger that follows it, the two disagree, and nobody is wrong. A handler that
//! runs there and asks for the library's figures must not have the ledger "corrected".
//!
//! Hooks leave no mark of their own: that would cost every call. The kernel leaves one: what it saved of the interrupted
//! code lies on the stack, above the handler's frames (src/arch, signal_frame.rs).

use core::ops::Range;

use epollshim_ledger::lock_protocol::View;

use crate::arch::signal_frame::{MASK, SKEW, WORDS, parse};
use crate::{real, registers, sys};

const WORD: usize = size_of::<usize>();

/// How far above a frame the signal frame is looked for: what a handler and its callees may have on the stack.
const REACH: usize = 64 * 1024;
/// Words above an interrupted stack pointer that are looked at: the real function's own frame, up to the return into a hook.
const SHALLOW: usize = 64;
/// Words that two pieces have in common: more than a frame's, and even, since frames begin at every second word.
const OVERLAP: usize = WORDS.next_multiple_of(2);
/// Words of a piece where there may be little stack.
const SMALL: usize = OVERLAP + 32;
/// Handlers that interrupt each other.
const NESTED: usize = 8;

/// A signal frame, and what the handler has interrupted.
struct Interrupted {
    frame: usize,
    instruction: usize,
    stack: usize,
}

/// Whether one of the handlers that run on top of each other, seen from a frame of the program, interrupted a hook.
///
/// True also for some that ran before, and were jumped out of ([`Interrupted::may_run`]). So the caller may only become more
/// careful by it.
pub fn a_hook(view: View) -> bool {
    interrupted_a_hook(view, &own_code(), NESTED)
}

fn interrupted_a_hook(view: View, ours: &Range<usize>, nested: usize) -> bool {
    let reach = view.stack..view.stack + REACH;
    let (found, _) = any_frame::<PIECE>(reach.clone(), |found| {
        found.is_in_a_hook(ours) && found.may_run(view.blocked)
            // The handler has a stack of its own: those that it interrupted are on another.
            || nested > 0
                && !reach.contains(&found.stack)
                && interrupted_a_hook(View { stack: found.stack, ..view }, ours, nested - 1)
    });
    found
}

/// Whether a handler whose signal frame lies in the `bytes` above a frame of the program interrupted a hook; true also where
/// that part of the stack cannot be looked at. For callers with little stack.
pub fn a_hook_within(view: View, bytes: usize) -> bool {
    if bytes > REACH {
        return true;
    }
    let ours = own_code();
    let end = view.stack + bytes;
    let (found, looked_at) =
        any_frame::<SMALL>(view.stack..end, |found| found.is_in_a_hook(&ours) && found.may_run(view.blocked));
    found || looked_at < end
}

/// Whether a signal frame of that kind lies in a part of the stack, and up to where it could be read.
fn any_frame<const PIECE: usize>(part: Range<usize>, mut is_it: impl FnMut(&Interrupted) -> bool) -> (bool, usize) {
    let mut piece = Piece::<PIECE>::new();
    let mut at = part.start.next_multiple_of(16) + SKEW * WORD;
    while at < part.end {
        let words = piece.read(at);
        let frame = |place: usize| {
            let (instruction, stack) = parse(words.get(place..)?)?;
            Some(Interrupted { frame: at + place * WORD, instruction, stack })
        };
        if (0..words.len()).step_by(2).filter_map(frame).any(|found| is_it(&found)) {
            return (true, at);
        }
        // The next piece begins so early that a frame on the edge is in it as a whole.
        if words.len() < PIECE {
            return (false, at + words.len() * WORD);
        }
        at += (PIECE - OVERLAP) * WORD;
    }
    (false, at)
}

impl Interrupted {
    fn is_in_a_hook(&self, ours: &Range<usize>) -> bool {
        let is_one = |address: usize| ours.contains(&address) || is_in_real_close(address);
        is_one(self.instruction) || returns_into(self.stack, is_one)
    }

    /// Whether the handler may still run. A frame stays on the stack after `siglongjmp`, until something else is written there.
    /// But that restores the signal mask, and a handler's own signal is blocked while it runs, unless it has SA_NODEFER. (If a
    /// handler unblocks its own signal and goes on, it is taken for one that was left.)
    fn may_run(&self, blocked: sys::SignalSet) -> bool {
        let Some(before) = self.blocked_before() else { return true };
        blocked & !before != 0 || (1..=64).any(sys::may_interrupt_itself)
    }

    /// The signals that were blocked before. None: that part of the stack cannot be read.
    fn blocked_before(&self) -> Option<sys::SignalSet> {
        Piece::<1>::new().read(self.frame + MASK * WORD).first().map(|mask| *mask as sys::SignalSet)
    }
}

/// Whether the caller runs in a signal handler, and that signal, which is blocked now, was not
/// blocked before it: what is sent meanwhile is delivered when the handler returns.
///
/// True also where an older signal frame is left in a part of the stack that no later frame has
/// written.
#[cold]
pub fn blocks_for_a_handler(signal: i32) -> bool {
    let stack = registers::stack_pointer();
    let is_free = |found: &Interrupted| found.blocked_before().is_some_and(|mask| mask & 1 << (signal - 1) == 0);
    any_frame::<SMALL>(stack..stack + REACH, is_free).0
}

/// Whether code that was interrupted with that stack pointer returns into code of a kind.
fn returns_into(stack: usize, is_one: impl Fn(usize) -> bool) -> bool {
    const WORDS: usize = 16;
    let mut piece = Piece::<WORDS>::new();
    (0..SHALLOW / WORDS).any(|part| piece.read(stack + part * WORDS * WORD).iter().any(|word| is_one(*word)))
}

/// A copy of a piece of stack. (Not the stack itself: what lies above a thread's stack may go away meanwhile.)
struct Piece<const WORDS: usize> {
    words: [usize; WORDS],
}

const PAGE: usize = 4096;
/// Words of a piece where there is room.
const PIECE: usize = PAGE / WORD;

impl<const WORDS: usize> Piece<WORDS> {
    fn new() -> Self {
        Piece { words: [0; WORDS] }
    }

    /// Copies the words from an address on, as far as they can be read.
    fn read(&mut self, start: usize) -> &[usize] {
        // SAFETY: words are bytes, and any bytes are words.
        let bytes =
            unsafe { core::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast::<u8>(), size_of_val(&self.words)) };
        let copied = copy_readable(start, bytes);
        self.words.get(..copied / WORD).unwrap_or_default()
    }
}

/// Copies bytes as far as they can be read.
fn copy_readable(start: usize, bytes: &mut [u8]) -> usize {
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
    copied
}

/// Whether an address is in a real function that a hook ends in a jump to, after it has noted the
/// close: there is no frame of the hook then. The system call itself may be made by a function that
/// this one calls (musl, and glibc since 2.41).
fn is_in_real_close(address: usize) -> bool {
    /// More than these functions have up to their system call or their call of what makes it.
    const LENGTH: usize = 256;
    [&real::function::close, &real::function::__close, &real::function::close_range, &real::CLOSEFROM, &real::SYSCALL]
        .into_iter()
        .any(|function| address.wrapping_sub(function.resolved()) < LENGTH)
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
