//! A child that is started as an exec would start it, signals to it, and how it ends or stops.
//!
//! The parent blocks every signal that can be blocked before it forks, and takes them one by one by
//! sigwaitinfo(2): no handler runs, and none is lost between two looks at the child. A signal that
//! was ignored from the start stays ignored in both.

use std::ffi::OsString;
use std::io::{Error, ErrorKind};
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use super::{exec, mask};

/// Never blocked: the first two cannot be, a fault of the parent's own must end it, and the last two belong to the C library.
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

/// Signals of the last real-time number and below.
const LAST: i32 = 64;

/// A program that was started.
pub struct Child {
    pub pid: i32,
    /// What is taken by [`Child::signal`].
    signals: u64,
    /// The mask from before.
    before: u64,
    /// The errno of the exec that failed; 0: it did not. Shared with the child until it execs.
    trouble: *const AtomicI32,
}

/// What became of a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    Exited(i32),
    Killed(i32),
    Stopped(i32),
}

/// A signal that this process got in place of its child.
pub struct Got {
    pub signal: i32,
    /// Who sent it; None: the kernel (a terminal, a timer).
    pub sender: Option<i32>,
    info: libc::siginfo_t,
}

impl Child {
    /// Starts the program `words[0]`, looked for in PATH as a shell does, with everything that this
    /// process was given: descriptors, ignored and blocked signals, limits, its process group, and
    /// the signal that the end of its parent sends. From here on this process takes its signals by
    /// [`Child::signal`] alone.
    ///
    /// An exec that fails is known at the end: [`Child::trouble`].
    pub fn start(words: &[OsString], environment: &[(OsString, OsString)]) -> Result<Child, Error> {
        let mut program = exec::Ready::new(words, environment)?;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: the kernel chooses the address; the mapping stays for the life of the process.
        let page = unsafe { libc::mmap(null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let trouble: *const AtomicI32 = page.cast();
        // SAFETY: every pointer is to a local, or to the page, which stays. This process has one thread (`run` starts none before
        // this), so its child may call whatever it likes; it makes system calls alone.
        unsafe {
            let mut death: libc::c_int = 0;
            libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut death);
            let parent = libc::getpid();
            let is_ignored = mask::is_ignored(libc::SIGCHLD) == Some(true);
            // Ignored, or with SA_NOCLDWAIT, the kernel would forget how the child ended.
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
                // Release: pairs with the Acquire of `trouble`.
                (*trouble).store(errno, Ordering::Release);
                libc::_exit(127);
            }
            Ok(Child { pid, signals, before, trouble })
        }
    }

    /// Why the program was not executed.
    pub fn trouble(&self) -> Option<Error> {
        // SAFETY: `start` has mapped the page, and nothing unmaps it. Acquire: pairs with the
        // Release of the child's store.
        let errno = unsafe { (*self.trouble).load(Ordering::Acquire) };
        (errno != 0).then(|| Error::from_raw_os_error(errno))
    }

