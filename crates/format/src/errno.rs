//! Names of errors as `<errno.h>` spells them (Linux 6.x, include/uapi/asm-generic/errno.h).

use crate::words::{Words, words};

/// One more than the highest error number that has a name: x86-64 Linux names 1 to 133.
pub const NAMED: usize = 134;

/// Index 0 stands for error 1. The two numbers that Linux has never used (41, 58) have an empty
/// name.
const LIST: [&str; NAMED - 1] = [
    "EPERM",
    "ENOENT",
    "ESRCH",
    "EINTR",
    "EIO",
    "ENXIO",
    "E2BIG",
    "ENOEXEC",
    "EBADF",
    "ECHILD",
    "EAGAIN",
    "ENOMEM",
    "EACCES",
    "EFAULT",
    "ENOTBLK",
    "EBUSY",
    "EEXIST",
    "EXDEV",
    "ENODEV",
    "ENOTDIR",
    "EISDIR",
    "EINVAL",
    "ENFILE",
    "EMFILE",
    "ENOTTY",
    "ETXTBSY",
    "EFBIG",
    "ENOSPC",
    "ESPIPE",
    "EROFS",
    "EMLINK",
    "EPIPE",
    "EDOM",
    "ERANGE",
    "EDEADLK",
    "ENAMETOOLONG",
    "ENOLCK",
    "ENOSYS",
    "ENOTEMPTY",
    "ELOOP",
    "",
    "ENOMSG",
    "EIDRM",
    "ECHRNG",
    "EL2NSYNC",
    "EL3HLT",
    "EL3RST",
    "ELNRNG",
    "EUNATCH",
    "ENOCSI",
    "EL2HLT",
    "EBADE",
    "EBADR",
    "EXFULL",
    "ENOANO",
    "EBADRQC",
    "EBADSLT",
    "",
    "EBFONT",
    "ENOSTR",
    "ENODATA",
    "ETIME",
    "ENOSR",
    "ENONET",
    "ENOPKG",
    "EREMOTE",
    "ENOLINK",
    "EADV",
    "ESRMNT",
    "ECOMM",
    "EPROTO",
    "EMULTIHOP",
    "EDOTDOT",
    "EBADMSG",
    "EOVERFLOW",
    "ENOTUNIQ",
    "EBADFD",
    "EREMCHG",
    "ELIBACC",
    "ELIBBAD",
    "ELIBSCN",
    "ELIBMAX",
    "ELIBEXEC",
    "EILSEQ",
    "ERESTART",
    "ESTRPIPE",
    "EUSERS",
    "ENOTSOCK",
    "EDESTADDRREQ",
    "EMSGSIZE",
    "EPROTOTYPE",
    "ENOPROTOOPT",
    "EPROTONOSUPPORT",
    "ESOCKTNOSUPPORT",
    "EOPNOTSUPP",
    "EPFNOSUPPORT",
    "EAFNOSUPPORT",
    "EADDRINUSE",
    "EADDRNOTAVAIL",
    "ENETDOWN",
    "ENETUNREACH",
    "ENETRESET",
    "ECONNABORTED",
    "ECONNRESET",
    "ENOBUFS",
    "EISCONN",
    "ENOTCONN",
    "ESHUTDOWN",
    "ETOOMANYREFS",
    "ETIMEDOUT",
    "ECONNREFUSED",
    "EHOSTDOWN",
    "EHOSTUNREACH",
    "EALREADY",
    "EINPROGRESS",
    "ESTALE",
    "EUCLEAN",
    "ENOTNAM",
    "ENAVAIL",
    "EISNAM",
    "EREMOTEIO",
    "EDQUOT",
    "ENOMEDIUM",
    "EMEDIUMTYPE",
    "ECANCELED",
    "ENOKEY",
    "EKEYEXPIRED",
    "EKEYREVOKED",
    "EKEYREJECTED",
    "EOWNERDEAD",
    "ENOTRECOVERABLE",
    "ERFKILL",
    "EHWPOISON",
];

