//! What `epollshim inspect --format json` prints of processes of each kind is what share/inspect.schema.json says.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "programs/installed.rs"]
#[allow(dead_code)]
mod installed;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

/// Reads lines of JSON, each to be a document of the schema. With `strict`, no key may be there that the schema does not name: it
/// has all keys that are printed.
const VALIDATE: &str = r#"
import json, sys
from jsonschema import Draft202012Validator

schema = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(schema)

def close(part):
    if isinstance(part, dict):
        if part.get("type") == "object":
            part["additionalProperties"] = False
        for inner in part.values():
            close(inner)
    elif isinstance(part, list):
        for inner in part:
            close(inner)

if sys.argv[2] == "strict":
    close(schema)
wrong = 0
for line in sys.stdin:
    for error in Draft202012Validator(schema).iter_errors(json.loads(line)):
        wrong += 1
        print(error.json_path, error.message[:500])
sys.exit(1 if wrong else 0)
"#;

/// Debian's python3, which has jsonschema if that is installed.
fn python() -> Option<&'static str> {
    let python = "/usr/bin/python3";
    let has = Command::new(python).args(["-c", "from jsonschema import Draft202012Validator"]).output();
    if has.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    installed::skipped("/usr/bin/python3 has no jsonschema (Debian: python3-jsonschema)", false);
    None
}

fn validate(python: &str, mode: &str, lines: &str) -> Output {
    let schema = common::root().join("share/inspect.schema.json");
    let mut command = Command::new(python);
    command.args(["-c", VALIDATE]).arg(schema).arg(mode);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn is_valid(python: &str, lines: &str) {
    for mode in ["strict", "as-shipped"] {
        let output = validate(python, mode, lines);
        assert!(output.status.success() && output.stderr.is_empty(), "{mode}: {}\n{lines}", common::show(&output));
    }
}

/// A program of c-tests/inspect that has come to where it stays; killed in the end.
struct Stuck(Child, u32);

impl Stuck {
    fn start(name: &str, argument: Option<&str>) -> Stuck {
        let mut command = Command::new(common::c_program(&format!("inspect/{name}")));
        command.args(argument).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = line.split_whitespace().nth(2).unwrap().parse().unwrap();
        Stuck(child, pid)
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// What the command prints about these, whatever it exits with.
fn inspected(through: Option<&Path>, pids: &[String]) -> String {
    let inspector = common::shim().with_file_name("epollshim");
    let mut command = Command::new(through.unwrap_or(&inspector));
    command.args(through.map(|_| &inspector)).args(["inspect", "--format", "json"]).args(pids);
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

const KINDS: [(&str, Option<&str>); 8] = [
    ("healthy", None),
    ("edge_lost", Some("tcp")),
    ("edge_lost", Some("listen")),
    ("oneshot_lost", None),
    ("ghosts", Some("closed")),
    ("ghosts", Some("other")),
    ("near_limit", Some("all")),
    ("spins", Some("end")),
];

#[test]
fn all_that_is_printed_is_in_the_schema() {
    let Some(python) = python() else { return };
    let programs: Vec<Stuck> = KINDS.iter().map(|(name, argument)| Stuck::start(name, *argument)).collect();
    let mut pids: Vec<String> = programs.iter().map(|program| program.1.to_string()).collect();
    // One that is not there, and this process, which has no instance.
    pids.extend(["4194305".to_owned(), std::process::id().to_string()]);
    let whole = inspected(None, &pids);
    // Where kcmp and pidfd_getfd are refused.
    let refused = inspected(Some(&common::c_program("inspect/refused")), &pids[..4]);
    let document: Value = serde_json::from_str(&whole).unwrap();
    let processes = document["processes"].as_array().unwrap();
    assert_eq!((processes.len(), document["errors"].as_array().unwrap().len()), (KINDS.len() + 1, 1), "{document:#}");
    assert!(processes.iter().any(|one| !one["findings"].as_array().unwrap().is_empty()), "{document:#}");
    is_valid(python, &(whole + &refused));
}

#[test]
fn what_is_not_in_the_schema_is_refused() {
    let Some(python) = python() else { return };
    let program = Stuck::start("ghosts", Some("closed"));
    let right: Value = serde_json::from_str(&inspected(None, &[program.1.to_string()])).unwrap();
    let interest = "/processes/0/instances/0/interests/0";
    for (place, value) in [
        ("/schema".to_owned(), json!("epollshim.inspect/2")),
        ("/processes/0/pid".to_owned(), json!("1")),
        ("/processes/0/limit".to_owned(), json!(-1)),
        ("/processes/0/instances/0/ready".to_owned(), json!("yes")),
        (format!("{interest}/events"), json!("EPOLLIN|EPOLLET")),
        (format!("{interest}/ghost"), json!("gone")),
    ] {
        let mut wrong = right.clone();
        *wrong.pointer_mut(&place).unwrap_or_else(|| panic!("no {place}: {right:#}")) = value;
        let output = validate(python, "as-shipped", &wrong.to_string());
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.code() == Some(1) && told.starts_with("$."), "{place}: {told}");
    }
    // A key more is a later version's; a key less is an error.
    let mut later = right.clone();
    later["processes"][0]["later"] = json!(1);
    assert!(validate(python, "as-shipped", &later.to_string()).status.success());
    assert_eq!(validate(python, "strict", &later.to_string()).status.code(), Some(1));
    later["processes"][0].as_object_mut().unwrap().remove("threads");
    assert_eq!(validate(python, "as-shipped", &later.to_string()).status.code(), Some(1));
}
