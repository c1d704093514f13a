//! Watches a program from start to end: until it is ready, while the workload runs, until it has
//! stopped.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use regex::bytes::Regex;

use epollshim_recording::Options;

use super::callers::Objects;
use super::phases::{self, Phase};
use super::procfs;
use super::spec::{ERR, FAULTS, How, OUT, Outcome, Part, Ready, SESSION, Server, Spec, Stuck, WORK};
use super::tracer::Tracer;
use crate::sys::sandbox::{self, Taken};
use crate::sys::trace;

/// Milliseconds between two checks.
const TICK: u64 = 10;
/// The windows in which processor time is measured: after a limit, and after the workload.
const WINDOW: Duration = Duration::from_millis(300);
const IDLE_WINDOW: Duration = Duration::from_millis(60);
/// A program is at rest if it did nothing between this many checks. At most `MOST_LOOKS` checks are
/// made.
const QUIET_LOOKS: u32 = 2;
const MOST_LOOKS: u32 = 30;
/// The time between two counts of descriptors.
const REST: Duration = Duration::from_millis(100);
/// A process that should wait is busy from this percentage of a processor on.
pub const BUSY: u64 = 60;
/// The maximum size in bytes of a run's output together with its log of faults.
const MOST_OUTPUT: u64 = 16 << 20;
/// A run only waits if it uses at most this percentage of a processor.
const IDLE: u64 = 10;
/// Stacks of at most this many threads of a process are read.
const MOST_STACKS: usize = 16;
/// How long other processes of the program may sleep after its end.
const AFTERMATH: Duration = Duration::from_millis(200);
/// The longest time for others that never sleep so long.
const MOST_AFTERMATH: Duration = Duration::from_millis(1000);

pub struct Stage<'a> {
    spec: &'a Spec,
    outcome: Outcome,
    taken: &'a Taken,
    pid: i32,
    /// The running workload.
    work: Option<i32>,
    work_end: Option<How>,
    own: i32,
    looks: u64,
    /// When this run may release its slot, if it only waits then. None: it has released it.
    lends: Option<Instant>,
    /// The processor time of its processes at the last check, and the time of that check.
    busy: (Instant, u64),
    is_over: bool,
    is_reaped: bool,
    /// None: it is not traced.
    tracer: Option<Tracer>,
    options: Options,
}

