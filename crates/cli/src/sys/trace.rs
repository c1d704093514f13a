//! ptrace(2): stops threads of children to read their registers, and observes the signals that a
//! child gets.
//!
//! The callers are processes with one thread, which are the only tracers of what they trace.

use std::io::Error;
use std::mem::{size_of, zeroed};
use std::ptr::null_mut;

use super::sandbox::checked;

/// The registers that call frame information needs.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    /// The address of the next instruction.
    pub at: u64,
    pub stack: u64,
    pub frame: u64,
    /// The return address of a function that calls no other. (On x86-64 it is on the stack.)
    #[cfg(target_arch = "aarch64")]
    pub link: u64,
}

/// Why a thread has stopped for its tracer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// A signal is about to be delivered to it.
    Signal(i32),
    /// A stop signal has stopped its process.
    Group,
    Other,
}

type Request = libc::c_int;

/// ptrace(request, tid, 0, data).
fn ptrace(request: Request, tid: i32, data: usize) -> Result<(), Error> {
    // SAFETY: the requests that reach this function pass integers, and write no memory of this
    // process. (PTRACE_GETREGSET, which writes, is made in `registers`.)
    let result = unsafe { libc::ptrace(request as _, tid, null_mut::<libc::c_void>(), data) };
    if result == -1 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// Traces a thread without stopping it. With `follows`, threads that it starts are traced too.
pub fn seize(tid: i32, follows: bool) -> Result<(), Error> {
    ptrace(libc::PTRACE_SEIZE as Request, tid, if follows { libc::PTRACE_O_TRACECLONE as usize } else { 0 })
}

/// A traced thread that has stopped, and why. None: no thread has stopped.
pub fn stopped() -> Option<(i32, Stop)> {
    // SAFETY: all zeros are a valid siginfo_t. waitid writes it, or leaves it zero if no child has
    // stopped.
    let (tid, status) = unsafe {
        let mut facts: libc::siginfo_t = zeroed();
        let flags = libc::WSTOPPED | libc::WNOHANG | libc::__WALL;
        checked(libc::waitid(libc::P_ALL, 0, &raw mut facts, flags)).ok()?;
        (facts.si_pid(), facts.si_status())
    };
    let (event, signal) = (status >> 8, status & 0xff);
    let stop = match event {
        0 => Stop::Signal(signal),
        libc::PTRACE_EVENT_STOP if signal != libc::SIGTRAP => Stop::Group,
        _ => Stop::Other,
    };
    (tid > 0).then_some((tid, stop))
}

/// Continues a thread that has stopped as `stop` says.
pub fn go_on(tid: i32, stop: Stop) {
    // A thread that was killed meanwhile no longer exists.
    let _ = match stop {
        Stop::Signal(signal) => ptrace(libc::PTRACE_CONT as Request, tid, signal as usize),
        Stop::Group => ptrace(libc::PTRACE_LISTEN as Request, tid, 0),
        Stop::Other => ptrace(libc::PTRACE_CONT as Request, tid, 0),
    };
}

/// The registers of a traced thread that has stopped.
pub fn registers(tid: i32) -> Result<Registers, Error> {
    const NT_PRSTATUS: usize = 1;
    // SAFETY: all zeros are valid registers. The kernel writes at most the length in the iovec,
    // which is their size.
    let all = unsafe {
        let mut all: libc::user_regs_struct = zeroed();
        let mut room = libc::iovec { iov_base: (&raw mut all).cast(), iov_len: size_of::<libc::user_regs_struct>() };
        let request = libc::PTRACE_GETREGSET as Request;
        if libc::ptrace(request as _, tid, NT_PRSTATUS, &raw mut room) == -1 {
            return Err(Error::last_os_error());
        }
        all
    };
    #[cfg(target_arch = "x86_64")]
    return Ok(Registers { at: all.rip, stack: all.rsp, frame: all.rbp });
    #[cfg(target_arch = "aarch64")]
    return Ok(Registers { at: all.pc, stack: all.sp, frame: all.regs[29], link: all.regs[30] });
}

/// Stops a thread that no process traces, reads its registers, and detaches from it. A system call
/// in which it waits may end with EINTR.
pub fn look(tid: i32) -> Result<Registers, Error> {
    seize(tid, false)?;
    ptrace(libc::PTRACE_INTERRUPT as Request, tid, 0)?;
    let mut status = 0;
    // SAFETY: waitpid writes `status`, a local. It does not block for long: the thread stops or
    // ends.
    checked(unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL) })?;
    let read = registers(tid);
    let _ = ptrace(libc::PTRACE_DETACH as Request, tid, 0);
    read
}
