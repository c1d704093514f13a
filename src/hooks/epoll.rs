//! epoll_create, epoll_create1, epoll_ctl, epoll_wait, epoll_pwait, epoll_pwait2.
//!
//! After the real call the thread's block is looked up again: a signal handler may have forked in
//! the meantime, and this may be the child. The waits are cancellation points; the entries
//! (entry.rs) let the unwinder through.
//!
//! The slow path after a call is a separate function (`..._slow`), and so is everything that calls
//! another function. The fast path ends in a jump to it. So the fast path saves no registers, and
//! takes no branch around the slow one.

mod create;
mod ctl;
#[cfg(not(any(test, portable)))]
pub mod record_only_entries;
mod wait;

pub use ctl::{after_add, after_del, after_mod, after_other, before_add};

/// What runs before each wait, by its name.
pub mod before {
    pub use super::wait::before_pwait as epoll_pwait;
    pub use super::wait::before_pwait2 as epoll_pwait2;
    pub use super::wait::before_wait as epoll_wait;
}

/// What runs after each function, by its name.
pub mod after {
    pub use super::create::after_create as epoll_create;
    pub use super::create::after_create1 as epoll_create1;
    pub use super::wait::after_pwait as epoll_pwait;
    pub use super::wait::after_pwait2 as epoll_pwait2;
    pub use super::wait::after_wait as epoll_wait;
}
