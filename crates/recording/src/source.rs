//! The source of a recording's bytes: memory, or a file, which is read in parts because it may be
//! larger than memory.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::bytes::Bytes;

pub trait Source {
    /// The length when it was opened.
    fn length(&self) -> usize;

    /// The bytes that exist of the `length` bytes from `start` on. They may be stored in `space`.
    fn part<'a>(&'a self, start: usize, length: usize, space: &'a mut Vec<u8>) -> Bytes<'a>;

    /// The error of the first read that failed, or found less than existed when the source was
    /// opened.
    fn trouble(&self) -> Option<String> {
        None
    }
}

impl Source for [u8] {
    fn length(&self) -> usize {
        self.len()
    }

    fn part<'a>(&'a self, start: usize, length: usize, _: &'a mut Vec<u8>) -> Bytes<'a> {
        Bytes(self).part(start, length)
    }
}

/// A file. It is read and not mapped: if it were truncated, an access to the mapping would kill
/// this process.
pub struct Opened {
    pub file: File,
    pub length: usize,
    trouble: RefCell<Option<io::Error>>,
}

impl Opened {
    pub fn new(file: File, length: usize) -> Opened {
        Opened { file, length, trouble: RefCell::default() }
    }
}

impl Source for Opened {
    fn length(&self) -> usize {
        self.length
    }

    fn part<'a>(&'a self, start: usize, length: usize, space: &'a mut Vec<u8>) -> Bytes<'a> {
        space.clear();
        space.resize(length.min(self.length.saturating_sub(start)), 0);
        let mut read = 0;
        while let Some(rest) = space.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, (start + read) as u64) {
                Ok(0) => {
                    let length = start + read;
                    let error = || io::Error::other(format!("it was truncated to {length} bytes while it was read"));
                    self.trouble.borrow_mut().get_or_insert_with(error);
                    break;
                }
                Ok(bytes) => read += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.trouble.borrow_mut().get_or_insert(error);
                    break;
                }
            }
        }
        space.truncate(read);
        Bytes(space)
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.borrow().as_ref().map(ToString::to_string)
    }
}
