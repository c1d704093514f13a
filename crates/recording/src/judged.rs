//! Findings that the library derives when a process ends, derived here for a process whose end the
//! library did not see: it runs, was killed, or ended by a system call of its own. The same
//! functions are applied to the content of the file.

use std::collections::{BTreeMap, HashMap, HashSet};

use epollshim_format::call::Call;
use epollshim_format::census::{Around, Care, Cared};
use epollshim_format::findings::{Finding, Id, Severity, churn, leak, loops, near_limit};
use epollshim_format::kernel_memory;
use epollshim_format::recording::census::number;

use crate::model::{Instance, Judged, Process, Thread};

/// Adds these findings to all processes for which the library has not done so.
pub fn judge(processes: &mut [Process]) {
    let used: Vec<HashSet<u64>> = processes.iter().map(|process| used_by_children(process, processes)).collect();
    for (process, used) in processes.iter_mut().zip(used).filter(|(process, _)| !process.header.end.is_judged()) {
        let (mut found, left) = instances(process, &used);
        found.extend(descriptors(process, &left));
        found.extend(churn(process));
        found.extend(sizes(process));
        found.extend(limits(process));
        found.extend(process.threads.iter().filter_map(|thread| polling(thread, process)));
        // Findings of an earlier evaluation (for `epollshim_report`, or a snapshot) may be
        // outdated.
        process.findings.retain(|earlier| match earlier.id {
            // A finding that was made when the descriptors ran out stays.
            Id::FdLeak => process.census.is_none() || earlier.first != 0,
            Id::Leak => process.judged_by.marked == 0,
            _ => !found.iter().any(|finding| is_same(finding, earlier)),
        });
        found.retain(|finding| finding.id != Id::FdLeak || !is_found(process, Id::FdLeak, finding.site));
        process.findings.extend(found);
        late(process);
    }
}

fn is_same(one: &Finding, other: &Finding) -> bool {
    let key = |finding: &Finding| (finding.id, finding.variant, finding.site);
    key(one) == key(other)
}

/// The sites of instances that a process's forked children inherited and may wait on.
fn used_by_children(process: &Process, all: &[Process]) -> HashSet<u64> {
    let is_child = |other: &&Process| {
        other.header.ppid == process.header.pid
            && other.header.began >= process.header.began
            && other.counters().of(&Call::WAITS).calls != 0
    };
    let instances = all.iter().filter(is_child).flat_map(|child| &child.instances);
    instances.filter(|instance| instance.inherited).map(|instance| instance.site).collect()
}

/// Sites whose number of open descriptors keeps growing, and descriptors that are open at the end.
fn descriptors(process: &Process, left: &Left) -> Vec<Finding> {
    let Some(census) = &process.census else { return Vec::new() };
    let instances: HashSet<i32> = process.instances.iter().map(|instance| instance.epfd).collect();
    // The closest attention that any instance pays to each descriptor. Whether peers have hung up
    // is not in the file.
    let mut watched: HashMap<i32, Option<Care>> = HashMap::new();
    for interest in &process.interests {
        let care = left.care(interest.instance);
        watched
            .entry(interest.fd)
            .and_modify(|known| *known = known.zip(care).map(|(one, other)| one.max(other)))
            .or_insert(care);
    }
    let own = census.numbers.iter().filter(|(fd, word)| {
        let is_own = number::generation(*word) == census.generation && word & number::AT_START == 0;
        *fd > 2 && is_own
    });
    let mut companions = 0;
    let mut places: BTreeMap<u16, (Cared, u64, i32)> = BTreeMap::new();
    for (fd, word) in own {
        let (cared, attended, highest) = places.entry(number::place(*word)).or_default();
        let kind = number::kind(*word);
        let care = match watched.get(fd) {
            _ if instances.contains(fd) => None,
            None => Some(Care::None),
            Some(None) if kind.is_silent() => Some(Care::Silent),
            Some(care) => *care,
        };
        match care {
            Some(care) => cared.add(care, 1, *fd),
            None => {
                companions += 1;
                *attended += 1;
                *highest = *fd;
            }
        }
    }
    let now = process.header.began.saturating_add(process.duration);
    let row_of = |index: u16| census.rows.iter().find(|row| row.index == index);
    for (index, (cared, attended, highest)) in &mut places {
        if let Some(row) = row_of(*index) {
            let gone = row.counted.gone_of(*attended);
            companions -= gone;
            if gone != 0 {
                cared.add(Care::Gone, gone, *highest);
            }
        }
    }
    let around = Around { now, has_met_the_limit: census.has_met_the_limit, is_running: process.runs, companions };
    places.into_iter().filter_map(|(index, (cared, ..))| row_of(index)?.counted.judge(&cared, &around)).collect()
}

