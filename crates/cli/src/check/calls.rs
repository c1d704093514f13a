//! Which functions and system calls concern the shim.

use std::collections::BTreeSet;

use epollshim_format::function::Function;

/// The names under which glibc exports what the shim interposes besides the six of epoll.
const DESCRIPTORS: [&str; 11] =
    ["close", "close_range", "closefrom", "dup", "dup2", "dup3", "fcntl", "fcntl64", "__close", "__dup2", "__fcntl"];

/// What an object imports that concerns the shim.
#[derive(Clone, Default, Debug)]
pub struct Calls {
    pub epoll: Vec<String>,
    pub descriptors: Vec<String>,
    /// libc's `syscall`: the shim reads its numbers.
    pub syscall: bool,
    pub io_uring: Vec<String>,
    pub dlopen: bool,
}

impl Calls {
    #[must_use]
    pub fn of(imports: &BTreeSet<String>) -> Calls {
        let among = |wanted: &dyn Fn(&str) -> bool| imports.iter().filter(|name| wanted(name)).cloned().collect();
        Calls {
            epoll: among(&|name| Function::ALL.iter().any(|function| function.is_epoll() && function.name() == name)),
            descriptors: among(&|name| DESCRIPTORS.contains(&name)),
            syscall: imports.contains("syscall"),
            io_uring: among(&|name| name.starts_with("io_uring_")),
            dlopen: imports.contains("dlopen") || imports.contains("dlmopen"),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.epoll.is_empty() && self.descriptors.is_empty() && !self.syscall && self.io_uring.is_empty()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    Epoll,
    Descriptor,
    IoUring,
    Other,
}

/// What a system call of x86-64 is about, and its name where it concerns the shim (Linux
/// arch/x86/entry/syscalls/syscall_64.tbl).
#[must_use]
pub fn system_call(number: u32) -> (Family, Option<&'static str>) {
    let (family, name) = match number {
        213 => (Family::Epoll, "epoll_create"),
        232 => (Family::Epoll, "epoll_wait"),
        233 => (Family::Epoll, "epoll_ctl"),
        281 => (Family::Epoll, "epoll_pwait"),
        291 => (Family::Epoll, "epoll_create1"),
        441 => (Family::Epoll, "epoll_pwait2"),
        3 => (Family::Descriptor, "close"),
        32 => (Family::Descriptor, "dup"),
        33 => (Family::Descriptor, "dup2"),
        72 => (Family::Descriptor, "fcntl"),
        292 => (Family::Descriptor, "dup3"),
        436 => (Family::Descriptor, "close_range"),
        425 => (Family::IoUring, "io_uring_setup"),
        426 => (Family::IoUring, "io_uring_enter"),
        427 => (Family::IoUring, "io_uring_register"),
        _ => return (Family::Other, None),
    };
    (family, Some(name))
}

#[cfg(test)]
mod tests {
    use super::system_call;

    #[test]
    fn numbers_are_those_of_the_c_library() {
        for (number, name) in [
            (libc::SYS_epoll_create, "epoll_create"),
            (libc::SYS_epoll_create1, "epoll_create1"),
            (libc::SYS_epoll_ctl, "epoll_ctl"),
            (libc::SYS_epoll_wait, "epoll_wait"),
            (libc::SYS_epoll_pwait, "epoll_pwait"),
            (libc::SYS_epoll_pwait2, "epoll_pwait2"),
            (libc::SYS_close, "close"),
            (libc::SYS_dup, "dup"),
            (libc::SYS_dup2, "dup2"),
            (libc::SYS_dup3, "dup3"),
            (libc::SYS_fcntl, "fcntl"),
            (libc::SYS_close_range, "close_range"),
            (libc::SYS_io_uring_setup, "io_uring_setup"),
            (libc::SYS_io_uring_enter, "io_uring_enter"),
            (libc::SYS_io_uring_register, "io_uring_register"),
        ] {
            assert_eq!(system_call(number as u32).1, Some(name));
        }
    }
}
