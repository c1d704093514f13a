//! Reads recordings whose rings have wrapped, that end early, or that were damaged, and checks what
//! is printed about the missing parts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/directory.rs"]
mod directory;

use std::path::Path;

use common::{CODE, CallOf, Recording, SECOND, finding_of, full, server, small};
use directory::{Directory, json, rendered};
use epollshim_format::call::Call;
use epollshim_format::findings::{Finding, Id, Severity};
use epollshim_format::recording::{
    FIRST_SEGMENT, PAGE, VERSION, area, finding, findings, header, kind, record, thread,
};
use epollshim_recording::{Error, Format, Set, load, read, render};
use serde_json::Value;

#[test]
fn a_ring_that_has_wrapped_gives_the_last_calls_in_order() {
    let mut made = Recording::new(9, b"ring", SECOND, 16);
    made.totals([0; 2], [0; 2], 0);
    let calls: Vec<CallOf> =
        (0..100u64).map(|step| CallOf::wait(SECOND + step * 10, 1, 3, step as i64, CODE)).collect();
    let at = made.thread(9, &calls);
    // Number 99 is half written: its place still has number 83.
    made.word(at + thread::RING + 99 % 16 * record::SIZE + record::NUMBER, 84);
    let process = read(&made.bytes).unwrap();
    let results: Vec<i64> = process.threads[0].records.iter().map(|record| record.result).collect();
    assert_eq!(results, (84..99).collect::<Vec<i64>>());
    assert_eq!((process.threads[0].overwritten, process.threads[0].unfinished), (84, 1));
}

