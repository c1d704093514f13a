//! Whether the other threads have run since a given time. A thread that was preempted in the middle
//! of a hook has finished the hook by then.

use crate::buffer::Buffer;
use crate::{procfs, sys};

/// The most threads that are asked about. Asking about more would take longer than they need to
/// run.
const MOST: usize = 512;

/// How far a thread had run.
#[derive(Clone, Copy)]
pub struct Progress {
    thread: i32,
    progress: u64,
}

/// Notes how far each other thread has run.
pub fn note(into: &mut Buffer<Progress>) {
    into.clear();
    let own = sys::gettid();
    procfs::each_thread(|thread| {
        if thread != own
            && into.as_slice().len() < MOST
            && let Some(progress) = procfs::progress(thread)
        {
            into.push(Progress { thread, progress });
        }
    });
}

/// Whether all of them have run since, except those that sleep or are stopped.
pub fn have_all_run(noted: &[Progress]) -> bool {
    noted
        .iter()
        .all(|before| procfs::progress(before.thread) != Some(before.progress) || !procfs::is_runnable(before.thread))
}
