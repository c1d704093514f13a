//! Points: the places where a program makes a call that can fail, as logged in clean runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use epollshim_format::function::{Function, Functions};
use epollshim_format::legality::{self, Legal};
use serde::{Deserialize, Serialize};

use super::found::Found;
use super::phases::Phase;

/// How many occurrences of one stack are points. A second fork in a loop differs from the first.
pub const OCCURRENCES: u64 = 2;

/// The same with --every-call.
pub const MOST_OCCURRENCES: u64 = 100;
/// How many calls of each process are logged. This bounds the size of the log.
const MOST_CALLS: u64 = 20_000;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Point {
    /// For a program that ends by itself, always the first phase.
    pub phase: Phase,
    pub function: String,
    /// The operation of `epoll_ctl`. Empty for other functions.
    pub operation: String,
    /// The hash of the call stack, as the library prints it.
    pub stack: String,
    /// Counted from 1 within the phase, over all processes, or with --each-process in each process.
    pub occurrence: u64,
    /// The kind of the descriptor that is passed: `socket,nonblock`. Empty if there is none, or if
    /// it is unknown.
    pub on: String,
    /// The callers, innermost first: `app+0x11f2`.
    pub frames: Vec<String>,
}

/// What all rules of a sweep have in common.
#[derive(Clone, Copy, Default, Debug)]
pub struct Aim {
    /// The call fails that time and every later time.
    pub is_persistent: bool,
    /// Calls are counted over all processes together.
    pub in_tree: bool,
    /// Points have phases: the program is a server.
    pub has_phases: bool,
}

impl Point {
    pub fn legal(&self) -> Option<&'static Legal> {
        legality::of(&self.function, &self.operation)
    }

    /// Whether two points are the same, even if the kind of the descriptor differs from run to run.
    pub fn is(&self, other: &Point) -> bool {
        self.key() == other.key()
    }

    fn key(&self) -> (Phase, &str, &str, &str, u64) {
        (self.phase, &self.function, &self.operation, &self.stack, self.occurrence)
    }

    /// The innermost place.
    pub fn site(&self) -> &str {
        self.frames.first().map_or(&self.stack, String::as_str)
    }

    /// `epoll_ctl(ADD)`
    pub fn call(&self) -> String {
        if self.operation.is_empty() { self.function.clone() } else { format!("{}({})", self.function, self.operation) }
    }

    /// The rule that makes the call fail: with an errno (`EMFILE`, `EIO:made`), or by another
    /// action (`batch=1`).
    pub fn rule(&self, failure: &str, aim: Aim) -> String {
        // Of fcntl, only the commands that create a descriptor.
        let calls = if self.function == "fcntl" { "%creat" } else { &self.function };
        let action = if failure.contains('=') { failure.to_owned() } else { format!("error={failure}") };
        let operation = if self.operation.is_empty() { String::new() } else { format!(":op={}", self.operation) };
        // A single small batch would rarely be noticed.
        let on = if aim.is_persistent || failure.starts_with("batch=") { "+" } else { "" };
        let phase = if aim.has_phases { format!(":phase={}", self.phase.name()) } else { String::new() };
        let scope = if aim.in_tree { ":scope=tree" } else { "" };
        format!("{calls}:{action}{operation}:stack={}:when={}{on}{phase}{scope}", self.stack, self.occurrence)
    }
}

/// The rules of a clean run. They delay every call of these functions by 0, so that it is logged
/// with its stack. For a server there is one rule per phase.
pub fn rules(functions: Functions, has_phases: bool) -> String {
    let creators = Functions::named(b"%creat").unwrap_or_default();
    let mut calls = Vec::new();
    if functions.meets(creators) {
        calls.push("%creat");
    }
    let others = Function::ALL.into_iter().filter(|function| functions.has(*function) && !creators.has(*function));
    calls.extend(others.map(Function::name));
    if calls.is_empty() {
        return String::new();
    }
    let rule = format!("{}:delay_enter=0:max={MOST_CALLS}", calls.join(","));
    if !has_phases {
        return rule;
    }
    Phase::ALL.map(|phase| format!("{rule}:phase={}", phase.name())).join(";")
}

