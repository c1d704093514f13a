//! The table of docs/hosts.md: written from the results of the hosts, and compared with them.
//! Versions change with the suites, so they are written and not compared.

use super::host::Host;
use super::rows::Outcome;
use super::{HOSTS, ROWS, outcome, without};
use testkit::root;

const FILE: &str = "docs/hosts.md";
const BEGIN: &str = "<!-- hosts: make test-hosts EPOLLSHIM_BLESS=1 -->\n";
const END: &str = "<!-- end -->\n";

fn document() -> String {
    std::fs::read_to_string(root().join(FILE)).unwrap()
}

fn cell(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Passed(text) => text.clone(),
        Outcome::Skipped(why) => format!("not tried: {why}"),
    }
}

fn is_blessing() -> bool {
    std::env::var_os("EPOLLSHIM_BLESS").is_some()
}

/// The cell of a host in the table of results.
fn written(host: &str, row: &str) -> Option<String> {
    let text = document();
    let mut lines = text.split_once(BEGIN)?.1.lines().skip_while(|line| !line.starts_with("| host | C programs"));
    let cells =
        |line: &str| -> Vec<String> { line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect() };
    let place = cells(lines.next()?).iter().position(|name| name == row)?;
    lines.map(cells).find(|cells| cells[0] == host)?.get(place).cloned()
}

pub fn says(host: &str, row: &str, outcome: &Outcome) {
    if let Outcome::Skipped(why) = outcome {
        testkit::skipped(&format!("{row} on {host}: {why}"), true);
        // A file that is not built is no result of the host.
        return;
    }
    if !is_blessing() {
        let expected = Some(cell(outcome));
        assert_eq!(
            written(host, row),
            expected,
            "{FILE}, {row} of {host}: make test-hosts EPOLLSHIM_BLESS=1 writes it"
        );
    }
}

/// The exact versions of a host's packages.
fn versions(host: &Host) -> [String; 4] {
    if host.is_musl() {
        // The loader prints its version, and fails because it has no program to run.
        let loader = testkit::run(&mut testkit::place::Place::command(host, "/lib/ld-musl-x86_64.so.1".as_ref()));
        let version =
            loader.stderr.lines().find_map(|line| line.strip_prefix("Version ")).expect("a version").to_owned();
        let compiler = "this machine's musl-gcc".to_owned();
        return [format!("musl {version}"), compiler, "none".to_owned(), "none".to_owned()];
    }
    let package = |name: &str| host.output(&format!("dpkg-query -W -f ${{Version}} {name}"));
    ["libc6", "gcc", "redis-server", "python3"].map(|name| match name {
        "libc6" => format!("glibc {}", package(name)),
        _ => package(name),
    })
}

fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    // Without the suffix that a distribution or the owner of a machine appends to the version.
    release.split(['-', '+', '\n']).next().unwrap().to_owned()
}

/// The table. None if a host could not be made, or a row of it failed.
fn block() -> Option<String> {
    let mut text = format!("\nOn Linux {}.\n\n", kernel());
    text.push_str("| host | C library | gcc | redis-server | python3 |\n|---|---|---|---|---|\n");
    for name in HOSTS {
        text.push_str(&format!("| {name} | {} |\n", versions(Host::get(name)?).join(" | ")));
    }
    let rows: Vec<&str> = ROWS.iter().map(|(name, _)| *name).collect();
    text.push_str(&format!("\n| host | {} |\n|{}\n", rows.join(" | "), "---|".repeat(1 + rows.len())));
    for name in HOSTS {
        let mut cells = Vec::new();
        for row in &rows {
            cells.push(cell(outcome(name, row)?.as_ref().ok()?));
        }
        text.push_str(&format!("| {name} | {} |\n", cells.join(" | ")));
    }
    let mut lacking = String::new();
    for name in HOSTS {
        for known in without::of(name) {
            lacking.push_str(&format!("| {name} | {} | {} |\n", known.check(), known.why));
        }
    }
    text.push_str(&format!("\nC programs that a host cannot run, with the library or without:\n\n| host | check | why |\n|---|---|---|\n{lacking}"));
    text.push('\n');
    Some(text)
}

pub fn is_current() {
    let Some(made) = block() else {
        // The test of each row reports its own failure.
        testkit::skipped("the table of hosts: a host could not be made, or a row of it failed", true);
        return;
    };
    let text = document();
    let (before, rest) = text.split_once(BEGIN).expect("the beginning of the table");
    let (_, after) = rest.split_once(END).expect("the end of the table");
    let new = format!("{before}{BEGIN}{made}{END}{after}");
    if is_blessing() {
        std::fs::write(root().join(FILE), &new).unwrap();
    } else if new != text {
        // Results were compared row by row.
        eprintln!(
            "note: {FILE} was written with other versions; make test-hosts EPOLLSHIM_BLESS=1 writes these:\n{made}"
        );
    }
}
