//! The atomics of the library: every other file takes them from here, so that a model test can stop a thread at each of
//! their steps.
#![allow(unused_imports)]

pub use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicI64, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
    compiler_fence, fence,
};
