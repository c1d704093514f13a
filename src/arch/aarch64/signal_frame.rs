//! What the kernel saves of the code that a signal interrupts (Linux v6.1 arch/arm64/kernel/signal.c, struct rt_sigframe: a siginfo_t of 16
//! words and a struct ucontext; the registers are a struct sigcontext, arch/arm64/include/uapi/asm/sigcontext.h), in words.

/// It begins at a multiple of 16 bytes, as the stack pointer always does.
pub const SKEW: usize = 0;
/// The words of it that are looked at.
pub const WORDS: usize = CONTEXT + 34;

/// The signals that were blocked before (uc_sigmask, behind the 3 words of uc_stack).
pub const MASK: usize = 21;

/// uc_flags and uc_link, behind the siginfo_t.
const FLAGS: usize = 16;
const LINK: usize = 17;
/// uc_mcontext: behind uc_stack (3 words) and room for a mask of 1024 bits (16), aligned to 16 bytes; its first word is an address, 31
/// registers follow.
const CONTEXT: usize = FLAGS + 22;
const STACK_POINTER: usize = CONTEXT + 32;
const INSTRUCTION: usize = CONTEXT + 33;

/// Where the interrupted code was, and its stack pointer, if the words begin with such a frame.
pub fn parse(words: &[usize]) -> Option<(usize, usize)> {
    let word = |index: usize| words.get(index).copied().unwrap_or(0);
    // A signal's number is the first word of a siginfo_t, with its errno, which the kernel leaves at 0 but for seccomp.
    let is_one = (1..=64).contains(&(word(0) as u32))
        && word(FLAGS) == 0
        && word(LINK) == 0
        && word(STACK_POINTER) != 0
        && word(STACK_POINTER).is_multiple_of(16)
        && word(INSTRUCTION) != 0
        && word(INSTRUCTION).is_multiple_of(4);
    is_one.then(|| (word(INSTRUCTION), word(STACK_POINTER)))
}
