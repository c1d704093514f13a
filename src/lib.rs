//! The shim: what runs inside a stranger's process. `LD_PRELOAD=libepollshim.so ./app`.
//!
//! ```text
//! hooks/      what the loader sees instead of glibc's functions: do it, note it
//! frame.rs    a call, as hooks hand it on
//! real.rs     the real functions
//! loaded.rs   the loaded objects, in which they are looked up; elf.rs: symbol tables
//! counters.rs  what a thread counts of calls and waits
//! ledger/     the ledger of this process (crates/ledger is the model): what hooks tell it, and what is counted
//! registry.rs  the blocks of all threads
//! thread.rs   the calling thread's block of counters
//! process.rs  whose memory this is: own, fresh after a fork, borrowed from a parent
//! init.rs     coming to life; config.rs: the options; libc_kind.rs: whether the C library is glibc
//! report/     what is told at the end, and how it gets out
//! capi.rs     the C interface
//! policy/     what is done to calls besides: faults, limits
//! log/        a line a call
//! record/     a file that holds what is counted, and the last calls, whatever ends the process
//! steer.rs    faults and limits that are armed while the program runs
//! session.rs  what the processes of one user count together
//! census/     every other descriptor, if that is asked for
//! stacks.rs   call stacks, where return addresses are not enough
//! interrupted.rs  whether a handler on the stack has interrupted a hook
//! procfs.rs   what the kernel says about this process
//! describe.rs what a descriptor refers to
//! sigsafe.rs    work on a stack and, where it opens files, in a descriptor table of its own, with signals blocked
//! place.rs    opening what the options name, where other users may have put something first
//! valgrind.rs  requests to valgrind; image.rs: the library itself in memory; mapped.rs: memory for the ledger's tables
//! arch/       what depends on the processor: all assembly
//! sync.rs     the atomics that all of them use
//! composition.rs  who has what in the thread's block and in the page that a fork wipes; above.rs: calls to the layers above
//! seccomp/    watches the program's seccomp filters; filters/: which system calls they leave to the library
//! sys.rs      system calls round libc (system_call.rs: the instruction); clock.rs: the vDSO's clocks; buffer.rs, path.rs: memory for reports
//! ```
//!
//! A module uses those of its own layer and of the layers below it (ARCHITECTURE.md;
//! tests/layers.rs has the layers). For the layers above it has traits, which composition.rs
//! implements.
//!
//! # The laws of everything that a hook reaches
//!
//! 1. It does not allocate: memory comes from the kernel by `mmap`, in chunks that are never given back.
//! 2. It takes no lock that anybody could wait for (crates/ledger/src/lock.rs: a try-lock; a thread that does not get it queues its change).
//! 3. It does not panic: no indexing, no unwrap, no arithmetic that could overflow into one.
//! 4. It leaves errno alone, calls nothing of libc's but the function that was hooked, and makes no system call
//!    unless a descriptor that the ledger knows is born or dies.
//!
//! What does allocate or lock (registering exit and fork handlers, loading libgcc's unwinder) asks for an `at_load::AtLoad`, which only
//! the constructor can make. tests/hosts_allocators.rs lists each function that the library imports, and why it may.
//!
//! `std` is linked (redhook wants it) and not used: the crate is `no_std`, so that a lock, an allocation or a
//! `println!` cannot slip in unseen. Nor can a panic: nothing in the library refers to panicking, so that the linker leaves all of it
//! away (tests/cost.rs looks). What keeps it so: no `Drop` where something could unwind (buffer.rs), `extern "C-unwind"` wherever
//! rustc would put a guard that aborts.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(test, allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

#[cfg(not(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!(
    "epollshim is for Linux on x86-64 or aarch64, and is built for glibc (it serves musl too); other processors need a folder in src/arch"
);

// For redhook's `hook!` alone, which speaks of `::std`.
extern crate std;

mod above;
mod arch;
mod at_load;
mod buffer;
mod capi;
mod census;
mod clock;
mod composition;
mod config;
mod counters;
mod describe;
mod elf;
mod environment;
mod filters;
mod findings;
mod frame;
mod hooks;
mod image;
mod init;
mod interrupted;
mod ledger;
mod libc_kind;
mod loaded;
mod log;
mod mapped;
mod output;
mod path;
mod place;
mod policy;
mod process;
mod procfs;
mod real;
mod record;
mod registry;
mod report;
mod seccomp;
mod session;
mod sigsafe;
mod stacks;
mod steer;
mod streams;
mod sync;
mod sys;
mod system_call;
mod thread;
mod valgrind;

use arch::registers;
#[cfg(test)]
use epollshim_ledger::model;
