use testkit::Random;

use super::*;

fn step(code: u16, value: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, value }
}

#[test]
fn each_instruction_computes_what_the_kernel_does() {
    let x = X;
    for (program, expected) in [
        (vec![(LD_IMMEDIATE, 7), (ALU, 0xffff_ffff), (RETURN_A, 0)], Some(6)),
        (vec![(LD_IMMEDIATE, 7), (SUB, 8), (RETURN_A, 0)], Some(u32::MAX)),
        (vec![(LD_IMMEDIATE, 7), (LDX_IMMEDIATE, 3), (MUL | x, 0), (RETURN_A, 0)], Some(21)),
        (vec![(LD_IMMEDIATE, 7), (LDX_IMMEDIATE, 2), (DIV | x, 0), (RETURN_A, 0)], Some(3)),
        (vec![(LD_IMMEDIATE, 7), (LDX_IMMEDIATE, 0), (DIV | x, 0), (RETURN_K, 9)], Some(0)),
        (vec![(LD_IMMEDIATE, 1), (LDX_IMMEDIATE, 33), (LSH | x, 0), (RETURN_A, 0)], Some(2)),
        (vec![(LD_IMMEDIATE, 8), (RSH, 2), (NEG, 0), (RETURN_A, 0)], Some(0xffff_fffe)),
        (vec![(LD_IMMEDIATE, 6), (XOR, 5), (OR, 8), (AND, 10), (RETURN_A, 0)], Some(10)),
        (vec![(LD_IMMEDIATE, 5), (ST, 15), (LD_IMMEDIATE, 0), (LDX_MEMORY, 15), (TXA, 0), (RETURN_A, 0)], Some(5)),
        (vec![(LD_LENGTH, 0), (TAX, 0), (STX, 0), (LD_MEMORY, 0), (RETURN_A, 0)], Some(64)),
        (vec![(LDX_LENGTH, 0), (TXA, 0), (RETURN_A, 0)], Some(64)),
        (vec![(JUMP, 1), (RETURN_K, 1), (RETURN_K, 2)], Some(2)),
        // The kernel accepts none of these programs.
        (vec![], None),
        (vec![(LD_IMMEDIATE, 5)], None),
        (vec![(JUMP, u32::MAX), (RETURN_K, 1)], None),
        (vec![(LD_MEMORY, 16), (RETURN_K, 1)], None),
        (vec![(0x40, 0), (RETURN_K, 1)], None),
        (vec![(ALU | 0x90, 2), (RETURN_K, 1)], None),
    ] {
        let steps: Vec<Instruction> = program.iter().map(|(code, value)| step(*code, *value)).collect();
        assert_eq!(evaluate(&steps, &data(1, &[0; 6])), expected, "{program:x?}");
    }
}

#[test]
fn any_bytes_are_evaluated_to_an_end() {
    let mut random = Random(1);
    for _ in 0..20_000 {
        let program: Vec<Instruction> = (0..random.below(40))
            .map(|_| {
                let word = random.next();
                let code = (word & if word & 1 << 40 == 0 { 0xff } else { 0xffff }) as u16;
                Instruction {
                    code,
                    jump_true: (word >> 16) as u8,
                    jump_false: (word >> 24) as u8,
                    value: (word >> 32) as u32,
                }
            })
            .collect();
        evaluate(&program, &data(random.next() as u32, &[random.next() as usize; 6]));
    }
}

