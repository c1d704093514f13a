//! The control pages of a recording: how a running program is controlled from outside, and what it
//! answers.
//!
//! ```text
//! page 0        bell, checksum and length of the request; the library's words: taken, answered,
//!               status, counts
//! pages 1 to 3  the request: text, one order per line
//! pages 4 to 7  the answer: text
//! ```
//!
//! The command writes text, length and checksum, and then the request's number to [`BELL`]. The
//! library reads that word when a recorded call returns. The thread that changes it back to 0 has
//! taken the request. It writes the answer's text, status and checksum, and then the request's
//! number to [`ANSWERED`]. Numbers only grow: an old number is not a request.
//!
//! Anything else in these pages is damage: it is counted and ignored.

use crate::recording::PAGE;

/// Bytes of the segment.
pub const BYTES: usize = 8 * PAGE;

/// The number of the pending request; 0: none. Its cache line holds nothing that changes otherwise.
pub const BELL: usize = 0;
/// [`checksum`] of the request.
pub const CHECK: usize = 8;
pub const LENGTH: usize = 16;
/// The number of the request that was made last. It is written before the bell: until that request
/// is answered, its text must not be overwritten.
pub const MADE: usize = 24;

/// The number of the request that was taken last.
pub const TAKEN: usize = 64;
/// The number of the request that was answered last, written last.
pub const ANSWERED: usize = 72;
/// The result: one of [`status`].
pub const STATUS: usize = 80;
/// How many of its orders were carried out: all of them, or those before the first that failed.
pub const DONE: usize = 88;
/// [`checksum`] of the answer.
pub const ANSWER_CHECK: usize = 96;
pub const ANSWER_LENGTH: usize = 104;
/// Requests taken, and those of them that were ignored as damaged.
pub const REQUESTS: usize = 112;
pub const DAMAGED: usize = 120;
/// 1: faults that no kernel causes are allowed (`EPOLLSHIM_INJECT_IMPOSSIBLE`).
pub const IMPOSSIBLE: usize = 128;

pub const REQUEST: usize = PAGE;
pub const REQUEST_BYTES: usize = 3 * PAGE;
pub const ANSWER: usize = 4 * PAGE;
pub const ANSWER_BYTES: usize = 4 * PAGE;

/// The answer to a snapshot that was compared with the kernel.
pub const RECONCILED: &str = "reconciled";

/// The result of a request.
pub mod status {
    pub const DONE: u64 = 0;
    /// It was refused: the answer says why.
    pub const REFUSED: u64 = 1;
    /// Another thread is changing the same thing: try again.
    pub const BUSY: u64 = 2;
    /// It was damaged, and ignored.
    pub const DAMAGED: u64 = 3;
}

/// A checksum of a text, its number, the process id in the process's own namespace, and the time
/// when the process began: FNV-1a of all of these. It differs if one bit of the text has changed.
#[must_use]
pub fn checksum(pid: u64, began_unix: u64, number: u64, text: &[u8]) -> u64 {
    let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let words = [pid, began_unix, number, text.len() as u64];
    let head = words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| word.to_le_bytes().iter().fold(hash, add));
    text.iter().fold(head, add)
}

/// A line of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order<'a> {
    /// `inject RULES`: adds these rules after those that are armed.
    Inject(&'a [u8]),
    /// `limit LIMITS`: replaces all limits.
    Limit(&'a [u8]),
    /// `off faults`, `off limits`.
    OffFaults,
    OffLimits,
    /// `snapshot`: compares with the kernel, and writes the findings to the recording.
    Snapshot,
}

impl<'a> Order<'a> {
    fn of(line: &'a [u8]) -> Option<Order<'a>> {
        if let Some(rules) = line.strip_prefix(b"inject ") {
            return Some(Order::Inject(rules));
        }
        if let Some(limits) = line.strip_prefix(b"limit ") {
            return Some(Order::Limit(limits));
        }
        match line {
            b"off faults" => Some(Order::OffFaults),
            b"off limits" => Some(Order::OffLimits),
            b"snapshot" => Some(Order::Snapshot),
            _ => None,
        }
    }
}

/// The orders of a request's text; None for a line that is not an order.
pub fn orders(text: &[u8]) -> impl Iterator<Item = Option<Order<'_>>> {
    text.split(|byte| *byte == b'\n').map(Order::of)
}

#[cfg(test)]
mod tests {
    use super::{Order, checksum, orders};

    #[test]
    fn a_request_is_its_lines_in_order() {
        let text = b"off faults\ninject epoll_ctl:error=ENOSPC;epoll_wait:timeout\nlimit watches=2\nnonsense\nsnapshot";
        let found: [Option<Order>; 5] = {
            let mut all = orders(text);
            core::array::from_fn(|_| all.next().flatten())
        };
        assert_eq!(
            found,
            [
                Some(Order::OffFaults),
                Some(Order::Inject(b"epoll_ctl:error=ENOSPC;epoll_wait:timeout")),
                Some(Order::Limit(b"watches=2")),
                None,
                Some(Order::Snapshot)
            ]
        );
        assert_eq!(orders(b"").next(), Some(None));
    }

    #[test]
    fn a_checksum_depends_on_every_bit() {
        let mut text = *b"inject epoll_ctl:error=ENOSPC";
        let whole = checksum(1, 2, 3, &text);
        for bit in 0..64 {
            assert_ne!(checksum(1 ^ 1 << bit, 2, 3, &text), whole);
            assert_ne!(checksum(1, 2 ^ 1 << bit, 3, &text), whole);
            assert_ne!(checksum(1, 2, 3 ^ 1 << bit, &text), whole);
        }
        for bit in 0..text.len() * 8 {
            text[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(1, 2, 3, &text), whole);
            text[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
