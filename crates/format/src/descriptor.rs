//! What a descriptor refers to, as `strace -yy` and `lsof` show it: a path, addresses, a state.
//!
//! It is stored as a list of fields: a letter, a value, a zero byte. No path and no file name
//! contains a zero byte, so a value always ends where it should. The library creates the list from
//! the kernel's answers ([`Kept::name`], [`Kept::socket`]). Reports print it ([`Descriptor`]).

mod socket;

use core::fmt::{self, Display, Write};

use crate::census::Kind;
use crate::quoted::Quoted;

pub use socket::Socket;

/// The most bytes of a list.
pub const BYTES: usize = 184;

/// The letters of the fields, in the order in which they are kept.
pub mod field {
    /// Its kind: `socket`, `file`, `directory`, `device`, or a name of
    /// [`Kind`](crate::census::Kind).
    pub const KIND: u8 = b'k';
    /// The path of a file.
    pub const PATH: u8 = b'f';
    /// The kernel's name for a descriptor without a path: `pipe:[123]`, `anon_inode:[eventfd]`.
    pub const NAME: u8 = b'n';
    pub const FAMILY: u8 = b'a';
    pub const TYPE: u8 = b't';
    pub const PROTOCOL: u8 = b'o';
    /// The address of this end, and of the other.
    pub const LOCAL: u8 = b'l';
    pub const PEER: u8 = b'p';
    /// The process that created the other end of a Unix connection.
    pub const PEER_PID: u8 = b'q';
    pub const STATE: u8 = b's';
    pub const INODE: u8 = b'i';
    /// The file was deleted.
    pub const DELETED: u8 = b'd';
    /// A value was too long: its end is kept, after three dots.
    pub const CUT: u8 = b'c';
    /// The number was not open when it was examined.
    pub const CLOSED: u8 = b'x';
}

/// The type of a field's value in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    Text,
    Number,
    /// `true` if the field is there.
    Flag,
}

/// The key of a field in JSON, and the type of its value. None: a later version wrote the field.
#[must_use]
pub fn key(letter: u8) -> Option<(&'static str, Value)> {
    // One text, since each pointer would need a relocation in the library. It is split by bytes,
    // which cannot panic.
    const KEYS: &[u8] =
        b"kkind fpath nname afamily ttype oprotocol llocal ppeer qpeer_pid sstate iinode ddeleted ccut xclosed";
    let (_, key) =
        KEYS.split(|byte| *byte == b' ').filter_map(<[u8]>::split_first).find(|(first, _)| **first == letter)?;
    let key = core::str::from_utf8(key).ok()?;
    Some(match letter {
        field::PEER_PID | field::INODE => (key, Value::Number),
        field::DELETED | field::CUT | field::CLOSED => (key, Value::Flag),
        _ => (key, Value::Text),
    })
}

/// A list of fields that is being built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    bytes: [u8; BYTES],
    length: usize,
}

impl Kept {
    /// An empty list: nothing is known.
    #[must_use]
    pub const fn new() -> Kept {
        Kept { bytes: [0; BYTES], length: 0 }
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Adds a field. If there is not enough room, only the end of the value is kept, or the field
    /// is left out.
    #[inline(never)]
    pub fn add(&mut self, letter: u8, value: &[u8]) {
        // A letter, a zero byte, and the field CUT.
        const AROUND: usize = 2 + 3;
        const DOTS: &[u8] = b"...";
        let room = BYTES.saturating_sub(self.length + AROUND);
        if value.len() <= room {
            [&[letter][..], value, b"\0"].into_iter().for_each(|part| self.push(part));
        } else if room > DOTS.len() {
            let end = value.get(value.len() - (room - DOTS.len())..).unwrap_or_default();
            [&[letter][..], DOTS, end, b"\0", &[field::CUT], b"1\0"].into_iter().for_each(|part| self.push(part));
        }
    }

    fn push(&mut self, part: &[u8]) {
        for byte in part {
            if let Some(room) = self.bytes.get_mut(self.length) {
                *room = *byte;
                self.length += 1;
            }
        }
    }

    /// Reads a list from words, as a recording has it.
    #[must_use]
    pub fn read(length: usize, word: impl Fn(usize) -> u64) -> Kept {
        let mut kept = Kept::new();
        for (index, room) in kept.bytes.chunks_exact_mut(8).enumerate() {
            room.iter_mut().zip(word(index).to_le_bytes()).for_each(|(room, byte)| *room = byte);
        }
        kept.length = length.min(BYTES);
        kept
    }

    /// The list as words. The last word is filled with zeros.
    pub fn words(&self) -> impl Iterator<Item = u64> {
        self.as_bytes().chunks(8).map(|bytes| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))
    }

