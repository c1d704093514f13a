//! Finds the libraries that a program needs as ld.so(8) does: by DT_RPATH, LD_LIBRARY_PATH,
//! DT_RUNPATH, the cache of the loader, and the standard directories. For musl, its own list of
//! directories replaces the last two.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::elf::{self, Elf};
use crate::text::printable;

const STANDARD: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// The values of `$LIB`: on Debian, and elsewhere.
const LIB: [&str; 2] = ["lib/x86_64-linux-gnu", "lib64"];
/// More libraries than any program needs.
const MOST: usize = 4096;

pub struct Library {
    pub name: String,
    pub path: PathBuf,
    pub elf: Elf,
}

/// A library that was not found, and the object that needs it.
pub struct Missing {
    pub name: String,
    pub needed_by: String,
}

/// All libraries that a program needs, directly or indirectly.
pub fn needed(program: &Path, elf: &Elf) -> (Vec<Library>, Vec<Missing>) {
    let is_for_musl = elf.is_for_musl();
    let file = if is_for_musl { None } else { std::fs::read("/etc/ld.so.cache").ok() };
    let cache = file.map(|bytes| cache(&bytes)).unwrap_or_default();
    let standard: Vec<PathBuf> = if is_for_musl { musl_s() } else { STANDARD.iter().map(PathBuf::from).collect() };
    let environment: Vec<PathBuf> = std::env::var_os("LD_LIBRARY_PATH")
        .map(|value| {
            let parts = value.as_bytes().split(|byte| matches!(byte, b':' | b';'));
            parts.map(|part| PathBuf::from(OsStr::from_bytes(if part.is_empty() { b"." } else { part }))).collect()
        })
        .unwrap_or_default();
    let (mut found, mut missing): (Vec<Library>, Vec<Missing>) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    let mut open = VecDeque::new();
    let main = directories(elf.rpath.as_deref().filter(|_| elf.runpath.is_none()), program);
    open.push_back((program.to_path_buf(), elf.clone(), Vec::new()));
    while let Some((path, elf, inherited)) = open.pop_front() {
        // DT_RPATH applies to the libraries that an object needs, and to those that they need.
        // DT_RUNPATH disables it.
        let mut rpath = directories(elf.rpath.as_deref(), &path);
        rpath.extend(inherited);
        let runpath = directories(elf.runpath.as_deref(), &path);
        for name in &elf.needed {
            if !seen.insert(name.clone()) || seen.len() > MOST || is_for_musl && is_loader_itself(name) {
                continue;
            }
            let file = OsStr::from_bytes(name);
            let in_force = if elf.runpath.is_none() { rpath.as_slice() } else { &[] };
            let cached = cache.get(name).into_iter().flatten().cloned();
            let place = if name.contains(&b'/') {
                read(PathBuf::from(file))
            } else {
                in_force
                    .iter()
                    .chain(if elf.runpath.is_none() { main.as_slice() } else { &[] })
                    .chain(&environment)
                    .chain(&runpath)
                    .map(|directory| directory.join(file))
                    .chain(cached)
                    .chain(standard.iter().map(|directory| directory.join(file)))
                    .find_map(read)
            };
            let shown = printable(&String::from_utf8_lossy(name));
            match place {
                Some((path, elf)) => {
                    open.push_back((path.clone(), elf.clone(), rpath.clone()));
                    found.push(Library { name: shown, path, elf });
                }
                None => missing.push(Missing { name: shown, needed_by: crate::text::base(&path) }),
            }
        }
    }
    (found, missing)
}

/// Where musl's loader searches: the directories in its configuration file, or three defaults (musl
/// 1.2 ldso/dynlink.c, load_library).
fn musl_s() -> Vec<PathBuf> {
    let named = std::fs::read("/etc/ld-musl-x86_64.path").unwrap_or_else(|_| b"/lib:/usr/local/lib:/usr/lib".to_vec());
    let parts = named.split(|byte| matches!(byte, b':' | b'\n')).filter(|part| !part.is_empty());
    parts.map(|part| PathBuf::from(OsStr::from_bytes(part))).collect()
}

/// Whether musl's loader itself provides the library of this name (load_library, and Alpine's name
/// for it).
fn is_loader_itself(name: &[u8]) -> bool {
    const RESERVED: [&[u8]; 7] = [b"c", b"pthread", b"rt", b"m", b"dl", b"util", b"xnet"];
    name.starts_with(b"libc.musl-")
        || name
            .strip_prefix(b"lib")
            .and_then(|rest| rest.split(|byte| *byte == b'.').next())
            .is_some_and(|stem| name.len() > b"lib".len() + stem.len() && RESERVED.contains(&stem))
}

