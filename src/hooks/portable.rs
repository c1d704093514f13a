//! The exported functions in plain Rust: `--features portable`, and any processor but x86-64. Read these first: what the entries in
//! assembly do, they do in fewer steps.
//!
//! A function that a child in its caller's memory returns from, or that takes arguments without number, is jumped to and not called:
//! `vfork`, `clone`, `exec*` (sharing.rs, process_exit.rs). And `syscall`, which may be any of them.

use epollshim_format::for_each_function;
use epollshim_format::function::Function;

use super::armed::{self, Armed};
use super::default_handlers::default_handlers;
use super::{descriptors, raw};
use crate::arch::portable::entries::{Anchor, call, cancellable, not_cancellable};
use crate::frame::Frame;
use crate::real::{self, Real};
use crate::{ledger, policy};

/// May it? Do it. Note it.
extern "C-unwind" fn run(frame: &mut Frame, function: Function, real: &'static Real) -> isize {
    if policy::is_armed_for(function) {
        return run_armed(frame, function, real);
    }
    let handlers = default_handlers(function, frame.word(1));
    (handlers.before)(frame);
    // SAFETY: the program's own call.
    let result = unsafe { call(real.resolved(), frame.words) };
    (handlers.after)(frame, whole(function, result))
}

/// The result of a function that returns an int, whose upper half is undefined, or an address.
fn whole(function: Function, result: isize) -> isize {
    if function.returns_address() { result } else { result as i32 as isize }
}

extern "C-unwind" fn run_armed(frame: &Frame, function: Function, real: &'static Real) -> isize {
    let mut armed = Armed::new(frame);
    let address = match armed::before(&mut armed, function as u32) {
        0 => real.address(),
        address => address,
    };
    // SAFETY: the program's own call, or one that was put in its place.
    let result = unsafe { call(address, armed.frame().words) };
    armed.finish(whole(function, result))
}

/// `close` is noted before it is made: who gets the number next must find the ledger ready.
extern "C-unwind" fn run_close(frame: &mut Frame, real: &'static Real) -> isize {
    if policy::is_armed_for(Function::Close) {
        return run_armed(frame, Function::Close, real);
    }
    if ledger::may_concern(frame.int(0)) {
        ledger::closing(frame.int(0), frame.caller);
    }
    // SAFETY: the program's own call.
    unsafe { call(real.resolved(), frame.words) }
}

extern "C-unwind" fn run_close_range(frame: &mut Frame, real: &'static Real) -> isize {
    if policy::is_armed_for(Function::CloseRange) {
        return run_armed(frame, Function::CloseRange, real);
    }
    descriptors::note_range(frame.word(0) as u32, frame.word(1) as u32, frame.int(2), false, 0);
    // SAFETY: the program's own call.
    unsafe { call(real.resolved(), frame.words) }
}

/// `entry!(is-cancellation-point Role function Variant name)`, where the name is the function's own or an alias.
macro_rules! entry {
    ($cancellation:ident Close close $variant:ident $name:ident) => {
        cancellable!(#[unsafe(no_mangle)] $name, run_close, &real::function::$name);
    };
    ($cancellation:ident Close close_range $variant:ident $name:ident) => {
        not_cancellable!($name, run_close_range: fn(&'static Real), &real::function::$name);
    };
    // Those of sharing.rs.
    (no Birth $function:ident $variant:ident $name:ident) => {};
    // What a rule asks for (memory.rs). It is exported by no name.
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

/// What `syscall` jumps to for a number that is looked at (raw.rs). Its sixth argument lies where a seventh one does.
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
        // SAFETY: the program's own call.
        return unsafe { call_syscall(real::SYSCALL.resolved(), frame.words, f) };
    }
    raw::before_alone(frame);
    // SAFETY: the program's own call.
    let result = unsafe { call_syscall(real::SYSCALL.address(), frame.words, f) };
    raw::after(frame, result)
}

extern "C-unwind" fn run_armed_syscall(frame: &Frame, sixth: usize) -> isize {
    let mut armed = Armed::with_sixth(frame, sixth);
    let address = raw::before_armed(&mut armed, 0);
    // SAFETY: the program's own call, or one that was put in its place.
    let result = unsafe { call_syscall(address, armed.frame().words, sixth) };
    armed.finish(result)
}

/// The function at an address, called with seven words.
///
/// # Safety
/// As for [`call`].
unsafe fn call_syscall(address: usize, words: [usize; 6], seventh: usize) -> isize {
    type Real = unsafe extern "C-unwind" fn(usize, usize, usize, usize, usize, usize, usize) -> isize;
    let [a, b, c, d, e, f] = words;
    // SAFETY: as in `call`.
    let real = unsafe { core::mem::transmute::<usize, Real>(address) };
    // SAFETY: by this function's contract.
    unsafe { real(a, b, c, d, e, f, seventh) }
}
