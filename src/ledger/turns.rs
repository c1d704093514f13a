//! Whether the other threads have had a turn on a processor: what a thread was in the midst of when it lost its own is done then.

use crate::buffer::Buffer;
use crate::{procfs, sys};

/// Threads of which this is asked. (Of more it would take longer than they need.)
const MOST: usize = 512;

/// How far a thread had come.
#[derive(Clone, Copy)]
pub struct Turn {
    thread: i32,
    progress: u64,
}

/// How far each other thread has come by now.
pub fn note(into: &mut Buffer<Turn>) {
    into.clear();
    let own = sys::gettid();
    procfs::each_thread(|thread| {
        if thread != own
            && into.as_slice().len() < MOST
            && let Some(progress) = procfs::progress(thread)
        {
            into.push(Turn { thread, progress });
        }
    });
}

/// Whether all have run since then, but for those that sleep or are stopped.
pub fn were_had(noted: &[Turn]) -> bool {
    noted.iter().all(|turn| procfs::progress(turn.thread) != Some(turn.progress) || !procfs::is_runnable(turn.thread))
}
