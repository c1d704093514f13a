//! The way into a hook that has something to do after the real call, and the way out of it.
//!
//! ```text
//! program ── call ──▶ entry ── before(frame) ──▶ which function to call (left out where there is nothing to do)
//!                       │ ───── the real function, with the program's own registers
//!                       │ ───── after(frame, result) ──▶ what the program gets
//! program ◀── jump ─────┘
//! ```
//!
//! Where a call and its return before the real function would be felt, `go` stands for `before`: it ends in a jump to the real
//! function, which comes back to the entry. (That compilers make a jump of the last call of a function is a promise of none. Where it
//! were a call, all would be as right, and some nanoseconds dearer: tests/cost.rs counts the instructions.)
//!
//! Why this is written out and not left to the compiler: a plain wrapper ends in a second `ret` behind the
//! real function's own. Coming out of the kernel the processor's stack of predicted returns is spoilt (the
//! mitigations of Retbleed and SRSO rewrite it), so that every `ret` is mispredicted: measured 6.0 to 6.8 ns a wrapper, more
//! than all its counting. Popping the address and jumping is predicted like any indirect jump.
//!
//! Where predictions do outlive a system call, a `call` without a `ret` of its own would leave one prediction too
//! many, and every `ret` above the hook would go wrong, one after another. So the real function is not called
//! either: its return address is pushed, and it is jumped to. Its `ret` uses up the prediction of the program's own `call`;
//! it alone is wrong. Measured with 1, 3 and 5 frames above the hook, where predictions survive: 7.6, 10.0 and 12.7 ns
//! (with `call`: 9.5, 19.8 and 32.3; a plain wrapper: 4.3, 5.8 and 9.8). Where they do not: 1.4 ns (with `call`: 1.0).
//!
//! (A shadow stack would object; glibc enables it only where every loaded library asks for it, and we do not.)
//!
//! What is called often lies together, in the sections `.text.hot.epollshim.*`: behind a system call each further page of code is one
//! that the processor has to find again (8 ns less of an `epoll_create1` and of a close that the ledger is told of).
//! It begins a page, so that what it costs does not change with code elsewhere: which cache sets it shares with what the kernel runs
//! in the same call is decided by the place in the page (measured at 16 places, with the same code: ADD and DEL +12 to +18 ns, a wait
//! with 8 events +5 to +14). The options and addresses that hot calls read lie together as well, in `.data.hot.epollshim`.
//!
//! The frame is described to unwinders, has no personality and no destructors: pthread_cancel passes through.

pub use crate::frame::{After, Before, Frame};

// These sections in their order, and their alignment: each of the functions that are hottest begins a cache line, too. (At most one byte
// is skipped here: there is code before, maybe.)
#[cfg(not(test))]
core::arch::global_asm!(
    ".pushsection .text.hot.epollshim.entries, \"ax\", @progbits",
    ".p2align 12,,1",
    ".popsection",
    ".irp name, add, del, untimed_wait, go_wait, timed_wait, untimed_pwait, go_pwait, timed_pwait, go_pwait2, timed_pwait2, more, recorded",
    ".pushsection .text.hot.epollshim.\\name, \"ax\", @progbits",
    ".p2align 6,,1",
    ".popsection",
    ".endr",
    // Where its loop over the events falls into lines: with eight of them 1 ns.
    ".irp name, untimed_wait, untimed_pwait",
    ".pushsection .text.hot.epollshim.\\name, \"ax\", @progbits",
    ".skip 48",
    ".popsection",
    ".endr",
    ".pushsection .data.hot.epollshim, \"aw\", @progbits",
    ".p2align 6",
    ".popsection",
);

/// The word of its frame in which a function that goes on to the real one ([`go_on`]) leaves the thread's block, or
/// [`crate::thread::nobody`], for what comes behind it.
pub const BLOCK: usize = 5;

/// What does the same and calls it, without coming back in between.
#[cfg(not(test))]
pub type Go = extern "C-unwind" fn(&mut Frame) -> libc::c_int;
/// The same where it is told the time, in nanoseconds of CLOCK_MONOTONIC.
pub type TimedGo = extern "C-unwind" fn(&mut Frame, u64) -> libc::c_int;
pub type TimedAfter = extern "C-unwind" fn(&mut Frame, isize, u64) -> isize;
/// The same that is told when the call began, too, behind when it ended.
pub type RecordedAfter = extern "C-unwind" fn(&mut Frame, isize, u64, u64) -> isize;

