//! The log: what its lines say is what strace says of the same calls; none is lost uncounted, none is torn or mixed; and
//! whatever trouble it is in, the program does what it does without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use testkit::installed;
use testkit::{c_program, reports, root, scratch, shim, show};

macro_rules! built_once {
    ($($name:ident: $program:literal;)*) => {
        $(fn $name() -> &'static Path {
            static BINARY: OnceLock<PathBuf> = OnceLock::new();
            BINARY.get_or_init(|| c_program($program))
        })*
    };
}

built_once! {
    walk: "log_walk";
    corners: "log_corners";
    troubles: "log_troubles";
    generations: "log_generations";
    known_counts: "known_counts";
}

/// Much longer than any program here takes, and than what it waits once (2 s); much shorter than if it waited at each line.
const PATIENCE: Duration = Duration::from_secs(100);

/// A program with a log, and where its report goes.
struct Logged {
    command: Command,
    report: PathBuf,
}

impl Logged {
    fn new(program: &Path, arguments: &[&str], log: impl AsRef<OsStr>) -> Logged {
        let mut command = bare(program, arguments);
        let report = scratch("report").join("report.json");
        testkit::under_shim(&mut command, &report).env("EPOLLSHIM_LOG", log);
        Logged { command, report }
    }

    fn with(mut self, name: &str, value: &str) -> Logged {
        self.command.env(name, value);
        self
    }

    /// Runs to the end, and gives the reports as well.
    fn run(mut self) -> (Output, Vec<Value>) {
        let output = self.command.output().unwrap();
        (output, reports(&self.report))
    }
}

fn bare(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("EPOLLSHIM_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn read(path: &Path) -> String {
    String::from_utf8(std::fs::read(path).unwrap_or_default()).unwrap()
}

/// Lines written and dropped, and the epoll calls that were made, by a report.
fn tally(report: &Value) -> (u64, u64, u64) {
    let calls = report["calls"].as_object().unwrap().values().map(|call| call["calls"].as_u64().unwrap()).sum();
    (report["log"]["written"].as_u64().unwrap(), report["log"]["dropped"].as_u64().unwrap(), calls)
}

/// The same status and the same words on standard output.
#[track_caller]
fn same_as_bare(bare: &Output, logged: &Output) {
    assert!(!String::from_utf8_lossy(&bare.stdout).contains("FAIL"), "{}", show(bare));
    assert_eq!(logged.status, bare.status, "{}", show(logged));
    let [bare, shimmed] = [bare, logged].map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    for (bare, shimmed) in bare.lines().zip(shimmed.lines()) {
        assert_eq!(shimmed, bare);
    }
    assert_eq!(shimmed.lines().count(), bare.lines().count());
}

// --- what a line says -----------------------------------------------------------------------------------------

/// A line of the text log, taken apart: `[pid P tid T] CALL(ARGUMENTS) = RESULT<duration>`, and marks.
#[derive(Debug)]
struct Line {
    pid: u64,
    call: String,
    /// `CALL(ARGUMENTS) = RESULT`, and the errno with its text.
    said: String,
    has_duration: bool,
    injected: bool,
    limited: bool,
}

/// None: it is no whole line of one call.
fn line(text: &str) -> Option<Line> {
    let rest = text.strip_prefix("[pid ")?;
    if rest.contains("[pid ") || rest.contains(|letter: char| !letter.is_ascii() || letter.is_ascii_control()) {
        return None;
    }
    let (pid, rest) = rest.split_once(" tid ")?;
    let (tid, rest) = rest.split_once("] ")?;
    tid.parse::<u64>().ok()?;
    let (rest, limited) = rest.strip_suffix(" (LIMITED)").map_or((rest, false), |rest| (rest, true));
    let (rest, signalled) = rest.strip_suffix(" (SIGNALLED)").map_or((rest, false), |rest| (rest, true));
    let (rest, delayed) = rest.strip_suffix(" (DELAYED)").map_or((rest, false), |rest| (rest, true));
    let (rest, made_up) = rest.strip_suffix(" (INJECTED)").map_or((rest, false), |rest| (rest, true));
    let injected = signalled || delayed || made_up;
    let (rest, has_duration) = match rest.strip_suffix('>').and_then(|rest| rest.rsplit_once(" <")) {
        Some((rest, time)) if time.split_once('.').is_some_and(|(_, part)| part.len() == 6) => (rest, true),
        Some(_) => return None,
        None => (rest, false),
    };
    let (call, arguments) = rest.split_once('(')?;
    let (_, result) = arguments.rsplit_once(") = ")?;
    let (number, errno) = result.split_once(' ').map_or((result, None), |(number, errno)| (number, Some(errno)));
    match number.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok()?,
        None => number.parse::<i64>().ok()?,
    };
    match errno {
        // `= 0x2 (flags O_RDWR)`
        Some(name) if name.starts_with('(') => _ = name.strip_suffix(')')?,
        Some(errno) => {
            let (name, text) = errno.split_once(" (")?;
            if number != "-1" || !name.starts_with('E') || !text.ends_with(')') {
                return None;
            }
        }
        None => {}
    }
    Some(Line { pid: pid.parse().ok()?, call: call.to_owned(), said: rest.to_owned(), has_duration, injected, limited })
}

