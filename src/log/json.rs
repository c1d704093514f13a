//! A line of JSON, schema `epollshim.log/1` (docs/log.md).

use core::fmt::{self, Display, Write};

use epollshim_format::events::Mask;
use epollshim_format::function::Function;
use epollshim_format::{LOG_SCHEMA, errno};
use libc::epoll_event;

use super::{Line, arguments, fcntl};
use crate::procfs::kind_of;
use crate::sys;

pub fn render(line: &Line, out: &mut impl Write) -> fmt::Result {
    write!(
        out,
        r#"{{"schema":"{LOG_SCHEMA}","mono_ns":{},"wall_ns":{},"pid":{},"tid":{},"call":"{}","args":{{"#,
        line.call.began,
        line.wall(),
        line.pid,
        line.tid,
        line.call.function.name(),
    )?;
    arguments(line, out)?;
    write!(out, r#"}},"result":{},"errno":"#, line.result)?;
    match (line.error, errno::name(line.error as u32)) {
        (0, _) => out.write_str("null")?,
        (_, Some(name)) => write!(out, r#""{name}""#)?,
        (number, None) => write!(out, r#""{number}""#)?,
    }
    write!(
        out,
        r#","duration_ns":{},"injected":{},"limited":{}"#,
        line.duration, line.call.is_injected, line.call.is_limited
    )?;
    if let Some(hash) = line.stack {
        write!(out, r#","stack":"{hash:016x}""#)?;
    }
    out.write_str("}\n")
}

fn arguments(line: &Line, out: &mut impl Write) -> fmt::Result {
    match line.call.function {
        Function::EpollCreate => write!(out, r#""size":{}"#, line.int(0)),
        Function::EpollCreate1 => write!(out, r#""flags":{}"#, line.int(0)),
        Function::EpollCtl => {
            write!(out, r#""epfd":{},"op":"#, line.int(0))?;
            match super::operation(line.int(1)) {
                Some(name) => write!(out, r#""{name}""#)?,
                None => write!(out, r#""{}""#, line.int(1))?,
            }
            write!(out, r#","fd":{},"kind":"#, line.int(2))?;
            match kind_of(line.int(2)) {
                Some(kind) => write!(out, r#""{kind}","#)?,
                None => out.write_str("null,")?,
            }
            match line.asked() {
                Some(event) => write!(out, r#""event":{}"#, Event(event)),
                None => out.write_str(r#""event":null"#),
            }
        }
        Function::EpollWait | Function::EpollPwait | Function::EpollPwait2 => wait(line, out),
        Function::Close | Function::Dup => write!(out, r#""fd":{}"#, line.int(0)),
        Function::Dup2 => write!(out, r#""fd":{},"new":{}"#, line.int(0), line.int(1)),
        Function::Dup3 => write!(out, r#""fd":{},"new":{},"flags":{}"#, line.int(0), line.int(1), line.int(2)),
        Function::Fcntl => {
            write!(out, r#""fd":{},"command":"#, line.int(0))?;
            match fcntl::command(line.int(1)).name {
                Some(name) => write!(out, r#""{name}""#)?,
                None => write!(out, r#""{}""#, line.int(1))?,
            }
            write!(out, r#","argument":{}"#, line.word(2))
        }
        Function::CloseRange => {
            write!(out, r#""first":{},"last":{},"flags":{}"#, line.word(0) as u32, line.word(1) as u32, line.int(2))
        }
        _ => arguments::json(line, out),
    }
}

fn wait(line: &Line, out: &mut impl Write) -> fmt::Result {
    write!(out, r#""epfd":{},"maxevents":{},"timeout_ns":"#, line.int(0), line.int(2))?;
    let timeout = match line.call.function {
        Function::EpollPwait2 => sys::timespec_at(line.word(3))
            .map(|time| i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)),
        _ => (line.int(3) >= 0).then(|| i128::from(line.int(3)) * 1_000_000),
    };
    match timeout {
        Some(time) => write!(out, "{time}")?,
        None => out.write_str("null")?,
    }
    if line.call.function != Function::EpollWait {
        match super::mask(line.word(4)) {
            Some(mask) => write!(out, r#","sigmask":"{mask:#x}""#)?,
            None => out.write_str(r#","sigmask":null"#)?,
        }
    }
    out.write_str(r#","events":["#)?;
    for (index, event) in line.delivered().enumerate() {
        write!(out, "{}{}", if index == 0 { "" } else { "," }, Event(event))?;
    }
    write!(out, r#"],"more":{}"#, if line.call.is_made { line.more() } else { 0 })
}

struct Event(epoll_event);

impl Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"{{"events":"{}","data":"{:#x}"}}"#, Mask(self.0.events), { self.0.u64 })
    }
}
