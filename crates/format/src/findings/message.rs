//! The message of a finding, one sentence: what happened, with its numbers, and how to fix it.
//!
//! Long because it has the messages of all ids, which are easier to keep alike side by side.

use core::fmt::{self, Display};

use super::{
    Cause, Finding, Held, Id, Severity, Spin, close_in_wait, double_close, exhausted, fd_inherited, herd,
    ignored_error, leak, near_limit, no_cloexec, stale_data, stalled, thresholds, use_after_close,
};
use crate::census::Kind;
use crate::errno;
use crate::events::{EPOLLERR, EPOLLHUP, Mask};
use crate::scale::{Grouped, Scaled};

const IN: u32 = 0x001;
const RDHUP: u32 = 0x2000;

/// The message. It names no call sites, and has neither newlines nor quotation marks.
pub struct Message<'a>(pub &'a Finding);

impl Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finding = self.0;
        let [first, second, third, fourth] = finding.detail;
        match finding.id {
            Id::SizeLie if first == 0 => write!(
                f,
                "epoll_create fails with EINVAL when its size is {}: use epoll_create1",
                second as i64
            ),
            Id::SizeLie => write!(
                f,
                "{} watches at the peak, but epoll_create promised {}: Linux ignores the size since 2.6.8; use \
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
                "waits keep failing with EINVAL because maxevents is {}: the loop gets no events and never sleeps; give \
                 epoll_wait room for at least one event",
                third as i64
            ),
            Id::IgnoredError if finding.variant != 0 => write!(
                f,
                "waits keep failing with {} because {}: the loop gets no events and never sleeps; check the result of \
                 each wait, and end the loop or create a new instance",
                errno::name(first as u32).unwrap_or("an error"),
                match (finding.variant, second) {
                    (ignored_error::CLOSED, 0) => "the epoll descriptor is not open",
                    (ignored_error::CLOSED, _) => "the epoll descriptor was closed",
                    (_, 0) => "the number is not an epoll descriptor (0: never set)",
                    _ => "the epoll descriptor was closed and the number reused",
                }
            ),
            Id::IgnoredError => f.write_str(
                "called with -1 as a descriptor: an earlier call failed to create it and was not checked, or the program \
                 had closed it",
            ),
            Id::Ghost => {
                match first {
                    0 if finding.site == 0 => f.write_str("the descriptor was closed where the shim cannot see it")?,
                    0 => f.write_str("the descriptor was closed, and waits continued")?,
                    _ => write!(
                        f,
                        "the descriptor was closed, and {} failed with {}",
                        operation(first),
                        errno::name(second as u32).unwrap_or("an error")
                    )?,
                }
                f.write_str(
                    ", but a dup, a forked child or a passed copy keeps its file open: it is still watched, and its \
                     events arrive under the old number; ",
                )?;
                if third != 0 {
                    let time = Scaled::time(fourth);
                    write!(f, "{} waits returned at once for them, in {time} of processor time; ", Grouped(third))?;
                }
                f.write_str("use EPOLL_CTL_DEL before close")
            }
            Id::StaleData if finding.variant == stale_data::IN_A_BATCH => write!(
                f,
                "the descriptor was closed{} while the batch that the wait returned still held an event for it, with its \
                 data unread: if the loop handles that event, it {}; skip events of descriptors closed since the wait, or \
                 close after the batch",
                if first != 0 { " and its number registered for another file" } else { "" },
                if first != 0 { "takes it for the other file's" } else { "uses a closed number" }
            ),
            Id::StaleData => f.write_str(
                "the number was closed and reused, but a dup, a forked child or a passed copy keeps the old file open and \
                 watched: events of both files arrive under this number; use EPOLL_CTL_DEL before close",
            ),
            Id::CloseInWait if first == 0 => f.write_str(
                "an epoll descriptor was closed while another thread waits on it: that thread is not woken, and its next \
                 wait fails or uses whatever has the number by then; wake and join it before the close",
            ),
            Id::CloseInWait => write!(
                f,
                "a descriptor was closed while another thread waits on an instance that watches it: {}; use EPOLL_CTL_DEL \
                 before close, or let the waiting thread close it",
                match second {
                    close_in_wait::LAST =>
                        "that thread is not notified, and nothing can wake it: the instance watches nothing else",
                    close_in_wait::EVENT_CAME =>
                        "that thread was not notified, and its wait returned an event for the number, which is closed or \
                         reused",
                    _ =>
                        "that thread is not notified, and may hold an event for a number that is reused by then",
                }
            ),
            Id::Spin => {
                let (mask, asked) = (first as u32, (first >> 32) as u32);
                write!(
                    f,
                    "{} waits in a row returned {} at once ({} of processor time), while nothing {}: ",
                    Grouped(second),
                    Mask(mask),
                    Scaled::time(third),
                    if finding.severity == Severity::Error {
                        "was read from or written to the descriptor"
                    } else {
                        "seems to have been done about it"
                    }
                )?;
                let has_ended = mask & (EPOLLHUP | EPOLLERR) != 0;
                let Spin { is_refused, rearmed, rebuilt } = Spin::of_word(fourth);
                if rearmed != 0 {
                    let state = if mask & EPOLLHUP != 0 { "it stays hung up" } else { "nothing changed" };
                    write!(f, "re-armed {} times, and {state}: ", Grouped(rearmed))?;
                } else if rebuilt > 1 {
                    write!(f, "{} new instances changed nothing: ", Grouped(rebuilt))?;
                }
                if is_refused {
                    f.write_str(
                        "accept fails with EMFILE: stop watching the socket until a descriptor is free, or reserve one to \
                         accept and close with",
                    )
                } else if has_ended && asked == 0 {
                    f.write_str(
                        "EPOLLHUP and EPOLLERR arrive even with a mask of 0; close the descriptor or use EPOLL_CTL_DEL",
                    )
                } else if has_ended && mask & (EPOLLHUP | RDHUP) == 0 {
                    f.write_str(
                        "clear the pending error (getsockopt with SO_ERROR, or recv), or close the descriptor if its other \
                         end is gone",
                    )
                } else if has_ended || mask & RDHUP != 0 {
                    f.write_str("its other end is gone: close the descriptor or use EPOLL_CTL_DEL")
                } else if mask & IN == 0 {
                    f.write_str("ask for EPOLLOUT only while there is something to write (after a shutdown there is nothing)")
                } else {
                    f.write_str("read or accept until EAGAIN or EOF, or stop watching meanwhile")
                }
            }
            Id::FullBatch => write!(
                f,
                "{} of {} waits in a row returned at once and filled their array (maxevents {}), and {} descriptors are \
                 watched: ready descriptors have to queue for the next call; give epoll_wait a larger array",
                Grouped(third),
                Grouped(fourth),
                Grouped(first),
                Grouped(second)
            ),
            Id::LateLoop => write!(
                f,
                "the work between two waits took longer than {} (of {} rounds: p99 {}, longest {}): no event is handled \
                 meanwhile; move long work to another thread, or split it",
                Scaled::time(thresholds::LATE),
                Grouped(third),
                Scaled::time(first),
                Scaled::time(second)
            ),
            Id::PollLoop => write!(
                f,
                "{} of {} waits had a timeout of 0 and returned nothing; the thread used {} of processor time: block while \
                 there is nothing to do (timeout -1), and wake the loop with an eventfd or a timer",
                Grouped(finding.count),
                Grouped(third),
                Scaled::time(second)
            ),
            Id::Herd if finding.variant == herd::ONE_INSTANCE => write!(
                f,
                "several threads wait on this instance, and in {} of {} waits one got an event that another had just received \
                 and was still handling{}: a level-triggered interest wakes the next thread too; {}",
                Grouped(first),
                Grouped(second),
                if third == 0 { " (two read one stream)" } else { " (one connection to accept)" },
                if third == 0 {
                    "add it with EPOLLONESHOT, and re-arm it (EPOLL_CTL_MOD) after each event"
                } else {
                    "add it with EPOLLET and accept until EAGAIN, or give each thread an instance that watches it with \
                     EPOLLEXCLUSIVE"
                }
            ),
            Id::Herd if finding.variant == herd::NOT_ASKED => write!(
                f,
                "this listening socket was open before a fork, and whether related processes watch it too is unknown: \
                 kcmp is not permitted for {} of them (another user's)",
                Grouped(second)
            ),
            Id::Herd => {
                f.write_str("this listening socket is watched by ")?;
                if first > 1 {
                    write!(f, "{} instances of this process", Grouped(first))?;
                }
                if second > 1 {
                    let and = if first > 1 { " and by " } else { "" };
                    write!(f, "{and}{} related processes, each with its own instance", Grouped(second))?;
                }
                f.write_str(
                    ", without EPOLLEXCLUSIVE: each connection wakes all of them, and one gets it; add it with \
                     EPOLLEXCLUSIVE, or give each its own socket (SO_REUSEPORT)",
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
                "{} open at the end, of {} made here, {} of them never waited on: the descriptor was lost or created twice; \
                 close each before its variable is overwritten ({} of kernel memory)",
                Instances(second),
                Grouped(first),
                Grouped(third),
                Scaled::bytes(fourth)
            ),
            Id::Leak => write!(
                f,
                "{} open, of {} made here, {} of them idle while newer ones are in use; close each one when its loop ends \
                 ({} of kernel memory)",
                Instances(second),
                Grouped(first),
                Grouped(third),
                Scaled::bytes(fourth)
            ),
            Id::NoCloexec => match finding.variant {
                no_cloexec::HANDED_ON => write!(
                    f,
                    "an exec of process {first} passed the instance to another program, which can change its list and \
                     keeps it alive: use epoll_create1(EPOLL_CLOEXEC), and F_DUPFD_CLOEXEC for duplicates"
                ),
                no_cloexec::CAME => write!(
                    f,
                    "an epoll instance was open when this program began, and nothing here waits on it: the program that \
                     started this one made it without EPOLL_CLOEXEC"
                ),
                _ => write!(
                    f,
                    "open without close-on-exec while children were forked: any exec of theirs passes it on; use \
                     epoll_create1(EPOLL_CLOEXEC)"
                ),
            },
            Id::ForkShared => write!(
                f,
                "process {first} uses an instance made before process {second} forked it, and so do others: they change one \
                 list and take each other's events; create a new instance after the fork"
            ),
            Id::NearLimit => match finding.variant {
                near_limit::DESCRIPTORS => write!(
                    f,
                    "descriptor number {} was in use, and RLIMIT_NOFILE allows {}: raise it (ulimit -n), or close more",
                    Grouped(first.saturating_sub(1)),
                    Grouped(second)
                ),
                near_limit::WATCHES => write!(
                    f,
                    "{} watches at the peak, of {} allowed per user: raise fs.epoll.max_user_watches",
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
                        23 => "the system has too many open files (fs.file-max)",
                        28 => "the user has no watch left (fs.epoll.max_user_watches)",
                        _ => "the kernel is out of memory",
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
                    (0, _) => f.write_str("the count keeps growing: close each after its last use"),
                    (_, Kind::Pipe) => write!(f, "the other end of {} is closed: close each when its other end closes", Grouped(fourth)),
                    _ => write!(
                        f,
                        "{} were closed by their peer (TCP: CLOSE_WAIT): close each when a read returns 0 or an error",
                        Grouped(fourth)
                    ),
                }
            }
            Id::DoubleClose => write!(
                f,
                "close failed with EBADF: {}; remove one of the two closes: by the second, the number may belong to \
                 another thread",
                match finding.variant {
                    double_close::OUT_OF_SIGHT =>
                        "the descriptor was closed before, by fclose or elsewhere out of the shim's sight",
                    double_close::SWEPT => {
                        "close_range, closefrom or a loop of closes had closed the number"
                    }
                    double_close::BY_ANOTHER_THREAD =>
                        "another thread had closed the number, perhaps by mistake",
                    _ => "the number was already closed",
                }
            ),
            Id::UseAfterClose if finding.variant == use_after_close::STRAY => f.write_str(
                if finding.severity == Severity::Error {
                    "a thread closed the number twice, and the second close hit what another thread had opened in between: \
                     the other's next call on it failed with EBADF, and reads and writes go to whatever gets the number \
                     next; close it once, and set the variable to -1"
                } else {
                    "a thread closed a number that it had closed before and another thread has since opened: unless the \
                     descriptor was handed over, the second close hit the other thread's; set the variable to -1 with \
                     the first close"
                },
            ),
            Id::UseAfterClose => write!(
                f,
                "{} failed with EBADF: the number was already closed, and may belong to another descriptor next time; {}",
                match finding.variant {
                    use_after_close::WAIT => "a wait",
                    use_after_close::CTL | use_after_close::DEL => "epoll_ctl",
                    use_after_close::DUP => "dup",
                    _ => "fcntl",
                },
                if finding.variant == use_after_close::DEL {
                    "use EPOLL_CTL_DEL before close"
                } else {
                    "close it after its last use, and set the variable to -1"
                }
            ),
            Id::Exhausted => exhausted::message(f, &Held::of_detail(&finding.detail)),
            Id::Churn => write!(
                f,
                "{} of {} instances made here were closed, in a process that ran for {} and used {} of processor time: keep \
                 one instance, and change what it watches with epoll_ctl",
                Grouped(first),
                Grouped(second),
                Scaled::time(fourth),
                Scaled::time(third)
            ),
            Id::FdInherited if finding.variant == fd_inherited::NAMED => write!(
                f,
                "{} was left open in a program started by exec, and its number is in the arguments or environment: it is \
                 passed on purpose",
                Kind::from_number(first).name(),
            ),
            Id::Stalled => {
                let waiting = stalled::Waiting { count: first, are_connections: fourth & stalled::seen::LISTENS != 0 };
                write!(f, "{waiting} while the loop slept")?;
                if second != 0 {
                    write!(f, " for {}", Scaled::time(second))?;
                }
                write!(f, " in its waits: {}{}", stalled::reason(finding.variant), stalled::excuse(fourth))
            }
            Id::FdInherited => write!(
                f,
                "{} was left open in a program started by exec: {}",
                Kind::from_number(first).name(),
                if finding.variant == fd_inherited::BY_ITSELF {
                    "give it close-on-exec, unless that program needs it"
                } else {
                    "create it with close-on-exec (O_CLOEXEC, SOCK_CLOEXEC), or it stays open until that program ends"
                }
            ),
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

/// A count of instances, with the verb: `16 instances are`.
struct Instances(u64);

impl Display for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Grouped(self.0), if self.0 == 1 { "instance is" } else { "instances are" })
    }
}
