//! A directory for a test's files, and reports of recordings as text and JSON.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use epollshim_recording::{Format, Set, render};
use serde_json::Value;

/// A directory of a test's own.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new(name: &str) -> Directory {
        Directory(testkit::scratch(name))
    }

    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
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
