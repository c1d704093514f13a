//! The actions and conditions of a rule, and the functions that each applies to.

use crate::function::{Function, Functions};
use crate::functions::Role;
use crate::problem::{Fault, Vocabulary};
use crate::words::words;

/// An action or a condition. Its number is its place in [`KEYS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Key {
    Error,
    Retval,
    Timeout,
    Signal,
    DelayEnter,
    DelayExit,
    Batch,
    Forge,
    Shuffle,
    When,
    Scope,
    Prob,
    Op,
    Fd,
    Epfd,
    Events,
    Caller,
    Site,
    StackName,
    Stack,
    After,
    Max,
    Phase,
    Made,
}

/// One key.
pub(super) struct Entry {
    pub key: Key,
    /// How it is written, with its value if it has one. Name and value are one text, since a
    /// pointer costs the library 40 bytes.
    written: &'static str,
    /// The length of its name, with which `written` begins.
    length: u8,
    has_value: bool,
    /// The functions of which one must be among the rule's calls.
    pub calls: Functions,
}

impl Entry {
    pub const fn name(&self) -> &'static str {
        match self.written.split_at_checked(self.length as usize) {
            Some((name, _)) => name,
            None => self.written,
        }
    }
}

/// `written`: empty if it has no value.
const fn of(calls: Functions, key: Key, name: &'static str, written: &'static str) -> Entry {
    let has_value = !written.is_empty();
    Entry { key, written: if has_value { written } else { name }, length: name.len() as u8, has_value, calls }
}

const fn any(key: Key, name: &'static str, written: &'static str) -> Entry {
    of(Functions::ALL, key, name, written)
}

const fn of_waits(key: Key, name: &'static str, written: &'static str) -> Entry {
    of(Functions::WAITS, key, name, written)
}

/// The only condition that is not written with `=`: the name of a function is matched, not
/// compared.
pub(super) const STACK_NAME: &str = "stack~";

const CTL: Functions = Functions::of(&[Function::EpollCtl]);
/// The functions that take a descriptor other than an epoll instance's.
const DESCRIPTORS: Functions = CTL.with(Functions::TAKE_DESCRIPTORS);

/// The functions after which the library can act.
const RETURNING: Functions = Functions::of_roles(&[Role::Birth]).inverted();

/// The functions that may have done their work although they fail: close(2), and a DEL that finds
/// the interest gone.
pub(super) const MADE: Functions =
    CTL.with(Functions::of(&[Function::Close])).with(Functions::of_roles(&[Role::StreamEnd]));

/// The actions, then the conditions, then `made`, which qualifies an action.
pub(super) static KEYS: [Entry; 24] = [
    any(Key::Error, "error", "error=ERRNO"),
    of(RETURNING, Key::Retval, "retval", "retval=N"),
    of_waits(Key::Timeout, "timeout", ""),
    of(RETURNING, Key::Signal, "signal", "signal=SIG"),
    any(Key::DelayEnter, "delay_enter", "delay_enter=TIME"),
    of(RETURNING, Key::DelayExit, "delay_exit", "delay_exit=TIME"),
    of_waits(Key::Batch, "batch", "batch=N"),
    of_waits(Key::Forge, "forge", "forge=EVENTS"),
    of_waits(Key::Shuffle, "shuffle", ""),
    any(Key::When, "when", "when=FIRST[..LAST][+[STEP]]"),
    any(Key::Scope, "scope", "scope=process, scope=thread, scope=rule or scope=tree"),
    any(Key::Prob, "prob", "prob=P, from 0 to 1"),
    of(CTL, Key::Op, "op", "op=ADD, op=MOD or op=DEL"),
    of(DESCRIPTORS, Key::Fd, "fd", "fd=N"),
    of(CTL.with(Functions::WAITS), Key::Epfd, "epfd", "epfd=N"),
    of(CTL, Key::Events, "events", "events=EVENTS"),
    any(Key::Caller, "caller", "caller=NAME"),
    any(Key::Site, "site", "site=OBJECT+OFFSET"),
    any(Key::StackName, STACK_NAME, "stack~NAME"),
    any(Key::Stack, "stack", "stack=HASH[/DEPTH]"),
    any(Key::After, "after", "after=TIME"),
    any(Key::Max, "max", "max=N"),
    any(Key::Phase, "phase", "phase=start, phase=serve or phase=stop"),
    of(MADE, Key::Made, "made", ""),
];

#[allow(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const NAMES: [&str; KEYS.len()] = {
    let mut names = [""; KEYS.len()];
    let mut index = 0;
    while index < KEYS.len() {
        names[index] = KEYS[index].name();
        index += 1;
    }
    names
};

pub(super) const ACTIONS: &str =
    "error=, retval=, timeout, signal=, delay_enter=, delay_exit=, batch=, forge= or shuffle";

static VOCABULARY: Vocabulary = Vocabulary {
    noun: "action or condition",
    known: words!(&NAMES),
    prefix: "",
    expected: "an action (error=, retval=, timeout, signal=, delay_enter=, delay_exit=, batch=, forge=, shuffle, made) or a \
             condition (when=, scope=, prob=, op=, fd=, epfd=, events=, caller=, site=, stack~, stack=, after=, max=, phase=)",
};

impl Key {
    /// Whether it is an action: a rule needs one.
    pub fn acts(self) -> bool {
        (self as u8) < Key::When as u8
    }

    /// Whether it decides what the program gets in place of the call. A rule has at most one such
    /// key.
    pub fn decides(self) -> bool {
        matches!(self, Key::Error | Key::Retval | Key::Timeout)
    }
}

/// The keys that a rule has.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen(u32);

impl Seen {
    pub fn has(self, key: Key) -> bool {
        self.0 & 1 << key as u8 != 0
    }

    pub fn insert(&mut self, key: Key) {
        self.0 |= 1 << key as u8;
    }
}

/// The key that a token's word names. An error if the key needs a value and the token has none, or
/// the reverse.
pub(super) fn find<'a>(word: &'a [u8], value: Option<&[u8]>, at: &'a [u8]) -> Result<&'static Entry, Fault<'a>> {
    let Some(entry) = KEYS.iter().find(|entry| entry.name().as_bytes() == word) else {
        return Err(match word {
            b"syscall" | b"poke_enter" | b"poke_exit" => Fault::Strace { word, at, expected: ACTIONS },
            _ => Fault::Name { of: &VOCABULARY, word, at },
        });
    };
    match value {
        Some(_) if !entry.has_value => Err(Fault::Alone { key: entry.name(), at }),
        None | Some(b"") if entry.has_value => Err(Fault::Value { key: entry.name(), at, expected: entry.written }),
        _ => Ok(entry),
    }
}

/// What `made` applies to.
pub(super) const MADE_CALLS: &str = "error= of close, or of epoll_ctl with op=DEL, and no other calls";

/// How a message names the functions that a key applies to.
pub(super) fn applies_to(entry: &Entry) -> &'static str {
    match entry.key {
        Key::Op | Key::Events => "epoll_ctl",
        Key::Fd => "a function with a descriptor among its arguments, such as epoll_ctl, close, dup, fcntl or accept",
        Key::Made => MADE_CALLS,
        Key::Epfd => "epoll_ctl, epoll_wait, epoll_pwait or epoll_pwait2",
        _ => "epoll_wait, epoll_pwait or epoll_pwait2",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_key_is_at_its_place() {
        for (place, entry) in super::KEYS.iter().enumerate() {
            assert_eq!(entry.key as usize, place, "{}", entry.name());
            assert!(entry.written.starts_with(entry.name()));
        }
    }
}
