//! Checks reports with the programs that read them: a browser, a Prometheus parser, and the rules
//! of trace events. Also checks places with the debug information of a compiled program. Tests
//! whose tools are not installed are skipped, and print that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{CODE, CallOf, Recording, SECOND, finding_of, server};
use epollshim_format::findings::{Id, Severity};
use epollshim_recording::{Format, Options, Set, load, load_with, write_file};
use object::{Object, ObjectSymbol};
use serde_json::Value;
use testkit::{browser, scratch};

fn servers(at: &Path) -> Set {
    fs::write(at.join("epollshim.4100.1.rec"), server(4100, SECOND, false).bytes).unwrap();
    fs::write(at.join("epollshim.4200.1.rec"), server(4200, SECOND + 20_000_000, true).bytes).unwrap();
    load(at).unwrap()
}

/// A test that needs what `make programs` does not install: a browser of 300 megabytes, for
/// example.
fn skipped(why: &str) {
    testkit::skipped(why, true);
}

#[test]
fn the_page_opens_in_a_browser_without_an_error_or_a_request_and_its_tables_sort() {
    let at = scratch("browser");
    let page = at.join("report.html");
    write_file(&servers(&at), Format::Html, &page).unwrap();
    let text = fs::read_to_string(&page).unwrap();
    browser::is_self_contained(&text);
    if !browser::opens(&text, &at) {
        skipped("no chromium here (apt-get install chromium): the HTML report was not opened");
    }
}

#[test]
fn the_tests_of_junit_are_read_by_an_xml_parser() {
    let at = scratch("junit");
    let evil = "\u{1b}]0;x\u{7}<b>\"&'\u{fffe}";
    let mut made = Recording::new(5, evil.as_bytes(), SECOND, 4);
    made.totals([0; 2], [0; 2], 0);
    made.findings(
        &[finding_of(Id::Leak, Severity::Info, 1, CODE + 2), finding_of(Id::Spin, Severity::Error, 1, CODE + 9)],
        0,
    );
    made.modules(&format!("{CODE:x} {:x} - /tmp/]]><img>&amp;\u{1b}[2J\n", CODE + 0x1000));
    fs::write(at.join("epollshim.5.5.rec"), made.bytes).unwrap();
    fs::write(at.join("epollshim.6.<&\">.rec"), b"nonsense").unwrap();
    let page = at.join("report.xml");
    write_file(&servers(&at), Format::Junit, &page).unwrap();
    let script = "import sys, xml.etree.ElementTree as tree\n\
        root = tree.parse(sys.argv[1]).getroot()\n\
        assert root.tag == 'testsuites', root.tag\n\
        suites = root.findall('testsuite')\n\
        for key, element in (('tests', 'testcase'), ('failures', 'testcase/failure'), ('errors', 'testcase/error')):\n\
        \tfor suite in suites: assert int(suite.get(key)) == len(suite.findall(element)), (key, suite.attrib)\n\
        \tassert int(root.get(key)) == sum(int(suite.get(key)) for suite in suites), key\n\
        print(len(suites), root.get('tests'), root.get('failures'), root.get('errors'), suites[0].get('name'))\n";
    let Ok(run) = Command::new("python3").arg("-c").arg(script).arg(&page).output() else {
        skipped("python3 is not installed: the XML was not parsed");
        return;
    };
    let (said, failed) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    let tests = 2 * Id::ALL.len() + 2;
    // Three kinds of both servers, and the spin of the hostile one, whose leak is only `info`.
    assert_eq!(said, format!("3 {tests} 4 1 ?]0;x?<b>\"&'?\n"), "{failed}");
}

#[test]
fn the_metrics_are_read_by_prometheus_own_parser() {
    let at = scratch("prometheus");
    let page = at.join("report.prom");
    write_file(&servers(&at), Format::Prometheus, &page).unwrap();
    let script = "import sys\n\
        try: from prometheus_client.parser import text_string_to_metric_families as parse\n\
        except ImportError: sys.exit(77)\n\
        for family in parse(open(sys.argv[1]).read()):\n\
        \tfor sample in family.samples: print(sample.name, sorted(sample.labels.items()), sample.value)\n";
    let run = Command::new("python3").arg("-c").arg(script).arg(&page).output();
    let Ok(run) = run else {
        skipped("python3 is not installed: the metrics were not parsed");
        return;
    };
    if run.status.code() == Some(77) {
        skipped("python3 has no prometheus_client (pip install prometheus_client): the metrics were not parsed");
        return;
    }
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let samples = String::from_utf8(run.stdout).unwrap();
    for wanted in [
        "epollshim_calls_total [('call', 'epoll_wait'), ('program', 'server')] 2042",
        "epollshim_call_errors_total [('call', 'epoll_wait'), ('errno', 'EINTR'), ('program', 'server')] 2",
        "epollshim_watches [('program', 'server')] 6",
        "epollshim_wait_blocked_seconds_bucket [('le', '+Inf'), ('program', 'server')] 2042",
        "epollshim_batch_events_bucket [('le', '1.0'), ('program', 'server')] 414",
    ] {
        assert!(samples.contains(wanted), "{wanted} in\n{samples}");
    }
}

