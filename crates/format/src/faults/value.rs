//! The values of a rule's actions and conditions.

use super::key::{self, Key};
use super::shared::Phase;
use super::{MAX_EVENTS, Operation, Outcome, Rule, Scope, When};
use crate::function::{Function, Functions};
use crate::functions::Role;
use crate::problem::{Bad, Fault, Vocabulary};
use crate::recording::stacks::DEEPEST;
use crate::words::words;
use crate::{errno, events, pattern, scan, signal};

const EVENTS: &str = "names such as EPOLLIN, joined by |";
const COUNT: &str = "a number from 1 to 2147483647";
const WHEN: &str = "FIRST[..LAST][+[STEP]], each at least 1, LAST at least FIRST, such as 3 or 2+2";
const TIMES: &str = "a number from 0 to 18446744073709551615";
const RETURNED: &str = "a number, in hex after 0x, in octal after 0";
const PROBABILITY: &str = "a decimal from 0 to 1, with at most 19 digits after the point";
const ERRNO: &str = "a name such as EMFILE, a number from 1 to 4095, or any";
const CALLER: &str = "the base name of a program or library, such as libuv.so.1";

const FUNCTION: &str = "the name of a function in a symbol table, or /REGEX";
const HASH: &str = "the 16 hex digits that follow stack= in the log, and /DEPTH from 1 to 64 if it is there";
const SITE: &str = "the base name of a program or library, and a hex offset in it, such as libuv.so.1+0x1f2e";

/// The most events of one call (`int`).
const INT_MAX: u64 = i32::MAX as u64;
/// The highest errno: the negation of a higher number is a result, not an error (MAX_ERRNO of
/// include/linux/err.h).
const MAX_ERRNO: u64 = 4095;

static ERRNO_NAMES: Vocabulary = Vocabulary { noun: "errno", known: errno::NAMES, prefix: "", expected: ERRNO };
static SIGNAL_NAMES: Vocabulary = Vocabulary {
    noun: "signal",
    known: signal::NAMES,
    prefix: signal::PREFIX,
    expected: "a name such as SIGUSR1, or a number from 1 to 64",
};
static EVENT_NAMES: Vocabulary =
    Vocabulary { noun: "event", known: words!(&events::NAMES), prefix: events::PREFIX, expected: EVENTS };
static SCOPES: Vocabulary = Vocabulary {
    noun: "scope",
    known: words!(&["process", "thread", "rule", "tree"]),
    prefix: "",
    expected: "process, thread, rule or tree",
};
static PHASES: Vocabulary = Vocabulary {
    noun: "phase",
    known: words!(&["start", "serve", "stop"]),
    prefix: "",
    expected: "start, serve or stop",
};
static OPERATIONS: Vocabulary = Vocabulary {
    noun: "operation",
    known: words!(&["ADD", "MOD", "DEL"]),
    prefix: "EPOLL_CTL_",
    expected: "ADD, MOD or DEL",
};

