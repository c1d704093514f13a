//! Reads a recording by its documented layout (docs/formats.md) alone, without the code of the
//! reader that is tested.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use epollshim_format::call::Call;
use epollshim_format::recording::{
    DIRECTORY, FIRST_SEGMENT, MAGIC, SEGMENTS, VERSION, area, entry, header, instance, interest, kind, record, thread,
};

use crate::{scratch, shim};

pub struct Recording(pub Vec<u8>);

impl Recording {
    pub fn read(path: &Path) -> Recording {
        let recording = Recording(std::fs::read(path).unwrap());
        assert!(recording.0.len() >= FIRST_SEGMENT, "{}: {} bytes", path.display(), recording.0.len());
        assert_eq!(recording.word(header::MAGIC), MAGIC, "{}", path.display());
        assert_eq!(recording.word(header::VERSION), VERSION);
        recording
    }

    pub fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    /// Start, length and extra of the segments of a kind.
    pub fn segments(&self, wanted: u64) -> Vec<(usize, usize, u64)> {
        (0..SEGMENTS)
            .map(|index| DIRECTORY + index * entry::SIZE)
            .filter(|at| self.word(at + entry::KIND) == wanted)
            .map(|at| {
                let (start, length) = (self.word(at + entry::START) as usize, self.word(at + entry::LENGTH) as usize);
                assert!(start >= FIRST_SEGMENT && start + length <= self.0.len());
                (start, length, self.word(at + entry::EXTRA))
            })
            .collect()
    }

    pub fn calls(&self, call: Call) -> u64 {
        self.segments(kind::THREAD).iter().map(|(start, ..)| self.word(start + thread::CALLS + call as usize * 8)).sum()
    }

    pub fn all_calls(&self) -> u64 {
        Call::ALL.into_iter().map(|call| self.calls(call)).sum()
    }

    /// The contents of the rings: for each thread, how many records were begun, and the complete
    /// ones by number.
    pub fn rings(&self) -> Vec<(u64, BTreeMap<u64, [u64; 8]>)> {
        let ring = self.word(header::RING);
        self.segments(kind::THREAD)
            .iter()
            .map(|(start, ..)| {
                let begun = self.word(start + thread::BEGUN);
                let records = (0..ring)
                    .map(|place| start + thread::RING + place as usize * record::SIZE)
                    .map(|at| core::array::from_fn(|word| self.word(at + word * 8)))
                    .filter(|words: &[u64; 8]| words[0] != 0)
                    .map(|words| (words[0] - 1, words))
                    .collect();
                (begun, records)
            })
            .collect()
    }

    /// Live instances: index and number of interests.
    pub fn instances(&self) -> BTreeMap<u64, u64> {
        let mut found = BTreeMap::new();
        for (start, length, first) in self.segments(kind::INSTANCES) {
            for place in 0..length / instance::SIZE {
                let at = start + place * instance::SIZE;
                if self.word(at + instance::ID) != 0 {
                    found.insert(first + place as u64, self.word(at + instance::WATCHES));
                }
            }
        }
        found
    }

    /// Live interests by the index of their instance.
    pub fn interests(&self) -> BTreeMap<u64, u64> {
        let mut found = BTreeMap::new();
        for (start, length, _) in self.segments(kind::INTERESTS) {
            for place in 0..length / interest::SIZE {
                let of = self.word(start + place * interest::SIZE + interest::INSTANCE);
                if of != 0 {
                    *found.entry(of & 0xffff_ffff).or_default() += 1;
                }
            }
        }
        found
    }

    pub fn total(&self, place: usize) -> u64 {
        let segments = self.segments(kind::TOTALS);
        self.word(segments[0].0 + place)
    }
}

/// What a recording of each call has of one thread.
pub struct Kept {
    pub taken: u64,
    pub dropped: u64,
    /// The complete records, by number.
    pub records: BTreeMap<u64, [u64; 8]>,
}

impl Recording {
    /// The records of each thread, in the order of the directory.
    pub fn kept(&self) -> Vec<Kept> {
        assert_eq!(self.word(header::RING), 0);
        let at = |place: usize| DIRECTORY + place * entry::SIZE;
        let kind_of = |place: &usize| self.word(at(*place) + entry::KIND);
        let start_of = |place: usize| self.word(at(place) + entry::START) as usize;
        let mut threads = BTreeMap::new();
        for place in (0..SEGMENTS).filter(|place| kind_of(place) == kind::THREAD) {
            let start = start_of(place);
            assert_eq!(self.word(start + thread::BEGUN), 0);
            let mut kept = Kept { taken: 0, dropped: self.word(start + thread::DROPPED), records: BTreeMap::new() };
            self.area(start + thread::RING, area::IN_THREAD, &mut kept);
            threads.insert(place as u64, kept);
        }
        for place in (0..SEGMENTS).filter(|place| kind_of(place) == kind::RECORDS) {
            let kept = threads.get_mut(&self.word(at(place) + entry::EXTRA)).expect("records of a thread");
            let length = self.word(at(place) + entry::LENGTH) as usize;
            assert!(start_of(place) + length <= self.0.len());
            assert_eq!(self.word(start_of(place) + area::FIRST), kept.taken, "one area behind the other");
            self.area(start_of(place), length, kept);
        }
        threads.into_values().collect()
    }

    fn area(&self, start: usize, length: usize, kept: &mut Kept) {
        let places = (length - area::RECORDS) / record::SIZE;
        let taken = places.min(self.word(start + area::TAKEN) as usize);
        for place in 0..taken {
            let at = start + area::RECORDS + place * record::SIZE;
            let words: [u64; 8] = core::array::from_fn(|word| self.word(at + word * 8));
            if words[0] != 0 {
                assert_eq!(words[0], self.word(start + area::FIRST) + place as u64 + 1);
                kept.records.insert(words[0] - 1, words);
            }
        }
        kept.taken += taken as u64;
    }

    /// The number of records, and the number of calls without a record.
    pub fn seen_and_dropped(&self) -> (u64, u64) {
        let (mut seen, mut dropped) = (0, self.word(header::CALLS_DROPPED));
        for thread in self.kept() {
            assert_eq!(thread.taken, thread.records.len() as u64, "whole");
            seen += thread.taken;
            dropped += thread.dropped;
        }
        (seen, dropped)
    }
}

pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

pub fn only(directory: &Path) -> Recording {
    let files = files(directory);
    assert_eq!(files.len(), 1, "{files:?}");
    Recording::read(&files[0])
}

pub fn recorded(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("LD_PRELOAD", shim()).env("EPOLLSHIM_REPORT", "none").env("EPOLLSHIM_RECORD", directory);
    command
}

/// A small file system of this size, which is unmounted at the end.
pub struct Small(pub PathBuf);

impl Small {
    pub fn mount(name: &str, size: &str) -> Option<Small> {
        let path = scratch(name);
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&path)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        mounted.then_some(Small(path))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
