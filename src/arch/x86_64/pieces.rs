//! Pieces of assembly of which the entries' templates are made (entries.rs), and the sections that
//! they are in.
//!
//! The hot functions are next to each other, in the sections `.text.hot.epollshim.*`: after a
//! system call, the processor must translate the address of each further page of code again. They
//! begin at a page boundary, so that their cost does not change with code elsewhere. The offset in
//! the page decides which cache sets they share with the kernel's code for the same call. The
//! options and addresses that hot functions read are next to each other too, in
//! `.data.hot.epollshim`.

/// Places functions that are always called before those that only recordings need. Sections are
/// laid out in the order in which they are first named: in functions in assembly, in the order of
/// their symbols, and then in `global_asm!`. The symbol of this function is the first of all.
#[cfg(not(any(test, portable)))]
#[unsafe(naked)]
unsafe extern "C" fn order() {
    core::arch::naked_asm!(
        ".pushsection .text.hot.epollshim.entries, \"ax\", @progbits",
        ".popsection",
        ".pushsection .text.hot.epollshim.recorded, \"ax\", @progbits",
        ".popsection",
        "ret",
    )
}
#[cfg(not(any(test, portable)))]
#[used]
static ORDER: unsafe extern "C" fn() = order;

// The order and alignment of these sections. Each of the hottest functions also begins a cache
// line. (The third operand limits the padding to one byte, in case that there is code before.)
#[cfg(not(any(test, portable)))]
core::arch::global_asm!(
    ".pushsection .text.hot.epollshim.entries, \"ax\", @progbits",
    ".p2align 12,,1",
    ".popsection",
    ".irp name, add, del, untimed_wait, enter_wait, timed_wait, untimed_pwait, enter_pwait, timed_pwait, enter_pwait2, timed_pwait2, more, recorded",
    ".pushsection .text.hot.epollshim.\\name, \"ax\", @progbits",
    ".p2align 6,,1",
    ".popsection",
    ".endr",
    // With this padding, the loop over the events begins a cache line.
    ".irp name, untimed_wait, untimed_pwait",
    ".pushsection .text.hot.epollshim.\\name, \"ax\", @progbits",
    ".skip 48",
    ".popsection",
    ".endr",
    ".pushsection .data.hot.epollshim, \"aw\", @progbits",
    ".p2align 6",
    ".popsection",
);

/// Stores the registers of the first 1, 4, 5 or 6 arguments as the words of a `Frame`, which
/// begins `at` bytes above rsp. `at` is a sum in assembly that ends in a plus, or nothing.
macro_rules! store_words {
    (1 $($at:literal)?) => { concat!("mov qword ptr [rsp + ", $($at,)? "0], rdi\n") };
    (4 $($at:literal)?) => {
        concat!(
            $crate::arch::x86_64::pieces::store_words!(1 $($at)?),
            "mov qword ptr [rsp + ", $($at,)? "8], rsi\n",
            "mov qword ptr [rsp + ", $($at,)? "16], rdx\n",
            "mov qword ptr [rsp + ", $($at,)? "24], rcx\n",
        )
    };
    (5 $($at:literal)?) => {
        concat!($crate::arch::x86_64::pieces::store_words!(4 $($at)?), "mov qword ptr [rsp + ", $($at,)? "32], r8\n")
    };
    (6 $($at:literal)?) => {
        concat!($crate::arch::x86_64::pieces::store_words!(5 $($at)?), "mov qword ptr [rsp + ", $($at,)? "40], r9\n")
    };
}

/// Loads these registers again.
macro_rules! load_words {
    (1 $($at:literal)?) => { concat!("mov rdi, qword ptr [rsp + ", $($at,)? "0]\n") };
    (4 $($at:literal)?) => {
        concat!(
            $crate::arch::x86_64::pieces::load_words!(1 $($at)?),
            "mov rsi, qword ptr [rsp + ", $($at,)? "8]\n",
            "mov rdx, qword ptr [rsp + ", $($at,)? "16]\n",
            "mov rcx, qword ptr [rsp + ", $($at,)? "24]\n",
        )
    };
    (5 $($at:literal)?) => {
        concat!($crate::arch::x86_64::pieces::load_words!(4 $($at)?), "mov r8, qword ptr [rsp + ", $($at,)? "32]\n")
    };
    (6 $($at:literal)?) => {
        concat!($crate::arch::x86_64::pieces::load_words!(5 $($at)?), "mov r9, qword ptr [rsp + ", $($at,)? "40]\n")
    };
}

