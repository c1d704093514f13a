//! What the kernel saves of the code that a signal interrupts, in words (Linux v6.1
//! arch/arm64/kernel/signal.c, struct rt_sigframe: a siginfo_t of 16 words and a struct ucontext;
//! the registers are a struct sigcontext, arch/arm64/include/uapi/asm/sigcontext.h).

/// The frame begins at a multiple of 16 bytes, as the stack pointer always does.
pub const SKEW: usize = 0;
/// How many words of it are read.
pub const WORDS: usize = CONTEXT + 34;

/// The place of the signal mask that the thread had before (uc_sigmask, after uc_stack).
pub const MASK: usize = FLAGS + 5;

/// The place of uc_flags and uc_link, after the siginfo_t.
const FLAGS: usize = 16;
const LINK: usize = 17;
/// The place of uc_mcontext: after uc_stack (3 words) and room for a mask of 1024 bits (16 words),
/// aligned to 16 bytes. Its first word is an address; 31 registers follow.
const CONTEXT: usize = FLAGS + 22;
const STACK_POINTER: usize = CONTEXT + 32;
const INSTRUCTION: usize = CONTEXT + 33;

/// The address and the stack pointer of the interrupted code, if the words are the beginning of
/// such a frame. (The mask lies below the registers. So it is left if they are: what runs on the
/// stack later overwrites the frame from its upper end.)
pub fn parse(_: usize, words: &[usize]) -> Option<(usize, usize)> {
    let word = |index: usize| words.get(index).copied().unwrap_or(0);
    // The first word of a siginfo_t is the signal's number and its errno. The kernel leaves the
    // errno at 0 except for seccomp.
    let is_one = (1..=64).contains(&(word(0) as u32))
        && word(FLAGS) == 0
        && word(LINK) == 0
        && word(STACK_POINTER) != 0
        && word(STACK_POINTER).is_multiple_of(16)
        && word(INSTRUCTION) != 0
        && word(INSTRUCTION).is_multiple_of(4);
    is_one.then(|| (word(INSTRUCTION), word(STACK_POINTER)))
}
