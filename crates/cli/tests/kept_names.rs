//! Tests that names on which users rely stay: option flags, variables, keys of the JSON outputs,
//! exit statuses. `kept-names.txt` has those of the release before the table of functions. Names
//! may be added to it; none may go.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{compile, epollshim, output, run, scratch, stderr, stdout};
use serde_json::Value;

/// Adds `SORT A.B.C` for each key below this value. Elements of a list are called `[]`.
fn keys(sort: &str, path: &str, value: &Value, into: &mut BTreeSet<String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let mut add = |name: &str, value: &Value| {
        let path = below(name);
        into.insert(format!("{sort} {path}"));
        keys(sort, &path, value, into);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| add(name, value)),
        Value::Array(elements) => elements.iter().for_each(|value| add("[]", value)),
        _ => {}
    }
}

/// Adds `flag COMMAND --FLAG` for each flag that the help text names.
fn flags(command: &str, into: &mut BTreeSet<String>) {
    let help = stdout(&run(&[command, "--help"]));
    for word in help.split(|letter: char| !letter.is_ascii_lowercase() && letter != '-') {
        if word.len() > 2 && word.starts_with("--") {
            into.insert(format!("flag {command} {word}"));
        }
    }
}

/// Runs a program that makes nearly every key under `run` with each output, and collects the keys
/// of all of them.
fn of_a_run(into: &mut BTreeSet<String>) {
    let program = compile("every_key", &[]);
    let place = scratch("kept");
    let at = |name: &str| place.join(name).to_str().unwrap().to_owned();
    let mut command = epollshim();
    command.args(["run", "--exec", "--census", "--stacks=4", "--report-format=json", "--log-format=json"]);
    command.args(["--limit=watches=100,instances=100,memory=100M", "--inject=epoll_ctl:error=ENOSPC:when=3"]);
    command.args(["--report", &at("report"), "--log", &at("log"), "--record", &at("recordings"), "--"]).arg(program);
    let ran = output(&mut command);
    assert!(ran.status.success(), "{}", stderr(&ran));
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let parsed = |text: &str| serde_json::from_str::<Value>(text).expect(text);
    keys("report", "", &parsed(&read(&at("report"))), into);
    read(&at("log")).lines().for_each(|line| keys("log", "", &parsed(line), into));
    keys("recording", "", &parsed(&stdout(&run(&["report", "--format=json", &at("recordings")]))), into);
}

#[test]
fn no_flag_variable_or_key_is_gone() {
    let mut found = BTreeSet::new();
    ["run", "report", "top", "ctl", "check", "explain"].iter().for_each(|command| flags(command, &mut found));
    found.extend(epollshim_format::options::NAMES.map(|name| format!("variable {name}")));
    of_a_run(&mut found);
    let check = run(&["check", "--format=json", compile("every_key", &[]).to_str().unwrap()]);
    keys("check", "", &serde_json::from_str(&stdout(&check)).unwrap(), &mut found);

    let kept = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kept-names.txt")).unwrap();
    let kept: Vec<&str> = kept.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(kept.len() > 600, "{} names", kept.len());
    let gone: Vec<&str> = kept.into_iter().filter(|name| !found.contains(*name)).collect();
    assert!(gone.is_empty(), "gone:\n{}", gone.join("\n"));
}

/// 0 for success, 2 for a usage error, otherwise the program's own.
#[test]
fn exit_statuses_stay() {
    let status = |words: &[&str]| run(words).status.code();
    assert_eq!(status(&["--help"]), Some(0));
    assert_eq!(status(&["--no-such-flag"]), Some(2));
    assert_eq!(status(&["report", "/nonexistent"]), Some(2));
    assert_eq!(status(&["explain", "no-such-finding"]), Some(2));
    assert_eq!(status(&["run", "--inject", "epoll_wait", "--", "true"]), Some(2));
    assert_eq!(status(&["run", "--", "sh", "-c", "exit 7"]), Some(7));
    let killed = run(&["run", "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed.status), Some(libc::SIGTERM));
    assert_eq!(status(&["run", "--", "/nonexistent"]), Some(127));
}
