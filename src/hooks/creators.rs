//! The functions that create descriptors other than epoll instances: open, socket, accept, pipe and
//! others. Each row of the table (crates/format/src/functions.rs) that creates descriptors becomes
//! an entry, and so does each of its aliases.
//!
//! ```text
//! entry ── armed for it? ──▶ armed::creator (armed.rs): faults, limits, the log
//!       ── a census?     ──▶ with_census: the real function, and what notes its result
//!       ── else          ──▶ a jump to the real function
//! ```
//!
//! open, creat, accept and recvmsg are cancellation points, and remain so. The third argument of
//! `open`, if there is one, is where a fixed one would be (x86-64 psABI), and is passed on
//! unchanged.

use epollshim_format::census::Kind;
use epollshim_format::for_each_creator;
use epollshim_format::function::Function;
use libc::c_int;

use super::entry::Frame;
use crate::census::{self, Birth};
use crate::stacks;

/// The functions that note the results while there is a census, by the functions' names.
pub mod after {
    use super::{Frame, Kind};

    macro_rules! note {
        ($name:ident one $kind:ident $($flags:literal)?) => {
            pub extern "C-unwind" fn $name(frame: &mut Frame, result: isize) -> isize {
                let flags: libc::c_int = 0 $(+ frame.int($flags))?;
                super::one(frame, result, Kind::$kind, flags & super::CLOEXEC != 0)
            }
        };
        ($name:ident one $kind:ident always) => {
            pub extern "C-unwind" fn $name(frame: &mut Frame, result: isize) -> isize {
                super::one(frame, result, Kind::$kind, true)
            }
        };
        ($name:ident one $kind:ident $flags:literal by $bit:literal) => {
            pub extern "C-unwind" fn $name(frame: &mut Frame, result: isize) -> isize {
                super::one(frame, result, Kind::$kind, frame.int($flags) & $bit != 0)
            }
        };
        ($name:ident pair $kind:ident $pair:literal $($flags:literal)?) => {
            pub extern "C-unwind" fn $name(frame: &mut Frame, result: isize) -> isize {
                let flags: libc::c_int = 0 $(+ frame.int($flags))?;
                super::two(frame, result, frame.word($pair), Kind::$kind, flags & super::CLOEXEC != 0)
            }
        };
        ($name:ident opened $flags:literal) => {
            pub extern "C-unwind" fn $name(frame: &mut Frame, result: isize) -> isize {
                super::opened(frame, result, frame.int($flags))
            }
        };
        ($name:ident by $function:ident) => {
            pub use super::$function as $name;
        };
        // Streams, and functions that start programs, have handlers of their own.
        ($name:ident $other:ident) => {};
    }

    macro_rules! notes {
        ($($variant:ident $name:ident ($($alias:ident)*) $number:literal $system_call:literal $role:ident ($($class:ident)*)
           $cancellation:ident $descriptor:ident [$($note:tt)*] $from:ident $arguments:literal [$($error:ident)*];)*) => {$(
            note!($name $($note)*);
        )*};
    }

    super::for_each_creator!(notes);
}

macro_rules! first {
    ($($variant:ident $name:ident ($($alias:ident)*) $number:literal $system_call:literal $role:ident ($($class:ident)*)
       $cancellation:ident $descriptor:ident [$($note:tt)*] $from:ident $arguments:literal [$($error:ident)*];)*) => {
        /// This function and those after it in the table are noted only while there is a census.
        pub const FIRST: Function = [$(Function::$variant),*][0];
    };
}
for_each_creator!(first);

#[inline(always)]
fn birth(frame: &Frame, kind: Kind, is_cloexec: bool) -> Birth {
    Birth { kind, site: stacks::site(frame.caller), is_cloexec, is_placed: false }
}

/// Notes a failed call.
#[cold]
fn refused(frame: &Frame) {
    census::failed();
    census::exhausted::met(crate::sys::errno(), frame.caller);
}

/// Notes the result of a call that returns a descriptor or -1. (Not inlined, for size: callers jump
/// here.)
#[inline(never)]
pub fn one(frame: &Frame, result: isize, kind: Kind, is_cloexec: bool) -> isize {
    if result < 0 {
        refused(frame);
    } else {
        census::born(result as c_int, birth(frame, kind, is_cloexec));
    }
    result
}

