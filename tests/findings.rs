//! Each defect has a program that has it (`c-tests/findings/NAME.c`) and a fixed twin (the same
//! with `-DFIXED`): the first must be found, with the descriptors and the line that it prints
//! itself; the second must have no finding above `info`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "findings/batch.rs"]
mod batch;
#[path = "findings/cases.rs"]
mod cases;
#[path = "findings/census.rs"]
mod census;
#[path = "findings/close_in_wait.rs"]
mod close_in_wait;
#[path = "findings/closes.rs"]
mod closes;
#[path = "findings/healthy.rs"]
mod healthy;
#[path = "findings/killed.rs"]
mod killed;
#[path = "findings/leaks.rs"]
mod leaks;
#[path = "findings/ledger.rs"]
mod ledger;
#[path = "findings/lives.rs"]
mod lives;
#[allow(dead_code)]
mod programs;
#[path = "findings/report_text.rs"]
mod report_text;
#[path = "findings/spinning.rs"]
mod spinning;
#[path = "findings/stalled.rs"]
mod stalled;
#[path = "findings/sums.rs"]
mod sums;
#[path = "findings/suppressions.rs"]
mod suppressions;
#[path = "findings/unusable.rs"]
mod unusable;
#[path = "findings/waits.rs"]
mod waits;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{c_program_with, report, reports, root, run, scratch, under_shim};

/// The findings of a severity above `info`.
fn serious(report: &Value) -> Vec<&Value> {
    report["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] != "info").collect()
}

/// Asserts that the report of the program has this finding, with its severity, descriptors and
/// place. Returns the finding.
fn is_found(program: &str, id: &str, severity: &str) -> Value {
    is_found_with(program, id, severity, &[])
}

/// [`is_found`] with options of the shim.
fn is_found_with(program: &str, id: &str, severity: &str, options: &[(&str, &str)]) -> Value {
    let (binary, report, printed) = examine_with(program, &[], options);
    let findings = report["findings"].as_array().unwrap();
    let mut matching = findings.iter().filter(|finding| finding["id"] == id);
    let finding = matching.next().unwrap_or_else(|| panic!("{program}: no {id} among {findings:#?}"));
    assert!(matching.next().is_none(), "{program}: {id} twice: {findings:#?}");
    assert_eq!(finding["severity"], severity, "{program}: {finding:#}");
    let number = |fd: i64| if fd < 0 { Value::Null } else { fd.into() };
    assert_eq!(finding["epfd"], number(printed.0), "{program}: {finding:#}");
    assert_eq!(finding["fd"], number(printed.1), "{program}: {finding:#}");
    let site = finding["site"].as_str().unwrap_or_else(|| panic!("{program}: no site: {finding:#}"));
    assert_eq!(line_of(&binary, site), line_marked(program, "HERE"), "{program}: {site}: {finding:#}");
    let others: Vec<_> = serious(&report).into_iter().filter(|finding| finding["id"] != id).cloned().collect();
    assert!(others.is_empty(), "{program}: more than its defect: {others:#?}");
    finding.clone()
}

/// The fixed twin does the same work, and is found fault with in nothing.
fn is_fixed(program: &str) {
    is_fixed_with(program, &[]);
}

fn is_fixed_with(program: &str, options: &[(&str, &str)]) {
    let (_, report, _) = examine_with(program, &["-DFIXED"], options);
    let serious = serious(&report);
    assert!(serious.is_empty(), "{program}, fixed: {serious:#?}");
}

/// Runs a program under the shim. Returns the binary, the report, and the descriptors that it says
/// are concerned.
fn examine(program: &str, flags: &[&str]) -> (PathBuf, Value, (i64, i64)) {
    examine_with(program, flags, &[])
}

/// [`examine`] with options of the shim.
fn examine_with(program: &str, flags: &[&str], options: &[(&str, &str)]) -> (PathBuf, Value, (i64, i64)) {
    let binary = c_program_with(&format!("findings/{program}"), flags);
    let path = scratch(program).join("report");
    let run = run(under_shim(Command::new(&binary).envs(options.iter().copied()), &path));
    assert!(run.status.success(), "{program}: {}\n{}", run.status, run.stderr);
    let printed: Vec<i64> =
        run.stdout.lines().last().unwrap().split(' ').map(|number| number.parse().unwrap()).collect();
    (binary, report(&path), (printed[0], printed[1]))
}

/// Every report of a run of a program, the children's among them.
fn reports_of(program: &str) -> Vec<Value> {
    let binary = c_program_with(&format!("findings/{program}"), &[]);
    let path = scratch(program).join("report");
    let run = run(under_shim(&mut Command::new(&binary), &path));
    assert!(run.status.success(), "{program}: {}\n{}", run.status, run.stderr);
    reports(&path)
}

fn has_nothing_serious(report: &Value) {
    let serious = serious(report);
    assert!(serious.is_empty(), "{serious:#?}");
}

/// The line of `program.c` that ends in a mark.
fn line_marked(program: &str, mark: &str) -> usize {
    let source = root().join("c-tests/findings").join(format!("{program}.c"));
    let text = std::fs::read_to_string(&source).unwrap();
    let mark = format!("/* {mark} */");
    text.lines().position(|line| line.contains(&mark)).unwrap_or_else(|| panic!("{program}.c has no {mark}")) + 1
}

/// The line of a site `object+0xoffset`.
fn line_of(binary: &Path, site: &str) -> usize {
    let (object, offset) = site.split_once("+0x").unwrap_or_else(|| panic!("{site}"));
    assert_eq!(object, binary.file_name().unwrap().to_str().unwrap(), "{site}");
    // The return address is that of the next instruction.
    let call = u64::from_str_radix(offset, 16).unwrap() - 1;
    let output = Command::new("addr2line").arg("-e").arg(binary).arg(format!("{call:#x}")).output().expect("addr2line");
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.trim().rsplit(':').next().unwrap().split(' ').next().unwrap();
    line.parse().unwrap_or_else(|_| panic!("{site}: {text}"))
}
