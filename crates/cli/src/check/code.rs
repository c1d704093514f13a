//! Finds system call instructions in code, and reads the number of each call from the code before
//! it.
//!
//! The two bytes of `syscall` (0f 05) also occur inside other instructions. So the code before each
//! occurrence is decoded, from three starting points. x86 code that is decoded from a wrong offset
//! synchronises within a few instructions, and two of the three must agree.
//!
//! Some libraries have tables between functions (libcrypto's curves) that contain the two bytes by
//! chance. So an occurrence with an unknown number counts only if the bytes around it look like
//! compiled code.

use iced_x86::{
    Code, CpuidFeature, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess,
    OpKind, Register,
};
use memchr::memmem;

/// How far before an occurrence decoding starts.
const STARTS: [usize; 3] = [512, 483, 445];
/// The bytes of the instruction.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// Larger than the number of any system call.
const MOST_NUMBER: u32 = 1023;
/// How many bytes before and after an occurrence are examined to tell code from tables.
const BEFORE: usize = 80;
const BEHIND: usize = 40;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Site {
    pub address: u64,
    /// None: the code does not show it.
    pub number: Option<u32>,
}

/// The system call instructions in a piece of code.
#[must_use]
pub fn sites(address: u64, code: &[u8]) -> Vec<Site> {
    let mut reader = Reader { facts: InstructionInfoFactory::new() };
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = next(code, from) {
        from = at + 1;
        let number = reader.number(code, at);
        let is_call = number.is_some_and(|number| match number {
            Some(number) => number <= MOST_NUMBER,
            None => reader.looks_like_code(code, at),
        });
        if let Some(number) = number.filter(|_| is_call) {
            found.push(Site { address: address.wrapping_add(at as u64), number });
        }
    }
    found
}

fn next(code: &[u8], from: usize) -> Option<usize> {
    memmem::find(code.get(from..)?, &SYSCALL).map(|at| from + at)
}

/// Which system call numbers the code passes to functions as the first argument, as callers of
/// `syscall()` do, or of a wrapper of the program's own.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Passed {
    /// io_uring_setup and io_uring_enter.
    pub io_uring: bool,
    /// epoll_ctl, and epoll_create or epoll_create1.
    pub epoll: bool,
}

#[must_use]
pub fn passed(code: &[u8]) -> Passed {
    let passes = |number: libc::c_long| {
        // mov edi, number
        let [low, high, ..] = number.to_le_bytes();
        memmem::find_iter(code, &[0xbf, low, high, 0, 0]).any(|at| calls_soon(code.get(at..).unwrap_or_default()))
    };
    Passed {
        io_uring: passes(libc::SYS_io_uring_setup) && passes(libc::SYS_io_uring_enter),
        epoll: passes(libc::SYS_epoll_ctl) && (passes(libc::SYS_epoll_create1) || passes(libc::SYS_epoll_create)),
    }
}

fn calls_soon(code: &[u8]) -> bool {
    const SOON: usize = 10;
    Decoder::new(64, code, DecoderOptions::NONE)
        .iter()
        .take(SOON)
        .take_while(|instruction| !instruction.is_invalid())
        .any(|instruction| {
            matches!(
                instruction.flow_control(),
                FlowControl::Call
                    | FlowControl::IndirectCall
                    | FlowControl::UnconditionalBranch
                    | FlowControl::IndirectBranch
            )
        })
}

/// The known values of the general registers, by register number.
type Known = [Option<u32>; 16];

struct Reader {
    facts: InstructionInfoFactory,
}

impl Reader {
    /// None: no instruction begins here. Some(None): one does, and its number is unknown.
    fn number(&mut self, code: &[u8], at: usize) -> Option<Option<u32>> {
        let answers = STARTS.map(|before| self.from(code, at.saturating_sub(before), at));
        let begun = answers.iter().flatten().count();
        // Near the beginning of the code all three starts are the same.
        if begun < 2 { None } else { answers.into_iter().flatten().next() }
    }

    fn from(&mut self, code: &[u8], start: usize, at: usize) -> Option<Option<u32>> {
        let end = at + SYSCALL.len();
        let mut decoder = Decoder::with_ip(64, code.get(start..end)?, start as u64, DecoderOptions::NONE);
        let mut known = Known::default();
        let mut pushed = None;
        let mut instruction = Instruction::default();
        while decoder.can_decode() {
            decoder.decode_out(&mut instruction);
            if instruction.ip() == at as u64 {
                let [number, ..] = known;
                return (instruction.code() == Code::Syscall).then_some(number);
            }
            self.follow(&instruction, &mut known, &mut pushed);
        }
        None
    }

