//! Sets the output of `epollshim --version`: the version of the package, and the commit of the
//! checkout if it is known.
//!
//! `EPOLLSHIM_COMMIT` is used as the commit if it is set (`make dist` sets it). Otherwise git is
//! asked if the workspace is a checkout. Otherwise there is only the version. The commit is the one
//! that is checked out, even if files were changed since.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=EPOLLSHIM_COMMIT");
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let given = std::env::var("EPOLLSHIM_COMMIT").ok();
    let commit = given.or_else(checked_out).unwrap_or_default();
    // It becomes part of a line of output: one word, not longer than an id of SHA-256 and a suffix.
    let is_word = commit.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+._".contains(&byte));
    if commit.is_empty() || commit.len() > 80 || !is_word {
        println!("cargo::rustc-env=VERSION_AND_COMMIT={version}");
    } else {
        println!("cargo::rustc-env=VERSION_AND_COMMIT={version} ({commit})");
    }
}

/// The commit of the checkout that contains this package. Cargo runs this again after a checkout or
/// a commit.
fn checked_out() -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    // A source tree without a checkout of its own may be inside that of another project.
    if !root.join(".git").exists() {
        return None;
    }
    let git = |words: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(words).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim_end().to_string())
    };
    let branch = git(&["symbolic-ref", "-q", "HEAD"]);
    let files = ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref());
    for file in files.filter_map(|name| git(&["rev-parse", "--git-path", name])) {
        let path: PathBuf = root.join(file);
        // A file that does not exist would count as changed each time.
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}