fn read(path: PathBuf) -> Option<(PathBuf, Elf)> {
    // The loader skips libraries for other machines.
    let elf = elf::header(&path).ok().filter(|header| header.is_native()).and_then(|_| elf::read_file(&path).ok())?;
    Some((path, elf))
}

/// The directories of a DT_RPATH or DT_RUNPATH, with `$ORIGIN`, `$LIB` and `$PLATFORM` expanded.
fn directories(list: Option<&[u8]>, of: &Path) -> Vec<PathBuf> {
    let origin =
        std::fs::canonicalize(of).ok().and_then(|path| path.parent().map(Path::to_path_buf)).unwrap_or_default();
    let parts = list.unwrap_or_default().split(|byte| *byte == b':').filter(|part| !part.is_empty());
    let mut all = Vec::new();
    for part in parts {
        let part = String::from_utf8_lossy(part);
        for lib in LIB {
            let mut text = part.to_string();
            for (word, value) in [("ORIGIN", &*origin.to_string_lossy()), ("LIB", lib), ("PLATFORM", "x86_64")] {
                text = text.replace(&format!("${{{word}}}"), value).replace(&format!("${word}"), value);
            }
            all.push(PathBuf::from(text));
        }
    }
    all.dedup();
    all
}

/// Parses the cache of the loader: paths of x86-64 libraries by name (glibc
/// sysdeps/generic/dl-cache.h, struct cache_file_new).
fn cache(bytes: &[u8]) -> BTreeMap<Vec<u8>, Vec<PathBuf>> {
    const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
    const HEADER: usize = 48;
    const ENTRY: usize = 24;
    /// FLAG_ELF_LIBC6 | FLAG_X8664_LIB64
    const X86_64: u32 = 0x0303;
    let mut all: BTreeMap<Vec<u8>, Vec<PathBuf>> = BTreeMap::new();
    // A cache in the old format may precede the new one.
    let Some(start) = bytes.windows(MAGIC.len()).position(|part| part == MAGIC) else { return all };
    let bytes = bytes.get(start..).unwrap_or_default();
    let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let string = |at: u32| bytes.get(at as usize..)?.split(|byte| *byte == 0).next();
    let count = word(MAGIC.len()).unwrap_or(0) as usize;
    for index in 0..count.min(bytes.len() / ENTRY) {
        let at = HEADER + index * ENTRY;
        let (Some(flags), Some(key), Some(value)) = (word(at), word(at + 4), word(at + 8)) else { break };
        // Variants for newer processors (hwcap) export and import the same symbols.
        let is_plain = word(at + 16) == Some(0) && word(at + 20) == Some(0);
        if let (X86_64, true, Some(key), Some(value)) = (flags, is_plain, string(key), string(value)) {
            all.entry(key.to_vec()).or_default().push(PathBuf::from(OsStr::from_bytes(value)));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{cache, directories};
    use std::path::{Path, PathBuf};

    #[test]
    fn the_cache_of_this_machine_knows_libc() {
        let Ok(bytes) = std::fs::read("/etc/ld.so.cache") else { return };
        let libc = cache(&bytes).remove(&b"libc.so.6"[..]).unwrap_or_default();
        assert!(libc.iter().any(|path| path.exists()), "{libc:?}");
    }

    #[test]
    fn a_damaged_cache_is_read_as_far_as_it_goes() {
        let Ok(bytes) = std::fs::read("/etc/ld.so.cache") else { return };
        for length in 0..400 {
            cache(bytes.get(..length).unwrap_or_default());
        }
        let mut wild = bytes;
        for at in (20..2000).step_by(3) {
            wild.iter_mut().skip(at).take(1).for_each(|byte| *byte = 0xff);
            cache(&wild);
        }
    }

    #[test]
    fn dollar_words_are_expanded() {
        let own = directories(Some(b"$ORIGIN/../x:/y/${LIB}"), Path::new("/bin/sh"));
        let bin = std::fs::canonicalize("/bin/sh").unwrap_or_default();
        let bin = bin.parent().unwrap_or(Path::new("/"));
        assert_eq!(own, [bin.join("../x"), PathBuf::from("/y/lib/x86_64-linux-gnu"), PathBuf::from("/y/lib64")]);
    }
}
