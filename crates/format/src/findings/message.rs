//! A finding in one sentence: what happened, with its numbers, and what to do.

use core::fmt::{self, Display};

use super::{Finding, Id};
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
                "epoll_ctl({}) failed with {}",
                match first as i32 {
                    1 => "EPOLL_CTL_ADD",
                    2 => "EPOLL_CTL_DEL",
                    3 => "EPOLL_CTL_MOD",
                    _ => "unknown operation",
                },
                errno::name(second as u32).unwrap_or("an error")
            ),
            Id::IgnoredError => write!(
                f,
                "called with -1 for a descriptor: the call that should have given one failed before, and nobody looked"
            ),
            _ => write!(f, "{}", finding.id.name()),
        }
    }
}