/// The points of a run in the order of their calls, process by process. Calls without a stack, made
/// before the library's constructor, are left out. Fails if no call has a stack.
pub fn of_run(folder: &Path, counting: Counting) -> Result<Vec<Point>, &'static str> {
    let mut files: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort_by_key(|path| path.extension().and_then(|pid| pid.to_str()?.parse::<u64>().ok()).unwrap_or(u64::MAX));
    let mut log = Log { counting, ..Log::default() };
    for file in files {
        log.add(&String::from_utf8_lossy(&fs::read(&file).unwrap_or_default()));
    }
    if log.found.0.is_empty() && log.lacking > 0 { Err("call stacks cannot be walked") } else { Ok(log.found.points()) }
}

/// Which calls of one stack are points.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counting {
    /// Calls are counted in each process separately.
    pub in_each_process: bool,
    /// How many of them are points.
    pub most: u64,
}

/// The points of the logs that were read.
#[derive(Default)]
struct Log {
    counting: Counting,
    found: Found,
    /// The number of calls without a stack.
    lacking: usize,
    /// By process and point.
    counts: BTreeMap<(String, Point), u64>,
}

impl Log {
    fn add(&mut self, text: &str) {
        for line in text.lines().filter(|line| line.starts_with("pid=")) {
            let value = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            let (Some(pid), Some(rule), Some(call)) = (value("pid"), value("rule"), value("call")) else { continue };
            let Some(stack) = value("stack") else {
                self.lacking += 1;
                continue;
            };
            let phase = rule.parse::<usize>().ok().and_then(|rule| Phase::ALL.get(rule.checked_sub(1)?));
            let mut point = Point {
                phase: phase.copied().unwrap_or_default(),
                function: call.to_owned(),
                operation: value("op").unwrap_or_default().to_owned(),
                stack: stack.to_owned(),
                ..Point::default()
            };
            let pid = if self.counting.in_each_process { pid.to_owned() } else { String::new() };
            let count = self.counts.entry((pid, point.clone())).or_default();
            *count += 1;
            if *count > self.counting.most {
                continue;
            }
            point.occurrence = *count;
            point.on = value("on").unwrap_or_default().to_owned();
            point.frames = value("frames").unwrap_or_default().split(',').map(str::to_owned).collect();
            self.found.add(point);
        }
    }
}

/// How many calls a rule made fail in a run.
pub fn fired(folder: &Path) -> usize {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .map(|file| {
            let text = fs::read(file.path()).unwrap_or_default();
            text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"pid=")).count()
        })
        .sum()
}

