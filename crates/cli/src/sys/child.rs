//! Starts a child with the same properties that an exec would preserve, sends it signals, and
//! reports how it ends or stops.
//!
//! Before the fork, the parent blocks every signal that can be blocked. It accepts them one by one
//! with sigtimedwait(2). No handler runs, and no signal is lost between two checks of the child. A
//! signal that was ignored at the start stays ignored in both.

use std::ffi::OsString;
use std::io::{Error, ErrorKind};
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use super::{exec, mask};

/// Signals that are never blocked. SIGKILL and SIGSTOP cannot be, a fault in the parent must end
/// it, and 32 and 33 belong to the C library.
const NEVER: [i32; 10] = [
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGSYS,
    32,
    33,
];

/// The last real-time signal.
const LAST: i32 = 64;

/// A program that was started.
pub struct Child {
    pub pid: i32,
    /// The signals that [`Child::signal`] accepts.
    signals: u64,
    /// The signal mask before the start.
    before: u64,
    /// The errno of a failed exec, or 0. The page is shared with the child until it execs.
    trouble: *const AtomicI32,
}

/// A change of state of a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    Exited(i32),
    Killed(i32),
    Stopped(i32),
}

/// A signal that this process received in place of its child.
pub struct Got {
    pub signal: i32,
    /// The process that sent it. None: the kernel did (a terminal, a timer).
    pub sender: Option<i32>,
    info: libc::siginfo_t,
}

