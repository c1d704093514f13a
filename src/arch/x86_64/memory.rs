//! The library's own `memcpy`, `memmove`, `memset`, `memcmp`, `bcmp` and `strlen`.
//!
//! rustc emits calls to them. Sanitizers and valgrind's tools replace libc's, so that calls from
//! here would be checked, with reports about memory that only this library knows. The symbols are
//! hidden: calls from this library bind to them when it is linked, and no other object sees them.
//!
//! They are written in assembly because a compiler turns a loop that copies bytes into a call of
//! `memcpy`. They are correct and small. No hot call uses them.

/// The functions, each with a prefix to its name.
macro_rules! functions {
    ($prefix:literal) => {
        core::arch::global_asm!(
            concat!(
                ".macro epollshim_function name\n",
                ".globl ",
                $prefix,
                "\\name\n",
                ".hidden ",
                $prefix,
                "\\name\n",
                ".type ",
                $prefix,
                "\\name, @function\n",
                ".p2align 4\n",
                $prefix,
                "\\name:\n",
                ".endm\n",
            ),
            ".pushsection .text.epollshim.memory, \"ax\", @progbits",
            // Both directions are right for memmove: up to 32 bytes are read before any is written.
            "epollshim_function memmove",
            ".cfi_startproc",
            "mov rax, rdi",
            "sub rax, rsi",
            "cmp rax, rdx",
            "mov rax, rdi",
            "jae 2f",
            "cmp rdx, 16",
            "jb 2f",
            // The target begins within the source: 16 bytes at a time from the end.
            "movups xmm0, xmmword ptr [rsi]",
            "20:",
            "movups xmm1, xmmword ptr [rsi + rdx - 16]",
            "movups xmmword ptr [rdi + rdx - 16], xmm1",
            "sub rdx, 16",
            "cmp rdx, 16",
            "ja 20b",
            "movups xmmword ptr [rdi], xmm0",
            "ret",
            ".cfi_endproc",
            ".p2align 4",
            "epollshim_function memcpy",
            ".cfi_startproc",
            "mov rax, rdi",
            "2:",
            "cmp rdx, 16",
            "jb 4f",
            "movups xmm0, xmmword ptr [rsi + rdx - 16]",
            "lea r8, [rdi + rdx - 16]",
            "3:",
            "cmp rdi, r8",
            "jae 30f",
            "movups xmm1, xmmword ptr [rsi]",
            "movups xmmword ptr [rdi], xmm1",
            "add rsi, 16",
            "add rdi, 16",
            "jmp 3b",
            "30:",
            "movups xmmword ptr [r8], xmm0",
            "ret",
            "4:",
            "cmp edx, 8",
            "jb 5f",
            "mov rcx, qword ptr [rsi]",
            "mov r8, qword ptr [rsi + rdx - 8]",
            "mov qword ptr [rdi], rcx",
            "mov qword ptr [rdi + rdx - 8], r8",
            "ret",
            "5:",
            "cmp edx, 4",
            "jb 6f",
            "mov ecx, dword ptr [rsi]",
            "mov r8d, dword ptr [rsi + rdx - 4]",
            "mov dword ptr [rdi], ecx",
            "mov dword ptr [rdi + rdx - 4], r8d",
            "ret",
            "6:",
            "test edx, edx",
            "je 7f",
            // 1, 2 or 3: the first, the middle and the last.
            "mov r9d, edx",
            "shr r9d, 1",
            "movzx ecx, byte ptr [rsi]",
            "movzx r8d, byte ptr [rsi + r9]",
            "movzx r10d, byte ptr [rsi + rdx - 1]",
            "mov byte ptr [rdi], cl",
            "mov byte ptr [rdi + r9], r8b",
            "mov byte ptr [rdi + rdx - 1], r10b",
            "7:",
            "ret",
            ".cfi_endproc",
            "epollshim_function memset",
            ".cfi_startproc",
            "mov rax, rdi",
            "movzx ecx, sil",
            "movabs r8, 0x0101010101010101",
            "imul rcx, r8",
            "cmp rdx, 16",
            "jb 4f",
            "movq xmm0, rcx",
            "punpcklqdq xmm0, xmm0",
            "lea r8, [rdi + rdx - 16]",
            "3:",
            "movups xmmword ptr [rdi], xmm0",
            "add rdi, 16",
            "cmp rdi, r8",
            "jb 3b",
            "movups xmmword ptr [r8], xmm0",
            "ret",
            "4:",
            "cmp edx, 8",
            "jb 5f",
            "mov qword ptr [rdi], rcx",
            "mov qword ptr [rdi + rdx - 8], rcx",
            "ret",
            "5:",
            "sub rdx, 1",
            "jb 7f",
            "mov byte ptr [rdi + rdx], cl",
            "jmp 5b",
            "7:",
            "ret",
            ".cfi_endproc",
            // bcmp asks only whether there is a difference.
            "epollshim_function bcmp",
            "epollshim_function memcmp",
            ".cfi_startproc",
            "xor eax, eax",
            "xor ecx, ecx",
            "2:",
            "cmp rcx, rdx",
            "je 7f",
            "movzx eax, byte ptr [rdi + rcx]",
            "movzx r8d, byte ptr [rsi + rcx]",
            "add rcx, 1",
            "sub eax, r8d",
            "je 2b",
            "7:",
            "ret",
            ".cfi_endproc",
            "epollshim_function strlen",
            ".cfi_startproc",
            "xor eax, eax",
            "2:",
            "cmp byte ptr [rdi + rax], 0",
            "je 7f",
            "add rax, 1",
            "jmp 2b",
            "7:",
            "ret",
            ".cfi_endproc",
            ".popsection",
            ".purgem epollshim_function",
        );
    };
}

