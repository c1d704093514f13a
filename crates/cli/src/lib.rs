//! The `epollshim` command.
//!
//! ```text
//! args          the command line
//! run           epollshim run: starts a program with LD_PRELOAD, waits for it, and reports
//! report        epollshim report: reports on recordings (crates/recording)
//! diff          epollshim diff: compares two recordings
//! ctl           epollshim ctl: sends orders to a process by the control pages of its recording
//! top           epollshim top: shows the recordings of running programs as they change
//! check         epollshim check: gathers facts on a program, judges them, prints the verdict
//! inspect       epollshim inspect: looks at a process from outside
//! explain       epollshim explain: prints the pages of docs/findings
//! sweep         epollshim sweep: fails each call of a program in turn
//! markdown      renders the pages of docs/findings for a terminal
//! suppressions  reads and checks files of suppressions
//! process       who a process is, by its process id
//! program       finds the file of a command: PATH, scripts and their interpreters
//! elf           reads ELF files
//! privilege     setuid, setgid, file capabilities: whether the loader ignores LD_PRELOAD
//! terminal      whether stdout is a terminal, how wide, and with colours
//! text          makes foreign names safe for a terminal, and wraps lines
//! sys           system calls that the standard library lacks: the only unsafe code
//! ```
//!
//! Each command returns its exit status, or a [`Failure`], which is printed in one line. This crate
//! must not link the shim, which would interpose on it.
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
mod process;
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

/// The exit status of a usage error.
pub const USAGE: i32 = 2;

/// Why a command cannot do what was asked.
#[derive(Debug)]
pub struct Failure {
    pub status: i32,
    /// One line, without a newline.
    pub text: String,
}

impl Failure {
    #[must_use]
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure { status: USAGE, text: text.into() }
    }
}

/// Runs the command that `arguments` name, and returns its exit status. The first argument is the
/// name of `epollshim` itself.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> i32 {
    if let Some(status) = sweep::as_one_run(&arguments) {
        return status;
    }
    try_main(arguments).unwrap_or_else(|failure| {
        say(&failure.text);
        failure.status
    })
}

/// As [`main`], but returns a failure instead of printing it.
pub fn try_main(arguments: Vec<OsString>) -> Result<i32, Failure> {
    match args::parse(arguments)? {
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
            Ok(USAGE)
        }
    }
}

/// Prints a line on stderr.
pub fn say(line: &str) {
    // A single write keeps the lines of several programs apart.
    let _ = to_stderr(format!("epollshim: {line}\n").as_bytes());
}

/// Writes all of a text to stderr.
///
/// Another process that shares stderr may have made it non-blocking. Then this function waits until
/// stderr is writable, as a blocking write would.
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

/// Prints text on stdout.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::usage(format!("stdout: {}", text::reason(&error))))
}
