//! What a recording holds, in types. Sums never overflow: a damaged file may hold any number.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use epollshim_format::call::Call;
use epollshim_format::census::Kind;
use epollshim_format::findings::Finding;
use epollshim_format::function::Function;
use epollshim_format::recording::{SEGMENTS, record, stopped, thread, unseen};
use epollshim_format::{errno, histogram, signal};

use crate::census::Census;
use crate::described::Descriptor;
use crate::firings::Firing;
use crate::modules::{Modules, plain};
use crate::owner::Owner;
use crate::records::Caller;
use crate::scale::{bytes, grouped};
use crate::sites::Site;
use crate::stacks::Stacks;

/// One process, or one program of it: an exec begins another recording.
#[derive(Default)]
pub struct Process {
    pub path: PathBuf,
    /// The place of its run among the runs of the set; None: it was named by itself.
    pub run: Option<usize>,
    pub owner: Owner,
    pub header: Header,
    pub totals: Totals,
    pub judged_by: Judged,
    /// Sites that create instances, with how many each has created.
    pub creations: Vec<(u64, u64)>,
    pub threads: Vec<Thread>,
    /// The live ones, or those that were alive when it was killed.
    pub instances: Vec<Instance>,
    pub interests: Vec<Interest>,
    pub findings: Vec<Finding>,
    /// Findings that found no place in the table.
    pub findings_dropped: u64,
    /// What their descriptors were, by their places in the table.
    pub described: BTreeMap<u16, Descriptor>,
    /// What some of the descriptors were that were open at the end, by the call that made them and their kind.
    pub open_at_end: BTreeMap<(u64, Kind), Vec<Descriptor>>,
    pub modules: Modules,
    pub control: Control,
    /// By address: the sums of all records, also of those that are not held.
    pub callers: HashMap<u64, Caller>,
    /// CLOCK_MONOTONIC when the last recorded call ended.
    pub last_record: u64,
    pub stacks: Stacks,
    /// None: there was none, or it found no space.
    pub census: Option<Census>,
    /// The whole run, coarsely: by time.
    pub series: Vec<Moment>,
    /// What was armed.
    pub limits: Vec<Limit>,
    pub rules: Vec<Rule>,
    pub notes: Notes,
    /// Whether the shim has compared its ledger with the kernel's lists for this report (`epollshim ctl PID snapshot`).
    pub reconciled: bool,
    /// Whether it runs: it has the file mapped. Asked of /proc when the file was read.
    pub runs: bool,
    /// The signal that ended it. Its parent knows it, and the recording does not.
    pub signal: Option<u8>,
    /// Nanoseconds from the beginning to the end, or to now, or to the last thing known of it.
    pub duration: u64,
    /// Of the addresses in this recording.
    pub sites: BTreeMap<u64, Arc<Site>>,
}

#[derive(Default)]
pub struct Header {
    pub pid: u64,
    pub ppid: u64,
    pub began: u64,
    pub began_unix: u64,
    pub ended: u64,
    pub end: End,
    pub seed: Option<u64>,
    pub threads_dropped: u64,
    pub calls_dropped: u64,
    pub entries_dropped: u64,
    /// 0: each record is kept.
    pub ring: u64,
    /// Where each is: the bytes up to which the file may grow for them, and bits that tell why some found no place.
    pub records_most: u64,
    pub records_stopped: u64,
    /// The errno of the first reservation that failed.
    pub trouble: Option<u32>,
    /// Processes forked from this one that could make no recording, and the errno of the first.
    pub children_lost: u64,
    pub children_trouble: Option<u32>,
    /// Programs that it started and whose calls the library does not see, why (bits of
    /// `epollshim_format::recording::unseen`), and the path of the first.
    pub unseen: u64,
    pub why_unseen: u64,
    pub first_unseen: Vec<u8>,
    pub comm: Vec<u8>,
    pub exe: Vec<u8>,
    pub arguments: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum End {
    #[default]
    NotYet,
    Exit,
    UnderscoreExit,
    Exec,
    /// By a limit.
    Abort,
    /// By `abort()`.
    Aborted,
    /// By `syscall(SYS_exit_group)`.
    ExitGroup,
    /// By a signal that it sent to itself.
    Raised,
    /// A number that this version does not know.
    Other(u64),
}

impl End {
    /// Whether a process that still has its recording mapped is at work. (What is noted before an exec, or before a signal, stays
    /// where the exec fails or the signal does not come: nothing of ours comes behind it.)
    pub fn is_open(self) -> bool {
        matches!(self, End::NotYet | End::Exec | End::Raised)
    }

