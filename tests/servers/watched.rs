//! `epollshim inspect` on the processes of a server: its findings, and that it changes no process.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::{Rate, Serving};
use testkit::{shim, show};

/// A process and all its descendants.
pub fn family(first: i32) -> BTreeSet<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let parents: Vec<(i32, i32)> = processes
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, field(pid, "PPid:")?.parse().ok()?))
        })
        .collect();
    let mut family = BTreeSet::from([first]);
    loop {
        let size = family.len();
        family.extend(
            parents.iter().filter(|(_, parent)| family.contains(parent)).map(|(pid, _)| *pid).collect::<Vec<_>>(),
        );
        if family.len() == size {
            return family;
        }
    }
}

/// A line of /proc/PID/status; None: the process has ended.
fn field(pid: i32, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
}

/// The descriptors of processes. The names of sockets and similar files contain a unique number.
fn tables(family: &BTreeSet<i32>) -> Vec<(i32, String, String)> {
    let of = |pid: &i32| {
        let (pid, folder) = (*pid, format!("/proc/{pid}/fd"));
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(move |entry| {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            (pid, entry.file_name().into_string().unwrap(), target.display().to_string())
        })
    };
    let mut all: Vec<_> = family.iter().flat_map(of).collect();
    all.sort();
    all
}

/// Inspects all processes once. Returns them as JSON, without those that have ended meanwhile.
fn inspect(family: &BTreeSet<i32>) -> Vec<Value> {
    let mut command = Command::new(shim().with_file_name("epollshim"));
    command.args(["inspect", "--format", "json", "--fail-on", "warning"]);
    let output = command.args(family.iter().map(i32::to_string)).output().unwrap();
    let all: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", show(&output)));
    for error in all["errors"].as_array().unwrap() {
        let message = error["error"].as_str().unwrap();
        let has_ended = ["there is no process", "has ended"].iter().any(|words| message.contains(words));
        assert!(has_ended, "{}", show(&output));
    }
    let processes = all["processes"].as_array().unwrap().clone();
    let is_worse = |finding: &Value| finding["severity"] != "info";
    let worse =
        processes.iter().flat_map(|one| one["findings"].as_array().unwrap()).filter(|one| is_worse(one)).count();
    // Status 2: a process has ended.
    let status = output.status.code();
    assert!(status == Some(if worse > 0 { 1 } else { 0 }) || status == Some(2), "{}", show(&output));
    processes
}

/// Asserts that inspecting a server with idle clients changes none of its descriptors.
pub fn changes_no_descriptor(serving: &Serving) {
    let mut clients: Vec<_> = (0..serving.clients).map(|number| (serving.connect)(number)).collect();
    for client in &mut clients {
        client();
    }
    // A server may change descriptors by itself meanwhile, so this is tried several times.
    let mut seen = Vec::new();
    let is_same = (0..20).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        let before = family(serving.running.pid());
        let table = tables(&before);
        inspect(&before);
        let after = family(serving.running.pid());
        seen = vec![table, tables(&after)];
        seen[0] == seen[1]
    });
    assert!(is_same, "{seen:#?}");
}

/// Sets the flag when it is dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The results of inspecting a server under load.
pub struct Watched {
    pub rate: Rate,
    pub looks: u32,
    /// The findings, each with the name of its process in `process`.
    pub findings: Vec<Value>,
}

/// Runs a load like [`Serving::load`], while all processes of the server are inspected repeatedly.
/// Asserts that none of them is stopped or traced.
pub fn load(serving: &Serving, time: Duration) -> Watched {
    let is_over = AtomicBool::new(false);
    let first = serving.running.pid();
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let (mut looks, mut findings) = (0, Vec::new());
            while !is_over.load(Ordering::Relaxed) {
                for mut process in inspect(&family(first)) {
                    let name = process["name"].take();
                    for finding in process["findings"].as_array_mut().unwrap() {
                        finding["process"] = name.clone();
                        findings.push(finding.take());
                    }
                }
                looks += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
            (looks, findings)
        });
        let states = scope.spawn(|| {
            let mut all = BTreeSet::new();
            for round in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                if round % 20 == 0 {
                    all = family(first);
                }
                for pid in all.iter().copied() {
                    let state = field(pid, "State:").unwrap_or_default();
                    assert!(!state.starts_with(['T', 't']), "process {pid}: {state}");
                    let tracer = field(pid, "TracerPid:").unwrap_or("0".to_owned());
                    assert_eq!(tracer, "0", "process {pid} is traced");
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let rate = {
            // Also if a client panics.
            let _end = End(&is_over);
            serving.load(time)
        };
        states.join().unwrap();
        let (looks, findings) = looking.join().unwrap();
        assert!(Path::new(&format!("/proc/{first}")).exists());
        Watched { rate, looks, findings }
    })
}
