//! The library and the command that are tested. `make tested` builds both and puts them into one
//! folder, target/tested/release; `cargo test` does not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Names another build of the library, which the tests then use: `make test-portable`. It does not
/// begin with `EPOLLSHIM_`, because the programs that the tests start inherit it.
const OTHER_LIBRARY: &str = "LIBRARY_UNDER_TEST";
/// Names another build of the command, with the library in the same folder: `make test-dist`.
const OTHER_COMMAND: &str = "COMMAND_UNDER_TEST";

/// The folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// The folder of everything that is built: `target`, unless CARGO_TARGET_DIR says otherwise.
pub fn target() -> PathBuf {
    // target/PROFILE/deps/TEST
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_path_buf()
}

/// `libepollshim.so` as it is shipped, to be preloaded. Panics if it is older than its sources.
pub fn shim() -> PathBuf {
    let library = match std::env::var_os(OTHER_LIBRARY) {
        Some(library) => PathBuf::from(library),
        None => target().join("tested/release/libepollshim.so"),
    };
    is_newer_than(&library, &["src", "crates/format/src", "crates/ledger/src"]);
    library
}

/// The command `epollshim`, built without link-time optimisation, with the library in the same
/// folder. Panics if it is older than its sources.
pub fn binary() -> PathBuf {
    if let Some(other) = std::env::var_os(OTHER_COMMAND) {
        return PathBuf::from(other);
    }
    let binary = target().join("tested/release/epollshim");
    is_newer_than(&binary, &["crates/cli/src", "crates/recording/src", "crates/format/src"]);
    binary
}

/// The library that [`binary`] finds.
pub fn library() -> PathBuf {
    let library = binary().with_file_name("libepollshim.so");
    assert!(library.exists(), "{} does not exist: run make tested", library.display());
    library
}

/// Panics if `built` is older than a file of these folders of the workspace. A process looks once:
/// a test program asks thousands of times.
fn is_newer_than(built: &Path, folders: &[&str]) {
    static KNOWN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if KNOWN.lock().unwrap().contains(built) {
        return;
    }
    assert!(built.exists(), "{} does not exist: run make tested", built.display());
    let changed = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).unwrap();
    let when = changed(built);
    let mut open: Vec<_> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if !path.ends_with("tests.rs") {
            let (source, built) = (path.display(), built.display());
            assert!(changed(&path) <= when, "{source} is newer than {built}: run make tested");
        }
    }
    KNOWN.lock().unwrap().insert(built.to_owned());
}
