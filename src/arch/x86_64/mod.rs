//! x86-64.

#[cfg(not(portable))]
pub mod counters;
#[cfg(not(test))]
#[cfg_attr(portable, allow(unused_macros))]
pub mod entries;
mod memory;
#[cfg(not(test))]
#[cfg_attr(portable, allow(unused_macros, unused_imports))]
pub mod pieces;
pub mod registers;
pub mod signal_frame;
pub mod stack;
pub mod symbols;
pub mod system_call;
pub mod thread_slot;
pub mod thread_words;
pub mod valgrind;
