//! The ledger: which descriptors of a process refer to which open file descriptions, which of these
//! are epoll instances, and which interests each instance has. It follows, from outside, what the
//! kernel does in fs/eventpoll.c and fs/file.c.
//!
//! The ledger is a model of its own. It makes no system call, opens nothing and allocates nothing.
//! It asks a [`Kernel`] for what it needs of the kernel, and notifies an [`Observer`] of each
//! change that others follow. So its tests need no kernel, and run under models that stop,
//! interrupt and fork it at each step.
//!
//! | file | what |
//! |---|---|
//! | `kernel.rs` | the traits `Kernel` and `Observer` |
//! | `core.rs` | the records as a whole, and how each change is followed |
//! | `descriptors.rs`, `records.rs` | the state of a number; instances and interests |
//! | `pool.rs`, `numbers.rs`, `chunk.rs` | the memory of these |
//! | `lock.rs`, `queue.rs`, `lock_protocol.rs` | how a change gets the lock or into the queue |
//! | `answers.rs` | the kernel's answers about duplicates, from before the lock was taken |
//! | `changes.rs` | the changes |
//! | `events.rs` | events that are delivered when the lock is free |
//! | `correction.rs` | compares the ledger with the kernel, and corrects it |
//! | `reservations.rs` | what limits count |
//! | `recent_closes.rs` | for findings: where a watched descriptor was closed |
//! | `creation_sites.rs` | for findings: where instances are created |
//! | `instance_closes.rs` | for findings: where the descriptors of instances were closed |
//! | `sync.rs`, `model.rs` | the atomics, and the models that step through them |
//!
//! Any thread reads the records without the lock. Only the holder of the lock calls what changes
//! them.
#![no_std]
// These are parts of a static, which `const fn new` initialises. Nothing would use `Default`.
#![allow(clippy::new_without_default)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod answers;
mod changes;
mod chunk;
pub mod core;
mod correction;
mod creation_sites;
pub mod descriptors;
mod events;
pub mod instance_closes;
mod kernel;
pub mod list;
pub mod lock;
#[cfg(test)]
mod lock_models;
pub mod lock_protocol;
#[cfg(any(test, feature = "models"))]
pub mod model;
pub mod numbers;
pub mod pool;
mod queue;
pub mod recent_closes;
pub mod records;
pub mod reservations;
pub mod sort;
pub mod sync;

pub use answers::{Answers, Ring};
pub use changes::{Change, Rows};
pub use correction::{Picture, Room, Strangers};
pub use events::{Event, Events};
pub use kernel::{Kernel, Memory, Observer};
