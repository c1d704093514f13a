//! Limits: `EPOLLSHIM_LIMIT=key=value,...`.
//!
//! Each key may be given once. A number consists of digits only. docs/limits.md says what a key
//! counts and what a refused call gets.

use crate::problem::{Fault, Vocabulary};
use crate::scan;
use crate::words::words;

/// What happens to a call that would exceed a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnLimit {
    /// The call fails with the limit's errno.
    #[default]
    Deny,
    /// The call is made, and reported.
    Warn,
    /// The call is reported, and the program is aborted.
    Abort,
}

/// How the `size` of `epoll_create(size)` is treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnSize {
    #[default]
    Ignore,
    Warn,
    /// An ADD beyond that size fails with ENOSPC.
    Enforce,
}

/// None: no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    pub instances: Option<u64>,
    pub user_instances: Option<u64>,
    pub watches: Option<u64>,
    pub instance_watches: Option<u64>,
    pub user_watches: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
    pub descriptors: Option<u64>,
    pub size: OnSize,
    /// 1 to INT_MAX.
    pub events: Option<u32>,
    pub on_limit: OnLimit,
}

/// The highest number that a limit may have.
pub const MOST: u64 = 1 << 40;

/// The order matters: findings in recordings name a key by its place here. `on-limit` has none.
pub const KEYS: [&str; 10] = [
    "instances",
    "user-instances",
    "watches",
    "instance-watches",
    "user-watches",
    "memory",
    "size",
    "events",
    "descriptors",
    "on-limit",
];
static KEY_NAMES: Vocabulary = Vocabulary {
    noun: "limit",
    known: words!(&KEYS),
    prefix: "",
    expected: "instances=, user-instances=, watches=, instance-watches=, user-watches=, memory=, size=, events=, \
             descriptors= or on-limit=",
};
static SIZES: Vocabulary = Vocabulary {
    noun: "value",
    known: words!(&["ignore", "warn", "enforce"]),
    prefix: "",
    expected: "size=ignore, size=warn or size=enforce",
};
static BREACHES: Vocabulary = Vocabulary {
    noun: "value",
    known: words!(&["deny", "warn", "abort"]),
    prefix: "",
    expected: "on-limit=deny, on-limit=warn or on-limit=abort",
};
const NUMBER: &str = "a number from 0 to 1099511627776";
const BYTES: &str = "a number of bytes, or one with K, M or G, up to 1099511627776 bytes";
const EVENTS: &str = "a number from 1 to 2147483647";

/// The limits of a text, or its first problem.
pub fn parse(text: &[u8]) -> Result<Limits, Fault<'_>> {
    let mut limits = Limits::default();
    let mut seen = 0u32;
    for (index, at) in text.split(|byte| *byte == b',').enumerate() {
        if at.is_empty() {
            return Err(Fault::Nothing {
                what: "element",
                place: index + 1,
                expected: "key=value, such as instances=8",
            });
        }
        let equals = at.iter().position(|byte| *byte == b'=');
        let (word, value) = at.split_at_checked(equals.unwrap_or(at.len())).unwrap_or((at, b""));
        let Some(place) = KEYS.iter().position(|key| key.as_bytes() == word) else {
            return Err(Fault::Name { of: &KEY_NAMES, word, at });
        };
        let key = KEYS.get(place).copied().unwrap_or_default();
        let Some(value) = value.strip_prefix(b"=") else {
            return Err(Fault::Value { key, at, expected: expected(key) });
        };
        if seen & 1 << place != 0 {
            return Err(Fault::Twice { key, at });
        }
        seen |= 1 << place;
        set(&mut limits, key, value, at)?;
    }
    Ok(limits)
}

fn expected(key: &str) -> &'static str {
    match key {
        "memory" => BYTES,
        "size" => SIZES.expected,
        "on-limit" => BREACHES.expected,
        "events" => EVENTS,
        _ => NUMBER,
    }
}

fn set<'a>(limits: &mut Limits, key: &'static str, value: &'a [u8], at: &'a [u8]) -> Result<(), Fault<'a>> {
    let fault = |bad| Fault::Number { bad, word: value, at, expected: expected(key) };
    let limit = || scan::between(value, 0, MOST).map(Some).map_err(fault);
    match key {
        "instances" => limits.instances = limit()?,
        "user-instances" => limits.user_instances = limit()?,
        "watches" => limits.watches = limit()?,
        "instance-watches" => limits.instance_watches = limit()?,
        "user-watches" => limits.user_watches = limit()?,
        "descriptors" => limits.descriptors = limit()?,
        "memory" => limits.memory = Some(scan::bytes(value, 0, MOST).map_err(fault)?),
        "events" => {
            let most = scan::between(value, 1, i32::MAX as u64).map_err(fault)?;
            limits.events = u32::try_from(most).ok();
        }
        "size" => {
            limits.size = match value {
                b"ignore" => OnSize::Ignore,
                b"warn" => OnSize::Warn,
                b"enforce" => OnSize::Enforce,
                b"" => return Err(Fault::Value { key, at, expected: expected(key) }),
                word => return Err(Fault::Name { of: &SIZES, word, at }),
            }
        }
        _ => {
            limits.on_limit = match value {
                b"deny" => OnLimit::Deny,
                b"warn" => OnLimit::Warn,
                b"abort" => OnLimit::Abort,
                b"" => return Err(Fault::Value { key, at, expected: expected(key) }),
                word => return Err(Fault::Name { of: &BREACHES, word, at }),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Limits, MOST, OnLimit, OnSize, parse};

    #[test]
    fn every_key_sets_its_own_limit() {
        let none = Limits::default();
        for (text, limits) in [
            ("instances=8", Limits { instances: Some(8), ..none }),
            ("instances=0", Limits { instances: Some(0), ..none }),
            ("user-instances=128", Limits { user_instances: Some(128), ..none }),
            ("watches=1099511627776", Limits { watches: Some(MOST), ..none }),
            ("instance-watches=7", Limits { instance_watches: Some(7), ..none }),
            ("user-watches=7", Limits { user_watches: Some(7), ..none }),
            ("descriptors=20", Limits { descriptors: Some(20), ..none }),
            ("memory=1000", Limits { memory: Some(1000), ..none }),
            ("memory=64K", Limits { memory: Some(64 << 10), ..none }),
            ("memory=8M", Limits { memory: Some(8 << 20), ..none }),
            ("memory=1024G", Limits { memory: Some(MOST), ..none }),
            ("size=ignore", none),
            ("size=warn", Limits { size: OnSize::Warn, ..none }),
            ("size=enforce", Limits { size: OnSize::Enforce, ..none }),
            ("events=16", Limits { events: Some(16), ..none }),
            ("on-limit=deny", none),
            ("on-limit=warn", Limits { on_limit: OnLimit::Warn, ..none }),
            ("on-limit=abort", Limits { on_limit: OnLimit::Abort, ..none }),
            (
                "watches=3,on-limit=warn,size=warn,instances=1",
                Limits { watches: Some(3), on_limit: OnLimit::Warn, size: OnSize::Warn, instances: Some(1), ..none },
            ),
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(limits), "{text}");
        }
    }
}
