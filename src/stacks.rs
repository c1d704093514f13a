//! Call stacks of what creates instances, interests and, with a census, descriptors
//! (`EPOLLSHIM_STACKS=N`).
//!
//! A stack is kept once, in an arena. A site that lies in the arena stands for it: a stack can be
//! kept wherever a return address is. The first address of a stack is that return address.
//!
//! libgcc's unwinder walks the stack. It needs no frame pointers, and finds the description of a
//! frame by `_dl_find_object`, without a lock (glibc 2.35; before that it took the loader's). What it
//! has found once need not be walked again (stacks/recalled.rs). It runs on a stack of its own, with signals blocked: a hook may be on a handler's small stack, and
//! a handler that jumped out of the unwinder would leave it half done (docs/performance.md, "Call
//! stacks").
//!
//! The library's constructor loads the unwinder. A hook that runs before that keeps only the return
//! address: it may have been called by an allocator that is initialising itself, and the loader
//! would call that allocator again.

mod recalled;

use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use core::ffi::{c_char, c_int, c_void};
use core::mem::transmute;

use epollshim_format::recording::stacks::{DEEPEST, PART};

use crate::above::Library;
use crate::arch::registers::stack_pointer;
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
/// The unwinder is wanted though no stacks are kept. Relaxed: as WANTED.
static WANTS_WALKS: AtomicBool = AtomicBool::new(false);
/// The same, but nothing is lost without it that was asked for. Relaxed: as WANTED.
static WANTS_CPP: AtomicBool = AtomicBool::new(false);
/// The constructor has loaded the unwinder, or will not.
static IS_PAST: AtomicBool = AtomicBool::new(false);
/// The unwinder is there, and has made its first walk. Release: with the Acquire of [`can_walk`], for the two addresses below.
static CAN_WALK: AtomicBool = AtomicBool::new(false);
/// `_Unwind_Backtrace`, `_Unwind_GetIPInfo` and `_Unwind_GetCFA`.
static BACKTRACE: AtomicUsize = AtomicUsize::new(0);
static GET_IP: AtomicUsize = AtomicUsize::new(0);
static GET_CFA: AtomicUsize = AtomicUsize::new(0);

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
    /// glibc is older than 2.35, or the C library is musl.
    OldLibc,
    NoUnwinder,
    /// It is loaded by the constructor, or not at all.
    TooLate,
    NoMemory,
}

impl core::fmt::Display for Trouble {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Trouble::OldLibc => "call stacks need glibc 2.35 or later (_dl_find_object); musl has no such function",
            Trouble::NoUnwinder => "libgcc_s.so.1 cannot be loaded",
            Trouble::TooLate => {
                "stacks can be walked only where that was asked for at the start: start the program with EPOLLSHIM_STACKS=1"
            }
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
    recalled::prepare();
    WANTED.store(depth, Ordering::Relaxed);
    Ok(())
}

/// Asks that stacks can be walked, though none are kept. They can be once the constructor has run.
pub fn want_walks() -> Result<(), Trouble> {
    if !loaded::can_find_objects() {
        return Err(Trouble::OldLibc);
    }
    WANTS_WALKS.store(true, Ordering::Relaxed);
    if IS_PAST.load(Ordering::Relaxed) && !can_walk() { Err(Trouble::TooLate) } else { Ok(()) }
}

/// Loads libgcc's unwinder, if [`prepare`] or [`want_walks`] was called, and has stacks kept from here on, if the first was. The
/// loader allocates, and takes locks.
pub fn load_unwinder(at_load: &AtLoad) -> Result<(), Trouble> {
    IS_PAST.store(true, Ordering::Relaxed);
    let depth = WANTED.load(Ordering::Relaxed);
    let is_asked_for = depth != 0 || WANTS_WALKS.load(Ordering::Relaxed);
    if !is_asked_for && !WANTS_CPP.load(Ordering::Relaxed) {
        return Ok(());
    }
    let loaded = load(at_load, depth);
    if is_asked_for { loaded } else { Ok(()) }
}

fn load(at_load: &AtLoad, depth: u32) -> Result<(), Trouble> {
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
    DEPTH.store(depth, Ordering::Release);
    Ok(())
}

/// Whether a place is more than a return address.
#[inline(always)]
pub fn are_kept() -> bool {
    DEPTH.load(Ordering::Relaxed) != 0
}

/// Whether stacks are kept, or will be.
pub fn are_wanted() -> bool {
    WANTED.load(Ordering::Relaxed) != 0
}

/// Whether stacks can be walked, kept or not.
pub fn can_walk() -> bool {
    CAN_WALK.load(Ordering::Acquire)
}

/// What stands for the place of a call: its return address, or the stack that it heads.
#[inline(always)]
pub fn site(caller: usize) -> usize {
    if are_kept() { walk(caller) } else { caller }
}

/// The same for a place that may be none (0), or a stack already, or of another call than the
/// present one: that stays what it is.
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

/// Where the program called the C++ library, if `caller` lies in it: the first return address of the stack outside of it. The site of
/// a C++ stream is the program's own call (libstdc++ opens a file by `fopen`, config/io/basic_file_stdio.cc). `caller` itself where
/// that does not lie there, or stacks cannot be walked.
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

/// Has the constructor load the unwinder where the program came with a C++ library, which has it loaded anyway.
pub fn want_callers_of_cpp_library() {
    if loaded::has(is_cpp_library) && loaded::can_find_objects() {
        WANTS_CPP.store(true, Ordering::Relaxed);
    }
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

/// Whether a site stands for a stack.
pub fn is_stack(site: usize) -> bool {
    parts().any(|(_, part)| part.as_ptr_range().contains(&core::ptr::without_provenance(site)))
}

/// The return address of a site.
pub fn first(site: usize) -> usize {
    frames(site).next().unwrap_or(0)
}

/// Whether any of the return addresses of the stack that begins with `caller` is one. False where stacks cannot be walked.
#[cold]
#[inline(never)]
pub fn has(caller: usize, is_one: &mut dyn FnMut(usize) -> bool) -> bool {
    has_within(caller, false, is_one)
}

/// `is_cut`: the stack ends where a signal handler begins.
#[inline(never)]
fn has_within(caller: usize, is_cut: bool, is_one: &mut dyn FnMut(usize) -> bool) -> bool {
    /// A recursion without end is not followed to its end.
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

/// A number for the stack that begins with `caller`: the same in each run, wherever objects are loaded. Of at most `depth` frames,
/// and none from below a signal handler; 0: of at most [`DEEPEST`], whatever they are. `tell` is called for each frame.
///
/// Made of the base names of the frames' objects, of the program's that is empty, and of the places in them (FNV-1a). None: stacks
/// cannot be walked.
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

// ---- walking ----

type Get = unsafe extern "C-unwind" fn(*mut c_void) -> usize;
type GetInfo = unsafe extern "C-unwind" fn(*mut c_void, *mut c_int) -> usize;
type Step = extern "C-unwind" fn(*mut c_void, *mut c_void) -> libc::c_int;
type Backtrace = unsafe extern "C-unwind" fn(Step, *mut c_void) -> libc::c_int;

struct Walk {
    count: usize,
    frames: [usize; DEEPEST],
    /// Where each lies on the stack, if the processor keeps it there.
    slots: [usize; DEEPEST],
}

impl Walk {
    #[inline(never)] // for size
    fn up_to(caller: usize, depth: usize) -> Walk {
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
fn each(caller: usize, is_cut: bool, tell: &mut dyn FnMut(usize, usize) -> bool) {
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
