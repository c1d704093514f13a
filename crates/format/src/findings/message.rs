//! A finding in one sentence: what happened, with its numbers, and what to do.

use core::fmt::{self, Display};

use super::{
    Cause, Finding, Held, Id, Severity, Spin, close_in_wait, double_close, fd_inherited, herd, ignored_error, leak,
    near_limit, no_cloexec, stale_data, stalled, thresholds, use_after_close,
};
use crate::census::Kind;
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
            Id::IgnoredError if finding.variant == ignored_error::NO_ROOM => write!(
                f,
                "waits fail in a row with EINVAL, since maxevents is {}: the loop gets no event and never sleeps; give \
                 epoll_wait room for at least one event",
                third as i64
            ),
            Id::IgnoredError if finding.variant != 0 => write!(
                f,
                "waits fail in a row with {}, since {}: the loop gets no event and never sleeps; look at what the wait \
                 returned, and end the loop or create its instance again",
                errno::name(first as u32).unwrap_or("an error"),
                match (finding.variant, second) {
                    (ignored_error::CLOSED, 0) => "the epoll descriptor is not open",
                    (ignored_error::CLOSED, _) => "the epoll descriptor was closed",
                    (_, 0) => "the number is no epoll descriptor (0: it was never set)",
                    _ => "the epoll descriptor was closed, and the number is another file's now",
                }
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
                     events come for a number that is not it; ",
                )?;
                if third != 0 {
                    let time = Scaled::time(fourth);
                    write!(f, "{} waits came back at once for them, in {time} of processor time; ", Grouped(third))?;
                }
                f.write_str("use EPOLL_CTL_DEL before close")
            }
            Id::StaleData if finding.variant == stale_data::IN_A_BATCH => write!(
                f,
                "the descriptor was closed{} while an event for it was left in the batch that the wait had returned, with its \
                 data unread: if the loop goes on to that event, it {}; skip the events of what was closed since the wait, \
                 or close at the end of the batch",
                if first != 0 { ", and its number registered for another file," } else { "" },
                if first != 0 { "takes it for the other file's" } else { "uses a number that is closed" }
            ),
            Id::StaleData => f.write_str(
                "the number was closed, its file lives on by a dup, a forked child or a passed copy, and is still watched \
                 under it: events of the old file come beside those of the new one; use EPOLL_CTL_DEL before close",
            ),
            Id::CloseInWait if first == 0 => f.write_str(
                "an epoll descriptor was closed while another thread waits on it: that thread is not woken, and its next \
                 wait fails, or is on what has the number then; wake it and join it before the close",
            ),
            Id::CloseInWait => write!(
                f,
                "a descriptor was closed while another thread waits on an instance that watches it: {}; use EPOLL_CTL_DEL \
                 before close, or have the waiting thread close it",
                match second {
                    close_in_wait::LAST =>
                        "that thread is not told, and nothing wakes it any more, since the instance watches nothing else",
                    close_in_wait::EVENT_CAME =>
                        "that thread was not told, and its wait returned an event for the number, which is closed or \
                         another file's",
                    _ =>
                        "that thread is not told, and may hold an event for a number that is another file's by then",
                }
            ),
            Id::Spin => {
                let (mask, asked) = (first as u32, (first >> 32) as u32);
                write!(
                    f,
                    "{} waits in a row returned {} at once ({} of processor time), and in all that time nothing {}: ",
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
                let Spin { is_refused, rearmed, rebuilt } = Spin::of_word(fourth);
                if rearmed != 0 {
                    let state = if mask & EPOLLHUP != 0 { "it stays hung up" } else { "it stays as it is" };
                    write!(f, "re-armed {} times, and {state}: ", Grouped(rearmed))?;
                } else if rebuilt > 1 {
                    write!(f, "{} new instances changed nothing: ", Grouped(rebuilt))?;
                }
                if is_refused {
                    f.write_str(
                        "it listens, and accept fails with EMFILE: stop watching it until a descriptor is free, or keep one \
                         to accept and close with",
                    )
                } else if has_ended && asked == 0 {
                    f.write_str(
                        "EPOLLHUP and EPOLLERR come with a mask of 0, too: close the descriptor, or take it out by EPOLL_CTL_DEL",
                    )
                } else if has_ended && mask & (EPOLLHUP | RDHUP) == 0 {
                    f.write_str(
                        "take the pending error (getsockopt with SO_ERROR, or recv), or close the descriptor if its other \
                         end is gone",
                    )
                } else if has_ended || mask & RDHUP != 0 {
                    f.write_str("its other end is gone: close the descriptor, or take it out by EPOLL_CTL_DEL")
                } else if mask & IN == 0 {
                    f.write_str("ask for EPOLLOUT only while there is something to write (after a shutdown there is nothing)")
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
                "{} of {} waits had a timeout of 0 and returned nothing; the thread has used {} of processor time: wait for \
                 as long as there is nothing to do (timeout -1), and have other work wake the loop by an eventfd or a timer",
                Grouped(finding.count),
                Grouped(third),
                Scaled::time(second)
            ),
            Id::Herd if finding.variant == herd::ONE_INSTANCE => write!(
                f,
                "several threads wait on this instance, and in {} of {} waits the event was one that another thread had just \
                 been given and was still at work on{}: what is level-triggered wakes the next thread too; {}",
                Grouped(first),
                Grouped(second),
                if third == 0 { ", so that two read one stream" } else { ", with one connection to accept" },
                if third == 0 {
                    "add it with EPOLLONESHOT, and arm it again (EPOLL_CTL_MOD) when it is done with"
                } else {
                    "add it with EPOLLET and accept until EAGAIN, or give each thread an instance that watches it with \
                     EPOLLEXCLUSIVE"
                }
            ),
            Id::Herd if finding.variant == herd::NOT_ASKED => write!(
                f,
                "this listening socket was there before a fork, and whether related processes watch it too is unknown: \
                 {} of them, of another user, may not be asked (kcmp)",
                Grouped(second)
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
            Id::Leak if third == 0 => write!(
                f,
                "{} open at the end, of {} made here: the kernel closes what is left when the process ends",
                Instances(second),
                Grouped(first)
            ),
            Id::Leak if finding.variant == leak::NEVER_USED => write!(
                f,
                "{} open at the end, of {} made here, and {} of these were never waited on: the descriptor was lost, or made \
                 twice; close each before its variable is set again ({} of kernel memory)",
                Instances(second),
                Grouped(first),
                Grouped(third),
                Scaled::bytes(fourth)
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
            Id::FdLeak if finding.severity == Severity::Info => write!(
                f,
                "{} of {} {} made here {} open at the end",
                Grouped(second),
                Grouped(third),
                Kind::from_number(first).plural(),
                if second == 1 { "is" } else { "are" },
            ),
            Id::FdLeak => {
                let kind = Kind::from_number(first);
                write!(f, "{} of {} {} made here are open, and ", Grouped(second), Grouped(third), kind.plural())?;
                match (fourth, kind) {
                    (0, _) => f.write_str("they only become more: close each when it is done with"),
                    (_, Kind::Pipe) => write!(f, "the other end of {} is closed: close each when its other end is", Grouped(fourth)),
                    _ => write!(
                        f,
                        "the other side of {} has closed its end (TCP: CLOSE_WAIT): close each when a read returns 0 or an error",
                        Grouped(fourth)
                    ),
                }
            }
            Id::DoubleClose => write!(
                f,
                "{}: take out one of the two closes; the number may belong to another thread's descriptor by the time of \
                 the second",
                match finding.variant {
                    double_close::OUT_OF_SIGHT =>
                        "close failed with EBADF: what was opened under this number was closed \
                                                   before, by fclose or otherwise out of sight",
                    double_close::SWEPT => {
                        "close failed with EBADF: close_range, closefrom or a loop of closes had closed the number"
                    }
                    double_close::BY_ANOTHER_THREAD =>
                        "close failed with EBADF: another thread had closed the number, be it the wrong one",
                    _ => "close failed with EBADF: the number was closed before",
                }
            ),
            Id::UseAfterClose if finding.variant == use_after_close::STRAY => f.write_str(
                if finding.severity == Severity::Error {
                    "a thread closed the number a second time, and ended what another thread had opened in between: \
                     the other's next call on it failed with EBADF, and writes and reads go to whatever gets the \
                     number next; close it once, and set the variable to -1 with the close"
                } else {
                    "a thread closed a number that it had closed before, and that another thread has opened since: \
                     if the descriptor was not handed over, the second close ended another thread's; set the \
                     variable to -1 with the first close"
                },
            ),
            Id::UseAfterClose => write!(
                f,
                "{} failed with EBADF: the number was closed before, and may be another's descriptor the next time; {}",
                match finding.variant {
                    use_after_close::WAIT => "a wait",
                    use_after_close::CTL | use_after_close::DEL => "epoll_ctl",
                    use_after_close::DUP => "dup",
                    _ => "fcntl",
                },
                if finding.variant == use_after_close::DEL {
                    "use EPOLL_CTL_DEL before close"
                } else {
                    "close it after its last use, and forget the number with the close"
                }
            ),
            Id::Exhausted => exhausted(f, &Held::of_detail(&finding.detail)),
            Id::Churn => write!(
                f,
                "{} of {} instances made here have ended, in a process that has lived for {} and used {} of processor time: \
                 keep one instance, and change what it watches by epoll_ctl",
                Grouped(first),
                Grouped(second),
                Scaled::time(fourth),
                Scaled::time(third)
            ),
            Id::FdInherited if finding.variant == fd_inherited::NAMED => write!(
                f,
                "{} was left open in a program that was started by exec, and the number stands in its arguments or \
                 environment: it is handed on on purpose",
                Kind::from_number(first).name(),
            ),
            Id::Stalled => {
                let waiting = stalled::Waiting { count: first, are_connections: fourth & stalled::seen::LISTENS != 0 };
                write!(f, "{waiting}, while the loop slept")?;
                if second != 0 {
                    write!(f, " for {}", Scaled::time(second))?;
                }
                write!(f, " in its waits: {}{}", stalled::reason(finding.variant), stalled::excuse(fourth))
            }
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
        }
    }
}

fn exhausted(f: &mut fmt::Formatter<'_>, held: &Held) -> fmt::Result {
    if i32::from(held.error) == 23 {
        f.write_str("ENFILE: the system has no file left (fs.file-max)")?;
    } else {
        f.write_str("EMFILE: the process has no descriptor left")?;
        if held.limit != 0 {
            write!(f, ", of {} (RLIMIT_NOFILE)", Grouped(held.limit))?;
        }
    }
    if held.open != 0 {
        write!(f, "; {} were open", Grouped(held.open))?;
        let mut before = ": ";
        for (kind, count) in held.kinds.into_iter().filter(|(_, count)| *count != 0) {
            write!(f, "{before}{}", Counted(kind, count))?;
            before = ", ";
        }
    }
    if held.of_one != 0 {
        write!(f, "; {} came from one call", Counted(held.kind, held.of_one))?;
    }
    f.write_str("; close each when it is done with, or raise the limit if all are needed")
}

/// So many descriptors of a kind.
struct Counted(u8, u64);

impl Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = Kind::from_number(u64::from(self.0));
        write!(f, "{} {}", Grouped(self.1), if self.1 == 1 { kind.singular() } else { kind.plural() })
    }
}

