//! The real functions: those that the program would have called without the library.
//!
//! Each is looked up once, by the constructor or by a hook that runs before it. The look-up finds
//! what `dlsym(RTLD_NEXT)` finds, without the loader's lock and without allocating (loaded.rs). If
//! the host's glibc lacks a function, the raw system call replaces it (real/fallback.rs), so the
//! library runs on older glibcs than the one it was built with.

mod fallback;

use crate::sync::{AtomicBool, Ordering};
use core::ffi::{CStr, c_void};
use core::num::NonZeroUsize;
use core::ptr::null;

use libc::{c_char, c_int, c_long, c_uint, epoll_event};
use once_cell::race::OnceNonZeroUsize;

use epollshim_format::function::{Function, Functions};

use crate::elf::Name;
use crate::loaded;

/// A function of the next library in the search order. The first word is its address, or 0 before
/// it was looked up: hooks in assembly (hooks/entry.rs) read it there.
#[repr(C)]
pub struct Real {
    /// Never blocks; the first result wins. A signal handler that interrupts the look-up looks up
    /// by itself.
    address: OnceNonZeroUsize,
    name: Constant<c_char>,
    /// Null stands for [`fallback::absent`]. (Its address would cost a relocation of 24 bytes.)
    fallback: Constant<c_void>,
}

const _: () = assert!(size_of::<OnceNonZeroUsize>() == size_of::<usize>());

/// The address of something that never changes: a zero-terminated name, or a function that replaces
/// a missing one.
struct Constant<T>(*const T);
// SAFETY: no thread writes what it points to.
unsafe impl<T> Sync for Constant<T> {}

impl Real {
    const fn new(name: &'static CStr, fallback: *const c_void) -> Self {
        Real { address: OnceNonZeroUsize::new(), name: Constant(name.as_ptr()), fallback: Constant(fallback) }
    }

    /// The address of a function that is known to have been looked up: `policy::ARMED_FOR`, which
    /// the caller has tested, marks all functions as armed until [`are_known`].
    #[inline(always)]
    pub fn resolved(&self) -> usize {
        self.address.get().map_or(0, NonZeroUsize::get)
    }

    #[inline(always)]
    pub fn address(&self) -> usize {
        match self.address.get() {
            Some(address) => address.get(),
            None => resolve(self),
        }
    }

    fn name(&self) -> Name<'static> {
        // SAFETY: `new` took the pointer from a `&'static CStr`.
        Name::new(unsafe { CStr::from_ptr(self.name.0) })
    }

    /// Stores the address that was found, or else the fallback's. Returns the stored one: another
    /// thread or a handler may have been first.
    fn keep(&self, found: Option<usize>) -> usize {
        let address = found.and_then(NonZeroUsize::new).or(NonZeroUsize::new(self.stand_in()));
        self.address.get_or_init(|| address.unwrap_or(NonZeroUsize::MIN)).get()
    }

    /// What is called if libc lacks the function.
    fn stand_in(&self) -> usize {
        if self.fallback.0.is_null() { fallback::absent as *const () as usize } else { self.fallback.0 as usize }
    }
}

/// Cold, and `extern "C"`: it cannot unwind, so redhook's `catch_unwind` around a hook compiles to
/// nothing.
#[cold]
#[inline(never)]
extern "C" fn resolve(real: &Real) -> usize {
    real.keep(loaded::find_behind(&real.name()))
}

/// Looks all functions up, object by object. The constructor calls this first.
#[cfg(not(test))]
pub fn resolve_all() {
    for symbols in loaded::behind().filter_map(loaded::Object::symbols) {
        for real in all().filter(|real| real.address.get().is_none()) {
            if let Some(address) = symbols.find(&real.name()) {
                real.keep(Some(address));
            }
        }
    }
    for real in all().filter(|real| real.address.get().is_none()) {
        real.keep(None);
    }
    ARE_KNOWN.store(true, Ordering::Release);
}

/// Release and Acquire: a thread that finds it set also finds all addresses.
static ARE_KNOWN: AtomicBool = AtomicBool::new(false);

/// Whether all functions were looked up.
pub fn are_known() -> bool {
    ARE_KNOWN.load(Ordering::Acquire)
}

