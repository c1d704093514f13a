//! The loaded objects, as the loader lists them, and what the loader's own symbols tell.
//!
//! May be called from anywhere: takes no lock, allocates nothing, and calls nothing but glibc's `_dl_find_object`. `dlsym` and
//! `dl_iterate_phdr` would take the loader's lock, which another thread may hold while it waits for whoever called the hook: an
//! allocator, say, whose lock the hook's caller holds. Older glibcs allocate in `dlsym` besides (until 2.34).

use core::ffi::{CStr, c_char, c_int, c_void};
use core::iter::successors;
use core::ptr::{self, NonNull, null};

use crate::arch::symbols;
use crate::at_load::AtLoad;
use crate::elf::{self, Dynamic, Name, Reference, Symbols};
use crate::libc_kind;
use crate::sync::{AtomicU8, AtomicUsize, Ordering};

/// The beginning of `struct link_map` of <link.h>, and of musl's `struct dso` (1.1.0 to 1.2.5
/// ldso/dynlink.c), which is laid out so for debuggers.
#[repr(C)]
struct LinkMap {
    slide: usize,
    name: *const c_char,
    dynamic: *const Dynamic,
    next: *const LinkMap,
}

/// The beginning of `struct r_debug` of <link.h>.
#[repr(C)]
struct Debug {
    version: c_int,
    first: *const LinkMap,
}

/// A loaded object.
#[derive(Clone, Copy)]
pub struct Object(&'static LinkMap);

impl Object {
    /// The object that `dlopen` returned a handle of: in glibc the handle is the object's entry in the list.
    ///
    /// # Safety
    /// `handle` must be null or come from `dlopen`, and never be given to `dlclose`.
    pub unsafe fn of_handle(handle: *mut c_void) -> Option<Object> {
        // SAFETY: by this function's contract.
        unsafe { handle.cast::<LinkMap>().as_ref() }.map(Object)
    }

    pub fn symbols(self) -> Option<Symbols> {
        // SAFETY: the loader maps an object whole before it lists it. None is unmapped while it is looked at: `of_handle` has the
        // caller's word for it, and `behind` and `first` come to no object that can be closed.
        unsafe { Symbols::of(self.0.slide, self.0.dynamic) }
    }

    fn is_own(self) -> bool {
        ptr::eq(self.0.dynamic, own_dynamic())
    }

    fn is_libc(self) -> bool {
        self.symbols().is_some_and(|symbols| {
            // musl's libc, which is its loader too, may have no name (DT_SONAME).
            if libc_kind::is_glibc() {
                symbols.is_named(c"libc.so.6")
            } else {
                symbols.find(&Name::new(c"_dl_debug_addr")).is_some()
            }
        })
    }

    fn path(self) -> &'static [u8] {
        // SAFETY: null, or zero-terminated (<link.h>).
        if self.0.name.is_null() { b"" } else { unsafe { CStr::from_ptr(self.0.name) }.to_bytes() }
    }

    /// Whether an address lies in it. False where this glibc cannot tell.
    pub fn holds(self, address: usize) -> bool {
        object_of(address.wrapping_add(1)).is_some_and(|(object, _)| ptr::eq(object.0, self.0))
    }

    fn next(self) -> Option<Object> {
        // SAFETY: null, or the next entry of the loader's list.
        unsafe { self.0.next.as_ref() }.map(Object)
    }
}

/// The dynamic section of the object that this code is part of.
fn own_dynamic() -> *const Dynamic {
    symbols::dynamic() as *const Dynamic
}

/// The program itself. Both loaders know it before they relocate anything, and never change the head
/// of the list.
fn first() -> Option<Object> {
    let debug = match symbols::r_debug() {
        0 => {
            let pointer = symbols::dl_debug_addr() as *const *const Debug;
            // SAFETY: null, or musl's own variable, which nobody writes.
            unsafe { pointer.as_ref() }.map_or(null(), |pointer| *pointer)
        }
        debug => debug as *const Debug,
    };
    // SAFETY: null, or the loader's own structure, which exists as long as the process. Its head is
    // the program's entry.
    unsafe { debug.as_ref().map_or(null(), |debug| debug.first).as_ref() }.map(Object)
}

/// Whether the loader's list was found. Without it no function of libc's is.
pub fn are_listed() -> bool {
    first().is_some()
}

/// The objects in which `dlsym(RTLD_NEXT)` looks: those behind this one in the order of search, up to libc. Where this one was
/// opened later by `dlopen` it lies behind libc: then all of them up to libc.
///
/// They end with libc. What lies behind it cannot interpose on its functions; and only what lies before it is certain to stay:
/// those objects came with the program, while what `dlopen` brings is appended and `dlclose` frees.
pub fn behind() -> impl Iterator<Item = Object> {
    let is_end = |object: &Object| object.is_own() || object.is_libc();
    let start = match successors(first(), |object| object.next()).find(is_end) {
        Some(object) if object.is_own() => object.next(),
        _ => first(),
    };
    successors(start, |object| if object.is_libc() { None } else { object.next() })
}

/// What `dlsym(RTLD_NEXT)` finds.
pub fn find_behind(name: &Name) -> Option<usize> {
    behind().find_map(|object| object.symbols()?.find(name))
}

/// What `dlsym(RTLD_DEFAULT)` finds. For the constructor: no object is closed meanwhile.
pub fn find_anywhere(_: &AtLoad, name: &Name) -> Option<usize> {
    successors(first(), |object| object.next()).find_map(|object| object.symbols()?.find(name))
}

