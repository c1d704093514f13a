//! C programs, and some in Rust, each compiled once for all tests.
//!
//! A compiled program is kept in target/c-programs, under a name made of everything that goes into
//! it: the compiler, its arguments, and the text of every file in the folder of the source, in
//! c-tests and in include. A test gets a copy, so that it may change or remove it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::process::copy;
use crate::{root, scratch, target};

/// The words of `EPOLLSHIM_CFLAGS`, with which every C program of the tests is compiled as well.
/// `-ftrivial-auto-var-init=pattern`, for example, shows a test that reads what it never wrote.
fn extra_flags(source: &Path) -> Vec<String> {
    let is_rust = source.extension().is_some_and(|extension| extension == "rs");
    let flags = if is_rust { String::new() } else { std::env::var("EPOLLSHIM_CFLAGS").unwrap_or_default() };
    flags.split_whitespace().map(str::to_owned).collect()
}

/// `c-tests/NAME.c`.
pub fn c_program(name: &str) -> PathBuf {
    c_program_with(name, &[])
}

/// `c-tests/NAME.c`, linked with a library: `c-tests/LIBRARY.c`, compiled as `libNAME.so.1` in the
/// folder of the program.
pub fn c_program_with_library(library: &str, name: &str) -> PathBuf {
    let folder = scratch("library");
    let object = folder.join(format!("lib{name}.so.1"));
    copy(c_program_with(library, &["-shared", "-fPIC"]), &object);
    let program = c_program_linked(name, &["-Wl,-rpath,$ORIGIN"], Some(&object));
    copy(program, folder.join(name));
    folder.join(name)
}

/// `c-tests/NAME.c`, with more flags after the source. Panics with the compiler's output.
pub fn c_program_with(name: &str, flags: &[&str]) -> PathBuf {
    c_program_linked(name, flags, None)
}

fn c_program_linked(name: &str, flags: &[&str], library: Option<&Path>) -> PathBuf {
    let source = root().join("c-tests").join(format!("{name}.c"));
    let include = root().join("include");
    let before =
        ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-I", include.to_str().unwrap()];
    let behind = [flags, &["-ldl", "-rdynamic"]].concat();
    linked("cc", &before, &source, &behind, library).unwrap_or_else(|error| panic!("{}: {error}", source.display()))
}

/// Returns a copy of the program that `compiler BEFORE -o PROGRAM SOURCE BEHIND` makes, with the
/// name of its source. Err: the output of the compiler.
pub fn program(compiler: &str, before: &[&str], source: &Path, behind: &[&str]) -> Result<PathBuf, String> {
    linked(compiler, before, source, behind, None)
}

/// [`program`], which needs a library by its file name. The library's bytes are part of what the
/// compiled program is kept under, and its path, which differs from run to run, is not.
pub fn linked(
    compiler: &str,
    before: &[&str],
    source: &Path,
    behind: &[&str],
    library: Option<&Path>,
) -> Result<PathBuf, String> {
    let name = source.file_stem().expect("a name");
    let mut hash = DefaultHasher::new();
    (compiler, before, source, behind, extra_flags(source), texts(source)).hash(&mut hash);
    if let Some(library) = library {
        std::fs::read(library).unwrap().hash(&mut hash);
    }
    let kept = target().join("c-programs").join(format!("{:016x}", hash.finish()));
    if !kept.exists() {
        std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
        let made = scratch("cc").join(name);
        let mut cc = Command::new(compiler);
        cc.args(before).args(extra_flags(source)).arg("-o").arg(&made).arg(source).args(behind);
        if let Some(library) = library {
            cc.arg("-L").arg(library.parent().unwrap());
            cc.arg(format!("-l:{}", library.file_name().unwrap().to_str().unwrap()));
        }
        let output = cc.output().unwrap_or_else(|error| panic!("{compiler}: {error}"));
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        // Another process may have made the same program meanwhile: both are equal.
        std::fs::rename(&made, &kept).unwrap();
    }
    let given = scratch("cc").join(name);
    copy(&kept, &given);
    Ok(given)
}

/// A hash of the text of every file that the program of `source` may include.
fn texts(source: &Path) -> u64 {
    static SHARED: OnceLock<u64> = OnceLock::new();
    let shared = *SHARED.get_or_init(|| {
        let mut hash = DefaultHasher::new();
        for folder in ["c-tests", "include"] {
            hash_folder(&root().join(folder), &mut hash);
        }
        hash.finish()
    });
    let mut hash = DefaultHasher::new();
    (shared, std::fs::read(source).unwrap()).hash(&mut hash);
    if !source.starts_with(root().join("c-tests")) {
        hash_folder(source.parent().unwrap(), &mut hash);
    }
    hash.finish()
}

fn hash_folder(folder: &Path, hash: &mut DefaultHasher) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            hash_folder(&path, hash);
        } else if path.extension().is_some_and(|extension| extension == "h" || extension == "c") {
            (&path, std::fs::read(&path).unwrap()).hash(hash);
        }
    }
}
