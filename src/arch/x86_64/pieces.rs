//! Pieces of the entries' assembly, which the templates are made of (entries.rs), and the sections in which they lie.
//!
//! What is called often lies together, in the sections `.text.hot.epollshim.*`: behind a system call each further page of code is one
//! that the processor has to find again. It begins a page, so that what it costs does not change with code elsewhere: which cache
//! sets it shares with what the kernel runs in the same call is decided by the place in the page. The options and addresses that
//! hot calls read lie together as well, in `.data.hot.epollshim`.

/// Has what is called always lie before what is but recorded. Sections come in the order in which they are first named, functions in assembly
/// in the order of their symbols, and `global_asm!` behind them: this one's symbol is the first of all.
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

// These sections in their order, and their alignment: each of the functions that are hottest begins a cache line, too. (At most one byte
// is skipped here: there is code before, maybe.)
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
    // Its loop over the events begins a cache line by this.
    ".irp name, untimed_wait, untimed_pwait",
    ".pushsection .text.hot.epollshim.\\name, \"ax\", @progbits",
    ".skip 48",
    ".popsection",
    ".endr",
    ".pushsection .data.hot.epollshim, \"aw\", @progbits",
    ".p2align 6",
    ".popsection",
);

/// Keeps the registers that the first so many arguments come in as the words of a [`Frame`], which lies `at` above the stack's end: a
/// sum in assembly that ends in a plus, or nothing.
macro_rules! keep_words {
    (1 $($at:literal)?) => { concat!("mov qword ptr [rsp + ", $($at,)? "0], rdi\n") };
    (4 $($at:literal)?) => {
        concat!(
            $crate::arch::x86_64::pieces::keep_words!(1 $($at)?),
            "mov qword ptr [rsp + ", $($at,)? "8], rsi\n",
            "mov qword ptr [rsp + ", $($at,)? "16], rdx\n",
            "mov qword ptr [rsp + ", $($at,)? "24], rcx\n",
        )
    };
    (5 $($at:literal)?) => {
        concat!($crate::arch::x86_64::pieces::keep_words!(4 $($at)?), "mov qword ptr [rsp + ", $($at,)? "32], r8\n")
    };
    (6 $($at:literal)?) => {
        concat!($crate::arch::x86_64::pieces::keep_words!(5 $($at)?), "mov qword ptr [rsp + ", $($at,)? "40], r9\n")
    };
}

/// Gives them back.
macro_rules! give_words {
    (1 $($at:literal)?) => { concat!("mov rdi, qword ptr [rsp + ", $($at,)? "0]\n") };
    (4 $($at:literal)?) => {
        concat!(
            $crate::arch::x86_64::pieces::give_words!(1 $($at)?),
            "mov rsi, qword ptr [rsp + ", $($at,)? "8]\n",
            "mov rdx, qword ptr [rsp + ", $($at,)? "16]\n",
            "mov rcx, qword ptr [rsp + ", $($at,)? "24]\n",
        )
    };
    (5 $($at:literal)?) => {
        concat!($crate::arch::x86_64::pieces::give_words!(4 $($at)?), "mov r8, qword ptr [rsp + ", $($at,)? "32]\n")
    };
    (6 $($at:literal)?) => {
        concat!($crate::arch::x86_64::pieces::give_words!(5 $($at)?), "mov r9, qword ptr [rsp + ", $($at,)? "40]\n")
    };
}

/// Puts a [`Frame`] with the first so many words below the return address; the others, and `state`, are not written.
macro_rules! open_frame {
    ($words:tt) => {
        concat!("sub rsp, 56\n", ".cfi_adjust_cfa_offset 56\n", $crate::arch::x86_64::pieces::keep_words!($words))
    };
}

/// Takes it away, for a jump to another function: the registers are the program's own again.
macro_rules! close_frame {
    ($words:tt) => {
        concat!($crate::arch::x86_64::pieces::give_words!($words), "add rsp, 56\n", ".cfi_adjust_cfa_offset -56\n")
    };
}

/// Goes the armed way, if there is something armed for the function. By the operands `armed_for`, `bit` and `armed`.
macro_rules! unless_armed {
    ($armed:ident) => {
        concat!("test word ptr [rip + {armed_for}], {bit} /* ", stringify!($armed), " */\n", "jnz {armed}\n")
    };
}

/// Jumps to the way of an `epoll_ctl`'s operation (in esi), by the operands `other`, `add`, `del` and `modify`; through a table: behind
/// ADD and DEL, which are long in the kernel, a conditional branch that is taken is mostly predicted wrong (benches/branches).
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

/// Calls the function whose address is in rax, or what an operand names, without `call`: see above. The byte in front of 6 is where
/// unwinders look for the caller's row.
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

/// Returns to the program without `ret`: see above. `size`: of what lies below the return address, a sum in assembly.
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

/// Tells `after`, an operand, what the real function returned, and returns what that says to the program.
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

/// Fetches the lines of the thread's block that a wait counts in, by the address in the word [`BLOCK`] of a frame, which lies `frame` above
/// the stack's end, as in [`keep_words`]. What comes behind reads the clock, and the lines come meanwhile, where the kernel
/// has driven them out.
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

/// Reads CLOCK_MONOTONIC into a register, in nanoseconds, by 16 bytes at the stack's end, as [`crate::clock::monotonic`] does. By the
/// operand `clock`. (Where it fails these may hold anything. They are not set before: the processor would guess that they still are
/// what was written by their address, and go wrong.)
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

/// What goes `enter` → real → `after`, each told the time: the stack has `size` bytes below the return address, the [`Frame`] lies `frame`
/// above its end, and the result is kept at `result` while the clock is read. `keep` and `tell`: what is done besides with the beginning,
/// in rsi, and before `after` is called.
macro_rules! amid_clock_readings {
    ($words:tt, $size:literal, $frame:literal, $result:literal, $keep:literal, $tell:literal) => {
        concat!(
            "sub rsp, ",
            $size,
            "\n.cfi_adjust_cfa_offset ",
            $size,
            "\n",
            $crate::arch::x86_64::pieces::keep_words!($words $frame),
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

/// Of an `epoll_ctl` whose success leaves nothing to do but to count it: counts it and returns to the program. All else goes on at 2.
/// (What `after` does first, without the call: behind an ADD each line of code is one that the kernel has driven out of its cache.)
/// `find` brings the thread's block into rcx, or its like; `also`: what else is done. By the operands `pending`, `nothing` and `count`, of
/// [`crate::thread::Block`].
macro_rules! unless_rare {
    () => {
        $crate::arch::x86_64::pieces::unless_rare!(
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
            // Not remembered and restored: LLVM's assembler would go on adjusting the offset of before.
            ".cfi_def_cfa rsp, 64\n",
            ".cfi_offset rip, -8\n",
        )
    };
}

/// Jumps by the timeout of a wait, which is in ecx, to `timed` or `untimed`, two operands.
macro_rules! by_timeout {
    () => {
        "test ecx, ecx\njnz {timed}\njmp {untimed}\n"
    };
}

/// Jumps to `duplicate` for the two commands of fcntl (in esi) that give a new number. By the operand `cloexec`.
macro_rules! by_command {
    () => {
        "cmp esi, {cloexec}\nje {duplicate}\ntest esi, esi\njz {duplicate}\n"
    };
}
const _: () = assert!(libc::F_DUPFD == 0);

pub(crate) use {
    amid_clock_readings, by_command, by_operation, by_timeout, call_real, close_frame, fetch_block, give_words,
    keep_words, leave, note_result, open_frame, read_clock, unless_armed, unless_rare,
};
