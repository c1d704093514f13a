//! The library that is preloaded into the program: `LD_PRELOAD=libepollshim.so ./app`.
//!
//! ```text
//! What the program calls
//!   hooks/           the functions that replace glibc's
//!   frame.rs         a call's arguments, as hooks pass them on
//!   capi.rs          the C interface
//!
//! What is done to a call
//!   policy/          faults and limits
//!   steer.rs         arms faults and limits while the program runs
//!   session.rs       counts that the processes of one user share
//!
//! What is observed
//!   ledger/          the ledger of this process; crates/ledger is the model
//!   counters.rs      counters of calls and waits, for each thread
//!   census/          every other descriptor, on request
//!   findings/        problems in how the program uses descriptors
//!   stacks.rs        call stacks, on request
//!   log/             the log: one line per call
//!   record/          the recording: a file that outlives the process
//!   report/          the exit report
//!
//! The process and its threads
//!   init.rs          initialises the library; config.rs: the options
//!   process.rs       whose memory this is: the process's own, a fork's copy, or its parent's
//!   thread.rs        the calling thread's block of counters; registry.rs: all threads' blocks
//!   composition.rs   the parts of a block and of the page that the kernel wipes at fork
//!   above.rs         calls to the layers above
//!   interrupted.rs   whether a signal handler on the stack interrupted a hook
//!
//! The C library and the loader
//!   real.rs          the real functions
//!   loaded.rs        the loaded objects, where they are looked up; elf.rs: symbol tables
//!   libc_kind.rs     whether the C library is glibc or musl
//!   at_load.rs       proof that the constructor is running
//!   environment.rs   the environment at load
//!   streams.rs       the descriptors of FILE and DIR
//!   image.rs         this library's own segments
//!
//! The kernel
//!   arch/            what depends on the processor, including all assembly
//!   sys.rs           system calls that bypass libc; system_call.rs: the instruction
//!   sigsafe.rs       runs work on a separate stack, and opens files in a separate table
//!   filters/         which system calls the program's seccomp filters allow
//!   seccomp/         watches which filters the program installs
//!   procfs.rs        reads /proc; describe.rs: what a descriptor refers to
//!   clock.rs         the clocks of the vDSO
//!   place.rs         opens files where other users may have put something first
//!   output.rs        writes messages without blocking
//!   valgrind.rs      requests to valgrind
//!
//! Building blocks
//!   sync.rs          atomics
//!   buffer.rs        a growing array; path.rs: a path on the stack; mapped.rs: the ledger's memory
//! ```
//!
//! A module uses the modules of its own layer and of the layers below it (ARCHITECTURE.md;
//! tests/layers.rs enforces it). A module that must call a layer above declares a trait, which
//! composition.rs implements.
//!
//! # Rules for everything that a hook reaches
//!
//! 1. It allocates nothing. Memory comes from the kernel by `mmap`, in chunks that are never
//!    returned.
//! 2. It waits for no lock. The ledger's lock is a try-lock: a thread that does not get it queues
//!    its change (crates/ledger/src/lock.rs).
//! 3. It cannot panic: no indexing, no `unwrap`, no arithmetic that could overflow into a panic.
//! 4. It preserves errno, and calls no function of libc except the hooked one. It makes a system
//!    call only if a descriptor that the ledger knows is created or closed.
//!
//! A function that allocates or takes a lock (it registers an exit or fork handler, or loads
//! libgcc's unwinder) takes an `at_load::AtLoad`, which only the constructor can create.
//! tests/hosts_allocators.rs lists each function that the library imports, and why it may.
//!
//! redhook needs `std`, so `std` is linked, but nothing here uses it. The crate is `no_std`: a
//! lock, an allocation or a `println!` cannot slip in unnoticed. A panic cannot either: nothing
//! refers to the code of panics, so the linker drops it (tests/cost.rs checks). Two habits keep it
//! that way: no `Drop` where something could unwind (buffer.rs), and `extern "C-unwind"` wherever
//! rustc would add a guard that aborts.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(test, allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

#[cfg(not(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!(
    "epollshim is for Linux on x86-64 or aarch64, and is built for glibc (it serves musl too); other processors need a folder in src/arch"
);

// For redhook's `hook!` alone, which names `::std`.
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
