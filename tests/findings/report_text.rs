//! The text of a finding in the exit report.

use std::process::Command;

use testkit::{c_program_with, copy, run, scratch, shim};

#[test]
fn a_finding_comes_first_and_fits_80_columns_for_every_length_of_the_program_name() {
    let program = c_program_with("findings/size_lie", &["-DCLOSED"]);
    for length in [8, 40, 57] {
        let binary = scratch("text").join("n".repeat(length));
        copy(&program, &binary);
        let run = run(Command::new(&binary).env("LD_PRELOAD", shim()));
        let findings = run.stderr.split("\n\n").nth(1).unwrap();
        let mut lines = findings.lines();
        assert_eq!(lines.next(), Some("Findings: 1 info"), "{}", run.stderr);
        assert_eq!(lines.next(), Some("Run `epollshim explain ID` for how to fix one."), "{}", run.stderr);
        assert!(lines.next().unwrap().starts_with("  info     size-lie       epfd 3"), "{findings}");
        assert!(lines.all(|line| line.starts_with("           ")), "{findings}");
        assert!(findings.contains(&format!("  created at {}+0x", "n".repeat(length))), "{findings}");
        // A place is never truncated.
        assert!(findings.lines().all(|line| line.len() <= 80 || line.contains(" at nnn")), "{findings}");
    }
}
