//! Where a test's programs are compiled and run: here, or on another host (tests/other_hosts).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{c_program_with, shim};

/// Paths are the same on each host: what a program writes to a path of [`crate::scratch()`] is read
/// there.
pub trait Place: Sync {
    /// `c-tests/NAME.c`, compiled for this place. Panics with the compiler's output.
    fn c_program(&self, name: &str, flags: &[&str]) -> PathBuf;
    /// A command that starts a program there.
    fn command(&self, program: &Path) -> Command;
    /// The library that is tested there.
    fn library(&self) -> PathBuf;
    /// Whether call stacks (EPOLLSHIM_STACKS) are supported there; otherwise the option is refused.
    fn has_stacks(&self) -> bool;
    /// Whether its C library lacks a function: then the program makes the system call itself
    /// (c-tests/older_libc.h).
    fn lacks(&self, function: &str) -> bool;

    /// `command`, with the library preloaded and its report in JSON at `report`.
    fn preload<'a>(&self, command: &'a mut Command, report: &Path) -> &'a mut Command {
        command.env("LD_PRELOAD", self.library()).env("EPOLLSHIM_REPORT", report).env("EPOLLSHIM_REPORT_FORMAT", "json")
    }
}

/// This machine.
pub struct Here;

impl Place for Here {
    fn c_program(&self, name: &str, flags: &[&str]) -> PathBuf {
        c_program_with(name, flags)
    }

    fn command(&self, program: &Path) -> Command {
        Command::new(program)
    }

    fn library(&self) -> PathBuf {
        shim()
    }

    fn has_stacks(&self) -> bool {
        true
    }

    fn lacks(&self, _: &str) -> bool {
        false
    }
}
