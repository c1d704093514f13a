//! The arguments of functions that create descriptors, by the words of the table of functions:
//! `key=form`, one for each argument.
//!
//! The key is the name of the member in JSON. The form is how the text writes the argument, in the
//! style of strace.

use core::fmt::{self, Display, Write};

use epollshim_format::signal;
use libc::c_int;

use super::Line;
use super::flags::{Flags, flags_of, named, open_flags, socket_type};
use super::text::{Address, Number, Signals};
use crate::sys;

/// How many bytes of a path or name are written. More are cut off.
const LONGEST: usize = 256;

/// The key, the form and the index of each argument.
fn forms(line: &Line) -> impl Iterator<Item = (&'static str, &'static str, usize)> {
    line.call.function.row().arguments().enumerate().map(|(place, (key, form))| (key, form, place))
}

pub fn text(line: &Line, out: &mut impl Write) -> fmt::Result {
    for (_, form, place) in forms(line) {
        if form == "mode" && !asks_for_a_mode(line) {
            continue;
        }
        out.write_str(if place == 0 { "" } else { ", " })?;
        argument(line, form, line.word(place), out)?;
    }
    Ok(())
}

/// Writes one argument of this form.
pub fn argument(line: &Line, form: &str, word: usize, out: &mut impl Write) -> fmt::Result {
    let int = word as c_int;
    match form {
        "path" => write!(out, "{}", Text(word, false)),
        "dirfd" if int == libc::AT_FDCWD => out.write_str("AT_FDCWD"),
        "mode" | "octal" => write!(out, "0{:03o}", word as u32),
        "unsigned" => write!(out, "{}", word as u32),
        "hex" => write!(out, "{}", Number(int)),
        "word" if word == 0 => out.write_char('0'),
        "word" => write!(out, "{word:#x}"),
        "pointer" => write!(out, "{}", Address(word)),
        "pair" => match pair(line, word) {
            Some([first, second]) => write!(out, "[{first}, {second}]"),
            None => write!(out, "{}", Address(word)),
        },
        "sigset" => match super::mask(word) {
            Some(mask) => write!(out, "{}", Signals(mask)),
            None => write!(out, "{}", Address(word)),
        },
        "signal" => match u8::try_from(int).ok().and_then(signal::name) {
            Some(name) => out.write_str(name),
            None => write!(out, "{int}"),
        },
        "oflags" => open_flags(int, out),
        "domain" | "clock" | "lock" => named(form, int, out),
        "socktype" => socket_type(int, out),
        form => match flags_of(form) {
            Some(names) => write!(out, "{}", Flags(int, names)),
            None => write!(out, "{int}"),
        },
    }
}

pub fn json(line: &Line, out: &mut impl Write) -> fmt::Result {
    for (key, form, place) in forms(line) {
        write!(out, r#"{}"{key}":"#, if place == 0 { "" } else { "," })?;
        let word = line.word(place);
        match form {
            "mode" if !asks_for_a_mode(line) => out.write_str("null")?,
            "path" => write!(out, "{}", Text(word, true))?,
            "mode" | "octal" | "unsigned" => write!(out, "{}", word as u32)?,
            "pointer" => write!(out, r#""{word:#x}""#)?,
            "pair" => match pair(line, word) {
                Some([first, second]) => write!(out, "[{first},{second}]")?,
                None => out.write_str("null")?,
            },
            "sigset" => match super::mask(word) {
                Some(mask) => write!(out, r#""{mask:#x}""#)?,
                None => out.write_str("null")?,
            },
            _ => write!(out, "{}", line.int(place))?,
        }
    }
    Ok(())
}

/// Whether an open has a mode, because it may create a file (open(2)).
fn asks_for_a_mode(line: &Line) -> bool {
    let flags = forms(line).find(|(_, form, _)| *form == "oflags").map_or(0, |(.., place)| line.int(place));
    flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE
}

/// The descriptors that a call has written, if it succeeded.
fn pair(line: &Line, address: usize) -> Option<[c_int; 2]> {
    let is_written = line.result == 0 && line.call.is_made;
    // SAFETY: the kernel was called with this address and succeeded, so it has written two
    // descriptors there.
    is_written.then(|| unsafe { (address as *const [c_int; 2]).read_unaligned() })
}

/// The text at an address, in quotes, or the address if it cannot be read. The second field: as
/// JSON.
struct Text(usize, bool);

impl Text {
    /// The byte at an offset of the text. The kernel is asked about each aligned word once: no word
    /// crosses a page.
    fn byte(&self, at: usize, checked: &mut usize) -> Option<u8> {
        let address = self.0.checked_add(at)?;
        let word = address & !7;
        if *checked != word {
            if !sys::is_word_readable(word) {
                return None;
            }
            *checked = word;
        }
        // SAFETY: the kernel has just confirmed that the aligned word which contains this byte can
        // be read.
        Some(unsafe { (address as *const u8).read_volatile() })
    }
}

impl Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Text(address, is_json) = *self;
        // Not the address of an aligned word.
        let mut checked = usize::MAX;
        if self.byte(0, &mut checked).is_none() {
            return if is_json { f.write_str("null") } else { write!(f, "{}", Address(address)) };
        }
        f.write_char('"')?;
        for at in 0..LONGEST {
            match self.byte(at, &mut checked) {
                None | Some(0) => return f.write_char('"'),
                Some(byte @ (b'"' | b'\\')) => write!(f, "\\{}", char::from(byte))?,
                Some(byte @ b' '..=b'~') => f.write_char(char::from(byte))?,
                // strace writes such a byte in octal. JSON has no bytes, so they are written as
                // Latin-1.
                Some(byte) if is_json => write!(f, "\\u{byte:04x}")?,
                Some(byte) => write!(f, "\\{byte:o}")?,
            }
        }
        f.write_str(if is_json { "\"" } else { "\"..." })
    }
}
