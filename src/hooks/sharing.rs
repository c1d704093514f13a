//! The calls that start a child in the caller's own memory: `vfork`, `clone`, and the raw system
//! calls of the same names.
//!
//! Each is noted (process/sharing.rs) and then jumped to. A child of `vfork` returns on its
//! parent's stack, and a child of `clone` may find on its own stack what only the real function
//! knows. So this library may leave nothing on these stacks.

#[cfg(not(test))]
use epollshim_format::function::Function;
use libc::c_long;

use crate::arch::system_call;
#[cfg(not(test))]
use crate::frame::Frame;
#[cfg(not(test))]
use crate::{policy, real};
use crate::{process, sys};

#[cfg(not(test))]
mod exports {
    crate::arch::tail_jump! {
        #[unsafe(no_mangle)]
        vfork: super::before_birth, numbered 0;
        #[unsafe(no_mangle)]
        __vfork: super::before_birth, numbered 1;
        #[unsafe(no_mangle)]
        clone: super::before_birth, numbered 2;
        #[unsafe(no_mangle)]
        __clone: super::before_birth, numbered 3;
    }
}

const VFORK: u64 = (libc::CLONE_VM | libc::CLONE_VFORK) as u64;

/// Returns the function that starts the child, or one that fails instead. It runs before there is a
/// child, and leaves nothing on the stack. `words` are the argument registers of clone(function,
/// stack, flags, argument, parent_tid, tls, child_tid).
#[cfg(not(test))]
extern "C-unwind" fn before_birth(words: *const [usize; 6], number: u32, caller: usize) -> usize {
    // SAFETY: the entry stores six registers there before it calls this function.
    let words = unsafe { words.read() };
    let (function, real) = match number {
        0 => (Function::Vfork, &real::function::vfork),
        1 => (Function::Vfork, &real::function::__vfork),
        2 => (Function::Clone, &real::function::clone),
        _ => (Function::Clone, &real::function::__clone),
    };
    if policy::is_armed_for(function) && policy::fails_at_once(function, &Frame { words, state: 0, caller }) {
        return failed as *const () as usize;
    }
    let [_, _, flags, _, _, storage] = words;
    let (flags, storage) = if function == Function::Vfork { (VFORK, 0) } else { (flags as u32 as u64, storage) };
    process::about_to_clone(flags, storage);
    real.address()
}

/// Replaces a call that a fault makes fail. errno is already set.
#[cfg(not(test))]
extern "C-unwind" fn failed() -> isize {
    -1
}

/// The system calls that [`before_raw`] handles.
pub const NOTED: [c_long; 3] = [system_call::VFORK, libc::SYS_clone, libc::SYS_clone3];

/// Runs before a system call that is not hooked, with its number and its first arguments.
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