    /// Whether the library has judged what it judges at an end.
    pub fn is_judged(self) -> bool {
        self != End::NotYet
    }
}

#[derive(Clone, Copy, Default)]
pub struct Totals {
    pub instances: u64,
    pub instances_peak: u64,
    pub watches: u64,
    pub watches_peak: u64,
    pub vanished: u64,
    pub memory_peak: u64,
    pub unseen_instances: u64,
    pub unseen_watches: u64,
    pub healed: u64,
    pub lost: u64,
}

/// What is judged by, and not told.
#[derive(Clone, Copy, Default)]
pub struct Judged {
    /// CLOCK_MONOTONIC when the waits of all instances were last marked; 0: never.
    pub marked: u64,
    /// The highest descriptor number of an instance or a watch, and one; and RLIMIT_NOFILE then.
    pub numbers: u64,
    pub numbers_limit: u64,
}

impl Totals {
    fn fields(&mut self) -> [&mut u64; 10] {
        [
            &mut self.instances,
            &mut self.instances_peak,
            &mut self.watches,
            &mut self.watches_peak,
            &mut self.vanished,
            &mut self.memory_peak,
            &mut self.unseen_instances,
            &mut self.unseen_watches,
            &mut self.healed,
            &mut self.lost,
        ]
    }

    pub fn add(&mut self, mut other: Totals) {
        for (sum, more) in self.fields().into_iter().zip(other.fields()) {
            *sum = sum.saturating_add(*more);
        }
    }
}

/// Requests from outside (`epollshim ctl`): taken, and those of them that were ignored as damaged.
#[derive(Clone, Copy, Default)]
pub struct Control {
    pub requests: u64,
    pub damaged: u64,
}

/// A row of the coarse series of the whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// CLOCK_MONOTONIC.
    pub at: u64,
    /// Calls that make changes or wait, and of these the waits, by then.
    pub calls: u64,
    pub waits: u64,
    /// Live ones.
    pub instances: u64,
    pub watches: u64,
    /// Open descriptors by kind; empty without a census.
    pub kinds: Vec<(Kind, u64)>,
}

/// A limit that was set, and what it has counted.
#[derive(Clone, Copy)]
pub struct Limit {
    pub key: &'static str,
    /// None: of `size`, which each instance has its own of.
    pub limit: Option<u64>,
    pub peak: u64,
    pub denied: u64,
    pub let_through: u64,
    /// What was made of a breach, where the key itself says it.
    pub mode: Option<&'static str>,
}

/// A rule of faults, and what it has counted.
#[derive(Clone)]
pub struct Rule {
    pub text: String,
    pub matched: u64,
    pub fired: u64,
    /// Kernels have such a fault.
    pub legal: bool,
    /// Where it fired last, the oldest first. (A recording has the last of all rules together.)
    pub firings: Vec<Firing>,
}

#[derive(Default)]
pub struct Thread {
    pub tid: u64,
    pub counters: Counters,
    /// Records begun.
    pub begun: u64,
    /// The whole ones in the file.
    pub seen: u64,
    pub overwritten: u64,
    /// Found no place, where each is kept.
    pub dropped: u64,
    /// Begun and never ended: the thread was in the call, or the file is damaged there.
    pub unfinished: u64,
    /// CLOCK_MONOTONIC at the end of the last wait that could block; 0: it is in one, or one that cannot block came since.
    pub last_wait_end: u64,
    /// Nanoseconds of processor time when the last row of the series was written, and `Counters::polled` then.
    pub processor_time: u64,
    pub polled_then: u64,
    /// By time: the last ones, where there are more than are held ([`crate::records::HELD`]).
    pub records: Vec<Record>,
}

impl Thread {
    /// Calls that were counted and of which no record was begun: under way, or left by a cancellation or a jump.
    pub fn left(&self) -> u64 {
        self.counters.all_calls().saturating_sub(self.begun)
    }

