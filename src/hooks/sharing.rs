//! The calls that start a child in the caller's own memory: `vfork`, `clone`, and their raw system
//! calls. (And the system call that ends the process.)
//!
//! Each is noted (process/sharing.rs), and then jumped to: a child of `vfork` returns on its
//! parent's stack, and a child of `clone` may find on its own stack what only the real function
//! knows. So nothing of ours may lie there.

use libc::c_long;

use crate::arch::system_call;
#[cfg(not(test))]
use crate::real;
use crate::{process, sys};

#[cfg(not(test))]
mod exports {
    crate::arch::passing! {
        #[unsafe(no_mangle)]
        vfork: super::before_vfork;
        #[unsafe(no_mangle)]
        __vfork: super::before_alias_of_vfork;
        #[unsafe(no_mangle)]
        clone: super::before_clone;
        #[unsafe(no_mangle)]
        __clone: super::before_alias_of_clone;
    }
}

const VFORK: u64 = (libc::CLONE_VM | libc::CLONE_VFORK) as u64;

/// Each returns the function that starts the child.
#[cfg(not(test))]
extern "C-unwind" fn before_vfork() -> usize {
    process::about_to_clone(VFORK, 0);
    real::VFORK.address()
}

#[cfg(not(test))]
extern "C-unwind" fn before_alias_of_vfork() -> usize {
    process::about_to_clone(VFORK, 0);
    real::VFORK_ALIAS.address()
}

/// clone(function, stack, flags, argument, parent_tid, tls, child_tid).
#[cfg(not(test))]
extern "C-unwind" fn before_clone(_: usize, _: usize, flags: usize, _: usize, _: usize, storage: usize) -> usize {
    process::about_to_clone(flags as u32 as u64, storage);
    real::CLONE.address()
}

#[cfg(not(test))]
extern "C-unwind" fn before_alias_of_clone(
    _: usize,
    _: usize,
    flags: usize,
    _: usize,
    _: usize,
    storage: usize,
) -> usize {
    process::about_to_clone(flags as u32 as u64, storage);
    real::CLONE_ALIAS.address()
}

/// The system calls that [`before_raw`] is for.
pub const NOTED: [c_long; 3] = [system_call::VFORK, libc::SYS_clone, libc::SYS_clone3];

/// Before a system call that no other hook looks at: its number and its first arguments.
pub fn before_raw(number: usize, arguments: [usize; 5]) {
    let [first, ..] = arguments;
    match number as c_long {
        system_call::VFORK => process::about_to_clone(VFORK, 0),
        libc::SYS_clone => {
            let storage = arguments.get(system_call::CLONE_STORAGE).copied().unwrap_or(0);
            process::about_to_clone(first as u32 as u64, storage);
        }
        libc::SYS_clone3 => {
            if let (Some(flags), Some(storage)) =
                (sys::word_at(first), sys::word_at(first.wrapping_add(core::mem::offset_of!(libc::clone_args, tls))))
            {
                process::about_to_clone(flags, storage as usize);
            }
        }
        _ => {}
    }
}