/// Keeps the registers that the first so many arguments come in as the words of a [`Frame`], which lies `at` above the stack's end: a
/// sum in assembly that ends in a plus, or nothing.
#[cfg(not(test))]
macro_rules! keep_words {
    (1 $($at:literal)?) => { concat!("mov qword ptr [rsp + ", $($at,)? "0], rdi\n") };
    (4 $($at:literal)?) => {
        concat!(
            crate::hooks::entry::keep_words!(1 $($at)?),
            "mov qword ptr [rsp + ", $($at,)? "8], rsi\n",
            "mov qword ptr [rsp + ", $($at,)? "16], rdx\n",
            "mov qword ptr [rsp + ", $($at,)? "24], rcx\n",
        )
    };
    (5 $($at:literal)?) => {
        concat!(crate::hooks::entry::keep_words!(4 $($at)?), "mov qword ptr [rsp + ", $($at,)? "32], r8\n")
    };
    (6 $($at:literal)?) => {
        concat!(crate::hooks::entry::keep_words!(5 $($at)?), "mov qword ptr [rsp + ", $($at,)? "40], r9\n")
    };
}

/// Gives them back.
#[cfg(not(test))]
macro_rules! give_words {
    (1 $($at:literal)?) => { concat!("mov rdi, qword ptr [rsp + ", $($at,)? "0]\n") };
    (4 $($at:literal)?) => {
        concat!(
            crate::hooks::entry::give_words!(1 $($at)?),
            "mov rsi, qword ptr [rsp + ", $($at,)? "8]\n",
            "mov rdx, qword ptr [rsp + ", $($at,)? "16]\n",
            "mov rcx, qword ptr [rsp + ", $($at,)? "24]\n",
        )
    };
    (5 $($at:literal)?) => {
        concat!(crate::hooks::entry::give_words!(4 $($at)?), "mov r8, qword ptr [rsp + ", $($at,)? "32]\n")
    };
    (6 $($at:literal)?) => {
        concat!(crate::hooks::entry::give_words!(5 $($at)?), "mov r9, qword ptr [rsp + ", $($at,)? "40]\n")
    };
}

/// Puts a [`Frame`] with the first so many words below the return address; the others, and `state`, are not written.
#[cfg(not(test))]
macro_rules! open_frame {
    ($words:tt) => {
        concat!("sub rsp, 56\n", ".cfi_adjust_cfa_offset 56\n", crate::hooks::entry::keep_words!($words))
    };
}

/// Takes it away, for a jump to another function: the registers are the program's own again.
#[cfg(not(test))]
macro_rules! close_frame {
    ($words:tt) => {
        concat!(crate::hooks::entry::give_words!($words), "add rsp, 56\n", ".cfi_adjust_cfa_offset -56\n")
    };
}

/// Goes the armed way, if there is something armed for the function. By the operands `armed_for`, `bit` and `armed`.
#[cfg(not(test))]
macro_rules! unless_armed {
    ($armed:ident) => {
        concat!("test word ptr [rip + {armed_for}], {bit} /* ", stringify!($armed), " */\n", "jnz {armed}\n")
    };
}

/// Jumps to the way of an `epoll_ctl`'s operation (in esi), by the operands `other`, `add`, `del` and `modify`; through a table: behind
/// ADD and DEL, which are long in the kernel, a conditional branch that is taken costs 8 to 15 ns (benches/branches).
#[cfg(not(test))]
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
#[cfg(not(test))]
const _: () = assert!(libc::EPOLL_CTL_ADD == 1 && libc::EPOLL_CTL_DEL == 2 && libc::EPOLL_CTL_MOD == 3);

