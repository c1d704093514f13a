//! A finding in one sentence: what happened, with its numbers, and what to do.

use core::fmt::{self, Display};

use super::{Cause, Finding, Id};
use crate::errno;
use crate::scale::Grouped;

/// The sentence. Sites are told apart from it; the text has neither line ends nor quotation marks.
pub struct Message<'a>(pub &'a Finding);

impl Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finding = self.0;
        let [first, second, ..] = finding.detail;
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
