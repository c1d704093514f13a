//! The last firings of faults, from a recording.

use epollshim_format::faults::decisions::DEPTH;
use epollshim_format::function::Function;
use epollshim_format::recording::policy;
use serde_json::{Value, json};

use crate::bytes::Bytes;
use crate::json::frames;
use crate::model::Process;
use crate::modules::plain;
use crate::scale;
use crate::sites::Site;

/// One firing of a rule on a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Firing {
    pub function: Function,
    /// The operation of `epoll_ctl`.
    pub operation: Option<&'static str>,
    pub tid: u64,
    /// CLOCK_MONOTONIC.
    pub at: u64,
    /// The rule's count that `when=` refers to.
    pub ordinal: u64,
    /// The hash of the innermost [`DEPTH`] callers. 0: stacks could not be walked.
    pub stack: u64,
    /// A return address, or the place of a call stack.
    pub site: u64,
}

/// The firings in a segment with the indices of their rules, the oldest first. Firings of withdrawn
/// rules are skipped.
pub fn read(segment: Bytes) -> Vec<(usize, Firing)> {
    let generation = segment.word(policy::GENERATION) as u8;
    let places = (0..policy::FIRINGS).map(|place| segment.part(policy::LAST + place * policy::FIRING, policy::FIRING));
    let mut all: Vec<_> = places
        .filter(|words| words.word(policy::NUMBER) != 0)
        .filter_map(|words| {
            let what = words.word(policy::WHAT);
            let [rule, function, operation, of_generation, ..] = what.to_le_bytes();
            let operations = [None, Some("ADD"), Some("DEL"), Some("MOD")];
            let firing = Firing {
                function: *Function::ALL.get(usize::from(function))?,
                operation: operations.get(usize::from(operation)).copied().flatten(),
                tid: what >> 32,
                at: words.word(policy::AT),
                ordinal: words.word(policy::ORDINAL),
                stack: words.word(policy::STACK),
                site: words.word(policy::SITE),
            };
            (of_generation == generation).then_some((words.word(policy::NUMBER), usize::from(rule), firing))
        })
        .collect();
    all.sort_by_key(|(number, ..)| *number);
    all.into_iter().map(|(_, rule, firing)| (rule, firing)).collect()
}

impl Firing {
    /// The stack as written in a rule: `HASH/DEPTH`.
    fn stack(&self) -> Option<String> {
        (self.stack != 0).then(|| format!("{:016x}/{DEPTH}", self.stack))
    }

    /// The function, and the operation of `epoll_ctl`.
    pub fn call(&self) -> String {
        let operation = self.operation.map(|operation| format!(" {operation}")).unwrap_or_default();
        format!("{}{operation}", self.function.name())
    }

    /// A description without the place.
    pub fn said(&self, process: &Process) -> String {
        format!("{}, ordinal {}, thread {}, {}", self.call(), self.ordinal, self.tid, self.when(process))
    }

    /// A description that names the process, and the thread if it is not the first.
    pub fn said_of(&self, process: &Process) -> String {
        let (comm, pid) = (plain(&process.header.comm), process.header.pid);
        let thread = if self.tid == pid { String::new() } else { format!(", thread {}", self.tid) };
        format!("{comm} (pid {pid}{thread}): {}, ordinal {}, {}", self.call(), self.ordinal, self.when(process))
    }

    fn when(&self, process: &Process) -> String {
        let stack = self.stack().map(|stack| format!(", stack={stack}")).unwrap_or_default();
        format!("{} after the start{stack}", scale::time(self.at.saturating_sub(process.header.began)))
    }

    pub fn json(&self, process: &Process) -> Value {
        let site = process.site(self.site);
        json!({
            "pid": process.header.pid,
            "tid": self.tid,
            "call": self.function.name(),
            "op": self.operation,
            "ordinal": self.ordinal,
            "at_ns": self.at.saturating_sub(process.header.began),
            "stack_hash": self.stack(),
            "site": site.as_deref().map(|site| &site.text),
            "function": site.as_deref().filter(|site| !site.behind).and_then(|site| site.function.as_ref()),
            "location": site.as_deref().and_then(Site::location),
            "stack": frames(&process.stack(self.site)),
        })
    }
}
