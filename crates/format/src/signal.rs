//! Names of signals as `<signal.h>` and strace spell them (x86-64 Linux,
//! arch/x86/include/uapi/asm/signal.h).

use crate::words::{Words, words};

/// The highest signal number (`_NSIG`).
pub const HIGHEST: u8 = 64;

/// The first real-time signal that glibc leaves to programs (its `SIGRTMIN`): it uses 32 and 33
/// itself.
const FIRST_FREE: u8 = 34;

/// Index 0 stands for signal 1. From 32 on the names are strace's: the kernel's first real-time
/// signal is 32.
const LIST: [&str; HIGHEST as usize] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
    "SIGRTMIN",
    "SIGRT_1",
    "SIGRT_2",
    "SIGRT_3",
    "SIGRT_4",
    "SIGRT_5",
    "SIGRT_6",
    "SIGRT_7",
    "SIGRT_8",
    "SIGRT_9",
    "SIGRT_10",
    "SIGRT_11",
    "SIGRT_12",
    "SIGRT_13",
    "SIGRT_14",
    "SIGRT_15",
    "SIGRT_16",
    "SIGRT_17",
    "SIGRT_18",
    "SIGRT_19",
    "SIGRT_20",
    "SIGRT_21",
    "SIGRT_22",
    "SIGRT_23",
    "SIGRT_24",
    "SIGRT_25",
    "SIGRT_26",
    "SIGRT_27",
    "SIGRT_28",
    "SIGRT_29",
    "SIGRT_30",
    "SIGRT_31",
    "SIGRT_32",
];

pub const NAMES: Words = words!(&LIST);

/// The beginning of the names. A user may leave it out.
pub const PREFIX: &str = "SIG";

/// The name of a signal (1 to 64), such as `SIGUSR1` for 10.
#[must_use]
pub fn name(number: u8) -> Option<&'static str> {
    NAMES.get(usize::from(number.checked_sub(1)?))
}

/// The signal that a word names: a number from 1 to 64, or a name, with or without `SIG`, in any
/// case.
///
/// `RTMIN` alone and `RT_N` are strace's: 32 and 32+N. `RTMIN+N` and `RTMAX-N` have the meaning of
/// C programs and kill(1): 34+N and 64-N. `RTMAX` is 64.
#[must_use]
pub fn number(word: &[u8]) -> Option<u8> {
    if word.first().is_some_and(u8::is_ascii_digit) {
        return decimal(word).filter(|number| (1..=HIGHEST).contains(number));
    }
    let short = after(word, PREFIX.as_bytes()).unwrap_or(word);
    if let Some(step) = after(short, b"RTMIN+") {
        return decimal(step)?.checked_add(FIRST_FREE).filter(|number| *number <= HIGHEST);
    }
    if let Some(step) = after(short, b"RTMAX-") {
        return HIGHEST.checked_sub(decimal(step)?).filter(|number| *number >= FIRST_FREE);
    }
    let is = |known: &str| known.strip_prefix(PREFIX).is_some_and(|known| known.as_bytes().eq_ignore_ascii_case(short));
    match NAMES.iter().position(is) {
        Some(index) => u8::try_from(index + 1).ok(),
        None => ALIASES.iter().find(|(alias, _)| is(alias)).map(|(_, number)| *number),
    }
}

/// Other names in `<signal.h>`.
const ALIASES: [(&str, u8); 4] = [("SIGIOT", 6), ("SIGCLD", 17), ("SIGPOLL", 29), ("SIGRTMAX", HIGHEST)];

fn after<'a>(word: &'a [u8], beginning: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = word.split_at_checked(beginning.len())?;
    head.eq_ignore_ascii_case(beginning).then_some(rest)
}

fn decimal(word: &[u8]) -> Option<u8> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0u8, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::{HIGHEST, name, number};

    #[test]
    fn every_name_leads_back_to_its_number() {
        for signal in 1..=HIGHEST {
            let spelled = name(signal).unwrap_or_default();
            assert_eq!(number(spelled.as_bytes()), Some(signal), "{spelled}");
            assert_eq!(number(&spelled.as_bytes()[3..]), Some(signal), "{spelled}");
        }
        assert_eq!(name(0), None);
        assert_eq!(name(65), None);
    }

    #[test]
    fn the_numbers_are_those_of_the_c_library() {
        for (signal, spelled) in [
            (libc::SIGHUP, "HUP"),
            (libc::SIGABRT, "ABRT"),
            (libc::SIGABRT, "IOT"),
            (libc::SIGUSR1, "USR1"),
            (libc::SIGSEGV, "SEGV"),
            (libc::SIGUSR2, "USR2"),
            (libc::SIGPIPE, "PIPE"),
            (libc::SIGALRM, "ALRM"),
            (libc::SIGTERM, "TERM"),
            (libc::SIGCHLD, "CHLD"),
            (libc::SIGCHLD, "CLD"),
            (libc::SIGIO, "IO"),
            (libc::SIGPOLL, "POLL"),
            (libc::SIGWINCH, "WINCH"),
            (libc::SIGSYS, "SYS"),
            (libc::SIGRTMIN(), "RTMIN+0"),
            (libc::SIGRTMIN() + 3, "rtmin+3"),
            (libc::SIGRTMAX(), "RTMAX"),
            (libc::SIGRTMAX() - 2, "SIGRTMAX-2"),
        ] {
            assert_eq!(number(spelled.as_bytes()).map(i32::from), Some(signal), "{spelled}");
        }
    }

    #[test]
    fn a_name_is_read_as_strace_reads_it() {
        for (word, signal) in [("SIGUSR1", 10), ("usr1", 10), ("sIgusr1", 10), ("10", 10), ("64", 64), ("010", 10)] {
            assert_eq!(number(word.as_bytes()), Some(signal), "{word}");
        }
        for (word, signal) in [("RTMIN", 32), ("SIGRTMIN", 32), ("RT_1", 33), ("SIGRT_32", 64)] {
            assert_eq!(number(word.as_bytes()), Some(signal), "{word}");
        }
        for word in
            ["0", "65", "256", "999999999999", "", "SIG", "+10", "10x", "RTMIN+31", "RTMAX-31", "RTMIN+", "RT_33"]
        {
            assert_eq!(number(word.as_bytes()), None, "{word}");
        }
    }
}
