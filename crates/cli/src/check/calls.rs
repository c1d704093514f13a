//! Which functions and system calls concern the shim.

use std::collections::BTreeSet;

use epollshim_format::function::{Function, TABLE};
use epollshim_format::functions::{Role, Row};

/// The imports of an object that concern the shim.
#[derive(Clone, Default, Debug)]
pub struct Calls {
    pub epoll: Vec<String>,
    pub descriptors: Vec<String>,
    /// All other functions that the shim interposes: those that create descriptors, move data or
    /// start programs. Those that allocate memory are left out: only a rule that names one makes
    /// the shim see it.
    pub others: Vec<String>,
    /// libc's `syscall`. The shim reads the numbers that are passed to it.
    pub syscall: bool,
    pub io_uring: Vec<String>,
    pub dlopen: bool,
}

impl Calls {
    #[must_use]
    pub fn of(imports: &BTreeSet<String>) -> Calls {
        let among = |wanted: &dyn Fn(&str) -> bool| imports.iter().filter(|name| wanted(name)).cloned().collect();
        Calls {
            epoll: among(&|name| TABLE.iter().any(|row| family(row.role) == Family::Epoll && is_named(row, name))),
            // closefrom has no row, since it cannot fail. It makes the system calls of close_range.
            descriptors: among(&|name| {
                name == "closefrom"
                    || TABLE.iter().any(|row| family(row.role) == Family::Descriptor && is_named(row, name))
            }),
            others: among(&|name| {
                let is_other = |row: &Row| family(row.role) == Family::Other && row.role != Role::Memory;
                TABLE.iter().any(|row| is_other(row) && is_named(row, name))
            }),
            syscall: imports.contains("syscall"),
            io_uring: among(&|name| name.starts_with("io_uring_")),
            dlopen: imports.contains("dlopen") || imports.contains("dlmopen"),
        }
    }

    /// All names, those of epoll first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let syscall = self.syscall.then_some("syscall");
        let first = self.epoll.iter().map(String::as_str).chain(syscall);
        first.chain([&self.descriptors, &self.others, &self.io_uring].into_iter().flatten().map(String::as_str))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    Epoll,
    Descriptor,
    IoUring,
    Other,
}

fn is_named(row: &Row, name: &str) -> bool {
    row.name() == name || row.aliases().any(|alias| alias == name)
}

/// What a function works on. Functions that only create descriptors of other kinds do not concern
/// the ledger.
fn family(role: Role) -> Family {
    match role {
        Role::Instance | Role::Ctl | Role::Wait => Family::Epoll,
        Role::Close | Role::Duplicate => Family::Descriptor,
        _ => Family::Other,
    }
}

/// What a system call of x86-64 works on, and its name if it concerns the shim (Linux
/// arch/x86/entry/syscalls/syscall_64.tbl).
#[must_use]
pub fn system_call(number: u32) -> (Family, Option<&'static str>) {
    match number {
        425 => (Family::IoUring, Some("io_uring_setup")),
        426 => (Family::IoUring, Some("io_uring_enter")),
        427 => (Family::IoUring, Some("io_uring_register")),
        number => match Function::of_number(i64::from(number)).map(Function::row) {
            Some(row) if family(row.role) != Family::Other => (family(row.role), Some(row.name())),
            _ => (Family::Other, None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Calls, system_call};

    #[test]
    fn each_import_that_the_shim_interposes_is_named_once_and_no_other() {
        let all = [
            "printf",
            "malloc",
            "accept4",
            "close",
            "epoll_wait",
            "fopen64",
            "io_uring_queue_init",
            "open64",
            "syscall",
        ];
        let calls = Calls::of(&all.iter().map(ToString::to_string).collect());
        let names: Vec<&str> = calls.names().collect();
        assert_eq!(names, ["epoll_wait", "syscall", "close", "accept4", "fopen64", "open64", "io_uring_queue_init"]);
    }

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
