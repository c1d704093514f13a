//! Patterns for names: the part of POSIX extended regular expressions that names of functions need.
//!
//! `.`, `[abc]`, `[^a-z]`, `^`, `$`, `(one|other)`, `*`, `+`, `?`, and `\` before any of them.
//! There is no `{m,n}` and no `[:class:]`. Nothing is allocated, and the work is bounded, because
//! signal handlers may match patterns.

use core::cell::Cell;

/// The longest pattern.
pub const LONGEST: usize = 128;
/// The deepest nesting of groups.
const DEEPEST: usize = 4;
/// Steps of one match. A pattern that needs more does not match.
const STEPS: u32 = 20_000;

/// Whether a pattern is valid.
#[must_use]
pub fn is_valid(pattern: &[u8]) -> bool {
    if pattern.is_empty() || pattern.len() > LONGEST {
        return false;
    }
    let (mut rest, mut depth) = (pattern, 0);
    // Whether the last element is one that a `*` can repeat.
    let mut can_repeat = false;
    while let [first, behind @ ..] = rest {
        rest = behind;
        match first {
            b'(' => depth += 1,
            b')' if depth == 0 => return false,
            b')' => depth -= 1,
            b'[' => match class_length(first_and(pattern, rest)) {
                Some(length) => rest = rest.get(length - 1..).unwrap_or_default(),
                None => return false,
            },
            b'\\' => match behind {
                [] => return false,
                [_, behind @ ..] => rest = behind,
            },
            b'*' | b'+' | b'?' if !can_repeat => return false,
            b'{' | b'}' => return false,
            _ => {}
        }
        if depth > DEEPEST {
            return false;
        }
        can_repeat = !matches!(first, b'(' | b'|' | b'^' | b'*' | b'+' | b'?');
    }
    depth == 0
}

/// Whether a pattern matches anywhere in a text. False also where it is not valid.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let left = Cell::new(STEPS);
    let search = Search { text, left: &left };
    is_valid(pattern) && (0..=text.len()).any(|at| search.alternatives(pattern, at, &mut |_| true))
}

/// The suffix of `pattern` that begins one byte before its suffix `rest`.
fn first_and<'a>(pattern: &'a [u8], rest: &[u8]) -> &'a [u8] {
    pattern.get(pattern.len() - rest.len() - 1..).unwrap_or_default()
}

/// The length of the class `[...]` at the beginning. None: it has no end.
fn class_length(pattern: &[u8]) -> Option<usize> {
    let begin = if pattern.get(1) == Some(&b'^') { 2 } else { 1 };
    // A bracket that comes first stands for itself.
    let close = pattern.iter().skip(begin + 1).position(|byte| *byte == b']')?;
    Some(begin + 1 + close + 1)
}

/// The length of the first element, which a `*` would repeat.
fn atom_length(pattern: &[u8]) -> usize {
    match pattern {
        [] => 0,
        [b'\\', ..] => pattern.len().min(2),
        [b'[', ..] => class_length(pattern).unwrap_or(pattern.len()),
        [b'(', inner @ ..] => end_of(inner, true) + 2,
        _ => 1,
    }
}

/// The end of a group (its `)`), or of an alternative (a `|`, or the end of the pattern).
fn end_of(pattern: &[u8], of_group: bool) -> usize {
    let (mut at, mut depth) = (0, 0usize);
    while let Some(rest) = pattern.get(at..).filter(|rest| !rest.is_empty()) {
        match rest {
            [b'(', ..] => depth += 1,
            [b')', ..] if depth == 0 => return at,
            [b')', ..] => depth -= 1,
            [b'|', ..] if depth == 0 && !of_group => return at,
            _ => {}
        }
        at += if matches!(rest, [b'(' | b')', ..]) { 1 } else { atom_length(rest) };
    }
    pattern.len()
}

#[derive(Clone, Copy)]
struct Search<'a> {
    text: &'a [u8],
    left: &'a Cell<u32>,
}

