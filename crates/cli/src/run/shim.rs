//! Finds and checks the library, and builds the variables for the loader.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::text::{reason, shown};
use crate::{Failure, elf};

pub const LIBRARY: &str = "libepollshim.so";

/// Where the library may be, relative to the directory of the command.
const PLACES: [&str; 6] = [
    "",
    "../lib",
    // Fedora and related distributions.
    "../lib64",
    "../lib/x86_64-linux-gnu",
    // Packages: a directory of its own, since programs are not linked with it.
    "../lib/epollshim",
    // A build tree: the command of target/debug finds the library that `make` has built.
    "../release",
];

/// The absolute path of the library: the one given by `--shim`, or the first that exists.
pub fn find(asked: Option<&Path>) -> Result<PathBuf, Failure> {
    let path = match asked {
        Some(path) => path.to_path_buf(),
        None => beside_this()?,
    };
    let told = |why: &str| {
        let flag = if asked.is_some() { "--shim: " } else { "" };
        Failure::usage(format!("{flag}{}: {why}", shown(&path)))
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
    match not_preloadable(path.as_os_str()) {
        None => Ok(path),
        Some(what) => Err(told(&format!(
            "LD_PRELOAD cannot name a file with {what} in its path; move it, or give --shim a symbolic link to it"
        ))),
    }
}

fn beside_this() -> Result<PathBuf, Failure> {
    let this = std::env::current_exe().map_err(|error| {
        Failure::usage(format!("/proc/self/exe: {}; give the path of {LIBRARY} with --shim", reason(&error)))
    })?;
    let directory = this.parent().unwrap_or(Path::new("/"));
    PLACES.iter().map(|place| plain(&directory.join(place)).join(LIBRARY)).find(|path| path.exists()).ok_or_else(|| {
        let directory = shown(directory);
        Failure::usage(format!(
            "{LIBRARY} is not in {directory}, nor in ../lib, ../lib64, ../lib/x86_64-linux-gnu, \
             ../lib/epollshim or ../release beside it; \
             give its path with --shim"
        ))
    })
}

/// Resolves the `..` of a path textually. /proc/self/exe contains no symbolic links.
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

/// What LD_PRELOAD cannot hold: spaces and colons are separators, and dynamic string tokens are
/// expanded (ld.so(8)).
fn not_preloadable(path: &OsStr) -> Option<&'static str> {
    let bytes = path.as_bytes();
    let has = |word: &[u8]| bytes.windows(word.len()).any(|part| part == word);
    match () {
        () if bytes.contains(&b' ') => Some("a space"),
        () if bytes.contains(&b':') => Some("a colon"),
        () if [&b"$ORIGIN"[..], b"$LIB", b"$PLATFORM", b"${"].into_iter().any(has) => {
            Some("$ORIGIN, $LIB, $PLATFORM or ${")
        }
        () => None,
    }
}

/// LD_PRELOAD with the library before what was preloaded already. Another copy of the library is
/// removed, since two copies would count twice.
#[must_use]
pub fn preload(library: &Path, old: Option<&OsStr>) -> OsString {
    let mut value = library.as_os_str().as_bytes().to_vec();
    for kept in others(old) {
        value.push(b':');
        value.extend_from_slice(kept);
    }
    OsString::from_vec(value)
}

/// LD_PRELOAD without copies of the library. None: nothing is left.
#[must_use]
pub fn without(old: Option<&OsStr>) -> Option<OsString> {
    let kept: Vec<&[u8]> = others(old).collect();
    (!kept.is_empty()).then(|| OsString::from_vec(kept.join(&b':')))
}

fn others(old: Option<&OsStr>) -> impl Iterator<Item = &[u8]> {
    let parts = old.map(OsStr::as_bytes).unwrap_or_default().split(|byte| matches!(byte, b':' | b' '));
    parts.filter(|part| !part.is_empty() && Path::new(OsStr::from_bytes(part)).file_name() != Some(OsStr::new(LIBRARY)))
}

/// ASan ends a program if a preloaded library is initialised before its runtime, because such a
/// library could replace `malloc`. This library does not, so the check is turned off unless the
/// user has set it. Programs without ASan ignore the variable. (To preload the runtime instead
/// would load it into every child, which would then look for leaks.)
#[must_use]
pub fn asan_options(old: Option<&OsStr>) -> OsString {
    const CHECK: &[u8] = b"verify_asan_link_order";
    let mut value = old.map(OsStr::as_bytes).unwrap_or_default().to_vec();
    if !value.windows(CHECK.len()).any(|part| part == CHECK) {
        if !value.is_empty() {
            value.push(b':');
        }
        value.extend_from_slice(CHECK);
        value.extend_from_slice(b"=0");
    }
    OsString::from_vec(value)
}

#[cfg(test)]
mod tests {
    use super::{asan_options, not_preloadable, plain, preload, without};
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
    fn without_the_library_what_else_was_preloaded_stays() {
        for (old, new) in [
            (None, None),
            (Some(""), None),
            (Some("/l/libepollshim.so"), None),
            (Some("/a.so /l/libepollshim.so:/b.so"), Some("/a.so:/b.so")),
        ] {
            assert_eq!(without(old.map(OsStr::new)).as_deref(), new.map(OsStr::new));
        }
    }

    #[test]
    fn asan_does_not_check_the_order_of_libraries_unless_the_user_says_so() {
        for (old, new) in [
            (None, "verify_asan_link_order=0"),
            (Some(""), "verify_asan_link_order=0"),
            (Some("halt_on_error=0"), "halt_on_error=0:verify_asan_link_order=0"),
            (Some("verify_asan_link_order=1:x=2"), "verify_asan_link_order=1:x=2"),
        ] {
            assert_eq!(asan_options(old.map(OsStr::new)), new);
        }
    }

    #[test]
    fn a_path_that_the_loader_would_misread_is_found_out() {
        for (path, bad) in
            [("/a b", true), ("/a:b", true), ("/$LIB/x", true), ("/${x}", true), ("/a$b", false), ("/ä", false)]
        {
            assert_eq!(not_preloadable(OsStr::new(path)).is_some(), bad, "{path}");
        }
    }

    #[test]
    fn a_path_beside_the_command_reads_plainly() {
        assert_eq!(plain(&Path::new("/usr/local/bin").join("../lib")), Path::new("/usr/local/lib"));
        assert_eq!(plain(&Path::new("/bin").join("")), Path::new("/bin"));
    }
}
