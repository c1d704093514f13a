//! What the ledger asks of Linux, and of the other processes of the same user.

use epollshim_ledger::lock::Hold;
use epollshim_ledger::lock_protocol::View;
use epollshim_ledger::reservations::Kind;
use epollshim_ledger::{Kernel, Memory};

use super::access::blocked_signals;
use super::fork_shared;
use crate::mapped::Mapped;
use crate::{clock, interrupted, process, registers, session, sys, thread};

/// This process and its kernel.
pub struct Linux;

impl Memory for Linux {
    fn map(bytes: usize) -> Option<*mut u8> {
        Mapped::map(bytes)
    }

    unsafe fn unmap(start: *mut u8, bytes: usize) {
        // SAFETY: the caller promises what `Mapped::unmap` needs.
        unsafe { Mapped::unmap(start, bytes) };
    }
}

impl Kernel for Linux {
    fn are_aliases(fd: i32, other: i32) -> Option<bool> {
        match sys::same_description(process::pid_for_kcmp(), fd, other) {
            Ok(same) => Some(same),
            Err(libc::EBADF) => Some(false),
            // kcmp(2) is missing, or a filter forbids it.
            Err(_) => None,
        }
    }

    fn now() -> u64 {
        clock::monotonic()
    }

    fn has_ended(hold: Hold) -> bool {
        thread::has_owner_ended(hold)
    }

    fn is_on_another_stack() -> bool {
        sys::is_on_alternate_stack()
    }

    fn is_amid_a_hook(view: View, bytes: usize) -> bool {
        let view = match view.stack {
            0 => View { stack: registers::stack_pointer(), blocked: blocked_signals() },
            _ => view,
        };
        interrupted::a_hook_within(view, bytes)
    }

    fn give_way(is_nearly_full: bool) {
        if is_nearly_full { sys::sleep(200_000) } else { sys::yield_now() }
    }

    fn claim(kind: Kind) {
        let _ = session::claim(kind, None);
    }

    fn release(kind: Kind) {
        session::release(kind);
    }

    fn take_former(kind: Kind) -> bool {
        session::take_former(kind)
    }

    fn process_number() -> u32 {
        fork_shared::number()
    }

    fn has_shared_by_fork() -> bool {
        fork_shared::has_entries()
    }
}
