//! Which calls are logged: `EPOLLSHIM_LOG_FILTER`, comma-separated words.
//!
//! The words are names of functions and of sets of them ([`Functions::named`]), `failed`,
//! `injected`, `limited`, `slow=TIME`, `epfd=N` and `fd=N`. `epfd=` and `fd=` may be given up to
//! [`NUMBERS`] times each. A word that is repeated counts once.

use crate::function::{self, Functions};
use crate::problem::{Fault, Vocabulary};
use crate::scan;
use crate::words::words;

/// The most `epfd=` or `fd=` elements.
pub const NUMBERS: usize = 16;

/// What a call must be to be logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Filter {
    /// Empty: the functions of `<sys/epoll.h>`.
    pub functions: Functions,
    pub failed: bool,
    pub injected: bool,
    pub limited: bool,
    /// At least this many nanoseconds.
    pub slow: Option<u64>,
    /// -1: unused.
    pub epfds: [i32; NUMBERS],
    /// -1: unused.
    pub fds: [i32; NUMBERS],
}

impl Default for Filter {
    fn default() -> Self {
        Filter {
            functions: Functions::default(),
            failed: false,
            injected: false,
            limited: false,
            slow: None,
            epfds: [-1; NUMBERS],
            fds: [-1; NUMBERS],
        }
    }
}

/// Words that are not functions.
const OWN: [&str; 6] = ["failed", "injected", "limited", "slow", "epfd", "fd"];

#[allow(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const ALL_WORDS: [&str; function::NAMES.len() + OWN.len()] = {
    let mut words = [""; function::NAMES.len() + OWN.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = if at < OWN.len() { OWN[at] } else { function::NAMES[at - OWN.len()] };
        at += 1;
    }
    words
};

static WORDS: Vocabulary = Vocabulary {
    noun: "filter",
    known: words!(&ALL_WORDS),
    prefix: "",
    expected: "names such as epoll_wait or openat, epoll, %creat, all, failed, injected, limited, slow=TIME, epfd=N or fd=N",
};

/// The filter of a text, or its first problem.
pub fn parse(text: &[u8]) -> Result<Filter, Fault<'_>> {
    let mut filter = Filter::default();
    for (index, at) in text.split(|byte| *byte == b',').enumerate() {
        if at.is_empty() {
            return Err(Fault::Nothing { what: "element", place: index + 1, expected: WORDS.expected });
        }
        let equals = at.iter().position(|byte| *byte == b'=');
        let (word, value) = at.split_at_checked(equals.unwrap_or(at.len())).unwrap_or((at, b""));
        let value = value.strip_prefix(b"=");
        let own = OWN.iter().find(|known| known.as_bytes() == word);
        let known =
            || function::NAMES.iter().find(|name| name.as_bytes() == word).copied().unwrap_or("a name of calls");
        let Some(key) = own.copied().or_else(|| Functions::named(word).map(|_| known())) else {
            return Err(Fault::Name { of: &WORDS, word, at });
        };
        match (key, value) {
            ("slow", None | Some(b"")) => return Err(Fault::Value { key, at, expected: scan::TIME }),
            ("epfd" | "fd", None | Some(b"")) => return Err(Fault::Value { key, at, expected: scan::DESCRIPTOR }),
            ("slow", Some(_)) if filter.slow.is_some() => return Err(Fault::Twice { key, at }),
            ("slow", Some(word)) => {
                let fault = |bad| Fault::Number { bad, word, at, expected: scan::TIME };
                filter.slow = Some(scan::time(word).map_err(fault)?);
            }
            ("epfd", Some(word)) => add(&mut filter.epfds, word, at, "epfd= elements")?,
            ("fd", Some(word)) => add(&mut filter.fds, word, at, "fd= elements")?,
            (_, Some(_)) => return Err(Fault::Alone { key, at }),
            ("failed", None) => filter.failed = true,
            ("injected", None) => filter.injected = true,
            ("limited", None) => filter.limited = true,
            (_, None) => {
                filter.functions = filter.functions.with(Functions::named(word).unwrap_or_default());
            }
        }
    }
    Ok(filter)
}

fn add<'a>(numbers: &mut [i32], word: &'a [u8], at: &'a [u8], what: &'static str) -> Result<(), Fault<'a>> {
    let fault = |bad| Fault::Number { bad, word, at, expected: scan::DESCRIPTOR };
    let number = scan::descriptor(word).map_err(fault)?;
    if numbers.contains(&number) {
        return Ok(());
    }
    match numbers.iter_mut().find(|number| **number == -1) {
        Some(place) => *place = number,
        None => return Err(Fault::TooMany { what, most: NUMBERS }),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Filter, NUMBERS, parse};
    use crate::function::Functions;

    #[test]
    fn every_word_is_understood() {
        let all = Filter::default();
        for (text, filter) in [
            ("epoll", Filter { functions: Functions::EPOLL, ..all }),
            ("all", Filter { functions: Functions::ALL.without(Functions::ON_REQUEST), ..all }),
            ("epoll_wait,__close,epoll_wait", Filter { functions: Functions(0b100_1000), ..all }),
            ("failed,failed", Filter { failed: true, ..all }),
            ("injected,limited", Filter { injected: true, limited: true, ..all }),
            ("slow=10ms", Filter { slow: Some(10_000_000), ..all }),
            ("slow=1.5", Filter { slow: Some(1_500), ..all }),
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(filter), "{text}");
        }
    }

    #[test]
    fn numbers_are_accepted_up_to_the_maximum() {
        let filter = parse(b"epfd=5,fd=0,fd=2147483647,fd=0").unwrap_or_default();
        assert_eq!(filter.epfds[..2], [5, -1]);
        assert_eq!(filter.fds[..3], [0, i32::MAX, -1]);
        let full = b"fd=1,fd=2,fd=3,fd=4,fd=5,fd=6,fd=7,fd=8,fd=9,fd=10,fd=11,fd=12,fd=13,fd=14,fd=15,fd=16,fd=9";
        assert_eq!(
            parse(full).unwrap_or_default().fds,
            core::array::from_fn::<i32, NUMBERS, _>(|place| place as i32 + 1)
        );
    }
}
