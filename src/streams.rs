//! The descriptors of the C library's streams and directories.
//!
//! Nothing here takes a lock or changes anything, so hooks may call it at any time, also before the
//! real `fclose`.

use libc::c_int;

use crate::{libc_kind, real};

/// The part of glibc's `FILE` that is read: 2.36 libio/bits/types/struct_FILE.h. Programs have the
/// layout compiled in, so it cannot change.
#[repr(C)]
struct Stream {
    flags: c_int,
    /// From `_IO_read_ptr` to `_chain`.
    pointers: [usize; 13],
    fileno: c_int,
}

/// The flag of a stream that has a descriptor: `_IO_IS_FILEBUF` of glibc 2.36 libio/libio.h.
/// Streams of memory (`open_memstream`) do not set the word `fileno`, and in those of callbacks
/// (`fopencookie`) it is negative.
const IS_OF_FILE: c_int = 0x2000;

#[cfg(target_pointer_width = "64")]
const _: () = assert!(core::mem::offset_of!(Stream, fileno) == 112);

/// The part of musl's `FILE` that is read: 1.1.0 to 1.2.5 src/internal/stdio_impl.h. (`fileno`
/// would take the stream's lock.)
#[repr(C)]
struct MuslStream {
    flags: c_int,
    /// From `rpos` to `next`.
    words: [usize; 14],
    /// -1: a stream of memory or of callbacks.
    fd: c_int,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(core::mem::offset_of!(MuslStream, fd) == 120);

/// The descriptor of a stream. Like `fileno`, but leaves errno alone. None: it has no descriptor.
#[inline(never)]
pub fn descriptor_of(stream: usize) -> Option<c_int> {
    if stream == 0 {
        return None;
    }
    if !libc_kind::is_glibc() {
        // SAFETY: the program passed the stream to a function that requires an open stream, or the
        // real function returned it, so it has musl's layout. musl writes the word only when a
        // stream is opened or closed, and the caller is about to close the stream or has just
        // opened it.
        let fd = unsafe { (&raw const (*(stream as *const MuslStream)).fd).read_volatile() };
        return (fd >= 0).then_some(fd);
    }
    // SAFETY: the program passed the stream to a function that requires an open stream, or the real
    // function returned it, so it has glibc's layout. glibc writes the two words only when a stream
    // is opened or closed, and the caller is about to close the stream or has just opened it.
    let (flags, fileno) = unsafe {
        let stream = stream as *const Stream;
        ((&raw const (*stream).flags).read_volatile(), (&raw const (*stream).fileno).read_volatile())
    };
    (flags & IS_OF_FILE != 0 && fileno >= 0).then_some(fileno)
}

/// The descriptor of an open directory. The layout is not public, but `dirfd` only reads a member
/// (glibc 2.36 sysdeps/unix/sysv/linux/dirfd.c, dirent/dirfd.c).
pub fn descriptor_of_directory(directory: usize) -> Option<c_int> {
    if directory == 0 {
        return None;
    }
    // SAFETY: the program passed the directory to a function that requires an open directory, or
    // the real function returned it. `dirfd` requires the same.
    let fd = unsafe { real::dirfd()(directory) };
    (fd >= 0).then_some(fd)
}
