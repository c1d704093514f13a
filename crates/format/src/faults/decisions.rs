//! The file of `EPOLLSHIM_INJECT_LOG`: which rule fired on which call. It has a header for each
//! process, and a line for each decision. (The lines below are broken here; in the file each is one
//! line.)
//!
//! ```text
//! epollshim.inject/1 version=0.1.0 pid=71 program=app seed=42
//!     rules=epoll_wait:error=any:prob=0.05;close:error=EIO:scope=thread
//! pid=71 tid=71 rule=1 call=epoll_wait ordinal=17 error=EBADF
//! pid=71 tid=73 rule=2 call=close on=socket,nonblock thread=3 ordinal=4 error=EIO
//!     stack=0123456789abcdef/8 frames=app+0x11f2
//! ```
//!
//! Rules are numbered from 1. An ordinal is that of the rule's own count in its scope, to which
//! `when=` refers. If the scope is the thread, the line has `thread`: threads are numbered from 1,
//! in the order of their first calls that match such a rule.
//!
//! `on` is the kind of the descriptor that the call was given (for `epoll_ctl`, its target), with
//! `nonblock` if it has `O_NONBLOCK`.
//!
//! `frames` are the return addresses of the innermost callers, at most [`DEPTH`], and none from
//! below a signal handler. Each is the base name of the object and the address in its file, as
//! `addr2line` takes it. `stack` is their hash.

use core::fmt::{self, Display, Formatter, Write};

use super::{Operation, Outcome};
use crate::function::Function;
use crate::{errno, scan};

/// How many callers a line has.
pub const DEPTH: usize = 8;

const SCHEMA: &str = "epollshim.inject/1";

/// The line with which a process begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    pub pid: u32,
    pub program: &'a [u8],
    /// None: no rule needs random numbers.
    pub seed: Option<u64>,
    pub rules: &'a [u8],
}

/// What a descriptor is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct On {
    /// A word for its kind: `socket`, `file`.
    pub kind: &'static str,
    /// It has `O_NONBLOCK`.
    pub is_nonblocking: bool,
}

/// A line: a rule fired on a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    pub pid: u32,
    pub tid: u32,
    /// Its place among the rules, from 0.
    pub rule: u32,
    pub function: Function,
    /// The operation of `epoll_ctl`.
    pub operation: Option<Operation>,
    /// What the descriptor is that the call was given.
    pub on: Option<On>,
    /// 0: the rule counts in the process.
    pub thread: u32,
    /// From 1.
    pub ordinal: u64,
    /// What the program gets in place of the call. For [`Outcome::AnyError`], the error that was
    /// drawn.
    pub outcome: Option<Outcome>,
    /// The random number from which `shuffle` derived the order of events.
    pub shuffle: Option<u64>,
    /// The hash of the innermost [`DEPTH`] callers, where stacks can be walked.
    pub stack: Option<u64>,
}

/// An object's name as a line and a rule write it: a byte that would separate words is written as
/// `?`.
pub fn object(name: impl Iterator<Item = u8>) -> impl Iterator<Item = u8> {
    name.map(|byte| if byte.is_ascii_graphic() && !b",:;".contains(&byte) { byte } else { b'?' })
}

/// A program's name as a line writes it.
fn word(name: &[u8]) -> impl Iterator<Item = u8> {
    name.iter().map(|byte| if byte.is_ascii_graphic() { *byte } else { b'?' })
}

/// Whether a header writes these rules as `written`. It writes them on one line.
#[must_use]
pub fn is_written_as(rules: &[u8], written: &[u8]) -> bool {
    rules.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).eq(written.iter().copied())
}

impl Display for Header<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        write!(f, "{SCHEMA} version={version} pid={} program=", self.pid)?;
        word(self.program).try_for_each(|byte| f.write_char(char::from(byte)))?;
        if let Some(seed) = self.seed {
            write!(f, " seed={seed}")?;
        }
        f.write_str(" rules=")?;
        let letters = self.rules.utf8_chunks().flat_map(|chunk| chunk.valid().chars());
        letters.map(|letter| if letter == '\n' { ' ' } else { letter }).try_for_each(|letter| f.write_char(letter))?;
        f.write_str("\n")
    }
}

