//! A line of text, in the style of strace.

use core::fmt::{self, Display, Write};

use epollshim_format::events::Mask;
use epollshim_format::function::Function;
use epollshim_format::options::LogTime;
use epollshim_format::{errno, signal};
use libc::{c_int, epoll_event};

use super::arguments::{self, argument};
use super::{Line, fcntl};
use crate::procfs::kind_of;
use crate::sys::SIGSET_SIZE;
use crate::{process, sys};

pub fn render(line: &Line, time: LogTime, out: &mut impl Write) -> fmt::Result {
    match time {
        LogTime::None => {}
        LogTime::Wall => write!(out, "{} ", Moment(line.wall()))?,
        LogTime::Relative => {
            let since = line.call.began.saturating_sub(process::began());
            write!(out, "{:5}.{:06} ", since / 1_000_000_000, since / 1000 % 1_000_000)?;
        }
    }
    write!(out, "[pid {} tid {}] {}(", line.pid, line.tid, line.call.function.name())?;
    arguments(line, out)?;
    out.write_str(") = ")?;
    result(line, out)?;
    if line.error != 0 {
        match errno::name(line.error as u32) {
            Some(name) => write!(out, " {name} ({})", errno::text(line.error as u32).unwrap_or("?"))?,
            None => write!(out, " (errno {})", line.error)?,
        }
    }
    if line.call.function.waits() && line.call.is_made {
        write!(out, " <{}.{:06}>", line.duration / 1_000_000_000, line.duration / 1000 % 1_000_000)?;
    }
    if line.call.is_made_up {
        out.write_str(" (INJECTED)")?;
    }
    if line.call.is_delayed {
        out.write_str(" (DELAYED)")?;
    }
    if line.call.is_signalled {
        out.write_str(" (SIGNALLED)")?;
    }
    if line.call.is_limited {
        out.write_str(" (LIMITED)")?;
    }
    if let Some(hash) = line.stack {
        write!(out, " stack={hash:016x}")?;
    }
    out.write_char('\n')
}

fn arguments(line: &Line, out: &mut impl Write) -> fmt::Result {
    match line.call.function {
        Function::EpollCreate => write!(out, "{}", line.int(0)),
        Function::EpollCreate1 => argument(line, "epollflags", line.word(0), out),
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
            write!(out, "{}, {}, ", line.int(0), line.int(1))?;
            argument(line, "pipeflags", line.word(2), out)
        }
        Function::Fcntl => {
            let command = fcntl::command(line.int(1));
            write!(out, "{}, ", line.int(0))?;
            match command.name {
                Some(name) => out.write_str(name)?,
                None => write!(out, "{} /* F_??? */", Number(line.int(1)))?,
            }
            match command.argument {
                fcntl::NONE => Ok(()),
                form => {
                    out.write_str(", ")?;
                    argument(line, form, line.word(2), out)
                }
            }
        }
        Function::CloseRange => {
            write!(out, "{}, {}, ", line.word(0) as u32, line.word(1) as u32)?;
            argument(line, "rangeflags", line.word(2), out)
        }
        _ => arguments::text(line, out),
    }
}

/// The result of a call, and its name if it is not a plain number.
fn result(line: &Line, out: &mut impl Write) -> fmt::Result {
    if line.call.function.returns_address() {
        return write!(out, "{}", Address(line.result as usize));
    }
    let form = match line.call.function {
        Function::Fcntl if line.result >= 0 => fcntl::command(line.int(1)).result,
        _ => fcntl::NONE,
    };
    match form {
        fcntl::NONE => return write!(out, "{}", line.result),
        "signal" | "fdflags" if line.result == 0 => return out.write_char('0'),
        "signal" => write!(out, "{} (", line.result)?,
        "lock" => write!(out, "{:#x} (", line.result)?,
        _ if line.result == 0 => out.write_str("0 (flags ")?,
        _ => write!(out, "{:#x} (flags ", line.result)?,
    }
    argument(line, form, line.result as usize, out)?;
    out.write_char(')')
}

fn wait(line: &Line, out: &mut impl Write) -> fmt::Result {
    write!(out, "{}, ", line.int(0))?;
    if line.result < 0 || !line.call.is_made {
        write!(out, "{}", Address(line.word(1)))?;
    } else {
        out.write_char('[')?;
        for (index, event) in line.delivered().enumerate() {
            write!(out, "{}{}", if index == 0 { "" } else { ", " }, Event(event))?;
        }
        out.write_str(if line.more() > 0 { ", ...]" } else { "]" })?;
    }
    write!(out, ", {}, ", line.int(2))?;
    match line.call.function {
        Function::EpollWait => return write!(out, "{}", line.int(3)),
        Function::EpollPwait => write!(out, "{}, ", line.int(3))?,
        _ => match (line.word(3), sys::timespec_at(line.word(3))) {
            (0, _) => out.write_str("NULL, ")?,
            (_, Some(time)) => write!(out, "{{tv_sec={}, tv_nsec={}}}, ", time.tv_sec, time.tv_nsec)?,
            (address, None) => write!(out, "{}, ", Address(address))?,
        },
    }
    match line.word(5) {
        SIGSET_SIZE => argument(line, "sigset", line.word(4), out),
        size => write!(out, "{}, {size}", Address(line.word(4))),
    }
}

/// Nanoseconds since 1970, printed as date and time in UTC: `2026-11-29T19:30:00.123456Z` (RFC
/// 3339).
struct Moment(u64);

impl Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000_000;
        let (year, month, day) = date(seconds / 86400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let micros = self.0 / 1000 % 1_000_000;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

/// Year, month and day of the Gregorian calendar, from days since 1 January 1970. A year is counted
/// from March here, so that the leap day is its last.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    /// Days from 1 March of the year 0.
    const BEFORE_1970: u64 = 719_468;
    let days = days + BEFORE_1970;
    let (era, day) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March on, five months always have 153 days together.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 { (month + 3, year) } else { (month - 9, year + 1) };
    (year + era * 400, month, day)
}

struct Event(epoll_event);

impl Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = Mask(self.0.events);
        let remark = if events.is_nameless() { " /* EPOLL??? */" } else { "" };
        write!(f, "{{events={events}{remark}, data={:#x}}}", { self.0.u64 })
    }
}

pub struct Address(pub usize);

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("NULL") } else { write!(f, "{:#x}", self.0) }
    }
}

/// A number of flags: 0, or hexadecimal.
pub struct Number(pub c_int);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_char('0') } else { write!(f, "{:#x}", self.0) }
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

/// A signal mask, as strace writes it: `[INT TERM]`. If less than a third of the signals is
/// missing, those are written: `~[KILL]`.
pub struct Signals(pub u64);

impl Display for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_long = self.0.count_ones() >= u32::from(signal::HIGHEST) * 2 / 3;
        let listed = if is_long { !self.0 } else { self.0 };
        f.write_str(if is_long { "~[" } else { "[" })?;
        let mut first = true;
        for number in 1..=signal::HIGHEST {
            if listed >> (number - 1) & 1 == 0 {
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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::Moment;
    use std::string::ToString;

    #[test]
    fn a_moment_is_a_date_and_a_time_of_day() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (68_169_600, "1972-02-29T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000Z"),
            (1_795_994_999, "2026-11-29T23:29:59.000000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(Moment(seconds * 1_000_000_000).to_string(), text);
        }
        assert_eq!(Moment(1_234_567_890_123_456_789).to_string(), "2009-02-13T23:31:30.123456Z");
    }
}
