//! The output of `epollshim inspect --format json` for each kind of process matches
//! share/inspect.schema.json.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

fn python() -> Option<&'static str> {
    testkit::schema::python().map_err(|why| testkit::skipped(why, false)).ok()
}

/// A program of c-tests/inspect that has reached the state in which it stays. It is killed when
/// this is dropped.
struct Stuck(Child, u32);

impl Stuck {
    fn start(name: &str, argument: Option<&str>) -> Stuck {
        let mut command = Command::new(testkit::c_program(&format!("inspect/{name}")));
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

/// The command's output for these processes, with any exit status.
fn inspected(through: Option<&Path>, pids: &[String]) -> String {
    let inspector = testkit::shim().with_file_name("epollshim");
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
fn all_output_is_in_the_schema() {
    let Some(python) = python() else { return };
    let programs: Vec<Stuck> = KINDS.iter().map(|(name, argument)| Stuck::start(name, *argument)).collect();
    let mut pids: Vec<String> = programs.iter().map(|program| program.1.to_string()).collect();
    // A process that does not exist, and this one, which has no instance.
    pids.extend(["4194305".to_owned(), std::process::id().to_string()]);
    let whole = inspected(None, &pids);
    // The same if kcmp and pidfd_getfd are refused.
    let refused = inspected(Some(&testkit::c_program("inspect/refused")), &pids[..4]);
    let document: Value = serde_json::from_str(&whole).unwrap();
    let processes = document["processes"].as_array().unwrap();
    assert_eq!((processes.len(), document["errors"].as_array().unwrap().len()), (KINDS.len() + 1, 1), "{document:#}");
    assert!(processes.iter().any(|one| !one["findings"].as_array().unwrap().is_empty()), "{document:#}");
    testkit::schema::is_valid(python, "inspect", &(whole + &refused));
}

#[test]
fn output_that_is_not_in_the_schema_is_refused() {
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
        let output = testkit::schema::validate(python, "inspect", "as-shipped", &wrong.to_string());
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.code() == Some(1) && printed.starts_with("$."), "{place}: {printed}");
    }
    // An additional key is valid (of a later version); a missing key is an error.
    let mut later = right.clone();
    later["processes"][0]["later"] = json!(1);
    assert!(testkit::schema::validate(python, "inspect", "as-shipped", &later.to_string()).status.success());
    assert_eq!(testkit::schema::validate(python, "inspect", "strict", &later.to_string()).status.code(), Some(1));
    later["processes"][0].as_object_mut().unwrap().remove("threads");
    assert_eq!(testkit::schema::validate(python, "inspect", "as-shipped", &later.to_string()).status.code(), Some(1));
}