/// The instances that [`instances`] found abandoned, by their places in the table, and the other
/// instances of the same sites.
#[derive(Default)]
struct Left {
    left: HashSet<u64>,
    doubtful: HashSet<u64>,
}

impl Left {
    /// The attention that a watch by this instance gets. None: the instance is in use, which is the
    /// most attention.
    fn care(&self, instance: u64) -> Option<Care> {
        match () {
            () if self.left.contains(&instance) => Some(Care::Left),
            () if self.doubtful.contains(&instance) => Some(Care::Doubtful),
            () => None,
        }
    }
}

/// Leaks: open instances by the site that created them, if some of them look idle. The file does
/// not show which instance a thread waits on at the moment. So for each waiting thread, one
/// instance that looks idle counts as used.
fn instances(process: &Process, used_by_children: &HashSet<u64>) -> (Vec<Finding>, Left) {
    let Judged { marked, .. } = process.judged_by;
    let since_mark = process.header.began.saturating_add(process.duration).saturating_sub(marked);
    let mark = |instance: &Instance| instance.waits & !u64::from(u32::MAX) | u64::from(instance.mark);
    let is_any_used = process.instances.iter().any(|instance| leak::is_used(instance.waits, mark(instance)));
    let has_waited = process.counters().of(&Call::WAITS).calls != 0;
    let watched: HashSet<i32> = process.interests.iter().map(|interest| interest.fd).collect();
    let is_alone =
        |instance: &Instance| !watched.contains(&instance.epfd) && !used_by_children.contains(&instance.site);
    let is_idle = |instance: &Instance| {
        (if instance.waits == 0 { has_waited } else { is_any_used })
            && marked != 0
            && leak::looks_idle(instance.waits, mark(instance), since_mark)
            && is_alone(instance)
    };
    let waiting = process.threads.iter().filter(|thread| thread.is_in_wait()).count() as u64;
    let mut by_site: BTreeMap<u64, Vec<&Instance>> = BTreeMap::new();
    for instance in process.instances.iter().filter(|instance| instance.site != 0 && !instance.inherited) {
        by_site.entry(instance.site).or_default().push(instance);
    }
    if marked == 0 {
        by_site.retain(|site, _| !is_found(process, Id::Leak, *site));
    }
    let mut left = Left::default();
    let judged = by_site.into_iter().filter_map(|(site, alive)| {
        let youngest_used = alive.iter().filter(|one| one.waits != 0).map(|one| one.id).max().unwrap_or(0);
        let is_unused = |instance: &Instance| {
            let is_forgotten = instance.watches_peak == 0 || instance.id < youngest_used;
            instance.waits == 0 && has_waited && is_forgotten && is_alone(instance)
        };
        let is_left = |instance: &Instance| is_idle(instance) || is_unused(instance);
        let count = |which: &dyn Fn(&Instance) -> bool| alive.iter().filter(|one| which(one)).count() as u64;
        let group = leak::Group {
            alive: alive.len() as u64,
            idle: count(&is_idle).saturating_sub(waiting),
            unused: count(&is_unused),
            old: count(&|one| is_unused(one) && is_idle(one)),
        };
        let (severity, variant) = group.judge(!process.runs);
        if severity == Severity::Info && process.runs {
            return None;
        }
        if severity != Severity::Info {
            for instance in &alive {
                let to = if is_left(instance) { &mut left.left } else { &mut left.doubtful };
                to.insert(instance.index);
            }
        }
        let made = process.creations.iter().find(|(of, _)| *of == site).map_or(0, |(_, made)| *made).max(group.alive);
        let watches = alive.iter().fold(0, |sum: u64, instance| sum.saturating_add(instance.watches));
        let reported = match variant {
            leak::NEVER_USED => group.unused,
            _ if severity == Severity::Info => 0,
            _ => group.idle,
        };
        let one = alive.iter().find(|one| is_left(one)).or(alive.first());
        Some(Finding {
            variant,
            count: group.alive,
            epfd: one.map(|instance| instance.epfd),
            detail: [made, group.alive, reported, kernel_memory::estimate(group.alive, watches)],
            ..plain(Id::Leak, severity, site)
        })
    });
    let judged = judged.collect();
    (judged, left)
}

