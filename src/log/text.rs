//! A line that reads like strace's.

use core::fmt::{self, Display, Write};

use epollshim_format::events::Mask;
use epollshim_format::function::Function;
use epollshim_format::{errno, signal};
use libc::{c_int, epoll_event};

use super::{Line, arguments};
use crate::policy::kind_of;
use crate::sys;

pub fn render(line: &Line, out: &mut impl Write) -> fmt::Result {
    write!(out, "[pid {} tid {}] {}(", line.pid, line.tid, line.plan.function.name())?;
    arguments(line, out)?;
    write!(out, ") = {}", line.result)?;
    if line.error != 0 {
        match errno::name(line.error as u32) {
            Some(name) => write!(out, " {name} ({})", errno::text(line.error as u32).unwrap_or("?"))?,
            None => write!(out, " (errno {})", line.error)?,
        }
    }
    if line.plan.function.waits() && line.plan.is_made() {
        write!(out, " <{}.{:06}>", line.duration / 1_000_000_000, line.duration / 1000 % 1_000_000)?;
    }
    if line.plan.is_made_up() {
        out.write_str(" (INJECTED)")?;
    }
    if line.plan.is_delayed {
        out.write_str(" (DELAYED)")?;
    }
    if line.plan.is_signalled() {
        out.write_str(" (SIGNALLED)")?;
    }
    if line.plan.is_limited {
        out.write_str(" (LIMITED)")?;
    }
    out.write_char('\n')
}

fn arguments(line: &Line, out: &mut impl Write) -> fmt::Result {
    match line.plan.function {
        Function::EpollCreate => write!(out, "{}", line.int(0)),
        Function::EpollCreate1 => {
            write!(out, "{}", Flags(line.int(0), "EPOLL", &[(libc::EPOLL_CLOEXEC, "EPOLL_CLOEXEC")]))
        }
        Function::EpollCtl => {
            write!(out, "{}, ", line.int(0))?;
            match super::operation(line.int(1)) {
                Some(name) => out.write_str(name)?,
                None => write!(out, "{} /* EPOLL_CTL_??? */", Number(line.int(1)))?,
            }
            write!(out, ", {}, ", OfKind(line.int(2)))?;
            match line.asked() {
                Some(event) => write!(out, "{}", Event(event)),
                None => write!(out, "{}", Address(line.word(3))),
            }
        }
        Function::EpollWait | Function::EpollPwait | Function::EpollPwait2 => wait(line, out),
        Function::Close | Function::Dup => write!(out, "{}", line.int(0)),
        Function::Dup2 => write!(out, "{}, {}", line.int(0), line.int(1)),
        Function::Dup3 => {
            let flags = Flags(line.int(2), "O", &[(libc::O_CLOEXEC, "O_CLOEXEC")]);
            write!(out, "{}, {}, {flags}", line.int(0), line.int(1))
        }
        Function::Fcntl => {
            match super::command(line.int(1)) {
                Some(name) => write!(out, "{}, {name}", line.int(0))?,
                None => write!(out, "{}, {}", line.int(0), Number(line.int(1)))?,
            }
            match line.int(1) {
                libc::F_GETFD | libc::F_GETFL => Ok(()),
                libc::F_SETFD => write!(out, ", {}", Flags(line.int(2), "FD", &[(libc::FD_CLOEXEC, "FD_CLOEXEC")])),
                libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => write!(out, ", {}", line.int(2)),
                _ => write!(out, ", {}", Number(line.int(2))),
            }
        }
        Function::CloseRange => {
            write!(
                out,
                "{}, {}, {}",
                line.word(0) as u32,
                line.word(1) as u32,
                Flags(line.int(2), "CLOSE_RANGE", &RANGE)
            )
        }
        _ => arguments::text(line, out),
    }
}

fn wait(line: &Line, out: &mut impl Write) -> fmt::Result {
    write!(out, "{}, ", line.int(0))?;
    if line.result < 0 || !line.plan.is_made() {
        write!(out, "{}", Address(line.word(1)))?;
    } else {
        out.write_char('[')?;
        for (index, event) in line.delivered().enumerate() {
            write!(out, "{}{}", if index == 0 { "" } else { ", " }, Event(event))?;
        }
        out.write_str(if line.more() > 0 { ", ...]" } else { "]" })?;
    }
    write!(out, ", {}, ", line.int(2))?;
    match line.plan.function {
        Function::EpollWait => return write!(out, "{}", line.int(3)),
        Function::EpollPwait => write!(out, "{}, ", line.int(3))?,
        _ => match (line.word(3), sys::timespec_at(line.word(3))) {
            (0, _) => out.write_str("NULL, ")?,
            (_, Some(time)) => write!(out, "{{tv_sec={}, tv_nsec={}}}, ", time.tv_sec, time.tv_nsec)?,
            (address, None) => write!(out, "{}, ", Address(address))?,
        },
    }
    match super::mask(line.word(4)) {
        Some(mask) => write!(out, "{}", Signals(mask)),
        None => write!(out, "{}", Address(line.word(4))),
    }
}

struct Event(epoll_event);

impl Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{events={}, data={:#x}}}", Mask(self.0.events), { self.0.u64 })
    }
}

pub struct Address(pub usize);

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("NULL") } else { write!(f, "{:#x}", self.0) }
    }
}

/// Flags: 0, or hexadecimal.
pub struct Number(pub c_int);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if (0..10).contains(&self.0) { write!(f, "{}", self.0) } else { write!(f, "{:#x}", self.0) }
    }
}

const RANGE: [(c_int, &str); 2] = [
    (libc::CLOSE_RANGE_UNSHARE as c_int, "CLOSE_RANGE_UNSHARE"),
    (libc::CLOSE_RANGE_CLOEXEC as c_int, "CLOSE_RANGE_CLOEXEC"),
];

/// Flags by their names; bits without one as strace writes them: `O_CLOEXEC|0x1`, or `0x1 /* O_??? */` alone.
pub struct Flags(pub c_int, pub &'static str, pub &'static [(c_int, &'static str)]);

impl Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Flags(flags, family, names) = *self;
        let mut rest = flags;
        for (bit, name) in names {
            if rest & bit != *bit {
                continue;
            }
            write!(f, "{}{name}", if rest == flags { "" } else { "|" })?;
            rest &= !bit;
        }
        match rest {
            0 if flags != 0 => Ok(()),
            0 => f.write_char('0'),
            _ if rest == flags => write!(f, "{rest:#x} /* {family}_??? */"),
            _ => write!(f, "|{rest:#x}"),
        }
    }
}

/// A descriptor, and what it refers to.
struct OfKind(c_int);

impl Display for OfKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match kind_of(self.0) {
            Some(kind) => write!(f, "{}<{kind}>", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A mask, as strace writes it: `[INT TERM]`, or what is not in it where that is less than a third: `~[KILL]`.
pub struct Signals(pub u64);

impl Display for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_long = self.0.count_ones() >= u32::from(signal::HIGHEST) * 2 / 3;
        let told = if is_long { !self.0 } else { self.0 };
        f.write_str(if is_long { "~[" } else { "[" })?;
        let mut first = true;
        for number in 1..=signal::HIGHEST {
            if told >> (number - 1) & 1 == 0 {
                continue;
            }
            if !first {
                f.write_char(' ')?;
            }
            first = false;
            match signal::name(number) {
                Some(name) => f.write_str(name.strip_prefix(signal::PREFIX).unwrap_or(name))?,
                None => write!(f, "{number}")?,
            }
        }
        f.write_char(']')
    }
}
