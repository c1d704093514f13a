//! Running code on another stack.

use core::ffi::c_void;

/// Calls `run(work)` on another stack, whose upper end (aligned to 16) is given. The frame is
/// described by rbp, which the callee preserves: unwinders find the way back to the old stack.
#[unsafe(naked)]
pub extern "C" fn call_on(top: *mut u8, work: *mut c_void, run: extern "C-unwind" fn(*mut c_void)) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov rsp, rdi",
        "mov rdi, rsi",
        "call rdx",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
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
    // clone(flags, stack, parent_tid, child_tid, tls) has its arguments in rdi, rsi, rdx, r10 and
    // r8 on x86-64.
    core::arch::naked_asm!(
        ".cfi_startproc",
        // A program may single-step itself by the trap flag (0x100). It steps this thread then, but
        // must not step the new one, where its handler would run on a stack that cannot be
        // unwound to the program.
        "pushfq",
        ".cfi_adjust_cfa_offset 8",
        "mov r9, qword ptr [rsp]",
        "and qword ptr [rsp], -257",
        "popfq",
        ".cfi_adjust_cfa_offset -8",
        "mov qword ptr [rdi - 16], rsi",
        "mov qword ptr [rdi - 8], rdx",
        "lea rsi, [rdi - 16]",
        "mov r10, rcx",
        "mov edi, r8d",
        "xor edx, edx",
        "xor r8d, r8d",
        "mov eax, {clone}",
        "syscall",
        "test rax, rax",
        "jz 2f",
        "push r9",
        ".cfi_adjust_cfa_offset 8",
        "popfq",
        ".cfi_adjust_cfa_offset -8",
        "ret",
        // The new thread. No frame lies above this one.
        "2:",
        ".cfi_undefined rip",
        "xor ebp, ebp",
        "pop rdi",
        "pop rax",
        "call rax",
        "xor edi, edi",
        "mov eax, {exit}",
        "syscall",
        "ud2",
        ".cfi_endproc",
        clone = const libc::SYS_clone,
        exit = const libc::SYS_exit,
    )
}
