//! How far a sweep is: one line on a terminal, written over again and again.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::runner::held;
use super::verdict::Verdict;

const BETWEEN: Duration = Duration::from_millis(100);

pub struct Progress {
    is_shown: bool,
    all: usize,
    begin: Instant,
    state: Mutex<State>,
}

struct State {
    done: usize,
    finds: usize,
    lost: usize,
    shown: Option<Instant>,
}

impl Progress {
    pub fn new(all: usize) -> Progress {
        let state = State { done: 0, finds: 0, lost: 0, shown: None };
        Progress { is_shown: std::io::stderr().is_terminal(), all, begin: Instant::now(), state: Mutex::new(state) }
    }

    pub fn one(&self, verdict: Verdict) {
        let mut state = held(&self.state);
        state.done += 1;
        state.finds += usize::from(verdict.is_find());
        if !self.is_shown || state.shown.is_some_and(|shown| shown.elapsed() < BETWEEN) {
            return;
        }
        state.shown = Some(Instant::now());
        let rate = state.done as f64 / self.begin.elapsed().as_secs_f64().max(0.001);
        let left = (self.all - state.done.min(self.all)) as f64 / rate.max(0.001);
        let line = format!(
            "\r{}/{}  {rate:.1} runs/s  {} suspicious  about {left:.0} s left\x1b[K",
            state.done, self.all, state.finds
        );
        let _ = crate::to_stderr(line.as_bytes());
    }

    /// A run could not be made.
    pub fn lost(&self) {
        held(&self.state).lost += 1;
    }

    pub fn lost_runs(&self) -> usize {
        held(&self.state).lost
    }

    pub fn end(&self) {
        if self.is_shown {
            let _ = crate::to_stderr(b"\r\x1b[K");
        }
    }
}
