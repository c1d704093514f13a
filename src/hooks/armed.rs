//! The slow path into a hook: what entries jump to while a limit, a fault or the log is armed. It
//! does the same as the entries of entry.rs, with a plan in addition.
//!
//! ```text
//! entry ── something armed? ──▶ armed ── before(plan, frame) ──▶ the real function, or an answer
//!                                 │ ───── that function
//!                                 │ ───── after(frame, result) ──▶ what the program gets
//! program ◀──────── jump ─────────┘
//! ```
//!
//! Entries test one bit ([`crate::policy::ARMED_FOR`]). While it is zero, nothing in this file
//! runs.

use epollshim_format::function::Function;

use super::entry::{After, Frame, Handlers};
use crate::above::Library;
use crate::policy::{self, Plan};
#[cfg(not(any(test, portable)))]
use crate::real;

/// What this module calls in the layer above: the other hooks.
pub trait Above {
    /// What the hook of a function does before and after the real call when nothing is armed.
    /// `operation` is the second argument of `epoll_ctl`; other functions ignore it.
    fn handlers(function: Function, operation: usize) -> Handlers;
}

/// The stack of an armed entry.
#[repr(C)]
pub struct Armed {
    /// Written first of all, by `before`.
    pub(super) plan: core::mem::MaybeUninit<Plan>,
    pub(super) frame: Frame,
    /// The word above the return address, which the sixth argument of `syscall` occupies. On the
    /// stack of an entry in assembly, the program's own word is there.
    #[cfg(portable)]
    above: usize,
}

#[cfg(portable)]
impl Armed {
    /// For every function except `syscall`.
    pub fn new(frame: &Frame) -> Armed {
        Armed::with_sixth(frame, 0)
    }

    /// For `syscall`, whose sixth argument is its seventh word.
    pub fn with_sixth(frame: &Frame, sixth: usize) -> Armed {
        Armed { plan: core::mem::MaybeUninit::uninit(), frame: *frame, above: sixth }
    }

    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Runs after the real call.
    pub fn finish(&mut self, result: isize) -> isize {
        // SAFETY: `before` (or raw.rs for `syscall`) has called `call_after`, which wrote the
        // address of an `After` to this field.
        let after = unsafe { core::mem::transmute::<usize, After>((*self.plan.as_ptr()).after) };
        after(&mut self.frame, result)
    }
}

/// The size of a plan in bytes. A multiple of 16 keeps the stack aligned.
pub const PLAN: usize = size_of::<Plan>();
const _: () = assert!(PLAN.is_multiple_of(16) && core::mem::offset_of!(Armed, frame) == PLAN);

/// The bit of each function's own entry in [`crate::policy::ARMED_FOR`].
// Functions that only create descriptors share an entry.
#[allow(non_upper_case_globals, dead_code)]
#[cfg(not(any(test, portable)))]
pub mod bits {
    use epollshim_format::function::Function;

    macro_rules! bits {
        ($($variant:ident $name:ident ($($alias:ident)*) $number:literal $system_call:literal $role:ident ($($class:ident)*)
           $cancellation:ident $descriptor:ident [$($note:tt)*] $from:ident $arguments:literal [$($error:ident)*];)*) => {
            $(pub const $name: u64 = 1 << Function::$variant as u64;)*
        };
    }
    epollshim_format::for_each_function!(bits);
}

#[cfg(not(any(test, portable)))]
pub mod exports {
    use epollshim_format::function::Function;

    use crate::hooks::epoll::record_only_entries::exports as record_only;
    use crate::hooks::parts;

    /// Selects an entry by the function's role. Functions that only create descriptors, and those
    /// that only a census follows, share the two entries at the end.
    macro_rules! entry {
        (Create $name:ident $variant:ident) => {};
        (Receive $name:ident $variant:ident) => {};
        (Stream $name:ident $variant:ident) => {};
        (Adopt $name:ident $variant:ident) => {};
        (StreamEnd $name:ident $variant:ident) => {};
        (Start $name:ident $variant:ident) => {};
        (Plain $name:ident $variant:ident) => {};
        (Birth $name:ident $variant:ident) => {};
        (Memory $name:ident $variant:ident) => {};
        (Ctl $name:ident $variant:ident) => {
            entry!(recorded $name $variant);
        };
        (Wait $name:ident $variant:ident) => {
            entry!(recorded $name $variant);
        };
        (recorded $name:ident $variant:ident) => {
            crate::arch::x86_64::entries::armed! {
                $name("movsxd rsi, eax") = "mov esi, {number}" of Function::$variant, super::before_named, unless record_only::$name;
            }
        };
        ($role:ident $name:ident $variant:ident) => {
            crate::arch::x86_64::entries::armed! {
                $name("movsxd rsi, eax") = "mov esi, {number}" of Function::$variant, super::before_named;
            }
        };
    }