    /// Whether the instructions before an occurrence, and those after it up to the next jump or
    /// return, look like compiled code.
    fn looks_like_code(&self, code: &[u8], at: usize) -> bool {
        let before = at.saturating_sub(BEFORE);
        let end = code.len().min(at + SYSCALL.len() + BEHIND);
        let piece = |from: usize, to: usize| {
            Decoder::with_ip(64, code.get(from..to).unwrap_or_default(), from as u64, DecoderOptions::NONE)
        };
        // The first few may not be synchronised. At the end, one may be cut.
        let plain_before = piece(before, at).iter().skip(4).all(|instruction| is_plain(&instruction));
        let plain_behind = piece(at + SYSCALL.len(), end)
            .iter()
            .take_while(|instruction| instruction.next_ip() + 15 <= end as u64)
            .take_while(|instruction| {
                !matches!(
                    instruction.flow_control(),
                    FlowControl::Return | FlowControl::UnconditionalBranch | FlowControl::IndirectBranch
                )
            })
            .all(|instruction| is_plain(&instruction));
        plain_before && plain_behind
    }

    /// Updates the known values for one instruction.
    fn follow(&mut self, instruction: &Instruction, known: &mut Known, pushed: &mut Option<u32>) {
        let target = general(instruction.op0_register()).filter(|_| instruction.op0_kind() == OpKind::Register);
        let value = value(instruction, known, *pushed);
        *pushed = match instruction.code() {
            Code::Pushq_imm8 | Code::Pushq_imm32 => Some(instruction.immediate(0) as u32),
            _ => None,
        };
        match instruction.flow_control() {
            FlowControl::Next | FlowControl::ConditionalBranch => {}
            FlowControl::Call | FlowControl::IndirectCall => {
                // The registers that a function may change (System V ABI for AMD64, 3.2.1).
                for (register, value) in known.iter_mut().enumerate() {
                    if matches!(register, 0..=2 | 6..=11) {
                        *value = None;
                    }
                }
                return;
            }
            // The result is in rax, and rcx and r11 are changed. (iced-x86 classifies the
            // instruction as a call.)
            _ => {
                *known = Known::default();
                return;
            }
        }
        for used in self.facts.info(instruction).used_registers() {
            let writes = matches!(
                used.access(),
                OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
            );
            if let Some(place) =
                general(used.register()).filter(|_| writes).and_then(|register| known.get_mut(register))
            {
                *place = None;
            }
        }
        if let (Some(place), Some(value)) = (target.and_then(|target| known.get_mut(target)), value) {
            *place = Some(value);
        }
    }
}

/// Instructions that neither compilers nor authors of handwritten system calls use near one.
const ODD: &[Mnemonic] = &[
    Mnemonic::Clc,
    Mnemonic::Cli,
    Mnemonic::Cmc,
    Mnemonic::Enter,
    Mnemonic::Hlt,
    Mnemonic::In,
    Mnemonic::Insb,
    Mnemonic::Insd,
    Mnemonic::Int,
    Mnemonic::Int1,
    Mnemonic::Iretd,
    Mnemonic::Iretq,
    Mnemonic::Jecxz,
    Mnemonic::Jrcxz,
    Mnemonic::Lahf,
    Mnemonic::Loop,
    Mnemonic::Loope,
    Mnemonic::Loopne,
    Mnemonic::Out,
    Mnemonic::Outsb,
    Mnemonic::Outsd,
    Mnemonic::Popfq,
    Mnemonic::Pushfq,
    Mnemonic::Rcl,
    Mnemonic::Rcr,
    Mnemonic::Retf,
    Mnemonic::Sahf,
    Mnemonic::Stc,
    Mnemonic::Std,
    Mnemonic::Sti,
    Mnemonic::Wait,
    Mnemonic::Xlatb,
];

/// False for about one instruction in five in random bytes.
fn is_plain(instruction: &Instruction) -> bool {
    let exchanges = instruction.mnemonic() == Mnemonic::Xchg
        && instruction.op0_kind() == OpKind::Register
        && instruction.op1_kind() == OpKind::Register;
    let is_x87 =
        |feature: &CpuidFeature| matches!(feature, CpuidFeature::FPU | CpuidFeature::FPU287 | CpuidFeature::FPU387);
    !(instruction.is_invalid()
        || instruction.is_privileged()
        || exchanges
        || ODD.contains(&instruction.mnemonic())
        || instruction.cpuid_features().iter().any(is_x87))
}

/// The number of a general register of any width.
fn general(register: Register) -> Option<usize> {
    register.is_gpr().then(|| register.full_register().number())
}