impl Child {
    /// Starts the program `words[0]`, which is searched for in PATH as a shell does. The child
    /// inherits all that this process was given: descriptors, ignored and blocked signals, limits,
    /// the process group, and the parent-death signal. From here on only [`Child::signal`] receives
    /// the signals of this process.
    ///
    /// A failed exec is reported by [`Child::trouble`] after the child has ended.
    pub fn start(words: &[OsString], environment: &[(OsString, OsString)]) -> Result<Child, Error> {
        let mut program = exec::Ready::new(words, environment)?;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: the kernel chooses the address, so no existing mapping is replaced. The page is
        // never unmapped.
        let page = unsafe { libc::mmap(null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let trouble: *const AtomicI32 = page.cast();
        // SAFETY: every pointer is to a local, or to the page, which is never unmapped. `run`
        // starts no thread before this call, so this process has one thread, and its child may call
        // any function after fork. The child makes only system calls.
        unsafe {
            let mut death: libc::c_int = 0;
            libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut death);
            let parent = libc::getpid();
            let is_ignored = mask::is_ignored(libc::SIGCHLD) == Some(true);
            // If SIGCHLD is ignored or has SA_NOCLDWAIT, the kernel discards the child's exit
            // status.
            libc::signal(libc::SIGCHLD, libc::SIG_DFL);
            let signals = blocked();
            let before = mask::change(libc::SIG_BLOCK, signals);
            let pid = libc::fork();
            if pid < 0 {
                let error = Error::last_os_error();
                mask::change(libc::SIG_SETMASK, before);
                return Err(error);
            }
            if pid == 0 {
                if death != 0 {
                    libc::prctl(libc::PR_SET_PDEATHSIG, death as libc::c_ulong);
                    if libc::getppid() != parent {
                        libc::raise(death);
                    }
                }
                if is_ignored {
                    libc::signal(libc::SIGCHLD, libc::SIG_IGN);
                }
                mask::change(libc::SIG_SETMASK, before);
                let errno = program.exec();
                // Release: pairs with the Acquire load in `trouble`.
                (*trouble).store(errno, Ordering::Release);
                libc::_exit(127);
            }
            Ok(Child { pid, signals, before, trouble })
        }
    }

    /// Why the program was not executed.
    pub fn trouble(&self) -> Option<Error> {
        // SAFETY: `start` mapped the page, and nothing unmaps it. Acquire: pairs with the child's
        // Release store in `start`.
        let errno = unsafe { (*self.trouble).load(Ordering::Acquire) };
        (errno != 0).then(|| Error::from_raw_os_error(errno))
    }

    /// The change of state since the last call, if any. Does not block.
    pub fn change(&self) -> Result<Option<Change>, Error> {
        let mut status = 0;
        // SAFETY: waitpid writes `status`, a local.
        match unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG | libc::WUNTRACED) } {
            0 => Ok(None),
            -1 => match Error::last_os_error() {
                error if error.kind() == ErrorKind::Interrupted => Ok(None),
                error => Err(error),
            },
            _ if libc::WIFSTOPPED(status) => Ok(Some(Change::Stopped(libc::WSTOPSIG(status)))),
            _ if libc::WIFSIGNALED(status) => Ok(Some(Change::Killed(libc::WTERMSIG(status)))),
            _ => Ok(Some(Change::Exited(libc::WEXITSTATUS(status)))),
        }
    }

    /// Waits for the next signal to this process. Without `at_most` the wait has no timeout.
    pub fn signal(&self, at_most: Option<Duration>) -> Option<Got> {
        let time = at_most.map(|at_most| libc::timespec {
            tv_sec: at_most.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: all zeros are a valid siginfo_t, which the call writes. `time` is null, or points
        // to a local that outlives the call. The kernel sets si_pid for the values of si_code that
        // are compared here.
        unsafe {
            let mut info: libc::siginfo_t = zeroed();
            let signals = mask::of_libc(self.signals);
            let signal = libc::sigtimedwait(&raw const signals, &raw mut info, time);
            let has_sender = matches!(info.si_code, libc::SI_USER | libc::SI_TKILL | libc::SI_QUEUE);
            (signal > 0).then(|| Got { signal, sender: has_sender.then(|| info.si_pid()), info })
        }
    }

    /// Forwards a signal to the child, with the value of sigqueue(3) if it has one.
    pub fn pass(&self, got: &Got) {
        // SAFETY: the kernel wrote `info`, and both calls take only integers besides it. The child
        // is not reaped, or its process id is not in use, since nothing else reaps it.
        unsafe {
            let info = &raw const got.info;
            if got.info.si_code != libc::SI_QUEUE
                || libc::syscall(libc::SYS_rt_sigqueueinfo, self.pid, got.signal, info) != 0
            {
                libc::kill(self.pid, got.signal);
            }
        }
    }

    /// Continues a stopped child, with its process group if it leads one.
    pub fn go_on(&self) {
        // SAFETY: both calls take only integers.
        unsafe {
            let group = libc::getpgid(self.pid);
            let of = if group == self.pid { -self.pid } else { self.pid };
            libc::kill(of, libc::SIGCONT);
        }
    }

    /// Whether the child is in the process group of this process.
    pub fn is_in_this_group(&self) -> bool {
        // SAFETY: both calls take only integers.
        unsafe { libc::getpgid(self.pid) == libc::getpgrp() }
    }

    /// Whether the foreground process group of the terminal is that of this process or of the
    /// child.
    pub fn is_in_front(&self) -> bool {
        let Ok(terminal) = std::fs::File::open("/dev/tty") else { return false };
        // SAFETY: the calls take only integers, and `terminal` keeps the descriptor open.
        unsafe {
            let front = libc::tcgetpgrp(std::os::fd::AsRawFd::as_raw_fd(&terminal));
            front > 0 && (front == libc::getpgrp() || front == libc::getpgid(self.pid))
        }
    }

    /// Restores the signal mask that this process had before the child, and discards pending
    /// signals. The signals `others` stay blocked, and can be waited for.
    pub fn leave(&self, others: &[i32]) -> super::Signals {
        // The loop ends when no signal is pending.
        while mask::take_pending(self.signals) {}
        let signals = super::Signals::block(others);
        let kept = others.iter().fold(0, |set, other| set | mask::bit(*other)) & self.signals;
        mask::change(libc::SIG_SETMASK, self.before | kept);
        signals
    }
}

/// All signals that can be blocked, except those that were ignored when this process started.
fn blocked() -> u64 {
    let is_taken = |number: &i32| !NEVER.contains(number) && mask::is_ignored(*number) == Some(false);
    (1..=LAST).filter(is_taken).fold(0, |set, number| set | mask::bit(number))
}

/// A process in the same process group that blocks all signals and does nothing. A signal that is
/// pending there was sent to the whole group.
///
/// The kernel signals the members of a group from the youngest on (Linux v6.1 kernel/pid.c
/// attach_pid, kernel/signal.c __kill_pgrp_info). So the witness gets a signal to the group before
/// this process does. It ends with this process.
pub struct Witness {
    /// 0: it could not be started.
    pid: i32,
    /// Signals to the group that this process has not accepted yet, one bit each.
    seen: u64,
}

impl Witness {
    /// Call this after [`let_go`], so that the witness holds no descriptor of the caller.
    pub fn start() -> Witness {
        Witness { pid: bystander(), seen: 0 }
    }

    /// Whether a signal that this process accepted was sent to the whole group.
    pub fn has(&mut self, signal: i32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        let status = status.unwrap_or_default();
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
        self.seen |= pending.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
        let bit = 1u64 << (signal - 1);
        let is_there = self.seen & bit != 0;
        if is_there {
            // The signal stays pending there. A new witness is needed to see the next one.
            self.seen &= !bit;
            self.end();
            self.pid = bystander();
        }
        // A stop signal discards a pending SIGCONT, and SIGCONT discards pending stop signals.
        for other in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU, libc::SIGCONT] {
            self.seen &= !(1u64 << (other - 1));
        }
        is_there
    }

    fn end(&self) {
        if self.pid > 0 {
            // SAFETY: the calls take integers and a null pointer, which waitpid accepts. The
            // witness is not reaped, so its process id is still its own.
            unsafe {
                libc::kill(self.pid, libc::SIGKILL);
                libc::waitpid(self.pid, null_mut(), 0);
            }
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.end();
    }
}

/// Forks a child that does nothing until this process ends. Returns its process id, or 0 on
/// failure.
fn bystander() -> i32 {
    // SAFETY: this process has one thread, so its child may call any function after fork. The child
    // makes only system calls. All of its signals are blocked, as the parent's are.
    unsafe {
        let parent = libc::getpid();
        match libc::fork() {
            0 => {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                for number in 0..3 {
                    libc::close(number);
                }
                while libc::getppid() == parent {
                    libc::pause();
                }
                libc::_exit(0)
            }
            pid => pid.max(0),
        }
    }
}

/// Whether this process leads its session. If so, only this process gets the SIGHUP of a terminal
/// that is closed.
pub fn leads_session() -> bool {
    // SAFETY: both calls take only integers.
    unsafe { libc::getsid(0) == libc::getpid() }
}

/// Performs the default action of a stop signal, which stops this process until it is continued. In
/// an orphaned process group, SIGTSTP, SIGTTIN and SIGTTOU do not stop it (setpgid(2)), and this
/// returns at once.
pub fn stop(signal: i32) {
    // SAFETY: the calls take only integers and signal dispositions. The previous disposition is
    // restored as it was.
    unsafe {
        if signal == libc::SIGSTOP {
            libc::raise(libc::SIGSTOP);
            return;
        }
        let previous = libc::signal(signal, libc::SIG_DFL);
        super::take(signal);
        libc::signal(signal, previous);
    }
}

/// Ends this process by a signal, without a core file, so that it appears to end as another process
/// did. Returns if that is impossible (process 1).
pub fn end_by(signal: i32) {
    // SAFETY: `none` is a local, and the other calls take only integers.
    unsafe {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        // RLIMIT_CORE does not apply to a core pattern that begins with `|` (core(5)).
        libc::prctl(libc::PR_SET_DUMPABLE, 0);
        libc::signal(signal, libc::SIG_DFL);
    }
    super::take(signal);
}

/// Whether a descriptor is open.
pub fn is_open(descriptor: i32) -> bool {
    // SAFETY: the call takes only integers.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) >= 0 }
}

/// Closes all descriptors except standard error. `needs_descriptors` keeps standard output and
/// descriptors above standard error.
///
/// Otherwise a process at the other end of a pipe would see this process hold it open after the
/// program closed its own descriptor.
///
/// Call this while no file is open that this process uses later.
pub fn let_go(needs_descriptors: bool) {
    // SAFETY: the calls take integers, a local, and a zero-terminated string. No Rust object owns
    // the descriptors that are closed: the caller has no file open. Descriptors that were closed
    // from the start become /dev/null too, so no file that is opened later takes their place.
    unsafe {
        if !needs_descriptors && libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) != 0 {
            // The fallback before Linux 5.9.
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
            for number in 3..limit.rlim_cur.min(65_536) as i32 {
                libc::close(number);
            }
        }
        libc::close(0);
        if !needs_descriptors {
            libc::close(1);
        }
        // open(2) returns the lowest free number, so this fills 0 to 2 and opens one above them.
        while let 0..=2 = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) {}
        if !needs_descriptors {
            libc::close(3);
        }
    }
}

/// Waits until a descriptor can be written to. The program may have made a shared one non-blocking.
pub fn wait_writable(descriptor: i32) {
    let mut one = libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 };
    // SAFETY: poll reads and writes `one`, a local.
    unsafe { libc::poll(&raw mut one, 1, 1000) };
}

/// After this call, a write to a pipe without a reader fails instead of ending the process.
pub fn ignore_broken_pipes() {
    // SAFETY: the call takes only integers.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}
