//! What the command's tests need besides the testkit.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod sweep;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub use testkit::{HUNG, binary, copy, library, output, scratch, skipped, stderr, stdout, tool, until};

/// The command, without options in its environment.
pub fn epollshim() -> Command {
    library();
    testkit::keep_from_children();
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("EPOLLSHIM_") || name == "LD_PRELOAD") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the command with these arguments until it ends.
pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    output(epollshim().args(arguments))
}

/// Compiles `tests/programs/NAME.c`. Err: the output of the compiler.
pub fn try_compile(name: &str, flags: &[&str]) -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/programs/{name}.c"));
    testkit::compile::program("cc", &["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror"], &source, flags)
}

pub fn compile(name: &str, flags: &[&str]) -> PathBuf {
    try_compile(name, flags).unwrap_or_else(|error| panic!("{name}.c: {error}"))
}

/// Checks JUnit's XML against Jenkins' schema, if xmllint is installed.
pub fn is_valid_for_jenkins(xml: &str) {
    let Some(xmllint) = tool("xmllint") else { return };
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/junit-10.xsd");
    let file = scratch("xmllint").join("junit.xml");
    std::fs::write(&file, xml).unwrap();
    let checked = output(Command::new(&xmllint).args(["--noout", "--nonet", "--schema"]).arg(&schema).arg(&file));
    assert!(checked.status.success(), "{}\n{xml}", stderr(&checked));
}
