//! The exported functions as entries in assembly, and their aliases: each row of the table (crates/format/src/functions.rs) becomes some, by
//! its role. `epoll_ctl` and the waits, which have several ways, are in epoll/; `syscall` is in raw.rs. The same in plain Rust: portable.rs.

use epollshim_format::for_each_function;
use epollshim_format::function::Function;
use libc::{c_int, c_uint};

use super::armed::exports as armed;
use super::parts;
use super::{creators, descriptors, epoll};
use crate::{ledger, policy, real};

/// An entry in assembly, by a type that says nothing of its arguments.
type Entry = unsafe extern "C-unwind" fn() -> isize;

/// `export!(Role function [what the census notes] Variant name)`, where the name is the function's own or an alias.
macro_rules! export {
    (Instance $function:ident $variant:ident $name:ident) => {
        crate::arch::x86_64::entries::with_after! {
            #[unsafe(no_mangle)]
            $name(1) or $function: real::function::$name, epoll::after::$function;
        }
    };
    (Ctl $function:ident $variant:ident $name:ident) => {};
    (Wait $function:ident $variant:ident $name:ident) => {};
    // Only two commands of fcntl give a new number; every other is a jump to the real function.
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

            // The entry jumps here, so that the program's return address lies where it lay.
            crate::arch::x86_64::entries::tail_jump! {
                one: noted: before;
            }

            /// Returns the function that closes.
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
                // SAFETY: the program's own call, of the real function or of what passes the register on to it and returns what that
                // returns.
                unsafe { core::mem::transmute::<usize, real::Close>(address)(fd) }
            }
        }
    };
    (Close close_range $variant:ident $name:ident) => {
        redhook::hook! {
            unsafe fn $name(first: c_uint, last: c_uint, flags: c_int) -> c_int => noted_close_range {
                if policy::is_armed_for(Function::CloseRange) {
                    // SAFETY: it passes its registers on to the real close_range, and returns what that returns.
                    let armed: real::CloseRange = unsafe { core::mem::transmute(armed::close_range as Entry) };
                    // SAFETY: the program's own call.
                    return unsafe { armed(first, last, flags) };
                }
                type Unwinding = extern "C-unwind" fn(c_uint, c_uint, c_int, bool, usize);
                type Quiet = extern "C" fn(c_uint, c_uint, c_int, bool, usize);
                // SAFETY: the types differ in what may unwind, and nothing does. (rustc would not be sure of it, and would leave `hook!`'s
                // `catch_unwind` standing around the real call, and with it all of std's panicking in the library.)
                let note_range = unsafe { core::mem::transmute::<Unwinding, Quiet>(descriptors::note_range) };
                note_range(first, last, flags, false, 0);
                // SAFETY: the program's own call.
                unsafe { real::close_range()(first, last, flags) }
            }
        }
    };
    // What concerns a census alone, and is armed for it.
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
    // What faults and the log alone look at.
    (Plain $function:ident $variant:ident $name:ident) => {
        export!(armed creator $variant $name);
    };
    // Those of sharing.rs.
    (Birth $function:ident $variant:ident $name:ident) => {};
    // What a rule asks for (memory.rs). It is exported by no name.
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
    // What makes descriptors, or receives them.
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

// With a census: the real function (a `Real` in r11), and behind it what notes the result (in r10).
crate::arch::x86_64::entries::with_after! {
    census: with_census;
}
