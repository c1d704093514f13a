//! The library: where it is, whether it is one, and how it is said to the loader.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::text::{reason, shown};
use crate::{Failure, elf};

pub const LIBRARY: &str = "libepollshim.so";

/// Where it may lie, seen from the command's own directory.
const PLACES: [&str; 5] = [
    "",
    "../lib",
    // Where Fedora and its kin have libraries.
    "../lib64",
    "../lib/x86_64-linux-gnu",
    // The command of target/debug finds the library that `make` has built.
    "../release",
];

/// The library's absolute path: the one asked for, or the first that is there.
pub fn find(asked: Option<&Path>) -> Result<PathBuf, Failure> {
    let path = match asked {
        Some(path) => path.to_path_buf(),
        None => beside_this()?,
    };
    let told = |why: &str| {
        let flag = if asked.is_some() { "--shim " } else { "" };
        Failure::of_use(format!("{flag}{}: {why}", shown(&path)))
    };
    let header = elf::header(&path).map_err(|error| match error {
        elf::Unreadable::System(error) => told(&reason(&error)),
        elf::Unreadable::Format(_) => told("not a shared object"),
    })?;
    if !header.is_native() {
        return Err(told(&format!("built for {}, not for x86-64", header.architecture())));
    }
    let is_shim = elf::read_file(&path).is_ok_and(|library| library.kind == elf::Kind::Library && library.is_shim);
    if !is_shim {
        return Err(told("not epollshim's library (no symbol epollshim_version)"));
    }
    let path = std::path::absolute(&path).map_err(|error| told(&reason(&error)))?;
    match unspeakable(path.as_os_str()) {
        None => Ok(path),
        Some(what) => Err(told(&format!(
            "LD_PRELOAD cannot name a file with {what} in its path; put it elsewhere, or give --shim a link to it"
        ))),
    }
}

fn beside_this() -> Result<PathBuf, Failure> {
    let this = std::env::current_exe().map_err(|error| {
        Failure::of_use(format!("/proc/self/exe: {}; --shim PATH says where {LIBRARY} is", reason(&error)))
    })?;
    let directory = this.parent().unwrap_or(Path::new("/"));
    PLACES.iter().map(|place| plain(&directory.join(place)).join(LIBRARY)).find(|path| path.exists()).ok_or_else(|| {
        let directory = shown(directory);
        Failure::of_use(format!(
            "{LIBRARY} is not in {directory}, nor in ../lib, ../lib64, ../lib/x86_64-linux-gnu or ../release beside it; \
             --shim PATH says where it is"
        ))
    })
}

/// A path without the `..` at its end: /proc/self/exe has no symbolic links in it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path {
        if part == ".." {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

/// What LD_PRELOAD cannot hold (ld.so(8): spaces and colons separate, dollar words are replaced).
fn unspeakable(path: &OsStr) -> Option<&'static str> {
    let bytes = path.as_bytes();
    let has = |word: &[u8]| bytes.windows(word.len()).any(|part| part == word);
    match () {
        () if bytes.contains(&b' ') => Some("a space"),
        () if bytes.contains(&b':') => Some("a colon"),
        () if [&b"$ORIGIN"[..], b"$LIB", b"$PLATFORM", b"${"].into_iter().any(has) => Some("a dollar word"),
        () => None,
    }
}

/// The library in front of what was preloaded before. Another copy of the library gives way: two would count twice.
#[must_use]
pub fn preload(library: &Path, old: Option<&OsStr>) -> OsString {
    let mut value = library.as_os_str().as_bytes().to_vec();
    let old = old.map(OsStr::as_bytes).unwrap_or_default();
    for kept in old.split(|byte| matches!(byte, b':' | b' ')).filter(|part| !part.is_empty()) {
        if Path::new(OsStr::from_bytes(kept)).file_name() != Some(OsStr::new(LIBRARY)) {
            value.push(b':');
            value.extend_from_slice(kept);
        }
    }
    OsString::from_vec(value)
}

#[cfg(test)]
mod tests {
    use super::{plain, preload, unspeakable};
    use std::ffi::OsStr;
    use std::path::Path;

    #[test]
    fn what_was_preloaded_stays_behind_the_library() {
        let library = Path::new("/l/libepollshim.so");
        for (old, new) in [
            (None, "/l/libepollshim.so"),
            (Some(""), "/l/libepollshim.so"),
            (Some("libjemalloc.so.2"), "/l/libepollshim.so:libjemalloc.so.2"),
            (Some("/a.so /b.so:/c.so"), "/l/libepollshim.so:/a.so:/b.so:/c.so"),
            (Some("/l/libepollshim.so:/x"), "/l/libepollshim.so:/x"),
            (Some("/x:/old/libepollshim.so"), "/l/libepollshim.so:/x"),
        ] {
            assert_eq!(preload(library, old.map(OsStr::new)), new);
        }
    }

    #[test]
    fn a_path_that_the_loader_would_misread_is_found_out() {
        for (path, bad) in
            [("/a b", true), ("/a:b", true), ("/$LIB/x", true), ("/${x}", true), ("/a$b", false), ("/ä", false)]
        {
            assert_eq!(unspeakable(OsStr::new(path)).is_some(), bad, "{path}");
        }
    }

    #[test]
    fn a_path_beside_the_command_reads_plainly() {
        assert_eq!(plain(&Path::new("/usr/local/bin").join("../lib")), Path::new("/usr/local/lib"));
        assert_eq!(plain(&Path::new("/bin").join("")), Path::new("/bin"));
    }
}
