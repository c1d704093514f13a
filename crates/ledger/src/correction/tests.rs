//! A ledger that missed some calls, or noted calls that did not happen, is correct after one
//! correction.

extern crate std;

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use super::{Picture, Room, Strangers};
use crate::core::tests::{Core, check_lists};
use crate::core::{Creation, File, Head, Line, Registration};
use crate::records::Origin;

/// A reading of what the kernel has.
#[derive(Default)]
struct Reading {
    heads: Vec<Head>,
    lines: Vec<Line>,
    strangers: Vec<Strangers>,
}

impl Reading {
    fn picture(&self) -> Picture<'_> {
        Picture { heads: &self.heads, lines: &self.lines, strangers: &self.strangers }
    }
}

/// What the kernel has: files are numbered as they are opened.
#[derive(Default)]
struct Kernel {
    open: BTreeMap<i32, u64>,
    instances: BTreeSet<u64>,
    /// Instance, number and file.
    interests: BTreeSet<(u64, i32, u64)>,
}

impl Kernel {
    fn close(&mut self, fd: i32) {
        let Some(file) = self.open.remove(&fd) else { return };
        if self.open.values().all(|other| *other != file) {
            self.instances.remove(&file);
            self.interests.retain(|(instance, _, watched)| *instance != file && *watched != file);
        }
    }

    /// A whole reading; `asks`: the kernel says what numbers refer to.
    fn read(&self, core: &Core, into: &mut Reading, asks: bool) {
        let mut lines = 0;
        for instance in &self.instances {
            let numbers: Vec<_> = self.open.iter().filter(|(_, file)| *file == instance).map(|(fd, _)| *fd).collect();
            let list: Vec<_> = self.interests.iter().filter(|one| one.0 == *instance).collect();
            for fd in &numbers {
                into.heads.push(Head { leader: numbers[0], first: lines, count: list.len() as u32, ..Head::of(*fd) });
            }
            for (_, fd, watched) in list {
                let file = match self.open.get(fd) {
                    None => File::Closed,
                    Some(_) if !asks => File::Unknown,
                    Some(file) if file == watched => File::Watched,
                    Some(_) => File::Other,
                };
                into.lines.push(Line { fd: *fd, place: 0, file });
                lines += 1;
            }
        }
        into.heads.sort_by_key(|head| (head.leader, head.fd));
        for fd in 0..=core.descriptors.highest() {
            let alias = core.watched_alias(fd).filter(|watched| self.open.get(&fd) != self.open.get(watched));
            if let Some(watched) = alias {
                into.strangers.push((fd, watched));
            }
        }
    }
}

#[test]
fn one_correction_makes_any_ledger_agree() {
    static CORE: Core = Core::new();
    const NUMBERS: u64 = 10;
    CORE.grow();
    let mut kernel = Kernel::default();
    let mut random = 7_u64;
    let mut below = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    for step in 1..=300_000_u64 {
        let [one, other] = [3 + below(NUMBERS) as i32, 3 + below(NUMBERS) as i32];
        // Noted and done; done where no hook saw it; noted and not done.
        let (is_told, is_done) = match below(8) {
            0 => (false, true),
            1 => (true, false),
            _ => (true, true),
        };
        let [instance, file] = [one, other].map(|fd| kernel.open.get(&fd).copied());
        let pair = instance.filter(|file| kernel.instances.contains(file)).zip(file);
        match below(8) {
            0 | 1 if instance.is_none() => {
                let is_epoll = below(2) == 0;
                if is_done {
                    kernel.open.insert(one, step);
                    let _ = is_epoll && kernel.instances.insert(step);
                }
                if is_told && is_epoll {
                    CORE.created(one, Creation { origin: Origin::Create1, argument: 0, site: 1 });
                }
            }
            2 => {
                if is_told {
                    CORE.closed(one, Some(0));
                }
                if is_done {
                    kernel.close(one);
                }
            }
            3 | 4 if one != other && file.is_some() => {
                if is_done {
                    kernel.close(one);
                    // (It may have been the last number of an instance that watched the other.)
                    kernel.open.extend(file.map(|file| (one, file)));
                }
                // (The kernel must report a dup of what the ledger does not know.)
                if is_told && CORE.descriptors.get(other).is_known() {
                    CORE.duplicated(other, one, 0);
                } else if is_told {
                    CORE.closed(one, Some(0));
                }
            }
            5 | 6 if pair.is_some() => {
                let (instance, file) = pair.unwrap();
                if is_done {
                    kernel.interests.insert((instance, other, file));
                }
                if is_told {
                    CORE.reserve(&Registration { epfd: one, fd: other, site: 2 });
                }
            }
            7 if pair.is_some_and(|(instance, file)| kernel.interests.contains(&(instance, other, file))) => {
                if is_done {
                    kernel.interests.retain(|interest| Some((interest.0, interest.2)) != pair || interest.1 != other);
                }
                if is_told {
                    CORE.deleted(one, other);
                }
            }
            _ => {}
        }
        if below(16) == 0 {
            let asks = below(4) != 0;
            let mut reading = Reading::default();
            let mut room = Room { numbers: Vec::new(), unmatched: Vec::new(), claims: Vec::new() };
            let under_way = |_: u32| false;
            kernel.read(&CORE, &mut reading, asks);
            if !CORE.agrees(reading.picture(), &mut room.unmatched, under_way) {
                CORE.correct(reading.picture(), &mut room, under_way);
                let words: Vec<_> = (3..3 + NUMBERS as i32).map(|fd| (fd, CORE.descriptors.get(fd))).collect();
                assert!(
                    CORE.agrees(reading.picture(), &mut room.unmatched, under_way),
                    "step {step}: {:?}, {:?}, {:?}, {words:x?}",
                    reading.heads,
                    reading.lines,
                    reading.strangers,
                );
            }
            let live = (CORE.totals.instances.get() as usize, CORE.live_watches() as usize);
            assert_eq!(live, (kernel.instances.len(), kernel.interests.len()), "step {step}");
            check_lists(&CORE);
        }
    }
}
