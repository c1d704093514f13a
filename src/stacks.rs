//! Call stacks of what creates instances, interests and, with a census, descriptors
//! (`EPOLLSHIM_STACKS=N`).
//!
//! A stack is kept once, in an arena. A site that lies in the arena stands for it: a stack can be
//! kept wherever a return address is. The first address of a stack is that return address.
//!
//! libgcc's unwinder walks the stack. It needs no frame pointers, and finds the description of a
//! frame by `_dl_find_object`, without a lock (glibc 2.35; before that it took the loader's). It
//! runs on a stack of its own, with signals blocked: a hook may be on a handler's small stack, and
//! a handler that jumped out of the unwinder would leave it half done (docs/performance.md, "Call
//! stacks").
//!
//! The library's constructor loads the unwinder. A hook that runs before that keeps only the return
//! address: it may have been called by an allocator that is initialising itself, and the loader
//! would call that allocator again.

use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use core::ffi::c_void;
use core::mem::transmute;

use epollshim_format::recording::stacks::{DEEPEST, PART};

use crate::above::Library;
use crate::at_load::AtLoad;
use crate::elf::Name;
use crate::{loaded, sigsafe, sys};

/// What this module needs of those above it.
pub trait Above {
    /// A stack was written into the part of the arena with that number. A recording mirrors it.
    fn wrote_stack(stack: &[AtomicU64], number: usize);
}

/// How many callers are kept; 0: no stacks, or not yet.
static DEPTH: AtomicU32 = AtomicU32::new(0);
/// How many will be kept once the unwinder is loaded. Relaxed: the constructor reads it after
/// `prepare`, which it called itself or whose end it has waited for (init.rs).
static WANTED: AtomicU32 = AtomicU32::new(0);
/// `_Unwind_Backtrace` and `_Unwind_GetIP`.
static BACKTRACE: AtomicUsize = AtomicUsize::new(0);
static GET_IP: AtomicUsize = AtomicUsize::new(0);

/// Parts of the arena, each a segment of a recording.
pub const PARTS: usize = 64;
const WORDS: usize = PARTS * PART / 8;
const PART_WORDS: usize = PART / 8;
/// A power of two. It is more than the stacks that have room.
const PLACES: usize = 1 << 17;

/// The table by which a stack is found: one more than its place in words of the arena; 0: free.
type Table = [AtomicU32; PLACES];

static TABLE: AtomicPtr<Table> = AtomicPtr::new(core::ptr::null_mut());
/// The arena's parts. Each is mapped when the first stack is written there.
static ARENA: [AtomicPtr<[AtomicU64; PART_WORDS]>; PARTS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; PARTS];
/// Words in use.
static END: AtomicUsize = AtomicUsize::new(0);

fn table() -> Option<&'static Table> {
    // SAFETY: null, or the mapping that `prepare` made, which is never unmapped. Acquire: the
    // kernel has zeroed it.
    unsafe { TABLE.load(Ordering::Acquire).as_ref() }
}

/// A part of the arena, if there is a stack in it.
pub fn part(number: usize) -> Option<&'static [AtomicU64]> {
    // SAFETY: null, or a mapping that `map_part` made, which is never unmapped. Acquire: the kernel
    // has zeroed it.
    unsafe { ARENA.get(number)?.load(Ordering::Acquire).as_ref() }.map(<[_; PART_WORDS]>::as_slice)
}

#[cold]
#[inline(never)]
fn map_part(number: usize) -> Option<&'static [AtomicU64]> {
    let start = sys::map(PART).ok()?;
    let place = ARENA.get(number)?;
    // Release: pairs with the Acquire in `part`. A thread that finds the part finds it zeroed.
    if place.compare_exchange(core::ptr::null_mut(), start.cast(), Ordering::Release, Ordering::Relaxed).is_err() {
        // SAFETY: another thread mapped it first. No other thread has seen this one.
        unsafe { sys::unmap(start, PART) };
    }
    part(number)
}

/// Some words of one part.
fn words(at: usize, length: usize) -> Option<&'static [AtomicU64]> {
    let first = at % PART_WORDS;
    part(at / PART_WORDS)?.get(first..first.checked_add(length)?)
}

