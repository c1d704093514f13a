//! Helpers for tests of `epollshim sweep`: programs of c-tests/sweep, sweeps, and their results.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{binary, epollshim, output, scratch, stderr, stdout};

/// Compiles `c-tests/sweep/NAME.c`.
pub fn program(name: &str) -> PathBuf {
    program_with(name, &[])
}

pub fn program_with(name: &str, flags: &[&str]) -> PathBuf {
    let source = testkit::root().join(format!("c-tests/sweep/{name}.c"));
    let before = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror"];
    testkit::compile::program("cc", &before, &source, flags).unwrap_or_else(|error| panic!("{name}.c: {error}"))
}

pub fn sweep(flags: &[&str], command: &[&str]) -> Output {
    output(epollshim().args(["sweep", "--format", "json"]).args(flags).arg("--").args(command))
}

/// The result of a sweep, and its exit status.
pub fn swept(flags: &[&str], command: &[&str]) -> (Value, i32) {
    let output = sweep(flags, command);
    let value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    (value, output.status.code().unwrap())
}

pub fn finds(all: &Value) -> Vec<(String, String)> {
    let finds = all["finds"].as_array().unwrap();
    let text = |find: &Value, key: &str| find[key].as_str().unwrap().to_owned();
    finds.iter().map(|find| (text(find, "verdict"), text(find, "line"))).collect()
}

/// Runs the command line of a find in a shell, with this command in PATH.
pub fn repeat(line: &str, directory: &Path) -> Command {
    let path = format!("{}:{}", binary().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {line}")]).env("PATH", path).current_dir(directory).stdin(Stdio::null());
    // What a killed command leaves is removed with this folder.
    command.env("TMPDIR", directory);
    command
}

/// Expects one find with this verdict, which its command line repeats.
pub fn has_one_find(name: &str, flags: &[&str], verdict: &str, shows: impl Fn(&Output) -> bool) {
    let program = program(name);
    let (all, status) = swept(flags, &[program.to_str().unwrap()]);
    let found = finds(&all);
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    assert_eq!((found[0].0.as_str(), status), (verdict, 1), "{name}");
    assert_eq!(all["finds"][0]["same"], 3, "{name}: each time: {}", all["finds"][0]);
    assert_eq!(all["not_reached"], 0, "{name}");
    let output = output(&mut repeat(&found[0].1, &scratch("repeat")));
    assert!(shows(&output), "{name}: {}: {:?} {}{}", found[0].1, output.status, stdout(&output), stderr(&output));
}

/// Like [`has_one_find`] for a program that hangs: the line still runs after this time, and is
/// killed. Returns the evidence.
pub fn stays(name: &str, flags: &[&str], verdict: &str) -> String {
    let program = program(name);
    let (all, status) = swept(flags, &[program.to_str().unwrap()]);
    let found = finds(&all);
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    assert_eq!((found[0].0.as_str(), status), (verdict, 1), "{name}");
    let mut command = repeat(&format!("timeout -s KILL 2 {}", found[0].1), &scratch("repeat"));
    assert_eq!(output(&mut command).status.code().or(Some(137)), Some(137), "{}", found[0].1);
    all["finds"][0]["evidence"].to_string()
}
