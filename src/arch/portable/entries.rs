//! The templates of entries in plain Rust: ordinary functions that make a frame, call what is to be
//! called, and return.
//!
//! ```text
//! program ── call ──▶ entry ── before(frame) ──▶ the real function ──▶ after(frame, result)
//! program ◀─ return ──┘
//! ```
//!
//! Each entry takes six words, as many as there are registers for arguments on x86-64 (System V
//! psABI 3.2.3). AAPCS64 6.8.2 has two more, which no function here needs. The arguments of a
//! function with fewer of them, or of a variadic one, are in the first of these words. The other
//! words are passed on unchanged, and the real function does not read them.

/// Has a larger alignment than the stack pointer. A function with such a local variable keeps a
/// frame pointer, by which [`return_address`](crate::arch::return_address) finds the return
/// address.
#[repr(align(32))]
pub struct Anchor<T>(pub T);

/// Calls the function at `address` with six words.
///
/// # Safety
/// `address` must be a function that may be called with these words as its arguments.
#[inline(always)]
pub unsafe fn call(address: usize, words: [usize; 6]) -> isize {
    type Real = unsafe extern "C-unwind" fn(usize, usize, usize, usize, usize, usize) -> isize;
    let [a, b, c, d, e, f] = words;
    // SAFETY: the caller promises a function at the address. A function with fewer arguments does
    // not read the registers of the others. A variadic one finds its arguments where fixed ones
    // would be (x86-64 psABI 3.5.7; AAPCS64 6.8.2: on Linux, variadic arguments are passed as
    // others are).
    let real = unsafe { core::mem::transmute::<usize, Real>(address) };
    // SAFETY: the caller promises that the function may be called with these words.
    unsafe { real(a, b, c, d, e, f) }
}

/// Users of these templates must have [`Frame`](crate::frame::Frame) in scope.
///
/// `cancellable!(name, run, arguments...)` makes the entry `name`, which passes its frame and these
/// arguments to `run`. It does not catch unwinding, because a thread may be cancelled in the real
/// function. With `#[unsafe(no_mangle)]` before the name, the entry is exported.
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

/// The same for a function that is not a cancellation point, made with redhook. redhook's
/// `catch_unwind` is compiled away, and with it all of std's panicking: `run` is called by a type
/// that says that it does not unwind. redhook's own lookup of the real function is not used: std's
/// `Once` would deadlock in a signal handler.
macro_rules! not_cancellable {
    ($name:ident, $run:path: fn($($type:ty),*) $(, $argument:expr)*) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            redhook::hook! {
                unsafe fn $name(a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize => noted {
                    type Unwinding = extern "C-unwind" fn(&mut Frame $(, $type)*) -> isize;
                    type Quiet = extern "C" fn(&mut Frame $(, $type)*) -> isize;
                    // SAFETY: the types differ only in whether the function may unwind, and it does
                    // not: no hook panics, and the function is not a cancellation point.
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