    pub fn is_in_wait(&self) -> bool {
        self.last_wait_end == 0 && self.counters.of(&Call::WAITS).calls > self.counters.ended()
    }

    /// There were records before the first one that is held.
    pub fn lacks_the_beginning(&self) -> bool {
        self.overwritten > 0 || self.seen > self.records.len() as u64
    }
}

/// Counters of a thread, or sums of several.
#[derive(Clone, Default)]
pub struct Counters {
    pub calls: [CallCounters; Call::COUNT],
    pub empty: u64,
    /// Of the empty ones: those that could not block, and those that came after 1 ms.
    pub polled: u64,
    pub short: u64,
    pub full: u64,
    pub kinds: [u64; thread::KIND_NAMES.len()],
    pub blocked: [Histogram; Call::WAITS.len()],
    pub work: Histogram,
    pub batch: Histogram,
}

#[derive(Clone, Default)]
pub struct CallCounters {
    pub calls: u64,
    pub injected: u64,
    pub limited: u64,
    /// Returned a value by a fault, without being made.
    pub made_up: u64,
    /// By error number; 0: one without a name.
    pub errors: BTreeMap<u32, u64>,
}

impl CallCounters {
    pub fn failures(&self) -> u64 {
        self.errors.values().fold(0, |sum, times| sum.saturating_add(*times))
    }

    pub fn add(&mut self, other: &CallCounters) {
        self.calls = self.calls.saturating_add(other.calls);
        self.injected = self.injected.saturating_add(other.injected);
        self.limited = self.limited.saturating_add(other.limited);
        self.made_up = self.made_up.saturating_add(other.made_up);
        for (error, times) in &other.errors {
            let sum = self.errors.entry(*error).or_default();
            *sum = sum.saturating_add(*times);
        }
    }
}

impl Counters {
    pub fn add(&mut self, other: &Counters) {
        self.calls.iter_mut().zip(&other.calls).for_each(|(sum, more)| sum.add(more));
        self.empty = self.empty.saturating_add(other.empty);
        self.polled = self.polled.saturating_add(other.polled);
        self.short = self.short.saturating_add(other.short);
        self.full = self.full.saturating_add(other.full);
        for (sum, more) in self.kinds.iter_mut().zip(other.kinds) {
            *sum = sum.saturating_add(more);
        }
        self.blocked.iter_mut().zip(&other.blocked).for_each(|(sum, more)| sum.add(more));
        self.work.add(&other.work);
        self.batch.add(&other.batch);
    }

    /// The counters of several calls as one.
    pub fn of(&self, calls: &[Call]) -> CallCounters {
        let mut sum = CallCounters::default();
        for call in calls {
            if let Some(counters) = self.calls.get(*call as usize) {
                sum.add(counters);
            }
        }
        sum
    }

    pub fn successes(&self, call: Call) -> u64 {
        let counters = self.of(&[call]);
        counters.calls.saturating_sub(counters.failures()).saturating_sub(counters.made_up)
    }

    pub fn blocked(&self) -> Histogram {
        let mut sum = Histogram::default();
        self.blocked.iter().for_each(|more| sum.add(more));
        sum
    }

    /// Nanoseconds blocked in one call; None: it is not timed.
    pub fn blocked_in(&self, call: Call) -> Option<&Histogram> {
        let place = Call::WAITS.iter().position(|wait| *wait == call)?;
        self.blocked.get(place)
    }

    pub fn interrupted(&self) -> u64 {
        self.of(&Call::WAITS).errors.get(&errno::number("EINTR").unwrap_or(4)).copied().unwrap_or(0)
    }

    /// Waits that have returned.
    pub fn ended(&self) -> u64 {
        self.empty.saturating_add(self.batch.count()).saturating_add(self.of(&Call::WAITS).failures())
    }

    pub fn all_calls(&self) -> u64 {
        self.of(&Call::ALL).calls
    }
}

/// Empty: no buckets at all.
#[derive(Clone, Default)]
pub struct Histogram {
    pub buckets: Vec<u64>,
    pub sum: u64,
    pub max: u64,
}

