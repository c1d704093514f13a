//! Points: the places where a program makes a call that can fail, as the logs of clean runs have them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use epollshim_format::function::Functions;
use epollshim_format::legality::{self, Legal};
use serde::{Deserialize, Serialize};

/// Occurrences of one stack that are points: a second fork in a loop differs from the first.
const OCCURRENCES: u64 = 2;
/// The operations of `epoll_ctl` that have rows.
const OPERATIONS: [&str; 2] = ["ADD", "MOD"];

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Point {
    pub function: String,
    /// Of `epoll_ctl`; else empty.
    pub operation: String,
    /// As the library names it.
    pub stack: String,
    /// From 1, in each process.
    pub occurrence: u64,
}

impl Point {
    pub fn legal(&self) -> Option<&'static Legal> {
        legality::of(&self.function, &self.operation)
    }

    /// `epoll_ctl(ADD)`
    pub fn call(&self) -> String {
        if self.operation.is_empty() { self.function.clone() } else { format!("{}({})", self.function, self.operation) }
    }

    /// The rule that fails it.
    pub fn rule(&self, errno: &str, is_persistent: bool) -> String {
        // Of fcntl, the commands that make a descriptor alone.
        let calls = if self.function == "fcntl" { "%creat" } else { &self.function };
        let operation = if self.operation.is_empty() { String::new() } else { format!(":op={}", self.operation) };
        let on = if is_persistent { "+" } else { "" };
        format!("{calls}:error={errno}{operation}:stack={}:when={}{on}", self.stack, self.occurrence)
    }
}

/// The rules of a clean run: they delay every call by nothing, so that the log has it with its stack.
pub fn rules() -> String {
    let creators = Functions::named(b"%creat").unwrap_or_default();
    let mut calls = vec!["%creat"];
    for row in legality::TABLE.iter().filter(|row| row.operation.is_empty() && row.function != "fcntl") {
        // A newer table may have functions that this library does not know.
        let named = Functions::named(row.function.as_bytes()).unwrap_or_default();
        if !named.is_empty() && named.0 & !creators.0 != 0 {
            calls.push(row.function);
        }
    }
    let mut rules = format!("{}:delay_enter=0", calls.join(","));
    for operation in OPERATIONS {
        rules.push_str(&format!(";epoll_ctl:delay_enter=0:op={operation}"));
    }
    rules
}

/// The points of a run, in the order of their calls, process by process. Calls without a stack are left out (those before the
/// library's constructor has run). Err: no call has one.
pub fn of_run(folder: &Path) -> Result<Vec<Point>, &'static str> {
    let mut files: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort_by_key(|path| path.extension().and_then(|pid| pid.to_str()?.parse::<u64>().ok()).unwrap_or(u64::MAX));
    let (mut points, mut lacking) = (Vec::new(), 0);
    for file in files {
        let text = fs::read(&file).unwrap_or_default();
        lacking += of_log(&String::from_utf8_lossy(&text), &mut points);
    }
    if points.is_empty() && lacking > 0 { Err("call stacks cannot be walked") } else { Ok(points) }
}

/// Adds the points of a log; how many calls have no stack.
fn of_log(text: &str, points: &mut Vec<Point>) -> usize {
    let mut lacking = 0;
    let mut counts: BTreeMap<(String, String, String, String), u64> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("pid=")) {
        let value = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let (Some(pid), Some(rule), Some(call)) = (value("pid"), value("rule"), value("call")) else { continue };
        let operation = match rule.parse::<usize>().ok().and_then(|rule| rule.checked_sub(2)) {
            Some(at) => OPERATIONS.get(at).copied().unwrap_or_default(),
            None => "",
        };
        let Some(stack) = value("stack") else {
            lacking += 1;
            continue;
        };
        let [function, operation, stack] = [call, operation, stack].map(str::to_owned);
        let count = counts.entry((pid.to_owned(), function.clone(), operation.clone(), stack.clone())).or_default();
        *count += 1;
        let point = Point { function, operation, stack, occurrence: *count };
        if *count <= OCCURRENCES && point.legal().is_some() && !points.contains(&point) {
            points.push(point);
        }
    }
    lacking
}

/// How many calls a rule has failed in a run.
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
mod tests {
    use super::{Point, of_log, rules};

    const LOG: &str = "\
epollshim.inject/1 version=0.1.0 pid=7 program=app rules=x
pid=7 tid=7 rule=1 call=dup ordinal=1 stack=aa
pid=7 tid=7 rule=2 call=epoll_ctl ordinal=1 stack=bb
pid=7 tid=8 rule=1 call=dup ordinal=2 stack=aa
pid=7 tid=7 rule=1 call=dup ordinal=3 stack=aa
pid=9 tid=9 rule=1 call=dup ordinal=1 stack=aa
pid=9 tid=9 rule=1 call=close ordinal=1 stack=cc
";

    #[test]
    fn a_point_is_function_operation_stack_and_one_of_two_occurrences() {
        let mut points = Vec::new();
        assert_eq!(of_log(LOG, &mut points), 0);
        let texts: Vec<String> =
            points.iter().map(|point| format!("{} {} {}", point.call(), point.stack, point.occurrence)).collect();
        assert_eq!(texts, ["dup aa 1", "epoll_ctl(ADD) bb 1", "dup aa 2"]);
        assert_eq!(of_log("pid=7 tid=7 rule=1 call=dup ordinal=1\n", &mut points), 1);
    }

    #[test]
    fn a_rule_fails_one_call_or_all_from_there_on() {
        let point = |function: &str, operation: &str| Point {
            function: function.into(),
            operation: operation.into(),
            stack: "0123456789abcdef".into(),
            occurrence: 2,
        };
        let add = point("epoll_ctl", "ADD");
        assert_eq!(add.rule("ENOSPC", false), "epoll_ctl:error=ENOSPC:op=ADD:stack=0123456789abcdef:when=2");
        assert_eq!(point("fcntl", "").rule("EMFILE", true), "%creat:error=EMFILE:stack=0123456789abcdef:when=2+");
        for rules in [rules(), add.rule("ENOSPC", false), add.rule("ENOSPC", true)] {
            let entry = format!("EPOLLSHIM_INJECT={rules}");
            let (_, problem) = epollshim_format::options::parse([entry.as_bytes()].into_iter());
            assert!(problem.is_none(), "{rules}");
        }
    }
}
