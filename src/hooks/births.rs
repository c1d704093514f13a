//! The calls that make descriptors other than epoll's, for the census alone: open, socket, accept, pipe and the like.
//!
//! Without a census each is a test and a jump to the real function. With one it goes the way of entry.rs, and what the real call
//! returned is noted behind it. open, creat, accept, recvmsg are cancellation points, and stay so; the third argument of `open`, if
//! there is one, lies where a fixed one would (x86-64 psABI), and is passed on as it came.

use epollshim_format::census::Kind;
use libc::c_int;

use super::entry::Frame;
use crate::census::{self, Birth};
use crate::stacks;

#[cfg(not(test))]
mod exports {
    /// `name = the way of entry.rs(what notes the result), REAL;`
    macro_rules! births {
        ($($name:ident = $way:ident($after:path), $real:ident;)*) => {
            $(
                #[unsafe(naked)]
                #[unsafe(no_mangle)]
                pub unsafe extern "C-unwind" fn $name() -> isize {
                    core::arch::naked_asm!(
                        ".cfi_startproc",
                        "cmp byte ptr [rip + {state}], {off}",
                        "jne {way}",
                        "jmp qword ptr [rip + {real}]",
                        ".cfi_endproc",
                        state = sym crate::census::STATE,
                        off = const crate::census::OFF,
                        way = sym $way,
                        real = sym crate::real::$real,
                    )
                }
            )*
            mod before {
                $(
                    pub extern "C-unwind" fn $way(_: &mut crate::hooks::entry::Frame) -> usize {
                        crate::real::$real.address()
                    }
                )*
            }
            crate::hooks::entry::behind! {
                $($way(6) first before::$way: crate::real::$real, $after;)*
            }
        };
    }

    births! {
        open = way_open(super::after_open), OPEN;
        open64 = way_open64(super::after_open), OPEN64;
        __open = alias_open(super::after_open), OPEN_ALIAS;
        __open64 = alias_open64(super::after_open), OPEN64_ALIAS;
        __open_2 = alias_open_2(super::after_open), OPEN_2;
        __open64_2 = alias_open64_2(super::after_open), OPEN64_2;
        openat = way_openat(super::after_openat), OPENAT;
        openat64 = way_openat64(super::after_openat), OPENAT64;
        __openat_2 = alias_openat_2(super::after_openat), OPENAT_2;
        __openat64_2 = alias_openat64_2(super::after_openat), OPENAT64_2;
        creat = way_creat(super::after_creat), CREAT;
        creat64 = way_creat64(super::after_creat), CREAT64;
        mkstemp = way_mkstemp(super::after_creat), MKSTEMP;
        mkstemp64 = way_mkstemp64(super::after_creat), MKSTEMP64;
        mkostemp = way_mkostemp(super::after_mkostemp), MKOSTEMP;
        mkostemp64 = way_mkostemp64(super::after_mkostemp), MKOSTEMP64;
        posix_openpt = way_posix_openpt(super::after_openpt), POSIX_OPENPT;
        open_by_handle_at = way_open_by_handle_at(super::after_open_by_handle), OPEN_BY_HANDLE_AT;
        socket = way_socket(super::after_socket), SOCKET;
        socketpair = way_socketpair(super::after_socketpair), SOCKETPAIR;
        accept = way_accept(super::after_accept), ACCEPT;
        accept4 = way_accept4(super::after_accept4), ACCEPT4;
        pipe = way_pipe(super::after_pipe), PIPE;
        __pipe = alias_pipe(super::after_pipe), PIPE_ALIAS;
        pipe2 = way_pipe2(super::after_pipe2), PIPE2;
        eventfd = way_eventfd(super::after_eventfd), EVENTFD;
        timerfd_create = way_timerfd_create(super::after_timerfd), TIMERFD_CREATE;
        signalfd = way_signalfd(super::after_signalfd), SIGNALFD;
        inotify_init = way_inotify_init(super::after_inotify), INOTIFY_INIT;
        inotify_init1 = way_inotify_init1(super::after_inotify1), INOTIFY_INIT1;
        memfd_create = way_memfd_create(super::after_memfd), MEMFD_CREATE;
        pidfd_open = way_pidfd_open(super::after_pidfd), PIDFD_OPEN;
        recvmsg = way_recvmsg(super::after_recvmsg), RECVMSG;
        recvmmsg = way_recvmmsg(super::after_recvmmsg), RECVMMSG;
    }
}

#[inline(always)]
fn birth(frame: &Frame, kind: Kind, is_cloexec: bool) -> Birth {
    Birth { kind, site: stacks::site(frame.caller), is_cloexec, is_placed: false }
}

/// What a call returned, where that is a descriptor or -1.
#[inline(always)]
fn one(frame: &Frame, result: isize, kind: Kind, is_cloexec: bool) -> isize {
    if result < 0 {
        census::failed();
    } else {
        census::born(result as c_int, birth(frame, kind, is_cloexec));
    }
    result
}