/// Tells the words by which the program's objects refer to others' symbols. Not those of this one, of libc, of the loader, and of the
/// unwinder, which this one calls. For the constructor: no object is closed meanwhile.
pub fn each_reference(_: &AtLoad, tell: &mut dyn FnMut(Object, &Reference)) {
    for object in successors(first(), |object| object.next()) {
        let is_other = object.symbols().is_some_and(|symbols| {
            symbols.find(&Name::new(c"_r_debug")).is_none() && !symbols.is_named(c"libgcc_s.so.1")
        });
        if is_other && !object.is_own() && !object.is_libc() {
            // SAFETY: as in `symbols`.
            unsafe { elf::each_reference(object.0.slide, object.0.dynamic, &mut |reference| tell(object, reference)) };
        }
    }
}

/// Whether the program came with an object of a certain path. For the constructor: no object is closed meanwhile.
pub fn has(is_one: impl Fn(&[u8]) -> bool) -> bool {
    successors(first(), |object| object.next()).any(|Object(map)| {
        // SAFETY: zero-terminated (<link.h>), where it is not null.
        !map.name.is_null() && is_one(unsafe { CStr::from_ptr(map.name) }.to_bytes())
    })
}

/// A symbol that older versions of glibc and musl lack. (GNU ld would give a weak reference a version that the loader of an old
/// host refuses.)
struct Optional {
    name: &'static CStr,
    /// Once it was looked for: its address, or [`Optional::ABSENT`]. Relaxed: every thread finds the same, and it points to what was
    /// there before the process had a second thread.
    address: AtomicUsize,
}

impl Optional {
    const ABSENT: usize = 1;

    const fn new(name: &'static CStr) -> Self {
        Optional { name, address: AtomicUsize::new(0) }
    }

    fn address(&self) -> Option<NonNull<c_void>> {
        let mut address = self.address.load(Ordering::Relaxed);
        if address == 0 {
            let name = Name::new(self.name);
            address = find_behind(&name).unwrap_or(Self::ABSENT);
            self.address.store(address, Ordering::Relaxed);
        }
        if address == Self::ABSENT { None } else { NonNull::new(address as *mut c_void) }
    }
}

/// glibc's answer to which object holds an address (2.35; glibc's manual, Dynamic Linker Introspection): without a lock, and
/// allowed in signal handlers.
type FindObject = unsafe extern "C" fn(*const c_void, *mut Found) -> c_int;

/// `struct dl_find_object` of <dlfcn.h>, x86-64.
#[repr(C)]
struct Found {
    flags: u64,
    start: usize,
    end: usize,
    map: *const LinkMap,
    eh_frame: usize,
    reserved: [u64; 7],
}

fn find_object() -> Option<FindObject> {
    static FUNCTION: Optional = Optional::new(c"_dl_find_object");
    // SAFETY: the function of that name has this type.
    FUNCTION.address().map(|address| unsafe { core::mem::transmute::<NonNull<c_void>, FindObject>(address) })
}

/// Whether [`path_of`] can answer: glibc is 2.35 or later.
pub fn can_find_objects() -> bool {
    find_object().is_some()
}

/// The object that holds the call which returns to `caller`, and where that one's memory begins. None: no object does, or this
/// glibc cannot tell.
fn object_of(caller: usize) -> Option<(Object, usize)> {
    let mut found = Found { flags: 0, start: 0, end: 0, map: null(), eh_frame: 0, reserved: [0; 7] };
    // SAFETY: one structure of this type is written. What is found stays loaded while its code is on the stack.
    let map = unsafe {
        if find_object()?(caller.wrapping_sub(1) as *const c_void, &raw mut found) != 0 {
            return None;
        }
        found.map.as_ref()?
    };
    Some((Object(map), found.start))
}

/// The path of the object that holds the call which returns to `caller`; empty: the program itself. None: no object does, or this
/// glibc cannot tell.
pub fn path_of(caller: usize) -> Option<&'static [u8]> {
    place_of(caller).map(|(path, _)| path)
}

/// The same, and how far the call lies behind the object's beginning.
#[inline(never)] // for size
pub fn place_of(caller: usize) -> Option<(&'static [u8], usize)> {
    let (object, start) = object_of(caller)?;
    Some((object.path(), caller.wrapping_sub(start)))
}

/// The same, and `caller` in the addresses of the object's file.
#[inline(never)] // for size
pub fn place_in_file(caller: usize) -> Option<(&'static [u8], usize)> {
    let (object, _) = object_of(caller)?;
    Some((object.path(), caller.wrapping_sub(object.0.slide)))
}

/// Whether the call that returns to `caller` lies in a function of this name that its object exports.
pub fn is_in_function(caller: usize, name: &Name) -> bool {
    let symbols = object_of(caller).and_then(|(object, _)| object.symbols());
    symbols.and_then(|symbols| symbols.find_function(name)).is_some_and(|range| range.contains(&caller.wrapping_sub(1)))
}

/// Whether the process may have more than one thread (glibc's `__libc_single_threaded`, 2.32). Where glibc cannot tell: false.
pub fn may_have_threads() -> bool {
    static IS_ALONE: Optional = Optional::new(c"__libc_single_threaded");
    // SAFETY: libc's own byte, which it writes as a whole.
    let is_alone = IS_ALONE.address().map(|address| unsafe { address.cast::<AtomicU8>().as_ref() });
    is_alone.is_some_and(|is_alone| is_alone.load(Ordering::Relaxed) == 0)
}