/// The line without its frames.
impl Display for Decision {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "pid={} tid={} rule={} call={}", self.pid, self.tid, self.rule + 1, self.function.name())?;
        if let Some(operation) = self.operation {
            f.write_str(match operation {
                Operation::Add => " op=ADD",
                Operation::Mod => " op=MOD",
                Operation::Del => " op=DEL",
            })?;
        }
        if let Some(on) = self.on {
            write!(f, " on={}{}", on.kind, if on.is_nonblocking { ",nonblock" } else { "" })?;
        }
        if self.thread != 0 {
            write!(f, " thread={}", self.thread)?;
        }
        write!(f, " ordinal={}", self.ordinal)?;
        match self.outcome {
            Some(Outcome::Error(error)) => match errno::name(u32::from(error)) {
                Some(name) => write!(f, " error={name}")?,
                None => write!(f, " error={error}")?,
            },
            Some(Outcome::Value(value)) => write!(f, " retval={value}")?,
            Some(Outcome::Timeout) => f.write_str(" timeout")?,
            Some(Outcome::AnyError) | None => {}
        }
        if let Some(random) = self.shuffle {
            write!(f, " shuffle={random}")?;
        }
        if let Some(hash) = self.stack {
            write!(f, " stack={hash:016x}/{DEPTH}")?;
        }
        Ok(())
    }
}

/// Why the decisions of a program cannot be read from a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// The line of this number (from 1) is not a valid line.
    Line(usize),
    /// The text has no header of this program.
    OtherProgram,
    /// The text has headers of several processes of this program.
    SeveralProcesses,
}

/// Reads the decisions of the only process of this program in a text. `each` returns false to stop.
#[inline(never)]
pub fn read<'a>(text: &'a [u8], program: &[u8], each: &mut dyn FnMut(Decision) -> bool) -> Result<Header<'a>, Unfit> {
    let mut found: Option<Header> = None;
    // A process that executes another program keeps its process id. Its lines end at the other
    // program's header.
    let mut is_open = false;
    // Text after the last line break is a line that was cut off as it was written.
    let lines = text.split(|byte| *byte == b'\n').rev().skip(1);
    let count = lines.clone().count();
    for (place, line) in text.split(|byte| *byte == b'\n').take(count).enumerate() {
        if line.starts_with(SCHEMA.as_bytes()) {
            let header = header(line).ok_or(Unfit::Line(place + 1))?;
            is_open &= found.is_none_or(|found| found.pid != header.pid);
            if word(header.program).eq(word(program)) {
                if found.is_some() {
                    return Err(Unfit::SeveralProcesses);
                }
                found = Some(header);
                is_open = true;
            }
            continue;
        }
        let decision = decision(line).ok_or(Unfit::Line(place + 1))?;
        if is_open && found.is_some_and(|found| found.pid == decision.pid) && !each(decision) {
            break;
        }
    }
    found.ok_or(Unfit::OtherProgram)
}

/// The value of a key in a line.
fn value<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    line.split(|byte| *byte == b' ').find_map(|word| word.strip_prefix(key)?.strip_prefix(b"="))
}

fn number<T: TryFrom<u64>>(line: &[u8], key: &[u8]) -> Option<T> {
    T::try_from(scan::digits(value(line, key)?).ok()?).ok()
}

fn header(line: &[u8]) -> Option<Header<'_>> {
    const RULES: &[u8] = b" rules=";
    let at = line.windows(RULES.len()).position(|part| part == RULES)?;
    let (line, rules) = line.split_at_checked(at)?;
    Some(Header {
        pid: number(line, b"pid")?,
        program: value(line, b"program")?,
        seed: number(line, b"seed"),
        rules: rules.get(RULES.len()..)?,
    })
}

