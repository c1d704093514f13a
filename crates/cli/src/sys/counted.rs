//! Prepares a process for RLIMIT_NPROC: the limit must apply to it, and count only the tasks of one
//! run.
//!
//! RLIMIT_NPROC counts all tasks of a user. It does not apply to root, nor to processes with
//! CAP_SYS_RESOURCE or CAP_SYS_ADMIN in the initial user namespace (Linux v6.1 kernel/fork.c,
//! copy_process). In a new user namespace, the count of a user begins at 0 (user_namespaces(7);
//! kernel/ucount.c, inc_rlimit_ucounts).

use std::ffi::CStr;
use std::io::Error;

use serde::{Deserialize, Serialize};

use super::sandbox::checked;

/// How the tasks of a program are counted apart from all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Counted {
    /// As a user that no other process has. The process keeps its capabilities except the two
    /// above, so it can use the same files as before.
    AsUser(u32),
    /// As the same user and group, in a new user namespace.
    InNamespace(u32, u32),
}

/// The data for [`Prepared::apply`]. It is built before the fork, since the child must not
/// allocate.
pub struct Prepared {
    counted: Counted,
    maps: [String; 2],
}

const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_RESOURCE: u32 = 24;
/// include/uapi/linux/capability.h, _LINUX_CAPABILITY_VERSION_3: two words of each set.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

impl Prepared {
    pub fn new(counted: Counted) -> Prepared {
        let maps = match counted {
            Counted::AsUser(_) => Default::default(),
            Counted::InNamespace(user, group) => [format!("{user} {user} 1"), format!("{group} {group} 1")],
        };
        Prepared { counted, maps }
    }

    /// Changes this process, which must have one thread. Makes only system calls
    /// (signal-safety(7)).
    pub fn apply(&self) -> Result<(), Error> {
        match self.counted {
            Counted::AsUser(user) => become_user(user),
            Counted::InNamespace(..) => {
                super::sandbox::unshare(libc::CLONE_NEWUSER)?;
                write(c"/proc/self/setgroups", b"deny")?;
                write(c"/proc/self/uid_map", self.maps[0].as_bytes())?;
                write(c"/proc/self/gid_map", self.maps[1].as_bytes())
            }
        }
    }
}

fn become_user(user: u32) -> Result<(), Error> {
    let header = Header { version: VERSION, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: the calls take integers, and pointers to locals: a header, and sets of the size that
    // its version requires.
    unsafe {
        checked(libc::syscall(libc::SYS_capget, &raw const header, &raw mut sets) as i32)?;
        checked(libc::prctl(libc::PR_SET_KEEPCAPS, 1 as libc::c_ulong))?;
        checked(libc::setresuid(user, user, user))?;
        for (word, set) in sets.iter_mut().enumerate() {
            let out = if word == 0 { 1 << CAP_SYS_ADMIN | 1 << CAP_SYS_RESOURCE } else { 0 };
            let kept = set.permitted & !out;
            *set = Sets { effective: kept, permitted: kept, inheritable: kept };
        }
        checked(libc::syscall(libc::SYS_capset, &raw const header, &raw const sets) as i32)?;
        for (word, set) in sets.iter().enumerate() {
            for bit in (0..32).filter(|bit| set.permitted >> bit & 1 == 1) {
                let capability = (word * 32 + bit) as libc::c_ulong;
                let raise = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
                checked(libc::prctl(libc::PR_CAP_AMBIENT, raise, capability, 0 as libc::c_ulong, 0 as libc::c_ulong))?;
            }
        }
    }
    Ok(())
}

fn write(file: &CStr, text: &[u8]) -> Result<(), Error> {
    // SAFETY: the path is zero-terminated, and `text` has `text.len()` bytes. Only this function
    // uses the descriptor.
    unsafe {
        let file = checked(libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
        let written = checked(libc::write(file, text.as_ptr().cast(), text.len()) as i32);
        libc::close(file);
        written.map(drop)
    }
}
