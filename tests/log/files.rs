//! Files that cannot be written, full disks, and a full table of descriptors.

use std::ffi::OsStr;
use std::path::Path;

use super::{Logged, bare, line, lines, read, same_as_bare, tally, troubles, undisturbed};
use testkit::layout::Small;
use testkit::{root, scratch, shim};

#[test]
fn between_calls_no_descriptor_of_the_log_is_open() {
    let log = scratch("descriptors").join("log");
    assert_eq!(tally(&undisturbed(&["descriptors", "calls=20"], &log)[0]).1, 0);
    undisturbed(&["descriptors"], "stderr");
}

#[test]
fn a_path_that_cannot_be_written_is_refused_at_load() {
    let directory = scratch("unwritable").join("directory");
    std::fs::create_dir(&directory).unwrap();
    let below_a_file = root().join("Cargo.toml/log.%p");
    for path in [Path::new("/nonexistent/log.%p"), &directory, &below_a_file] {
        let mut command = bare(troubles(), &["calls=30"]);
        let output = command.env("LD_PRELOAD", shim()).env("EPOLLSHIM_LOG", path).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", path.display());
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = format!("epollshim: EPOLLSHIM_LOG: cannot write '{}': E", path.display());
        assert!(stderr.starts_with(&said) && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn a_file_that_accepts_no_bytes_drops_every_line_and_the_report_counts_them() {
    for path in [OsStr::new("/proc/version"), OsStr::new("/dev/full")] {
        let (written, dropped, calls) = tally(&undisturbed(&["calls=30"], path)[0]);
        assert_eq!((written, dropped), (0, calls), "{}", path.to_string_lossy());
    }
    let mut command = bare(troubles(), &["calls=30"]);
    command.env("LD_PRELOAD", shim()).env("EPOLLSHIM_LOG", "/dev/full");
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.to_lowercase().contains("log") && stderr.contains("34"), "the text report tells it: {stderr}");
}

#[test]
fn a_full_table_of_descriptors_drops_no_line() {
    let log = scratch("table").join("log");
    let (written, dropped, calls) = tally(&undisturbed(&["full-table"], &log)[0]);
    assert_eq!((written, dropped, calls), (23, 0, 23));
    assert_eq!(lines(&read(&log)).len(), 23);
}

#[test]
fn a_limit_on_the_size_of_files_does_not_kill_the_program() {
    let log = scratch("fsize").join("log");
    let (written, dropped, _) = tally(&undisturbed(&["small-files", "calls=5"], &log)[0]);
    assert!(written > 10 && dropped > 50, "{written} written, {dropped} dropped");
    // The partial line was removed.
    let text = read(&log);
    let whole = text.lines().filter(|text| line(text).is_some()).count() as u64;
    assert_eq!(whole, written, "{text}");
    assert_eq!(text.lines().count() as u64, written, "{text}");
}

#[test]
fn a_disk_that_is_full_for_a_while_tears_no_line() {
    let Some(small) = Small::mount("small", "16k") else {
        return testkit::skipped("cannot mount a tmpfs here", true);
    };
    let (log, ballast) = (small.0.join("log"), small.0.join("ballast"));
    std::fs::write(&ballast, [b'.'; 8192]).unwrap();
    let free = format!("unlink={}", ballast.display());
    let plain = bare(troubles(), &["calls=300", "calls=10"]).output().unwrap();
    let (output, reports) = Logged::new(troubles(), &["calls=300", &free, "calls=10"], &log).run();
    same_as_bare(&plain, &output);
    let (written, dropped, calls) = tally(&reports[0]);
    assert!(written > 20 && dropped > 20 && written + dropped == calls, "{}", reports[0]);
    let text = read(&log);
    let torn: Vec<_> = text.lines().filter(|text| line(text).is_none()).collect();
    assert!(torn.is_empty() && text.ends_with('\n'), "{torn:?}");
    assert_eq!(text.lines().count(), written as usize);
}