/// Sites whose instances are closed soon after creation, again and again.
fn churn(process: &Process) -> Vec<Finding> {
    let time = process.threads.iter().fold(0, |sum: u64, thread| sum.saturating_add(thread.processor_time));
    let judged = process.creations.iter().filter_map(|&(site, made)| {
        let is_open = |instance: &&Instance| instance.site == site && !instance.inherited;
        let ended = made.saturating_sub(process.instances.iter().filter(is_open).count() as u64);
        let severity = churn::severity(ended, time, process.duration)?;
        let detail = [ended, made, time, process.duration];
        Some(Finding { count: ended, detail, ..plain(Id::Churn, severity, site) })
    });
    judged.collect()
}

/// Use close to a limit: the limit of descriptors, or one that the user has set. The limit of
/// watches per user is not checked, because only the machine on which the process ran knows it.
fn limits(process: &Process) -> Vec<Finding> {
    let near = |variant, peak, limit, severity, denied| Finding {
        variant,
        detail: [peak, limit, denied, 0],
        ..plain(Id::NearLimit, severity, 0)
    };
    let Judged { numbers, numbers_limit, .. } = process.judged_by;
    let mut found = Vec::new();
    let was_met = process.findings.iter().any(|finding| finding.id == Id::Exhausted);
    let watches = process.totals.watches_peak;
    if let Some(severity) = near_limit::of_descriptors(numbers, numbers_limit, watches, was_met) {
        found.push(near(near_limit::DESCRIPTORS, numbers, numbers_limit, severity, 0));
    }
    // A wait that returns fewer events loses nothing.
    for one in process.limits.iter().filter(|one| one.key != "events") {
        let key = (0..).zip(near_limit::KEYS).find(|(_, key)| *key == one.key);
        if let (Some((key, _)), Some(limit)) = (key, one.limit)
            && let Some(severity) = near_limit::of_own(one.peak, limit, one.denied)
        {
            found.push(near(near_limit::SET + key, one.peak, limit, severity, one.denied));
        }
    }
    found
}

/// A thread that polls. Its records show where it waits.
fn polling(thread: &Thread, process: &Process) -> Option<Finding> {
    let counters = &thread.counters;
    let waits = loops::Waits { all: counters.of(&Call::WAITS).calls, polled: counters.polled };
    // Its cost is extrapolated from the last row of the series.
    let time = u128::from(thread.processor_time) * u128::from(counters.polled) / u128::from(thread.polled_then.max(1));
    let time = u64::try_from(time).unwrap_or(u64::MAX).max(thread.processor_time);
    let polling = waits.polling(&|| time)?;
    let mut places: BTreeMap<(u64, i32), u64> = BTreeMap::new();
    for record in thread.records.iter().filter(|record| record.waits() && record.result == 0) {
        *places.entry((record.caller, record.first)).or_default() += 1;
    }
    let most = places.into_iter().max_by_key(|(_, times)| *times).map(|(place, _)| place);
    let busiest = || process.instances.iter().max_by_key(|instance| instance.empty).map(|instance| instance.epfd);
    Some(Finding {
        count: polling.count,
        epfd: most.map(|(_, epfd)| epfd).or_else(busiest),
        detail: [0, polling.time, waits.all, 0],
        ..plain(Id::PollLoop, Severity::Warning, most.map_or(0, |(site, _)| site))
    })
}

/// Updates findings of late loops. A loop that was often late may be rarely late by now.
fn late(process: &mut Process) {
    let (threads, lived) = (&process.threads, process.duration);
    process.findings.retain_mut(|finding| {
        let [p99, longest, works, time] = &mut finding.detail;
        if finding.id != Id::LateLoop {
            return true;
        }
        let is_its_own = |thread: &&Thread| thread.counters.work.max >= *longest;
        if let Some(work) = threads.iter().find(is_its_own).map(|thread| thread.counters.work.summary()) {
            *works = work.count;
            *p99 = work.quantiles.map_or(*p99, |quantiles| quantiles.p99);
        }
        loops::is_often_late(finding.count, *time, *works, lived)
    });
}

/// Live instances that have held more watches than the `size` they were created with.
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
