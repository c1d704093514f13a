//! The content of a recording as types. Sums saturate, because a damaged file may hold any number.

mod counters;
mod end;
mod instance;
mod record;
mod rules;
mod unseen;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use epollshim_format::census::Kind;
use epollshim_format::findings::Finding;
use epollshim_format::recording::{SEGMENTS, stopped};

use crate::census::Census;
use crate::described::Descriptor;
use crate::modules::Modules;
use crate::owner::Owner;
use crate::records::Caller;
use crate::scale::bytes;
use crate::sites::Site;
use crate::stacks::Stacks;

pub use counters::{CallCounters, Counters, Histogram, Quantiles, Summary, Thread};
pub use end::End;
pub use instance::{Instance, Interest, Origin};
pub use record::Record;
pub use rules::{Rule, RuleSum, summed_rules};
pub use unseen::{makes_calls_unseen, what_is_unseen};

/// One process, or one program of it, because each exec begins a new recording.
#[derive(Default)]
pub struct Process {
    pub path: PathBuf,
    /// The index of its run in the set. None: the recording was named by its own path.
    pub run: Option<usize>,
    pub owner: Owner,
    pub header: Header,
    pub totals: Totals,
    pub judged_by: Judged,
    /// Sites that create instances, with how many instances each has created.
    pub creations: Vec<(u64, u64)>,
    pub threads: Vec<Thread>,
    /// The instances that are alive, or were alive when the process ended.
    pub instances: Vec<Instance>,
    pub interests: Vec<Interest>,
    pub findings: Vec<Finding>,
    /// How many findings did not fit in the table.
    pub findings_dropped: u64,
    /// The descriptors of findings, by the findings' places in the table.
    pub described: BTreeMap<u16, Descriptor>,
    /// Some of the descriptors that were open at the end, by the call that created them and by
    /// kind.
    pub open_at_end: BTreeMap<(u64, Kind), Vec<Descriptor>>,
    pub modules: Modules,
    pub control: Control,
    /// The sums of all records by caller address, including records that are not held.
    pub callers: HashMap<u64, Caller>,
    /// CLOCK_MONOTONIC when the last recorded call ended.
    pub last_record: u64,
    pub stacks: Stacks,
    /// None: there was no census, or no space for it.
    pub census: Option<Census>,
    /// A coarse series of the whole run, by time.
    pub series: Vec<Moment>,
    /// The limits and rules that were armed.
    pub limits: Vec<Limit>,
    pub rules: Vec<Rule>,
    pub notes: Notes,
    /// Whether the shim compared its ledger with the kernel's lists for this report (`epollshim ctl
    /// PID snapshot`).
    pub reconciled: bool,
    /// Whether the process runs. It runs if /proc showed, when the file was read, that it has the
    /// file mapped.
    pub runs: bool,
    /// The signal that ended it. Only its parent can know; the recording does not have it.
    pub signal: Option<u8>,
    /// Nanoseconds from the beginning to the end, to the present, or to the last thing known about
    /// it.
    pub duration: u64,
    /// The places of the addresses in this recording.
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
    /// The number of records in each thread's ring. 0: every record is kept.
    pub ring: u64,
    /// If every record is kept: the size up to which the file may grow for them, and bits for the
    /// reasons why some were dropped.
    pub records_most: u64,
    pub records_stopped: u64,
    /// The errno of the first reservation of space that failed.
    pub trouble: Option<u32>,
    /// Processes forked from this one that could not create a recording, and the errno of the
    /// first.
    pub children_lost: u64,
    pub children_trouble: Option<u32>,
    /// Programs that it started and whose calls the library does not see, the reasons (bits of
    /// `epollshim_format::recording::unseen`), and the path of the first.
    pub unseen: u64,
    pub why_unseen: u64,
    pub first_unseen: Vec<u8>,
    pub comm: Vec<u8>,
    pub exe: Vec<u8>,
    pub arguments: Vec<Vec<u8>>,
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

/// What findings are judged by. Reports do not show it.
#[derive(Clone, Copy, Default)]
pub struct Judged {
    /// CLOCK_MONOTONIC when the wait counts of all instances were last marked. 0: never.
    pub marked: u64,
    /// One more than the highest descriptor number of an instance or a watch, and RLIMIT_NOFILE at
    /// that time.
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

/// Requests from outside (`epollshim ctl`): all that were received, and those of them that were
/// ignored as damaged.
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
    /// Calls that make changes or wait up to this moment, and the waits among them.
    pub calls: u64,
    pub waits: u64,
    /// Live instances and watches.
    pub instances: u64,
    pub watches: u64,
    /// Open descriptors by kind. Empty without a census.
    pub kinds: Vec<(Kind, u64)>,
}

/// A limit that was set, and its counts.
#[derive(Clone, Copy)]
pub struct Limit {
    pub key: &'static str,
    /// None for `size`: each instance has its own.
    pub limit: Option<u64>,
    pub peak: u64,
    pub denied: u64,
    pub let_through: u64,
    /// How a breach is handled, if the key sets that itself.
    pub mode: Option<&'static str>,
}

/// What could not be read, and why. Only the first notes are kept; the others are counted.
#[derive(Default, Clone)]
pub struct Notes {
    pub kept: Vec<String>,
    pub more: u64,
    /// The file has lost bytes that it once had, or bytes were overwritten while it was read.
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

    /// Adds a note about bytes that the file has lost.
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

    /// Whether something is missing: parts of the file, or what the writer had no space for.
    pub fn partial(&self) -> bool {
        let header = &self.header;
        !self.notes.kept.is_empty()
            || header.threads_dropped != 0
            || header.calls_dropped != 0
            || header.entries_dropped != 0
            || header.trouble.is_some()
            || self.dropped() != 0
    }

    /// The number of dropped records, if every record is kept.
    pub fn dropped(&self) -> u64 {
        self.threads.iter().fold(0, |sum, thread| sum.saturating_add(thread.dropped))
    }

    /// Why records were dropped, and what can be done.
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

    /// CLOCK_MONOTONIC of the last thing that the process is known to have done.
    pub fn last_seen(&self) -> u64 {
        let ends = self.threads.iter().map(|thread| thread.last_wait_end).chain([self.last_record]);
        let turned = self.census.iter().flat_map(|census| census.rows.iter().map(|row| row.counted.turned));
        let found = self.findings.iter().map(|finding| finding.first);
        let ends = ends.chain(turned).chain(found).chain(self.series.iter().map(|moment| moment.at));
        ends.chain(self.instances.iter().map(|instance| instance.began)).max().unwrap_or(0).max(self.header.began)
    }

    pub fn records(&self) -> impl Iterator<Item = (&Thread, &Record)> {
        self.threads.iter().flat_map(|thread| thread.records.iter().map(move |record| (thread, record)))
    }

    /// The place of a call in the program. None: no address was noted.
    pub fn site(&self, address: u64) -> Option<Arc<Site>> {
        let address = self.address(address);
        if address == 0 {
            return None;
        }
        let known = self.sites.get(&address).cloned();
        Some(known.unwrap_or_else(|| Arc::new(Site::plain(self.modules.place(address).text(address)))))
    }
}
