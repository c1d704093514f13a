//! Work that only the library's constructor may do.

/// Proof that the library's constructor is running. Only the constructor creates one.
///
/// A function that allocates, takes a lock or loads an object takes this proof as an argument. No
/// hook can call it, so it is never called while the hook's caller holds a lock.
pub struct AtLoad(());

impl AtLoad {
    /// # Safety
    /// Only the constructor (init.rs) may call this.
    pub const unsafe fn new() -> AtLoad {
        AtLoad(())
    }
}