/// Makes room for a `Frame` below the return address, and stores its first words. The others, and
/// `state`, are not written.
macro_rules! open_frame {
    ($words:tt) => {
        concat!("sub rsp, 56\n", ".cfi_adjust_cfa_offset 56\n", $crate::arch::x86_64::pieces::store_words!($words))
    };
}

/// Removes the frame, for a jump to another function: the registers are the program's again.
macro_rules! close_frame {
    ($words:tt) => {
        concat!($crate::arch::x86_64::pieces::load_words!($words), "add rsp, 56\n", ".cfi_adjust_cfa_offset -56\n")
    };
}

/// Jumps to the armed entry if the function is armed. Operands: `armed_for`, `bit` and `armed`.
macro_rules! unless_armed {
    ($armed:ident) => {
        concat!("test word ptr [rip + {armed_for}], {bit} /* ", stringify!($armed), " */\n", "jnz {armed}\n")
    };
}

/// Jumps to `other`, `add`, `del` or `modify` (operands) by the operation of an `epoll_ctl` (in
/// esi). It uses a table: ADD and DEL spend long in the kernel, after which a taken conditional
/// branch is mostly mispredicted (benches/branches).
macro_rules! by_operation {
    () => {
        concat!(
            "cmp esi, 3\n",
            "ja 2f\n",
            "mov eax, esi\n",
            "lea r11, [rip + 3f]\n",
            "movsxd rax, dword ptr [r11 + rax * 4]\n",
            "add rax, r11\n",
            "jmp rax\n",
            "2:\n",
            "jmp {other}\n",
            ".p2align 2\n",
            "3:\n",
            ".long {other} - 3b\n",
            ".long {add} - 3b\n",
            ".long {del} - 3b\n",
            ".long {modify} - 3b\n",
        )
    };
}
const _: () = assert!(libc::EPOLL_CTL_ADD == 1 && libc::EPOLL_CTL_DEL == 2 && libc::EPOLL_CTL_MOD == 3);

/// Jumps to the function whose address is in rax, or which an operand names, and has it return to
/// label 6: a call without `call`, for the reason that the head of entries.rs gives. The byte
/// before label 6 is where unwinders look up the caller's row.
macro_rules! call_real {
    () => {
        $crate::arch::x86_64::pieces::call_real!("rax")
    };
    ($function:literal) => {
        concat!(
            "lea r11, [rip + 6f]\n",
            "push r11\n",
            ".cfi_adjust_cfa_offset 8\n",
            "jmp ",
            $function,
            "\n.cfi_adjust_cfa_offset -8\n",
            "nop\n",
            ".p2align 6\n",
            "6:\n",
        )
    };
}

/// Returns to the program without `ret`, for the reason that the head of entries.rs gives. `size`
/// is the size of what lies below the return address, a sum in assembly.
macro_rules! leave {
    ($size:literal) => {
        concat!(
            "add rsp, ",
            $size,
            "\n.cfi_adjust_cfa_offset -(",
            $size,
            ")\n",
            "pop rcx\n",
            ".cfi_adjust_cfa_offset -8\n",
            ".cfi_register rip, rcx\n",
            "jmp rcx\n",
        )
    };
}

/// Passes the real function's result to `after`, an operand, and returns what `after` returns to
/// the program.
macro_rules! note_result {
    () => {
        concat!(
            // The functions return int, whose upper half is undefined.
            "movsxd rsi, eax\n",
            "mov rdi, rsp\n",
            "call {after}\n",
            $crate::arch::x86_64::pieces::leave!("56"),
        )
    };
}

/// Prefetches the cache lines of the thread's block in which a wait is counted. The block's address
/// is in the word `BLOCK` of the frame, which begins `frame` bytes above rsp, as in
/// [`store_words`]. The kernel may have evicted these lines; they arrive while the clock is read.
macro_rules! fetch_block {
    ($frame:literal) => {
        concat!(
            "mov rcx, qword ptr [rsp + ",
            $frame,
            "{block}]\n",
            "prefetcht0 [rcx]\n",
            "prefetcht0 [rcx + {counters}]\n",
            "prefetcht0 [rcx + {counters} + 128]\n",
            "prefetcht0 [rcx + {counters} + 192]\n",
        )
    };
}

