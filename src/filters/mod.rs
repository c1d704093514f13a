//! What is known of the program's seccomp filters: src/sys.rs and its neighbours ask here.
//!
//! ```text
//! verdict.rs   what the filters say of a call: sys.rs asks before each of the library's own
//! bpf.rs       runs a filter
//! reserve.rs   memory for a report if a filter forbids mmap
//! ballast.rs   address space for the same, where the process has none left
//! kept.rs      what a report reads in /proc, if a filter forbids opening it
//! ```
//!
//! Makes no system call, except to ask for the thread's own mode. src/seccomp/ watches the filters
//! and fills all of this.

pub mod ballast;
pub mod bpf;
pub mod kept;
pub mod reserve;
pub mod verdict;

#[cfg(test)]
mod tests;
