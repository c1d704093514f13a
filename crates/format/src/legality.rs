//! Which errors the kernel may return from a call, so that a sweep does not try failures that
//! cannot happen.
//!
//! A manual page lists every error with which a call of the function may fail. Most of them are
//! mistakes of the caller (`EBADF`, `EFAULT`, `EINVAL`): a program that made the call correctly in
//! a clean run never gets them. The rest are:
//!
//! - **resources**: descriptors, memory or a quota are used up. That may happen to any call,
//!   whatever its arguments are. The first error of a row is the most likely one. Programs treat
//!   the others like it.
//! - **others**: something outside the program may cause these (a file that was removed, a client
//!   that has hung up).
//!
//! Some errors occur only for descriptors of some kinds, or only for those that may block:
//! `LIMITS`. If the descriptor's kind is not known, these errors are not tried.
//!
//! Some errors of the manual pages are left out deliberately: those that follow from other
//! arguments, such as `ENOSPC` of an `open` that creates a file. `EAGAIN` of `connect` depends on
//! the family, `EINTR` of a wait on its timeout. `closedir` closes a directory, which no file
//! system of Linux v6.1 fails.
//!
//! Sources: man-pages 6.03, sections 2 and 3, by the function's name; Linux v6.1 where a row names
//! a source file.

/// A row: a function, and the errors that it may return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Legal {
    /// The function's name in glibc.
    pub function: &'static str,
    /// For `epoll_ctl`: `ADD`, `MOD` or `DEL`. Otherwise empty.
    pub operation: &'static str,
    pub resources: &'static [&'static str],
    pub others: &'static [&'static str],
    /// The call has done its work even if it fails (the action `made` of rules).
    pub is_made: bool,
}

