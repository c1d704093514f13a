//! Replacements for functions that libc lacks: the system calls themselves, with glibc's signatures
//! and glibc's convention for errors.

use core::ffi::{CStr, c_void};

use libc::{c_char, c_int, c_long, c_uint, epoll_event, sigset_t, timespec};

use crate::elf::Name;
use crate::{loaded, sys};

macro_rules! raw {
    ($($name:ident = $number:ident($($argument:ident: $type:ty),*) $abi:literal;)*) => {$(
        pub unsafe extern $abi fn $name($($argument: $type),*) -> c_int {
            let mut words = [0usize; 6];
            for (word, argument) in words.iter_mut().zip([$($argument as usize),*]) {
                *word = argument;
            }
            // SAFETY: the program calls this function with the arguments that the system call
            // needs.
            unsafe { sys::forward(libc::$number, words) }
        }
    )*};
}

raw! {
    prctl = SYS_prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) "C";
}

/// The kernel's signal set is the first 8 of the 128 bytes of glibc's.
const KERNEL_SIGSET: usize = 8;

pub unsafe extern "C-unwind" fn epoll_pwait(
    epfd: c_int,
    events: *mut epoll_event,
    max: c_int,
    timeout: c_int,
    mask: *const sigset_t,
) -> c_int {
    let words = [epfd as usize, events as usize, max as usize, timeout as usize, mask as usize, KERNEL_SIGSET];
    // SAFETY: the program calls this function with the arguments that the system call needs.
    unsafe { sys::forward(libc::SYS_epoll_pwait, words) }
}

/// Linux 5.11; ENOSYS on older kernels.
pub unsafe extern "C-unwind" fn epoll_pwait2(
    epfd: c_int,
    events: *mut epoll_event,
    max: c_int,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    let words = [epfd as usize, events as usize, max as usize, timeout as usize, mask as usize, KERNEL_SIGSET];
    // SAFETY: the program calls this function with the arguments that the system call needs.
    unsafe { sys::forward(libc::SYS_epoll_pwait2, words) }
}

pub unsafe extern "C" fn closefrom(first: c_int) {
    let words = [first.max(0) as usize, c_uint::MAX as usize, 0, 0, 0, 0];
    // SAFETY: takes no pointer.
    unsafe { sys::forward(libc::SYS_close_range, words) };
}

pub unsafe extern "C-unwind" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    // SAFETY: the program calls this function with the arguments that the system call needs.
    c_long::from(unsafe { sys::forward(number, [a, b, c, d, e, f]) })
}

pub unsafe extern "C-unwind" fn exit(status: c_int) -> ! {
    sys::exit_group(status)
}

pub unsafe extern "C-unwind" fn abort() -> ! {
    sys::exit_group(128 + libc::SIGABRT)
}

/// A system call that takes the same arguments as the function.
pub unsafe extern "C-unwind" fn system_call<const NUMBER: i64>(
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_int {
    // SAFETY: the program calls this function with the arguments that the system call needs.
    unsafe { sys::forward(NUMBER, [a, b, c, d, e, f]) }
}

pub unsafe extern "C-unwind" fn nothing() {}

/// Before glibc 2.34 only libpthread defines it, and a plugin may have brought libpthread after the
/// library was loaded. This asks the loader by libc's internal functions, which newer glibcs lack
/// (2.31 elf/dl-libc.c), because libc.so.6 of those versions has no dlsym.
pub unsafe extern "C" fn pthread_kill(thread: usize, signal: c_int) -> c_int {
    type Kill = unsafe extern "C" fn(usize, c_int) -> c_int;
    let found = in_libpthread(c"pthread_kill");
    if found == 0 {
        return libc::ENOSYS;
    }
    // SAFETY: the function of that name has this type. The program calls this one with the
    // arguments that it needs.
    unsafe { core::mem::transmute::<usize, Kill>(found)(thread, signal) }
}

/// Before glibc 2.34 only libpthread defines it. A program without libpthread gets the error that
/// the kernel returns if it cannot create a thread.
pub unsafe extern "C-unwind" fn pthread_create(a: usize, b: usize, c: usize, d: usize) -> c_int {
    type Create = unsafe extern "C-unwind" fn(usize, usize, usize, usize) -> c_int;
    let found = in_libpthread(c"pthread_create");
    if found == 0 {
        return libc::EAGAIN;
    }
    // SAFETY: libpthread's pthread_create has this type. The program calls this function with the
    // arguments that pthread_create needs.
    unsafe { core::mem::transmute::<usize, Create>(found)(a, b, c, d) }
}

/// The address of libpthread's function of that name. 0: libpthread is not loaded.
fn in_libpthread(name: &CStr) -> usize {
    type Open = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;
    type Find = unsafe extern "C" fn(*mut c_void, *const c_char) -> usize;
    let errno = sys::errno();
    let find = |name| loaded::find_behind(&Name::new(name));
    let mut found = 0;
    if let (Some(open), Some(find)) = (find(c"__libc_dlopen_mode"), find(c"__libc_dlsym")) {
        // SAFETY: the functions of these names have these types, and the names are zero-terminated.
        // RTLD_NOLOAD loads nothing.
        unsafe {
            let open = core::mem::transmute::<usize, Open>(open);
            let find = core::mem::transmute::<usize, Find>(find);
            let library = open(c"libpthread.so.0".as_ptr(), RTLD_DLOPEN | libc::RTLD_NOW | libc::RTLD_NOLOAD);
            if !library.is_null() {
                found = find(library, name.as_ptr());
            }
        }
    }
    sys::set_errno(errno);
    found
}

/// Marks a call that libc itself makes (glibc include/dlfcn.h, `__RTLD_DLOPEN`).
const RTLD_DLOPEN: c_int = c_int::MIN;

pub unsafe extern "C" fn absent() -> c_int {
    sys::set_errno(libc::ENOSYS);
    -1
}

pub unsafe extern "C" fn absent_pointer() -> *const c_void {
    sys::set_errno(libc::ENOSYS);
    core::ptr::null()
}