/// Puts one token into a rule. Returns the fault that is reported if impossible faults are not
/// allowed.
pub(super) fn set<'a>(rule: &mut Rule<'a>, key: Key, value: &'a [u8]) -> Result<Option<Fault<'a>>, Fault<'a>> {
    let at = rule.text;
    let number = |expected| move |bad| Fault::Number { bad, word: value, at, expected };
    let name = |of| Fault::Name { of, word: value, at };
    match key {
        Key::Error if value == b"any" => rule.outcome = Some(Outcome::AnyError),
        Key::Error => rule.outcome = Some(Outcome::Error(error(value, at)?)),
        Key::Retval => {
            let returned = scan::wide(value).map_err(number(RETURNED))?.cast_signed();
            // As under strace, where the value is the kernel's result, which libc turns into -1 and
            // an errno.
            if let Some(error) = errno_of(returned) {
                rule.outcome = Some(Outcome::Error(error));
                return Ok(None);
            }
            rule.outcome = Some(Outcome::Value(returned));
            return Ok(Function::ALL
                .into_iter()
                .find(|function| rule.functions.has(*function) && !returns(*function, returned))
                .map(|function| Fault::Impossible { word: value, call: function.name(), at }));
        }
        Key::Timeout => rule.outcome = Some(Outcome::Timeout),
        Key::Signal => rule.signal = signal::number(value).ok_or(name(&SIGNAL_NAMES))?,
        Key::DelayEnter => rule.delay_enter = scan::time(value).map_err(number(scan::TIME))?,
        Key::DelayExit => rule.delay_exit = scan::time(value).map_err(number(scan::TIME))?,
        Key::Batch => {
            let most = scan::between(value, 1, INT_MAX).map_err(number(COUNT))?;
            rule.batch = u32::try_from(most).unwrap_or(u32::MAX);
        }
        Key::Forge => {
            rule.forge = bits(value, "forge", at)?;
            if rule.forge & !(events::EPOLLERR | events::EPOLLHUP) != 0 {
                return Ok(Some(Fault::Unasked { word: value, at }));
            }
        }
        Key::Shuffle => rule.shuffle = true,
        Key::When => rule.when = when(value).map_err(number(WHEN))?,
        Key::Scope => {
            rule.scope = match value {
                b"process" => Scope::Process,
                b"thread" => Scope::Thread,
                b"rule" => Scope::Rule,
                b"tree" => Scope::Tree,
                _ => return Err(name(&SCOPES)),
            }
        }
        Key::Prob => rule.chance = scan::probability(value).map_err(number(PROBABILITY))?,
        Key::Op => {
            rule.operation = Some(match value.strip_prefix(b"EPOLL_CTL_").unwrap_or(value) {
                b"ADD" => Operation::Add,
                b"MOD" => Operation::Mod,
                b"DEL" => Operation::Del,
                _ => return Err(name(&OPERATIONS)),
            });
        }
        Key::Fd => rule.fd = Some(scan::descriptor(value).map_err(number(scan::DESCRIPTOR))?),
        Key::Epfd => rule.epfd = Some(scan::descriptor(value).map_err(number(scan::DESCRIPTOR))?),
        Key::Events => rule.events = bits(value, "events", at)?,
        Key::Caller => {
            if value.contains(&b'/') {
                return Err(Fault::Unfit { key: "caller", word: value, at, expected: CALLER });
            }
            rule.caller = value;
        }
        Key::Site => {
            let at_plus = value.iter().rposition(|byte| *byte == b'+').unwrap_or(0);
            let (object, offset) = value.split_at(at_plus);
            let offset = offset.strip_prefix(b"+").unwrap_or_default();
            rule.site = hexadecimal(offset.strip_prefix(b"0x").unwrap_or(offset));
            rule.caller = object;
            if rule.site.is_none() || object.is_empty() || object.contains(&b'/') {
                return Err(Fault::Unfit { key: "site", word: value, at, expected: SITE });
            }
        }
        Key::StackName => {
            if value.strip_prefix(b"/").is_some_and(|regex| !pattern::is_valid(regex)) {
                return Err(Fault::Unfit { key: key::STACK_NAME, word: value, at, expected: FUNCTION });
            }
            rule.stack_name = value;
        }
        Key::Stack => {
            let unfit = Fault::Unfit { key: "stack", word: value, at, expected: HASH };
            let (hash, depth) = match value.split_at_checked(16) {
                Some((hash, [b'/', depth @ ..])) => (hash, scan::between(depth, 1, DEEPEST as u64).map_err(|_| unfit)?),
                _ => (value, 0),
            };
            rule.stack = hexadecimal(hash).filter(|_| hash.len() == 16);
            rule.depth = u8::try_from(depth).unwrap_or(0);
            if rule.stack.is_none() {
                return Err(unfit);
            }
        }
        Key::After => rule.after = scan::time(value).map_err(number(scan::TIME))?,
        Key::Phase => {
            rule.phase = Some(match value {
                b"start" => Phase::Start,
                b"serve" => Phase::Serve,
                b"stop" => Phase::Stop,
                _ => return Err(name(&PHASES)),
            });
        }
        Key::Made => rule.is_made = true,
        Key::Max => rule.max = scan::digits(value).map_err(number(TIMES))?,
    }
    Ok(None)
}

