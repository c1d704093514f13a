//! Groups the recordings of a directory into runs.
//!
//! A recording does not name its run. It has the ids of the process and of its parent, and when the
//! process began and ended. A process belongs to the run of an earlier process if
//!
//! - the earlier one is its parent, or is the program that it was before an exec;
//! - both have the same parent, and it began within [`GAP`] of the end of that run (a script that
//!   starts programs one after another);
//! - it began before the last process of that run had ended.
//!
//! Any other process begins a new run. Two runs at the same time count as one. The end of a killed
//! process is the time of the last thing known about it.

use std::path::{Path, PathBuf};

use crate::model::{End, Process};
use crate::scale::count;

/// The most nanoseconds between the end of a run and the beginning of another process of the same
/// parent in that run.
const GAP: u64 = 1_000_000_000;

/// Processes that belong together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// The directory that they were recorded in.
    pub directory: PathBuf,
    /// When the first process began, in nanoseconds since 1970.
    pub began_unix: u64,
    pub processes: usize,
    /// The number of processes of earlier runs in this directory that were left out (`--latest`).
    pub left_out: usize,
}

/// Assigns each process to its run. Returns the runs, the oldest first.
pub fn tell_apart(directory: &Path, processes: &mut [Process]) -> Vec<Run> {
    processes.sort_by_key(|process| (process.header.began_unix, process.header.pid));
    let mut runs: Vec<Run> = Vec::new();
    for index in 0..processes.len() {
        let (earlier, rest) = processes.split_at_mut(index);
        let Some(process) = rest.first_mut() else { break };
        let run = earlier.iter().rev().find(|other| belongs(process, other)).and_then(|other| other.run);
        let run = run.or_else(|| {
            // The run of its last sibling, if the last process of that run ended shortly before.
            let sibling = earlier.iter().rev().find(|other| other.header.ppid == process.header.ppid)?;
            let ends = earlier.iter().filter(|other| other.run == sibling.run).map(end);
            (process.header.began_unix <= ends.max()?.saturating_add(GAP)).then_some(sibling.run?)
        });
        let run = run.unwrap_or_else(|| {
            runs.push(Run {
                directory: directory.to_path_buf(),
                began_unix: process.header.began_unix,
                processes: 0,
                left_out: 0,
            });
            runs.len() - 1
        });
        process.run = Some(run);
        if let Some(run) = runs.get_mut(run) {
            run.processes += 1;
        }
    }
    runs
}

/// Whether a process belongs to the run of an earlier one, judged by these two processes only.
fn belongs(process: &Process, other: &Process) -> bool {
    let (header, before) = (&process.header, &other.header);
    let overlaps = header.began_unix <= end(other);
    let is_child = header.ppid == before.pid && (overlaps || before.end == End::NotYet);
    let was_it =
        header.pid == before.pid && before.end == End::Exec && header.began_unix <= end(other).saturating_add(GAP);
    overlaps || is_child || was_it
}

/// Nanoseconds since 1970.
fn end(process: &Process) -> u64 {
    if process.runs { u64::MAX } else { process.header.began_unix.saturating_add(process.duration) }
}

/// A sentence for directories that have recordings of several runs, or whose earlier runs were left
/// out.
pub fn note(runs: &[Run]) -> Option<String> {
    let mut notes = Vec::new();
    let mut directories: Vec<&Path> = runs.iter().map(|run| run.directory.as_path()).collect();
    directories.dedup();
    for directory in directories {
        let of: Vec<&Run> = runs.iter().filter(|run| run.directory == directory).collect();
        let name = crate::load::shown(directory);
        let earlier: usize = of.iter().map(|run| run.left_out).sum();
        if earlier > 0 {
            let earlier = count(earlier as u64, "process of an earlier run is", "processes of earlier runs are");
            notes.push(format!("{name}: {earlier} left out (--latest)."));
        } else if let [.., last] = of.as_slice()
            && of.len() > 1
        {
            let latest = count(last.processes as u64, "process", "processes");
            notes.push(format!(
                "{name} was used by {} runs, reported together; use --latest for the newest alone ({latest}).",
                of.len()
            ));
        }
    }
    (!notes.is_empty()).then(|| notes.join(" "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{GAP, note, tell_apart};
    use crate::model::{End, Header, Process};
    use std::path::Path;

    const SECOND: u64 = 1_000_000_000;

    fn process(pid: u64, ppid: u64, began: u64, duration: u64, end: End) -> Process {
        let header = Header { pid, ppid, began_unix: began, end, ..Header::default() };
        Process { header, duration, ..Process::default() }
    }

    fn runs(mut processes: Vec<Process>) -> Vec<usize> {
        tell_apart(Path::new("rec"), &mut processes);
        processes.iter().map(|process| process.run.unwrap()).collect()
    }

    #[test]
    fn a_family_is_one_run_and_the_next_start_another() {
        let exit = End::Exit;
        let family = || vec![process(10, 1, 0, SECOND, exit), process(11, 10, SECOND / 2, SECOND, exit)];
        assert_eq!(runs(family()), [0, 0]);
        // Started again by another parent, right after it.
        let mut again = family();
        again.push(process(20, 2, 2 * SECOND, SECOND, exit));
        assert_eq!(runs(again), [0, 0, 1]);
        // A script that starts one program after another.
        let script = vec![process(10, 1, 0, SECOND, exit), process(12, 1, SECOND + GAP / 2, SECOND, exit)];
        assert_eq!(runs(script), [0, 0]);
        // Started by hand, from one shell.
        let by_hand = vec![process(10, 1, 0, SECOND, exit), process(12, 1, SECOND + 2 * GAP, SECOND, exit)];
        assert_eq!(runs(by_hand), [0, 1]);
        // A process that continues by exec, a while after the shell has started it.
        assert_eq!(runs(vec![process(10, 1, 0, SECOND, End::Exec), process(10, 1, SECOND + 5, SECOND, exit)]), [0, 0]);
        // The child of a process that was killed later than the last thing known about it.
        assert_eq!(runs(vec![process(10, 1, 0, 5, End::NotYet), process(11, 10, SECOND, 5, exit)]), [0, 0]);
    }

    #[test]
    fn a_directory_of_two_runs_says_so() {
        let mut two = vec![process(10, 1, 0, 5, End::Exit), process(20, 2, SECOND, 5, End::Exit)];
        let runs = tell_apart(Path::new("rec"), &mut two);
        let text = note(&runs).unwrap();
        assert!(text.starts_with("rec was used by 2 runs") && text.contains("--latest"), "{text}");
        assert_eq!(note(&runs[..1]), None);
    }
}
