//! What the kernel saves of the code that a signal interrupts, in words (Linux v6.1
//! arch/x86/kernel/signal.c, struct rt_sigframe; the registers are a struct sigcontext,
//! arch/x86/include/uapi/asm/sigcontext.h).

/// The frame begins this many words after a multiple of 16 bytes: the handler's stack is as after a
/// `call` (x86-64 psABI).
pub const SKEW: usize = 1;
/// How many words of it are read. It begins with the handler's return address, uc_flags and
/// uc_link.
pub const WORDS: usize = STATE + 1;

/// The place of the signal mask that the thread had before (oldmask, which has the same value as
/// uc_sigmask). A handler may change uc_sigmask.
pub const MASK: usize = 27;

const STACK_POINTER: usize = 21;
const INSTRUCTION: usize = 22;
const SEGMENTS: usize = 24;
/// The address of the floating-point state. The kernel aligns it to 64 bytes, and saves it next to
/// the frame, which is 55 words long with the siginfo_t.
const STATE: usize = 29;
const NEXT_TO_THE_FRAME: core::ops::Range<usize> = 55 * size_of::<usize>()..64 * size_of::<usize>();
/// The known flags (asm/ucontext.h).
const KNOWN_FLAGS: usize = 7;
/// cs in the lowest 16 bits and ss in the highest, as every 64-bit program has them.
const USER_SEGMENTS: usize = 0x2b << 48 | 0x33;
const SEGMENTS_MASK: usize = 0xffff << 48 | 0xffff;

/// The address and the stack pointer of the interrupted code, if the words, which lie at that
/// address, are the beginning of such a frame.
///
/// What runs on the stack after a handler has jumped out overwrites the frame from its upper end.
/// If the last word is left, so is the mask. (A mask of which something else was written would make
/// the handler look as if it still ran.)
pub fn parse(address: usize, words: &[usize]) -> Option<(usize, usize)> {
    let &[_, flags, link, ..] = words else { return None };
    let word = |index: usize| words.get(index).copied().unwrap_or(0);
    let is_one = flags <= KNOWN_FLAGS
        && link == 0
        && word(SEGMENTS) & SEGMENTS_MASK == USER_SEGMENTS
        && word(STACK_POINTER).is_multiple_of(size_of::<usize>())
        && NEXT_TO_THE_FRAME.contains(&word(STATE).wrapping_sub(address));
    is_one.then(|| (word(INSTRUCTION), word(STACK_POINTER)))
}

#[cfg(test)]
mod tests {
    use super::{INSTRUCTION, MASK, SEGMENTS, STACK_POINTER, STATE, USER_SEGMENTS, WORDS, parse};

    #[test]
    fn a_frame_whose_upper_end_was_overwritten_is_none() {
        let address = 0x7ffe_1234_5008;
        let mut frame = [0; WORDS];
        for (place, word) in [
            (STACK_POINTER, 0x7ffe_1234_6000),
            (INSTRUCTION, 0x5555_5555_1234),
            (SEGMENTS, USER_SEGMENTS),
            (MASK, 1 << 27),
            (STATE, address + 456),
        ] {
            frame[place] = word;
        }
        assert_eq!(parse(address, &frame), Some((0x5555_5555_1234, 0x7ffe_1234_6000)));
        assert_eq!(parse(address + 64, &frame), None, "a copy elsewhere");
        for first in SEGMENTS..WORDS {
            for other in [0, 0x5612_8740_92d2] {
                let mut overwritten = frame;
                overwritten[first..].fill(other);
                assert_eq!(parse(address, &overwritten), None, "from word {first} on, by {other:#x}");
            }
        }
    }
}
