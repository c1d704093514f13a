//! System call instructions in a program's own code, and which call each makes, where that can be read off the code
//! before it.
//!
//! The two bytes of `syscall` (0f 05) also occur inside other instructions. So the code before each occurrence is
//! decoded, from three places: x86 code that is decoded from a wrong place falls into step within a few instructions.
//! What two of the three say holds.

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpAccess, OpKind, Register,
};

/// How far before an instruction decoding starts.
const STARTS: [usize; 3] = [512, 483, 445];
/// The first byte of the instruction, and its second.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Site {
    pub address: u64,
    /// None: it cannot be read off the code.
    pub number: Option<u32>,
}

/// The system call instructions of a piece of code.
#[must_use]
pub fn sites(address: u64, code: &[u8]) -> Vec<Site> {
    let mut reader = Reader { facts: InstructionInfoFactory::new() };
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = next(code, from) {
        from = at + 1;
        if let Some(number) = reader.number(code, at) {
            found.push(Site { address: address.wrapping_add(at as u64), number });
        }
    }
    found
}

fn next(code: &[u8], from: usize) -> Option<usize> {
    let rest = code.get(from..)?;
    rest.windows(SYSCALL.len()).position(|bytes| bytes == SYSCALL).map(|at| from + at)
}

/// Whether code passes both io_uring_setup and io_uring_enter to a function as its first argument, as programs do that
/// call `syscall()` with them.
#[must_use]
pub fn passes_io_uring(code: &[u8]) -> bool {
    [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter].into_iter().all(|number| {
        // mov edi, number
        let [low, high, ..] = number.to_le_bytes();
        let load = [0xbf, low, high, 0, 0];
        let mut places = code.windows(load.len()).enumerate().filter(|(_, bytes)| *bytes == load);
        places.any(|(at, _)| calls_soon(code.get(at..).unwrap_or_default()))
    })
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

/// What is known of the general registers, by their numbers.
type Known = [Option<u32>; 16];

struct Reader {
    facts: InstructionInfoFactory,
}

impl Reader {
    /// None: no instruction begins here. Some(None): one does; its number is not known.
    fn number(&mut self, code: &[u8], at: usize) -> Option<Option<u32>> {
        let answers = STARTS.map(|before| self.from(code, at.saturating_sub(before), at));
        let begun = answers.iter().flatten().count();
        // Near the beginning all three start in the same place.
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

    /// What an instruction does to what is known.
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
                // What a function may change (System V ABI for AMD64, 3.2.1).
                for (register, value) in known.iter_mut().enumerate() {
                    if matches!(register, 0..=2 | 6..=11) {
                        *value = None;
                    }
                }
                return;
            }
            // The kernel's answer is in rax; rcx and r11 are changed. (iced-x86 takes it for a call.)
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

/// The number of a general register of whatever width.
fn general(register: Register) -> Option<usize> {
    register.is_gpr().then(|| register.full_register().number())
}

/// What an instruction puts into its first register, where that is known.
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
    use super::{Site, passes_io_uring, sites};

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
    fn an_address_counts_from_the_beginning_of_the_code() {
        let mut code = vec![0x90; 2000];
        code.extend([0xb8, 0xe8, 0, 0, 0, 0x0f, 0x05]);
        assert_eq!(sites(0x40_0000, &code), [Site { address: 0x40_0000 + 2005, number: Some(232) }]);
    }

    #[test]
    fn io_uring_by_libc_s_syscall_is_noticed() {
        let setup = [0xbf, 0xa9, 1, 0, 0, 0x31, 0xc0, 0xe8, 0, 0, 0, 0];
        let enter = [0xbf, 0xaa, 1, 0, 0, 0xe9, 0, 0, 0, 0];
        assert!(passes_io_uring(&[&setup[..], &enter].concat()));
        assert!(!passes_io_uring(&setup));
    }
}
