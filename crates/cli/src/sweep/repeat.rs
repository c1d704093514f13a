//! The command line that repeats a trial, for a shell.

use std::path::{Path, PathBuf};

use super::limits;
use super::trial::{Failure, Trial};
use crate::args::Sweep;
use crate::sys::counted::Counted;

/// What all command lines of a sweep have in common.
#[derive(Default)]
pub struct Repeat {
    command: String,
    /// The flags for a server. A fault in a server needs the workload and the phases, which only a
    /// sweep provides.
    server: Option<String>,
    input: Option<PathBuf>,
    directory: Option<PathBuf>,
    shim: Option<PathBuf>,
}

impl Repeat {
    pub fn of(asked: &Sweep) -> Repeat {
        let command: Vec<String> = asked.command.iter().map(|word| quoted(&word.to_string_lossy())).collect();
        Repeat {
            command: command.join(" "),
            server: asked.workload.as_ref().map(|workload| flags(asked, workload)),
            input: asked.input.clone(),
            directory: asked.dir.clone(),
            shim: asked.shim.clone(),
        }
    }

    pub fn line(&self, trial: &Trial) -> String {
        let command = &self.command;
        let flag = |name: &str, file: &Option<PathBuf>| of_path(&format!(" --{name} "), file.as_deref());
        let shim = flag("shim", &self.shim);
        let rules = quoted(&trial.rules);
        match trial.failure {
            Failure::Descriptors(number) => format!("prlimit --nofile={number} {command}"),
            Failure::Processes(number) => format!("{} prlimit --nproc={number} {command}", apart()),
            Failure::Call { .. } => match &self.server {
                Some(flags) => {
                    let (input, directory) = (flag("input", &self.input), flag("dir", &self.directory));
                    format!("epollshim sweep --only {rules}{flags}{input}{directory}{shim} -- {command}")
                }
                None => {
                    let (input, directory) = (of_path(" < ", self.input.as_deref()), self.directory.as_deref());
                    let directory = directory.map(|_| of_path("env -C ", directory) + " ").unwrap_or_default();
                    format!("{directory}epollshim run --inject {rules}{shim} -- {command}{input}")
                }
            },
        }
    }
}

/// The words that start a command with its tasks counted apart, as in a run.
fn apart() -> String {
    match limits::counted(0) {
        Counted::AsUser(user) => {
            let kept = "+all,-sys_admin,-sys_resource";
            format!("setpriv --reuid {user} --inh-caps {kept} --ambient-caps {kept}")
        }
        Counted::InNamespace(..) => "unshare --user --map-current-user".into(),
    }
}

fn of_path(before: &str, path: Option<&Path>) -> String {
    path.map(|path| format!("{before}{}", quoted(&path.to_string_lossy()))).unwrap_or_default()
}

/// The flags of the sweep of a server that change its runs.
fn flags(asked: &Sweep, workload: &str) -> String {
    let mut flags = format!(" --workload {}", quoted(workload));
    let mut add = |name: &str, value: &str| flags.push_str(&format!(" --{name} {}", quoted(value)));
    if let Some(ready) = &asked.ready_when {
        add("ready-when", ready);
    }
    if asked.stop_with != "TERM" {
        add("stop-with", &asked.stop_with);
    }
    asked.mask.iter().for_each(|mask| add("mask", mask));
    if asked.share_network {
        flags.push_str(" --share-network");
    }
    flags
}

/// A word, quoted for a shell.
pub fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=:,+@%".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_change_it() {
        for (word, text) in
            [("--port=1", "--port=1"), ("", "''"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("a;b", "'a;b'")]
        {
            assert_eq!(quoted(word), text);
        }
    }
}
