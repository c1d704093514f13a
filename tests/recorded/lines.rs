//! The lines of a program that was stripped, or deleted after its run: found by build id.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::recorded::{self, report};
use testkit::installed;

/// One wait, at a known line.
const PROGRAM: &str = "#include <sys/epoll.h>\n\nint serve(int epfd)\n{\n    struct epoll_event event;\n    \
    int got = epoll_wait(epfd, &event, 1, 1);\n    return got;\n}\n\nint main(void)\n{\n    return serve(epoll_create1(0));\n}\n";

fn run(at: &Path, program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).current_dir(at).output().unwrap();
    assert!(output.status.success(), "{program} {words:?}: {}", testkit::show(&output));
}

/// The function, file and line of the recording's only wait, as the command reports it with these
/// arguments.
fn waited_at(recordings: &Path, words: &[&str]) -> (Value, Value, Value) {
    let reported: Value = serde_json::from_str(&report(recordings, &[&["--format", "json"], words].concat())).unwrap();
    let sites = reported["merged"]["sites"].as_array().unwrap();
    let site = sites.iter().find(|site| site["calls"]["epoll_wait"] == 1).unwrap_or_else(|| panic!("{reported}"));
    (site["function"].clone(), site["file"].clone(), site["line"].clone())
}

#[test]
fn a_program_that_was_deleted_after_its_run_has_its_lines_by_build_id_and_a_kept_debug_file() {
    if installed(["cc", "objcopy", "readelf"]).is_none() {
        return;
    }
    let at = testkit::scratch("recorded-lines");
    std::fs::write(at.join("serve.c"), PROGRAM).unwrap();
    run(&at, "cc", &["-g", "-O0", "-rdynamic", "-Wl,--build-id=sha1", "-o", "serve", "serve.c"]);
    let recordings = at.join("rec");
    run(&at, recorded::command().to_str().unwrap(), &["run", "--record", "rec", "--report", "none", "--", "./serve"]);
    let source = json!(at.join("serve.c").display().to_string());
    let line = (json!("serve"), source, json!(6));
    assert_eq!(waited_at(&recordings, &[]), line, "the program exists");

    // As distributions do it: the debug information is in a file of its own, named by build id.
    let notes = Command::new("readelf").args(["-n", "serve"]).current_dir(&at).output().unwrap();
    let notes = String::from_utf8_lossy(&notes.stdout).into_owned();
    let id = notes.split("Build ID: ").nth(1).unwrap().split_whitespace().next().unwrap();
    let folder = format!("debug/.build-id/{}", &id[..2]);
    std::fs::create_dir_all(at.join(&folder)).unwrap();
    let kept = format!("{folder}/{}.debug", &id[2..]);
    run(&at, "objcopy", &["--only-keep-debug", "serve", &kept]);
    run(&at, "objcopy", &["--strip-all", "serve"]);
    let debug = at.join("debug").display().to_string();
    let dynamic = (json!("serve"), Value::Null, Value::Null);
    assert_eq!(waited_at(&recordings, &[]), dynamic, "stripped: the function's dynamic symbol");
    assert_eq!(waited_at(&recordings, &["--debug", &debug]), line, "stripped, with its debug file");

    std::fs::rename(at.join("serve"), at.join("copy")).unwrap();
    assert_eq!(waited_at(&recordings, &["--debug", &debug]), line, "deleted, with its debug file");
    assert_eq!(waited_at(&recordings, &[]).0, Value::Null, "deleted: only the object and the offset");
    // A stripped copy in place of the debug file.
    std::fs::rename(at.join("copy"), at.join(&kept)).unwrap();
    assert_eq!(waited_at(&recordings, &["--debug", &debug]), dynamic, "deleted, with a stripped copy");
}
