//! Return addresses as `object+0xoffset`, from this process's own map: what addr2line wants.
//!
//! dladdr would take the loader's lock, which another thread may hold for ever at this point.

use core::fmt;

use crate::buffer::Buffer;
use crate::{procfs, stacks};

/// The text of `/proc/thread-self/maps`, read once a report.
pub struct Map {
    text: Buffer<u8>,
}

/// Where an address lies.
pub struct Site<'a> {
    address: usize,
    /// The object's file name, without its directories, and the address's distance from its first mapping.
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

    /// All of the stack that a site stands for, the innermost first; nothing of one that stands for itself.
    pub fn stack(&self, site: usize) -> impl Iterator<Item = Site<'_>> {
        let is_stack = stacks::first(site) != site;
        stacks::frames(site).filter(move |_| is_stack).filter_map(|address| self.address(address))
    }

    fn address(&self, address: usize) -> Option<Site<'_>> {
        // The return address is that of the next instruction: the call is right before it.
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
                let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
                return Some(Site { address, place: Some((name, address - base)) });
            }
        }
        Some(Site { address, place: None })
    }
}

impl fmt::Display for Site<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((name, offset)) => {
                for chunk in name.utf8_chunks() {
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
