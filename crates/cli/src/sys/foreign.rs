//! Copies descriptors of another process (pidfd_getfd(2)), and queries the kernel about the copies.
//!
//! A copy refers to the same open file description and keeps it alive, so it is closed at once. No
//! call here reads, writes, or changes a flag.

use std::io::Error;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_long};

/// A reference to a process. It never refers to another process that reuses the process id.
pub struct Process(OwnedFd);

/// A copy of one of its descriptors.
pub struct Copy(OwnedFd);

impl Process {
    /// Fails with ESRCH if there is no such process, and with ENOSYS before Linux 5.3.
    pub fn open(pid: u32) -> Result<Process, Error> {
        // SAFETY: pidfd_open takes only integers.
        owned(unsafe { libc::syscall(libc::SYS_pidfd_open, c_long::from(pid), 0) }).map(Process)
    }

    /// Fails with EPERM if this process may not trace the other one, with EBADF if the descriptor
    /// is closed, and with ENOSYS before Linux 5.6.
    pub fn copy(&self, fd: i32) -> Result<Copy, Error> {
        // SAFETY: pidfd_getfd takes only integers.
        owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.0.as_raw_fd(), fd, 0) }).map(Copy)
    }
}

fn owned(number: c_long) -> Result<OwnedFd, Error> {
    match i32::try_from(number) {
        // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
        Ok(number) if number >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(number) }),
        _ => Err(Error::last_os_error()),
    }
}

/// The events that poll(2) reports for each copy, without waiting. Its bits are those of EPOLLIN
/// and so on. 0 if the call failed.
pub fn readiness(copies: &[&Copy]) -> Vec<u32> {
    let events = libc::POLLIN | libc::POLLPRI | libc::POLLOUT | libc::POLLRDHUP;
    let mut polled: Vec<libc::pollfd> =
        copies.iter().map(|copy| libc::pollfd { fd: copy.0.as_raw_fd(), events, revents: 0 }).collect();
    // SAFETY: the array has the given length, and lives until the call returns.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, 0) };
    polled.iter().map(|one| u32::from(one.revents as u16)).collect()
}

/// The result of TCP_INFO (Linux v6.1 include/uapi/linux/tcp.h, struct tcp_info).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct TcpInfo {
    /// A number of include/net/tcp_states.h.
    pub state: u8,
    /// Milliseconds since the last ACK was received.
    pub last_ack: u32,
    /// For a listening socket: the connections that wait to be accepted.
    pub backlog: u32,
    /// Bytes that were received in order since the connection began. None: Linux before 4.1.
    pub received: Option<u64>,
    /// Bytes that the other end has acknowledged. None: Linux before 4.1.
    pub acked: Option<u64>,
}

impl Copy {
    /// The inode of the file.
    pub fn inode(&self) -> Option<u64> {
        let mut data = std::mem::MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: `data` has the size that libc declares, and all zeros are a valid `stat`.
        unsafe { (libc::fstat(self.0.as_raw_fd(), data.as_mut_ptr()) == 0).then(|| data.assume_init().st_ino) }
    }

    /// Bytes that can be read (FIONREAD). None: unknown for this kind of file.
    pub fn unread(&self) -> Option<u64> {
        self.number(libc::FIONREAD)
    }

    /// Bytes that a socket has not sent yet, or that were not acknowledged (SIOCOUTQ, which is
    /// TIOCOUTQ).
    pub fn unsent(&self) -> Option<u64> {
        self.number(libc::TIOCOUTQ)
    }

    fn number(&self, request: libc::Ioctl) -> Option<u64> {
        let mut number: c_int = 0;
        // SAFETY: the callers pass only FIONREAD and TIOCOUTQ, which write one int.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), request, &raw mut number) };
        if done == 0 { u64::try_from(number).ok() } else { None }
    }

    /// An option of SOL_SOCKET whose value is an int.
    pub fn option(&self, name: c_int) -> Option<i32> {
        let mut bytes = [0; 4];
        (self.option_bytes(libc::SOL_SOCKET, name, &mut bytes)? == 4).then(|| i32::from_ne_bytes(bytes))
    }

    /// The process that created the other end of a Unix connection.
    pub fn peer_pid(&self) -> Option<i32> {
        let mut bytes = [0; size_of::<libc::ucred>()];
        self.option_bytes(libc::SOL_SOCKET, libc::SO_PEERCRED, &mut bytes)?;
        Some(i32::from_ne_bytes(*bytes.first_chunk()?))
    }

    pub fn tcp_info(&self) -> Option<TcpInfo> {
        let mut bytes = [0; 136];
        let length = self.option_bytes(libc::IPPROTO_TCP, libc::TCP_INFO, &mut bytes)?;
        let word =
            |at: usize| bytes.get(at..at + 4).and_then(<[u8]>::first_chunk).map(|word| u32::from_ne_bytes(*word));
        let long = |at: usize| {
            let bytes = bytes.get(at..at + 8).filter(|_| length >= at + 8)?;
            bytes.first_chunk().map(|word| u64::from_ne_bytes(*word))
        };
        let state = bytes.first().copied()?;
        const LISTEN: u8 = 10;
        Some(TcpInfo {
            state,
            last_ack: word(56)?,
            backlog: if state == LISTEN { word(24)? } else { 0 },
            received: long(128),
            acked: long(120),
        })
    }

    fn option_bytes(&self, level: c_int, name: c_int, bytes: &mut [u8]) -> Option<usize> {
        let mut length = libc::socklen_t::try_from(bytes.len()).ok()?;
        // SAFETY: `bytes` and `length`, its size, are valid for writes during the call.
        let done =
            unsafe { libc::getsockopt(self.0.as_raw_fd(), level, name, bytes.as_mut_ptr().cast(), &raw mut length) };
        if done == 0 { usize::try_from(length).ok() } else { None }
    }

    /// The local address.
    pub fn local(&self) -> Option<Vec<u8>> {
        self.address(libc::getsockname)
    }

    /// The address of the peer.
    pub fn peer(&self) -> Option<Vec<u8>> {
        self.address(libc::getpeername)
    }

    fn address(
        &self,
        call: unsafe extern "C" fn(c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> c_int,
    ) -> Option<Vec<u8>> {
        // This has the size and the alignment of sockaddr_storage.
        let mut storage = [0u64; 16];
        let mut length = size_of::<[u64; 16]>() as libc::socklen_t;
        // SAFETY: `storage` is valid for writes of `length` bytes, and aligned for every address.
        let done = unsafe { call(self.0.as_raw_fd(), storage.as_mut_ptr().cast(), &raw mut length) };
        let mut bytes = storage.map(u64::to_ne_bytes).concat();
        bytes.truncate(usize::try_from(length).ok()?);
        (done == 0).then_some(bytes)
    }
}

/// Whether the file that an interest watches is the file that its descriptor refers to now
/// (kcmp(2), KCMP_EPOLL_TFD). `nth` counts, from 0, the interests with this descriptor number in
/// the order of fdinfo. Fails if there is no such interest, or without permission.
pub fn is_watched_file(pid: u32, epfd: i32, fd: i32, nth: u32) -> Result<bool, Error> {
    const KCMP_EPOLL_TFD: c_long = 7;
    let pid = c_long::from(pid);
    // struct kcmp_epoll_slot of include/uapi/linux/kcmp.h.
    let slot = [epfd as u32, fd as u32, nth];
    // SAFETY: kcmp reads three words of `slot`, which outlives the call.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, pid, pid, KCMP_EPOLL_TFD, c_long::from(fd), slot.as_ptr()) };
    if order < 0 { Err(Error::last_os_error()) } else { Ok(order == 0) }
}
