//! Traces a program by ptrace(2), to see where it is when it gets the signal of a crash. Its
//! children are not traced.

use std::collections::BTreeSet;

use epollshim_recording::Options;

use super::callers::Objects;
use super::verdict::OF_CRASHES;
use crate::sys::trace::{self, Stop};

/// The traced threads.
pub struct Tracer(BTreeSet<i32>);

impl Tracer {
    /// None: the program may not be traced, or another process traces it.
    pub fn of(pid: i32) -> Option<Tracer> {
        trace::seize(pid, true).ok().map(|()| Tracer([pid].into()))
    }

    /// Whether a thread id is that of a traced thread, whose end is not that of a process.
    pub fn has(&self, tid: i32) -> bool {
        self.0.contains(&tid)
    }

    /// Continues all threads that have stopped. If one of them got the signal of a crash, returns
    /// its stack.
    pub fn go_on(&mut self, pid: i32, options: &Options) -> Option<String> {
        let mut place = None;
        while let Some((tid, stop)) = trace::stopped() {
            self.0.insert(tid);
            if let Stop::Signal(signal) = stop
                && (signal == libc::SIGABRT || OF_CRASHES.contains(&signal))
                && let Ok(registers) = trace::registers(tid)
            {
                place = Some(Objects::of(pid, options).text(registers));
            }
            trace::go_on(tid, stop);
        }
        place
    }
}
