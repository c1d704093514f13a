//! Whether the conditions of a rule hold for a call.

use crate::sync::{AtomicU64, Ordering};

use epollshim_format::function::Function;

use super::entry::{
    DEPTH, Entry, HAS_CALLER, HAS_EPFD, HAS_EVENTS, HAS_FD, HAS_SITE, HAS_STACK, HAS_STACK_NAME, ONLY_DUPLICATES,
    OPERATION, PHASE,
};
use super::on_stack;
use super::table::Table;
use crate::frame::{Frame, epfd_of, fd_of};
use crate::policy::effects;
use crate::{session, stacks};

impl Entry {
    /// Whether a call fulfils all conditions of the rule.
    #[inline(always)]
    pub(super) fn wants(&self, head: u64, table: &Table, frame: &Frame, function: Function) -> bool {
        const CONDITIONS: u64 = HAS_FD
            | HAS_EPFD
            | HAS_EVENTS
            | HAS_CALLER
            | HAS_SITE
            | HAS_STACK_NAME
            | HAS_STACK
            | ONLY_DUPLICATES
            | 3 << OPERATION
            | 3 << PHASE;
        head & CONDITIONS == 0 || self.wants_these(head, table, frame, function)
    }

    fn wants_these(&self, head: u64, table: &Table, frame: &Frame, function: Function) -> bool {
        let phase = head >> PHASE & 3;
        // Relaxed: the driver that sets the phase synchronizes with the program by other means, and
        // nothing else depends on this word.
        if phase != 0 && session::faults::page().is_none_or(|page| page.phase.load(Ordering::Relaxed) + 1 != phase) {
            return false;
        }
        let descriptors = self.descriptors.load(Ordering::Relaxed);
        let is_ctl = function == Function::EpollCtl;
        let operation = (head >> OPERATION & 3) as i32;
        if operation != 0 && !(is_ctl && frame.int(1) == operation) {
            return false;
        }
        if head & ONLY_DUPLICATES != 0 && function == Function::Fcntl && !is_duplication(frame.int(1)) {
            return false;
        }
        if head & HAS_EPFD != 0 && epfd_of(function, &frame.words) != Some((descriptors >> 32) as i32) {
            return false;
        }
        if head & HAS_FD != 0 && fd_of(function, &frame.words) != Some(descriptors as i32) {
            return false;
        }
        if head & HAS_EVENTS != 0 {
            let wanted = self.events.load(Ordering::Relaxed) as u32;
            if !is_ctl || effects::asked_for(frame).is_none_or(|mask| mask & wanted != wanted) {
                return false;
            }
        }
        if head & HAS_SITE != 0 && !effects::is_at(frame.caller, self.site.load(Ordering::Relaxed)) {
            return false;
        }
        let text = |place: &AtomicU64| table.kept(place.load(Ordering::Relaxed));
        if head & HAS_CALLER != 0 && !effects::is_called_by(frame.caller, text(&self.caller)) {
            return false;
        }
        // Last, because it takes the longest.
        if head & HAS_STACK != 0
            && stacks::hash(frame.caller, (head >> DEPTH & 0x7f) as usize, &mut |_| {})
                != Some(self.stack.load(Ordering::Relaxed))
        {
            return false;
        }
        let functions = self.on_stack.load(Ordering::Relaxed);
        head & HAS_STACK_NAME == 0
            || on_stack::is_on_stack(frame.caller, text(&self.stack_name), |address| {
                table.has_function_at(functions, address)
            })
    }
}

/// Whether a command of fcntl creates a descriptor.
fn is_duplication(command: i32) -> bool {
    command == libc::F_DUPFD || command == libc::F_DUPFD_CLOEXEC
}