/// Reads CLOCK_MONOTONIC into a register, in nanoseconds, using 16 bytes at rsp. The computation is
/// that of [`crate::clock::monotonic`]. Operand: `clock`. (If the clock cannot be read, the 16
/// bytes may hold anything. They are not cleared first: the processor would predict that a load
/// from them gets the cleared value, and would have to start over.)
macro_rules! read_clock {
    ($register:literal) => {
        concat!(
            "mov edi, 1\n", // CLOCK_MONOTONIC
            "mov rsi, rsp\n",
            "call qword ptr [rip + {clock}]\n",
            "movsxd rcx, eax\n",
            "shr rcx, 1\n",
            "imul ",
            $register,
            ", qword ptr [rsp], 1000000000\n",
            "add ",
            $register,
            ", qword ptr [rsp + 8]\n",
            "or ",
            $register,
            ", rcx\n",
        )
    };
}
const _: () = assert!(libc::CLOCK_MONOTONIC == 1);

/// Runs `enter`, the real function and `after`, and reads the clock before the first and the last
/// of them. The stack has `size` bytes below the return address, and the `Frame` begins `frame`
/// bytes above rsp. The result is kept at `result` while the clock is read. `keep` stores the
/// beginning (in rsi), and `tell` loads it again before `after` is called.
macro_rules! between_clock_readings {
    ($words:tt, $size:literal, $frame:literal, $result:literal, $keep:literal, $tell:literal) => {
        concat!(
            "sub rsp, ",
            $size,
            "\n.cfi_adjust_cfa_offset ",
            $size,
            "\n",
            $crate::arch::x86_64::pieces::store_words!($words $frame),
            $crate::arch::x86_64::pieces::read_clock!("rsi"),
            $keep,
            "lea rdi, [rsp + ",
            $frame,
            "0]\n",
            $crate::arch::x86_64::pieces::call_real!("{enter}"),
            $crate::arch::x86_64::pieces::fetch_block!($frame),
            "mov dword ptr [rsp + ",
            $result,
            "], eax\n",
            $crate::arch::x86_64::pieces::read_clock!("rdx"),
            $tell,
            // The functions return int, whose upper half is undefined.
            "movsxd rsi, dword ptr [rsp + ",
            $result,
            "]\n",
            "lea rdi, [rsp + ",
            $frame,
            "0]\n",
            "call {after}\n",
            $crate::arch::x86_64::pieces::leave!($size),
        )
    };
}

/// If an `epoll_ctl` has succeeded and there is nothing to do but to count it: counts it and
/// returns to the program. Otherwise continues at label 2. It is the beginning of `after` without
/// the call: after an ADD, each line of code is one that the kernel has evicted. `find` loads the
/// address of the thread's block, or of `nobody`, into rcx. `also` is inserted before the count.
/// Operands: `pending`, `nothing` and `count`, of [`crate::thread::Block`].
macro_rules! count_success {
    () => {
        $crate::arch::x86_64::pieces::count_success!(
            "mov rcx, qword ptr [rip + epollshim_thread_slot@GOTTPOFF]\nmov rcx, qword ptr fs:[rcx]\n\
             lea rdx, [rip + epollshim_nobody]\nadd rcx, rdx\n",
            ""
        )
    };
    ($find:literal, $also:literal) => {
        concat!(
            $find,
            "test eax, eax\n",
            "js 2f\n",
            "cmp qword ptr [rcx + {pending}], {nothing}\n",
            "jne 2f\n",
            $also,
            "add qword ptr [rcx + {count}], 1\n",
            $crate::arch::x86_64::pieces::leave!("56"),
            "2:\n",
            // Not by `.cfi_remember_state`: LLVM's assembler would continue with the wrong offset
            // for `.cfi_adjust_cfa_offset`.
            ".cfi_def_cfa rsp, 64\n",
            ".cfi_offset rip, -8\n",
        )
    };
}

/// Jumps to `timed` or `untimed` (operands) by the timeout of a wait, which is in ecx.
macro_rules! by_timeout {
    () => {
        "test ecx, ecx\njnz {timed}\njmp {untimed}\n"
    };
}

/// Jumps to `duplicate` for the two commands of fcntl (in esi) that return a new descriptor.
/// Operand: `cloexec`.
macro_rules! by_command {
    () => {
        "cmp esi, {cloexec}\nje {duplicate}\ntest esi, esi\njz {duplicate}\n"
    };
}
const _: () = assert!(libc::F_DUPFD == 0);

pub(crate) use {
    between_clock_readings, by_command, by_operation, by_timeout, call_real, close_frame, count_success, fetch_block,
    leave, load_words, note_result, open_frame, read_clock, store_words, unless_armed,
};
