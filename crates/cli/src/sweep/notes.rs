//! Keeps track of trials while they are made: the progress, and the results for `--resume`.

use super::options::Settled;
use super::progress::Progress;
use super::resume::Journal;
use super::trial::{Trial, Tried};
use crate::Failure;
use crate::args::Sweep;
use crate::text::count;

pub struct Notes {
    pub progress: Progress,
    journal: Option<Journal>,
}

impl Notes {
    /// Reads the file of `--resume`.
    pub fn open(asked: &Sweep, settled: &Settled) -> Result<Notes, Failure> {
        let journal = asked.resume.as_deref().map(|path| Journal::open(path, asked, settled)).transpose()?;
        Ok(Notes { progress: Progress::new(), journal })
    }

    /// Splits trials into those that an earlier sweep has made, and those that are still to be
    /// made.
    pub fn begin(&self, asked: &Sweep, settled: &Settled, trials: &[Trial]) -> (Vec<Tried>, Vec<Trial>) {
        let (made, open) = match &self.journal {
            None => (Vec::new(), trials.to_vec()),
            Some(journal) => {
                journal.begin(asked, settled);
                journal.split(trials)
            }
        };
        if !made.is_empty() {
            self.progress.say(&format!("{} of {} were done before", made.len(), count(trials.len(), "trial")));
        }
        self.progress.begin(&made, &open);
        (made, open)
    }

    /// Records a finished trial.
    pub fn add(&self, tried: &Tried) {
        if let Some(journal) = &self.journal {
            journal.add(tried);
        }
        self.progress.one(tried);
    }
}
