//! The file of `--resume`: the results of finished trials, so that an interrupted sweep can
//! continue.
//!
//! The format is JSON Lines. The first line identifies the sweep ([`Head`]). Each other line is a
//! [`Tried`], appended when the trial is finished. An incomplete last line was cut off, and is
//! ignored.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::identity::{self, Files};
use super::options::Settled;
use super::runner::held;
use super::trial::{Trial, Tried};
use super::verdict::Verdict;
use crate::args::Sweep;
use crate::text::{printable, reason, shown};
use crate::{Failure, say, sys};

const SCHEMA: &str = "epollshim.sweep-trials/1";
/// Another version may name points differently.
const VERSION: &str = env!("VERSION_AND_COMMIT");

/// Identifies the sweep of a file.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
struct Head {
    schema: String,
    version: String,
    command: Vec<String>,
    /// The flags that affect a run.
    flags: BTreeMap<String, String>,
    library: Option<String>,
    files: Files,
}

pub struct Journal {
    name: String,
    file: Mutex<File>,
    head: Head,
    is_new: AtomicBool,
    done: Vec<Tried>,
}

impl Journal {
    /// Reads the finished trials. Fails if they are of another program or command, or if the file
    /// is not one of a sweep.
    pub fn open(path: &Path, asked: &Sweep, settled: &Settled) -> Result<Journal, Failure> {
        let head = Head::of(asked, settled);
        let wrong = |what: String| Failure::usage(format!("--resume: {}: {what}", shown(path)));
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let mut file = file.map_err(|error| wrong(reason(&error)))?;
        if !file.metadata().is_ok_and(|facts| facts.is_file()) {
            return Err(wrong("not a plain file".into()));
        }
        if matches!(sys::lock(&file), Ok(false)) {
            return Err(wrong("another sweep is writing to it".into()));
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(|error| wrong(reason(&error)))?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let mut lines = text.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n');
        let is_new = whole == 0;
        if !is_new {
            Head::read(lines.next().unwrap_or_default())
                .and_then(|old| old.check(&head))
                .map_err(|what| wrong(format!("{what}; remove it to start over")))?;
        } else if !text.is_empty() && !text.starts_with(b"{\"schema\":\"epollshim.") {
            return Err(wrong("not a file of epollshim sweep --resume".into()));
        }
        let mut done = Vec::new();
        for (index, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
            let tried = serde_json::from_slice(line)
                .map_err(|_| wrong(format!("line {} is damaged; remove the line to repeat its trial", index + 2)))?;
            done.push(tried);
        }
        if whole < text.len() {
            file.set_len(whole as u64)
                .and_then(|()| file.seek(SeekFrom::End(0)))
                .map_err(|error| wrong(reason(&error)))?;
        }
        Ok(Journal { name: shown(path), file: Mutex::new(file), head, is_new: AtomicBool::new(is_new), done })
    }

    /// Called before the first trial. A file that the program or its workload changed in the clean
    /// runs does not identify the program, and is dropped.
    pub fn begin(&self, asked: &Sweep, settled: &Settled) {
        // With --limits there are two sets of trials.
        if self.is_new.swap(false, Ordering::Relaxed) {
            let now = identity::files(settled, asked.workload.as_deref());
            let mut head = self.head.clone();
            head.files.retain(|path, what| now.get(path) == Some(what));
            self.append(&head);
        }
    }

    /// Splits trials into those that were made before and those that are still to be made. Siblings
    /// of hangs come last.
    pub fn split(&self, trials: &[Trial]) -> (Vec<Tried>, Vec<Trial>) {
        let (mut made, mut open) = (Vec::new(), Vec::new());
        for trial in trials {
            match self.done.iter().find(|done| done.trial.key() == trial.key()) {
                Some(done) => made.push(Tried { trial: trial.clone(), ..done.clone() }),
                None => open.push(trial.clone()),
            }
        }
        let is_slow = |tried: &Tried| matches!(tried.judged.verdict, Verdict::Hang | Verdict::Deaf);
        open.sort_by_key(|trial| made.iter().any(|made| is_slow(made) && made.trial.family() == trial.family()));
        (made, open)
    }

    pub fn add(&self, tried: &Tried) {
        self.append(tried);
    }

    /// Appends a line with a single write. If this fails, the next sweep repeats the trial.
    fn append(&self, what: &impl Serialize) {
        let Ok(mut line) = serde_json::to_vec(what) else { return };
        line.push(b'\n');
        if let Err(error) = held(&self.file).write_all(&line) {
            say(&format!("--resume: {}: {}: a trial was not saved", self.name, reason(&error)));
        }
    }
}

impl Head {
    fn of(asked: &Sweep, settled: &Settled) -> Head {
        let mut flags = BTreeMap::new();
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                flags.insert(format!("--{name}"), value);
            }
        };
        let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(shown);
        put("workload", asked.workload.clone());
        put("ready-when", asked.ready_when.clone());
        put("stop-with", asked.workload.as_ref().map(|_| asked.stop_with.clone()));
        put("input", path(&settled.input));
        put("dir", path(&settled.directory));
        put("mask", Some(asked.mask.join(" ")).filter(|masks| !masks.is_empty()));
        put("share-network", asked.share_network.then(String::new));
        put("limits", asked.limits.then(String::new));
        let library = settled.library.as_deref().and_then(identity::of);
        let files = identity::files(settled, asked.workload.as_deref());
        Head {
            schema: SCHEMA.into(),
            version: VERSION.into(),
            command: settled.command.iter().map(shown).collect(),
            flags,
            library,
            files,
        }
    }

    fn read(line: &[u8]) -> Result<Head, String> {
        /// The fields that every version has.
        #[derive(Deserialize)]
        struct Beginning {
            schema: String,
            version: String,
        }
        let none = |_| "not a file of epollshim sweep --resume".to_owned();
        let beginning: Beginning = serde_json::from_slice(line).map_err(none)?;
        if (beginning.schema.as_str(), beginning.version.as_str()) != (SCHEMA, VERSION) {
            let Beginning { schema, version } = beginning;
            return Err(format!(
                "written by another version: {} of {}, not {SCHEMA} of {VERSION}",
                printable(&schema),
                printable(&version)
            ));
        }
        serde_json::from_slice(line).map_err(none)
    }

    /// Fails with the difference to another sweep.
    fn check(&self, now: &Head) -> Result<(), String> {
        if self.command != now.command {
            return Err(format!("it is of another command: {}", printable(&self.command.join(" "))));
        }
        let names = self.flags.keys().chain(now.flags.keys());
        if let Some(name) = names.into_iter().find(|name| self.flags.get(*name) != now.flags.get(*name)) {
            let was = match self.flags.get(name) {
                None => "without it".to_owned(),
                Some(value) => format!("with {}", printable(format!("{name} {value}").trim_end())),
            };
            return Err(format!("{name} differs: the earlier sweep ran {was}"));
        }
        if self.library != now.library {
            return Err("it is of another libepollshim.so".into());
        }
        match self.files.iter().find(|(path, what)| now.files.get(*path) != Some(what)) {
            None => Ok(()),
            Some((path, what)) => {
                let now = now.files.get(path).map_or("not there", String::as_str);
                Err(format!("{} has changed: {} then, now {now}", printable(path), printable(what)))
            }
        }
    }
}
