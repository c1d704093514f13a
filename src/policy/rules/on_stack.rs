//! Finds the functions that a condition `stack~NAME` names, and tests whether one of them is on a
//! call stack.
//!
//! When a rule is armed, the functions are looked up in the symbol tables of all mapped files
//! (`.symtab` and `.dynsym`), as far as these files can be read and are not stripped. For objects
//! that are loaded later, and for those whose file cannot be read, each call looks the name up
//! among the exported functions, by the hash table in memory.

use core::ffi::CStr;

use epollshim_format::pattern;

use crate::buffer::Buffer;
use crate::elf::{Name, STT_FUNC, STT_GNU_IFUNC, number};
use crate::path::Path;
use crate::{loaded, procfs, sigsafe, stacks, sys};

/// The longest name that is looked up in memory, including its terminating zero.
const LONGEST: usize = 256;

/// Whether a function of this name is on the stack that begins with `caller`. `is_known` tests
/// whether an address lies in a function that was found when the rule was armed.
#[cold]
#[inline(never)]
pub(super) fn is_on_stack(
    caller: usize,
    name: impl Iterator<Item = u8>,
    mut is_known: impl FnMut(usize) -> bool,
) -> bool {
    let mut bytes = [0; LONGEST];
    let mut length = 0;
    for byte in name {
        if let Some(place) = bytes.get_mut(length) {
            *place = byte;
        }
        length += 1;
    }
    let is_pattern = bytes.first() == Some(&b'/');
    let exported = CStr::from_bytes_until_nul(&bytes).ok().filter(|_| !is_pattern && length < LONGEST).map(Name::new);
    stacks::has(caller, &mut |address| {
        is_known(address.wrapping_sub(1)) || exported.as_ref().is_some_and(|name| loaded::is_in_function(address, name))
    })
}

/// Whether a symbol belongs to the function that is asked for. After the function's own name, a
/// symbol may have a suffix of the compiler for a part or a copy (`run.cold`, `run.constprop.0`),
/// or a version (`run@@V1`).
fn is_meant(asked: &[u8], symbol: &[u8]) -> bool {
    match asked {
        [b'/', regex @ ..] => pattern::matches(regex, symbol),
        name => symbol.strip_prefix(name).is_some_and(|rest| matches!(rest.first(), None | Some(b'.' | b'@'))),
    }
}

/// Calls `found` with the first and the last address of each function of this name. Stops when
/// `found` returns false, and returns false then. Hooks must not call it: it reads files.
pub(super) fn find(asked: &[u8], mut found: impl FnMut(usize, usize) -> bool) -> bool {
    let mut has_room = true;
    sigsafe::on_own_stack(|| {
        Buffer::lend(|maps| {
            procfs::read_file(c"/proc/thread-self/maps", maps);
            for line in maps.as_slice().split(|byte| *byte == b'\n') {
                if let Some(code) = Code::of(line)
                    && has_room
                {
                    let _ = sigsafe::unshared(|files| {
                        // O_NONBLOCK: the mapped file may be a device.
                        let fd = files.open(code.path.as_c()?, libc::O_RDONLY | libc::O_NONBLOCK, 0).ok()?;
                        let done = code.each_function(fd, asked, &mut |start, end| {
                            has_room = has_room && found(start, end);
                            has_room
                        });
                        files.close(fd);
                        done
                    });
                }
            }
        });
    });
    has_room
}

/// A mapping of a file's code.
struct Code {
    start: usize,
    end: usize,
    /// The offset of `start` in the file.
    offset: usize,
    path: Path,
}

impl Code {
    /// Parses a line: start-end perms offset dev inode path (proc_pid_maps(5)).
    fn of(line: &[u8]) -> Option<Code> {
        let mut words = line.splitn(6, |byte| *byte == b' ');
        let mut ends = words.next()?.split(|byte| *byte == b'-').filter_map(procfs::hexadecimal);
        let (start, end) = (ends.next()? as usize, ends.next()? as usize);
        if words.next()?.get(2) != Some(&b'x') {
            return None;
        }
        let offset = procfs::hexadecimal(words.next()?)? as usize;
        let name = words.nth(2)?.trim_ascii_start();
        let mut path = Path::new();
        path.push(name);
        name.starts_with(b"/").then_some(Code { start, end, offset, path })
    }

