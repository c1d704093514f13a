//! The only template of entries that plain Rust cannot express.

/// Entries that call a function of ours, and then jump to the address that it returns, with
/// registers and stack as the program left them. That is necessary because a child of `vfork`
/// returns on its parent's stack, and `execl` is variadic. Written `name: choose;`. `choose` is
/// called with the program's arguments. With `numbered N` it is called with the address at which
/// the registers for arguments are kept (see hooks/arguments.rs), the number N, and the return
/// address.
macro_rules! tail_jump {
    ($($(#[$attribute:meta])* $name:ident: $choose:path $(, numbered $number:literal)?;)*) => {$(
        #[unsafe(naked)]
        $(#[$attribute])*
        pub unsafe extern "C-unwind" fn $name() -> isize {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "stp x29, x30, [sp, #-80]!",
                ".cfi_adjust_cfa_offset 80",
                ".cfi_offset x29, -80",
                ".cfi_offset x30, -72",
                "mov x29, sp",
                // All eight registers for arguments (AAPCS64 6.8.2).
                "stp x0, x1, [sp, #16]",
                "stp x2, x3, [sp, #32]",
                "stp x4, x5, [sp, #48]",
                "stp x6, x7, [sp, #64]",
                $(
                    "add x0, sp, #16",
                    concat!("mov w1, #", $number),
                    "mov x2, x30",
                )?
                "bl {choose}",
                // x16: an indirect jump by this register may go where a call may go (branch target
                // identification).
                "mov x16, x0",
                "ldp x0, x1, [sp, #16]",
                "ldp x2, x3, [sp, #32]",
                "ldp x4, x5, [sp, #48]",
                "ldp x6, x7, [sp, #64]",
                "ldp x29, x30, [sp], #80",
                ".cfi_adjust_cfa_offset -80",
                ".cfi_restore x29",
                ".cfi_restore x30",
                "br x16",
                ".cfi_endproc",
                choose = sym $choose,
            )
        }
    )*};
}

pub(crate) use tail_jump;
