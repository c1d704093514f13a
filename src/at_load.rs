//! What is done by the library's constructor alone.

/// Proof that this is the library's constructor, which alone makes one. What allocates, takes a lock or loads an object asks for
/// it: no hook can come there, whatever its caller holds.
pub struct AtLoad(());

impl AtLoad {
    /// # Safety
    /// For the constructor (init.rs).
    pub const unsafe fn new() -> AtLoad {
        AtLoad(())
    }
}