#[test]
fn the_trace_keeps_the_rules_of_trace_events() {
    let at = scratch("perfetto");
    let page = at.join("trace.json");
    write_file(&servers(&at), Format::Perfetto, &page).unwrap();
    let trace: Value = serde_json::from_str(&fs::read_to_string(&page).unwrap()).unwrap();
    assert!(matches!(trace["displayTimeUnit"].as_str(), Some("ns" | "ms")));
    let events = trace["traceEvents"].as_array().unwrap();
    let (mut slices, mut named, mut counters, mut instants) = (0, Vec::new(), 0, 0);
    for event in events {
        assert!(event["pid"].is_u64() && event["tid"].is_u64() && event["name"].is_string(), "{event}");
        match event["ph"].as_str().unwrap() {
            "M" => {
                assert!(matches!(event["name"].as_str(), Some("process_name" | "thread_name")), "{event}");
                assert!(event["args"]["name"].is_string(), "{event}");
                named.push((event["pid"].clone(), event["tid"].clone()));
            }
            "X" => {
                slices += 1;
                assert!(event["ts"].as_f64().unwrap() >= 0.0 && event["dur"].as_f64().unwrap() >= 0.0, "{event}");
                assert!(event["args"].is_object() && event["cat"].is_string(), "{event}");
                assert!(
                    named.contains(&(event["pid"].clone(), event["tid"].clone())),
                    "a track without a name: {event}"
                );
            }
            "C" => {
                counters += 1;
                assert!(event["args"].as_object().unwrap().values().all(Value::is_u64), "{event}");
            }
            "i" => {
                instants += 1;
                assert!(event["ts"].as_f64().unwrap() >= 0.0 && event["s"] == "p", "{event}");
                assert!(event["args"]["message"].is_string(), "{event}");
            }
            other => panic!("phase {other}"),
        }
    }
    assert_eq!(slices, 2 * (63 + 43));
    assert!(counters > 4);
    assert_eq!(instants, 3, "findings that were met; what is judged at the end has no time");
    let add = events.iter().find(|event| event["args"]["op"] == "EPOLL_CTL_ADD").unwrap();
    assert_eq!(add["args"]["events"], "EPOLLIN|EPOLLET");
}

const PROGRAM: &str = "int counted;\n\n__attribute__((noinline)) int serve(void)\n{\n    counted++;\n    return counted;\n}\n\nint main(void)\n{\n    return serve();\n}\n";

fn run(program: &str, arguments: &[&str], at: &Path) {
    let status = Command::new(program).args(arguments).current_dir(at).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

/// A recording with one call from within `serve`, as if `program` had been mapped.
fn recorded(program: &Path, build_id: &str) -> Vec<u8> {
    let bytes = fs::read(program).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let symbol = file.symbols().chain(file.dynamic_symbols()).find(|symbol| symbol.name() == Ok("serve")).unwrap();
    // After the first instruction of the increment, on line 5.
    let caller = CODE + symbol.address() + 7;
    let mut made = Recording::new(60, b"serve", SECOND, 16);
    made.totals([0; 2], [0; 2], 0);
    made.thread(60, &[CallOf::wait(SECOND + 5, 10, 3, 1, caller)]);
    made.modules(&format!("{CODE:x} {:x} {build_id} {}\n", CODE + 0x10_0000, program.display()));
    made.bytes
}

fn site(recording: &[u8], at: &Path, options: &Options) -> String {
    let path = at.join("epollshim.60.1.rec");
    fs::write(&path, recording).unwrap();
    let set = load_with(&path, options).unwrap();
    let process = &set.processes[0];
    process.site(process.threads[0].records[0].caller).unwrap().best()
}

#[test]
fn a_site_is_a_function_and_a_line_by_the_recorded_build_id_also_when_the_program_is_gone() {
    if testkit::installed(["cc", "objcopy"]).is_none() {
        return;
    }
    let at = scratch("sites");
    fs::write(at.join("serve.c"), PROGRAM).unwrap();
    run("cc", &["-g", "-O0", "-pie", "-fPIE", "-rdynamic", "-Wl,--build-id=sha1", "-o", "serve", "serve.c"], &at);
    let program = at.join("serve");
    let bytes = fs::read(&program).unwrap();
    let build_id = object::File::parse(&*bytes).unwrap().build_id().unwrap().unwrap().to_vec();
    let digits: String = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let made = recorded(&program, &digits);
    let plain = Options::default();
    let line = |place: &str| place.starts_with("serve (") && place.ends_with("/serve.c:5)");
    let place = site(&made, &at, &plain);
    assert!(line(&place), "{place}");

    let other = recorded(&program, &"ab".repeat(20));
    assert!(site(&other, &at, &plain).starts_with("serve+0x"), "another build id: only the object and the offset");
    assert_eq!(site(&made, &at, &Options { raw: true, ..Options::default() }), site(&other, &at, &plain));

    // Its debug file is kept. The program is stripped, then removed.
    let kept = at.join("kept");
    let debug = kept.join(".build-id").join(&digits[..2]).join(format!("{}.debug", &digits[2..]));
    fs::create_dir_all(debug.parent().unwrap()).unwrap();
    run("objcopy", &["--only-keep-debug", "serve", debug.to_str().unwrap()], &at);
    run("objcopy", &["--strip-all", "serve", "stripped"], &at);
    fs::rename(at.join("stripped"), &program).unwrap();
    let place = site(&made, &at, &plain);
    assert!(place.starts_with("serve+0x"), "a stripped object has its dynamic symbol: {place}");
    let options = Options { debug: vec![kept], ..Options::default() };
    assert!(line(&site(&made, &at, &options)));
    fs::remove_file(&program).unwrap();
    let place = site(&made, &at, &options);
    assert!(line(&place), "{place}");
    // A file that the recording names is not opened if it is not a plain file.
    run("mkfifo", &["serve"], &at);
    assert!(line(&site(&made, &at, &options)));
}
