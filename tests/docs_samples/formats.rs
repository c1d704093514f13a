//! The samples of docs/formats.md that are made from a recording of redis, or that draw stacks.

use super::shell::Shell;
use crate::{leak, redis};

const PAGE: &str = "docs/formats.md";

#[test]
fn redis_in_json_perfetto_and_prometheus() {
    let shell = Shell::new();
    let recordings = shell.folder.join("redis");
    if redis(&["--report", "none", "--record", recordings.to_str().unwrap()]).is_none() {
        return;
    }
    shell.runs(PAGE, "$ epollshim report redis --format json");
    shell.runs(PAGE, "$ epollshim report redis --format perfetto");
    shell.runs(PAGE, "$ epollshim report redis --format prometheus");
}

#[test]
fn a_textfile_for_node_exporter_and_stacks_for_flamegraph() {
    let mut shell = Shell::new();
    shell.program("leak", &leak().join("leak"));
    // What it would draw.
    shell.stand_in("flamegraph.pl", "cat");
    shell.runs(PAGE, "$ epollshim run --report none --census --stacks 16 --record rec -- ./leak");
    for (shown, real) in [("/var/lib/epollshim", "rec"), ("/var/lib/node_exporter", ".")] {
        shell.replace(shown, real);
    }
    shell.runs(PAGE, "$ epollshim report /var/lib/epollshim --format prometheus");
}
