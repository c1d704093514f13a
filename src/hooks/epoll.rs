//! epoll_create, epoll_create1, epoll_ctl, epoll_wait, epoll_pwait, epoll_pwait2.
//!
//! The waits are cancellation points: pthread_cancel unwinds from inside the real function through ours. They
//! are `extern "C-unwind"`, and no value with a destructor lives across the real call. After it the thread's
//! block is looked up again: a signal handler may have forked, and this may be the child.

use core::sync::atomic::Ordering;

use epollshim_format::call::Call;
use libc::{c_int, epoll_event, sigset_t, timespec};

use crate::ledger::core::{Creation, Registration};
use crate::ledger::counters::WaitEnd;
use crate::ledger::records::Origin;
use crate::thread::Block;
use crate::{clock, ledger, real, sys, thread};

/// The exported functions: each passes its caller's return address on.
#[cfg(not(test))]
mod exports {
    use core::arch::naked_asm;

    use libc::{c_int, epoll_event, sigset_t, timespec};

    macro_rules! with_caller {
        ($($name:ident($($argument:ident: $type:ty),*) $abi:literal, $register:literal => $inner:path;)*) => {$(
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            pub unsafe extern $abi fn $name($($argument: $type),*) -> c_int {
                naked_asm!(
                    ".cfi_startproc",
                    concat!("mov ", $register, ", qword ptr [rsp]"),
                    "jmp {inner}",
                    ".cfi_endproc",
                    inner = sym $inner
                )
            }
        )*};
    }

    with_caller! {
        epoll_create(size: c_int) "C", "rsi" => super::create;
        epoll_create1(flags: c_int) "C", "rsi" => super::create1;
        epoll_ctl(epfd: c_int, op: c_int, fd: c_int, event: *mut epoll_event) "C", "r8" => super::ctl;
        epoll_wait(epfd: c_int, events: *mut epoll_event, max: c_int, timeout: c_int) "C-unwind", "r8" => super::wait;
        epoll_pwait(epfd: c_int, events: *mut epoll_event, max: c_int, timeout: c_int, mask: *const sigset_t)
            "C-unwind", "r9" => super::pwait;
        epoll_pwait2(epfd: c_int, events: *mut epoll_event, max: c_int, timeout: *const timespec, mask: *const sigset_t)
            "C-unwind", "r9" => super::pwait2;
    }

    // The exports have the types that libc gives to glibc's functions.
    const _: unsafe extern "C" fn(c_int) -> c_int = libc::epoll_create;
    const _: unsafe extern "C" fn(c_int) -> c_int = libc::epoll_create1;
    const _: unsafe extern "C" fn(c_int, c_int, c_int, *mut epoll_event) -> c_int = libc::epoll_ctl;
    const _: unsafe extern "C" fn(c_int, *mut epoll_event, c_int, c_int) -> c_int = libc::epoll_wait;
    const _: unsafe extern "C" fn(c_int, *mut epoll_event, c_int, c_int, *const sigset_t) -> c_int = libc::epoll_pwait;
}

/// # Safety
/// As `epoll_create(2)`. `caller` is the return address.
pub unsafe extern "C" fn create(size: c_int, caller: usize) -> c_int {
    // SAFETY: the caller's own call.
    let fd = unsafe { real::epoll_create()(size) };
    note_creation(Call::Create, fd, Creation { origin: Origin::Create, argument: size, site: caller });
    fd
}

/// # Safety
/// As `epoll_create1(2)`.
pub unsafe extern "C" fn create1(flags: c_int, caller: usize) -> c_int {
    // SAFETY: the caller's own call.
    let fd = unsafe { real::epoll_create1()(flags) };
    note_creation(Call::Create1, fd, Creation { origin: Origin::Create1, argument: flags, site: caller });
    fd
}

/// Notes what a creating call returned.
pub fn note_creation(call: Call, fd: c_int, creation: Creation) {
    let Some(block) = thread::block() else { return };
    if fd < 0 {
        return block.counters.failed(call, sys::errno());
    }
    block.counters.call(call).calls.bump();
    ledger::created(fd, creation);
}

/// # Safety
/// As `epoll_ctl(2)`.
pub unsafe extern "C" fn ctl(epfd: c_int, op: c_int, fd: c_int, event: *mut epoll_event, caller: usize) -> c_int {
    // SAFETY: the caller's own call.
    unsafe { control(epfd, op, fd, event, caller, || real::epoll_ctl()(epfd, op, fd, event)) }
}

/// A control call, by whatever function it is made.
///
/// # Safety
/// `event` must be valid for what the kernel does with it in `real`.
#[inline(always)]
pub unsafe fn control(
    epfd: c_int,
    op: c_int,
    fd: c_int,
    event: *mut epoll_event,
    caller: usize,
    real: impl FnOnce() -> c_int,
) -> c_int {
    let Some(block) = thread::block() else { return real() };
    let counters = &block.counters;
    match op {
        libc::EPOLL_CTL_ADD => {
            let mut registration = Registration { epfd, fd, events: 0, site: caller };
            let ticket = ledger::adding(&registration);
            let result = real();
            if result == 0 {
                // SAFETY: the kernel has just read it from there.
                registration.events = unsafe { (&raw const (*event).events).read_unaligned() };
                ledger::added(&registration, ticket);
                counters.call(Call::CtlAdd).calls.bump();
            } else {
                let error = sys::errno();
                ledger::not_added(&registration, ticket, error);
                counters.failed(Call::CtlAdd, error);
            }
            result
        }
        libc::EPOLL_CTL_MOD => {
            let result = real();
            if result == 0 {
                // SAFETY: as above.
                let events = unsafe { (&raw const (*event).events).read_unaligned() };
                ledger::modified(&Registration { epfd, fd, events, site: caller });
                counters.call(Call::CtlMod).calls.bump();
            } else {
                let error = sys::errno();
                ledger::not_changed(epfd, fd, error);
                counters.failed(Call::CtlMod, error);
            }
            result
        }
        libc::EPOLL_CTL_DEL => {
            let result = real();
            if result == 0 {
                ledger::deleted(epfd, fd);
                counters.call(Call::CtlDel).calls.bump();
            } else {
                let error = sys::errno();
                ledger::not_changed(epfd, fd, error);
                counters.failed(Call::CtlDel, error);
            }
            result
        }
        _ => {
            let result = real();
            if result < 0 {
                counters.failed(Call::CtlOther, sys::errno());
            } else {
                counters.call(Call::CtlOther).calls.bump();
            }
            result
        }
    }
}

