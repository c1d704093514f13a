//! The loaded objects, as the loader lists them, and what some of the loader's own symbols say.
//!
//! May be called from anywhere: it takes no lock, allocates nothing, and calls only glibc's
//! `_dl_find_object`. `dlsym` and `dl_iterate_phdr` would take the loader's lock. Another thread
//! may hold that lock while it waits for the hook's caller, for example for an allocator's lock
//! that the caller holds. Before glibc 2.34 `dlsym` also allocates.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::iter::successors;
use core::ptr::{self, NonNull, null};

use crate::arch::symbols;
use crate::at_load::AtLoad;
use crate::elf::{self, Dynamic, Name, Reference, Symbols};
use crate::libc_kind;
use crate::sync::{AtomicU8, AtomicUsize, Ordering};

/// The beginning of `struct link_map` of <link.h>, and of musl's `struct dso` (1.1.0 to 1.2.5
/// ldso/dynlink.c), which has the same layout for debuggers.
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
    /// The object for a handle that `dlopen` returned: in glibc the handle is the object's entry in
    /// the list.
    ///
    /// # Safety
    /// `handle` must be null or come from `dlopen`, and never be passed to `dlclose`.
    pub unsafe fn of_handle(handle: *mut c_void) -> Option<Object> {
        // SAFETY: the caller promises null or a handle, which in glibc points to a `LinkMap` that
        // stays valid.
        unsafe { handle.cast::<LinkMap>().as_ref() }.map(Object)
    }

    pub fn symbols(self) -> Option<Symbols> {
        // SAFETY: the loader maps an object completely before it lists it. No object is unmapped
        // while it is read: the caller of `of_handle` promises that, and `behind` and `first` reach
        // no object that can be closed.
        unsafe { Symbols::of(self.0.slide, self.0.dynamic) }
    }

    fn is_own(self) -> bool {
        ptr::eq(self.0.dynamic, own_dynamic())
    }

    fn is_libc(self) -> bool {
        self.symbols().is_some_and(|symbols| {
            // musl's libc, which is also its loader, may have no name (DT_SONAME).
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

    /// Whether an address lies in this object. False if this glibc cannot tell.
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

/// The program itself. Both loaders list it before they relocate anything, and never change the
/// head of the list.
fn first() -> Option<Object> {
    let debug = match symbols::r_debug() {
        0 => {
            let pointer = symbols::dl_debug_addr() as *const *const Debug;
            // SAFETY: null, or musl's own variable, which no code writes.
            unsafe { pointer.as_ref() }.map_or(null(), |pointer| *pointer)
        }
        debug => debug as *const Debug,
    };
    // SAFETY: null, or the loader's own structure, which lives as long as the process. Its head is
    // the program's entry.
    unsafe { debug.as_ref().map_or(null(), |debug| debug.first).as_ref() }.map(Object)
}

/// Whether the loader's list was found. Without it no function of libc can be found.
pub fn are_listed() -> bool {
    first().is_some()
}

/// The objects in which `dlsym(RTLD_NEXT)` looks: those after this one in the search order, up to
/// libc. If `dlopen` opened this object later, it lies after libc: then all objects up to libc.
///
/// The search ends with libc. An object after libc cannot interpose on libc's functions. And only
/// the objects before it are certain to stay loaded: they came with the program, while those that
/// `dlopen` opens are appended and `dlclose` frees them.
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

/// What `dlsym(RTLD_DEFAULT)` finds. Only for the constructor: no object is closed meanwhile.
pub fn find_anywhere(_: &AtLoad, name: &Name) -> Option<usize> {
    successors(first(), |object| object.next()).find_map(|object| object.symbols()?.find(name))
}

/// Passes to `tell` each word by which one of the program's objects refers to another object's
/// symbol. Omits this library, libc, the loader, and the unwinder, which this library calls. Only
/// for the constructor: no object is closed meanwhile.
pub fn each_reference(_: &AtLoad, tell: &mut dyn FnMut(Object, &Reference)) {
    for object in successors(first(), |object| object.next()) {
        let is_other = object.symbols().is_some_and(|symbols| {
            symbols.find(&Name::new(c"_r_debug")).is_none() && !symbols.is_named(c"libgcc_s.so.1")
        });
        if is_other && !object.is_own() && !object.is_libc() {
            // SAFETY: the loader maps an object completely before it lists it, and no object is
            // closed while the constructor runs.
            unsafe { elf::each_reference(object.0.slide, object.0.dynamic, &mut |reference| tell(object, reference)) };
        }
    }
}

/// Whether `is_one` is true for the path of an object that the program came with. Only for the
/// constructor: no object is closed meanwhile.
pub fn has(is_one: impl Fn(&[u8]) -> bool) -> bool {
    successors(first(), |object| object.next()).any(|Object(map)| {
        // SAFETY: tested for null; otherwise zero-terminated (<link.h>).
        !map.name.is_null() && is_one(unsafe { CStr::from_ptr(map.name) }.to_bytes())
    })
}

/// A symbol that older versions of glibc, or musl, lack. (GNU ld would give a weak reference a
/// symbol version, which the loader of an old host refuses.)
struct Optional {
    name: &'static CStr,
    /// The address, or [`Optional::ABSENT`], once it was looked up. Relaxed: every thread finds the
    /// same address, and what it points to existed before the process had a second thread.
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

/// glibc's function that finds the object that holds an address (2.35; glibc's manual, Dynamic
/// Linker Introspection). It takes no lock and may be called in signal handlers.
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

/// Whether [`path_of`] can answer: needs glibc 2.35 or later.
pub fn can_find_objects() -> bool {
    find_object().is_some()
}

/// The object that holds the call which returns to `caller`, and where that object's memory begins.
/// None: no object holds it, or this glibc cannot tell.
fn object_of(caller: usize) -> Option<(Object, usize)> {
    let mut found = Found { flags: 0, start: 0, end: 0, map: null(), eh_frame: 0, reserved: [0; 7] };
    // SAFETY: the function writes one structure of this type. The object that it finds stays loaded
    // while its code is on the stack.
    let map = unsafe {
        if find_object()?(caller.wrapping_sub(1) as *const c_void, &raw mut found) != 0 {
            return None;
        }
        found.map.as_ref()?
    };
    Some((Object(map), found.start))
}

/// The path of the object that holds the call which returns to `caller`; empty for the program
/// itself. None: no object holds it, or this glibc cannot tell.
pub fn path_of(caller: usize) -> Option<&'static [u8]> {
    place_of(caller).map(|(path, _)| path)
}

/// [`path_of`], and the offset of `caller` from the start of the object's memory.
#[inline(never)] // for size
pub fn place_of(caller: usize) -> Option<(&'static [u8], usize)> {
    let (object, start) = object_of(caller)?;
    Some((object.path(), caller.wrapping_sub(start)))
}

/// [`path_of`], and `caller` as an address in the object's file.
#[inline(never)] // for size
pub fn place_in_file(caller: usize) -> Option<(&'static [u8], usize)> {
    let (object, _) = object_of(caller)?;
    Some((object.path(), caller.wrapping_sub(object.0.slide)))
}

/// Whether the call that returns to `caller` lies in a function of this name that its object
/// exports.
pub fn is_in_function(caller: usize, name: &Name) -> bool {
    let symbols = object_of(caller).and_then(|(object, _)| object.symbols());
    symbols.and_then(|symbols| symbols.find_function(name)).is_some_and(|range| range.contains(&caller.wrapping_sub(1)))
}

/// Whether the process may have more than one thread (glibc's `__libc_single_threaded`, 2.32).
/// False if glibc cannot tell.
pub fn may_have_threads() -> bool {
    static IS_ALONE: Optional = Optional::new(c"__libc_single_threaded");
    // SAFETY: this is libc's own byte, which libc writes as a whole.
    let is_alone = IS_ALONE.address().map(|address| unsafe { address.cast::<AtomicU8>().as_ref() });
    is_alone.is_some_and(|is_alone| is_alone.load(Ordering::Relaxed) == 0)
}
