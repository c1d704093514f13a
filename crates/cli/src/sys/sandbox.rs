//! Lets a process run another one isolated from the rest of the machine, watch it, and clean up
//! after it.
//!
//! The callers are processes with one thread, which `epollshim sweep` starts for each run.

use std::cell::Cell;
use std::io::{Error, ErrorKind};
use std::mem::zeroed;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::{null, null_mut};

use super::child::Change;
use super::counted::{Counted, Prepared};

pub const NEW_USER: i32 = libc::CLONE_NEWUSER;
/// Mount, process id, and System V IPC namespaces.
pub const NEW_PROCESSES: i32 = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC;
pub const NEW_NETWORK: i32 = libc::CLONE_NEWNET;

pub(super) fn checked(result: i32) -> Result<i32, Error> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// Moves this process into new namespaces. Of [`NEW_PROCESSES`], the process id namespace applies
/// to its next children (unshare(2)).
pub fn unshare(namespaces: i32) -> Result<(), Error> {
    // SAFETY: the call takes only an integer.
    checked(unsafe { libc::unshare(namespaces) }).map(drop)
}

/// Asks the kernel to send this process a signal when its parent ends. Fails if the parent has
/// ended already.
pub fn end_with_parent(signal: i32, parent: u32) -> Result<(), Error> {
    // SAFETY: prctl of PR_SET_PDEATHSIG takes only integers.
    unsafe {
        checked(libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong))?;
        if parent != 0 && self::parent() != parent { Err(ErrorKind::NotConnected.into()) } else { Ok(()) }
    }
}

/// The parent of this process. It is another process if the one that started this process has
/// ended.
pub fn parent() -> u32 {
    // SAFETY: the call takes no arguments and cannot fail.
    unsafe { libc::getppid() as u32 }
}

/// Makes orphaned descendants of this process its children.
pub fn adopt_orphans() {
    // SAFETY: the call takes only integers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as libc::c_ulong) };
}

/// Returns 0 in the child.
pub fn fork() -> Result<i32, Error> {
    // SAFETY: this process has one thread, so its child may call any function.
    checked(unsafe { libc::fork() })
}

/// Makes all descriptors above standard error close on exec.
pub fn pass_on_no_descriptors() {
    const FIRST: u32 = 3;
    // SAFETY: the call takes only integers. Before Linux 5.11, which added the flag, it fails and
    // changes nothing.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Ends this process at once, without exit handlers.
pub fn leave(status: i32) -> ! {
    // SAFETY: the call takes only an integer, and does not return.
    unsafe { libc::_exit(status) }
}

/// Mounts /proc for the process id namespace of this process, visible only in its mount namespace.
pub fn mount_proc() -> Result<(), Error> {
    let alone = libc::MS_REC | libc::MS_PRIVATE;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: the strings are zero-terminated, and mount(2) accepts null for the unused arguments.
    unsafe {
        checked(libc::mount(null(), c"/".as_ptr(), null(), alone, null()))?;
        checked(libc::mount(c"proc".as_ptr(), c"/proc".as_ptr(), c"proc".as_ptr(), flags, null())).map(drop)
    }
}

/// Turns on the loopback device, which is down in a new network namespace (netdevice(7)).
pub fn start_loopback() -> Result<(), Error> {
    // SAFETY: all zeros are a valid ifreq. Its name stays zero-terminated, since `lo` is shorter.
    // Only this function uses the descriptor.
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

/// A set of signals that are blocked, and accepted one by one.
pub struct Taken {
    set: libc::sigset_t,
    is_stopped: Cell<bool>,
}

impl Taken {
    pub fn block(signals: &[i32]) -> Taken {
        // SAFETY: sigemptyset initialises the set before it is used.
        unsafe {
            let mut set: libc::sigset_t = zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in signals {
                libc::sigaddset(&raw mut set, *signal);
            }
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, null_mut());
            Taken { set, is_stopped: Cell::new(false) }
        }
    }

    /// Waits for the next one, at most `milliseconds`.
    pub fn next(&self, milliseconds: u64) -> Option<i32> {
        let time = libc::timespec {
            tv_sec: (milliseconds / 1000) as _,
            tv_nsec: (milliseconds % 1000 * 1_000_000) as libc::c_long,
        };
        // SAFETY: the set is initialised, the time is a local, and nothing is written.
        let signal = unsafe { libc::sigtimedwait(&raw const self.set, null_mut(), &raw const time) };
        if signal > 0 && signal != libc::SIGCHLD {
            self.is_stopped.set(true);
        }
        (signal > 0).then_some(signal)
    }

    /// Whether a signal other than SIGCHLD was taken.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.get()
    }
}

/// A child that has ended and is not reaped yet. None: no child has.
pub fn ended() -> Option<i32> {
    // SAFETY: all zeros are a valid siginfo_t. waitid writes it, or leaves it zero if no child has
    // ended.
    unsafe {
        let mut facts: libc::siginfo_t = zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        checked(libc::waitid(libc::P_ALL, 0, &raw mut facts, flags)).ok()?;
        Some(facts.si_pid()).filter(|pid| *pid > 0)
    }
}

/// Reaps a child that has ended, and returns how it ended. Its process id may be reused from here
/// on. None: no child has ended.
pub fn reap() -> Option<(i32, Change)> {
    reap_one(-1)
}

/// Like [`reap`], for one child.
pub fn reap_one(child: i32) -> Option<(i32, Change)> {
    let mut status = 0;
    // SAFETY: waitpid writes `status`, a local.
    let pid = unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) };
    (pid > 0).then(|| (pid, change(status)))
}

/// Waits for a child to end, and reaps it.
pub fn wait_for(pid: i32) -> Result<Change, Error> {
    let mut status = 0;
    loop {
        // SAFETY: waitpid writes `status`, a local.
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

/// Sends a signal to a process, or to a process group if `pid` is negative.
pub fn send(pid: i32, signal: i32) {
    // SAFETY: the call takes only integers. Callers pass children that are not reaped, so `pid` is
    // not reused.
    unsafe { libc::kill(pid, signal) };
}

/// The properties of a program that is to be started.
#[derive(Clone, Copy, Default)]
pub struct Start {
    /// RLIMIT_NOFILE and RLIMIT_NPROC, for both the soft and the hard limit.
    pub descriptors: Option<u64>,
    pub processes: Option<u64>,
    /// How its tasks are counted apart from others.
    pub counted: Option<Counted>,
    /// Whether it is killed when its parent ends.
    pub ends_with_parent: bool,
}

/// Makes a command start in a new session, with no signal blocked.
pub fn in_own_session(command: &mut Command, start: Start) {
    let counted = start.counted.map(Prepared::new);
    let prepare = move || {
        // SAFETY: the calls take integers, and pointers to locals of this closure. All of them are
        // system calls or async-signal-safe (signal-safety(7)), as needed in the child of a fork.
        unsafe {
            checked(libc::setsid())?;
            let mut none: libc::sigset_t = zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, null_mut());
            if let Some(counted) = &counted {
                counted.apply()?;
            }
            // After `apply`: the kernel clears this setting when a process changes its user.
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
    // SAFETY: the closure makes only calls that are allowed in the child of a fork (see there).
    unsafe { command.pre_exec(prepare) };
}
