//! Everything that depends on the processor: all assembly of the library, and plain Rust that
//! replaces it.
//!
//! ```text
//! portable/   entries and counters in plain Rust, for `--features portable` and for every
//!             processor except x86-64. Read these first
//! x86_64/     entries and counters of the default build, and what plain Rust cannot express
//! aarch64/    what plain Rust cannot express
//! ```
//!
//! What plain Rust cannot express is in the processor's folder in every build: system calls,
//! thread-local words of the initial-exec model, registers, other stacks, addresses that the linker
//! defines, and jumps to functions that must find the stack as the program left it.

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
pub(crate) use processor::entries::tail_jump;
#[cfg(all(portable, not(test)))]
pub use processor::registers::return_address;
pub use processor::{registers, signal_frame, stack, system_call, thread_slot, thread_words, valgrind};
