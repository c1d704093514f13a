//! The recording: however a process ends, its file contains its counters and its last calls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use epollshim_format::function::Function;
use epollshim_format::recording::{FIRST_SEGMENT, end, header, kind, record, totals};
use testkit::layout::{Recording, Small, files, only, recorded};
use testkit::{c_program, report, scratch, show};

#[test]
fn a_program_that_is_killed_leaves_every_call_that_has_returned() {
    let program = c_program("record_busy");
    let directory = scratch("record-kill");
    let page = directory.join("page");
    for round in 0..200u64 {
        let recordings = directory.join(format!("{round}"));
        std::fs::write(&page, [0u8; 4096]).unwrap();
        let mut child = recorded(&program, &recordings).arg(&page).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(3000 + round * 7919 % 40_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let counted = std::fs::read(&page).unwrap();
        let word = |index: usize| u64::from_le_bytes(counted[index * 8..index * 8 + 8].try_into().unwrap());
        let begun: u64 = (0..8).map(|thread| word(2 * thread)).sum();
        let returned: u64 = (0..8).map(|thread| word(2 * thread + 1)).sum();
        if begun == 0 {
            // The process was killed before its first call, or in it.
            continue;
        }
        let Some(file) = std::fs::read_dir(&recordings).unwrap().next() else {
            assert_eq!(returned, 0, "round {round}");
            continue;
        };
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        if bytes.len() < FIRST_SEGMENT || returned == 0 {
            assert_eq!(returned, 0, "round {round}");
            continue;
        }
        let recording = Recording(bytes);
        let calls = recording.all_calls();
        assert!((returned..=begun).contains(&calls), "round {round}: {returned} <= {calls} <= {begun}");
        // The rings: between the oldest and the newest record only a call that had not returned may
        // be missing.
        for (begun, records) in recording.rings() {
            let ring = recording.word(header::RING);
            let oldest = begun.saturating_sub(ring);
            let held = records.keys().filter(|number| **number >= oldest && **number < begun).count() as u64;
            assert!(held + 1 >= begun - oldest, "round {round}: {held} of {}", begun - oldest);
        }
        assert_eq!(recording.word(header::END), end::NOT_YET);
    }
}

#[test]
fn a_recording_has_what_the_report_has() {
    let program = c_program("known_counts");
    let directory = scratch("record-report");
    let (recordings, json) = (directory.join("rec"), directory.join("report.json"));
    let output = recorded(&program, &recordings)
        .env("EPOLLSHIM_REPORT", &json)
        .env("EPOLLSHIM_REPORT_FORMAT", "json")
        .arg("16")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", show(&output));
    let recording = only(&recordings);
    let report = report(&json);
    for (name, calls) in epollshim_format::call::FUNCTIONS {
        let reported = report["calls"][name]["calls"].as_u64().unwrap_or(0);
        assert_eq!(calls.iter().map(|call| recording.calls(*call)).sum::<u64>(), reported, "{name}");
    }
    for (key, place) in [("live", totals::WATCHES), ("peak", totals::WATCHES_PEAK), ("vanished", totals::VANISHED)] {
        assert_eq!(recording.total(place), report["watches"][key].as_u64().unwrap(), "watches.{key}");
    }
    assert_eq!(recording.total(totals::INSTANCES), report["instances"]["live"].as_u64().unwrap());
    let live = recording.instances();
    assert_eq!(live.len() as u64, report["instances"]["live"].as_u64().unwrap());
    assert_eq!(live.values().sum::<u64>(), report["watches"]["live"].as_u64().unwrap());
    assert_eq!(
        live.into_iter().filter(|(_, watches)| *watches != 0).collect::<BTreeMap<_, _>>(),
        recording.interests(),
        "each instance has as many interests as it says"
    );
    assert_eq!(recording.word(header::END), end::EXIT);
    assert!(recording.word(header::ENDED) > recording.word(header::BEGAN));
    assert_eq!(recording.word(header::CALLS_DROPPED), 0);
    // Seen and overwritten records together are all calls.
    assert_eq!(recording.rings().iter().map(|(begun, _)| begun).sum::<u64>(), recording.all_calls());
}

#[test]
fn tables_that_grow_under_threads_miss_nothing_in_a_process_that_is_killed() {
    const INSTANCES: usize = 8 * 300;
    const INTERESTS: u64 = 30;
    let program = c_program("record_many");
    for round in 0..5 {
        let directory = scratch("record-many");
        let output = recorded(&program, &directory).output().unwrap();
        assert_eq!(output.status.signal(), Some(libc::SIGKILL), "{}", show(&output));
        let recording = only(&directory);
        let instances = recording.instances();
        assert_eq!(instances.len(), INSTANCES, "round {round}");
        assert!(instances.values().all(|watches| *watches == INTERESTS), "round {round}: {instances:?}");
        let interests = recording.interests();
        assert_eq!(interests.len(), INSTANCES, "round {round}");
        assert!(interests.values().all(|count| *count == INTERESTS), "round {round}: {interests:?}");
        assert_eq!(recording.total(totals::WATCHES), INSTANCES as u64 * INTERESTS, "round {round}");
        for kind in [kind::INSTANCES, kind::INTERESTS] {
            let mut firsts: Vec<u64> = recording.segments(kind).iter().map(|(_, _, first)| *first).collect();
            let parts = firsts.len();
            firsts.sort_unstable();
            firsts.dedup();
            assert_eq!(firsts.len(), parts, "round {round}: a part was made twice");
        }
        std::fs::remove_dir_all(&directory).unwrap();
    }
}

#[test]
fn threads_that_start_together_all_have_their_place() {
    let program = c_program("record_threads");
    for round in 0..10 {
        let directory = scratch("record-threads");
        let output = recorded(&program, &directory).output().unwrap();
        assert!(output.status.success(), "{}", show(&output));
        let recording = only(&directory);
        assert_eq!(recording.word(header::TROUBLE), 0, "round {round}");
        assert_eq!(recording.all_calls(), 16_000, "round {round}");
        assert_eq!(recording.rings().iter().map(|(begun, _)| begun).sum::<u64>(), 16_000, "round {round}");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}

#[test]
fn a_small_ring_holds_the_last_calls_of_each_thread() {
    let program = c_program("epoll_ctl");
    let directory = scratch("record-ring");
    let (recordings, log) = (directory.join("rec"), directory.join("log.json"));
    let output = recorded(&program, &recordings)
        .env("EPOLLSHIM_RECORD_RING", "16")
        .env("EPOLLSHIM_LOG", &log)
        .env("EPOLLSHIM_LOG_FORMAT", "json")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", show(&output));
    let recording = only(&recordings);
    let lines: Vec<serde_json::Value> =
        std::fs::read_to_string(&log).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rings = recording.rings();
    assert_eq!(rings.len(), 1);
    let (begun, records) = &rings[0];
    assert_eq!(*begun, lines.len() as u64);
    assert!(*begun > 16, "{begun}");
    assert_eq!(records.keys().copied().collect::<Vec<_>>(), (begun - 16..*begun).collect::<Vec<_>>());
    for (number, words) in records {
        let line = &lines[*number as usize];
        let at = |place: usize| words[place / 8];
        let call = at(record::CALL);
        assert_eq!(Function::ALL[(call & 0xff) as usize].name(), line["call"].as_str().unwrap(), "{line}");
        assert_eq!(at(record::RESULT) as i64, line["result"].as_i64().unwrap(), "{line}");
        let name = epollshim_format::errno::name((call >> 32) as u32);
        assert_eq!(name, line["errno"].as_str(), "{line}");
        assert_eq!(at(record::BEGAN), line["mono_ns"].as_u64().unwrap(), "{line}");
        if line["call"] == "epoll_ctl" {
            let arguments = at(record::ARGUMENTS);
            assert_eq!(arguments as u32 as i32 as i64, line["args"]["epfd"].as_i64().unwrap(), "{line}");
            assert_eq!((arguments >> 32) as i32 as i64, line["args"]["fd"].as_i64().unwrap(), "{line}");
        }
    }
}

#[test]
fn every_process_that_makes_an_epoll_call_has_a_file_and_no_other_has() {
    let directory = scratch("record-processes");
    let output = recorded(Path::new("/bin/sh"), &directory).args(["-c", "true; /bin/true"]).output().unwrap();
    assert!(output.status.success(), "{}", show(&output));
    assert!(files(&directory).is_empty());

    let program = c_program("fork_children");
    let (recordings, json) = (directory.join("rec"), directory.join("report.json"));
    let output = recorded(&program, &recordings)
        .env("EPOLLSHIM_REPORT", &json)
        .env("EPOLLSHIM_REPORT_FORMAT", "json")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", show(&output));
    let reports = testkit::reports(&json);
    let mut reported: Vec<(u64, u64)> = reports
        .iter()
        .map(|report| {
            let calls = report["calls"].as_object().unwrap().values().map(|call| call["calls"].as_u64().unwrap()).sum();
            (report["process"]["pid"].as_u64().unwrap(), calls)
        })
        .collect();
    reported.sort_unstable();
    let mut recorded: Vec<(u64, u64)> = files(&recordings)
        .iter()
        .map(|path| Recording::read(path))
        .map(|recording| (recording.word(header::PID), recording.all_calls()))
        .collect();
    recorded.sort_unstable();
    recorded.retain(|(pid, _)| reported.iter().any(|(known, _)| known == pid));
    assert_eq!(recorded, reported);
}

#[test]
fn a_directory_that_cannot_hold_a_recording_is_reported_before_main() {
    let directory = scratch("record-bad");
    let file = directory.join("file");
    std::fs::write(&file, "").unwrap();
    for (bad, why) in [(file, "ENOTDIR"), (directory.join("no/such"), "ENOENT")] {
        let output = recorded(Path::new("/bin/echo"), &bad).arg("ran").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{}", show(&output));
        assert_eq!(said, format!("epollshim: EPOLLSHIM_RECORD: cannot write in '{}': {why}\n", bad.display()));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_disk_that_is_full_stops_the_recording_and_not_the_program() {
    let program = c_program("known_counts");
    let Some(small) = Small::mount("record-full", "1m") else {
        eprintln!("skipped: a small file system needs root and mount");
        return;
    };
    let native = Command::new(&program).arg("16").output().unwrap();
    let output = recorded(&program, &small.0).arg("16").output().unwrap();
    assert_eq!(output.status, native.status, "{}", show(&output));
    assert_eq!(output.stdout, native.stdout);
    let recording = only(&small.0);
    let (threads, dropped) = (recording.segments(kind::THREAD).len() as u64, recording.word(header::THREADS_DROPPED));
    assert!(threads > 0 && dropped > 0, "{threads} threads, {dropped} dropped");
    assert_eq!(recording.word(header::TROUBLE), libc::ENOSPC as u64);
    let seen: u64 = recording.rings().iter().map(|(begun, _)| begun).sum();
    let json = scratch("record-full-report").join("report.json");
    let output = testkit::under_shim(Command::new(&program).arg("16"), &json).output().unwrap();
    assert!(output.status.success());
    let calls: u64 =
        report(&json)["calls"].as_object().unwrap().values().map(|call| call["calls"].as_u64().unwrap()).sum();
    assert_eq!(seen + recording.word(header::CALLS_DROPPED), calls, "seen + dropped = calls");
}
