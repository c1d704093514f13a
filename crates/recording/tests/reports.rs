//! What a user sees of recordings that were made by the layout: whole ones, wrapped ones, killed ones, broken ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{CODE, CallOf, Recording, SECOND, finding_of, full, server, small};
use epollshim_format::call::Call;
use epollshim_format::findings::{Finding, Id, Severity};
use epollshim_format::recording::{
    FIRST_SEGMENT, PAGE, VERSION, area, finding, findings, header, kind, record, thread,
};
use epollshim_recording::{Error, Format, Set, load, read, render, write_file};
use serde_json::Value;

/// A directory of its own, gone at the end.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new(name: &str) -> Directory {
        let path = testkit::scratch("files").join(format!("{name}.{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn requests_from_outside_are_told_and_so_is_that_some_were_damaged() {
    let directory = Directory::new("control");
    let set = load(&directory.put("epollshim.1.1.rec", &server(1, SECOND, true).bytes)).unwrap();
    let text = rendered(&set, Format::Text);
    assert!(text.contains("\nControl: 49 requests from outside, 43 IGNORED (control page damaged)\n"), "{text}");
    assert_eq!(json(&set)["processes"][0]["control"], serde_json::json!({ "requests": 49, "damaged": 43 }));
    let set = load(&directory.put("epollshim.2.1.rec", &small().bytes)).unwrap();
    assert!(!rendered(&set, Format::Text).contains("Control:"));
    assert!(json(&set)["processes"][0].get("control").is_none());
}

fn two_servers(directory: &Directory) -> Set {
    directory.put("epollshim.4100.1.rec", &server(4100, SECOND, false).bytes);
    directory.put("epollshim.4200.2.rec", &server(4200, 2 * SECOND, true).bytes);
    load(&directory.0).unwrap()
}

fn rendered(set: &Set, format: Format) -> String {
    let mut out = Vec::new();
    render(set, format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn json(set: &Set) -> Value {
    serde_json::from_str(&rendered(set, Format::Json)).unwrap()
}

/// Compares with a file that is committed; EPOLLSHIM_BLESS=1 writes it.
fn golden(name: &str, got: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("EPOLLSHIM_BLESS").is_some() {
        fs::write(&path, got).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(got, wanted, "{} differs; EPOLLSHIM_BLESS=1 accepts what is shown", path.display());
}

#[test]
fn the_text_of_two_processes_is_as_it_was_accepted() {
    let directory = Directory::new("golden-text");
    let text = rendered(&two_servers(&directory), Format::Text);
    golden("two-servers.txt", &text);
}

#[test]
fn each_process_has_the_keys_of_an_exit_report_and_the_merged_view_their_sums() {
    let directory = Directory::new("json-keys");
    let report = json(&two_servers(&directory));
    assert_eq!(report["schema"], "epollshim.report/1");
    let processes = report["processes"].as_array().unwrap();
    assert_eq!(processes.len(), 2);
    for process in processes {
        for key in
            ["schema", "process", "calls", "instances", "watches", "waits", "kernel_memory", "findings", "coverage"]
        {
            assert!(!process[key].is_null(), "{key}");
        }
        for key in ["log", "suppressions"] {
            assert_eq!(process.get(key), Some(&Value::Null), "{key} is in no recording");
        }
        for key in ["limits", "faults"] {
            assert_eq!(process[key], serde_json::json!([]), "{key}");
        }
        for key in ["pid", "ppid", "comm", "exe", "argv", "start_unix_ns", "duration_ns", "end", "seed"] {
            assert!(process["process"].get(key).is_some(), "{key}");
        }
        for key in ["calls", "errors", "injected", "limited", "latency_ns"] {
            assert!(process["calls"]["epoll_wait"].get(key).is_some(), "{key}");
        }
        for key in [
            "id",
            "epfds",
            "call",
            "size",
            "cloexec",
            "site",
            "watches",
            "peak_watches",
            "waits",
            "events",
            "empty",
            "full",
            "interrupted",
            "kernel_bytes",
        ] {
            assert!(process["instances"]["list"][0].get(key).is_some(), "{key}");
        }
        assert_eq!(process["process"]["argv"], serde_json::json!(["server", "--port", "80"]));
        assert_eq!(process["calls"]["epoll_wait"]["errors"]["EINTR"], 1);
        assert_eq!(process["calls"]["epoll_wait"]["calls"], 1021);
        assert_eq!(process["calls"]["epoll_ctl"]["latency_ns"], Value::Null);
        assert_eq!(
            process["watches"],
            serde_json::json!(
            {"added":17,"modified":0,"deleted":4,"vanished":2,"live":3,"peak":7})
        );
        assert_eq!(process["instances"]["list"][0]["site"], "server+0x1010");
        assert_eq!(process["instances"]["list"][0]["waits"], 100);
        assert_eq!(process["instances"]["list"][0]["watched_fds"], serde_json::json!([4, 7, 8]));
        let records = &process["records"];
        let sum = ["seen", "overwritten", "dropped", "unfinished"]
            .iter()
            .map(|key| records[key].as_u64().unwrap())
            .sum::<u64>();
        assert_eq!(sum, records["begun"].as_u64().unwrap(), "seen + dropped = calls");
    }
    assert_eq!(processes[0]["process"]["end"], "exit");
    assert_eq!(processes[0]["process"]["duration_ns"], 50_000_000);
    assert_eq!(processes[1]["process"]["end"], "signal");
    assert_eq!(processes[1]["process"]["duration_ns"], 40_030_000 + 5 * 900);
    let merged = &report["merged"];
    assert_eq!(merged["calls"]["epoll_wait"]["calls"], 2042);
    assert_eq!(merged["watches"]["live"], 6);
    assert_eq!(merged["processes"], 2);
    let wait = merged["sites"].as_array().unwrap().iter().find(|site| site["site"] == "libloop.so+0x2f0").unwrap();
    assert_eq!(wait["calls"]["epoll_wait"], 2 * (63 + 21));
}

#[test]
fn a_ring_that_has_wrapped_gives_the_last_calls_in_order() {
    let mut made = Recording::new(9, b"ring", SECOND, 16);
    made.totals([0; 2], [0; 2], 0);
    let calls: Vec<CallOf> =
        (0..100u64).map(|step| CallOf::wait(SECOND + step * 10, 1, 3, step as i64, CODE)).collect();
    let at = made.thread(9, &calls);
    // Number 99 is half written: its place still tells number 83.
    made.word(at + thread::RING + 99 % 16 * record::SIZE + record::NUMBER, 84);
    let process = read(&made.bytes).unwrap();
    let results: Vec<i64> = process.threads[0].records.iter().map(|record| record.result).collect();
    assert_eq!(results, (84..99).collect::<Vec<i64>>());
    assert_eq!((process.threads[0].overwritten, process.threads[0].unfinished), (84, 1));
}

#[test]
fn where_each_call_is_kept_all_areas_are_one_and_what_is_dropped_is_told_with_its_remedy() {
    let process = read(&full(4300, SECOND).bytes).unwrap();
    let told: Vec<[u64; 5]> = process
        .threads
        .iter()
        .map(|thread| [thread.begun, thread.seen, thread.dropped, thread.overwritten, thread.unfinished])
        .collect();
    assert_eq!(told, [[1253, 1213, 40, 0, 0], [20, 20, 0, 0, 0]]);
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
        "    - 40 records of single calls were dropped:\n      the file has the size that it may have, 1.00 MiB: raise\n",
        "Records of single calls: 1,233 left, 40 dropped\n",
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
fn records_that_are_not_whole_or_belong_to_no_thread_are_told() {
    let mut made = Recording::new(9, b"keeper", SECOND, 0);
    made.totals([0; 2], [0; 2], 0);
    let calls: Vec<CallOf> = (0..1100u64).map(|step| CallOf::wait(SECOND + step * 10, 1, 3, 0, CODE)).collect();
    let (at, areas) = made.thread_full(9, &calls, &[8192]);
    // One was being written, another tells a number that is not its place's.
    made.word(areas[0] + area::RECORDS + 7 * record::SIZE + record::NUMBER, 0);
    made.word(areas[1] + area::RECORDS + record::NUMBER, 5);
    // More calls than records: one is under way.
    made.word(at + thread::CALLS + Call::Wait as usize * 8, 1101);
    made.segment(kind::RECORDS, 4096, 17);
    let process = read(&made.bytes).unwrap();
    let thread = &process.threads[0];
    assert_eq!((thread.begun, thread.seen, thread.unfinished, thread.left()), (1100, 1098, 2, 1));
    assert_eq!(process.notes.kept, ["segment 3: left out, there is no thread that these records are of"]);
    // Cut within the second area.
    let process = read(&made.bytes[..areas[1] + area::RECORDS + 10 * record::SIZE + 30]).unwrap();
    assert_eq!((process.threads[0].begun, process.threads[0].seen), (1100, 1022 + 9));
    assert!(process.notes.kept[0].contains("(records): the file holds"), "{:?}", process.notes.kept);
}

#[test]
fn a_file_that_ends_early_gives_what_it_holds_and_says_what_not() {
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
fn what_is_no_recording_is_told_with_file_and_place() {
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
        ("other.rec", other.bytes, "at byte 16: written on a machine of ELF number 183"),
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
        "segment 4: left out, it overlaps",
        "segment 5: left out, it cannot",
        "segment 6: left out, it cannot",
        "segment 7 (a thread): the file holds 0",
        "segment 8: left out, it cannot",
    ] {
        assert!(notes.contains(wanted), "{wanted} in\n{notes}");
    }
}

#[test]
fn a_value_that_a_fault_made_up_is_no_failure_and_made_nothing() {
    let mut made = Recording::new(8, b"faults", SECOND, 4);
    made.totals([0; 2], [0; 2], 0);
    let at = made.thread(8, &[CallOf::create(SECOND + 1, 3, CODE), CallOf::create(SECOND + 9, 4, CODE)]);
    made.word(at + thread::OF_CALLS + Call::Create1 as usize * thread::CALL_SIZE + thread::CALL_MADE_UP, 1);
    let directory = Directory::new("made-up");
    let report = json(&load(&directory.put("epollshim.8.8.rec", &made.bytes)).unwrap());
    assert_eq!(report["merged"]["calls"]["epoll_create1"]["calls"], 2);
    assert_eq!(report["merged"]["instances"]["created"], 1);
}

#[test]
fn names_that_would_command_a_terminal_or_a_page_do_not() {
    let evil = b"\x1b]0;x\x07<b>\"&'";
    let mut made = Recording::new(5, evil, SECOND, 4);
    made.arguments(&[b"</script><script>alert(1)</script>", b"a\nb\"c\\", b"\xff\xfe"]);
    made.totals([0; 2], [0; 2], 0);
    made.thread(5, &[CallOf::wait(SECOND + 5, 3, 3, 1, CODE + 0x10)]);
    made.modules(&format!("{CODE:x} {:x} - /tmp/<img src=x onerror=alert(1)>\x1b[2J\n", CODE + 0x1000));
    let directory = Directory::new("evil");
    let set = load(&directory.put("epollshim.5.5.rec", &made.bytes)).unwrap();
    for format in Format::ALL {
        let text = rendered(&set, format);
        let commands = text.chars().filter(|letter| letter.is_control() && *letter != '\n').count();
        assert_eq!(commands, 0, "{format:?}");
        if format == Format::Html {
            assert!(!text.contains("x?<b>") && !text.contains("<img") && !text.contains("alert(1)</script>"), "{text}");
        }
    }
    assert_eq!(json(&set)["processes"][0]["process"]["comm"], std::str::from_utf8(evil).unwrap());
}

#[test]
fn a_report_file_is_replaced_whole_or_not_at_all() {
    let directory = Directory::new("atomic");
    let set = load(&directory.put("epollshim.77.2.rec", &small().bytes)).unwrap();
    let path = directory.put("out.prom", b"old");
    write_file(&set, Format::Prometheus, &path).unwrap();
    assert!(fs::read_to_string(&path).unwrap().ends_with("\nepollshim_unread_recordings 0\n"));
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 2, "no temporary file stays");
    assert!(write_file(&set, Format::Json, &directory.0.join("no/such/place")).is_err());
    write_file(&set, Format::Json, Path::new("/dev/null")).unwrap();
}

#[test]
fn findings_are_in_every_format_and_those_of_one_site_are_one() {
    let directory = Directory::new("findings");
    let set = two_servers(&directory);
    let report = json(&set);
    let ids = |findings: &Value| -> Vec<(String, u64)> {
        let findings = findings.as_array().unwrap().iter();
        findings.map(|one| (one["id"].as_str().unwrap().to_owned(), one["count"].as_u64().unwrap())).collect()
    };
    let pairs = |of: &[(&str, u64)]| of.iter().map(|(id, count)| ((*id).to_owned(), *count)).collect::<Vec<_>>();
    assert_eq!(ids(&report["processes"][0]["findings"]), pairs(&[("ctl-error", 2), ("size-lie", 1)]));
    let killed = [("ghost", 3), ("ctl-error", 40), ("size-lie", 1), ("leak", 1)];
    assert_eq!(ids(&report["processes"][1]["findings"]), pairs(&killed));
    let merged = &report["merged"]["findings"];
    assert_eq!(ids(merged), pairs(&[("ghost", 3), ("ctl-error", 42), ("size-lie", 2), ("leak", 1)]));
    assert_eq!((&merged[0]["processes"], &merged[1]["processes"]), (&1.into(), &2.into()));
    assert_eq!((&merged[0]["site"], &merged[0]["other_site"]), (&"server+0x1130".into(), &"server+0x1204".into()));
    assert_eq!((&merged[0]["epfd"], &merged[0]["fd"], &merged[2]["fd"]), (&5.into(), &7.into(), &Value::Null));
    for (format, wanted) in [
        (Format::Text, "Findings: 1 error, 2 warnings"),
        (Format::Text, "1 more found no place in the table of findings"),
        (Format::Html, "epoll_ctl(EPOLL_CTL_ADD) failed with EEXIST"),
        (Format::Perfetto, "\"error: ghost\""),
        (Format::Prometheus, "epollshim_findings{program=\"server\",id=\"ghost\",severity=\"error\"} 1\n"),
        (Format::Junit, "<testcase classname=\"server\" name=\"spin\" time=\"0\"/>"),
        (Format::Folded, "server;findings;ghost;server+0x1130 3\n"),
        (Format::Junit, "<failure type=\"warning\" message=\"epoll_ctl(EPOLL_CTL_ADD) failed with EEXIST"),
        (Format::Junit, "error: 3 times, epfd 5, fd 7, closed at server+0x1130, registered at server+0x1204: "),
    ] {
        let text = rendered(&set, format);
        assert!(text.contains(wanted), "{format:?}: {wanted} in\n{text}");
    }
}

#[test]
fn suppressed_findings_are_in_no_format_and_each_rule_tells_what_it_did() {
    let directory = Directory::new("suppressed");
    let mut set = two_servers(&directory);
    set.suppress(b"# known\nghost:^/srv/server$\nctl-error:libloop.so\nnonsense\nsize-lie:serv*r\n");
    let told: Vec<_> = set.suppressions.iter().map(|one| (one.rule.as_str(), one.findings)).collect();
    assert_eq!(told, [("ghost:^/srv/server$", 1), ("ctl-error:libloop.so", 0), ("size-lie:serv*r", 2)]);
    for format in Format::ALL {
        let text = rendered(&set, format);
        for gone in ["where epoll_create promised", "error: ghost", "\"ghost\",severity", "type=\"error\""] {
            assert!(!text.contains(gone), "{format:?}: {gone} in\n{text}");
        }
    }
    let report = json(&set);
    // Besides, what the reader has judged of the one that was killed: an instance was open.
    assert_eq!(report["merged"]["findings"].as_array().unwrap().len(), 2);
    assert_eq!(report["suppressions"][1], serde_json::json!({"rule": "ctl-error:libloop.so", "findings": 0}));
    let end = "\nSuppressions: 2 used, 1 not used\n  1 finding    ghost:^/srv/server$\n  not used     ctl-error:libloop.so\n  \
               2 findings   size-lie:serv*r\n";
    assert!(rendered(&set, Format::Text).ends_with(end), "{}", rendered(&set, Format::Text));
    assert!(rendered(&set, Format::Html).contains("size-lie:serv*r"));
}

#[test]
fn entries_of_findings_that_nobody_wrote_are_passed_over() {
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
        // Numbers that no program has make no report fail.
        assert!(!rendered(&set, format).is_empty(), "{format:?}");
    }
}

#[test]
fn what_could_not_be_read_is_an_error_of_the_tests_too() {
    let directory = Directory::new("junit-unread");
    directory.put("epollshim.1.1.rec", b"nonsense");
    directory.put("epollshim.77.2.rec", &small().bytes);
    let text = rendered(&load(&directory.0).unwrap(), Format::Junit);
    assert!(text.contains("<testsuites name=\"epollshim\" tests=\"24\" failures=\"0\" errors=\"1\">"), "{text}");
    assert!(text.contains("<error type=\"read\" message=\"recordings could not be read\">"), "{text}");
    assert!(text.contains("epollshim.1.1.rec: at byte 0: not a recording"), "{text}");
}
