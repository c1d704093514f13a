//! What a report reads about this process in `/proc`, kept before a filter is installed that forbids to open files. Later
//! changes are missing: libraries that are loaded behind the filter, and a new name.

use core::ffi::CStr;

use crate::buffer::Buffer;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicBool, AtomicPtr, AtomicUsize};
use crate::{procfs, sigsafe};

struct Text {
    path: &'static CStr,
    is_link: bool,
    start: AtomicPtr<u8>,
    /// 0: there is none. Release by `keep`, Acquire by `text`: the bytes are there before.
    length: AtomicUsize,
}

impl Text {
    const fn of(path: &'static CStr, is_link: bool) -> Text {
        Text { path, is_link, start: AtomicPtr::new(core::ptr::null_mut()), length: AtomicUsize::new(0) }
    }
}

static TEXTS: [Text; 4] = [
    Text::of(c"/proc/thread-self/maps", false),
    Text::of(c"/proc/self/cmdline", false),
    Text::of(c"/proc/self/comm", false),
    Text::of(c"/proc/self/exe", true),
];

/// Keeps them, once.
pub fn keep() {
    static IS_KEPT: AtomicBool = AtomicBool::new(false);
    if !IS_KEPT.swap(true, Relaxed) {
        sigsafe::on_own_stack(|| TEXTS.iter().for_each(keep_one));
    }
}

fn keep_one(text: &Text) {
    const PATH: usize = 4096;
    let mut bytes = Buffer::new();
    if text.is_link {
        let length = bytes.room(PATH).and_then(|room| procfs::read_link(text.path, room)).map_or(0, <[u8]>::len);
        bytes.advance(length);
    } else {
        procfs::read_file(text.path, &mut bytes);
    }
    let (start, length) = bytes.keep();
    text.start.store(start, Relaxed);
    text.length.store(length, Release);
}

/// What was kept of a file, or of a link's target.
pub fn text(path: &CStr) -> Option<&'static [u8]> {
    let text = TEXTS.iter().find(|text| text.path == path)?;
    let length = text.length.load(Acquire);
    // SAFETY: so many bytes were written there by `keep`, and they are never given back.
    (length != 0).then(|| unsafe { core::slice::from_raw_parts(text.start.load(Relaxed), length) })
}
