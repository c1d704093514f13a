//! Walks the stack by libgcc's unwinder.

use crate::sync::{AtomicBool, AtomicUsize, Ordering};
use core::ffi::{c_char, c_int, c_void};
use core::mem::transmute;

use epollshim_format::recording::stacks::DEEPEST;

use super::Trouble;
use crate::at_load::AtLoad;
use crate::elf::Name;
use crate::{loaded, sigsafe};

/// The unwinder is there, and has made its first walk. Release: with the Acquire of [`can_walk`], for the addresses below.
static CAN_WALK: AtomicBool = AtomicBool::new(false);
/// `_Unwind_Backtrace`, `_Unwind_GetIPInfo` and `_Unwind_GetCFA`.
static BACKTRACE: AtomicUsize = AtomicUsize::new(0);
static GET_IP: AtomicUsize = AtomicUsize::new(0);
static GET_CFA: AtomicUsize = AtomicUsize::new(0);

pub fn load(at_load: &AtLoad) -> Result<(), Trouble> {
    type Open = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;
    // Every glibc that has _dl_find_object has dlopen in libc.so.6.
    let open = loaded::find_anywhere(at_load, &Name::new(c"dlopen")).ok_or(Trouble::OldLibc)?;
    // RTLD_NOW: with lazy binding, a hook's walk would look symbols up.
    // SAFETY: the type of <dlfcn.h>; a zero-terminated name; the handle is never closed.
    let unwinder = unsafe {
        let open = core::mem::transmute::<usize, Open>(open);
        loaded::Object::of_handle(open(c"libgcc_s.so.1".as_ptr(), libc::RTLD_NOW))
    };
    let symbols = unwinder.and_then(loaded::Object::symbols).ok_or(Trouble::NoUnwinder)?;
    let find = |name| symbols.find(&Name::new(name)).ok_or(Trouble::NoUnwinder);
    GET_IP.store(find(c"_Unwind_GetIPInfo")?, Ordering::Relaxed);
    GET_CFA.store(find(c"_Unwind_GetCFA")?, Ordering::Relaxed);
    BACKTRACE.store(find(c"_Unwind_Backtrace")?, Ordering::Relaxed);
    // The unwinder initialises itself at its first walk, once and under a lock. That must not
    // happen in a hook later. If the program has loaded it before, with lazy binding, this also
    // binds it.
    let _ = sigsafe::on_own_stack(|| Walk::up_to(0, DEEPEST).count);
    CAN_WALK.store(true, Ordering::Release);
    Ok(())
}

/// Whether stacks can be walked, kept or not.
pub fn can_walk() -> bool {
    CAN_WALK.load(Ordering::Acquire)
}

type Get = unsafe extern "C-unwind" fn(*mut c_void) -> usize;
type GetInfo = unsafe extern "C-unwind" fn(*mut c_void, *mut c_int) -> usize;
type Step = extern "C-unwind" fn(*mut c_void, *mut c_void) -> libc::c_int;
type Backtrace = unsafe extern "C-unwind" fn(Step, *mut c_void) -> libc::c_int;

pub struct Walk {
    pub count: usize,
    pub frames: [usize; DEEPEST],
    /// Where each lies on the stack, if the processor keeps it there.
    pub slots: [usize; DEEPEST],
}

impl Walk {
    #[inline(never)] // for size
    pub fn up_to(caller: usize, depth: usize) -> Walk {
        let mut walk = Walk { count: 0, frames: [0; DEEPEST], slots: [0; DEEPEST] };
        each(
            caller,
            false,
            &mut |address, slot| match (walk.frames.get_mut(walk.count), walk.slots.get_mut(walk.count)) {
                (Some(frame), Some(place)) if walk.count < depth => {
                    (*frame, *place) = (address, slot);
                    walk.count += 1;
                    true
                }
                _ => false,
            },
        );
        walk
    }
}

/// A walk under way.
struct Steps<'a> {
    /// The frame that the stack begins with; 0: it has begun.
    caller: usize,
    /// It ends before a frame that a signal has interrupted.
    is_cut: bool,
    tell: &'a mut dyn FnMut(usize, usize) -> bool,
}

/// Tells the return addresses of the stack, from `caller` on (0: all of them), until `tell` returns false. With each the place on
/// the stack where it lies, on processors whose calls push it there.
pub fn each(caller: usize, is_cut: bool, tell: &mut dyn FnMut(usize, usize) -> bool) {
    let mut steps = Steps { caller, is_cut, tell };
    let backtrace = BACKTRACE.load(Ordering::Relaxed);
    if backtrace != 0 {
        // SAFETY: libgcc's function, of this type (unwind.h); it calls `step` with the pointer that it is given.
        unsafe { transmute::<usize, Backtrace>(backtrace)(step, (&raw mut steps).cast()) };
    }
}

/// A frame; another value than 0 ends the walk.
extern "C-unwind" fn step(context: *mut c_void, steps: *mut c_void) -> libc::c_int {
    // SAFETY: the pointer that `each` has passed, of what it borrows for as long as the walk lasts.
    let steps = unsafe { &mut *steps.cast::<Steps>() };
    let mut is_interrupted = 0;
    // SAFETY: libgcc's function, of this type, and its own context.
    let address =
        unsafe { transmute::<usize, GetInfo>(GET_IP.load(Ordering::Relaxed))(context, &raw mut is_interrupted) };
    if steps.caller != 0 && address != steps.caller {
        return 0;
    }
    // The address is not behind a call: a signal came there.
    if steps.is_cut && steps.caller == 0 && is_interrupted != 0 {
        return 1;
    }
    steps.caller = 0;
    // Of a frame under way, the stack pointer: behind the `call` that has left the return address below it (x86-64 psABI 3.2.2).
    // SAFETY: as above.
    let cfa = unsafe { transmute::<usize, Get>(GET_CFA.load(Ordering::Relaxed))(context) };
    libc::c_int::from(address == 0 || !(steps.tell)(address, cfa.wrapping_sub(size_of::<usize>())))
}
