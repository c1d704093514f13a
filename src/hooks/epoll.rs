//! epoll_create, epoll_create1, epoll_ctl, epoll_wait, epoll_pwait, epoll_pwait2.
//!
//! After the real call the thread's block is looked up again: a signal handler may have forked meanwhile, and this may be
//! the child. The waits are cancellation points; entry.rs lets the unwinder through.
//!
//! What is rare behind a call, and whatever calls something else, is a function of its own to its end (`..._slow`), which the
//! common way jumps to: it keeps no register for it, and has no branch to take around it.

mod create;
mod ctl;
#[cfg(not(any(test, portable)))]
pub mod record_only_entries;
mod wait;

pub use ctl::{after_add, after_del, after_mod, after_other, before_add};

/// What is done before each wait, by its name.
pub mod before {
    pub use super::wait::before_pwait as epoll_pwait;
    pub use super::wait::before_pwait2 as epoll_pwait2;
    pub use super::wait::before_wait as epoll_wait;
}

/// What is done behind each function, by its name.
pub mod after {
    pub use super::create::after_create as epoll_create;
    pub use super::create::after_create1 as epoll_create1;
    pub use super::wait::after_pwait as epoll_pwait;
    pub use super::wait::after_pwait2 as epoll_pwait2;
    pub use super::wait::after_wait as epoll_wait;
}

/// A result that the compiler does not see through. It would have the common way keep what it knows is returned, in a register
/// that is to be saved first, and call what it was to jump to.
#[inline(always)]
fn opaque(result: isize) -> isize {
    core::hint::black_box(result)
}
