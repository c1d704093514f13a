//! Call stacks of the calls that create instances, interests and, with a census, descriptors
//! (`EPOLLSHIM_STACKS=N`).
//!
//! Each stack is kept once, in an arena (stacks/arena.rs). A site that lies in the arena represents
//! the stack there, so a stack can be kept wherever a return address can. The first address of a
//! stack is that return address.
//!
//! libgcc's unwinder walks the stack (stacks/walk.rs). It needs no frame pointers, and finds the
//! description of a frame by `_dl_find_object`, without a lock (since glibc 2.35; before that it
//! took the loader's lock). What it has found once need not be walked again (stacks/recalled.rs).
//! It runs on a separate stack with signals blocked: a hook may be on a handler's small stack, and
//! a handler that jumped out of the unwinder would leave it half done (docs/performance.md, "Call
//! stacks").
//!
//! The library's constructor loads the unwinder. A hook that runs earlier keeps only the return
//! address: its caller may be an allocator that is initialising itself, and the loader would call
//! that allocator again.

mod arena;
mod recalled;
mod walk;

use crate::sync::{AtomicBool, AtomicU32, Ordering};

use epollshim_format::recording::stacks::DEEPEST;

use crate::arch::registers::stack_pointer;
use crate::at_load::AtLoad;
use crate::{loaded, sigsafe};

pub use arena::{Above, PARTS, part, parts};
pub use walk::can_walk;

use arena::keep;
use walk::{Walk, each};

/// How many callers are kept; 0: no stacks are kept, or not yet.
static DEPTH: AtomicU32 = AtomicU32::new(0);
/// How many will be kept once the unwinder is loaded. Relaxed: the constructor reads it after
/// `prepare`, which it either called itself or waited for (init.rs).
static WANTED: AtomicU32 = AtomicU32::new(0);
/// The unwinder is wanted although no stacks are kept. Relaxed: as for WANTED, the constructor
/// reads it after the call that stores it.
static WANTS_WALKS: AtomicBool = AtomicBool::new(false);
/// The unwinder is wanted to find callers of the C++ library. Nothing that the options ask for
/// fails without it. Relaxed: as for WANTED, the constructor reads it after the call that stores
/// it.
static WANTS_CPP: AtomicBool = AtomicBool::new(false);
/// The constructor has loaded the unwinder, or will not load it.
static IS_PAST: AtomicBool = AtomicBool::new(false);
/// Why stacks cannot be walked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// glibc is older than 2.35, or the C library is musl.
    OldLibc,
    NoUnwinder,
    /// Only the constructor may load the unwinder, and it has finished.
    TooLate,
    NoMemory,
}

impl core::fmt::Display for Trouble {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Trouble::OldLibc => "call stacks need glibc 2.35 or later (_dl_find_object); musl has no such function",
            Trouble::NoUnwinder => "libgcc_s.so.1 cannot be loaded",
            Trouble::TooLate => "call stacks were not requested at start: restart the program with EPOLLSHIM_STACKS=1",
            Trouble::NoMemory => "no memory",
        })
    }
}

/// Reserves memory for stacks of that many callers. They are kept once [`load_unwinder`] has run,
/// too.
#[cold]
pub fn prepare(depth: u32) -> Result<(), Trouble> {
    if !loaded::can_find_objects() {
        return Err(Trouble::OldLibc);
    }
    arena::prepare().map_err(|_| Trouble::NoMemory)?;
    recalled::prepare();
    WANTED.store(depth, Ordering::Relaxed);
    Ok(())
}

/// Requests that stacks can be walked, although none are kept. They can be once the constructor has
/// run.
pub fn want_walks() -> Result<(), Trouble> {
    if !loaded::can_find_objects() {
        return Err(Trouble::OldLibc);
    }
    WANTS_WALKS.store(true, Ordering::Relaxed);
    if IS_PAST.load(Ordering::Relaxed) && !can_walk() { Err(Trouble::TooLate) } else { Ok(()) }
}

/// Loads libgcc's unwinder if [`prepare`] or [`want_walks`] was called. If `prepare` was, stacks
/// are kept from now on. The loader allocates and takes locks.
pub fn load_unwinder(at_load: &AtLoad) -> Result<(), Trouble> {
    IS_PAST.store(true, Ordering::Relaxed);
    let depth = WANTED.load(Ordering::Relaxed);
    let is_asked_for = depth != 0 || WANTS_WALKS.load(Ordering::Relaxed);
    if !is_asked_for && !WANTS_CPP.load(Ordering::Relaxed) {
        return Ok(());
    }
    let loaded = walk::load(at_load).map(|()| DEPTH.store(depth, Ordering::Release));
    if is_asked_for { loaded } else { Ok(()) }
}

/// Whether a call's place is more than a return address.
#[inline(always)]
pub fn are_kept() -> bool {
    DEPTH.load(Ordering::Relaxed) != 0
}

/// Whether stacks are kept, or will be.
pub fn are_wanted() -> bool {
    WANTED.load(Ordering::Relaxed) != 0
}

/// The site of a call: its return address, or the stack that begins with it.
#[inline(always)]
pub fn site(caller: usize) -> usize {
    if are_kept() { walk(caller) } else { caller }
}

/// The site of a place that may be none (0), a stack already, or the return address of another call
/// than the current one: those stay unchanged.
#[cold]
#[inline(never)]
pub fn site_of(place: usize) -> usize {
    if place == 0 { 0 } else { site(place) }
}

