//! Faults: the rules of `EPOLLSHIM_INJECT`, a superset of strace's `-e inject=`.
//!
//! ```text
//! RULES   = RULE[;RULE...]
//! RULE    = [inject=]CALLS:TOKEN[:TOKEN...]  at least one action; also fault= and -e inject=
//! CALLS   = [!]NAME[,NAME...]               names that Functions::named knows; ! inverts the set
//! ACTION  = error=ERRNO | retval=N | timeout | signal=SIG | delay_enter=T | delay_exit=T
//!         | batch=N | forge=EVENTS | shuffle
//!         | made                            the call is made, and then fails by error=
//! CONDITION = when=FIRST[..LAST][+[STEP]] | scope=process|thread|rule|tree | prob=P
//!         | op=ADD|MOD|DEL | fd=N | epfd=N | events=EVENTS
//!         | caller=NAME | site=OBJECT+OFFSET | stack~NAME | stack=HASH[/DEPTH]
//!         | after=T | max=N | phase=start|serve|stop
//! ```
//!
//! What strace 6.1 accepts for these calls (src/filter_qualify.c, src/basic_filters.c) means the
//! same here. That includes its leniency: an empty name among CALLS and an empty token are ignored;
//! names of errors and signals are accepted in any case; white space and a sign may precede a
//! number; an unknown name with a `?` before it is ignored; of several `when` the last one applies.
//! Any other key may be given once.
//!
//! Not supported: `syscall=`, `poke_enter=`, `poke_exit=`, classes of system calls that no function
//! here belongs to, and `@` (a personality). A `retval` of -4095 to -1 is an error, as the kernel
//! returns it. A value that no kernel returns needs `EPOLLSHIM_INJECT_IMPOSSIBLE=1`; strace accepts
//! it.
//!
//! strace counts the ordinals of `when` per thread. Here they are counted per process or, with
//! `scope=thread`, per thread. Both count each system call of a set separately. With `scope=rule`
//! all calls that match the rule are counted together.
//!
//! A rule borrows from its text; nothing is allocated.

use crate::function::{self, Function, Functions};
use crate::problem::{Fault, Vocabulary};
use crate::words::words;
use key::{KEYS, Key, Seen};
use shared::Phase;

pub mod decisions;
mod key;
pub mod shared;
mod value;

/// The most rules at a time. More are an error.
pub const RULES: usize = 64;

/// The most counters of all rules together. A rule has one for each system call that it names.
pub const COUNTERS: usize = 256;

/// The most events that one wait may ask for: EP_MAX_EVENTS of fs/eventpoll.c, INT_MAX /
/// sizeof(struct epoll_event). (struct epoll_event has 12 bytes on x86-64, and 16 elsewhere.)
pub const MAX_EVENTS: i32 = i32::MAX / if cfg!(target_arch = "x86_64") { 12 } else { 16 };

/// What the program gets in place of the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// -1, and this errno (1 to 4095).
    Error(u16),
    /// -1, and one of the errors that the manual page documents for the call.
    AnyError,
    /// This return value.
    Value(i64),
    /// 0 from a wait.
    Timeout,
}

/// An operation of `epoll_ctl`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    Add,
    Mod,
    Del,
}

/// Whose calls an ordinal counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The calls of the process, each system call by itself.
    Process,
    /// The calls of each thread, each system call by itself.
    Thread,
    /// All calls that match the rule together, in the process.
    Rule,
    /// The calls of all processes of the session together, each system call by itself.
    Tree,
}

/// On which of the matching calls a rule fires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct When {
    /// At least 1.
    pub first: u64,
    /// At least `first`; u64::MAX: without end.
    pub last: u64,
    /// 0: on `first` alone.
    pub step: u64,
}

impl Default for When {
    fn default() -> Self {
        When { first: 1, last: u64::MAX, step: 1 }
    }
}

impl When {
    /// Whether the call with this ordinal (from 1) is one of them.
    #[must_use]
    pub const fn holds(self, ordinal: u64) -> bool {
        if ordinal < self.first || ordinal > self.last {
            return false;
        }
        match (ordinal - self.first).checked_rem(self.step) {
            Some(rest) => rest == 0,
            None => ordinal == self.first,
        }
    }
}