/// A pair of descriptors, which a call has written, if it succeeded.
#[inline(always)]
fn two(frame: &Frame, result: isize, pair: usize, kind: Kind, is_cloexec: bool) -> isize {
    if result < 0 {
        census::failed();
    } else {
        // SAFETY: the kernel has just written two descriptors there.
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

/// One flag has the same value for all of them (Linux v6.1 include/uapi/asm-generic/fcntl.h, include/linux/net.h).
const CLOEXEC: c_int = libc::O_CLOEXEC;
const _: () = assert!(
    libc::SOCK_CLOEXEC == CLOEXEC
        && libc::EFD_CLOEXEC == CLOEXEC
        && libc::TFD_CLOEXEC == CLOEXEC
        && libc::SFD_CLOEXEC == CLOEXEC
        && libc::IN_CLOEXEC == CLOEXEC
);

/// What notes the result of a call: from its frame, the kind, and where it has its flags, if anywhere.
macro_rules! afters {
    ($($name:ident: $kind:ident $(, flags in $index:literal)?;)*) => {$(
        extern "C-unwind" fn $name(frame: &mut Frame, result: isize) -> isize {
            let flags: c_int = 0 $(+ frame.int($index))?;
            one(frame, result, Kind::$kind, flags & CLOEXEC != 0)
        }
    )*};
}

afters! {
    after_creat: File;
    after_mkostemp: File, flags in 1;
    after_openpt: File, flags in 0;
    after_open_by_handle: File, flags in 2;
    after_socket: Socket, flags in 1;
    after_accept: Socket;
    after_accept4: Socket, flags in 3;
    after_eventfd: Eventfd, flags in 1;
    after_timerfd: Timerfd, flags in 1;
    after_inotify: Inotify;
    after_inotify1: Inotify, flags in 0;
}

extern "C-unwind" fn after_open(frame: &mut Frame, result: isize) -> isize {
    opened(frame, result, frame.int(1))
}

extern "C-unwind" fn after_openat(frame: &mut Frame, result: isize) -> isize {
    opened(frame, result, frame.int(2))
}

extern "C-unwind" fn after_memfd(frame: &mut Frame, result: isize) -> isize {
    one(frame, result, Kind::Memfd, frame.word(1) as u32 & libc::MFD_CLOEXEC != 0)
}

/// Always with close-on-exec (pidfd_open(2)).
extern "C-unwind" fn after_pidfd(frame: &mut Frame, result: isize) -> isize {
    one(frame, result, Kind::Pidfd, true)
}

/// `signalfd(fd, mask, flags)` with another `fd` than -1 changes that, and makes none.
extern "C-unwind" fn after_signalfd(frame: &mut Frame, result: isize) -> isize {
    if frame.int(0) == -1 { one(frame, result, Kind::Signalfd, frame.int(2) & CLOEXEC != 0) } else { result }
}

extern "C-unwind" fn after_socketpair(frame: &mut Frame, result: isize) -> isize {
    two(frame, result, frame.word(3), Kind::Socket, frame.int(1) & CLOEXEC != 0)
}

extern "C-unwind" fn after_pipe(frame: &mut Frame, result: isize) -> isize {
    two(frame, result, frame.word(0), Kind::Pipe, false)
}

extern "C-unwind" fn after_pipe2(frame: &mut Frame, result: isize) -> isize {
    two(frame, result, frame.word(0), Kind::Pipe, frame.int(1) & CLOEXEC != 0)
}

extern "C-unwind" fn after_recvmsg(frame: &mut Frame, result: isize) -> isize {
    if result >= 0 && census::is_on() {
        // SAFETY: the kernel has just read and written it.
        unsafe { received(frame, frame.word(1) as *const libc::msghdr, frame.int(2)) };
    }
    result
}

extern "C-unwind" fn after_recvmmsg(frame: &mut Frame, result: isize) -> isize {
    if result > 0 && census::is_on() {
        let messages = frame.word(1) as *const libc::mmsghdr;
        for index in 0..result as usize {
            // SAFETY: the kernel has just read and written as many.
            unsafe { received(frame, &raw const (*messages.wrapping_add(index)).msg_hdr, frame.int(3)) };
        }
    }
    result
}

/// The descriptors that came with a message.
///
/// # Safety
/// It must be as recvmsg left it.
unsafe fn received(frame: &Frame, message: *const libc::msghdr, flags: c_int) {
    // SAFETY: by this function's contract.
    let (start, length) = unsafe { ((*message).msg_control as usize, (*message).msg_controllen) };
    // struct cmsghdr: length (header included), level, type; each at a multiple of a word (cmsg(3)).
    const HEADER: usize = size_of::<libc::cmsghdr>();
    let mut at = 0usize;
    while start != 0 && at.saturating_add(HEADER) <= length {
        // SAFETY: within what the kernel has written.
        let header = unsafe { ((start + at) as *const libc::cmsghdr).read_unaligned() };
        let whole = header.cmsg_len.min(length - at);
        if whole < HEADER {
            return;
        }
        if header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_RIGHTS {
            let birth = birth(frame, Kind::Received, flags & libc::MSG_CMSG_CLOEXEC != 0);
            for index in 0..(whole - HEADER) / size_of::<c_int>() {
                // SAFETY: as above.
                let fd = unsafe { ((start + at + HEADER) as *const c_int).wrapping_add(index).read_unaligned() };
                census::born(fd, birth);
            }
        }
        at = at.saturating_add(whole.next_multiple_of(size_of::<usize>()));
    }
}
