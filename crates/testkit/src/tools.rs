//! Programs that a test needs and this machine may lack.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{root, show, target};

/// These may be missing even with `NO_SKIP=1`: `make programs` does not install them.
const OPTIONAL: [&str; 2] = ["node", "busybox"];

/// The path of each of `names`. None: one is not installed, and a line on stderr reports that the
/// test was skipped. `NO_SKIP=1`, which CI sets, makes that a failure.
pub fn installed<const N: usize>(names: [&str; N]) -> Option<[PathBuf; N]> {
    let found = names.map(|name| find(name).unwrap_or_default());
    for (name, path) in names.iter().zip(&found) {
        if path.as_os_str().is_empty() {
            skipped(&format!("{name} is not installed"), OPTIONAL.contains(name));
            return None;
        }
    }
    Some(found)
}

/// [`installed`] for one program.
pub fn tool(name: &str) -> Option<PathBuf> {
    installed([name]).map(|[program]| program)
}

/// Whether [`tool`] finds a program.
pub fn have(name: &str) -> bool {
    tool(name).is_some()
}

/// Prints that the test was skipped. It writes to stderr directly, because the test harness hides
/// the output of tests that pass. Unless `allowed`, `NO_SKIP=1` makes it a failure.
pub fn skipped(why: &str, allowed: bool) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
    assert!(allowed || std::env::var_os("NO_SKIP").is_none(), "NO_SKIP is set, and {why}");
}

/// The path of a program: in a folder of PATH, or in Debian's folders of servers.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

/// A python3 that has its own tests: the one on PATH, or Debian's.
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
        skipped("python3 has no tests of its own (Debian: libpython3.11-testsuite)", false);
    }
    found
}

/// An echo server on tokio. It is built outside the workspace, so that nothing else needs tokio.
/// None: tokio is not in cargo's cache, and the registry cannot be reached.
pub fn tokio_echo() -> Option<PathBuf> {
    let target = target().join("tokio-echo");
    let cargo = |arguments: &[&str]| {
        let manifest = root().join("tests/programs/tokio-echo/Cargo.toml");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(arguments).args(["--quiet", "--locked", "--manifest-path"]).arg(manifest);
        cargo.env("CARGO_TARGET_DIR", &target).output().unwrap()
    };
    if !cargo(&["fetch"]).status.success() && !cargo(&["fetch", "--offline"]).status.success() {
        skipped("tokio is not in the cache of cargo, and the registry cannot be reached", true);
        return None;
    }
    let built = cargo(&["build", "--offline", "--release"]);
    assert!(built.status.success(), "{}", show(&built));
    Some(target.join("release/tokio-echo"))
}
