//! Which numbers appear in the arguments and the environment that another program is started with.
//! A descriptor whose number appears there is passed on intentionally: wine's `WINESERVERSOCKET=4`,
//! systemd's `LISTEN_FDS=2` (3 and 4), `/dev/fd/4`, `-fd 4`.
//!
//! The kernel copies what is read here. An argument that cannot be read makes execve fail (EFAULT),
//! and may not crash the process here.

use core::cell::Cell;

use crate::sigsafe::on_own_stack;
use crate::{environment, sys};

/// The strings that a program is started with.
#[derive(Clone, Copy)]
pub enum Strings {
    /// An array of pointers, the last of which is null.
    Array(usize),
    /// One string.
    One(usize),
    /// The arguments of `execl` from an index on, as an entry stores them, up to a null pointer.
    /// `true`: the address of the environment follows the null pointer.
    Listed(*const usize, usize, bool),
}

/// The numbers. They are looked up when they are first needed.
pub struct Numbers {
    arguments: Strings,
    environment: usize,
    known: Cell<Option<Known>>,
}

impl Numbers {
    pub fn of(arguments: Strings, environment: usize) -> Numbers {
        Numbers { arguments, environment, known: Cell::new(None) }
    }

    /// The numbers of a call that passes on libc's own environment.
    pub fn with_own_environment(arguments: Strings) -> Numbers {
        Numbers::of(arguments, crate::real::environment() as usize)
    }

    pub fn have(&self, fd: i32) -> bool {
        let known = self.known.get().unwrap_or_else(|| {
            let known = on_own_stack(|| self.look_up()).unwrap_or(Known::NOTHING);
            self.known.set(Some(known));
            known
        });
        known.has(fd)
    }

    fn look_up(&self) -> Known {
        let mut known = Known::NOTHING;
        let mut environment = self.environment;
        match self.arguments {
            Strings::One(string) => known.look_at(string, false),
            Strings::Array(array) => known.look_at_all(array, false),
            Strings::Listed(words, first, has_environment) => {
                let mut index = first;
                loop {
                    // SAFETY: the caller of `before_exec` promises the arguments as an entry stores
                    // them. execl itself reads them up to the same null pointer.
                    let string = unsafe { words.add(place(index)).read() };
                    index += 1;
                    if string == 0 || index > MOST {
                        break;
                    }
                    known.look_at(string, false);
                }
                if has_environment {
                    // SAFETY: execle has one more argument after the null pointer (exec(3)).
                    environment = unsafe { words.add(place(index)).read() };
                }
            }
        }
        known.look_at_all(environment, true);
        known
    }
}

/// The index of an argument among the words that an entry stores. Arguments that are not in
/// registers follow after eight words: the registers and, on x86-64, one word of the entry and the
/// return address.
const fn place(index: usize) -> usize {
    const REGISTERS: usize = if cfg!(target_arch = "x86_64") { 6 } else { 8 };
    if index < REGISTERS { index } else { index - REGISTERS + 8 }
}

/// How many strings of a list are read, and how many bytes of each.
const MOST: usize = 4096;
const LONGEST: usize = 64 << 10;

/// Shells count themselves, and `ls` has many numbers for colours. These variables are in the
/// environment whatever is passed on.
const NO_DESCRIPTORS: [&[u8]; 4] = [b"SHLVL=", b"LS_COLORS=", b"COLUMNS=", b"LINES="];

/// Numbers of descriptors: all small ones, and the first few large ones.
#[derive(Clone, Copy)]
struct Known {
    small: [u64; 16],
    large: [i32; 8],
}

impl Known {
    const NOTHING: Known = Known { small: [0; 16], large: [0; 8] };

    fn has(&self, fd: i32) -> bool {
        match self.small.get(fd as usize / 64) {
            Some(word) => word >> (fd % 64) & 1 != 0,
            None => self.large.contains(&fd),
        }
    }

    fn add(&mut self, number: u32) {
        if let Some(word) = self.small.get_mut(number as usize / 64) {
            *word |= 1 << (number % 64);
        } else if let Some(free) = self.large.iter_mut().find(|free| matches!(**free, 0) || **free == number as i32) {
            *free = number as i32;
        }
    }

    /// Reads the strings of an array. Variables that this process was itself started with are
    /// skipped: they cannot name a descriptor that it has created since.
    fn look_at_all(&mut self, array: usize, is_environment: bool) {
        const AT_ONCE: usize = 16;
        for step in 0..MOST / AT_ONCE {
            let mut bytes = [0u8; AT_ONCE * size_of::<usize>()];
            let from = array.wrapping_add(step * bytes.len());
            let length = if array == 0 { 0 } else { sys::copy_readable(from, &mut bytes) };
            let (words, _) = bytes.get(..length).unwrap_or_default().as_chunks::<{ size_of::<usize>() }>();
            for word in words {
                match usize::from_ne_bytes(*word) {
                    0 => return,
                    string if is_environment && environment::was_there_at_load(string) => {}
                    string => self.look_at(string, is_environment),
                }
            }
            if words.len() < AT_ONCE {
                return;
            }
        }
    }