/// What glibc's strerror(3) says of each, in English (glibc 2.36, sysdeps/gnu/errlist.h). Index 0
/// stands for error 1.
const TEXT_LIST: [&str; NAMED - 1] = [
    "Operation not permitted",
    "No such file or directory",
    "No such process",
    "Interrupted system call",
    "Input/output error",
    "No such device or address",
    "Argument list too long",
    "Exec format error",
    "Bad file descriptor",
    "No child processes",
    "Resource temporarily unavailable",
    "Cannot allocate memory",
    "Permission denied",
    "Bad address",
    "Block device required",
    "Device or resource busy",
    "File exists",
    "Invalid cross-device link",
    "No such device",
    "Not a directory",
    "Is a directory",
    "Invalid argument",
    "Too many open files in system",
    "Too many open files",
    "Inappropriate ioctl for device",
    "Text file busy",
    "File too large",
    "No space left on device",
    "Illegal seek",
    "Read-only file system",
    "Too many links",
    "Broken pipe",
    "Numerical argument out of domain",
    "Numerical result out of range",
    "Resource deadlock avoided",
    "File name too long",
    "No locks available",
    "Function not implemented",
    "Directory not empty",
    "Too many levels of symbolic links",
    "",
    "No message of desired type",
    "Identifier removed",
    "Channel number out of range",
    "Level 2 not synchronized",
    "Level 3 halted",
    "Level 3 reset",
    "Link number out of range",
    "Protocol driver not attached",
    "No CSI structure available",
    "Level 2 halted",
    "Invalid exchange",
    "Invalid request descriptor",
    "Exchange full",
    "No anode",
    "Invalid request code",
    "Invalid slot",
    "",
    "Bad font file format",
    "Device not a stream",
    "No data available",
    "Timer expired",
    "Out of streams resources",
    "Machine is not on the network",
    "Package not installed",
    "Object is remote",
    "Link has been severed",
    "Advertise error",
    "Srmount error",
    "Communication error on send",
    "Protocol error",
    "Multihop attempted",
    "RFS specific error",
    "Bad message",
    "Value too large for defined data type",
    "Name not unique on network",
    "File descriptor in bad state",
    "Remote address changed",
    "Can not access a needed shared library",
    "Accessing a corrupted shared library",
    ".lib section in a.out corrupted",
    "Attempting to link in too many shared libraries",
    "Cannot exec a shared library directly",
    "Invalid or incomplete multibyte or wide character",
    "Interrupted system call should be restarted",
    "Streams pipe error",
    "Too many users",
    "Socket operation on non-socket",
    "Destination address required",
    "Message too long",
    "Protocol wrong type for socket",
    "Protocol not available",
    "Protocol not supported",
    "Socket type not supported",
    "Operation not supported",
    "Protocol family not supported",
    "Address family not supported by protocol",
    "Address already in use",
    "Cannot assign requested address",
    "Network is down",
    "Network is unreachable",
    "Network dropped connection on reset",
    "Software caused connection abort",
    "Connection reset by peer",
    "No buffer space available",
    "Transport endpoint is already connected",
    "Transport endpoint is not connected",
    "Cannot send after transport endpoint shutdown",
    "Too many references: cannot splice",
    "Connection timed out",
    "Connection refused",
    "Host is down",
    "No route to host",
    "Operation already in progress",
    "Operation now in progress",
    "Stale file handle",
    "Structure needs cleaning",
    "Not a XENIX named type file",
    "No XENIX semaphores available",
    "Is a named type file",
    "Remote I/O error",
    "Disk quota exceeded",
    "No medium found",
    "Wrong medium type",
    "Operation canceled",
    "Required key not available",
    "Key has expired",
    "Key has been revoked",
    "Key was rejected by service",
    "Owner died",
    "State not recoverable",
    "Operation not possible due to RF-kill",
    "Memory page has hardware error",
];

/// Errors that the kernel uses only internally (include/linux/errno.h), by the names under which
/// strace injects them.
const INTERNAL: [(&str, u32); 17] = [
    ("ERESTARTSYS", 512),
    ("ERESTARTNOINTR", 513),
    ("ERESTARTNOHAND", 514),
    ("ENOIOCTLCMD", 515),
    ("ERESTART_RESTARTBLOCK", 516),
    ("EPROBE_DEFER", 517),
    ("EOPENSTALE", 518),
    ("EBADHANDLE", 521),
    ("ENOTSYNC", 522),
    ("EBADCOOKIE", 523),
    ("ENOTSUPP", 524),
    ("ETOOSMALL", 525),
    ("ESERVERFAULT", 526),
    ("EBADTYPE", 527),
    ("EJUKEBOX", 528),
    ("EIOCBQUEUED", 529),
    ("ERECALLCONFLICT", 530),
];