/// A histogram in six numbers; None where nothing was recorded.
pub struct Summary {
    pub count: u64,
    pub sum: u64,
    pub quantiles: Option<Quantiles>,
}

#[derive(Clone, Copy)]
pub struct Quantiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub max: u64,
}

impl Histogram {
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    pub fn add(&mut self, other: &Histogram) {
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
        } else {
            for (sum, more) in self.buckets.iter_mut().zip(&other.buckets) {
                *sum = sum.saturating_add(*more);
            }
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// Recorded values up to the bucket of `value`, that bucket included.
    pub fn up_to(&self, value: u64) -> u64 {
        let buckets = self.buckets.get(..=histogram::bucket(value)).unwrap_or_default();
        buckets.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    pub fn summary(&self) -> Summary {
        let count = self.count();
        let at = |per_mille| histogram::quantile(self.buckets.iter().copied(), count, self.max, per_mille).unwrap_or(0);
        let quantiles = (count != 0).then(|| Quantiles { p50: at(500), p90: at(900), p99: at(990), max: self.max });
        Summary { count, sum: self.sum, quantiles }
    }
}

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub number: u64,
    pub began: u64,
    pub duration: u64,
    /// None: a number that this version does not know.
    pub function: Option<Function>,
    pub flags: u8,
    /// Of epoll_ctl.
    pub operation: u16,
    /// 0 where it did not fail.
    pub errno: u32,
    pub result: i64,
    pub first: i32,
    pub second: i32,
    pub extra: u64,
    pub caller: u64,
}

impl Record {
    pub fn name(&self) -> &'static str {
        self.function.map_or("(unknown)", Function::name)
    }

    pub fn failed(&self) -> bool {
        self.result < 0
    }

    pub fn waits(&self) -> bool {
        self.function.is_some_and(Function::waits)
    }

    /// Events that it brought.
    pub fn events(&self) -> u64 {
        if self.waits() { u64::try_from(self.result).unwrap_or(0) } else { 0 }
    }

    pub fn injected(&self) -> bool {
        u64::from(self.flags) & record::INJECTED != 0
    }

    pub fn limited(&self) -> bool {
        u64::from(self.flags) & record::LIMITED != 0
    }

    pub fn end(&self) -> u64 {
        self.began.saturating_add(self.duration)
    }

    /// Of a wait: nanoseconds, if it has a timeout. None: the kernel was not asked, and it is not known.
    pub fn timeout(&self) -> Option<Option<u64>> {
        match self.extra {
            record::UNKNOWN_TIMEOUT => None,
            record::NO_TIMEOUT => Some(None),
            nanoseconds => Some(Some(nanoseconds)),
        }
    }
}

pub struct Instance {
    /// In the table.
    pub index: u64,
    pub id: u64,
    pub site: u64,
    pub origin: Origin,
    /// `size` or `flags`.
    pub argument: i32,
    pub inherited: bool,
    /// The descriptor that it was made under.
    pub epfd: i32,
    pub watches: u64,
    pub watches_peak: u64,
    pub began: u64,
    /// The lower half of its waits when all were last marked; all ones: not yet.
    pub mark: u32,
    pub waits: u64,
    pub events: u64,
    pub empty: u64,
    pub full: u64,
    pub interrupted: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    Create,
    Create1,
    Unseen,
}

impl Instance {
    /// The call that made it; None where that was not seen.
    pub fn call(&self) -> Option<&'static str> {
        match self.origin {
            Origin::Create => Some(Call::Create.function()),
            Origin::Create1 => Some(Call::Create1.function()),
            Origin::Unseen => None,
        }
    }

    /// The promise made to epoll_create.
    pub fn size(&self) -> Option<i32> {
        (self.origin == Origin::Create).then_some(self.argument)
    }

    /// As it was made: a later fcntl is not in the recording.
    pub fn cloexec(&self) -> Option<bool> {
        match self.origin {
            Origin::Create => Some(false),
            Origin::Create1 => Some(self.argument & libc::EPOLL_CLOEXEC != 0),
            Origin::Unseen => None,
        }
    }

    /// The creating call as C spells it.
    pub fn made_by(&self) -> String {
        match self.origin {
            Origin::Create => format!("epoll_create({})", self.argument),
            Origin::Create1 if self.argument == 0 => "epoll_create1(0)".into(),
            Origin::Create1 if self.argument == libc::EPOLL_CLOEXEC => "epoll_create1(EPOLL_CLOEXEC)".into(),
            Origin::Create1 => format!("epoll_create1({:#x})", self.argument),
            Origin::Unseen => "creation not seen".into(),
        }
    }
}