/// One rule of faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule<'a> {
    /// As written.
    pub text: &'a [u8],
    pub functions: Functions,
    /// `fcntl` was named only by `%creat`: the rule applies to those of its commands that create
    /// descriptors.
    pub only_duplicates: bool,
    /// None: the call is made.
    pub outcome: Option<Outcome>,
    /// The call is made, and the program gets the outcome, an error, in place of its result.
    pub is_made: bool,
    /// The signal to raise; 0: none.
    pub signal: u8,
    /// Nanoseconds.
    pub delay_enter: u64,
    /// Nanoseconds.
    pub delay_exit: u64,
    /// The most events that a wait delivers (1 to INT_MAX); 0: as many as requested.
    pub batch: u32,
    /// Event bits to add to delivered events.
    pub forge: u32,
    pub shuffle: bool,
    pub when: When,
    pub scope: Scope,
    /// The rule fires if a uniform 64-bit number is below this; None: always.
    pub chance: Option<u64>,
    pub operation: Option<Operation>,
    pub fd: Option<i32>,
    pub epfd: Option<i32>,
    /// Event bits that the call must all request; 0: any.
    pub events: u32,
    /// The base name of the calling object; empty: any. A `?` stands for any one byte.
    pub caller: &'a [u8],
    /// The return address of the call, as an address in that object's file.
    pub site: Option<u64>,
    /// The name of a function that must be on the call stack, or `/` and a pattern for it; empty:
    /// any.
    pub stack_name: &'a [u8],
    /// The hash of the call stack.
    pub stack: Option<u64>,
    /// The most callers that the hash covers; 0: 64, including those below a signal handler.
    pub depth: u8,
    /// Nanoseconds after the start before which the rule does not fire.
    pub after: u64,
    /// The phase in which the program must be, as the process that drives it sets it; None: any.
    pub phase: Option<Phase>,
    /// How often it may fire; u64::MAX: any number of times.
    pub max: u64,
    /// Whether a kernel could do this to any program.
    pub legal: bool,
}

/// Every rule of a text, or the first problem, in order.
#[derive(Clone, Debug)]
pub struct Rules<'a> {
    /// None: the whole text was read, or a problem was returned.
    rest: Option<&'a [u8]>,
    place: usize,
    impossible_allowed: bool,
}

/// The rules of a text. Ends after the first problem; never yields more than [`RULES`] rules.
#[must_use]
pub const fn parse(text: &[u8], impossible_allowed: bool) -> Rules<'_> {
    Rules { rest: Some(text), place: 0, impossible_allowed }
}

/// How many rules a text has, or its first problem.
pub fn check(text: &[u8], impossible_allowed: bool) -> Result<usize, Fault<'_>> {
    parse(text, impossible_allowed).try_fold(0, |count, rule| rule.map(|_| count + 1))
}

/// Whether any rule of a text needs the page that the processes of a session share ([`shared`]).
#[must_use]
pub fn need_session(text: &[u8], impossible_allowed: bool) -> bool {
    parse(text, impossible_allowed).flatten().any(|rule| rule.scope == Scope::Tree || rule.phase.is_some())
}

impl<'a> Iterator for Rules<'a> {
    type Item = Result<Rule<'a>, Fault<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest.take()?;
        if self.place == RULES {
            return Some(Err(Fault::TooMany { what: "rules", most: RULES }));
        }
        self.place += 1;
        let (text, rest) = split(text, b';');
        let rule = rule(text, self.place, self.impossible_allowed);
        if rule.is_ok() {
            self.rest = rest;
        }
        Some(rule)
    }
}

/// The text before the first separator, and the text after it.
fn split(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == separator) {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
        None => (text, None),
    }
}

const RULE: &str = "CALLS:ACTION[:ACTION...][:CONDITION...]";
const CALLS: &str = "names such as epoll_wait or openat (docs/faults.md lists them), separated by commas, or epoll, %creat, %desc, %net, /REGEX or all";

const PATTERN: &str = "an extended regular expression of . [a-z] ^ $ (a|b) * + ? and \\ in at most 128 bytes";

static CALL_NAMES: Vocabulary =
    Vocabulary { noun: "call", known: words!(&function::NAMES), prefix: "", expected: CALLS };