pub const NAMES: Words = words!(&LIST);
const TEXTS: Words = words!(&TEXT_LIST);

/// The name of an error number (1 to 133), such as `EMFILE` for 24.
#[must_use]
pub fn name(number: u32) -> Option<&'static str> {
    let index = usize::try_from(number.checked_sub(1)?).ok()?;
    NAMES.get(index).filter(|name| !name.is_empty())
}

/// What strerror(3) says of an error number (1 to 133), such as `Too many open files` for 24.
#[must_use]
pub fn text(number: u32) -> Option<&'static str> {
    let index = usize::try_from(number.checked_sub(1)?).ok()?;
    TEXTS.get(index).filter(|text| !text.is_empty())
}

/// The number of a name, for constants. An unknown name does not compile.
#[must_use]
#[allow(clippy::indexing_slicing, clippy::panic, reason = "the compiler evaluates it")]
pub const fn of_name(name: &str) -> u16 {
    let expected = name.as_bytes();
    let mut number = 0;
    while number < LIST.len() {
        let known = LIST[number].as_bytes();
        let mut at = 0;
        while at < expected.len() && at < known.len() && known[at] == expected[at] {
            at += 1;
        }
        if at == expected.len() && at == known.len() {
            return number as u16 + 1;
        }
        number += 1;
    }
    panic!("no error has this name")
}

/// The error number of a name in any case, including one that the kernel uses only internally, such
/// as `ERESTARTSYS`.
#[must_use]
pub fn find(name: &[u8]) -> Option<u32> {
    let mut upper = [0u8; 32];
    let upper = upper.get_mut(..name.len())?;
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    let name = core::str::from_utf8(upper).ok()?;
    number(name).or_else(|| INTERNAL.iter().find(|(known, _)| *known == name).map(|(_, number)| *number))
}

/// The error number of a name. The aliases `EWOULDBLOCK`, `EDEADLOCK` and `ENOTSUP` are accepted
/// too.
#[must_use]
pub fn number(name: &str) -> Option<u32> {
    let name = match name {
        "EWOULDBLOCK" => "EAGAIN",
        "EDEADLOCK" => "EDEADLK",
        "ENOTSUP" => "EOPNOTSUPP",
        other => other,
    };
    if name.is_empty() {
        return None;
    }
    let index = NAMES.iter().position(|known| known == name)?;
    u32::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    #[test]
    fn every_text_is_the_c_librarys() {
        for number in 1..super::NAMED as u32 {
            let said = std::io::Error::from_raw_os_error(number as i32).to_string();
            let said = said.strip_suffix(&std::format!(" (os error {number})")).unwrap_or_default();
            match super::text(number) {
                Some(text) => assert_eq!(text, said),
                None => assert!(said.starts_with("Unknown error"), "{number}"),
            }
        }
        assert_eq!(super::text(0), None);
        assert_eq!(super::text(134), None);
    }

    #[test]
    fn a_name_is_found_in_any_case_and_among_the_kernels_own() {
        assert_eq!(super::find(b"emfile"), Some(24));
        assert_eq!(super::find(b"EnoSpc"), Some(28));
        assert_eq!(super::find(b"EWOULDBLOCK"), Some(11));
        assert_eq!(super::find(b"erestartsys"), Some(512));
        assert_eq!(super::find(b"EMFIL"), None);
        assert_eq!(super::find(b""), None);
        assert_eq!(super::find(&[b'E'; 40]), None);
    }

    #[test]
    fn every_name_leads_back_to_its_number() {
        for number in 1..super::NAMED as u32 {
            if let Some(name) = super::name(number) {
                assert_eq!(super::number(name), Some(number), "{name}");
            }
        }
        assert_eq!(super::name(24), Some("EMFILE"));
        assert_eq!(super::name(28), Some("ENOSPC"));
        assert_eq!(super::name(133), Some("EHWPOISON"));
        assert_eq!(super::name(0), None);
        assert_eq!(super::name(41), None);
        assert_eq!(super::name(134), None);
        assert_eq!(super::number(""), None);
        assert_eq!(super::number("EWOULDBLOCK"), Some(11));
    }
}
