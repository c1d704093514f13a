//! The commands of fcntl(2), and how the log writes what each is given and what it returns.

use libc::c_int;

/// No argument, or a plain result.
pub const NONE: &str = "-";

pub struct Command {
    /// None: it is unknown.
    pub name: Option<&'static str>,
    /// The form of its argument, as in arguments.rs.
    pub argument: &'static str,
    /// The form of what it returns.
    pub result: &'static str,
}

/// Number, name, argument and result. Numbers: Linux v6.1 include/uapi/asm-generic/fcntl.h and include/uapi/linux/fcntl.h; names as
/// strace writes them.
const COMMANDS: &str = "\
    0 F_DUPFD unsigned - \
    1 F_GETFD - fdflags \
    2 F_SETFD fdflags - \
    3 F_GETFL - oflags \
    4 F_SETFL oflags - \
    5 F_GETLK pointer - \
    6 F_SETLK pointer - \
    7 F_SETLKW pointer - \
    8 F_SETOWN int - \
    9 F_GETOWN - - \
    10 F_SETSIG signal - \
    11 F_GETSIG - signal \
    15 F_SETOWN_EX pointer - \
    16 F_GETOWN_EX pointer - \
    17 F_GETOWNER_UIDS pointer - \
    36 F_OFD_GETLK pointer - \
    37 F_OFD_SETLK pointer - \
    38 F_OFD_SETLKW pointer - \
    1024 F_SETLEASE lock - \
    1025 F_GETLEASE - lock \
    1026 F_NOTIFY hex - \
    1030 F_DUPFD_CLOEXEC unsigned - \
    1031 F_SETPIPE_SZ unsigned - \
    1032 F_GETPIPE_SZ - - \
    1033 F_ADD_SEALS seals - \
    1034 F_GET_SEALS - - \
    1035 F_GET_RW_HINT pointer - \
    1036 F_SET_RW_HINT pointer - \
    1037 F_GET_FILE_RW_HINT pointer - \
    1038 F_SET_FILE_RW_HINT pointer -";

pub fn command(number: c_int) -> Command {
    let mut words = COMMANDS.split_ascii_whitespace();
    while let (Some(known), Some(name), Some(argument), Some(result)) =
        (words.next(), words.next(), words.next(), words.next())
    {
        if known.parse() == Ok(number) {
            return Command { name: Some(name), argument, result };
        }
    }
    Command { name: None, argument: "word", result: NONE }
}