    /// Calls `found` with the functions that are asked for, from all symbol tables of the file.
    fn each_function(&self, fd: i32, asked: &[u8], found: &mut impl FnMut(usize, usize) -> bool) -> Option<()> {
        // Sizes and types from elf(5), for ELF64.
        const PROGRAM: usize = 56;
        const SECTION: usize = 64;
        const PT_LOAD: usize = 1;
        const SHT_SYMTAB: usize = 2;
        const SHT_DYNSYM: usize = 11;
        let mut head = [0; 64];
        if sys::read_at(fd, &mut head, 0) != Ok(head.len()) || head.get(..5)? != b"\x7fELF\x02" {
            return None;
        }
        let (programs, sections) = (number(&head, 32, 8)?, number(&head, 40, 8)?);
        let (program_count, section_count) = (number(&head, 56, 2)?, number(&head, 60, 2)?);
        Buffer::lend(|headers| {
            read(fd, programs, program_count * PROGRAM, headers)?;
            let bias = headers.as_slice().chunks_exact(PROGRAM).find_map(|program| {
                let (offset, address, length) =
                    (number(program, 8, 8)?, number(program, 16, 8)?, number(program, 32, 8)?);
                let is_it = number(program, 0, 4)? == PT_LOAD
                    && (offset & !0xfff..offset.saturating_add(length)).contains(&self.offset);
                is_it.then(|| self.start.wrapping_sub(self.offset).wrapping_add(offset).wrapping_sub(address))
            })?;
            read(fd, sections, section_count * SECTION, headers)?;
            let section = |index: usize| headers.as_slice().chunks_exact(SECTION).nth(index);
            let place = |section: &[u8]| Some((number(section, 24, 8)?, number(section, 32, 8)?));
            for table in headers.as_slice().chunks_exact(SECTION) {
                if !matches!(number(table, 4, 4)?, SHT_SYMTAB | SHT_DYNSYM) {
                    continue;
                }
                let (at, length) = place(table)?;
                let (names_at, names_length) = place(section(number(table, 40, 4)?)?)?;
                Buffer::lend(|symbols| {
                    Buffer::lend(|names| {
                        read(fd, at, length, symbols)?;
                        read(fd, names_at, names_length, names)?;
                        self.each_meant(bias, symbols.as_slice(), names.as_slice(), asked, found)
                    })
                })?;
            }
            Some(())
        })
    }

    /// The same for one symbol table. None: `found` wants no more.
    fn each_meant(
        &self,
        bias: usize,
        symbols: &[u8],
        names: &[u8],
        asked: &[u8],
        found: &mut impl FnMut(usize, usize) -> bool,
    ) -> Option<()> {
        const SYMBOL: usize = 24;
        for symbol in symbols.chunks_exact(SYMBOL) {
            let kind = (number(symbol, 4, 1)? & 0xf) as u8;
            let is_defined = number(symbol, 6, 2)? != 0;
            let (value, size) = (number(symbol, 8, 8)?, number(symbol, 16, 8)?);
            let start = bias.wrapping_add(value);
            if !matches!(kind, STT_FUNC | STT_GNU_IFUNC)
                || !is_defined
                || size == 0
                || !(self.start..self.end).contains(&start)
            {
                continue;
            }
            let name = names.get(number(symbol, 0, 4)?..).unwrap_or_default();
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            if is_meant(asked, name) && !found(start, start.saturating_add(size - 1)) {
                return None;
            }
        }
        Some(())
    }
}

/// Reads a part of a file into an emptied buffer. None: it cannot be read completely.
fn read(fd: i32, at: usize, length: usize, into: &mut Buffer<u8>) -> Option<()> {
    into.clear();
    while into.as_slice().len() < length {
        let done = into.as_slice().len();
        let room = into.room(length.saturating_sub(done).min(1 << 20))?;
        let wanted = room.len().min(length - done);
        match sys::read_at(fd, room.get_mut(..wanted)?, i64::try_from(at.checked_add(done)?).ok()?) {
            Ok(0) | Err(_) => return None,
            Ok(bytes) => into.advance(bytes),
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::is_meant;

    #[test]
    fn a_name_means_its_function_and_the_compilers_copies_of_it() {
        for (asked, symbol, is) in [
            ("run", "run", true),
            ("run", "run.cold", true),
            ("run", "run.constprop.0", true),
            ("run", "run@@V1", true),
            ("run", "runner", false),
            ("run", "do_run", false),
            ("/run", "do_run", true),
            ("/^run$", "do_run", false),
            ("/3app.*5parse", "_ZN3app6config5parseEv", true),
        ] {
            assert_eq!(is_meant(asked.as_bytes(), symbol.as_bytes()), is, "{asked} {symbol}");
        }
    }
}
