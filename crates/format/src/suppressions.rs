//! Findings that are not reported: `EPOLLSHIM_SUPPRESSIONS` names a file of lines `id:pattern`, as
//! the sanitizers have them.
//!
//! ```text
//! # an instance that libfoo keeps for the life of the process
//! leak:libfoo.so
//! spin:^main_loop$
//! ```
//!
//! A pattern matches anywhere in a name. `*` stands for any text. `^` at the beginning of the
//! pattern and `$` at its end anchor it to the beginning and the end of the name. The names are
//! those of the finding's two places: the object's path, its file name, and the function. Empty
//! lines, lines that begin with `#`, and space around a line are ignored.

use core::fmt;

use crate::findings::Id;
use crate::problem::{Fault, Vocabulary};
use crate::words::words;

/// The longest file that is read, in bytes.
pub const LONGEST_FILE: usize = 1 << 20;

const PATTERN: &str = "id:pattern, such as leak:libfoo.so";
static IDS: Vocabulary = Vocabulary { noun: "finding", known: words!(Id::NAMES), prefix: "", expected: PATTERN };

/// One line of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule<'a> {
    pub id: Id,
    pub pattern: &'a [u8],
    /// The whole line, without space around it.
    pub text: &'a [u8],
}

/// What is wrong with a line. It is shown as `NUMBER: what`, after the file's name and a colon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wrong<'a> {
    /// From 1.
    pub line: usize,
    pub fault: Fault<'a>,
}

impl fmt::Display for Wrong<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.fault)
    }
}

/// The rules of a file and its bad lines, in order.
pub fn parse(text: &[u8]) -> impl Iterator<Item = Result<Rule<'_>, Wrong<'_>>> + Clone {
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    lines.filter_map(|(index, line)| {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            return None;
        }
        Some(rule(line).map_err(|fault| Wrong { line: index + 1, fault }))
    })
}

/// How many rules a file has, or its first bad line.
pub fn check(text: &[u8]) -> Result<usize, Wrong<'_>> {
    parse(text).try_fold(0, |count, rule| rule.map(|_| count + 1))
}

fn rule(text: &[u8]) -> Result<Rule<'_>, Fault<'_>> {
    let colon = text.iter().position(|byte| *byte == b':');
    let (word, rest) = text.split_at_checked(colon.unwrap_or(text.len())).unwrap_or((text, b""));
    let Some(id) = Id::ALL.iter().copied().find(|id| id.name().as_bytes() == word) else {
        return Err(Fault::Name { of: &IDS, word, at: text });
    };
    match rest.strip_prefix(b":").map(<[u8]>::trim_ascii) {
        // A reader might expect `leak:` to match every name, and `leak:^$` none.
        None | Some(b"" | b"^" | b"$" | b"^$") => Err(Fault::Value { key: id.name(), at: text, expected: PATTERN }),
        Some(pattern) => Ok(Rule { id, pattern, text }),
    }
}

impl Rule<'_> {
    /// Whether it applies to a finding of this kind in a place of this name.
    #[must_use]
    pub fn matches(&self, id: Id, name: &[u8]) -> bool {
        self.id == id && !name.is_empty() && matches(self.pattern, name)
    }
}

/// Whether a pattern matches a name.
#[must_use]
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (pattern, mut is_held) = match pattern.strip_prefix(b"^") {
        Some(rest) => (rest, true),
        None => (pattern, false),
    };
    let (pattern, is_whole) = match pattern.strip_suffix(b"$") {
        Some(rest) => (rest, true),
        None => (pattern, false),
    };
    let mut rest = name;
    let mut parts = pattern.split(|byte| *byte == b'*').peekable();
    while let Some(part) = parts.next() {
        // The first match leaves the most text for the parts that follow. Only the last part may be
        // anchored to the end.
        let found = match (is_held, is_whole && parts.peek().is_none()) {
            (true, true) => (rest == part).then_some(&b""[..]),
            (true, false) => rest.strip_prefix(part),
            (false, true) => rest.ends_with(part).then_some(&b""[..]),
            (false, false) => behind(part, rest),
        };
        match found {
            Some(after) => rest = after,
            None => return false,
        }
        is_held = false;
    }
    true
}

/// The text after the first occurrence of a part. The whole text if the part is empty.
fn behind<'a>(part: &[u8], text: &'a [u8]) -> Option<&'a [u8]> {
    let mut rest = text;
    loop {
        if rest.starts_with(part) {
            return rest.get(part.len()..);
        }
        rest = rest.get(1..)?;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{check, matches, parse};
    use crate::findings::Id;
    use std::string::ToString;
    use std::vec::Vec;

    #[test]
    fn lines_are_read_as_the_sanitizers_read_them() {
        let text = b"# a comment\n\n  leak:libfoo.so  \r\n\tspin:main_loop\n#leak:x\nfd-leak:a:b # c";
        let rules: Vec<_> = parse(text).map(|rule| rule.map(|rule| (rule.id, rule.pattern))).collect();
        let expected: [(Id, &[u8]); 3] = [(Id::Leak, b"libfoo.so"), (Id::Spin, b"main_loop"), (Id::FdLeak, b"a:b # c")];
        assert_eq!(rules, expected.map(Ok));
        assert_eq!(check(b""), Ok(0));
    }

    #[test]
    fn a_bad_line_is_reported_with_its_number() {
        for (text, expected) in [
            ("leak:a\nleek:b", "2: unknown finding 'leek' in 'leek:b'; did you mean leak?"),
            ("\n\nlibfoo.so", "3: unknown finding 'libfoo.so'; expected id:pattern, such as leak:libfoo.so"),
            ("leak", "1: leak has no value in 'leak'; expected id:pattern, such as leak:libfoo.so"),
            ("spin: ", "1: spin has no value in 'spin:'; expected id:pattern, such as leak:libfoo.so"),
            ("spin:^$", "1: spin has no value in 'spin:^$'; expected id:pattern, such as leak:libfoo.so"),
            ("LEAK:a", "1: unknown finding 'LEAK' in 'LEAK:a'; did you mean leak?"),
            (
                "interceptor_via_lib:x",
                "1: unknown finding 'interceptor_via_lib' in 'interceptor_via_lib:x'; expected \
              id:pattern, such as leak:libfoo.so",
            ),
        ] {
            assert_eq!(check(text.as_bytes()).map_err(|wrong| wrong.to_string()), Err(expected.to_string()), "{text}");
        }
    }

    #[test]
    fn a_pattern_is_found_where_the_sanitizers_would_find_it() {
        for (pattern, name, is_found) in [
            ("foo", "libfoo.so", true),
            ("^foo", "libfoo.so", false),
            ("^lib", "libfoo.so", true),
            (".so$", "libfoo.so", true),
            (".so$", "libfoo.so.1", false),
            ("lib*.so", "libfoo.so.1", true),
            ("^lib*so$", "libfoo.so.so", true),
            ("^lib*foo$", "libfoo.so", false),
            ("^lib$", "lib", true),
            ("^lib$", "libb", false),
            ("foo$", "foofoo", true),
            ("a*b*c", "xxaxxbxxc", true),
            ("a*b*c", "acb", false),
            ("ab*b$", "ab", false),
            ("*", "anything", true),
            ("^*$", "anything", true),
            ("a**b", "ab", true),
            ("a$b", "xa$b", true),
            ("a^b", "xa^b", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), is_found, "{pattern} in {name}");
        }
    }
}
