//! Messages about bad options. Each is one line that names the variable, the bad word, the element
//! around it, and what to write instead.
//!
//! It borrows from the option's text, and shows no more of it than fits into a line, in printable
//! ASCII.

use core::fmt;

use crate::suggest;
use crate::words::Words;

/// A fault and the variable that contains it. (The C interface shows the same faults without a
/// variable.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Problem<'a> {
    pub variable: &'a [u8],
    pub fault: Fault<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault<'a> {
    /// The value is not one of the words that the option knows.
    Word { word: &'a [u8], allowed: &'static [&'static str] },
    /// The value, or an element of the list, is empty.
    Empty { expected: &'static str },
    /// A `%` with an unknown letter.
    Pattern { at: &'a [u8] },
    /// A file name that ends in a slash, or is longer than the system accepts.
    Path { path: &'a [u8], why: &'static str, expected: &'static str },
    /// An unknown variable whose name is nearly that of an option.
    Unknown { meant: &'static str },
    /// The element at this place (from 1) is empty.
    Nothing { what: &'static str, place: usize, expected: &'static str },
    /// A word that is not in its vocabulary.
    Name { of: &'static Vocabulary, word: &'a [u8], at: &'a [u8] },
    /// A number that is malformed or out of range.
    Number { bad: Bad, word: &'a [u8], at: &'a [u8], expected: &'static str },
    /// A key without its value.
    Value { key: &'static str, at: &'a [u8], expected: &'static str },
    /// A word that takes no value.
    Alone { key: &'static str, at: &'a [u8] },
    /// A value that its key cannot take.
    Unfit { key: &'static str, word: &'a [u8], at: &'a [u8], expected: &'static str },
    /// A key that is given twice in one element.
    Twice { key: &'static str, at: &'a [u8] },
    /// Two keys that cannot be combined.
    Both { keys: [&'static str; 2], at: &'a [u8] },
    /// A rule without an action.
    NoAction { at: &'a [u8], expected: &'static str },
    /// A rule that names no call.
    NoCall { at: &'a [u8], expected: &'static str },
    /// A key that applies to none of the calls that its rule names.
    Calls { key: &'static str, at: &'a [u8], expected: &'static str },
    /// A feature of strace that the library does not have.
    Strace { word: &'a [u8], at: &'a [u8], expected: &'static str },
    /// A return value that no kernel returns from this call.
    Impossible { word: &'a [u8], call: &'static str, at: &'a [u8] },
    /// Events that no kernel reports unless asked to.
    Unasked { word: &'a [u8], at: &'a [u8] },
    /// More elements than are allowed.
    TooMany { what: &'static str, most: usize },
}

/// The words that are valid in one place.
#[derive(PartialEq, Eq, Debug)]
pub struct Vocabulary {
    /// The noun for such a word in a message.
    pub noun: &'static str,
    /// The words. Empty ones are ignored.
    pub known: Words,
    /// A prefix of the words that a user may leave out.
    pub prefix: &'static str,
    /// What the message expects if no known word is near.
    pub expected: &'static str,
}

impl Vocabulary {
    /// The known word nearest to a mistyped one, without the prefix if the mistyped one has none.
    fn nearest(&self, word: &[u8]) -> Option<&'static str> {
        let word = core::str::from_utf8(word).ok()?;
        let mut same = [0u8; 64];
        let same = same.get_mut(..word.len())?;
        same.copy_from_slice(word.as_bytes());
        // The known words are all in one case. A word in the other case is not a typing error.
        if self.known.iter().any(|known| known.bytes().any(|byte| byte.is_ascii_lowercase())) {
            same.make_ascii_lowercase();
        } else {
            same.make_ascii_uppercase();
        }
        let word = core::str::from_utf8(same).ok()?;
        let short = !self.prefix.is_empty() && !word.starts_with(self.prefix);
        let known = self.known.iter().map(|known| match known.strip_prefix(self.prefix) {
            Some(rest) if short => rest,
            _ => known,
        });
        suggest::nearest(word, known)
    }
}

/// What is wrong with a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bad {
    Missing,
    NotNumber,
    /// Several numbers in an invalid combination.
    Malformed,
    Negative,
    TooLarge,
    TooSmall,
    /// The unit of a time or of a size is not known.
    Unit,
    /// More digits after the point than can be distinguished.
    TooFine,
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Cut(self.variable, LONGEST_WORD), self.fault)
    }
}

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Fault::Word { word, allowed } => {
                write!(f, "unknown value {}; allowed: ", Quoted(word))?;
                for (index, known) in allowed.iter().enumerate() {
                    write!(f, "{}{known}", if index == 0 { "" } else { ", " })?;
                }
                let near = core::str::from_utf8(word).ok();
                match near.and_then(|word| suggest::nearest(word, allowed.iter().copied())) {
                    Some(meant) => write!(f, "; did you mean {meant}?"),
                    None => Ok(()),
                }
            }
            Fault::Empty { expected } => write!(f, "empty; expected {expected}"),
            Fault::Pattern { at } => write!(
                f,
                "unknown pattern at {}; allowed: %p (pid), %e (program name), %t (start time), %% (a percent sign)",
                Quoted(at)
            ),
            Fault::Path { path, why, expected } => write!(f, "{} {why}; expected {expected}", Quoted(path)),
            Fault::Unknown { meant } => write!(f, "no such option; did you mean {meant}?"),
            Fault::Nothing { what, place, expected } => write!(f, "{what} {place} is empty; expected {expected}"),
            Fault::Name { of, word, at } => {
                let around = if word == at { b"" } else { at };
                write!(f, "unknown {} {}{}; ", of.noun, Quoted(word), At(around))?;
                match of.nearest(word) {
                    Some(meant) => write!(f, "did you mean {meant}?"),
                    None => write!(f, "expected {}", of.expected),
                }
            }
            Fault::Number { bad, word, at, expected } => {
                match bad {
                    Bad::Missing => write!(f, "a number is missing"),
                    Bad::NotNumber => write!(f, "{} is not a number", Quoted(word)),
                    Bad::Malformed => write!(f, "{} is malformed", Quoted(word)),
                    Bad::Negative => write!(f, "{} is negative", Quoted(word)),
                    Bad::TooLarge => write!(f, "{} is too large", Quoted(word)),
                    Bad::TooSmall => write!(f, "{} is too small", Quoted(word)),
                    Bad::Unit => write!(f, "{} has an unknown unit", Quoted(word)),
                    Bad::TooFine => write!(f, "{} has too many digits", Quoted(word)),
                }?;
                write!(f, "{}; expected {expected}", At(at))
            }
            Fault::Value { key, at, expected } => write!(f, "{key} has no value{}; expected {expected}", At(at)),
            Fault::Alone { key, at } => write!(f, "{key} takes no value{}; write {key} alone", At(at)),
            Fault::Unfit { key, word, at, expected } => {
                write!(f, "{key} cannot be {}{}; expected {expected}", Quoted(word), At(at))
            }
            Fault::Twice { key, at } => write!(f, "{key} is given twice{}; remove one", At(at)),
            Fault::Both { keys: [one, other], at } => {
                write!(f, "{one} and {other} cannot be combined{}; keep one of them", At(at))
            }
            Fault::NoAction { at, expected } => write!(f, "no action{}; add {expected}", At(at)),
            Fault::NoCall { at, expected } => write!(f, "no call is named{}; expected {expected}", At(at)),
            Fault::Calls { key, at, expected } => write!(f, "{key}{} applies only to {expected}", At(at)),
            Fault::Strace { word, at, expected } => {
                write!(f, "{} of strace is not supported{}; expected {expected}", Quoted(word), At(at))
            }
            Fault::Impossible { word, call, at } => {
                write!(f, "no kernel returns {} from {call}{}; {ALLOW}", Cut(word, LONGEST_WORD), At(at))
            }
            Fault::Unasked { word, at } => {
                write!(f, "no kernel reports {} unless asked to{}; {ALLOW}", Cut(word, LONGEST_WORD), At(at))
            }
            Fault::TooMany { what, most } => write!(f, "too many {what}; at most {most} are allowed"),
        }
    }
}

const ALLOW: &str = "EPOLLSHIM_INJECT_IMPOSSIBLE=1 allows it";

/// The most bytes of a word, and of the element around it, that are shown.
const LONGEST_WORD: usize = 40;
const LONGEST_ELEMENT: usize = 80;

struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", Cut(self.0, LONGEST_WORD))
    }
}

/// The element that contains the bad word; empty if there is none.
struct At<'a>(&'a [u8]);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " in '{}'", Cut(self.0, LONGEST_ELEMENT)) }
    }
}

/// The beginning of a text in printable ASCII.
struct Cut<'a>(&'a [u8], usize);

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..self.1).unwrap_or(self.0);
        write!(f, "{}{}", shown.escape_ascii(), if shown.len() < self.0.len() { "..." } else { "" })
    }
}
