//! Folders for the files of tests.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{keep_from_children, target};

/// A new folder, target/tmp/PID/NAME-SERIAL. It is kept when the test ends, so that a failure can
/// be examined. A later run of the tests removes it, because recordings take gigabytes.
pub fn scratch(name: &str) -> PathBuf {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    static CLEANED: Once = Once::new();
    let all = target().join("tmp");
    CLEANED.call_once(|| remove_left_over(&all));
    keep_from_children();
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = all.join(std::process::id().to_string()).join(format!("{name}-{serial}"));
    std::fs::create_dir_all(&path).expect("scratch folder");
    path
}

/// Removes the folders of processes that have ended, and of an earlier process with this process's
/// id.
fn remove_left_over(all: &Path) {
    for entry in std::fs::read_dir(all).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse::<u32>().ok());
        if pid.is_some_and(|pid| pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
