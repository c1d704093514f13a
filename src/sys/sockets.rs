//! Questions to a socket.

use super::{Result, permitted, words};

/// A socket option that is a number. Err: not a socket, or a socket without this option.
pub fn socket_option(fd: i32, option: i32) -> Result<i32> {
    let mut value = 0i32;
    let mut length = size_of::<i32>() as u32;
    // SAFETY: the kernel writes at most as many bytes as the call states.
    unsafe { syscall!(SYS_getsockopt, fd, libc::SOL_SOCKET, option, &raw mut value, &raw mut length) }?;
    Ok(value)
}

/// The number that identifies a socket in all processes that have it (socket(7), SO_COOKIE, Linux
/// 4.12). Err: not a socket, or an older kernel.
pub fn socket_cookie(fd: i32) -> Result<u64> {
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as u32;
    // SAFETY: the kernel writes at most as many bytes as the call states.
    unsafe { syscall!(SYS_getsockopt, fd, libc::SOL_SOCKET, libc::SO_COOKIE, &raw mut cookie, &raw mut length) }?;
    Ok(cookie)
}

/// The address of a socket's own end (getsockname) or of its peer (getpeername), cut off at the
/// length of `into`. Err: not a socket, or it has no such address.
pub fn socket_address(fd: i32, is_peer: bool, into: &mut [u8]) -> Result<&[u8]> {
    let mut length = into.len() as u32;
    let (address, length_at) = (into.as_mut_ptr(), &raw mut length);
    // SAFETY: the kernel writes at most as many bytes as the call states.
    unsafe {
        match is_peer {
            true => syscall!(SYS_getpeername, fd, address, length_at),
            false => syscall!(SYS_getsockname, fd, address, length_at),
        }
    }?;
    into.get(..(length as usize).min(into.len())).ok_or(libc::EINVAL)
}

/// The beginning of TCP_INFO, as words of 64 bits. The numbers of bytes that were acknowledged and
/// received are words 15 and 16 (Linux 4.1, include/uapi/linux/tcp.h). Also fails if the kernel
/// returns less.
pub fn tcp_info(fd: i32) -> Result<[u64; 17]> {
    let mut words = [0u64; 17];
    let mut length = size_of_val(&words) as u32;
    // SAFETY: the kernel writes at most as many bytes as the call states.
    unsafe { syscall!(SYS_getsockopt, fd, libc::IPPROTO_TCP, libc::TCP_INFO, words.as_mut_ptr(), &raw mut length) }?;
    if length as usize == size_of_val(&words) { Ok(words) } else { Err(libc::EINVAL) }
}

/// How many connections wait to be accepted at a listening socket (`tcpi_unacked` in word 3:
/// tcp_get_info of net/ipv4/tcp.c, Linux 6.1).
pub fn connections_waiting(fd: i32) -> Result<u32> {
    let [_, _, _, word, ..] = tcp_info(fd)?;
    Ok(word as u32)
}

/// How many bytes wait to be read (FIONREAD) or to be sent (TIOCOUTQ, which is SIOCOUTQ).
pub fn bytes_waiting(fd: i32, request: libc::c_ulong) -> Result<i32> {
    let mut bytes = 0i32;
    // SAFETY: both requests write one int.
    unsafe { syscall!(SYS_ioctl, fd, request, &raw mut bytes) }?;
    Ok(bytes)
}

/// Whether a unix stream socket was shut down for writing. This sends nothing: the kernel first
/// tests for the shutdown (Linux v6.1 net/unix/af_unix.c, `unix_stream_sendmsg`).
pub fn is_shut_for_writing(fd: i32) -> bool {
    const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the message has no bytes, so the kernel reads nothing.
    let sent = unsafe { syscall!(SYS_sendto, fd, 0, 0, FLAGS, 0, 0) };
    sent == Err(libc::EPIPE)
}
