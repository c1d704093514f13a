//! A finding in one sentence: what happened, with its numbers, and what to do.

use core::fmt::{self, Display};

use super::{Finding, Id, near_limit, no_cloexec};
use crate::errno;
use crate::scale::{Grouped, Scaled};

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
            Id::Leak if third == 0 => write!(
                f,
                "{} open at the end, of {} made here: the kernel closes what is left when the process ends",
                Instances(second),
                Grouped(first)
            ),
            Id::Leak => write!(
                f,
                "{} open, of {} made here, and {} of these were left: newer ones are waited on, they are not; close \
                 each with its loop ({} of kernel memory)",
                Instances(second),
                Grouped(first),
                Grouped(third),
                Scaled::bytes(fourth)
            ),
            Id::NoCloexec => match finding.variant {
                no_cloexec::HANDED_ON => write!(
                    f,
                    "the exec of process {first} handed the instance on to another program, which can change its list and \
                     keeps it alive: use epoll_create1(EPOLL_CLOEXEC), and F_DUPFD_CLOEXEC for duplicates"
                ),
                no_cloexec::CAME => write!(
                    f,
                    "an epoll instance was open when this program began, and nothing here waits on it: the program that \
                     started this one made it without EPOLL_CLOEXEC"
                ),
                _ => write!(
                    f,
                    "without close-on-exec while children were forked: any of their execs hands the instance on; use \
                     epoll_create1(EPOLL_CLOEXEC)"
                ),
            },
            Id::ForkShared => write!(
                f,
                "process {first} uses an instance that was made before it was forked by process {second}, and so do others: \
                 they change one list, and take each other's events; make it anew after the fork"
            ),
            Id::NearLimit => match finding.variant {
                near_limit::DESCRIPTORS => write!(
                    f,
                    "descriptors up to number {} of {} that RLIMIT_NOFILE allows: raise it (ulimit -n), or close more",
                    Grouped(first.saturating_sub(1)),
                    Grouped(second)
                ),
                near_limit::WATCHES => write!(
                    f,
                    "{} watches at the peak, of {} that a user may have: raise fs.epoll.max_user_watches",
                    Grouped(first),
                    Grouped(second)
                ),
                variant if variant >= near_limit::SET => {
                    let key = near_limit::KEYS.get(usize::from(variant - near_limit::SET)).copied().unwrap_or("?");
                    write!(f, "the limit {key}={}: ", Grouped(second))?;
                    match third {
                        0 => write!(f, "{} at the peak", Grouped(first)),
                        1 => write!(f, "{} at the peak, and 1 call refused", Grouped(first)),
                        _ => write!(f, "{} at the peak, and {} calls refused", Grouped(first), Grouped(third)),
                    }
                }
                _ => write!(
                    f,
                    "{} failed with {}: {}",
                    if first != 0 { "epoll_create" } else { "epoll_ctl" },
                    errno::name(second as u32).unwrap_or("an error"),
                    match second as i32 {
                        24 => "the process has no descriptor left (RLIMIT_NOFILE)",
                        23 => "the system has no file left (fs.file-max)",
                        28 => "the user has no watch left (fs.epoll.max_user_watches)",
                        _ => "the kernel has no memory for it",
                    }
                ),
            },
            _ => write!(f, "{}", finding.id.name()),
        }
    }
}

/// How many instances.
struct Instances(u64);

impl Display for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Grouped(self.0), if self.0 == 1 { "instance is" } else { "instances are" })
    }
}
