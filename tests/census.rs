//! The census (`EPOLLSHIM_CENSUS=1`): its counts agree with the kernel's lists and with valgrind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use testkit::{c_program, report, run, scratch, shim, under_shim};

/// The numbers of the descriptors that the census lists.
fn numbers(census: &Value) -> BTreeSet<i64> {
    let sites = census["sites"].as_array().unwrap();
    sites.iter().flat_map(|site| site["fds"].as_array().unwrap()).map(|fd| fd.as_i64().unwrap()).collect()
}

/// Asserts that the census's numbers are consistent with each other.
fn adds_up(census: &Value) {
    let of = |key: &str| census[key].as_u64().unwrap_or_else(|| panic!("{key}: {census}"));
    assert_eq!(of("live") + of("closed"), of("at_start") + of("unseen") + of("born"), "{census}");
    assert!(of("peak") >= of("live"), "{census}");
    let kinds: u64 = census["kinds"].as_object().unwrap().values().map(|live| live.as_u64().unwrap()).sum();
    assert_eq!(kinds, of("live"), "{census}");
    for key in ["live", "born", "closed"] {
        for list in ["by_kind", "sites"] {
            let rows = census[list].as_array().unwrap();
            assert_eq!(rows.iter().map(|row| row[key].as_u64().unwrap()).sum::<u64>(), of(key), "{list}: {census}");
        }
    }
}

fn serious(report: &Value) -> Vec<&Value> {
    report["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] != "info").collect()
}

#[test]
fn after_a_storm_of_threads_forks_and_messages_the_census_equals_the_kernel() {
    let seconds = std::env::var("EPOLLSHIM_STORM_SECONDS").unwrap_or_else(|_| "3".to_owned());
    let folder = scratch("storm");
    let (parent, child) = (folder.join("parent"), folder.join("child"));
    let run = run(Command::new(c_program("census_storm"))
        .arg(&seconds)
        .args([&parent, &child])
        .env("LD_PRELOAD", shim())
        .env("EPOLLSHIM_REPORT", "none")
        .env("EPOLLSHIM_REPORT_FORMAT", "json")
        .env("EPOLLSHIM_CENSUS", "1"));
    assert!(run.status.success(), "{}\n{}{}", run.status, run.stdout, run.stderr);
    for (who, path) in [("parent", &parent), ("child", &child)] {
        let line = run.stdout.lines().find_map(|line| line.strip_prefix(who)).expect(who);
        let open: BTreeSet<i64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let report = report(path);
        let census = &report["census"];
        assert_eq!(numbers(census), open, "{who}: {census}");
        assert_eq!(census["live"], open.len(), "{who}");
        // The census followed each descriptor as it was created and closed: it found none only when
        // it compared itself with the kernel at the end.
        assert_eq!((&census["healed"], &census["unseen"]), (&0.into(), &0.into()), "{who}: {census}");
        adds_up(census);
        // This program creates and closes instances all the time.
        let others: Vec<&Value> = serious(&report).into_iter().filter(|finding| finding["id"] != "churn").collect();
        assert!(others.is_empty(), "{who}: {others:#?}");
        println!("{who}: {} made, {} closed, {} open", census["born"], census["closed"], census["live"]);
    }
}

/// The descriptors that `valgrind --track-fds=yes` reports as open at the end: their numbers, and
/// the line of the program's source that created each (0: not created in the program itself).
fn valgrinds(program: &Path) -> Option<BTreeMap<i64, usize>> {
    let valgrind = testkit::tool("valgrind")?;
    let output = Command::new(valgrind).args(["--track-fds=yes", "-q"]).arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let source = format!("({}.c:", program.file_name().unwrap().to_str().unwrap());
    let mut found = BTreeMap::new();
    let mut last = None;
    for line in text.lines().filter_map(|line| Some(line.split_once("== ")?.1)) {
        // "Open file descriptor 5: /dev/null", "Open AF_UNIX socket 4: <unknown>", "Open AF_INET
        // socket 3: unbound"
        if let Some(what) = line.strip_prefix("Open ") {
            let number = what.split(':').next().unwrap().rsplit(' ').next().unwrap();
            last = number.parse::<i64>().ok().filter(|fd| *fd > 2);
            found.extend(last.map(|fd| (fd, 0)));
        } else if let Some((_, place)) = line.split_once(&source)
            && let Some(line) = last.take()
        {
            found.insert(line, place.trim_end_matches(')').parse().expect("a line"));
        }
    }
    assert!(!found.is_empty(), "{text}");
    Some(found)
}

/// The census's descriptors of the same program, in the same form.
fn ours(program: &Path) -> BTreeMap<i64, usize> {
    let path = scratch("census").join("report");
    let run = run(under_shim(Command::new(program).env("EPOLLSHIM_CENSUS", "1"), &path));
    assert!(run.status.success(), "{}", run.stderr);
    let report = report(&path);
    let mut found = BTreeMap::new();
    for site in report["census"]["sites"].as_array().unwrap() {
        let line = site["site"].as_str().map_or(0, |site| line_of(program, site));
        let fds = site["fds"].as_array().unwrap().iter().map(|fd| fd.as_i64().unwrap());
        found.extend(fds.filter(|fd| *fd > 2).map(|fd| (fd, line)));
    }
    found
}

/// The line of a site `object+0xoffset`; 0 if it is in another object.
fn line_of(binary: &Path, site: &str) -> usize {
    let (object, offset) = site.split_once("+0x").unwrap_or_else(|| panic!("{site}"));
    if object != binary.file_name().unwrap().to_str().unwrap() {
        return 0;
    }
    let call = u64::from_str_radix(offset, 16).unwrap() - 1;
    let output = Command::new("addr2line").arg("-e").arg(binary).arg(format!("{call:#x}")).output().expect("addr2line");
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().rsplit(':').next().unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn descriptors_open_at_the_end_are_those_that_valgrind_lists() {
    for name in ["census_leaks", "findings/fd_leak", "findings/fd_leak_slowly"] {
        let program = c_program(name);
        let Some(valgrinds) = valgrinds(&program) else { return };
        let ours = ours(&program);
        // The report lists the first 64 descriptors of a place.
        let first = |all: &BTreeMap<i64, usize>| all.keys().copied().take(60).collect::<Vec<_>>();
        assert_eq!(first(&ours), first(&valgrinds), "{name}");
        for (fd, line) in ours {
            let valgrinds = valgrinds[&fd];
            assert_eq!(line, valgrinds, "{name}: descriptor {fd}");
        }
    }
}

#[test]
fn a_process_that_only_opens_files_has_a_report_with_a_census_and_none_without() {
    let program = c_program("census_leaks");
    let stderr = |census: &str| {
        run(Command::new(&program)
            .env("LD_PRELOAD", shim())
            .env("EPOLLSHIM_CENSUS", census)
            .env_remove("EPOLLSHIM_REPORT"))
        .stderr
    };
    let text = stderr("1");
    assert!(text.contains("\nDescriptors: ") && text.contains("  sockets "), "{text}");
    // The description of a descriptor is never truncated: an inode number may be long.
    let fits = |line: &str| line.chars().count() <= 80 || line.trim_start().starts_with("fd ");
    assert!(text.lines().all(fits), "{text}");
    assert!(!stderr("0").contains("\nDescriptors: "));
}
