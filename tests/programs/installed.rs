//! What this machine has of the programs that a test wants.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// A python3 that has its own tests: of PATH, or Debian's.
#[allow(dead_code)] // not every file of tests asks for it
pub fn python_with_tests() -> Option<PathBuf> {
    let [launcher] = installed(["python3"])?;
    // sys.executable: a pyenv `python3` is a shell script that looks for one.
    let find = "import sys, importlib.util as u; print(sys.executable if u.find_spec('test.test_epoll') else '')";
    let found = [launcher, PathBuf::from("/usr/bin/python3")].into_iter().find_map(|candidate| {
        let output = Command::new(candidate).args(["-c", find]).stderr(Stdio::null()).output().ok()?;
        let path = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (!path.is_empty()).then(|| PathBuf::from(path))
    });
    if found.is_none() {
        skipped("no python3 here has its own tests (Debian: libpython3.11-testsuite)", false);
    }
    found
}

/// Built outside the workspace, so that nothing else needs tokio; None, and it is said, where the registry is out of reach.
#[allow(dead_code)] // not every file of tests asks for it
pub fn tokio_echo() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tokio-echo");
    let cargo = |arguments: &[&str]| {
        let manifest = crate::common::root().join("tests/programs/tokio-echo/Cargo.toml");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(arguments).args(["--quiet", "--locked", "--manifest-path"]).arg(manifest);
        cargo.env("CARGO_TARGET_DIR", &target).output().unwrap()
    };
    if !cargo(&["fetch"]).status.success() && !cargo(&["fetch", "--offline"]).status.success() {
        skipped("tokio is not in the cache of cargo, and the registry cannot be reached", true);
        return None;
    }
    let built = cargo(&["build", "--offline", "--release"]);
    assert!(built.status.success(), "{}", crate::common::show(&built));
    Some(target.join("release/tokio-echo"))
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}
