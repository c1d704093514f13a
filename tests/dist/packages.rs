//! The files of `make dist`, for tests that use them.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::common::{root, scratch};

pub const VERSION: &str = env!("CARGO_PKG_VERSION");
pub const LIBRARY: &str = "libepollshim.so";

/// The directory of all of them. Panics if they are not there, or older than the source.
pub fn dist() -> &'static Path {
    static DIST: OnceLock<PathBuf> = OnceLock::new();
    DIST.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        // target/PROFILE/deps/this_test-HASH
        let dist = test.ancestors().nth(3).unwrap().join("dist");
        let changed = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified());
        let made = changed(&dist.join("SHA256SUMS"));
        let made = made.unwrap_or_else(|error| panic!("{}: {error}: run make dist first", dist.display()));
        for name in
            ["src", "crates", "scripts/dist", "scripts/install", "scripts/licenses", "Cargo.toml", "docs", "README.md"]
        {
            newest(&root().join(name), &mut |path, time| {
                assert!(time <= made, "{} is newer than {}: run make dist first", path.display(), dist.display());
            });
        }
        dist
    })
}

fn newest(path: &Path, look: &mut impl FnMut(&Path, std::time::SystemTime)) {
    if path.is_dir() {
        std::fs::read_dir(path).unwrap().for_each(|entry| newest(&entry.unwrap().path(), look));
    } else {
        look(path, std::fs::metadata(path).and_then(|data| data.modified()).unwrap());
    }
}

pub fn tarball() -> PathBuf {
    dist().join(format!("epollshim-{VERSION}-x86_64-linux.tar.gz"))
}

pub fn debug_tarball() -> PathBuf {
    dist().join(format!("epollshim-{VERSION}-x86_64-linux-debug.tar.gz"))
}

/// None: `make dist` could not make one here.
pub fn deb() -> Option<PathBuf> {
    Some(dist().join(format!("epollshim_{VERSION}-1_amd64.deb"))).filter(|path| path.exists())
}

/// As [`deb`].
pub fn rpm() -> Option<PathBuf> {
    Some(dist().join(format!("epollshim-{VERSION}-1.x86_64.rpm"))).filter(|path| path.exists())
}

/// The tarball, unpacked once for a test's process.
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
