//! Random operations on a ledger without a kernel, compared with a simple model of what the kernel
//! has.

extern crate std;

use crate::sync::Ordering;
use std::collections::BTreeMap;
use std::vec::Vec;

use super::tests::{Core, check_lists, compare, create, live};
use super::{File, Registration, Ticket};
use crate::Memory;
use crate::pool::{Pool, Record};
use crate::records::{Interest, LastUsed, Watch};

/// What the kernel has: files are numbered as they are opened.
#[derive(Default)]
struct Model {
    /// The file of each open number.
    open: BTreeMap<i32, u64>,
    /// The most that each instance has watched.
    instances: BTreeMap<u64, u64>,
    /// Instance, number and file of each interest, by the number of its ADD.
    interests: BTreeMap<u64, (u64, i32, u64)>,
    /// How many forks there had been when the ledger noted a file.
    noted: BTreeMap<u64, u64>,
    forks: u64,
    /// Of instances, watches and bytes.
    peaks: [u64; 3],
}

impl Model {
    /// A file that only another process keeps open stays watched here.
    fn close(&mut self, fd: i32) {
        let Some(file) = self.open.remove(&fd) else { return };
        if self.open.values().all(|other| *other != file) {
            let ends = self.instances.remove(&file).is_some();
            let vanishes = self.noted.get(&file) == Some(&self.forks);
            self.interests.retain(|_, (of, _, watched)| !(ends && *of == file || vanishes && *watched == file));
        }
    }
    /// What the number of an interest refers to now.
    fn file(&self, (_, fd, file): &(u64, i32, u64)) -> File {
        match self.open.get(fd) {
            None => File::Closed,
            Some(open) if open == file => File::Watched,
            Some(_) => File::Other,
        }
    }
    fn reach(&mut self, core: &Core) {
        let now = [self.instances.len() as u64, self.interests.len() as u64, core.memory()];
        self.peaks.iter_mut().zip(now).for_each(|(peak, now)| *peak = now.max(*peak));
        for (instance, peak) in &mut self.instances {
            *peak = (*peak).max(self.interests.values().filter(|(of, ..)| of == instance).count() as u64);
        }
    }
}

/// How many records are in use. Checks that each of the others is in the pool's list once.
fn used<T: Record, M: Memory, const N: usize, const C: u32>(pool: &Pool<T, M, N, C>, is_free: fn(&T) -> bool) -> u32 {
    let (mut at, mut free) = (pool.next_free(), 0);
    while let Some(record) = pool.get(at) {
        free += 1;
        assert!(is_free(record) && free < pool.end());
        at = record.link().load(Ordering::Relaxed);
    }
    let used = (1..pool.end()).filter_map(|index| pool.get(index)).filter(|record| !is_free(record)).count() as u32;
    assert_eq!(used + free + 1, pool.end());
    used
}