    fn look_at(&mut self, string: usize, is_environment: bool) {
        const LISTEN: &[u8] = b"LISTEN_FDS=";
        let mut scan = Scan::default();
        let mut at = 0;
        while at < LONGEST {
            let mut bytes = [0u8; 256];
            let length = sys::copy_readable(string.wrapping_add(at), &mut bytes);
            let read = bytes.get(..length).unwrap_or_default();
            if at == 0 && is_environment {
                if NO_DESCRIPTORS.iter().any(|name| read.starts_with(name)) {
                    return;
                }
                if let Some(count) = read.strip_prefix(LISTEN) {
                    let digits = count.iter().take(3).take_while(|byte| byte.is_ascii_digit());
                    let count = digits.fold(0, |count, digit| 10 * count + u32::from(digit - b'0'));
                    (3..3 + count).for_each(|number| self.add(number));
                }
            }
            for byte in read {
                if let Some(number) = scan.next(*byte) {
                    self.add(number);
                }
                if *byte == 0 {
                    return;
                }
            }
            if length == 0 {
                return;
            }
            at += length;
        }
    }
}

/// Finds whole numbers in a text, byte by byte. Parts of a name, a version or a fraction are not
/// whole numbers, nor is anything with a sign.
#[derive(Default)]
struct Scan {
    last: u8,
    /// The byte before the digits.
    before: u8,
    digits: u8,
    number: u32,
}

impl Scan {
    /// Some: a number ended before this byte.
    fn next(&mut self, byte: u8) -> Option<u32> {
        let mut found = None;
        if byte.is_ascii_digit() {
            if self.digits == 0 {
                (self.before, self.number) = (self.last, 0);
            }
            self.digits = self.digits.saturating_add(1);
            self.number = self.number.saturating_mul(10).saturating_add(u32::from(byte - b'0'));
        } else {
            let is_whole = self.digits != 0 && is_edge(self.before) && is_edge(byte);
            // A number with a leading zero is not a descriptor.
            let is_plain = self.digits == 1 || self.number >= 10u32.saturating_pow(u32::from(self.digits) - 1);
            found = (is_whole && is_plain && self.number < i32::MAX as u32).then_some(self.number);
            self.digits = 0;
        }
        self.last = byte;
        found
    }
}

fn is_edge(byte: u8) -> bool {
    !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+'))
}

#[cfg(test)]
mod tests {
    use super::{Known, Numbers, Strings};
    use std::ffi::CString;

    fn numbers_in(text: &str, is_environment: bool) -> Vec<i32> {
        let text = CString::new(text).unwrap();
        let mut known = Known::NOTHING;
        known.look_at(text.as_ptr() as usize, is_environment);
        (0..3000).filter(|fd| known.has(*fd)).collect()
    }

    #[test]
    fn whole_numbers_are_found_and_parts_of_words_are_not() {
        for (text, expected) in [
            ("WINESERVERSOCKET=4", &[4][..]),
            ("MAKEFLAGS= -j8 --jobserver-auth=3,14", &[3, 14]),
            ("/dev/fd/5", &[5]),
            ("/proc/self/fd/6", &[6]),
            ("7", &[7]),
            ("exec 9>&- 11<&12", &[9, 11, 12]),
            ("fd=2047", &[2047]),
            ("python3.11 v4 4x x4 1.5 -4 +4 04 2026-11-30", &[]),
            ("99999999999999999999", &[]),
            ("", &[]),
        ] {
            assert_eq!(numbers_in(text, false), expected, "{text}");
        }
        let long = format!("{} 8", "x".repeat(1000));
        assert_eq!(numbers_in(&long, false), [8]);
    }

    #[test]
    fn some_variables_name_no_descriptor_and_one_names_several() {
        assert_eq!(numbers_in("SHLVL=3", true), [0i32; 0]);
        assert_eq!(numbers_in("LISTEN_FDS=2", true), [2, 3, 4]);
        assert_eq!(numbers_in("LISTEN_FDS=", true), [0i32; 0]);
    }

    #[test]
    fn what_cannot_be_read_names_nothing() {
        for address in [0, 8, usize::MAX - 16] {
            for strings in [Strings::Array(address), Strings::One(address)] {
                assert!(!Numbers::of(strings, address).have(4));
            }
        }
        let wild = [8usize, 16, 0];
        assert!(!Numbers::of(Strings::Array(wild.as_ptr() as usize), wild.as_ptr() as usize).have(4));
    }
}