/// Notes the pair of descriptors that a successful call has written.
#[inline(never)]
fn two(frame: &Frame, result: isize, pair: usize, kind: Kind, is_cloexec: bool) -> isize {
    if result < 0 {
        refused(frame);
    } else {
        // SAFETY: the call succeeded, so the kernel has written two descriptors to the program's
        // array.
        let pair = unsafe { (pair as *const [c_int; 2]).read_unaligned() };
        let birth = birth(frame, kind, is_cloexec);
        for fd in pair {
            census::born(fd, birth);
        }
    }
    result
}

#[inline(always)]
fn opened(frame: &Frame, result: isize, flags: c_int) -> isize {
    let kind = if flags & libc::O_DIRECTORY != 0 { Kind::Directory } else { Kind::File };
    one(frame, result, kind, flags & libc::O_CLOEXEC != 0)
}

/// The flag for close-on-exec has the same value for all of these functions (Linux v6.1
/// include/uapi/asm-generic/fcntl.h, include/linux/net.h).
const CLOEXEC: c_int = libc::O_CLOEXEC;
const _: () = assert!(
    libc::SOCK_CLOEXEC == CLOEXEC
        && libc::EFD_CLOEXEC == CLOEXEC
        && libc::TFD_CLOEXEC == CLOEXEC
        && libc::SFD_CLOEXEC == CLOEXEC
        && libc::IN_CLOEXEC == CLOEXEC
);

/// `signalfd(fd, mask, flags)` creates a descriptor only if `fd` is -1; otherwise it changes `fd`.
/// The system call has the size of the mask before its flags: 8, which no flag is (signalfd4(2)).
pub extern "C-unwind" fn after_signalfd(frame: &mut Frame, result: isize) -> isize {
    let flags = if frame.word(2) == 8 { frame.int(3) } else { frame.int(2) };
    if frame.int(0) == -1 { one(frame, result, Kind::Signalfd, flags & CLOEXEC != 0) } else { result }
}

pub extern "C-unwind" fn after_recvmsg(frame: &mut Frame, result: isize) -> isize {
    if result >= 0 && census::is_on() {
        // SAFETY: the call succeeded, so the kernel has read and written the program's message.
        unsafe { received(frame, frame.word(1) as *const libc::msghdr, frame.int(2)) };
    }
    result
}

pub extern "C-unwind" fn after_recvmmsg(frame: &mut Frame, result: isize) -> isize {
    if result > 0 && census::is_on() {
        let messages = frame.word(1) as *const libc::mmsghdr;
        for index in 0..result as usize {
            // SAFETY: the call returned `result`, so the kernel has read and written that many
            // messages of the program.
            unsafe { received(frame, &raw const (*messages.wrapping_add(index)).msg_hdr, frame.int(3)) };
        }
    }
    result
}

/// Notes the descriptors that came with a message.
///
/// # Safety
/// `message` must point to a message that recvmsg or recvmmsg has filled in.
unsafe fn received(frame: &Frame, message: *const libc::msghdr, flags: c_int) {
    // SAFETY: the caller promises a message that the kernel has filled in.
    let (start, length) = unsafe { ((*message).msg_control as usize, (*message).msg_controllen) };
    // struct cmsghdr: length (header included), level, type; each at a multiple of a word
    // (cmsg(3)).
    const HEADER: usize = size_of::<libc::cmsghdr>();
    let mut at = 0usize;
    while start != 0 && at.saturating_add(HEADER) <= length {
        // SAFETY: the header lies within the `length` bytes that the kernel has written.
        let header = unsafe { ((start + at) as *const libc::cmsghdr).read_unaligned() };
        let whole = header.cmsg_len.min(length - at);
        if whole < HEADER {
            return;
        }
        if header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_RIGHTS {
            let birth = birth(frame, Kind::Received, flags & libc::MSG_CMSG_CLOEXEC != 0);
            for index in 0..(whole - HEADER) / size_of::<c_int>() {
                // SAFETY: the descriptor lies within the first `whole` bytes of the control
                // message, which the kernel has written.
                let fd = unsafe { ((start + at + HEADER) as *const c_int).wrapping_add(index).read_unaligned() };
                census::born(fd, birth);
            }
        }
        at = at.saturating_add(whole.next_multiple_of(size_of::<usize>()));
    }
}
