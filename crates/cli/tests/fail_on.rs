//! `epollshim report --fail-on`: for jobs that must stop at a finding.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{compile, epollshim, output, run, scratch, stderr};

#[test]
fn the_exit_status_tells_whether_a_named_finding_is_there() {
    let directory = scratch("fail-on");
    let program = compile("size_lie", &[]);
    let recordings = directory.join("rec");
    let ran = output(epollshim().args(["run", "--report=none", "--record"]).arg(&recordings).arg("--").arg(&program));
    assert!(ran.status.success(), "{}", stderr(&ran));
    for (named, status) in
        [("size-lie", 1), ("warning", 1), ("all", 1), ("ghost,size-lie", 1), ("error", 0), ("ghost,leak", 0)]
    {
        let told = output(epollshim().arg("report").arg(&recordings).args(["--fail-on", named]));
        assert_eq!(told.status.code(), Some(status), "{named}: {}", stderr(&told));
        let line = if status == 1 { "epollshim: 1 finding that --fail-on names: size-lie\n" } else { "" };
        assert_eq!(stderr(&told), line, "{named}");
    }
}

#[test]
fn a_name_that_is_none_is_an_error_of_use() {
    let told = run(&["report", "--fail-on", "leek", "/nowhere"]);
    assert_eq!(told.status.code(), Some(2));
    assert!(stderr(&told).contains("did you mean leak?"), "{}", stderr(&told));
    assert_eq!(stderr(&told).lines().count(), 1, "{}", stderr(&told));
}
