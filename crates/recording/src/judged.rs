//! What the library judges when a process ends, judged here for a process that had no such end: it runs, or was killed, or ended by
//! a system call of its own. By the same functions, from what the file has.

use std::collections::{BTreeMap, HashSet};

use epollshim_format::findings::{Finding, Id, Severity};
use epollshim_format::kernel_memory;
use epollshim_format::recording::census::number;

use crate::model::{Instance, Process};

/// Judges, if the library has not.
pub fn judge(process: &mut Process) {
    if process.header.end.is_judged() {
        return;
    }
    let mut found = descriptors(process);
    found.extend(instances(process));
    found.extend(sizes(process));
    // An earlier judgement (for `epollshim_report`, or a snapshot) is of its own time.
    if process.census.is_some() {
        // What was judged when no descriptor was left stays.
        process.findings.retain(|finding| finding.id != Id::FdLeak || finding.first != 0);
        found.retain(|finding| finding.id != Id::FdLeak || !is_found(process, Id::FdLeak, finding.site));
    }
    process.findings.extend(found);
}

/// Places whose descriptors only grow in number, and descriptors that are open at the end.
fn descriptors(process: &Process) -> Vec<Finding> {
    let Some(census) = &process.census else { return Vec::new() };
    let now = process.header.began.saturating_add(process.duration);
    // Watched, or an instance itself: a server's connections. (Whether their peers have hung up is not in the file.)
    let watched = process.interests.iter().map(|interest| interest.fd);
    let known: HashSet<i32> = watched.chain(process.instances.iter().map(|instance| instance.epfd)).collect();
    let unattended = census.numbers.iter().filter(|(fd, word)| {
        let is_own = number::generation(*word) == census.generation && word & number::AT_START == 0;
        *fd > 2 && is_own && !known.contains(fd)
    });
    let mut all: Vec<(u16, i32)> = unattended.map(|(fd, word)| (number::place(*word), *fd)).collect();
    all.sort_unstable();
    let of_one = all.chunk_by(|(one, _), (other, _)| one == other);
    let judged = of_one.filter_map(|group| {
        let (index, fd) = *group.last()?;
        let row = census.rows.iter().find(|row| row.index == index)?;
        row.counted.judge(group.len() as u64, fd, now, census.has_met_the_limit, process.runs)
    });
    judged.collect()
}

/// Instances that are open at the end, by the site that made them. (Whether some of them were abandoned only the process can tell: which
/// are waited on at the moment, and which belong to a child, is not in the file.)
fn instances(process: &Process) -> Vec<Finding> {
    if process.runs {
        return Vec::new();
    }
    let mut by_site: BTreeMap<u64, Vec<&Instance>> = BTreeMap::new();
    for instance in process.instances.iter().filter(|instance| instance.site != 0 && !instance.inherited) {
        by_site.entry(instance.site).or_default().push(instance);
    }
    by_site.retain(|site, _| !is_found(process, Id::Leak, *site));
    let judged = by_site.into_iter().map(|(site, alive)| {
        let count = alive.len() as u64;
        let made = process.creations.iter().find(|(of, _)| *of == site).map_or(0, |(_, made)| *made).max(count);
        let watches = alive.iter().fold(0, |sum: u64, instance| sum.saturating_add(instance.watches));
        Finding {
            count,
            epfd: alive.first().map(|instance| instance.epfd),
            detail: [made, count, 0, kernel_memory::estimate(count, watches)],
            ..plain(Id::Leak, Severity::Info, site)
        }
    });
    judged.collect()
}

/// Instances that exist, and have held more than their `size` promised.
fn sizes(process: &Process) -> Vec<Finding> {
    let outgrown = process.instances.iter().filter_map(|instance| {
        let size = u64::from(instance.size()?.unsigned_abs());
        (instance.watches_peak > size && !is_found(process, Id::SizeLie, instance.site)).then(|| Finding {
            epfd: Some(instance.epfd),
            detail: [instance.watches_peak, size, 0, 0],
            ..plain(Id::SizeLie, Severity::Info, instance.site)
        })
    });
    let mut by_site: BTreeMap<u64, Finding> = BTreeMap::new();
    for finding in outgrown {
        by_site.entry(finding.site).and_modify(|known| known.count += 1).or_insert(finding);
    }
    by_site.into_values().collect()
}

fn is_found(process: &Process, id: Id, site: u64) -> bool {
    process.findings.iter().any(|finding| finding.id == id && finding.site == site)
}

fn plain(id: Id, severity: Severity, site: u64) -> Finding {
    Finding {
        id,
        severity,
        variant: 0,
        count: 1,
        epfd: None,
        fd: None,
        site,
        other: 0,
        detail: [0; 4],
        first: 0,
        place: Finding::NO_PLACE,
    }
}