#[test]
fn with_all_records_kept_the_areas_are_merged_and_dropped_records_are_reported_with_a_fix() {
    let process = read(&full(4300, SECOND).bytes).unwrap();
    let counts: Vec<[u64; 5]> = process
        .threads
        .iter()
        .map(|thread| [thread.begun, thread.seen, thread.dropped, thread.overwritten, thread.unfinished])
        .collect();
    assert_eq!(counts, [[1253, 1213, 40, 0, 0], [20, 20, 0, 0, 0]]);
    let numbers: Vec<u64> = process.threads[0].records.iter().map(|record| record.number).collect();
    assert_eq!(numbers, (0..1213).collect::<Vec<_>>());
    assert_eq!(process.notes.kept, Vec::<String>::new());
    assert!(process.partial());
    let mut set = Set::default();
    set.processes.push(process);
    let mut out = Vec::new();
    render(&set, Format::Text, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    for line in [
        "    - 40 call records dropped:\n      the file has reached its maximum size, 1.00 MiB: raise\n",
        "Call records: 1,233 kept, 40 dropped\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let mut out = Vec::new();
    render(&set, Format::Json, &mut out).unwrap();
    let report: Value = serde_json::from_slice(&out).unwrap();
    let site = report["merged"]["sites"].as_array().unwrap().iter().find(|site| site["calls"]["epoll_wait"] == 1213);
    assert!(site.is_some(), "{report}");
}

#[test]
fn records_that_are_incomplete_or_belong_to_no_thread_are_reported() {
    let mut made = Recording::new(9, b"keeper", SECOND, 0);
    made.totals([0; 2], [0; 2], 0);
    let calls: Vec<CallOf> = (0..1100u64).map(|step| CallOf::wait(SECOND + step * 10, 1, 3, 0, CODE)).collect();
    let (at, areas) = made.thread_full(9, &calls, &[8192]);
    // One was being written, another has a number that does not fit its place.
    made.word(areas[0] + area::RECORDS + 7 * record::SIZE + record::NUMBER, 0);
    made.word(areas[1] + area::RECORDS + record::NUMBER, 5);
    // More calls than records: one is in progress.
    made.word(at + thread::CALLS + Call::Wait as usize * 8, 1101);
    made.segment(kind::RECORDS, 4096, 17);
    let process = read(&made.bytes).unwrap();
    let thread = &process.threads[0];
    assert_eq!((thread.begun, thread.seen, thread.unfinished, thread.left()), (1100, 1098, 2, 1));
    assert_eq!(process.notes.kept, ["segment 3: skipped, no thread has these records"]);
    // Truncated within the second area.
    let process = read(&made.bytes[..areas[1] + area::RECORDS + 10 * record::SIZE + 30]).unwrap();
    assert_eq!((process.threads[0].begun, process.threads[0].seen), (1100, 1022 + 9));
    assert!(process.notes.kept[0].contains("(records): the file holds"), "{:?}", process.notes.kept);
}

#[test]
fn a_truncated_file_gives_its_contents_and_lists_what_is_missing() {
    let whole = server(4100, SECOND, true).bytes;
    let process = read(&whole[..FIRST_SEGMENT + PAGE + thread::RING + 640]).unwrap();
    assert_eq!(process.threads.len(), 1);
    assert_eq!(process.threads[0].counters.all_calls(), 43, "the counters are whole");
    assert_eq!(process.threads[0].records.len(), 10, "as many as are in the file");
    assert!(process.partial());
    assert!(process.notes.kept[0].contains("a thread"), "{:?}", process.notes.kept);
    let process = read(&whole[..PAGE + 8]).unwrap();
    assert!(process.notes.kept[0].contains("directory"), "{:?}", process.notes.kept);
}

#[test]
fn a_file_that_is_no_recording_is_reported_with_file_and_place() {
    let directory = Directory::new("errors");
    let mut newer = small();
    newer.word(header::VERSION, VERSION + 1);
    let mut other = small();
    other.word(header::MACHINE, 183);
    for (name, bytes, wanted) in [
        ("empty.rec", Vec::new(), "at byte 0: the file is empty"),
        ("foreign.rec", b"\x7fELF and so on, for a while".to_vec(), "at byte 0: not a recording"),
        ("zeros.rec", vec![0; 9000], "at byte 0: the header was never written"),
        ("short.rec", small().bytes[..100].to_vec(), "at byte 100: the file ends within its header"),
        ("newer.rec", newer.bytes, "at byte 8: layout version 3"),
        ("other.rec", other.bytes, "at byte 16: written for ELF machine 183"),
    ] {
        let path = directory.put(name, &bytes);
        let error = load(&path).err().unwrap().to_string();
        assert!(error.contains(wanted) && error.contains(name), "{error}");
    }
    assert!(matches!(load(&directory.0), Err(Error::Nothing { .. })), "none of these is named as a recording");
    assert!(matches!(load(&directory.0.join("missing")), Err(Error::Io { .. })));
    assert!(load(Path::new("/dev/zero")).err().unwrap().to_string().contains("not a plain file"));
}

#[test]
fn one_bad_file_of_a_directory_is_named_and_the_others_are_reported() {
    let directory = Directory::new("one-bad");
    directory.put("epollshim.1.1.rec", b"nonsense");
    directory.put("epollshim.77.2.rec", &small().bytes);
    directory.put("notes.txt", b"not read");
    std::os::unix::fs::symlink("/dev/zero", directory.0.join("epollshim.2.2.rec")).unwrap();
    let set = load(&directory.0).unwrap();
    assert_eq!((set.processes.len(), set.failures.len()), (1, 1));
    assert!(rendered(&set, Format::Text).contains("Not read:"));
    assert!(json(&set)["unread"][0]["error"].as_str().unwrap().contains("not a recording"));
    assert_eq!(set.processes[0].end(), "_exit");
}

#[test]
fn segments_that_overlap_or_leave_the_file_are_left_out_and_noted() {
    let mut made = small();
    let start = made.bytes.len() as u64;
    made.segment(kind::THREAD, PAGE, 5);
    made.segment(99, PAGE, 0);
    let entry = |made: &mut Recording, index: usize, from: u64, length: u64| {
        made.word(PAGE + index * 32 + 8, from);
        made.word(PAGE + index * 32 + 16, length);
        made.word(PAGE + index * 32, kind::THREAD);
    };
    entry(&mut made, 4, FIRST_SEGMENT as u64, PAGE as u64);
    entry(&mut made, 5, u64::MAX - 4095, 8192);
    entry(&mut made, 6, start + 1, 4096);
    entry(&mut made, 7, 1 << 40, 4096);
    entry(&mut made, 8, 0, 4096);
    let process = read(&made.bytes).unwrap();
    assert_eq!(process.threads.len(), 1);
    let notes = process.notes.kept.join("\n");
    for wanted in [
        "too short",
        "kind 99",
        "segment 4: skipped, it overlaps",
        "segment 5: skipped, it cannot",
        "segment 6: skipped, it cannot",
        "segment 7 (a thread): the file holds 0",
        "segment 8: skipped, it cannot",
    ] {
        assert!(notes.contains(wanted), "{wanted} in\n{notes}");
    }
}

#[test]
fn unwritten_entries_of_findings_are_ignored() {
    let mut made = Recording::new(6, b"hostile", SECOND, 4);
    made.totals([0; 2], [0; 2], 0);
    let most = Finding {
        variant: 255,
        epfd: Some(i32::MAX),
        fd: Some(i32::MAX),
        other: u64::MAX,
        detail: [u64::MAX; 4],
        first: u64::MAX,
        ..finding_of(Id::Leak, Severity::Error, u64::MAX, u64::MAX)
    };
    let all: Vec<Finding> = Id::ALL.iter().zip(0..).map(|(id, place)| Finding { id: *id, place, ..most }).collect();
    let at = made.findings(&all, u64::MAX) + findings::FIRST;
    let behind = at + all.len() * finding::SIZE;
    for (index, (what, severity, count)) in
        [(0, 3, 1), (255, 3, 1), (1, 0, 1), (1, 4, 1), (1, u64::MAX, 1), (1, 3, 0)].into_iter().enumerate()
    {
        for (word, value) in [(finding::WHAT, what), (finding::SEVERITY, severity), (finding::COUNT, count)] {
            made.word(behind + index * finding::SIZE + word, value);
        }
    }
    let process = read(&made.bytes).unwrap();
    assert_eq!((process.findings, process.findings_dropped), (all.clone(), u64::MAX));
    let directory = Directory::new("hostile-findings");
    directory.put("epollshim.6.6.rec", &made.bytes);
    directory.put("epollshim.6.7.rec", &made.bytes);
    let set = load(&directory.0).unwrap();
    let report = json(&set);
    let merged = report["merged"]["findings"].as_array().unwrap();
    assert_eq!(merged.len(), all.len());
    assert!(merged.iter().all(|one| one["count"] == u64::MAX && one["processes"] == 2), "{merged:#?}");
    for format in Format::ALL {
        // Impossible numbers do not make a report fail.
        assert!(!rendered(&set, format).is_empty(), "{format:?}");
    }
}

#[test]
fn a_recording_that_cannot_be_read_is_an_error_in_junit_too() {
    let directory = Directory::new("junit-unread");
    directory.put("epollshim.1.1.rec", b"nonsense");
    directory.put("epollshim.77.2.rec", &small().bytes);
    let text = rendered(&load(&directory.0).unwrap(), Format::Junit);
    assert!(text.contains("<testsuites name=\"epollshim\" tests=\"24\" failures=\"0\" errors=\"1\">"), "{text}");
    assert!(text.contains("<error type=\"read\" message=\"recordings could not be read\">"), "{text}");
    assert!(text.contains("epollshim.1.1.rec: at byte 0: not a recording"), "{text}");
}
