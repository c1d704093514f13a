//! The commands of fcntl(2), and how the log writes their argument and their result.

use libc::c_int;

use super::flags::{Names, names, values};

/// There is no argument, or the result is a plain number.
pub const NONE: &str = "";

pub struct Command {
    /// None: the command is unknown.
    pub name: Option<&'static str>,
    /// The form of its argument (arguments.rs).
    pub argument: &'static str,
    /// The form of its result.
    pub result: &'static str,
}

const COMMANDS: Names = names!("F":
    F_DUPFD F_DUPFD_CLOEXEC F_SETPIPE_SZ
    F_GETFD F_SETFD
    F_GETFL F_SETFL
    F_GETSIG F_SETSIG
    F_GETLEASE F_SETLEASE
    F_GETOWN F_GETPIPE_SZ F_GET_SEALS
    F_SETOWN
    F_NOTIFY
    F_ADD_SEALS
    F_GETLK F_SETLK F_SETLKW F_SETOWN_EX F_GETOWN_EX F_GETOWNER_UIDS F_OFD_GETLK F_OFD_SETLK F_OFD_SETLKW);

pub fn command(number: c_int) -> Command {
    let Some(name) = COMMANDS.of(number) else { return Command { name: None, argument: "word", result: NONE } };
    let (argument, result) = match number {
        values::F_DUPFD | values::F_DUPFD_CLOEXEC | values::F_SETPIPE_SZ => ("unsigned", NONE),
        values::F_GETFD => (NONE, "fdflags"),
        values::F_SETFD => ("fdflags", NONE),
        values::F_GETFL => (NONE, "oflags"),
        values::F_SETFL => ("oflags", NONE),
        values::F_GETSIG => (NONE, "signal"),
        values::F_SETSIG => ("signal", NONE),
        values::F_GETLEASE => (NONE, "lock"),
        values::F_SETLEASE => ("lock", NONE),
        values::F_GETOWN | values::F_GETPIPE_SZ | values::F_GET_SEALS => (NONE, NONE),
        values::F_SETOWN => ("int", NONE),
        values::F_NOTIFY => ("hex", NONE),
        values::F_ADD_SEALS => ("seals", NONE),
        _ => ("pointer", NONE),
    };
    Command { name: Some(name), argument, result }
}
