//! What this machine has of the programs that a test wants.

use std::io::Write;
use std::path::PathBuf;

/// Where each of `names` is installed; or nothing, and a line that says why the test did not run. `NO_SKIP=1`, as
/// CI sets it, makes that a failure.
pub fn installed<const N: usize>(names: [&str; N]) -> Option<[PathBuf; N]> {
    let found = names.map(|name| find(name).unwrap_or_default());
    for (name, path) in names.iter().zip(&found) {
        if path.as_os_str().is_empty() {
            skipped(&format!("{name} is not installed"), *name == "node");
            return None;
        }
    }
    Some(found)
}

/// Says so past the test harness, which shows nothing of a test that passes.
pub fn skipped(why: &str, allowed: bool) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
    assert!(allowed || std::env::var_os("NO_SKIP").is_none(), "NO_SKIP is set, and {why}");
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}
