//! The recording that keeps each call: seen and dropped records together are all calls, whatever
//! happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use epollshim_format::errno;
use epollshim_format::function::Function;
use epollshim_format::recording::{FIRST_SEGMENT, end, header, kind, record, stopped, thread};
use serde_json::Value;
use testkit::layout::{Recording, Small, files, only, recorded};
use testkit::{c_program, root, scratch, show, until};

fn full(program: &Path, directory: &Path) -> Command {
    let mut command = recorded(program, directory);
    command.env("EPOLLSHIM_RECORD_RING", "full");
    command
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", show(&output));
}

/// How many calls each process of `record_calls` has made, by its own count.
fn counted(path: &Path) -> BTreeMap<u64, u64> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(pid, calls)| (pid.parse().unwrap(), calls.parse().unwrap()))
        .collect()
}

fn recordings(directory: &Path) -> Vec<Recording> {
    files(directory).iter().map(|path| Recording::read(path)).collect()
}

/// Asserts that seen and dropped records are all calls, by the recording's counters and by the
/// program's.
fn is_exact(recording: &Recording, calls: u64) -> (u64, u64) {
    let (seen, dropped) = recording.seen_and_dropped();
    assert_eq!(recording.all_calls() + recording.word(header::CALLS_DROPPED), calls, "counters");
    assert_eq!(seen + dropped, calls, "{seen} seen, {dropped} dropped");
    (seen, dropped)
}

