//! The templates of entries in plain Rust: ordinary functions that make a frame, do what is to be done, and return.
//!
//! ```text
//! program ── call ──▶ entry ── before(frame) ──▶ the real function ──▶ after(frame, result)
//! program ◀─ return ──┘
//! ```
//!
//! Each entry takes six words: what the registers for arguments hold that are used here (System V psABI 3.2.3; AAPCS64 6.8.2: two more).
//! A function with fewer arguments, or a variadic one, has its own in the first of them. What the others hold is passed on as it is,
//! and the real function does not read it.

/// What the stack pointer alone does not align. A function that has such a local keeps a frame pointer, by which
/// [`return_address`](crate::arch::return_address) finds where the function was called.
#[repr(align(32))]
pub struct Anchor<T>(pub T);

/// The function at an address, called with six words.
///
/// # Safety
/// The words must be arguments that it may be called with.
#[inline(always)]
pub unsafe fn call(address: usize, words: [usize; 6]) -> isize {
    type Real = unsafe extern "C-unwind" fn(usize, usize, usize, usize, usize, usize) -> isize;
    let [a, b, c, d, e, f] = words;
    // SAFETY: the caller answers for the address. A function with fewer arguments does not look at the registers of the others, and
    // a variadic one finds its own where fixed ones lie (x86-64 psABI 3.5.7; AAPCS64 6.8.2: on Linux, variadic arguments are passed as
    // others are).
    let real = unsafe { core::mem::transmute::<usize, Real>(address) };
    // SAFETY: by this function's contract.
    unsafe { real(a, b, c, d, e, f) }
}

/// Whoever uses the templates has [`Frame`](crate::frame::Frame) in scope.
///
/// `cancellable!(name, run, arguments...)`: the entry `name`, which passes its frame and these arguments to `run`. Nothing catches what
/// unwinds: a thread may be cancelled in the real function. With `#[unsafe(no_mangle)]` before the name it is exported.
macro_rules! cancellable {
    ($(#[$attribute:meta])* $name:ident, $run:path $(, $argument:expr)*) => {
        $(#[$attribute])*
        pub unsafe extern "C-unwind" fn $name(a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize {
            let frame = Frame { words: [a, b, c, d, e, f], state: 0, caller: 0 };
            let mut frame = $crate::arch::portable::entries::Anchor(frame);
            frame.0.caller = $crate::arch::return_address(&mut frame);
            $run(&mut frame.0 $(, $argument)*)
        }
    };
}

/// The same for a function that is no cancellation point, by redhook. Its `catch_unwind` is no hindrance: `run` is called by a type that
/// says that nothing unwinds out of it, so that the compiler leaves `catch_unwind` away, and with it all of std's panicking.
/// redhook's own look-up of the real function is not used: std's `Once` would deadlock in a signal handler.
macro_rules! not_cancellable {
    ($name:ident, $run:path: fn($($type:ty),*) $(, $argument:expr)*) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            redhook::hook! {
                unsafe fn $name(a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize => noted {
                    type Unwinding = extern "C-unwind" fn(&mut Frame $(, $type)*) -> isize;
                    type Quiet = extern "C" fn(&mut Frame $(, $type)*) -> isize;
                    // SAFETY: the types differ only in what may unwind. No hook panics, and a thread cannot be cancelled here.
                    let run = unsafe { core::mem::transmute::<Unwinding, Quiet>($run) };
                    let frame = Frame { words: [a, b, c, d, e, f], state: 0, caller: 0 };
                    let mut frame = $crate::arch::portable::entries::Anchor(frame);
                    frame.0.caller = $crate::arch::return_address(&mut frame);
                    run(&mut frame.0 $(, $argument)*)
                }
            }
        }
    };
}

pub(crate) use {cancellable, not_cancellable};