impl Search<'_> {
    fn alternatives(self, pattern: &[u8], at: usize, then: &mut dyn FnMut(usize) -> bool) -> bool {
        let mut rest = pattern;
        loop {
            let (one, others) = rest.split_at_checked(end_of(rest, false)).unwrap_or((rest, b""));
            if self.sequence(one, at, then) {
                return true;
            }
            match others {
                [_, others @ ..] => rest = others,
                [] => return false,
            }
        }
    }

    fn sequence(self, pattern: &[u8], at: usize, then: &mut dyn FnMut(usize) -> bool) -> bool {
        let Some(left) = self.left.get().checked_sub(1) else { return false };
        self.left.set(left);
        let (atom, rest) = pattern.split_at_checked(atom_length(pattern)).unwrap_or((pattern, b""));
        match rest {
            _ if atom.is_empty() => then(at),
            [b'*', rest @ ..] => self.repeat(atom, (0, usize::MAX), rest, at, then),
            [b'+', rest @ ..] => self.repeat(atom, (1, usize::MAX), rest, at, then),
            [b'?', rest @ ..] => self.repeat(atom, (0, 1), rest, at, then),
            rest => self.repeat(atom, (1, 1), rest, at, then),
        }
    }

    fn repeat(
        self,
        atom: &[u8],
        (least, most): (usize, usize),
        rest: &[u8],
        at: usize,
        then: &mut dyn FnMut(usize) -> bool,
    ) -> bool {
        let again = |next: usize, then: &mut dyn FnMut(usize) -> bool| {
            // An element that matches the empty text is not repeated forever.
            (next > at || least > 0) && self.repeat(atom, (least.saturating_sub(1), most - 1), rest, next, then)
        };
        most > 0 && self.one(atom, at, &mut |next| again(next, then)) || least == 0 && self.sequence(rest, at, then)
    }

    fn one(self, atom: &[u8], at: usize, then: &mut dyn FnMut(usize) -> bool) -> bool {
        let byte = self.text.get(at).copied();
        let is = match atom {
            [b'(', inner @ .., _] => return self.alternatives(inner, at, then),
            [b'^'] => return at == 0 && then(at),
            [b'$'] => return byte.is_none() && then(at),
            [b'.'] => byte.is_some(),
            [b'[', b'^', set @ .., _] => byte.is_some_and(|byte| !is_in(set, byte)),
            [b'[', set @ .., _] => byte.is_some_and(|byte| is_in(set, byte)),
            [b'\\', own] | [own] => byte == Some(*own),
            _ => false,
        };
        is && then(at + 1)
    }
}

/// Whether a byte is in a set such as `abx-z`.
fn is_in(set: &[u8], byte: u8) -> bool {
    match set {
        [] => false,
        [from, b'-', to, rest @ ..] => (*from..=*to).contains(&byte) || is_in(rest, byte),
        [one, rest @ ..] => *one == byte || is_in(rest, byte),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_valid, matches};

    #[test]
    fn patterns_match_as_extended_regular_expressions_do() {
        for (pattern, yes, no) in [
            ("open", &["open", "openat", "reopen"][..], &["ope", ""][..]),
            ("^open$", &["open"], &["openat", "reopen"]),
            ("^(open|close)", &["open", "close_range"], &["reopen"]),
            (
                "^epoll_(create1?|ctl)$",
                &["epoll_create", "epoll_create1", "epoll_ctl"],
                &["epoll_create12", "epoll_wait"],
            ),
            ("^dup[23]?$", &["dup", "dup2", "dup3"], &["dup4"]),
            ("^[^e].*(at|4)$", &["openat", "accept4"], &["eventfd2", "epoll4"]),
            ("a+b*c?$", &["xaab", "a", "aac"], &["b"]),
            (r"\.", &["a.b"], &["ab"]),
            ("[]x]", &["]"], &["a"]),
            ("(a|b(c|d)*)e", &["ae", "be", "bcde"], &["ce", "bx"]),
            ("(a*)*b", &["aaab", "b"], &["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac"]),
        ] {
            for text in yes {
                assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} in {text:?}");
            }
            for text in no {
                assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} in {text:?}");
            }
        }
    }

    #[test]
    fn an_invalid_pattern_matches_nothing() {
        for pattern in ["", "(", ")", "a(b", "[a", "*a", "+", "(*a)", "a|*", "a{2}", "\\", "((((((a))))))", "a**"] {
            assert!(!is_valid(pattern.as_bytes()) && !matches(pattern.as_bytes(), b"aa"), "{pattern}");
        }
        assert!(!is_valid(&[b'a'; 129]) && is_valid(&[b'a'; 128]));
    }
}
