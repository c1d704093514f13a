//! Sets of functions, and the words that name them.

use super::{Function, MAKE_DESCRIPTORS, MAKE_PAIRS, ROLES, TABLE, TAKE_DESCRIPTORS};
use crate::functions::{Classes, Role, Row};
use crate::pattern;

/// Sets of functions that have a name.
pub const SETS: [&str; 8] = ["epoll", "all", "none", "%creat", "%desc", "%file", "%net", "%signal"];

/// A set of functions: bit N stands for the function whose number is N.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Functions(pub u64);

const _: () = assert!(Function::COUNT < u64::BITS as usize);

impl Functions {
    pub const EPOLL: Functions = Functions::of_roles(&[Role::Instance, Role::Ctl, Role::Wait]);
    pub const WAITS: Functions = Functions::of_roles(&[Role::Wait]);
    pub const ALL: Functions = Functions((1 << Function::COUNT) - 1);
    pub const NONE: Functions = Functions(0);
    /// Those that are hooked only if a rule names them. They belong to no named set.
    pub const ON_REQUEST: Functions = Functions::of_roles(&[Role::Memory]);
    /// Those that create a descriptor, or two. (Those that receive one are not among them: if there
    /// is no room, the kernel drops the descriptor from the message.)
    pub const MAKE_DESCRIPTORS: Functions = Functions::of_rows(&MAKE_DESCRIPTORS);
    /// Those that create two, which they write to an argument.
    pub const MAKE_PAIRS: Functions = Functions::of_rows(&MAKE_PAIRS);
    /// Those whose first argument is a descriptor that existed before the call.
    pub const TAKE_DESCRIPTORS: Functions = Functions::of_rows(&TAKE_DESCRIPTORS);

    /// The functions with one of these roles.
    #[must_use]
    #[allow(clippy::indexing_slicing, reason = "the compiler evaluates it")]
    pub const fn of_roles(roles: &[Role]) -> Functions {
        let (mut set, mut at) = (Functions(0), 0);
        while at < roles.len() * Function::COUNT {
            let function = Function::ALL[at % Function::COUNT];
            if ROLES[function as usize] as u8 == roles[at / Function::COUNT] as u8 {
                set.insert(function);
            }
            at += 1;
        }
        set
    }

    /// The functions at whose number `says_so` is true.
    #[allow(clippy::indexing_slicing, reason = "the compiler evaluates it")]
    const fn of_rows(says_so: &[bool; Function::COUNT]) -> Functions {
        let (mut set, mut at) = (Functions(0), 0);
        while at < Function::COUNT {
            if says_so[at] {
                set.insert(Function::ALL[at]);
            }
            at += 1;
        }
        set
    }

    #[must_use]
    pub const fn of(functions: &[Function]) -> Functions {
        let mut set = Functions(0);
        let mut at = 0;
        while at < functions.len() {
            #[allow(clippy::indexing_slicing, reason = "the loop's condition")]
            set.insert(functions[at]);
            at += 1;
        }
        set
    }

    #[must_use]
    pub const fn has(self, function: Function) -> bool {
        self.0 & 1 << function as u8 != 0
    }

    #[must_use]
    pub const fn with(self, other: Functions) -> Functions {
        Functions(self.0 | other.0)
    }

    /// All functions that are not in the set.
    #[must_use]
    pub const fn inverted(self) -> Functions {
        Functions(!self.0 & Functions::ALL.0)
    }

    /// The functions that are not in the other set.
    #[must_use]
    pub const fn without(self, other: Functions) -> Functions {
        Functions(self.0 & !other.0)
    }

    /// Whether any function is in both sets.
    #[must_use]
    pub const fn meets(self, other: Functions) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn insert(&mut self, function: Function) {
        self.0 |= 1 << function as u8;
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many functions of the set come before `function` in the table.
    #[must_use]
    pub const fn before(self, function: Function) -> u32 {
        (self.0 & ((1 << function as u8) - 1)).count_ones()
    }

    /// The functions under which those of the set are counted ([`Function::counted_as`]): one for
    /// each system call.
    #[must_use]
    #[allow(clippy::indexing_slicing, reason = "the loop's condition")]
    pub const fn system_calls(self) -> Functions {
        let (mut calls, mut at) = (Functions(0), 0);
        while at < Function::COUNT {
            if self.has(Function::ALL[at]) {
                calls.insert(Function::ALL[at].counted_as());
            }
            at += 1;
        }
        calls
    }

    /// How many functions the set has.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The functions whose rows satisfy a condition.
    #[must_use]
    pub fn which(is: impl Fn(&Row) -> bool) -> Functions {
        TABLE.iter().filter(|row| is(row)).fold(Functions::NONE, |set, row| set.with(Functions::of(&[row.function])))
    }

    /// What a word of a list of calls stands for:
    ///
    /// - the name of a function, of an alias, or of a function's system call;
    /// - `epoll` (the six functions of `<sys/epoll.h>`), `all`, `none`, `%creat` (the functions
    ///   that create descriptors), and strace's classes `%desc`, `%file`, `%net` (`%network`),
    ///   `%signal`, without the `%` too where strace allows that;
    /// - `/REGEX`: the functions whose names this POSIX extended regular expression matches
    ///   ([`pattern`]);
    /// - the number of a system call.
    ///
    /// Functions that are hooked only on request are named only by their names.
    ///
    /// None: the word is not known.
    #[must_use]
    pub fn named(word: &[u8]) -> Option<Functions> {
        let of_class = |class: Classes| Some(Functions::which(|row| row.classes.meets(class)));
        match word {
            b"epoll" => return Some(Functions::EPOLL),
            b"all" | b"%all" => return Some(Functions::ALL.without(Functions::ON_REQUEST)),
            b"none" => return Some(Functions::NONE),
            b"%creat" => {
                return Some(Functions::which(|row| {
                    matches!(row.role, Role::Create | Role::Instance | Role::Duplicate | Role::Stream)
                }));
            }
            b"%desc" | b"desc" => return of_class(Classes::DESC),
            b"%file" | b"file" => return of_class(Classes::FILE),
            b"%net" | b"%network" | b"network" => return of_class(Classes::NET),
            b"%signal" | b"signal" => return of_class(Classes::SIGNAL),
            [b'/', pattern @ ..] => {
                let matched = |name: &str| pattern::matches(pattern, name.as_bytes());
                let found = Functions::which(|row| matched(row.name()) || matched(row.system_call()));
                return pattern::is_valid(pattern).then_some(found.without(Functions::ON_REQUEST));
            }
            _ => {}
        }
        let found = match number(word) {
            Some(number) => Function::of_number(number).map_or(Functions::NONE, |function| Functions::of(&[function])),
            None if word.contains(&b'=') => return None,
            None => Functions::which(|row| row.is_named(word)),
        };
        (!found.is_empty()).then_some(found)
    }
}

/// The number that a word of digits stands for.
fn number(word: &[u8]) -> Option<i64> {
    if word.is_empty() || word.len() > 9 {
        return None;
    }
    word.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}
