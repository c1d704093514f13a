//! Reads valid recordings that were truncated, flipped and spliced from a seed. Reading never
//! panics, and its memory and time stay bounded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod invariants;

use std::alloc::{GlobalAlloc, Layout, System};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use epollshim_format::recording::{DIRECTORY, FIRST_SEGMENT, PAGE, finding, findings, header};
use epollshim_recording::interval::Interval;
use epollshim_recording::live::{Live, names};
use testkit::Random;

/// An allocator that counts the bytes that are held, and their peak.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed to `System` with unchanged arguments, so `System` keeps the contract
// of `GlobalAlloc`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `alloc`, which is that of `System.alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller guarantees that `pointer` is from `alloc` with this layout, so it is
        // from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The processor time of this thread. Real time would include time in which other processes ran.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes only to `time`, which is valid, and every kernel has this clock.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A place where damage matters (header, directory, the beginning of a segment), or any place.
fn place(random: &mut Random, length: usize) -> usize {
    let place = match random.index(5) {
        0 => random.index(200),
        1 => DIRECTORY + random.index(8 * 32),
        2 => FIRST_SEGMENT + random.index(length / PAGE + 1) * PAGE + random.index(256),
        // The findings, the last segment: entries that are in use, and one after them.
        3 => length.saturating_sub(findings::SIZE) + findings::FIRST + random.index(4 * finding::SIZE),
        _ => random.index(length),
    };
    place.min(length.saturating_sub(1))
}

/// Numbers at which careless arithmetic overflows.
fn number(random: &mut Random) -> u64 {
    match random.index(6) {
        0 => u64::MAX,
        1 => 1 << random.index(64),
        2 => (1u64 << random.index(64)).wrapping_sub(1),
        3 => random.index(1 << 20) as u64 * 4096,
        4 => random.index(16) as u64,
        _ => random.next(),
    }
}

fn damaged(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=random.index(4) {
        if bytes.is_empty() {
            return;
        }
        let at = place(random, bytes.len());
        match random.index(6) {
            0 => bytes.truncate(random.index(bytes.len() + 1)),
            1 => bytes[at] ^= 1 << random.index(8),
            2 | 3 => {
                let at = at / 8 * 8;
                let number = number(random).to_le_bytes();
                let end = (at + 8).min(bytes.len());
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
            4 => {
                let from = random.index(other.len());
                let length = random.index(3 * PAGE).min(other.len() - from).min(bytes.len() - at);
                bytes[at..at + length].copy_from_slice(&other[from..from + length]);
            }
            _ => {
                let end = (at + random.index(PAGE)).min(bytes.len());
                bytes[at..end].fill(if random.index(2) == 0 { 0 } else { 0xff });
            }
        }
    }
}

/// Held by the running test, because the peak counts the whole program.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[test]
fn twelve_thousand_damaged_recordings_give_an_error_or_a_report() {
    let _alone = ALONE.lock().unwrap();
    let valid = [
        common::small().bytes,
        common::with_stacks().bytes,
        common::server(4100, common::SECOND, false).bytes,
        common::server(4200, common::SECOND * 3, true).bytes,
        common::full(4300, common::SECOND).bytes,
    ];
    for bytes in &valid {
        assert!(invariants::recording(bytes));
    }
    let mut random = Random(0x5eed_0004);
    let (mut read, mut slowest) = (0, Duration::ZERO);
    for round in 0..12_000usize {
        let mut bytes = valid[random.index(valid.len())].clone();
        let other = &valid[random.index(valid.len())];
        damaged(&mut random, &mut bytes, other);
        let before = HELD.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let began = processor_time();
        read += usize::from(invariants::recording(&bytes));
        slowest = slowest.max(processor_time() - began);
        let most = PEAK.load(Ordering::Relaxed) - before;
        assert!(most <= (8 << 20) + 32 * bytes.len(), "round {round}: {most} bytes for a file of {}", bytes.len());
        assert!(slowest < Duration::from_secs(5), "round {round}: {slowest:?}");
    }
    println!("12000 damaged recordings: {read} read, slowest {slowest:?}");
    assert!(read > 3000, "only {read} got beyond the header");
}

/// This process maps a file that is named like its own recording. The file is then read repeatedly,
/// with any content.
#[test]
fn a_file_that_is_damaged_under_its_reader_never_stops_it() {
    let _alone = ALONE.lock().unwrap();
    let pid = std::process::id();
    let valid = [common::small().bytes, common::server(pid.into(), common::SECOND, true).bytes].map(|mut bytes| {
        bytes[header::PID..header::PID + 8].copy_from_slice(&u64::from(pid).to_le_bytes());
        bytes[header::END..header::END + 8].fill(0);
        bytes
    });
    let path = testkit::scratch("files").join(format!("epollshim.{pid}.1.rec"));
    std::fs::write(&path, &valid[1]).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let (protection, flags) = (libc::PROT_READ, libc::MAP_SHARED);
    // SAFETY: it is a new mapping at an address that the kernel chooses, and nothing accesses it.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, protection, flags, file.as_raw_fd(), 0) };
    assert_ne!(mapped, libc::MAP_FAILED);
    let mut live = Live::open(&path, None).unwrap().expect("it is this process's");
    assert!(live.runs());
    let mut before = live.read(common::SECOND).unwrap();
    assert!(before.counters.all_calls() > 0 && !before.is_partial && !live.instances().unwrap().is_empty());
    let mut random = Random(0x5eed_0009);
    let (mut read, mut sum) = (0, 0);
    for round in 0..4_000usize {
        let mut bytes = valid[random.index(valid.len())].clone();
        let other = valid[random.index(valid.len())].clone();
        damaged(&mut random, &mut bytes, &other);
        std::fs::write(&path, &bytes).unwrap();
        let held = HELD.load(Ordering::Relaxed);
        PEAK.store(held, Ordering::Relaxed);
        let began = processor_time();
        if let Ok(now) = live.read(number(&mut random)) {
            read += 1;
            let between = Interval::between(&before, &now);
            sum += between.counters.all_calls() & 1;
            assert!(between.blocked.is_none_or(|share| (0.0..=1.0).contains(&share)), "round {round}");
            before = now;
        }
        if let Ok(header) = live.header() {
            assert!(!names(&header).0.contains('\x1b'));
        }
        for instance in live.instances().unwrap_or_default().iter().take(8) {
            sum += live.address(instance.site).text().len() as u64;
        }
        let _ = Live::open(&path, Some(pid));
        let most = PEAK.load(Ordering::Relaxed) - held;
        assert!(most <= (40 << 20) + 32 * bytes.len(), "round {round}: {most} bytes for a file of {}", bytes.len());
        assert!(processor_time() - began < Duration::from_secs(5), "round {round}");
    }
    println!("4000 damaged files: {read} read ({sum})");
    assert!(read > 1000, "only {read} got beyond the header");
    assert!(live.runs(), "the file does not show whether the process runs");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn the_inputs_that_the_fuzzer_kept_still_hold() {
    let _alone = ALONE.lock().unwrap();
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/recording");
    let mut files = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        invariants::recording(&std::fs::read(entry.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(files > 0);
}
