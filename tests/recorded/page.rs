//! The HTML report: complete in one file, and opened by a browser.

use super::{count, grouped, processes};
use serde_json::Value;
use std::path::Path;
use testkit::skipped;

/// Asserts that nothing is loaded from elsewhere, and that each process and the merged numbers are
/// there.
#[track_caller]
pub fn is_whole(page: &str, reported: &Value) {
    testkit::browser::is_self_contained(page);
    for process in processes(reported) {
        let pid = &process["process"]["pid"];
        assert!(page.contains(&format!("<td class=\"n\" data-v=\"{pid}\">{pid}</td>")), "pid {pid}");
    }
    for (name, call) in reported["merged"]["calls"].as_object().unwrap() {
        let calls = count(&call["calls"]);
        let row = format!("<td><code>{name}</code></td><td class=\"n\" data-v=\"{calls}\">{}</td>", grouped(calls));
        assert!(page.contains(&row), "{row}");
    }
}

/// Opens the page in a browser.
#[track_caller]
pub fn opens(page: &str, at: &Path) {
    if !testkit::browser::opens(page, at) {
        skipped("chromium is not installed: the HTML report was not opened", true);
    }
}
