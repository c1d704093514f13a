//! What a report shows of one process, or of all together: sums, and the breakdown by call site.
//! All formats are made from these.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use epollshim_format::call::Call;
use epollshim_format::kernel_memory;

use crate::Set;
use crate::findings::{self, Found};
use crate::model::{Counters, Instance, Process, Totals};
use crate::sites::Site;

/// The most call sites that are listed.
pub const SITES: usize = 500;

#[derive(Default)]
pub struct Facts {
    pub counters: Counters,
    pub totals: Totals,
    pub records: Records,
    pub calls_dropped: u64,
    pub threads_dropped: u64,
    pub entries_dropped: u64,
    /// The worst first.
    pub findings: Vec<Found>,
    pub findings_dropped: u64,
    /// Whether every process was compared with the kernel's lists.
    pub is_reconciled: bool,
    /// Whether some process compared its open descriptors with /proc when it ended.
    pub has_compared_descriptors: bool,
    /// Whether some recording is incomplete.
    pub is_partial: bool,
    /// Whether some process has rings, which hold only the last calls.
    pub has_rings: bool,
    /// At most [`SITES`], the busiest first.
    pub sites: Vec<SiteFacts>,
    /// The number of sites beyond these.
    pub more_sites: usize,
}

/// What became of the call records.
#[derive(Default, Clone, Copy)]
pub struct Records {
    pub begun: u64,
    pub seen: u64,
    pub overwritten: u64,
    /// Records that were dropped, if every record is kept.
    pub dropped: u64,
    pub unfinished: u64,
    /// Calls that were counted but have no record.
    pub left: u64,
    /// How many of `seen` are held, to be shown individually.
    pub held: u64,
}

/// What was seen of a call site. Calls, times and events come from the records in the file.
pub struct SiteFacts {
    pub site: Arc<Site>,
    pub calls: BTreeMap<&'static str, u64>,
    pub failed: u64,
    pub time: u64,
    pub events: u64,
    /// Live instances that were created here, and live watches that were added here.
    pub instances: u64,
    pub watches: u64,
}

impl SiteFacts {
    pub fn all_calls(&self) -> u64 {
        self.calls.values().sum()
    }

    /// `epoll_wait 12, epoll_ctl 3`.
    pub fn what(&self) -> String {
        let mut calls: Vec<_> = self.calls.iter().collect();
        calls.sort_by_key(|(name, times)| (std::cmp::Reverse(**times), **name));
        let parts = calls.iter().map(|(name, times)| format!("{name} {}", crate::scale::grouped(**times)));
        parts.collect::<Vec<_>>().join(", ")
    }
}

impl Facts {
    pub fn of(process: &Process) -> Facts {
        Facts::sum(std::slice::from_ref(process))
    }

    pub fn merged(set: &Set) -> Facts {
        Facts::sum(&set.processes)
    }

    fn sum(processes: &[Process]) -> Facts {
        let mut facts = Facts { findings: findings::of(processes), is_reconciled: true, ..Facts::default() };
        let mut sites: HashMap<String, SiteFacts> = HashMap::new();
        for process in processes {
            facts.findings_dropped = facts.findings_dropped.saturating_add(process.findings_dropped);
            facts.totals.add(process.totals);
            facts.is_reconciled &= process.reconciled;
            facts.is_partial |= process.partial();
            let header = &process.header;
            facts.has_compared_descriptors |= process.census.is_some() && header.end.is_judged();
            facts.has_rings |= header.ring != 0;
            facts.calls_dropped = facts.calls_dropped.saturating_add(header.calls_dropped);
            facts.threads_dropped = facts.threads_dropped.saturating_add(header.threads_dropped);
            facts.entries_dropped = facts.entries_dropped.saturating_add(header.entries_dropped);
            for thread in &process.threads {
                facts.counters.add(&thread.counters);
                let records = &mut facts.records;
                records.begun = records.begun.saturating_add(thread.begun);
                records.seen = records.seen.saturating_add(thread.seen);
                records.overwritten = records.overwritten.saturating_add(thread.overwritten);
                records.dropped = records.dropped.saturating_add(thread.dropped);
                records.left = records.left.saturating_add(thread.left());
                records.held = records.held.saturating_add(thread.records.len() as u64);
                records.unfinished = records.unfinished.saturating_add(thread.unfinished);
            }
            of_sites(process, &mut sites);
        }
        let mut sites: Vec<SiteFacts> = sites.into_values().collect();
        sites.sort_by(|one, other| {
            let weight = |site: &SiteFacts| std::cmp::Reverse((site.all_calls(), site.watches, site.instances));
            weight(one).cmp(&weight(other)).then_with(|| one.site.text.cmp(&other.site.text))
        });
        facts.more_sites = sites.len().saturating_sub(SITES);
        sites.truncate(SITES);
        facts.sites = sites;
        facts
    }

