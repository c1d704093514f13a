//! The HTML report: whole in itself, and before a browser.

use super::{count, grouped, processes};
use serde_json::Value;
use std::path::Path;
use testkit::skipped;

/// Nothing is fetched from anywhere; each process is there, and the numbers of all together.
#[track_caller]
pub fn is_whole(page: &str, told: &Value) {
    testkit::browser::is_self_contained(page);
    for process in processes(told) {
        let pid = &process["process"]["pid"];
        assert!(page.contains(&format!("<td class=\"n\" data-v=\"{pid}\">{pid}</td>")), "pid {pid}");
    }
    for (name, call) in told["merged"]["calls"].as_object().unwrap() {
        let calls = count(&call["calls"]);
        let row = format!("<td><code>{name}</code></td><td class=\"n\" data-v=\"{calls}\">{}</td>", grouped(calls));
        assert!(page.contains(&row), "{row}");
    }
}

/// Opens it as a reader would.
#[track_caller]
pub fn opens(page: &str, at: &Path) {
    if !testkit::browser::opens(page, at) {
        skipped("no chromium here: the HTML report was not opened", true);
    }
}
