//! The exported functions in plain Rust. They are built with `--features portable`, and on every
//! processor except x86-64. Read them first: the entries in assembly do the same, in more steps.
//!
//! Some functions must find the stack as the program left it. A child that runs in its caller's
//! memory returns from `vfork` and `clone`, and `execl` and its relatives are variadic. Entries
//! jump to these functions instead of calling them (sharing.rs, process_exit.rs). They jump to
//! `syscall` too, which may be any of them.

use epollshim_format::for_each_function;
use epollshim_format::function::Function;

use super::armed::{self, Armed};
use super::default_handlers::default_handlers;
use super::{descriptors, raw};
use crate::arch::portable::entries::{Anchor, call, cancellable, not_cancellable};
use crate::frame::Frame;
use crate::real::{self, Real};
use crate::{ledger, policy};

/// Calls `before`, the real function and `after`; or, if the function is armed, does the same with
/// a plan.
extern "C-unwind" fn run(frame: &mut Frame, function: Function, real: &'static Real) -> isize {
    if policy::is_armed_for(function) {
        return run_armed(frame, function, real);
    }
    let handlers = default_handlers(function, frame.word(1));
    (handlers.before)(frame);
    // SAFETY: the address is the real function's, and the words are the arguments that the program
    // passed to it. The program upholds the function's contract.
    let result = unsafe { call(real.resolved(), frame.words) };
    (handlers.after)(frame, whole(function, result))
}

/// Widens the result of a function that returns an int, whose upper half is undefined. An address
/// is returned as it is.
fn whole(function: Function, result: isize) -> isize {
    if function.returns_address() { result } else { result as i32 as isize }
}

extern "C-unwind" fn run_armed(frame: &Frame, function: Function, real: &'static Real) -> isize {
    let mut armed = Armed::new(frame);
    let address = match armed::before(&mut armed, function as u32) {
        0 => real.address(),
        address => address,
    };
    // SAFETY: `before` returns the real function, or one that takes the same arguments in its
    // place. The program passed these arguments, and upholds the contract.
    let result = unsafe { call(address, armed.frame().words) };
    armed.finish(whole(function, result))
}

/// Notes the `close` before it is made: a thread that gets the number next must find it free in the
/// ledger.
extern "C-unwind" fn run_close(frame: &mut Frame, real: &'static Real) -> isize {
    if policy::is_armed_for(Function::Close) {
        return run_armed(frame, Function::Close, real);
    }
    if ledger::may_concern(frame.int(0)) {
        ledger::closing(frame.int(0), frame.caller);
    }
    // SAFETY: the address is that of the real `close`, and the words are the arguments that the
    // program passed to `close`.
    unsafe { call(real.resolved(), frame.words) }
}

extern "C-unwind" fn run_close_range(frame: &mut Frame, real: &'static Real) -> isize {
    if policy::is_armed_for(Function::CloseRange) {
        return run_armed(frame, Function::CloseRange, real);
    }
    descriptors::note_range(frame.word(0) as u32, frame.word(1) as u32, frame.int(2), false, 0);
    // SAFETY: the address is that of the real `close_range`, and the words are the arguments that
    // the program passed to it.
    unsafe { call(real.resolved(), frame.words) }
}

/// `entry!(is-cancellation-point Role function Variant name)`. `name` is the function's own name or
/// an alias.
macro_rules! entry {
    ($cancellation:ident Close close $variant:ident $name:ident) => {
        cancellable!(#[unsafe(no_mangle)] $name, run_close, &real::function::$name);
    };
    ($cancellation:ident Close close_range $variant:ident $name:ident) => {
        not_cancellable!($name, run_close_range: fn(&'static Real), &real::function::$name);
    };
    // sharing.rs has these.
    (no Birth $function:ident $variant:ident $name:ident) => {};
    // The constructor hooks these if a rule names one (memory.rs). They are not exported.
    (no Memory $function:ident $variant:ident $name:ident) => {
        cancellable!($name, run, Function::$variant, &real::function::$name);
    };
    (yes $role:ident $function:ident $variant:ident $name:ident) => {
        cancellable!(#[unsafe(no_mangle)] $name, run, Function::$variant, &real::function::$name);
    };
    (no $role:ident $function:ident $variant:ident $name:ident) => {
        not_cancellable!($name, run: fn(Function, &'static Real), Function::$variant, &real::function::$name);
    };
}

macro_rules! entries {
    ($($variant:ident $name:ident ($($alias:ident)*) $number:literal $system_call:literal $role:ident ($($class:ident)*)
       $cancellation:ident $descriptor:ident [$($note:tt)*] $from:ident $arguments:literal [$($error:ident)*];)*) => {$(
        entry!($cancellation $role $name $variant $name);
        $(entry!($cancellation $role $name $variant $alias);)*
    )*};
}
for_each_function!(entries);

/// `syscall` jumps here for a hooked number (raw.rs). The sixth argument of the system call is the
/// seventh word of `syscall`.
pub unsafe extern "C-unwind" fn syscall_noted(
    number: usize,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> isize {
    let mut frame = Anchor(Frame { words: [number, a, b, c, d, e], state: 0, caller: 0 });
    frame.0.caller = crate::arch::return_address(&mut frame);
    let frame = &mut frame.0;
    if policy::is_anything_armed() {
        return run_armed_syscall(frame, f);
    }
    if !raw::is_noted(number, a) {
        // SAFETY: the address is that of the real `syscall`, and the words are all seven that the
        // program passed to it.
        return unsafe { call_syscall(real::SYSCALL.resolved(), frame.words, f) };
    }
    raw::before_unarmed(frame);
    // SAFETY: the address is that of the real `syscall`, and the words are all seven that the
    // program passed to it.
    let result = unsafe { call_syscall(real::SYSCALL.address(), frame.words, f) };
    raw::after(frame, result)
}

extern "C-unwind" fn run_armed_syscall(frame: &Frame, sixth: usize) -> isize {
    let mut armed = Armed::with_sixth(frame, sixth);
    let address = raw::before_armed(&mut armed, 0);
    // SAFETY: `before_armed` returns the real `syscall` with the program's seven words, or a
    // function that takes the words of the frame, which it has then changed.
    let result = unsafe { call_syscall(address, armed.frame().words, sixth) };
    armed.finish(result)
}

/// Calls the function at `address` with seven words.
///
/// # Safety
/// `address` must be a function that may be called with these words as its arguments.
unsafe fn call_syscall(address: usize, words: [usize; 6], seventh: usize) -> isize {
    type Real = unsafe extern "C-unwind" fn(usize, usize, usize, usize, usize, usize, usize) -> isize;
    let [a, b, c, d, e, f] = words;
    // SAFETY: by this function's contract, a function lies at the address. Functions with fewer
    // arguments do not read the registers and stack words of the others.
    let real = unsafe { core::mem::transmute::<usize, Real>(address) };
    // SAFETY: by this function's contract, the words are arguments that it may be called with.
    unsafe { real(a, b, c, d, e, f, seventh) }
}
