//! Makes foreign names safe to print on a terminal, and wraps lines at 80 columns.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::Path;

/// The width in columns for which text is laid out.
pub const WIDTH: usize = 80;

/// A name for display. Control characters are escaped, and bytes that are not UTF-8 are replaced.
pub fn shown(name: impl AsRef<OsStr>) -> String {
    printable(&name.as_ref().to_string_lossy())
}

#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmless(character) {
            out.push(character);
        } else {
            out.extend(character.escape_default());
        }
    }
    out
}

/// Whether a character is neither a control character, nor invisible, nor changes the text
/// direction.
fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The last component of a path, for display.
#[must_use]
pub fn base(path: &Path) -> String {
    shown(path.file_name().unwrap_or(path.as_os_str()))
}

/// The message of a system error, without the error number.
#[must_use]
pub fn reason(error: &std::io::Error) -> String {
    without_number(&error.to_string())
}

/// A message that ends with that of a system error, without the error number.
#[must_use]
pub fn without_number(message: &str) -> String {
    message.split_once(" (os error").map_or(message, |(reason, _)| reason).to_string()
}

/// Appends words to `out`, wrapped at spaces. The first line begins with `first`, all others with
/// `indent` spaces.
pub fn wrap(out: &mut String, first: &str, indent: usize, words: &str) {
    let mut line = String::from(first);
    let mut is_empty = true;
    for word in words.split(' ') {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{}", line.trim_end());
            line = " ".repeat(indent);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

/// `1 thing`, `2 things`.
#[must_use]
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::{printable, wrap};

    #[test]
    fn a_hostile_name_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[31m\n\u{202e}é"), "a\\u{1b}[31m\\n\\u{202e}é");
    }

    #[test]
    fn lines_break_at_80_columns_and_go_on_below_their_first_word() {
        let mut out = String::new();
        wrap(&mut out, "  name  ", 8, &"word ".repeat(30));
        assert!(out.lines().all(|line| line.len() <= 80), "{out}");
        assert!(out.lines().skip(1).all(|line| line.starts_with("        word")), "{out}");
    }
}
