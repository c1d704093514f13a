//! The templates of entries in assembly; the fifth is in entries/dispatch.rs. The same in plain
//! Rust is in ../portable/entries.rs.
//!
//! ```text
//! program ── call ──▶ entry ── before(frame) ──▶ the function to call (if there is a `before`)
//!                       │ ───── the real function, with the program's own registers
//!                       │ ───── after(frame, result) ──▶ what the program gets
//! program ◀── jump ─────┘
//! ```
//!
//! Some entries have an `enter` instead of a `before`, which saves a call and its return before the
//! real function. `enter` ends in a jump to the real function, which returns to the entry. (No
//! compiler guarantees that the last call of a function becomes a jump. A call would be as correct,
//! and a little slower. tests/cost.rs counts the instructions.)
//!
//! There are two reasons for writing entries in assembly:
//!
//! - An ordinary function would have its own `ret` after the real function's. When a system call
//!   returns, the processor's return stack buffer is invalid, because the mitigations of Retbleed
//!   and SRSO overwrite it. Every `ret` is then mispredicted, which costs more than all the
//!   counting. So the entry pops the return address and jumps to it: that is predicted like any
//!   indirect jump.
//! - If the buffer does survive a system call, a `call` without its `ret` would leave one entry too
//!   many in it, and every later `ret` above the hook would be mispredicted. So the entry does not
//!   `call` the real function. It pushes a return address and jumps. The real function's `ret` uses
//!   up the entry of the program's own `call`, and is the only `ret` that is mispredicted.
//!
//! A shadow stack would fault here. glibc enables one only if every loaded library asks for it, and
//! this one does not.
//!
//! Unwinders find the frame described. It has no personality and no destructors, so pthread_cancel
//! unwinds through it.
//!
//! A template refers to other parts of the library as `parts::NAME`. Its user must have such a
//! module in scope (hooks/parts.rs).

#[cfg(not(portable))]
mod dispatch;

