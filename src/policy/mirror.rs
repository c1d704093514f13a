//! A copy of what is armed, and of its counts, in this process's recording
//! (`epollshim_format::recording::policy`). It is written completely when the recording begins and
//! when something is armed. The counts are updated after each call that may have changed them.

use crate::sync::Ordering;

use epollshim_format::faults::RULES;
use epollshim_format::recording::{kind, policy as layout};

use super::limits::{self, Key};
use super::rules;
use super::tally::{self, recorded, word};
use crate::record;

const _: () = assert!(Key::COUNT == layout::KEYS && RULES == layout::RULES);

/// Writes the whole copy, if there is a recording and something is armed or was armed before. Hooks
/// must not call it.
#[cold]
pub fn write() {
    let Some(place) = tally::of_this_process().map(|tally| &tally.mirror) else { return };
    let is_armed = limits::are_set() || rules::armed().next().is_some();
    if !record::is_on() || !is_armed && place.load(Ordering::Acquire).is_null() {
        return;
    }
    if record::part(kind::POLICY, layout::SIZE, 0, place).is_err() {
        return;
    }
    let Some(start) = recorded() else { return };
    let set = |place: usize, value: u64| word(start, place).store(value, Ordering::Relaxed);
    // A concurrent reader must find no rule rather than half a text.
    set(layout::COUNT, 0);
    let (mut count, mut end) = (0, 0);
    for rule in rules::armed() {
        let at = layout::FIRST + count * layout::RULE;
        let first = end;
        for byte in rule.text().take(layout::TEXT_BYTES - end) {
            // SAFETY: `end` stays below `TEXT_BYTES`, so this is within the text of the part, which
            // is mapped for good.
            unsafe { start.wrapping_add(layout::TEXT + end).write_volatile(byte) };
            end += 1;
        }
        set(at + layout::MATCHED, rule.matched);
        set(at + layout::FIRED, rule.fired);
        set(at + layout::IS_LEGAL, u64::from(rule.legal));
        set(at + layout::WORDS, first as u64 | ((end - first) as u64) << 32);
        count += 1;
    }
    set(layout::GENERATION, rules::generation());
    if let Some(tally) = tally::of_this_process() {
        tally.firings.copy_all(&|place| word(start, place));
    }
    word(start, layout::COUNT).store(count as u64, Ordering::Release);
    limits::mirror_counts();
}
