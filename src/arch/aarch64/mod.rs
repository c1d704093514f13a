//! aarch64: what plain Rust cannot express. The entries are those of ../portable.

#[cfg(not(test))]
pub mod entries;
pub mod registers;
pub mod signal_frame;
pub mod stack;
pub mod symbols;
pub mod system_call;
pub mod thread_slot;
pub mod thread_words;
pub mod valgrind;