/// The output of `epollshim report` in this format.
fn report_as(path: &Path, format: &str) -> String {
    let command = testkit::shim().with_file_name("epollshim");
    let output = Command::new(command).arg("report").arg(path).args(["--format", format]).output().unwrap();
    assert!(output.status.success(), "{}", show(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Asserts that seen, overwritten and dropped records are all calls, in the report of each process
/// and in the merged one.
fn report_is_exact(path: &Path) -> Value {
    let report: Value = serde_json::from_str(&report_as(path, "json")).unwrap();
    for entry in report["processes"].as_array().unwrap().iter().chain([&report["merged"]]) {
        let records = entry["records"].as_object().unwrap();
        let of = |keys: &[&str]| keys.iter().map(|key| records[*key].as_u64().unwrap()).sum::<u64>();
        let calls: u64 = entry["calls"].as_object().unwrap().values().map(|call| call["calls"].as_u64().unwrap()).sum();
        assert_eq!(of(&["seen", "overwritten", "dropped"]), calls, "{records:?}");
        assert_eq!(of(&["unfinished", "left"]), 0, "{records:?}");
    }
    report
}

#[test]
fn every_call_of_threads_handlers_and_children_is_kept() {
    let directory = scratch("full-calls");
    let (counts, rec, log) = (directory.join("counts"), directory.join("rec"), directory.join("log.%p"));
    let mut command = full(&c_program("record_calls"), &rec);
    command.env("EPOLLSHIM_LOG", &log).env("EPOLLSHIM_LOG_FORMAT", "json");
    run(command.arg(&counts).args(["8", "1500"]));
    let counted = counted(&counts);
    assert_eq!(counted.len(), 4);
    let recordings = recordings(&rec);
    assert_eq!(recordings.len(), 4);
    for recording in recordings {
        let pid = recording.word(header::PID);
        assert_eq!(is_exact(&recording, counted[&pid]).1, 0);
        assert_eq!(recording.word(header::RECORDS_STOPPED), 0);
        equals_the_log(&recording, &directory.join(format!("log.{pid}")));
    }
    report_is_exact(&rec);
}

/// Each call: when it was made, which one, its arguments and its result.
fn equals_the_log(recording: &Recording, log: &Path) {
    let log = std::fs::read_to_string(log).unwrap();
    let mut lines: Vec<String> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["call"].as_str().is_some_and(|call| call.starts_with("epoll_")))
        .map(|line| {
            let argument = |name: &str| line["args"][name].as_i64().unwrap_or(0);
            let call = line["call"].as_str().unwrap();
            let second = if call == "epoll_ctl" { argument("fd") } else { argument("maxevents") };
            format!(
                "{} {call} epfd {} {second} = {} {}",
                line["mono_ns"],
                argument("epfd"),
                line["result"],
                line["errno"].as_str().unwrap_or("-")
            )
        })
        .collect();
    let mut records: Vec<String> = recording
        .kept()
        .iter()
        .flat_map(|thread| thread.records.values())
        .map(|words| {
            let at = |place: usize| words[place / 8];
            let function = Function::ALL[(at(record::CALL) & 0xff) as usize];
            let arguments = at(record::ARGUMENTS);
            let first = if function.creates() { 0 } else { i64::from(arguments as u32 as i32) };
            format!(
                "{} {} epfd {first} {} = {} {}",
                at(record::BEGAN),
                function.name(),
                (arguments >> 32) as i32,
                at(record::RESULT) as i64,
                errno::name((at(record::CALL) >> 32) as u32).unwrap_or("-")
            )
        })
        .collect();
    lines.sort();
    records.sort();
    assert_eq!(lines.len(), records.len());
    for (line, record) in lines.iter().zip(&records) {
        assert_eq!(line, record);
    }
}

#[test]
fn a_wait_s_timeout_is_recorded_to_the_nanosecond() {
    let directory = scratch("full-timeouts");
    run(full(&c_program("record_calls"), &directory.join("rec")).arg(directory.join("counts")).args(["1", "9", "1"]));
    let recording = only(&directory.join("rec"));
    let mut timeouts = BTreeMap::<(&str, u64), BTreeSet<u64>>::new();
    for words in recording.kept().iter().flat_map(|thread| thread.records.values()) {
        let function = Function::ALL[(words[record::CALL / 8] & 0xff) as usize];
        if function.waits() {
            timeouts.entry((function.name(), 0)).or_default().insert(words[record::EXTRA / 8]);
        }
    }
    assert_eq!(timeouts[&("epoll_pwait2", 0)], BTreeSet::from([1000]));
    assert_eq!(timeouts[&("epoll_wait", 0)], BTreeSet::from([0, 1_000_000, record::NO_TIMEOUT]));
}

#[test]
fn threads_that_come_and_go_share_their_places() {
    let directory = scratch("full-short");
    let (counts, rec) = (directory.join("counts"), directory.join("rec"));
    run(full(&c_program("record_calls"), &rec).arg(&counts).args(["8", "2", "3000"]));
    let recording = only(&rec);
    let calls = counted(&counts).into_values().sum();
    assert_eq!(is_exact(&recording, calls).1, 0);
    let threads = recording.segments(kind::THREAD).len();
    assert!(threads < 60, "{threads} segments for 3,000 threads");
    assert!(recording.0.len() < 16 << 20, "{} bytes", recording.0.len());
    std::fs::remove_dir_all(&rec).unwrap();
}

#[test]
fn more_threads_than_the_directory_has_places_for_lose_records_and_no_count() {
    let directory = scratch("full-crowd");
    let (counts, rec) = (directory.join("counts"), directory.join("rec"));
    run(full(&c_program("record_calls"), &rec).arg(&counts).args(["1100", "300", "1100"]));
    let recording = only(&rec);
    let calls = counted(&counts).into_values().sum();
    let (seen, dropped) = is_exact(&recording, calls);
    // A place holds the first segment of a thread, with 1,023 calls, or its second, with the other
    // 478. A second comes after a first, so two places hold at least 1,501 calls on average.
    let of = |kind: u64| recording.segments(kind).len();
    let places = (of(kind::THREAD) + of(kind::RECORDS)) as u64;
    assert!(seen >= places * 1_501 / 2 && dropped > 300_000, "{seen} seen in {places} places, {dropped} dropped");
    // Other parts need few places: 1,101 instances and as many interests fit into few parts, each
    // of which is created once.
    let firsts: BTreeSet<u64> = recording.segments(kind::INSTANCES).iter().map(|(_, _, first)| *first).collect();
    assert_eq!(of(kind::INSTANCES), firsts.len(), "a part of the table was made twice");
    assert!(places > 1_000, "{places} places");
    assert!(recording.word(header::THREADS_DROPPED) > 76, "1,100 threads, and 1,024 places");
    assert_eq!(recording.word(header::RECORDS_STOPPED), stopped::PLACES);
    assert!(report_as(&rec, "text").contains("all 1024 segments of the file are in use"));
    std::fs::remove_dir_all(&rec).unwrap();
}

#[test]
fn a_program_that_is_killed_leaves_every_call_that_has_returned() {
    let program = c_program("record_busy");
    let directory = scratch("full-kill");
    let page = directory.join("page");
    let mut checked = 0;
    for round in 0..50u64 {
        let rec = directory.join(format!("{round}"));
        std::fs::write(&page, [0u8; 4096]).unwrap();
        let mut child = full(&program, &rec).arg(&page).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(10_000 + round * 7919 % 150_000));
        // On a loaded machine the program may not have made its first call yet.
        let returned = || {
            let page = std::fs::read(&page).unwrap();
            (0..8).map(|thread| page[(2 * thread + 1) * 8]).any(|byte| byte != 0)
        };
        until("a call has returned", || returned().then_some(()));
        child.kill().unwrap();
        child.wait().unwrap();
        let page = std::fs::read(&page).unwrap();
        let word = |index: usize| u64::from_le_bytes(page[index * 8..index * 8 + 8].try_into().unwrap());
        let begun: u64 = (0..8).map(|thread| word(2 * thread)).sum();
        let returned: u64 = (0..8).map(|thread| word(2 * thread + 1)).sum();
        if returned == 0 {
            continue;
        }
        let bytes = std::fs::read(&files(&rec)[0]).unwrap();
        assert!(bytes.len() >= FIRST_SEGMENT, "round {round}");
        let recording = Recording(bytes);
        let (mut seen, mut taken) = (0, 0);
        for thread in recording.kept() {
            assert_eq!(thread.dropped, 0);
            seen += thread.records.len() as u64;
            taken += thread.taken;
            // One call may not have returned.
            assert!(thread.records.len() as u64 + 1 >= thread.taken, "round {round}");
        }
        assert!((returned..=begun).contains(&seen), "round {round}: {returned} <= {seen} <= {begun}");
        let calls = recording.all_calls();
        assert!((taken..=begun).contains(&calls), "round {round}: {taken} <= {calls} <= {begun}");
        assert_eq!(recording.word(header::END), end::NOT_YET);
        report_as(&rec, "text");
        std::fs::remove_dir_all(&rec).unwrap();
        checked += 1;
    }
    assert!(checked >= 40, "only {checked} were killed after their first call");
}

#[test]
fn the_file_never_grows_beyond_its_size_and_counts_dropped_records() {
    let program = c_program("record_calls");
    for (size, bytes) in [("64K", 64 << 10), ("1M", 1 << 20), ("3M", 3 << 20)] {
        let directory = scratch("full-cap");
        let (counts, rec) = (directory.join("counts"), directory.join("rec"));
        run(full(&program, &rec).env("EPOLLSHIM_RECORD_MAX", size).arg(&counts).args(["4", "9000", "4"]));
        let recording = only(&rec);
        let (_, dropped) = is_exact(&recording, counted(&counts).into_values().sum());
        assert!(dropped > 0, "{size}");
        assert_eq!(recording.word(header::RECORDS_STOPPED), stopped::MOST);
        assert_eq!(recording.word(header::TROUBLE), 0);
        let ends = recording.segments(kind::RECORDS).into_iter().map(|(start, length, _)| start + length);
        assert!(ends.max().unwrap_or(0) <= bytes, "{size}");
        // There was no page left for even one more record.
        assert!(recording.0.len() + 4096 > bytes, "{size}: {} bytes", recording.0.len());
        let text = report_as(&rec, "text");
        let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("the file has reached its maximum size"), "{text}");
        assert!(said.contains("raise EPOLLSHIM_RECORD_MAX"), "{text}");
        assert_eq!(report_is_exact(&rec)["merged"]["records"]["dropped"], dropped);
    }
}