/// # Safety
/// As `epoll_wait(2)`.
pub unsafe extern "C-unwind" fn wait(
    epfd: c_int,
    events: *mut epoll_event,
    max: c_int,
    timeout: c_int,
    _caller: usize,
) -> c_int {
    // SAFETY: the caller's own call.
    unsafe { waiting(Call::Wait, epfd, events, max, timeout != 0, || real::epoll_wait()(epfd, events, max, timeout)) }
}

/// # Safety
/// As `epoll_pwait(2)`.
pub unsafe extern "C-unwind" fn pwait(
    epfd: c_int,
    events: *mut epoll_event,
    max: c_int,
    timeout: c_int,
    mask: *const sigset_t,
    _caller: usize,
) -> c_int {
    let real = || {
        // SAFETY: the caller's own call.
        unsafe { real::epoll_pwait()(epfd, events, max, timeout, mask) }
    };
    // SAFETY: as above.
    unsafe { waiting(Call::Pwait, epfd, events, max, timeout != 0, real) }
}

/// # Safety
/// As `epoll_pwait2(2)`.
pub unsafe extern "C-unwind" fn pwait2(
    epfd: c_int,
    events: *mut epoll_event,
    max: c_int,
    timeout: *const timespec,
    mask: *const sigset_t,
    _caller: usize,
) -> c_int {
    let real = || {
        // SAFETY: the caller's own call.
        unsafe { real::epoll_pwait2()(epfd, events, max, timeout, mask) }
    };
    // A timeout may point to zero, but only the kernel may look: the address may be bad, which is EFAULT.
    // SAFETY: as above.
    unsafe { waiting(Call::Pwait2, epfd, events, max, true, real) }
}

/// A wait, by whatever function it is made. Only one that can block is timed.
///
/// # Safety
/// `events` must be valid for what the kernel does with it in `real`.
#[inline(always)]
pub unsafe fn waiting(
    call: Call,
    epfd: c_int,
    events: *mut epoll_event,
    max: c_int,
    can_block: bool,
    real: impl FnOnce() -> c_int,
) -> c_int {
    if !can_block {
        let count = real();
        if let Some(block) = thread::block() {
            block.counters.last_wait_end.store(0, Ordering::Relaxed);
            // SAFETY: the kernel has written `count` events there.
            unsafe { note_wait(block, call, epfd, events, max, count) };
        }
        return count;
    }
    let Some(block) = thread::block() else { return real() };
    let start = clock::monotonic();
    let last = block.counters.last_wait_end.load(Ordering::Relaxed);
    if last != 0 {
        block.counters.work.record(start.saturating_sub(last));
    }
    let count = real();
    let end = clock::monotonic();
    if let Some(block) = thread::block() {
        let index = call as usize - Call::Wait as usize;
        if let Some(blocked) = block.counters.blocked.get(index) {
            blocked.record(end.saturating_sub(start));
        }
        block.counters.last_wait_end.store(end, Ordering::Relaxed);
        // SAFETY: the kernel has written `count` events there.
        unsafe { note_wait(block, call, epfd, events, max, count) };
    }
    count
}

/// Notes what a wait returned.
///
/// # Safety
/// Where `count` is positive, that many events stand at `events`.
#[inline(always)]
unsafe fn note_wait(
    block: &'static Block,
    call: Call,
    epfd: c_int,
    events: *const epoll_event,
    max: c_int,
    count: c_int,
) {
    let counters = &block.counters;
    let owner = core::ptr::from_ref(block) as usize;
    if count == 0 {
        counters.call(call).calls.bump();
        counters.empty.bump();
        ledger::waited(epfd, WaitEnd::Empty, owner);
    } else if count > 0 {
        counters.call(call).calls.bump();
        let full = count == max;
        if full {
            counters.full.bump();
        }
        counters.batch.record(count as u64);
        counters.delivered((0..count as usize).map(|index| {
            // SAFETY: below `count`.
            unsafe { (&raw const (*events.add(index)).events).read_unaligned() }
        }));
        ledger::waited(epfd, WaitEnd::Events { count: count as u64, full }, owner);
    } else {
        note_failed_wait(block, call, epfd, owner);
    }
}

#[cold]
#[inline(never)]
fn note_failed_wait(block: &'static Block, call: Call, epfd: c_int, owner: usize) {
    let error = sys::errno();
    block.counters.failed(call, error);
    ledger::waited(epfd, WaitEnd::Failed { interrupted: error == libc::EINTR }, owner);
    if error == libc::EBADF {
        ledger::waited_on_bad(epfd);
    }
}
