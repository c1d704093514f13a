//! epoll_create, epoll_create1, epoll_ctl, epoll_wait, epoll_pwait, epoll_pwait2.
//!
//! After the real call the thread's block is looked up again: a signal handler may have forked meanwhile, and this may be
//! the child. The waits are cancellation points; entry.rs lets the unwinder through.
//!
//! What is rare behind a call, and whatever calls something else, is a function of its own to its end (`..._otherwise`), which the
//! common way jumps to: it keeps no register for it, and has no branch to take around it.

mod create;
mod ctl;
#[cfg(not(any(test, portable)))]
pub mod record_only_entries;
mod wait;

pub use create::{after_create, after_create1, before_create, before_create1};
pub use ctl::{after_add, after_del, after_mod, after_other, before_add, before_other};
pub use wait::{after_pwait, after_pwait2, after_wait, before_pwait, before_pwait2, before_wait};

/// A result that the compiler does not see through. It would have the common way keep what it knows is returned, in a register
/// that is to be saved first, and call what it was to jump to.
#[inline(always)]
fn opaque(result: isize) -> isize {
    core::hint::black_box(result)
}
