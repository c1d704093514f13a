//! Which errors the kernel may give to a call, so that a sweep tries no failure that cannot happen.
//!
//! A manual page lists what any call of a function may fail with. Most of it is a mistake of the caller's (`EBADF`, `EFAULT`,
//! `EINVAL`): a program that made the call rightly in a clean run never gets it. What is left:
//!
//! - **resources**: descriptors, memory or a quota are used up. It may happen to any call, whatever its arguments are. The first one
//!   of a row is the most likely; programs treat the others alike.
//! - **others**: what the world beside the program may cause (a file that is gone, a client that has hung up).
//!
//! Left out with intent, though manual pages have them: `EINTR` and `EAGAIN` (whether a call may block is not in this table),
//! `EPERM` of an ADD (the kind of descriptor decides it), and whatever else follows from the arguments.
//!
//! Sources: man-pages 6.03, section 2 and 3, by the function's name; Linux v6.1 where a row names a file of it.

/// What a row is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Legal {
    /// The function, as glibc names it.
    pub function: &'static str,
    /// Of `epoll_ctl`: `ADD`, `MOD`; else empty.
    pub operation: &'static str,
    pub resources: &'static [&'static str],
    pub others: &'static [&'static str],
}

const fn row(function: &'static str, resources: &'static [&'static str], others: &'static [&'static str]) -> Legal {
    Legal { function, operation: "", resources, others }
}

const DESCRIPTORS: &[&str] = &["EMFILE", "ENFILE"];
const OBJECT: &[&str] = &["EMFILE", "ENFILE", "ENOMEM"];
const FILE: &[&str] = &["EMFILE", "ENFILE", "ENOMEM", "ENOSPC"];
const PATH: &[&str] = &["ENOENT", "EACCES", "EROFS"];
const PROCESS: &[&str] = &["EAGAIN", "ENOMEM"];

/// All of it. A function that the library does not hook yet is skipped by whoever looks for it there.
pub const TABLE: &[Legal] = &[
    row("epoll_create", OBJECT, &[]),
    row("epoll_create1", OBJECT, &[]),
    // fs/eventpoll.c ep_insert: the user's quota of watches; no memory.
    Legal { function: "epoll_ctl", operation: "ADD", resources: &["ENOSPC", "ENOMEM"], others: &[] },
    // fs/eventpoll.c ep_modify needs memory for EPOLLWAKEUP alone: not one of the failures that any call may meet.
    Legal { function: "epoll_ctl", operation: "MOD", resources: &[], others: &["ENOMEM"] },
    row("dup", &["EMFILE"], &[]),
    // fs/file.c ksys_dup3: the table of descriptors grows; EBUSY: another thread is opening that number.
    row("dup2", &["ENOMEM"], &["EBUSY"]),
    row("dup3", &["ENOMEM"], &["EBUSY"]),
    // F_DUPFD and F_DUPFD_CLOEXEC alone.
    row("fcntl", &["EMFILE"], &[]),
    row("open", FILE, PATH),
    row("openat", FILE, PATH),
    row("creat", FILE, PATH),
    row("mkstemp", FILE, PATH),
    row("mkostemp", FILE, PATH),
    row("posix_openpt", &["EMFILE", "ENFILE", "ENOSPC"], &[]),
    row("open_by_handle_at", DESCRIPTORS, &["ESTALE"]),
    // socket(2): "The socket cannot be created until sufficient resources are freed."
    row("socket", &["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"], &["EAFNOSUPPORT", "EACCES"]),
    row("socketpair", DESCRIPTORS, &[]),
    row("accept", &["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"], &["ECONNABORTED", "EPROTO", "EPERM"]),
    row("accept4", &["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"], &["ECONNABORTED", "EPROTO", "EPERM"]),
    row("pipe", DESCRIPTORS, &[]),
    row("pipe2", DESCRIPTORS, &[]),
    row("eventfd", OBJECT, &["ENODEV"]),
    row("timerfd_create", OBJECT, &["ENODEV"]),
    row("signalfd", OBJECT, &["ENODEV"]),
    row("inotify_init", OBJECT, &[]),
    row("inotify_init1", OBJECT, &[]),
    row("memfd_create", OBJECT, &[]),
    row("pidfd_open", OBJECT, &["ESRCH"]),
    row("pidfd_getfd", DESCRIPTORS, &["ESRCH"]),
    row("fanotify_init", &["EMFILE", "ENOMEM"], &[]),
    row("recvmsg", &[], &["ENOMEM", "ECONNREFUSED"]),
    row("recvmmsg", &[], &["ENOMEM", "ECONNREFUSED"]),
    row("fopen", FILE, PATH),
    row("freopen", FILE, PATH),
    row("tmpfile", FILE, &["EACCES", "EROFS"]),
    row("fdopen", &["ENOMEM"], &[]),
    row("opendir", OBJECT, &["ENOENT", "EACCES"]),
    row("fdopendir", &["ENOMEM"], &[]),
    row("popen", &["EMFILE", "ENFILE", "EAGAIN", "ENOMEM"], &[]),
    row("posix_spawn", PROCESS, &["ENOENT", "EACCES"]),
    row("posix_spawnp", PROCESS, &["ENOENT", "EACCES"]),
    row("system", PROCESS, &[]),
    row("bind", &["ENOMEM"], &["EADDRINUSE", "EACCES"]),
    row("listen", &[], &["EADDRINUSE"]),
    row("connect", &[], &["ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH"]),
    row("setsockopt", &["ENOBUFS", "ENOMEM"], &[]),
    // fork(2): RLIMIT_NPROC, and the limits of the machine and of the control group.
    row("fork", PROCESS, &[]),
    row("vfork", PROCESS, &[]),
    row("clone", PROCESS, &[]),
    row("pthread_create", &["EAGAIN"], &[]),
];

/// The row of a function, and of `epoll_ctl` that of an operation.
#[must_use]
pub fn of(function: &str, operation: &str) -> Option<&'static Legal> {
    TABLE.iter().find(|row| row.function == function && row.operation == operation)
}

#[cfg(test)]
mod tests {
    use super::{TABLE, of};
    use crate::errno;
    use crate::function::Function;
    use crate::functions::Role;

    #[test]
    fn every_function_that_makes_a_descriptor_has_a_row() {
        for function in Function::ALL {
            let row = function.row();
            let makes = matches!(
                row.role,
                Role::Instance
                    | Role::Duplicate
                    | Role::Create
                    | Role::Receive
                    | Role::Stream
                    | Role::Adopt
                    | Role::Start
            );
            assert!(!makes || of(row.name(), "").is_some(), "{}", row.name());
        }
        assert!(of("epoll_ctl", "ADD").is_some() && of("epoll_ctl", "").is_none());
    }

    #[test]
    fn every_error_has_a_name_that_rules_know_and_stands_once() {
        for row in TABLE {
            let all = || row.resources.iter().chain(row.others);
            assert!(all().count() > 0, "{}", row.function);
            for error in all() {
                assert!(errno::number(error).is_some(), "{error}");
                assert_eq!(all().filter(|other| *other == error).count(), 1, "{}: {error}", row.function);
            }
        }
    }
}
