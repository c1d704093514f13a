//! What `posix_spawn` does to descriptors in the new process, according to its file actions.

use core::iter::successors;
use libc::{c_char, c_int};

use crate::libc_kind;

/// `posix_spawn_file_actions_t` of <spawn.h>. musl does not use the two integers.
#[repr(C)]
struct FileActions {
    allocated: c_int,
    used: c_int,
    /// In glibc the address of an array of [`Action`], in musl that of the first [`MuslAction`] of
    /// a list.
    actions: usize,
}

/// `struct __spawn_action` (glibc 2.36 posix/spawn_int.h). It has not changed since 2.2, except
/// that kinds were added after the others.
#[repr(C)]
struct Action {
    kind: c_int,
    /// The union is aligned like a pointer.
    _padding: c_int,
    /// The number that is closed, copied or opened. For a chdir: half of a pointer.
    fd: c_int,
    /// For a copy: the number that it gets. For an open: padding.
    second: c_int,
    _path: *const c_char,
    _flags: [c_int; 2],
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Action>() == 32 && core::mem::offset_of!(Action, fd) == 8);

const CLOSE: c_int = 0;
const DUP2: c_int = 1;
const OPEN: c_int = 2;
const CLOSE_FROM: c_int = 5;
const LAST: c_int = 6;

/// `struct fdop` (musl 1.2.3 src/process/fdop.h). It has not changed since 1.1.0, except that kinds
/// were added after the others.
#[repr(C)]
struct MuslAction {
    next: *const MuslAction,
    _previous: *const MuslAction,
    kind: c_int,
    /// The number that is closed or opened, or that a copy gets.
    fd: c_int,
}

/// close, dup2 and open.
const MUSL_NUMBERED: core::ops::RangeInclusive<c_int> = 1..=3;
const MUSL_LAST: c_int = 5;

/// More actions than any real call has: most have a handful.
const MOST: usize = 4096;

pub struct Actions(Known);

#[derive(Clone, Copy)]
enum Known {
    Array(&'static [Action]),
    List(*const MuslAction),
}

impl Actions {
    /// The actions at the address that the program passes to posix_spawn. None: their layout is not
    /// the known one.
    pub fn at(address: usize) -> Option<Actions> {
        if address == 0 {
            return Some(Actions(Known::Array(&[])));
        }
        // SAFETY: the program passes the address to posix_spawn, which reads it, so it was
        // initialized (posix_spawn(3)).
        let all = unsafe { &*(address as *const FileActions) };
        if !libc_kind::is_glibc() {
            let actions = Actions(Known::List(all.actions as *const MuslAction));
            let is_known = |action: &MuslAction| (1..=MUSL_LAST).contains(&action.kind);
            let mut listed = list(all.actions as *const MuslAction);
            return (listed.by_ref().take(MOST).all(is_known) && listed.next().is_none()).then_some(actions);
        }
        let count = usize::try_from(all.used).ok().filter(|count| *count <= MOST && all.used <= all.allocated)?;
        if count == 0 {
            return Some(Actions(Known::Array(&[])));
        }
        let first = all.actions as *const Action;
        if first.is_null() || !first.is_aligned() {
            return None;
        }
        // SAFETY: glibc has written `used` actions to this array. The program does not change them
        // during the call of posix_spawn, which lasts longer than this reference.
        let actions = unsafe { core::slice::from_raw_parts(first, count) };
        let is_known = |action: &Action| (CLOSE..=LAST).contains(&action.kind);
        actions.iter().all(is_known).then_some(Actions(Known::Array(actions)))
    }

    /// Whether a number is closed by an action, or replaced by something that is meant for the
    /// program.
    pub fn replace(&self, fd: c_int) -> bool {
        match self.0 {
            Known::Array(actions) => actions.iter().any(|action| match action.kind {
                CLOSE | OPEN => action.fd == fd,
                // A copy onto itself clears close-on-exec.
                DUP2 => action.second == fd,
                CLOSE_FROM => action.fd <= fd,
                _ => false,
            }),
            Known::List(first) => list(first).any(|action| MUSL_NUMBERED.contains(&action.kind) && action.fd == fd),
        }
    }
}

fn list(first: *const MuslAction) -> impl Iterator<Item = &'static MuslAction> {
    // SAFETY: each pointer is null or that of an entry that musl allocated. The program does not
    // change them during the call of posix_spawn, which lasts longer than these references.
    successors(unsafe { first.as_ref() }, |action| unsafe { action.next.as_ref() })
}