    /// Adds what `/proc/PID/fd/N` points to. `kind`: the kind according to `fstat`, if that is more
    /// exact. `is_gone`: the file has no link any more. (Otherwise ` (deleted)` may be a part of
    /// the name.)
    #[inline(never)] // for size, as the others
    pub fn name(&mut self, target: &[u8], kind: Option<&str>, is_gone: bool) {
        let by_name = Kind::of_target(target);
        let kind = match (by_name, kind) {
            (Kind::File | Kind::Other, Some(kind)) => kind,
            _ => by_name.name(),
        };
        self.add(field::KIND, kind.as_bytes());
        if !target.starts_with(b"/") {
            return self.add(field::NAME, target);
        }
        match target.strip_suffix(b" (deleted)") {
            Some(path) if is_gone => {
                self.add(field::DELETED, b"1");
                self.add(field::PATH, path);
            }
            _ => self.add(field::PATH, target),
        }
    }
}

impl Default for Kept {
    fn default() -> Kept {
        Kept::new()
    }
}

/// A list of fields, for printing: `tcp 127.0.0.1:80 -> 127.0.0.1:50000 CLOSE_WAIT`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Descriptor<'a>(pub &'a [u8]);

impl<'a> Descriptor<'a> {
    /// Letters and values. Damaged fields are left out.
    pub fn fields(self) -> impl Iterator<Item = (u8, &'a [u8])> + Clone {
        self.0.split(|byte| *byte == 0).filter_map(|field| field.split_first().map(|(letter, value)| (*letter, value)))
    }

    #[must_use]
    pub fn field(self, letter: u8) -> Option<&'a [u8]> {
        self.fields().find(|(known, _)| *known == letter).map(|(_, value)| value)
    }
}

/// Prints the fields, without control characters that a terminal would interpret.
impl Display for Descriptor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |letter| self.field(letter).is_some();
        let mut space = "";
        let is_bare = !has(field::PATH) && !has(field::NAME) && !has(field::FAMILY);
        for (letter, value) in self.fields() {
            let before = match letter {
                field::KIND if is_bare || value == b"directory" => "",
                field::FAMILY | field::TYPE if has(field::PROTOCOL) => continue,
                field::PATH | field::NAME | field::FAMILY | field::TYPE | field::PROTOCOL => "",
                field::LOCAL | field::STATE => "",
                field::PEER => "-> ",
                field::PEER_PID => "of process ",
                field::INODE => "inode ",
                field::CLOSED => {
                    write!(f, "{space}closed")?;
                    space = " ";
                    continue;
                }
                _ => continue,
            };
            write!(f, "{space}{before}")?;
            plain(value, f)?;
            space = " ";
        }
        if has(field::DELETED) {
            f.write_str(" (deleted)")?;
        }
        if space.is_empty() { f.write_str("not known: neither the kernel nor /proc said") } else { Ok(()) }
    }
}

/// A descriptor as a JSON object: its number, and its fields.
pub struct Json<'a> {
    pub fd: i32,
    pub of: Descriptor<'a>,
}

impl Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{\"fd\":{}", self.fd)?;
        if self.of.field(field::KIND).is_none() {
            f.write_str(",\"kind\":null")?;
        }
        for (letter, value) in self.of.fields() {
            let Some((key, of)) = key(letter) else { continue };
            let number = core::str::from_utf8(value).ok().and_then(|digits| digits.parse::<u64>().ok());
            match (of, number) {
                (Value::Text, _) => write!(f, ",\"{key}\":{}", Quoted(value))?,
                (Value::Number, Some(number)) => write!(f, ",\"{key}\":{number}")?,
                (Value::Number, None) => {}
                (Value::Flag, _) => write!(f, ",\"{key}\":true")?,
            }
        }
        f.write_str("}")
    }
}

fn plain(value: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in value.utf8_chunks() {
        for letter in chunk.valid().chars() {
            f.write_char(if letter.is_control() { '?' } else { letter })?;
        }
        if !chunk.invalid().is_empty() {
            f.write_char('?')?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