/// The value that an instruction writes to its first register, if it is known.
fn value(instruction: &Instruction, known: &Known, pushed: Option<u32>) -> Option<u32> {
    let second = || general(instruction.op1_register()).and_then(|register| known.get(register).copied().flatten());
    match instruction.code() {
        Code::Mov_r32_imm32 | Code::Mov_rm32_imm32 | Code::Mov_rm64_imm32 | Code::Mov_r64_imm64 => {
            u32::try_from(instruction.immediate(1)).ok()
        }
        Code::Xor_r32_rm32 | Code::Xor_rm32_r32 | Code::Sub_r32_rm32 | Code::Sub_rm32_r32
            if instruction.op1_kind() == OpKind::Register
                && instruction.op0_register() == instruction.op1_register() =>
        {
            Some(0)
        }
        Code::Mov_r32_rm32 | Code::Mov_rm32_r32 | Code::Mov_r64_rm64 | Code::Mov_rm64_r64
            if instruction.op1_kind() == OpKind::Register =>
        {
            second()
        }
        Code::Pop_r64 => pushed,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Passed, Site, passed, sites};

    fn numbers(code: &[u8]) -> Vec<Option<u32>> {
        sites(0, code).into_iter().map(|site| site.number).collect()
    }

    #[test]
    fn the_number_is_read_off_the_code_before() {
        for (code, number, what) in [
            (&[0xb8, 0xe8, 0, 0, 0, 0x0f, 0x05][..], Some(232), "mov eax, 232"),
            (&[0x48, 0xc7, 0xc0, 0xe9, 0, 0, 0, 0x0f, 0x05], Some(233), "mov rax, 233"),
            (&[0x31, 0xc0, 0x0f, 0x05], Some(0), "xor eax, eax"),
            (&[0x6a, 0x03, 0x58, 0x0f, 0x05], Some(3), "push 3; pop rax"),
            (&[0x41, 0xb8, 0xe8, 0, 0, 0, 0x44, 0x89, 0xc0, 0x0f, 0x05], Some(232), "mov r8d, 232; mov eax, r8d"),
            (&[0xb8, 0xe8, 0, 0, 0, 0x89, 0xf8, 0x0f, 0x05], None, "mov eax, 232; mov eax, edi"),
            (&[0xb8, 0xe8, 0, 0, 0, 0xb0, 0x03, 0x0f, 0x05], None, "mov eax, 232; mov al, 3"),
            (&[0xb8, 0xe8, 0, 0, 0, 0xe8, 0, 0, 0, 0, 0x0f, 0x05], None, "mov eax, 232; call"),
            (&[0xb8, 0xe8, 0, 0, 0, 0xc3, 0x0f, 0x05], None, "mov eax, 232; ret"),
            (&[0xb8, 0xe8, 0, 0, 0, 0x31, 0xd2, 0x41, 0xba, 1, 0, 0, 0, 0x0f, 0x05], Some(232), "others in between"),
        ] {
            assert_eq!(numbers(code), [number], "{what}");
        }
    }

    #[test]
    fn the_kernel_s_answer_is_no_number() {
        assert_eq!(numbers(&[0xb8, 0xe8, 0, 0, 0, 0x0f, 0x05, 0x0f, 0x05]), [Some(232), None]);
    }

    #[test]
    fn the_bytes_inside_another_instruction_are_no_system_call() {
        // mov eax, 0x050f; mov edx, [rip + 0x050f]
        assert!(sites(0, &[0xb8, 0x0f, 0x05, 0, 0, 0x8b, 0x15, 0x0f, 0x05, 0, 0]).is_empty());
    }

    #[test]
    fn the_bytes_in_a_table_are_no_system_call() {
        // ecp_nistz256_precomputed of OpenSSL 3.0, a table between functions.
        let table = [
            0xcc, 0xfc, 0x63, 0xd5, 0xf5, 0x80, 0x76, 0x31, 0x28, 0xa9, 0x80, 0xf2, 0x55, 0x50, 0xca, 0x48, 0xcf, 0x78,
            0xb5, 0x27, 0xb2, 0x81, 0x0b, 0xe0, 0x14, 0xa5, 0x94, 0x29, 0x18, 0xd9, 0xaa, 0x10, 0x53, 0xc9, 0xbd, 0xb7,
            0x62, 0x7b, 0xe0, 0xd9, 0xdd, 0x86, 0xc0, 0x5b, 0xf2, 0x6f, 0x0f, 0x9f, 0x77, 0xee, 0x5e, 0x65, 0xff, 0xcc,
            0xd1, 0x09, 0xf1, 0x7d, 0xef, 0x5b, 0x79, 0x5f, 0x47, 0x45, 0xcc, 0x02, 0xf7, 0x86, 0xfa, 0x28, 0xaa, 0x3f,
            0x07, 0x1f, 0x02, 0x0f, 0x05, 0x09, 0xe6, 0x92, 0xc6, 0xa8, 0x8f, 0x7f, 0x68, 0x29, 0xe6, 0xe9, 0x2c, 0xea,
        ];
        assert!(sites(0, &table).is_empty());
    }

    #[test]
    fn an_address_counts_from_the_beginning_of_the_code() {
        let mut code = vec![0x90; 2000];
        code.extend([0xb8, 0xe8, 0, 0, 0, 0x0f, 0x05]);
        assert_eq!(sites(0x40_0000, &code), [Site { address: 0x40_0000 + 2005, number: Some(232) }]);
    }

    #[test]
    fn io_uring_by_libc_s_syscall_is_noticed() {
        let setup = [0xbf, 0xa9, 1, 0, 0, 0x31, 0xc0, 0xe8, 0, 0, 0, 0];
        let enter = [0xbf, 0xaa, 1, 0, 0, 0xe9, 0, 0, 0, 0];
        assert_eq!(passed(&[&setup[..], &enter].concat()), Passed { io_uring: true, epoll: false });
        assert_eq!(passed(&setup), Passed::default());
    }
}
