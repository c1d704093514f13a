//! The calls that start a child in the caller's own memory: `vfork`, `clone`, and their raw system
//! calls.
//!
//! Each is noted (process/sharing.rs), and then jumped to: a child of `vfork` returns on its
//! parent's stack, and a child of `clone` may find on its own stack what only the real function
//! knows. So nothing of ours may lie there.

use libc::c_long;

use crate::{process, sys};

#[cfg(not(test))]
mod exports {
    /// `name: what notes the call, REAL;`
    macro_rules! sharing {
        ($($name:ident: $note:path, $real:ident;)*) => {
            $(
                #[unsafe(naked)]
                #[unsafe(no_mangle)]
                pub unsafe extern "C-unwind" fn $name() -> isize {
                    core::arch::naked_asm!(
                        ".cfi_startproc",
                        crate::hooks::entry::open_frame!(6),
                        "call {note}",
                        "call {address}",
                        crate::hooks::entry::close_frame!(6),
                        "mov r11, rax",
                        // al: the number of vector registers in a variadic call, of which clone has
                        // none in use.
                        "xor eax, eax",
                        "jmp r11",
                        ".cfi_endproc",
                        note = sym $note,
                        address = sym address::$name,
                    )
                }
            )*
            mod address {
                $(
                    pub extern "C" fn $name() -> usize {
                        crate::real::$real.address()
                    }
                )*
            }
        };
    }

    sharing! {
        vfork: super::before_vfork, VFORK;
        __vfork: super::before_vfork, VFORK_ALIAS;
        clone: super::before_clone, CLONE;
        __clone: super::before_clone, CLONE_ALIAS;
    }
}

const VFORK: u64 = (libc::CLONE_VM | libc::CLONE_VFORK) as u64;

#[cfg(not(test))]
extern "C-unwind" fn before_vfork() {
    process::about_to_clone(VFORK, 0);
}

/// clone(function, stack, flags, argument, parent_tid, tls, child_tid).
#[cfg(not(test))]
extern "C-unwind" fn before_clone(_: usize, _: usize, flags: usize, _: usize, _: usize, storage: usize) {
    process::about_to_clone(flags as u32 as u64, storage);
}

/// Before a system call that no other hook looks at: its number and its first arguments.
#[inline(always)]
pub fn before_raw(number: usize, arguments: [usize; 5]) {
    if matches!(number as c_long, libc::SYS_vfork | libc::SYS_clone | libc::SYS_clone3) {
        before_raw_clone(number as c_long, arguments);
    }
}

#[cold]
#[inline(never)]
fn before_raw_clone(number: c_long, arguments: [usize; 5]) {
    let [first, .., fifth] = arguments;
    match number {
        libc::SYS_vfork => process::about_to_clone(VFORK, 0),
        // clone(flags, stack, parent_tid, child_tid, tls) on x86-64.
        libc::SYS_clone => process::about_to_clone(first as u32 as u64, fifth),
        _ => {
            if let (Some(flags), Some(storage)) =
                (sys::word_at(first), sys::word_at(first.wrapping_add(core::mem::offset_of!(libc::clone_args, tls))))
            {
                process::about_to_clone(flags, storage as usize);
            }
        }
    }
}