impl<'a> Stage<'a> {
    pub fn new(spec: &'a Spec, outcome: Outcome, taken: &'a Taken, pid: i32) -> Stage<'a> {
        let own = std::process::id() as i32;
        let now = Instant::now();
        let lends = Some(now + usual(spec.times.start));
        Stage {
            spec,
            outcome,
            taken,
            pid,
            work: None,
            work_end: None,
            own,
            looks: 0,
            lends,
            busy: (now, 0),
            is_over: false,
            is_reaped: false,
            tracer: spec.traces.then(|| Tracer::of(pid)).flatten(),
            options: Options { debug: spec.debug.clone(), ..Options::default() },
        }
    }

    pub fn play(mut self) -> Outcome {
        match &self.spec.server {
            None => self.until_it_ends(Part::Start, self.spec.times.start),
            Some(server) => self.serve(server),
        }
        self.settle();
        self.outcome
    }

    fn serve(&mut self, server: &Server) {
        let begin = Instant::now();
        let line = match &server.ready {
            Ready::Line(line) => Regex::new(line).ok(),
            _ => None,
        };
        let is_ready = |stage: &mut Stage| match &server.ready {
            Ready::Listens => !procfs::listening().is_empty(),
            Ready::Port(port) => procfs::listening().contains(port),
            Ready::Line(_) => line.as_ref().is_some_and(|line| stage.has_printed(line)),
        };
        let was_ready = self.wait(Part::Start, self.spec.times.start, is_ready);
        self.outcome.times.start = millis(begin);
        if !was_ready {
            self.outcome.ended_early = self.outcome.end.is_some();
            return;
        }
        self.until_quiet();
        self.begin(Phase::Serve);
        self.expect(self.spec.times.work);
        let begin = Instant::now();
        let mut end = self.work(server, WORK[0]);
        for _ in 0..self.spec.again {
            if end == Some(How::Exited(0)) || self.outcome.end.is_some() || self.is_over {
                break;
            }
            // Tests whether it serves the next client.
            end = self.work(server, WORK[1]);
        }
        self.outcome.times.work = millis(begin);
        if self.outcome.end.is_none() && !self.is_over {
            self.look_at_rest();
        }
        self.outcome.ended_early = self.outcome.end.is_some();
        if !self.outcome.ended_early && !self.is_over {
            self.begin(Phase::Stop);
            let begin = Instant::now();
            self.expect(self.spec.times.stop);
            sandbox::send(self.pid, server.stop);
            self.until_it_ends(Part::Stop, self.spec.times.stop);
            self.outcome.times.stop = millis(begin);
        }
    }

    /// Sets the phase for the program's processes. (If that fails, the run does not reach its
    /// point.)
    fn begin(&self, phase: Phase) {
        let _ = phases::begin(&self.spec.folder.join(SESSION), phase);
    }

    /// A program that listens may not have finished its start. This waits, for a limited time,
    /// until it is at rest.
    fn until_quiet(&mut self) {
        let (mut before, mut quiet) = (u64::MAX, 0);
        for _ in 0..MOST_LOOKS {
            let now = procfs::busy_time(&self.processes());
            quiet = if now == before { quiet + 1 } else { 0 };
            if quiet == QUIET_LOOKS || self.outcome.end.is_some() || self.is_over {
                return;
            }
            before = now;
            self.pause();
        }
    }

    fn until_it_ends(&mut self, part: Part, limit: u64) {
        let begin = Instant::now();
        self.wait(part, limit, |_| false);
        if part == Part::Start {
            self.outcome.times.start = millis(begin);
        }
        if self.outcome.end.is_some() {
            self.await_others();
        }
    }

    /// Processes that the program started may still be writing, or about to crash. They are given
    /// up when they have slept for a while. On a loaded machine that takes longer, and this process
    /// may be the one that waits for a processor: so it looks before it gives up.
    fn await_others(&mut self) {
        let begin = Instant::now();
        let (mut busy, mut quiet_since) = (0, begin);
        loop {
            let others = procfs::below(self.own, &[]);
            if others.is_empty() {
                break;
            }
            let now = procfs::busy_time(&others);
            if now != busy || others.iter().any(|pid| procfs::is_at_work(*pid)) {
                (busy, quiet_since) = (now, Instant::now());
            }
            if quiet_since.elapsed() >= AFTERMATH || begin.elapsed() >= MOST_AFTERMATH {
                break;
            }
            self.pause();
        }
        // A process that has ended since the last look, and is no longer among the others.
        self.reap();
    }

    /// Runs the workload once, and returns how it ended.
    ///
    /// None: it was killed at its limit, it failed after as long a time (a client with a time limit
    /// of its own), or the program ended meanwhile.
    fn work(&mut self, server: &Server, name: &str) -> Option<How> {
        let file = |suffix: &str| File::create(self.spec.folder.join(format!("{name}.{suffix}"))).map(Stdio::from);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &server.workload]).env_clear().envs(self.spec.plain.iter().cloned());
        command.current_dir(&self.spec.directory).stdin(Stdio::null());
        command.stdout(file("out").unwrap_or_else(|_| Stdio::null()));
        command.stderr(file("err").unwrap_or_else(|_| Stdio::null()));
        sandbox::in_own_session(&mut command, sandbox::Start { ends_with_parent: true, ..Default::default() });
        let Ok(child) = command.spawn() else { return None };
        let pid = child.id() as i32;
        (self.work, self.work_end) = (Some(pid), None);
        let patience = if name == WORK[0] { self.spec.patience } else { 1 };
        let limit = Duration::from_millis(self.spec.times.work * patience);
        let begin = Instant::now();
        // The wait goes on even if the program has ended: the result that the workload got before
        // counts.
        while self.work_end.is_none() && begin.elapsed() < limit && !self.is_over {
            self.pause();
        }
        if self.work_end.is_none() {
            let percent = self.percent_in(WINDOW);
            if percent >= BUSY {
                let threads = self.threads();
                self.outcome.stuck = Some(Stuck { part: Part::Work, percent, threads, floods: self.is_over });
            }
            sandbox::send(-pid, libc::SIGKILL);
            while self.work_end.is_none() {
                self.pause();
            }
            self.work_end = None;
        } else if self.work_end != Some(How::Exited(0)) && begin.elapsed().as_millis() >= self.spec.times.work.into() {
            self.work_end = None;
        }
        self.work = None;
        self.outcome.work.push(self.work_end);
        self.work_end
    }

    /// Waits until `holds` returns true. Returns false if the program ended, or took too long and
    /// was killed.
    fn wait(&mut self, part: Part, limit: u64, mut holds: impl FnMut(&mut Stage<'a>) -> bool) -> bool {
        let limit = Duration::from_millis(limit);
        let begin = Instant::now();
        let mut stuck = None;
        loop {
            if self.outcome.end.is_some() {
                return false;
            }
            if holds(self) {
                return true;
            }
            if self.is_over {
                self.outcome.stuck = Some(self.stuck(part));
                self.kill();
                return false;
            }
            if begin.elapsed() >= limit * self.spec.patience as u32 {
                let mut now = stuck.take().unwrap_or_else(|| self.stuck(part));
                if self.spec.patience > 1 {
                    // Last, because reading a stack may interrupt a system call.
                    now.threads = self.standing();
                }
                self.outcome.stuck = Some(now);
                self.kill();
                return false;
            }
            if stuck.is_none() && begin.elapsed() >= limit {
                stuck = Some(self.stuck(part));
            }
            self.pause();
        }
    }

    fn stuck(&mut self, part: Part) -> Stuck {
        let percent = self.percent_in(WINDOW);
        Stuck { part, percent, threads: self.threads(), floods: self.is_over }
    }

    fn threads(&self) -> Vec<String> {
        procfs::threads(&self.processes()).into_iter().map(|(_, line)| line).collect()
    }

    /// The state of each thread, with the functions on its stack.
    fn standing(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for pid in self.processes() {
            let mut objects = Objects::of(pid, &self.options);
            for (tid, line) in procfs::threads(&[pid]).into_iter().take(MOST_STACKS) {
                let stack = trace::look(tid).map(|registers| objects.text(registers)).unwrap_or_default();
                lines.push(if stack.is_empty() { line } else { format!("{line}: {stack}") });
            }
        }
        lines
    }

    /// The processor use of the program's processes during a window that starts now, in percent.
    fn percent_in(&mut self, window: Duration) -> u64 {
        let pids = self.processes();
        let (begin, before) = (Instant::now(), procfs::busy_time(&pids));
        while begin.elapsed() < window {
            self.pause();
        }
        let spent = procfs::busy_time(&pids).saturating_sub(before);
        spent.saturating_mul(100) / (begin.elapsed().as_nanos() as u64).max(1)
    }

    /// The processes of the program, without those of the workload.
    fn processes(&self) -> Vec<i32> {
        let work: Vec<i32> = self.work.into_iter().collect();
        procfs::below(self.own, &work)
    }

    /// Waits for one tick, or until a child ends.
    fn pause(&mut self) {
        match self.taken.next(TICK) {
            None | Some(libc::SIGCHLD) => {}
            Some(_) => self.is_over = true,
        }
        if let Some(tracer) = &mut self.tracer
            && let Some(place) = tracer.go_on(self.pid, &self.options)
        {
            self.outcome.crashed_in = place;
        }
        self.reap();
        self.looks += 1;
        if self.looks % 5 == 1 {
            let pids = self.processes();
            let most = procfs::descriptors(&pids).into_iter().max().unwrap_or(0);
            self.outcome.most_descriptors = self.outcome.most_descriptors.max(most);
            self.outcome.most_tasks = self.outcome.most_tasks.max(procfs::tasks(&pids));
            let size = |name: &str| fs::metadata(self.spec.folder.join(name)).map_or(0, |facts| facts.len());
            self.is_over |= size(OUT) + size(ERR) + self.faults() > MOST_OUTPUT;
            self.lend();
        }
    }

    /// Starts a part of the run. If it takes longer than in the clean runs, it will probably reach
    /// its limit.
    fn expect(&mut self, limit: u64) {
        self.lends = self.lends.and(Some(Instant::now() + usual(limit)));
    }

    /// Lets another run begin if this one has taken longer than usual, and has only waited since
    /// the last check.
    fn lend(&mut self) {
        let Some(from) = self.lends.filter(|from| Instant::now() >= *from) else { return };
        let (last, before) = self.busy;
        self.busy = (Instant::now(), procfs::busy_time(&procfs::below(self.own, &[])));
        let waited = (self.busy.0 - last).as_nanos() as u64;
        let was_idle = last >= from && self.busy.1.saturating_sub(before) * 100 <= waited * IDLE;
        if was_idle && std::io::stdout().write_all(b".").and_then(|()| std::io::stdout().flush()).is_ok() {
            self.lends = None;
        }
    }

    fn reap(&mut self) {
        while let Some(ended) = sandbox::ended() {
            // A process that is not reaped still has its name.
            let name = procfs::name(ended);
            let Some((pid, how)) = sandbox::reap_one(ended) else { return };
            let how = How::from(how);
            if pid == self.pid {
                self.is_reaped = true;
                self.outcome.end = Some(how);
            } else if Some(pid) == self.work {
                self.work_end = Some(how);
            } else if self.tracer.as_ref().is_some_and(|tracer| tracer.has(pid)) {
                // A thread of the traced program.
            } else if let How::Killed(signal) = how {
                self.outcome.orphans.push((name, signal));
            }
        }
    }

    fn look_at_rest(&mut self) {
        let pids = self.processes();
        self.outcome.idle_percent = self.percent_in(IDLE_WINDOW);
        if self.outcome.idle_percent >= BUSY {
            self.outcome.idle_percent = self.percent_in(WINDOW);
        }
        let look = |stage: &Stage| procfs::descriptors(&stage.processes()).into_iter().sum();
        self.outcome.at_rest = look(self);
        if self.spec.at_rest.is_none_or(|usual| self.outcome.at_rest > usual) && !pids.is_empty() {
            let begin = Instant::now();
            while begin.elapsed() < REST {
                self.pause();
            }
            self.outcome.at_rest = self.outcome.at_rest.min(look(self));
        }
        self.outcome.open_at_rest = procfs::kinds(&self.processes(), &self.spec.folder);
    }

    /// The size of the logs of faults in bytes.
    fn faults(&self) -> u64 {
        let files = fs::read_dir(self.spec.folder.join(FAULTS)).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|facts| facts.len()).sum()
    }

    fn has_printed(&self, line: &Regex) -> bool {
        [OUT, ERR].iter().any(|name| {
            let mut text = Vec::new();
            let file = File::open(self.spec.folder.join(name));
            let _ = file.map(|file| file.take(MOST_OUTPUT).read_to_end(&mut text));
            text.split(|byte| *byte == b'\n').any(|text| line.is_match(text))
        })
    }

    fn kill(&mut self) {
        for pid in procfs::below(self.own, &[]) {
            sandbox::send(pid, libc::SIGKILL);
        }
        let begin = Instant::now();
        while !self.is_reaped && begin.elapsed() < Duration::from_secs(5) {
            self.pause();
        }
        self.outcome.end = None;
    }

    /// Ends all remaining processes, so that nothing writes while the run is judged.
    fn settle(&mut self) {
        if self.outcome.end.is_none() {
            self.kill();
        }
        for _ in 0..500 {
            let left = procfs::below(self.own, &[]);
            if left.is_empty() {
                return;
            }
            left.iter().for_each(|pid| sandbox::send(*pid, libc::SIGKILL));
            let _ = self.taken.next(2);
            while sandbox::reap().is_some() {}
        }
    }
}

/// How long a part took in the clean runs, or a little more. Its limit is at least three times
/// that.
fn usual(limit: u64) -> Duration {
    Duration::from_millis(limit / 3)
}

fn millis(begin: Instant) -> u64 {
    begin.elapsed().as_millis() as u64
}
