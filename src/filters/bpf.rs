//! Classic BPF as seccomp(2) runs it: pure and total. It ends, since jumps only go forward.
//!
//! Source: Linux v6.1, kernel/seccomp.c (`seccomp_check_filter`) for the instructions,
//! net/core/filter.c (`bpf_convert_filter`) and kernel/bpf/core.c for what they compute.

/// `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub value: u32,
}

/// `struct seccomp_data` as words of 32 bits: number, architecture, instruction pointer, six
/// arguments.
pub type Data = [u32; 16];

const ARCHITECTURE: u32 = crate::arch::system_call::AUDIT_ARCH;

/// What a filter sees of a system call.
pub fn data(number: u32, words: &[usize; 6]) -> Data {
    let [a, b, c, d, e, f] = words.map(|word| [word as u32, (word >> 32) as u32]);
    let [[a, a2], [b, b2], [c, c2], [d, d2], [e, e2], [f, f2]] = [a, b, c, d, e, f];
    [number, ARCHITECTURE, 0, 0, a, a2, b, b2, c, c2, d, d2, e, e2, f, f2]
}

/// Where the instruction pointer lies in [`Data`].
const POINTER: core::ops::Range<usize> = 2..4;

/// What a program returns. None: it reads the instruction pointer, which is not known here, or the
/// kernel does not accept it.
pub fn evaluate(program: &[Instruction], data: &Data) -> Option<u32> {
    let (mut a, mut x, mut memory) = (0u32, 0u32, [0u32; 16]);
    let mut at = 0usize;
    loop {
        let instruction = program.get(at)?;
        at += 1;
        let value = instruction.value;
        let operand = if instruction.code & X == 0 { value } else { x };
        match instruction.code {
            LD_ABSOLUTE => {
                let word = value as usize / 4;
                if !value.is_multiple_of(4) || POINTER.contains(&word) {
                    return None;
                }
                a = *data.get(word)?;
            }
            LD_LENGTH => a = size_of::<Data>() as u32,
            LDX_LENGTH => x = size_of::<Data>() as u32,
            LD_IMMEDIATE => a = value,
            LDX_IMMEDIATE => x = value,
            LD_MEMORY => a = *memory.get(value as usize)?,
            LDX_MEMORY => x = *memory.get(value as usize)?,
            ST => *memory.get_mut(value as usize)? = a,
            STX => *memory.get_mut(value as usize)? = x,
            TAX => x = a,
            TXA => a = x,
            RETURN_K => return Some(value),
            RETURN_A => return Some(a),
            JUMP => at = at.checked_add(value as usize)?,
            code if code & CLASS == JMP => {
                let holds = match code & !X {
                    JEQ => a == operand,
                    JGT => a > operand,
                    JGE => a >= operand,
                    JSET => a & operand != 0,
                    _ => return None,
                };
                at += usize::from(if holds { instruction.jump_true } else { instruction.jump_false });
            }
            code if code & CLASS == ALU => {
                a = match code & !X {
                    ADD => a.wrapping_add(operand),
                    SUB => a.wrapping_sub(operand),
                    MUL => a.wrapping_mul(operand),
                    // Division by zero: the program returns 0, which kills.
                    DIV => match a.checked_div(operand) {
                        Some(quotient) => quotient,
                        None => return Some(0),
                    },
                    AND => a & operand,
                    OR => a | operand,
                    XOR => a ^ operand,
                    // A shift by 32 or more is one by its remainder.
                    LSH => a.wrapping_shl(operand),
                    RSH => a.wrapping_shr(operand),
                    NEG => a.wrapping_neg(),
                    _ => return None,
                };
            }
            _ => return None,
        }
    }
}

// include/uapi/linux/bpf_common.h, filter.h: class, size (words alone), mode; operation, operand.
const CLASS: u16 = 7;
const ALU: u16 = 4;
const JMP: u16 = 5;
/// The operand is X, not the instruction's value.
const X: u16 = 8;

const LD_IMMEDIATE: u16 = 0x00;
const LD_ABSOLUTE: u16 = 0x20;
const LD_MEMORY: u16 = 0x60;
const LD_LENGTH: u16 = 0x80;
const LDX_IMMEDIATE: u16 = 0x01;
const LDX_MEMORY: u16 = 0x61;
const LDX_LENGTH: u16 = 0x81;
const ST: u16 = 0x02;
const STX: u16 = 0x03;
const TAX: u16 = 0x07;
const TXA: u16 = 0x87;
const RETURN_K: u16 = 0x06;
const RETURN_A: u16 = 0x16;
const JUMP: u16 = JMP;
const JEQ: u16 = JMP | 0x10;
const JGT: u16 = JMP | 0x20;
const JGE: u16 = JMP | 0x30;
const JSET: u16 = JMP | 0x40;
const ADD: u16 = ALU;
const SUB: u16 = ALU | 0x10;
const MUL: u16 = ALU | 0x20;
const DIV: u16 = ALU | 0x30;
const OR: u16 = ALU | 0x40;
const AND: u16 = ALU | 0x50;
const LSH: u16 = ALU | 0x60;
const RSH: u16 = ALU | 0x70;
const NEG: u16 = ALU | 0x80;
const XOR: u16 = ALU | 0xa0;

#[cfg(test)]
mod tests;