macro_rules! reals {
    ($( $(#[$attribute:meta])* $static:ident = $symbol:literal: $type:ty, else $fallback:expr; )*) => {
        $(
            $(#[$attribute])*
            pub static $static: Real = Real::new($symbol, {
                let fallback: Option<$type> = $fallback;
                match fallback {
                    Some(fallback) => fallback as *const c_void,
                    None => null(),
                }
            });
        )*
        static ALL: &[&Real] = &[$(&$static),*];
    };
}

/// A name as a C string.
macro_rules! c_name {
    ($name:ident) => {
        match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
            Ok(name) => name,
            Err(_) => c"",
        }
    };
}

/// The function to call if glibc lacks this one; null for [`fallback::absent`].
macro_rules! stand_in {
    (epoll_pwait $from:ident $variant:ident) => {
        fallback::epoll_pwait as *const c_void
    };
    (epoll_pwait2 $from:ident $variant:ident) => {
        fallback::epoll_pwait2 as *const c_void
    };
    (pthread_create $from:ident $variant:ident) => {
        fallback::pthread_create as *const c_void
    };
    ($name:ident raw $variant:ident) => {
        fallback::system_call::<{ epollshim_format::function::Function::$variant.number() }> as *const c_void
    };
    ($name:ident libc $variant:ident) => {
        null()
    };
    ($name:ident pointer $variant:ident) => {
        fallback::absent_pointer as *const c_void
    };
}

/// Declares a function's `Real`. Those of hot calls lie in the section of the data that hot calls
/// read (policy::ARMED_FOR), where two of them share a cache line with it.
macro_rules! real {
    (epoll_ctl, $real:expr) => {
        #[unsafe(link_section = ".data.hot.epollshim")]
        pub static epoll_ctl: Real = $real;
    };
    (epoll_wait, $real:expr) => {
        #[unsafe(link_section = ".data.hot.epollshim")]
        pub static epoll_wait: Real = $real;
    };
    ($name:ident, $real:expr) => {
        pub static $name: Real = $real;
    };
}

macro_rules! functions {
    ($($variant:ident $name:ident ($($alias:ident)*) $number:literal $system_call:literal $role:ident ($($class:ident)*)
       $cancellation:ident $descriptor:ident [$($note:tt)*] $from:ident $arguments:literal [$($error:ident)*];)*) => {
        /// The functions of the table (crates/format/src/functions.rs) and their aliases, by their
        /// names in glibc.
        #[allow(non_upper_case_globals)]
        pub mod function {
            use super::{CStr, Real, c_void, fallback, null};
            $(
                real!($name, Real::new(c_name!($name), stand_in!($name $from $variant)));
                $(pub static $alias: Real = Real::new(c_name!($alias), stand_in!($name $from $variant));)*
            )*
        }

        /// Indexed by the functions' numbers.
        static FUNCTIONS: [&Real; Function::COUNT] = [$(&function::$name),*];
        static ALIASES: &[&Real] = &[$($(&function::$alias,)*)*];
    };
}
epollshim_format::for_each_function!(functions);

/// The real function behind a function's own name.
#[cfg(not(any(test, portable)))]
pub fn of(function: Function) -> &'static Real {
    FUNCTIONS.get(function as usize).copied().unwrap_or(&SYSCALL)
}

/// All functions except those that are hooked on request, which are last in the table
/// ([`resolve_as`]).
fn all() -> impl Iterator<Item = &'static Real> {
    ALL.iter().chain(FUNCTIONS.iter().take(Function::Malloc as usize)).chain(ALIASES).copied()
}

const _: () = assert!(Functions::ON_REQUEST.before(Function::Malloc) == 0);

/// Sets a function that this library does not export to what the whole search order finds first,
/// which may lie before this library.
#[cfg(not(test))]
pub fn resolve_as(real: &Real, found: Option<usize>) -> usize {
    real.keep(found)
}

