//! Tests for false alarms: runs in which no fault fires are judged as if one had fired, two and
//! eight at a time, while another process is busy.
//!
//! Here, a few runs of small programs are made. `make test-sweep-calm` makes 500, also of servers.
//! The runs use the command and the library of `cargo build --release`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::clean::clean_runs;
use super::folder::Folder;
use super::notes::Notes;
use super::observe::Clean;
use super::options::Settled;
use super::plan;
use super::runner::{Ask, Runner};
use super::slots::Slots;
use super::verdict::{Done, judge};
use crate::args::{self, Asked};

/// A rule whose stack name does not exist.
pub(super) const NEVER: &str = "%creat,epoll_ctl,fork,pthread_create:error=ENOMEM:stack=0123456789abcdef/8:when=1";

/// What is run: a name, flags of the sweep, and the command.
pub(super) struct Calm(&'static str, Vec<String>, Vec<String>);

impl Calm {
    pub(super) fn name(&self) -> &str {
        self.0
    }
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// A program of c-tests/sweep without its mistake.
fn compiled(name: &str) -> String {
    let source = testkit::root().join(format!("c-tests/sweep/{name}.c"));
    let before = ["-std=gnu11", "-O1", "-g", "-pthread", "-DFIXED"];
    testkit::compile::program("cc", &before, &source, &[]).unwrap().to_str().unwrap().to_owned()
}

pub(super) fn small() -> Vec<Calm> {
    let server = compiled("unserved_client");
    let workload = format!("{server} 7110 ask && {server} 7110 ask");
    let flags = texts(&["--workload", &workload, "--ready-when", "port 7110"]);
    vec![
        Calm("threads", Vec::new(), vec![compiled("missing_worker")]),
        Calm("forks", Vec::new(), vec![compiled("taken_for_child")]),
        Calm("a server", flags, vec![server, "7110".into(), "serve".into()]),
    ]
}

/// Servers and programs that are installed.
fn real(folder: &Path) -> Vec<Calm> {
    let pages = |port: u16| format!("for i in 1 2 3 4 5; do curl -sf http://127.0.0.1:{port}/ || exit; done");
    let nginx = folder.join("nginx.conf");
    let temporary =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("{name}_temp_path t_{name};"));
    let http = format!("access_log off; {} server {{ listen 7112; return 200 hello; }}", temporary.concat());
    fs::write(&nginx, format!("worker_processes 2; events {{}} http {{ {http} }}")).unwrap();
    let node = "require('http').createServer((q, s) => s.end('hello')).listen(7113)";
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/sweep/no_sockets.py");
    let (nginx, python) = (nginx.to_str().unwrap(), python.to_str().unwrap());
    let benchmark = "redis-benchmark -p 7111 -n 500 -c 20 -t set,get -q > /dev/null";
    let all = [
        ("redis-server", benchmark.into(), 7111, vec!["--port", "7111", "--save", ""]),
        ("nginx", pages(7112), 7112, vec!["-p", "./", "-e", "stderr", "-c", nginx, "-g", "daemon off; pid nginx.pid;"]),
        ("node", pages(7113), 7113, vec!["-e", node]),
        ("/usr/bin/python3", format!("/usr/bin/python3 {python} 7114 ask"), 7114, vec![python, "7114", "fixed"]),
    ];
    let servers = all.into_iter().map(|(name, workload, port, arguments)| {
        let flags = texts(&["--workload", &workload, "--ready-when", &format!("port {port}")]);
        Calm(name, flags, texts(&[&[name], &arguments[..]].concat()))
    });
    servers.filter(|Calm(name, ..)| crate::program::find(name).is_some()).collect()
}

/// The runner and the notes for a program, and what its clean runs have in common.
pub(super) fn prepared(Calm(name, flags, command): &Calm, top: &Path) -> (Runner, Notes, Clean) {
    let mut words = texts(&["epollshim", "sweep", "--shim", testkit::library().to_str().unwrap()]);
    words.extend(flags.iter().cloned());
    words.push("--".into());
    words.extend(command.iter().cloned());
    let Ok(Asked::Sweep(asked)) = args::parse(words.into_iter().map(OsString::from)) else {
        panic!("{name}: no command line")
    };
    let mut runner = Runner::new(Settled::of(&asked).unwrap(), top, false);
    runner.own = testkit::binary();
    let notes = Notes::open(&asked, &runner.settled).unwrap();
    let clean = clean_runs(&asked, &runner, &notes, Ask { rules: NEVER.into(), ..Ask::default() }, |_| Ok(false));
    let clean = clean.unwrap_or_else(|failure| panic!("{name}: {}", failure.text)).clean;
    (runner, notes, clean)
}

/// The number of suspicious runs of a program, and of all its runs. Prints why they are suspicious.
fn alarms(calm: &Calm, jobs: usize, runs: usize) -> usize {
    let name = calm.name();
    let top = Folder::of_sweep().unwrap();
    let (runner, _, clean) = prepared(calm, &top.0);
    let ask = Ask {
        rules: NEVER.into(),
        times: plan::limits_of(&clean.times),
        again: 1,
        patience: 3,
        at_rest: Some(clean.at_rest),
        ..Ask::default()
    };
    let (next, found, slots) = (AtomicUsize::new(0), Mutex::new(0), Slots::new(jobs as u32));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < runs {
                    let (seen, folder) = runner.run(&ask, slots.take()).unwrap_or_else(|why| panic!("{name}: {why}"));
                    let judged = judge(&clean, &seen, &runner.settled.masks, &folder.0, Done::Nothing);
                    if judged.verdict.is_find() || seen.outcome.trouble.is_some() {
                        eprintln!("{name}: {judged:?} {:?}", seen.outcome);
                        *found.lock().unwrap() += 1;
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    eprintln!("{name}, {jobs} at a time: {found} of {runs} runs are suspicious");
    found
}

/// A process that takes a processor, also until the test fails.
struct Busy(std::process::Child);

impl Busy {
    fn start() -> Busy {
        let mut shell = Command::new("sh");
        Busy(shell.args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn none_of(runs: usize, programs: impl Fn(&Path) -> Vec<Calm>) {
    let folder = Folder::of_sweep().unwrap();
    let _busy = Busy::start();
    let programs = programs(&folder.0);
    let each = runs.div_ceil(2 * programs.len());
    let found: usize = [2, 8].iter().flat_map(|jobs| programs.iter().map(move |one| alarms(one, *jobs, each))).sum();
    assert_eq!(found, 0);
}

#[test]
fn no_run_without_a_fault_is_suspicious() {
    none_of(20, |_| small());
}

#[test]
#[ignore = "minutes: make test-sweep-calm"]
fn no_run_of_many_without_a_fault_is_suspicious() {
    let runs = std::env::var("SWEEP_CALM_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(500);
    none_of(runs, |folder| {
        let mut all = small();
        all.extend(real(folder));
        all
    });
}
