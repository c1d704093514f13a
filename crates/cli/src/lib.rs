//! The command around the shim.
//!
//! ```text
//! args        what the command line looks like
//! run         epollshim run: options to variables, the library into LD_PRELOAD, the parent of the program, its report
//! report      epollshim report: recordings, by crates/recording
//! diff        epollshim diff: two of them
//! ctl         epollshim ctl: finds the recording of a process, and talks to it through its control pages
//! top         epollshim top: recordings of running programs, again and again
//! check       epollshim check: gathers facts, judges them, prints them as text or JSON
//! inspect     epollshim inspect: a process from outside: what its epoll instances watch, who waits, what is wrong
//! explain     epollshim explain: the pages of docs/findings
//! sweep       epollshim sweep: fails each call of a program in turn, and says what it does not survive
//! markdown    such a page for a terminal
//! suppressions  the file of findings that are not told, read and checked
//! program     which file a command is: PATH, scripts and their interpreters
//! elf         what an ELF file says of itself
//! privilege   setuid, setgid, file capabilities: whether the loader will ignore LD_PRELOAD
//! terminal    what stdout is: how wide, and with colours or without
//! text        names of strangers made fit for a terminal, lines for 80 columns
//! sys         the few system calls that the standard library does not have: the only unsafe code
//! ```
//!
//! A command returns the exit status, or a [`Failure`] that is told in one line. It never links the shim, which would
//! interpose on it.
#![deny(unsafe_code)]

use std::ffi::OsString;
use std::io::Write;

pub mod args;
pub mod check;
pub mod ctl;
pub mod diff;
pub mod elf;
pub mod explain;
pub mod inspect;
pub mod markdown;
pub mod privilege;
pub mod program;
pub mod report;
pub mod run;
pub mod suppressions;
pub mod sweep;
#[allow(unsafe_code)]
mod sys;
pub mod terminal;
pub mod text;
pub mod top;

/// The exit status of an error of use.
pub const USE: i32 = 2;

/// Why a command cannot do what is asked.
#[derive(Debug)]
pub struct Failure {
    pub status: i32,
    /// One line.
    pub text: String,
}

impl Failure {
    #[must_use]
    pub fn of_use(text: impl Into<String>) -> Failure {
        Failure { status: USE, text: text.into() }
    }
}

/// Runs the command that the arguments ask for, the first of which is the command's own name; the exit status.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> i32 {
    if let Some(status) = sweep::as_one_run(&arguments) {
        return status;
    }
    let done = args::parse(arguments).and_then(|command| match command {
        args::Asked::Run(asked) => run::run(&asked),
        args::Asked::Report(asked) => report::report(&asked),
        args::Asked::Diff(asked) => diff::diff(&asked),
        args::Asked::Top(asked) => top::top(&asked),
        args::Asked::Check(asked) => check::check(&asked),
        args::Asked::Inspect(asked) => inspect::inspect(&asked),
        args::Asked::Explain(asked) => explain::explain(&asked),
        args::Asked::Ctl(asked) => ctl::ctl(&asked),
        args::Asked::Sweep(asked) => sweep::sweep(&asked),
        args::Asked::Text(text) => print(&text).map(|()| 0),
        args::Asked::Help(text) => {
            let _ = std::io::stderr().write_all(text.as_bytes());
            Ok(USE)
        }
    });
    done.unwrap_or_else(|failure| {
        say(&failure.text);
        failure.status
    })
}

/// A line on stderr.
pub fn say(line: &str) {
    // One write, so that lines of several programs do not mix.
    let _ = to_stderr(format!("epollshim: {line}\n").as_bytes());
}

/// All of a text on stderr. A program that shares it may have made it non-blocking: then this waits as a blocking one does.
pub fn to_stderr(mut text: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stderr();
    while !text.is_empty() {
        match out.write(text) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(length) => text = text.get(length..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => sys::child::wait_writable(2),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes a variable, and returns its value.
fn take(environment: &mut Vec<(OsString, OsString)>, name: &str) -> Option<OsString> {
    let place = environment.iter().position(|(other, _)| other == name)?;
    let (_, value) = environment.swap_remove(place);
    environment.retain(|(other, _)| other != name);
    Some(value)
}

/// Text on stdout.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::of_use(format!("stdout: {}", text::reason(&error))))
}