/// The functions that write two descriptors, and return 0.
const PAIRS: Functions = Functions::of(&[Function::Socketpair, Function::Pipe, Function::Pipe2]);

/// Whether a kernel may return this value from a call.
fn returns(function: Function, value: i64) -> bool {
    let most = match function.row().role {
        // Of a function that returns an address only null is known to be valid.
        Role::Ctl | Role::Close | Role::Stream | Role::Adopt | Role::StreamEnd | Role::Start | Role::Plain => 0,
        Role::Birth | Role::Memory => 0,
        Role::Wait => i64::from(MAX_EVENTS),
        Role::Create if PAIRS.has(function) => 0,
        // A new descriptor, or how much was received.
        Role::Instance | Role::Duplicate | Role::Create | Role::Receive => i64::from(i32::MAX),
    };
    (0..=most).contains(&value)
}

/// The errno that a kernel's return value stands for (`-MAX_ERRNO` to -1).
fn errno_of(returned: i64) -> Option<u16> {
    let error = u16::try_from(returned.checked_neg()?).ok()?;
    (1..=MAX_ERRNO).contains(&u64::from(error)).then_some(error)
}

/// The errno of a name, in any case, or of a number.
fn error<'a>(value: &'a [u8], at: &'a [u8]) -> Result<u16, Fault<'a>> {
    let fault = |bad| Fault::Number { bad, word: value, at, expected: ERRNO };
    let number = match scan::leading(value) {
        Ok((number, [])) => number,
        Err(bad @ (Bad::Negative | Bad::TooLarge)) => return Err(fault(bad)),
        _ => errno::find(value).map(u64::from).ok_or(Fault::Name { of: &ERRNO_NAMES, word: value, at })?,
    };
    match u16::try_from(number) {
        Ok(0) => Err(fault(Bad::TooSmall)),
        Ok(number) if u64::from(number) <= MAX_ERRNO => Ok(number),
        _ => Err(fault(Bad::TooLarge)),
    }
}

/// A number of 1 to 16 hex digits.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(u64::from);
    let number = digits.iter().try_fold(0, |number: u64, at| Some(number << 4 | digit(*at)?));
    number.filter(|_| (1..=16).contains(&digits.len()))
}

/// The bits of event names. Not having any is an error.
fn bits<'a>(value: &'a [u8], key: &'static str, at: &'a [u8]) -> Result<u32, Fault<'a>> {
    match events::mask(value) {
        Ok(0) => Err(Fault::Unfit { key, word: value, at, expected: EVENTS }),
        Ok(bits) => Ok(bits),
        Err(word) => Err(Fault::Name { of: &EVENT_NAMES, word, at }),
    }
}

/// strace's ordinals: `F` is the F-th call alone, `F+` every call from the F-th on, `F+S` every
/// S-th from the F-th on. `F..L` and `F..L+` are every call from the F-th to the L-th, `F..L+S`
/// every S-th of these. (strace's numbers end at 65535.)
fn when(value: &[u8]) -> Result<When, Bad> {
    let (first, rest) = at_least_one(value)?;
    let (last, rest) = match rest {
        [b'.', b'.', rest @ ..] => match at_least_one(rest)? {
            (last, _) if last < first => return Err(Bad::Malformed),
            (last, rest) => (Some(last), rest),
        },
        _ => (None, rest),
    };
    let (step, rest) = match rest {
        [] => (u64::from(last.is_some()), rest),
        [b'+'] => (1, &b""[..]),
        [b'+', rest @ ..] => at_least_one(rest)?,
        _ => (0, rest),
    };
    let last = last.unwrap_or(u64::MAX);
    if rest.is_empty() { Ok(When { first, last, step }) } else { Err(Bad::Malformed) }
}

fn at_least_one(text: &[u8]) -> Result<(u64, &[u8]), Bad> {
    match scan::leading(text)? {
        (0, _) => Err(Bad::TooSmall),
        found => Ok(found),
    }
}
