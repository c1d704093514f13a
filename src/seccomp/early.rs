//! What a report reads about this process in `/proc`, kept before a filter is installed that
//! forbids opening files. Later changes are missing: libraries that are loaded after the filter,
//! and a new name.

use crate::buffer::Buffer;
use crate::filters::kept::{TEXTS, Text};
use crate::sync::AtomicBool;
use crate::sync::Ordering::Relaxed;
use crate::{procfs, sigsafe};

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
    text.keep(start, length);
}
