//! What the kernel saves of the code that a signal interrupts, in words (Linux v6.1
//! arch/x86/kernel/signal.c, struct rt_sigframe; the registers are a struct sigcontext,
//! arch/x86/include/uapi/asm/sigcontext.h).

/// The frame begins this many words after a multiple of 16 bytes: the handler's stack is as after a
/// `call` (x86-64 psABI).
pub const SKEW: usize = 1;
/// How many words of it are read. It begins with the handler's return address, uc_flags and
/// uc_link.
pub const WORDS: usize = 25;

/// The place of the signal mask that the thread had before (uc_sigmask, after the registers).
pub const MASK: usize = 38;

const STACK_POINTER: usize = 21;
const INSTRUCTION: usize = 22;
const SEGMENTS: usize = 24;
/// The known flags (asm/ucontext.h).
const KNOWN_FLAGS: usize = 7;
/// cs in the lowest 16 bits and ss in the highest, as every 64-bit program has them.
const USER_SEGMENTS: usize = 0x2b << 48 | 0x33;
const SEGMENTS_MASK: usize = 0xffff << 48 | 0xffff;

/// The address and the stack pointer of the interrupted code, if the words are the beginning of
/// such a frame.
pub fn parse(words: &[usize]) -> Option<(usize, usize)> {
    let &[_, flags, link, ..] = words else { return None };
    let word = |index: usize| words.get(index).copied().unwrap_or(0);
    let is_one = flags <= KNOWN_FLAGS
        && link == 0
        && word(SEGMENTS) & SEGMENTS_MASK == USER_SEGMENTS
        && word(STACK_POINTER).is_multiple_of(size_of::<usize>());
    is_one.then(|| (word(INSTRUCTION), word(STACK_POINTER)))
}
