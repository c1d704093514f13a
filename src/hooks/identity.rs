//! `setuid` and its relatives, and `chroot`. When a recording grows, it is opened by name. A server
//! that began as root could no longer do that after these calls. So before such a call, the
//! recording is given to the user that the process becomes, and some space is mapped. Each call is
//! noted and jumped to. (For raw system calls of the same names see hooks/raw.rs.)

use libc::c_long;

#[cfg(not(test))]
use crate::real;
use crate::record;

#[cfg(not(test))]
mod exports {
    crate::arch::tail_jump! {
        #[unsafe(no_mangle)]
        setuid: super::before_setuid;
        #[unsafe(no_mangle)]
        seteuid: super::before_seteuid;
        #[unsafe(no_mangle)]
        setreuid: super::before_setreuid;
        #[unsafe(no_mangle)]
        setresuid: super::before_setresuid;
        #[unsafe(no_mangle)]
        chroot: super::before_chroot;
    }
}

#[cfg(not(test))]
extern "C-unwind" fn before_setuid(user: u32) -> usize {
    record::before_user(user);
    real::SETUID.address()
}

#[cfg(not(test))]
extern "C-unwind" fn before_seteuid(user: u32) -> usize {
    record::before_user(user);
    real::SETEUID.address()
}

#[cfg(not(test))]
extern "C-unwind" fn before_setreuid(_: u32, effective: u32) -> usize {
    record::before_user(effective);
    real::SETREUID.address()
}

#[cfg(not(test))]
extern "C-unwind" fn before_setresuid(_: u32, effective: u32, _: u32) -> usize {
    record::before_user(effective);
    real::SETRESUID.address()
}

#[cfg(not(test))]
extern "C-unwind" fn before_chroot() -> usize {
    record::before_chroot();
    real::CHROOT.address()
}

/// The system calls that [`before_raw`] handles.
pub const NOTED: [c_long; 4] = [libc::SYS_setuid, libc::SYS_setreuid, libc::SYS_setresuid, libc::SYS_chroot];

/// Runs before a system call that is not hooked, with its number and its first arguments.
pub fn before_raw(number: usize, [first, second, ..]: [usize; 5]) {
    match number as c_long {
        libc::SYS_setuid => record::before_user(first as u32),
        libc::SYS_setreuid | libc::SYS_setresuid => record::before_user(second as u32),
        libc::SYS_chroot => record::before_chroot(),
        _ => {}
    }
}
