//! What depends on the processor: all assembly of the library, and what stands in its place elsewhere.
//!
//! ```text
//! portable/   entries and counters in plain Rust: by `--features portable`, and on every processor but x86-64. Read these first
//! x86_64/     entries and counters as they are built by default; and what no plain Rust can say
//! aarch64/    what no plain Rust can say
//! ```
//!
//! What no plain Rust can say is in the processor's folder in each build: system calls, thread-local words of the initial-exec model,
//! registers, other stacks, addresses of what the linker defines, and jumps to functions that must find the stack as the program left it.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(portable)]
pub mod portable;
pub mod symbols;
#[cfg(target_arch = "x86_64")]
pub mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64 as processor;
#[cfg(portable)]
pub use portable::counters;
#[cfg(target_arch = "x86_64")]
use x86_64 as processor;
#[cfg(not(portable))]
pub use x86_64::counters;

#[cfg(not(test))]
pub(crate) use processor::entries::passing;
#[cfg(all(portable, not(test)))]
pub use processor::registers::return_address;
pub use processor::{registers, signal_frame, stack, system_call, thread_slot, thread_words, valgrind};