    macro_rules! entries {
        ($($variant:ident $name:ident ($($alias:ident)*) $number:literal $system_call:literal $role:ident ($($class:ident)*)
           $cancellation:ident $descriptor:ident [$($note:tt)*] $from:ident $arguments:literal [$($error:ident)*];)*) => {
            $(entry!($role $name $variant);)*
        };
    }
    epollshim_format::for_each_function!(entries);

    crate::arch::x86_64::entries::armed! {
        // For the function of this number (r10d), called by this alias (a `Real` in r11):
        // creators.rs.
        creator("movsxd rsi, eax") = "mov esi, r10d\nmov rdx, r11", super::before_creator;
        // The same for functions that return an address.
        pointer("mov rsi, rax") = "mov esi, r10d\nmov rdx, r11", super::before_creator;
    }
}

/// For entries that serve one function under one name.
#[cfg(not(any(test, portable)))]
extern "C-unwind" fn before_named(armed: &mut Armed, number: u32) -> usize {
    match before(armed, number) {
        0 => Function::ALL.get(number as usize).map_or(0, |function| real::of(*function).address()),
        address => address,
    }
}

#[cfg(not(any(test, portable)))]
extern "C-unwind" fn before_creator(armed: &mut Armed, number: u32, real: &real::Real) -> usize {
    match before(armed, number) {
        0 => real.address(),
        answer => answer,
    }
}

pub extern "C-unwind" fn before(armed: &mut Armed, number: u32) -> usize {
    let Some(function) = Function::ALL.get(number as usize).copied() else { return 0 };
    let default = <Library as Above>::handlers(function, armed.frame.word(1));
    if policy::is_census_alone() {
        armed.frame.state = 0;
        call_after(&mut armed.plan, default.after);
        return (default.before)(&mut armed.frame);
    }
    // No function of epoll has six arguments. The function that replaces a missing epoll_pwait or
    // epoll_pwait2 passes the sixth word on as the size of a signal set.
    if function.is_epoll() {
        let [.., sixth] = &mut armed.frame.words;
        *sixth = crate::sys::SIGSET_SIZE;
    }
    let (address, plan) = policy::before(&mut armed.plan, &mut armed.frame, function, default);
    let then = match plan {
        None => default.after,
        Some(plan) if plan.is_only_recorded() => after_recorded,
        Some(_) => after,
    };
    call_after(&mut armed.plan, then);
    address
}

/// Sets the function that is called after the real call. The rest of the plan is written only if
/// that is [`after`].
pub(super) fn call_after(plan: &mut core::mem::MaybeUninit<Plan>, function: After) {
    // SAFETY: the pointer is to a field of the plan's own memory. The field is an integer, so
    // nothing is left undropped.
    unsafe { (&raw mut (*plan.as_mut_ptr()).after).write(function as *const () as usize) };
}

/// The plan that lies below a frame.
///
/// # Safety
/// The frame must be part of an [`Armed`], and the plan must have been written.
pub(super) unsafe fn plan_of<'plan>(frame: *mut Frame) -> &'plan mut Plan {
    let armed = frame.cast::<u8>().wrapping_sub(PLAN).cast::<Armed>();
    // SAFETY: the caller promises an [`Armed`] whose plan is written. The reference covers the plan
    // only, not the frame.
    unsafe { (*armed).plan.assume_init_mut() }
}

extern "C-unwind" fn after(frame: &mut Frame, result: isize) -> isize {
    // SAFETY: entries pass the frame of their `Armed`. `before` has written the plan: otherwise it
    // would not have chosen this function.
    let plan = unsafe { plan_of(frame) };
    let default = <Library as Above>::handlers(plan.function, frame.word(1));
    policy::after(plan, frame, result, default.after)
}

extern "C-unwind" fn after_recorded(frame: &mut Frame, result: isize) -> isize {
    // SAFETY: entries pass the frame of their `Armed`. `before` has written the plan: otherwise it
    // would not have chosen this function.
    let plan = unsafe { plan_of(frame) };
    let default = <Library as Above>::handlers(plan.function, frame.word(1));
    policy::after_recorded(plan, frame, result, default.after)
}
