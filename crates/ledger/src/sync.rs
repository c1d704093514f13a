//! The atomics of the ledger, and of the library that contains it. Every other file imports them
//! from here.
//!
//! With the feature `models` each operation is also a step of `model.rs`. At a step, a model test
//! can switch threads, stop one forever, run a signal handler in it, or fork the process.

#[cfg(not(any(test, feature = "models")))]
pub use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicI64, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, fence,
};
pub use core::sync::atomic::{Ordering, compiler_fence};

#[cfg(any(test, feature = "models"))]
pub use stepped::{
    AtomicBool, AtomicI32, AtomicI64, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, fence,
};

/// The same types, whose operations are steps of a model.
#[cfg(any(test, feature = "models"))]
mod stepped {
    use super::Ordering;
    use crate::model::step;
    use core::sync::atomic;

    pub fn fence(order: Ordering) {
        step();
        atomic::fence(order);
    }

    macro_rules! stepped {
        ($([$($generic:tt)*] $name:ident$(<$parameter:ident>)?: $value:ty;)*) => {$(
            #[repr(transparent)]
            #[derive(Debug, Default)]
            pub struct $name$(<$parameter>)?(atomic::$name$(<$parameter>)?);

            impl<$($generic)*> $name$(<$parameter>)? {
                pub const fn new(value: $value) -> Self {
                    Self(atomic::$name::new(value))
                }
                pub const fn as_ptr(&self) -> *mut $value {
                    self.0.as_ptr()
                }
                pub fn load(&self, order: Ordering) -> $value {
                    step();
                    self.0.load(order)
                }
                pub fn store(&self, value: $value, order: Ordering) {
                    step();
                    self.0.store(value, order);
                }
                pub fn swap(&self, value: $value, order: Ordering) -> $value {
                    step();
                    self.0.swap(value, order)
                }
                pub fn compare_exchange(
                    &self,
                    from: $value,
                    to: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    step();
                    self.0.compare_exchange(from, to, success, failure)
                }
                pub fn compare_exchange_weak(
                    &self,
                    from: $value,
                    to: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    self.compare_exchange(from, to, success, failure)
                }
                pub fn fetch_update(
                    &self,
                    set: Ordering,
                    fetch: Ordering,
                    mut update: impl FnMut($value) -> Option<$value>,
                ) -> Result<$value, $value> {
                    let mut now = self.load(fetch);
                    while let Some(next) = update(now) {
                        match self.compare_exchange(now, next, set, fetch) {
                            Ok(before) => return Ok(before),
                            Err(found) => now = found,
                        }
                    }
                    Err(now)
                }
            }
        )*};
    }

    stepped! {
        [] AtomicBool: bool;
        [] AtomicU8: u8;
        [] AtomicU16: u16;
        [] AtomicI32: i32;
        [] AtomicU32: u32;
        [] AtomicI64: i64;
        [] AtomicU64: u64;
        [] AtomicUsize: usize;
        [T] AtomicPtr<T>: *mut T;
    }

    macro_rules! numbers {
        ($($name:ident: $value:ty;)*) => {$(
            impl $name {
                pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                    step();
                    self.0.fetch_add(value, order)
                }
                pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                    step();
                    self.0.fetch_sub(value, order)
                }
                pub fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                    step();
                    self.0.fetch_or(value, order)
                }
                pub fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                    step();
                    self.0.fetch_and(value, order)
                }
                pub fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                    step();
                    self.0.fetch_max(value, order)
                }
            }
        )*};
    }

    numbers! {
        AtomicU8: u8;
        AtomicU16: u16;
        AtomicU32: u32;
        AtomicI32: i32;
        AtomicU64: u64;
        AtomicUsize: usize;
    }
}
