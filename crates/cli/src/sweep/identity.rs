//! Identifies the files of a sweep. A later sweep continues it only if they are the same.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use object::read::ReadCache;
use object::{Object, ObjectKind};

use super::options::Settled;
use crate::program;
use crate::text::shown;

/// The contents of larger files are not read.
const MOST: u64 = 1 << 30;

/// What identifies each file, by its path.
pub type Files = BTreeMap<String, String>;

/// The program, the interpreters of a script, the words of the command and of the workload that
/// name files, and the standard input.
pub fn files(settled: &Settled, workload: Option<&str>) -> Files {
    let mut paths: Vec<PathBuf> = settled.command.iter().map(PathBuf::from).collect();
    paths.extend(settled.input.clone());
    if let Some(target) = settled.command.first().and_then(|first| program::follow(Path::new(first)).ok()) {
        paths.extend(target.scripts);
        paths.push(target.path);
    }
    paths.extend(workload.into_iter().flat_map(str::split_whitespace).map(PathBuf::from));
    paths.iter().filter_map(|path| Some((shown(path), of(path)?))).collect()
}

/// What identifies a file: its build id, or else its size and a hash of its contents. None: it is
/// not a regular file, or cannot be read.
pub fn of(path: &Path) -> Option<String> {
    let facts = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    if let Some(id) = build_id(path) {
        return Some(format!("build id {id}"));
    }
    let size = facts.len();
    Some(match hash(path, size) {
        Some(hash) => format!("{size} bytes, hash {hash:016x}"),
        None => format!("{size} bytes, of {}.{:09}", facts.mtime(), facts.mtime_nsec()),
    })
}

fn build_id(path: &Path) -> Option<String> {
    let cache = ReadCache::new(File::open(path).ok()?);
    let object = object::File::parse(&cache).ok()?;
    let is_linked = matches!(object.kind(), ObjectKind::Executable | ObjectKind::Dynamic);
    let id = object.build_id().ok().flatten().filter(|_| is_linked)?;
    Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// FNV-1a. None: the file is too large, or cannot be read.
fn hash(path: &Path, size: u64) -> Option<u64> {
    if size > MOST {
        return None;
    }
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in BufReader::new(File::open(path).ok()?).bytes() {
        hash = (hash ^ u64::from(byte.ok()?)).wrapping_mul(0x0100_0000_01b3);
    }
    Some(hash)
}
