//! What depends on the processor: all assembly of the library, and what stands in its place elsewhere.
//!
//! ```text
//! x86_64/     entries, counters and system calls as they are built by default
//! portable/   the same entries and counters in plain Rust: by `--features portable`, and on every other processor. Read these first
//! ```
//!
//! What no plain Rust can say is in the processor's own folder in both builds: system calls, thread-local words of the initial-exec
//! model, the stack pointer, and jumps to functions that must find the stack as the program left it.

#[cfg(portable)]
pub mod portable;
mod x86_64;

#[cfg(portable)]
pub use x86_64::return_address;
