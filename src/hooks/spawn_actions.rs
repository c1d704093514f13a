//! What `posix_spawn` does to descriptors in the new process, as its file actions say.

use core::iter::successors;
use libc::{c_char, c_int};

use crate::libc_kind;

/// `posix_spawn_file_actions_t` of <spawn.h>. The two integers have no use in musl.
#[repr(C)]
struct FileActions {
    allocated: c_int,
    used: c_int,
    /// In glibc an array of [`Action`], in musl the first of a list of [`MuslAction`].
    actions: usize,
}

/// `struct __spawn_action` (glibc 2.36 posix/spawn_int.h): the same since 2.2, but that kinds were added behind the others.
#[repr(C)]
struct Action {
    kind: c_int,
    /// The union begins at a multiple of a pointer.
    _padding: c_int,
    /// The number that it closes, copies, opens or begins with; of a chdir half of a pointer.
    fd: c_int,
    /// Of a copy, the number that it gets; of an open, padding.
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

/// `struct fdop` (musl 1.2.3 src/process/fdop.h): the same since 1.1.0, but that kinds were added
/// behind the others.
#[repr(C)]
struct MuslAction {
    next: *const MuslAction,
    _previous: *const MuslAction,
    kind: c_int,
    /// The number that it closes, opens or that a copy gets.
    fd: c_int,
}

/// From close over dup2 to open.
const MUSL_NUMBERED: core::ops::RangeInclusive<c_int> = 1..=3;
const MUSL_LAST: c_int = 5;

/// Most calls have a handful.
const MOST: usize = 4096;

pub struct Actions(Known);

#[derive(Clone, Copy)]
enum Known {
    Array(&'static [Action]),
    List(*const MuslAction),
}

impl Actions {
    /// Those of the program's argument of posix_spawn. None: they are not as they are known here.
    pub fn at(address: usize) -> Option<Actions> {
        if address == 0 {
            return Some(Actions(Known::Array(&[])));
        }
        // SAFETY: the caller passes it to posix_spawn, which reads it: it was initialised (posix_spawn(3)).
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
        // SAFETY: as above; `used` of them were written. They are not changed while the call lasts, which is longer than this.
        let actions = unsafe { core::slice::from_raw_parts(first, count) };
        let is_known = |action: &Action| (CLOSE..=LAST).contains(&action.kind);
        actions.iter().all(is_known).then_some(Actions(Known::Array(actions)))
    }

    /// Whether a number is closed on the way, or becomes something that is meant for the program.
    pub fn replace(&self, fd: c_int) -> bool {
        match self.0 {
            Known::Array(actions) => actions.iter().any(|action| match action.kind {
                CLOSE | OPEN => action.fd == fd,
                // Onto itself it takes close-on-exec away.
                DUP2 => action.second == fd,
                CLOSE_FROM => action.fd <= fd,
                _ => false,
            }),
            Known::List(first) => list(first).any(|action| MUSL_NUMBERED.contains(&action.kind) && action.fd == fd),
        }
    }
}

fn list(first: *const MuslAction) -> impl Iterator<Item = &'static MuslAction> {
    // SAFETY: null, or an entry that musl allocated. They are not changed while the call of
    // posix_spawn lasts, which is longer than this.
    successors(unsafe { first.as_ref() }, |action| unsafe { action.next.as_ref() })
}