/// What the program did at the places of a finding, as words before `at`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Roles {
    pub site: &'static str,
    pub other: &'static str,
}

impl Finding {
    #[must_use]
    pub fn roles(&self) -> Roles {
        let [first, ..] = self.detail;
        let both = match self.id {
            Id::SizeLie if self.variant != 0 => "called|",
            Id::Leak | Id::FdLeak | Id::SizeLie | Id::Churn => "created|",
            Id::Ghost => "closed|registered",
            Id::StaleData if self.variant == stale_data::IN_A_BATCH => "taken out|delivered",
            Id::StaleData if first != 0 => "registered again|first registered",
            Id::StaleData => "registered again|closed",
            Id::Herd => "registered|also registered",
            Id::Spin => "waited on|registered",
            Id::PollLoop | Id::FullBatch | Id::LateLoop => "waited on|",
            Id::NoCloexec | Id::FdInherited => "created|exec called",
            Id::ForkShared => "used|created",
            Id::CloseInWait => "closed|waited on",
            Id::DoubleClose => "closed again|first closed",
            Id::UseAfterClose if self.variant == use_after_close::STRAY => "closed again|first closed",
            Id::IgnoredError | Id::UseAfterClose => "called|closed",
            Id::Exhausted => "called|created",
            Id::Stalled => "delivered|registered",
            Id::CtlError | Id::NearLimit => "called|",
        };
        // By bytes: no way to panic.
        let mut words = both.as_bytes().split(|byte| *byte == b'|');
        let mut next = || core::str::from_utf8(words.next().unwrap_or_default()).unwrap_or_default();
        Roles { site: next(), other: next() }
    }

    /// A third place, where the descriptor was created; 0: not known, or not of this finding.
    #[must_use]
    pub fn created_at(&self) -> u64 {
        let [_, created, ..] = self.detail;
        if matches!(self.id, Id::DoubleClose | Id::UseAfterClose) { created } else { 0 }
    }

    /// What its descriptor is described as: not what has the number, where that was closed and is watched nevertheless.
    #[must_use]
    pub const fn describes_what_is_watched(&self) -> bool {
        matches!(self.id, Id::Ghost) || matches!(self.id, Id::StaleData) && self.variant != stale_data::IN_A_BATCH
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

/// How many instances.
struct Instances(u64);

impl Display for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Grouped(self.0), if self.0 == 1 { "instance is" } else { "instances are" })
    }
}
