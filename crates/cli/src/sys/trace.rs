//! ptrace(2): stops threads of children, to read where they stand, and looks at the signals that a child gets.
//!
//! Everything here is called by a process with one thread, which is the only tracer of what it traces.

use std::io::Error;
use std::mem::{size_of, zeroed};
use std::ptr::null_mut;

use super::sandbox::checked;

/// What call frame information needs of a thread's registers.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    /// The next instruction.
    pub at: u64,
    pub stack: u64,
    pub frame: u64,
    /// Where a function that calls no other returns to. (x86-64 has that on the stack.)
    #[cfg(target_arch = "aarch64")]
    pub link: u64,
}

/// A thread that has stopped for its tracer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It is about to get a signal.
    Signal(i32),
    /// A stop signal has stopped its whole process.
    Group,
    Other,
}

type Request = libc::c_int;

/// ptrace(request, tid, 0, data).
fn ptrace(request: Request, tid: i32, data: usize) -> Result<(), Error> {
    // SAFETY: of the requests that this file makes only PTRACE_GETREGSET writes, to an iovec that its caller owns.
    let result = unsafe { libc::ptrace(request as _, tid, null_mut::<libc::c_void>(), data) };
    if result == -1 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// Traces a thread without stopping it; with `follows`, also the threads that it starts.
pub fn seize(tid: i32, follows: bool) -> Result<(), Error> {
    ptrace(libc::PTRACE_SEIZE as Request, tid, if follows { libc::PTRACE_O_TRACECLONE as usize } else { 0 })
}

/// A traced thread that has stopped, and why; None: none has.
pub fn stopped() -> Option<(i32, Stop)> {
    // SAFETY: all zeros are a valid siginfo_t, which it writes; of no child, nothing or zeros.
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

/// Lets a thread go on that has stopped so.
pub fn go_on(tid: i32, stop: Stop) {
    // One that was killed meanwhile is not there any more.
    let _ = match stop {
        Stop::Signal(signal) => ptrace(libc::PTRACE_CONT as Request, tid, signal as usize),
        Stop::Group => ptrace(libc::PTRACE_LISTEN as Request, tid, 0),
        Stop::Other => ptrace(libc::PTRACE_CONT as Request, tid, 0),
    };
}

/// Of a traced thread that has stopped.
pub fn registers(tid: i32) -> Result<Registers, Error> {
    const NT_PRSTATUS: usize = 1;
    // SAFETY: all zeros are valid registers, which the kernel writes, as far as the iovec says that there is room.
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

/// Stops a thread that nobody traces, reads its registers, and leaves it. A system call in which it waits may end with EINTR.
pub fn look(tid: i32) -> Result<Registers, Error> {
    seize(tid, false)?;
    ptrace(libc::PTRACE_INTERRUPT as Request, tid, 0)?;
    let mut status = 0;
    // SAFETY: it writes the one number. The thread stops at once, or ends.
    checked(unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL) })?;
    let read = registers(tid);
    let _ = ptrace(libc::PTRACE_DETACH as Request, tid, 0);
    read
}
