//! A finding in one sentence: what happened, with its numbers, and what to do.

use core::fmt::{self, Display};

use super::{Cause, Finding, Id, Severity, thresholds};
use crate::errno;
use crate::events::{EPOLLERR, EPOLLHUP, Mask};
use crate::scale::{Grouped, Scaled};

const IN: u32 = 0x001;
const RDHUP: u32 = 0x2000;

/// The sentence. Sites are told apart from it; the text has neither line ends nor quotation marks.
pub struct Message<'a>(pub &'a Finding);

impl Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finding = self.0;
        let [first, second, third, fourth] = finding.detail;
        match finding.id {
            Id::SizeLie if first == 0 => write!(
                f,
                "epoll_create was called with a size of {}, which is refused (EINVAL): use epoll_create1",
                second as i64
            ),
            Id::SizeLie => write!(
                f,
                "{} watches at the peak, where epoll_create promised {}: the size says nothing since Linux 2.6.8, use \
                 epoll_create1",
                Grouped(first),
                Grouped(second)
            ),
            Id::CtlError => write!(
                f,
                "epoll_ctl({}) failed with {}{}{}",
                operation(first),
                errno::name(second as u32).unwrap_or("an error"),
                if Cause::from_number(finding.variant).is_some() { ": " } else { "" },
                Cause::from_number(finding.variant).map_or("", Cause::sentence)
            ),
            Id::IgnoredError => f.write_str(
                "called with -1 for a descriptor: the call that should have given one failed before, and nobody looked; or \
                 the descriptor was given up before",
            ),
            Id::Ghost => {
                match first {
                    0 if finding.site == 0 => f.write_str("the descriptor was closed where the shim does not see it")?,
                    0 => f.write_str("the descriptor was closed, and waits went on")?,
                    _ => write!(
                        f,
                        "the descriptor was closed, and {} failed with {}",
                        operation(first),
                        errno::name(second as u32).unwrap_or("an error")
                    )?,
                }
                f.write_str(
                    ", while a dup, a forked child or a passed copy keeps its file open: it is still watched, and its \
                     events come for a number that is not it; use EPOLL_CTL_DEL before close",
                )
            }
            Id::StaleData => f.write_str(
                "the number was closed, its file lives on by a dup, a forked child or a passed copy, and is still watched \
                 under it: events of the old file come beside those of the new one; use EPOLL_CTL_DEL before close",
            ),
            Id::CloseInWait if first == 0 => f.write_str(
                "an epoll descriptor was closed while another thread waits on it: that thread is not woken, and its next \
                 wait fails, or is on what has the number then; wake it and join it before the close",
            ),
            Id::CloseInWait => f.write_str(
                "a descriptor was closed while another thread waits on an instance that watches it: that thread is not \
                 told, and may hold an event for a number that is another file's by then; use EPOLL_CTL_DEL before close, \
                 or have the waiting thread close it",
            ),
            Id::Spin => {
                let (mask, asked) = (first as u32, (first >> 32) as u32);
                write!(
                    f,
                    "{} waits in a row returned {} at once ({}), and in all that time nothing {}: ",
                    Grouped(second),
                    Mask(mask),
                    Scaled::time(third),
                    if finding.severity == Severity::Error {
                        "was read from the descriptor or written to it"
                    } else {
                        "seems to have been done about it"
                    }
                )?;
                let has_ended = mask & (EPOLLHUP | EPOLLERR) != 0;
                if fourth != 0 {
                    f.write_str(
                        "it listens, and accept fails with EMFILE: stop watching it until a descriptor is free, or keep one \
                         to accept and close with",
                    )
                } else if has_ended && asked == 0 {
                    f.write_str(
                        "EPOLLHUP and EPOLLERR come with a mask of 0, too: close the descriptor, or take it out by EPOLL_CTL_DEL",
                    )
                } else if has_ended || mask & RDHUP != 0 {
                    f.write_str("its other end is gone: close the descriptor, or take it out by EPOLL_CTL_DEL")
                } else if mask & IN == 0 {
                    f.write_str("ask for EPOLLOUT only while there is something to write")
                } else {
                    f.write_str("read until EAGAIN or the end, or take it out of the interests meanwhile")
                }
            }
            Id::FullBatch => write!(
                f,
                "{} of {} waits in a row came back at once with all {} events that they had room for, and {} descriptors are \
                 watched: what is ready has to queue, at the price of a system call each {} events; give epoll_wait a larger \
                 array",
                Grouped(third),
                Grouped(fourth),
                Grouped(first),
                Grouped(second),
                Grouped(first)
            ),
            Id::LateLoop => write!(
                f,
                "the work between two waits took longer than {}, of {} works; p99 {}, the longest {}: no event was answered \
                 meanwhile; do what takes long in another thread, or in parts",
                Scaled::time(thresholds::LATE),
                Grouped(third),
                Scaled::time(first),
                Scaled::time(second)
            ),
            Id::PollLoop => write!(
                f,
                "{} of {} waits had a timeout of {} and returned nothing; the thread has used {} of processor time: wait for \
                 as long as there is nothing to do (timeout -1), and have other work wake the loop by an eventfd or a timer",
                Grouped(finding.count),
                Grouped(third),
                if first == 0 { "0" } else { "1 ms" },
                Scaled::time(second)
            ),
            Id::Herd => {
                f.write_str("this listening socket is watched by ")?;
                if first > 1 {
                    write!(f, "{} instances of this process", Grouped(first))?;
                }
                if second > 1 {
                    let and = if first > 1 { ", and by " } else { "" };
                    write!(f, "{and}{} processes that are related, each with an instance of its own", Grouped(second))?;
                }
                f.write_str(
                    ", without EPOLLEXCLUSIVE: each connection wakes all of them, and one gets it; add it with \
                     EPOLLEXCLUSIVE, or give each a socket of its own (SO_REUSEPORT)",
                )
            }
            _ => write!(f, "{}", finding.id.name()),
        }
    }
}

fn operation(number: u64) -> &'static str {
    match number as i32 {
        1 => "EPOLL_CTL_ADD",
        2 => "EPOLL_CTL_DEL",
        3 => "EPOLL_CTL_MOD",
        _ => "unknown operation",
    }
}