#[test]
fn random_operations_leave_what_the_kernel_has() {
    static CORE: Core = Core::new();
    const NUMBERS: [i32; 8] = [3, 4, 5, 6, 7, 8, 70_000, 70_001];
    for fd in NUMBERS {
        CORE.prepare(&[fd]);
    }
    let mut model = Model::default();
    let mut old = None;
    // Three threads, each with its own last used instance.
    let hands = [const { LastUsed::new() }; 3];
    let mut random = 1_u64;
    // Knuth's MMIX generator; its lower bits are not random.
    let mut below = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    for step in 1..=500_000 {
        let [epfd, fd] = [below(8), below(8)].map(|index| NUMBERS.get(index as usize).copied().unwrap_or(3));
        let [instance, file] = [epfd, fd].map(|fd| model.open.get(&fd).copied());
        let instance = instance.filter(|file| model.instances.contains_key(file));
        let interest = instance.zip(file).map(|(instance, file)| (instance, fd, file));
        let watched = interest.and_then(|one| Some(*model.interests.iter().find(|(_, other)| **other == one)?.0));
        assert_eq!(CORE.find(epfd, fd).is_some(), watched.is_some());
        match (below(16), file, interest) {
            (0..4, None, _) => {
                model.open.insert(fd, step);
                if below(2) == 0 {
                    create(&CORE, fd);
                    let _ = (model.instances.insert(step, 0), model.noted.insert(step, model.forks));
                }
            }
            (0..8, Some(file), Some(interest)) => {
                if !CORE.descriptors.get(fd).is_known() {
                    model.noted.insert(file, model.forks);
                }
                let registration = Registration { epfd, fd, site: 2 };
                let last_used = hands.get(below(3) as usize).unwrap_or(&hands[0]);
                if below(2) == 0 {
                    CORE.set_last_used(epfd, last_used);
                }
                let at_once =
                    if below(3) != 0 { CORE.reserve_at_once(epfd, fd, &registration.site, last_used) } else { None };
                let ticket = Ticket::from_word(at_once.unwrap_or_else(|| CORE.reserve(&registration)));
                assert_eq!(ticket == Ticket::None, watched.is_some());
                if below(8) == 0 {
                    CORE.undo(&registration, ticket);
                } else if watched.is_none() {
                    model.interests.insert(step, interest);
                    old = if below(4) == 0 { Some((registration, ticket, step)) } else { old };
                }
            }
            (8..12, ..) if watched.is_some() => {
                if below(3) == 0 || !hands.iter().any(|last_used| CORE.deleted_at_once(epfd, fd, last_used)) {
                    CORE.deleted(epfd, fd);
                }
                model.interests.retain(|add, _| Some(*add) != watched);
            }
            (12, ..) => {
                model.close(fd);
                if below(2) == 0 || !CORE.closed_at_once(fd, 0) {
                    CORE.closed(fd, (below(2) == 0).then_some(0));
                }
            }
            (13, Some(file), _) if epfd != fd => {
                model.close(epfd);
                // (The kernel must report a dup of what the ledger does not know.)
                if model.instances.contains_key(&file) || model.interests.values().any(|one| one.2 == file) {
                    CORE.duplicated(fd, epfd, 0);
                    model.open.insert(epfd, file);
                } else {
                    CORE.closed(epfd, Some(0));
                }
            }
            (14, _, Some((instance, ..))) => {
                model.interests.retain(|_, one| one.0 != instance || model.open.values().any(|file| *file == one.2));
                let listed = model.interests.values().filter(|one| one.0 == instance);
                let listed = listed.map(|one| match model.file(one) {
                    file if file == File::Closed || below(2) == 0 => (one.1, file),
                    _ => (one.1, File::Unknown),
                });
                compare(&CORE, epfd, &listed.collect::<Vec<_>>(), true, false);
            }
            (15, ..) => match (below(50), old) {
                (0, _) => {
                    CORE.after_fork();
                    (model.forks, model.peaks) = (model.forks + 1, [0; 3]);
                    model.instances.values_mut().for_each(|peak| *peak = 0);
                }
                (1, _) => {
                    CORE.closed_range(0, i32::MAX, 0);
                    NUMBERS.into_iter().for_each(|fd| model.close(fd));
                    assert_eq!(used(&CORE.records, Watch::is_free), 0);
                }
                // A change was left half-made, in whatever state it left the lists.
                (25..29, _) => {
                    for (_, record) in CORE.records.all().filter(|(_, record)| record.interest.has(Interest::LIVE)) {
                        record.interest.next.set(below(64) as u32);
                        record.interest.previous.set(below(64) as u32);
                        record.interest.set_sibling(below(64) as u32);
                    }
                    for (_, instance) in CORE.live_instances() {
                        instance.first.set(below(64) as u32);
                    }
                    CORE.rebuild();
                }
                // A late answer to an ADD of which nothing is left.
                (2..25, Some((registration, ticket, add))) if !model.interests.contains_key(&add) => {
                    CORE.undo(&registration, ticket);
                }
                _ => {
                    CORE.reach();
                    let peaks = [&CORE.totals.instances_peak, &CORE.totals.watches_peak, &CORE.totals.memory_peak];
                    assert_eq!(peaks.map(|peak| peak.get()), model.peaks);
                    if let Some(found) = CORE.instance_of(epfd) {
                        found.reach();
                        assert_eq!(Some(&found.peak()), model.instances.get(&instance.unwrap_or(0)));
                    }
                }
            },
            _ => {}
        }
        for (last_used, fd) in hands.iter().flat_map(|last_used| NUMBERS.map(|fd| (last_used, fd))) {
            if let Some(found) = last_used.instance_of(fd) {
                assert!(CORE.instance_of(fd).is_some_and(|one| ::core::ptr::eq(one, found)), "step {step}");
            }
        }
        model.reach(&CORE);
        assert_eq!(live(&CORE), (model.instances.len() as u64, model.interests.len() as u64), "step {step}");
        if step < 50_000 || step % 16 == 0 {
            check_lists(&CORE);
        }
        used(&CORE.records, Watch::is_free);
        assert_eq!(used(&CORE.instances, |one| one.id.get() == 0) as usize, model.instances.len());
    }
    assert_eq!((CORE.totals.unseen_watches.get(), CORE.totals.lost.get()), (0, 0));
}
