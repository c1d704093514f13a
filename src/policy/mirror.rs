//! What is armed, and what it has counted, in this process's recording
//! (`epollshim_format::recording::policy`): written whole when the recording begins and when something
//! is armed, and its counts after each call that may have changed them.

use crate::sync::{AtomicPtr, AtomicU64, Ordering};

use epollshim_format::faults::RULES;
use epollshim_format::function::Function;
use epollshim_format::recording::{kind, policy as layout};

use super::limits::{self, Key};
use super::{rules, tally};
use crate::record;

const _: () = assert!(Key::COUNT == layout::KEYS && RULES == layout::RULES);

fn start() -> Option<*mut u8> {
    // Acquire: pairs with the Release of the one who has mapped it.
    let start = tally()?.mirror.load(Ordering::Acquire);
    (!start.is_null()).then_some(start)
}

fn word<'a>(start: *mut u8, place: usize) -> &'a AtomicU64 {
    // SAFETY: a word of the part, which is mapped for good: the callers' places are within it.
    unsafe { &*start.wrapping_add(place).cast::<AtomicU64>() }
}

/// Writes all of it, if there is a recording and something is armed or was. Not for hooks on their way.
#[cold]
pub fn write() {
    let Some(place) = tally().map(|tally| &tally.mirror) else { return };
    let is_armed = limits::are_set() || rules::armed().next().is_some();
    if !record::is_on() || !is_armed && place.load(Ordering::Acquire).is_null() {
        return;
    }
    if record::part(kind::POLICY, layout::SIZE, 0, place).is_err() {
        return;
    }
    let Some(start) = start() else { return };
    let set = |place: usize, value: u64| word(start, place).store(value, Ordering::Relaxed);
    // A reader meanwhile finds no rule rather than half a text.
    set(layout::COUNT, 0);
    let (mut count, mut end) = (0, 0);
    for rule in rules::armed() {
        let at = layout::FIRST + count * layout::RULE;
        let first = end;
        for byte in rule.text().take(layout::TEXT_BYTES - end) {
            // SAFETY: within the part's text.
            unsafe { start.wrapping_add(layout::TEXT + end).write_volatile(byte) };
            end += 1;
        }
        set(at + layout::MATCHED, rule.matched);
        set(at + layout::FIRED, rule.fired);
        set(at + layout::IS_LEGAL, u64::from(rule.legal));
        set(at + layout::WORDS, first as u64 | ((end - first) as u64) << 32);
        count += 1;
    }
    word(start, layout::COUNT).store(count as u64, Ordering::Release);
    follow_limits();
}

/// A call of a function has been looked at by the rules: what they count for it.
#[inline(never)]
pub fn follow_rules(function: Function) {
    let Some(start) = start() else { return };
    for (index, rule) in rules::armed_for(function) {
        let at = layout::FIRST + index * layout::RULE;
        for (place, count) in [(layout::MATCHED, rule.matched), (layout::FIRED, rule.fired)] {
            let copy = word(start, at + place);
            if copy.load(Ordering::Relaxed) < count {
                // The highest of what several threads have read: it only grows.
                copy.fetch_max(count, Ordering::Relaxed);
            }
        }
    }
}

/// A limit has counted.
#[cold]
pub fn follow_limits() {
    let Some(start) = start() else { return };
    for (index, key) in Key::ALL.into_iter().enumerate() {
        let at = layout::LIMITS + index * layout::LIMIT;
        let status = limits::status(key);
        let mode = match status.mode {
            Some("warn") => 1,
            Some(_) => 2,
            None => 0,
        };
        let values = [
            (layout::LIMIT_SET, status.limit.map_or(0, |limit| limit.saturating_add(1))),
            (layout::LIMIT_PEAK, status.peak),
            (layout::LIMIT_DENIED, status.denied),
            (layout::LIMIT_LET_THROUGH, status.let_through),
            (layout::LIMIT_MODE, mode),
        ];
        values.into_iter().for_each(|(place, value)| word(start, at + place).store(value, Ordering::Relaxed));
    }
}

/// Where the part lies: null: nowhere yet. In the page that the kernel wipes at fork.
pub type Place = AtomicPtr<u8>;
