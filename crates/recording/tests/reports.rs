//! Reports in every format, of recordings that are made here by the layout alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/directory.rs"]
mod directory;

use std::fs;
use std::path::Path;

use common::{CODE, CallOf, Recording, SECOND, server, small};
use directory::{Directory, json, rendered};
use epollshim_format::call::Call;
use epollshim_format::recording::thread;
use epollshim_recording::{Format, Set, load, write_file};
use serde_json::Value;

#[test]
fn requests_from_outside_are_reported_with_the_number_of_damaged_ones() {
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

/// A report without what depends on the machine, the user, the time and the version. JSON is
/// indented, and the style sheet and the script of the page are left out.
fn reviewable(set: &Set, format: Format, directory: &Directory) -> String {
    let text = rendered(set, format).replace(directory.0.to_str().unwrap(), "/recordings");
    match format {
        Format::Json => {
            let mut report: Value = serde_json::from_str(&text).unwrap();
            for process in report["processes"].as_array_mut().unwrap() {
                process["recording"]["owner"] = serde_json::json!({ "uid": 0, "name": "OWNER" });
            }
            serde_json::to_string_pretty(&report).unwrap()
        }
        Format::Html => {
            let parts = [
                ("<style>", "</style>", "STYLE"),
                ("<script>", "</script>", "SCRIPT"),
                ("<dt>Report made by</dt>", "</dd>", "<dd>VERSION, TIME, HOST"),
            ];
            parts.iter().fold(text, |text, part| masked(&text, *part))
        }
        _ => text,
    }
}

/// Replaces the text between the first `start` and the `end` that follows it.
fn masked(text: &str, (start, end, mask): (&str, &str, &str)) -> String {
    let (before, rest) = text.split_once(start).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    format!("{before}{start}{mask}{end}{after}")
}

/// `INSTA_UPDATE=always` accepts a difference: .config/insta.yaml.
#[test]
fn the_report_of_two_processes_is_in_every_format_as_it_was_accepted() {
    let directory = Directory::new("snapshots");
    let set = two_servers(&directory);
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        for format in Format::ALL {
            insta::assert_snapshot!(format!("two-servers-{}", format.name()), reviewable(&set, format, &directory));
        }
    });
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
fn names_with_escape_sequences_or_markup_are_escaped() {
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
        (Format::Text, "1 more did not fit in the table of findings"),
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
fn suppressed_findings_are_in_no_format_and_each_rule_shows_its_count() {
    let directory = Directory::new("suppressed");
    let mut set = two_servers(&directory);
    set.suppress(b"# known\nghost:^/srv/server$\nctl-error:libloop.so\nnonsense\nsize-lie:serv*r\n");
    let counts: Vec<_> = set.suppressions.iter().map(|one| (one.rule.as_str(), one.findings)).collect();
    assert_eq!(counts, [("ghost:^/srv/server$", 1), ("ctl-error:libloop.so", 0), ("size-lie:serv*r", 2)]);
    for format in Format::ALL {
        let text = rendered(&set, format);
        for gone in ["but epoll_create promised", "error: ghost", "\"ghost\",severity", "type=\"error\""] {
            assert!(!text.contains(gone), "{format:?}: {gone} in\n{text}");
        }
    }
    let report = json(&set);
    // The second one is the reader's own finding about the killed process: an instance was open.
    assert_eq!(report["merged"]["findings"].as_array().unwrap().len(), 2);
    assert_eq!(report["suppressions"][1], serde_json::json!({"rule": "ctl-error:libloop.so", "findings": 0}));
    let end = "\nSuppressions: 2 used, 1 not used\n  1 finding    ghost:^/srv/server$\n  not used     ctl-error:libloop.so\n  \
               2 findings   size-lie:serv*r\n";
    assert!(rendered(&set, Format::Text).ends_with(end), "{}", rendered(&set, Format::Text));
    assert!(rendered(&set, Format::Html).contains("size-lie:serv*r"));
}
