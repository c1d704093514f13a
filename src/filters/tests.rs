use super::bpf::{self, Instruction};
use super::verdict::{Answer, answer};

#[test]
fn only_allow_log_and_errno_let_a_call_pass() {
    for (returned, expected) in [
        (Some(libc::SECCOMP_RET_ALLOW), Answer::Allowed),
        (Some(libc::SECCOMP_RET_LOG | 7), Answer::Allowed),
        (Some(libc::SECCOMP_RET_ERRNO | 1), Answer::Refused),
        (Some(libc::SECCOMP_RET_TRACE), Answer::Forbidden),
        (Some(libc::SECCOMP_RET_USER_NOTIF), Answer::Forbidden),
        (Some(libc::SECCOMP_RET_TRAP), Answer::Forbidden),
        (Some(libc::SECCOMP_RET_KILL_THREAD), Answer::Forbidden),
        (Some(libc::SECCOMP_RET_KILL_PROCESS), Answer::Forbidden),
        (Some(0x1234_0000), Answer::Forbidden),
        (None, Answer::Forbidden),
    ] {
        assert_eq!(answer(returned), expected, "{returned:x?}");
    }
    assert!(Answer::Allowed < Answer::Refused && Answer::Refused < Answer::Forbidden);
}

#[test]
fn what_reads_the_instruction_pointer_is_not_known() {
    let load = |value| Instruction { code: 0x20, jump_true: 0, jump_false: 0, value };
    let end = Instruction { code: 0x16, jump_true: 0, jump_false: 0, value: 0 };
    let data = bpf::data(39, &[1, 2, 3, 4, 5, usize::MAX]);
    assert_eq!(bpf::evaluate(&[load(0), end], &data), Some(39));
    assert_eq!(bpf::evaluate(&[load(60), end], &data), Some(u32::MAX));
    for value in [8, 12, 64, 2] {
        assert_eq!(bpf::evaluate(&[load(value), end], &data), None);
    }
}
