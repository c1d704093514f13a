//! Finds processes that have few descriptors left.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use epollshim_format::census::Kind;
use epollshim_format::findings::{Severity, near_limit};
use epollshim_format::scale::Grouped;

use super::super::model::Process;
use super::Finding;

/// Reports if at most a tenth of RLIMIT_NOFILE is left.
pub fn near(process: &Process) -> Option<Finding> {
    let limit = process.limit?;
    let open = process.descriptors.len() as u64;
    if !near_limit::is_near(open, limit) {
        return None;
    }
    let mut kinds: BTreeMap<&str, (u64, Kind)> = BTreeMap::new();
    for descriptor in process.descriptors.values() {
        kinds.entry(descriptor.kind.name()).or_insert((0, descriptor.kind)).0 += 1;
    }
    let mut kinds: Vec<(u64, Kind)> = kinds.into_values().collect();
    kinds.sort_by_key(|(number, _)| Reverse(*number));
    let words = kinds.iter().take(4).map(|(number, kind)| {
        let one = if *kind == Kind::Epoll { "epoll instance" } else { kind.name() };
        format!("{} {}", Grouped(*number), if *number == 1 { one } else { kind.plural() })
    });
    let kinds = words.collect::<Vec<_>>().join(", ");
    let (severity, fails) = match open.cmp(&limit) {
        Ordering::Less => (Severity::Warning, ""),
        Ordering::Equal => (Severity::Error, ", and calls that need one fail with EMFILE"),
        // No call opens more than the limit allows, so it was lowered afterwards, as sandboxes do
        // (sshd).
        Ordering::Greater => (Severity::Info, ""),
    };
    let message = if severity == Severity::Info {
        format!(
            "{} descriptors are open ({kinds}), and RLIMIT_NOFILE has been lowered to {} since, as sandboxes do: calls that \
             need one more fail with EMFILE",
            Grouped(open),
            Grouped(limit),
        )
    } else {
        format!(
            "{} of the {} descriptors that RLIMIT_NOFILE allows are open ({kinds}){fails}: close some, or raise the limit (prlimit --pid \
             {} --nofile=...; ulimit -n)",
            Grouped(open),
            Grouped(limit),
            process.pid,
        )
    };
    Some(Finding { id: "near-limit", severity, epfd: None, fds: Vec::new(), tid: None, what: None, message })
}