#[cold]
#[inline(never)]
fn walk(caller: usize) -> usize {
    let depth = DEPTH.load(Ordering::Relaxed) as usize;
    let here = stack_pointer();
    if depth <= recalled::MOST {
        let mut frames = [0; recalled::MOST];
        let count = recalled::recall(caller, here, depth, &mut frames);
        if let Some(stack) = count.and_then(|count| keep(frames.get(..count)?)) {
            return stack;
        }
    }
    walk_slowly(caller, here, depth).unwrap_or(caller)
}

#[cold]
#[inline(never)]
fn walk_slowly(caller: usize, here: usize, depth: usize) -> Option<usize> {
    sigsafe::on_own_stack(|| {
        let walk = Walk::up_to(caller, depth);
        let frames = walk.frames.get(..walk.count).unwrap_or_default();
        let slots = walk.slots.get(..walk.count).unwrap_or_default();
        if frames.is_empty() {
            return None;
        }
        recalled::learn(here, frames, slots, walk.count < depth);
        keep(frames)
    })
    .flatten()
}

/// Where the program called the C++ library, if `caller` lies in that library: the first return
/// address of the stack outside of it. Otherwise, and if stacks cannot be walked, `caller` itself.
///
/// The site of a C++ stream should be the program's call: libstdc++ opens a file by `fopen`
/// (config/io/basic_file_stdio.cc).
pub fn caller_of_cpp_library(caller: usize) -> usize {
    let mut outside = caller;
    if can_walk() && is_in_cpp_library(caller) {
        has(caller, &mut |address| {
            let is_outside = !is_in_cpp_library(address);
            if is_outside {
                outside = address;
            }
            is_outside
        });
    }
    outside
}

fn is_in_cpp_library(caller: usize) -> bool {
    loaded::path_of(caller).is_some_and(is_cpp_library)
}

#[inline(never)]
fn is_cpp_library(path: &[u8]) -> bool {
    path.rsplit(|byte| *byte == b'/').next().is_some_and(|base| base.starts_with(b"libstdc++.so"))
}

/// Makes the constructor load the unwinder if the program came with a C++ library, which has loaded
/// the unwinder anyway.
pub fn want_callers_of_cpp_library() {
    if loaded::has(is_cpp_library) && loaded::can_find_objects() {
        WANTS_CPP.store(true, Ordering::Relaxed);
    }
}

/// The return addresses of a site: the site itself, or those of the stack that it represents.
pub fn frames(site: usize) -> impl Iterator<Item = usize> {
    let words = parts().find_map(|(_, part)| {
        let at = site.wrapping_sub(part.as_ptr() as usize) / 8;
        let length = part.get(at)?.load(Ordering::Acquire) as usize;
        part.get(at + 1..at + 1 + length.min(DEEPEST))
    });
    let alone = if words.is_none() { Some(site).filter(|site| *site != 0) } else { None };
    alone.into_iter().chain(words.into_iter().flatten().map(|word| word.load(Ordering::Relaxed) as usize))
}

/// Whether a site represents a stack.
pub fn is_stack(site: usize) -> bool {
    parts().any(|(_, part)| part.as_ptr_range().contains(&core::ptr::without_provenance(site)))
}

/// The return address of a site.
pub fn first(site: usize) -> usize {
    frames(site).next().unwrap_or(0)
}

/// Whether `is_one` is true for one of the return addresses of the stack that begins with `caller`.
/// False if stacks cannot be walked.
#[cold]
#[inline(never)]
pub fn has(caller: usize, is_one: &mut dyn FnMut(usize) -> bool) -> bool {
    has_within(caller, false, is_one)
}

/// With `is_cut`, the stack ends where a signal handler begins.
#[inline(never)]
fn has_within(caller: usize, is_cut: bool, is_one: &mut dyn FnMut(usize) -> bool) -> bool {
    /// Bounds the walk of an endless recursion.
    const MOST: usize = 4096;
    let mut is_found = false;
    if can_walk() {
        let mut left = MOST;
        let mut look = |address| {
            is_found = is_one(address);
            left -= 1;
            !is_found && left != 0
        };
        sigsafe::on_own_stack(|| each(caller, is_cut, &mut |address, _| look(address)));
    }
    is_found
}

/// A number for the stack that begins with `caller`. It is the same in each run, wherever objects
/// are loaded. Calls `tell` for each frame. None: stacks cannot be walked.
///
/// It covers at most `depth` frames, and none from below a signal handler. A `depth` of 0 stands
/// for at most [`DEEPEST`] frames of any kind. It is made (FNV-1a) of the base names of the frames'
/// objects, where the program's is empty, and of the places in these objects.
#[cold]
#[inline(never)]
pub fn hash(caller: usize, depth: usize, tell: &mut dyn FnMut(usize)) -> Option<u64> {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let is_cut = depth != 0;
    let depth = if is_cut { depth } else { DEEPEST };
    let mut left = depth;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let is_done = can_walk()
        && has_within(caller, is_cut, &mut |address| {
            tell(address);
            let (path, place) = loaded::place_of(address).unwrap_or_default();
            path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().iter().for_each(|byte| add(*byte));
            place.to_le_bytes().into_iter().for_each(&mut add);
            left -= 1;
            left == 0
        });
    (is_done || left != depth).then_some(hash)
}