/// Why there can be no stacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// glibc is older than 2.35.
    OldLibc,
    NoUnwinder,
    NoMemory,
}

impl core::fmt::Display for Trouble {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Trouble::OldLibc => "stacks cannot be walked without a lock here: that needs glibc 2.35",
            Trouble::NoUnwinder => "libgcc_s.so.1 cannot be loaded",
            Trouble::NoMemory => "no memory",
        })
    }
}

/// Reserves memory for stacks of that many callers. They are kept once [`load_unwinder`] has run
/// too.
#[cold]
pub fn prepare(depth: u32) -> Result<(), Trouble> {
    if !loaded::can_find_objects() {
        return Err(Trouble::OldLibc);
    }
    let start = sys::map(size_of::<Table>()).map_err(|_| Trouble::NoMemory)?;
    TABLE.store(start.cast(), Ordering::Release);
    WANTED.store(depth, Ordering::Relaxed);
    Ok(())
}

/// Loads libgcc's unwinder, and keeps stacks from here on, if [`prepare`] was called. The loader
/// allocates, and takes locks.
pub fn load_unwinder(_: &AtLoad) -> Result<(), Trouble> {
    let depth = WANTED.load(Ordering::Relaxed);
    if depth == 0 {
        return Ok(());
    }
    // RTLD_NOW: with lazy binding, a hook's walk would look symbols up.
    // SAFETY: a zero-terminated name; the handle is never closed.
    let unwinder = unsafe { loaded::Object::of_handle(libc::dlopen(c"libgcc_s.so.1".as_ptr(), libc::RTLD_NOW)) };
    let symbols = unwinder.and_then(loaded::Object::symbols).ok_or(Trouble::NoUnwinder)?;
    let find = |name| symbols.find(&Name::new(name)).ok_or(Trouble::NoUnwinder);
    GET_IP.store(find(c"_Unwind_GetIP")?, Ordering::Relaxed);
    BACKTRACE.store(find(c"_Unwind_Backtrace")?, Ordering::Relaxed);
    // The unwinder initialises itself at its first walk, once and under a lock. That must not
    // happen in a hook later. If the program has loaded it before, with lazy binding, this also
    // binds it.
    let _ = sigsafe::on_own_stack(|| Walk::up_to(0, DEEPEST).count);
    DEPTH.store(depth, Ordering::Release);
    Ok(())
}

/// Whether a place is more than a return address.
#[inline(always)]
pub fn are_kept() -> bool {
    DEPTH.load(Ordering::Relaxed) != 0
}

/// The site of a call: its return address, or the stack that begins with it.
#[inline(always)]
pub fn site(caller: usize) -> usize {
    if are_kept() { walk(caller) } else { caller }
}

#[cold]
#[inline(never)]
fn walk(caller: usize) -> usize {
    let depth = DEPTH.load(Ordering::Relaxed) as usize;
    sigsafe::on_own_stack(|| {
        let walk = Walk::up_to(caller, depth);
        let frames = walk.frames.get(..walk.count).unwrap_or_default();
        if frames.is_empty() { None } else { keep(frames) }
    })
    .flatten()
    .unwrap_or(caller)
}

/// The return addresses of a site: itself, or those of the stack that it stands for.
pub fn frames(site: usize) -> impl Iterator<Item = usize> {
    let words = parts().find_map(|(_, part)| {
        let at = site.wrapping_sub(part.as_ptr() as usize) / 8;
        let length = part.get(at)?.load(Ordering::Acquire) as usize;
        part.get(at + 1..at + 1 + length.min(DEEPEST))
    });
    let alone = if words.is_none() { Some(site).filter(|site| *site != 0) } else { None };
    alone.into_iter().chain(words.into_iter().flatten().map(|word| word.load(Ordering::Relaxed) as usize))
}

/// The return address of a site.
pub fn first(site: usize) -> usize {
    frames(site).next().unwrap_or(0)
}

// ---- walking ----

type GetIp = unsafe extern "C" fn(*mut c_void) -> usize;
type Step = extern "C" fn(*mut c_void, *mut c_void) -> libc::c_int;
type Backtrace = unsafe extern "C" fn(Step, *mut c_void) -> libc::c_int;

