//! Return addresses as `object+0xoffset`, from this process's map of memory. addr2line expects this
//! form.
//!
//! dladdr would take the loader's lock, which another thread may hold forever at this point.

use core::fmt;

use crate::buffer::Buffer;
use crate::{procfs, stacks, sys};

/// The text of `/proc/thread-self/maps`, read once for each report.
pub struct Map {
    text: Buffer<u8>,
}

/// The object that contains an address.
pub struct Site<'a> {
    address: usize,
    /// The object's path, and the address's distance from its first mapping.
    place: Option<(&'a [u8], usize)>,
}

impl Map {
    pub fn read() -> Map {
        let mut text = Buffer::new();
        procfs::read_file(c"/proc/thread-self/maps", &mut text);
        Map { text }
    }

    pub fn end(self) {
        self.text.end();
    }

    /// None: no address was noted.
    pub fn site(&self, address: usize) -> Option<Site<'_>> {
        let address = stacks::first(address);
        if address == 0 {
            return None;
        }
        self.address(address)
    }

    /// The stack that a site stands for, the innermost caller first. Empty if the site is a single
    /// address.
    pub fn stack(&self, site: usize) -> impl Iterator<Item = Site<'_>> {
        let is_stack = stacks::first(site) != site;
        stacks::frames(site).filter(move |_| is_stack).filter_map(|address| self.address(address))
    }

    fn address(&self, address: usize) -> Option<Site<'_>> {
        // The return address follows the call instruction, so the call ends one byte before it.
        let call = address - 1;
        let mut first: Option<(&[u8], usize)> = None;
        for line in self.text.as_slice().split(|byte| *byte == b'\n') {
            // start-end perms offset dev inode path (proc_pid_maps(5))
            let mut words = line.splitn(6, |byte| *byte == b' ');
            let Some(range) = words.next() else { continue };
            let Some(dash) = range.iter().position(|byte| *byte == b'-') else { continue };
            let (Some(start), Some(end)) =
                (range.get(..dash).and_then(procfs::hexadecimal), range.get(dash + 1..).and_then(procfs::hexadecimal))
            else {
                continue;
            };
            let path = words.nth(4).unwrap_or_default().trim_ascii_start();
            if !path.starts_with(b"/") && !path.starts_with(b"[") {
                if (start..end).contains(&(call as u64)) {
                    break;
                }
                continue;
            }
            if first.is_none_or(|(known, _)| known != path) {
                first = Some((path, start as usize));
            }
            if (start..end).contains(&(call as u64))
                && let Some((path, base)) = first
            {
                return Some(Site { address, place: Some((path, address - base)) });
            }
        }
        Some(Site { address, place: None })
    }

    /// The bytes from an address of an object to the end of its mapping. None: they are not
    /// readable.
    ///
    /// They stay valid while a report is made: only dlclose removes an object. The kernel checks
    /// both ends once more.
    pub fn bytes(&self, address: usize) -> Option<&'static [u8]> {
        for line in self.text.as_slice().split(|byte| *byte == b'\n') {
            let mut words = line.splitn(6, |byte| *byte == b' ');
            let (range, rights) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let mut ends = range.split(|byte| *byte == b'-').filter_map(procfs::hexadecimal);
            let (Some(start), Some(end)) = (ends.next(), ends.next()) else { continue };
            if !(start..end).contains(&(address as u64)) {
                continue;
            }
            let length = (end as usize).checked_sub(address)?;
            let is_file = words.nth(3).is_some_and(|path| path.trim_ascii_start().starts_with(b"/"));
            let is_there = is_file && rights.starts_with(b"r") && length >= 12;
            if !is_there || !sys::is_readable(address) || !sys::is_readable(end as usize - 12) {
                return None;
            }
            // SAFETY: a readable mapping of a file that the loader mapped. Nothing changes it while
            // it is mapped.
            return Some(unsafe { core::slice::from_raw_parts(address as *const u8, length) });
        }
        None
    }
}

impl<'a> Site<'a> {
    /// The return address.
    pub fn address(&self) -> usize {
        self.address
    }

    /// The object's path. Empty: not known.
    pub fn path(&self) -> &'a [u8] {
        self.place.map_or(b"", |(path, _)| path)
    }

    /// The beginning of the object's first mapping.
    pub fn base(&self) -> Option<usize> {
        self.place.and_then(|(_, offset)| self.address.checked_sub(offset))
    }
}

/// The last part of a path.
pub fn name_of(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

impl fmt::Display for Site<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((path, offset)) => {
                for chunk in name_of(path).utf8_chunks() {
                    for letter in chunk.valid().chars() {
                        f.write_fmt(format_args!("{}", if letter.is_control() { '?' } else { letter }))?;
                    }
                    if !chunk.invalid().is_empty() {
                        f.write_str("?")?;
                    }
                }
                write!(f, "+{offset:#x}")
            }
            None => write!(f, "{:#x}", self.address),
        }
    }
}
