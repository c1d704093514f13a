//! Finds the file of a command: by PATH, and through the interpreters of scripts.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::elf::{Header, Unreadable};
use crate::sys;

/// How many levels of scripts the kernel follows (Linux v5.1 fs/exec.c, exec_binprm), and how many
/// bytes it reads of the first line (BINPRM_BUF_SIZE of include/uapi/linux/binfmts.h).
const DEPTH: usize = 5;
const FIRST_LINE: usize = 256;

/// The file that the system finally executes.
#[derive(Debug)]
pub struct Target {
    pub path: PathBuf,
    pub header: Header,
    /// The scripts that led to it, in order.
    pub scripts: Vec<PathBuf>,
}

/// The path of a command: `name` itself if it contains a slash, otherwise the first executable file
/// in PATH. None: not found.
pub fn find(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    let name = name.as_ref();
    if name.is_empty() {
        return None;
    }
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name));
    }
    // The default without PATH: execvp(3).
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/bin:/usr/bin"));
    std::env::split_paths(&path)
        // An empty element is the working directory.
        .map(|directory| if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory })
        .map(|directory| directory.join(name))
        .find(|file| file.is_file() && sys::may_execute(file))
}

/// Follows scripts to a program. The error names the file that caused it.
pub fn follow(path: &Path) -> Result<Target, (PathBuf, Unreadable)> {
    let mut path = path.to_path_buf();
    let mut scripts = Vec::new();
    while scripts.len() <= DEPTH {
        let line = match beginning(&path) {
            Ok(line) => line,
            Err(error) => return Err((path, error)),
        };
        if let Some(header) = Header::of(&line) {
            return Ok(Target { path, header, scripts });
        }
        let Some((interpreter, argument)) = interpreter(&line) else {
            let why = "not a program: neither an ELF file nor a script that begins with #!";
            return Err((path, Unreadable::Format(why)));
        };
        scripts.push(path);
        let by_env = Path::new(interpreter).file_name() == Some(OsStr::new("env"));
        path = argument
            .filter(|_| by_env)
            .and_then(program_of_env)
            .and_then(find)
            .unwrap_or_else(|| PathBuf::from(interpreter));
    }
    Err((path, Unreadable::Format("scripts whose interpreters are scripts, without end")))
}

/// Whether a program is a shell, by its name.
pub fn is_shell(path: &Path) -> bool {
    const SHELLS: [&str; 7] = ["sh", "ash", "bash", "dash", "ksh", "mksh", "zsh"];
    path.file_name().and_then(OsStr::to_str).is_some_and(|name| SHELLS.contains(&name))
}

/// The program that replaces a shell script at its end: the script's last line is `exec PROGRAM`,
/// and PROGRAM contains no expansions. The shims of version managers are such scripts.
pub fn becomes(script: &Path) -> Option<PathBuf> {
    /// Longer scripts are not followed.
    const MOST: u64 = 16 * 1024;
    let mut text = Vec::new();
    File::open(script).ok()?.take(MOST + 1).read_to_end(&mut text).ok()?;
    let text = std::str::from_utf8(&text).ok().filter(|text| text.len() as u64 <= MOST)?;
    last_exec(text).and_then(find)
}

/// The word after the `exec` of the last line, without its quotes. None: no such line, or the word
/// contains expansions.
fn last_exec(text: &str) -> Option<&str> {
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty() && !line.starts_with('#'))?;
    let words = last.strip_prefix("exec")?.strip_prefix([' ', '\t'])?.trim_start();
    let word = match words.chars().next()? {
        quote @ ('"' | '\'') => words.get(1..)?.split(quote).next()?,
        _ => words.split_ascii_whitespace().next()?,
    };
    (!word.starts_with('-') && !word.contains(['$', '`', '*', '~', '\\'])).then_some(word)
}

fn beginning(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let data = std::fs::metadata(path)?;
    if !data.is_file() {
        return Err(Unreadable::Format(if data.is_dir() { "a directory" } else { "not a regular file" }));
    }
    let mut line = Vec::new();
    File::open(path)?.take(FIRST_LINE as u64).read_to_end(&mut line)?;
    Ok(line)
}

/// The interpreter in the first line of a script, and its argument.
fn interpreter(text: &[u8]) -> Option<(&OsStr, Option<&[u8]>)> {
    let line = text.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?.trim_ascii();
    let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(line.len());
    let (interpreter, argument) = line.split_at_checked(end)?;
    let argument = argument.trim_ascii();
    (!interpreter.is_empty()).then(|| (OsStr::from_bytes(interpreter), (!argument.is_empty()).then_some(argument)))
}

/// The program that env(1) starts: the first word that is neither a flag nor an assignment.
fn program_of_env(argument: &[u8]) -> Option<&OsStr> {
    argument
        .split(|byte| byte.is_ascii_whitespace())
        .find(|word| !word.is_empty() && !word.starts_with(b"-") && !word.contains(&b'='))
        .map(OsStr::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::{interpreter, last_exec, program_of_env};
    use std::ffi::OsStr;

    #[test]
    fn a_first_line_is_read_as_the_kernel_reads_it() {
        for (line, read) in [
            (&b"#!/bin/sh\necho"[..], Some(("/bin/sh", None))),
            (b"#! /bin/sh -e \n", Some(("/bin/sh", Some("-e")))),
            (b"#!/usr/bin/env\tpython3 -u\n", Some(("/usr/bin/env", Some("python3 -u")))),
            (b"#!\n", None),
            (b"#/bin/sh\n", None),
            (b"", None),
        ] {
            let read =
                read.map(|(name, argument): (&str, Option<&str>)| (OsStr::new(name), argument.map(str::as_bytes)));
            assert_eq!(interpreter(line), read);
        }
    }

    #[test]
    fn a_script_becomes_what_its_last_line_names() {
        for (text, word) in [
            ("#!/bin/sh\nset -e\nexec /usr/bin/redis-server \"$@\"\n", Some("/usr/bin/redis-server")),
            ("#!/bin/sh\nexec \"/opt/my app/run\" exec \"$name\"\n\n# the end\n", Some("/opt/my app/run")),
            ("#!/bin/sh\nexec 'python3' -u", Some("python3")),
            ("#!/bin/sh\nexec \"$program\" \"$@\"\n", None),
            ("#!/bin/sh\nexec -a name program\n", None),
            ("#!/bin/sh\nexec server\necho done\n", None),
            ("#!/bin/sh\nexecute\n", None),
            ("", None),
        ] {
            assert_eq!(last_exec(text), word, "{text}");
        }
    }

    #[test]
    fn env_starts_the_first_word_that_is_a_program() {
        for (argument, program) in [("python3", "python3"), ("-S A=1 node --x", "node"), ("-i", "")] {
            assert_eq!(program_of_env(argument.as_bytes()).unwrap_or_default(), program);
        }
    }
}