#[test]
fn a_disk_that_becomes_full_stops_the_recording_which_counts_dropped_records() {
    let Some(small) = Small::mount("full-disk", "1m") else {
        eprintln!("skipped: a small file system needs root and mount");
        return;
    };
    let directory = scratch("full-disk-counts");
    let counts = directory.join("counts");
    // Only the recording uses the disk: the threads begin while there is space, and fill it.
    run(full(&c_program("record_calls"), &small.0).arg(&counts).args(["4", "9000", "4"]));
    let recording = only(&small.0);
    let (seen, dropped) = is_exact(&recording, counted(&counts).into_values().sum());
    assert!(seen > 4000 && dropped > 4000, "{seen} seen, {dropped} dropped");
    assert_eq!(recording.word(header::TROUBLE), libc::ENOSPC as u64);
    assert_eq!(recording.word(header::RECORDS_STOPPED), stopped::SPACE);
    let text = report_as(&small.0, "text");
    assert!(text.contains("the file could not grow: ENOSPC"), "{text}");
    assert!(text.contains(" call records dropped:"), "{text}");
    report_is_exact(&small.0);
}

/// Waits until a condition holds.
fn end_of_input(mut child: Child) {
    child.stdin.take().unwrap().flush().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", show(&output));
}

#[test]
fn a_disk_that_has_space_again_is_used_again() {
    let Some(small) = Small::mount("full-again", "1m") else {
        eprintln!("skipped: a small file system needs root and mount");
        return;
    };
    let counts = scratch("full-again-counts").join("counts");
    let mut command = full(&c_program("record_calls"), &small.0);
    command.arg(&counts).args(["2", "0", "2"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let now = || files(&small.0).first().map(|path| Recording(std::fs::read(path).unwrap()));
    let dropped = |recording: &Recording| -> u64 {
        recording.segments(kind::THREAD).iter().map(|(start, ..)| recording.word(start + thread::DROPPED)).sum()
    };
    let is_full = |file: &Recording| file.0.len() >= FIRST_SEGMENT && dropped(file) > 1000;
    until("the disk is full", || now().filter(is_full));
    let length = now().unwrap().0.len();
    assert!(Command::new("mount").args(["-o", "remount,size=4m"]).arg(&small.0).status().unwrap().success());
    until("the file grows again", || now().filter(|file| file.0.len() > length + (1 << 20)));
    // The new segments are reserved, and not filled yet.
    let calls = now().unwrap().all_calls();
    until("the calls go on", || now().filter(|file| file.all_calls() > calls + 40_000));
    end_of_input(child);
    let recording = only(&small.0);
    let (seen, dropped) = is_exact(&recording, counted(&counts).into_values().sum());
    // A megabyte holds at most 16,384 records.
    assert!(dropped > 1000 && seen > 16_384, "{seen} seen, {dropped} dropped");
    report_is_exact(&small.0);
}

#[test]
fn a_fork_in_a_handler_and_a_jump_out_of_one_leave_no_call_uncounted() {
    for (name, ring) in [
        ("fork_in_signal_handler", "full"),
        ("fork_in_signal_handler", "16"),
        ("signal_handlers", "full"),
        ("fork_children", "full"),
        ("fork_from_threads", "full"),
        ("vfork_child", "full"),
    ] {
        let rec = scratch("full-forks");
        let output = recorded(&c_program(name), &rec).env("EPOLLSHIM_RECORD_RING", ring).output().unwrap();
        assert!(output.status.success(), "{name}: {}", show(&output));
        let report: Value = serde_json::from_str(&report_as(&rec, "json")).unwrap();
        let processes = report["processes"].as_array().unwrap();
        assert!(!processes.is_empty());
        for process in processes {
            let of = |key: &str| process["records"][key].as_u64().unwrap();
            let counted: u64 =
                process["calls"].as_object().unwrap().values().map(|call| call["calls"].as_u64().unwrap()).sum();
            assert_eq!(of("seen") + of("overwritten") + of("dropped"), counted, "{name} {ring}: {process}");
            assert_eq!(of("dropped") + of("unfinished") + of("left"), 0, "{name} {ring}");
        }
    }
}

#[test]
fn a_handler_that_makes_a_thread_s_first_call_within_another_loses_neither() {
    let program = c_program("first_call_interrupted");
    for ring in [None, Some("full"), Some("16")] {
        let directory = scratch("full-first-call");
        let (rec, json) = (directory.join("rec"), directory.join("report.json"));
        let mut command = Command::new(&program);
        testkit::under_shim(&mut command, &json);
        if let Some(ring) = ring {
            command.env("EPOLLSHIM_RECORD", &rec).env("EPOLLSHIM_RECORD_RING", ring);
        }
        run(&mut command);
        let report = testkit::report(&json);
        assert_eq!(report["calls"]["epoll_create"]["calls"], 60, "{ring:?}");
        // The handler calls at least once per thread.
        let by_handler = report["calls"]["epoll_create1"]["calls"].as_u64().unwrap();
        assert!(by_handler >= 20, "{ring:?}: {by_handler}");
        if ring.is_some() {
            // One more call: the library tests with it for seccomp filters.
            assert_eq!(only(&rec).all_calls(), 1 + 60 + by_handler, "{ring:?}");
            report_is_exact(&rec);
        }
    }
}

#[test]
fn a_ring_of_sixteen_counts_how_many_it_has_overwritten() {
    let directory = scratch("ring-sums");
    let (counts, rec) = (directory.join("counts"), directory.join("rec"));
    let mut command = recorded(&c_program("record_calls"), &rec);
    run(command.env("EPOLLSHIM_RECORD_RING", "16").arg(&counts).args(["8", "500"]));
    let counted = counted(&counts);
    let report = report_is_exact(&rec);
    for process in report["processes"].as_array().unwrap() {
        let records = &process["records"];
        let of = |key: &str| records[key].as_u64().unwrap();
        assert_eq!(of("seen") + of("overwritten"), counted[&process["process"]["pid"].as_u64().unwrap()]);
        for thread in process["threads"].as_array().unwrap() {
            let begun = thread["records"]["begun"].as_u64().unwrap();
            assert_eq!(thread["records"]["seen"].as_u64().unwrap(), begun.min(16));
        }
    }
}

#[test]
fn full_segments_are_unmapped_and_a_report_of_them_uses_little_memory() {
    let directory = scratch("full-maps");
    let (counts, rec) = (directory.join("counts"), directory.join("rec"));
    let mut command = full(&c_program("record_calls"), &rec);
    command.arg(&counts).args(["2", "0", "2"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let length = || rec.is_dir() && files(&rec).first().is_some_and(|path| path.metadata().unwrap().len() > 100 << 20);
    until("100 MB are recorded", || length().then_some(()));
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap();
    let mapped: u64 = maps
        .lines()
        .filter(|line| line.ends_with(".rec"))
        .filter_map(|line| line.split(' ').next()?.split_once('-'))
        .map(|(from, to)| u64::from_str_radix(to, 16).unwrap() - u64::from_str_radix(from, 16).unwrap())
        .sum();
    end_of_input(child);
    assert!(mapped < 16 << 20, "{mapped} bytes are mapped");
    is_exact(&only(&rec), counted(&counts).into_values().sum());
    for format in ["text", "json", "html", "perfetto", "prometheus"] {
        report_within(200, &rec, format);
    }
    std::fs::remove_dir_all(&rec).unwrap();
}

/// Runs `epollshim report` with at most this much memory.
fn report_within(mebibytes: usize, path: &Path, format: &str) {
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -v {} && exec \"$@\" > /dev/null", mebibytes << 10), "sh"])
        .arg(testkit::shim().with_file_name("epollshim"))
        .arg("report")
        .arg(path)
        .args(["--format", format])
        .output()
        .unwrap();
    assert!(output.status.success(), "{format}: {}", show(&output));
}

#[test]
fn the_flags_of_run_are_those_options() {
    let rec = scratch("full-flags");
    let command: PathBuf = testkit::shim().with_file_name("epollshim");
    let output = Command::new(command)
        .args(["run", "--report", "none", "--record-ring", "full", "--record-max", "2M", "--record"])
        .arg(&rec)
        .arg("--")
        .arg(c_program("epoll_ctl"))
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", show(&output));
    let recording = only(&rec);
    assert_eq!((recording.word(header::RING), recording.word(header::RECORDS_MOST)), (0, 2 << 20));
}
