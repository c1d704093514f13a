//! Walks the stack with libgcc's unwinder.

use crate::sync::{AtomicBool, AtomicUsize, Ordering};
use core::ffi::{c_char, c_int, c_void};
use core::mem::transmute;

use epollshim_format::recording::stacks::DEEPEST;

use super::Trouble;
use crate::at_load::AtLoad;
use crate::elf::Name;
use crate::{loaded, sigsafe};

/// The unwinder is loaded and has made its first walk. Release: pairs with the Acquire of
/// [`can_walk`], for the addresses below.
static CAN_WALK: AtomicBool = AtomicBool::new(false);
/// `_Unwind_Backtrace`, `_Unwind_GetIPInfo` and `_Unwind_GetCFA`.
static BACKTRACE: AtomicUsize = AtomicUsize::new(0);
static GET_IP: AtomicUsize = AtomicUsize::new(0);
static GET_CFA: AtomicUsize = AtomicUsize::new(0);

pub fn load(at_load: &AtLoad) -> Result<(), Trouble> {
    type Open = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;
    // Every glibc that has _dl_find_object has dlopen in libc.so.6.
    let open = loaded::find_anywhere(at_load, &Name::new(c"dlopen")).ok_or(Trouble::OldLibc)?;
    // RTLD_NOW: with lazy binding, a hook's walk would look up symbols.
    //
    // SAFETY: dlopen has this type in <dlfcn.h>, the name is zero-terminated, and the handle is
    // never closed.
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
    // happen later in a hook. If the program has loaded the unwinder before, with lazy binding,
    // this also binds its symbols.
    let _ = sigsafe::on_own_stack(|| Walk::up_to(0, DEEPEST).count);
    CAN_WALK.store(true, Ordering::Release);
    Ok(())
}

/// Whether stacks can be walked, whether they are kept or not.
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
    /// Where each return address lies on the stack, on processors whose calls push it there.
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

/// The state of a walk.
struct Steps<'a> {
    /// The return address that the stack begins with; 0: the walk has reached it.
    caller: usize,
    /// The walk ends before a frame that a signal has interrupted.
    is_cut: bool,
    tell: &'a mut dyn FnMut(usize, usize) -> bool,
}

/// Passes the return addresses of the stack to `tell`, from `caller` on (0: all of them), until it
/// returns false. With each address comes its place on the stack, on processors whose calls push it
/// there.
pub fn each(caller: usize, is_cut: bool, tell: &mut dyn FnMut(usize, usize) -> bool) {
    let mut steps = Steps { caller, is_cut, tell };
    let backtrace = BACKTRACE.load(Ordering::Relaxed);
    if backtrace != 0 {
        // SAFETY: the address is that of libgcc's function, which has this type (unwind.h). It
        // calls `step` with the pointer that it is given, and `steps` outlives the walk.
        unsafe { transmute::<usize, Backtrace>(backtrace)(step, (&raw mut steps).cast()) };
    }
}

/// The unwinder's callback for one frame. Any value but 0 ends the walk.
extern "C-unwind" fn step(context: *mut c_void, steps: *mut c_void) -> libc::c_int {
    // SAFETY: `each` passed this pointer. It points to a `Steps` that only the walk uses until the
    // walk ends.
    let steps = unsafe { &mut *steps.cast::<Steps>() };
    let mut is_interrupted = 0;
    // SAFETY: the address is that of libgcc's function, which has this type, and the context is the
    // unwinder's own.
    let address =
        unsafe { transmute::<usize, GetInfo>(GET_IP.load(Ordering::Relaxed))(context, &raw mut is_interrupted) };
    if steps.caller != 0 && address != steps.caller {
        return 0;
    }
    // The address does not follow a call: a signal interrupted the frame there.
    if steps.is_cut && steps.caller == 0 && is_interrupted != 0 {
        return 1;
    }
    steps.caller = 0;
    // The CFA of a running frame is the stack pointer after the return from its callee: the `call`
    // left the return address in the word below it (x86-64 psABI 3.2.2).
    //
    // SAFETY: the address is that of libgcc's function, which has this type, and the context is the
    // unwinder's own.
    let cfa = unsafe { transmute::<usize, Get>(GET_CFA.load(Ordering::Relaxed))(context) };
    libc::c_int::from(address == 0 || !(steps.tell)(address, cfa.wrapping_sub(size_of::<usize>())))
}
