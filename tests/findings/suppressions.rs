//! Findings that a suppressions file names are not reported, and the report shows what each line of
//! the file suppressed.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use testkit::{Run, c_program_with, report, run, scratch, shim, under_shim};

fn file(text: &[u8]) -> PathBuf {
    let path = scratch("suppressions").join("known.supp");
    std::fs::write(&path, text).unwrap();
    path
}

/// The JSON report of a program with a size-lie, under these suppressions.
fn report_under(binary: &Path, text: &str) -> Value {
    let path = scratch("suppressed").join("report");
    let run = run(under_shim(&mut Command::new(binary), &path).env("EPOLLSHIM_SUPPRESSIONS", file(text.as_bytes())));
    assert!(run.status.success(), "{}\n{}", run.status, run.stderr);
    report(&path)
}

#[test]
fn a_finding_is_known_by_its_object_or_its_exported_function() {
    let binary = c_program_with("findings/size_lie", &["-DCLOSED"]);
    let path = binary.to_str().unwrap();
    let by_path = format!("size-lie:^{path}$");
    for (text, findings) in [
        ("# nothing", 1),
        ("leak:size_lie", 1),
        ("size-lie:^size$", 1),
        ("size-lie:libc.so", 1),
        ("size-lie:another_function", 1),
        ("size-lie:^size_lie$", 0),
        ("size-lie:*/size_*e$", 0),
        (&by_path, 0),
        // The program is linked with -rdynamic.
        ("size-lie:^main$", 0),
        ("size-lie:*", 0),
    ] {
        let report = report_under(&binary, text);
        assert_eq!(report["findings"].as_array().unwrap().len(), findings, "{text}: {report:#}");
        let counts =
            if text.starts_with('#') { Value::Null } else { json!([{ "rule": text, "findings": 1 - findings }]) };
        assert_eq!(report["suppressions"], counts, "{text}");
    }
}

#[test]
fn an_exported_function_is_found_with_every_kind_of_linking() {
    for flag in ["-no-pie", "-Wl,--hash-style=sysv", "-Wl,--hash-style=gnu", "-s"] {
        let binary = c_program_with("findings/size_lie", &["-DCLOSED", flag]);
        let report = report_under(&binary, "size-lie:^main$");
        assert_eq!(report["suppressions"][0]["findings"], 1, "{flag}: {report:#}");
        let report = report_under(&binary, "size-lie:^_start$\nsize-lie:epoll_create");
        assert_eq!(report["findings"].as_array().unwrap().len(), 1, "{flag}: {report:#}");
    }
}

#[test]
fn the_first_line_that_is_about_a_finding_is_the_one_that_is_used() {
    let binary = c_program_with("findings/size_lie", &["-DCLOSED"]);
    let report = report_under(&binary, "leak:x\nsize-lie:main\nsize-lie:size_lie\n");
    let counts: Vec<_> = report["suppressions"].as_array().unwrap().iter().map(|one| one["findings"].clone()).collect();
    assert_eq!(counts, [0, 1, 0]);
}

#[test]
fn the_text_ends_with_what_was_used_and_what_was_not() {
    let binary = c_program_with("findings/size_lie", &["-DCLOSED"]);
    let known = file(b"leak:libfoo.so\nsize-lie:size_lie\nspin:\x1b[2J\n");
    let run = under(&binary, &known, &[]);
    assert!(run.status.success(), "{}", run.stderr);
    assert!(!run.stderr.contains("Findings:"), "{}", run.stderr);
    let end = "\nSuppressions: 1 used, 2 not used\n  not used     leak:libfoo.so\n  1 finding    size-lie:size_lie\n  \
               not used     spin:?[2J\n";
    assert!(run.stderr.ends_with(end), "{}", run.stderr);
}

/// A program under the shim, with its report as text on stderr.
fn under(binary: &Path, known: &Path, options: &[(&str, &str)]) -> Run {
    let mut command = Command::new(binary);
    command.env("LD_PRELOAD", shim()).env("EPOLLSHIM_SUPPRESSIONS", known).envs(options.iter().copied());
    run(&mut command)
}

#[test]
fn a_bad_line_ends_the_program_before_main_with_file_and_line() {
    let binary = c_program_with("findings/size_lie", &["-DCLOSED"]);
    let bad = file(b"# known\nleak:libfoo.so\nleek:x\n");
    let missing = bad.with_file_name("missing");
    let directory = bad.parent().unwrap().to_owned();
    let long = file(&vec![b'#'; (1 << 20) + 1]);
    for (path, wanted) in [
        (&bad, format!("{}:3: unknown finding 'leek' in 'leek:x'; did you mean leak?", bad.display())),
        (&missing, format!("{}: cannot be read: ENOENT", missing.display())),
        (&directory, format!("{}: not a plain file", directory.display())),
        (&long, format!("{}: longer than 1048576 bytes", long.display())),
    ] {
        let ended = under(&binary, path, &[]);
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{}", path.display());
        assert_eq!(ended.stderr, format!("epollshim: EPOLLSHIM_SUPPRESSIONS: {wanted}\n"));
        let ignored = under(&binary, path, &[("EPOLLSHIM_ON_BAD_CONFIG", "ignore")]);
        assert_eq!((ignored.status.code(), ignored.stderr), (Some(0), ended.stderr));
    }
}
