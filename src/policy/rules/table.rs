//! A table of rules, with what they refer to: their texts, and the functions that `stack~` names.

use crate::sync::{AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering};

use epollshim_format::faults::RULES;
use epollshim_format::function::Functions;

use super::entry::{Entry, counters_of};
use super::on_stack;
use super::refusal::Refusal;
use crate::sys;

/// How many bytes of text of rules one table holds.
pub(super) const TEXT: usize = 16 * 1024;

/// How many functions of `stack~` conditions one table holds.
pub(super) const ON_STACK: usize = 4096;

/// The first and the last address of each function.
type OnStack = [[AtomicUsize; 2]; ON_STACK];

pub(super) struct Table {
    /// How many rules are complete. The arming thread stores it with Release, and calls load it
    /// with Acquire.
    pub(super) length: AtomicU32,
    pub(super) entries: [Entry; RULES],
    pub(super) text: [AtomicU8; TEXT],
    /// Null until a rule needs it. The arming thread stores it with Release, and calls load it with
    /// Acquire: they find the kernel's zeroes at least.
    pub(super) on_stack: AtomicPtr<OnStack>,
}

/// Where a part ends that begins at the lower half of `place`, and whose length is the upper half.
fn end(place: u64) -> usize {
    place as u32 as usize + (place >> 32) as usize
}

impl Table {
    pub(super) const fn new() -> Self {
        Table {
            length: AtomicU32::new(0),
            entries: [const { Entry::new() }; RULES],
            text: [const { AtomicU8::new(0) }; TEXT],
            on_stack: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Copies bytes to `at`, moves `at` past them, and returns their place and length. None: no
    /// room.
    pub(super) fn keep(&self, at: &mut usize, bytes: &[u8]) -> Option<u64> {
        let places = self.text.get(*at..*at + bytes.len())?;
        for (place, byte) in places.iter().zip(bytes) {
            place.store(*byte, Ordering::Relaxed);
        }
        let kept = *at as u64 | (bytes.len() as u64) << 32;
        *at += bytes.len();
        Some(kept)
    }

    /// The last of the first `length` rules.
    fn last(&self, length: u32) -> Option<&Entry> {
        length.checked_sub(1).and_then(|last| self.entries.get(last as usize))
    }

    /// Where the text of the first `length` rules ends. It is not stored separately, so a frame
    /// that is left while it fills in a rule leaves nothing to undo.
    pub(super) fn text_end(&self, length: u32) -> usize {
        self.last(length).map_or(0, |entry| end(entry.stack_name.load(Ordering::Relaxed)))
    }

    /// How many counters the first `length` rules have.
    pub(super) fn counters_end(&self, length: u32) -> usize {
        self.last(length).map_or(0, |entry| {
            let functions = Functions(entry.functions.load(Ordering::Relaxed));
            entry.counters.load(Ordering::Relaxed) as usize + counters_of(functions)
        })
    }

    /// How many functions of `stack~` the first `length` rules have.
    pub(super) fn on_stack_end(&self, length: u32) -> usize {
        self.last(length).map_or(0, |entry| end(entry.on_stack.load(Ordering::Relaxed)))
    }

    /// Finds the functions that a rule names, and stores their addresses from `at` on.
    pub(super) fn find_functions(&self, at: &mut usize, name: &[u8]) -> Result<u64, Refusal> {
        let first = *at;
        if !name.is_empty() {
            if self.on_stack.load(Ordering::Relaxed).is_null() {
                let start = sys::map(size_of::<OnStack>()).map_err(|_| Refusal::Full)?;
                self.on_stack.store(start.cast(), Ordering::Release);
            }
            // SAFETY: the pointer is the mapping that was stored above, now or for an earlier rule.
            // It is large enough for `OnStack`, is never unmapped, and its zero bytes are valid
            // atomics.
            let functions = unsafe { self.on_stack.load(Ordering::Acquire).as_ref() };
            let has_room = on_stack::find(name, |start, end| {
                let Some([first, last]) = functions.and_then(|functions| functions.get(*at)) else { return false };
                first.store(start, Ordering::Relaxed);
                last.store(end, Ordering::Relaxed);
                *at += 1;
                true
            });
            if !has_room {
                return Err(Refusal::ManyFunctions);
            }
        }
        Ok(first as u64 | ((*at - first) as u64) << 32)
    }

    /// Whether an address lies in one of the functions at `place`.
    pub(super) fn has_function_at(&self, place: u64, address: usize) -> bool {
        // SAFETY: the pointer is null, or the mapping that `find_functions` stored, which is never
        // unmapped. Its words are atomics.
        let functions = unsafe { self.on_stack.load(Ordering::Acquire).as_ref() };
        let functions = functions.and_then(|functions| functions.get(place as u32 as usize..end(place)));
        functions
            .unwrap_or_default()
            .iter()
            .any(|[first, last]| (first.load(Ordering::Relaxed)..=last.load(Ordering::Relaxed)).contains(&address))
    }

    pub(super) fn kept(&self, place: u64) -> impl Iterator<Item = u8> + Clone + '_ {
        let (at, length) = (place as u32 as usize, (place >> 32) as usize);
        self.text.get(at..at + length).unwrap_or_default().iter().map(|byte| byte.load(Ordering::Relaxed))
    }
}
