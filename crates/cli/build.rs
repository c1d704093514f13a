//! What `epollshim --version` prints: the package's version, and the commit of the checkout where that is known.
//!
//! `EPOLLSHIM_COMMIT` names the commit, and is taken as it is (`make dist` sets it). Without it git is asked, if the workspace is a
//! checkout. Otherwise the version stands alone. The commit is the one that is checked out: files that were changed since are not
//! looked at.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=EPOLLSHIM_COMMIT");
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let given = std::env::var("EPOLLSHIM_COMMIT").ok();
    let commit = given.or_else(checked_out).unwrap_or_default();
    // It becomes a line of output: one word, of no more letters than an id of SHA-256 and a mark behind it.
    let is_word = commit.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+._".contains(&byte));
    if commit.is_empty() || commit.len() > 80 || !is_word {
        println!("cargo::rustc-env=VERSION_AND_COMMIT={version}");
    } else {
        println!("cargo::rustc-env=VERSION_AND_COMMIT={version} ({commit})");
    }
}

/// The commit of the checkout that this package lies in. Cargo asks again when another is checked out, or one is made.
fn checked_out() -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    // Source without a checkout of its own may lie in another project's.
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
        // A file that is not there would count as changed each time.
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}
