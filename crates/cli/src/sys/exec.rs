//! Replaces this process by a program, as execvpe(3) of glibc does, with any C library.
//!
//! musl's execvpe(3) differs: it does not run a file without a known header by the shell, and it
//! has another default PATH.

use std::ffi::{CStr, CString, OsStr, OsString, c_char};
use std::io::{Error, ErrorKind};
use std::os::unix::ffi::OsStrExt;

use super::c_string;

/// The default of PATH (glibc 2.36, sysdeps/unix/confstr.h: CS_PATH).
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";
const SHELL: &CStr = c"/bin/sh";

/// The arguments of an exec, built before the fork. [`Ready::exec`] allocates nothing.
pub struct Ready {
    /// The candidate files, in the order in which they are tried.
    files: Vec<CString>,
    /// The arguments. The second of `shell_words` is filled in when the file for the shell is
    /// known.
    words: Vec<*const c_char>,
    shell_words: Vec<*const c_char>,
    entries: Vec<*const c_char>,
    /// Owns the strings that the pointers refer to.
    _strings: (Vec<CString>, Vec<CString>),
}

impl Ready {
    /// Prepares the program `words[0]`, which is searched for in PATH as a shell does, unless it
    /// contains a slash.
    pub fn new(words: &[OsString], environment: &[(OsString, OsString)]) -> Result<Ready, Error> {
        let name = words.first().filter(|name| !name.is_empty()).ok_or(ErrorKind::NotFound)?;
        let files = files(name, std::env::var_os("PATH").as_deref())?;
        let strings = (words_of(words)?, entries_of(environment)?);
        let words = pointers(&strings.0);
        let shell_words = [SHELL.as_ptr(), SHELL.as_ptr()].into_iter().chain(words.iter().skip(1).copied()).collect();
        Ok(Ready { files, words, shell_words, entries: pointers(&strings.1), _strings: strings })
    }

    /// Replaces this process by the program. Returns the errno on failure.
    ///
    /// `std::os::unix::process::CommandExt::exec` sets SIGPIPE to its default. Here an ignored
    /// signal stays ignored.
    pub fn exec(&mut self) -> i32 {
        let mut is_forbidden = false;
        let mut last = libc::ENOENT;
        for file in &self.files {
            last = execve(file, &self.words, &self.entries);
            if last == libc::ENOEXEC {
                // A script whose first line names no interpreter.
                if let Some(place) = self.shell_words.get_mut(1) {
                    *place = file.as_ptr();
                }
                return execve(SHELL, &self.shell_words, &self.entries);
            }
            match last {
                libc::EACCES => is_forbidden = true,
                libc::ENOENT | libc::ESTALE | libc::ENOTDIR | libc::ENODEV | libc::ETIMEDOUT => {}
                _ => return last,
            }
        }
        if is_forbidden { libc::EACCES } else { last }
    }
}

/// Returns the errno.
fn execve(file: &CStr, words: &[*const c_char], entries: &[*const c_char]) -> i32 {
    // SAFETY: `file` is zero-terminated, and the arrays hold pointers to zero-terminated strings
    // and end with a null pointer (`pointers`). The caller's `Ready` owns all of them.
    unsafe { libc::execve(file.as_ptr(), words.as_ptr(), entries.as_ptr()) };
    Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// The candidate files for a name. An empty element of PATH is the current directory.
fn files(name: &OsStr, path: Option<&OsStr>) -> Result<Vec<CString>, Error> {
    if name.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(name)?]);
    }
    let directories = path.map_or(DEFAULT_PATH, OsStr::as_bytes).split(|byte| *byte == b':');
    let file = |directory: &[u8]| {
        let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        c_string(OsStr::from_bytes(&[directory, slash, name.as_bytes()].concat()))
    };
    directories.map(file).collect()
}

fn words_of(words: &[OsString]) -> Result<Vec<CString>, Error> {
    words.iter().map(|word| c_string(word)).collect()
}

/// `NAME=VALUE`, as exec takes them.
fn entries_of(environment: &[(OsString, OsString)]) -> Result<Vec<CString>, Error> {
    let entry = |(name, value): &(OsString, OsString)| {
        let mut entry = name.clone();
        entry.push("=");
        entry.push(value);
        c_string(&entry)
    };
    environment.iter().map(entry).collect()
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    use super::files;
    use std::ffi::{CString, OsStr};

    #[test]
    fn a_name_is_looked_for_in_each_directory_of_path() {
        let found = |name: &str, path: Option<&str>| -> Vec<String> {
            let files = files(OsStr::new(name), path.map(OsStr::new)).unwrap_or_default();
            files.into_iter().map(|file: CString| file.into_string().unwrap_or_default()).collect()
        };
        assert_eq!(found("app", Some("/a:/b/")), ["/a/app", "/b//app"]);
        assert_eq!(found("app", Some("/a::")), ["/a/app", "app", "app"]);
        assert_eq!(found("app", None), ["/bin/app", "/usr/bin/app"]);
        assert_eq!(found("./app", Some("/a")), ["./app"]);
    }
}
