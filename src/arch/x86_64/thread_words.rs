//! Thread-local words of the initial-exec model: `thread_local!` would call `__tls_get_addr`, which
//! may allocate.

/// Words that are zero in a new thread. `words!(symbol, bytes)` reserves them, aligned to 8, and
/// defines two functions: `address` returns their address in the calling thread, and `first` reads
/// their first four bytes.
macro_rules! words {
    ($symbol:literal, $bytes:literal) => {
        core::arch::global_asm!(
            ".pushsection .tbss,\"awT\",@nobits",
            ".p2align 3",
            concat!(".globl ", $symbol),
            concat!(".hidden ", $symbol),
            concat!(".type ", $symbol, ", @object"),
            concat!(".size ", $symbol, ", ", $bytes),
            concat!($symbol, ":"),
            concat!(".zero ", $bytes),
            ".popsection",
        );

        /// The address of the calling thread's words.
        #[inline(always)]
        pub fn address() -> usize {
            let address: usize;
            // SAFETY: reads the thread pointer, and an offset that the loader has fixed (x86-64
            // psABI, initial-exec).
            unsafe {
                core::arch::asm!(concat!("mov {0}, qword ptr [rip + ", $symbol, "@GOTTPOFF]"), "add {0}, qword ptr fs:[0]",
                     out(reg) address, options(nostack, readonly));
            }
            address
        }

        /// The first four bytes of the calling thread's words.
        #[allow(dead_code)]
        #[inline(always)]
        pub fn first() -> u32 {
            let bits: usize;
            // SAFETY: reads the calling thread's own bytes, at the offset that the loader has fixed
            // (x86-64 psABI, initial-exec).
            unsafe {
                core::arch::asm!(concat!("mov {0:r}, qword ptr [rip + ", $symbol, "@GOTTPOFF]"), "mov {0:e}, dword ptr fs:[{0:r}]",
                     out(reg) bits, options(nostack, preserves_flags, readonly));
            }
            bits as u32
        }
    };
}

/// For process/sharing.rs.
pub mod sharing {
    words!("epollshim_sharing_words", 16);
}

/// For census/local.rs.
pub mod census {
    words!("epollshim_census_words", 64);
}
