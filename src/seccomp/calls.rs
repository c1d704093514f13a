//! The system calls that the library makes for itself (src/sys.rs and src/sys/), by number and
//! name. Each has arguments that change nothing: bad descriptors and addresses. They serve to
//! evaluate a filter, and to try one that cannot be read.

use libc::{c_long, *};

pub struct Call {
    pub number: c_long,
    pub name: &'static str,
    pub words: [usize; 6],
}

const MINUS: usize = usize::MAX;
const HERE: usize = AT_FDCWD as usize;
const SET: usize = size_of::<u64>();
const ANEW: usize = (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE) as usize;
const BOTH: usize = (PROT_READ | PROT_WRITE) as usize;

macro_rules! calls {
    ($($(#[$attribute:meta])* $number:ident $name:literal $words:expr;)*) => {
        pub static ALL: &[Call] = &[$($(#[$attribute])* Call { number: $number, name: $name, words: $words }),*];
    };
}

calls! {
    SYS_rt_sigprocmask "rt_sigprocmask" [SIG_BLOCK as usize, 0, 0, SET, 0, 0];
    SYS_rt_sigaction "rt_sigaction" [SIGUSR1 as usize, 0, 0, SET, 0, 0];
    SYS_rt_sigpending "rt_sigpending" [0, SET, 0, 0, 0, 0];
    SYS_rt_sigtimedwait "rt_sigtimedwait" [0, 0, 0, SET, 0, 0];
    SYS_mmap "mmap" [0, 4096, BOTH, ANEW, MINUS, 0];
    SYS_munmap "munmap" [0, 4096, 0, 0, 0, 0];
    SYS_mremap "mremap" [0, 4096, 8192, MREMAP_MAYMOVE as usize, 0, 0];
    SYS_madvise "madvise" [0, 4096, MADV_WIPEONFORK as usize, 0, 0, 0];
    SYS_munlock "munlock" [0, 0, 0, 0, 0, 0];
    SYS_munlockall "munlockall" [0; 6];
    SYS_process_vm_readv "process_vm_readv" [0; 6];
    SYS_process_vm_writev "process_vm_writev" [0; 6];
    SYS_mprotect "mprotect" [0, 0, BOTH, 0, 0, 0];
    SYS_sigaltstack "sigaltstack" [0; 6];
    SYS_get_robust_list "get_robust_list" [0; 6];
    SYS_getpid "getpid" [0; 6];
    SYS_gettid "gettid" [0; 6];
    SYS_getppid "getppid" [0; 6];
    SYS_getpgid "getpgid" [0; 6];
    SYS_geteuid "geteuid" [0; 6];
    SYS_openat "openat" [HERE, 0, O_CLOEXEC as usize, 0, 0, 0];
    SYS_close "close" [MINUS, 0, 0, 0, 0, 0];
    SYS_close_range "close_range" [1, 0, 0, 0, 0, 0];
    SYS_unshare "unshare" [0; 6];
    SYS_futex "futex" [0, FUTEX_WAKE as usize, 1, 0, 0, 0];
    SYS_waitid "waitid" [MINUS, 0, 0, WNOHANG as usize, 0, 0];
    SYS_fstatfs "fstatfs" [MINUS, 0, 0, 0, 0, 0];
    SYS_read "read" [MINUS, 0, 0, 0, 0, 0];
    SYS_pread64 "pread64" [MINUS, 0, 0, 0, 0, 0];
    SYS_write "write" [MINUS, 0, 0, 0, 0, 0];
    SYS_pwritev2 "pwritev2" [MINUS, 0, 0, MINUS, MINUS, RWF_NOWAIT as usize];
    #[cfg(target_arch = "x86_64")]
    SYS_poll "poll" [0, 0, 0, 0, 0, 0];
    #[cfg(not(target_arch = "x86_64"))]
    SYS_ppoll "ppoll" [0, 0, 0, 0, 0, 0];
    SYS_flock "flock" [MINUS, (LOCK_EX | LOCK_NB) as usize, 0, 0, 0, 0];
    SYS_fstat "fstat" [MINUS, 0, 0, 0, 0, 0];
    SYS_newfstatat "newfstatat" [HERE, 0, 0, 0, 0, 0];
    SYS_readlinkat "readlinkat" [HERE, 0, 0, 0, 0, 0];
    SYS_getdents64 "getdents64" [MINUS, 0, 0, 0, 0, 0];
    SYS_faccessat "faccessat" [HERE, 0, X_OK as usize, 0, 0, 0];
    SYS_getcwd "getcwd" [0, 0, 0, 0, 0, 0];
    #[cfg(target_arch = "x86_64")]
    SYS_mkdir "mkdir" [0, 0o700, 0, 0, 0, 0];
    #[cfg(not(target_arch = "x86_64"))]
    SYS_mkdirat "mkdirat" [HERE, 0, 0o700, 0, 0, 0];
    SYS_fchmod "fchmod" [MINUS, 0, 0, 0, 0, 0];
    SYS_fchown "fchown" [MINUS, MINUS, MINUS, 0, 0, 0];
    SYS_ftruncate "ftruncate" [MINUS, 0, 0, 0, 0, 0];
    SYS_lseek "lseek" [MINUS, 0, SEEK_CUR as usize, 0, 0, 0];
    SYS_fallocate "fallocate" [MINUS, 0, 0, 0, 0, 0];
    SYS_fcntl "fcntl" [MINUS, F_GETFD as usize, 0, 0, 0, 0];
    SYS_kcmp "kcmp" [0, 0, 0, MINUS, MINUS, 0];
    SYS_epoll_ctl "epoll_ctl" [MINUS, 0, MINUS, 0, 0, 0];
    SYS_getsockopt "getsockopt" [MINUS, SOL_SOCKET as usize, SO_ACCEPTCONN as usize, 0, 0, 0];
    SYS_getsockname "getsockname" [MINUS, 0, 0, 0, 0, 0];
    SYS_getpeername "getpeername" [MINUS, 0, 0, 0, 0, 0];
    SYS_sendto "sendto" [MINUS, 0, 0, (MSG_DONTWAIT | MSG_NOSIGNAL) as usize, 0, 0];
    SYS_ioctl "ioctl" [MINUS, FIONREAD as usize, 0, 0, 0, 0];
    SYS_prlimit64 "prlimit64" [0, RLIMIT_NOFILE as usize, 0, 0, 0, 0];
    SYS_tgkill "tgkill" [0, 0, 0, 0, 0, 0];
    SYS_kill "kill" [0, 0, 0, 0, 0, 0];
    SYS_sched_yield "sched_yield" [0; 6];
    SYS_nanosleep "nanosleep" [0; 6];
    SYS_clock_nanosleep "clock_nanosleep" [CLOCK_MONOTONIC as usize, TIMER_ABSTIME as usize, 0, 0, 0, 0];
    SYS_clock_gettime "clock_gettime" [CLOCK_MONOTONIC as usize, 0, 0, 0, 0, 0];
    SYS_getrandom "getrandom" [0, 0, GRND_NONBLOCK as usize, 0, 0, 0];
    // With a combination of flags that every kernel refuses.
    SYS_clone "clone" [CLONE_THREAD as usize, 0, 0, 0, 0, 0];
    SYS_wait4 "wait4" [MINUS, 0, WNOHANG as usize, 0, 0, 0];
    SYS_prctl "prctl" [PR_GET_SECCOMP as usize, 0, 0, 0, 0, 0];
}

#[cfg(test)]
mod tests {
    /// A call that is missing here is not tried under a filter that cannot be read, and a report
    /// cannot name it.
    #[test]
    fn every_system_call_of_the_library_is_listed() {
        let sources = [
            include_str!("../sys.rs"),
            include_str!("../sys/files.rs"),
            include_str!("../sys/memory.rs"),
            include_str!("../sys/signals.rs"),
            include_str!("../sys/sockets.rs"),
            include_str!("../sigsafe/helper.rs"),
            include_str!("../filters/verdict.rs"),
        ];
        // Not a call of the library: strict mode allows these.
        let is_other = |name: &str| matches!(name, "exit" | "exit_group" | "rt_sigreturn");
        for source in sources {
            for word in source.split(|letter: char| !letter.is_alphanumeric() && letter != '_') {
                let Some(name) = word.strip_prefix("SYS_").filter(|name| !is_other(name)) else {
                    continue;
                };
                // By the text: some are another processor's.
                let is_listed = include_str!("calls.rs").contains(&std::format!("SYS_{name} \"{name}\""));
                assert!(is_listed, "{name} is not in src/seccomp/calls.rs");
            }
        }
    }
}
