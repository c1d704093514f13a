//! Shows the progress of a sweep: a line that is rewritten on a terminal; otherwise, for logs, a
//! line every half minute.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::runner::held;
use super::trial::{Trial, Tried};
use super::verdict::Verdict;
use crate::text::count;
use crate::{say, terminal, to_stderr};

/// The time between two lines.
const ON_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(30);
/// The maximum width of the bar in columns.
const BAR: usize = 30;

pub struct Progress(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    is_over: bool,
    /// The state of the clean runs. Empty: trials are being made.
    clean: String,
    trials: Trials,
}

/// Estimates the remaining time from the duration of each trial's first run. Open trials of a
/// function that has hung are assumed to take as long as those that hung.
#[derive(Default)]
struct Trials {
    begin: Option<Instant>,
    all: usize,
    done: usize,
    resumed: usize,
    finds: usize,
    lost: usize,
    /// By function.
    open: BTreeMap<String, usize>,
    quick: Cost,
    slow: BTreeMap<String, Cost>,
}

/// Of finished trials.
#[derive(Default, Clone, Copy)]
struct Cost {
    trials: u64,
    milliseconds: u64,
}

impl Cost {
    fn mean(self) -> f64 {
        self.milliseconds as f64 / (self.trials.max(1)) as f64
    }
}

impl Progress {
    pub fn new() -> Progress {
        let shared = Arc::new(Shared { state: Mutex::default(), ended: Condvar::new() });
        let shown = Arc::clone(&shared);
        std::thread::spawn(move || shown.show());
        Progress(shared)
    }

    pub fn clean_run(&self, number: usize, of: usize) {
        held(&self.0.state).clean = format!("clean run {number} of {of}");
    }

    pub fn begin(&self, made: &[Tried], open: &[Trial]) {
        let mut state = held(&self.0.state);
        state.clean.clear();
        let trials = &mut state.trials;
        trials.begin = Some(Instant::now());
        trials.all = made.len() + open.len();
        (trials.done, trials.resumed) = (made.len(), made.len());
        trials.finds = made.iter().filter(|made| made.judged.verdict.is_find()).count();
        open.iter().for_each(|trial| *trials.open.entry(trial.family()).or_default() += 1);
    }

    pub fn one(&self, tried: &Tried) {
        held(&self.0.state).trials.one(tried);
    }

    /// Counts a run that could not be made.
    pub fn lost(&self) {
        held(&self.0.state).trials.lost += 1;
    }

    pub fn lost_runs(&self) -> usize {
        held(&self.0.state).trials.lost
    }

    /// Prints a line that stays.
    pub fn say(&self, line: &str) {
        // The lock is held so that nothing is drawn in between.
        let _state = held(&self.0.state);
        clear();
        say(line);
    }

    pub fn end(&self) {
        let mut state = held(&self.0.state);
        state.is_over = true;
        self.0.ended.notify_all();
        // Nothing is drawn after this: drawing takes the lock and checks `is_over` first.
        clear();
    }
}

/// Clears the line.
fn clear() {
    if std::io::stderr().is_terminal() {
        let _ = to_stderr(b"\r\x1b[K");
    }
}

impl Shared {
    fn show(&self) {
        let is_terminal = std::io::stderr().is_terminal();
        let between = if is_terminal { ON_TERMINAL } else { ELSEWHERE };
        let mut state = held(&self.state);
        loop {
            let waited = self.ended.wait_timeout(state, between);
            let Ok((now, _)) = waited else { return };
            state = now;
            if state.is_over {
                return;
            }
            let line = state.line();
            if line.is_empty() {
                continue;
            }
            if is_terminal {
                let width = terminal::stderr().width;
                let _ = to_stderr(format!("\r{}\x1b[K", state.with_bar(&line, width)).as_bytes());
            } else {
                say(&line);
            }
        }
    }
}

impl State {
    fn line(&self) -> String {
        if !self.clean.is_empty() || self.trials.all == 0 {
            return self.clean.clone();
        }
        let trials = &self.trials;
        let seconds = trials.begin.map_or(0.0, |begin| begin.elapsed().as_secs_f64());
        let finds = match trials.finds {
            0 => "no finds".to_owned(),
            finds => count(finds, "find"),
        };
        let mut line = format!("{} of {}, {finds}", trials.done, count(trials.all, "trial"));
        if trials.done > trials.resumed {
            let rate = (trials.done - trials.resumed) as f64 / seconds.max(0.001);
            line += &format!(", {rate:.1} a second, {} left", time(trials.left(seconds)));
        }
        line
    }

    /// Formats a line of the terminal with a bar.
    fn with_bar(&self, line: &str, width: usize) -> String {
        let room = width.saturating_sub(line.len() + 4).min(BAR);
        if self.trials.all == 0 || room < 8 {
            return line.chars().take(width.saturating_sub(1)).collect();
        }
        let full = room * self.trials.done.min(self.trials.all) / self.trials.all;
        format!("[{}{}] {line}", "#".repeat(full), " ".repeat(room - full))
    }
}

impl Trials {
    fn one(&mut self, tried: &Tried) {
        self.done += 1;
        self.finds += usize::from(tried.judged.verdict.is_find());
        let family = tried.trial.family();
        if let Some(open) = self.open.get_mut(&family) {
            *open = open.saturating_sub(1);
        }
        let cost = match tried.judged.verdict {
            Verdict::Hang | Verdict::Spin | Verdict::Deaf => self.slow.entry(family).or_default(),
            _ => &mut self.quick,
        };
        cost.trials += 1;
        cost.milliseconds += tried.took;
    }

    /// The estimated remaining seconds, given the seconds since the start.
    fn left(&self, seconds: f64) -> f64 {
        let done = self.quick.milliseconds + self.slow.values().map(|cost| cost.milliseconds).sum::<u64>();
        let quick = self.quick.mean();
        let open: f64 = self
            .open
            .iter()
            .map(|(family, open)| *open as f64 * self.slow.get(family).map_or(quick, |cost| cost.mean()))
            .sum();
        open * seconds / (done.max(1)) as f64
    }
}

fn time(seconds: f64) -> String {
    match seconds.ceil() as u64 {
        seconds @ ..100 => format!("about {seconds} s"),
        seconds => format!("about {} min", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cost, State, Trials};

    #[test]
    fn what_is_left_costs_as_much_as_what_was_done_and_siblings_of_hangs_more() {
        let mut trials = Trials { quick: Cost { trials: 2, milliseconds: 200 }, ..Trials::default() };
        trials.open = [("dup".to_owned(), 10), ("pipe2".to_owned(), 2)].into();
        // Two jobs: 200 ms of runs took 100 ms.
        assert_eq!(trials.left(0.1), 0.6);
        trials.slow.insert("pipe2".to_owned(), Cost { trials: 1, milliseconds: 5800 });
        assert_eq!(trials.left(3.0), (10.0 * 100.0 + 2.0 * 5800.0) * 3.0 / 6000.0);
    }

    #[test]
    fn a_bar_fits_into_the_terminal() {
        let state = State { trials: Trials { all: 4, done: 1, ..Trials::default() }, ..State::default() };
        assert_eq!(state.with_bar("1 of 4", 22), "[###         ] 1 of 4");
        assert_eq!(state.with_bar("1 of 4", 12), "1 of 4");
        assert_eq!(state.with_bar("1 of 4", 4), "1 o");
        assert!(state.with_bar("1 of 4", 200).len() < 45);
    }
}