pub struct Interest {
    /// Its instance's place in the table.
    pub instance: u64,
    pub fd: i32,
    pub site: u64,
}

/// What could not be read, and why. The first ones are kept; all are counted.
#[derive(Default, Clone)]
pub struct Notes {
    pub kept: Vec<String>,
    pub more: u64,
    /// The file has lost bytes that it once had, or they were overwritten while it was read.
    pub is_cut_short: bool,
}

impl Notes {
    const KEPT: usize = 32;

    pub fn add(&mut self, note: impl FnOnce() -> String) {
        if self.kept.len() < Notes::KEPT {
            self.kept.push(note());
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// Adds a note of bytes that the file has lost.
    pub fn add_lost(&mut self, note: impl FnOnce() -> String) {
        self.is_cut_short = true;
        self.add(note);
    }
}

impl Process {
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.threads.iter().for_each(|thread| sum.add(&thread.counters));
        sum
    }

    /// How it ended, as the schema spells it.
    pub fn end(&self) -> &'static str {
        match self.header.end {
            End::Exit => "exit",
            End::UnderscoreExit => "_exit",
            End::Exec => "exec",
            End::Abort | End::Raised | End::Other(_) => "signal",
            End::Aborted => "abort",
            End::ExitGroup => "exit_group",
            End::NotYet if self.runs => "running",
            End::NotYet => "signal",
        }
    }

    /// The same for people.
    pub fn ended(&self) -> String {
        match self.header.end {
            End::Exit => "ended by exit",
            End::UnderscoreExit => "ended by _exit",
            End::Exec => "replaced itself (exec)",
            End::Abort => "aborted by a limit",
            End::Aborted => "ended by abort",
            End::ExitGroup => "ended by syscall(SYS_exit_group)",
            End::Raised => "ended by a signal that it sent to itself",
            End::Other(_) => "ended in a way unknown to this version",
            End::NotYet if self.runs => "still running",
            End::NotYet => match self.killed_by() {
                Some(signal) => return format!("killed by {signal}"),
                None => "killed",
            },
        }
        .to_owned()
    }

    /// The signal that ended it, where that is known: `SIGSEGV`, or `signal 71` of one that has no name.
    pub fn killed_by(&self) -> Option<String> {
        let number = match self.header.end {
            End::Abort => libc::SIGABRT as u8,
            End::NotYet if !self.runs => self.signal?,
            _ => return None,
        };
        Some(signal::name(number).map_or_else(|| format!("signal {number}"), str::to_owned))
    }

    /// Whether it is known when it ended. Otherwise [`Process::duration`] is the least that it can have run. A killed
    /// process notes nothing; its parent knows ([`Process::signal`]).
    pub fn end_is_known(&self) -> bool {
        self.header.end != End::NotYet || self.runs || self.signal.is_some()
    }

    /// Something is missing: of the file, or of what the writer had space for.
    pub fn partial(&self) -> bool {
        let header = &self.header;
        !self.notes.kept.is_empty()
            || header.threads_dropped != 0
            || header.calls_dropped != 0
            || header.entries_dropped != 0
            || header.trouble.is_some()
            || self.dropped() != 0
    }

    /// Records that found no place, where each is kept.
    pub fn dropped(&self) -> u64 {
        self.threads.iter().fold(0, |sum, thread| sum.saturating_add(thread.dropped))
    }

