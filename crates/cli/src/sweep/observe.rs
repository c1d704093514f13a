//! Reads what a run left: its outcome, its output and files, and its recordings.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use epollshim_format::findings::{Id, Severity};
use epollshim_recording::model::{End, Process};

use super::mask::Masks;
use super::points;
use super::spec::{ERR, FAULTS, HOME, How, OUT, OUTCOME, Outcome, RECORDINGS, Times, WORK};

/// How many files of a run are compared, and how many bytes of each.
const MOST_FILES: usize = 1000;
const MOST_BYTES: u64 = 4 << 20;

/// What was read of one run.
#[derive(Default)]
pub struct Observation {
    pub outcome: Outcome,
    /// How many calls the rule made fail.
    pub fired: usize,
    /// The masked output: of the workload for a server, of the program otherwise.
    pub output: Vec<u8>,
    /// The other output, not masked.
    pub messages: Vec<u8>,
    /// The messages of the workload.
    pub work_messages: Vec<u8>,
    /// Masked contents by name, for a program that ends by itself.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The descriptors that were open when processes exited.
    pub descriptors: u64,
    pub instances: u64,
    /// What the first process had open, by kind.
    pub open: BTreeMap<String, u64>,
    /// The names of processes that ended without exiting.
    pub lost: Vec<String>,
    pub processes: usize,
    /// A process had the library: it created its log of faults, whatever it called.
    pub is_loaded: bool,
    /// Descriptors that were closed again after they were closed: a description of each, and how
    /// often.
    pub closed_twice: Vec<(String, u64)>,
}

impl Observation {
    /// Reads the folder of a run. None: the process that made the run did not answer.
    pub fn of(folder: &Path, masks: &Masks, is_server: bool, compares_files: bool) -> Option<Observation> {
        let outcome: Outcome = serde_json::from_slice(&fs::read(folder.join(OUTCOME)).ok()?).ok()?;
        let read = |name: &str| fs::read(folder.join(name)).unwrap_or_default();
        let (out, mut messages) = (read(OUT), read(ERR));
        let output = if is_server {
            messages.extend_from_slice(&out);
            read(&format!("{}.out", WORK[0]))
        } else {
            out
        };
        let mut files = BTreeMap::new();
        if compares_files && !is_server {
            let home = folder.join(HOME);
            collect(&home, &home, &mut files);
            files.values_mut().for_each(|text| *text = masks.output(text, folder));
        }
        let mut seen = Observation {
            fired: points::fired(&folder.join(FAULTS)),
            output: masks.output(&output, folder),
            outcome,
            messages,
            work_messages: read(&format!("{}.err", WORK[0])),
            files,
            descriptors: 0,
            instances: 0,
            open: BTreeMap::new(),
            lost: Vec::new(),
            processes: 0,
            is_loaded: fs::read_dir(folder.join(FAULTS)).is_ok_and(|mut logs| logs.next().is_some()),
            closed_twice: Vec::new(),
        };
        let options = epollshim_recording::Options { raw: true, ..Default::default() };
        if let Ok(set) = epollshim_recording::load_all(&[folder.join(RECORDINGS)], &options) {
            seen.processes = set.processes.len();
            set.processes.iter().for_each(|process| seen.add(process));
            let all = epollshim_recording::findings::of(&set.processes);
            let twice = all
                .iter()
                .filter(|found| found.finding.id == Id::DoubleClose && found.finding.severity > Severity::Info);
            seen.closed_twice = twice.map(|found| (found.message(), found.finding.count)).collect();
        }
        Some(seen)
    }

    fn add(&mut self, process: &Process) {
        match process.header.end {
            End::NotYet | End::Raised | End::Aborted => {
                self.lost.push(String::from_utf8_lossy(&process.header.comm).into_owned());
            }
            // The next program of the process still has these descriptors open.
            End::Exec => {}
            _ => {
                self.instances += process.instances.len() as u64;
                let Some(census) = &process.census else { return };
                self.descriptors += census.live;
                for row in census.rows.iter().filter(|row| row.live > 0) {
                    *self.open.entry(row.kind.name().to_owned()).or_default() += row.live;
                }
            }
        }
    }
}

fn collect(top: &Path, directory: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, Ok(facts)) = (entry.path(), entry.metadata()) else { continue };
        if facts.is_dir() {
            collect(top, &path, files);
        } else if facts.is_file() && facts.len() <= MOST_BYTES && files.len() < MOST_FILES {
            let name = path.strip_prefix(top).unwrap_or(&path).to_string_lossy().into_owned();
            files.insert(name, fs::read(&path).unwrap_or_default());
        }
    }
}

