//! More tests of samples, by document.

mod claims;
mod commands;
mod faults;
mod findings;
mod formats;
mod shell;
mod tools;
mod tour;

use std::path::PathBuf;

use testkit::{compile, target};

/// The program of an example whose source a test has changed: `FOLDER/NAME.c`. The source has the
/// same path in every run, so that it is compiled once.
pub fn changed(name: &str, text: &str) -> PathBuf {
    let source = target().join("changed-examples").join(name);
    std::fs::create_dir_all(source.parent().unwrap()).unwrap();
    if std::fs::read_to_string(&source).is_ok_and(|before| before == text) {
        return compile::program("cc", &["-g"], &source, &[]).unwrap();
    }
    std::fs::write(&source, text).unwrap();
    compile::program("cc", &["-g"], &source, &[]).unwrap()
}
