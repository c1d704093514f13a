//! The exported functions as entries in assembly, with their aliases. Each row of the table
//! (crates/format/src/functions.rs) becomes entries, by its role. `epoll_ctl` and the waits are in
//! epoll/, because they have several entries each; `syscall` is in raw.rs. The same in plain Rust:
//! portable.rs.

use epollshim_format::for_each_function;
use epollshim_format::function::Function;
use libc::{c_int, c_uint};

use super::armed::exports as armed;
use super::parts;
use super::{creators, descriptors, epoll};
use crate::{ledger, policy, real};

/// An entry in assembly. The type leaves its arguments open.
type Entry = unsafe extern "C-unwind" fn() -> isize;

/// `export!(Role function [what the census notes] Variant name)`. `name` is the function's own name
/// or an alias.
macro_rules! export {
    (Instance $function:ident $variant:ident $name:ident) => {
        crate::arch::x86_64::entries::with_after! {
            #[unsafe(no_mangle)]
            $name(1) or $function: real::function::$name, epoll::after::$function;
        }
    };
    (Ctl $function:ident $variant:ident $name:ident) => {};
    (Wait $function:ident $variant:ident $name:ident) => {};
    // Only two commands of fcntl return a new descriptor. For every other one the entry jumps to
    // the real function.
    (Duplicate fcntl $variant:ident $name:ident) => {
        crate::arch::x86_64::entries::dispatch! {
            #[unsafe(no_mangle)]
            $name or fcntl by command duplicate, else real::function::$name;
        }
    };
    (Duplicate $function:ident $variant:ident $name:ident) => {
        crate::arch::x86_64::entries::with_after! {
            #[unsafe(no_mangle)]
            $name(1) or $function: real::function::$name, descriptors::after_dup;
        }
    };
    (Close close $variant:ident $name:ident) => {
        mod $name {
            use super::*;

            // The exported function jumps here, so the program's return address is where it was.
            crate::arch::x86_64::entries::tail_jump! {
                one: noted: before;
            }

            /// Returns the address of the real function.
            #[unsafe(link_section = ".text.hot.epollshim.more")]
            extern "C-unwind" fn before(fd: c_int, caller: usize) -> usize {
                ledger::closing(fd, caller);
                real::function::$name.address()
            }

            #[unsafe(no_mangle)]
            pub unsafe extern "C-unwind" fn $name(fd: c_int) -> c_int {
                let address = if policy::is_armed_for(Function::Close) {
                    armed::close as Entry as usize
                } else if ledger::may_concern(fd) {
                    noted as Entry as usize
                } else {
                    real::function::$name.resolved()
                };
                // SAFETY: the address is that of the real function, or of an entry that passes the
                // register on to it and returns its result. The program passed the argument.
                unsafe { core::mem::transmute::<usize, real::Close>(address)(fd) }
            }
        }
    };
    (Close close_range $variant:ident $name:ident) => {
        redhook::hook! {
            unsafe fn $name(first: c_uint, last: c_uint, flags: c_int) -> c_int => noted_close_range {
                if policy::is_armed_for(Function::CloseRange) {
                    // SAFETY: the entry has the type of close_range: it passes its registers on to
                    // the real function, and returns its result.
                    let armed: real::CloseRange = unsafe { core::mem::transmute(armed::close_range as Entry) };
                    // SAFETY: the arguments are those that the program passed to close_range.
                    return unsafe { armed(first, last, flags) };
                }
                type Unwinding = extern "C-unwind" fn(c_uint, c_uint, c_int, bool, usize);
                type Quiet = extern "C" fn(c_uint, c_uint, c_int, bool, usize);
                // SAFETY: the types differ only in whether the function may unwind, and it does
                // not. (If rustc could not be sure of that, it would keep `hook!`'s `catch_unwind`
                // around the real call, and with it all of std's panicking in the library.)
                let note_range = unsafe { core::mem::transmute::<Unwinding, Quiet>(descriptors::note_range) };
                note_range(first, last, flags, false, 0);
                // SAFETY: the arguments are those that the program passed to close_range.
                unsafe { real::close_range()(first, last, flags) }
            }
        }
    };
    // Functions that only a census follows, and that are armed for it.
    (Stream $function:ident $variant:ident $name:ident) => {
        export!(armed pointer $variant $name);
    };
    (Adopt $function:ident $variant:ident $name:ident) => {
        export!(armed pointer $variant $name);
    };
    (StreamEnd $function:ident $variant:ident $name:ident) => {
        export!(armed creator $variant $name);
    };
    (Start $function:ident $variant:ident $name:ident) => {
        export!(armed creator $variant $name);
    };
    // Functions that only faults and the log follow.
    (Plain $function:ident $variant:ident $name:ident) => {
        export!(armed creator $variant $name);
    };
    // sharing.rs has these.
    (Birth $function:ident $variant:ident $name:ident) => {};
    // The constructor hooks these if a rule names one (memory.rs). They are not exported.
    (Memory posix_memalign $variant:ident $name:ident) => {
        crate::arch::x86_64::entries::dispatch! {
            $name of $variant: real::function::$name, armed at armed::creator;
        }
    };
    (Memory $function:ident $variant:ident $name:ident) => {
        crate::arch::x86_64::entries::dispatch! {
            $name of $variant: real::function::$name, armed at armed::pointer;
        }
    };
    (armed $entry:ident $variant:ident $name:ident) => {
        crate::arch::x86_64::entries::dispatch! {
            #[unsafe(no_mangle)]
            $name of $variant: real::function::$name, armed at armed::$entry;
        }
    };
    // Functions that create or receive descriptors.
    ($role:ident $function:ident $variant:ident $name:ident) => {
        crate::arch::x86_64::entries::dispatch! {
            #[unsafe(no_mangle)]
            $name of $variant: real::function::$name, with a census with_census, creators::after::$function;
        }
    };
}

macro_rules! exports {
    ($($variant:ident $name:ident ($($alias:ident)*) $number:literal $system_call:literal $role:ident ($($class:ident)*)
       $cancellation:ident $descriptor:ident [$($note:tt)*] $from:ident $arguments:literal [$($error:ident)*];)*) => {$(
        export!($role $name $variant $name);
        $(export!($role $name $variant $alias);)*
    )*};
}
for_each_function!(exports);

crate::arch::x86_64::entries::with_after! {
    duplicate(1): real::function::fcntl, descriptors::after_dup;
}

// The entry for functions that a census follows: r11 is the address of the real function's `Real`,
// r10 that of the function that notes the result.
crate::arch::x86_64::entries::with_after! {
    census: with_census;
}