fn rule(text: &[u8], place: usize, impossible_allowed: bool) -> Result<Rule<'_>, Fault<'_>> {
    if text.is_empty() {
        return Err(Fault::Nothing { what: "rule", place, expected: RULE });
    }
    let (names, tokens) = split(without_option(text), b':');
    let (functions, explicit) = calls(names, text)?;
    let mut rule = Rule {
        text,
        functions,
        only_duplicates: functions.has(Function::Fcntl) && !explicit.has(Function::Fcntl),
        outcome: None,
        is_made: false,
        signal: 0,
        delay_enter: 0,
        delay_exit: 0,
        batch: 0,
        forge: 0,
        shuffle: false,
        when: When::default(),
        scope: Scope::Process,
        chance: None,
        operation: None,
        fd: None,
        epfd: None,
        events: 0,
        caller: b"",
        site: None,
        stack_name: b"",
        stack: None,
        depth: 0,
        after: 0,
        phase: None,
        max: u64::MAX,
        legal: true,
    };
    let mut seen = Seen::default();
    let mut impossible = None;
    for token in tokens.unwrap_or_default().split(|byte| *byte == b':').filter(|token| !token.is_empty()) {
        let (word, value) = match token.split_at_checked(key::STACK_NAME.len()) {
            Some((word, name)) if word == key::STACK_NAME.as_bytes() => (word, Some(name)),
            _ => split(token, b'='),
        };
        let entry = key::find(word, value, text)?;
        let (key, name) = (entry.key, entry.name());
        if seen.has(key) && key != Key::When {
            return Err(Fault::Twice { key: name, at: text });
        }
        seen.insert(key);
        if let Some(fault) = value::set(&mut rule, key, value.unwrap_or_default())? {
            impossible.get_or_insert(fault);
        }
    }
    if !KEYS.iter().any(|entry| entry.key.acts() && seen.has(entry.key)) {
        return Err(Fault::NoAction { at: text, expected: key::ACTIONS });
    }
    let mut outcomes = KEYS.iter().filter(|entry| entry.key.decides() && seen.has(entry.key));
    if let (Some(one), Some(other)) = (outcomes.next(), outcomes.next()) {
        return Err(Fault::Both { keys: [one.name(), other.name()], at: text });
    }
    if seen.has(Key::Caller) && seen.has(Key::Site) {
        return Err(Fault::Both { keys: ["caller", "site"], at: text });
    }
    if let Some(entry) = KEYS
        .iter()
        .find(|entry| seen.has(entry.key) && !rule.functions.is_empty() && !rule.functions.meets(entry.calls))
    {
        return Err(Fault::Calls { key: entry.name(), at: text, expected: key::applies_to(entry) });
    }
    if rule.is_made && !fits_made(&rule) {
        return Err(Fault::Calls { key: "made", at: text, expected: key::MADE_CALLS });
    }
    rule.legal = impossible.is_none();
    match impossible {
        Some(fault) if !impossible_allowed => Err(fault),
        _ => Ok(rule),
    }
}

/// Whether the kernel returns the rule's error although it has done what was requested.
fn fits_made(rule: &Rule) -> bool {
    let is_error = matches!(rule.outcome, Some(Outcome::Error(_) | Outcome::AnyError));
    let is_del = rule.operation == Some(Operation::Del) || !rule.functions.has(Function::EpollCtl);
    is_error && is_del && !rule.functions.meets(key::MADE.inverted())
}

/// The rule without the strace option with which it may have been copied.
fn without_option(text: &[u8]) -> &[u8] {
    let text = text.strip_prefix(b"-e").map_or(text, <[u8]>::trim_ascii_start);
    let options: [&[u8]; 2] = [b"inject=", b"fault="];
    options.iter().find_map(|option| text.strip_prefix(*option)).unwrap_or(text)
}

/// The functions that a list of calls names, and those of them that something other than `%creat`
/// names.
fn calls<'a>(names: &'a [u8], at: &'a [u8]) -> Result<(Functions, Functions), Fault<'a>> {
    let (mut functions, mut explicit) = (Functions::NONE, Functions::NONE);
    // As under strace, a rule may name no calls if it says so by `none`.
    let mut may_be_empty = false;
    let (names, is_inverted) = match names {
        [b'!', names @ ..] => (names, true),
        names => (names, false),
    };
    for written in names.split(|byte| *byte == b',').filter(|name| !name.is_empty()) {
        let name = written.get(written.iter().take_while(|byte| **byte == b'?').count()..).unwrap_or_default();
        match Functions::named(name) {
            Some(named) => {
                functions = functions.with(named);
                may_be_empty |= name == b"none" || is_inverted && !named.is_empty();
                explicit = if name == b"%creat" { explicit } else { explicit.with(named) };
            }
            None if foreign(name) => return Err(Fault::Strace { word: written, at, expected: CALLS }),
            None if name.first() == Some(&b'/') => {
                return Err(Fault::Unfit { key: "/REGEX", word: written, at, expected: PATTERN });
            }
            None if name.len() < written.len() => {}
            None => return Err(Fault::Name { of: &CALL_NAMES, word: written, at }),
        }
    }
    if is_inverted && may_be_empty {
        functions = functions.inverted().without(Functions::ON_REQUEST);
        explicit = functions;
    }
    if functions.is_empty() && !may_be_empty {
        Err(Fault::NoCall { at, expected: CALLS })
    } else {
        Ok((functions, explicit))
    }
}

/// Whether strace accepts the name for a set of calls that does not exist here: another number,
/// another class, a personality.
fn foreign(name: &[u8]) -> bool {
    const CLASSES: [&[u8]; 3] = [b"memory", b"process", b"ipc"];
    match name {
        [b'%', ..] => true,
        [] | [b'/', ..] => false,
        _ => CLASSES.contains(&name) || name.contains(&b'@') || name.iter().all(u8::is_ascii_digit),
    }
}