/// A program that the kernel accepts: `exit_group` passes, and everything else runs through random
/// instructions.
fn random_filter(random: &mut Random, call: &[u32; 16]) -> Vec<Instruction> {
    let jump = |code, value, jump_true, jump_false| Instruction { code, jump_true, jump_false, value };
    let mut program = vec![
        step(LD_ABSOLUTE, 0),
        jump(JEQ, libc::SYS_exit_group as u32, 0, 1),
        step(RETURN_K, libc::SECCOMP_RET_ALLOW),
        // The kernel refuses to read what was not written.
        step(ST, 0),
        step(STX, 1),
    ];
    let body = 4 + random.below(24) as usize;
    for place in 0..body {
        let left = (body - place) as u64;
        let value = match random.below(4) {
            0 => random.next() as u32,
            1 => random.below(40) as u32,
            _ => random.of(call),
        };
        let x = random.of(&[0, X]);
        program.push(match random.below(9) {
            0 | 1 => step(LD_ABSOLUTE, 4 * random.of(&[0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])),
            2 => step(random.of(&[LD_IMMEDIATE, LDX_IMMEDIATE, LD_LENGTH, LDX_LENGTH]), value),
            3 => step(random.of(&[LD_MEMORY, LDX_MEMORY, ST, STX]), random.below(2) as u32),
            4 => step(random.of(&[TAX, TXA]), 0),
            5 | 6 => {
                let code = random.of(&[ADD, SUB, MUL, DIV, OR, AND, XOR, LSH, RSH, NEG]);
                match code {
                    NEG => step(NEG, 0),
                    // The kernel refuses these by a constant.
                    DIV => step(DIV | x, value.max(1)),
                    LSH | RSH => step(code | x, value % 32),
                    code => step(code | x, value),
                }
            }
            7 => step(JUMP, random.below(left) as u32),
            _ => {
                let code = random.of(&[JEQ, JGT, JGE, JSET]);
                jump(code | x, value, random.below(left.min(256)) as u8, random.below(left.min(256)) as u8)
            }
        });
    }
    // The lengths are constants of the kernel's.
    for instruction in program.iter_mut().filter(|step| step.code == LD_LENGTH || step.code == LDX_LENGTH) {
        instruction.value = 0;
    }
    // Not NOTIF and TRACE, whose effect depends on a listener.
    let last = random.of(&[
        libc::SECCOMP_RET_ALLOW,
        libc::SECCOMP_RET_LOG,
        libc::SECCOMP_RET_ERRNO | 33,
        libc::SECCOMP_RET_KILL_PROCESS,
    ]);
    program.push(step(AND, 1));
    program.push(jump(JEQ, 0, 0, 1));
    program.push(step(RETURN_K, last));
    program.push(step(RETURN_K, libc::SECCOMP_RET_TRAP));
    program
}

#[derive(PartialEq, Eq, Debug, Clone, Copy)]
enum Outcome {
    Made,
    Errno,
    Killed,
}

/// The result of a call under the filters, in a child. There is no system call of that number.
/// None: a filter was refused.
fn in_a_child(filters: &[&[Instruction]], number: u32, words: &[usize; 6]) -> Option<Outcome> {
    const REFUSED: i32 = 77;
    // SAFETY: the child makes system calls alone, and ends.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            for filter in filters {
                let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut().cast() };
                if libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) != 0 {
                    libc::_exit(REFUSED);
                }
            }
            let [a, b, c, d, e, f] = *words;
            let result = libc::syscall(i64::from(number), a, b, c, d, e, f);
            let error = *libc::__errno_location();
            libc::_exit(i32::from(result == -1 && error == 33));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        match () {
            () if libc::WIFSIGNALED(status) => Some(Outcome::Killed),
            () if libc::WEXITSTATUS(status) == REFUSED => None,
            () => Some(if libc::WEXITSTATUS(status) == 1 { Outcome::Errno } else { Outcome::Made }),
        }
    }
}

fn outcome(returned: Option<u32>) -> Outcome {
    match returned.map(|value| value & libc::SECCOMP_RET_ACTION_FULL) {
        Some(libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG) => Outcome::Made,
        Some(libc::SECCOMP_RET_ERRNO) => Outcome::Errno,
        _ => Outcome::Killed,
    }
}

/// The first filter also applies to the call that installs the second.
fn lets_seccomp_pass(filter: &[Instruction]) -> Vec<Instruction> {
    let test = |number: i64| Instruction { code: JEQ, jump_true: 0, jump_false: 1, value: number as u32 };
    let allow = step(RETURN_K, libc::SECCOMP_RET_ALLOW);
    [step(LD_ABSOLUTE, 0), test(libc::SYS_seccomp), allow].into_iter().chain(filter.iter().copied()).collect()
}

#[test]
fn the_kernel_does_what_the_evaluation_says() {
    const NUMBER: u32 = 999;
    let mut random = Random(2);
    let mut seen = [0; 3];
    for round in 0..600 {
        let words: [usize; 6] = core::array::from_fn(|_| {
            let shift = random.below(64);
            random.next() as usize >> shift
        });
        let call = data(NUMBER, &words);
        let filters: Vec<Vec<Instruction>> =
            (0..1 + round % 2).map(|_| lets_seccomp_pass(&random_filter(&mut random, &call))).collect();
        let borrowed: Vec<&[Instruction]> = filters.iter().map(Vec::as_slice).collect();
        let outcomes = filters.iter().map(|filter| outcome(evaluate(filter, &call)));
        let expected = outcomes.max_by_key(|outcome| *outcome as u32).unwrap();
        let got = in_a_child(&borrowed, NUMBER, &words);
        assert_eq!(got, Some(expected), "round {round} (None: refused): {words:x?} {filters:x?}");
        seen[expected as usize] += 1;
    }
    assert!(seen.iter().all(|count| *count > 20), "one-sided: {seen:?}");
}