struct Walk {
    /// The frame that the stack begins with; 0: the first.
    caller: usize,
    depth: usize,
    count: usize,
    frames: [usize; DEEPEST],
}

impl Walk {
    fn up_to(caller: usize, depth: usize) -> Walk {
        let mut walk = Walk { caller, depth: depth.min(DEEPEST), count: 0, frames: [0; DEEPEST] };
        let backtrace = BACKTRACE.load(Ordering::Relaxed);
        if backtrace != 0 {
            // SAFETY: libgcc's function, of this type (unwind.h); it calls `step` with the pointer
            // that it is given.
            unsafe { transmute::<usize, Backtrace>(backtrace)(step, (&raw mut walk).cast()) };
        }
        walk
    }
}

/// A frame; another value than 0 ends the walk.
extern "C" fn step(context: *mut c_void, walk: *mut c_void) -> libc::c_int {
    // SAFETY: the pointer that `up_to` has passed.
    let walk = unsafe { &mut *walk.cast::<Walk>() };
    // SAFETY: libgcc's function, of this type, and its own context.
    let address = unsafe { transmute::<usize, GetIp>(GET_IP.load(Ordering::Relaxed))(context) };
    if walk.count == 0 && walk.caller != 0 && address != walk.caller {
        return 0;
    }
    match walk.frames.get_mut(walk.count) {
        Some(place) if walk.count < walk.depth && address != 0 => {
            *place = address;
            walk.count += 1;
            0
        }
        _ => 1,
    }
}

// ---- keeping ----

/// The address of a stack in the arena. None: it is full.
fn keep(frames: &[usize]) -> Option<usize> {
    let table = table()?;
    let hash = frames.iter().fold(frames.len() as u64, |hash, frame| {
        (hash.rotate_left(5) ^ *frame as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    let address = |at: usize| words(at, 1).map(|word| word.as_ptr() as usize);
    let mut written = None;
    for step in 0..PLACES {
        let place = table.get(((hash >> 40) as usize + step) % PLACES)?;
        let mut there = place.load(Ordering::Acquire);
        if there == 0 {
            let at = match written {
                Some(at) => at,
                None => write(frames)?,
            };
            written = Some(at);
            // Release: a reader that finds the place sees the stack.
            match place.compare_exchange(0, at as u32 + 1, Ordering::Release, Ordering::Acquire) {
                Ok(_) => return address(at),
                Err(other) => there = other,
            }
        }
        let at = there as usize - 1;
        if is_at(at, frames) {
            return address(at);
        }
    }
    None
}

fn is_at(at: usize, frames: &[usize]) -> bool {
    words(at, frames.len() + 1).and_then(<[_]>::split_first).is_some_and(|(length, words)| {
        length.load(Ordering::Relaxed) as usize == frames.len()
            && words.iter().zip(frames).all(|(word, frame)| word.load(Ordering::Relaxed) == *frame as u64)
    })
}

/// Appends a stack to the arena, within one part. Returns its place in words.
fn write(frames: &[usize]) -> Option<usize> {
    let length = frames.len() + 1;
    let mut end = END.load(Ordering::Relaxed);
    let at = loop {
        let left = PART_WORDS - end % PART_WORDS;
        let at = if left < length { end + left } else { end };
        if at + length > WORDS {
            return None;
        }
        match END.compare_exchange_weak(end, at + length, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => break at,
            Err(now) => end = now,
        }
    };
    let number = at / PART_WORDS;
    let _ = part(number).or_else(|| map_part(number))?;
    let stack = words(at, length)?;
    let (first, others) = stack.split_first()?;
    for (word, frame) in others.iter().zip(frames) {
        word.store(*frame as u64, Ordering::Relaxed);
    }
    first.store(frames.len() as u64, Ordering::Release);
    // Before the look at the part's segment: either this thread or the thread that makes the
    // segment sees what the other has done.
    fence(Ordering::SeqCst);
    Library::wrote_stack(stack, number);
    Some(at)
}

/// The parts in use, for a recording: each with its number.
pub fn parts() -> impl Iterator<Item = (usize, &'static [AtomicU64])> {
    let used = END.load(Ordering::Relaxed).div_ceil(PART_WORDS);
    (0..used).filter_map(|number| Some((number, part(number)?)))
}