/// Entries that run `enter`, the real function and `after`, written `name(words): enter, after;`.
/// `words` is the number of arguments in registers, at most five; only these are kept. `enter` ends
/// in a jump to the real function (`jump_to_real`). With `or armed` before the colon, the entry is
/// exported, and jumps to the one in armed.rs if the function is armed.
///
/// `enter` and `after` are passed the time. The entry itself reads the clock, below the frame: if
/// they called the clock, they would have to save their registers across the call. Each further
/// function after a system call costs a cache line of code and a return.
///
/// After `recorded:`, `after` is also passed the time at which the call began. Below the frame are
/// the 16 bytes of a clock reading, then the result and the beginning.
macro_rules! timed {
    (recorded: $($name:ident($words:tt): $enter:path, $after:path;)*) => {$(
        #[unsafe(naked)]
        #[unsafe(link_section = ".text.hot.epollshim.recorded")]
        pub unsafe extern "C-unwind" fn $name() -> isize {
            const _: parts::TimedEnter = $enter;
            const _: parts::RecordedAfter = $after;
            core::arch::naked_asm!(
                ".cfi_startproc",
                $crate::arch::x86_64::pieces::between_clock_readings!(
                    $words,
                    "88",
                    "32 + ",
                    "16",
                    "mov qword ptr [rsp + 24], rsi\n",
                    "mov rcx, qword ptr [rsp + 24]\n"
                ),
                ".cfi_endproc",
                ".p2align 6",
                block = const parts::BLOCK * size_of::<usize>(),
                counters = const parts::COUNTERS,
                clock = sym parts::CLOCK,
                enter = sym $enter,
                after = sym $after,
            )
        }
    )*};
    ($($(#[$attribute:meta])* $name:ident($words:tt) $(or $armed:ident)?: $enter:path, $after:path;)*) => {$(
        #[unsafe(naked)]
        $(#[$attribute])*
        pub unsafe extern "C-unwind" fn $name() -> isize {
            const _: parts::TimedEnter = $enter;
            const _: parts::TimedAfter = $after;
            core::arch::naked_asm!(
                ".cfi_startproc",
                $(
                    $crate::arch::x86_64::pieces::unless_armed!($armed),
                )?
                $crate::arch::x86_64::pieces::between_clock_readings!($words, "72", "16 + ", "16 + {result}", "", ""),
                ".cfi_endproc",
                ".p2align 6",
                $(
                    armed = sym parts::armed::$armed,
                    bit = const parts::bits::$armed,
                    armed_for = sym parts::ARMED_FOR,
                )?
                block = const parts::BLOCK * size_of::<usize>(),
                counters = const parts::COUNTERS,
                clock = sym parts::CLOCK,
                // The fifth argument is no longer needed by then.
                result = const 4 * size_of::<usize>(),
                enter = sym $enter,
                after = sym $after,
            )
        }
    )*};
}

/// Entries that have something to do only after the real function, written `name(words): REAL,
/// after;`. `words` is how many arguments `after` reads. `unless timed` before the colon: if the
/// timeout (in ecx) is not 0, the entry jumps to `timed`. `counting Call` at the end: most
/// successes are only counted, by the entry itself (`count_success`).
///
/// The real function has been looked up, since the entry has tested `ARMED_FOR`
/// ([`crate::real::Real::resolved`]). An entry that does not test it has `first before` before the
/// colon: it calls `before` if the function has not been looked up.
///
/// There are two more forms: for an ADD, and for functions that a census follows.
macro_rules! with_after {
    // `enter` jumps to the real function. A success is counted in the block whose address `enter`
    // has left in the frame.
    (entering: $(#[$attribute:meta])* $name:ident($words:tt): $enter:path, $after:path, counting $call:ident;) => {
        #[unsafe(naked)]
        $(#[$attribute])*
        pub unsafe extern "C-unwind" fn $name() -> isize {
            const _: parts::Enter = $enter;
            const _: parts::After = $after;
            core::arch::naked_asm!(
                ".cfi_startproc",
                $crate::arch::x86_64::pieces::open_frame!($words),
                "mov rdi, rsp",
                $crate::arch::x86_64::pieces::call_real!("{enter}"),
                // `enter` has noted it, and the call is no longer in progress.
                $crate::arch::x86_64::pieces::count_success!(
                    "mov rcx, qword ptr [rsp + {block}]\n",
                    "mov qword ptr [rcx + {adding}], 0\n"
                ),
                $crate::arch::x86_64::pieces::note_result!(),
                ".cfi_endproc",
                ".p2align 6",
                enter = sym $enter,
                after = sym $after,
                block = const core::mem::offset_of!(parts::Frame, words) + parts::BLOCK * size_of::<usize>(),
                adding = const parts::ADDING,
                pending = const parts::PENDING,
                nothing = const parts::NOTHING_PENDING as i64,
                count = const parts::counter_of(parts::Call::$call),
            )
        }
    };
    // The caller jumps here with the real function's `Real` in r11 and the address of `after` in
    // r10.
    (census: $name:ident;) => {
        #[unsafe(naked)]
        unsafe extern "C-unwind" fn $name() -> isize {
            core::arch::naked_asm!(
                ".cfi_startproc",
                $crate::arch::x86_64::pieces::open_frame!(6),
                "mov qword ptr [rsp + {state}], r10",
                "mov rax, qword ptr [r11]",
                $crate::arch::x86_64::pieces::call_real!(),
                // The functions return int, whose upper half is undefined.
                "movsxd rsi, eax",
                "mov rdi, rsp",
                "call qword ptr [rsp + {state}]",
                $crate::arch::x86_64::pieces::leave!("56"),
                ".cfi_endproc",
                state = const core::mem::offset_of!(parts::Frame, state),
            )
        }
    };
    ($($(#[$attribute:meta])* $name:ident($words:tt) $(or $armed:ident)? $(unless $timed:ident)? $(first $before:path)?: $real:path, $after:path $(, counting $call:ident)?;)*) => {$(
        #[unsafe(naked)]
        $(#[$attribute])*
        pub unsafe extern "C-unwind" fn $name() -> isize {
            $(const _: parts::Before = $before;)?
            const _: parts::After = $after;
            core::arch::naked_asm!(
                ".cfi_startproc",
                $(
                    $crate::arch::x86_64::pieces::unless_armed!($armed),
                )?
                $(
                    concat!("test ecx, ecx /* ", stringify!($timed), " */"),
                    "jnz {timed}",
                )?
                $crate::arch::x86_64::pieces::open_frame!($words),
                $(
                    concat!("cmp qword ptr [rip + {real}], 0 /* ", stringify!($before), " */"),
                    "jz 3f",
                    "5:",
                )?
                $crate::arch::x86_64::pieces::call_real!("qword ptr [rip + {real}]"),
                $(
                    concat!("/* ", stringify!($call), " */"),
                    $crate::arch::x86_64::pieces::count_success!(),
                )?
                $crate::arch::x86_64::pieces::note_result!(),
                $(
                    concat!("3: /* ", stringify!($before), " */"),
                    ".cfi_def_cfa rsp, 64",
                    ".cfi_offset rip, -8",
                    $crate::arch::x86_64::pieces::store_words!(6),
                    "mov rdi, rsp",
                    "call {before}",
                    $crate::arch::x86_64::pieces::load_words!(6),
                    "jmp 5b",
                )?
                ".cfi_endproc",
                ".p2align 6",
                $(
                    armed = sym parts::armed::$armed,
                    bit = const parts::bits::$armed,
                    armed_for = sym parts::ARMED_FOR,
                )?
                $(timed = sym $timed,)?
                $(
                    pending = const parts::PENDING,
                    nothing = const parts::NOTHING_PENDING as i64,
                    count = const parts::counter_of(parts::Call::$call),
                )?
                real = sym $real,
                $(before = sym $before,)?
                after = sym $after,
            )
        }
    )*};
}

/// Entries with a plan below their frame, written `name(instruction that widens the result) =
/// instructions that set the other arguments of before, before;`. `before` returns the function to
/// call, which may be another than the real one. It writes the function that is called afterwards
/// to the plan's first word. With `unless recorded`, calls that are only recorded jump to that
/// entry instead.
///
/// After `raw:`, an entry of `syscall`. Its frame begins one word later, because the number of the
/// call is not an argument of the named function; and its plan is two words long.
macro_rules! armed {
    (raw: $name:ident = $before:path;) => {
        #[unsafe(naked)]
        pub unsafe extern "C-unwind" fn $name() -> isize {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "sub rsp, 72",
                ".cfi_adjust_cfa_offset 72",
                $crate::arch::x86_64::pieces::store_words!(6 "8 + "),
                "mov rdi, rsp",
                "call {before}",
                $crate::arch::x86_64::pieces::load_words!(6 "8 + "),
                "sub rsp, 8",
                ".cfi_adjust_cfa_offset 8",
                "push qword ptr [rsp + 88]",
                ".cfi_adjust_cfa_offset 8",
                $crate::arch::x86_64::pieces::call_real!(),
                "add rsp, 16",
                ".cfi_adjust_cfa_offset -16",
                "mov rsi, rax",
                "lea rdi, [rsp + 16]",
                "call qword ptr [rsp]",
                $crate::arch::x86_64::pieces::leave!("72"),
                ".cfi_endproc",
                before = sym $before,
            )
        }
    };
    ($($name:ident($widen:literal) = $number:literal $(of $function:expr)?, $before:path $(, unless $recorded:path)?;)*) => {$(
        #[unsafe(naked)]
        pub unsafe extern "C-unwind" fn $name() -> isize {
            core::arch::naked_asm!(
                ".cfi_startproc",
                $(
                    concat!("test word ptr [rip + {recorded_alone}], {bit} /* ", stringify!($recorded), " */"),
                    "jnz {recorded}",
                )?
                "sub rsp, {plan} + 56",
                ".cfi_adjust_cfa_offset {plan} + 56",
                $crate::arch::x86_64::pieces::store_words!(6 "{plan} + "),
                "mov qword ptr [rsp + {plan} + 48], 0",
                "mov rdi, rsp",
                $number,
                "call {before}",
                $crate::arch::x86_64::pieces::load_words!(6 "{plan} + "),
                // syscall() reads a seventh word, above its return address. Other functions do not
                // read it.
                "sub rsp, 8",
                ".cfi_adjust_cfa_offset 8",
                "push qword ptr [rsp + {plan} + 72]",
                ".cfi_adjust_cfa_offset 8",
                $crate::arch::x86_64::pieces::call_real!(),
                "add rsp, 16",
                ".cfi_adjust_cfa_offset -16",
                $widen,
                "lea rdi, [rsp + {plan}]",
                // If nothing else is to be done, this word is the function that counts the call:
                // there is no function in between, whose return would be mispredicted after a
                // system call.
                "call qword ptr [rsp]",
                $crate::arch::x86_64::pieces::leave!("{plan} + 56"),
                ".cfi_endproc",
                $(
                    recorded_alone = sym parts::RECORDED_ALONE,
                    bit = const parts::bits::$name,
                    recorded = sym $recorded,
                )?
                plan = const parts::PLAN,
                $(number = const $function as u32,)?
                before = sym $before,
            )
        }
    )*};
}

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
                $crate::arch::x86_64::pieces::open_frame!(6),
                $(
                    "mov rdi, rsp",
                    concat!("mov esi, ", $number),
                    "mov rdx, qword ptr [rsp + 56]",
                )?
                "call {choose}",
                "mov r11, rax",
                $crate::arch::x86_64::pieces::close_frame!(6),
                // al: the number of vector registers that a variadic call uses. These functions use
                // none.
                "xor eax, eax",
                "jmp r11",
                ".cfi_endproc",
                choose = sym $choose,
            )
        }
    )*};
    // For a function with one argument, which is all that is kept. `choose` is called with it and
    // the return address.
    (one: $($name:ident: $choose:path;)*) => {$(
        #[unsafe(naked)]
        unsafe extern "C-unwind" fn $name() -> isize {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "push rdi",
                ".cfi_adjust_cfa_offset 8",
                "mov rsi, qword ptr [rsp + 8]",
                "call {choose}",
                "pop rdi",
                ".cfi_adjust_cfa_offset -8",
                "jmp rax",
                ".cfi_endproc",
                choose = sym $choose,
            )
        }
    )*};
}

pub(crate) use tail_jump;
#[cfg(not(portable))]
pub(crate) use {armed, dispatch::dispatch, timed, with_after};