/// What clean runs have in common.
#[derive(Default)]
pub struct Clean {
    pub end: Option<How>,
    pub output: Vec<u8>,
    /// The files that all runs have in common.
    pub files: BTreeMap<String, Vec<u8>>,
    pub known: BTreeSet<String>,
    pub descriptors: u64,
    pub instances: u64,
    pub open: BTreeMap<String, u64>,
    pub lost: usize,
    pub processes: u64,
    pub at_rest: u64,
    pub idle_percent: u64,
    pub open_at_rest: BTreeMap<String, u64>,
    pub most_descriptors: u64,
    pub most_tasks: u64,
    pub closed_twice: u64,
    /// The longest time of each part.
    pub times: Times,
    pub total: u64,
}

impl Clean {
    /// Fails with the difference if two runs differ.
    pub fn of(runs: &[(&Observation, &Path)], masks: &Masks) -> Result<Clean, String> {
        let Some(((first, _), others)) = runs.split_first() else { return Err("there is no clean run".into()) };
        for (other, _) in others {
            if first.outcome.end != other.outcome.end {
                let ends = [first, other].map(|run| end_text(run.outcome.end));
                return Err(format!("one {}, another {}", ends[0], ends[1]));
            }
            if first.output != other.output {
                return Err(first_difference(&first.output, &other.output, ["in one clean run", "in another"]));
            }
        }
        let all = || runs.iter().map(|(run, _)| *run);
        let most = |of: fn(&Observation) -> u64| all().map(of).max().unwrap_or(0);
        let mut files = first.files.clone();
        files.retain(|name, text| all().all(|run| run.files.get(name) == Some(text)));
        let mut known = BTreeSet::new();
        for (run, folder) in runs {
            known.extend(run.messages.split(|byte| *byte == b'\n').map(|line| masks.message(line, folder)));
        }
        let times = Times {
            start: most(|run| run.outcome.times.start),
            work: most(|run| run.outcome.times.work),
            stop: most(|run| run.outcome.times.stop),
        };
        Ok(Clean {
            end: first.outcome.end,
            output: first.output.clone(),
            files,
            known,
            descriptors: most(|run| run.descriptors),
            instances: most(|run| run.instances),
            open: most_of_each(all().map(|run| &run.open)),
            lost: all().map(|run| run.lost.len()).max().unwrap_or(0),
            processes: most(|run| run.processes as u64),
            at_rest: most(|run| run.outcome.at_rest),
            idle_percent: most(|run| run.outcome.idle_percent),
            open_at_rest: most_of_each(all().map(|run| &run.outcome.open_at_rest)),
            most_descriptors: most(|run| run.outcome.most_descriptors),
            most_tasks: most(|run| run.outcome.most_tasks),
            closed_twice: most(|run| run.closed_twice.iter().map(|(_, times)| times).sum()),
            times,
            total: times.start + times.work + times.stop,
        })
    }
}

/// The highest number of each kind.
fn most_of_each<'a>(runs: impl Iterator<Item = &'a BTreeMap<String, u64>>) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::<String, u64>::new();
    for (kind, count) in runs.flatten() {
        let most = all.entry(kind.clone()).or_default();
        *most = (*most).max(*count);
    }
    all
}

pub fn end_text(end: Option<How>) -> String {
    match end {
        None => "did not end".into(),
        Some(How::Exited(status)) => format!("exits with status {status}"),
        Some(How::Killed(signal)) => format!("is ended by {}", signal_name(signal)),
    }
}

pub fn signal_name(signal: i32) -> String {
    let name = u8::try_from(signal).ok().and_then(epollshim_format::signal::name);
    name.map_or_else(|| format!("signal {signal}"), str::to_owned)
}

/// The first line in which two outputs differ. `whose`: what made each.
pub fn first_difference(one: &[u8], other: &[u8], whose: [&str; 2]) -> String {
    let lines = |text: &[u8]| -> Vec<String> {
        let lines = text.split(|byte| *byte == b'\n');
        lines
            .map(|line| String::from_utf8_lossy(line.get(..line.len().min(200)).unwrap_or(line)).into_owned())
            .collect()
    };
    let (one, other) = (lines(one), lines(other));
    let at = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
    let line = |lines: &[String]| match lines.get(at).filter(|line| !line.is_empty() || at + 1 < lines.len()) {
        Some(line) => format!("\"{}\"", crate::text::printable(line)),
        None => "nothing".to_owned(),
    };
    format!("line {} is {} {}, and {} {}", at + 1, line(&one), whose[0], line(&other), whose[1])
}