    /// Why they did not, and what can be done.
    pub fn why_dropped(&self) -> Vec<String> {
        let header = &self.header;
        let most = bytes(header.records_most);
        [
            (
                stopped::MOST,
                format!("the file has reached its maximum size, {most}: raise EPOLLSHIM_RECORD_MAX, or keep only the last calls (EPOLLSHIM_RECORD_RING=1024)"),
            ),
            (
                stopped::SPACE,
                "the file could not grow: record to a disk with more space, or keep only the last calls (EPOLLSHIM_RECORD_RING=1024)".into(),
            ),
            (
                stopped::PLACES,
                format!("all {SEGMENTS} segments of the file are in use: keep only the last calls (EPOLLSHIM_RECORD_RING=1024)"),
            ),
        ]
        .into_iter()
        .filter(|(bit, _)| header.records_stopped & bit != 0)
        .map(|(_, why)| why)
        .collect()
    }

    /// CLOCK_MONOTONIC of the last thing that it is known to have done.
    pub fn last_seen(&self) -> u64 {
        let ends = self.threads.iter().map(|thread| thread.last_wait_end).chain([self.last_record]);
        let turned = self.census.iter().flat_map(|census| census.rows.iter().map(|row| row.counted.turned));
        let found = self.findings.iter().map(|finding| finding.first);
        let ends = ends.chain(turned).chain(found).chain(self.series.iter().map(|moment| moment.at));
        ends.chain(self.instances.iter().map(|instance| instance.began)).max().unwrap_or(0).max(self.header.began)
    }

    /// Whether it went on for long after what it noted as its end: an exec that failed, a signal that did not come. (An exec that
    /// succeeds takes the other threads with it; what they do meanwhile is no proof.)
    pub fn has_outlived_its_exec(&self) -> bool {
        const WHILE: u64 = 1_000_000_000;
        matches!(self.header.end, End::Exec | End::Raised) && self.last_seen() > self.header.ended.saturating_add(WHILE)
    }

    pub fn records(&self) -> impl Iterator<Item = (&Thread, &Record)> {
        self.threads.iter().flat_map(|thread| thread.records.iter().map(move |record| (thread, record)))
    }

    /// A call's place in the program; None: no address was noted.
    pub fn site(&self, address: u64) -> Option<Arc<Site>> {
        let address = self.address(address);
        if address == 0 {
            return None;
        }
        let known = self.sites.get(&address).cloned();
        Some(known.unwrap_or_else(|| Arc::new(Site::plain(self.modules.place(address).text(address)))))
    }
}

/// Says of a process that made no epoll call which the library saw, and had epoll instances all the
/// same, that it makes such calls itself.
pub fn makes_calls_unseen(process: &Process) -> Option<String> {
    let unseen = process.totals.unseen_instances;
    if unseen == 0 || process.counters().all_calls() != 0 {
        return None;
    }
    let fds: Vec<String> = process.instances.iter().take(8).map(|instance| instance.epfd.to_string()).collect();
    let fds = if fds.is_empty() { String::new() } else { format!(" (fd {})", fds.join(", ")) };
    let instances =
        if unseen == 1 { "1 epoll instance".into() } else { format!("{} epoll instances", grouped(unseen)) };
    Some(format!(
        "process {} had {instances}{fds}, but the library saw none of its epoll calls; strace -f -e trace=/^epoll \
         shows them",
        process.header.pid
    ))
}

/// Which programs that these processes started are in no recording, and why; None: no such program is known.
pub fn what_is_unseen(processes: &[Process]) -> Option<String> {
    let count = processes.iter().fold(0, |sum: u64, process| sum.saturating_add(process.header.unseen));
    let first = processes.iter().find(|process| process.header.unseen > 0)?;
    let path = plain(&first.header.first_unseen);
    let programs = if count == 1 {
        format!("1 started program ({path})")
    } else {
        format!("{} started programs (the first: {path})", grouped(count))
    };
    let why = processes.iter().fold(0, |bits, process| bits | process.header.why_unseen);
    let reasons = [
        (
            unseen::SECURE,
            "the loader ignores LD_PRELOAD where the effective user or group is not the real one (AT_SECURE, ld.so(8))",
        ),
        (unseen::STATIC, "a static program has no loader that reads LD_PRELOAD"),
        (unseen::GO, "Go's runtime makes its system calls itself"),
    ];
    let why = if why == 0 { unseen::SECURE } else { why };
    let reasons: Vec<&str> = reasons.iter().filter(|(bit, _)| why & bit != 0).map(|(_, words)| *words).collect();
    Some(format!("{programs}: {}", reasons.join("; ")))
}
