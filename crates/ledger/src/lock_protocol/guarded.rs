//! What the lock protocol needs of the records that the lock guards.

use crate::lock::{Hold, Lock};
use crate::sync::AtomicBool;

/// What the lock guards.
pub trait Guarded<T> {
    /// The lock itself.
    fn lock(&self) -> &Lock;
    /// Makes a change. Only the holder calls it.
    fn apply(&self, change: T);
    /// Makes all records consistent again, after a change that was left half-made or was made by
    /// two threads at once. Only the holder calls it.
    fn rebuild(&self);
    /// Differs after every change.
    fn version(&self) -> u64;
    /// Set while a change that waited is being applied: its numbers may refer to something else
    /// since it was queued. Only the holder writes it.
    fn late(&self) -> &AtomicBool;
    /// The events that the holder notes while it holds the lock, and that are delivered when the
    /// lock is free. A holder that notes one sets [`flags::EVENTS`](crate::lock::flags::EVENTS).
    type Events;
    /// The holder calls it before it unlocks, except on the fast path.
    fn before_unlock(&self);
    /// Takes what the holder has noted.
    fn take_events(&self) -> Self::Events;
    /// Whether so little memory is left that the waiting changes may need more. If so, they wait
    /// until the thread that unlocks has got memory.
    fn is_nearly_out(&self) -> bool;
    /// Delivers the events. The former holder calls it when the lock is free.
    fn deliver(&self, events: Self::Events);
    /// Called after each unlock that was not on the fast path, for work that takes longer than
    /// others may wait for the lock.
    fn unlocked(&self);
    /// A change could neither be made nor queued.
    fn lose(&self, change: T);
    /// Whether the thread of a frame has ended.
    fn has_ended(&self, hold: Hold) -> bool;
    /// Whether the caller runs on another stack than the frames that it may have interrupted.
    fn is_on_another_stack(&self) -> bool;
    /// Whether a signal handler runs in the `bytes` above a frame of the calling thread, and has
    /// interrupted a hook. True also where that is not known.
    fn is_amid_a_hook(&self, view: View, bytes: usize) -> bool;
    /// CLOCK_MONOTONIC, in nanoseconds.
    fn now(&self) -> u64;
    /// Yields the processor, for longer if the queue `is_nearly_full`.
    fn give_way(&self, is_nearly_full: bool);
}
/// A frame, from which the stack above it is searched for running signal handlers.
#[derive(Clone, Copy)]
pub struct View {
    /// Its stack pointer; 0: that of the caller.
    pub stack: usize,
    /// The signals that the thread blocked there (only where `stack` is not 0).
    pub blocked: u64,
}

impl View {
    pub const OF_THE_CALLER: View = View { stack: 0, blocked: 0 };
}