fn decision(line: &[u8]) -> Option<Decision> {
    let name = value(line, b"call")?;
    let error = match value(line, b"error") {
        Some(error) => Some(errno::find(error).or_else(|| u32::try_from(scan::digits(error).ok()?).ok())?),
        None => None,
    };
    Some(Decision {
        pid: number(line, b"pid")?,
        tid: number(line, b"tid")?,
        rule: number::<u32>(line, b"rule")?.checked_sub(1)?,
        function: Function::ALL.into_iter().find(|function| function.name().as_bytes() == name)?,
        operation: None,
        on: None,
        thread: number(line, b"thread").unwrap_or(0),
        ordinal: number(line, b"ordinal").filter(|ordinal| *ordinal != 0)?,
        outcome: error.and_then(|error| Some(Outcome::Error(u16::try_from(error).ok()?))),
        shuffle: number(line, b"shuffle"),
        stack: None,
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{Decision, Header, On, Unfit, read};
    use crate::faults::Outcome;
    use crate::function::Function;
    use std::borrow::ToOwned;
    use std::string::{String, ToString};
    use std::vec::Vec;

    const HEADER: Header = Header {
        pid: 71,
        program: b"my app",
        seed: Some(42),
        rules: b"epoll_wait:error= 4:prob=0.05;%creat:error=any",
    };

    fn fired(ordinal: u64) -> Decision {
        Decision {
            pid: 71,
            tid: 73,
            rule: 1,
            function: Function::OpenAt,
            operation: None,
            on: None,
            thread: 2,
            ordinal,
            outcome: Some(Outcome::Error(24)),
            shuffle: Some(u64::MAX),
            stack: None,
        }
    }

    fn taken(text: &str, program: &str) -> Result<Vec<Decision>, Unfit> {
        let mut all = Vec::new();
        read(text.as_bytes(), program.as_bytes(), &mut |decision| {
            all.push(decision);
            true
        })
        .map(|_| all)
    }

    fn join(parts: &[&dyn core::fmt::Display]) -> String {
        let line = |part: &&dyn core::fmt::Display| part.to_string().trim_end().to_owned() + "\n";
        parts.iter().map(line).collect()
    }

    #[test]
    fn decisions_that_were_written_are_read_again() {
        let other = Decision { outcome: Some(Outcome::Error(4000)), thread: 0, shuffle: None, ..fired(9) };
        let on = Some(On { kind: "socket", is_nonblocking: true });
        let last = Decision { stack: Some(1), on, ..fired(u64::MAX) };
        assert!(last.to_string().contains(" call=openat on=socket,nonblock thread=2 "), "{last}");
        let text = join(&[&HEADER, &fired(1), &other, &last]);
        assert_eq!(taken(&text, "my app"), Ok(std::vec![fired(1), other, fired(u64::MAX)]));
        let header = read(text.as_bytes(), b"my app", &mut |_| true);
        assert_eq!(header, Ok(Header { program: b"my?app", ..HEADER }));
        let plain = Header { seed: None, rules: b"", ..HEADER };
        assert_eq!(
            read(plain.to_string().as_bytes(), b"my app", &mut |_| true),
            Ok(Header { program: b"my?app", ..plain })
        );
    }

    #[test]
    fn other_processes_and_a_line_that_was_cut_off_are_left_out() {
        let shell = Header { program: b"sh", ..HEADER };
        let child = Decision { pid: 72, ..fired(3) };
        let text = join(&[&shell, &fired(1), &HEADER, &fired(2), &child, &shell, &fired(4)]);
        assert_eq!(taken(&text, "my app"), Ok(std::vec![fired(2)]));
        assert_eq!(taken(&(text.clone() + "pid=71 tid=7"), "my app"), Ok(std::vec![fired(2)]));
        assert_eq!(taken(&text, "other"), Err(Unfit::OtherProgram));
        assert_eq!(taken("", "other"), Err(Unfit::OtherProgram));
    }

    #[test]
    fn a_bad_file_is_reported_by_its_line() {
        let text = join(&[&HEADER, &fired(1), &HEADER]);
        assert_eq!(taken(&text, "my app"), Err(Unfit::SeveralProcesses));
        for bad in ["hello", "pid=71 tid=71 rule=0 call=close ordinal=1", "pid=71 tid=71 rule=1 call=clos ordinal=1"] {
            assert_eq!(taken(&join(&[&HEADER, &bad]), "my app"), Err(Unfit::Line(2)), "{bad}");
        }
        assert_eq!(taken("epollshim.inject/1 pid=71\n", "my app"), Err(Unfit::Line(1)));
    }
}
