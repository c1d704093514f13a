//! Failures that no correct program makes: noted where the call has failed.

use epollshim_format::findings::{Id, Severity};
use libc::c_int;

use super::{Note, note};

/// An `epoll_ctl` has failed.
pub fn ctl_failed(epfd: c_int, operation: c_int, fd: c_int, error: c_int, site: usize) {
    let is_ignored = error == libc::EBADF && (epfd == -1 || fd == -1);
    let id = if is_ignored { Id::IgnoredError } else { Id::CtlError };
    let severity = if is_ignored { Severity::Error } else { Severity::Warning };
    let is_told = is_ignored
        || matches!(error, libc::EEXIST | libc::ENOENT | libc::EBADF | libc::EPERM | libc::ELOOP | libc::EINVAL);
    if is_told {
        note(&Note {
            variant: error as u8,
            epfd,
            fd,
            site,
            detail: [operation as u64, error as u64, 0, 0],
            ..Note::of(id, severity)
        });
    }
}
