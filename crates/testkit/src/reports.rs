//! Programs under the library, and the reports that they write.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::shim;

/// `command`, with the library preloaded and its report in JSON at `report`.
pub fn under_shim<'a>(command: &'a mut Command, report: &Path) -> &'a mut Command {
    command.env("LD_PRELOAD", shim()).env("EPOLLSHIM_REPORT", report).env("EPOLLSHIM_REPORT_FORMAT", "json")
}

/// The reports in a file: one line of JSON per process.
pub fn reports(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The only report in a file.
pub fn report(path: &Path) -> Value {
    let mut all = reports(path);
    assert_eq!(all.len(), 1, "{}: one report expected", path.display());
    all.remove(0)
}
