//! A directory of a test's own, and reports of recordings as text and JSON.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use epollshim_recording::{Format, Set, render};
use serde_json::Value;

/// A directory that is removed at the end of the test.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new(name: &str) -> Directory {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn rendered(set: &Set, format: Format) -> String {
    let mut out = Vec::new();
    render(set, format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

pub fn json(set: &Set) -> Value {
    serde_json::from_str(&rendered(set, Format::Json)).unwrap()
}
