//! Writes what some of the open descriptors refer to into the file when the process ends: a few of
//! each call that created any. Those that a finding counts as leaked come before those that an
//! epoll instance still looks after.

use crate::sync::Ordering;

use epollshim_format::descriptor::Kept;
use epollshim_format::recording::{described, kind, open_at_end};

use super::file::{State, word};
use crate::buffer::{Buffer, sort_by_key};
use crate::census::{self, places};
use crate::describe::describe;
use crate::sigsafe::on_own_stack;

/// The place that created a descriptor, whether an instance looks after it, and its number. Sorted.
type Open = Buffer<(u16, bool, i32)>;

pub fn write() {
    let Some(state) = State::of_this_process().filter(|_| census::is_on()) else { return };
    on_own_stack(|| Buffer::lend(|open| Buffer::lend(|some| write_some(state, open, some))));
}

fn write_some(state: &State, open: &mut Open, some: &mut Open) {
    for (fd, entry) in census::each_alive() {
        if places::at(entry.place()).site() != 0 {
            open.push((entry.place(), census::is_looked_after(fd), fd));
        }
    }
    sort_by_key(open.as_mut_slice(), |entry| *entry);
    let (mut last, mut count) = (None, 0);
    for entry in open.as_slice() {
        count = if last == Some(entry.0) { count + 1 } else { 1 };
        last = Some(entry.0);
        if count <= open_at_end::OF_A_CALL && some.as_slice().len() < open_at_end::MOST {
            some.push(*entry);
        }
    }
    let some = some.as_slice();
    if some.is_empty() {
        return;
    }
    state.segment(kind::OPEN_AT_END, open_at_end::FIRST + some.len() * open_at_end::SIZE, 0, None, |start| {
        // SAFETY: aligned words of the segment, which was just mapped with room for all entries.
        let set = |place: usize, value: u64| unsafe { word(start, place).store(value, Ordering::Relaxed) };
        for (index, (place, _, fd)) in some.iter().enumerate() {
            let at = open_at_end::FIRST + index * open_at_end::SIZE;
            let place = places::at(*place);
            let mut kept = Kept::new();
            describe(*fd, &mut kept);
            set(at + open_at_end::SITE, place.site() as u64);
            set(at + open_at_end::KIND, place.kind() as u64);
            let at = at + open_at_end::DESCRIBED;
            set(at + described::WHAT, u64::from(*fd as u32 + 1) | (kept.as_bytes().len() as u64) << 32);
            kept.words().enumerate().for_each(|(index, value)| set(at + described::FIELDS + index * 8, value));
        }
        set(open_at_end::COUNT, some.len() as u64);
    });
}