/// Every line of a log, each whole.
#[track_caller]
fn lines(log: &str) -> Vec<Line> {
    assert!(log.is_empty() || log.ends_with('\n'), "the last line is cut");
    log.lines().map(|text| line(text).unwrap_or_else(|| panic!("no line of one call: {text:?}"))).collect()
}

/// strace's lines of the calls that this log tells of, in the log's own words:
///
/// | strace | the log |
/// |---|---|
/// | `10 call`, ` <0.000010>` (-f, -T) | left away here; its own `[pid P tid T]` and `<...>` too |
/// | `data={u32=5, u64=5}` | `data=0x5` |
/// | `epoll_pwait(..., mask, 8)`: the size of the kernel's mask | told where the program gave another |
/// | a time or a mask of a call that failed: its address | its value, where it can be read |
/// | all events of a wait | the first 16, and `...` |
/// | a plain number | the same with `<kind>` behind the descriptor of an epoll_ctl, left away here |
fn strace_in_our_words(log: &str) -> Vec<String> {
    log.lines()
        .filter_map(|line| {
            let line = line.split_once(' ').unwrap().1.trim_start();
            if line.starts_with("+++") || line.starts_with("---") {
                return None;
            }
            let line = line.rsplit_once(" <").map_or(line, |(line, _)| line);
            let (call, result) = line.rsplit_once("= ").unwrap();
            let mut call = call.trim_end().to_owned();
            if call.starts_with("epoll_pwait") {
                call = call.replace(", 8)", ")");
            }
            while let Some((before, rest)) = call.split_once("data={u32=") {
                let (_, rest) = rest.split_once("u64=").unwrap();
                let (number, rest) = rest.split_once('}').unwrap();
                call = format!("{before}data={:#x}{rest}", number.parse::<u64>().unwrap());
            }
            Some(format!("{call} = {result}"))
        })
        .collect()
}

fn without_kinds(said: &str) -> String {
    let mut out = String::new();
    let mut rest = said;
    while let Some((before, after)) = rest.split_once('<') {
        out += before;
        rest = after.split_once('>').unwrap().1;
    }
    out + rest
}

/// Runs a program under the shim and strace at once. What strace says, and what the log says.
fn traced(program: &Path, arguments: &[&str], calls: &str) -> Option<(Vec<String>, Vec<Line>)> {
    let [strace] = installed(["strace"])?;
    let dir = scratch("traced");
    let (trace, log) = (dir.join("strace"), dir.join("log"));
    let mut command = bare(&strace, &["-f", "-T", "-v", "-e", "signal=none", "-e", &format!("trace={calls}"), "-o"]);
    command.arg(&trace);
    // To descriptor 2: a file would be opened and closed for each line, and strace would see that too.
    for (name, value) in [
        ("LD_PRELOAD", shim().to_str().unwrap()),
        ("EPOLLSHIM_REPORT", "none"),
        ("EPOLLSHIM_LOG", "stderr"),
        ("EPOLLSHIM_LOG_FILTER", calls),
    ] {
        command.arg("-E").arg(format!("{name}={value}"));
    }
    let output = command.arg(program).args(arguments).stderr(File::create(&log).unwrap()).output().unwrap();
    assert!(output.status.success(), "{}{}", show(&output), read(&log));
    // strace itself complains there of addresses that it cannot read.
    let said: String =
        read(&log).lines().filter(|line| line.starts_with("[pid ")).map(|line| format!("{line}\n")).collect();
    Some((strace_in_our_words(&read(&trace)), lines(&said)))
}

/// A line with a star in place of each time, mask and address behind the third argument.
fn without_values(line: &str) -> String {
    let mut arguments = line.splitn(4, ", ");
    let first: Vec<&str> = arguments.by_ref().take(3).collect();
    let (rest, result) = arguments.next().unwrap().rsplit_once(") = ").unwrap();
    let rest = rest.replace("tv_sec=", "").replace(", tv_nsec=", " ");
    let is_value = |word: &&str| word.starts_with(['{', '[', '~']) || word.starts_with("0x");
    let rest: Vec<&str> = rest.split(", ").map(|word| if is_value(&word) { "*" } else { word }).collect();
    format!("{}, {}) = {result}", first.join(", "), rest.join(", "))
}

