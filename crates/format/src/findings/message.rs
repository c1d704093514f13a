//! A finding in one sentence: what happened, with its numbers, and what to do.

use core::fmt::{self, Display};

use super::{Finding, Id, Severity, double_close, fd_inherited};
use crate::census::Kind;
use crate::errno;
use crate::scale::Grouped;

/// The sentence. Sites are told apart from it; the text has neither line ends nor quotation marks.
pub struct Message<'a>(pub &'a Finding);

impl Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finding = self.0;
        let [first, second, third, ..] = finding.detail;
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
            Id::FdLeak if finding.severity == Severity::Info => write!(
                f,
                "{} of {} {} made here {} open at the end",
                Grouped(second),
                Grouped(third),
                Kind::from_number(first).plural(),
                if second == 1 { "is" } else { "are" },
            ),
            Id::FdLeak => write!(
                f,
                "{} of {} {} made here are open, and they only become more: close each when it is done with",
                Grouped(second),
                Grouped(third),
                Kind::from_number(first).plural(),
            ),
            Id::DoubleClose => write!(
                f,
                "{}: take out one of the two closes; the number may belong to another thread's descriptor by the time of \
                 the second",
                match finding.variant {
                    double_close::OUT_OF_SIGHT =>
                        "close failed with EBADF: what was opened under this number was closed \
                                                   before, by fclose or otherwise out of sight",
                    double_close::SWEPT => "close failed with EBADF: close_range or closefrom had closed the number",
                    double_close::BY_ANOTHER_THREAD =>
                        "close failed with EBADF: another thread had closed the number, be it the wrong one",
                    _ => "close failed with EBADF: the number was closed before",
                }
            ),
            Id::FdInherited => write!(
                f,
                "{} was left open in a program that was started by exec: {}",
                Kind::from_number(first).name(),
                if finding.variant == fd_inherited::BY_ITSELF {
                    "give it close-on-exec, unless that program shall have it"
                } else {
                    "make it with close-on-exec (O_CLOEXEC, SOCK_CLOEXEC), or what it holds stays held till that program ends"
                }
            ),
            _ => write!(f, "{}", finding.id.name()),
        }
    }
}