    /// What has become of it since the last time; None: nothing. Never waits.
    pub fn change(&self) -> Result<Option<Change>, Error> {
        let mut status = 0;
        // SAFETY: it writes the one number.
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

    /// Waits for the next signal to this process, at most for that long (None: without end).
    pub fn signal(&self, at_most: Option<Duration>) -> Option<Got> {
        let time = at_most.map(|at_most| libc::timespec {
            tv_sec: at_most.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: all zeroes are a valid siginfo_t; the call writes it, and reads the time, which is
        // null or lives until it returns. A sender is there where si_code says that there is one.
        unsafe {
            let mut info: libc::siginfo_t = zeroed();
            let signals = mask::of_libc(self.signals);
            let signal = libc::sigtimedwait(&raw const signals, &raw mut info, time);
            let has_sender = matches!(info.si_code, libc::SI_USER | libc::SI_TKILL | libc::SI_QUEUE);
            (signal > 0).then(|| Got { signal, sender: has_sender.then(|| info.si_pid()), info })
        }
    }

    /// Passes a signal on, with the value that may come with it (sigqueue(3)).
    pub fn pass(&self, got: &Got) {
        // SAFETY: the structure came from the kernel; both calls take numbers besides. The child is
        // not waited for yet, or the number is nobody's.
        unsafe {
            let info = &raw const got.info;
            if got.info.si_code != libc::SI_QUEUE
                || libc::syscall(libc::SYS_rt_sigqueueinfo, self.pid, got.signal, info) != 0
            {
                libc::kill(self.pid, got.signal);
            }
        }
    }

    /// Has a stopped child go on, and its process group where it has one of its own.
    pub fn go_on(&self) {
        // SAFETY: they take numbers.
        unsafe {
            let group = libc::getpgid(self.pid);
            let of = if group == self.pid { -self.pid } else { self.pid };
            libc::kill(of, libc::SIGCONT);
        }
    }

    /// Whether it is in this process's group.
    pub fn is_in_this_group(&self) -> bool {
        // SAFETY: they take numbers.
        unsafe { libc::getpgid(self.pid) == libc::getpgrp() }
    }

    /// Whether the terminal is this process's group's, or the child's.
    pub fn is_in_front(&self) -> bool {
        let Ok(terminal) = std::fs::File::open("/dev/tty") else { return false };
        // SAFETY: they take numbers; the descriptor is open.
        unsafe {
            let front = libc::tcgetpgrp(std::os::fd::AsRawFd::as_raw_fd(&terminal));
            front > 0 && (front == libc::getpgrp() || front == libc::getpgid(self.pid))
        }
    }

    /// Has signals do to this process what they did before it had a child, but for those that came
    /// until now, and for `others`, which can be waited for.
    pub fn leave(&self, others: &[i32]) -> super::Signals {
        // The loop ends when no signal is pending.
        while mask::take_pending(self.signals) {}
        let signals = super::Signals::block(others);
        let kept = others.iter().fold(0, |set, other| set | mask::bit(*other)) & self.signals;
        mask::change(libc::SIG_SETMASK, self.before | kept);
        signals
    }
}

/// All signals that can be blocked, and that this process was not started to ignore.
fn blocked() -> u64 {
    let is_taken = |number: &i32| !NEVER.contains(number) && mask::is_ignored(*number) == Some(false);
    (1..=LAST).filter(is_taken).fold(0, |set, number| set | mask::bit(number))
}

/// A process of this one's group that blocks all signals and does nothing: a signal that is pending
/// there went to the whole group.
///
/// The kernel walks through a group from its youngest member on (Linux v6.1 kernel/pid.c
/// attach_pid, kernel/signal.c __kill_pgrp_info), so the witness has a signal of the group before
/// this process has it. It ends with this process.
pub struct Witness {
    /// 0: none could be made.
    pid: i32,
    /// Signals that the group had, by a bit each, and that this process is still to take.
    seen: u64,
}

impl Witness {
    /// To be called after [`let_go`], so that it holds no descriptor of the caller's.
    pub fn start() -> Witness {
        Witness { pid: bystander(), seen: 0 }
    }

    /// Whether a signal that this process has taken came to the group.
    pub fn has(&mut self, signal: i32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        let status = status.unwrap_or_default();
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
        self.seen |= pending.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
        let bit = 1u64 << (signal - 1);
        let is_there = self.seen & bit != 0;
        if is_there {
            // It stays pending there: the next of its kind needs another witness.
            self.seen &= !bit;
            self.end();
            self.pid = bystander();
        }
        // A signal that stops takes back one that continues, and the other way round.
        for other in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU, libc::SIGCONT] {
            self.seen &= !(1u64 << (other - 1));
        }
        is_there
    }

    fn end(&self) {
        if self.pid > 0 {
            // SAFETY: they take numbers, and a null pointer, which is allowed. The process was not
            // waited for, so the number is its own.
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

/// Makes a child that does nothing, until this process ends; its pid, or 0.
fn bystander() -> i32 {
    // SAFETY: this process has one thread, whose signals are blocked; so are the child's, which
    // makes system calls alone.
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

/// Whether this process is its session's leader: what a terminal that is closed sends comes to it
/// alone.
pub fn leads_session() -> bool {
    // SAFETY: they take numbers.
    unsafe { libc::getsid(0) == libc::getpid() }
}

/// Stops this process as `signal` does by default, until it is continued. SIGSTOP where that signal
/// stops nobody: ignored, or in a group that no shell would continue.
pub fn stop(signal: i32) {
    // SAFETY: the set is initialised before it is used; the others take numbers. The old action is
    // put back as it was.
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

/// Ends this process by a signal as another ended by it, without a core. Returns where that is not
/// possible (of process 1).
pub fn end_by(signal: i32) {
    // SAFETY: the structures are initialised; the others take numbers.
    unsafe {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        // A pattern that begins with | is not bound by the limit (core(5)).
        libc::prctl(libc::PR_SET_DUMPABLE, 0);
        libc::signal(signal, libc::SIG_DFL);
    }
    super::take(signal);
}

/// Whether a descriptor is open.
pub fn is_open(descriptor: i32) -> bool {
    // SAFETY: takes numbers.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) >= 0 }
}

/// Closes the standard input, and all other descriptors but standard error; standard output and
/// those above stay where they are needed. Whoever reads or writes the other end of a pipe must not
/// find this process there when the program has closed its own.
///
/// To be called while this process has no file open that it uses later.
pub fn let_go(needs_descriptors: bool) {
    // SAFETY: they take numbers, and a terminated string. What was closed from the start becomes
    // /dev/null too: no file that is opened later is taken for it.
    unsafe {
        if !needs_descriptors && libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) != 0 {
            // Before Linux 5.9.
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
        // The lowest free number, up to the first that is above them.
        while let 0..=2 = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) {}
        if !needs_descriptors {
            libc::close(3);
        }
    }
}

/// Waits until a descriptor can be written to: the program may have made a shared one non-blocking.
pub fn wait_writable(descriptor: i32) {
    let mut one = libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 };
    // SAFETY: it reads and writes the one structure.
    unsafe { libc::poll(&raw mut one, 1, 1000) };
}

/// Writing to a pipe that nobody reads is an error from here on, not the end.
pub fn ignore_broken_pipes() {
    // SAFETY: takes numbers.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}
