//! What a report covers: what the library saw, what it cannot see, and what was compared with the
//! kernel's lists. All formats for people use these sentences.

use crate::facts::Facts;
use crate::model::Totals;

/// What the numbers of a report are made from.
pub fn heading(facts: &Facts) -> &'static str {
    match facts.is_reconciled {
        true => "compared with the kernel's lists for this report",
        false => "the program's calls of libc functions",
    }
}

/// What was not seen, and what was compared.
pub fn explanation(facts: &Facts) -> &'static str {
    match (facts.is_reconciled, facts.has_compared_descriptors) {
        (true, _) => {
            "Counted: the program's calls of libc functions. Not counted: system calls that it makes without libc, and \
             io_uring. Open descriptors and watches are those of the kernel's lists, whatever changed them."
        }
        (false, true) => {
            "Not seen: system calls that it makes without libc, and io_uring. A process that ended by itself compared its \
             open descriptors with /proc, if it could read that. Watches were not compared with the kernel's lists."
        }
        (false, false) => {
            "Not seen: system calls that it makes without libc, and io_uring. Nothing was compared with the kernel's lists."
        }
    }
}

/// What the library noticed of calls that it did not see, and what it could not record. Only counts
/// that are not 0.
pub fn counts(totals: &Totals) -> impl Iterator<Item = (u64, &'static str)> {
    [
        (totals.unseen_instances, "epoll instances that no call created which the library saw"),
        (totals.unseen_watches, "watches that changed without a call which the library saw"),
        (totals.healed, "records that proved wrong, and were corrected"),
        (totals.lost, "changes that could not be recorded"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
}