/// What strace says of one call is what the log says.
#[track_caller]
fn agree(strace: &str, log: &Line) {
    let said = without_kinds(&log.said);
    if let Some((first, rest)) = said.split_once(", ...]") {
        let first_of = |text: &str| text.matches("{events=").count();
        assert!(first_of(strace) > 16 && first_of(&said) == 16, "{strace}\n{said}");
        assert!(strace.starts_with(first) && strace.ends_with(rest), "{strace}\n{said}");
    } else if said.contains(") = -1 E") && log.call.starts_with("epoll_pwait") {
        assert_eq!(without_values(&said), without_values(strace));
    } else {
        assert_eq!(said, strace);
    }
}

const EPOLL: &str = "epoll_create,epoll_create1,epoll_ctl,epoll_wait,epoll_pwait,epoll_pwait2";

#[test]
fn a_line_reads_as_strace_writes_it() {
    let Some((strace, log)) = traced(walk(), &[], EPOLL) else { return };
    for (strace, log) in strace.iter().zip(&log) {
        agree(strace, log);
        assert_eq!(log.has_duration, log.call.contains("wait"), "{log:?}");
    }
    assert_eq!(log.len(), strace.len());
    for errno in ["EEXIST", "ENOENT", "EBADF", "EPERM", "EFAULT", "EINVAL", "ELOOP", "EMFILE", "EINTR"] {
        assert!(log.iter().any(|line| line.said.contains(&format!("= -1 {errno} ("))), "no {errno}");
    }
    for kind in ["4<eventfd>", "5<epoll>", "6<file>", "4<socket>", "<pipe>"] {
        assert!(log.iter().any(|line| line.said.contains(kind)), "no {kind}");
    }
}

#[test]
fn a_line_of_a_descriptor_call_reads_as_strace_writes_it() {
    let Some((mut strace, log)) = traced(walk(), &["descriptors"], "close,dup,dup2,dup3,fcntl,close_range") else {
        return;
    };
    // What the loader closed before the program began.
    strace.drain(..strace.len() - log.len());
    for (strace, log) in strace.iter().zip(&log) {
        agree(strace, log);
    }
    assert_eq!(log.len(), 25);
}

#[test]
fn a_corner_case_reads_as_strace_writes_it() {
    let Some((strace, log)) = traced(corners(), &[], EPOLL) else { return };
    for (strace, log) in strace.iter().zip(&log) {
        agree(strace, log);
    }
    assert_eq!(log.len(), strace.len());
    for said in [
        "EPOLLNVAL",
        "0xff0800 /* EPOLL??? */",
        "0x4d /* EPOLL_CTL_??? */",
        ", 7) = -1 EINVAL",
        ", 18446744073709551615) =",
    ] {
        assert!(log.iter().any(|line| line.said.contains(said)), "no {said}");
    }
}

#[test]
fn flags_of_descriptors_read_as_strace_writes_them() {
    let Some((strace, log)) = traced(corners(), &["descriptors"], "dup3,fcntl,close_range") else { return };
    for (strace, log) in strace.iter().zip(&log) {
        agree(strace, log);
    }
    assert_eq!(log.len(), strace.len());
}

