//! The files of `make dist`, for tests that use them.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use testkit::{root, scratch};

pub const VERSION: &str = env!("CARGO_PKG_VERSION");
pub const LIBRARY: &str = "libepollshim.so";

/// The directory of these files.
pub fn dist() -> &'static Path {
    static DIST: OnceLock<PathBuf> = OnceLock::new();
    DIST.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        // target/PROFILE/deps/this_test-HASH
        test.ancestors().nth(3).unwrap().join("dist")
    })
}

/// Whether they exist and are newer than the source. If not, prints that the test is skipped; with
/// `NO_SKIP=1` that is a failure.
pub fn made() -> bool {
    static WHY_NOT: OnceLock<Option<String>> = OnceLock::new();
    let why_not = WHY_NOT.get_or_init(|| {
        let changed = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified());
        let Ok(made) = changed(&dist().join("SHA256SUMS")) else {
            return Some(format!("{} has no packages: run make dist", dist().display()));
        };
        let mut sources = SOURCES.iter().map(|name| root().join(name)).collect::<Vec<_>>();
        while let Some(path) = sources.pop() {
            if path.is_dir() {
                sources.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if changed(&path).unwrap() > made {
                return Some(format!("{} is newer than the packages: run make dist", path.display()));
            }
        }
        None
    });
    if let Some(why) = why_not {
        testkit::skipped(why, false);
    }
    why_not.is_none()
}

/// The sources of the packages.
const SOURCES: [&str; 17] = [
    "src",
    "examples",
    "include",
    "share",
    "docs",
    "README.md",
    "Cargo.toml",
    "build.rs",
    "crates/cli/src",
    "crates/cli/build.rs",
    "crates/cli/examples",
    "crates/format/src",
    "crates/ledger/src",
    "crates/recording/src",
    "scripts/dist",
    "scripts/install",
    "scripts/licenses",
];

pub fn tarball() -> PathBuf {
    dist().join(format!("epollshim-{VERSION}-x86_64-linux.tar.gz"))
}

pub fn debug_tarball() -> PathBuf {
    dist().join(format!("epollshim-{VERSION}-x86_64-linux-debug.tar.gz"))
}

/// The .deb; None if `make dist` could not make one here.
pub fn deb() -> Option<PathBuf> {
    Some(dist().join(format!("epollshim_{VERSION}-1_amd64.deb"))).filter(|path| path.exists())
}

/// The .rpm; None if `make dist` could not make one here.
pub fn rpm() -> Option<PathBuf> {
    Some(dist().join(format!("epollshim-{VERSION}-1.x86_64.rpm"))).filter(|path| path.exists())
}

/// The folder of the tarball, unpacked once per test process.
pub fn unpacked() -> PathBuf {
    static TOP: OnceLock<PathBuf> = OnceLock::new();
    let unpack = || {
        let folder = scratch("unpacked");
        let status = Command::new("tar").arg("-C").arg(&folder).arg("-xzf").arg(tarball()).status().unwrap();
        assert!(status.success());
        folder.join(format!("epollshim-{VERSION}-x86_64-linux"))
    };
    TOP.get_or_init(unpack).clone()
}
