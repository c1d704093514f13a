//! The HTML report: whole in itself, and before a browser.

use super::{count, grouped, processes};
use crate::programs::installed::skipped;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Clicks through the page as a reader would, and writes what it found into the page.
const READER: &str = include_str!("../../crates/recording/tests/common/reader.html");

/// Nothing is fetched from anywhere; each process is there, and the numbers of all together.
#[track_caller]
pub fn is_whole(page: &str, told: &Value) {
    for outside in ["http:", "https:", "src=", "@import", "url(", "<link rel=\"stylesheet\""] {
        assert!(!page.contains(outside), "{outside} in the page");
    }
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

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|program| program.is_file())
}

/// Opens a page as a reader would: no error, no request, each plot drawn, each column sorted at a click, nothing wider than
/// the window.
#[track_caller]
pub fn opens(page: &str, at: &Path) {
    let Some(browser) = browser() else {
        return skipped("no chromium here: the HTML report was not opened", true);
    };
    let read = at.join("read.html");
    std::fs::write(&read, page.replace("</body>", &format!("{READER}</body>"))).unwrap();
    for width in [1280, 390] {
        let run = Command::new(&browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"])
            .arg(format!("--user-data-dir={}", at.join("profile").display()))
            .arg(format!("--window-size={width},900"))
            .arg(format!("file://{}", read.display()))
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&run.stderr);
        assert!(!errors.contains("CONSOLE"), "{errors}");
        let dom = String::from_utf8_lossy(&run.stdout);
        let found = dom.split("<pre id=\"found\">").nth(1).and_then(|rest| rest.split("</pre>").next());
        let found: Value = serde_json::from_str(found.unwrap_or_else(|| panic!("no result\n{errors}\n{dom}"))).unwrap();
        assert_eq!(found["svgs"], 6, "{found}");
        for key in ["empty", "unsorted", "requests"] {
            assert_eq!(found[key], json!([]), "{key}: {found}");
        }
        assert!(count(&found["columns"]) > 40, "{found}");
        assert!(found["wide"].as_i64().unwrap() <= 0, "at {width} px the page is wider than the window: {found}");
    }
}