    /// The number of instances created, by the counts of successful calls.
    pub fn created(&self) -> u64 {
        self.counters.successes(Call::Create).saturating_add(self.counters.successes(Call::Create1))
    }

    pub fn memory(&self) -> u64 {
        kernel_memory::estimate(self.totals.instances, self.totals.watches)
    }

    /// Whether there is anything to report about epoll. An incomplete recording may lack it.
    pub fn has_epoll(&self) -> bool {
        let of = &self.totals;
        let kept = [of.instances, of.instances_peak, of.watches, of.watches_peak, of.vanished];
        let unseen = [of.unseen_instances, of.unseen_watches, self.calls_dropped, self.entries_dropped];
        self.is_partial || self.counters.all_calls() > 0 || kept.iter().chain(&unseen).any(|count| *count > 0)
    }
}

/// Adds what a process did at each site. The same object and offset are the same site in every
/// process.
fn of_sites(process: &Process, sites: &mut HashMap<String, SiteFacts>) {
    // Sums are made by address first, so that each name is looked up once.
    let mut own: HashMap<u64, SiteFacts> = HashMap::new();
    let mut at = |address: u64, note: &dyn Fn(&mut SiteFacts)| {
        if address == 0 {
            return;
        }
        let site = own.entry(address).or_insert_with(|| SiteFacts {
            site: process.site(address).unwrap_or_default(),
            calls: BTreeMap::new(),
            failed: 0,
            time: 0,
            events: 0,
            instances: 0,
            watches: 0,
        });
        note(site);
    };
    for (address, caller) in &process.callers {
        at(*address, &|site| {
            site.calls.extend(caller.calls());
            (site.failed, site.time, site.events) = (caller.failed, caller.time, caller.events);
        });
    }
    for instance in &process.instances {
        at(instance.site, &|site| site.instances += 1);
    }
    for interest in &process.interests {
        at(interest.site, &|site| site.watches += 1);
    }
    for more in own.into_values() {
        match sites.get_mut(&more.site.text) {
            None => drop(sites.insert(more.site.text.clone(), more)),
            Some(site) => {
                more.calls.iter().for_each(|(name, times)| *site.calls.entry(name).or_default() += times);
                site.failed += more.failed;
                site.time = site.time.saturating_add(more.time);
                site.events = site.events.saturating_add(more.events);
                site.instances += more.instances;
                site.watches += more.watches;
            }
        }
    }
}

/// The descriptors that an instance watches, in ascending order, and how many of them were added at
/// each site.
pub struct Watched {
    pub fds: Vec<i32>,
    pub sites: Vec<(u64, u64)>,
}

/// The watched descriptors of each instance, by the instance's place in the table.
pub fn watched(process: &Process) -> HashMap<u64, Watched> {
    let mut all: HashMap<u64, (Vec<i32>, BTreeMap<u64, u64>)> = HashMap::new();
    for interest in &process.interests {
        let (fds, sites) = all.entry(interest.instance).or_default();
        fds.push(interest.fd);
        *sites.entry(process.address(interest.site)).or_default() += 1;
    }
    let sorted = |(index, (mut fds, sites)): (u64, (Vec<i32>, BTreeMap<u64, u64>))| {
        fds.sort_unstable();
        let mut sites: Vec<(u64, u64)> = sites.into_iter().filter(|(site, _)| *site != 0).collect();
        sites.sort_by_key(|(site, times)| (std::cmp::Reverse(*times), *site));
        (index, Watched { fds, sites })
    };
    all.into_iter().map(sorted).collect()
}

/// The instances of a process in the order of their creation.
pub fn by_id(process: &Process) -> Vec<&Instance> {
    let mut instances: Vec<&Instance> = process.instances.iter().collect();
    instances.sort_by_key(|instance| (instance.id, instance.index));
    instances
}
