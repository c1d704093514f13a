//! What src/seccomp/early.rs has kept of `/proc`.

use core::ffi::CStr;

use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicPtr, AtomicUsize};

pub struct Text {
    pub path: &'static CStr,
    pub is_link: bool,
    start: AtomicPtr<u8>,
    /// 0: there is none. Release by `keep`, Acquire by `text`: the bytes are there before.
    length: AtomicUsize,
}

impl Text {
    const fn of(path: &'static CStr, is_link: bool) -> Text {
        Text { path, is_link, start: AtomicPtr::new(core::ptr::null_mut()), length: AtomicUsize::new(0) }
    }
}

pub static TEXTS: [Text; 4] = [
    Text::of(c"/proc/thread-self/maps", false),
    Text::of(c"/proc/self/cmdline", false),
    Text::of(c"/proc/self/comm", false),
    Text::of(c"/proc/self/exe", true),
];

impl Text {
    /// Keeps these bytes, which are never unmapped.
    pub fn keep(&self, start: *mut u8, length: usize) {
        self.start.store(start, Relaxed);
        self.length.store(length, Release);
    }
}

/// What was kept of a file, or of a link's target.
pub fn text(path: &CStr) -> Option<&'static [u8]> {
    let text = TEXTS.iter().find(|text| text.path == path)?;
    let length = text.length.load(Acquire);
    // SAFETY: `keep` was given that many bytes there, and they are never unmapped.
    (length != 0).then(|| unsafe { core::slice::from_raw_parts(text.start.load(Relaxed), length) })
}