/// Calls the function whose address is in rax, or what an operand names, without `call`: see above. The byte in front of 6 is where
/// unwinders look for the caller's row.
#[cfg(not(test))]
macro_rules! call_real {
    () => {
        crate::hooks::entry::call_real!("rax")
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
#[cfg(not(test))]
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
#[cfg(not(test))]
macro_rules! note_result {
    () => {
        concat!(
            // The functions return int, whose upper half is undefined.
            "movsxd rsi, eax\n",
            "mov rdi, rsp\n",
            "call {after}\n",
            crate::hooks::entry::leave!("56"),
        )
    };
}

/// Fetches the lines of the thread's block that a wait counts in, by the address in the word [`BLOCK`] of a frame, which lies `frame` above
/// the stack's end, as in [`keep_words`]. What comes behind reads the clock, and the lines come meanwhile: 1 to 3 ns less of a timed wait, 5 where the kernel has
/// driven them out.
#[cfg(not(test))]
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
/// what was written by their address, and go wrong, 1 ns a wait.)
#[cfg(not(test))]
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
#[cfg(not(test))]
const _: () = assert!(libc::CLOCK_MONOTONIC == 1);

/// What goes `go` → real → `after`, each told the time: the stack has `size` bytes below the return address, the [`Frame`] lies `frame`
/// above its end, and the result is kept at `result` while the clock is read. `keep` and `tell`: what is done besides with the beginning,
/// in rsi, and before `after` is called.
#[cfg(not(test))]
macro_rules! amid_clock_readings {
    ($words:tt, $size:literal, $frame:literal, $result:literal, $keep:literal, $tell:literal) => {
        concat!(
            "sub rsp, ",
            $size,
            "\n.cfi_adjust_cfa_offset ",
            $size,
            "\n",
            crate::hooks::entry::keep_words!($words $frame),
            crate::hooks::entry::read_clock!("rsi"),
            $keep,
            "lea rdi, [rsp + ",
            $frame,
            "0]\n",
            crate::hooks::entry::call_real!("{go}"),
            crate::hooks::entry::fetch_block!($frame),
            "mov dword ptr [rsp + ",
            $result,
            "], eax\n",
            crate::hooks::entry::read_clock!("rdx"),
            $tell,
            // The functions return int, whose upper half is undefined.
            "movsxd rsi, dword ptr [rsp + ",
            $result,
            "]\n",
            "lea rdi, [rsp + ",
            $frame,
            "0]\n",
            "call {after}\n",
            crate::hooks::entry::leave!($size),
        )
    };
}

/// Of an `epoll_ctl` whose success leaves nothing to do but to count it: counts it and returns to the program. All else goes on at 2.
/// (What `after` does first, without the call: behind an ADD each line of code is one that the kernel has driven out of its cache.)
/// `find` brings the thread's block into rcx, or its like; `also`: what else is done. By the operands `pending`, `nothing` and `count`, of
/// [`crate::thread::Block`].
#[cfg(not(test))]
macro_rules! unless_rare {
    () => {
        crate::hooks::entry::unless_rare!(
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
            crate::hooks::entry::leave!("56"),
            "2:\n",
            // Not remembered and restored: LLVM's assembler would go on adjusting the offset of before.
            ".cfi_def_cfa rsp, 64\n",
            ".cfi_offset rip, -8\n",
        )
    };
}

#[cfg(not(test))]
pub(crate) use {
    amid_clock_readings, by_operation, call_real, close_frame, fetch_block, give_words, keep_words, leave, note_result,
    open_frame, read_clock, unless_armed, unless_rare,
};

/// Calls the function at `address` with the first words of a frame, four or more, as the last thing that is done before it: a jump.
///
/// # Safety
/// It must be the function that the frame's words are the arguments of, and have so many of them.
#[inline(always)]
pub unsafe fn go_on<const WORDS: usize>(frame: &Frame, address: usize) -> libc::c_int {
    const { assert!(WORDS == 4 || WORDS == 5) };
    let [a, b, c, d, ..] = frame.words;
    if WORDS == 4 {
        type Real = extern "C-unwind" fn(usize, usize, usize, usize) -> libc::c_int;
        // SAFETY: by this function's contract.
        let real = unsafe { core::mem::transmute::<usize, Real>(address) };
        real(a, b, c, d)
    } else {
        type Real = extern "C-unwind" fn(usize, usize, usize, usize, usize) -> libc::c_int;
        // SAFETY: as above.
        let real = unsafe { core::mem::transmute::<usize, Real>(address) };
        real(a, b, c, d, frame.word(4))
    }
}

/// Functions that go `go` → real → `after`, written `name(words): go, after;`, with `or armed` before the colon where the function is
/// the program's own entry: the way of armed.rs. `go` ends in a jump to the real function ([`go_on`]). `words`: of how many registers
/// it has its arguments, five at most; only these are kept. `go` and `after` are told the time, each as it begins: who called a clock
/// in the midst would have to keep what it knows over the call. The entry itself reads it, below the frame: each function more behind
/// a system call is a line of code more, and a return.
#[cfg(not(test))]
macro_rules! timed {
    ($($(#[$attribute:meta])* $name:ident($words:tt) $(or $armed:ident)?: $go:path, $after:path;)*) => {$(
        #[unsafe(naked)]
        $(#[$attribute])*
        pub unsafe extern "C-unwind" fn $name() -> isize {
            const _: $crate::hooks::entry::TimedGo = $go;
            const _: $crate::hooks::entry::TimedAfter = $after;
            core::arch::naked_asm!(
                ".cfi_startproc",
                $(
                    crate::hooks::entry::unless_armed!($armed),
                )?
                crate::hooks::entry::amid_clock_readings!($words, "72", "16 + ", "16 + {result}", "", ""),
                ".cfi_endproc",
                ".p2align 6",
                $(
                    armed = sym $crate::hooks::armed::exports::$armed,
                    bit = const $crate::hooks::armed::bits::$armed,
                    armed_for = sym $crate::policy::ARMED_FOR,
                )?
                block = const crate::hooks::entry::BLOCK * size_of::<usize>(),
                counters = const crate::thread::COUNTERS,
                clock = sym $crate::clock::CLOCK,
                // The fifth argument is not needed any more then.
                result = const 4 * size_of::<usize>(),
                go = sym $go,
                after = sym $after,
            )
        }
    )*};
}

/// The same where the call is recorded: `after` is told when it began, too. Below the frame lie the 16 bytes of a clock reading, then
/// the result and the beginning.
#[cfg(not(test))]
macro_rules! recorded {
    ($($name:ident($words:tt): $go:path, $after:path;)*) => {$(
        #[unsafe(naked)]
        #[unsafe(link_section = ".text.hot.epollshim.recorded")]
        pub unsafe extern "C-unwind" fn $name() -> isize {
            const _: $crate::hooks::entry::TimedGo = $go;
            const _: $crate::hooks::entry::RecordedAfter = $after;
            core::arch::naked_asm!(
                ".cfi_startproc",
                crate::hooks::entry::amid_clock_readings!(
                    $words,
                    "88",
                    "32 + ",
                    "16",
                    "mov qword ptr [rsp + 24], rsi\n",
                    "mov rcx, qword ptr [rsp + 24]\n"
                ),
                ".cfi_endproc",
                ".p2align 6",
                block = const crate::hooks::entry::BLOCK * size_of::<usize>(),
                counters = const crate::thread::COUNTERS,
                clock = sym $crate::clock::CLOCK,
                go = sym $go,
                after = sym $after,
            )
        }
    )*};
}

/// The same for functions where there is something to do behind the real one alone, written `name(words): REAL, after;`. `words`: how
/// many `after` reads. With `unless timed` before the colon, a call whose timeout (in ecx) is not 0 goes that way. With
/// `counting Call` behind it, a success is but counted, mostly ([`unless_rare`]).
///
/// The real function was looked up by then: `ARMED_FOR` was looked at ([`crate::real::Real::resolved`]). Where it was not, `first
/// before` stands before the colon: what looks it up, and is called if that has not been done.
#[cfg(not(test))]
macro_rules! behind {
    ($($(#[$attribute:meta])* $name:ident($words:tt) $(or $armed:ident)? $(unless $timed:ident)? $(first $before:path)?: $real:path, $after:path $(, counting $call:ident)?;)*) => {$(
        #[unsafe(naked)]
        $(#[$attribute])*
        pub unsafe extern "C-unwind" fn $name() -> isize {
            $(const _: $crate::hooks::entry::Before = $before;)?
            const _: $crate::hooks::entry::After = $after;
            core::arch::naked_asm!(
                ".cfi_startproc",
                $(
                    crate::hooks::entry::unless_armed!($armed),
                )?
                $(
                    concat!("test ecx, ecx /* ", stringify!($timed), " */"),
                    "jnz {timed}",
                )?
                crate::hooks::entry::open_frame!($words),
                $(
                    concat!("cmp qword ptr [rip + {real}], 0 /* ", stringify!($before), " */"),
                    "jz 3f",
                    "5:",
                )?
                crate::hooks::entry::call_real!("qword ptr [rip + {real}]"),
                $(
                    concat!("/* ", stringify!($call), " */"),
                    crate::hooks::entry::unless_rare!(),
                )?
                crate::hooks::entry::note_result!(),
                $(
                    concat!("3: /* ", stringify!($before), " */"),
                    ".cfi_def_cfa rsp, 64",
                    ".cfi_offset rip, -8",
                    crate::hooks::entry::keep_words!(6),
                    "mov rdi, rsp",
                    "call {before}",
                    crate::hooks::entry::give_words!(6),
                    "jmp 5b",
                )?
                ".cfi_endproc",
                ".p2align 6",
                $(
                    armed = sym $crate::hooks::armed::exports::$armed,
                    bit = const $crate::hooks::armed::bits::$armed,
                    armed_for = sym $crate::policy::ARMED_FOR,
                )?
                $(timed = sym $timed,)?
                $(
                    pending = const $crate::thread::PENDING,
                    nothing = const $crate::findings::errors::Pending::NOTHING as i64,
                    count = const $crate::thread::counter_of(epollshim_format::call::Call::$call),
                )?
                real = sym $real,
                $(before = sym $before,)?
                after = sym $after,
            )
        }
    )*};
}

#[cfg(not(test))]
pub(super) use {behind, recorded, timed};
