//! What a process needs that runs another one shut off from the rest of the machine, watches it, and leaves nothing of it behind.
//!
//! Everything here is called by a process with one thread (`epollshim sweep` starts one for each run).

use std::io::{Error, ErrorKind};
use std::mem::zeroed;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::{null, null_mut};

use super::child::Change;
use super::counted::{Counted, Prepared};

pub const NEW_USER: i32 = libc::CLONE_NEWUSER;
/// Mounts, processes, System V objects.
pub const NEW_PROCESSES: i32 = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC;
pub const NEW_NETWORK: i32 = libc::CLONE_NEWNET;

pub(super) fn checked(result: i32) -> Result<i32, Error> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// Moves this process into new namespaces; of [`NEW_PROCESSES`], its next children (unshare(2)).
pub fn unshare(namespaces: i32) -> Result<(), Error> {
    // SAFETY: takes a number.
    checked(unsafe { libc::unshare(namespaces) }).map(drop)
}

/// Has the kernel send this process a signal when its parent ends. Fails if that has ended already.
pub fn end_with_parent(signal: i32, parent: u32) -> Result<(), Error> {
    // SAFETY: they take numbers.
    unsafe {
        checked(libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong))?;
        if parent != 0 && self::parent() != parent { Err(ErrorKind::NotConnected.into()) } else { Ok(()) }
    }
}

/// The process that started this one; another one if that has ended.
pub fn parent() -> u32 {
    // SAFETY: takes nothing, and cannot fail.
    unsafe { libc::getppid() as u32 }
}

/// Orphans below this process become its children.
pub fn adopt_orphans() {
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as libc::c_ulong) };
}

/// 0 in the child.
pub fn fork() -> Result<i32, Error> {
    // SAFETY: this process has one thread, so its child may go on as if nothing had happened.
    checked(unsafe { libc::fork() })
}

/// Has no program that this process starts inherit a descriptor above standard error.
pub fn pass_on_no_descriptors() {
    const FIRST: u32 = 3;
    // SAFETY: they take numbers. Before Linux 5.11, which has the flag, nothing is marked.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Ends this process at once.
pub fn leave(status: i32) -> ! {
    // SAFETY: takes a number, and does not return.
    unsafe { libc::_exit(status) }
}

/// Mounts the /proc of this process's own process namespace, where nobody else sees it.
pub fn mount_proc() -> Result<(), Error> {
    let alone = libc::MS_REC | libc::MS_PRIVATE;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: terminated strings and numbers; null where mount(2) takes nothing.
    unsafe {
        checked(libc::mount(null(), c"/".as_ptr(), null(), alone, null()))?;
        checked(libc::mount(c"proc".as_ptr(), c"/proc".as_ptr(), c"proc".as_ptr(), flags, null())).map(drop)
    }
}

/// A new network has a loopback device that is down (netdevice(7)).
pub fn start_loopback() -> Result<(), Error> {
    // SAFETY: all zeros are a valid ifreq, whose name is terminated; the descriptor is this function's own.
    unsafe {
        let socket = checked(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
        let mut request: libc::ifreq = zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = *from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        let done = checked(libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw const request)).map(drop);
        libc::close(socket);
        done
    }
}

/// A set of signals that are blocked, and taken one by one.
pub struct Taken(libc::sigset_t);

impl Taken {
    pub fn block(signals: &[i32]) -> Taken {
        // SAFETY: the set is initialised before it is used.
        unsafe {
            let mut set: libc::sigset_t = zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in signals {
                libc::sigaddset(&raw mut set, *signal);
            }
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, null_mut());
            Taken(set)
        }
    }

    /// The next one, waited for that long at most.
    pub fn next(&self, milliseconds: u64) -> Option<i32> {
        let time = libc::timespec {
            tv_sec: (milliseconds / 1000) as _,
            tv_nsec: (milliseconds % 1000 * 1_000_000) as libc::c_long,
        };
        // SAFETY: an initialised set and a time; nothing is written.
        let signal = unsafe { libc::sigtimedwait(&raw const self.0, null_mut(), &raw const time) };
        (signal > 0).then_some(signal)
    }
}

/// A child that has ended, and is not reaped yet; None: none has.
pub fn ended() -> Option<i32> {
    // SAFETY: all zeros are a valid siginfo_t, which it writes; of no child, nothing or zeros.
    unsafe {
        let mut facts: libc::siginfo_t = zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        checked(libc::waitid(libc::P_ALL, 0, &raw mut facts, flags)).ok()?;
        Some(facts.si_pid()).filter(|pid| *pid > 0)
    }
}

/// A child that has ended, and how; None: none has. Its number is free from here on.
pub fn reap() -> Option<(i32, Change)> {
    reap_one(-1)
}

/// As [`reap`], of this child.
pub fn reap_one(child: i32) -> Option<(i32, Change)> {
    let mut status = 0;
    // SAFETY: it writes the one number.
    let pid = unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) };
    (pid > 0).then(|| (pid, change(status)))
}

/// Waits for a child to end.
pub fn wait_for(pid: i32) -> Result<Change, Error> {
    let mut status = 0;
    loop {
        // SAFETY: it writes the one number.
        match checked(unsafe { libc::waitpid(pid, &raw mut status, 0) }) {
            Ok(_) => return Ok(change(status)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn change(status: i32) -> Change {
    if libc::WIFSIGNALED(status) {
        Change::Killed(libc::WTERMSIG(status))
    } else {
        Change::Exited(libc::WEXITSTATUS(status))
    }
}

/// Sends a signal to a process; to a group where the number is negative.
pub fn send(pid: i32, signal: i32) {
    // SAFETY: takes numbers. The caller names children that it has not reaped.
    unsafe { libc::kill(pid, signal) };
}

/// What a program is started with.
#[derive(Clone, Copy, Default)]
pub struct Start {
    /// RLIMIT_NOFILE and RLIMIT_NPROC, both soft and hard.
    pub descriptors: Option<u64>,
    pub processes: Option<u64>,
    /// Its tasks are counted apart.
    pub counted: Option<Counted>,
    /// It is killed when its parent ends.
    pub ends_with_parent: bool,
}

/// Has a command start in a session of its own, with no signal blocked.
pub fn in_own_session(command: &mut Command, start: Start) {
    let counted = start.counted.map(Prepared::new);
    let prepare = move || {
        // SAFETY: they take numbers, and structures of this closure's own. All are system calls or may be called in the child of a
        // fork (signal-safety(7)).
        unsafe {
            checked(libc::setsid())?;
            let mut none: libc::sigset_t = zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, null_mut());
            if let Some(counted) = &counted {
                counted.apply()?;
            }
            // Behind that: the kernel forgets this where a process becomes another user.
            if start.ends_with_parent {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
            }
            let limits = [(libc::RLIMIT_NOFILE, start.descriptors), (libc::RLIMIT_NPROC, start.processes)];
            for (resource, number) in limits {
                if let Some(number) = number {
                    let limit = libc::rlimit { rlim_cur: number, rlim_max: number };
                    checked(libc::setrlimit(resource, &raw const limit))?;
                }
            }
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        }
        Ok(())
    };
    // SAFETY: the closure does only what the child of a fork may.
    unsafe { command.pre_exec(prepare) };
}
