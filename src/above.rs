//! Calls to the layers above, bound when the library is compiled.
//!
//! A module that must call up declares what it needs in a trait of its own, named `Above`, and
//! calls it on [`Library`]. src/composition.rs, which knows everyone, implements these traits. So
//! no module names one that lies above it, a call costs what any other call costs, and there is no
//! function pointer that would have to be set before the first hook runs.

/// The library as a whole: all `Above` traits are implemented for it.
pub struct Library;

/// Something composed that has a part of this type.
pub trait Has<T> {
    fn part(&self) -> &T;
}
