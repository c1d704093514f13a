//! The template of entries that dispatch: they test a word or two, and jump to another entry or to
//! the real function.

/// Dispatches `epoll_ctl` by its operation, a wait by its timeout, `fcntl` by its command, a
/// function that creates descriptors by what is armed, and `syscall` by the number.
macro_rules! dispatch {
    ($(#[$attribute:meta])* $name:ident $(or $armed:ident)? by operation $other:path, $add:path, $del:path, $modify:path;) => {
        #[unsafe(naked)]
        $(#[$attribute])*
        pub unsafe extern "C-unwind" fn $name() -> isize {
            core::arch::naked_asm!(
                ".cfi_startproc",
                $($crate::arch::x86_64::pieces::unless_armed!($armed),)?
                $crate::arch::x86_64::pieces::by_operation!(),
                ".cfi_endproc",
                $(concat!(".p2align 6 /* ", stringify!($armed), " */"),)?
                $(
                    armed_for = sym parts::ARMED_FOR,
                    bit = const parts::bits::$armed,
                    armed = sym parts::armed::$armed,
                )?
                other = sym $other,
                add = sym $add,
                del = sym $del,
                modify = sym $modify,
            )
        }
    };
    ($(#[$attribute:meta])* $name:ident by timeout $timed:path, $untimed:path;) => {
        #[unsafe(naked)]
        $(#[$attribute])*
        pub unsafe extern "C-unwind" fn $name() -> isize {
            core::arch::naked_asm!(
                ".cfi_startproc",
                $crate::arch::x86_64::pieces::by_timeout!(),
                ".cfi_endproc",
                timed = sym $timed,
                untimed = sym $untimed,
            )
        }
    };
    ($(#[$attribute:meta])* $name:ident or $armed:ident by command $duplicate:path, else $real:path;) => {
        #[unsafe(naked)]
        $(#[$attribute])*
        pub unsafe extern "C-unwind" fn $name() -> isize {
            core::arch::naked_asm!(
                ".cfi_startproc",
                $crate::arch::x86_64::pieces::unless_armed!($armed),
                $crate::arch::x86_64::pieces::by_command!(),
                "jmp qword ptr [rip + {real}]",
                ".cfi_endproc",
                ".p2align 6",
                armed_for = sym parts::ARMED_FOR,
                bit = const parts::bits::$armed,
                armed = sym parts::armed::$armed,
                cloexec = const libc::F_DUPFD_CLOEXEC,
                duplicate = sym $duplicate,
                real = sym $real,
            )
        }
    };
    // Where it jumps, r11 is the address of the real function's `Real`. r10 is the address of
    // `after` if there is a census, and the function's number if the function is armed.
    ($(#[$attribute:meta])* $name:ident of $function:ident: $real:path, with a census $with_census:path, $after:path;) => {
        #[unsafe(naked)]
        $(#[$attribute])*
        pub unsafe extern "C-unwind" fn $name() -> isize {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "test byte ptr [rip + {armed_for} + {byte}], {bit}",
                "jnz 3f",
                "cmp byte ptr [rip + {state}], {off}",
                "jne 2f",
                // Not armed: all real functions have been looked up
                // ([`crate::real::Real::resolved`]).
                "jmp qword ptr [rip + {real}]",
                "2:",
                "lea r11, [rip + {real}]",
                "lea r10, [rip + {after}]",
                "jmp {with_census}",
                "3:",
                "lea r11, [rip + {real}]",
                "mov r10d, {number}",
                "jmp {armed}",
                ".cfi_endproc",
                armed_for = sym parts::ARMED_FOR,
                byte = const parts::Function::$function as usize / 8,
                bit = const 1u8 << (parts::Function::$function as usize % 8),
                number = const parts::Function::$function as u32,
                state = sym parts::CENSUS,
                off = const parts::NO_CENSUS,
                real = sym $real,
                after = sym $after,
                with_census = sym $with_census,
                armed = sym parts::armed::creator,
            )
        }
    };
    // The same for a function that is always armed while there is a census.
    ($(#[$attribute:meta])* $name:ident of $function:ident: $real:path, armed at $armed:path;) => {
        #[unsafe(naked)]
        $(#[$attribute])*
        pub unsafe extern "C-unwind" fn $name() -> isize {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "test byte ptr [rip + {armed_for} + {byte}], {bit}",
                "jnz 3f",
                // Not armed: all real functions have been looked up
                // ([`crate::real::Real::resolved`]).
                "jmp qword ptr [rip + {real}]",
                "3:",
                "lea r11, [rip + {real}]",
                "mov r10d, {number}",
                "jmp {armed}",
                ".cfi_endproc",
                armed_for = sym parts::ARMED_FOR,
                byte = const parts::Function::$function as usize / 8,
                bit = const 1u8 << (parts::Function::$function as usize % 8),
                number = const parts::Function::$function as u32,
                real = sym $real,
                armed = sym $armed,
            )
        }
    };
    ($(#[$attribute:meta])* $name:ident by number in $hooked:path, close $close:path, creators from $first:expr, $creators:expr,
     noted $noted:path, else $destination:path;) => {
        #[unsafe(naked)]
        $(#[$attribute])*
        pub unsafe extern "C-unwind" fn $name(number: libc::c_long) -> libc::c_long {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "cmp rdi, {numbers}",
                "jae 2f",
                "lea r11, [rip + {hooked}]",
                "cmp byte ptr [r11 + rdi], 0",
                "je 2f",
                "cmp qword ptr [rip + {armed_for}], 0",
                "jne {armed}",
                "cmp edi, {close_number}",
                "jne 3f",
                "jmp {close}",
                // The ledger does not record functions that only create descriptors.
                "3:",
                "movzx r10d, byte ptr [r11 + rdi]",
                "sub r10d, {first_creator}",
                "cmp r10d, {creators}",
                "jae {noted}",
                "2:",
                // Any other number. The registers are kept while the address of the real function
                // is looked up.
                $crate::arch::x86_64::pieces::open_frame!(6),
                "call {destination}",
                $crate::arch::x86_64::pieces::close_frame!(6),
                "jmp rax",
                ".cfi_endproc",
                armed_for = sym parts::ARMED_FOR,
                armed = sym parts::armed::syscall,
                numbers = const $hooked.len(),
                hooked = sym $hooked,
                close_number = const libc::SYS_close,
                first_creator = const $first,
                creators = const $creators,
                close = sym $close,
                noted = sym $noted,
                destination = sym $destination,
            )
        }
    };
}

pub(crate) use dispatch;