const fn row(function: &'static str, resources: &'static [&'static str], others: &'static [&'static str]) -> Legal {
    Legal { function, operation: "", resources, others, is_made: false }
}

const fn ctl(operation: &'static str, resources: &'static [&'static str], others: &'static [&'static str]) -> Legal {
    Legal { operation, ..row("epoll_ctl", resources, others) }
}

const fn made(legal: Legal) -> Legal {
    Legal { is_made: true, ..legal }
}

const DESCRIPTORS: &[&str] = &["EMFILE", "ENFILE"];
const OBJECT: &[&str] = &["EMFILE", "ENFILE", "ENOMEM"];
const NEW_FILE: &[&str] = &["EMFILE", "ENFILE", "ENOMEM", "ENOSPC"];
const PATH: &[&str] = &["ENOENT", "EACCES"];
const NEW_PATH: &[&str] = &["ENOENT", "EACCES", "EROFS"];
const ACCEPTED: &[&str] = &["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"];
const ACCEPT: &[&str] = &["ECONNABORTED", "EPROTO", "EPERM", "EAGAIN", "EINTR"];
const RECEIVE: &[&str] = &["ENOMEM", "ECONNREFUSED", "EAGAIN", "EINTR"];
const MEMORY: &[&str] = &["ENOMEM"];
const PROCESS: &[&str] = &["EAGAIN", "ENOMEM"];

/// All rows. A caller skips a function that the library does not hook.
pub const TABLE: &[Legal] = &[
    row("epoll_create", OBJECT, &[]),
    row("epoll_create1", OBJECT, &[]),
    // fs/eventpoll.c ep_insert: the user's quota of watches; no memory.
    ctl("ADD", &["ENOSPC", "ENOMEM"], &["EPERM"]),
    // fs/eventpoll.c ep_modify needs memory only for EPOLLWAKEUP: not any call may fail that way.
    ctl("MOD", &[], &["ENOMEM"]),
    // Another thread has deleted the interest, or closed the descriptor.
    made(ctl("DEL", &[], &["ENOENT"])),
    // close(2), "Dealing with error returns from close()": Linux has released the descriptor
    // nevertheless.
    made(row("close", &[], &["EIO", "ENOSPC", "EDQUOT"])),
    // fclose(3): what close(2) and write(2) fail with, since it writes what is buffered. The stream
    // is gone (POSIX).
    made(row("fclose", &[], &["EIO", "ENOSPC", "EDQUOT"])),
    // pclose(3): the child's status is not available, since the program ignores SIGCHLD or has
    // waited for all its children.
    made(row("pclose", &[], &["ECHILD"])),
    row("dup", &["EMFILE"], &[]),
    // fs/file.c ksys_dup3: the table of descriptors grows; EBUSY: another thread is opening that
    // number.
    row("dup2", &["ENOMEM"], &["EBUSY"]),
    row("dup3", &["ENOMEM"], &["EBUSY"]),
    // Only F_DUPFD and F_DUPFD_CLOEXEC.
    row("fcntl", &["EMFILE"], &[]),
    // ENOSPC and EROFS need O_CREAT or writing. That is known only for functions that always create
    // a file.
    row("open", OBJECT, PATH),
    row("openat", OBJECT, PATH),
    row("creat", NEW_FILE, NEW_PATH),
    row("mkstemp", NEW_FILE, NEW_PATH),
    row("mkostemp", NEW_FILE, NEW_PATH),
    row("posix_openpt", &["EMFILE", "ENFILE", "ENOSPC"], &[]),
    row("open_by_handle_at", DESCRIPTORS, &["ESTALE"]),
    // socket(2): "The socket cannot be created until sufficient resources are freed."
    row("socket", &["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"], &["EAFNOSUPPORT", "EACCES"]),
    row("socketpair", DESCRIPTORS, &[]),
    row("accept", ACCEPTED, ACCEPT),
    row("accept4", ACCEPTED, ACCEPT),
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
    row("recvmsg", &[], RECEIVE),
    row("recvmmsg", &[], RECEIVE),
    row("fopen", OBJECT, PATH),
    row("freopen", OBJECT, PATH),
    row("tmpfile", NEW_FILE, &["EACCES", "EROFS"]),
    row("fdopen", &["ENOMEM"], &[]),
    row("opendir", OBJECT, &["ENOENT", "EACCES"]),
    row("fdopendir", &["ENOMEM"], &[]),
    row("popen", &["EMFILE", "ENFILE", "EAGAIN", "ENOMEM"], &[]),
    row("posix_spawn", PROCESS, &["ENOENT", "EACCES"]),
    row("posix_spawnp", PROCESS, &["ENOENT", "EACCES"]),
    row("system", PROCESS, &[]),
    // net/ipv4/af_inet.c __inet_bind returns EADDRINUSE also if memory is lacking;
    // net/unix/af_unix.c unix_bind returns ENOMEM.
    row("bind", &[], &["EADDRINUSE", "EACCES", "ENOMEM"]),
    row("listen", &[], &["EADDRINUSE"]),
    row("connect", &[], &["ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "EINTR"]),
    // net/core/sock.c sk_setsockopt needs memory for few options. kernel/bpf/cgroup.c
    // __cgroup_bpf_run_filter_setsockopt: any option needs it if the control group has such a
    // program.
    row("setsockopt", &[], &["ENOMEM"]),
    // fork(2): RLIMIT_NPROC, and the limits of the machine and of the control group.
    row("fork", PROCESS, &[]),
    row("vfork", PROCESS, &[]),
    row("clone", PROCESS, &[]),
    row("pthread_create", &["EAGAIN"], &[]),
    // malloc(3), posix_memalign(3), mmap(2): "Out of memory", also because of RLIMIT_AS and
    // RLIMIT_DATA. They are tried only if --calls names them.
    row("malloc", &[], MEMORY),
    row("calloc", &[], MEMORY),
    row("realloc", &[], MEMORY),
    row("posix_memalign", &[], MEMORY),
    row("aligned_alloc", &[], MEMORY),
    row("mmap", &[], MEMORY),
];

/// The row of a function, for `epoll_ctl` that of an operation.
#[must_use]
pub fn of(function: &str, operation: &str) -> Option<&'static Legal> {
    TABLE.iter().find(|row| row.function == function && row.operation == operation)
}

/// Errors that a call may return only if its descriptor (for `epoll_ctl`, its target) has a certain
/// property.
struct Limit {
    functions: &'static [&'static str],
    errors: &'static [&'static str],
    needs: Needs,
}

enum Needs {
    /// One of these kinds, as the log of faults names them.
    Kind(&'static [&'static str]),
    /// It has no `O_NONBLOCK`.
    Blocking,
    Nonblocking,
}

const LIMITS: &[Limit] = &[
    // accept(2), connect(2), recvmsg(2): a signal interrupts the call while it waits for a
    // connection or data.
    Limit {
        functions: &["accept", "accept4", "connect", "recvmsg", "recvmmsg"],
        errors: &["EINTR"],
        needs: Needs::Blocking,
    },
    // accept(2), recvmsg(2): "The socket is marked nonblocking".
    Limit { functions: &["accept", "accept4", "recvmsg", "recvmmsg"], errors: &["EAGAIN"], needs: Needs::Nonblocking },
    // fs/eventpoll.c do_epoll_ctl: the file has no poll operation. (Some devices have none. The
    // kind does not say which.)
    Limit { functions: &["epoll_ctl"], errors: &["EPERM"], needs: Needs::Kind(&["file", "directory"]) },
    // fs/open.c filp_close: only files with a flush operation can fail: those of NFS, FUSE and
    // others.
    Limit { functions: &["close"], errors: &["EIO", "ENOSPC", "EDQUOT"], needs: Needs::Kind(&["file"]) },
];

impl Legal {
    /// Whether the kernel may return one of the row's errors from a call whose descriptor is `on`:
    /// a kind, with `,nonblock` if it does not block; empty: not known.
    #[must_use]
    pub fn may_be(&self, error: &str, on: &str) -> bool {
        let (kind, is_nonblocking) = match on.split_once(',') {
            Some((kind, flag)) => (kind, flag == "nonblock"),
            None => (on, false),
        };
        let limits =
            LIMITS.iter().filter(|limit| limit.functions.contains(&self.function) && limit.errors.contains(&error));
        limits.into_iter().all(|limit| {
            !on.is_empty()
                && match limit.needs {
                    Needs::Kind(kinds) => kinds.contains(&kind),
                    Needs::Blocking => !is_nonblocking,
                    Needs::Nonblocking => is_nonblocking,
                }
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{LIMITS, TABLE, of};
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
    fn every_error_has_a_name_that_rules_know_and_is_listed_once() {
        for row in TABLE {
            let all = || row.resources.iter().chain(row.others);
            assert!(all().count() > 0, "{}", row.function);
            for error in all() {
                assert!(errno::number(error).is_some(), "{error}");
                assert_eq!(all().filter(|other| *other == error).count(), 1, "{}: {error}", row.function);
            }
        }
    }

    #[test]
    fn some_errors_depend_on_the_descriptors_kind() {
        for (function, operation, error, on, may_be) in [
            ("accept4", "", "EINTR", "socket", true),
            ("accept4", "", "EINTR", "socket,nonblock", false),
            ("accept4", "", "EAGAIN", "socket,nonblock", true),
            ("accept", "", "EAGAIN", "socket", false),
            ("accept", "", "EAGAIN", "", false),
            ("accept", "", "EMFILE", "", true),
            ("connect", "", "EINTR", "socket", true),
            ("epoll_ctl", "ADD", "EPERM", "file", true),
            ("epoll_ctl", "ADD", "EPERM", "socket,nonblock", false),
            ("epoll_ctl", "ADD", "ENOSPC", "socket", true),
            ("close", "", "EIO", "file", true),
            ("close", "", "EDQUOT", "socket", false),
            ("close", "", "EIO", "", false),
            ("fclose", "", "EIO", "", true),
        ] {
            assert_eq!(
                of(function, operation).map(|row| row.may_be(error, on)),
                Some(may_be),
                "{function} {error} {on}"
            );
        }
    }

    #[test]
    fn every_limit_is_of_errors_that_rows_have() {
        for limit in LIMITS {
            for function in limit.functions {
                let mut rows = TABLE.iter().filter(|row| row.function == *function);
                assert!(rows.any(|row| limit.errors.iter().all(|error| row.others.contains(error))), "{function}");
            }
        }
    }

    #[test]
    fn errors_of_calls_that_had_an_effect_are_those_that_rules_allow() {
        for row in TABLE.iter().filter(|row| row.is_made) {
            let operation = if row.operation.is_empty() { "" } else { ":op=DEL" };
            for error in row.others {
                let entry = std::format!("EPOLLSHIM_INJECT={}:error={error}:made{operation}", row.function);
                let (_, problem) = crate::options::parse([entry.as_bytes()].into_iter());
                assert!(problem.is_none(), "{entry}");
            }
        }
    }
}