#[cfg(not(test))]
functions!("");
// A test program has libc's under their own names.
#[cfg(test)]
functions!("own_");

#[cfg(test)]
mod tests {
    unsafe extern "C" {
        fn own_memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8;
        fn own_memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8;
        fn own_memset(to: *mut u8, byte: i32, bytes: usize) -> *mut u8;
        fn own_memcmp(one: *const u8, other: *const u8, bytes: usize) -> i32;
        fn own_bcmp(one: *const u8, other: *const u8, bytes: usize) -> i32;
        fn own_strlen(text: *const u8) -> usize;
    }

    const LONGEST: usize = 130;

    fn numbers() -> Vec<u8> {
        (0..2 * LONGEST).map(|place| place as u8 | 1).collect()
    }

    #[test]
    fn copies_are_right_at_every_length_and_overlap() {
        for length in 0..LONGEST {
            for (from, to) in (0..40).map(|by| (20, by)).chain([(0, LONGEST), (LONGEST, 0)]) {
                let (mut moved, mut right) = (numbers(), numbers());
                right.copy_within(from..from + length, to);
                let start = moved.as_mut_ptr();
                // SAFETY: both ranges lie within the vector; memmove's may overlap.
                let answer = unsafe { own_memmove(start.add(to), start.add(from), length) };
                assert_eq!((answer as usize - start as usize, &moved), (to, &right), "{length} {from} {to}");
                let mut copied = vec![0; LONGEST];
                // SAFETY: two vectors of at least `length` bytes.
                let answer = unsafe { own_memcpy(copied.as_mut_ptr(), start.add(to), length) };
                assert_eq!(answer, copied.as_mut_ptr());
                assert_eq!(copied[..length], moved[to..to + length]);
                assert!(copied[length..].iter().all(|byte| *byte == 0), "{length}");
            }
        }
    }

    #[test]
    fn set_bytes_are_set_and_no_others() {
        for length in 0..LONGEST {
            let mut bytes = vec![7; LONGEST + 1];
            // SAFETY: `length` is less than the vector's.
            let answer = unsafe { own_memset(bytes.as_mut_ptr(), 0x1a5, length) };
            assert_eq!(answer, bytes.as_mut_ptr());
            assert!(bytes[..length].iter().all(|byte| *byte == 0xa5) && bytes[length..].iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn bytes_compare_as_unsigned_numbers_and_the_first_difference_decides() {
        for length in 0..40 {
            let one = vec![0x80u8; length];
            for place in 0..length {
                let mut other = one.clone();
                (other[place], *other.last_mut().unwrap()) = (0x7f, 0x81);
                let order = one.cmp(&other) as i32;
                // SAFETY: two vectors of `length` bytes.
                let (memcmp, bcmp) = unsafe {
                    (own_memcmp(one.as_ptr(), other.as_ptr(), length), own_bcmp(one.as_ptr(), other.as_ptr(), length))
                };
                assert_eq!((memcmp.signum(), bcmp != 0), (order, order != 0), "{length} {place}");
            }
            // SAFETY: one vector of `length` bytes.
            assert_eq!(unsafe { own_memcmp(one.as_ptr(), one.as_ptr(), length) }, 0);
        }
    }

    #[test]
    fn a_string_ends_at_its_zero() {
        for length in 0..40 {
            let text = [vec![1u8; length], vec![0, 1]].concat();
            // SAFETY: the text contains a zero byte.
            assert_eq!(unsafe { own_strlen(text.as_ptr()) }, length);
        }
    }
}
