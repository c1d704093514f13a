//! Calls to the layers above, bound at compile time.
//!
//! A module that must call a layer above declares what it needs in a trait of its own, named
//! `Above`, and calls it on [`Library`]. src/composition.rs, which may name every module,
//! implements these traits. So no module names one of a layer above it, such a call costs as little
//! as any other, and no function pointer must be set before the first hook runs.

/// The library as a whole. Every `Above` trait is implemented for it.
pub struct Library;

/// A composed type that has a part of type `T`.
pub trait Has<T> {
    fn part(&self) -> &T;
}
