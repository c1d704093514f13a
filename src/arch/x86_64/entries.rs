//! The five templates of entries in assembly. What they do is written in plain Rust in ../portable/entries.rs.
//!
//! ```text
//! program ── call ──▶ entry ── before(frame) ──▶ which function to call (left out where there is nothing to do)
//!                       │ ───── the real function, with the program's own registers
//!                       │ ───── after(frame, result) ──▶ what the program gets
//! program ◀── jump ─────┘
//! ```
//!
//! Where a call and its return before the real function would be felt, `enter` stands for `before`: it ends in a jump to the real
//! function, which comes back to the entry. (That compilers make a jump of the last call of a function is a promise of none. Where it
//! were a call, all would be as right, and some nanoseconds dearer: tests/cost.rs counts the instructions.)
//!
//! Why this is written out and not left to the compiler: an ordinary function ends in a second `ret` behind the real function's own. Coming
//! out of the kernel, the processor's stack of predicted returns is spoilt (the mitigations of Retbleed and SRSO rewrite it), so that every
//! `ret` is predicted wrong, which costs more than all counting. A jump to the popped address is predicted as any indirect jump is.
//!
//! Where predictions do outlive a system call, a `call` without a `ret` of its own would leave one prediction too many, and every `ret`
//! above the hook would go wrong, one after another. So the real function is not called either: its return address is pushed, and it is
//! jumped to. Its `ret` uses up the prediction of the program's own `call`, and is the only one that goes wrong.
//!
//! (A shadow stack would object; glibc enables it only where every loaded library asks for it, and we do not.)
//!
//! The frame is described to unwinders, has no personality and no destructors: pthread_cancel passes through.
//!
//! A template names what it reads of other parts of the library as `parts::NAME`: whoever uses it has such a module in scope
//! (hooks/entry.rs).

#[cfg(not(portable))]
mod dispatch;

/// Functions that go `enter` → real → `after`, written `name(words): go, after;`, with `or armed` before the colon where the function is
/// the program's own entry: the way of armed.rs. `enter` ends in a jump to the real function ([`jump_to_real`]). `words`: of how many registers
/// it has its arguments, five at most; only these are kept. `enter` and `after` are told the time, each as it begins: who called a clock
/// in the midst would have to keep what it knows over the call. The entry itself reads it, below the frame: each function more behind
/// a system call is a line of code more, and a return.
///
/// Behind `recorded:`, `after` also gets the time at which the call began. Below the frame lie the 16 bytes of a clock reading, then the result and
/// the beginning.
macro_rules! timed {
    (recorded: $($name:ident($words:tt): $enter:path, $after:path;)*) => {$(
        #[unsafe(naked)]
        #[unsafe(link_section = ".text.hot.epollshim.recorded")]
        pub unsafe extern "C-unwind" fn $name() -> isize {
            const _: parts::TimedEnter = $enter;
            const _: parts::RecordedAfter = $after;
            core::arch::naked_asm!(
                ".cfi_startproc",
                $crate::arch::x86_64::pieces::amid_clock_readings!(
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
                $crate::arch::x86_64::pieces::amid_clock_readings!($words, "72", "16 + ", "16 + {result}", "", ""),
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
                // The fifth argument is not needed any more then.
                result = const 4 * size_of::<usize>(),
                enter = sym $enter,
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
///
/// Two forms more, for an ADD and for what a census follows: see there.
macro_rules! with_after {
    // `enter` goes on to the real function, and its success is counted in the block that it has left in the frame.
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
                // It was noted by `enter`, and is not under way any more.
                $crate::arch::x86_64::pieces::unless_rare!(
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
    // Whoever jumps here has left the real function's `Real` in r11, and in r10 what notes the result.
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
                    $crate::arch::x86_64::pieces::unless_rare!(),
                )?
                $crate::arch::x86_64::pieces::note_result!(),
                $(
                    concat!("3: /* ", stringify!($before), " */"),
                    ".cfi_def_cfa rsp, 64",
                    ".cfi_offset rip, -8",
                    $crate::arch::x86_64::pieces::keep_words!(6),
                    "mov rdi, rsp",
                    "call {before}",
                    $crate::arch::x86_64::pieces::give_words!(6),
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

/// Entries with a plan below their frame, written `name(instruction that widens the result) = instructions that give `before` its other
/// arguments, before;`: `before` names the function to call, which may be another than the real one, and leaves in the plan's first word
/// what is called behind it. With `unless recorded` there is a way of its own for what is but recorded.
///
/// Behind `raw:`, an entry of `syscall`: its frame lies one word further, since the call's number is none of the named function's
/// arguments; and its plan is two words.
macro_rules! armed {
    (raw: $name:ident = $before:path;) => {
        #[unsafe(naked)]
        pub unsafe extern "C-unwind" fn $name() -> isize {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "sub rsp, 72",
                ".cfi_adjust_cfa_offset 72",
                $crate::arch::x86_64::pieces::keep_words!(6 "8 + "),
                "mov rdi, rsp",
                "call {before}",
                $crate::arch::x86_64::pieces::give_words!(6 "8 + "),
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
                $crate::arch::x86_64::pieces::keep_words!(6 "{plan} + "),
                "mov qword ptr [rsp + {plan} + 48], 0",
                "mov rdi, rsp",
                $number,
                "call {before}",
                $crate::arch::x86_64::pieces::give_words!(6 "{plan} + "),
                // syscall() reads a seventh word above its return address; the others do not look.
                "sub rsp, 8",
                ".cfi_adjust_cfa_offset 8",
                "push qword ptr [rsp + {plan} + 72]",
                ".cfi_adjust_cfa_offset 8",
                $crate::arch::x86_64::pieces::call_real!(),
                "add rsp, 16",
                ".cfi_adjust_cfa_offset -16",
                $widen,
                "lea rdi, [rsp + {plan}]",
                // Straight to what counts the call, where nothing else is to be done: a return behind a system call is predicted
                // wrong.
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

/// Entries that are told, and then jump to the function whose address they are given, with registers and stack as the program left them:
/// a child of `vfork` returns on its parent's stack, and `execl` has arguments without number. `name: what names the function;`. It has the
/// program's arguments; or, with `numbered N`, where those in registers lie (see hooks/arguments.rs), the number, and the return address.
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
                // al: the number of vector registers in a variadic call, of which these have none in use.
                "xor eax, eax",
                "jmp r11",
                ".cfi_endproc",
                choose = sym $choose,
            )
        }
    )*};
    // Of a function with one argument, which is all that is kept: `choose` has it, and the return address.
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
