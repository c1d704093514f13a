//! Opens html pages in headless Chromium.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// Clicks through the page as a reader would, and writes its results into the page.
const READER: &str = include_str!("reader.html");

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|program| program.is_file())
}

/// Checks that the page loads nothing from another file or host.
#[track_caller]
pub fn is_self_contained(page: &str) {
    for outside in ["http:", "https:", "src=", "@import", "url(", "//cdn", "<link rel=\"stylesheet\""] {
        assert!(!page.contains(outside), "{outside} in the page");
    }
}

/// Opens a report as [`opens_with`] does, and checks that each plot is drawn and each column sorts
/// at a click.
#[track_caller]
pub fn opens(page: &str, at: &Path) -> bool {
    opens_with(page, at, |found| {
        assert_eq!(found["svgs"], 6, "{found}");
        for key in ["empty", "unsorted"] {
            assert_eq!(found[key], json!([]), "{key}: {found}");
        }
        assert!(found["columns"].as_u64().unwrap() > 40, "{found}");
    })
}

/// Opens a page, and checks that there is no error, no request, and nothing wider than the window,
/// and that the results are right. Returns false if no browser is installed. `at` is a directory
/// for temporary files.
#[track_caller]
pub fn opens_with(page: &str, at: &Path, is_right: impl Fn(&Value)) -> bool {
    let Some(browser) = browser() else { return false };
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
        is_right(&found);
        assert_eq!(found["requests"], json!([]), "{found}");
        assert!(found["wide"].as_i64().unwrap() <= 0, "at {width} px the page is wider than the window: {found}");
    }
    true
}
