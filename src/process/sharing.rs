//! The note that a thread leaves before it starts a child that shares its memory (`vfork`,
//! `clone(CLONE_VM)`).
//!
//! The note lies in thread-local storage of the initial-exec model (see thread.rs). A child without
//! `CLONE_SETTLS` has the same storage and finds the note there. A child with its own storage finds
//! it in a short list, by its thread pointer.
//!
//! The note says only that a child may be running here: the parent finds it too. It is removed when
//! the parent is known to be back (`resolved`).

use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use super::verdict::Note;
use crate::arch::thread_words;
use crate::registers::{self, stack_pointer};

/// Zero in a new thread.
#[repr(C)]
struct Local {
    bits: AtomicU32,
    /// The stack pointer when the note was made.
    stack: AtomicUsize,
}

const _: () = assert!(size_of::<Local>() == 16 && core::mem::offset_of!(Local, bits) == 0);

const IS_SET: u32 = 1;
const LENDER_IS_LISTED: u32 = 2;
const TABLE_IS_SHARED: u32 = 4;
const TABLE_IS_COPIED: u32 = 8;
/// A child runs concurrently with its parent (no `CLONE_VFORK`), so the note stays.
const IS_LASTING: u32 = 16;

/// A handler's frame lies more than this many bytes below the frame that it interrupts: the kernel
/// puts the red zone, the registers and a `siginfo_t` between them (Linux v6.1
/// arch/x86/kernel/signal.c). The library's own frames are smaller.
const SIGNAL_FRAME: usize = 1024;

/// Children with thread-local storage of their own, by their thread pointers. The newest replaces
/// the oldest.
static CHILDREN: [Child; 8] = [const { Child { token: AtomicUsize::new(0), bits: AtomicU32::new(0) } }; 8];
static NEXT_CHILD: AtomicUsize = AtomicUsize::new(0);

struct Child {
    token: AtomicUsize,
    bits: AtomicU32,
}

/// A child may run on storage that has no note.
static IS_ANYWHERE: AtomicBool = AtomicBool::new(false);

#[inline(always)]
fn local() -> &'static Local {
    // SAFETY: these words of the calling thread's storage are reserved for this. They are aligned,
    // and zero bytes are valid atomics. No function here keeps the reference after it returns.
    unsafe { &*(thread_words::sharing::address() as *const Local) }
}

/// Whether the caller may be such a child. Makes no system call.
#[inline(always)]
pub fn may_be_child() -> bool {
    is_noted() || IS_ANYWHERE.load(Ordering::Relaxed)
}

/// Whether the calling thread has a note.
#[inline(always)]
pub fn is_noted() -> bool {
    // This word is `Local::bits`.
    thread_words::sharing::first() != 0
}

/// The calling thread's note.
pub fn note() -> Note {
    let of_child = || {
        let token = registers::token();
        CHILDREN
            .iter()
            .find(|child| child.token.load(Ordering::Relaxed) == token)
            .map_or(0, |child| child.bits.load(Ordering::Relaxed))
    };
    let bits = match local().bits.load(Ordering::Relaxed) {
        0 if IS_ANYWHERE.load(Ordering::Relaxed) => of_child(),
        bits => bits,
    };
    Note {
        is_set: bits & IS_SET != 0,
        lender_is_listed: bits & LENDER_IS_LISTED != 0,
        table_is_shared: bits & TABLE_IS_SHARED != 0,
        table_is_copied: bits & TABLE_IS_COPIED != 0,
    }
}

/// Called before the calling thread starts a child.
///
/// `has_table`: the caller's descriptor table is the owner's. `is_listed`: the caller is the owner
/// and has a robust list. `storage`: the child's own thread-local storage; 0: it has the caller's.
/// Returns true if from now on a child may run on storage that has no note.
pub fn begin(flags: u64, has_table: bool, is_listed: bool, storage: usize) -> bool {
    let has = |flag: libc::c_int| flags & flag as u64 != 0;
    let mut bits = IS_SET;
    bits |= if has_table && has(libc::CLONE_FILES) { TABLE_IS_SHARED } else { TABLE_IS_COPIED };
    if !has(libc::CLONE_VFORK) {
        bits |= IS_LASTING;
        IS_ANYWHERE.store(true, Ordering::Relaxed);
    }
    if has(libc::CLONE_SETTLS) && storage != 0 {
        let place = NEXT_CHILD.fetch_add(1, Ordering::Relaxed) % CHILDREN.len();
        if let Some(child) = CHILDREN.get(place) {
            // A task on this storage that has no robust list is the child.
            child.bits.store(bits | LENDER_IS_LISTED, Ordering::Relaxed);
            child.token.store(storage, Ordering::Relaxed);
        }
        IS_ANYWHERE.store(true, Ordering::Relaxed);
        return true;
    }
    let local = local();
    if is_listed {
        bits |= LENDER_IS_LISTED;
    }
    local.stack.store(stack_pointer(), Ordering::Relaxed);
    local.bits.store(local.bits.load(Ordering::Relaxed) | bits, Ordering::Relaxed);
    bits & IS_LASTING != 0
}

/// Called when the caller is known not to be the child: its children by `vfork` are gone. A handler
/// that interrupts the thread between the note and the system call also calls this. It leaves the
/// note, because its frame lies below the one that made it.
pub fn resolved() {
    let local = local();
    let bits = local.bits.load(Ordering::Relaxed);
    let is_handler = stack_pointer() < local.stack.load(Ordering::Relaxed).wrapping_sub(SIGNAL_FRAME);
    if bits != 0 && bits & IS_LASTING == 0 && !is_handler {
        local.bits.store(0, Ordering::Relaxed);
    }
}

/// Called in the child of a fork: forgets the parent's notes, which do not apply to the child.
pub fn after_fork() {
    local().bits.store(0, Ordering::Relaxed);
    IS_ANYWHERE.store(false, Ordering::Relaxed);
    CHILDREN.iter().for_each(|child| child.token.store(0, Ordering::Relaxed));
}