#[test]
fn a_time_stands_before_a_line_where_that_is_asked_for() {
    let dir = scratch("times");
    let times_of = |time: &str| -> Vec<String> {
        let log = dir.join(time);
        let (output, _) = Logged::new(walk(), &[], &log).with("EPOLLSHIM_LOG_TIME", time).run();
        assert!(output.status.success(), "{}", show(&output));
        let time_of = |text: &str| text.split_once("[pid ").unwrap().0.to_owned();
        read(&log)
            .lines()
            .inspect(|text| assert!(line(&text[text.find("[pid ").unwrap()..]).is_some()))
            .map(time_of)
            .collect()
    };
    assert!(times_of("none").iter().all(String::is_empty));
    let date = |seconds: u64| {
        let output = Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%FT%T"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let before = date(now());
    let wall = times_of("wall");
    let after = date(now() + 1);
    assert!(wall.is_sorted() && wall.iter().all(|time| time.len() == "2026-11-29T19:30:00.123456Z ".len()), "{wall:?}");
    assert!(before <= wall[0] && wall[wall.len() - 1] <= after, "{before} {after} {wall:?}");
    let relative: Vec<f64> = times_of("relative").iter().map(|time| time.trim().parse().unwrap()).collect();
    assert!(
        relative.is_sorted() && relative.iter().all(|time| (0.0..PATIENCE.as_secs_f64()).contains(time)),
        "{relative:?}"
    );
    assert!(relative[0] < relative[relative.len() - 1], "{relative:?}");
}

/// Every line of a log in JSON, each with every key of the schema.
#[track_caller]
fn json_lines(log: &str) -> Vec<Value> {
    log.lines()
        .map(|text| {
            let line: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(line["schema"], "epollshim.log/1", "{line}");
            for key in ["mono_ns", "wall_ns", "pid", "tid", "duration_ns"] {
                assert!(line[key].is_u64(), "{key}: {line}");
            }
            assert!(line["call"].is_string() && line["args"].is_object() && line["result"].is_i64(), "{line}");
            assert!(line["injected"].is_boolean() && line["limited"].is_boolean(), "{line}");
            assert_eq!(line["errno"].is_string(), line["result"] == -1, "{line}");
            assert!(line["errno"].is_string() || line["errno"].is_null(), "{line}");
            line
        })
        .collect()
}

#[test]
fn json_lines_say_what_text_lines_say() {
    let dir = scratch("json");
    let [text, json] = ["text", "json"].map(|format| {
        let log = dir.join(format);
        let (output, _) = Logged::new(walk(), &[], &log).with("EPOLLSHIM_LOG_FORMAT", format).run();
        assert!(output.status.success(), "{}", show(&output));
        read(&log)
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let (text, json) = (lines(&text), json_lines(&json));
    assert_eq!(text.len(), json.len());
    let mut last = 0;
    for (text, json) in text.iter().zip(&json) {
        let said = &text.said;
        assert_eq!(json["call"], text.call.as_str());
        let result = format!(") = {}", json["result"]);
        match json["errno"].as_str() {
            None => assert!(said.ends_with(&result), "{said}: {json}"),
            Some(errno) => assert!(said.contains(&format!("{result} {errno} (")), "{said}: {json}"),
        }
        let [mono, wall, duration] = ["mono_ns", "wall_ns", "duration_ns"].map(|key| json[key].as_u64().unwrap());
        assert!(mono > last, "{json}");
        last = mono;
        assert!(now.abs_diff(wall) < 60_000_000_000 && duration < 60_000_000_000, "{json}");
        let events = json["args"]["events"].as_array().map_or(0, Vec::len);
        if text.call.contains("wait") {
            assert_eq!(events, said.matches("{events=").count(), "{said}: {json}");
            let more = json["args"]["more"].as_u64().unwrap();
            assert_eq!(events as i64 + more as i64, json["result"].as_i64().unwrap().max(0), "{json}");
        }
    }
}

#[test]
fn json_times_rise_in_each_thread() {
    let log = scratch("threads").join("log");
    let (output, reports) = Logged::new(known_counts(), &["16", "20"], &log).with("EPOLLSHIM_LOG_FORMAT", "json").run();
    assert!(output.status.success(), "{}", show(&output));
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    let json = json_lines(&read(&log));
    for line in &json {
        let (tid, mono) = (line["tid"].as_u64().unwrap(), line["mono_ns"].as_u64().unwrap());
        assert!(mono >= last.insert(tid, mono).unwrap_or(0), "{line}");
    }
    assert!(last.len() >= 16, "{last:?}");
    assert_eq!(tally(&reports[0]), (json.len() as u64, 0, json.len() as u64));
}

// --- how many lines there are ---------------------------------------------------------------------------------

/// A line for each call, each whole, where nothing is in the way: by process what the reports say.
#[track_caller]
fn a_line_a_call(log: &str, reports: &[Value]) {
    let mut by_process: BTreeMap<u64, u64> = BTreeMap::new();
    for line in lines(log) {
        *by_process.entry(line.pid).or_default() += 1;
    }
    for report in reports {
        let (written, dropped, calls) = tally(report);
        let pid = report["process"]["pid"].as_u64().unwrap();
        assert_eq!((written, dropped), (calls, 0), "{report}");
        assert_eq!(by_process.remove(&pid).unwrap_or(0), written, "{report}");
    }
    assert!(by_process.is_empty(), "of processes without a report: {by_process:?}");
}

#[test]
fn each_call_is_a_whole_line_in_a_file_with_threads_and_handlers() {
    for arguments in [&["1", "100"][..], &["16", "40"], &["1", "100", "signal"], &["16", "40", "signal"]] {
        let log = scratch("count").join("log");
        let (output, reports) = Logged::new(known_counts(), arguments, &log).run();
        assert!(output.status.success(), "{}", show(&output));
        a_line_a_call(&read(&log), &reports);
    }
}

#[test]
fn each_call_is_a_whole_line_in_a_pipe_with_threads_and_handlers() {
    for arguments in [&["1", "100"][..], &["16", "40"], &["16", "40", "signal"]] {
        let (output, reports) = Logged::new(known_counts(), arguments, "stderr").run();
        assert!(output.status.success());
        let log = String::from_utf8(output.stderr).unwrap();
        // A reader that is slow for a moment may cost lines: none may go uncounted.
        let (written, dropped, calls) = tally(&reports[0]);
        assert_eq!((lines(&log).len() as u64, written + dropped), (written, calls), "{}", reports[0]);
    }
}

#[test]
fn lines_of_a_family_of_processes_do_not_mix() {
    let log = scratch("family").join("log");
    let (output, reports) = Logged::new(troubles(), &["forks=12", "calls=20"], &log).run();
    assert_eq!(output.status.code(), Some(7), "{}", show(&output));
    assert_eq!(reports.len(), 13);
    a_line_a_call(&read(&log), &reports);
}

#[test]
fn sixty_generations_of_forks_amid_busy_threads_drop_no_line() {
    let log = scratch("generations").join("log");
    let (output, reports) = Logged::new(generations(), &[], &log).run();
    assert!(output.status.success(), "{}", show(&output));
    assert_eq!(reports.len(), 61);
    a_line_a_call(&read(&log), &reports);
}

#[test]
fn a_handler_on_a_tiny_stack_is_logged() {
    let program = c_program("signal_handlers");
    let log = scratch("tiny").join("%e.log");
    let plain = bare(&program, &[]).output().unwrap();
    let (output, reports) = Logged::new(&program, &[], &log).run();
    same_as_bare(&plain, &output);
    a_line_a_call(&read(&log.with_file_name("signal_handlers.log")), &reports);
}

// --- which lines there are ------------------------------------------------------------------------------------

#[test]
fn a_filter_asks_for_names_and_outcomes_and_descriptors() {
    let run = |filter: &str| {
        let log = scratch("filter").join("log");
        let mut logged = Logged::new(walk(), &[], &log)
            .with("EPOLLSHIM_INJECT", "epoll_wait:error=EINTR:when=7;close:delay_enter=1us:when=3")
            .with("EPOLLSHIM_LIMIT", "instance-watches=15");
        if !filter.is_empty() {
            logged = logged.with("EPOLLSHIM_LOG_FILTER", filter);
        }
        let (_, reports) = logged.run();
        let lines = lines(&read(&log));
        assert_eq!(tally(&reports[0]).0, lines.len() as u64, "{filter}");
        assert_eq!(tally(&reports[0]).1, 0, "{filter}");
        lines
    };
    // Addresses differ from run to run; all else is the same.
    let stable = |lines: &[Line]| -> Vec<String> {
        let word =
            |text: &str| if text.starts_with("0x") && text.len() > 12 { "ADDRESS".into() } else { text.to_owned() };
        lines.iter().map(|line| line.said.split([' ', ',', ')']).map(word).collect::<Vec<_>>().join(" ")).collect()
    };
    let all = run("all");
    let with = |of: &dyn Fn(&Line) -> bool| -> Vec<String> {
        stable(&all).into_iter().zip(&all).filter(|(_, line)| of(line)).map(|(said, _)| said).collect()
    };
    let is_epoll = |line: &Line| line.call.starts_with("epoll_");
    let failed = |line: &Line| line.said.contains("= -1 ");
    let epfd_3 =
        |line: &Line| line.call != "epoll_create" && line.call != "epoll_create1" && line.said.contains("(3, ");
    let fd_4 = |line: &Line| line.call == "epoll_ctl" && (line.said.contains(", 4<") || line.said.contains(", 4, "));
    type Of<'a> = &'a dyn Fn(&Line) -> bool;
    let cases: &[(&str, Of)] = &[
        ("", &|line| is_epoll(line) || line.injected),
        ("epoll", &is_epoll),
        ("close", &|line| line.call == "close"),
        ("epoll_wait,close", &|line| line.call == "epoll_wait" || line.call == "close"),
        ("failed", &|line| is_epoll(line) && failed(line)),
        ("all,failed", &failed),
        ("injected", &|line| line.injected),
        ("epoll_wait,injected", &|line| line.call == "epoll_wait" && line.injected),
        ("limited", &|line| line.limited),
        ("injected,limited", &|line| line.injected || line.limited),
        ("epoll_create1,failed", &|line| line.call == "epoll_create1" && failed(line)),
        ("epoll_ctl,fd=4", &fd_4),
        ("epoll_ctl,fd=4,failed", &|line| fd_4(line) && failed(line)),
        ("epfd=3", &|line| is_epoll(line) && epfd_3(line)),
        ("epfd=3,failed,epoll_wait", &|line| line.call == "epoll_wait" && epfd_3(line) && failed(line)),
        ("epfd=3,fd=4,epoll_ctl", &|line| line.call == "epoll_ctl" && (epfd_3(line) || fd_4(line))),
        ("close,fd=4", &|line| line.call == "close" && line.said.starts_with("close(4)")),
        ("epoll_create,epfd=3", &|_| false),
        ("slow=1000s", &|_| false),
        ("slow=0", &|line| is_epoll(line) || line.injected),
        ("slow=1000s,failed", &|line| is_epoll(line) && failed(line)),
    ];
    for (filter, of) in cases {
        assert_eq!(stable(&run(filter)), with(of), "{filter}");
    }
    for (filter, of) in [("injected", &(|line: &Line| line.injected) as Of), ("limited", &|line| line.limited)] {
        assert!(!with(of).is_empty(), "nothing is {filter}");
    }
    // Waits of 2 ms with nothing ready, and no call that is quick on any machine.
    let slow = run("slow=1ms");
    assert!(slow.iter().any(|line| line.said == "epoll_wait(3, [], 3, 2) = 0"), "{slow:?}");
}

#[test]
fn what_was_injected_or_limited_is_marked() {
    let log = scratch("marks").join("log");
    let (_, reports) = Logged::new(troubles(), &["calls=10", "masks=1"], &log)
        .with("EPOLLSHIM_INJECT", "epoll_wait:error=EINTR:when=2;epoll_wait:batch=1:when=4;epoll_ctl:retval=0:op=DEL")
        .with("EPOLLSHIM_LIMIT", "watches=3")
        .run();
    let lines = lines(&read(&log));
    let marked = |of: fn(&Line) -> bool| lines.iter().filter(|line| of(line)).collect::<Vec<_>>();
    let [eintr, batch, del] = marked(|line| line.injected)[..] else { panic!("{lines:?}") };
    assert!(eintr.said.ends_with(", 1, -1) = -1 EINTR (Interrupted system call)"), "{eintr:?}");
    assert!(batch.said.ends_with(", data=0x5}], 1, -1) = 1") && batch.has_duration, "{batch:?}");
    assert!(del.said.contains("EPOLL_CTL_DEL") && del.said.ends_with(", NULL) = 0"), "{del:?}");
    let limited = marked(|line| line.limited);
    assert_eq!(limited.len(), 13, "{lines:?}");
    for line in limited {
        assert!(line.said.contains("EPOLL_CTL_ADD") && line.said.ends_with(" = -1 ENOSPC (No space left on device)"));
    }
    assert_eq!(tally(&reports[0]), (lines.len() as u64, 0, lines.len() as u64));
}

#[test]
fn a_call_that_was_only_delayed_or_signalled_is_not_marked_as_made_up() {
    let log = scratch("marks").join("log");
    Logged::new(troubles(), &["calls=2"], &log)
        .with("EPOLLSHIM_INJECT", "epoll_create1:delay_exit=1us;epoll_wait:signal=SIGCHLD:delay_enter=1us:when=1")
        .run();
    let text = read(&log);
    let of = |call: &str| text.lines().find(|line| line.contains(call)).unwrap();
    assert!(of("epoll_create1(").ends_with(" (DELAYED)") && !of("epoll_create1(").contains("INJECTED"), "{text}");
    assert!(of("epoll_wait(").ends_with(" (DELAYED) (SIGNALLED)") && !of("epoll_wait(").contains("INJECTED"), "{text}");
}

// --- trouble --------------------------------------------------------------------------------------------------

/// The program does what it does without a log, however the log fares. Gives the reports.
#[track_caller]
fn undisturbed(steps: &[&str], log: impl AsRef<OsStr>) -> Vec<Value> {
    let plain = bare(troubles(), steps).output().unwrap();
    assert_eq!(plain.status.code(), Some(7), "{}", show(&plain));
    let (output, reports) = Logged::new(troubles(), steps, log).run();
    same_as_bare(&plain, &output);
    for report in &reports {
        let (written, dropped, calls) = tally(report);
        assert_eq!(written + dropped, calls, "{report}");
    }
    reports
}

/// The same with another descriptor 2.
#[track_caller]
fn undisturbed_with_stderr(steps: &[&str], stderr: impl Into<Stdio>) -> (Vec<Value>, Duration) {
    let plain = bare(troubles(), steps).output().unwrap();
    assert_eq!(plain.status.code(), Some(7), "{}", show(&plain));
    let mut logged = Logged::new(troubles(), steps, "stderr");
    logged.command.stderr(stderr).stdout(Stdio::piped());
    let start = Instant::now();
    let output = within(logged.command.spawn().unwrap(), PATIENCE);
    // The command holds the test's own end of what is now descriptor 2.
    drop(logged.command);
    same_as_bare(&plain, &output);
    let reports = reports(&logged.report);
    for report in &reports {
        let (written, dropped, calls) = tally(report);
        assert_eq!(written + dropped, calls, "{report}");
    }
    (reports, start.elapsed())
}

/// Until it ends, and not longer.
#[track_caller]
fn within(mut child: Child, patience: Duration) -> Output {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > patience {
            child.kill().unwrap();
            panic!("hangs: {}", show(&child.wait_with_output().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn no_descriptor_of_the_log_is_there_between_calls() {
    let log = scratch("descriptors").join("log");
    assert_eq!(tally(&undisturbed(&["descriptors", "calls=20"], &log)[0]).1, 0);
    undisturbed(&["descriptors"], "stderr");
}

#[test]
fn a_path_that_cannot_be_written_is_refused_at_load() {
    let directory = scratch("unwritable").join("directory");
    std::fs::create_dir(&directory).unwrap();
    let below_a_file = root().join("Cargo.toml/log.%p");
    for path in [Path::new("/nonexistent/log.%p"), &directory, &below_a_file] {
        let mut command = bare(troubles(), &["calls=30"]);
        let output = command.env("LD_PRELOAD", shim()).env("EPOLLSHIM_LOG", path).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", path.display());
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = format!("epollshim: EPOLLSHIM_LOG: cannot write '{}': E", path.display());
        assert!(stderr.starts_with(&said) && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn a_device_that_takes_nothing_drops_every_line_and_the_report_says_so() {
    for path in [OsStr::new("/proc/version"), OsStr::new("/dev/full")] {
        let (written, dropped, calls) = tally(&undisturbed(&["calls=30"], path)[0]);
        assert_eq!((written, dropped), (0, calls), "{}", path.to_string_lossy());
    }
    let mut command = bare(troubles(), &["calls=30"]);
    command.env("LD_PRELOAD", shim()).env("EPOLLSHIM_LOG", "/dev/full");
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.to_lowercase().contains("log") && stderr.contains("34"), "the text report tells it: {stderr}");
}

#[test]
fn a_full_table_of_descriptors_drops_no_line() {
    let log = scratch("table").join("log");
    let (written, dropped, calls) = tally(&undisturbed(&["full-table"], &log)[0]);
    assert_eq!((written, dropped, calls), (23, 0, 23));
    assert_eq!(lines(&read(&log)).len(), 23);
}

#[test]
fn a_limit_on_the_size_of_files_does_not_kill_the_program() {
    let log = scratch("fsize").join("log");
    let (written, dropped, _) = tally(&undisturbed(&["small-files", "calls=5"], &log)[0]);
    assert!(written > 10 && dropped > 50, "{written} written, {dropped} dropped");
    // What was left of a line is removed.
    let text = read(&log);
    let whole = text.lines().filter(|text| line(text).is_some()).count() as u64;
    assert_eq!(whole, written, "{text}");
    assert_eq!(text.lines().count() as u64, written, "{text}");
}

/// A small file system of its own, where this test may mount one.
struct Small(PathBuf);

impl Small {
    fn mount() -> Option<Small> {
        let dir = scratch("small");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16k", "none"]).arg(&dir).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Small(dir))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_full_for_a_while_tears_no_line() {
    let Some(small) = Small::mount() else {
        return testkit::skipped("no tmpfs can be mounted here", true);
    };
    let (log, ballast) = (small.0.join("log"), small.0.join("ballast"));
    std::fs::write(&ballast, [b'.'; 8192]).unwrap();
    let free = format!("unlink={}", ballast.display());
    let plain = bare(troubles(), &["calls=300", "calls=10"]).output().unwrap();
    let (output, reports) = Logged::new(troubles(), &["calls=300", &free, "calls=10"], &log).run();
    same_as_bare(&plain, &output);
    let (written, dropped, calls) = tally(&reports[0]);
    assert!(written > 20 && dropped > 20 && written + dropped == calls, "{}", reports[0]);
    let text = read(&log);
    let torn: Vec<_> = text.lines().filter(|text| line(text).is_none()).collect();
    assert!(torn.is_empty() && text.ends_with('\n'), "{torn:?}");
    assert_eq!(text.lines().count(), written as usize);
}

#[test]
fn a_reader_that_has_gone_costs_lines_alone() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let (reports, _) = undisturbed_with_stderr(&["calls=50"], writer);
    assert_eq!(tally(&reports[0]).0, 0, "{}", reports[0]);
    let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
    drop(reader);
    let (reports, _) = undisturbed_with_stderr(&["calls=50"], OwnedFd::from(writer));
    assert_eq!(tally(&reports[0]).0, 0, "{}", reports[0]);
}

#[test]
fn a_reader_that_sleeps_holds_the_program_up_once_and_not_a_line() {
    // Long lines and short ones: a pipe takes 64 KiB.
    for steps in [&["calls=2000"][..], &["masks=300"]] {
        let (reader, writer) = pipe().unwrap();
        let (reports, took) = undisturbed_with_stderr(steps, writer);
        let (written, dropped, _) = tally(&reports[0]);
        assert!(written > 10 && dropped > 100, "{}", reports[0]);
        assert!(took >= Duration::from_secs(2) && took < PATIENCE, "{took:?}");
        drop(reader);
    }
}

#[test]
fn a_reader_that_sleeps_holds_sixteen_threads_up_once() {
    for _ in 0..3 {
        let (reader, writer) = pipe().unwrap();
        let mut logged = Logged::new(known_counts(), &["16", "40"], "stderr");
        logged.command.stderr(writer).stdout(Stdio::piped());
        let output = within(logged.command.spawn().unwrap(), PATIENCE);
        assert!(output.status.success(), "{}", show(&output));
        let (written, dropped, calls) = tally(&reports(&logged.report)[0]);
        assert_eq!(written + dropped, calls);
        assert!(dropped > 1000, "{dropped}");
        drop(reader);
    }
}

#[test]
fn a_reader_that_wakes_again_gets_whole_lines() {
    let (mut reader, writer) = pipe().unwrap();
    let mut logged = Logged::new(troubles(), &["masks=3000"], "stderr");
    logged.command.stderr(writer).stdout(Stdio::piped());
    let child = logged.command.spawn().unwrap();
    drop(logged.command);
    let mut log = Vec::new();
    let mut piece = [0; 3000];
    loop {
        let length = reader.read(&mut piece).unwrap();
        if length == 0 {
            break;
        }
        log.extend_from_slice(&piece[..length]);
        std::thread::sleep(Duration::from_millis(1));
    }
    let output = within(child, PATIENCE);
    assert_eq!(output.status.code(), Some(7));
    let (written, dropped, calls) = tally(&reports(&logged.report)[0]);
    let lines = lines(std::str::from_utf8(&log).unwrap()).len() as u64;
    assert_eq!((lines, written + dropped), (written, calls));
    assert_eq!(dropped, 0, "a reader that reads slowly loses nothing");
}

#[test]
fn a_descriptor_2_that_became_something_else_gets_no_byte() {
    for step in ["no-stderr", "other-stderr"] {
        let file = scratch("stderr").join("stderr");
        let (reports, _) = undisturbed_with_stderr(&["calls=3", step], File::create(&file).unwrap());
        let (written, dropped, _) = tally(&reports[0]);
        assert_eq!(lines(&read(&file)).len() as u64, written, "{step}");
        assert_eq!((written, dropped), (7, 54), "{step}");
    }
    let mut closed = Logged::new(troubles(), &["calls=9", "forks=2"], "stderr");
    // SAFETY: close is safe after fork; descriptor 2 is the child's to close.
    unsafe {
        closed.command.pre_exec(|| {
            libc::close(2);
            Ok(())
        });
    }
    let (output, reports) = closed.run();
    assert_eq!(output.status.code(), Some(7), "{}", show(&output));
    assert!(reports.iter().all(|report| tally(report).0 == 0), "{reports:?}");
}

#[test]
fn a_log_named_after_process_and_program_is_one_of_each() {
    let dir = scratch("names");
    let reports = undisturbed(&["calls=3", "name=another", "calls=3", "forks=3"], dir.join("%e.%p.%%.log"));
    assert_eq!(reports.len(), 4);
    for report in &reports {
        let pid = report["process"]["pid"].as_u64().unwrap();
        let log = read(&dir.join(format!("log_troubles.{pid}.%.log")));
        a_line_a_call(&log, std::slice::from_ref(report));
    }
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 4);
}

#[test]
fn an_image_that_follows_by_exec_goes_on_in_the_same_file() {
    let log = scratch("exec").join("log");
    let reports = undisturbed(&["calls=3", "exec", "calls=4"], &log);
    assert_eq!(reports.len(), 2, "{reports:?}");
    let sum: u64 = reports.iter().map(|report| tally(report).2).sum();
    assert_eq!(lines(&read(&log)).len() as u64, sum);
    // And so does the next run: a log is not begun anew.
    undisturbed(&["calls=3"], &log);
    assert!(lines(&read(&log)).len() as u64 > sum);
}

#[test]
fn a_relative_path_is_meant_where_the_program_began() {
    let dir = scratch("relative 100% here");
    let run = |report: &str| {
        let mut command = bare(troubles(), &["calls=3", "chdir=/", "calls=3", "forks=1"]);
        command.current_dir(&dir).env("LD_PRELOAD", shim()).env("EPOLLSHIM_LOG", "log").env("EPOLLSHIM_REPORT", report);
        let output = command.env("EPOLLSHIM_REPORT_FORMAT", "json").output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{}", show(&output));
    };
    run("report.json");
    a_line_a_call(&read(&dir.join("log")), &reports(&dir.join("report.json")));
    assert!(!Path::new("/log").exists() && !Path::new("/report.json").exists());
}
