//! Thread-local words of the initial-exec model: `thread_local!` would call `__tls_get_addr`, which
//! may allocate.

/// Words that are zero in a new thread. `words!(symbol, bytes)` reserves them, aligned to 8, and
/// defines two functions: `address` returns their address in the calling thread, and `first` reads
/// their first four bytes.
macro_rules! words {
    ($symbol:literal, $bytes:literal) => {
        core::arch::global_asm!(
            ".pushsection .tbss,\"awT\",%nobits",
            ".p2align 3",
            concat!(".globl ", $symbol),
            concat!(".hidden ", $symbol),
            concat!(".type ", $symbol, ", %object"),
            concat!(".size ", $symbol, ", ", $bytes),
            concat!($symbol, ":"),
            concat!(".zero ", $bytes),
            ".popsection",
        );

        /// The address of the calling thread's words.
        #[inline(always)]
        pub fn address() -> usize {
            let address: usize;
            // SAFETY: reads the thread pointer, and an offset that the loader has fixed (ELF for
            // the Arm 64-bit Architecture, initial-exec).
            unsafe {
                core::arch::asm!(
                    concat!("adrp {0}, :gottprel:", $symbol),
                    concat!("ldr {0}, [{0}, :gottprel_lo12:", $symbol, "]"),
                    "mrs {1}, tpidr_el0",
                    "add {0}, {0}, {1}",
                    out(reg) address, out(reg) _, options(nostack, preserves_flags, readonly),
                );
            }
            address
        }

        /// The first four bytes of the calling thread's words.
        #[allow(dead_code)]
        #[inline(always)]
        pub fn first() -> u32 {
            // SAFETY: the word belongs to the calling thread and is aligned. No other thread
            // accesses it.
            unsafe { core::sync::atomic::AtomicU32::from_ptr(address() as *mut u32) }
                .load(core::sync::atomic::Ordering::Relaxed)
        }
    };
}

/// For thread_slot.rs.
pub mod slot {
    words!("epollshim_thread_slot", 8);
}

/// For process/sharing.rs.
pub mod sharing {
    words!("epollshim_sharing_words", 16);
}

/// For census/local.rs.
pub mod census {
    words!("epollshim_census_words", 64);
}
