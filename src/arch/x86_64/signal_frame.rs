//! What the kernel saves of the code that a signal interrupts (Linux v6.1 arch/x86/kernel/signal.c, struct rt_sigframe; the registers are a
//! struct sigcontext, arch/x86/include/uapi/asm/sigcontext.h), in words.

/// It begins so many words behind a multiple of 16 bytes: the handler was called as by a `call` (x86-64 psABI).
pub const SKEW: usize = 1;
/// The words of it that are looked at. It begins with the address that the handler returns to, uc_flags and uc_link.
pub const WORDS: usize = 25;

/// The signals that were blocked before (uc_sigmask, behind 32 words of registers).
pub const MASK: usize = 38;

const STACK_POINTER: usize = 21;
const INSTRUCTION: usize = 22;
const SEGMENTS: usize = 24;
/// The flags that there are (asm/ucontext.h).
const KNOWN_FLAGS: usize = 7;
/// cs in the lowest 16 bits, ss in the highest: those of every 64-bit program.
const USER_SEGMENTS: usize = 0x2b << 48 | 0x33;
const SEGMENTS_MASK: usize = 0xffff << 48 | 0xffff;

/// Where the interrupted code was, and its stack pointer, if the words begin with such a frame.
pub fn parse(words: &[usize]) -> Option<(usize, usize)> {
    let &[_, flags, link, ..] = words else { return None };
    let word = |index: usize| words.get(index).copied().unwrap_or(0);
    let is_one = flags <= KNOWN_FLAGS
        && link == 0
        && word(SEGMENTS) & SEGMENTS_MASK == USER_SEGMENTS
        && word(STACK_POINTER).is_multiple_of(size_of::<usize>());
    is_one.then(|| (word(INSTRUCTION), word(STACK_POINTER)))
}