/// The functions that hooks call by type. The others are only jumped to, with the program's
/// registers.
macro_rules! called {
    ($($(#[$attribute:meta])* $name:ident = $static:path: $type:ty;)*) => {$(
        $(#[$attribute])*
        #[inline(always)]
        #[allow(non_snake_case)]
        pub fn $name() -> $type {
            // SAFETY: the symbol has this type in glibc's headers, and the fallback has the same
            // type.
            unsafe { core::mem::transmute::<usize, $type>($static.address()) }
        }
    )*};
}

pub type EpollCreate = unsafe extern "C" fn(c_int) -> c_int;
#[cfg(not(portable))]
pub type EpollCtl = unsafe extern "C" fn(c_int, c_int, c_int, *mut epoll_event) -> c_int;
#[cfg(not(portable))]
pub type Close = unsafe extern "C-unwind" fn(c_int) -> c_int;
#[cfg(not(portable))]
pub type CloseRange = unsafe extern "C" fn(c_uint, c_uint, c_int) -> c_int;
pub type CloseFrom = unsafe extern "C" fn(c_int);
/// Variadic in C. Its caller puts its arguments where fixed ones go (x86-64 psABI 3.5.7, AAPCS64
/// 6.8.2).
pub type Syscall = unsafe extern "C-unwind" fn(c_long, usize, usize, usize, usize, usize, usize) -> c_long;
/// Variadic in C, as `syscall`.
pub type Prctl = unsafe extern "C" fn(c_int, usize, usize, usize, usize) -> c_int;
pub type Exit = unsafe extern "C-unwind" fn(c_int) -> !;
pub type Abort = unsafe extern "C-unwind" fn() -> !;
pub type PthreadKill = unsafe extern "C" fn(usize, c_int) -> c_int;
pub type TestCancel = unsafe extern "C-unwind" fn();
pub type DirFd = unsafe extern "C" fn(usize) -> c_int;
/// Only jumped to, with the caller's registers and stack.
pub type Exec = unsafe extern "C" fn() -> c_int;

reals! {
    /// glibc 2.34.
    CLOSEFROM = c"closefrom": CloseFrom, else Some(fallback::closefrom);
    SYSCALL = c"syscall": Syscall, else Some(fallback::syscall);
    PRCTL = c"prctl": Prctl, else Some(fallback::prctl);
    EXIT_AT_ONCE = c"_exit": Exit, else Some(fallback::exit);
    EXIT_AT_ONCE_ALIAS = c"_Exit": Exit, else Some(fallback::exit);
    ABORT = c"abort": Abort, else Some(fallback::abort);
    RAISE = c"raise": Exec, else None;
    KILL = c"kill": Exec, else None;
    KILLPG = c"killpg": Exec, else None;
    /// glibc 2.30.
    TGKILL = c"tgkill": Exec, else None;
    /// In libpthread before glibc 2.34.
    PTHREAD_KILL = c"pthread_kill": PthreadKill, else Some(fallback::pthread_kill);
    ASSERT_FAIL = c"__assert_fail": Exec, else None;
    /// In libpthread before glibc 2.34. Without libpthread no thread is ever cancelled.
    TEST_CANCEL = c"pthread_testcancel": TestCancel, else Some(fallback::nothing);
    CHROOT = c"chroot": Exec, else None;
    SETUID = c"setuid": Exec, else None;
    SETEUID = c"seteuid": Exec, else None;
    SETREUID = c"setreuid": Exec, else None;
    SETRESUID = c"setresuid": Exec, else None;
    EXECVE = c"execve": Exec, else None;
    EXECV = c"execv": Exec, else None;
    EXECVP = c"execvp": Exec, else None;
    EXECVPE = c"execvpe": Exec, else None;
    EXECL = c"execl": Exec, else None;
    EXECLP = c"execlp": Exec, else None;
    EXECLE = c"execle": Exec, else None;
    FEXECVE = c"fexecve": Exec, else None;
    DIRFD = c"dirfd": DirFd, else None;
    /// glibc 2.34.
    EXECVEAT = c"execveat": Exec, else None;
}

called! {
    #[cfg(not(portable))]
    close_range = function::close_range: CloseRange;
    closefrom = CLOSEFROM: CloseFrom;
    prctl = PRCTL: Prctl;
    abort = ABORT: Abort;
    dirfd = DIRFD: DirFd;
    pthread_testcancel = TEST_CANCEL: TestCancel;
    _exit = EXIT_AT_ONCE: Exit;
    _Exit = EXIT_AT_ONCE_ALIAS: Exit;
}

/// The environment as libc stores it; null before libc's own initialisation.
pub fn environment() -> *const *const c_char {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: reads one word, before the program's main could change it from another thread.
    unsafe { environ }
}

#[cfg(test)]
mod tests {
    use super::CStr;

    #[test]
    fn each_function_is_found_where_dlsym_finds_it() {
        for real in super::all() {
            // SAFETY: the names are zero-terminated.
            let (name, expected) = unsafe { (CStr::from_ptr(real.name.0), libc::dlsym(libc::RTLD_NEXT, real.name.0)) };
            let expected = if expected.is_null() { real.stand_in() } else { expected as usize };
            assert_eq!(real.address(), expected, "{name:?}");
        }
    }

    #[test]
    fn a_missing_function_is_replaced_by_its_fallback() {
        static ABSENT: super::Real =
            super::Real::new(c"epollshim_has_no_such_function", super::fallback::absent as *const _);
        assert_eq!(ABSENT.address(), super::fallback::absent as *const () as usize);
    }

    #[test]
    fn threads_that_look_up_at_once_find_the_same() {
        static REAL: super::Real = super::Real::new(c"dup3", super::fallback::system_call::<292> as *const _);
        let together = std::sync::Barrier::new(8);
        let found: Vec<usize> = std::thread::scope(|scope| {
            let look_up = || {
                together.wait();
                REAL.address()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(look_up)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(found.iter().all(|address| *address == found[0] && *address != 0), "{found:x?}");
    }
}