#[cfg(test)]
impl Point {
    /// The second call of a stack while a server serves, for tests.
    pub fn second_while_serving(function: &str, operation: &str) -> Point {
        Point {
            phase: Phase::Serve,
            function: function.into(),
            operation: operation.into(),
            stack: "0123456789abcdef/8".into(),
            occurrence: 2,
            ..Point::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use epollshim_format::function::Functions;

    use super::{Aim, Counting, Log, Point, rules};

    const LOG: &str = "\
epollshim.inject/1 version=0.1.0 pid=7 program=app rules=x
pid=7 tid=7 rule=1 call=dup on=socket ordinal=1 stack=aa frames=app+0x10,libc.so.6+0x20
pid=7 tid=7 rule=1 call=epoll_ctl op=ADD on=socket,nonblock ordinal=1 stack=bb frames=app+0x30
pid=7 tid=8 rule=1 call=dup on=socket ordinal=2 stack=aa frames=app+0x10
pid=7 tid=7 rule=1 call=dup on=file ordinal=3 stack=aa frames=app+0x10
pid=9 tid=9 rule=1 call=dup on=file ordinal=1 stack=aa frames=app+0x10
pid=9 tid=9 rule=2 call=dup on=file ordinal=1 stack=aa frames=app+0x10
";

    fn points(counting: Counting) -> Vec<String> {
        let mut log = Log { counting, ..Log::default() };
        log.add(LOG);
        assert_eq!(log.lacking, 0);
        let text = |point: &Point| {
            format!("{} {} {} {} {}", point.phase.name(), point.call(), point.stack, point.occurrence, point.on)
        };
        log.found.points().iter().map(text).collect()
    }

    #[test]
    fn a_point_is_phase_function_operation_stack_and_occurrence() {
        let tree = points(Counting { in_each_process: false, most: 2 });
        assert_eq!(
            tree,
            [
                "start dup aa 1 socket",
                "start epoll_ctl(ADD) bb 1 socket,nonblock",
                "start dup aa 2 socket",
                "serve dup aa 1 file"
            ]
        );
        // The first call of the other process has another kind, so no kind is known.
        let each = points(Counting { in_each_process: true, most: 3 });
        assert_eq!(
            each,
            [
                "start dup aa 1 ",
                "start epoll_ctl(ADD) bb 1 socket,nonblock",
                "start dup aa 2 socket",
                "start dup aa 3 file",
                "serve dup aa 1 file"
            ]
        );
    }

    #[test]
    fn a_call_without_a_stack_is_no_point() {
        let mut log = Log { counting: Counting { in_each_process: false, most: 2 }, ..Log::default() };
        log.add("pid=7 tid=7 rule=1 call=dup ordinal=1\n");
        assert_eq!((log.lacking, log.found.0.len()), (1, 0));
    }

    #[test]
    fn a_rule_fails_one_call_or_all_from_there_on() {
        let point = Point::second_while_serving;
        let (once, always) = (Aim::default(), Aim { is_persistent: true, ..Aim::default() });
        let served = Aim { in_tree: true, has_phases: true, ..Aim::default() };
        let of_tree = ":stack=0123456789abcdef/8:when=2:phase=serve:scope=tree";
        for (point, failure, aim, rule) in [
            (
                point("epoll_ctl", "ADD"),
                "ENOSPC",
                once,
                "epoll_ctl:error=ENOSPC:op=ADD:stack=0123456789abcdef/8:when=2",
            ),
            (point("fcntl", ""), "EMFILE", always, "%creat:error=EMFILE:stack=0123456789abcdef/8:when=2+"),
            (point("close", ""), "EIO:made", served, &format!("close:error=EIO:made{of_tree}")),
            (point("epoll_ctl", "DEL"), "ENOENT:made", served, &format!("epoll_ctl:error=ENOENT:made:op=DEL{of_tree}")),
            (
                point("epoll_wait", ""),
                "batch=1",
                served,
                &format!("epoll_wait:batch=1{}", of_tree.replace("when=2", "when=2+")),
            ),
        ] {
            assert_eq!(point.rule(failure, aim), rule);
            is_understood(rule);
        }
        for has_phases in [false, true] {
            let all = rules(Functions::ALL, has_phases);
            is_understood(&all);
            assert_eq!(all.split(';').count(), if has_phases { 3 } else { 1 });
            assert!(all.starts_with("%creat,") && all.contains(",epoll_ctl") && all.contains(",fork"), "{all}");
            let calls = Functions::named(b"epoll_ctl").unwrap_or_default();
            assert!(rules(calls, has_phases).starts_with("epoll_ctl:delay_enter=0:max="), "only what is asked for");
            assert_eq!(rules(Functions::NONE, has_phases), "");
        }
    }

    fn is_understood(rules: &str) {
        let entry = format!("EPOLLSHIM_INJECT={rules}");
        let (_, problem) = epollshim_format::options::parse([entry.as_bytes()].into_iter());
        assert!(problem.is_none(), "{rules}");
    }
}
