//! `epollshim inspect`: looks at a running process from outside.
//!
//! ```text
//! observe     makes the observations in their order
//! read        reads /proc/PID
//! network     reads /proc/PID/net for sockets that may not be copied
//! ready       copies descriptors, and queries whether each is ready
//! model       what was observed
//! judge       decides what is wrong, without side effects
//! elsewhere   lists what is waited for outside of epoll
//! text, json  print the result
//! ```
//!
//! The process need not have the shim. It is not stopped and gets no signal, and none of its
//! descriptors is changed, read or written.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use crate::args::{FailOnSeen, Format, Inspect};
use crate::text::{count, reason};
use crate::{Failure, USAGE, ctl, say, sys, terminal};

mod elsewhere;
mod json;
mod judge;
mod model;
mod network;
mod observe;
mod read;
mod ready;
mod text;

use crate::process::NoProcess;
use judge::Finding;
pub use judge::IDS;
use model::Process;
use observe::{REMEDY, Refusal, observe};

/// The exit status if `--fail-on` names a finding.
const FOUND: i32 = 1;

/// Prints each round, and returns the exit status.
pub fn inspect(asked: &Inspect) -> Result<i32, Failure> {
    sys::allow_descriptors();
    let mut pids = asked.pids.iter().map(|word| ctl::pid(word)).collect::<Result<Vec<u32>, Failure>>()?;
    let mut known = BTreeMap::new();
    // Each finding counts once, however many rounds report it.
    let mut named: BTreeSet<(u32, &'static str, Option<i32>, Vec<i32>)> = BTreeSet::new();
    let mut status = 0;
    let mut rounds = 0;
    while !pids.is_empty() {
        let (mut processes, mut errors) = (Vec::new(), BTreeMap::new());
        for pid in std::mem::take(&mut pids) {
            match observe(pid) {
                Ok(mut process) => {
                    remember(&mut process, &mut known);
                    let findings = judge::judge(&process);
                    processes.push((process, findings));
                    pids.push(pid);
                }
                // It existed in an earlier round.
                Err(Refusal::None(NoProcess::Absent | NoProcess::Ended { .. })) if rounds > 0 => {
                    say(&format!("process {pid} has ended"))
                }
                Err(refusal) => {
                    let why = why_not(pid, &refusal);
                    say(&why);
                    errors.insert(pid.to_string(), why);
                    status = USAGE;
                }
            }
        }
        let found = processes.iter().flat_map(|(process, findings)| findings.iter().map(|one| (process.pid, one)));
        let found = found.filter(|(_, one)| asked.fail_on.iter().any(|fail_on| fail_on.names(one)));
        named.extend(found.map(|(pid, one)| (pid, one.id, one.epfd, one.fds.clone())));
        if !processes.is_empty() || rounds == 0 && asked.format == Format::Json {
            write(&processes, &errors, asked.format, rounds)?;
        }
        rounds += 1;
        match asked.watch {
            Some(interval) if !pids.is_empty() => std::thread::sleep(interval),
            _ => break,
        }
    }
    if !named.is_empty() {
        let ids: BTreeSet<&str> = named.iter().map(|(_, id, ..)| *id).collect();
        let ids: Vec<&str> = ids.into_iter().collect();
        say(&format!("{} that --fail-on names: {}", count(named.len(), "finding"), ids.join(", ")));
        status = status.max(FOUND);
    }
    Ok(status)
}

fn write(
    processes: &[(Process, Vec<Finding>)],
    errors: &BTreeMap<String, String>,
    format: Format,
    round: u64,
) -> Result<(), Failure> {
    let text = match format {
        Format::Json => json::json(processes, errors),
        Format::Text => {
            let look = terminal::stdout();
            let pages: Vec<String> = processes.iter().map(|(one, found)| text::text(one, found, look)).collect();
            let gap = if round == 0 { "" } else { "\n" };
            format!("{gap}{}", pages.join("\n"))
        }
    };
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // `epollshim inspect PID | head`
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::usage(format!("stdout: {}", reason(&error)))),
        Ok(()) => Ok(()),
    }
}

/// A thread that has not run since the last round has slept all the time in between.
fn remember(process: &mut Process, known: &mut BTreeMap<u32, (u64, u64)>) {
    for thread in &mut process.threads {
        let turns = thread.last().and_then(|last| last.turns);
        match (thread.asleep_since, turns) {
            (Some(since), Some(turns)) => {
                let entry = known.entry(thread.tid).or_insert((turns, since));
                if entry.0 != turns {
                    *entry = (turns, since);
                }
                thread.asleep_since = Some(entry.1);
            }
            _ => drop(known.remove(&thread.tid)),
        }
    }
}

fn why_not(pid: u32, refusal: &Refusal) -> String {
    match refusal {
        Refusal::None(none) => none.message(pid),
        Refusal::WithoutFirstThread(name) => format!(
            "{name} (pid {pid}) cannot be inspected: its first thread has ended, and the kernel shows no descriptors then"
        ),
        Refusal::Refused(name, error) => {
            format!("{name} (pid {pid}) cannot be inspected ({}): {REMEDY}", reason(error))
        }
    }
}

/// Parses the seconds between two rounds.
pub fn interval(text: &str) -> Result<Duration, String> {
    crate::top::interval(text)
}

impl FailOnSeen {
    /// Whether it names a finding.
    fn names(&self, finding: &Finding) -> bool {
        self.id.as_deref().is_none_or(|id| id == finding.id) && finding.severity >= self.least
    }
}
