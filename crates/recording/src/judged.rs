//! What the library judges when a process ends, judged here for a process that had no such end: it runs, or was killed, or ended by
//! a system call of its own. By the same functions, from what the file has.

use std::collections::HashSet;

use epollshim_format::findings::{Finding, Id};
use epollshim_format::recording::census::number;

use crate::model::{End, Process};

/// Judges, if the library has not.
pub fn judge(process: &mut Process) {
    if process.header.end != End::NotYet {
        return;
    }
    let found = descriptors(process);
    // An earlier judgement (for `epollshim_report`, or a snapshot) is of its own time.
    if process.census.is_some() {
        process.findings.retain(|finding| finding.id != Id::FdLeak);
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
