//! Whether a signal handler on the calling stack interrupted one of the library's hooks.
//!
//! Between the real call and the change of the ledger that follows it, the kernel and the ledger
//! disagree, and both are right. A handler that runs there and asks for the library's figures must
//! not have the ledger "corrected".
//!
//! Hooks leave no mark of their own, which would cost every call. The kernel leaves one: what it
//! saved of the interrupted code lies on the stack, above the handler's frames (src/arch,
//! signal_frame.rs).

use core::ops::Range;

use epollshim_ledger::lock_protocol::View;

use crate::arch::signal_frame::{MASK, SKEW, WORDS, parse};
use crate::{real, registers, sys};

const WORD: usize = size_of::<usize>();

/// How far above a frame to look for the signal frame: what a handler and the functions that it
/// calls may have on the stack.
const REACH: usize = 64 * 1024;
/// How many words above an interrupted stack pointer to read: the real function's own frame, up to
/// the return address into a hook.
const SHALLOW: usize = 64;
/// Words that two pieces share: more than a signal frame has, and an even number, because signal
/// frames begin at every second word.
const OVERLAP: usize = WORDS.next_multiple_of(2);
/// Words of a piece if there may be little stack.
const SMALL: usize = OVERLAP + 32;
/// How many handlers that interrupt each other are followed.
const NESTED: usize = 8;

/// A signal frame, and the state that the handler has interrupted.
struct Interrupted {
    frame: usize,
    instruction: usize,
    stack: usize,
}

/// Whether one of the handlers that run on top of each other, seen from a frame of the program,
/// interrupted a hook.
///
/// Also true for some handlers that ran earlier and jumped out ([`Interrupted::may_run`]). So a
/// caller may use this only to be more careful.
pub fn a_hook(view: View) -> bool {
    interrupted_a_hook(view, &own_code(), NESTED)
}

fn interrupted_a_hook(view: View, ours: &Range<usize>, nested: usize) -> bool {
    let reach = view.stack..view.stack + REACH;
    let (found, _) = any_frame::<PIECE>(reach.clone(), |found| {
        found.is_in_a_hook(ours) && found.may_run(view.blocked)
            // The handler runs on a separate stack, so the handlers that it interrupted are on
            // another one.
            || nested > 0
                && !reach.contains(&found.stack)
                && interrupted_a_hook(View { stack: found.stack, ..view }, ours, nested - 1)
    });
    found
}

/// Whether a handler whose signal frame lies in the `bytes` above a frame of the program
/// interrupted a hook. Also true if that part of the stack cannot be read. For callers with little
/// stack.
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

/// Whether a signal frame for which `is_it` is true lies in a part of the stack, and up to where
/// the part could be read.
fn any_frame<const PIECE: usize>(part: Range<usize>, mut is_it: impl FnMut(&Interrupted) -> bool) -> (bool, usize) {
    let mut piece = Piece::<PIECE>::new();
    let mut at = part.start.next_multiple_of(16) + SKEW * WORD;
    while at < part.end {
        let words = piece.read(at);
        let frame = |place: usize| {
            let frame = at + place * WORD;
            let (instruction, stack) = parse(frame, words.get(place..)?)?;
            Some(Interrupted { frame, instruction, stack })
        };
        if (0..words.len()).step_by(2).filter_map(frame).any(|found| is_it(&found)) {
            return (true, at);
        }
        // The next piece overlaps this one, so that it contains a whole frame that lies across the
        // edge.
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

    /// Whether the handler may still be running. A signal frame stays on the stack after
    /// `siglongjmp` until something else is written there. But that restores the signal mask, and a
    /// handler's own signal is blocked while it runs, unless it has SA_NODEFER. (A handler that
    /// unblocks its own signal and continues is taken for one that jumped out.)
    fn may_run(&self, blocked: sys::SignalSet) -> bool {
        let Some(before) = self.blocked_before() else { return true };
        blocked & !before != 0 || (1..=64).any(sys::may_interrupt_itself)
    }

    /// The signals that were blocked before. None: that part of the stack cannot be read.
    fn blocked_before(&self) -> Option<sys::SignalSet> {
        Piece::<1>::new().read(self.frame + MASK * WORD).first().map(|mask| *mask as sys::SignalSet)
    }
}

/// Whether the caller runs in a signal handler, and `signal`, which is blocked now, was not blocked
/// before the handler. If so, a signal that is sent meanwhile is delivered when the handler
/// returns.
///
/// Also true if an older signal frame lies in a part of the stack that no later frame has
/// overwritten.
#[cold]
pub fn blocks_for_a_handler(signal: i32) -> bool {
    let stack = registers::stack_pointer();
    let is_free = |found: &Interrupted| found.blocked_before().is_some_and(|mask| mask & 1 << (signal - 1) == 0);
    any_frame::<SMALL>(stack..stack + REACH, is_free).0
}

/// Whether code that was interrupted with that stack pointer returns into code for which `is_one`
/// is true.
fn returns_into(stack: usize, is_one: impl Fn(usize) -> bool) -> bool {
    const WORDS: usize = 16;
    let mut piece = Piece::<WORDS>::new();
    (0..SHALLOW / WORDS).any(|part| piece.read(stack + part * WORDS * WORD).iter().any(|word| is_one(*word)))
}

/// A copy of a piece of a stack. (Not the stack itself: what lies above a thread's stack may be
/// unmapped meanwhile.)
struct Piece<const WORDS: usize> {
    words: [usize; WORDS],
}

const PAGE: usize = 4096;
/// Words of a piece if there is enough stack.
const PIECE: usize = PAGE / WORD;

impl<const WORDS: usize> Piece<WORDS> {
    fn new() -> Self {
        Piece { words: [0; WORDS] }
    }

    /// Copies the words from an address on, as far as they can be read.
    fn read(&mut self, start: usize) -> &[usize] {
        // SAFETY: the bytes are those of `self.words`, borrowed mutably, and any bytes are valid
        // words.
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
        // Page by page: nothing is promised about how much is copied if a copy reaches the end of
        // the mapping in its middle.
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

/// Whether an address lies in a real function to which a hook jumps as its last step, after it has
/// recorded the close. The hook then has no frame. A function that the real one calls may make the
/// system call itself (musl, and glibc since 2.41).
fn is_in_real_close(address: usize) -> bool {
    /// More bytes than these functions have before their system call, or their call of the function
    /// that makes it.
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
