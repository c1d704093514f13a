//! What the loader sees instead of glibc's functions, one file a family.
//!
//! A hook reads as: do it, note it. It has no logic of its own, and keeps the laws of lib.rs.
//! Those that record who called them begin with two instructions that pass the return address on as one more
//! argument, and jump: no frame stands between the program and the function that follows.
//!
//! Exports exist only in the cdylib: a test binary must not interpose on its own test runner.

mod descriptors;
mod endings;
mod epoll;
mod raw;
