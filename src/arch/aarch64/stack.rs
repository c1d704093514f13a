//! Running code on another stack.

use core::ffi::c_void;

/// Calls `run(work)` on another stack, whose upper end (aligned to 16) is given. The frame is
/// described by x29, which the callee preserves: unwinders find the way back to the old stack.
#[unsafe(naked)]
pub extern "C" fn call_on(top: *mut u8, work: *mut c_void, run: extern "C-unwind" fn(*mut c_void)) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-16]!",
        ".cfi_adjust_cfa_offset 16",
        ".cfi_offset x29, -16",
        ".cfi_offset x30, -8",
        "mov x29, sp",
        ".cfi_def_cfa x29, 16",
        "mov sp, x0",
        "mov x0, x1",
        "blr x2",
        "mov sp, x29",
        "ldp x29, x30, [sp], #16",
        ".cfi_def_cfa sp, 0",
        "ret",
        ".cfi_endproc",
    )
}

/// Starts a thread by `clone(flags)`, which calls `run(work)` and ends. Returns its id, or a
/// negative error number. The kernel clears `word` when the thread ends.
#[unsafe(naked)]
pub extern "C" fn start(
    top: *mut u8,
    work: *mut c_void,
    run: extern "C-unwind" fn(*mut c_void),
    word: *mut u32,
    flags: i32,
) -> isize {
    // clone(flags, stack, parent_tid, tls, child_tid) has its arguments in x0 to x4 (Linux v6.1
    // kernel/fork.c, CONFIG_CLONE_BACKWARDS).
    core::arch::naked_asm!(
        ".cfi_startproc",
        "stp x1, x2, [x0, #-16]",
        "sub x1, x0, #16",
        "mov w0, w4",
        "mov x4, x3",
        "mov x2, xzr",
        "mov x3, xzr",
        "mov x8, #{clone}",
        "svc #0",
        "cbz x0, 2f",
        "ret",
        // The new thread. No frame lies above this one.
        "2:",
        ".cfi_undefined x30",
        "mov x29, xzr",
        "mov x30, xzr",
        "ldp x0, x1, [sp], #16",
        "blr x1",
        "mov x0, xzr",
        "mov x8, #{exit}",
        "svc #0",
        "udf #0",
        ".cfi_endproc",
        clone = const libc::SYS_clone,
        exit = const libc::SYS_exit,
    )
}
