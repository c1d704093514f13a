//! Whether a signal handler on the calling stack interrupted one of our hooks.
//!
//! Between the real call and the change of the ledger that follows it, the two disagree, and nobody is wrong. A handler that
//! runs there and asks for the library's figures must not have the ledger "corrected".
//!
//! Hooks leave no mark of their own: that would cost every call. The kernel leaves one: what it saved of the interrupted
//! code lies on the stack, above the handler's frames (Linux v6.1 arch/x86/kernel/signal.c, struct rt_sigframe; the registers
//! are a struct sigcontext, arch/x86/include/uapi/asm/sigcontext.h).

use core::ops::Range;

use crate::{real, sys};

const WORD: usize = size_of::<usize>();

// Words of a struct rt_sigframe. It begins with the address that the handler returns to, uc_flags and uc_link.
const STACK_POINTER: usize = 21;
const INSTRUCTION: usize = 22;
const SEGMENTS: usize = 24;
const WORDS: usize = 25;
/// The flags that there are (asm/ucontext.h).
const KNOWN_FLAGS: usize = 7;
/// cs in the lowest 16 bits, ss in the highest: those of every 64-bit program.
const USER_SEGMENTS: usize = 0x2b << 48 | 0x33;
const SEGMENTS_MASK: usize = 0xffff << 48 | 0xffff;

/// How far above a frame the signal frame is looked for: what a handler and its callees may have on the stack.
const REACH: usize = 64 * 1024;
/// Words above an interrupted stack pointer that are looked at: the real function's own frame, up to the return into a hook.
const SHALLOW: usize = 64;
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
    // The handler was called as by a `call`: the frame's address is 8 more than a multiple of 16 (x86-64 psABI).
    let first = stack.next_multiple_of(16) + WORD;
    let here = first..first + REACH;
    here.clone().step_by(16).map_while(read_frame).flatten().any(|found| {
        ours.contains(&found.instruction)
            || is_in_real_close(found.instruction)
            || words(found.stack, SHALLOW).any(|word| ours.contains(&word))
            // The handler has a stack of its own: those that it interrupted are on another.
            || nested > 0 && !here.contains(&found.stack) && interrupted_a_hook(found.stack, ours, nested - 1)
    })
}

/// None: that cannot be read. Some(None): there is no signal frame.
fn read_frame(at: usize) -> Option<Option<Interrupted>> {
    let mut frame = [0usize; WORDS];
    let mut found = words(at, WORDS);
    // Most places are told by the first words.
    for word in &mut frame {
        *word = found.next()?;
    }
    let [_, flags, link, ..] = frame;
    let word = |index: usize| frame.get(index).copied().unwrap_or(0);
    let is_one = flags <= KNOWN_FLAGS
        && link == 0
        && word(SEGMENTS) & SEGMENTS_MASK == USER_SEGMENTS
        && word(STACK_POINTER) % WORD == 0;
    Some(is_one.then(|| Interrupted { instruction: word(INSTRUCTION), stack: word(STACK_POINTER) }))
}

/// Up to so many words from an address on, as far as they can be read.
fn words(start: usize, most: usize) -> impl Iterator<Item = usize> {
    const PAGE: usize = 4096;
    let mut readable_below = 0;
    (start..).step_by(WORD).take(most).map_while(move |at| {
        if at >= readable_below {
            if !sys::is_readable(at) {
                return None;
            }
            readable_below = (at & !(PAGE - 1)) + PAGE;
        }
        // SAFETY: aligned as `start` is, to a word; the kernel has just read from this page. It is the calling thread's stack,
        // which nobody unmaps under it.
        Some(unsafe { (at as *const usize).read_volatile() })
    })
}

#[cfg(not(test))]
core::arch::global_asm!(".hidden __ehdr_start", ".hidden etext");

/// Whether an instruction is in a real function that a hook ends in a jump to, after it has noted the close: there is no frame
/// of the hook then.
fn is_in_real_close(instruction: usize) -> bool {
    /// More than these functions have up to their system call.
    const LENGTH: usize = 256;
    [&real::CLOSE, &real::CLOSE_ALIAS, &real::CLOSE_RANGE, &real::CLOSEFROM, &real::SYSCALL]
        .into_iter()
        .any(|function| instruction.wrapping_sub(function.resolved()) < LENGTH)
}

/// Where this library's code lies.
fn own_code() -> Range<usize> {
    #[cfg(not(test))]
    {
        let (start, end): (usize, usize);
        // SAFETY: takes two addresses that the linker defines (GNU ld, "PROVIDE_HIDDEN (__ehdr_start)" and "etext").
        unsafe {
            core::arch::asm!("lea {0}, [rip + __ehdr_start]", "lea {1}, [rip + etext]", out(reg) start, out(reg) end,
                             options(nostack, nomem, preserves_flags, pure));
        }
        start..end
    }
    #[cfg(test)]
    {
        0..0
    }
}
